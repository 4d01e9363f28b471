/** The conformance suite on every WebGPU adapter of this system: SwiftShader, and lavapipe and GPUs where they are. */
import { afterAll, describe, expect, it } from 'vitest';
import { listAdapters } from '../src/device/webgpu/adapter.js';
import { openWebGPU, type WebGPUDevice } from '../src/device/webgpu/device.js';
import { cpuDevice } from '../src/tensor/default-device.js';
import { conformanceCases } from './conformance.js';
import { opInfo } from './op-info.js';
import { runCases } from './support/run-cases.js';
import { trainingLosses } from './support/training-losses.js';
import { ADAPTER, problem } from './support/webgpu.js';

/** Relative difference allowed between ten training losses of two devices in float32. */
const TOLERANCE = 1e-5;

function onAdapter(title: string, device: WebGPUDevice, rows = opInfo): void {
  describe(title, () => {
    afterAll(() => device.close());
    runCases('conformance', conformanceCases(device, rows));
    it("ten training steps give the CPU device's losses", async () => {
      const expected = await trainingLosses(cpuDevice());
      const losses = await trainingLosses(device);
      const errors = losses.map((loss, i) => Math.abs(loss / expected[i] - 1));
      expect(Math.max(...errors)).toBeLessThan(TOLERANCE);
      expect(losses[9]).toBeLessThan(losses[0]);
    });
  });
}

/** Operations whose kernels differ where every place that reads memory takes long to compile: on lavapipe. */
const DEAR_PLACES =
  /^(matmul|linear|softmax|logSoftmax|layerNorm|rmsNorm|addLayerNorm|addRMSNorm|crossEntropy|nllLoss|linearCrossEntropy)\b/;

if (problem === null) {
  onAdapter(ADAPTER, await openWebGPU({ adapter: ADAPTER }));
  const likeLavapipe = await openWebGPU({ adapter: ADAPTER });
  Object.assign(likeLavapipe, { target: { ...likeLavapipe.target, dearPlaces: true } });
  const rows = opInfo.filter(({ name }) => DEAR_PLACES.test(name));
  onAdapter(`${ADAPTER} with kernels of lavapipe`, likeLavapipe, rows);
} else {
  const cases = conformanceCases(cpuDevice(), opInfo);
  runCases(
    ADAPTER,
    cases.map((c) => ({ ...c, skip: problem! })),
  );
}

const others = (await listAdapters().catch(() => [])).filter((a) => !/swiftshader/i.test(a.name));
for (const { name, selector } of others) {
  if (selector !== ADAPTER) onAdapter(name, await openWebGPU({ adapter: selector }));
}

if (!others.some((a) => /llvmpipe/i.test(a.name)))
  it.skip("lavapipe (skipped: Mesa's software Vulkan driver is not on this system, or too old)", () => {});
if (!others.some((a) => !a.software)) it.skip('GPU (skipped: no GPU on this system)', () => {});
