import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type {
  SimdBinary,
  SimdBinaryWith,
  SimdModule,
  SimdUnary,
  SimdUnaryWith,
} from '../../src/device/types.js';
import { pow as powHost, roundHalfEven } from '../../src/kernels/special.js';
import { call, random } from './simd-call.js';

/** The distance between neighbouring float32 at a value. */
function ulp(value: number): number {
  const magnitude = Math.abs(value);
  return magnitude < 2 ** -126 ? 2 ** -149 : 2 ** (Math.floor(Math.log2(magnitude)) - 23);
}

/** Error in ulp of the true value; 0 where both are NaN or the same. */
function error(got: number, value: number): number {
  if (Number.isNaN(value) || Number.isNaN(got))
    return Number.isNaN(value) && Number.isNaN(got) ? 0 : Infinity;
  const nearest = Math.fround(value);
  if (Object.is(got, nearest) || (got === nearest && got !== 0)) return 0;
  // Zeros have signs; what rounds to ∞ may be the largest float, and the other way round.
  if (got === 0 && nearest === 0) return Object.is(got, nearest) ? 0 : Infinity;
  if (!Number.isFinite(nearest) || !Number.isFinite(got)) {
    const largest = 3.4028234663852886e38;
    return Math.abs(Number.isFinite(got) ? got : value) >= largest * (1 - 2 ** -22) ? 1 : Infinity;
  }
  return Math.abs(got - value) / ulp(value);
}

/** Floats of any bits: every exponent, subnormals, zeros, infinities and NaN. */
function anyFloats(count: number): Float32Array {
  let state = 12345;
  const bits = Uint32Array.from({ length: count }, () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  });
  const special = [0, 0x80000000, 0x7f800000, 0xff800000, 0x7fc00000, 1, 0x80000001, 0x007fffff, 0x7f7fffff];
  special.push(0x3f800000, 0xbf800000, 0x40000000, 0xc0000000, 0x3f000000, 0x4b800000, 0xcb7fffff);
  bits.set(special);
  return new Float32Array(bits.buffer);
}

/** Floats spread over [low, high]. */
function spread(low: number, high: number, count: number): Float32Array {
  return Float32Array.from({ length: count }, (_, i) => low + ((high - low) * (i + 0.5)) / count);
}

const unaryOf = (name: keyof SimdModule, x: Float32Array) =>
  call(
    (m, [from, to]) => (m[name] as SimdUnary)(1, x.length, from, x.length, 1, to),
    x,
    new Float32Array(x.length),
  ).then(([, y]) => y);

