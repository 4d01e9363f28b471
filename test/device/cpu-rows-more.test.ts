import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { roundToFloat16 } from '../../src/device/cpu/float16.js';
import type { SimdModule, SimdUnary } from '../../src/device/types.js';
import { call, random } from './simd-call.js';

const words = (values: ArrayLike<number>) => new Float32Array(Int32Array.from(values).buffer);
const lines = (x: Float32Array, rows: number, columns: number, row: number, column: number) =>
  Array.from({ length: rows }, (_, i) => Array.from({ length: columns }, (_, j) => x[i * row + j * column]));

describe('reductions', () => {
  const sum = (values: number[]) => values.reduce((a, b) => a + b, 0);
  const extreme = (better: (a: number, b: number) => boolean) => (row: number[]) =>
    row.some(Number.isNaN) ? Number.NaN : row.reduce((a, b) => (better(b, a) ? b : a));
  const place = (better: (a: number, b: number) => boolean) => (row: number[]) => {
    const nan = row.findIndex(Number.isNaN);
    return nan >= 0 ? nan : row.reduce((at, value, i) => (better(value, row[at]) ? i : at), 0);
  };
  const larger = (a: number, b: number) => a > b;
  const smaller = (a: number, b: number) => a < b;
  const abs = (row: number[]) => row.map(Math.abs);
  const logSumExp = (row: number[]) => {
    const most = extreme(larger)(row);
    return Number.isFinite(most) ? most + Math.log(sum(row.map((v) => Math.exp(v - most)))) : most;
  };
  const functions: [keyof SimdModule, (row: number[]) => number, number][] = [
    ['sumAbs', (row) => sum(abs(row)), 1e-6],
    ['norm', (row) => Math.sqrt(sum(row.map((v) => v * v))), 1e-6],
    ['countNonZero', (row) => row.filter((v) => v !== 0).length, 0],
    ['maxOf', extreme(larger), 0],
    ['minOf', extreme(smaller), 0],
    ['maxAbs', (row) => extreme(larger)(abs(row)), 0],
    ['minAbs', (row) => extreme(smaller)(abs(row)), 0],
    ['argmax', place(larger), 0],
    ['argmin', place(smaller), 0],
    ['logSumExp', logSumExp, 1e-6],
  ];
  /** Rows, columns and the strides of both. */
  const layouts = [
    [1, 1, 1, 1],
    [3, 70, 70, 1],
    [5, 2, 2, 1],
    [37, 9, 1, 37],
    [4, 300, 1, 4],
    [7, 11, 33, 3],
    [2, 1000, 1000, 1],
  ];

  test.each(functions)('%s: rows, columns and strided elements', async (name, reference, tolerance) => {
    for (const [rows, columns, row, column] of layouts) {
      for (const special of [[], [Number.NaN], [Infinity, Infinity], [-Infinity], [0, -0, 0]]) {
        const x = random(rows * row + columns * column, 3).map((v) => Math.round(v * 8) / 8);
        special.forEach((value, i) => {
          x[(i * 5 + 2) % x.length] = value;
        });
        const [, y] = await call(
          (m, [from, to]) => (m[name] as SimdUnary)(rows, columns, from, row, column, to),
          x,
          new Float32Array(rows),
        );
        const got = name.startsWith('arg') ? new Int32Array(y.buffer) : y;
        lines(x, rows, columns, row, column).forEach((line, i) => {
          const value = reference(line);
          const close = Math.abs(got[i] - value) <= tolerance * Math.max(1, Math.abs(value));
          expect(close || Object.is(got[i], value), `${name} of [${line}] = ${got[i]}`).toBe(true);
        });
      }
    }
  });

  test('variance, far from 0 too', async () => {
    for (const [rows, columns, row, column] of layouts) {
      for (const shift of [0, 500]) {
        for (const [correction, root] of [
          [0, false],
          [1, true],
        ] as const) {
          const x = random(rows * row + columns * column, 3).map((v) => v + shift);
          const [, y] = await call(
            (m, [from, to]) => m.variance(rows, columns, from, row, column, to, correction, root),
            x,
            new Float32Array(rows),
          );
          lines(x, rows, columns, row, column).forEach((line, i) => {
            const mean = sum(line) / columns;
            const value = sum(line.map((v) => (v - mean) ** 2)) / Math.max(columns - correction, 0);
            const expected = root ? Math.sqrt(value) : value;
            const close = Math.abs(y[i] - expected) <= 2e-6 * Math.max(1, expected);
            expect(close || (Number.isNaN(expected) && Number.isNaN(y[i])), `${y[i]} for ${expected}`).toBe(
              true,
            );
          });
        }
      }
    }
  });

  test('the same bits for a row alone as among others', async () => {
    for (const [row, column] of [
      [1, 37],
      [90, 1],
    ]) {
      const x = random(37 * 90, 2);
      for (const name of ['norm', 'sumAbs', 'logSumExp'] as const) {
        const run = (parts: number[]) =>
          call(
            (m, [from, to]) => {
              for (let i = 0; i + 1 < parts.length; i++) {
                const [start, end] = [parts[i], parts[i + 1]];
                m[name](end - start, 90, from + start * row * 4, row, column, to + start * 4);
              }
            },
            x,
            new Float32Array(37),
          ).then(([, y]) => y);
        expect(await run([0, 1, 6, 7, 20, 37])).toEqual(await run([0, 37]));
      }
    }
  });

  test('running sums', async () => {
    for (const [rows, columns, row, column] of [
      [3, 50, 50, 1],
      [11, 7, 1, 11],
      [4, 9, 1, 4],
    ]) {
      for (const reverse of [false, true]) {
        const x = random(rows * columns, 2);
        const [, y] = await call(
          (m, [from, to]) => m.cumsum(rows, columns, from, to, row, column, reverse),
          x,
          new Float32Array(x.length),
        );
        const expected = new Float32Array(x.length);
        for (let i = 0; i < rows; i++) {
          let total = 0;
          for (let j = 0; j < columns; j++) {
            const at = i * row + (reverse ? columns - 1 - j : j) * column;
            total += x[at];
            expected[at] = total;
          }
        }
        expect(y).toEqual(expected);
      }
    }
  });
});

