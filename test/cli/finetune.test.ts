/** The command `dawngrad finetune`, as a user runs it, and as a machine kills it. */
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readSafetensorsFile } from '../../src/data/safetensors-file.js';

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
const TSX = import.meta.resolve('tsx');
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'dawngrad-cli-finetune-'));
  const pairs = Array.from({ length: 40 }, (_, i) => {
    const question = `Why ${['sad', 'late', 'ill'][i % 3]} ${i}?`;
    return `QUESTION: ${question}\n\nANSWER: Ask ${['her', 'him', 'them'][(i >> 1) % 3]} now.\n`;
  });
  await writeFile(join(folder, 'advice.txt'), pairs.join('\n'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

interface Outcome {
  code: number | null;
  out: string;
  err: string;
}

type Kill = (signal: NodeJS.Signals) => void;

/** Runs the command; `watch` sees standard output as it comes, and may kill it. */
function dawngrad(
  args: string[],
  env: NodeJS.ProcessEnv = {},
  watch?: (soFar: string, kill: Kill) => void,
): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['--import', TSX, MAIN, ...args], {
      cwd: folder,
      env: { ...process.env, DAWNGRAD_DEVICE: 'cpu', DAWNGRAD_ADAPTER: '', DAWNGRAD_THREADS: '1', ...env },
    });
    const outcome: Outcome = { code: null, out: '', err: '' };
    child.stdout.setEncoding('utf8').on('data', (s: string) => {
      outcome.out += s;
      watch?.(outcome.out, (signal) => child.kill(signal));
    });
    child.stderr.setEncoding('utf8').on('data', (s: string) => (outcome.err += s));
    child.on('error', reject);
    child.on('close', (code) => resolve({ ...outcome, code }));
  });
}

const SETTINGS = {
  model: 'scratch',
  vocabSize: 300,
  layers: 1,
  dim: 16,
  heads: 2,
  context: 64,
  blockSize: 64,
  batchSize: 2,
  dropout: 0.1,
  steps: 120,
  evaluateEvery: 40,
  checkpointEvery: 4,
  evaluationTokens: 64,
  sampleLength: 6,
  data: ['advice.txt'],
};

async function settings(name: string, changes: Record<string, unknown> = {}): Promise<string> {
  await writeFile(join(folder, `${name}.json`), JSON.stringify({ ...SETTINGS, name, ...changes }));
  return `${name}.json`;
}

/** What a run is, without times. */
async function bits(path: string): Promise<Record<string, unknown>> {
  const lines = (await readFile(join(path, 'metrics.jsonl'), 'utf8')).trim().split('\n');
  const out: Record<string, unknown> = {
    metrics: lines.map((line) => ({ ...JSON.parse(line), tokensPerSecond: 0 })),
  };
  for (const file of ['last.safetensors', 'best.safetensors', 'model/model.safetensors']) {
    const { tensors } = await readSafetensorsFile(join(path, file));
    for (const [name, t] of tensors) out[`${file} ${name}`] = Buffer.from(t.data).toString('base64');
  }
  return out;
}

