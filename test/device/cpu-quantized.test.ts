import { describe, expect, test } from 'vitest';
import { call, random } from './simd-call.js';

/** Any 16 values serve as codes; these are exact and not evenly spaced. */
const CODES = Float32Array.from({ length: 16 }, (_, i) => ((i - 7.5) * (3 + ((i * 7) % 5))) / 64);

/** Random codes of n × k weights, packed, with scales, and the weights in float64. */
function weights(scheme: 'int8' | 'nf4', n: number, k: number, block: number) {
  const bytes = new Uint8Array(scheme === 'int8' ? n * k : (n * k) / 2);
  const scales = random((n * k) / block, 0.5).map((v) => v + 0.75);
  const values = new Float64Array(n * k);
  random(n * k).forEach((v, i) => {
    const scale = scales[Math.floor(i / block)];
    if (scheme === 'int8') {
      const code = Math.round(v * 127);
      bytes[i] = code & 255;
      values[i] = (code / 127) * scale;
    } else {
      const code = Math.min(Math.floor((v + 1) * 8), 15);
      bytes[i >> 1] |= i % 2 === 0 ? code << 4 : code;
      values[i] = CODES[code] * scale;
    }
  });
  return { packed: new Float32Array(bytes.buffer), scales, values };
}

const schemes = ['int8', 'nf4'] as const;

describe.each(schemes)('%s weights', (scheme) => {
  test.each([
    [1, 1, 16, 16],
    [1, 70, 128, 64],
    [3, 9, 192, 64],
    [4, 8, 64, 32],
    [5, 21, 128, 64],
    [33, 67, 256, 64],
  ])('products of %i rows with %i × %i in blocks of %i', async (rows, n, k, block) => {
    const { packed, scales, values } = weights(scheme, n, k, block);
    const x = random(rows * k);
    const g = random(rows * n);
    const results = await call(
      (m, [xAt, gAt, w, s, c, y, dx]) => {
        const scratch = m.scratch(m.quantizedScratchBytes(k));
        const [wRow, sRow] = [packed.length / n, k / block];
        if (scheme === 'int8') {
          m.matmulInt8(rows, n, k, xAt, k, w, wRow, s, sRow, block, y, n, scratch);
          m.matmulTransposedInt8(rows, n, k, 0, k, gAt, n, w, wRow, s, sRow, block, dx, k, scratch);
        } else {
          m.matmulNF4(rows, n, k, xAt, k, w, wRow, s, sRow, block, c, y, n, scratch);
          m.matmulTransposedNF4(rows, n, k, 0, k, gAt, n, w, wRow, s, sRow, block, c, dx, k, scratch);
        }
      },
      x,
      g,
      packed,
      scales,
      CODES,
      new Float32Array(rows * n),
      new Float32Array(rows * k),
    );
    const [y, dx] = results.slice(5);
    // Rounding grows with the root of the number of terms, each of about 1.
    for (let i = 0; i < rows; i++) {
      for (let j = 0; j < n; j++) {
        let sum = 0;
        for (let p = 0; p < k; p++) sum += x[i * k + p] * values[j * k + p];
        expect(Math.abs(y[i * n + j] - sum)).toBeLessThan(1e-6 * Math.sqrt(k));
      }
      for (let p = 0; p < k; p++) {
        let sum = 0;
        for (let j = 0; j < n; j++) sum += g[i * n + j] * values[j * k + p];
        expect(Math.abs(dx[i * k + p] - sum)).toBeLessThan(1e-6 * Math.sqrt(n) + 1e-7);
      }
    }
  });

  test('the same bits for any range of rows of W, and of columns', async () => {
    const [rows, n, k, block] = [6, 29, 128, 64];
    const { packed, scales } = weights(scheme, n, k, block);
    const [wRow, sRow] = [packed.length / n, k / block];
    const rowBytes = wRow * 4;
    const [x, g] = [random(rows * k), random(rows * n)];
    const run = (cuts: number[], columnCuts: number[]) =>
      call(
        (m, [xAt, gAt, w, s, c, y, dx]) => {
          const scratch = m.scratch(m.quantizedScratchBytes(k));
          for (let i = 0; i + 1 < cuts.length; i++) {
            const [from, count] = [cuts[i], cuts[i + 1] - cuts[i]];
            const [wAt, sAt, yAt] = [w + from * rowBytes, s + (from * k * 4) / block, y + from * 4];
            if (scheme === 'int8')
              m.matmulInt8(rows, count, k, xAt, k, wAt, wRow, sAt, sRow, block, yAt, n, scratch);
            else m.matmulNF4(rows, count, k, xAt, k, wAt, wRow, sAt, sRow, block, c, yAt, n, scratch);
          }
          for (let i = 0; i + 1 < columnCuts.length; i++) {
            const [from, count] = [columnCuts[i], columnCuts[i + 1] - columnCuts[i]];
            if (scheme === 'int8') {
              m.matmulTransposedInt8(
                rows,
                n,
                k,
                from,
                count,
                gAt,
                n,
                w,
                wRow,
                s,
                sRow,
                block,
                dx,
                k,
                scratch,
              );
            } else
              m.matmulTransposedNF4(
                rows,
                n,
                k,
                from,
                count,
                gAt,
                n,
                w,
                wRow,
                s,
                sRow,
                block,
                c,
                dx,
                k,
                scratch,
              );
          }
        },
        x,
        g,
        packed,
        scales,
        CODES,
        new Float32Array(rows * n),
        new Float32Array(rows * k),
      ).then((all) => all.slice(5));
    expect(await run([0, 3, 8, 16, 29], [0, 16, 80, 128])).toEqual(await run([0, 29], [0, 128]));
  });
});

