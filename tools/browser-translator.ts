/** The Worker that makes and compiles regions for the one that runs the machine. */
import { translationServer } from '../src/host/translator-thread.ts';

const answer = translationServer({ hostMilliseconds: () => performance.now(), compiling: undefined });
addEventListener('message', ({ data }) => postMessage(answer(data)));
