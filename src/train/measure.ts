/** Which device is faster: a small and a larger training step on each. */
import { capture } from '../autograd/capture.js';
import type { Device } from '../device/types.js';
import { CharTransformer, type CharTransformerConfig } from '../models/char-transformer.js';
import { SGD } from '../optim/sgd.js';
import { tensor } from '../tensor/factories.js';
import { scope } from '../tensor/lifetime.js';
import { defaultGenerator } from '../tensor/random.js';
import type { Tensor } from '../tensor/tensor.js';

/** Median milliseconds of a training step. */
export interface DeviceSpeed {
  /** A Transformer of 60,000 parameters on 128 tokens: what a step costs beside arithmetic. */
  readonly small: number;
  /** One of 420,000 parameters on 256 tokens: arithmetic. */
  readonly larger: number;
}

const SHAPES = { vocabSize: 64, dropout: 0, heads: 4 };
const SMALL: CharTransformerConfig = { ...SHAPES, blockSize: 32, layers: 1, dim: 64 };
const LARGER: CharTransformerConfig = { ...SHAPES, blockSize: 64, layers: 2, dim: 128 };

/**
 * Times captured training steps of two models on a device.
 *
 * @param device which is opened, and stays so
 * @param options.seconds least time to spend on each model after its kernels are compiled; default 0.5
 */
export async function measureDevice(
  device: Device,
  options: { seconds?: number } = {},
): Promise<DeviceSpeed> {
  const { seconds = 0.5 } = options;
  const random = defaultGenerator.getState();
  try {
    return {
      small: await stepTime(device, SMALL, 4, seconds),
      larger: await stepTime(device, LARGER, 4, seconds),
    };
  } finally {
    defaultGenerator.setState(random);
  }
}

async function stepTime(
  device: Device,
  config: CharTransformerConfig,
  batch: number,
  seconds: number,
): Promise<number> {
  const model = await new CharTransformer(config).to(device);
  const optimizer = new SGD(model.parameters(), { lr: 0.01 });
  const step = capture((ids: Tensor, targets: Tensor) => {
    const loss = model.loss(ids, targets);
    loss.backward();
    optimizer.step();
    optimizer.zeroGrad();
    return loss;
  });
  const shape = [batch, config.blockSize];
  const ids = Int32Array.from({ length: batch * config.blockSize }, (_, i) => (i * i) % config.vocabSize);
  const times: number[] = [];
  const once = async (): Promise<void> => {
    const start = performance.now();
    await scope(() => step(tensor(ids, { shape, device }), tensor(ids, { shape, device }))).item();
    times.push(performance.now() - start);
  };
  try {
    // The first call compiles, the second is the first replay.
    await once();
    await once();
    times.length = 0;
    const end = performance.now() + 1000 * seconds;
    while (times.length < 2 || performance.now() < end) await once();
  } finally {
    step.release();
    for (const p of model.parameters()) p.release();
  }
  return times.sort((a, b) => a - b)[times.length >> 1];
}
