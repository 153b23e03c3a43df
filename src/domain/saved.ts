/**
 * Machines that are saved and restored: everything the guest can see, as bytes. A line says what it is, a line of JSON has the hardware and the state of
 * its parts by name; then come the pages of memory that hold anything, each after its number, and a number of all ones. What is decoded and translated is made again.
 */
import { restoreState, StateMismatch, stateText } from '../base/stateful.ts';
import { memoryLimits } from '../config/options.ts';
import { pageBytes } from '../memory/pool.ts';
import { assembleMachine, sealFirmware } from './assemble.ts';
import type { EngineConfig, HardwareConfig, MachineWorld } from './config.ts';
import type { Machine } from './machine.ts';

/** Changes when an older version would misread what a newer one writes, or the other way round. */
const magic = 'Testudo saved machine 1\n';
const headerBytesMax = 2 ** 24;
const lastPage = 0xffff_ffff;
const pagesInChunk = 256;

/** What is wrong with a saved machine, or with saving one: a sentence for the user. */
export class NotSaved extends Error {}

interface SavedDisk {
  readonly id: string;
  readonly sectors: number;
  readonly readOnly: boolean;
  readonly stamp: string;
}
interface Header {
  readonly hardware: Omit<HardwareConfig, 'disks' | 'turtles'>;
  readonly disks: readonly SavedDisk[];
  readonly parts: Readonly<Record<string, unknown>>;
}

/** The machine must not run while this is read. Throws NotSaved. */
export function* saveMachine(machine: Machine): Generator<Uint8Array<ArrayBuffer>> {
  const { hardware, processor } = machine;
  if (machine.turtles)
    throw new NotSaved('a machine above the level-0 monitor cannot be saved: the tables of --turtles are not in its state');
  if (machine.stopReason) throw new NotSaved('the machine has stopped');
  const { disks = [], memoryMiB, cpu, deterministic, commandLine } = hardware;
  for (const disk of disks) if (!disk.flush()) throw new NotSaved(`disk ${disk.id}: what was written could not be made sure of`);
  const header = {
    hardware: { memoryMiB, cpu, deterministic, commandLine },
    disks: disks.map(({ id, sectors, readOnly, stamp }) => ({ id, sectors, readOnly, stamp })),
  };
  const parts = [...machine.stateful].map(([name, part]) => `${JSON.stringify(name)}:${stateText(part.state)}`);
  rebuild(machine);
  yield new TextEncoder().encode(`${magic}${JSON.stringify(header).slice(0, -1)},"parts":{${parts.join(',')}}}\n`);
  let chunk = new Uint8Array(pagesInChunk * (4 + pageBytes));
  let used = 0;
  for (const { page, bytes } of processor.v.space.touched()) {
    if (isZero(bytes)) continue;
    new DataView(chunk.buffer).setUint32(used, page);
    chunk.set(bytes, used + 4);
    used += 4 + pageBytes;
    if (used < chunk.length) continue;
    yield chunk;
    chunk = new Uint8Array(chunk.length);
    used = 0;
  }
  yield chunk.slice(0, used);
  yield new Uint8Array(4).fill(0xff);
}

const isZero = ({ buffer, byteOffset }: Uint8Array<ArrayBuffer>): boolean => {
  const words = new Int32Array(buffer, byteOffset, pageBytes / 4);
  for (let n = 0; n < words.length; n++) if (words[n] !== 0) return false;
  return true;
};

/** The machine that was saved, about to go on. Its disks must hold what they held then. Throws NotSaved. */
export async function restoreMachine(
  saved: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  parts: EngineConfig & Pick<HardwareConfig, 'disks'>,
  world: MachineWorld,
): Promise<Machine> {
  const reader = new Reader(saved);
  const { hardware, disks, parts: states } = await readHeader(reader);
  checkDisks(disks, parts.disks ?? []);
  const { machine } = assembleMachine({ ...hardware, ...parts }, world, 0n);
  const { v } = machine.processor;
  sealFirmware(v.space);
  for (;;) {
    const page = (await reader.view(4)).getUint32(0);
    if (page === lastPage) break;
    const frame = v.space.frameOf(page);
    if (frame === 0) throw damaged('a page that the machine does not have');
    v.pool.bytes.set(await reader.take(pageBytes), frame * pageBytes);
  }
  try {
    for (const [name, part] of machine.stateful) restoreState(part, states[name], name);
  } catch (problem) {
    if (problem instanceof StateMismatch) throw new NotSaved(`is of another version of Testudo, or damaged (${problem.message})`);
    throw problem;
  }
  rebuild(machine);
  if (hardware.deterministic !== true) machine.chips.rtc.follow(world.epochMs);
  machine.wake();
  return machine;
}

