/** Laws that hold for all shapes and values. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import '../src/autograd/methods.js';
import { grad } from '../src/autograd/engine.js';
import { tensor } from '../src/tensor/factories.js';
import { scope } from '../src/tensor/lifetime.js';
import { contiguousStrides, numel, viewStrides } from '../src/tensor/shape.js';
import type { Tensor } from '../src/tensor/tensor.js';

const size = fc.integer({ min: 0, max: 4 });
const shapes = fc.array(size, { minLength: 0, maxLength: 4 });

function counting(shape: readonly number[]): Tensor {
  return tensor(
    Float64Array.from({ length: numel(shape) }, (_, i) => i + 1),
    { shape, dtype: 'float64' },
  );
}

/** A chain of views, applied to any tensor. */
type View = (x: Tensor) => Tensor;
const step: fc.Arbitrary<View> = fc.oneof(
  fc.nat(3).map(
    (d): View =>
      (x) =>
        x.ndim > 1 ? x.transpose(0, d % x.ndim) : x,
  ),
  fc.tuple(fc.nat(3), fc.nat(2), fc.integer({ min: 1, max: 2 })).map(
    ([d, start, by]): View =>
      (x) =>
        x.ndim > 0 ? x.slice(d % x.ndim, start, Infinity, by) : x,
  ),
  fc.nat(4).map(
    (d): View =>
      (x) =>
        x.unsqueeze(d % (x.ndim + 1)),
  ),
  fc.constant<View>((x) => x.flatten(0, -1)),
  fc.constant<View>((x) => x.squeeze()),
  fc.nat(3).map(
    (n): View =>
      (x) =>
        x.unsqueeze(0).expand([n + 1, ...x.shape]),
  ),
);

describe('views', () => {
  it('a chain of views equals the same chain on contiguous copies', async () => {
    await fc.assert(
      fc.asyncProperty(shapes, fc.array(step, { maxLength: 5 }), async (shape, chain) => {
        const views = chain.reduce((x, f) => f(x), counting(shape));
        const copies = chain.reduce((x, f) => f(x).clone(), counting(shape));
        expect(views.shape).toEqual(copies.shape);
        expect(await views.data()).toEqual(await copies.data());
        expect(await views.clone().data()).toEqual(await views.data());
      }),
      { numRuns: 300 },
    );
  });

  it('viewStrides finds a view exactly where one exists', () => {
    fc.assert(
      fc.property(shapes, fc.array(step, { maxLength: 3 }), shapes, (shape, chain, to) => {
        const x = chain.reduce((t, f) => f(t), counting(shape));
        if (numel(to) !== x.numel || x.numel === 0) return;
        // Brute force: the elements' offsets in row-major order must be an affine function of the new coordinates.
        const offsets: number[] = [];
        const walk = (d: number, at: number): void => {
          if (d === x.ndim) offsets.push(at);
          else for (let i = 0; i < x.shape[d]; i++) walk(d + 1, at + i * x.strides[d]);
        };
        walk(0, 0);
        const row = contiguousStrides(to);
        const strides = to.map((s, d) => (s > 1 ? offsets[row[d]] - offsets[0] : 0));
        const affine = offsets.every((o, i) => {
          let rest = i;
          let at = offsets[0];
          for (let d = 0; d < to.length; d++) {
            at += Math.floor(rest / row[d]) * strides[d];
            rest %= row[d];
          }
          return o === at;
        });
        const found = viewStrides(x.shape, x.strides, to);
        expect(found !== null).toBe(affine);
        if (found) to.forEach((s, d) => s > 1 && expect(found[d]).toBe(strides[d]));
      }),
      { numRuns: 500 },
    );
  });

  it('gradients through a chain of views count how often each element is seen', async () => {
    await fc.assert(
      fc.asyncProperty(shapes, fc.array(step, { maxLength: 4 }), async (shape, chain) => {
        const x = counting(shape).requiresGrad_();
        const y = chain.reduce((t, f) => f(t), x as Tensor);
        if (y === x) return;
        const expected = new Float64Array(x.numel);
        for (const v of await y.data()) expected[v - 1]++;
        const [g] = grad(y.sum(), [x]);
        expect(await g.data()).toEqual(expected);
      }),
      { numRuns: 200 },
    );
  });
});

describe('broadcasting', () => {
  /** Two shapes that broadcast, and what they broadcast to. */
  const pairs = fc
    .array(fc.tuple(fc.integer({ min: 1, max: 3 }), fc.constantFrom('both', 'a', 'b')), { maxLength: 4 })
    .chain((dims) =>
      fc.nat(dims.length).map((cut) => ({
        to: dims.map(([s]) => s),
        a: dims.map(([s, who]) => (who === 'b' ? 1 : s)).slice(cut),
        b: dims.map(([s, who]) => (who === 'a' ? 1 : s)),
        full: dims.map(([s, who], i) => (i < cut && who === 'a' ? 1 : s)),
      })),
    );

  it('equals expanding both operands', async () => {
    await fc.assert(
      fc.asyncProperty(pairs, async ({ a, b, full }) => {
        const x = counting(a);
        const y = counting(b);
        const direct = x.mul(y);
        expect(direct.shape).toEqual(full);
        expect(await direct.data()).toEqual(await x.expand(full).clone().mul(y.expand(full).clone()).data());
      }),
      { numRuns: 200 },
    );
  });
});

describe('backward', () => {
  it('the vector–Jacobian product is linear', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: -3, max: 3 }),
        fc.integer({ min: -3, max: 3 }),
        async (n, p, q) => {
          const x = counting([n]).requiresGrad_();
          const u = counting([n]);
          const v = counting([n]).mul(u).add(1);
          const vjp = (g: Tensor): Tensor => grad(x.mul(x).mul(x).add(x), [x], { gradOutputs: [g] })[0];
          const left = scope(() => vjp(u.mul(p).add(v.mul(q))));
          const right = scope(() => vjp(u).mul(p).add(vjp(v).mul(q)));
          expect(await left.data()).toEqual(await right.data());
        },
      ),
    );
  });
});
