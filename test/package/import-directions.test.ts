/** The linter's configuration holds the import directions: each forbidden import fails, each allowed one passes. */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../../', import.meta.url));
const ORDER = ['device', 'tensor', 'kernels', 'autograd', 'nn', 'optim', 'models', 'train', 'cli'];

/** What each folder may import from, beside itself. */
const allowed = new Map(ORDER.map((folder, i) => [folder, ORDER.slice(0, i)]));
allowed.set('data', ['device', 'tensor']);
for (const folder of ['models', 'train', 'cli']) allowed.get(folder)!.push('data');

let project: string;
beforeEach(async () => {
  project = await mkdtemp(join(tmpdir(), 'dawngrad-imports-'));
  const config = JSON.parse(await readFile(join(root, 'biome.json'), 'utf8'));
  delete config.$schema;
  config.vcs.enabled = false;
  await put('biome.json', JSON.stringify(config));
});
afterEach(() => rm(project, { recursive: true, force: true }));

async function put(path: string, text: string): Promise<void> {
  await mkdir(dirname(join(project, path)), { recursive: true });
  await writeFile(join(project, path), text);
}

/** What the linter says about the project: 'rule file:line', sorted. */
async function lint(): Promise<string[]> {
  const biome = join(root, 'node_modules', '@biomejs', 'biome', 'bin', 'biome');
  const args = [biome, 'lint', '--reporter=github', '--max-diagnostics=none', '.'];
  const output = await new Promise<string>((resolve) => {
    execFile(process.execPath, args, { cwd: project }, (_, stdout) => resolve(stdout));
  });
  const found = output.matchAll(/^::error title=lint\/\w+\/(\w+),file=([^,]*),line=(\d+)/gm);
  return [...found]
    .map(([, rule, file, line]) => `${rule} ${file.replace(/^.*?(?=src\/)/, '')}:${line}`)
    .sort();
}

it('imports point one way', async () => {
  const folders = [...allowed.keys()];
  const expected: string[] = [];
  for (const from of folders) {
    const file = `src/${from}/a.ts`;
    const nested = `src/${from}/deep/a.ts`;
    const others = folders.filter((to) => to !== from);
    await put(file, others.map((to) => `import '../${to}/b.js';\n`).join(''));
    await put(nested, others.map((to) => `export * from '../../${to}/b.js';\n`).join(''));
    others.forEach((to, i) => {
      if (allowed.get(from)!.includes(to)) return;
      for (const f of [file, nested]) expected.push(`noRestrictedImports ${f}:${i + 1}`);
    });
  }
  expect(expected.length).toBeGreaterThan(80);
  expect(await lint()).toEqual(expected.sort());
});

it('types and dynamic imports count', async () => {
  await put('src/device/a.ts', "import type { T } from '../tensor/b.js';\nexport type U = T;\n");
  await put('src/kernels/a.ts', "export const a = await import('../autograd/b.js');\n");
  expect(await lint()).toEqual([
    'noRestrictedImports src/device/a.ts:1',
    'noRestrictedImports src/kernels/a.ts:1',
  ]);
});

it('cycles are found', async () => {
  await put('src/nn/a.ts', "import { b } from './b.js';\nexport const a = () => b;\n");
  await put('src/nn/b.ts', "import { c } from './c.js';\nexport const b = () => c;\n");
  await put('src/nn/c.ts', "import { a } from './a.js';\nexport const c = () => a;\n");
  expect(await lint()).toEqual(['a', 'b', 'c'].map((name) => `noImportCycles src/nn/${name}.ts:1`));
});

it("Node's modules stay out of what browsers load", async () => {
  await put('src/autograd/a.ts', "import { join } from 'node:path';\nexport const a = join;\n");
  await put('src/cli/a.ts', "import { join } from 'node:path';\nexport const a = join;\n");
  expect(await lint()).toEqual(['noNodejsModules src/autograd/a.ts:1']);
});
