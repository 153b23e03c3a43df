/** The functions that handlers call, by name: the core module's and TypeScript's. */
import type { HelperName } from '../../isa/helper-names.ts';
import type { X87Name } from '../../isa/x87-names.ts';
import { Imports, type Signature } from '../wasm/module.ts';
import type { FastFloat } from './core-float.ts';
import { type LegacyName, legacyParameters } from './core-legacy.ts';
import { type RunName, runSignature } from './core-runs.ts';
import { x87Signature } from './core-x87.ts';

/** Functions of the core module and of TypeScript that handlers call. */
export type Callee =
  | `load${8 | 16 | 32 | 64 | 128}`
  | `loadForWrite${8 | 16 | 32 | 64}`
  | `store${8 | 16 | 32 | 64 | 128}`
  | 'lookup'
  | 'raise'
  | RunName
  | `float:${FastFloat}:${32 | 64}`
  | `legacy:${LegacyName}`
  | `x87:${X87Name}`
  | `helper:${HelperName}/${number}`;

export function calleeSignature(callee: Callee): Signature {
  if (callee.startsWith('helper:'))
    return { parameters: Array.from({ length: Number(callee.split('/')[1]) }, () => 'i64' as const), results: ['i64'] };
  if (callee.startsWith('legacy:'))
    return {
      parameters: ['i32', ...Array.from({ length: legacyParameters[callee.slice(7) as LegacyName] }, () => 'i64' as const)],
      results: ['i64'],
    };
  if (callee.startsWith('x87:')) return x87Signature;
  if (callee.startsWith('float:')) return { parameters: ['i32', 'i64', 'i64'], results: ['i64'] };
  if (callee === 'lookup') return { parameters: ['i32'], results: ['i32'] };
  if (callee === 'raise') return { parameters: ['i32', 'i32'], results: [] };
  if (callee === 'moveRun' || callee === 'storeRun') return runSignature;
  if (callee === 'load128') return { parameters: ['i32', 'i64'], results: ['v128'] };
  if (callee === 'store128') return { parameters: ['i32', 'i64', 'v128'], results: [] };
  if (callee.startsWith('load')) return { parameters: ['i32', 'i64'], results: ['i64'] };
  return { parameters: ['i32', 'i64', 'i64'], results: [] };
}

/** What the functions of a module call: numbered as it is asked for, since a module that imports functions takes V8 0.2 ms more than one that does not. */
export class Callees {
  readonly #list: Callee[] = [];

  get list(): readonly Callee[] {
    return this.#list;
  }
  readonly number = (callee: Callee): number => {
    const at = this.#list.indexOf(callee);
    return at >= 0 ? at : this.#list.push(callee) - 1;
  };
  imports(): Imports {
    const imports = new Imports();
    imports.memory();
    for (const callee of this.#list) imports.function(callee, calleeSignature(callee));
    return imports;
  }
}
