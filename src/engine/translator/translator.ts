/** The translator: makes regions of what the interpreter finds hot, many to a module, and forgets them when their code is written. */
import { present } from '../../base/assert.ts';
import type { Processor } from '../../cpu/processor.ts';
import { At, userCode } from '../../cpu/state.ts';
import { pageBytes } from '../../memory/pool.ts';
import { Callees } from '../interpreter/callees.ts';
import { regionsMax } from '../interpreter/handlers.ts';
import type { Interpreter } from '../interpreter/interpreter.ts';
import { ShapeMap } from '../interpreter/shapes.ts';
import type { RegionEntry, Translation } from '../interpreter/translation.ts';
import type { CompiledCode } from '../options.ts';
import type { EngineProfile } from '../profile.ts';
import { type FunctionBody, ModuleBuilder } from '../wasm/module.ts';
import { type Block, discover, pageOf, type Step, type Trait } from './discover.ts';
import { type CodeRange, type LibraryRegion, RegionLibrary } from './library.ts';
import { NotTranslated } from './not-translated.ts';
import { mapOffset } from './page-check.ts';
import { type Hot, PageView } from './page-view.ts';
import { Region } from './region.ts';

/** So many hot places make a module; fewer do after so many instructions, since a module by itself takes V8 as long as many regions in it. */
const batch = 32;
const defaultPatience = 1_000_000;
/** After so many entries a place is worth translating. */
export const hotEntries = 16_000;

/** Once in so many instructions it is looked how often regions missed their memory; a miss in every so many is too often. */
const missesInterval = 200_000;
const instructionsPerMiss = 1000;

/** When there are too many regions, one in so many goes. */
const evictedPart = 8;
/** So many regions are kept for other places with the same code, whether they are in use or not. */
const libraryMax = 2048;

/** A region in use: the pages its code lies on, and where it is entered. */
interface Installed {
  readonly region: LibraryRegion;
  readonly slot: number;
  readonly ranges: readonly CodeRange[];
  readonly entries: readonly (readonly [page: number, offset: number])[];
}
/** What the code of a module has in common: the privilege level it runs at. */
type CodeLevel = Exclude<CompiledCode, 'handlers'>;
/** So many instructions make a region at most. The kernel's ways are long, and run often enough to earn the compiler's time back; an interpreter's loop in a process would become several large regions. */
const instructionsMax: Readonly<Record<CodeLevel, number>> = { supervisor: 300, user: 200 };
/** Hot places that wait to be translated together. */
interface Waiting {
  places: Map<number, Hot>;
  count: number;
  /** Instructions since the first of them. */
  instructions: number;
}
const levels: readonly CodeLevel[] = ['supervisor', 'user'];
const nothingWaits = (): Waiting => ({ places: new Map(), count: 0, instructions: 0 });
/** A region that is to be made, and the places where it is to be entered. */
interface Planned {
  readonly view: PageView;
  readonly blocks: readonly Block[];
  readonly entries: ReadonlySet<number>;
  readonly narrow: boolean;
}
interface Made {
  readonly region: Region;
  readonly view: PageView;
  readonly body: FunctionBody;
}

/** The bytes that blocks were made of; pages count from the region's first. */
function rangesOf(blocks: readonly Block[]): readonly CodeRange[] {
  const ranges: CodeRange[] = [];
  for (const b of blocks) {
    const page = pageOf(b.offset);
    const start = b.offset - page * pageBytes;
    const last = b.steps.at(-1) as Step;
    ranges.push({ page, start, end: start + last.offset + last.decoded.length - b.offset });
  }
  return ranges;
}

export interface TranslatorOptions {
  readonly profile?: EngineProfile | undefined;
  /** So many regions are kept. */
  readonly most?: number;
  /** After so many instructions hot places are translated, however few they are. */
  readonly patience?: number;
}

