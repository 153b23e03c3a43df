/** The translator: makes regions of what the interpreter finds hot, many to a module, and forgets them when their code is written. */
import { present } from '../../base/assert.ts';
import type { Processor } from '../../cpu/processor.ts';
import { Decoder } from '../../isa/decode.ts';
import { pageBytes } from '../../memory/pool.ts';
import { shapeKey } from '../interpreter/handler.ts';
import type { Interpreter } from '../interpreter/interpreter.ts';
import type { Translation } from '../interpreter/translation.ts';
import { ModuleBuilder } from '../wasm/module.ts';
import { type Code, discover, type Trait } from './discover.ts';
import { Region, traitOf } from './region.ts';

/** So many hot places make a module; fewer do after they have waited for so many runs of the engine. */
const batch = 32;
const patience = 16;

interface Entry {
  readonly slot: number;
  readonly entry: number;
}

interface Waiting {
  readonly page: number;
  readonly region: Region;
  readonly name: string;
}

export class Translator implements Translation {
  readonly #p: Processor;
  readonly #interpreter: Interpreter;
  readonly #decoder: Decoder;
  readonly #entries = new Map<number, Map<number, Entry>>();
  readonly #slots = new Map<number, number[]>();
  #pending = new Map<number, Set<number>>();
  #pendingCount = 0;
  #waited = 0;
  readonly #traits = new Map<string, Trait>();
  /** How often what happened; for profiles. */
  readonly counts = { modules: 0, regions: 0, instructions: 0, bytes: 0, forgotten: 0 };

  constructor(p: Processor, interpreter: Interpreter) {
    this.#p = p;
    this.#interpreter = interpreter;
    this.#decoder = new Decoder(p.v.model.instructions);
  }

  hot(page: number, offset: number): void {
    let offsets = this.#pending.get(page);
    if (!offsets) {
      offsets = new Set();
      this.#pending.set(page, offsets);
    }
    offsets.add(offset);
    this.#pendingCount++;
    if (this.#pendingCount >= batch) this.translate();
  }
  tick(): void {
    if (this.#pendingCount > 0 && ++this.#waited >= patience) this.translate();
  }
  entry(page: number, offset: number): Entry | undefined {
    return this.#entries.get(page)?.get(offset);
  }
  forget(frame: number): void {
    for (let page = frame * 8; page < frame * 8 + 8; page++) {
      this.#pending.delete(page);
      this.#entries.delete(page);
      for (const slot of this.#slots.get(page) ?? []) {
        this.#interpreter.release(slot);
        this.counts.forgotten++;
      }
      this.#slots.delete(page);
    }
  }
  clear(): void {
    for (const slots of this.#slots.values()) for (const slot of slots) this.#interpreter.release(slot);
    this.#slots.clear();
    this.#entries.clear();
    this.#pending.clear();
    this.#pendingCount = 0;
  }

  translate(): void {
    const pending = this.#pending;
    this.#pending = new Map();
    this.#pendingCount = 0;
    this.#waited = 0;
    const module = new ModuleBuilder();
    module.importMemory();
    const waiting: Waiting[] = [];
    for (const [page, offsets] of pending) {
      const seeds = [...offsets];
      while (seeds.length > 0) {
        const region = this.#region(page, seeds);
        if (region) {
          const name = `r${waiting.length}`;
          module.add(region.function(name));
          waiting.push({ page, region, name });
        }
        const made = new Set(region?.entries);
        const rest = seeds.slice(1).filter((s) => !made.has(s));
        seeds.length = 0;
        seeds.push(...rest);
      }
    }
    if (waiting.length > 0) this.#install(module, waiting);
  }
  #region(page: number, seeds: readonly number[]): Region | undefined {
    const code = this.#codeOf(page);
    const blocks = discover(code, seeds);
    if (blocks.length === 0) return undefined;
    const frame = Math.floor(page / 8);
    for (const b of blocks) {
      const last = b.steps.at(-1);
      if (last) this.#interpreter.markCode(frame, b.offset, last.offset + last.decoded.length);
      this.counts.instructions += b.steps.length;
    }
    return new Region(blocks, (page & 4) !== 0);
  }
  #codeOf(page: number): Code {
    const { bytes } = this.#p.v.pool;
    const start = Math.floor(page / 8) * pageBytes;
    const restricted = (page & 4) !== 0;
    return {
      at: (offset) => {
        const decoded = this.#decoder.decode(bytes, start + offset, start + pageBytes, 64);
        return typeof decoded === 'string' ? undefined : decoded;
      },
      trait: (decoded) => {
        // a constant can decide whether flags are set
        if (decoded.immediates.length > 0 && decoded.row.operands[0]?.[0] !== 'J') return traitOf(decoded, restricted);
        const key = (restricted ? '!' : '') + shapeKey(decoded);
        let trait = this.#traits.get(key);
        if (!trait) {
          trait = traitOf(decoded, restricted);
          this.#traits.set(key, trait);
        }
        return trait;
      },
      isMet: (offset) => this.#interpreter.hasMet(page, offset),
      isTaken: (offset) => this.entry(page, offset) !== undefined,
    };
  }
  #install(module: ModuleBuilder, waiting: readonly Waiting[]): void {
    const bytes = module.bytes();
    this.counts.modules++;
    this.counts.bytes += bytes.length;
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory: this.#p.v.pool.memory } });
    for (const { page, region, name } of waiting) {
      const slot = this.#interpreter.install(present(exports[name], 'region') as () => number);
      if (slot === undefined) return;
      this.counts.regions++;
      const slots = this.#slots.get(page);
      if (slots) slots.push(slot);
      else this.#slots.set(page, [slot]);
      let entries = this.#entries.get(page);
      if (!entries) {
        entries = new Map();
        this.#entries.set(page, entries);
      }
      for (const [entry, offset] of region.entries.entries()) {
        entries.set(offset, { slot, entry });
        this.#interpreter.enter(page, offset, slot, entry);
      }
    }
  }
}
