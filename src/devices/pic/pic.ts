/** The pair of 8259A interrupt controllers, cascaded on IRQ 2, with the ELCR. Intel 8259A data sheet. */
import { ByteDevice } from '../port-bus.ts';

interface Chip {
  irr: number;
  isr: number;
  imr: number;
  lines: number;
  edgeLevel: number;
  vector: number;
  lowest: number;
  /** Next initialisation word expected: 0 none, 2 to 4. */
  expects: number;
  needsIcw4: boolean;
  single: boolean;
  autoEoi: boolean;
  rotateOnAutoEoi: boolean;
  readIsr: boolean;
  specialMask: boolean;
  poll: boolean;
}
const powerOnChip = (): Chip => ({
  irr: 0, isr: 0, imr: 0xff, lines: 0, edgeLevel: 0, vector: 0, lowest: 7, expects: 0, needsIcw4: false, single: false,
  autoEoi: false, rotateOnAutoEoi: false, readIsr: false, specialMask: false, poll: false,
});

export class Pic extends ByteDevice {
  readonly name = 'pic';
  readonly ports = [{ base: 0x20, count: 2 }, { base: 0xa0, count: 2 }, { base: 0x4d0, count: 2 }];
  readonly #output: (level: boolean) => void;
  state = { chips: [powerOnChip(), powerOnChip()] as [Chip, Chip] };

  /** `output`: the INTR pin, towards LINT0. */
  constructor(output: (level: boolean) => void) {
    super();
    this.#output = output;
  }

  setLine(irq: number, level: boolean): void {
    const chip = this.state.chips[irq >> 3 === 0 ? 0 : 1];
    const bit = 1 << (irq & 7);
    const rises = level && (chip.lines & bit) === 0;
    chip.lines = level ? chip.lines | bit : chip.lines & ~bit;
    if (rises || (level && (chip.edgeLevel & bit) !== 0)) chip.irr |= bit;
    if (!level) chip.irr &= ~bit;
    this.#update();
  }

  /** The input that would interrupt now, or -1. */
  #winner(chip: Chip): number {
    const wanting = chip.irr & ~chip.imr;
    const masking = chip.specialMask ? chip.isr & ~chip.imr : chip.isr;
    for (let n = 1; n <= 8; n++) {
      const input = (chip.lowest + n) & 7;
      if ((masking & (1 << input)) !== 0) return -1;
      if ((wanting & (1 << input)) !== 0) return input;
    }
    return -1;
  }
  #update(): void {
    const [master, slave] = this.state.chips;
    if (this.#winner(slave) >= 0) master.irr |= 4;
    else master.irr &= ~4;
    this.#output(this.#winner(master) >= 0);
  }
  get pending(): boolean {
    return this.#winner(this.state.chips[0]) >= 0;
  }
  /** The processor's acknowledge cycle: the vector; a spurious one when the request has gone. */
  acknowledge(): number {
    const [master, slave] = this.state.chips;
    const input = this.#winner(master);
    let vector = master.vector + (input < 0 ? 7 : input);
    if (input >= 0) {
      this.#take(master, input);
      if (input === 2) {
        const second = this.#winner(slave);
        vector = slave.vector + (second < 0 ? 7 : second);
        if (second >= 0) this.#take(slave, second);
      }
    }
    this.#update();
    return vector;
  }
  #take(chip: Chip, input: number): void {
    const bit = 1 << input;
    if ((chip.edgeLevel & bit) === 0) chip.irr &= ~bit;
    if (!chip.autoEoi) chip.isr |= bit;
    else if (chip.rotateOnAutoEoi) chip.lowest = input;
  }

  readByte(port: number): number {
    if (port >= 0x4d0) return this.state.chips[port & 1 ? 1 : 0].edgeLevel;
    const chip = this.state.chips[port >= 0xa0 ? 1 : 0];
    if (chip.poll) {
      chip.poll = false;
      const input = this.#winner(chip);
      if (input >= 0) this.#take(chip, input);
      this.#update();
      return input < 0 ? 0 : 0x80 | input;
    }
    if ((port & 1) !== 0) return chip.imr;
    return chip.readIsr ? chip.isr : chip.irr;
  }
  writeByte(port: number, value: number): void {
    if (port >= 0x4d0) {
      this.state.chips[port & 1 ? 1 : 0].edgeLevel = value & (port & 1 ? 0xde : 0xf8);
      return;
    }
    const chip = this.state.chips[port >= 0xa0 ? 1 : 0];
    if ((port & 1) === 0) this.#command(chip, value);
    else this.#data(chip, value);
    this.#update();
  }
  #command(chip: Chip, value: number): void {
    if ((value & 0x10) !== 0) {
      Object.assign(chip, { ...powerOnChip(), lines: chip.lines, edgeLevel: chip.edgeLevel, imr: 0, expects: 2, needsIcw4: (value & 1) !== 0, single: (value & 2) !== 0 });
      return;
    }
    if ((value & 8) !== 0) {
      if ((value & 4) !== 0) chip.poll = true;
      else if ((value & 2) !== 0) chip.readIsr = (value & 1) !== 0;
      if ((value & 0x40) !== 0) chip.specialMask = (value & 0x20) !== 0;
      return;
    }
    this.#operation(chip, value >> 5, value & 7);
  }
  /** OCW2. */
  #operation(chip: Chip, operation: number, input: number): void {
    const highest = (): number => {
      for (let n = 1; n <= 8; n++) if ((chip.isr & (1 << ((chip.lowest + n) & 7))) !== 0) return (chip.lowest + n) & 7;
      return -1;
    };
    switch (operation) {
      case 0: case 4: chip.rotateOnAutoEoi = operation === 4; break;
      case 1: case 5: {
        const done = highest();
        if (done < 0) break;
        chip.isr &= ~(1 << done);
        if (operation === 5) chip.lowest = done;
        break;
      }
      case 3: chip.isr &= ~(1 << input); break;
      case 6: chip.lowest = input; break;
      case 7: chip.isr &= ~(1 << input); chip.lowest = input; break;
    }
  }
  #data(chip: Chip, value: number): void {
    switch (chip.expects) {
      case 2:
        chip.vector = value & 0xf8;
        chip.expects = chip.single ? (chip.needsIcw4 ? 4 : 0) : 3;
        break;
      case 3:
        chip.expects = chip.needsIcw4 ? 4 : 0;
        break;
      case 4:
        chip.autoEoi = (value & 2) !== 0;
        chip.expects = 0;
        break;
      default:
        chip.imr = value;
    }
  }
}
