/** The translator: makes regions of what the interpreter finds hot, many to a module, and forgets them when their code is written. */
import { present } from '../../base/assert.ts';
import type { Processor } from '../../cpu/processor.ts';
import { At, userCode } from '../../cpu/state.ts';
import { pageBytes } from '../../memory/pool.ts';
import type { Callee } from '../interpreter/callees.ts';
import { regionsMax } from '../interpreter/handlers.ts';
import type { Interpreter } from '../interpreter/interpreter.ts';
import type { RegionEntry, Translation } from '../interpreter/translation.ts';
import type { CompiledCode } from '../options.ts';
import type { EngineProfile } from '../profile.ts';
import type { FunctionBody } from '../wasm/module.ts';
import { type Block, discover, pageOf, type Step } from './discover.ts';
import type { TranslateElsewhere } from './elsewhere.ts';
import { HotPlaces } from './hot-places.ts';
import { InstalledRegions } from './installed.ts';
import { type CodeRange, type LibraryRegion, RegionLibrary } from './library.ts';
import { makeRegions, type RegionPlan } from './maker.ts';
import { mapOffset } from './page-check.ts';
import { type Hot, PageView } from './page-view.ts';
import { packPlan } from './plan-message.ts';
import { Traits } from './traits.ts';

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

/** What the code of a module has in common: the privilege level it runs at. */
type CodeLevel = Exclude<CompiledCode, 'handlers'>;
/** So many instructions make a region at most. The kernel's ways are long, and run often enough to earn the compiler's time back; an interpreter's loop in a process would become several large regions. */
const instructionsMax: Readonly<Record<CodeLevel, number>> = { supervisor: 300, user: 200 };
const levels: readonly CodeLevel[] = ['supervisor', 'user'];
/** A region that is to be made: where, of which bytes, and the places where it is to be entered. */
interface Planned extends RegionPlan {
  readonly view: PageView;
  readonly ranges: readonly CodeRange[];
  readonly code: readonly Uint8Array[];
  readonly entries: ReadonlySet<number>;
}
/** A region of a module that there is. */
interface Made {
  readonly plan: number;
  readonly name: string;
  readonly pages: readonly number[];
  readonly body: FunctionBody | undefined;
}
interface MadeModule {
  readonly exports: WebAssembly.Exports;
  readonly bytes: number;
  readonly regions: readonly Made[];
  readonly callees: readonly Callee[];
  readonly refused: readonly string[];
}
const placeKey = (page: number, offset: number): number => page * pageBytes + offset;

/** The bytes that blocks were made of, one range for each; pages count from the region's first. */
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
  /** Makes the modules, so that the machine's thread need not. */
  readonly elsewhere?: TranslateElsewhere | undefined;
}

export class Translator implements Translation {
  readonly #p: Processor;
  readonly #interpreter: Interpreter;
  readonly #profile: EngineProfile | undefined;
  readonly #installed: InstalledRegions;
  readonly #regionsMax: number;
  readonly #patience: number;
  readonly #waiting: Readonly<Record<CodeLevel, HotPlaces>> = { supervisor: new HotPlaces(), user: new HotPlaces() };
  /** What is being planned. */
  #wanted = new Map<number, Hot>();
  #elsewhere: TranslateElsewhere | undefined;
  /** What is made elsewhere at the moment, and the places that will be entered then. */
  readonly #inFlight = new Set<readonly Planned[]>();
  #coming = new Set<number>();
  /** Instructions run so far, about. */
  #run = 0;
  #missesCounted = 0;
  /** Places whose regions missed their memory so often that they are made without windows. */
  readonly #narrow = new Map<number, Set<number>>();
  readonly #library = new RegionLibrary(libraryMax);
  readonly #targets = new Map<number, Map<number, Set<number>>>();
  readonly #traits = new Traits();
  /** How often what happened; for profiles. `stale`: written while it was made. */
  readonly #counts = { modules: 0, regions: 0, instructions: 0, bytes: 0, reused: 0, evicted: 0, narrowed: 0, refused: 0, stale: 0 };

