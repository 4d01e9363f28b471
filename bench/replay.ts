/** What replaying a captured step costs the host, in Node.js and in a page. */
import type { Device } from '../src/device/types.js';
import { capture, optim, setDefaultDevice, tensor } from '../src/index.js';
import { CharTransformer } from '../src/models/char-transformer.js';
import { TINY } from './models.js';

export interface ReplayCost {
  /** Adapter, and where it was driven from. */
  readonly name: string;
  /** Dispatches of a step. */
  readonly dispatches: number;
  /** µs of the host's thread per dispatch, submitting included: the median of rounds, and the least. */
  readonly micros: number;
  readonly least: number;
  /** Bind groups made in all rounds; 0 in the steady state. */
  readonly bindGroups: number;
}

/** Steps of a round, so that a page's coarse clock will do. */
const STEPS = 20;

/** Replays the tiny Transformer's training step on a device. */
export async function replayCost(device: Device, rounds: number): Promise<ReplayCost> {
  setDefaultDevice(device);
  const model = new CharTransformer(TINY);
  const optimizer = new optim.SGD(model.parameters(), { lr: 0.01 });
  const ids = Int32Array.from({ length: 129 }, (_, j) => (j * 7919) % TINY.vocabSize);
  const x = tensor(ids.subarray(0, 128), { shape: [4, 32], device });
  const y = tensor(ids.subarray(1), { shape: [4, 32], device });
  const step = capture(() => {
    const loss = model.loss(x, y);
    loss.backward();
    optimizer.step();
    optimizer.zeroGrad();
    return loss;
  });
  // Optimizing compilers want to have seen it.
  for (let i = 0; i < 2 * STEPS; i++) step();
  await device.synchronize();
  const before = device.stats();
  const times: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const started = performance.now();
    for (let i = 0; i < STEPS; i++) step();
    const done = device.synchronize(); // submits what waits before it returns
    times.push(performance.now() - started);
    await done;
  }
  const after = device.stats();
  const dispatches = (after.dispatches - before.dispatches) / (rounds * STEPS);
  const perDispatch = times.map((ms) => (ms * 1000) / (STEPS * dispatches)).sort((a, b) => a - b);
  return {
    name: device.info.name,
    dispatches,
    micros: perDispatch[rounds >> 1],
    least: perDispatch[0],
    bindGroups: after.bindGroupsCreated - before.bindGroupsCreated,
  };
}
