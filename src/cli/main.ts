#!/usr/bin/env node
/** The `testudo` command: verbs, help, errors and exit codes. */
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { optionRecords } from '../config/options.ts';
import { OutOfMemory } from '../memory/pool.ts';
import { completionScript } from './completion.ts';
import { run } from './run.ts';
import { tuneForStart } from './v8-tuning.ts';

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

async function main(): Promise<void> {
  tuneForStart();
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
