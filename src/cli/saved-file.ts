/** Saved machines in files, which are compressed, and whole or not there at all. */
import { accessSync, constants, createReadStream, createWriteStream, renameSync, rmSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { pipeline as joined, Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createGzip } from 'node:zlib';
import type { Machine } from '../domain/machine.ts';
import { NotSaved, saveMachine } from '../domain/saved.ts';
import { reason } from './files.ts';

/** Before the run, so that none is lost to a folder that cannot be. Throws a sentence. */
export function checkPlace(path: string): void {
  try {
    accessSync(dirname(path), constants.W_OK);
  } catch (problem) {
    throw new Error(`--save ${path}: ${reason(problem)}`);
  }
}

/** Returns the size of the file in bytes. A file of that name is replaced when the new one is complete. Throws a sentence. */
export async function writeSaved(machine: Machine, path: string): Promise<number> {
  const unfinished = `${path}.part`;
  try {
    await pipeline(Readable.from(saveMachine(machine)), createGzip({ level: 1 }), createWriteStream(unfinished));
    renameSync(unfinished, path);
    return statSync(path).size;
  } catch (problem) {
    rmSync(unfinished, { force: true });
    throw new Error(`${path}: ${problem instanceof NotSaved ? problem.message : reason(problem)}`);
  }
}

/** A failure to read the file ends the reading of what it holds. */
function pieces(path: string): AsyncIterable<Uint8Array> {
  const unpacked = createGunzip();
  joined(createReadStream(path), unpacked, () => {});
  return unpacked;
}

/** The bytes of a saved machine. Reading throws NotSaved where the file is damaged, otherwise what the host says. */
export async function* readSaved(path: string): AsyncGenerator<Uint8Array> {
  try {
    yield* pieces(path);
  } catch (problem) {
    const { code } = problem as NodeJS.ErrnoException;
    if (code === 'Z_DATA_ERROR') throw new NotSaved('is not a saved machine, or is damaged');
    throw code === 'Z_BUF_ERROR' ? new NotSaved('is damaged: it ends too early') : problem;
  }
}
