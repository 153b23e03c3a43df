/** A region: blocks of code as one WebAssembly function (state, record) -> outcome. */
import { assert } from '../../base/assert.ts';
import { offsetOf } from '../../cpu/state.ts';
import { pageBytes } from '../../memory/pool.ts';
import { cachedRecord, isCached } from '../interpreter/jump-cache.ts';
import { Outcome, Record } from '../interpreter/record.ts';
import { type Hint, hinted } from '../wasm/branch-hints.ts';
import { memoryCode } from '../wasm/graph.ts';
import { type FunctionBody, signedLeb, signedLeb32, unsignedLeb } from '../wasm/module.ts';
import { Op } from '../wasm/opcodes.ts';
import { Structure } from '../wasm/structure.ts';
import { type Block, pageOf, repeats, type Step } from './discover.ts';
import { enterable, type FlagKind, meet, sameKind, vectorKind } from './flag-kind.ts';
import { pageIsElsewhere } from './page-check.ts';
import { RegionLocals } from './region-locals.ts';
import { RegionOps } from './region-ops.ts';
import { exitWord, ipIsSet, type Known, nothingKnown, type Surroundings } from './surroundings.ts';
import { translate } from './trait.ts';
import { Windows } from './windows.ts';

/** Flags that only POPF and the like can make differ from the result; see cpu/flags.ts. */
const differenceBits = 0x84;

/** The blocks that may come next, once for each way that leads there. */
function nextOf(b: Block): readonly number[] {
  const last = b.steps.at(-1);
  const twice = last !== undefined && repeats(last.decoded) ? [b.behind] : [];
  return [b.target, ...b.guesses, b.behind, ...twice, b.returnTo].filter((n) => n !== undefined);
}

const dispatcher = 0;
const landingOf = (block: number): number => 2 * block + 1;
const nodeOf = (block: number): number => 2 * block + 2;

interface RegionOptions {
  /** Floating point may be off. */
  readonly restricted: boolean;
  /** No windows that accesses share. */
  readonly narrow: boolean;
  /** The dispatcher counts the ways out, so all lead there. */
  readonly profiled: boolean;
}

export class Region {
  readonly blocks: readonly Block[];
  /** Offsets at which it can be entered, by the number that the record holds. */
  readonly entries: readonly number[];
  readonly #restricted: boolean;
  readonly #profiled: boolean;
  readonly #locals = new RegionLocals();
  readonly #structure: Structure;
  readonly #mapOf: (page: number) => number;
  readonly #kinds: (FlagKind | undefined)[];
  readonly #fuelNeeded: number[];
  readonly #exitKinds: FlagKind[] = [vectorKind];
  /** The depth at which the labels of exits, loops and merges stand. */
  readonly #exitDepths: number[] = [];
  readonly #loopDepths = new Map<number, number>();
  readonly #mergeDepths = new Map<number, number>();
  readonly #code = new Map<number, readonly RegionOps[]>();
  readonly #windows: Windows;
  /** What is known where control comes to a block in one way only. */
  readonly #reached = new Map<number, Known>();

  /** `mapOf`: the map of decoded code that the TLB has for a page while it is where it was; pages count from the region's first. */
  constructor(blocks: readonly Block[], { restricted, narrow, profiled }: RegionOptions, mapOf: (page: number) => number) {
    this.#windows = new Windows(this.#locals, narrow);
    this.blocks = blocks;
    this.#restricted = restricted;
    this.#profiled = profiled;
    this.#mapOf = mapOf;
    const successors: number[][] = [[]];
    blocks.forEach((b, n) => {
      if (b.entered) successors[dispatcher]?.push(landingOf(n));
      successors[landingOf(n)] = [nodeOf(n)];
      successors[nodeOf(n)] = [...nextOf(b).map(nodeOf), ...(b.dispatches ? [dispatcher] : [])];
    });
    this.#structure = new Structure(successors);
    this.entries = blocks.filter((b) => b.entered).map((b) => b.offset);
    this.#kinds = this.#findKinds();
    this.#fuelNeeded = this.#findFuel();
  }

