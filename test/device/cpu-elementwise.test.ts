import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { SimdBinary, SimdModule, SimdUnary } from '../../src/device/types.js';
import { call, random } from './simd-call.js';

/** The distance between neighbouring float32 at a value. */
function ulp(value: number): number {
  const magnitude = Math.abs(value);
  return magnitude < 2 ** -126 ? 2 ** -149 : 2 ** (Math.floor(Math.log2(magnitude)) - 23);
}

/** erf in float64: its Maclaurin series, or Lentz's continued fraction of erfc. */
function erf(x: number): number {
  const a = Math.abs(x);
  if (a > 6) return Math.sign(x);
  if (a > 3) {
    let fraction = 0;
    for (let k = 60; k > 0; k--) fraction = k / 2 / (a + fraction);
    return Math.sign(x) * (1 - Math.exp(-a * a) / Math.sqrt(Math.PI) / (a + fraction));
  }
  let term = x;
  let sum = x;
  for (let n = 1; n < 80; n++) {
    term *= (-x * x) / n;
    sum += term / (2 * n + 1);
  }
  return (sum * 2) / Math.sqrt(Math.PI);
}

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
const c = 2 * Math.sqrt(2 / Math.PI);
const geluTanh = (x: number) => x * sigmoid(c * (x + 0.044715 * x ** 3));
const geluTanhSlope = (x: number) => {
  const s = sigmoid(c * (x + 0.044715 * x ** 3));
  return s + x * s * (1 - s) * c * (1 + 3 * 0.044715 * x * x);
};
const phi = (x: number) => 0.5 * (1 + erf(x / Math.SQRT2));
const gelu = (x: number) => x * phi(x);
const geluSlope = (x: number) => phi(x) + (x * Math.exp((-x * x) / 2)) / Math.sqrt(2 * Math.PI);