test.each([1, 16, 255, 600])('%i quantised scales', async (count) => {
  const codes = Int8Array.from({ length: Math.ceil(count / 4) * 4 }, (_, i) => ((i * 37) % 255) - 127);
  const groups = random(1 + Math.ceil(count / 256));
  const [, , scales] = await call(
    (m, [at, from, to]) => m.decodeScales(count, at, from, to),
    new Float32Array(codes.buffer),
    groups,
    new Float32Array(count),
  );
  for (let i = 0; i < count; i++) {
    const wanted = groups[0] + (groups[1 + Math.floor(i / 256)] * codes[i]) / 127;
    expect(Math.abs(scales[i] - wanted)).toBeLessThan(2e-7);
  }
});

describe('updates of parameters', () => {
  const n = 1003;
  const close = (got: Float32Array, expected: ArrayLike<number>) => {
    for (let i = 0; i < n; i++) expect(Math.abs(got[i] - expected[i])).toBeLessThan(2e-7);
  };

  test('SGD, with and without momentum', async () => {
    const [p, g, b] = [random(n), random(n), random(n)];
    const d = p.map((v, i) => g[i] + 0.01 * v);
    const [plain] = await call((m, [at, from]) => m.sgd(n, at, from, 0.1, 0.01), p, g);
    close(
      plain,
      p.map((v, i) => v - 0.1 * d[i]),
    );
    for (const nesterov of [false, true]) {
      const [moved, , buffer] = await call(
        (m, [at, from, sums]) => m.sgdMomentum(n, at, from, sums, 0.1, 0.01, 0.9, 0.8, nesterov),
        p,
        g,
        b,
      );
      const next = b.map((v, i) => 0.9 * v + 0.8 * d[i]);
      close(buffer, next);
      close(
        moved,
        p.map((v, i) => v - 0.1 * (nesterov ? d[i] + 0.9 * next[i] : next[i])),
      );
    }
  });

  test('Adam with an L2 penalty, and scaled sums', async () => {
    const [p, g, m0] = [random(n), random(n), random(n, 0.1)];
    const v0 = random(n).map((v) => v * v);
    const [moved, , first, second] = await call(
      (m, [at, from, mean, square]) => m.adam(n, at, from, mean, square, 0.9, 0.999, 1e-8, 0.02, 0.003, 1.5),
      p,
      g,
      m0,
      v0,
    );
    const d = p.map((v, i) => g[i] + 0.02 * v);
    const mean = m0.map((v, i) => 0.9 * v + 0.1 * d[i]);
    const square = v0.map((v, i) => 0.999 * v + 0.001 * d[i] * d[i]);
    close(first, mean);
    close(second, square);
    const step = (i: number) => (0.003 * mean[i]) / (Math.sqrt(square[i]) * 1.5 + 1e-8);
    for (let i = 0; i < n; i++) {
      expect(Math.abs(moved[i] - (p[i] - step(i)))).toBeLessThan(2e-7 + 2e-6 * Math.abs(step(i)));
    }
    const [, sums] = await call((m, [from, to]) => m.addScaled(n, from, -0.25, to), g, p);
    close(
      sums,
      p.map((v, i) => v - 0.25 * g[i]),
    );
  });
});