describe('RMS norm', () => {
  test.each([
    [1, 1],
    [5, 64],
    [9, 37],
  ])('%i rows of %i, with gradients', async (rows, n) => {
    const [x, g] = [random(rows * n, 2), random(rows * n)];
    const weight = random(n).map((v) => v + 1.5);
    const eps = 1e-5;
    for (const weighted of [true, false]) {
      const [, , , y, rstd, dx, dWeight, dBias] = await call(
        (m, [xAt, wAt, gAt, yAt, sAt, dxAt, dwAt, dbAt]) => {
          const w = weighted ? wAt : 0;
          m.rmsNorm(rows, n, xAt, w, eps, yAt, sAt);
          m.rmsNormBackward(rows, n, xAt, w, sAt, gAt, dxAt);
          m.rmsNormAffine(rows, n, n, xAt, sAt, gAt, dwAt, dbAt);
        },
        x,
        weight,
        g,
        ...[rows * n, rows, rows * n, n, n].map((size) => new Float32Array(size)),
      );
      const close = (got: number, expected: number) =>
        expect(Math.abs(got - expected)).toBeLessThan(4e-6 * Math.max(1, Math.abs(expected)));
      const [weights, biases] = [new Float64Array(n), new Float64Array(n)];
      for (let i = 0; i < rows; i++) {
        const row = Array.from(x.subarray(i * n, (i + 1) * n));
        const scale = 1 / Math.sqrt(row.reduce((s, v) => s + v * v, 0) / n + eps);
        close(rstd[i], scale);
        const q = row.map((_, j) => g[i * n + j] * (weighted ? weight[j] : 1));
        const dot = q.reduce((s, v, j) => s + v * row[j] * scale, 0) / n;
        row.forEach((v, j) => {
          close(y[i * n + j], v * scale * (weighted ? weight[j] : 1));
          close(dx[i * n + j], scale * (q[j] - v * scale * dot));
          weights[j] += g[i * n + j] * v * scale;
          biases[j] += g[i * n + j];
        });
      }
      weights.forEach((v, j) => close(dWeight[j], v));
      biases.forEach((v, j) => close(dBias[j], v));
    }
  });
});

