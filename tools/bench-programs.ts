/** Programs of this machine that the benchmarks' guest runs, each with the libraries and files it needs. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { type CpioMember, cpioFile, cpioFolder, cpioProgram } from '../src/firmware/cpio.ts';
import { has } from './bench-guest.ts';

const text = (program: string, ...args: readonly string[]): string =>
  execFileSync(program, args, { encoding: 'utf8', maxBuffer: 2 ** 24, stdio: ['ignore', 'pipe', 'ignore'] });
const python = '/usr/bin/python3';

/** Paths of a program's shared libraries and its loader. */
const librariesOf = (program: string): readonly string[] =>
  [...text('ldd', program).matchAll(/(\/\S+) \(0x/g)].map(([, path]) => path ?? '');

/** Files at the paths that they have here. */
function at(paths: readonly string[]): CpioMember[] {
  const folders = new Set<string>();
  for (const path of paths) {
    const parts = path.split('/').slice(1, -1);
    for (let n = 1; n <= parts.length; n++) folders.add(parts.slice(0, n).join('/'));
  }
  return [...[...folders].map(cpioFolder), ...paths.map((path) => cpioProgram(path.slice(1), readFileSync(path)))];
}

/** GCC's compiler proper, and a source for it. */
function compilerFiles(): CpioMember[] {
  const cc1 = text('gcc', '-print-prog-name=cc1').trim();
  return [
    ...at(librariesOf(cc1)),
    cpioProgram('bin/cc1', readFileSync(cc1)),
    cpioFile('src/programs.i', new TextEncoder().encode(text('gcc', '-E', '-O1', 'bench/programs.c'))),
  ];
}
function sqliteFiles(): CpioMember[] {
  const sqlite = text('sh', '-c', 'command -v sqlite3').trim();
  return [
    ...at(librariesOf(sqlite)),
    cpioProgram('bin/sqlite3', readFileSync(sqlite)),
    cpioFile('src/sqlite.sql', readFileSync('bench/sqlite.sql')),
  ];
}
/** With lines as `data` makes them. */
function xzFiles(): CpioMember[] {
  const lines: string[] = [];
  let x = 0;
  for (let n = 0; n < 60_000; n++) {
    x = Number((BigInt(x) * 1_103_515_245n + 12_345n) & 0x7fff_ffffn);
    lines.push(`${x} line ${n}\n`);
  }
  return [
    ...at(librariesOf('/usr/bin/xz')),
    cpioProgram('bin/xz', readFileSync('/usr/bin/xz')),
    cpioFile('src/data.txt', new TextEncoder().encode(lines.join(''))),
  ];
}
/** With the modules that an interpreter without site packages has loaded at its end, compiled and not. */
function pythonFiles(): CpioMember[] {
  const list =
    'import sys; print(*[f for m in list(sys.modules.values()) for f in (getattr(m, "__file__", 0), getattr(m, "__cached__", 0)) if f], sep="\\n")';
  const modules = text(python, '-I', '-S', '-c', `import encodings.ascii, os; ${list}`).trim().split('\n');
  const own = [...new Set([...librariesOf(python), ...modules.filter((path) => existsSync(path))])];
  return [...at(own), cpioProgram('bin/python3', readFileSync(python)), cpioFile('src/python.py', readFileSync('bench/python.py'))];
}

function luajitFiles(): CpioMember[] {
  const luajit = text('sh', '-c', 'command -v luajit').trim();
  return [
    ...at(librariesOf(luajit)),
    cpioProgram('bin/luajit', readFileSync(luajit)),
    cpioFile('src/luajit.lua', readFileSync('bench/luajit.lua')),
  ];
}
/** SpiderMonkey, as GNOME's JavaScript uses it: with the descriptions of the libraries that it loads at its start. */
function javascriptFiles(): CpioMember[] {
  const gjs = text('sh', '-c', 'command -v gjs-console').trim();
  const libraries = librariesOf(gjs);
  const folder = '/usr/lib/x86_64-linux-gnu';
  const names = ['GLib-2.0', 'GObject-2.0', 'Gio-2.0'].map((name) => `girepository-1.0/${name}`);
  const descriptions = [...names, 'gjs/girepository-1.0/GjsPrivate-1.0'].map((name) => `${folder}/${name}.typelib`);
  return [
    ...at([...libraries, ...descriptions]),
    cpioProgram('bin/gjs', readFileSync(gjs)),
    cpioFile('src/javascript.js', readFileSync('bench/javascript.js')),
  ];
}

interface Program {
  /** What this machine must have. */
  readonly needs: string;
  readonly files: () => CpioMember[];
}
const programs: Readonly<Record<string, Program>> = {
  compiling: { needs: 'gcc', files: compilerFiles },
  xz: { needs: '/usr/bin/xz', files: xzFiles },
  sqlite: { needs: 'sqlite3', files: sqliteFiles },
  python: { needs: python, files: pythonFiles },
  luajit: { needs: 'luajit', files: luajitFiles },
  javascript: { needs: 'gjs-console', files: javascriptFiles },
};
/** The rows that need such a program. */
export const programRows: readonly string[] = Object.keys(programs);
/** Of these rows, those whose program this machine does not have. */
export const missingRows = (rows: readonly string[]): readonly string[] => rows.filter((row) => programs[row] && !has(programs[row].needs));

/** What rows need in the guest. */
export const programFiles = (rows: readonly string[]): readonly CpioMember[] => [
  cpioFolder('src'),
  ...rows.flatMap((row) => programs[row]?.files() ?? []),
];
