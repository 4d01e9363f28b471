/** What rows of the op table do not say: gradients at kinks, arguments beyond float16, and accuracy over whole ranges. */
import { expect, it } from 'vitest';
import '../../src/autograd/methods.js';
import { grad } from '../../src/autograd/engine.js';
import { gelu, sigmoid, silu, softplus, tanh } from '../../src/autograd/ops/activations.js';
import { cos, erf, exp, expm1, log, log1p, rsqrt, sin, sqrt } from '../../src/autograd/ops/unary.js';
import { erfc, erf as erfHost, roundHalfEven } from '../../src/kernels/special.js';
import { cpuDevice } from '../../src/tensor/default-device.js';
import { tensor } from '../../src/tensor/factories.js';
import type { Tensor } from '../../src/tensor/tensor.js';
import { eachDevice } from '../support/each-device.js';

/** Gradients of the sum of an operation's output. */
async function slopes(fn: (...xs: Tensor[]) => Tensor, ...inputs: Tensor[]): Promise<number[][]> {
  const leaves = inputs.map((x) => x.detach().requiresGrad_());
  const gradients = grad(fn(...leaves).sum(), leaves);
  return Promise.all(gradients.map(async (g) => [...(await g.data())]));
}

/** `count` values from `low` to `high`, evenly or by equal factors, of either sign when asked. */
function sweep(low: number, high: number, count = 2000, factors = false): number[] {
  return Array.from({ length: count }, (_, i) => {
    const t = i / (count - 1);
    return Math.fround(factors ? low * (high / low) ** t : low + (high - low) * t);
  });
}

const both = (xs: number[]): number[] => xs.map((x, i) => (i % 2 ? -x : x));