export class Translator implements Translation {
  readonly #p: Processor;
  readonly #interpreter: Interpreter;
  readonly #profile: EngineProfile | undefined;
  readonly #entries = new Map<number, Map<number, RegionEntry>>();
  readonly #installed = new Map<number, Set<Installed>>();
  /** All that are in use, the oldest first. */
  readonly #order = new Set<Installed>();
  readonly #regionsMax: number;
  readonly #patience: number;
  readonly #waiting: Record<CodeLevel, Waiting> = { supervisor: nothingWaits(), user: nothingWaits() };
  /** What is being translated. */
  #wanted = new Map<number, Hot>();
  /** Instructions run so far, about. */
  #run = 0;
  #missesCounted = 0;
  /** Places whose regions missed their memory so often that they are made without windows. */
  readonly #narrow = new Map<number, Set<number>>();
  readonly #library = new RegionLibrary(libraryMax);
  readonly #targets = new Map<number, Map<number, Set<number>>>();
  readonly #traits: Readonly<Record<'plain' | 'restricted', ShapeMap<Trait>>> = { plain: new ShapeMap(), restricted: new ShapeMap() };
  /** How often what happened; for profiles. */
  readonly counts = { modules: 0, regions: 0, instructions: 0, bytes: 0, reused: 0, forgotten: 0, evicted: 0, narrowed: 0, refused: 0 };

  constructor(p: Processor, interpreter: Interpreter, { profile, most = regionsMax, patience = defaultPatience }: TranslatorOptions = {}) {
    this.#p = p;
    this.#regionsMax = most;
    this.#patience = patience;
    p.v.set(At.hotEntries, hotEntries);
    this.#profile = profile;
    this.#interpreter = interpreter;
  }

