/** Recurrent layers too large for one workgroup on a GPU: a dispatch per step, by the GPU's kernels on the software adapter. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { grad } from '../../src/autograd/engine.js';
import { type CellName, recurrent } from '../../src/autograd/ops/recurrent.js';
import type { Device } from '../../src/device/types.js';
import { openWebGPU } from '../../src/device/webgpu/device.js';
import { cpuDevice } from '../../src/tensor/default-device.js';
import { tensor } from '../../src/tensor/factories.js';
import { values } from '../op-info/types.js';
import { difference } from '../support/each-device.js';
import { ADAPTER, problem } from '../support/webgpu.js';

const [B, T, H] = [5, 3, 200];
const GATES: Record<CellName, number> = { lstm: 4, gru: 3, rnnTanh: 1, rnnRelu: 1 };

async function run(device: Device, name: CellName): Promise<{ results: number[]; dispatches: number }> {
  const G = GATES[name];
  const shapes = [[B, T, G * H], [B, H], [G * H, H], name === 'lstm' ? [B, H] : [G * H]];
  const [projected, h0, weight, more] = shapes.map((shape, i) =>
    tensor([...values(shape, i + 1, -0.25, 0.25).data], { shape, device, requiresGrad: true }),
  );
  const rest = name === 'lstm' ? { c0: more } : name === 'gru' ? { bias: more } : {};
  const before = device.stats().dispatches;
  const { output } = recurrent(name, { projected, h0, weight, ...rest }, { batchFirst: true });
  const dispatches = device.stats().dispatches - before;
  const inputs = [projected, h0, weight, ...(name in { lstm: 0, gru: 0 } ? [more] : [])];
  const grads = grad([output], inputs, { gradOutputs: [output.detach()] });
  const results: number[] = [];
  for (const t of [output, ...grads]) for (const v of await t!.data()) results.push(v);
  return { results, dispatches };
}

describe.skipIf(problem !== null)('recurrent layers of 200 units, as on a GPU', () => {
  let device: Device;
  beforeAll(async () => {
    device = await openWebGPU({ adapter: ADAPTER });
    Object.assign(device, { target: { ...Reflect.get(device, 'target'), kind: 'gpu' } });
  });
  afterAll(() => device.close());

  for (const name of Object.keys(GATES) as CellName[]) {
    it(`${name}: a dispatch per step gives what the CPU device gives`, async () => {
      const expected = await run(cpuDevice(), name);
      const actual = await run(device, name);
      // The weights turned, the initial state, and the steps.
      expect(actual.dispatches).toBe(2 + T);
      expect(difference(actual.results, expected.results)).toBeLessThan(2e-5);
    });
  }
});
