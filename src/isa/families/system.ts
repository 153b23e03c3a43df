/** Flags, ports, descriptor tables, control registers, MSRs, time, fences and hints. SDM 2, chapters 3 to 5. */

import { flagsImage } from '../flags-image.ts';
import type { HelperName } from '../helper-names.ts';
import type { Feature, Instruction } from '../instruction.ts';
import type { Meaning, Ops } from '../ops.ts';
import { push, release, top } from '../stack.ts';
import { nothing, row } from '../table.ts';

const interruptFlag = 0x200;

const pushFlags: Meaning = (o, form) => {
  if (!form.long) o.helper('checkFlagsAccess');
  push(o, form, flagsImage(o), form.size);
};
const popFlags: Meaning = (o, form) => {
  if (!form.long) o.helper('checkFlagsAccess');
  const value = top(o, form, form.size);
  release(o, form, o.constant(form.size / 8));
  o.helper('writeFlags', value, o.constant(form.size));
  o.exitNext();
};
const setCarry =
  (value: 0 | 1): Meaning =>
  (o) =>
    o.setFlagBits({ carry: o.constant(value) });
const complementCarry: Meaning = (o) => o.setFlagBits({ carry: o.isZero(o.flag('carry')) });
const direction =
  (value: 0 | 1): Meaning =>
  (o) =>
    o.set('systemFlags', value ? o.or(o.get('systemFlags'), o.constant(0x400)) : o.and(o.get('systemFlags'), o.constant(~0x400)));

/** At CPL 0 IOPL does not matter; elsewhere a helper looks. */
const clearInterrupts: Meaning = (o) =>
  o.when(
    o.get('cpl'),
    () => {
      o.helper('clearInterruptFlag');
    },
    () => o.set('systemFlags', o.and(o.get('systemFlags'), o.constant(~interruptFlag))),
  );
const setInterrupts: Meaning = (o) =>
  o.when(
    o.get('cpl'),
    () => {
      o.helper('setInterruptFlag');
      o.exitNext();
    },
    () =>
      o.when(o.isZero(o.and(o.get('systemFlags'), o.constant(interruptFlag))), () => {
        o.set('systemFlags', o.or(o.get('systemFlags'), o.constant(interruptFlag)));
        o.set('interruptShadow', o.next());
        o.when(o.get('pending'), () => o.exitNext());
      }),
  );

const portIn: Meaning = (o, { size }, target, port) => target.write(o.helper('portIn', port.read(), o.constant(size)));
const portOut: Meaning = (o, { size }, port, source) => void o.helper('portOut', port.read(), source.read(), o.constant(size));
const ioSize = { size: 8 } as const;

/** A helper without operands that may change what comes next. */
const effect =
  (name: HelperName): Meaning =>
  (o) => {
    o.helper(name);
    o.exitNext();
  };
const quiet =
  (name: HelperName): Meaning =>
  (o) => {
    o.helper(name);
  };
/** A helper that gets the address of its memory operand and the operation's size. */
const atAddress =
  (name: HelperName): Meaning =>
  (o, { size }, memory) => {
    o.helper(name, memory.address(), o.constant(size));
  };
const descriptorTable =
  (name: HelperName): Meaning =>
  (o, form, memory) => {
    o.helper(name, memory.address(), o.constant(form.long ? 64 : form.size));
    o.exitNext();
  };
const storeTable =
  (name: HelperName): Meaning =>
  (o, form, memory) => {
    o.helper(name, memory.address(), o.constant(form.long ? 64 : form.size));
  };
const storeSelector =
  (name: 'storeLocalTable' | 'storeTask'): Meaning =>
  (o, _form, target) =>
    target.write(o.helper(name));
const loadSelector =
  (name: 'loadLocalTable' | 'loadTask' | 'loadMachineStatus'): Meaning =>
  (o, _form, source) => {
    o.helper(name, source.read());
    o.exitNext();
  };
const machineStatus: Meaning = (o, _form, target) => target.write(o.helper('storeMachineStatus'));
/** Result 0: not accessible. Otherwise bit 32 is set and the low half is the value. */
const probe =
  (name: 'accessRights' | 'segmentLimit'): Meaning =>
  (o, _form, target, source) => {
    const result = o.helper(name, source.read());
    o.when(result, () => target.write(result));
    o.setFlagBits({ zero: o.isZero(o.isZero(result)) });
  };
