/** Trials as processes, with a stand-in for the command, and the file of a search. */
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DataError } from '../../src/device/errors.js';
import { FINETUNE } from '../../src/train/finetune-config.js';
import type { MetricsLine } from '../../src/train/run-folder.js';
import { parseTuneFile, readTuneFile, trialSettings } from '../../src/train/tune-file.js';
import { type CommandTrialOptions, metricOf, runTrial } from '../../src/train/tune-trial.js';

const FAKE = fileURLToPath(new URL('../support/fake-command.mjs', import.meta.url));
let base: string;
let folders = 0;

beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), 'dawngrad-tune-trial-'));
});
afterAll(() => rm(base, { recursive: true, force: true }));

async function trial(params: Record<string, string | number> = {}, more: Partial<CommandTrialOptions> = {}) {
  const folder = join(base, String(++folders));
  await mkdir(folder);
  const options: CommandTrialOptions = {
    command: 'finetune',
    settings: { data: ['a.jsonl'] },
    budget: { min: 3, max: 12, eta: 2 },
    metric: 'validation',
    mode: 'min',
    value: 'best',
    program: [process.execPath, FAKE],
    fields: FINETUNE.fields,
    ...more,
  };
  const controller = new AbortController();
  return {
    folder,
    controller,
    log: () => readFile(join(folder, 'log.txt'), 'utf8'),
    run: (budget: number) =>
      runTrial(
        { lr: 0.01, ...params },
        { trial: 0, budget, folder, resume: false, signal: controller.signal },
        options,
      ),
  };
}

describe('runTrial', () => {
  it('trains to each rung in turn, and reads the best value up to it or the last', async () => {
    process.env.DAWNGRAD_LR = '5';
    const best = await trial({}, { threads: 3 });
    expect(await best.run(3)).toBeCloseTo(1 / 3 + 0.03);
    expect(await best.run(6)).toBeCloseTo(1 / 6);
    expect(await best.run(12)).toBeCloseTo(1 / 12 + 0.06);
    const threads = process.env.DAWNGRAD_THREADS ?? '3';
    const lines = (await best.log()).trim().split('\n');
    expect(lines[0]).toMatch(/^finetune --out .* --config .*settings\.json --stop-at 3; /);
    expect(lines[1]).toMatch(/^finetune --out .* --resume .*fake --stop-at 6; /);
    for (const line of lines) expect(line).toContain(`threads ${threads}, lr undefined`);
    delete process.env.DAWNGRAD_LR;
    expect(JSON.parse(await readFile(join(best.folder, 'settings.json'), 'utf8'))).toEqual({
      evaluateEvery: 3,
      data: ['a.jsonl'],
      lr: 0.01,
      steps: 12,
    });
    // A run with a result is not started again.
    expect(await best.run(12)).toBeCloseTo(1 / 12 + 0.06);
    expect((await best.log()).trim().split('\n')).toHaveLength(3);
  }, 60_000);

  it('takes what a run that stopped early has for every budget', async () => {
    const t = await trial({ fail: 'early' }, { value: 'last', settings: { evaluateEvery: 1 } });
    const value = await t.run(6);
    expect(value).toBeCloseTo(1 / 4 + 0.02);
    expect(await t.run(12)).toBe(value);
  }, 60_000);

  it('says why a trial failed', async () => {
    await expect((await trial({ fail: 'nan' })).run(6)).rejects.toThrow(
      new DataError('Trainer: the loss became NaN at step 4; lower the learning rate'),
    );
    await expect((await trial({ fail: 'start' })).run(6)).rejects.toThrow(
      new DataError('finetune: expected data, got none'),
    );
    await expect((await trial({}, { metric: 'prAuc' })).run(3)).rejects.toThrow(
      /expected the metric 'prAuc' up to step 3 in .*metrics\.jsonl, got loss, validation/,
    );
    await expect(
      (await trial({}, { program: [process.execPath, '-e', 'process.exit(3)', '--'] })).run(3),
    ).rejects.toThrow(new DataError('ended by exit status 3'));
    await expect((await trial({}, { program: [join(base, 'no such program')] })).run(3)).rejects.toThrow(
      /ENOENT/,
    );
  }, 60_000);

  it('begins again what was killed before its first checkpoint', async () => {
    const t = await trial();
    await mkdir(join(t.folder, 'fake'));
    await writeFile(join(t.folder, 'fake', 'config.json'), '{"lr":1,"steps":1}');
    await writeFile(join(t.folder, 'fake', 'metrics.jsonl'), '{"step":1,"loss":7}\n');
    expect(await t.run(3)).toBeCloseTo(1 / 3 + 0.03);
    expect(await t.log()).toContain('--config');
  }, 60_000);

  it('lets a trial save when the search is stopped, and kills it when that is not enough', async () => {
    const kill = new AbortController();
    for (const how of ['stop', 'kill'] as const) {
      const t = await trial({ pause: 20 }, { budget: { min: 400, max: 800, eta: 2 }, kill: kill.signal });
      const running = t.run(400);
      const metrics = join(t.folder, 'fake', 'metrics.jsonl');
      while (!existsSync(metrics)) await new Promise((resolve) => setTimeout(resolve, 10));
      if (how === 'stop') {
        t.controller.abort();
        await expect(running).rejects.toThrow(/stopped at step \d+ of 400/);
      } else {
        kill.abort();
        await expect(running).rejects.toThrow('ended by SIGKILL');
      }
      expect(existsSync(join(t.folder, 'fake', 'last.safetensors'))).toBe(how === 'stop');
    }
  }, 60_000);
});

