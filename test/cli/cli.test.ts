/** The command, as a user runs it. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readSafetensorsFile } from '../../src/data/safetensors-file.js';

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
const TSX = import.meta.resolve('tsx');
let folder: string;
let text: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'dawngrad-cli-'));
  text = join(folder, 'small text.txt');
  const words = ['the whale', 'a ship', 'the sea', 'and then', 'sailed on', 'was seen'];
  await writeFile(
    text,
    Array.from({ length: 900 }, (_, i) => words[(i * i + (i % 5)) % words.length]).join(' '),
  );
});
afterAll(() => rm(folder, { recursive: true, force: true }));

interface Outcome {
  code: number | null;
  out: string;
  err: string;
}

/** Runs the command; `onLine` sees standard output as it comes. */
function dawngrad(
  args: string[],
  env: NodeJS.ProcessEnv = {},
  onOutput?: (soFar: string, kill: (s: NodeJS.Signals) => void) => void,
): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['--import', TSX, MAIN, ...args], {
      cwd: folder,
      env: { ...process.env, DAWNGRAD_DEVICE: '', DAWNGRAD_ADAPTER: '', ...env },
    });
    const outcome: Outcome = { code: null, out: '', err: '' };
    child.stdout.setEncoding('utf8').on('data', (s: string) => {
      outcome.out += s;
      onOutput?.(outcome.out, (signal) => child.kill(signal));
    });
    child.stderr.setEncoding('utf8').on('data', (s: string) => (outcome.err += s));
    child.on('error', reject);
    child.on('close', (code) => resolve({ ...outcome, code }));
  });
}

const TINY = [
  '--layers',
  '1',
  '--heads',
  '2',
  '--dim',
  '16',
  '--block-size',
  '16',
  '--batch-size',
  '4',
  '--sample-length',
  '20',
];
const train = (...more: string[]): string[] => [
  'train',
  '--device',
  'cpu',
  '--text',
  text,
  '--out',
  join(folder, 'runs'),
  ...TINY,
  ...more,
];