describe('rows by index', () => {
  test('selects rows, zeros where the index is skipped, and refuses indices out of range', async () => {
    for (const width of [1, 3, 24, 200]) {
      const x = random(10 * width);
      const picks = [3, 0, 9, 3, 5];
      const run = (index: number[], skip: number) => {
        let done = false;
        return call(
          (m, [xAt, at, to]) => {
            done = Boolean(m.selectRows(index.length, width, xAt, 10, at, skip, to));
          },
          x,
          words(index),
          new Float32Array(index.length * width),
        ).then(([, , y]) => ({ y, done }));
      };
      const expected = picks.flatMap((p) => Array.from(x.subarray(p * width, (p + 1) * width)));
      expect(await run(picks, -1)).toEqual({ y: Float32Array.from(expected), done: true });
      const skipped = expected.map((v, i) => (picks[Math.floor(i / width)] === 3 ? 0 : v));
      expect(await run(picks, 3)).toEqual({ y: Float32Array.from(skipped), done: true });
      expect((await run([1, 10], -1)).done).toBe(false);
      expect((await run([-1], -1)).done).toBe(false);
    }
  });

  test('adds rows in order, column by column or all at once', async () => {
    for (const width of [1, 7, 32]) {
      const picks = Array.from({ length: 60 }, (_, i) => (i * i) % 7);
      const x = random(60 * width);
      const run = (cuts: number[]) =>
        call(
          (m, [xAt, at, to]) => {
            for (let i = 0; i + 1 < cuts.length; i++) {
              const [from, columns] = [cuts[i], cuts[i + 1] - cuts[i]];
              expect(
                m.addRows(60, columns, xAt + from * 4, width, at, 8, 2, to + from * 4, width),
              ).toBeTruthy();
            }
          },
          x,
          words(picks),
          new Float32Array(8 * width).fill(5),
        ).then(([, , y]) => y);
      const expected = new Float32Array(8 * width);
      picks.forEach((p, k) => {
        if (p !== 2) for (let c = 0; c < width; c++) expected[p * width + c] += x[k * width + c];
      });
      expect(await run([0, width])).toEqual(expected);
      expect(await run([0, width >> 1, width])).toEqual(expected);
    }
  });

  test('fills with a word', async () => {
    for (const count of [1, 3, 4, 18]) {
      const [y] = await call((m, [at]) => m.fillWords(count, at, -7), new Float32Array(count));
      expect([...new Int32Array(y.buffer)]).toEqual(new Array(count).fill(-7));
    }
  });

  test('copies between any strides', async () => {
    const side = fc.integer({ min: 1, max: 40 });
    await fc.assert(
      fc.asyncProperty(
        side,
        side,
        fc.integer({ min: 1, max: 3 }),
        fc.boolean(),
        async (r, n, gap, transpose) => {
          const [xRow, xCol] = transpose ? [1, r * gap] : [n * gap, gap];
          const x = random(r * n * gap + 1);
          const yRow = n + gap;
          const [, y] = await call(
            (m, [from, to]) => m.copyStrided(r, n, from, xRow, xCol, to, yRow, 1),
            x,
            new Float32Array(r * yRow).fill(4),
          );
          for (let at = 0; at < y.length; at++) {
            const [i, j] = [Math.floor(at / yRow), at % yRow];
            expect(y[at]).toBe(j < n ? x[i * xRow + j * xCol] : 4);
          }
        },
      ),
      { numRuns: 60 },
    );
  });
});

describe('float16', () => {
  test('every one of them, widened exactly', async () => {
    const halves = Uint16Array.from({ length: 65536 }, (_, i) => i);
    const [, y] = await call(
      (m, [from, to]) => m.widenFloat16(65536, from, to),
      new Float32Array(halves.buffer),
      new Float32Array(65536),
    );
    const bits = new Uint32Array(y.buffer);
    for (let half = 0; half < 65536; half++) {
      const [sign, exponent, fraction] = [half >>> 15, (half >>> 10) & 31, half & 1023];
      const size = exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25);
      if (exponent === 31) {
        expect(bits[half]).toBe((((sign << 31) | 0x7f800000 | (fraction << 13)) >>> 0) as number);
      } else if (!Object.is(y[half], sign ? -size : size))
        expect(y[half], `${half}`).toBe(sign ? -size : size);
    }
  });

  test('float32 of any bits, rounded as the host does, in any count', async () => {
    let state = 99;
    const next = () => {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      return state >>> 0;
    };
    // Around every float16, half way to the next one and just beside that, and anything at all.
    const near = Array.from({ length: 31744 }, (_, half) => {
      const exponent = half >>> 10;
      const middle =
        exponent === 0 ? ((half & 1023) + 0.5) * 2 ** -24 : (1024.5 + (half & 1023)) * 2 ** (exponent - 25);
      return new Uint32Array(Float32Array.of(middle).buffer)[0];
    });
    const bits = Uint32Array.from([
      ...near,
      ...near.map((b) => b + 1),
      ...near.map((b) => (b - 1) | 0x80000000),
      ...Array.from({ length: 40_000 }, next),
      ...[
        0, 0x80000000, 0x7f800000, 0xff800000, 0x7fc00000, 0xff800001, 0x33000000, 0x33000001, 1, 0x477fefff,
      ],
      ...[0x477ff000, 0x47800000, 0x387fffff, 0x38800000, 0x7f800001],
    ]);
    for (const count of [bits.length, 1, 7, 8, 13]) {
      const part = bits.slice(bits.length - count);
      const [, y] = await call(
        (m, [from, to]) => m.narrowFloat16(count, from, to),
        new Float32Array(part.buffer),
        new Float32Array(Math.ceil(count / 2)),
      );
      const got = new Uint16Array(y.buffer, 0, count);
      const wrong = got.findIndex((half, i) => half !== roundToFloat16(part[i]));
      expect(wrong, wrong < 0 ? '' : `${part[wrong].toString(16)} → ${got[wrong].toString(16)}`).toBe(-1);
    }
  });
});