describe('metricOf', () => {
  const lines: MetricsLine[] = [
    { step: 1, loss: 3 },
    { step: 2, prAuc: 0.5 },
    { step: 4, prAuc: 0.7 },
    { step: 6, prAuc: 0.6 },
    { step: 8, prAuc: null },
  ];
  const of = (value: 'best' | 'last', budget: number, mode: 'max' | 'min' = 'max') =>
    metricOf(lines, { metric: 'prAuc', mode, value, budget, from: 'm' });
  it('is the best or the last one within the budget', () => {
    expect([of('best', 3), of('best', 5), of('best', 9), of('best', 9, 'min')]).toEqual([0.5, 0.7, 0.7, 0.5]);
    expect([of('last', 5), of('last', 6), of('last', 8)]).toEqual([0.7, 0.6, 0.6]);
    expect(() => of('last', 1)).toThrow("expected the metric 'prAuc' up to step 1 in m, got loss, prAuc");
    expect(() =>
      metricOf(lines.slice(4), { metric: 'prAuc', mode: 'max', value: 'best', budget: 9, from: 'm' }),
    ).toThrow("expected numbers of 'prAuc' in m, got none");
  });
});

const FILE = {
  command: 'finetune',
  settings: { model: 'scratch', data: ['a.jsonl'] },
  space: { lr: { type: 'logUniform', min: 1e-4, max: 1e-2 }, layers: { type: 'integer', min: 1, max: 3 } },
  metric: 'validation',
  mode: 'min',
  budget: { min: 10, max: 90 },
  trials: 5,
};
const COMMANDS = { finetune: FINETUNE };

describe('the file of a search', () => {
  it('has defaults, and gives trials their settings', () => {
    const file = parseTuneFile(FILE, COMMANDS, 'S.json');
    expect(file).toMatchObject({ value: 'best', scheduler: 'asha', workers: 1, seed: 0, budget: { eta: 3 } });
    expect(trialSettings(file, { lr: 0.1 })).toEqual({
      evaluateEvery: 10,
      model: 'scratch',
      data: ['a.jsonl'],
      lr: 0.1,
      steps: 90,
    });
  });

  it.each([
    [{ command: 'cook' }, "expected command to be one of finetune, got 'cook' in S.json"],
    [{ mode: 'most' }, 'expected mode to be one of max, min, got "most" in S.json'],
    [{ budget: { min: 0, max: 2 } }, 'expected budget.min to be at least 1, got 0 in S.json'],
    [{ budget: { min: 9, max: 2 } }, '1 ≤ min ≤ max, got min 9 and max 2'],
    [{ budget: { min: 1, max: 2, eta: 1 } }, 'expected budget.eta to be at least 2, got 1 in S.json'],
    [{ trials: undefined }, 'expected trials to be a number, got nothing in S.json'],
    [{ trails: 3 }, 'expected no trails in S.json'],
    [{ space: undefined }, 'expected space to be an object of distributions by name, got nothing in S.json'],
    [{ settings: { rate: 3 } }, 'expected settings.rate to be a setting of the command in S.json'],
    [{ settings: { steps: 3 } }, 'expected no settings.steps in S.json: budget.max is the number of steps'],
    [{ settings: { name: 'a' } }, 'expected no settings.name in S.json: trials have numbers'],
    [
      { space: { layer: 3 } },
      "expected space.layer to be a setting of the command in S.json; did you mean 'layers'?",
    ],
    [
      { settings: { ...FILE.settings, lr: 1 } },
      'expected lr in settings or in space, got it in both in S.json',
    ],
    [{ settings: { model: 'scratch' } }, 'finetune: expected data'],
    [
      { space: { layers: { type: 'integer', min: 0, max: 1 } } },
      'finetune: expected layers to be at least 1, got 0 in S.json (trial',
    ],
    [
      { settings: { ...FILE.settings, evaluateEvery: 20 } },
      'expected evaluateEvery of at most 10 steps, the first rung, got 20 in S.json',
    ],
  ])('refuses %j', (change, message) => {
    expect(() => parseTuneFile({ ...FILE, ...change }, COMMANDS, 'S.json')).toThrow(message);
  });

  it('is read from disk', async () => {
    const path = join(base, 'space.json');
    await writeFile(path, JSON.stringify(FILE));
    expect((await readTuneFile(path, COMMANDS, { trials: 9 })).trials).toBe(9);
    await writeFile(path, '{');
    await expect(readTuneFile(path, COMMANDS)).rejects.toThrow(`tune: cannot read ${path}: `);
    await expect(readTuneFile(join(base, 'none.json'), COMMANDS)).rejects.toThrow('ENOENT');
  });
});