eachDevice('elementwise', (place) => {
  const { make, dtype } = place;
  it('has the gradients of PyTorch at kinks, ties, bounds and zeros', async () => {
    const x = make([0, -0, 1, -1], [4]);
    expect((await slopes((a) => a.abs(), x))[0].map(Math.abs)).toEqual([0, 0, 1, 1]);
    expect((await slopes((a) => a.relu(), x))[0]).toEqual([0, 0, 1, 0]);
    expect((await slopes((a) => a.leakyRelu(0.25), x))[0]).toEqual([0.25, 0.25, 1, 0.25]);
    expect((await slopes((a) => a.elu(), make([0], [1])))[0]).toEqual([1]);
    expect((await slopes((a) => a.clamp({ min: -1, max: 0 }), x))[0]).toEqual([1, 1, 0, 1]);
    expect((await slopes((a) => a.sqrt(), make([0, -0], [2])))[0]).toEqual([Infinity, -Infinity]);
    expect((await slopes((a) => a.pow(2), make([0], [1])))[0]).toEqual([0]);
    expect((await slopes((a) => a.pow(0), make([0], [1])))[0]).toEqual([0]);
    expect((await slopes((a) => a.pow(0.5), make([0], [1])))[0]).toEqual([Infinity]);
    expect(await slopes((a, b) => a.maximum(b), make([1, 2, 3], [3]), make([1, 3, 2], [3]))).toEqual([
      [0.5, 0, 1],
      [0.5, 1, 0],
    ]);
    expect(await slopes((a, b) => a.minimum(b), make([1, 2, 3], [3]), make([1, 3, 2], [3]))).toEqual([
      [0.5, 1, 0],
      [0.5, 0, 1],
    ]);
    // From PyTorch 1.13: 0⁰, 0², 1^NaN, 2^∞, (−2)³, NaN⁰ and (−∞)³.
    const [byBase, byExponent] = await slopes(
      (a, b) => a.pow(b),
      make([0, 0, 1, 2, -2, NaN, -Infinity], [7]),
      make([0, 2, NaN, Infinity, 3, 0, 3], [7]),
    );
    expect(byBase).toEqual([0, 0, NaN, Infinity, 12, 0, Infinity]);
    expect(byExponent).toEqual([0, 0, 0, Infinity, NaN, NaN, NaN]);
  });

  it('has the gradients of PyTorch at NaN', async () => {
    const x = make([NaN], [1]);
    const one = make([1], [1]);
    expect((await slopes((a) => a.relu(), x))[0]).toEqual([1]);
    expect((await slopes((a) => a.leakyRelu(0.5), x))[0]).toEqual([0.5]);
    expect((await slopes((a) => a.clamp({ min: 0 }), x))[0]).toEqual([0]);
    expect(await slopes((a, b) => a.maximum(b), x, one)).toEqual([[1], [1]]);
    expect(await slopes((a, b) => a.minimum(b), one, x)).toEqual([[1], [1]]);
  });

  it('takes no gradient through masks', async () => {
    const mask = tensor([true, false], { device: place.device });
    expect((await slopes((a) => a.maskedFill(mask, -Infinity).exp(), make([1, 0], [2])))[0]).toEqual([0, 1]);
    const root = (a: Tensor): Tensor => a.sqrt().where(a.gt(0), 0);
    expect((await slopes(root, make([4], [1])))[0]).toEqual([0.25]);
  });

  it('compares numbers beyond float16 and subnormal ones', async () => {
    const x = make([1e30, -1e30, 1e-40, -1e-40, 0], [5]);
    const zero = make([0], [1]);
    expect([...(await x.gt(zero).data())]).toEqual([1, 0, 1, 0, 0]);
    expect([...(await x.lt(zero).data())]).toEqual([0, 1, 0, 1, 0]);
    expect([...(await x.eq(zero).data())]).toEqual([0, 0, 0, 0, 1]);
    expect([...(await x.gt(1e29).data())]).toEqual([1, 0, 0, 0, 0]);
  });

  it.skipIf(dtype === 'float64')('overflows to infinity, and not before (float32 only)', async () => {
    expect([...(await exp(make([88.7, 88.8, -120], [3])).data())]).toEqual([
      expect.closeTo(Math.exp(Math.fround(88.7)), -33),
      Infinity,
      0,
    ]);
    expect([...(await softplus(make([3e38, -3e38], [2])).data())]).toEqual([Math.fround(3e38), 0]);
    expect([...(await tanh(make([3e38, -3e38], [2])).data())]).toEqual([1, -1]);
    expect([...(await sigmoid(make([3e38, -3e38], [2])).data())]).toEqual([1, 0]);
    for (const f of [(x: Tensor) => gelu(x), silu, (x: Tensor) => gelu(x, { approximate: 'tanh' })]) {
      const [right, left] = await f(make([1e30, -1e30], [2])).data();
      expect([right, Math.abs(left)]).toEqual([Math.fround(1e30), 0]);
      expect(await slopes(f, make([1e30, -1e30], [2]))).toEqual([[1, expect.closeTo(0)]]);
    }
    expect([...(await make([1e20, -1e30, 10], [3]).pow(2).data())]).toEqual([Infinity, Infinity, 100]);
    expect([...(await make([-2], [1]).pow(127).data())]).toEqual([expect.closeTo(-(2 ** 127), -33)]);
  });

  // Largest relative errors met on SwiftShader and lavapipe are a third of these; sin, cos and gelu's tail are absolute.
  const near = (x: number): number => Math.max(Math.abs(x), 1e-37);
  it.each([
    ['exp', exp, [...sweep(-87, 88), ...sweep(-0.1, 0.1)], near, 5e-7],
    ['expm1', expm1, [...sweep(-20, 80), ...both(sweep(1e-8, 1, 2000, true))], near, 5e-7],
    ['log', log, [...sweep(1e-37, 1e38, 2000, true), ...sweep(0.9, 1.1)], near, 5e-7],
    [
      'log1p',
      log1p,
      [...sweep(-0.99, 1), ...both(sweep(1e-9, 0.5, 2000, true)), ...sweep(1, 1e30, 500, true)],
      near,
      6e-7,
    ],
    ['sqrt', sqrt, sweep(1e-37, 1e38, 2000, true), near, 5e-7],
    ['rsqrt', rsqrt, sweep(1e-37, 1e38, 2000, true), near, 5e-7],
    ['tanh', tanh, [...sweep(-10, 10), ...both(sweep(1e-9, 1, 2000, true))], near, 6e-7],
    ['sigmoid', sigmoid, sweep(-85, 30), near, 6e-7],
    ['softplus', (x: Tensor) => softplus(x), sweep(-80, 30), near, 6e-7],
    ['erf', erf, [...sweep(-5, 5), ...both(sweep(1e-9, 1, 2000, true))], near, 6e-7],
    ['gelu', (x: Tensor) => gelu(x), sweep(-9, 10), (y: number) => Math.max(Math.abs(y), 0.1), 5e-6],
    [
      'sin',
      sin,
      [...sweep(-10, 10), ...sweep(-1e4, 1e4), ...both(sweep(1, 3e38, 3000, true))],
      () => 1,
      4e-7,
    ],
    [
      'cos',
      cos,
      [...sweep(-10, 10), ...sweep(-1e4, 1e4), ...both(sweep(1, 3e38, 3000, true))],
      () => 1,
      4e-7,
    ],
  ] as const)('computes %s to a few ulp over its range', async (_, fn, xs, scale, tolerance) => {
    const actual = await fn(make(xs, [xs.length])).data();
    const exact = await fn(tensor(Float64Array.from(xs), { device: cpuDevice() })).data();
    let worst = 0;
    xs.forEach((_x, i) => {
      worst = Math.max(worst, Math.abs(actual[i] - exact[i]) / scale(exact[i]));
    });
    expect(worst).toBeLessThan(tolerance);
  });

  it('divides and multiplies integers to the last bit', async () => {
    const int = (values: number[], type: 'int32' | 'uint32'): Tensor =>
      tensor(values, { device: place.device, dtype: type });
    const read = async (t: Tensor): Promise<number[]> => [...(await t.data())];
    const least = -(2 ** 31);
    expect(
      await read(int([least, least, 2147483647], 'int32').floorDivide(int([-1, 2, -2], 'int32'))),
    ).toEqual([least, least / 2, -1073741824]);
    expect(await read(int([least, 2147483647], 'int32').remainder(int([-1, -10], 'int32')))).toEqual([0, -3]);
    expect(await read(int([4294967295], 'uint32').floorDivide(2))).toEqual([2147483647]);
    expect(await read(int([123456789], 'int32').square())).toEqual([Math.imul(123456789, 123456789)]);
    expect(await read(int([7, -3], 'int32').pow(21))).toEqual([
      Number(BigInt.asIntN(32, 7n ** 21n)),
      Number(BigInt.asIntN(32, (-3n) ** 21n)),
    ]);
    expect(await read(int([16777217, -16777217], 'int32').clamp({ min: -16777216, max: 2 ** 30 }))).toEqual([
      16777217, -16777216,
    ]);
  });
});

it('computes the error function to the last bits of float64', () => {
  // From Python's math.erf and math.erfc.
  expect(erfHost(0.5)).toBeCloseTo(0.5204998778130465, 15);
  expect(erfHost(1)).toBeCloseTo(0.8427007929497149, 15);
  expect(erfHost(-2)).toBeCloseTo(-0.9953222650189527, 15);
  expect(erfHost(1e-300)).toBe(1.1283791670955126e-300);
  expect(erfc(5) / 1.5374597944280347e-12).toBeCloseTo(1, 13);
  expect(erfc(25) / 8.300172571196523e-274).toBeCloseTo(1, 12);
  expect([erfHost(Infinity), erfHost(-Infinity), erfHost(NaN), erfc(Infinity)]).toEqual([1, -1, NaN, 0]);
});

it('rounds halves to even', () => {
  const xs = [0.5, 1.5, 2.5, -0.5, -1.5, 0.49999999999999994, 2 ** 52 + 1, 1e300, Infinity];
  expect(xs.map(roundHalfEven).map((x) => x + 0)).toEqual([0, 2, 2, 0, -2, 0, 2 ** 52 + 1, 1e300, Infinity]);
});
