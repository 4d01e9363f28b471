/** The conformance suite on every WebGPU adapter of this system: SwiftShader, and lavapipe and GPUs where they are. */
import { afterAll, describe, expect, it } from 'vitest';
import { listAdapters } from '../src/device/webgpu/adapter.js';
import { openWebGPU } from '../src/device/webgpu/device.js';
import { cpuDevice } from '../src/tensor/default-device.js';
import { conformanceCases } from './conformance.js';
import { opInfo } from './op-info.js';
import { runCases } from './support/run-cases.js';
import { trainingLosses } from './support/training-losses.js';
import { ADAPTER, problem } from './support/webgpu.js';

/** Relative difference allowed between ten training losses of two devices in float32. */
const TOLERANCE = 1e-5;

async function onAdapter(title: string, adapter: string): Promise<void> {
  const device = await openWebGPU({ adapter });
  describe(title, () => {
    afterAll(() => device.close());
    runCases('conformance', conformanceCases(device, opInfo));
    it("ten training steps give the CPU device's losses", async () => {
      const expected = await trainingLosses(cpuDevice());
      const losses = await trainingLosses(device);
      const errors = losses.map((loss, i) => Math.abs(loss / expected[i] - 1));
      expect(Math.max(...errors)).toBeLessThan(TOLERANCE);
      expect(losses[9]).toBeLessThan(losses[0]);
    });
  });
}

if (problem === null) await onAdapter(ADAPTER, ADAPTER);
else {
  const cases = conformanceCases(cpuDevice(), opInfo);
  runCases(
    ADAPTER,
    cases.map((c) => ({ ...c, skip: problem! })),
  );
}

const others = (await listAdapters().catch(() => [])).filter((a) => !/swiftshader/i.test(a.name));
for (const { name, selector } of others) if (selector !== ADAPTER) await onAdapter(name, selector);

if (!others.some((a) => /llvmpipe/i.test(a.name)))
  it.skip("lavapipe (skipped: Mesa's software Vulkan driver is not on this system, or too old)", () => {});
if (!others.some((a) => !a.software)) it.skip('GPU (skipped: no GPU on this system)', () => {});
