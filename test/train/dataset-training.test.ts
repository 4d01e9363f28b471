/** A Dataset as the source of a training run. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import '../../src/autograd/methods.js';
import { Dataset } from '../../src/data/dataset.js';
import { mseLoss } from '../../src/nn/functional.js';
import { Linear } from '../../src/nn/index.js';
import { AdamW } from '../../src/optim/adam.js';
import { cpuDevice, setDefaultDevice } from '../../src/tensor/default-device.js';
import { tensor } from '../../src/tensor/factories.js';
import { manualSeed } from '../../src/tensor/random.js';
import { RunFolder } from '../../src/train/run-folder.js';
import { Trainer } from '../../src/train/trainer.js';

it.each(['array', 'stream'])('of an %s trains, and resumes bit for bit within an epoch', async (kind) => {
  setDefaultDevice(cpuDevice());
  const base = await mkdtemp(join(tmpdir(), 'dawngrad-dataset-'));
  const points = Array.from({ length: 11 }, (_, i) => Math.sin(i));
  const source = kind === 'array' ? Dataset.from(points) : Dataset.from(() => points);
  const trainer = (run: RunFolder, stopAt?: number) => {
    manualSeed(3);
    const model = new Linear(1, 1);
    return new Trainer({
      model,
      optimizer: new AdamW(model.parameters(), { lr: 0.1 }),
      batches: source
        .map((x) => ({ x: Float32Array.of(x), y: Float32Array.of(2 * x + 1) }))
        .shuffle(4, { window: 5 })
        .batch(3, { dropLast: true })
        .toBatchSource(),
      toDevice: ({ x, y }) =>
        [tensor(x.data, { shape: x.shape }), tensor(y.data, { shape: y.shape })] as const,
      loss: ([x, y]) => mseLoss(model.forward(x), y),
      steps: 20,
      run,
      stopAt,
    });
  };
  try {
    const whole = trainer(await RunFolder.create(base, 'whole', {}));
    await whole.train();
    const run = await RunFolder.create(base, 'cut', {});
    await trainer(run, 8).train();
    const rest = trainer(run);
    await rest.resume();
    expect(rest.step).toBe(8);
    await rest.train();
    const weights = async (t: typeof whole) =>
      Promise.all(t.options.model.parameters().map(async (p) => [...(await p.data())]));
    expect(await weights(rest)).toEqual(await weights(whole));
    const losses = (await (await RunFolder.open(run.path)).readMetrics()).map(({ loss }) => loss as number);
    expect(losses.at(-1)!).toBeLessThan(losses[0] / 4);
  } finally {
    await rm(base, { recursive: true, force: true });
  }
});