describe('elementary functions', () => {
  type Name = { [K in keyof SimdModule]: SimdModule[K] extends SimdUnary ? K : never }[keyof SimdModule];
  /** Name, float64 reference, ranges, ulp, and whether these count at max(|x|, 1) rather than at the result. */
  const cases: [Name, (x: number) => number, [number, number][], number, boolean?][] = [
    [
      'exp',
      Math.exp,
      [
        [-104, -87],
        [-87, 88.7],
        [-1, 1],
      ],
      1.5,
    ],
    [
      'log',
      Math.log,
      [
        [0, 1e-38],
        [0, 10],
        [0.9, 1.1],
        [0, 3e38],
      ],
      1.5,
    ],
    [
      'sigmoid',
      sigmoid,
      [
        [-87, 20],
        [-2, 2],
      ],
      3,
    ],
    [
      'tanh',
      Math.tanh,
      [
        [-10, 10],
        [-0.7, 0.7],
        [-1e-3, 1e-3],
      ],
      2,
    ],
    [
      'erf',
      erf,
      [
        [-5, 5],
        [-1.1, 1.1],
        [-1e-3, 1e-3],
      ],
      3,
    ],
    [
      'silu',
      (x) => x * sigmoid(x),
      [
        [-80, 20],
        [-2, 2],
      ],
      3,
    ],
    [
      'gelu',
      gelu,
      [
        [-12, 12],
        [-1, 1],
      ],
      3,
      true,
    ],
    [
      'geluTanh',
      geluTanh,
      [
        [-12, 12],
        [-1, 1],
      ],
      3,
      true,
    ],
  ];

  test.each(cases)('%s is accurate', async (name, reference, ranges, limit, relativeToX) => {
    for (const [low, high] of ranges) {
      const n = 20_001;
      const x = Float32Array.from({ length: n }, (_, i) => low + ((high - low) * (i + 0.5)) / n);
      const [, y] = await call((m, [from, to]) => m[name](1, n, from, n, 1, to), x, new Float32Array(n));
      let worst = 0;
      for (let i = 0; i < n; i++) {
        const expected = reference(x[i]);
        const scale = relativeToX ? Math.max(Math.abs(x[i]), 1) : expected;
        const error = Math.abs(y[i] - expected) / ulp(scale);
        if (!(error <= worst) && Math.fround(expected) !== y[i]) worst = error;
      }
      expect(worst, `${name} on [${low}, ${high}], in ulp`).toBeLessThan(limit);
    }
  });

  test('specials: NaN, infinities, zeros, subnormals', async () => {
    const x = Float32Array.of(Number.NaN, Infinity, -Infinity, 0, -0, 1e-42, -1, 1e30, -1e30);
    const tiny = Math.fround(1e-42);
    const expected: Partial<Record<Name, number[]>> = {
      exp: [Number.NaN, Infinity, 0, 1, 1, 1, Math.fround(Math.exp(-1)), Infinity, 0],
      log: [
        Number.NaN,
        Infinity,
        Number.NaN,
        -Infinity,
        -Infinity,
        Math.fround(Math.log(tiny)),
        Number.NaN,
        69.07755279541016,
        Number.NaN,
      ],
      sigmoid: [Number.NaN, 1, 0, 0.5, 0.5, 0.5, Math.fround(sigmoid(-1)), 1, 0],
      tanh: [Number.NaN, 1, -1, 0, -0, tiny, Math.fround(Math.tanh(-1)), 1, -1],
      relu: [Number.NaN, Infinity, 0, 0, 0, tiny, 0, Math.fround(1e30), 0],
      sqrt: [
        Number.NaN,
        Infinity,
        Number.NaN,
        0,
        -0,
        Math.fround(Math.sqrt(tiny)),
        Number.NaN,
        Math.fround(1e15),
        Number.NaN,
      ],
      neg: [Number.NaN, -Infinity, Infinity, -0, 0, -tiny, 1, Math.fround(-1e30), Math.fround(1e30)],
      abs: [Number.NaN, Infinity, Infinity, 0, 0, tiny, 1, Math.fround(1e30), Math.fround(1e30)],
      reciprocal: [
        Number.NaN,
        0,
        -0,
        Infinity,
        -Infinity,
        Infinity,
        -1,
        Math.fround(1 / x[7]),
        Math.fround(1 / x[8]),
      ],
    };
    for (const [name, values] of Object.entries(expected)) {
      const [, y] = await call(
        (m, [from, to]) => m[name as Name](1, 9, from, 9, 1, to),
        x,
        new Float32Array(9),
      );
      // One ulp of slack, for the finite values that are not exact.
      values.forEach((value, i) => {
        const close = Math.abs(y[i] - value) <= ulp(value);
        expect(close || Object.is(y[i], value), `${name}(${x[i]}) = ${y[i]}, expected ${value}`).toBe(true);
      });
    }
  });

  test('gradients', async () => {
    const n = 4001;
    const x = Float32Array.from({ length: n }, (_, i) => (i - n / 2) / 200);
    const g = random(n);
    for (const [name, slope] of [
      ['geluBackward', geluSlope],
      ['geluTanhBackward', geluTanhSlope],
      ['siluBackward', (x: number) => sigmoid(x) * (1 + x * (1 - sigmoid(x)))],
      ['reluBackward', (x: number) => (x > 0 ? 1 : 0)],
      ['tanhBackward', (t: number) => 1 - t * t],
      ['sigmoidBackward', (s: number) => s * (1 - s)],
    ] as const) {
      const [, , y] = await call(
        (m, [a, b, to]) => m[name](1, n, a, n, 1, b, n, 1, to),
        g,
        x,
        new Float32Array(n),
      );
      const worst = Math.max(
        ...y.map((value, i) => Math.abs(value - g[i] * slope(x[i])) / Math.max(1, Math.abs(slope(x[i])))),
      );
      expect(worst).toBeLessThan(5e-7);
    }
    const far = Float32Array.of(1e20, -1e20, Number.NaN, 30, -30);
    const ones = new Float32Array(5).fill(1);
    const [, , y] = await call(
      (m, [a, b, to]) => m.geluTanhBackward(1, 5, a, 5, 1, b, 5, 1, to),
      ones,
      far,
      ones,
    );
    expect([...y].map((value) => Math.round(value * 1e9) / 1e9 + 0)).toEqual([1, 0, Number.NaN, 1, 0]);
  });
});

