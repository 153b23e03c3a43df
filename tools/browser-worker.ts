/** A machine in a browser's Worker: its parts come from the server that the page came from, its console goes there. */
import { buildMachine } from '../src/domain/build.ts';
import { Runner } from '../src/host/runner.ts';
import { TranslatorThread } from '../src/host/translator-thread.ts';

const data = async (name: string): Promise<Uint8Array> => new Uint8Array(await (await fetch(`/${name}`)).arrayBuffer());
const tell = async (path: string, text: string): Promise<void> => void (await fetch(path, { method: 'POST', body: text }));

/** Only gzip, which browsers have. */
async function decompress(packed: Uint8Array): Promise<Uint8Array> {
  const stream = new Blob([new Uint8Array(packed)]).stream().pipeThrough(new DecompressionStream('gzip'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
/** Browsers make timers wait for 4 ms at least; a message to oneself does not. */
function after(milliseconds: number, call: () => void): { cancel(): void } {
  if (milliseconds > 0) {
    const timer = setTimeout(call, milliseconds);
    return { cancel: () => clearTimeout(timer) };
  }
  const channel = new MessageChannel();
  channel.port1.onmessage = () => {
    channel.port1.close();
    call();
  };
  channel.port2.postMessage(0);
  return { cancel: () => channel.port1.close() };
}

/** A Worker of this Worker. */
function translatorThread(): TranslatorThread {
  const worker = new Worker('/build/tools/browser-translator.js', { type: 'module' });
  const thread = new TranslatorThread((message) => worker.postMessage(message));
  worker.onmessage = ({ data }) => thread.received(data);
  worker.onerror = ({ message }) => {
    thread.failed(new Error(message));
    void tell('/console', `translator's worker lost: ${message}\n`);
  };
  return thread;
}

async function main(): Promise<string> {
  const { commandLine, memoryMiB } = (await (await fetch('/machine')).json()) as { commandLine: string; memoryMiB: number };
  let output = '';
  const machine = await buildMachine(
    {
      memoryMiB,
      commandLine,
      kernel: { name: 'kernel', data: await data('kernel') },
      initrd: { name: 'initrd', data: await data('initrd') },
      seed: BigInt(Date.now()),
    },
    {
      hostMilliseconds: () => performance.now(),
      epochMs: Date.now(),
      serialOutput: (byte) => {
        output += String.fromCharCode(byte);
      },
      decompress,
      translateElsewhere: translatorThread().translate,
    },
  );
  const served = (): Promise<void> | undefined => {
    if (output === '') return undefined;
    const text = output;
    output = '';
    return tell('/console', text);
  };
  const reason = await new Runner(machine, { hostMilliseconds: () => performance.now(), after, served }).run();
  await served();
  return reason?.kind ?? 'interrupted';
}
main().then(
  (end) => tell('/end', end),
  (problem: unknown) => tell('/end', problem instanceof Error ? (problem.stack ?? problem.message) : String(problem)),
);
