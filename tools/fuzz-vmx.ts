/** A hypervisor with random VMCSs, EPT tables and registers, many seeds: npm run fuzz:vmx [-- FIRST-SEED COUNT [turtles|svm]]. The machine must go on whatever it does. */
import { readFileSync } from 'node:fs';
import { withVmx } from '../src/cli/nested.ts';
import { defaultCpu } from '../src/cpu/cpuid.ts';
import { deterministicMachine } from '../test/guest/deterministic.ts';

const kind = process.argv[4] ?? 'vmx';
if (!['vmx', 'turtles', 'svm'].includes(kind)) throw new Error(`'${kind}': the third argument is turtles or svm`);
const svm = kind === 'svm';
const [first = 1, count = 100] = process.argv.slice(2, 4).map(Number);
const turtles = kind === 'turtles' ? { turtles: { direct: false, dirty: true, vpid02: true } } : {};
const kernel = { name: 'guest', data: new Uint8Array(readFileSync(svm ? 'test/svm/svm.elf' : 'test/vmx/vmx.elf')) };
const endings = new Map<string, number>();
let exits = 0;
for (let seed = first; seed < first + count; seed++) {
  try {
    const bench = await deterministicMachine({
      memoryMiB: 32,
      kernel,
      commandLine: `hostile ${seed}`,
      cpu: svm ? `${defaultCpu},+svm` : withVmx(defaultCpu),
      seed: BigInt(seed),
      ...turtles,
    });
    const end = bench.run(5000);
    const ending = end.kind === 'stopped' ? end.reason.kind : end.kind;
    endings.set(ending, (endings.get(ending) ?? 0) + 1);
    exits += (bench.machine.vmx ?? bench.machine.svm)?.counts.total ?? 0;
  } catch (problem) {
    process.stdout.write(`seed ${seed}: ${problem instanceof Error ? problem.stack : problem}\nagain: npm run fuzz:vmx -- ${seed} 1\n`);
    process.exitCode = 1;
    break;
  }
}
process.stdout.write(
  `${count} seeds from ${first}: ${exits} VM exits; endings: ${[...endings].map(([name, n]) => `${name} ${n}`).join(', ')}\n`,
);
