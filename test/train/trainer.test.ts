/** The training loop: resume, early stopping, accumulation, what it leaves behind, what it refuses. */
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import '../../src/autograd/methods.js';
import { readSafetensorsFile } from '../../src/data/safetensors-file.js';
import { DataError, GradError } from '../../src/device/errors.js';
import { CharTransformer } from '../../src/models/char-transformer.js';
import { AdamW } from '../../src/optim/adam.js';
import { WarmupCosineLR } from '../../src/optim/scheduler.js';
import { cpuDevice, setDefaultDevice } from '../../src/tensor/default-device.js';
import { manualSeed } from '../../src/tensor/random.js';
import { consecutiveWindows, RandomWindows, type TokenBatch, toTensors } from '../../src/train/batches.js';
import { RunFolder } from '../../src/train/run-folder.js';
import { BEST, LAST, meanLoss, Trainer, type TrainerOptions } from '../../src/train/trainer.js';

const device = cpuDevice();
const ids = Int32Array.from({ length: 2000 }, (_, i) => (i * i) % 17);
let base: string;

beforeAll(async () => {
  setDefaultDevice(device);
  base = await mkdtemp(join(tmpdir(), 'dawngrad-trainer-'));
});
afterAll(() => rm(base, { recursive: true, force: true }));

type Inputs = ReturnType<typeof toTensors>;

function trainer(
  run: RunFolder | undefined,
  options: Partial<TrainerOptions<TokenBatch, Inputs>> = {},
  batchSize = 2,
): Trainer<TokenBatch, Inputs> {
  manualSeed(5);
  const model = new CharTransformer({
    vocabSize: 17,
    blockSize: 8,
    layers: 1,
    heads: 2,
    dim: 8,
    dropout: 0.1,
  });
  const optimizer = new AdamW(model.parameters(), { lr: 1e-2 });
  const toDevice = (b: TokenBatch) => toTensors(b, device);
  return new Trainer({
    model,
    optimizer,
    scheduler: new WarmupCosineLR(optimizer, { warmupSteps: 3, totalSteps: 30 }),
    batches: new RandomWindows(ids, batchSize, 8, 1),
    toDevice,
    loss: ([x, y]) => model.loss(x, y),
    steps: 30,
    clipNorm: 1,
    evaluate: () =>
      meanLoss(
        consecutiveWindows(ids.subarray(0, 200), 8, 8),
        (b) => model.loss(...toDevice(b)),
        (b) => b.input.length,
      ),
    evaluateEvery: 10,
    run,
    ...options,
  });
}

async function metrics(run: RunFolder): Promise<string[]> {
  const lines = await run.readMetrics();
  return lines.map(({ tokensPerSecond: _, ...line }) => JSON.stringify(line));
}

