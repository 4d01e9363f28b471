/** The command `dawngrad classify`, as a user runs it. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { HostRandom } from '../../src/data/random.js';
import { readSafetensorsFile } from '../../src/data/safetensors-file.js';

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
const PLAYS = fileURLToPath(new URL('../../../shared/data/plays', import.meta.url));
const TSX = import.meta.resolve('tsx');
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'dawngrad-cli-classify-'));
  const random = new HostRandom(2);
  const rows = Array.from({ length: 36 }, (_, i) => {
    const words = Array.from(
      { length: 4 + random.integer(40) },
      () => ['sun', 'moon', 'rain'][random.integer(3)],
    );
    if (i % 3 === 0) words.splice(random.integer(words.length), 0, 'zebra zebra');
    return { id: `d${i}`, group: `g${i >> 1}`, text: words.join(' '), label: i % 3 === 0 ? 1 : 0 };
  });
  await writeFile(join(folder, 'documents.jsonl'), rows.map((row) => JSON.stringify(row)).join('\n'));
  const tiny = {
    vocabSize: 270,
    dim: 8,
    heads: 2,
    layers: 1,
    chunk: 8,
    batchSize: 4,
    steps: 6,
    evaluateEvery: 3,
    checkpointEvery: 2,
    bootstrap: 20,
    baselines: ['prior'],
    twins: false,
  };
  await writeFile(join(folder, 'tiny.json'), JSON.stringify(tiny));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

interface Outcome {
  code: number | null;
  out: string;
  err: string;
}

function classify(args: string[], watch?: (soFar: string, stop: () => void) => void): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['--import', TSX, MAIN, 'classify', ...args], {
      cwd: folder,
      env: {
        ...process.env,
        DAWNGRAD_DEVICE: 'cpu',
        DAWNGRAD_ADAPTER: '',
        DAWNGRAD_THREADS: '1',
        DAWNGRAD_CACHE: join(folder, 'cache'),
      },
    });
    const outcome: Outcome = { code: null, out: '', err: '' };
    child.stdout.setEncoding('utf8').on('data', (s: string) => {
      outcome.out += s;
      watch?.(outcome.out, () => child.kill('SIGINT'));
    });
    child.stderr.setEncoding('utf8').on('data', (s: string) => (outcome.err += s));
    child.on('error', reject);
    child.on('close', (code) => resolve({ ...outcome, code }));
  });
}

const run = (name: string, ...args: string[]): string[] => [
  'documents.jsonl',
  '--config',
  'tiny.json',
  '--name',
  name,
  ...args,
];

const read = (...path: string[]): Promise<string> => readFile(join(folder, 'runs', ...path), 'utf8');

/** What a run is, without times. */
async function bits(...path: string[]): Promise<Record<string, unknown>> {
  const lines = (await read(...path, 'metrics.jsonl')).trim().split('\n');
  const out: Record<string, unknown> = {
    metrics: lines.map((line) => ({ ...JSON.parse(line), tokensPerSecond: 0 })),
    result: { ...JSON.parse(await read(...path, 'result.json')), seconds: 0 },
    predictions: await read(...path, 'predictions.jsonl'),
  };
  for (const file of ['last.safetensors', 'model.safetensors']) {
    const { tensors } = await readSafetensorsFile(join(folder, 'runs', ...path, file));
    for (const [name, t] of tensors) out[`${file} ${name}`] = Buffer.from(t.data).toString('base64');
  }
  return out;
}

