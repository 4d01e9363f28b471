/** The mean of more class losses than a workgroup adds up in one go. */
import { expect, it } from 'vitest';
import '../../src/autograd/methods.js';
import { crossEntropy } from '../../src/autograd/ops/losses.js';
import { tensor } from '../../src/tensor/factories.js';
import { eachDevice } from '../support/each-device.js';

eachDevice(
  'mean of many losses',
  (place) => {
    it('is the weighted mean, near the rounding of a single sum', async () => {
      const rows = 40_001;
      const classes = Int32Array.from({ length: rows }, (_, i) => (i % 7 === 0 ? -100 : i % 3));
      const scores = place.make(
        Array.from({ length: 3 * rows }, (_, i) => Math.fround(Math.sin(i * 1.7) + (i % 5))),
        [rows, 3],
      );
      const weights = [0.5, 1.25, 3];
      const weight = place.make(weights, [3]);
      const target = tensor(classes, { device: place.device });
      const [losses, mean] = [
        await crossEntropy(scores, target, { weight, reduction: 'none' }).data(),
        await crossEntropy(scores, target, { weight }).item(),
      ];
      const kept = [...classes].filter((c) => c >= 0);
      const total = kept.reduce((sum, c) => sum + weights[c], 0);
      const expected = [...(losses as Float32Array)].reduce((sum, x) => sum + x, 0) / total;
      expect(Math.abs(mean / expected - 1)).toBeLessThan(1e-6);
    });

    it('is NaN where nothing counts, and passes special losses on', async () => {
      const target = (...classes: number[]) => tensor(Int32Array.from(classes), { device: place.device });
      const scores = place.make([0, 1, 2, 3], [2, 2]);
      expect(await crossEntropy(scores, target(-100, -100)).item()).toBeNaN();
      const impossible = place.make([-Infinity, 1, 2, 3], [2, 2]);
      expect(await crossEntropy(impossible, target(0, 1)).item()).toBe(Infinity);
      const broken = place.make([NaN, 1, 2, 3], [2, 2]);
      expect(await crossEntropy(broken, target(0, 1)).item()).toBeNaN();
    });
  },
  { gpuKernels: true },
);
