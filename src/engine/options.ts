/** What the executors may be given by those who make a machine. */
import type { EngineProfile } from './profile.ts';

/** What the host's engine compiles: the interpreter's functions, or regions of code that runs at CPL 3 or below it. */
export type CompiledCode = 'handlers' | 'supervisor' | 'user';

export interface EngineOptions {
  readonly profile?: EngineProfile | undefined;
  /** Called before the host's engine compiles a module: it can be told how soon to optimise it. */
  readonly compiling?: ((code: CompiledCode) => void) | undefined;
}