describe('dawngrad', () => {
  it('helps', async () => {
    const { code, out } = await dawngrad(['--help']);
    expect(code).toBe(0);
    expect(out).toMatch(/Usage: dawngrad \[options\] \[command\]/);
    for (const command of ['train', 'devices']) expect(out).toContain(command);
    expect((await dawngrad(['train', '--help'])).out).toMatch(/--resume \[run\]/);
  });

  it('times a training step on each device', async () => {
    const { code, out } = await dawngrad(['devices', '--measure', '--json'], { DAWNGRAD_DEVICE: 'cpu' });
    expect(code).toBe(0);
    const { speeds, adapters } = JSON.parse(out) as Record<
      string,
      { name: string; small: number; larger: number }[]
    >;
    expect(speeds.map((s) => s.name)[0]).toBe('CPU (WebAssembly SIMD)');
    expect(speeds).toHaveLength(1 + adapters.length);
    for (const s of speeds) expect(s.small > 0 && s.larger > 0).toBe(true);
  }, 240_000);

  it('lists devices and says which one it would use', async () => {
    const { code, out } = await dawngrad(['devices'], { DAWNGRAD_DEVICE: 'cpu' });
    expect(code).toBe(0);
    expect(out).toMatch(/CPU \(WebAssembly SIMD\)\n {2}open with {3}DAWNGRAD_DEVICE=cpu/);
    expect(out).toMatch(/features {4}simd128.*\n {2}threads {5}\d+\n/);
    expect(out).toMatch(/Would use: CPU \(WebAssembly SIMD\)\nBecause: {3}cpu \(DAWNGRAD_DEVICE\)/);
    const { out: json } = await dawngrad(['devices', '--json'], { DAWNGRAD_DEVICE: 'cpu' });
    expect(JSON.parse(json)).toMatchObject({ chosen: 'CPU (WebAssembly SIMD)' });
  });

  it('lists devices also where the one that was asked for is not among them', async () => {
    const nothing = { DAWNGRAD_ADAPTER: 'no such adapter', DAWNGRAD_THREADS: '3' };
    const { code, out } = await dawngrad(['devices'], nothing);
    expect(code).toBe(1);
    expect(out).toMatch(/DAWNGRAD_DEVICE=cpu.*threads {5}3\n/s);
    expect(out).toMatch(
      /Would use: none\nBecause: {3}openWebGPU: expected an adapter named like 'no such adapter'/,
    );
    const { code: status, out: json } = await dawngrad(['devices', '--json'], { DAWNGRAD_DEVICE: 'gpu' });
    expect(status).toBe(1);
    expect(JSON.parse(json)).toMatchObject({ chosen: null, reason: expect.stringContaining("got 'gpu'") });
  });

  it('trains, samples, and leaves a run folder', async () => {
    const { code, out, err } = await dawngrad(train('--steps', '40', '--evaluate-every', '20'));
    expect(err).toBe('');
    expect(code).toBe(0);
    for (const line of [
      'Device ',
      'Text ',
      'Model ',
      'Training ',
      'Baselines ',
      'unigram counts',
      'bigram counts',
      'this model',
    ]) {
      expect(out).toContain(line);
    }
    expect(out).toMatch(/step 20: validation loss \d\.\d{4} nats per character\n {2}\|/);
    const run = join(folder, 'runs', 'small text');
    expect((await readdir(run)).sort()).toEqual([
      'config.json',
      'last.safetensors',
      'loss.svg',
      'metrics.jsonl',
      'model.safetensors',
      'result.json',
    ]);
    const result = JSON.parse(await readFile(join(run, 'result.json'), 'utf8')) as Record<string, number>;
    expect(result.validation).toBeLessThan(result.unigram);
  });

  it('saves on Ctrl-C, says how to resume, and resumes bit for bit', async () => {
    // More steps than any machine trains before the signal comes.
    const args = train('--steps', '1000000', '--evaluate-every', '100', '--seed', '4');
    let sent = false;
    const cut = await dawngrad(args, {}, (soFar, kill) => {
      if (!sent && soFar.includes('step 100: validation')) {
        sent = true;
        kill('SIGINT');
      }
    });
    expect(cut.code).toBe(0);
    const stoppedAt = Number(
      /Stopped at step (\d+) of 1000000; everything is saved\. Resume with:/.exec(cut.out)?.[1],
    );
    expect(stoppedAt).toBeGreaterThanOrEqual(100);
    const cutName = /Run folder (.*)\n/.exec(cut.out)![1];
    expect(cut.out).toContain(`--resume ${cutName}`);

    const stopAt = ['--stop-at', String(stoppedAt + 150)];
    const resumed = await dawngrad(['train', '--resume', cutName, ...stopAt]);
    expect(resumed.code).toBe(0);
    expect(resumed.out).toContain(`Resumed    ${cutName} at step ${stoppedAt}`);
    const whole = await dawngrad([...args, ...stopAt]);
    expect(whole.code).toBe(0);
    const name = /Run folder (.*)\n/.exec(whole.out)![1];
    const [a, b] = await Promise.all(
      [name, cutName].map((n) => readSafetensorsFile(join(n, 'last.safetensors'))),
    );
    for (const [key, t] of a.tensors) expect(b.tensors.get(key)!.data, key).toEqual(t.data);
  });

  it('takes settings from a file, the environment and flags', async () => {
    const file = join(folder, 'settings.json');
    await writeFile(file, JSON.stringify({ name: 'from a file', steps: 5, seed: 6, dim: 8, lr: 0.01 }));
    const { code, err, out } = await dawngrad(train('--config', file, '--heads', '2', '--no-capture'), {
      DAWNGRAD_SEED: '7',
      DAWNGRAD_DIM: '12',
    });
    expect(err).toBe('');
    expect(code).toBe(0);
    const run = /Run folder (.*)\n/.exec(out)![1];
    expect(run).toBe(join(folder, 'runs', 'from a file'));
    const config = JSON.parse(await readFile(join(run, 'config.json'), 'utf8')) as object;
    // TINY has a --dim of 16.
    expect(config).toMatchObject({
      steps: 5,
      seed: 7,
      dim: 16,
      heads: 2,
      lr: 0.01,
      clipNorm: 1,
      capture: false,
    });
  });

  it('stops at a step with exit code 0, and resumes bit for bit', async () => {
    const args = train('--steps', '30', '--evaluate-every', '20', '--seed', '5');
    const whole = await dawngrad(args);
    const part = await dawngrad([...args, '--stop-at', '12']);
    expect(part.code).toBe(0);
    expect(part.out).toContain('Stopped at step 12 of 30; everything is saved. Resume with:');
    const [name, cut] = [whole, part].map(({ out }) => /Run folder (.*)\n/.exec(out)![1]);
    const next = await dawngrad(['train', '--resume', cut, '--stop-at', '25']);
    expect(next.out).toContain('Stopped at step 25 of 30');
    expect((await dawngrad(['train', '--resume', cut])).out).toContain('Held-out text, all');
    const [a, b] = await Promise.all(
      [name, cut].map((n) => readSafetensorsFile(join(n, 'last.safetensors'))),
    );
    for (const [key, t] of a.tensors) expect(b.tensors.get(key)!.data, key).toEqual(t.data);
  });

  it('answers wrong use in words, with exit code 1 and no folder left behind', async () => {
    const fails = async (
      args: string[],
      message: string | RegExp,
      env: NodeJS.ProcessEnv = {},
    ): Promise<void> => {
      const { code, err } = await dawngrad([...args, '--out', join(folder, 'none')], env);
      expect(code).toBe(1);
      expect(err).toMatch(message);
    };
    const missing = join(folder, 'missing.txt');
    await fails(
      ['train', '--device', 'cpu', '--text', missing],
      `dawngrad: readNovel: cannot read ${missing}: ENOENT`,
    );
    const short = join(folder, 'short.txt');
    await writeFile(short, 'too short');
    await fails(
      ['train', '--device', 'cpu', '--text', short],
      'dawngrad: train: expected at least 650 characters for a context of 64, got 9; use a longer text or --block-size',
    );
    await fails(
      ['train', '--device', 'cpu', '--steps', 'many'],
      'dawngrad: train: expected steps to be a number, got "many" by --steps',
    );
    await fails(
      ['train', '--device', 'tpu'],
      'dawngrad: train: expected device to be one of auto, webgpu, cpu, got "tpu" by --device',
    );
    await fails(
      ['train', '--device', 'cpu'],
      "dawngrad: train: expected known settings in the environment, got 'DAWNGRAD_STEP'; did you mean 'DAWNGRAD_STEPS'?",
      { DAWNGRAD_STEP: '3' },
    );
    await fails(
      ['train', '--device', 'webgpu', '--adapter', 'no such adapter'],
      /dawngrad: openWebGPU: expected .*no such adapter/,
    );
    await fails(
      ['train', '--resume'],
      /dawngrad: train: expected a run to resume in .*none, got none; start one with: dawngrad train/,
    );
    await fails(
      ['train', '--device', 'cpu', '--heads', '5', '--text', text],
      'dawngrad: CharTransformer: expected heads that divide dim 96, got 5',
    );
    expect(existsSync(join(folder, 'none'))).toBe(false);
  });
});
