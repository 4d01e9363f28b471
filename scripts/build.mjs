/** Builds dist/: the WebAssembly module, then JavaScript and types. dist/ is replaced as a whole, once all is made. */
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../', import.meta.url));
const node = (script, ...args) =>
  execFileSync(process.execPath, [join(root, script), ...args], { cwd: root, stdio: 'inherit' });

node('scripts/build-wasm.mjs');
const [dist, fresh, old] = ['dist', `dist.${process.pid}.tmp`, `dist.${process.pid}.old.tmp`].map((name) =>
  join(root, name),
);
try {
  node('node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json', '--outDir', fresh);
  chmodSync(join(fresh, 'cli', 'main.js'), 0o755);
  if (existsSync(dist)) renameSync(dist, old);
  renameSync(fresh, dist);
} finally {
  for (const folder of [fresh, old]) rmSync(folder, { recursive: true, force: true });
}