const verify =
  (name: 'verifyRead' | 'verifyWrite'): Meaning =>
  (o, _form, source) =>
    o.setFlagBits({ zero: o.helper(name, source.read()) });
const adjustPrivilege: Meaning = (o, _form, target, source) => {
  const a = target.readForWrite();
  const b = source.read();
  const lower = o.ltu(o.and(a, o.constant(3)), o.and(b, o.constant(3)));
  target.write(o.select(lower, o.or(o.and(a, o.constant(~3)), o.and(b, o.constant(3))), a));
  o.setFlagBits({ zero: lower });
};
const bound: Meaning = (o, { size }, index, memory) => void o.helper('bound', index.read(), memory.address(), o.constant(size));

const control: Meaning = (o, _form, target, source) => {
  target.write(source.read());
  o.exitNext();
};
const flushPage: Meaning = (o, _form, memory) => {
  o.helper('invalidatePage', memory.address());
};
const touch: Meaning = (o, _form, memory) => void o.load(memory.address(), 8);
const undefinedOpcode: Meaning = (o) => o.fault(6);

const random =
  (name: 'randomNumber' | 'randomSeed'): Meaning =>
  (o, _form, target) => {
    target.write(o.helper(name));
    const zero = o.constant(0);
    o.setFlagBits({ carry: o.constant(1), overflow: zero, adjust: zero, result: { value: o.constant(1), size: 8 } });
  };
/** CR4.FSGSBASE. */
const checkBaseAccess = <V>(o: Ops<V>): void => o.when(o.isZero(o.and(o.get('cr4'), o.constant(0x1_0000))), () => o.fault(6));
const readBase =
  (name: 'fsBase' | 'gsBase'): Meaning =>
  (o, _form, target) => {
    checkBaseAccess(o);
    target.write(o.get(name));
  };
const writeBase =
  (name: 'fsBase' | 'gsBase'): Meaning =>
  (o, _form, source) => {
    checkBaseAccess(o);
    const value = source.read();
    o.when(o.ltu(o.constant(1), o.add(o.sar(value, o.constant(47)), o.constant(1))), () => o.fault(13, 0));
    o.set(name, value);
  };
const swapBase: Meaning = (o) => {
  o.when(o.get('cpl'), () => o.fault(13, 0), () => {
    const base = o.get('gsBase');
    o.set('gsBase', o.get('kernelGsBase'));
    o.set('kernelGsBase', base);
  });
};
/** The helper is told whether the instruction is RDTSCP: their VM exits differ. */
const readTimestamp = <V>(o: Ops<V>, withId: 0 | 1): void => {
  const value = o.helper('timestamp', o.constant(withId));
  o.setRegister(0, 32, o.zeroExtend(value, 32));
  o.setRegister(2, 32, o.shr(value, o.constant(32)));
};
const timestamp: Meaning = (o) => readTimestamp(o, 0);

const timestampWithId: Meaning = (o) => {
  readTimestamp(o, 1);
  o.setRegister(1, 32, o.helper('processorId'));
};

const hints = [0x0f18, 0x0f19, 0x0f1a, 0x0f1b, 0x0f1c, 0x0f1d, 0x0f1e, 0x0f1f];
const save = (name: HelperName, digit: number, feature: Feature, w?: 0 | 1): Instruction =>
  row(name, 0x0fae, 'Mn', atAddress(name), { digit, mod: 'memory', prefix: 0, feature, ...(w === undefined ? {} : { w }) });