  #block(node: number): Block {
    return this.blocks[(node - 1) >> 1] as Block;
  }
  #isLanding(node: number): boolean {
    return node !== dispatcher && (node & 1) === 1;
  }
  /** Ways back lead here: what is left of the fuel is looked at. */
  #isChecked(node: number): boolean {
    return this.#structure.isLoop(node) || (!this.#isLanding(node) && this.#structure.dispatched.includes(node));
  }

  /** How each block finds the flags. */
  #findKinds(): (FlagKind | undefined)[] {
    const kinds: (FlagKind | undefined)[] = [];
    const after = this.blocks.map((b) => b.steps.findLast((s) => s.trait.flags !== undefined)?.trait.flags);
    for (let changed = true; changed; ) {
      changed = false;
      const found: (FlagKind | undefined)[] = [];
      for (const node of this.#structure.nodes) {
        if (node === dispatcher || this.#isLanding(node)) continue;
        const n = (node - 2) >> 1;
        const out = after[n] ?? kinds[n];
        if (!out) continue;
        for (const to of nextOf(this.#block(node))) {
          const known = found[to];
          found[to] = known ? meet(known, out) : out;
        }
      }
      this.blocks.forEach((b, n) => {
        const internal = found[n];
        const kind = b.entered ? (internal ? enterable(internal) : vectorKind) : internal;
        const old = kinds[n];
        if (kind && (!old || !sameKind(old, kind))) {
          kinds[n] = old ? this.#lower(meet(old, kind), b) : kind;
          changed ||= !old || !sameKind(old, kinds[n] as FlagKind);
        }
      });
    }
    return kinds;
  }
  #lower(kind: FlagKind, b: Block): FlagKind {
    return b.entered ? enterable(kind) : kind;
  }
  #kind(node: number): FlagKind {
    return this.#kinds[(node - 1) >> 1] ?? vectorKind;
  }

  /** The most instructions from a node to the next look at the fuel. */
  #findFuel(): number[] {
    const needed: number[] = [];
    for (const node of [...this.#structure.nodes].reverse()) {
      let rest = 0;
      for (const s of this.#structure.successorsOf(node)) if (!this.#isChecked(s)) rest = Math.max(rest, needed[s] ?? 0);
      const own = node === dispatcher || this.#isLanding(node) ? 0 : this.#block(node).steps.length;
      needed[node] = own + rest;
    }
    return needed;
  }

  // --- code
  function(name: string): FunctionBody {
    for (const node of this.#structure.nodes) {
      if (node === dispatcher || this.#isLanding(node)) continue;
      if (this.#isChecked(node)) this.#announce(this.#kind(node));
      this.#code.set(node, this.#translateBlock(node));
    }
    this.#windows.finish();
    const locals = this.#locals;
    const body: number[] = [];
    for (const _kind of this.#exitKinds) {
      this.#open(body, Op.block);
      this.#exitDepths.push(locals.depth);
    }
    this.#tree(dispatcher, body);
    for (let n = this.#exitKinds.length - 1; n >= 0; n--) {
      this.#close(body);
      if (n === 0) break;
      const o = this.#plain(this.#exitKinds[n] as FlagKind);
      o.toVector();
      o.graph.finish(body);
      body.push(Op.br, ...unsignedLeb(locals.depth - (this.#exitDepths[0] as number)));
    }
    this.#leave(body);
    const code = [...this.#prologue(), ...body];
    return { name, signature: { parameters: ['i32', 'i32'], results: ['i32'] }, locals: locals.types, code };
  }

  #prologue(): number[] {
    const locals = this.#locals;
    const out = locals.loads();
    for (const [name, field] of [
      ['entry', Record.entry],
      ['slot', Record.handler],
    ] as const)
      if (locals.has(name)) out.push(Op.localGet, 1, ...memoryCode(Op.i32Load16U, field), Op.localSet, ...unsignedLeb(locals.named(name)));
    if (locals.has('hostFloat')) {
      // the control bits are the default; shifted up when precision is sticky
      const load = [Op.localGet, 0, ...memoryCode(Op.i32Load, offsetOf('mxcsr'))];
      const bits = (mask: number): number[] => [Op.i32Const, ...signedLeb32(mask), Op.i32And];
      out.push(...load, ...bits(0xffc0), Op.i32Const, ...signedLeb(0x1f80n), Op.i32Eq);
      out.push(...load, Op.i32Const, 5, Op.i32ShrU, ...bits(1), Op.i32Shl);
      out.push(Op.localSet, ...unsignedLeb(locals.named('hostFloat')));
    }
    return out;
  }
  /** The end of every way out: the state is written back. Most ways lead to a record that the jump cache has. */
  #leave(out: number[]): void {
    const locals = this.#locals;
    const get = (name: 'exit' | 'exitOffset' | 'fuel' | 'codePage' | 'flagWord' | 'flagResult'): number[] => [
      Op.localGet,
      ...unsignedLeb(locals.named(name)),
    ];
    const i32 = (value: number): number[] => [Op.i32Const, ...signedLeb32(value)];
    out.push(...locals.stores());
    if (locals.setsFlags) {
      out.push(Op.localGet, 0, ...get('flagWord'), ...memoryCode(Op.i32Store, offsetOf('flagBits')));
      out.push(Op.localGet, 0, ...get('flagResult'), ...memoryCode(Op.i64Store, offsetOf('flagResult')));
    }
    out.push(Op.localGet, 0, ...get('fuel'), ...get('exit'), ...i32(4), Op.i32ShrU, Op.i32Sub);
    out.push(...memoryCode(Op.i32Store, offsetOf('fuel')));
    const jump = { ip: locals.named('exitIp'), entry: locals.named('exitEntry') };
    out.push(...get('exit'), ...i32(ipIsSet), Op.i32And, Op.i32Eqz, Op.if, 0x40);
    out.push(...get('codePage'), ...get('exitOffset'), Op.i64ExtendI32S, Op.i64Add, Op.localSet, ...unsignedLeb(jump.ip), Op.end);
    if (!this.#profiled) {
      out.push(...get('exit'), ...i32(7), Op.i32And, ...i32(Outcome.goOn), Op.i32Eq, ...isCached(jump), Op.i32And);
      out.push(hinted(Op.if, 'likely'), 0x40, ...cachedRecord(jump), Op.return, Op.end);
    }
    out.push(Op.localGet, 0, Op.localGet, ...unsignedLeb(jump.ip), ...memoryCode(Op.i64Store, offsetOf('ip')));
    out.push(Op.localGet, 0, ...i32(0), ...memoryCode(Op.i32Store, offsetOf('record')));
    out.push(...get('exit'), ...i32(7), Op.i32And);
  }

  #translateBlock(node: number): readonly RegionOps[] {
    const block = this.#block(node);
    const around = this.#around(node);
    const isReachedInOneWay = !this.#structure.isMerge(node) && !this.#structure.isLoop(node);
    const known = (isReachedInOneWay && this.#reached.get(node)) || nothingKnown();
    let kind = this.#kind(node);
    return block.steps.map((step, n) => {
      const o = new RegionOps(around, { decoded: step.decoded, offset: step.offset, retired: n }, kind, known);
      if (step.trait.translated) translate(o, step.decoded, this.#restricted);
      else o.interpret();
      if (n === block.steps.length - 1 && !o.ended) o.fallThrough();
      kind = o.kind;
      return o;
    });
  }
  #around(node: number): Surroundings {
    const block = node === dispatcher ? undefined : this.#block(node);
    return {
      locals: this.#locals,
      windows: this.#windows,
      reach: (target, known) => void this.#reached.set(nodeOf(target), known),
      target: block?.target,
      behind: block?.behind,
      guesses: [
        ...(block?.guesses ?? []).map((n) => this.#guess(n, undefined)),
        ...(block?.returnTo === undefined ? [] : [this.#guess(block.returnTo, 'likely')]),
      ],
      page: block?.dispatches ? { offset: pageOf(block.offset) * pageBytes, map: this.#mapOf(pageOf(block.offset)) } : undefined,
      dispatch: (out, kind, retired) => {
        if (block) this.#addToPage(pageOf(block.offset), out); // a landing expects the address of its own page
        this.#spend(out, retired);
        const o = this.#plain(kind);
        o.toVector();
        o.graph.finish(out);
        out.push(Op.br, ...unsignedLeb(this.#locals.depth - (this.#loopDepths.get(dispatcher) as number)));
      },
      goTo: (out, target, kind, retired) => {
        const to = nodeOf(target);
        if (block && target !== block.returnTo) this.#checkPage(block, target, kind, retired, out);
        this.#spend(out, retired);
        const wanted = this.#kind(to);
        if (!sameKind(kind, wanted)) {
          const o = this.#plain(kind);
          o.convert(wanted);
          o.graph.finish(out);
        }
        this.#branch(node, to, out);
      },
      exit: (out, kind, word, offset) => this.#exit(out, kind, word, offset),
      announceExit: (kind) => this.#announce(kind),
    };
  }
  #guess(block: number, hint: Hint): Surroundings['guesses'][number] {
    return { block, offset: this.blocks[block]?.offset ?? 0, hint };
  }
  #announce(kind: FlagKind): void {
    if (!this.#exitKinds.some((k) => sameKind(k, kind))) this.#exitKinds.push(kind);
  }
  /** For code of the region itself, between instructions. */
  #plain(kind: FlagKind): RegionOps {
    const step = this.blocks[0]?.steps[0] as Step;
    return new RegionOps(this.#around(dispatcher), { decoded: step.decoded, offset: 0, retired: 0 }, kind, nothingKnown());
  }
  #spend(out: number[], retired: number): void {
    const fuel = unsignedLeb(this.#locals.named('fuel'));
    out.push(Op.localGet, ...fuel, Op.i32Const, ...signedLeb32(retired), Op.i32Sub, Op.localSet, ...fuel);
  }
  #exit(out: number[], kind: FlagKind, word: number, offset: number | undefined): void {
    const n = this.#exitKinds.findIndex((k) => sameKind(k, kind));
    assert(n >= 0, 'exit announced');
    out.push(Op.i32Const, ...signedLeb32(word), Op.localSet, ...unsignedLeb(this.#locals.named('exit')));
    if (offset !== undefined) out.push(Op.i32Const, ...signedLeb32(offset), Op.localSet, ...unsignedLeb(this.#locals.named('exitOffset')));
    out.push(Op.br, ...unsignedLeb(this.#locals.depth - (this.#exitDepths[n] as number)));
  }

  // --- structure
  #open(out: number[], op: number): void {
    out.push(op, 0x40);
    this.#locals.enter();
  }
  #close(out: number[]): void {
    out.push(Op.end);
    this.#locals.leave();
  }
  #tree(node: number, out: number[]): void {
    const loop = this.#structure.isLoop(node);
    if (loop) {
      this.#open(out, Op.loop);
      this.#loopDepths.set(node, this.#locals.depth);
    }
    const merges = this.#structure.mergesUnder(node);
    for (const merge of merges) {
      this.#open(out, Op.block);
      this.#mergeDepths.set(merge, this.#locals.depth);
    }
    this.#body(node, out);
    for (let n = merges.length - 1; n >= 0; n--) {
      this.#close(out);
      this.#tree(merges[n] as number, out);
    }
    if (loop) this.#close(out);
  }
  #body(node: number, out: number[]): void {
    if (node === dispatcher) return this.#dispatch(out);
    const block = this.#block(node);
    const to = node + (node & 1); // of a landing, the block it is for
    if (this.#isLanding(node)) this.#findFirstPage(block, out);
    if (this.#isChecked(node) || (this.#isLanding(node) && !this.#isChecked(to))) this.#checkFuel(node, out);
    if (this.#isLanding(node)) {
      this.#land(to, out);
      this.#branch(node, to, out);
      return;
    }
    for (const o of this.#code.get(node) ?? []) {
      this.#locals.nextInstruction();
      o.graph.finish(out);
    }
  }
  #dispatch(out: number[]): void {
    const targets = this.#structure.dispatched.map((n) => this.#locals.depth - (this.#mergeDepths.get(n) as number));
    if (targets.length === 1) out.push(Op.br, ...unsignedLeb(targets[0] as number));
    else {
      const last = targets.at(-1) as number;
      out.push(Op.localGet, ...unsignedLeb(this.#locals.named('entry')), Op.brTable, ...unsignedLeb(targets.length - 1));
      for (const t of targets.slice(0, -1)) out.push(...unsignedLeb(t));
      out.push(...unsignedLeb(last));
    }
  }
  #checkFuel(node: number, out: number[]): void {
    const kind = this.#isLanding(node) ? vectorKind : this.#kind(node);
    out.push(Op.localGet, ...unsignedLeb(this.#locals.named('fuel')));
    out.push(Op.i32Const, ...signedLeb32(this.#fuelNeeded[node] ?? 0), Op.i32LtS);
    this.#open(out, hinted(Op.if, 'unlikely'));
    this.#exitUnstarted(node, kind, out);
    this.#close(out);
  }
  #exitUnstarted(node: number, kind: FlagKind, out: number[]): void {
    this.#exit(out, kind, exitWord(Outcome.asItself, 0), this.#block(node).offset);
  }
  /** Who comes in on another page brings that one's address. */
  #findFirstPage(block: Block, out: number[]): void {
    this.#addToPage(-pageOf(block.offset), out);
  }
  #addToPage(pages: number, out: number[]): void {
    if (pages === 0) return;
    const local = unsignedLeb(this.#locals.named('codePage'));
    out.push(Op.localGet, ...local, Op.i64Const, ...signedLeb(BigInt(pages) << 12n), Op.i64Add, Op.localSet, ...local);
  }
  /** Before control goes to another page: the TLB must have the code that was translated there. */
  #checkPage(from: Block, to: number, kind: FlagKind, retired: number, out: number[]): void {
    const target = this.blocks[to] as Block;
    const page = pageOf(target.offset);
    if (page === pageOf(from.offset)) return;
    out.push(...pageIsElsewhere(this.#locals, page, this.#mapOf(page)));
    this.#open(out, hinted(Op.if, 'unlikely'));
    this.#exit(out, kind, exitWord(Outcome.goOn, retired), target.offset);
    this.#close(out);
  }
  /** From the vector that comes in to what the block expects. */
  #land(to: number, out: number[]): void {
    const kind = this.#kind(to);
    if (kind.rule === 'vector') return;
    out.push(Op.localGet, ...unsignedLeb(this.#locals.named('flagWord')), Op.i32Const, ...signedLeb32(differenceBits), Op.i32And);
    this.#open(out, hinted(Op.if, 'unlikely'));
    this.#exitUnstarted(to, vectorKind, out);
    this.#close(out);
    const o = this.#plain(vectorKind);
    o.fromVector(kind);
    o.graph.finish(out);
  }
  #branch(from: number, to: number, out: number[]): void {
    const s = this.#structure;
    const br = (depth: number | undefined): void => {
      out.push(Op.br, ...unsignedLeb(this.#locals.depth - (depth as number)));
    };
    if (s.isIrreducible(from, to)) {
      out.push(Op.i32Const, ...signedLeb32(s.dispatched.indexOf(to)), Op.localSet, ...unsignedLeb(this.#locals.named('entry')));
      br(this.#loopDepths.get(dispatcher));
    } else if (s.isBack(from, to)) br(this.#loopDepths.get(to));
    else if (s.isMerge(to)) br(this.#mergeDepths.get(to));
    else this.#locals.apart(() => this.#tree(to, out));
  }
}
