/** Runs every code block of README.md and docs/, and compares what it prints with what the page says. */
import { execFileSync, fork } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { build, type Plugin } from 'esbuild';
import { beforeAll, describe, expect, it } from 'vitest';
import '../src/autograd/methods.js';
import { CharTransformer } from '../src/models/char-transformer.js';
import { LARGE, SMALL } from '../src/train/char-lm.js';
import { withCounts } from './support/counts.js';
import {
  type Block,
  expectations,
  instrument,
  isCode,
  moduleText,
  type Page,
  prints,
  ROOT,
  readPage,
  readPages,
  runs,
} from './support/doc-blocks.js';
import { shellProblem } from './support/doc-shell.js';
import { ADAPTER, problem } from './support/webgpu.js';

const CACHE = join(ROOT, 'node_modules/.cache/dawngrad-docs');
const ENTRIES: Record<string, string> = { dawngrad: 'src/index.ts', 'dawngrad/node': 'src/node.ts' };
/** Pages that run on the CPU device only, and why. */
const CPU_ONLY = new Map([
  ['docs/guide/04-training-a-model.md', 'thousands of training steps take minutes on a software adapter'],
]);
/** Chapters train small models; cores may be busy. */
const PATIENCE = 300_000;
const pages = readPages();
const withCode = pages.filter((p) => p.blocks.some(runs));

/** The package's own names lead to its sources; everything else stays outside. */
const sources: Plugin = {
  name: 'dawngrad-sources',
  setup(b) {
    b.onResolve({ filter: /^dawngrad(\/node)?$/ }, ({ path }) => ({ path: join(ROOT, ENTRIES[path]) }));
  },
};

const HEAD = `import { format as __format } from 'node:util';
globalThis.__printed = (line, ...values) => process.send({ line, text: __format(...values) });
`;

/** Bundles a page's blocks into one module. */
async function bundle(page: Page): Promise<string> {
  const outfile = join(CACHE, `${page.file.replaceAll('/', '-')}.mjs`);
  await build({
    stdin: {
      contents: `declare const __printed: (line: number, ...values: unknown[]) => void;${instrument(moduleText(page, page.blocks.filter(runs)))}`,
      sourcefile: page.file,
      resolveDir: ROOT,
      loader: 'ts',
    },
    outfile,
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    packages: 'external',
    plugins: [sources],
    sourcemap: 'inline',
    sourcesContent: false,
    banner: { js: HEAD },
    logLevel: 'silent',
  });
  return outfile;
}

interface Printed {
  readonly line: number;
  readonly text: string;
}

