/**
 * Writes the API reference to docs/api. TypeDoc needs the compiler API of TypeScript 5, which TypeScript 7 does not have;
 * both live in this folder's own node_modules, installed on first use, so that nobody else downloads them.
 */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('.', import.meta.url));
const typedoc = `${here}node_modules/typedoc/bin/typedoc`;

if (!existsSync(typedoc)) {
  console.log('Installing TypeDoc into scripts/docs/node_modules …');
  execFileSync('npm', ['ci', '--no-fund', '--no-audit'], {
    cwd: here,
    stdio: 'inherit',
    shell: process.platform === 'win32',
  });
}
try {
  execFileSync(process.execPath, [typedoc, '--options', `${here}typedoc.json`], { stdio: 'inherit' });
} catch (error) {
  // TypeDoc has said what is wrong.
  process.exitCode = error.status ?? 1;
}
