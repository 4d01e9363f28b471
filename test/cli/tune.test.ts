/** The command `dawngrad tune`, as a user runs it, stops it, and as a machine kills it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** The command in one file, which starts faster: a search starts it many times. As far from package.json as its source is. */
const MAIN = join(ROOT, `node_modules/.cache/dawngrad-tune-test-${process.pid}.mjs`);
const PARENT = new URL('../../src/cli/parent.ts', import.meta.url).href;
const TSX = import.meta.resolve('tsx');
let folder: string;

beforeAll(async () => {
  await build({
    entryPoints: [join(ROOT, 'src/cli/main.ts')],
    outfile: MAIN,
    bundle: true,
    platform: 'node',
    format: 'esm',
    packages: 'external',
    logLevel: 'error',
  });
  folder = await mkdtemp(join(tmpdir(), 'dawngrad-cli-tune-'));
  const words = ['the whale', 'a ship', 'the sea', 'and then', 'sailed on', 'was seen'];
  const text = (n: number, kind = 0) =>
    Array.from({ length: n }, (_, i) => words[(i * i + (i % 5) + kind) % words.length]).join(' ');
  await writeFile(join(folder, 'sea.txt'), text(600));
  const pairs = Array.from(
    { length: 30 },
    (_, i) => `QUESTION: Why ${i}?\n\nANSWER: Ask ${['her', 'him'][i % 2]}.\n`,
  );
  await writeFile(join(folder, 'advice.txt'), pairs.join('\n'));
  const rows = Array.from({ length: 40 }, (_, i) =>
    JSON.stringify({ id: `d${i}`, group: `g${i}`, text: `${i} ${text(20 + i, i % 2)}`, label: i % 2 }),
  );
  await writeFile(join(folder, 'documents.jsonl'), rows.join('\n'));
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
  await rm(MAIN, { force: true });
});

interface Outcome {
  code: number | null;
  out: string;
  err: string;
}

/** Runs the command; `watch` is called often, and may kill it. */
function dawngrad(args: string[], watch?: (child: ChildProcess, out: string) => void): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [MAIN, ...args], {
      cwd: folder,
      env: { ...process.env, DAWNGRAD_DEVICE: 'cpu', DAWNGRAD_ADAPTER: '', DAWNGRAD_THREADS: '1' },
    });
    const outcome: Outcome = { code: null, out: '', err: '' };
    child.stdout.setEncoding('utf8').on('data', (s: string) => (outcome.out += s));
    child.stderr.setEncoding('utf8').on('data', (s: string) => (outcome.err += s));
    const timer = watch && setInterval(() => watch(child, outcome.out), 5);
    child.on('error', reject);
    child.on('close', (code) => {
      clearInterval(timer);
      resolve({ ...outcome, code });
    });
  });
}

async function space(name: string, value: object): Promise<string> {
  const file = `${name}.json`;
  await writeFile(join(folder, file), JSON.stringify(value));
  return file;
}

const read = async (...path: string[]) =>
  JSON.parse(await readFile(join(folder, ...path), 'utf8')) as Record<string, unknown>;

const TRAIN = {
  command: 'train',
  settings: {
    text: 'sea.txt',
    layers: 1,
    heads: 2,
    blockSize: 16,
    batchSize: 4,
    sampleLength: 0,
    device: 'cpu',
  },
  space: { lr: { type: 'logUniform', min: 1e-4, max: 1e-1 }, dim: { type: 'choice', values: [8, 16] } },
  metric: 'validation',
  mode: 'min',
  budget: { min: 4, max: 12, eta: 3 },
  trials: 3,
  seed: 1,
};