describe('dawngrad classify', () => {
  it('trains, compares, and leaves a run; stopped and resumed, the same bit for bit', async () => {
    const both = ['--baselines', 'bow', 'prior'];
    const [whole, part] = await Promise.all([
      classify(run('whole', ...both)),
      classify(run('part', ...both, '--stop-at', '4')),
    ]);
    expect(whole.err).toBe('');
    expect(whole.code).toBe(0);
    expect(whole.out).toMatch(/^Device {5}CPU/);
    expect(whole.out).toContain(
      'Data       36 documents of documents.jsonl, 12 of class 1 (33.3 %), 18 groups',
    );
    expect(whole.out).toMatch(
      /Split {6}train \d+ \(\d+ of class 1, \d+ groups\); validation \d+ .*; test \d+ /,
    );
    expect(whole.out).toContain(
      'Model      transformer, 1 layers, width 8, 2 heads; all chunks of 8 tokens; pooling attention',
    );
    expect(whole.out).toMatch(/step 3: validation PR-AUC \d\.\d{4}, ROC-AUC \d\.\d{4}, loss \d\.\d{4}/);
    expect(whole.out).toMatch(
      /Test, \d documents, \d of class 1, with bootstrap intervals:\n +ROC-AUC +PR-AUC/,
    );
    expect(whole.out).toMatch(/\nbag of words .*\nthis model .*\nprior /);
    expect(whole.out).toContain('this model against bag of words: PR-AUC');
    const files = ['config.json', 'last.safetensors', 'loss.svg', 'metrics.jsonl', 'model.safetensors'];
    expect((await readdir(join(folder, 'runs', 'whole'))).sort()).toEqual(
      [...files, 'predictions.jsonl', 'report.html', 'result.json', 'tokenizer.json'].sort(),
    );

    expect(part.out).toContain('Stopped at step 4 of 6; everything is saved. Resume with:');
    expect(part.out).toContain('npx dawngrad classify --out runs --resume runs/part');
    expect(existsSync(join(folder, 'runs', 'part', 'result.json'))).toBe(false);
    const [resumed, changed, finished] = await Promise.all([
      classify(['--resume', 'runs/part']),
      classify(['--resume', 'runs/whole', '--lr', '1']),
      classify(['--resume', 'runs/whole']),
    ]);
    expect(changed.err).toContain('expected no settings beside --resume, --device and --adapter, got lr');
    expect(finished.err).toContain('expected a run to go on with, got runs/whole, which has finished');
    expect(resumed.out).toContain('Resumed    runs/part at step 4');
    expect(await bits('part')).toEqual(await bits('whole'));
  }, 400_000);

  it('validates in folds, each of which can be stopped and gone on with', async () => {
    const flags = ['--folds', '2', '--steps', '4', '--evaluate-every', '2', '--fractions', '0.7', '0.3', '0'];
    const [whole, part] = await Promise.all([
      classify(run('folds', ...flags)),
      classify(run('folds-part', ...flags, '--stop-at', '3')),
    ]);
    expect(whole.err).toBe('');
    expect(whole.out).toMatch(/Fold 1 of 2\n[\s\S]*Fold 2 of 2\n/);
    expect(whole.out).toMatch(/fold +documents +ROC-AUC[^\n]*\n1 +18 [\s\S]*\nmean [\s\S]*\n± sd /);
    const result = JSON.parse(await read('folds', 'result.json'));
    expect(result.folds).toHaveLength(2);
    expect(result.test.map((row: { name: string }) => row.name)).toEqual(['this model', 'prior']);
    expect(result.test[0].documents).toBe(36);
    const lines = (await read('folds', 'predictions.jsonl'))
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines.map(({ id }) => id)).toEqual(Array.from({ length: 36 }, (_, i) => `d${i}`));
    // Groups stay together, and every document's probability is that of the fold that tested it.
    const foldOf = new Map<string, number>();
    for (const { group, fold } of lines) {
      expect(foldOf.get(group) ?? fold).toBe(fold);
      foldOf.set(group, fold);
    }
    const own = (await read('folds', 'fold-2', 'predictions.jsonl'))
      .trim()
      .split('\n')
      .map((l) => JSON.parse(l));
    const tested = own.filter(({ split }) => split === 'test');
    expect(tested.map(({ id, probability }) => [id, probability])).toEqual(
      lines.filter(({ fold }) => fold === 2).map(({ id, probability }) => [id, probability]),
    );
    // Decisions are at each fold's own threshold.
    const right = lines.filter(
      ({ fold, probability, label }) => probability >= result.folds[fold - 1].threshold === (label === 1),
    ).length;
    const { truePositive, trueNegative } = result.test[0].confusion;
    expect(truePositive + trueNegative).toBe(right);
    expect(await read('folds', 'report.html')).toContain('<h2>Folds</h2>');

    expect(part.out).toContain('Stopped at step 3 of 4; everything is saved.');
    expect(part.out).toContain('--resume runs/folds-part\n');
    expect(await readdir(join(folder, 'runs', 'folds-part'))).toEqual(['config.json', 'fold-1']);
    const [within, second] = await Promise.all([
      classify(['--resume', join('runs', 'folds-part', 'fold-1')]),
      classify(['--resume', 'runs/folds-part', '--stop-at', '4']),
    ]);
    expect(within.err).toContain(
      'a fold; resume all of them with: dawngrad classify --resume runs/folds-part',
    );
    expect(second.out).not.toContain('finished before');
    expect(second.code).toBe(0);
    for (const fold of ['fold-1', 'fold-2']) {
      expect(await bits('folds-part', fold)).toEqual(await bits('folds', fold));
    }
    expect(await read('folds-part', 'predictions.jsonl')).toBe(await read('folds', 'predictions.jsonl'));
  }, 400_000);

  it('shows everything and writes nothing with --dry-run', async () => {
    const { code, out } = await classify(run('dry', '--dry-run', '--imbalance', 'posWeight', '--out', 'dry'));
    expect(code).toBe(0);
    expect(out).toMatch(/class 1 weighs \d/);
    expect(out).toMatch(
      /Memory {5}\d+\.\d MiB at the peak of a step on the 4 longest documents \(up to \d+ tokens\)/,
    );
    expect(out).toContain('A dry run: nothing was trained, no run was made.');
    expect(existsSync(join(folder, 'dry'))).toBe(false);
  }, 240_000);

  it('stops at Ctrl-C with a checkpoint', async () => {
    let sent = false;
    // More steps than any machine trains before the signal comes.
    const args = run('stopped', '--steps', '1000000', '--evaluate-every', '20');
    const { code, out } = await classify(args, (soFar, stop) => {
      if (sent || !/step 20: /.test(soFar)) return;
      sent = true;
      stop();
    });
    expect(code).toBe(0);
    expect(out).toContain('Stopping after this step');
    expect(out).toMatch(/Stopped at step \d+ of 1000000; everything is saved/);
    expect(existsSync(join(folder, 'runs', 'stopped', 'last.safetensors'))).toBe(true);
  }, 240_000);

  it('says what is wrong, and has help for all settings', async () => {
    const [unknown, twice, help] = await Promise.all([
      classify(run('a', '--chunk', 'long')),
      classify(run('b', '--data', 'documents.jsonl')),
      classify(['--help']),
    ]);
    expect(unknown).toMatchObject({
      code: 1,
      err: 'dawngrad: classify: expected chunk to be a number, got "long" by --chunk\n',
    });
    expect(twice.err).toContain('expected data by name or by --data, got both');
    expect(help.out).toContain('--chunk-group <n>');
    expect(help.out).toContain('$ dawngrad classify sotu');
    expect(existsSync(join(folder, 'runs', 'a'))).toBe(false);
  }, 240_000);

  it('reads plays, tens of thousands of tokens each', async ({ skip }) => {
    if (!existsSync(PLAYS)) skip('no ../shared/data/plays on this machine');
    const sizes = ['--chunk', '64', '--max-chunks', '2', '--steps', '2', '--evaluate-every', '2'];
    const { code, out } = await classify([
      PLAYS,
      ...['--config', 'tiny.json', '--name', 'plays', '--label', 'genre', '--positive', 'tragedy'],
      ...sizes,
    ]);
    expect(code).toBe(0);
    expect(out).toContain('12 of class 1 (32.4 %), 37 groups');
    expect(out).toMatch(/49,\d{3} to|\d{2,3},\d{3} to \d{2,3},\d{3} of a document/);
  }, 240_000);
});
