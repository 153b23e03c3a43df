/** The options of a tool: `--help` prints how it is used; one that it does not have, or a value that is none, ends it with a message. */
import { type ParseArgsConfig, parseArgs } from 'node:util';

type Options = NonNullable<ParseArgsConfig['options']>;
type Values<T extends Options> = ReturnType<typeof parseArgs<{ options: T }>>['values'];

/** Ends the tool; 2 is the exit status of a wrong use. */
export function misused(problem: string): never {
  process.stderr.write(`${problem}\n--help says what there is\n`);
  process.exit(2);
}

export function toolOptions<T extends Options>(usage: string, options: T): Values<T> {
  try {
    const all = { ...options, help: { type: 'boolean', short: 'h' } } as const;
    const { values } = parseArgs({ options: all });
    if ((values as { help?: boolean }).help !== true) return values as unknown as Values<T>;
  } catch (problem) {
    misused(problem instanceof Error ? problem.message : String(problem));
  }
  process.stdout.write(`${usage}\n`);
  process.exit(0);
}

/** The rows of a list with commas, all that there are when it is absent. */
export function chosen(option: string, list: string | undefined, all: readonly string[]): readonly string[] {
  const names = list?.split(',') ?? all;
  const unknown = names.filter((name) => !all.includes(name));
  if (unknown.length > 0) misused(`--${option} ${unknown.join(',')}: no such row; there is ${all.join(', ')}`);
  return names;
}

/** A whole number, 1 or more. */
export function positive(option: string, text: string): number {
  const number = Number(text);
  if (!Number.isInteger(number) || number < 1) misused(`--${option} ${text}: a whole number is wanted, 1 or more`);
  return number;
}
