/**
 * The kernels meant for GPUs, on the software adapter: without a GPU nothing else would run them. Results only, of float32;
 * layouts, float16 and errors do not depend on the kind of adapter.
 */
import { afterAll, describe, expect, it } from 'vitest';
import { matmul } from '../../src/autograd/ops/matmul.js';
import { openWebGPU } from '../../src/device/webgpu/device.js';
import { cpuDevice } from '../../src/tensor/default-device.js';
import { tensor } from '../../src/tensor/factories.js';
import { conformanceCases } from '../conformance.js';
import { values } from '../op-info/types.js';
import { opInfo } from '../op-info.js';
import { difference } from '../support/each-device.js';
import { runCases } from '../support/run-cases.js';
import { ADAPTER, problem } from '../support/webgpu.js';

const selected = (all: ReturnType<typeof conformanceCases>) =>
  all.filter((c) => c.group === 'gradient' || (c.group === 'forward' && c.name.endsWith('float32')));

if (problem === null) {
  const device = await openWebGPU({ adapter: ADAPTER });
  Object.assign(device, { target: { ...Reflect.get(device, 'target'), kind: 'gpu' } });
  describe("a GPU's kernels", () => {
    afterAll(() => device.close());
    runCases(ADAPTER, selected(conformanceCases(device, opInfo)));

    it('matmul: tiles of 128 × 128, from 256 of them on', async () => {
      const a = values([2040, 9], 1);
      const b = values([9, 2044], 2);
      const [x, y] = [cpuDevice(), device].map((d) =>
        matmul(
          tensor([...a.data], { shape: a.shape, device: d }),
          tensor([...b.data], { shape: b.shape, device: d }),
        ),
      );
      // Multiples of 1/4096 below 2^12: exact in float32 in any order of additions.
      expect(difference(await y.data(), await x.data())).toBe(0);
    });
  });
} else {
  runCases(
    ADAPTER,
    selected(conformanceCases(cpuDevice(), opInfo)).map((c) => ({ ...c, skip: problem! })),
  );
}
