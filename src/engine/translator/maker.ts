/** Makes a module of regions from their blocks: all that a translation needs neither the machine nor its memory for. */
import { type Callee, Callees } from '../interpreter/callees.ts';
import { type FunctionBody, ModuleBuilder } from '../wasm/module.ts';
import type { Block } from './discover.ts';
import { NotTranslated } from './not-translated.ts';
import { Region } from './region.ts';

/** A region that is to be made. */
export interface RegionPlan {
  readonly blocks: readonly Block[];
  /** Floating point may be off. */
  readonly restricted: boolean;
  /** No windows that accesses share. */
  readonly narrow: boolean;
}
/** A region of a module. */
export interface MadeRegion {
  /** Which of the plans it follows. */
  readonly plan: number;
  /** The pages whose maps the function asks for, in its order. */
  readonly pages: readonly number[];
  readonly body: FunctionBody;
}
export interface MadeRegions {
  /** The name of a region's function is its body's. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly regions: readonly MadeRegion[];
  /** What the module imports beside the memory. */
  readonly callees: readonly Callee[];
  /** Why plans were not followed: an instruction can't be translated there though by itself it could. None is known. */
  readonly refused: readonly string[];
}

/** `profiled`: the dispatcher counts the ways out of regions. */
export function makeRegions(plans: readonly RegionPlan[], profiled: boolean): MadeRegions {
  const callees = new Callees();
  const regions: MadeRegion[] = [];
  const refused: string[] = [];
  for (const [plan, { blocks, restricted, narrow }] of plans.entries()) {
    const region = new Region(blocks, { restricted, narrow, profiled, callIndex: callees.number });
    try {
      regions.push({ plan, body: region.function(`r${plan}`), pages: region.pages });
    } catch (problem) {
      if (!(problem instanceof NotTranslated)) throw problem;
      refused.push(problem.why);
    }
  }
  const module = new ModuleBuilder(callees.imports());
  for (const { body } of regions) module.add(body);
  return { bytes: module.bytes(), regions, callees: callees.list, refused };
}
