/** What a step costs: operations counted, and time by the clock. */
import {
  capture,
  crossEntropy,
  type Device,
  manualSeed,
  nn,
  optim,
  randn,
  scope,
  type Tensor,
  tensor,
} from '../../src/index.js';
import { release } from './experiment.js';
import { build, KINDS, type Shape } from './models.js';

/** A network's training step on one batch. */
export interface StepTime {
  readonly name: string;
  readonly wires: number;
  /** Multiplications and additions of a forward pass over the batch. */
  readonly operations: number;
  /** Median of the time of a whole training step, in ms. */
  readonly ms: number;
}

/** Steps that are timed, after some that are not: of small networks, and of those that may take a second each. */
const STEPS = 30;
const FEW_STEPS = 10;
const WARM_UP = 3;

async function time(
  model: nn.Module & { forward(x: Tensor): Tensor },
  batch: number,
  width: number,
  classes: number,
  steps: number,
): Promise<number> {
  const { device } = model.parameters()[0];
  const optimizer = new optim.AdamW(model.parameters(), { lr: 1e-4 });
  const x = randn([batch, width], { device });
  const y = tensor(
    Int32Array.from({ length: batch }, (_, i) => i % classes),
    { device },
  );
  const step = capture(
    () => {
      const loss = crossEntropy(model.forward(x), y);
      loss.backward();
      optimizer.step();
      optimizer.zeroGrad();
      return loss;
    },
    { device },
  );
  const times: number[] = [];
  for (let i = 0; i < WARM_UP + steps; i++) {
    const start = performance.now();
    await step().item();
    if (i >= WARM_UP) times.push(performance.now() - start);
  }
  step.release();
  return times.sort((a, b) => a - b)[steps / 2];
}

/** The kinds that the recipe compares. */
export async function timeKinds(
  shape: Shape,
  batch: number,
  [inputs, classes]: readonly [number, number],
  device: Device,
): Promise<StepTime[]> {
  const out: StepTime[] = [];
  for (const kind of KINDS) {
    manualSeed(0);
    const net = build(kind, [inputs, classes], shape, 0, device);
    const ms = await time(net.model, batch, inputs, classes, STEPS);
    out.push({ name: kind, wires: net.wires, operations: batch * net.operations, ms });
    release(net);
  }
  return out;
}

/** A sparse and a dense step of growing width at a fixed number of wires per unit. */
export async function timeWidths(
  widths: readonly number[],
  wiresPerUnit: number,
  batch: number,
  device: Device,
): Promise<StepTime[]> {
  const out: StepTime[] = [];
  for (const units of widths) {
    manualSeed(0);
    const sparse = new nn.SpaghettiLayer(16, units, { wiresPerUnit, steps: 1, readUnits: 10, device });
    out.push({
      name: `sparse, ${units} units`,
      wires: sparse.wires,
      operations: batch * sparse.operations,
      ms: await time(sparse, batch, 16, 10, FEW_STEPS),
    });
    const dense = new nn.Sequential(
      new nn.Linear(16, units, { device }),
      new nn.ReLU(),
      new nn.Linear(units, units, { device }),
      new nn.ReLU(),
      new nn.Linear(units, 10, { device }),
    );
    const wires = units * (16 + units + 10);
    out.push({
      name: `dense, ${units} units`,
      wires,
      operations: 2 * batch * wires,
      ms: await time(dense, batch, 16, 10, FEW_STEPS),
    });
    scope(() => {
      for (const model of [sparse, dense])
        for (const t of [...model.parameters(), ...model.buffers()]) t.release();
    });
  }
  return out;
}
