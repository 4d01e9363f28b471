import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { Parameter } from '../../src/nn/parameter.js';
import { clipGradNorm_, clipGradValue_ } from '../../src/optim/clip.js';
import { tensor } from '../../src/tensor/factories.js';
import { keep } from '../../src/tensor/lifetime.js';
import type { Tensor } from '../../src/tensor/tensor.js';
import { difference, eachDevice, type Place } from '../support/each-device.js';

interface Golden {
  shapes: number[][];
  grads: number[][][];
  clip: { maxNorm: number; norm: number; grads: number[][] }[];
}
const golden = JSON.parse(
  readFileSync(new URL('../golden/nn-optim.json', import.meta.url), 'utf8'),
) as Golden;

function withGradients(place: Place, grads: readonly number[][], shapes?: number[][]): Parameter[] {
  return grads.map((g, j) => {
    const shape = shapes?.[j] ?? [g.length];
    const p = new Parameter(place.make(new Array(g.length).fill(0), shape));
    p.grad = keep(place.make(g, shape));
    return p;
  });
}

async function gradients(params: readonly Tensor[]): Promise<number[]> {
  return (await Promise.all(params.map((p) => p.grad!.data()))).flatMap((d) => [...d]);
}

eachDevice(
  'clipping',
  (place) => {
    for (const { maxNorm, norm, grads } of golden.clip) {
      it(`scales to a norm of ${maxNorm} as PyTorch does`, async () => {
        const params = withGradients(place, golden.grads[0], golden.shapes);
        const total = clipGradNorm_(params, maxNorm);
        expect(difference([await total.item()], [norm])).toBeLessThan(place.tolerance);
        expect(difference(await gradients(params), grads.flat())).toBeLessThan(place.tolerance);
      });
    }

    it('takes many tensors, large and empty ones', async () => {
      const sizes = [1, 5000, 0, 1024, 1025, 3, 70_000, 2, 9, 33, 1, 1, 4, 8, 2, 6, 40, 3, 12];
      const grads = sizes.map((n, j) => Array.from({ length: n }, (_, i) => ((i + j) % 7) - 3));
      const params = withGradients(place, grads);
      const norm = Math.sqrt(grads.flat().reduce((s, g) => s + g * g, 0));
      const total = clipGradNorm_(params, 2);
      expect(Math.abs((await total.item()) - norm) / norm).toBeLessThan(1e-6);
      const wanted = grads.flat().map((g) => (g * 2) / (norm + 1e-6));
      expect(difference(await gradients(params), wanted)).toBeLessThan(1e-6);
    });

    it('turns an infinite norm into zeros and NaN, and NaN into NaN, as PyTorch does', async () => {
      let params = withGradients(place, [
        [1, -2],
        [Infinity, 3],
      ]);
      expect(await clipGradNorm_(params, 1).item()).toBe(Infinity);
      expect((await gradients(params)).map(Math.abs)).toEqual([0, 0, NaN, 0]);
      params = withGradients(place, [
        [1, -2],
        [NaN, 3],
      ]);
      expect(await clipGradNorm_(params, 1).item()).toBeNaN();
      expect(await gradients(params)).toEqual([NaN, NaN, NaN, NaN]);
    });

    it('cuts values and leaves NaN', async () => {
      const params = withGradients(place, [
        [1, -2, 0.25],
        [NaN, -Infinity, 3],
      ]);
      clipGradValue_(params, 0.5);
      expect(await gradients(params)).toEqual([0.5, -0.5, 0.25, NaN, -0.5, 0.5]);
    });

    it('changes no tensor that shares its memory with a gradient', async () => {
      const [p, q] = withGradients(place, [[3, 4]]).concat(withGradients(place, [[0, 0]]));
      const other = p.grad!.detach();
      q.grad = null;
      clipGradNorm_([p, q], 1);
      expect([...(await other.data())]).toEqual([3, 4]);
      expect(difference(await gradients([p]), [0.6, 0.8])).toBeLessThan(1e-6);
    });
  },
  { gpuKernels: true },
);

it('gives a norm of 0 where there are no gradients', async () => {
  expect(await clipGradNorm_([new Parameter(tensor([1]))], 1).item()).toBe(0);
});
