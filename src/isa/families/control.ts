/** Jumps, calls, returns, loops, interrupts, system calls. SDM 2, chapters 3 and 4. */

import { flagsImage } from '../flags-image.ts';
import type { HelperName } from '../helper-names.ts';
import type { Instruction } from '../instruction.ts';
import type { Form, Meaning, Operand, Ops } from '../ops.ts';
import { push, release, top } from '../stack.ts';
import { GuestOperation } from '../state-names.ts';
import { row } from '../table.ts';

/** A near branch out of the canonical range faults before anything changes. */
function checkTarget<V>(o: Ops<V>, form: Form, target: V): void {
  if (form.long) o.when(o.ltu(o.constant(1), o.add(o.sar(target, o.constant(47)), o.constant(1))), () => o.fault(13, 0));
}
const jump: Meaning = (o, form, operand) => {
  const target = o.zeroExtend(operand.read(), form.size);
  checkTarget(o, form, target);
  o.jump(target);
};
const jumpRelative: Meaning = (o) => o.jumpRelative();
const jumpIf: Meaning = (o, form) => o.when(o.condition(form.condition), () => o.jumpRelative());

const call: Meaning = (o, form, target) => {
  const destination = o.zeroExtend(target.read(), form.size);
  checkTarget(o, form, destination);
  push(o, form, o.next(), form.size);
  o.jump(destination);
};
const callRelative: Meaning = (o, form) => {
  push(o, form, o.next(), form.size);
  o.jumpRelative();
};
const ret: Meaning = (o, form, extra) => {
  const target = top(o, form, form.size);
  checkTarget(o, form, target);
  const bytes = o.constant(form.size / 8);
  release(o, form, o.add(bytes, extra.read()));
  o.jump(target);
};
const retPlain: Meaning = (o, form) => {
  const target = top(o, form, form.size);
  checkTarget(o, form, target);
  release(o, form, o.constant(form.size / 8));
  o.jump(target);
};

/** LOOPNE, LOOPE, LOOP: the counter is rCX in the address size. */
const loop = (zero: 0 | 1 | undefined): Meaning => (o, form) => {
  const count = o.zeroExtend(o.sub(o.register(1, form.addressSize), o.constant(1)), form.addressSize);
  o.setRegister(1, form.addressSize, count);
  const more = o.ne(count, o.constant(0));
  o.when(zero === undefined ? more : o.and(more, zero === 1 ? o.flag('zero') : o.isZero(o.flag('zero'))), () => o.jumpRelative());
};
const jumpIfCountZero: Meaning = (o, form) => o.when(o.isZero(o.register(1, form.addressSize)), () => o.jumpRelative());

const enter: Meaning = (o, { size }, bytes, level) => void o.helper('enter', bytes.read(), level.read(), o.constant(size));
const leave: Meaning = (o, form) => {
  if (!form.long) {
    o.helper('leave', o.constant(form.size));
    return;
  }
  const frame = o.register(5, 64);
  const value = o.load(frame, form.size);
  o.setRegister(4, 64, o.add(frame, o.constant(form.size / 8)));
  o.setRegister(5, form.size, value);
};

const leaving =
  (name: HelperName): Meaning =>
  (o, form) => {
    o.helper(name, o.constant(form.size));
    o.exitHere();
  };
const flag = { trap: 0x100, nested: 0x4000, resume: 0x1_0000, alignment: 0x4_0000 } as const;
const statusFlags = 0x8d5;
const fixedFlag = 2;

/** EFLAGS from an image that changes nothing a helper would have to look at. */
function setFlagsImage<V>(o: Ops<V>, image: V): void {
  o.loadStatusFlags(o.and(image, o.constant(0xff)));
  o.setFlagBits({ overflow: o.and(o.shr(image, o.constant(11)), o.constant(1)) });
  o.set('systemFlags', o.and(image, o.constant(0xffff_ffff & ~(statusFlags | fixedFlag))));
}
const enables = <V>(o: Ops<V>): V => o.ne(o.and(o.get('efer'), o.constant(1)), o.constant(0));