describe('elementary functions are accurate', () => {
  const cases: [keyof SimdModule, (x: number) => number, [number, number][], number][] = [
    ['square', (x) => x * x, [[-3, 3]], 0.51],
    ['rsqrt', (x) => 1 / Math.sqrt(x), [[0, 10]], 1.5],
    ['sign', (x) => (x > 0 ? 1 : x < 0 ? -1 : 0), [[-1, 1]], 0],
    ['floor', Math.floor, [[-9, 9]], 0],
    ['ceil', Math.ceil, [[-9, 9]], 0],
    ['round', roundHalfEven, [[-9, 9]], 0],
    ['trunc', Math.trunc, [[-9, 9]], 0],
    [
      'log1p',
      Math.log1p,
      [
        [-1, 1],
        [-1e-3, 1e-3],
        [-0.999, 1e6],
      ],
      3,
    ],
    [
      'expm1',
      Math.expm1,
      [
        [-1, 1],
        [-1e-3, 1e-3],
        [-20, 89],
        [-0.36, 0.36],
      ],
      2.5,
    ],
    [
      'sin',
      Math.sin,
      [
        [-4, 4],
        [-1e-3, 1e-3],
        [-1000, 1000],
        [-1e6, 1e6],
        [Math.PI - 1e-5, Math.PI + 1e-5],
      ],
      1.5,
    ],
    [
      'cos',
      Math.cos,
      [
        [-4, 4],
        [1.5707, 1.5708],
        [-1000, 1000],
        [-1e6, 1e6],
      ],
      1.5,
    ],
  ];

  test.each(cases)('%s', async (name, reference, ranges, limit) => {
    const inputs = [anyFloats(40_000), ...ranges.map(([low, high]) => spread(low, high, 20_001))];
    for (const x of inputs) {
      const y = await unaryOf(name, x);
      let worst = 0;
      let where = 0;
      x.forEach((value, i) => {
        // The sign of a rounded 0 is not looked at where the host's own loops lose it.
        const found =
          y[i] === 0 && reference(value) === 0 && (name === 'sign' || name === 'round')
            ? 0
            : error(y[i], reference(value));
        if (found > worst) [worst, where] = [found, i];
      });
      expect(worst, `${name}(${x[where]}) = ${y[where]}, ulp`).toBeLessThanOrEqual(limit);
    }
  });

  test('pow', async () => {
    const wild = anyFloats(60_000);
    const bases = [wild.slice(0, 30_000), spread(0.01, 20, 20_000), spread(-5, 5, 4001), anyFloats(1000)];
    const exponents = [
      wild.slice(30_000),
      spread(-25, 25, 20_000),
      Float32Array.from({ length: 4001 }, (_, i) => (i % 13) - 6),
      Float32Array.from(
        { length: 1000 },
        (_, i) => [0, 1, -1, 2, 0.5, -0.5, Infinity, -Infinity, Number.NaN, 3][i % 10],
      ),
    ];
    for (let k = 0; k < bases.length; k++) {
      const [a, b] = [bases[k], exponents[k]];
      const n = a.length;
      const [, , y] = await call(
        (m, [p, q, to]) => m.pow(1, n, p, n, 1, q, n, 1, to),
        a,
        b,
        new Float32Array(n),
      );
      let worst = 0;
      let where = 0;
      for (let i = 0; i < n; i++) {
        const found = error(y[i], powHost(a[i], b[i]));
        if (found > worst) [worst, where] = [found, i];
      }
      expect(worst, `pow(${a[where]}, ${b[where]}) = ${y[where]}, ulp`).toBeLessThanOrEqual(1);
    }
  });

  test('functions with parameters, and their slopes', async () => {
    const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
    const softplus = (x: number, p: number, q: number) =>
      x * p > q ? x : (Math.max(x * p, 0) + Math.log1p(Math.exp(-Math.abs(x * p)))) / p;
    const cases: [keyof SimdModule, number, number, (x: number, p: number, q: number) => number][] = [
      ['clamp', -0.75, 1.25, (x, p, q) => Math.min(Math.max(x, p), q)],
      ['leakyRelu', 0.125, 0, (x, p) => (x > 0 ? x : p * x)],
      ['elu', 1.5, 0, (x, p) => (x > 0 ? x : p * Math.expm1(x))],
      ['softplus', 2, 20, softplus],
      ['softplus', 1, 20, softplus],
    ];
    const x = Float32Array.from([
      ...spread(-30, 30, 9001),
      ...spread(-1, 1, 2001),
      Number.NaN,
      Infinity,
      -Infinity,
    ]);
    const n = x.length;
    for (const [name, p, q, reference] of cases) {
      const [, y] = await call(
        (m, [from, to]) => (m[name] as SimdUnaryWith)(1, n, from, n, 1, to, p, q),
        x,
        new Float32Array(n),
      );
      const worst = Math.max(...x.map((value, i) => error(y[i], reference(value, p, q))));
      expect(worst, `${name}, ulp`).toBeLessThanOrEqual(4);
    }
    const slopes: [keyof SimdModule, number, number, (x: number, p: number, q: number) => number][] = [
      ['clampBackward', -0.75, 1.25, (x, p, q) => (x >= p && x <= q ? 1 : 0)],
      ['leakyReluBackward', 0.125, 0, (x, p) => (x > 0 ? 1 : p)],
      ['eluBackward', 1.5, 0, (x, p) => (x > 0 ? 1 : p * Math.exp(x))],
      ['softplusBackward', 2, 20, (x, p, q) => (x * p > q ? 1 : sigmoid(x * p))],
    ];
    const finite = x.subarray(0, n - 3);
    const g = random(finite.length);
    for (const [name, p, q, slope] of slopes) {
      const [, , y] = await call(
        (m, [a, b, to]) => (m[name] as SimdBinaryWith)(1, g.length, a, g.length, 1, b, g.length, 1, to, p, q),
        g,
        finite,
        new Float32Array(g.length),
      );
      const worst = Math.max(
        ...finite.map(
          (value, i) => Math.abs(y[i] - g[i] * slope(value, p, q)) / ulp(g[i] * slope(value, p, q)),
        ),
      );
      expect(worst, `${name}, ulp`).toBeLessThanOrEqual(4.5);
    }
  });
});