describe('dawngrad finetune', () => {
  it('trains, says how it went, and leaves a model', async () => {
    const { code, out, err } = await dawngrad([
      'finetune',
      '--config',
      await settings('whole'),
      '--seed',
      '3',
    ]);
    expect(err).toBe('');
    expect(code).toBe(0);
    expect(out).toMatch(/^Device {5}CPU/);
    expect(out).toMatch(
      /Model {6}scratch: \d,\d{3} parameters, 0\.0 MB; 1 layers, width 16, 2 heads, context 64, vocabulary 300/,
    );
    expect(out).toContain('(100 %)');
    expect(out).toMatch(/Data {7}\d+ answers to learn from, \d+ answers held out/);
    expect(out).toMatch(
      /Baselines {2}validation: uniform 5.7038, unigram \d.\d{4}, bigram \d.\d{4} nats per token/,
    );
    expect(out).toMatch(
      /Sanity {5}untouched, the model's loss is 5.\d\d nats per token; ln V = 5.70 \(V = 300\)/,
    );
    expect(out).toContain('tokens, vocabulary, start and gradients are as they should be');
    expect(out).toContain('Sample before training:\n  | QUESTION: Why ');
    expect(out).toContain('Sample after training:\n  | QUESTION: Why ');
    expect(out).toMatch(/step 40: held-out loss \d.\d{4} nats per token/);
    expect(out).toMatch(/100 % · step 120\/120 · loss \d\.\d+ · .* tokens\/s/);
    expect(out).toMatch(
      /this model {9}\d.\d{4} nats per token {3}perplexity \d+\.\d\d {3}\d\.\d{3} bits per character/,
    );
    expect(out).toMatch(/after training {5}distinct-1 [01]\.\d{3}, distinct-2 [01]\.\d{3}, \d\.\d tokens/);
    const run = join(folder, 'runs', 'whole');
    const files = ['beginning.json', 'best.safetensors', 'config.json', 'last.safetensors', 'loss.svg'];
    expect((await readdir(run)).sort()).toEqual([...files, 'metrics.jsonl', 'model', 'result.json']);
    expect(JSON.parse(await readFile(join(run, 'config.json'), 'utf8'))).toMatchObject({
      seed: 3,
      dropout: 0.1,
    });
    const again = await dawngrad(['finetune', '--resume', 'runs/whole']);
    expect(again.code).toBe(1);
    expect(again.err).toContain('expected a run to go on with, got runs/whole, which has finished');
  }, 120_000);

  it('killed again and again, loses the steps since the last checkpoint and no bit', async () => {
    // Enough of them for three kills, however late this process gets its turn.
    const steps = 600;
    const undisturbed = dawngrad(['finetune', '--config', await settings('undisturbed', { steps })]);
    const run = join(folder, 'runs', 'killed');
    const metrics = join(run, 'metrics.jsonl');
    const stepsDone = (): number =>
      existsSync(metrics) ? readFileSync(metrics, 'utf8').trim().split('\n').length : 0;
    const isWriting = (): boolean =>
      existsSync(run) && readdirSync(run).some((name) => name.endsWith('.tmp'));
    let kills = 0;
    const moments: string[] = [];
    /** Kills at a random moment of the training, or in the middle of a file. */
    const killed = async (args: string[], from: number, inFile: boolean): Promise<Outcome> => {
      let timer: NodeJS.Timeout | null = null;
      const wait = Math.random() * 150;
      const outcome = await dawngrad(['finetune', ...args], {}, (_, kill) => {
        timer ??= setInterval(() => {
          if (stepsDone() < from || (inFile && !isWriting())) return;
          clearInterval(timer!);
          setTimeout(() => kill('SIGKILL'), inFile ? 0 : wait);
        }, 1);
      });
      if (timer) clearInterval(timer);
      if (outcome.code === null) kills++;
      moments.push(`${stepsDone()} lines after ${wait.toFixed(0)} ms${inFile ? ', in a file' : ''}`);
      return outcome;
    };
    await killed(['--config', await settings('killed', { steps })], 4, false);
    const resume = ['--resume', 'runs/killed'];
    const second = await killed(resume, Math.max(20, stepsDone() + 4), true);
    if (second.code === null) expect(second.out).toMatch(/Resumed {4}runs\/killed at step \d+/);
    await killed(resume, Math.max(50, stepsDone() + 4), false);
    expect(kills, moments.join('; ')).toBeGreaterThan(1);
    const last = await dawngrad(['finetune', ...resume]);
    if (last.code !== 0) expect(last.err, moments.join('; ')).toContain('has finished');
    expect((await undisturbed).code).toBe(0);
    expect(await bits(run), moments.join('; ')).toEqual(await bits(join(folder, 'runs', 'undisturbed')));
    expect((await readdir(run)).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  }, 240_000);

  it('stops at Ctrl-C with a checkpoint, and says how to go on', async () => {
    // More steps than any machine trains before the signal comes.
    const name = await settings('stopped', { steps: 1e6, evaluateEvery: 20, checkpointEvery: 1e6 });
    let sent = false;
    const { code, out } = await dawngrad(['finetune', '--config', name], {}, (soFar, kill) => {
      if (sent || !soFar.includes('step 20: held-out loss')) return;
      sent = true;
      kill('SIGINT');
    });
    expect(code).toBe(0);
    expect(out).toContain('Stopping after this step');
    expect(out).toMatch(
      /Stopped at step \d+ of 1000000; everything is saved. Resume with:\n {2}npx dawngrad finetune --out runs --resume runs\/stopped/,
    );
    expect(existsSync(join(folder, 'runs', 'stopped', 'last.safetensors'))).toBe(true);
  }, 120_000);

  it('stops at a step that is told, and goes on bit for bit', async () => {
    const whole = dawngrad(['finetune', '--config', await settings('in-one', { steps: 24 })]);
    const first = ['--config', await settings('in-parts', { steps: 24 })];
    for (const args of [first, ['--resume', 'runs/in-parts']]) {
      const stopAt = args === first ? 9 : 16;
      const { code, out } = await dawngrad(['finetune', ...args, '--stop-at', String(stopAt)]);
      expect(code).toBe(0);
      expect(out).toContain(`Stopped at step ${stopAt} of 24; everything is saved.`);
    }
    expect((await dawngrad(['finetune', '--resume', 'runs/in-parts'])).code).toBe(0);
    expect((await whole).code).toBe(0);
    expect(await bits(join(folder, 'runs', 'in-parts'))).toEqual(await bits(join(folder, 'runs', 'in-one')));
  }, 120_000);

  it('checks everything and writes nothing with --dry-run', async () => {
    const config = await settings('dry', { context: 8, blockSize: 8 });
    const args = ['finetune', '--config', config, '--out', 'dry-runs', '--dry-run'];
    const { code, out } = await dawngrad(args, { DAWNGRAD_LR: '1e-4' });
    expect(code).toBe(0);
    expect(out).toContain('learning rate 0.0001');
    expect(out).toContain('Samples    none: no held-out question or text fits the context');
    expect(out).toContain('A dry run: nothing was trained, nothing was written.');
    expect(existsSync(join(folder, 'dry-runs'))).toBe(false);
  }, 60_000);

  it('names what is wrong with the settings, and has help for all of them', async () => {
    const [wrong, unknown, mixed, help] = await Promise.all([
      dawngrad(['finetune', '--data', 'advice.txt', '--lr', 'fast']),
      dawngrad(['finetune', '--config', await settings('unknown', { learningRate: 1 })]),
      dawngrad(['finetune', '--resume', 'runs/whole', '--lr', '1']),
      dawngrad(['finetune', '--help']),
    ]);
    expect(wrong).toMatchObject({
      code: 1,
      err: 'dawngrad: finetune: expected lr to be a number, got "fast" by --lr\n',
    });
    expect(unknown.err).toContain("expected known settings in unknown.json, got 'learningRate'");
    expect(mixed.err).toContain('expected no settings beside --resume, --device and --adapter, got lr');
    expect(help.out).toContain('--lora-dropout <p>');
    expect(help.out).toContain(
      '$ dawngrad finetune --model runs/scratch-full --method lora --rank 4 --data plays/',
    );
  }, 120_000);
});
