#!/usr/bin/env node
/** The `testudo` command: verbs, help, errors and exit codes. */
import { readFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { Command, CommanderError } from 'commander';
import { optionRecords } from '../config/options.ts';
import { OutOfMemory } from '../memory/pool.ts';
import { completionScript } from './completion.ts';
import { run } from './run.ts';

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string };

function program(): Command {
  const testudo = new Command('testudo')
    .description('A virtual machine monitor for x86-64 in JavaScript')
    .version(version)
    .showHelpAfterError('(testudo --help lists what there is)')
    .exitOverride();
  const verb = testudo.command('run').description('run a guest; its serial console is standard input and output, Ctrl-A h helps there');
  verb.option('--config <file>', "options as JSON, with Firecracker's keys where it has them; the command line wins");
  for (const record of Object.values(optionRecords)) {
    if ('repeatable' in record)
      verb.option(record.flags, record.help, (value: string, all: string[] | undefined) => [...(all ?? []), value]);
    else verb.option(record.flags, record.help);
  }
  verb.action(async (options: Record<string, unknown>) => {
    process.exitCode = await run(options);
  });
  testudo
    .command('completion')
    .argument('<shell>', 'bash or zsh')
    .description('print a completion script for a shell')
    .action((shell: string) => void process.stdout.write(completionScript(shell, testudo)));
  return testudo;
}

/**
 * A short run spends more on V8's optimising compiler than on the guest. With less inlining a boot takes 4.6 s of CPU instead of 5.3, and long runs
 * take what they took. What lives long while the engine starts is short-lived later, so where objects are made says nothing about how long they live: with
 * V8's guess code that is written at run time took 1.6 times as long in every other process. V8 before 12 also optimises WebAssembly after so little work
 * that most of it never earns that back: a boot and five Linux workloads take 9 percent less with this budget than with a quarter of it. Later ones have
 * budgets of their own that are better than this. Branch hints are on by themselves from V8 13.7 on.
 */
function tuneCompiler(): void {
  setFlagsFromString('--max-inlined-bytecode-size-cumulative=200');
  setFlagsFromString('--no-allocation-site-pretenuring');
  setFlagsFromString('--experimental-wasm-branch-hinting');
  if (Number.parseInt(process.versions.v8, 10) < 12) setFlagsFromString('--wasm-tiering-budget=80000000');
}

async function main(): Promise<void> {
  tuneCompiler();
  try {
    await program().parseAsync();
  } catch (problem) {
    if (problem instanceof CommanderError) {
      process.exitCode = problem.exitCode === 0 ? 0 : 2;
      return;
    }
    const text = problem instanceof OutOfMemory || problem instanceof Error ? problem.message : String(problem);
    for (const line of text.split('\n')) process.stderr.write(`testudo: ${line}\n`);
    if (process.env.TESTUDO_DEBUG && problem instanceof Error) process.stderr.write(`${problem.stack}\n`);
    process.exitCode = 1;
  }
}

await main();
