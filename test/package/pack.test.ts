/** The package as users get it: packed, installed into an empty project, run, type-checked and bundled. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../../', import.meta.url));
let project: string;
/** What is in the tarball. */
let packed: string[];

interface LockEntry {
  readonly dev?: boolean;
  readonly devOptional?: boolean;
}

beforeAll(async () => {
  project = await realpath(await mkdtemp(join(tmpdir(), 'dawngrad-package-')));
  await run(process.execPath, ['scripts/build.mjs'], root);
  const args = ['pack', '--json', '--ignore-scripts', '--pack-destination', project];
  const [{ filename, files }] = JSON.parse(await run('npm', args, root)) as [
    { filename: string; files: { path: string }[] },
  ];
  packed = files.map(({ path }) => path);
  await install(filename);
}, 300_000);
afterAll(() => rm(project, { recursive: true, force: true }));

/**
 * Installs the tarball with the dependencies that this repository's lock file names, so that npm finds them in its
 * cache and asks a registry only for what is not there.
 */
async function install(tarball: string): Promise<void> {
  const manifest = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));
  const lock = JSON.parse(await readFile(join(root, 'package-lock.json'), 'utf8'));
  const closure = Object.entries<LockEntry>(lock.packages).filter(
    ([path, entry]) => path !== '' && !entry.dev && !entry.devOptional,
  );
  const { version, dependencies, peerDependencies, peerDependenciesMeta, bin } = manifest;
  const digest = createHash('sha512').update(await readFile(join(project, tarball)));
  const own = {
    version,
    resolved: `file:${tarball}`,
    integrity: `sha512-${digest.digest('base64')}`,
    dependencies,
    peerDependencies,
    peerDependenciesMeta,
    bin,
  };
  const user = {
    name: 'user',
    version: '1.0.0',
    private: true,
    type: 'module',
    dependencies: { dawngrad: `file:${tarball}` },
  };
  const packages = { '': user, 'node_modules/dawngrad': own, ...Object.fromEntries(closure) };
  await put('package.json', JSON.stringify(user));
  await put('package-lock.json', JSON.stringify({ ...user, lockfileVersion: 3, requires: true, packages }));
  await run('npm', ['ci', '--prefer-offline', '--no-audit', '--no-fund'], project);
}

function put(name: string, text: string): Promise<void> {
  return writeFile(join(project, name), text);
}

/** Standard output of a command; its errors are in the exception. */
function run(command: string, args: readonly string[], cwd = project): Promise<string> {
  // What vitest, npm and a developer's shell set is not what a user has; where npm finds packages is.
  const foreign =
    /^(NODE_OPTIONS|DAWNGRAD_.*|INIT_CWD|npm_(package|lifecycle)_.*|npm_(command|execpath|config_local_prefix))$/;
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !foreign.test(name)));
  Object.assign(env, { npm_config_loglevel: 'error', NO_COLOR: '1' });
  return new Promise((resolve, reject) => {
    const options = { cwd, env, maxBuffer: 2 ** 26, shell: process.platform === 'win32' };
    execFile(command, [...args], options, (error, stdout, stderr) => {
      if (error) reject(new Error(`${command} ${args.join(' ')}: ${error.message}\n${stdout}\n${stderr}`));
      else resolve(stdout);
    });
  });
}

it('packs what users need and nothing else', () => {
  for (const name of [
    'dist/index.js',
    'dist/index.d.ts',
    'dist/node.js',
    'dist/cli/main.js',
    'LICENSE',
    'CHANGELOG.md',
  ])
    expect(packed).toContain(name);
  const others = packed.filter((path) => !path.startsWith('dist/'));
  expect(others.filter((path) => !/^(LICENSE|README\.md|CHANGELOG\.md|package\.json)$/.test(path))).toEqual(
    [],
  );
});

const TRAIN = `
import { nn, openDevice, optim, manualSeed, scope, tensor } from 'dawngrad';

const device = await openDevice({ device: 'cpu' });
manualSeed(1);
const model = new nn.Linear(2, 1);
const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 });
const x = tensor([[0, 0], [0, 1], [1, 0], [1, 1]]);
const y = tensor([[1], [3], [0], [2]]); // 1 − a + 2b
let last;
for (let step = 0; step < 300; step++) {
  last = scope(() => {
    const loss = model.forward(x).sub(y).square().mean();
    loss.backward();
    optimizer.step();
    optimizer.zeroGrad();
    return loss.detach();
  });
}
export const loss = await last.item();
export const weight = [...(await model.weight.data())];
export const probabilities = [...(await tensor([0, 0]).softmax(0).data())];
export const name = device.info.name;
`;

const EXPECTED = {
  loss: expect.closeTo(0, 5),
  weight: [expect.closeTo(-1, 2), expect.closeTo(2, 2)],
  probabilities: [0.5, 0.5],
  name: expect.stringContaining('WebAssembly'),
};

const PRINT = 'console.log(JSON.stringify({ loss, weight, probabilities, name }));';

