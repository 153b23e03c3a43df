/** Regions that another thread makes: the machine runs on in the meantime, and what has changed by then is not entered. */
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { afterEach, expect, test } from 'vitest';
import type { TranslateElsewhere } from '../src/engine/translator/elsewhere.ts';
import { hotEntries } from '../src/engine/translator/translator.ts';
import { TranslatorThread, translationServer } from '../src/host/translator-thread.ts';
import { Bench } from './conformance/bench.ts';
import { makeCase } from './conformance/cases.ts';

/** xor eax, edi; add rsi, step; inc rdx; test dl, 7; jnz over add rbx, rdx; back to the start */
const loop = (step: number): number[] => [
  ...[0x31, 0xf8, 0x48, 0x83, 0xc6, step, 0x48, 0xff, 0xc2],
  ...[0xf6, 0xc2, 7, 0x75, 3, 0x48, 0x01, 0xd3, 0xeb, 0xed],
];
const piece = 10_000;
const pieces = (40 * hotEntries) / piece;

let ports: MessagePort[] = [];
afterEach(() => {
  for (const port of ports) port.close();
  ports = [];
});
/** The worker's end on this thread, behind a channel: messages are cloned, and come when this thread waits. */
function served(): { translate: TranslateElsewhere; answers: () => number; thread: TranslatorThread } {
  const { port1, port2 } = new MessageChannel();
  ports.push(port1, port2);
  const answer = translationServer({ hostMilliseconds: () => performance.now(), compiling: undefined });
  let answers = 0;
  const thread = new TranslatorThread((message) => port1.postMessage(message));
  port2.on('message', (message) => port2.postMessage(answer(message)));
  port1.on('message', (message) => {
    answers++;
    thread.received(message);
  });
  return { translate: thread.translate, answers: () => answers, thread };
}
const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5));

/** The loop runs, `between` its pieces. */
async function run(elsewhere: TranslateElsewhere | undefined, between: (bench: Bench, n: number) => Promise<void> | void = turn) {
  const bench = new Bench({ translate: true, elsewhere });
  const { before } = makeCase(1) ?? {};
  if (!before) throw new Error('no case');
  bench.load({ code: Uint8Array.from(loop(1)), before });
  for (let n = 0; n < pieces; n++) {
    bench.runFor(piece);
    await between(bench, n);
  }
  const { gpr, flags, ip } = bench.state();
  return { state: { gpr: [...gpr], flags, ip }, counts: bench.translator?.counts };
}

test('a region made elsewhere is the one that is made here', async () => {
  const { translate, answers } = served();
  const there = await run(translate);
  const here = await run(undefined);
  expect(answers()).toBeGreaterThan(0);
  expect(here.counts?.regions).toBeGreaterThan(0);
  expect(there).toEqual(here);
});

test('code that was written in the meantime is not entered, and made again', async () => {
  const { translate } = served();
  let asked = 0;
  let written = 0;
  const there = await run(
    (request) => {
      asked++;
      return translate(request);
    },
    async (bench, n) => {
      if (n === 0) bench.replaceCode(loop(1));
      if (asked > 0 && written === 0) {
        written = n;
        bench.replaceCode(loop(3));
      }
      await turn();
    },
  );
  expect(there.counts).toMatchObject({ stale: 1, regions: 1 });
  // the same writes, and what is asked for never comes
  const without = await run(
    () => new Promise(() => {}),
    (bench, n) => {
      if (n === 0) bench.replaceCode(loop(1));
      if (n === written) bench.replaceCode(loop(3));
    },
  );
  expect(without.counts?.regions).toBe(0);
  expect(there.state).toEqual(without.state);
});

test('a worker that is lost with work in hand, or before it: the machine makes its regions itself', async () => {
  const { thread, translate } = served();
  let asked = 0;
  const counting: TranslateElsewhere = (request) => {
    asked++;
    return translate(request);
  };
  const lost = await run(counting, async (_bench, n) => {
    if (asked > 0 && n < pieces) thread.failed(new Error('gone'));
    await turn();
  });
  expect(asked).toBe(1);
  const here = await run(undefined);
  expect(lost.state).toEqual(here.state);
  expect(lost.counts?.regions).toBeGreaterThan(0);
});