describe('dawngrad tune', () => {
  it('searches, killed in the middle of a trial goes on, and ends with the same trials and values', async () => {
    const file = await space('sea', TRAIN);
    const whole = await dawngrad(['tune', file, '--name', 'whole']);
    expect(whole.err).toBe('');
    expect(whole.code).toBe(0);
    expect(whole.out).toContain('Search     runs/whole: 3 trials of dawngrad train, 1 at a time\n');
    expect(whole.out).toMatch(/trial 0: validation \d\.\d{4} at step 4, the best so far\n/);
    expect(whole.out).toMatch(/\n {2}trial +lr +dim +steps +validation\n\* \d +\S+ +(8|16) +12 +\d\.\d{4}\n/);
    expect(whole.out).toMatch(
      /Best: trial \d, validation \d\.\d{4} after 12 steps; 20 steps in all\. Left in runs\/whole:/,
    );
    expect((await readdir(join(folder, 'runs/whole'))).sort()).toEqual([
      'best.json',
      'space.json',
      'trials',
      'tune.html',
      'tune.json',
      'tune.jsonl',
    ]);
    const result = await read('runs/whole/tune.json');
    const best = result.best as { trial: number; params: object; run: string };
    expect(await read('runs/whole/best.json')).toMatchObject({ ...best.params, steps: 12, text: 'sea.txt' });
    expect(existsSync(join(folder, 'runs/whole', best.run, 'result.json'))).toBe(true);
    expect(await readFile(join(folder, 'runs/whole/tune.html'), 'utf8')).toContain(
      'Settings and validation of 3 trials',
    );

    // Killed while the second trial trains.
    const begun = join(folder, 'runs/killed/trials/001/sea/config.json');
    const killed = await dawngrad(['tune', file, '--name', 'killed'], (child) => {
      if (existsSync(begun)) child.kill('SIGKILL');
    });
    expect(killed.code).toBeNull();
    const journal = () => readFileSync(join(folder, 'runs/killed/tune.jsonl'), 'utf8').trim().split('\n');
    const known = journal().filter((line) => line.includes('"result"')).length;
    expect(known === 1 || known === 2).toBe(true);
    const resumed = await dawngrad(['tune', '--resume', 'runs/killed']);
    expect(resumed.err).toBe('');
    expect(resumed.code).toBe(0);
    expect((await read('runs/killed/tune.json')).trials).toEqual(result.trials);
    expect(await read('runs/killed/best.json')).toEqual(await read('runs/whole/best.json'));
    expect(journal().filter((line) => line.includes('"start"'))).toHaveLength(4);
  }, 300_000);

  it('trains several at once, goes on without those that diverge, and saves at Ctrl-C', async () => {
    const file = await space('advice', {
      command: 'finetune',
      settings: {
        model: 'scratch',
        vocabSize: 300,
        layers: 1,
        heads: 2,
        dim: 8,
        context: 32,
        data: ['advice.txt'],
        batchSize: 2,
        sampleLength: 0,
        evaluationTokens: 32,
      },
      space: { lr: { type: 'choice', values: [1e-2, 1e30] } },
      metric: 'validation',
      mode: 'min',
      scheduler: 'random',
      // More than any machine trains before the signal comes.
      budget: { min: 1e6, max: 1e6 },
      trials: 2,
      workers: 2,
      seed: 3,
    });
    let sent = false;
    const trial = (i: number, ...path: string[]) => join(folder, `runs/advice/trials/00${i}`, ...path);
    const cut = await dawngrad(['tune', file, '--name', 'advice'], (child, out) => {
      const failed = /trial (\d): failed/.exec(out);
      if (sent || !failed || !existsSync(trial(1 - Number(failed[1]), 'scratch-full/metrics.jsonl'))) return;
      sent = true;
      child.kill('SIGINT');
    });
    expect(cut.err).toBe('');
    expect(cut.code).toBe(0);
    expect(cut.out).toMatch(/trial \d: failed before step 1000000: Trainer: the loss became NaN at step \d+/);
    expect(cut.out).toContain('Stopping; running trials save first');
    expect(cut.out).toContain('Resume with:\n  npx dawngrad tune --resume runs/advice\n');
    const going = (
      (await read('runs/advice/tune.json')).trials as { trial: number; failed: string | null }[]
    ).find((t) => t.failed === null)!;
    expect(existsSync(trial(going.trial, 'scratch-full/last.safetensors'))).toBe(true);
    expect(readFileSync(trial(going.trial, 'log.txt'), 'utf8')).toMatch(
      /Stopped at step \d+ of 1000000; everything is saved/,
    );
    expect(await read('runs/advice/tune.json')).toMatchObject({ stopped: 'interrupted', best: null });
  }, 300_000);

  it('searches over classifiers', async () => {
    const file = await space('documents', {
      command: 'classify',
      settings: {
        data: ['documents.jsonl'],
        chunk: 16,
        dim: 8,
        heads: 2,
        layers: 1,
        vocabSize: 300,
        bootstrap: 20,
        twins: false,
      },
      space: {
        lr: { type: 'logUniform', min: 1e-4, max: 1e-2 },
        pooling: { type: 'choice', values: ['mean', 'attention'] },
      },
      metric: 'prAuc',
      mode: 'max',
      budget: { min: 2, max: 4, eta: 2 },
      trials: 2,
    });
    const { code, out, err } = await dawngrad(['tune', file]);
    expect(err).toBe('');
    expect(code).toBe(0);
    expect(out).toMatch(/\* \d +\S+ +(mean|attention) +4 +[01]\.\d{4}\n/);
    expect(existsSync(join(folder, 'runs/tune-classify/best.json'))).toBe(true);
  }, 300_000);

  it('names what is wrong, before anything is trained or written', async () => {
    await mkdir(join(folder, 'empty'));
    const wrong = await space('wrong', { ...TRAIN, space: { learningRate: 1 } });
    const cases: [string[], string][] = [
      [[], 'dawngrad: tune: expected the file of a search, or --resume with the folder of one\n'],
      [
        [wrong, '--out', 'none'],
        'dawngrad: tune: expected space.learningRate to be a setting of the command in wrong.json\n',
      ],
      [['--resume', 'empty'], 'dawngrad: tune: cannot read empty/space.json: ENOENT'],
      [
        ['--resume', 'empty', '--seed', '2'],
        'dawngrad: tune: expected only --workers beside --resume, got --seed\n',
      ],
    ];
    const outcomes = await Promise.all(cases.map(([args]) => dawngrad(['tune', ...args])));
    outcomes.forEach(({ code, err }, i) => {
      expect(code).toBe(1);
      expect(err).toContain(cases[i][1]);
    });
    expect(existsSync(join(folder, 'none'))).toBe(false);
  }, 120_000);

  it('ends a trial whose search is gone', async () => {
    const code = `import { followParent } from ${JSON.stringify(PARENT)}; followParent(); setInterval(() => {}, 1000); process.send('up');`;
    const child = spawn(process.execPath, ['--import', TSX, '--input-type=module', '-e', code], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    await new Promise((resolve) => child.once('message', resolve));
    child.disconnect();
    expect(await new Promise((resolve) => child.once('exit', resolve))).toBe(1);
  }, 60_000);
});