/** In 64-bit mode and without single steps the whole transition is here; the helper does the rest. */
const systemCall: Meaning = (o, form) => {
  const general = (): void => {
    o.helper('systemCall');
    o.exitHere();
  };
  if (form.long) {
    const flags = o.and(flagsImage(o), o.constant(~flag.resume));
    const masked = o.and(o.and(flags, o.xor(o.get('sfmask'), o.constant(-1))), o.constant(0xffff_ffff));
    o.when(o.and(enables(o), o.isZero(o.and(masked, o.constant(flag.trap | flag.alignment)))), () => {
      o.setRegister(1, 64, o.next());
      o.setRegister(11, 64, flags);
      setFlagsImage(o, masked);
      const selector = o.and(o.shr(o.get('star'), o.constant(32)), o.constant(0xfffc));
      o.enterFlat(0, selector, o.and(o.add(selector, o.constant(8)), o.constant(0xffff)));
      o.jump(o.get('lstar'));
    }, general);
  } else general();
};
const systemReturn: Meaning = (o, form) => {
  const general = (): void => {
    o.helper('systemReturn', o.constant(form.size));
    o.exitHere();
  };
  if (form.long && form.size === 64) {
    const target = o.register(1, 64);
    const image = o.and(o.register(11, 64), o.constant(0x3c_7fd7));
    const canonical = o.ltu(o.add(o.sar(target, o.constant(47)), o.constant(1)), o.constant(2));
    const plain = o.isZero(o.and(image, o.constant(flag.trap | flag.alignment)));
    const quiet = o.and(o.isZero(o.get('cpl')), o.isZero(o.get('pending')));
    o.when(o.and(o.and(enables(o), canonical), o.and(plain, quiet)), () => {
      setFlagsImage(o, image);
      const base = o.shr(o.get('star'), o.constant(48));
      const selector = (offset: number) => o.and(o.or(o.add(base, o.constant(offset)), o.constant(3)), o.constant(0xffff));
      o.enterFlat(3, selector(16), selector(8));
      o.jump(target);
    }, general);
  } else general();
};
/** Descriptors of 64-bit code and of data at level 3 as kernels have them: flat, and accessed before. */
const flatCode = 0x00af_fb00_0000_ffffn;
const flatData = 0x00cf_f300_0000_ffffn;
/** What IRET may load and nothing else has to look at. */
const plainFlags = 0x21_3ed7n;
const unusable = 0x1_0000;

/** From a 64-bit kernel to a 64-bit program with flat segments the whole transition is here; the helper does the rest, and what comes before a fault. */
function interruptReturn<V>(o: Ops<V>, form: Form): void {
  const general = (): void => {
    o.helper('interruptReturn', o.constant(form.size));
    o.exitHere();
  };
  if (!form.long || form.size !== 64) return general();
  const all = (...conditions: V[]): V => conditions.reduce((a, b) => o.and(a, b));
  const segments = all(o.get('esRights'), o.get('dsRights'), o.get('fsRights'), o.get('gsRights'));
  const isQuiet = all(
    o.isZero(o.or(o.or(o.get('cpl'), o.get('pending')), o.or(o.get('nmiBlocked'), o.and(o.get('systemFlags'), o.constant(flag.nested))))),
    o.ltu(o.get('vmxOperation'), o.constant(GuestOperation.svm)), // which may intercept it; VMX looks at the blocking of NMIs alone
    o.ne(o.and(segments, o.constant(unusable)), o.constant(0)),
  );
  const inTable = (selector: V): V =>
    all(o.eq(o.and(selector, o.constant(0xffff_ffff_ffff_0007n)), o.constant(3)), o.ltu(o.or(selector, o.constant(4)), o.add(o.get('gdtLimit'), o.constant(1))));
  const descriptor = (selector: V): V => o.load(o.add(o.get('gdtBase'), o.sub(selector, o.constant(3))), 64);
  o.when(isQuiet, () => {
    const frame = (n: number): V => o.load(o.add(o.register(4, 64), o.constant(8 * n)), 64);
    const [target, codeSelector, flags, pointer, stackSelector] = [frame(0), frame(1), frame(2), frame(3), frame(4)] as const;
    const canonical = o.ltu(o.add(o.sar(target, o.constant(47)), o.constant(1)), o.constant(2));
    const isPlain = all(o.isZero(o.and(flags, o.constant(~plainFlags))), canonical, inTable(codeSelector), inTable(stackSelector));
    o.when(isPlain, () => {
      const areFlat = all(o.eq(descriptor(codeSelector), o.constant(flatCode)), o.eq(descriptor(stackSelector), o.constant(flatData)));
      o.when(areFlat, () => {
        setFlagsImage(o, flags);
        o.enterFlat(3, codeSelector, stackSelector);
        o.setRegister(4, 64, pointer);
        o.jump(target);
      }, general);
    }, general);
  }, general);
}
const farJump: Meaning = (o, form, pointer) => transfer(o, form, pointer, 'jumpFar');
const farCall: Meaning = (o, form, pointer) => transfer(o, form, pointer, 'callFar');
function transfer<V>(o: Ops<V>, form: Form, pointer: Operand<V>, name: 'jumpFar' | 'callFar'): void {
  if (pointer.isMemory) {
    const offset = o.load(pointer.address(), form.size);
    o.helper(name, o.load(pointer.address(form.size / 8), 16), offset, o.constant(form.size));
  } else {
    const value = pointer.read(); // an immediate: offset in the low 32 bits, selector above
    o.helper(name, o.and(o.shr(value, o.constant(32)), o.constant(0xffff)), o.zeroExtend(value, 32), o.constant(form.size));
  }
  o.exitHere();
}
const retFar: Meaning = (o, form, extra) => {
  o.helper('returnFar', extra.read(), o.constant(form.size));
  o.exitHere();
};
const retFarPlain: Meaning = (o, form) => {
  o.helper('returnFar', o.constant(0), o.constant(form.size));
  o.exitHere();
};
const interrupt: Meaning = (o, _form, vector) => {
  o.helper('softwareInterrupt', vector.read());
  o.exitHere();
};