/** Makes again what is not saved. The machine that was saved does so too: what it remembers of tables in memory could tell it from the other. */
function rebuild({ vmx, svm }: Machine): void {
  vmx?.restore();
  svm?.restore();
}

const damaged = (what: string): NotSaved => new NotSaved(`is damaged: ${what}`);

async function readHeader(reader: Reader): Promise<Header> {
  const first = new TextDecoder().decode(await reader.line(magic.length));
  if (first !== magic)
    throw new NotSaved(/^Testudo saved machine/.test(first) ? 'is of another version of Testudo' : 'is not a saved machine');
  let header: Header;
  try {
    header = JSON.parse(new TextDecoder().decode(await reader.line(headerBytesMax))) as Header;
  } catch (problem) {
    if (problem instanceof SyntaxError) throw damaged('its header is not JSON');
    throw problem;
  }
  const { hardware, disks, parts } = header;
  const megabytes = hardware?.memoryMiB;
  const isNamed = hardware?.cpu === undefined || typeof hardware.cpu === 'string';
  const whole =
    isNamed && Number.isInteger(megabytes) && megabytes > 0 && megabytes <= memoryLimits.max && typeof hardware.commandLine === 'string';
  if (!whole || !Array.isArray(disks) || typeof parts !== 'object' || parts === null) throw damaged('its header lacks parts');
  return header;
}

function checkDisks(saved: readonly SavedDisk[], given: NonNullable<HardwareConfig['disks']>): void {
  const names = saved.map(({ id, sectors, readOnly }) => `${id} (${sectors} sectors${readOnly ? ', read-only' : ''})`).join(', ');
  if (saved.length !== given.length)
    throw new NotSaved(`has ${saved.length === 0 ? 'no disks' : `the disks ${names}: give them in this order`}`);
  saved.forEach((disk, n) => {
    const other = given[n];
    if (other?.id !== disk.id || other.sectors !== disk.sectors || other.readOnly !== disk.readOnly)
      throw new NotSaved(`disk ${n + 1} is not as it was; the machine has ${names}`);
    if (other.stamp !== disk.stamp)
      throw new NotSaved(
        `disk ${disk.id} was written after the machine was saved: what the guest remembers of it would be wrong. Use a copy of then`,
      );
  });
}

/** Bytes of a stream, as many as are wanted. */
class Reader {
  readonly #chunks: AsyncIterator<Uint8Array> | Iterator<Uint8Array>;
  #chunk = new Uint8Array(0) as Uint8Array;
  #at = 0;

  constructor(chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>) {
    this.#chunks = Symbol.asyncIterator in chunks ? chunks[Symbol.asyncIterator]() : chunks[Symbol.iterator]();
  }
  async #more(): Promise<void> {
    while (this.#at === this.#chunk.length) {
      const next = await this.#chunks.next();
      if (next.done === true) throw damaged('it ends too early');
      this.#chunk = next.value;
      this.#at = 0;
    }
  }
  async take(count: number): Promise<Uint8Array<ArrayBuffer>> {
    const out = new Uint8Array(count);
    for (let have = 0; have < count; ) {
      await this.#more();
      const piece = this.#chunk.subarray(this.#at, this.#at + count - have);
      out.set(piece, have);
      have += piece.length;
      this.#at += piece.length;
    }
    return out;
  }
  async view(count: number): Promise<DataView> {
    return new DataView((await this.take(count)).buffer);
  }
  /** Up to a line's end, or so many bytes. */
  async line(max: number): Promise<Uint8Array> {
    const pieces: Uint8Array[] = [];
    let have = 0;
    while (have < max) {
      await this.#more();
      const end = this.#chunk.indexOf(10, this.#at);
      const piece = this.#chunk.subarray(this.#at, Math.min(this.#at + max - have, end < 0 ? this.#chunk.length : end + 1));
      pieces.push(piece);
      have += piece.length;
      this.#at += piece.length;
      if (piece.at(-1) === 10) break;
    }
    const out = new Uint8Array(have);
    let at = 0;
    for (const piece of pieces) {
      out.set(piece, at);
      at += piece.length;
    }
    return out;
  }
}