  hot(page: number, offset: number): void {
    const { v } = this.#p;
    const mode = Number(v.get64(At.codeMode));
    const level = (mode & userCode) === 0 ? 'supervisor' : 'user';
    const waiting = this.#waiting[level];
    let hot = waiting.places.get(page);
    if (!hot) {
      hot = { address: v.get64(At.codePage), mode, offsets: new Set() };
      waiting.places.set(page, hot);
    }
    hot.offsets.add(offset);
    waiting.count++;
    if (waiting.count >= batch) this.#translate(level);
  }
  tick(instructions: number): void {
    this.#run += instructions;
    if (this.#run - this.#missesCounted >= missesInterval) this.#countMisses();
    for (const level of levels) {
      const waiting = this.#waiting[level];
      if (waiting.count === 0) continue;
      waiting.instructions += instructions;
      if (waiting.instructions >= this.#patience) this.#translate(level);
    }
  }
  /** A region whose windows lie across two pages again and again is made anew without them. */
  #countMisses(): void {
    const { v } = this.#p;
    const tooOften = v.get(At.misses) * instructionsPerMiss > this.#run - this.#missesCounted;
    this.#missesCounted = this.#run;
    v.set(At.misses, 0);
    if (!tooOften) return;
    const [page, offset] = this.#interpreter.placeOf(v.get(At.missedIn) >>> 0);
    const slot = this.entry(page, offset)?.slot;
    const region = [...(this.#installed.get(page) ?? [])].find((r) => r.slot === slot);
    if (!region || this.#isNarrow(page, offset)) return;
    for (const [at, within] of region.entries) this.#narrow.set(at, (this.#narrow.get(at) ?? new Set()).add(within));
    this.counts.narrowed++;
    this.#library.remove(region.region);
    this.#drop(region);
  }
  #isNarrow(page: number, offset: number): boolean {
    return this.#narrow.get(page)?.has(offset) === true;
  }
  entry(page: number, offset: number): RegionEntry | undefined {
    return this.#entries.get(page)?.get(offset);
  }
  forget(frame: number, start: number, end: number): void {
    for (let page = frame * 8; page < frame * 8 + 8; page++) {
      for (const level of levels) this.#waiting[level].places.delete(page);
      this.#narrow.delete(page);
      this.#targets.delete(page);
      for (const region of this.#installed.get(page) ?? [])
        if (region.ranges.some((r) => r.page === page && r.start < end && r.end > start)) this.#drop(region);
    }
  }
  #drop(region: Installed): void {
    for (const [page, offset] of region.entries) {
      const entries = this.#entries.get(page);
      if (entries?.get(offset)?.slot !== region.slot) continue;
      entries.delete(offset);
      this.#interpreter.leave(page, offset, region.slot);
    }
    for (const { page } of region.ranges) this.#installed.get(page)?.delete(region);
    this.#order.delete(region);
    this.#interpreter.release(region.slot);
    this.counts.forgotten++;
  }
  /** Makes room: what was made first goes first. */
  #evict(): void {
    let count = Math.ceil(this.#regionsMax / evictedPart);
    for (const region of this.#order) {
      if (count-- === 0) return;
      this.#drop(region);
      this.counts.evicted++;
    }
  }
  /** A region has lost an entry to another; the last one takes it with it. */
  #supersede(page: number, slot: number): void {
    for (const region of this.#installed.get(page) ?? [])
      if (region.slot === slot && !region.entries.some(([at, offset]) => this.entry(at, offset)?.slot === slot)) this.#drop(region);
  }
  clear(): void {
    for (const region of this.#order) this.#interpreter.release(region.slot);
    this.#order.clear();
    this.#installed.clear();
    this.#entries.clear();
    this.#narrow.clear();
    this.#targets.clear();
    this.#traits.plain.clear();
    this.#traits.restricted.clear();
    for (const level of levels) this.#waiting[level] = nothingWaits();
  }

  /** Where the computed jump at a place has gone, as distances from it. */
  targetsOf(page: number, offset: number): Set<number> {
    const inPage = this.#targets.get(page) ?? new Map<number, Set<number>>();
    this.#targets.set(page, inPage);
    const known = inPage.get(offset) ?? new Set();
    inPage.set(offset, known);
    return known;
  }

  /** Makes all that is waiting. */
  translate(): void {
    for (const level of levels) this.#translate(level);
  }
  #translate(level: CodeLevel): void {
    const { places } = this.#waiting[level];
    this.#waiting[level] = nothingWaits();
    if (this.#profile) this.#profile.time('translation', () => this.#make(places, level));
    else this.#make(places, level);
  }
  #make(places: Map<number, Hot>, level: CodeLevel): void {
    const callees = new Callees();
    const made: Made[] = [];
    for (const { view, blocks, narrow } of this.#plan(places, instructionsMax[level])) {
      const options = { restricted: view.restricted, narrow, profiled: this.#profile !== undefined };
      const region = new Region(blocks, { ...options, callIndex: callees.number });
      const body = this.#bodyOf(region, `r${made.length}`);
      if (!body) continue;
      for (const b of blocks) this.counts.instructions += b.steps.length;
      made.push({ region, view, body });
    }
    if (made.length > 0) this.#install(made, callees, level);
  }
  /** The regions around hot places. One that knows more cases of a switch takes the place of those that it has all entries of. */
  #plan(places: Map<number, Hot>, most: number): readonly Planned[] {
    const planned: Planned[] = [];
    this.#wanted = places;
    for (const [page, { address, mode, offsets }] of places) {
      for (const offset of [...offsets].sort((a, b) => a - b)) {
        if (!offsets.has(offset)) continue; // part of a region before
        const view = this.#view(page, { address, mode });
        const blocks = discover(view, offset, most);
        if (blocks.length === 0) continue;
        const entries = new Set<number>();
        for (const b of blocks) {
          const [at, within] = view.place(b.offset);
          if (!b.entered || at === undefined) continue;
          entries.add(at * pageBytes + within);
          places.get(at)?.offsets.delete(within);
        }
        if (blocks.some((b) => b.dispatches))
          for (let n = planned.length - 1; n >= 0; n--)
            if ([...(planned[n] as Planned).entries].every((e) => entries.has(e))) planned.splice(n, 1);
        planned.push({ view, blocks, entries, narrow: this.#isNarrow(page, offset) });
      }
    }
    this.#wanted = new Map();
    return planned;
  }
  /** Undefined where an instruction can't be translated though by itself it could: the interpreter keeps the place. None is known. */
  #bodyOf(region: Region, name: string): FunctionBody | undefined {
    try {
      return region.function(name);
    } catch (problem) {
      if (!(problem instanceof NotTranslated)) throw problem;
      this.counts.refused++;
      this.#profile?.refuse(problem.why);
      return undefined;
    }
  }
  /** Whether a region that has this place should be entered there. */
  isWanted(page: number, offset: number): boolean {
    return this.#wanted.get(page)?.offsets.has(offset) === true || this.entry(page, offset) !== undefined;
  }
  #install(made: readonly Made[], callees: Callees, level: CodeLevel): void {
    const module = new ModuleBuilder(callees.imports());
    for (const { body } of made) module.add(body);
    const bytes = module.bytes();
    this.counts.modules++;
    this.counts.bytes += bytes.length;
    const compile = (): WebAssembly.Exports => this.#interpreter.instantiate(bytes, level);
    const exports = this.#profile ? this.#profile.time('compilation', compile) : compile();
    for (const [n, { region, view, body }] of made.entries()) {
      const { blocks, entries, pages, isNarrow } = region;
      const ranges = rangesOf(blocks);
      const code = ranges.map((r) => view.bytes(r));
      const run = present(exports[`r${n}`], 'region') as () => number;
      const steps = this.#profile && blocks.flatMap((b) => b.steps);
      const shared: LibraryRegion = {
        run,
        mode: view.mode,
        isNarrow,
        entries,
        pages,
        ranges,
        code,
        profiled: steps && { steps, body, callees: callees.list },
      };
      this.#library.add(shared);
      this.#place(shared, view);
      this.counts.regions++;
    }
  }

  mayKnow(page: number, offset: number): boolean {
    return this.#library.mayKnow(this.#p.v.pool.bytes, Math.floor(page / 8), offset, page & 7);
  }
  reuse(page: number, offset: number): boolean {
    const { v } = this.#p;
    const mode = Number(v.get64(At.codeMode));
    for (const { region, entry } of this.#library.candidates(v.pool.bytes, Math.floor(page / 8), offset, page & 7)) {
      if (!region.isNarrow && this.#isNarrow(page, offset)) continue;
      const address = BigInt.asUintN(64, v.get64(At.codePage) - BigInt(pageOf(entry) * pageBytes));
      const first = pageOf(entry) === 0 ? page : this.#interpreter.pages.pageAt(address, mode);
      if (first === undefined) continue;
      const view = this.#view(first, { address, mode });
      if (!region.ranges.every((range, n) => view.has(range, region.code[n] as Uint8Array))) continue;
      if (!this.#place(region, view)) return false;
      this.counts.reused++;
      this.#profile?.reuse();
      return true;
    }
    return false;
  }
  #view(page: number, at: Pick<Hot, 'address' | 'mode'>): PageView {
    return new PageView(this.#p, this.#interpreter, this, this.#traits[(page & 4) !== 0 ? 'restricted' : 'plain'], page, at);
  }
  /** Has the records of its entries enter a region that was made, or may as well have been made, of the code there. False when all code is about to be forgotten. */
  #place(region: LibraryRegion, view: PageView): boolean {
    const { pages } = this.#interpreter;
    const bytes = mapOffset(region.pages.length + (region.pages.length & 1)); // records behind it stay at multiples of 8
    if (!pages.hasRoom(bytes)) return false;
    if (this.#order.size >= this.#regionsMax) this.#evict();
    const maps = pages.allocate(bytes);
    for (const [n, page] of region.pages.entries()) this.#p.v.words[(maps + mapOffset(n)) >>> 2] = pages.mapOf(view.page(page) ?? 0);
    const ranges: CodeRange[] = [];
    for (const { page, start, end } of region.ranges) {
      const at = present(view.page(page), 'page');
      pages.markCode(Math.floor(at / 8), start, end);
      ranges.push({ page: at, start, end });
    }
    const slot = this.#interpreter.install(region.run);
    this.#remember(region, ranges, view, slot, maps);
    const { profiled } = region;
    if (profiled) {
      const instructions = profiled.steps.map((s) => ({ address: view.address(s.offset), decoded: s.decoded }));
      this.#profile?.region(slot, instructions, profiled.body, profiled.callees);
    }
    return true;
  }
  #remember(region: LibraryRegion, ranges: readonly CodeRange[], view: PageView, slot: number, maps: number): void {
    const places: (readonly [page: number, offset: number])[] = [];
    for (const offset of region.entries) {
      const [page, within] = view.place(offset);
      if (page !== undefined) places.push([page, within]);
    }
    const installed: Installed = { region, slot, ranges, entries: places };
    this.#order.add(installed);
    for (const { page } of ranges) {
      const regions = this.#installed.get(page);
      if (regions) regions.add(installed);
      else this.#installed.set(page, new Set([installed]));
    }
    for (const [entry, [page, offset]] of places.entries()) {
      let entries = this.#entries.get(page);
      if (!entries) {
        entries = new Map();
        this.#entries.set(page, entries);
      }
      const before = entries.get(offset);
      entries.set(offset, { slot, entry, maps });
      if (before) this.#supersede(page, before.slot);
      this.#interpreter.enter(page, offset, { slot, entry, maps });
    }
  }
}
