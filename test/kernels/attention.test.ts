/** Attention beyond the op table: long rows on every class of kernels, and laws that hold for all inputs. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { grad } from '../../src/autograd/engine.js';
import {
  type AttentionOptions,
  attentionPacked,
  scaledDotProductAttention,
} from '../../src/autograd/ops/attention.js';
import type { Device } from '../../src/device/types.js';
import { permute, reshape } from '../../src/index.js';
import { cpuDevice } from '../../src/tensor/default-device.js';
import { tensor } from '../../src/tensor/factories.js';
import type { Tensor } from '../../src/tensor/tensor.js';
import { values } from '../op-info/types.js';
import { difference, eachDevice } from '../support/each-device.js';

type Shapes = readonly [q: readonly number[], k: readonly number[], v: readonly number[]];

/** The same formula with all scores at once: what a mask asks for. */
const WHOLE = { shape: [1, 1], data: [0] };

/** The result and its gradients by q, k and v for a cotangent of its own. */
async function everything(
  make: (data: readonly number[], shape: readonly number[]) => Tensor,
  shapes: Shapes,
  options: AttentionOptions,
): Promise<ArrayLike<number>[]> {
  const inputs = shapes.map((shape, i) => make(values(shape, i + 1).data, shape).requiresGrad_());
  const y = scaledDotProductAttention(inputs[0], inputs[1], inputs[2], options);
  const g = make(values(y.shape, 9).data, y.shape);
  const all = [y, ...grad([y], inputs, { gradOutputs: [g] })];
  return Promise.all(all.map((t) => t.data()));
}

const oracle = (data: readonly number[], shape: readonly number[]): Tensor =>
  tensor(Float64Array.from(data), { shape, dtype: 'float64' });

/** Real tokens of sequences of the given lengths. */
const lengths = (S: number, ...counts: number[]): number[][] =>
  counts.map((n) => Array.from({ length: S }, (_, j) => Number(j < n)));

eachDevice(
  'fused attention equals the formula with all scores at once',
  (place) => {
    const { make, tolerance } = place;
    const cases: [string, Shapes, AttentionOptions, number[]?][] = [
      [
        'causal',
        [
          [1, 2, 150, 16],
          [1, 2, 150, 16],
          [1, 2, 150, 16],
        ],
        { isCausal: true },
      ],
      [
        'a window over several tiles',
        [
          [1, 2, 150, 16],
          [1, 2, 150, 16],
          [1, 2, 150, 16],
        ],
        { window: 70 },
      ],
      [
        'keys from a cache',
        [
          [1, 1, 3, 16],
          [1, 1, 150, 16],
          [1, 1, 150, 16],
        ],
        { isCausal: true, align: 'end' },
      ],
      [
        'padding',
        [
          [2, 2, 70, 16],
          [2, 2, 90, 16],
          [2, 2, 90, 16],
        ],
        {},
        [90, 33],
      ],
      [
        'widths that are no vectors',
        [
          [2, 70, 7],
          [2, 90, 7],
          [2, 90, 5],
        ],
        {},
      ],
      [
        'wide heads',
        [
          [1, 1, 66, 72],
          [1, 1, 66, 72],
          [1, 1, 66, 72],
        ],
        { isCausal: true },
      ],
    ];
    for (const [name, shapes, options, counts] of cases) {
      it(name, async () => {
        const S = shapes[1][shapes[1].length - 2];
        const padding = (device: Device) =>
          counts ? tensor(lengths(S, ...counts), { dtype: 'bool', device }) : null;
        const exact = await everything(oracle, shapes, {
          ...options,
          keyPadding: padding(cpuDevice()),
          mask: oracle(WHOLE.data, WHOLE.shape),
        });
        const fused = await everything(make, shapes, { ...options, keyPadding: padding(place.device) });
        fused.forEach((t, i) => expect(difference(t, exact[i])).toBeLessThan(tolerance));
        // Software adapters take long to compile what is meant for GPUs.
      }, 240_000);
    }

    it('sees heads in a projection as they lie, and gives them back side by side', async () => {
      const [B, T, H, D] = [2, 9, 2, 8];
      const qkv = make(values([B, T, 3 * H * D], 4).data, [B, T, 3 * H * D]).requiresGrad_();
      const heads = reshape(qkv, [B, T, 3, H, D]);
      const [q, k, v] = permute(heads, [2, 0, 3, 1, 4]).unbind(0);
      const { device } = place;
      const before = device.stats().dispatches;
      const y = scaledDotProductAttention(q, k, v, { isCausal: true });
      const joined = reshape(permute(y, [0, 2, 1, 3]), [B, T, H * D]);
      expect(device.stats().dispatches - before).toBe(1);
      const packed = attentionPacked(qkv, H, { isCausal: true });
      expect(device.stats().dispatches - before).toBe(2);
      expect(difference(await joined.data(), await packed.data())).toBe(0);
      const g = make(values(y.shape, 5).data, joined.shape);
      const [a] = grad([joined], [qkv], { gradOutputs: [g] });
      const start = device.stats().dispatches;
      const [b] = grad([packed], [qkv], { gradOutputs: [g] });
      // One program on the CPU device, two dispatches on a GPU.
      expect(device.stats().dispatches - start).toBeLessThanOrEqual(2);
      expect(difference(await a.data(), await b.data())).toBe(0);
    });
  },
  { gpuKernels: true },
);

