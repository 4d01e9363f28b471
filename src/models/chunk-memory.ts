/** How much memory a training step needs, told before there is a device that has it. */
import { DryDevice } from '../device/dry.js';
import type { Device, KernelTarget } from '../device/types.js';
import type { Module } from '../nn/module.js';
import { AdamW } from '../optim/adam.js';
import { defaultDevice, setDefaultDevice } from '../tensor/default-device.js';
import { scope } from '../tensor/lifetime.js';
import { defaultGenerator } from '../tensor/random.js';
import type { Tensor } from '../tensor/tensor.js';
import { batchDocuments, type ChunkOptions } from './chunk-batch.js';
import type { ChunkClassifier } from './chunk-classifier.js';

/** A GPU with nothing out of the ordinary. */
const GPU: KernelTarget = { kind: 'gpu', f16: true, subgroups: false, maxStorageBuffers: 10 };

export interface StepMemory {
  /** Weights and buffers. */
  readonly weightBytes: number;
  /** What lives between two steps: weights and the optimizer's state. */
  readonly restBytes: number;
  /** The most that was ever in use. */
  readonly peakBytes: number;
}

/** Runs two training steps, of which the first makes the optimizer's state, and reads the pool's counts. */
export function measureStep<M extends Module>(
  device: Device,
  make: () => M,
  loss: (model: M) => Tensor,
): StepMemory {
  const before = defaultDevice();
  const random = defaultGenerator.getState();
  setDefaultDevice(device);
  try {
    const start = device.memory().liveBytes;
    const model = make();
    const weightBytes = device.memory().liveBytes - start;
    const trained = model.parameters().filter((p) => p.requiresGrad);
    const optimizer = new AdamW(trained, { lr: 1e-4 });
    let restBytes = 0;
    device.resetPeak();
    for (let i = 0; i < 2; i++) {
      scope(() => {
        loss(model).backward();
        optimizer.step();
      });
      optimizer.zeroGrad();
      restBytes = device.memory().liveBytes - start;
    }
    const { peakBytes } = device.memory();
    for (const t of [...model.parameters(), ...model.buffers()]) t.release();
    return { weightBytes, restBytes, peakBytes: peakBytes - start };
  } finally {
    setDefaultDevice(before);
    defaultGenerator.setState(random);
  }
}

/**
 * The memory of one training step (forward, backward, AdamW in float32) on a document of `tokens` tokens, by a dry run:
 * the step itself, on a device that computes nothing and counts.
 *
 * @param make builds the classifier, without asking for a device
 * @param tokens length of the document
 * @param options.target whose scratch memory counts, too; default that of an ordinary GPU, null for none
 * @example
 * const { peakBytes } = chunkMemory(() => new ChunkClassifier(encoder()), 106_578, { chunk: 512 });
 */
export function chunkMemory(
  make: () => ChunkClassifier,
  tokens: number,
  options: ChunkOptions & { readonly target?: KernelTarget | null },
): StepMemory {
  const { target = GPU, ...cut } = options;
  const batch = batchDocuments([new Int32Array(tokens)], { ...cut, labels: [1] });
  return measureStep(new DryDevice({ target }), make, (model) => model.loss(batch));
}
