/** AMD's secure virtual machine: the other way to run guests. APM 2, chapter 15; APM 3. */
import type { HelperName } from '../helper-names.ts';
import type { Feature, Instruction } from '../instruction.ts';
import type { Meaning } from '../ops.ts';
import { row } from '../table.ts';

/** The helper has set the next address: another world may run from here on. */
const enters =
  (name: HelperName): Meaning =>
  (o) => {
    o.helper(name);
    o.exitHere();
  };
const stays =
  (name: HelperName): Meaning =>
  (o) => {
    o.helper(name);
    o.exitNext();
  };
const fixed = (rm: number) => ({ feature: 'svm' as Feature, digit: 3, rm, mod: 'register', ends: true }) as const;

export const svmFamily: readonly Instruction[] = [
  row('vmrun', 0x0f01, '', enters('svmRun'), fixed(0)),
  row('vmmcall', 0x0f01, '', enters('svmCall'), fixed(1)),
  row('vmload', 0x0f01, '', stays('svmLoad'), fixed(2)),
  row('vmsave', 0x0f01, '', stays('svmSave'), fixed(3)),
  row('stgi', 0x0f01, '', stays('svmSetInterrupts'), fixed(4)),
  row('clgi', 0x0f01, '', stays('svmClearInterrupts'), fixed(5)),
  row('skinit', 0x0f01, '', enters('svmSecureInit'), fixed(6)),
  row('invlpga', 0x0f01, '', stays('svmInvalidate'), fixed(7)),
];
