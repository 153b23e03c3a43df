/** A region: blocks of code as one WebAssembly function (state, record) -> outcome. */
import { assert } from '../../base/assert.ts';
import { offsetOf } from '../../cpu/state.ts';
import { pageBytes } from '../../memory/pool.ts';
import type { Callee } from '../interpreter/callees.ts';
import { cachedRecord, isCached } from '../interpreter/jump-cache.ts';
import { Outcome, outcomeMax, Record } from '../interpreter/record.ts';
import { type Hint, hinted } from '../wasm/branch-hints.ts';
import { Emitter } from '../wasm/emitter.ts';
import type { FunctionBody } from '../wasm/module.ts';
import { Op } from '../wasm/opcodes.ts';
import { Structure } from '../wasm/structure.ts';
import { type Block, nextOf, noGuesses, pageOf, type Step } from './discover.ts';
import { deadFlags, flagsOfBlocks } from './flag-flow.ts';
import { type FlagKind, sameKind, vectorKind } from './flag-kind.ts';
import { pageIsElsewhere } from './page-check.ts';
import { RegionLocals } from './region-locals.ts';
import { RegionOps } from './region-ops.ts';
import { ExitWord, exitWord, type Known, nothingKnown, type Surroundings } from './surroundings.ts';
import { translate } from './trait.ts';
import { VerifiedPages } from './verified-pages.ts';
import { Windows } from './windows.ts';

/** Flags that only POPF and the like can make differ from the result; see cpu/flags.ts. */
const differenceBits = 0x84;

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
  /** The number of a function in the region's module. */
  readonly callIndex: (callee: Callee) => number;
}

export class Region {
  readonly blocks: readonly Block[];
  /** Offsets at which it can be entered, by the number that the record holds. */
  readonly entries: readonly number[];
  readonly isNarrow: boolean;
  readonly #restricted: boolean;
  readonly #profiled: boolean;
  readonly #locals = new RegionLocals();
  readonly #structure: Structure;
  /** The pages whose maps of decoded code it asks for, in the order in which `Record.maps` has them; they count from the first. */
  readonly pages: number[] = [];
  readonly #callIndex: (callee: Callee) => number;
  readonly #kinds: readonly (FlagKind | undefined)[];
  readonly #verified: VerifiedPages;
  readonly #fuelNeeded: Int32Array;
  readonly #exitKinds: FlagKind[] = [vectorKind];
  /** The depth at which the labels of exits, loops and merges stand. */
  readonly #exitDepths: number[] = [];
  readonly #loopDepths = new Map<number, number>();
  readonly #mergeDepths = new Map<number, number>();
  readonly #code = new Map<number, readonly RegionOps[]>();
  readonly #windows: Windows;
  /** What is known where control comes to a block in one way only. */
  readonly #reached = new Map<number, { readonly known: Known; readonly retired: number }>();

