/** Modules of regions made outside the machine's thread: what is asked for, what comes back, and who answers there. */
import { Decoder } from '../../isa/decode.ts';
import type { Feature } from '../../isa/instruction.ts';
import type { Callee } from '../interpreter/callees.ts';
import type { CompiledCode } from '../options.ts';
import type { FunctionBody } from '../wasm/module.ts';
import { makeRegions } from './maker.ts';
import { type PlanMessage, unpackPlan } from './plan-message.ts';
import { Traits } from './traits.ts';

/** All of these can be sent from thread to thread, by structured clone. */
export interface TranslationRequest {
  /** What the guest's instructions are. */
  readonly features: readonly Feature[];
  readonly plans: readonly PlanMessage[];
  readonly code: CompiledCode;
  /** Ways out of regions are counted, and the functions' code comes back too. */
  readonly profiled: boolean;
}
export interface TranslationAnswer {
  readonly module: WebAssembly.Module;
  readonly bytes: number;
  readonly regions: readonly {
    readonly plan: number;
    readonly name: string;
    readonly pages: readonly number[];
    /** When profiled. */
    readonly body: FunctionBody | undefined;
  }[];
  readonly callees: readonly Callee[];
  readonly refused: readonly string[];
  readonly milliseconds: { readonly translation: number; readonly compilation: number };
}
/** Rejects when it can't, from then on. */
export type TranslateElsewhere = (request: TranslationRequest) => Promise<TranslationAnswer>;

export interface ServiceParts {
  readonly hostMilliseconds: () => number;
  /** Called before the host's engine compiles a module. */
  readonly compiling: ((code: CompiledCode) => void) | undefined;
}

/** Answers requests, of any number of machines. */
export class TranslationService {
  readonly #parts: ServiceParts;
  readonly #decoders = new Map<string, Decoder>();
  readonly #traits = new Map<string, Traits>();

  constructor(parts: ServiceParts) {
    this.#parts = parts;
  }
  answer({ features, plans, code, profiled }: TranslationRequest): TranslationAnswer {
    const now = this.#parts.hostMilliseconds;
    const start = now();
    const key = features.join();
    const decoder = this.#decoders.get(key) ?? new Decoder(new Set(features));
    const traits = this.#traits.get(key) ?? new Traits();
    this.#decoders.set(key, decoder);
    this.#traits.set(key, traits);
    const made = makeRegions(
      plans.map((plan) => unpackPlan(plan, decoder, traits)),
      profiled,
    );
    const translated = now();
    this.#parts.compiling?.(code);
    const module = new WebAssembly.Module(made.bytes);
    return {
      module,
      bytes: made.bytes.length,
      regions: made.regions.map(({ plan, pages, body }) => ({ plan, name: body.name, pages, body: profiled ? sent(body) : undefined })),
      callees: made.callees,
      refused: made.refused,
      milliseconds: { translation: translated - start, compilation: now() - translated },
    };
  }
}
/** Without branch hints, which are in the module. */
const sent = (body: FunctionBody): FunctionBody => ({ ...body, code: Uint8Array.from(body.code) });