describe('laws of attention', () => {
  const size = fc.integer({ min: 1, max: 9 });
  const run = (shapes: Shapes, options: AttentionOptions) => everything(oracle, shapes, options);
  const same = (a: ArrayLike<number>[], b: ArrayLike<number>[], bound = 1e-12): void => {
    a.forEach((t, i) => expect(difference(t, b[i])).toBeLessThanOrEqual(bound));
  };

  it('fused and composed agree, also with padding', async () => {
    await fc.assert(
      fc.asyncProperty(size, size, size, size, fc.boolean(), async (T, S, D, seed, isCausal) => {
        const shapes: Shapes = [
          [2, T, D],
          [2, S, D],
          [2, S, D],
        ];
        const keyPadding = tensor(lengths(S, 1 + (seed % S), S), { dtype: 'bool' });
        const options = { isCausal, keyPadding, empty: 'zero' as const };
        same(
          await run(shapes, options),
          await run(shapes, { ...options, mask: oracle(WHOLE.data, WHOLE.shape) }),
          1e-11,
        );
      }),
      { numRuns: 50 },
    );
  });

  it('a window of T or more is causal attention', async () => {
    await fc.assert(
      fc.asyncProperty(size, size, size, async (T, D, more) => {
        const shapes: Shapes = [
          [T, D],
          [T, D],
          [T, D],
        ];
        same(await run(shapes, { window: T + more - 1 }), await run(shapes, { isCausal: true }), 0);
      }),
      { numRuns: 30 },
    );
  });

  it('padding keys changes nothing', async () => {
    await fc.assert(
      fc.asyncProperty(size, size, size, size, async (T, S, D, more) => {
        const short = await run(
          [
            [1, T, D],
            [1, S, D],
            [1, S, D],
          ],
          {},
        );
        const inputs = (
          [
            [1, T, D],
            [1, S, D],
            [1, S, D],
          ] as const
        ).map((s, i) => values(s, i + 1).data);
        // The same keys, then others that are padding.
        const extend = (data: readonly number[]) => [...data, ...values([more, D], 77).data];
        const q = oracle(inputs[0], [1, T, D]);
        const k = oracle(extend(inputs[1]), [1, S + more, D]);
        const v = oracle(extend(inputs[2]), [1, S + more, D]);
        const keyPadding = tensor(lengths(S + more, S), { dtype: 'bool' });
        const y = scaledDotProductAttention(q, k, v, { keyPadding });
        expect(difference(await y.data(), short[0])).toBe(0);
      }),
      { numRuns: 30 },
    );
  });

  it('sequences of a batch do not see each other', async () => {
    await fc.assert(
      fc.asyncProperty(size, size, async (T, D) => {
        const data = [1, 2, 3].map((seed) => values([2, T, D], seed).data);
        const flipped = data.map((x) => [...x.slice(T * D), ...x.slice(0, T * D)]);
        const [a, b] = [data, flipped].map((inputs) => {
          const [q, k, v] = inputs.map((x) => oracle(x, [2, T, D]));
          return scaledDotProductAttention(q, k, v, { isCausal: true });
        });
        const [x, y] = [Array.from(await a.data()), Array.from(await b.data())];
        expect([...x.slice(T * D), ...x.slice(0, T * D)]).toEqual(y);
      }),
      { numRuns: 30 },
    );
  });
});