  constructor(blocks: readonly Block[], { restricted, narrow, profiled, callIndex }: RegionOptions) {
    this.#windows = new Windows(this.#locals, narrow);
    this.blocks = blocks;
    this.isNarrow = narrow;
    this.#restricted = restricted;
    this.#profiled = profiled;
    this.#callIndex = callIndex;
    const next: (readonly number[])[] = [];
    const entered: number[] = [];
    const successors: number[][] = [entered];
    for (let n = 0; n < blocks.length; n++) {
      const b = blocks[n] as Block;
      const own = nextOf(b);
      next.push(own);
      if (b.entered) entered.push(landingOf(n));
      const nodes: number[] = [];
      for (const to of own) nodes.push(nodeOf(to));
      if (b.dispatches) nodes.push(dispatcher);
      successors.push([nodeOf(n)], nodes); // a landing, and the node behind it
    }
    this.#structure = new Structure(successors);
    this.entries = blocks.filter((b) => b.entered).map((b) => b.offset);
    const order: number[] = [];
    for (const node of this.#structure.nodes) if (node !== dispatcher && !this.#isLanding(node)) order.push((node - 2) >> 1);
    this.#kinds = flagsOfBlocks(blocks, next, order);
    this.#verified = new VerifiedPages(blocks, next, order);
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

  #kind(node: number): FlagKind {
    return this.#kinds[(node - 1) >> 1] ?? vectorKind;
  }

  /** The most instructions from a node to the next look at the fuel. */
  #findFuel(): Int32Array {
    const needed = new Int32Array(this.#structure.order.length);
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
    const body = new Emitter();
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
      body.branch(locals.depth - (this.#exitDepths[0] as number));
    }
    this.#leave(body);
    const code = this.#prologue().append(body.bytes).bytes;
    return { name, signature: { parameters: ['i32', 'i32'], results: ['i32'] }, locals: locals.types, code };
  }

  #prologue(): Emitter {
    const locals = this.#locals;
    const out = new Emitter();
    locals.load(out);
    if (locals.has('entry')) out.get(1).memory(Op.i32Load16U, Record.entry).set(locals.named('entry'));
    if (locals.has('slot')) out.get(1).memory(Op.i32Load16U, Record.handler).set(locals.named('slot'));
    if (locals.has('hostFloat')) {
      // the control bits are the default; shifted up when precision is sticky
      const mxcsr = offsetOf('mxcsr');
      out.get(0).memory(Op.i32Load, mxcsr).i32(0xffc0).op(Op.i32And).i32(0x1f80).op(Op.i32Eq);
      out.get(0).memory(Op.i32Load, mxcsr).i32(5).op(Op.i32ShrU).i32(1).op(Op.i32And).op(Op.i32Shl);
      out.set(locals.named('hostFloat'));
    }
    return out;
  }
  /** The end of every way out: the state is written back. Most ways lead to a record that the jump cache has. */
  #leave(out: Emitter): void {
    const locals = this.#locals;
    const exit = locals.named('exit');
    locals.store(out);
    if (locals.setsFlags) {
      out.get(0).get(locals.named('flagWord')).memory(Op.i32Store, offsetOf('flagBits'));
      out.get(0).get(locals.named('flagResult')).memory(Op.i64Store, offsetOf('flagResult'));
    }
    const word = (): Emitter => out.get(exit).op(Op.i32WrapI64);
    out.get(0).get(locals.named('fuel'));
    word().i32(ExitWord.retiredShift).op(Op.i32ShrU).i32(ExitWord.retired).op(Op.i32And);
    out.op(Op.i32Sub).memory(Op.i32Store, offsetOf('fuel'));
    const jump = { ip: locals.named('exitIp'), entry: locals.named('exitEntry') };
    word().i32(ExitWord.ipIsSet).op(Op.i32And).op(Op.i32Eqz).if();
    out.get(locals.named('codePage'));
    out.get(exit).i64(BigInt(ExitWord.offsetShift)).op(Op.i64ShrS);
    out.op(Op.i64Add).set(jump.ip).end();
    if (!this.#profiled) {
      word().i32(outcomeMax).op(Op.i32And).i32(Outcome.goOn).op(Op.i32Eq);
      isCached(out, jump);
      out.op(Op.i32And).if('likely');
      cachedRecord(out, jump);
      out.op(Op.return).end();
    }
    out.get(0).get(jump.ip).memory(Op.i64Store, offsetOf('ip'));
    out.get(0).i32(0).memory(Op.i32Store, offsetOf('record'));
    word().i32(outcomeMax).op(Op.i32And);
  }

