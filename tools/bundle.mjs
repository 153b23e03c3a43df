/** Puts the command into one file: Node takes a fifth of a second less to start than with two hundred modules to find and read. Names stay, for stack traces. */
import { build } from 'rolldown';

await build({
  input: 'dist/cli/main.js',
  platform: 'node',
  external: ['commander', 'fzstd', 'lz4js', 'xz-decompress'],
  output: { file: 'dist/bin/testudo.js', minify: { mangle: false, compress: false, codegen: { removeWhitespace: true } } },
});
