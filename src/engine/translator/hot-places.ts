/** Hot places that wait to be translated together, of code at one privilege level. */
import type { Hot } from './page-view.ts';

export class HotPlaces {
  #places = new Map<number, Hot>();
  #count = 0;
  /** Since the first of them. */
  #instructions = 0;

  /** How often places were added. */
  get count(): number {
    return this.#count;
  }
  add(page: number, offset: number, { address, mode }: Pick<Hot, 'address' | 'mode'>): void {
    let hot = this.#places.get(page);
    if (!hot) {
      hot = { address, mode, offsets: new Set() };
      this.#places.set(page, hot);
    }
    hot.offsets.add(offset);
    this.#count++;
  }
  /** So many instructions were run; returns how many there were since the first place was added. */
  tick(instructions: number): number {
    if (this.#count > 0) this.#instructions += instructions;
    return this.#instructions;
  }
  /** All of them, and none is left. */
  take(): Map<number, Hot> {
    const places = this.#places;
    this.clear();
    return places;
  }
  forget(page: number): void {
    this.#places.delete(page);
  }
  clear(): void {
    this.#places = new Map();
    this.#count = 0;
    this.#instructions = 0;
  }
}
