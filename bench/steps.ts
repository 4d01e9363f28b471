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
  const once = async (): Promise<void> => {
    const t0 = performance.now();
    const loss = step();
    const t1 = performance.now();
    await loss.item();
    loss.release();
    times.push(performance.now() - t0);
    host.push(t1 - t0);
  };
  /** Steps until both are reached, but no longer than `longest` seconds beyond the third. */
  const repeat = async (count: number, seconds: number, longest: number): Promise<void> => {
    const start = performance.now();
    const passed = (): number => (performance.now() - start) / 1000;
    for (let i = 0; i < 3 || ((i < count || passed() < seconds) && passed() < longest); i++) await once();
  };
  device.resetPeak();
  // Kernels compile in the first step; JavaScript engines take some hundreds of steps to compile all of ours.
  await repeat(100, 1, 4);
  const [firstMs] = times;
  times.length = 0;
  host.length = 0;
  const before = device.stats();
  await repeat(20, 1, 6);
  const steps = times.length;
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