describe('choices', () => {
  const words = (values: number[]) => new Float32Array(Int32Array.from(values).buffer);
  const side = fc.integer({ min: 1, max: 13 });
  const stride = fc.constantFrom(0, 1, 2, 15);

  test('comparisons: any strides, any size, special values', async () => {
    const functions: [keyof SimdModule, (a: number, b: number) => boolean][] = [
      ['eq', (a, b) => a === b],
      ['ne', (a, b) => a !== b],
      ['lt', (a, b) => a < b],
      ['le', (a, b) => a <= b],
    ];
    const palette = [0, -0, 1, -1, Number.NaN, Infinity, -Infinity, 1e-42, 2, 2];
    const pick = fc.constantFrom(...functions);
    await fc.assert(
      fc.asyncProperty(
        pick,
        side,
        side,
        stride,
        stride,
        stride,
        stride,
        async ([name, f], r, n, ar, ac, br, bc) => {
          const a = random(r * ar + n * ac + 1, 5).map((v) => palette[Math.floor(v + 5)]);
          const b = random(r * br + n * bc + 1, 5).map((v) => palette[Math.floor(v + 5)]);
          const [, , y] = await call(
            (m, [p, q, to]) => (m[name] as SimdBinary)(r, n, p, ar, ac, q, br, bc, to),
            a,
            b,
            new Float32Array(r * n),
          );
          const expected = Array.from({ length: r * n }, (_, at) => {
            const [i, j] = [Math.floor(at / n), at % n];
            return Number(f(a[i * ar + j * ac], b[i * br + j * bc]));
          });
          expect([...new Int32Array(y.buffer)]).toEqual(expected);
        },
      ),
      { numRuns: 200 },
    );
  });

  test('comparisons and logic of words', async () => {
    const a = [0, 1, -1, 5, -2147483648, 2147483647, 1, 0, 7];
    const b = [0, 2, 1, 5, 2147483647, -2147483648, 1, 1, -7];
    for (const [name, f] of [
      ['eqInt', (x: number, y: number) => Number(x === y)],
      ['neInt', (x: number, y: number) => Number(x !== y)],
      ['ltInt', (x: number, y: number) => Number(x < y)],
      ['leInt', (x: number, y: number) => Number(x <= y)],
      ['and', (x: number, y: number) => x & y],
      ['or', (x: number, y: number) => x | y],
      ['xor', (x: number, y: number) => x ^ y],
    ] as const) {
      const [, , y] = await call(
        (m, [p, q, to]) => m[name](1, 9, p, 9, 1, q, 9, 1, to),
        words(a),
        words(b),
        new Float32Array(9),
      );
      expect([...new Int32Array(y.buffer)]).toEqual(a.map((x, i) => f(x, b[i])));
    }
  });

  test('where: any strides, any size', async () => {
    await fc.assert(
      fc.asyncProperty(
        side,
        side,
        fc.array(stride, { minLength: 6, maxLength: 6 }),
        async (r, n, [cr, cc, ar, ac, br, bc]) => {
          const c = words(Array.from(random(r * cr + n * cc + 1), (v) => Number(v > 0)));
          const a = random(r * ar + n * ac + 1);
          const b = random(r * br + n * bc + 1);
          const [, , , y] = await call(
            (m, [p, q, s, to]) => m.where(r, n, p, cr, cc, q, ar, ac, s, br, bc, to),
            c,
            a,
            b,
            new Float32Array(r * n),
          );
          const holds = new Int32Array(c.buffer);
          const expected = Float32Array.from({ length: r * n }, (_, at) => {
            const [i, j] = [Math.floor(at / n), at % n];
            return holds[i * cr + j * cc] ? a[i * ar + j * ac] : b[i * br + j * bc];
          });
          expect(y).toEqual(expected);
        },
      ),
      { numRuns: 200 },
    );
  });
});
