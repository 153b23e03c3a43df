/** A translator in another thread, over whatever carries messages there and back: a Worker of Node.js or of a browser. */
import {
  type ServiceParts,
  type TranslateElsewhere,
  type TranslationAnswer,
  type TranslationRequest,
  TranslationService,
} from '../engine/translator/elsewhere.ts';

interface Request {
  readonly id: number;
  readonly request: TranslationRequest;
}
interface Answer {
  readonly id: number;
  readonly answer: TranslationAnswer;
}
interface Waiting {
  readonly resolve: (answer: TranslationAnswer) => void;
  readonly reject: (problem: Error) => void;
}

/** This thread's end: who has the worker passes on what comes from there. */
export class TranslatorThread {
  readonly #post: (message: unknown) => void;
  readonly #waiting = new Map<number, Waiting>();
  #problem: Error | undefined;
  #next = 0;

  constructor(post: (message: unknown) => void) {
    this.#post = post;
  }
  /** What a machine's world has as `translateElsewhere`. */
  readonly translate: TranslateElsewhere = (request) =>
    new Promise((resolve, reject) => {
      if (this.#problem) return reject(this.#problem);
      const id = this.#next++;
      this.#waiting.set(id, { resolve, reject });
      this.#post({ id, request } satisfies Request);
    });
  /** A message came from the worker. */
  received(message: unknown): void {
    const { id, answer } = message as Answer;
    this.#waiting.get(id)?.resolve(answer);
    this.#waiting.delete(id);
  }
  /** The worker has ended, or never began: machines translate on their own thread from here on. */
  failed(problem: Error): void {
    this.#problem = problem;
    for (const { reject } of this.#waiting.values()) reject(problem);
    this.#waiting.clear();
  }
}

/** The worker's end: gives the answer to send for each message. */
export function translationServer(parts: ServiceParts): (message: unknown) => unknown {
  const service = new TranslationService(parts);
  return (message) => {
    const { id, request } = message as Request;
    return { id, answer: service.answer(request) } satisfies Answer;
  };
}
