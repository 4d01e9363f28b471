/** The recipe `digits`: its data, and its quick setting from end to end, as a user runs it. */
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DEFAULTS, prepareDigits, QUICK } from '../../recipes/digits/job.js';
import {
  DigitBatches,
  decode,
  END,
  heldOutStrings,
  isHeldOut,
  PAD,
  START,
  TASKS,
  toBatch,
} from '../../recipes/digits/task.js';
import { readSafetensorsFile } from '../../src/data/safetensors-file.js';
import { cpuDevice } from '../../src/index.js';
import { runRecipe } from '../support/recipe.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'dawngrad-digits-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const recipe = (...args: string[]) => runRecipe('digits/main.ts', folder, args);

describe('the data', () => {
  it('is what the tasks say', () => {
    expect(TASKS.reverse('3141')).toBe('1413');
    expect(TASKS.sort('3141')).toBe('1134');
    const { source, target } = toBatch('reverse', ['314', '7'], 4);
    expect([...source]).toEqual([6, 4, 7, PAD, 10, PAD, PAD, PAD]);
    expect([...target]).toEqual([START, 7, 4, 6, END, PAD, START, 10, END, PAD, PAD, PAD]);
    expect(decode([7, 4, 6])).toBe('413');
  });

  it('holds one string in ten out of training', () => {
    const lengths = { minLength: 1, maxLength: 4 };
    const batches = new DigitBatches('copy', lengths, 50, 1);
    for (let i = 0; i < 20; i++) {
      const { source } = batches.next();
      for (let b = 0; b < 50; b++) {
        const ids = [...source.subarray(b * 4, b * 4 + 4)].filter((id) => id !== PAD);
        expect(isHeldOut(decode(ids))).toBe(false);
      }
    }
    const all = Array.from({ length: 10_000 }, (_, i) => String(i).padStart(4, '0'));
    expect(all.filter(isHeldOut).length / all.length).toBeCloseTo(0.1, 1);
    const test = heldOutStrings(500, lengths, 1);
    expect(new Set(test).size).toBe(500);
    expect(test.every(isHeldOut)).toBe(true);
  });

  it('comes in an order that can be continued', () => {
    const make = () => new DigitBatches('sort', DEFAULTS, 8, 3);
    const [one, other] = [make(), make()];
    one.next();
    one.next();
    other.load(JSON.parse(JSON.stringify(one.state())));
    expect(other.next()).toEqual(one.next());
    expect(() => other.load('x')).toThrow('DigitBatches: expected a batch count as state, got "x"');
  });
});

describe('the command', () => {
  it('learns an easy task in seconds, and leaves a run folder', async () => {
    const { code, out, err } = await recipe('--quick', '--beams', '2', '--out', 'runs');
    expect(err).toBe('');
    expect(code).toBe(0);
    expect(out).toContain('Task       copy strings of 1 to 3 digits');
    expect(out).toMatch(/Greedy decoding: \d+ of \d+ held-out strings right/);
    expect(out).toMatch(/A beam of 2: \d+ of \d+ held-out strings right/);

    const run = join(folder, 'runs', 'digits-copy');
    expect((await readdir(run)).sort()).toEqual([
      'config.json',
      'last.safetensors',
      'loss.svg',
      'metrics.jsonl',
      'model.safetensors',
      'result.json',
    ]);
    const read = async (name: string) => readFile(join(run, name), 'utf8');
    expect(JSON.parse(await read('config.json'))).toEqual(QUICK);
    const result = JSON.parse(await read('result.json'));
    expect(result).toMatchObject({ step: QUICK.steps, unseen: true });
    expect(result.exact).toBeGreaterThanOrEqual(0.95);
    expect(result.beam).toBeGreaterThanOrEqual(0.95);
    const losses = (await read('metrics.jsonl'))
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
      .filter((m) => 'loss' in m);
    expect(losses).toHaveLength(QUICK.steps);
    expect(losses[0].loss).toBeGreaterThan(2);
    expect(losses.at(-1).loss).toBeLessThan(0.1);

    const { tensors } = await readSafetensorsFile(join(run, 'model.safetensors'));
    expect([...tensors.keys()]).toContain('encoder.layers.0.self_attn.in_proj_weight');
  });

  it('stops where it is told to, resumes, and says so', async () => {
    const half = await recipe('--quick', '--steps', '20', '--test', '10', '--out', 'halves');
    expect(half.code).toBe(0);
    const run = join('halves', 'digits-copy');
    const whole = await recipe('--resume', run, '--steps', '30');
    expect(whole.err).toBe('');
    expect(whole.out).toContain(`Run folder ${run}, from step 20 on`);
    const lines = (await readFile(join(folder, run, 'metrics.jsonl'), 'utf8')).trim().split('\n');
    const steps = lines
      .map((line) => JSON.parse(line))
      .filter((m) => 'loss' in m)
      .map((m) => m.step);
    expect(steps).toEqual(Array.from({ length: 30 }, (_, i) => i + 1));
  });

  it('explains itself, and says what is wrong', async () => {
    const help = await recipe('--help');
    expect(help.code).toBe(0);
    for (const flag of ['--task', '--quick', '--seed', '--resume', '--beams'])
      expect(help.out).toContain(flag);
    const wrong = await recipe('--min-length', '5', '--max-length', '3');
    expect(wrong.code).toBe(1);
    expect(wrong.err).toContain(
      'recipe:digits: digits: expected lengths with 1 ≤ minimum ≤ maximum, got 5 and 3',
    );
    const missing = await recipe('--resume', 'nowhere');
    expect(missing.code).toBe(1);
    expect(missing.err).toContain('RunFolder.open: expected a run folder, got nowhere');
  });
});

it('the same seed gives the same strings and the same model', async () => {
  const jobs = [1, 1, 2].map((seed) => prepareDigits({ ...QUICK, seed }, cpuDevice()));
  const [a, b, c] = await Promise.all(jobs.map(({ model }) => model.src_embed.weight.data()));
  expect(a).toEqual(b);
  expect(a).not.toEqual(c);
  expect(jobs[0].test).toEqual(jobs[1].test);
});