  /** Which of the maps is a page's. */
  #mapOf(page: number): number {
    const at = this.pages.indexOf(page);
    return at >= 0 ? at : this.pages.push(page) - 1;
  }
  #isReachedInOneWay(node: number): boolean {
    return !this.#structure.isMerge(node) && !this.#structure.isLoop(node);
  }
  #translateBlock(node: number): readonly RegionOps[] {
    const block = this.#block(node);
    const around = this.#around(node);
    const { known, retired: before } = (this.#isReachedInOneWay(node) && this.#reached.get(node)) || { known: nothingKnown(), retired: 0 };
    let kind = this.#kind(node);
    const code: RegionOps[] = [];
    const dead = deadFlags(block.steps);
    for (const step of block.steps) {
      const { decoded, offset } = step;
      const n = code.length;
      const o = new RegionOps(around, { decoded, offset, retired: before + n, flagsAreDead: dead[n] === true }, kind, known);
      if (step.trait.translated) translate(o, step.decoded, this.#restricted);
      else o.interpret();
      if (code.push(o) === block.steps.length && !o.ended) o.fallThrough();
      kind = o.kind;
    }
    return code;
  }
  #around(node: number): Surroundings {
    const block = node === dispatcher ? undefined : this.#block(node);
    const guesses: Surroundings['guesses'][number][] = [];
    for (const n of block?.guesses ?? noGuesses) guesses.push(this.#guess(n, undefined));
    if (block?.returnTo !== undefined) guesses.push(this.#guess(block.returnTo, 'likely'));
    return {
      locals: this.#locals,
      windows: this.#windows,
      callIndex: this.#callIndex,
      reach: (target, known, retired) => void this.#reached.set(nodeOf(target), { known, retired }),
      target: block?.target,
      behind: block?.behind,
      guesses,
      page: block?.dispatches ? { offset: pageOf(block.offset) * pageBytes, map: this.#mapOf(pageOf(block.offset)) } : undefined,
      dispatch: (out, kind, retired) => {
        if (block) this.#addToPage(pageOf(block.offset), out); // a landing expects the address of its own page
        this.#spend(out, retired);
        const o = this.#plain(kind);
        o.toVector();
        o.graph.finish(out);
        out.branch(this.#locals.depth - (this.#loopDepths.get(dispatcher) as number));
      },
      goTo: (out, target, kind, retired) => {
        const to = nodeOf(target);
        if (block && !this.#verified.has((node - 1) >> 1, target)) this.#checkPage(target, kind, retired, out);
        if (!this.#isReachedInOneWay(to)) this.#spend(out, retired);
        const wanted = this.#kind(to);
        if (!sameKind(kind, wanted)) {
          const o = this.#plain(kind);
          o.convert(wanted);
          o.graph.finish(out);
        }
        this.#branch(node, to, out);
      },
      exit: (out, kind, word) => this.#exit(out, kind, word),
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
    return new RegionOps(
      this.#around(dispatcher),
      { decoded: step.decoded, offset: 0, retired: 0, flagsAreDead: false },
      kind,
      nothingKnown(),
    );
  }
  #spend(out: Emitter, retired: number): void {
    const fuel = this.#locals.named('fuel');
    out.get(fuel).i32(-retired).op(Op.i32Add).set(fuel);
  }
  #exit(out: Emitter, kind: FlagKind, word: number): void {
    const n = this.#exitKinds.findIndex((k) => sameKind(k, kind));
    assert(n >= 0, 'exit announced');
    out.i64(BigInt(word)).set(this.#locals.named('exit'));
    out.branch(this.#locals.depth - (this.#exitDepths[n] as number));
  }

  // --- structure
  #open(out: Emitter, op: number): void {
    out.open(op);
    this.#locals.enter();
  }
  #close(out: Emitter): void {
    out.end();
    this.#locals.leave();
  }
  #tree(node: number, out: Emitter): void {
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
  #body(node: number, out: Emitter): void {
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
  #dispatch(out: Emitter): void {
    const { dispatched } = this.#structure;
    const depthOf = (node: number): number => this.#locals.depth - (this.#mergeDepths.get(node) as number);
    if (dispatched.length === 1) out.branch(depthOf(dispatched[0] as number));
    else {
      out
        .get(this.#locals.named('entry'))
        .op(Op.brTable)
        .unsigned(dispatched.length - 1);
      for (const node of dispatched) out.unsigned(depthOf(node)); // the last one is the default
    }
  }
  #checkFuel(node: number, out: Emitter): void {
    const kind = this.#isLanding(node) ? vectorKind : this.#kind(node);
    out
      .get(this.#locals.named('fuel'))
      .i32(this.#fuelNeeded[node] ?? 0)
      .op(Op.i32LtS);
    this.#open(out, hinted(Op.if, 'unlikely'));
    this.#exitUnstarted(node, kind, out);
    this.#close(out);
  }
  #exitUnstarted(node: number, kind: FlagKind, out: Emitter): void {
    this.#exit(out, kind, exitWord(Outcome.asItself, 0, this.#block(node).offset));
  }
  /** Who comes in on another page brings that one's address. */
  #findFirstPage(block: Block, out: Emitter): void {
    this.#addToPage(-pageOf(block.offset), out);
  }
  #addToPage(pages: number, out: Emitter): void {
    if (pages === 0) return;
    const local = this.#locals.named('codePage');
    out
      .get(local)
      .i64(BigInt(pages) << 12n)
      .op(Op.i64Add)
      .set(local);
  }
  /** Before control goes to another page: the TLB must have the code that was translated there. */
  #checkPage(to: number, kind: FlagKind, retired: number, out: Emitter): void {
    const target = this.blocks[to] as Block;
    const page = pageOf(target.offset);
    pageIsElsewhere(out, this.#locals, page, this.#mapOf(page));
    this.#open(out, hinted(Op.if, 'unlikely'));
    this.#exit(out, kind, exitWord(Outcome.goOn, retired, target.offset));
    this.#close(out);
  }
  /** From the vector that comes in to what the block expects. */
  #land(to: number, out: Emitter): void {
    const kind = this.#kind(to);
    if (kind.rule === 'vector') return;
    out.get(this.#locals.named('flagWord')).i32(differenceBits).op(Op.i32And);
    this.#open(out, hinted(Op.if, 'unlikely'));
    this.#exitUnstarted(to, vectorKind, out);
    this.#close(out);
    const o = this.#plain(vectorKind);
    o.fromVector(kind);
    o.graph.finish(out);
  }
  #branch(from: number, to: number, out: Emitter): void {
    const s = this.#structure;
    const br = (depth: number | undefined): void => void out.branch(this.#locals.depth - (depth as number));
    if (s.isIrreducible(from, to)) {
      out.i32(s.dispatched.indexOf(to)).set(this.#locals.named('entry'));
      br(this.#loopDepths.get(dispatcher));
    } else if (s.isBack(from, to)) br(this.#loopDepths.get(to));
    else if (s.isMerge(to)) br(this.#mergeDepths.get(to));
    else this.#locals.apart(() => this.#tree(to, out));
  }
}