export const systemFamily: readonly Instruction[] = [
  row('pushf', 0x9c, '', pushFlags, { long: 'default' }),
  row('popf', 0x9d, '', popFlags, { long: 'default', ends: true }),
  row('cmc', 0xf5, '', complementCarry),
  row('clc', 0xf8, '', setCarry(0)),
  row('stc', 0xf9, '', setCarry(1)),
  row('cli', 0xfa, '', clearInterrupts),
  row('sti', 0xfb, '', setInterrupts),
  row('cld', 0xfc, '', direction(0)),
  row('std', 0xfd, '', direction(1)),
  row('in', 0xe4, 'AL Ib', portIn, ioSize),
  row('in', 0xe5, 'rAX Ib', portIn, { io: true }),
  row('out', 0xe6, 'Ib AL', portOut, ioSize),
  row('out', 0xe7, 'Ib rAX', portOut, { io: true }),
  row('in', 0xec, 'AL DX', portIn, ioSize),
  row('in', 0xed, 'rAX DX', portIn, { io: true }),
  row('out', 0xee, 'DX AL', portOut, ioSize),
  row('out', 0xef, 'DX rAX', portOut, { io: true }),
  row('bound', 0x62, 'Gz Mn', bound, { long: 'never' }),
  row('arpl', 0x63, 'Ew Gw', adjustPrivilege, { long: 'never' }),
  row('sldt', 0x0f00, 'Ev', storeSelector('storeLocalTable'), { digit: 0, mod: 'register' }),
  row('sldt', 0x0f00, 'Mw', storeSelector('storeLocalTable'), { digit: 0, mod: 'memory' }),
  row('str', 0x0f00, 'Ev', storeSelector('storeTask'), { digit: 1, mod: 'register' }),
  row('str', 0x0f00, 'Mw', storeSelector('storeTask'), { digit: 1, mod: 'memory' }),
  row('lldt', 0x0f00, 'Ew', loadSelector('loadLocalTable'), { digit: 2 }),
  row('ltr', 0x0f00, 'Ew', loadSelector('loadTask'), { digit: 3 }),
  row('verr', 0x0f00, 'Ew', verify('verifyRead'), { digit: 4 }),
  row('verw', 0x0f00, 'Ew', verify('verifyWrite'), { digit: 5 }),
  row('sgdt', 0x0f01, 'Mn', storeTable('storeGlobalTable'), { digit: 0, mod: 'memory' }),
  row('sidt', 0x0f01, 'Mn', storeTable('storeInterruptTable'), { digit: 1, mod: 'memory' }),
  row('lgdt', 0x0f01, 'Mn', descriptorTable('loadGlobalTable'), { digit: 2, mod: 'memory' }),
  row('lidt', 0x0f01, 'Mn', descriptorTable('loadInterruptTable'), { digit: 3, mod: 'memory' }),
  row('smsw', 0x0f01, 'Ev', machineStatus, { digit: 4, mod: 'register' }),
  row('smsw', 0x0f01, 'Mw', machineStatus, { digit: 4, mod: 'memory' }),
  row('lmsw', 0x0f01, 'Ew', loadSelector('loadMachineStatus'), { digit: 6, ends: true }),
  row('invlpg', 0x0f01, 'Mn', flushPage, { digit: 7, mod: 'memory' }),
  row('xgetbv', 0x0f01, '', quiet('readExtendedControl'), { digit: 2, mod: 'register', rm: 0, feature: 'xsave' }),
  row('xsetbv', 0x0f01, '', effect('writeExtendedControl'), { digit: 2, mod: 'register', rm: 1, feature: 'xsave' }),
  row('clac', 0x0f01, '', quiet('clearAccess'), { digit: 1, mod: 'register', rm: 2, feature: 'smap' }),
  row('stac', 0x0f01, '', quiet('setAccess'), { digit: 1, mod: 'register', rm: 3, feature: 'smap' }),
  row('swapgs', 0x0f01, '', swapBase, { digit: 7, mod: 'register', rm: 0, long: 'only' }),
  row('rdtscp', 0x0f01, '', timestampWithId, { digit: 7, mod: 'register', rm: 1, feature: 'rdtscp' }),
  row('serialize', 0x0f01, '', nothing, { digit: 5, mod: 'register', rm: 0, prefix: 0, feature: 'serialize' }),
  row('lar', 0x0f02, 'Gv Ew', probe('accessRights')),
  row('lsl', 0x0f03, 'Gv Ew', probe('segmentLimit')),
  row('clts', 0x0f06, '', effect('clearTaskSwitched')),
  row('invd', 0x0f08, '', (o) => void o.helper('invalidateCaches', o.constant(0))),
  row('wbinvd', 0x0f09, '', (o) => void o.helper('invalidateCaches', o.constant(1))),
  row('ud2', 0x0f0b, '', undefinedOpcode, { ends: true }),
  row('ud1', 0x0fb9, 'Gv Ev', undefinedOpcode, { ends: true }),
  row('ud0', 0x0fff, 'Gv Ev', undefinedOpcode, { ends: true }),
  row('prefetchw', 0x0f0d, 'Eb', nothing),
  ...hints.map((opcode) => row('nop', opcode, 'Ev', nothing)),
  row('mov', 0x0f20, 'Rr Cr', (_o, _f, target, source) => target.write(source.read())),
  row('mov', 0x0f21, 'Rr Dr', (_o, _f, target, source) => target.write(source.read())),
  row('mov', 0x0f22, 'Cr Rr', control, { ends: true }),
  row('mov', 0x0f23, 'Dr Rr', control, { ends: true }),
  row('wrmsr', 0x0f30, '', effect('writeModelSpecific'), { ends: true }),
  row('rdtsc', 0x0f31, '', timestamp),
  row('rdmsr', 0x0f32, '', quiet('readModelSpecific')),
  row('rdpmc', 0x0f33, '', quiet('readPerformanceCounter')),
  row('cpuid', 0x0fa2, '', quiet('identify')),
  row('rsm', 0x0faa, '', undefinedOpcode, { ends: true }),
  save('fxsave', 0, 'fxsr'),
  save('fxrstor', 1, 'fxsr'),
  row('ldmxcsr', 0x0fae, 'Md', (o, _f, source) => void o.helper('loadControlStatus', source.read()), { digit: 2, mod: 'memory', prefix: 0, feature: 'sse' }),
  row('stmxcsr', 0x0fae, 'Md', (o, _f, target) => { o.helper('checkVector'); target.write(o.get('mxcsr')); }, { digit: 3, mod: 'memory', prefix: 0, feature: 'sse' }),
  save('xsave', 4, 'xsave'),
  save('xrstor', 5, 'xsave'),
  save('xsaveopt', 6, 'xsaveopt'),
  row('xsavec', 0x0fc7, 'Mn', atAddress('xsavec'), { digit: 4, mod: 'memory', prefix: 0, feature: 'xsavec' }),
  row('xsaves', 0x0fc7, 'Mn', atAddress('xsaves'), { digit: 5, mod: 'memory', prefix: 0, feature: 'xsaves' }),
  row('xrstors', 0x0fc7, 'Mn', atAddress('xrstors'), { digit: 3, mod: 'memory', prefix: 0, feature: 'xsaves' }),
  row('clflush', 0x0fae, 'Mb', touch, { digit: 7, mod: 'memory', prefix: 0 }),
  row('clflushopt', 0x0fae, 'Mb', touch, { digit: 7, mod: 'memory', prefix: 0x66, feature: 'clflushopt' }),
  row('clwb', 0x0fae, 'Mb', touch, { digit: 6, mod: 'memory', prefix: 0x66, feature: 'clwb' }),
  row('lfence', 0x0fae, '', nothing, { digit: 5, mod: 'register', prefix: 0 }),
  row('mfence', 0x0fae, '', nothing, { digit: 6, mod: 'register', prefix: 0 }),
  row('sfence', 0x0fae, '', nothing, { digit: 7, mod: 'register', prefix: 0 }),
  row('rdfsbase', 0x0fae, 'Ry', readBase('fsBase'), { digit: 0, mod: 'register', prefix: 0xf3, long: 'only', feature: 'fsgsbase' }),
  row('rdgsbase', 0x0fae, 'Ry', readBase('gsBase'), { digit: 1, mod: 'register', prefix: 0xf3, long: 'only', feature: 'fsgsbase' }),
  row('wrfsbase', 0x0fae, 'Ry', writeBase('fsBase'), { digit: 2, mod: 'register', prefix: 0xf3, long: 'only', feature: 'fsgsbase' }),
  row('wrgsbase', 0x0fae, 'Ry', writeBase('gsBase'), { digit: 3, mod: 'register', prefix: 0xf3, long: 'only', feature: 'fsgsbase' }),
  ...([{ prefix: 0 }, { prefix: 0x66, size: 16 }] as const).flatMap((form) => [
    row('rdrand', 0x0fc7, 'Rv', random('randomNumber'), { digit: 6, mod: 'register', feature: 'rdrand', ...form }),
    row('rdseed', 0x0fc7, 'Rv', random('randomSeed'), { digit: 7, mod: 'register', feature: 'rdseed', ...form }),
  ]),
  row('rdpid', 0x0fc7, 'Ro', (o, _f, target) => target.write(o.helper('processorId')), { digit: 7, mod: 'register', prefix: 0xf3, feature: 'rdpid' }),
  row('invpcid', 0x0f3882, 'Gr Mn', (o, _f, type, memory) => { o.helper('invalidateContext', type.read(), memory.address()); }, { prefix: 0x66, feature: 'invpcid' }),
];