describe('in Node.js', () => {
  it('trains from an ES module', async () => {
    await put('train.js', `${TRAIN}\n${PRINT}`);
    expect(JSON.parse(await run(process.execPath, ['train.js']))).toEqual(EXPECTED);
  });

  it('loads from CommonJS too', async () => {
    await put(
      'common.cjs',
      "import('dawngrad').then((d) => console.log(typeof d.tensor, typeof d.nn.Linear));",
    );
    expect(await run(process.execPath, ['common.cjs'])).toBe('function function\n');
  });

  it("has its Node-only half in 'dawngrad/node'", async () => {
    await put(
      'file.js',
      `import { tensor } from 'dawngrad';
import { loadTensors, saveTensors } from 'dawngrad/node';
await saveTensors('t.safetensors', new Map([['w', tensor([1, 2, 3])]]));
const { tensors } = await loadTensors('t.safetensors');
console.log([...(await tensors.get('w').data())].join());`,
    );
    expect(await run(process.execPath, ['file.js'])).toBe('1,2,3\n');
  });

  it('has a command', async () => {
    expect(await run('npx', ['--no-install', 'dawngrad', '--help'])).toMatch(
      /Usage: dawngrad.*train.*devices/s,
    );
    const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));
    expect(await run('npx', ['--no-install', 'dawngrad', '--version'])).toBe(`${version}\n`);
    expect(await run('npx', ['--no-install', 'dawngrad', 'devices'])).toMatch(/CPU.*Would use: .*Because: /s);
  });
});

describe('types', () => {
  const consumer = `
import { autograd, nn, openDevice, optim, type Shape, tensor, Tensor } from 'dawngrad';

const shape: Shape = [2, 3];
const x: Tensor = tensor([[1, 2, 3], [4, 5, 6]], { requiresGrad: true });
const y: Tensor = x.matmul(x.transpose(0, 1)).softmax(-1).sum({ dim: 0, keepdim: true });
const model: nn.Module = new nn.Sequential(new nn.Linear(3, 4), new nn.Linear(4, 1));
const optimizer = new optim.AdamW(model.parameters(), { lr: 1e-3 });
const seconds: Promise<boolean> = autograd.gradcheck((a) => a.mul(a), [x]);
// @ts-expect-error a shape is no string
x.reshape('2, 3');
// @ts-expect-error there is no such method
x.softmaxx();
// @ts-expect-error nor such an option
new optim.AdamW(model.parameters(), { learningRate: 1 });
export const all = [shape, y, optimizer, seconds, openDevice({ device: 'cpu' })];
`;
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  const common = {
    strict: true,
    noEmit: true,
    target: 'es2022',
    lib: ['es2023', 'dom'],
    types: [] as string[],
  };

  it.each([
    ['nodenext', { module: 'nodenext', moduleResolution: 'nodenext' }],
    ['bundler', { module: 'esnext', moduleResolution: 'bundler' }],
  ])('hold under moduleResolution %s, declarations checked too', async (name, options) => {
    await put('consumer.ts', consumer);
    const config = { compilerOptions: { ...common, ...options }, files: ['consumer.ts'] };
    await put(`tsconfig.${name}.json`, JSON.stringify(config));
    expect(await run(process.execPath, [tsc, '-p', `tsconfig.${name}.json`])).toBe('');
  });

  it("hold for 'dawngrad/node'", async () => {
    await put(
      'node-consumer.ts',
      `import { RunFolder, Trainer } from 'dawngrad/node';
export const all: readonly [typeof RunFolder, typeof Trainer] = [RunFolder, Trainer];
// @ts-expect-error a path is no number
RunFolder.open(1);`,
    );
    const compilerOptions = {
      ...common,
      module: 'nodenext',
      typeRoots: [join(root, 'node_modules', '@types')],
      types: ['node'],
    };
    await put('tsconfig.node.json', JSON.stringify({ compilerOptions, files: ['node-consumer.ts'] }));
    expect(await run(process.execPath, [tsc, '-p', 'tsconfig.node.json'])).toBe('');
  });
});

describe('bundled for the browser', () => {
  async function bundle(name: string, text: string) {
    await put(name, text);
    return build({
      entryPoints: [join(project, name)],
      absWorkingDir: project,
      bundle: true,
      outfile: join(project, `bundled-${name}`),
      format: 'esm',
      platform: 'browser',
      metafile: true,
      logLevel: 'silent',
    });
  }

  /** The packages that bundled files are from. */
  function packagesOf(paths: readonly string[]): string[] {
    const names = paths.map((path) => /^node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1]);
    return [...new Set(names.filter((name) => name !== undefined))].sort();
  }

  it("contains nothing of Node.js and no 'webgpu'", async () => {
    const { metafile, warnings } = await bundle('everything.js', "export * from 'dawngrad';");
    expect(warnings).toEqual([]);
    expect(packagesOf(Object.keys(metafile.inputs))).toEqual([
      '@petamoriken/float16',
      ...[
        'd3-array',
        'd3-color',
        'd3-format',
        'd3-interpolate',
        'd3-path',
        'd3-scale',
        'd3-shape',
        'd3-time',
      ],
      ...['d3-time-format', 'dawngrad', 'zod'],
    ]);
    const imports = Object.values(metafile.outputs).flatMap((output) => output.imports);
    expect(imports.map(({ path, kind }) => `${kind} ${path}`)).toEqual([]);
    const text = await readFile(join(project, 'bundled-everything.js'), 'utf8');
    expect(text).not.toMatch(/\b(from|import|require)\s*\(?\s*["'](node:|webgpu)/);
  });

  it('runs, and leaves out what the page does not use', async () => {
    const { metafile } = await bundle('page.js', TRAIN);
    const { inputs } = metafile.outputs['bundled-page.js'];
    const used = Object.keys(inputs).filter((path) => inputs[path].bytesInOutput > 0);
    expect(packagesOf(used)).toEqual(['@petamoriken/float16', 'dawngrad']);
    // A page knows nothing of this project's packages.
    const url = pathToFileURL(join(project, 'bundled-page.js')).href;
    await put(
      'run-page.js',
      `const { loss, weight, probabilities, name } = await import('${url}');\n${PRINT}`,
    );
    expect(JSON.parse(await run(process.execPath, ['run-page.js']))).toEqual(EXPECTED);
  });
});
