/**
 * Enforces the style of the code: head comments, sizes, layers, banned constructs, ambient time and chance, dead exports.
 * Exceptions stand in the code as `tidy-allow: rule — reason`; their number is printed and may only fall.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';

/** A folder imports only folders above it. */
const layers = [
  'base',
  'config',
  'policy',
  'time',
  'isa',
  'memory',
  'cpu',
  'engine',
  'vmx',
  'svm',
  'storage',
  'network',
  'devices',
  'paravirt',
  'exits',
  'firmware',
  'domain',
  'host',
  'control',
  'cli',
  'web',
];
const exceptionsMax = 6;
const linesMax = 400;
/** Where the world is touched. */
const adapters = /^src\/(cli|web)\//;

interface Rule {
  readonly name: string;
  readonly pattern: RegExp;
  readonly applies?: (file: string) => boolean;
}
const inCore = (file: string): boolean => file.startsWith('src/') && !adapters.test(file) && !file.endsWith('.test.ts');
const rules: readonly Rule[] = [
  { name: 'any', pattern: /(:|<|\bas) any\b/ },
  { name: 'enum', pattern: /^(export )?(const )?enum\b/ },
  { name: 'namespace', pattern: /^(export )?namespace\b/ },
  { name: 'default-export', pattern: /^export default\b/, applies: (file) => file.startsWith('src/') },
  { name: 'module-state', pattern: /^(export )?let\b/, applies: inCore },
  { name: 'ambient-time', pattern: /\b(Date\.now|performance\.now|Math\.random|console\.(log|error|warn))/, applies: inCore },
  { name: 'node-builtin', pattern: /from 'node:/, applies: inCore },
  { name: 'todo', pattern: /\b(TODO|FIXME|XXX)\b/, applies: (file) => file !== 'tools/tidy.ts' },
  { name: 'barrel', pattern: /^export \* from/, applies: (file) => file.startsWith('src/') },
];

function* files(directory: string): Generator<string> {
  for (const name of readdirSync(directory)) {
    const path = join(directory, name);
    if (statSync(path).isDirectory()) yield* files(path);
    else if (path.endsWith('.ts')) yield path;
  }
}

const problems: string[] = [];
let exceptions = 0;
const allowed = (lines: readonly string[], index: number, rule: string): boolean => {
  const near = `${lines[index - 1] ?? ''}${lines[index] ?? ''}`;
  if (!near.includes(`tidy-allow: ${rule}`)) return false;
  exceptions++;
  return true;
};

const layerOf = (file: string): number => layers.indexOf(file.split('/')[1] ?? '');

/** Exported names and where they are named elsewhere. */
const exported = new Map<string, string>();
const texts = new Map<string, string>();
const graph = new Map<string, Set<string>>();
const budget = new Map<string, number>();

for (const root of ['src', 'test', 'tools']) {
  for (const path of files(root)) {
    const file = relative('.', path);
    const text = readFileSync(path, 'utf8');
    const lines = text.split('\n');
    texts.set(file, text);
    const folder = file.split('/').slice(0, 2).join('/');
    budget.set(folder, (budget.get(folder) ?? 0) + lines.length);
    const head = lines[0]?.startsWith('#!') ? lines[1] : lines[0];
    if (!head?.startsWith('/**') && !file.endsWith('.d.ts')) problems.push(`${file}: the first line is no doc comment`);
    if (lines.length > linesMax) problems.push(`${file}: ${lines.length} lines, at most ${linesMax}`);
    if (/(utils|helpers|common|misc|types|manager)\.ts$/.test(file)) problems.push(`${file}: a name that says nothing`);
    lines.forEach((line, n) => {
      const code = line.replace(/\/\/.*$/, '').replace(/'[^']*'/g, (s) => (line.includes('from ') ? s : "''"));
      if (/^\s*(\*|\/\*)/.test(line)) return;
      for (const rule of rules) {
        if (rule.applies && !rule.applies(file)) continue;
        if (rule.pattern.test(code) && !allowed(lines, n, rule.name))
          problems.push(`${file}:${n + 1}: ${rule.name}: ${line.trim().slice(0, 80)}`);
      }
    });
    checkImports(file, text);
    if (file.startsWith('src/'))
      for (const match of text.matchAll(/^export (?:async )?(?:const|function\*?|class) (\w+)/gm))
        exported.set(`${file}#${match[1]}`, match[1] ?? '');
  }
}

function checkImports(file: string, text: string): void {
  if (!file.startsWith('src/')) return;
  const own = layerOf(file);
  if (own < 0) problems.push(`${file}: its folder is no layer`);
  for (const match of text.matchAll(/from '(\.[^']+)'/g)) {
    const target = normalize(join(dirname(file), match[1] ?? ''));
    const other = layerOf(target);
    if (other > own) problems.push(`${file}: imports ${target}, a layer below`);
    const folder = dirname(file);
    const from = graph.get(folder) ?? new Set();
    if (dirname(target) !== folder) from.add(dirname(target));
    graph.set(folder, from);
  }
  if (layers.indexOf(file.split('/')[1] ?? '') < layers.indexOf('cli')) {
    for (const match of text.matchAll(/from '([^.][^']*)'/g))
      problems.push(`${file}: imports the package ${match[1]}: the core has no dependencies`);
  }
}

/** Cycles between files are found on the import graph of values. */
function checkCycles(): void {
  const edges = new Map<string, string[]>();
  for (const [file, text] of texts) {
    if (!file.startsWith('src/')) continue;
    const list: string[] = [];
    for (const match of text.matchAll(/^import (?!type)[^;]*?from '(\.[^']+)'/gms))
      list.push(normalize(join(dirname(file), match[1] ?? '')));
    edges.set(file, list);
  }
  const state = new Map<string, 'open' | 'done'>();
  const visit = (file: string, path: readonly string[]): void => {
    if (state.get(file) === 'done') return;
    if (state.get(file) === 'open') {
      problems.push(`cycle: ${[...path.slice(path.indexOf(file)), file].join(' -> ')}`);
      return;
    }
    state.set(file, 'open');
    for (const next of edges.get(file) ?? []) visit(next, [...path, file]);
    state.set(file, 'done');
  };
  for (const file of edges.keys()) visit(file, []);
}
checkCycles();

for (const [key, name] of exported) {
  const [file = ''] = key.split('#');
  let uses = 0;
  for (const [other, text] of texts) if (other !== file && new RegExp(`\\b${name}\\b`).test(text)) uses++;
  if (uses === 0) problems.push(`${file}: ${name} is exported and used nowhere else`);
}
if (exceptions > exceptionsMax) problems.push(`${exceptions} exceptions, at most ${exceptionsMax}`);

const total = [...budget].filter(([folder]) => folder.startsWith('src/')).map(([folder, lines]) => `${folder.slice(4)} ${lines}`);
process.stdout.write(`tidy: lines ${total.join(', ')}; ${exceptions} exceptions\n`);
for (const problem of problems) process.stdout.write(`${problem}\n`);
process.exitCode = problems.length === 0 ? 0 : 1;
