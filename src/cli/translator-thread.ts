/** Starts the translator's worker, when there is something to translate. */

import { Worker } from 'node:worker_threads';
import type { TranslateElsewhere } from '../engine/translator/elsewhere.ts';
import { TranslatorThread } from '../host/translator-thread.ts';

/** Messages, and the worker, do not keep the program from ending. `warn`: the worker is lost, and machines go on without. */
export function translatorThread(warn: (text: string) => void): TranslateElsewhere {
  let thread: TranslatorThread | undefined;
  return (request) => {
    thread ??= start(warn);
    return thread.translate(request);
  };
}
function start(warn: (text: string) => void): TranslatorThread {
  const worker = new Worker(new URL('./translator-worker.js', import.meta.url));
  const thread = new TranslatorThread((message) => worker.postMessage(message));
  const lost = (problem: Error): void => {
    thread.failed(problem);
    warn(`the translator's worker is lost (${problem.message}); code is translated on the machine's own thread`);
  };
  worker.on('message', (message) => thread.received(message));
  worker.on('error', lost);
  worker.unref();
  return thread;
}