const branch = { long: 'forced', ends: true } as const;

export const controlFamily: readonly Instruction[] = [
  ...Array.from({ length: 16 }, (_, n) => row('jcc', 0x70 + n, 'Jb', jumpIf, { long: 'forced' })),
  ...Array.from({ length: 16 }, (_, n) => row('jcc', 0x0f80 + n, 'Jz', jumpIf, { long: 'forced' })),
  row('jmp', 0xeb, 'Jb', jumpRelative, branch),
  row('jmp', 0xe9, 'Jz', jumpRelative, branch),
  row('jmp', 0xff, 'Ev', jump, { digit: 4, ...branch }),
  row('call', 0xe8, 'Jz', callRelative, branch),
  row('call', 0xff, 'Ev', call, { digit: 2, ...branch }),
  row('ret', 0xc2, 'Iw', ret, branch),
  row('ret', 0xc3, '', retPlain, branch),
  row('loopne', 0xe0, 'Jb', loop(0), { long: 'forced' }),
  row('loope', 0xe1, 'Jb', loop(1), { long: 'forced' }),
  row('loop', 0xe2, 'Jb', loop(undefined), { long: 'forced' }),
  row('jcxz', 0xe3, 'Jb', jumpIfCountZero, { long: 'forced' }),
  row('enter', 0xc8, 'Iw Ib', enter, { long: 'default' }),
  row('leave', 0xc9, '', leave, { long: 'default' }),
  row('jmp far', 0xea, 'Ap', farJump, { long: 'never', ends: true }),
  row('call far', 0x9a, 'Ap', farCall, { long: 'never', ends: true }),
  row('jmp far', 0xff, 'Mn', farJump, { digit: 5, mod: 'memory', ends: true }),
  row('call far', 0xff, 'Mn', farCall, { digit: 3, mod: 'memory', ends: true }),
  row('retf', 0xca, 'Iw', retFar, { ends: true }),
  row('retf', 0xcb, '', retFarPlain, { ends: true }),
  row('int3', 0xcc, '', leaving('breakpoint'), { ends: true }),
  row('int', 0xcd, 'Ib', interrupt, { ends: true }),
  row('into', 0xce, '', (o) => o.when(o.flag('overflow'), () => { o.helper('overflowTrap'); o.exitHere(); }), { long: 'never' }),
  row('int1', 0xf1, '', leaving('debugTrap'), { ends: true }),
  row('iret', 0xcf, '', interruptReturn, { ends: true }),
  row('syscall', 0x0f05, '', systemCall, { ends: true }),
  row('sysret', 0x0f07, '', systemReturn, { ends: true }),
  row('sysenter', 0x0f34, '', leaving('systemEnter'), { ends: true }),
  row('sysexit', 0x0f35, '', leaving('systemExit'), { ends: true }),
  row('hlt', 0xf4, '', (o) => { o.helper('halt'); o.exitNext(); }),
];