describe('pointwise functions', () => {
  const side = fc.integer({ min: 1, max: 13 });
  const stride = fc.constantFrom(0, 1, 2, 15);

  test('binary: any strides, any size', async () => {
    const functions: [keyof SimdModule, (a: number, b: number) => number][] = [
      ['add', (a, b) => a + b],
      ['sub', (a, b) => a - b],
      ['mul', (a, b) => a * b],
      ['div', (a, b) => a / b],
      ['maximum', Math.max],
      ['minimum', Math.min],
    ];
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
          const a = random(r * ar + n * ac + 1);
          const b = random(r * br + n * bc + 1);
          const [, , y] = await call(
            (m, [p, q, to]) => (m[name] as SimdBinary)(r, n, p, ar, ac, q, br, bc, to),
            a,
            b,
            new Float32Array(r * n),
          );
          const expected = Float32Array.from({ length: r * n }, (_, at) => {
            const [i, j] = [Math.floor(at / n), at % n];
            return f(a[i * ar + j * ac], b[i * br + j * bc]);
          });
          expect(y).toEqual(expected);
        },
      ),
      { numRuns: 300 },
    );
  });

  test('unary and copy: any strides, any size', async () => {
    await fc.assert(
      fc.asyncProperty(side, fc.integer({ min: 1, max: 40 }), stride, stride, async (r, n, row, column) => {
        const x = random(r * row + n * column + 1);
        for (const [name, f] of [
          ['neg', (v: number) => -v],
          ['copy', (v: number) => v],
        ] as const) {
          const [, y] = await call(
            (m, [from, to]) => m[name](r, n, from, row, column, to),
            x,
            new Float32Array(r * n),
          );
          const expected = Float32Array.from({ length: r * n }, (_, at) =>
            f(x[Math.floor(at / n) * row + (at % n) * column]),
          );
          expect(y).toEqual(expected);
        }
      }),
      { numRuns: 200 },
    );
  });

  test('copy transposes', async () => {
    for (const [r, n] of [
      [4, 4],
      [16, 16],
      [17, 5],
      [35, 34],
      [3, 50],
      [100, 7],
    ]) {
      const x = random(r * n);
      const [, y] = await call((m, [from, to]) => m.copy(r, n, from, 1, r, to), x, new Float32Array(r * n));
      expect(y).toEqual(
        Float32Array.from({ length: r * n }, (_, at) => x[(at % n) * r + Math.floor(at / n)]),
      );
    }
  });

  test('in place', async () => {
    const x = random(11);
    const [y] = await call((m, [at]) => m.mul(1, 11, at, 11, 1, at, 11, 1, at), x);
    expect(y).toEqual(x.map((value) => value * value));
  });

  test('NaN wins in maximum and minimum', async () => {
    const a = Float32Array.of(Number.NaN, 1, Number.NaN, 2, Number.NaN);
    const b = Float32Array.of(1, Number.NaN, Number.NaN, 1, 0);
    for (const name of ['maximum', 'minimum'] as const) {
      const [, , y] = await call(
        (m, [p, q, to]) => m[name](1, 5, p, 5, 1, q, 5, 1, to),
        a,
        b,
        new Float32Array(5),
      );
      expect([...y]).toEqual([Number.NaN, Number.NaN, Number.NaN, name === 'maximum' ? 2 : 1, Number.NaN]);
    }
  });
});
