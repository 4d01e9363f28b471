/** A whole training step: time, dispatches, our CPU time per dispatch. */
import type { Device } from '../src/device/types.js';
import { memory, optim, scope, setDefaultDevice, type Tensor, tensor } from '../src/index.js';
import { CharTransformer, type CharTransformerConfig } from '../src/models/char-transformer.js';

export interface StepReport {
  readonly name: string;
  readonly parameters: number;
  readonly msPerStep: number;
  readonly firstMs: number;
  readonly tokensPerSecond: number;
  readonly dispatches: number;
  /** Time from the first op call to the last, per dispatch, in µs: everything but waiting for the device. */
  readonly hostMicros: number;
  readonly bindGroupsPerStep: number;
  readonly peakMB: number;
  readonly liveTensors: number;
}

/** The step of the peers' table: one layer, width 64, 4 heads, T = 32, B = 4, vocabulary 65, SGD, loss read every step. */
export const TINY: CharTransformerConfig = {
  vocabSize: 65,
  blockSize: 32,
  layers: 1,
  heads: 4,
  dim: 64,
  dropout: 0,
};

const median = (values: number[]): number => values.sort((x, y) => x - y)[values.length >> 1];

/** Trains on random tokens; the loss is read after every step. */
export async function benchStep(
  device: Device,
  name: string,
  config: CharTransformerConfig,
  batch: number,
  optimizerName: 'SGD' | 'AdamW',
  steps: number,
): Promise<StepReport> {
  setDefaultDevice(device);
  const model = new CharTransformer(config);
  const optimizer =
    optimizerName === 'SGD'
      ? new optim.SGD(model.parameters(), { lr: 0.01 })
      : new optim.AdamW(model.parameters(), { lr: 1e-3 });
  const T = config.blockSize;
  const ids = Int32Array.from({ length: batch * T + 1 }, (_, i) => (i * 7919) % config.vocabSize);
  const step = (): Tensor =>
    scope(() => {
      const input = tensor(ids.subarray(0, batch * T), { shape: [batch, T] });
      const target = tensor(ids.subarray(1), { shape: [batch, T] });
      const loss = model.loss(input, target);
      loss.backward();
      if (optimizerName === 'AdamW') optim.clipGradNorm_(model.parameters(), 1);
      optimizer.step();
      optimizer.zeroGrad();
      return loss.detach();
    });
  const times: number[] = [];
  const host: number[] = [];
  let before = device.stats();
  let firstMs = 0;
  const warm = Math.min(5, steps);
  device.resetPeak();
  for (let i = 0; i < warm + steps; i++) {
    if (i === warm) before = device.stats();
    const t0 = performance.now();
    const loss = step();
    const t1 = performance.now();
    await loss.item();
    loss.release();
    const t2 = performance.now();
    if (i === 0) firstMs = t2 - t0;
    if (i >= warm) {
      times.push(t2 - t0);
      host.push(t1 - t0);
    }
  }
  const after = device.stats();
  const dispatches = (after.dispatches - before.dispatches) / steps;
  const ms = median(times);
  return {
    name,
    parameters: model.numParameters(),
    msPerStep: ms,
    firstMs,
    tokensPerSecond: (batch * T * 1000) / ms,
    dispatches,
    hostMicros: (median(host) * 1000) / dispatches,
    bindGroupsPerStep: (after.bindGroupsCreated - before.bindGroupsCreated) / steps,
    peakMB: device.memory().peakBytes / 2 ** 20,
    liveTensors: memory.liveTensors,
  };
}