  constructor(p: Processor, interpreter: Interpreter, options: TranslatorOptions = {}) {
    const { profile, most = regionsMax, patience = defaultPatience, elsewhere } = options;
    this.#p = p;
    this.#elsewhere = elsewhere;
    this.#regionsMax = most;
    this.#patience = patience;
    p.v.set(At.hotEntries, hotEntries);
    this.#profile = profile;
    this.#interpreter = interpreter;
    this.#installed = new InstalledRegions(interpreter);
  }

  get counts() {
    return { ...this.#counts, forgotten: this.#installed.dropped };
  }
  hot(page: number, offset: number): void {
    if (this.#coming.has(placeKey(page, offset))) return;
    const { v } = this.#p;
    const mode = Number(v.get64(At.codeMode));
    const level = (mode & userCode) === 0 ? 'supervisor' : 'user';
    const waiting = this.#waiting[level];
    waiting.add(page, offset, { address: v.get64(At.codePage), mode });
    if (waiting.count >= batch) this.#translate(level);
  }
  tick(instructions: number): void {
    this.#run += instructions;
    if (this.#run - this.#missesCounted >= missesInterval) this.#countMisses();
    for (const level of levels) {
      const waiting = this.#waiting[level];
      if (waiting.tick(instructions) >= this.#patience && waiting.count > 0) this.#translate(level);
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
    const region = this.#installed.at(page, offset);
    if (!region || this.#isNarrow(page, offset)) return;
    for (const [at, within] of region.entries) this.#narrow.set(at, (this.#narrow.get(at) ?? new Set()).add(within));
    this.#counts.narrowed++;
    this.#library.remove(region.region);
    this.#installed.drop(region);
  }
  #isNarrow(page: number, offset: number): boolean {
    return this.#narrow.get(page)?.has(offset) === true;
  }
  entry(page: number, offset: number): RegionEntry | undefined {
    return this.#installed.entry(page, offset);
  }
  forget(frame: number, start: number, end: number): void {
    for (let page = frame * 8; page < frame * 8 + 8; page++) {
      for (const level of levels) this.#waiting[level].forget(page);
      this.#narrow.delete(page);
      this.#targets.delete(page);
      this.#installed.forget(page, start, end);
    }
  }
  clear(): void {
    this.#installed.clear();
    this.#narrow.clear();
    this.#targets.clear();
    this.#traits.clear();
    this.#inFlight.clear();
    this.#coming.clear();
    for (const level of levels) this.#waiting[level].clear();
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
    const places = this.#waiting[level].take();
    if (this.#profile) this.#profile.time('translation', () => this.#make(places, level));
    else this.#make(places, level);
  }
  #make(places: Map<number, Hot>, level: CodeLevel): void {
    const planned = this.#plan(places, instructionsMax[level]);
    if (planned.length === 0) return;
    if (this.#elsewhere) this.#makeElsewhere(planned, level, this.#elsewhere);
    else this.#makeHere(planned, level);
  }
  #makeHere(planned: readonly Planned[], level: CodeLevel): void {
    const made = makeRegions(planned, this.#profile !== undefined);
    const compile = (): WebAssembly.Exports => this.#interpreter.instantiate(made.bytes, level);
    const exports = this.#profile ? this.#profile.time('compilation', compile) : compile();
    const regions = made.regions.map(({ plan, pages, body }) => ({ plan, name: body.name, pages, body }));
    this.#install(planned, { ...made, exports, bytes: made.bytes.length, regions });
  }
  #makeElsewhere(planned: readonly Planned[], level: CodeLevel, elsewhere: TranslateElsewhere): void {
    this.#inFlight.add(planned);
    for (const { entries } of planned) for (const place of entries) this.#coming.add(place);
    const plans = planned.map((plan) => packPlan(plan, plan.code));
    const features = [...this.#p.v.model.instructions];
    elsewhere({ features, plans, code: level, profiled: this.#profile !== undefined }).then(
      (answer) => {
        if (!this.#arrived(planned)) return;
        this.#profile?.spentElsewhere(answer.milliseconds);
        this.#install(planned, { ...answer, exports: this.#interpreter.instantiate(answer.module, level) });
      },
      () => {
        this.#elsewhere = undefined;
        if (this.#arrived(planned)) this.#makeHere(planned, level);
      },
    );
  }
  /** False when all code was forgotten in the meantime. */
  #arrived(planned: readonly Planned[]): boolean {
    if (!this.#inFlight.delete(planned)) return false;
    this.#coming = new Set([...this.#inFlight].flatMap((plans) => plans.flatMap(({ entries }) => [...entries])));
    return true;
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
          entries.add(placeKey(at, within));
          places.get(at)?.offsets.delete(within);
        }
        if (blocks.some((b) => b.dispatches))
          for (let n = planned.length - 1; n >= 0; n--)
            if ([...(planned[n] as Planned).entries].every((e) => entries.has(e))) planned.splice(n, 1);
        const ranges = rangesOf(blocks);
        const code = ranges.map((r) => view.bytes(r));
        planned.push({ view, blocks, ranges, code, entries, restricted: view.restricted, narrow: this.#isNarrow(page, offset) });
      }
    }
    this.#wanted = new Map();
    return planned;
  }
  /** Whether a region that has this place should be entered there. */
  isWanted(page: number, offset: number): boolean {
    if (this.#wanted.get(page)?.offsets.has(offset) === true || this.entry(page, offset) !== undefined) return true;
    return this.#coming.has(placeKey(page, offset));
  }
  #install(planned: readonly Planned[], { exports, bytes, regions, callees, refused }: MadeModule): void {
    for (const why of refused) this.#profile?.refuse(why);
    this.#counts.refused += refused.length;
    this.#counts.modules++;
    this.#counts.bytes += bytes;
    for (const { plan, name, pages, body } of regions) {
      const { view, blocks, ranges, code, narrow } = planned[plan] as Planned;
      const entries = blocks.filter((b) => b.entered).map((b) => b.offset);
      if (!ranges.every((range, n) => view.has(range, code[n] as Uint8Array))) {
        this.#counts.stale++;
        for (const [page, offset] of view.places(entries)) this.#interpreter.countAgain(page, offset);
        continue;
      }
      const run = present(exports[name], 'region') as () => number;
      const steps = blocks.flatMap((b) => b.steps);
      const profiled = this.#profile && body ? { steps, body, callees } : undefined;
      const shared: LibraryRegion = { run, mode: view.mode, isNarrow: narrow, entries, pages, ranges, code, profiled };
      this.#library.add(shared);
      this.#place(shared, view);
      this.#counts.regions++;
      this.#counts.instructions += steps.length;
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
      this.#counts.reused++;
      this.#profile?.reuse();
      return true;
    }
    return false;
  }
  #view(page: number, at: Pick<Hot, 'address' | 'mode'>): PageView {
    return new PageView(this.#p, this.#interpreter, this, this.#traits, page, at);
  }
  /** Has the records of its entries enter a region that was made, or may as well have been made, of the code there. False when all code is about to be forgotten. */
  #place(region: LibraryRegion, view: PageView): boolean {
    const { pages } = this.#interpreter;
    const bytes = mapOffset(region.pages.length + (region.pages.length & 1)); // records behind it stay at multiples of 8
    if (!pages.hasRoom(bytes)) return false;
    if (this.#installed.size >= this.#regionsMax) this.#counts.evicted += this.#installed.evict(Math.ceil(this.#regionsMax / evictedPart));
    const maps = pages.allocate(bytes);
    for (const [n, page] of region.pages.entries()) this.#p.v.words[(maps + mapOffset(n)) >>> 2] = pages.mapOf(view.page(page) ?? 0);
    const ranges: CodeRange[] = [];
    for (const { page, start, end } of region.ranges) {
      const at = present(view.page(page), 'page');
      pages.markCode(Math.floor(at / 8), start, end);
      ranges.push({ page: at, start, end });
    }
    const slot = this.#interpreter.install(region.run);
    this.#installed.add({ region, slot, maps, ranges, entries: view.places(region.entries) });
    const { profiled } = region;
    if (profiled) {
      const instructions = profiled.steps.map((s) => ({ address: view.address(s.offset), decoded: s.decoded }));
      this.#profile?.region(slot, instructions, profiled.body, profiled.callees);
    }
    return true;
  }
}