/** Runs a module in a process of its own; rejects with its error, whose stack names the page. */
function execute(file: string, env: Record<string, string>): Promise<Printed[]> {
  return new Promise((resolve, reject) => {
    const child = fork(file, {
      execArgv: ['--enable-source-maps'],
      env: { ...process.env, NODE_ENV: 'test', ...env },
      cwd: ROOT,
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    const printed: Printed[] = [];
    let errors = '';
    child.on('message', (m) => printed.push(m as Printed));
    child.stderr!.on('data', (d) => (errors += d));
    child.on('error', reject);
    child.on('close', (code) =>
      code === 0 ? resolve(printed) : reject(new Error(errors || `exit code ${code}`)),
    );
  });
}

function check(page: Page, printed: readonly Printed[]): void {
  for (const { line, lines } of expectations(page, page.blocks.filter(runs))) {
    const actual = printed.filter((p) => p.line === line).flatMap((p) => p.text.split('\n'));
    const same = actual.length === lines.length && lines.every((text, i) => prints(text, actual[i]));
    if (!same) {
      throw new Error(
        `${page.file}:${line}: expected what the page says, got another output\n` +
          `--- the page\n${lines.join('\n')}\n--- printed\n${actual.join('\n')}`,
      );
    }
  }
}

beforeAll(() => {
  mkdirSync(CACHE, { recursive: true });
});

describe.each(withCode.map((p) => [p.file, p] as const))('%s', (_, page) => {
  it(
    'runs and prints what it says',
    async () => {
      check(page, await execute(await bundle(page), { DAWNGRAD_DEVICE: 'cpu', DAWNGRAD_ADAPTER: '' }));
    },
    PATIENCE,
  );

  const skip = CPU_ONLY.get(page.file) ?? problem;
  it.skipIf(skip)(
    `does so on WebGPU${skip ? ` (skipped: ${skip})` : ''}`,
    async () => {
      check(
        page,
        await execute(await bundle(page), { DAWNGRAD_DEVICE: 'webgpu', DAWNGRAD_ADAPTER: ADAPTER }),
      );
    },
    PATIENCE,
  );
});

describe('a broken page', () => {
  const fence = '```';
  const pageOf = (...lines: string[]): Page => {
    const file = join(CACHE, 'broken.md');
    writeFileSync(file, lines.join('\n'));
    return readPage(file);
  };
  const run = async (page: Page): Promise<void> => check(page, await execute(await bundle(page), {}));

  it('is named with the line that throws', async () => {
    const page = pageOf('# Title', '', `${fence}ts`, 'const x = [1];', 'x.missing();', fence);
    await expect(run(page)).rejects.toThrow(/broken\.md:5[\s\S]*missing is not a function/);
  });

  it('is named with the line that prints something else', async () => {
    const page = pageOf(`${fence}ts`, 'for (const i of [1, 2]) console.log(i);', '// → 1', '// → 3', fence);
    await expect(run(page)).rejects.toThrow(/broken\.md:2: [\s\S]*the page\n1\n3\n--- printed\n1\n2$/);
  });

  it('is named with the line that says nothing of what it prints', async () => {
    const page = pageOf(`${fence}ts`, 'console.log(1);', fence);
    await expect(run(page)).rejects.toThrow(/broken\.md:2: say what this prints/);
  });

  it('is named with the line of a wrong type, a wrong command and a wrong option', () => {
    const page = pageOf('', `${fence}ts no-run`, "const n: number = 'text';", fence);
    expect(typeErrors([page])).toMatch(/^\S*broken\.md:3: error TS2322: /);
    expect(shellProblem('npm run nonsense')).toBe("package.json has no script 'nonsense'");
    expect(shellProblem('npx dawngrad nonsense')).toBe("there is no command 'nonsense'");
    expect(shellProblem('npx dawngrad train --nonsense')).toBe("'dawngrad train' has no option --nonsense");
    expect(shellProblem('npx dawngrad train --steps 5')).toBe(null);
  });
});

describe('types', () => {
  it('are right in every block, also in those that do not run', () => {
    expect(typeErrors(pages)).toBe('');
  });
});

/** What the compiler says against the blocks of pages: file, line and message, one per line. */
function typeErrors(checked: readonly Page[]): string {
  const folder = join(CACHE, 'types');
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const names = new Map<string, string>();
  const add = (page: Page, blocks: readonly Block[]): void => {
    const name = `block-${names.size}.ts`;
    names.set(name, page.file);
    writeFileSync(join(folder, name), `${moduleText(page, blocks)}\nexport {};\n`);
  };
  for (const page of checked) {
    if (page.blocks.some(runs)) add(page, page.blocks.filter(runs));
    for (const block of page.blocks.filter((b) => isCode(b) && !runs(b))) add(page, [block]);
  }
  writeFileSync(
    join(folder, 'tsconfig.json'),
    JSON.stringify({
      extends: join(ROOT, 'tsconfig.json'),
      compilerOptions: {
        noUnusedLocals: false,
        typeRoots: [join(ROOT, 'node_modules/@types'), join(ROOT, 'node_modules')],
        paths: Object.fromEntries(Object.entries(ENTRIES).map(([name, path]) => [name, [join(ROOT, path)]])),
      },
      include: ['*.ts'],
      exclude: [],
    }),
  );
  let output = '';
  try {
    const tsc = join(ROOT, 'node_modules/typescript/bin/tsc');
    execFileSync(process.execPath, [tsc, '-p', folder, '--pretty', 'false'], { encoding: 'utf8' });
  } catch (e) {
    output = (e as { stdout: string }).stdout;
  }
  // Lines of a block's module are lines of its page.
  const found = output
    .split('\n')
    .map((l) => /(block-\d+\.ts)\((\d+),\d+\): (.*)$/.exec(l))
    .filter((m) => m !== null)
    .map(([, name, line, message]) => `${names.get(name)}:${line}: ${message}`);
  const elsewhere = output.split('\n').filter((l) => l.includes('error') && !l.includes('block-'));
  return [...found, ...elsewhere].join('\n');
}

describe('README.md', () => {
  it('states the counts of today', () => {
    const readme = readFileSync(join(ROOT, 'README.md'), 'utf8');
    expect(readme, 'bring it up to date with: npm run counts -- --write').toBe(withCounts(readme));
  });
});

describe('the two configurations in the README', () => {
  const cells = (row: string): string[] =>
    row
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim());
  const table = new Map(
    readFileSync(join(ROOT, 'README.md'), 'utf8')
      .split('\n')
      .filter((line) => line.startsWith('|'))
      .map((line) => [cells(line)[0], cells(line).slice(1)]),
  );

  it.each([
    ['without a GPU', 0, SMALL],
    ['on a GPU', 1, LARGE],
  ] as const)('are those of the code: %s', (_, column, config) => {
    const n = (x: number): string => x.toLocaleString('en');
    // V of Moby-Dick, as `npm start` prints it.
    const model = new CharTransformer({ ...config, vocabSize: 89 });
    const stated = Object.fromEntries([...table].map(([name, values]) => [name, values[column]]));
    expect(stated).toMatchObject({
      'layers × width, heads': `${config.layers} × ${config.dim}, ${config.heads}`,
      'parameters (Moby-Dick)': n(model.numParameters()),
      'context, in characters': n(config.blockSize),
      'windows per step': n(config.batchSize),
      steps: n(config.steps),
      'learning rate at its peak': String(config.lr),
      dropout: String(config.dropout),
    });
  });
});

describe('shell commands', () => {
  const blocks = pages.flatMap((p) => p.blocks.filter((b) => b.lang === 'sh').map((b) => [p, b] as const));

  it('named in the text exist', () => {
    const problems = pages.flatMap(({ file, lines }) =>
      lines.flatMap((text, i) =>
        [...text.matchAll(/`((?:npm (?:run|start|test)|npx dawngrad)\b[^`]*)`/g)]
          .map(([, command]) => shellProblem(command))
          .filter((p) => p !== null)
          .map((p) => `${file}:${i + 1}: ${p}`),
      ),
    );
    expect(problems.join('\n')).toBe('');
  });

  it('exist', () => {
    const problems = blocks.flatMap(([page, { line, code }]) =>
      code.flatMap((text, i) =>
        text
          .split('&&')
          .filter((part) => part.trim() && !part.trim().startsWith('#'))
          .map(shellProblem)
          .filter((p) => p !== null)
          .map((p) => `${page.file}:${line + i}: ${p}`),
      ),
    );
    expect(problems.join('\n')).toBe('');
  });
});

describe('links', () => {
  /** GitHub's anchors: lower case, punctuation gone, spaces to hyphens. */
  const anchors = (page: string): Set<string> =>
    new Set(
      readFileSync(page, 'utf8')
        .split('\n')
        .filter((l) => /^#+ /.test(l))
        .map((l) =>
          l
            .replace(/^#+ /, '')
            .toLowerCase()
            .replace(/[^\p{L}\p{N}\s_-]/gu, '')
            .replaceAll(' ', '-'),
        ),
    );

  it('to files and headings lead somewhere', () => {
    const broken: string[] = [];
    for (const page of pages) {
      let fenced = false;
      page.lines.forEach((text, i) => {
        if (text.startsWith('```')) fenced = !fenced;
        if (fenced) return;
        for (const [, target] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
          if (/^(https?|mailto):/.test(target)) continue;
          const [path, anchor] = target.split('#');
          const file = path ? join(ROOT, dirname(page.file), path) : join(ROOT, page.file);
          // Written by `npm run docs`, and not kept.
          if (file.startsWith(join(ROOT, 'docs/api'))) continue;
          if (!existsSync(file)) broken.push(`${page.file}:${i + 1}: ${target} does not exist`);
          else if (anchor && basename(file).endsWith('.md') && !anchors(file).has(anchor))
            broken.push(`${page.file}:${i + 1}: ${target}: no such heading`);
        }
      });
    }
    expect(broken.join('\n')).toBe('');
  });
});