describe('Trainer', () => {
  it('resumes bit for bit, after an interruption between evaluations', async () => {
    const whole = await RunFolder.create(base, 'whole', {});
    const result = await trainer(whole).train();
    expect(result.stopped).toBe('finished');

    const cut = await RunFolder.create(base, 'cut', {});
    const controller = new AbortController();
    const stopped = await trainer(cut, {
      signal: controller.signal,
      readEvery: 1,
      onProgress: ({ step }) => step === 13 && controller.abort(),
    }).train();
    expect(stopped.stopped).toBe('interrupted');
    expect(stopped.step).toBe(13);
    const again = trainer(cut);
    await again.resume();
    expect(again.step).toBe(13);
    const resumed = await again.train();
    expect(resumed.best).toEqual(result.best);
    expect(resumed.validation).toBe(result.validation);

    expect(await metrics(cut)).toEqual(await metrics(whole));
    const [a, b] = await Promise.all([
      readSafetensorsFile(whole.file(LAST)),
      readSafetensorsFile(cut.file(LAST)),
    ]);
    expect([...b.tensors.keys()]).toEqual([...a.tensors.keys()]);
    for (const [name, t] of a.tensors) expect(b.tensors.get(name)!.data, name).toEqual(t.data);
  });

  it('stops at a step, between evaluations and at one, and goes on bit for bit', async () => {
    const whole = await RunFolder.create(base, 'whole', {});
    const result = await trainer(whole).train();
    const parts = await RunFolder.create(base, 'parts', {});
    for (const stopAt of [7, 10, 10, 21, 99]) {
      const t = trainer(parts, { stopAt });
      if (stopAt > 7) await t.resume();
      const { step, stopped, validation } = await t.train();
      expect(step).toBe(Math.min(stopAt, 30));
      expect(stopped).toBe(stopAt < 30 ? 'interrupted' : 'finished');
      if (stopAt === 99) expect(validation).toBe(result.validation);
    }
    expect(await metrics(parts)).toEqual(await metrics(whole));
    const files = [LAST, BEST].map((name) =>
      [whole, parts].map((run) => readSafetensorsFile(run.file(name))),
    );
    for (const [a, b] of await Promise.all(files.map((pair) => Promise.all(pair)))) {
      for (const [name, t] of a.tensors) expect(b.tensors.get(name)!.data, name).toEqual(t.data);
    }
    expect(() => trainer(undefined, { stopAt: 1.5 })).toThrow(
      new DataError('Trainer: expected stopAt to be a non-negative integer, got 1.5'),
    );
  });

  it('leaves a curve, the metrics, and the best weights under the names of the module', async () => {
    const run = await RunFolder.create(base, 'files', {});
    const t = trainer(run);
    const result = await t.train();
    expect(await readFile(run.file('loss.svg'), 'utf8')).toMatch(/^<svg/);
    const lines = await run.readMetrics();
    expect(lines.filter((l) => 'loss' in l).map((l) => l.step)).toEqual(
      Array.from({ length: 30 }, (_, i) => i + 1),
    );
    expect(lines.filter((l) => 'validation' in l).map((l) => l.step)).toEqual([10, 20, 30]);
    const { tensors, metadata } = await readSafetensorsFile(run.file(BEST));
    expect([...tensors.keys()].sort()).toEqual([...t.options.model.stateDict().keys()].sort());
    expect(metadata.step).toBe(String(result.best.step));
  });

  it('accumulates gradients as one large batch would have them', async () => {
    const options = { steps: 3, clipNorm: undefined, evaluate: undefined };
    const model = (t: Trainer<TokenBatch, Inputs>) => t.options.model.eval();
    // Dropout would draw other masks for other batch shapes.
    const run = async (t: Trainer<TokenBatch, Inputs>): Promise<number[][]> => {
      for (const m of model(t).modules()) if ('p' in m) (m as { p: number }).p = 0;
      for (const b of t.options.model.modules()) if ('dropout' in b) (b as { dropout: number }).dropout = 0;
      await t.train();
      const all: number[][] = [];
      for (const p of t.options.model.parameters()) all.push(Array.from(await p.data()));
      return all;
    };
    const small = await run(trainer(undefined, { ...options, accumulate: 2, batches: halves() }));
    const large = await run(trainer(undefined, { ...options, batches: fours() }));
    small.forEach((p, k) => p.forEach((v, i) => expect(Math.abs(v - large[k][i])).toBeLessThan(2e-4)));
  });

  it('gives the same numbers whether it replays the first step or not', async () => {
    const replayed = await RunFolder.create(base, 'replayed', {});
    const eager = await RunFolder.create(base, 'eager', {});
    await trainer(replayed, { accumulate: 2 }).train();
    await trainer(eager, { accumulate: 2, capture: false }).train();
    expect(await metrics(replayed)).toEqual(await metrics(eager));
    const weights = (run: RunFolder) => readFile(run.file(BEST));
    expect(await weights(replayed)).toEqual(await weights(eager));
  });

  it('stops early when validation gets no better', async () => {
    const losses = [3, 2, 2.5, 2.4, 2.3];
    let calls = 0;
    const result = await trainer(undefined, {
      evaluateEvery: 2,
      patience: 2,
      evaluate: async () => losses[calls++],
    }).train();
    expect(result).toMatchObject({ stopped: 'early stopping', step: 8, best: { step: 4, validation: 2 } });
  });

  it('stops with a clear error when the loss is not finite', async () => {
    const t = trainer(undefined);
    const options = t.options as { loss(inputs: Inputs): unknown };
    const loss = options.loss;
    options.loss = (b) => (loss(b) as { mul(x: number): unknown }).mul(Number.NaN);
    await expect(t.train()).rejects.toThrow(
      new GradError(
        'Trainer: the loss became NaN at step 1; lower the learning rate or clip the gradients (detectAnomaly names the operation)',
      ),
    );
  });

  it('refuses checkpoints that are missing, truncated, or of something else', async () => {
    const run = await RunFolder.create(base, 'bad', {});
    await expect(trainer(run).resume()).rejects.toThrow(/^readSafetensorsFile: .*last\.safetensors: ENOENT/);
    await trainer(run, { steps: 1 }).train();
    await truncate(run.file(LAST), 500);
    await expect(trainer(run).resume()).rejects.toThrow(DataError);
    const other = await RunFolder.create(base, 'other', {});
    await trainer(other, { steps: 1 }).train();
    await writeFile(run.file(LAST), await readFile(other.file(BEST)));
    await expect(trainer(run).resume()).rejects.toThrow(
      new DataError(
        `Trainer.resume: ${run.file(LAST)} is no checkpoint of a training run: it says no progress`,
      ),
    );
    expect(existsSync(run.file('metrics.jsonl'))).toBe(true);
  });

  it('refuses settings that make no sense', () => {
    expect(() => trainer(undefined, { steps: -1 })).toThrow(
      new DataError('Trainer: expected steps to be a non-negative integer, got -1'),
    );
    expect(() => trainer(undefined, { accumulate: 0 })).toThrow(
      new DataError('Trainer: expected accumulate to be a positive integer, got 0'),
    );
  });
});

/** Batches of four windows, and the same windows in batches of two. */
function fours(): RandomWindows {
  return new RandomWindows(ids, 4, 8, 1);
}
function halves(): { next(): TokenBatch; state(): unknown; load(): void } {
  const whole = fours();
  let rest: TokenBatch | null = null;
  return {
    next() {
      if (rest) {
        const second = rest;
        rest = null;
        return second;
      }
      const { input, target } = whole.next();
      rest = { input: input.subarray(16), target: target.subarray(16), shape: [2, 8] };
      return { input: input.subarray(0, 16), target: target.subarray(0, 16), shape: [2, 8] };
    },
    state: () => null,
    load: () => {},
  };
}
