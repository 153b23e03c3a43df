/** The thread that makes and compiles regions for the machine's. */
import { parentPort } from 'node:worker_threads';
import { translationServer } from '../host/translator-thread.ts';
import { tuneFor } from './v8-tuning.ts';

const answer = translationServer({ hostMilliseconds: () => performance.now(), compiling: tuneFor });
parentPort?.on('message', (message) => parentPort?.postMessage(answer(message)));
