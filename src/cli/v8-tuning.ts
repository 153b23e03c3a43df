/**
 * V8's compilers, set for a machine: a short run spends as much on them as on the guest. The budget of scripts is that of V8 before 12 (Node 20); later ones have
 * compilers in between, and counts of calls instead. docs/decisions/0006-regions.md has the figures of the budgets.
 */
import { setFlagsFromString } from 'node:v8';
import type { CompiledCode } from '../engine/options.ts';

const hasOldScriptBudget = Number.parseInt(process.versions.v8, 10) < 12;
/**
 * Bytes of WebAssembly that a function runs before it is optimised. Handlers are small and run often. Regions are large: the kernel's are few and earn it back, most of a
 * process's never do.
 */
const wasmBudget: Readonly<Record<CompiledCode, number>> = { handlers: 8_000_000, supervisor: 80_000_000, user: 300_000_000 };
/** Bytes of JavaScript's byte code that a function runs between two looks at whether to optimise it: while a guest starts, and V8's own. */
const scriptBudget = { start: 270_000, later: 67_584 } as const;
const startMs = 3000;

/**
 * Before the engine is made. With less inlining a boot takes 4.6 s of CPU instead of 5.3, and long runs take what they took. What lives long while the
 * engine starts is short-lived later, so where objects are made says nothing about how long they live: with V8's guess, code that is written at run time
 * took 1.6 times as long in every other process. Branch hints are on by themselves from V8 13.7 on. Loops are not peeled nor unrolled, since a region's loops are seldom short:
 * their code was made twice. Stack checks are for recursion, which no WebAssembly here has, and each run of the engine is bounded by its fuel.
 */
export function tuneForStart(): void {
  setFlagsFromString('--max-inlined-bytecode-size-cumulative=200');
  setFlagsFromString('--no-allocation-site-pretenuring');
  setFlagsFromString('--experimental-wasm-branch-hinting');
  setFlagsFromString('--no-wasm-loop-unrolling');
  setFlagsFromString('--no-wasm-loop-peeling');
  setFlagsFromString('--no-wasm-stack-checks');
  if (!hasOldScriptBudget) return;
  setFlagsFromString(`--interrupt-budget=${scriptBudget.start}`);
  setTimeout(() => setFlagsFromString(`--interrupt-budget=${scriptBudget.later}`), startMs).unref();
}
/** Before V8 compiles a module. */
export function tuneFor(code: CompiledCode): void {
  setFlagsFromString(`--wasm-tiering-budget=${wasmBudget[code]}`);
}
