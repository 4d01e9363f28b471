import { describe, expect, test } from 'vitest';
import type { View } from '../../src/device/types.js';
import { call, device, random } from './simd-call.js';

describe('rows', () => {
  test('sums of rows, of columns, and of strided elements', async () => {
    for (const [rows, columns] of [
      [1, 1],
      [3, 15],
      [5, 16],
      [4, 5000],
      [37, 70],
      [300, 21],
      [2, 100_003],
    ]) {
      const x = random(rows * columns).map((value) => value + 1);
      const check = async (n: number, m: number, row: number, column: number) => {
        const [, y] = await call(
          (s, [from, to]) => s.sumRows(n, m, from, row, column, to),
          x,
          new Float32Array(n),
        );
        for (let i = 0; i < n; i++) {
          let sum = 0;
          for (let j = 0; j < m; j++) sum += x[i * row + j * column];
          expect(Math.abs(y[i] - sum) / sum, `${n} sums of ${m}`).toBeLessThan(3e-6);
        }
      };
      await check(rows, columns, columns, 1);
      await check(columns, rows, 1, columns);
      if (columns > 2) await check(rows, columns >> 1, columns, 2);
    }
  });

  test('a long sum stays accurate', async () => {
    const n = 2 ** 20 + 3;
    const x = new Float32Array(n).fill(0.1);
    const buffer = device.allocate(n * 4, 'test');
    device.write(buffer, x);
    const sums: number[] = [];
    const view: View = { buffer, dtype: 'float32', shape: [n], strides: [1], offset: 0 };
    device.execute(
      {
        name: 'test',
        host() {},
        kernel: () => [],
        simd(module, [{ pointer }]) {
          sums.push(module.sumSquares(n, pointer));
          return true;
        },
      },
      [view],
      [],
      null,
    );
    expect(Math.abs(sums[0] / (n * Math.fround(0.1) ** 2) - 1)).toBeLessThan(1e-6);
  });

  /** Softmax of a row, in float64. */
  function softmaxOf(row: number[]): number[] {
    const most = Math.max(...row);
    const e = row.map((value) => Math.exp(value - most));
    const sum = e.reduce((a, b) => a + b, 0);
    return e.map((value) => value / sum);
  }

  const rowsOf = (data: Float32Array, columns: number) =>
    Array.from({ length: data.length / columns }, (_, i) => [
      ...data.subarray(i * columns, (i + 1) * columns),
    ]);

  /** The largest error; NaN where there is one. */
  const largest = (got: Float32Array, expected: number[][]) => {
    const flat = expected.flat();
    return Math.max(...got.map((value, i) => Math.abs(value - flat[i])));
  };

  test('softmax and log-softmax, with their gradients', async () => {
    for (const [rows, columns] of [
      [1, 1],
      [3, 3],
      [5, 8],
      [4, 65],
      [2, 514],
    ]) {
      const x = random(rows * columns, 20);
      const g = random(rows * columns);
      const probabilities = rowsOf(x, columns).map(softmaxOf);
      const logs = probabilities.map((row) => row.map(Math.log));
      const empty = () => new Float32Array(rows * columns);
      const [, y] = await call((m, [from, to]) => m.softmax(rows, columns, from, to), x, empty());
      expect(largest(y, probabilities)).toBeLessThan(5e-7);
      const [, z] = await call((m, [from, to]) => m.logSoftmax(rows, columns, from, to), x, empty());
      expect(largest(z, logs)).toBeLessThan(8e-6);
      const [, , dx] = await call(
        (m, [a, b, to]) => m.softmaxBackward(rows, columns, a, b, to),
        y,
        g,
        empty(),
      );
      const grads = rowsOf(g, columns);
      const expected = probabilities.map((p, i) => {
        const inner = p.reduce((sum, value, j) => sum + value * grads[i][j], 0);
        return p.map((value, j) => value * (grads[i][j] - inner));
      });
      expect(largest(dx, expected)).toBeLessThan(5e-7);
      const [, , dz] = await call(
        (m, [a, b, to]) => m.logSoftmaxBackward(rows, columns, a, b, to),
        z,
        g,
        empty(),
      );
      const expectedLog = probabilities.map((p, i) => {
        const sum = grads[i].reduce((a, b) => a + b, 0);
        return p.map((value, j) => grads[i][j] - value * sum);
      });
      expect(largest(dz, expectedLog)).toBeLessThan(2e-5);
    }
  });

  test('softmax of masked and of odd rows is PyTorch’s', async () => {
    const inf = Infinity;
    const nan = Number.NaN;
    const x = Float32Array.of(
      -inf,
      0,
      -inf,
      0,
      0,
      -inf,
      -inf,
      -inf,
      -inf,
      -inf,
      1,
      inf,
      0,
      0,
      0,
      1,
      nan,
      0,
      0,
      0,
    );
    const [, y] = await call((m, [from, to]) => m.softmax(4, 5, from, to), x, new Float32Array(20));
    const third = Math.fround(1 / 3);
    const rows = rowsOf(y, 5);
    expect(rows[0]).toEqual([0, third, 0, third, third]);
    expect(rows[1].every(Number.isNaN)).toBe(true);
    expect(rows[3].every(Number.isNaN)).toBe(true);
    expect(rows[2][1]).toBeNaN();
  });

  test('layer norm and its gradients', async () => {
    for (const [rows, columns] of [
      [1, 3],
      [4, 8],
      [7, 65],
      [3, 130],
    ]) {
      for (const affine of [true, false]) {
        const eps = 1e-5;
        const x = random(rows * columns, 3).map((value) => value + 2);
        const [w, b, g] = [random(columns), random(columns), random(rows * columns)];
        const arrays = [
          x,
          w,
          b,
          new Float32Array(rows * columns),
          new Float32Array(rows),
          new Float32Array(rows),
        ];
        const [, , , y, mean, rstd] = await call(
          (m, [px, pw, pb, py, pm, pr]) =>
            m.layerNorm(rows, columns, px, affine ? pw : 0, affine ? pb : 0, eps, py, pm, pr),
          ...arrays,
        );
        const weight = (j: number) => (affine ? w[j] : 1);
        const normal = rowsOf(x, columns).map((row) => {
          const center = row.reduce((a, v) => a + v, 0) / columns;
          const variance = row.reduce((a, v) => a + (v - center) ** 2, 0) / columns;
          return row.map((v) => (v - center) / Math.sqrt(variance + eps));
        });
        const expected = normal.map((row) => row.map((h, j) => h * weight(j) + (affine ? b[j] : 0)));
        expect(largest(y, expected)).toBeLessThan(5e-6);

        const [dx, dw, db] = (
          await call(
            (m, [px, pw, pm, pr, pg, pdx, pdw, pdb]) =>
              m.layerNormBackward(rows, columns, px, affine ? pw : 0, pm, pr, pg, pdx, pdw, pdb),
            ...[x, w, mean, rstd, g, new Float32Array(rows * columns), random(columns), random(columns)],
          )
        ).slice(5);
        const grads = rowsOf(g, columns);
        const expectedDx = normal.map((row, i) => {
          const q = grads[i].map((value, j) => value * weight(j));
          const meanQ = q.reduce((a, v) => a + v, 0) / columns;
          const meanQH = q.reduce((a, v, j) => a + v * row[j], 0) / columns;
          return q.map((value, j) => rstd[i] * (value - meanQ - row[j] * meanQH));
        });
        expect(largest(dx, expectedDx)).toBeLessThan(5e-6);
        const column = (f: (i: number) => number) => normal.reduce((sum, _, i) => sum + f(i), 0);
        const expectedDw = Array.from({ length: columns }, (_, j) =>
          column((i) => grads[i][j] * normal[i][j]),
        );
        const expectedDb = Array.from({ length: columns }, (_, j) => column((i) => grads[i][j]));
        expect(largest(dw, [expectedDw])).toBeLessThan(1e-5);
        expect(largest(db, [expectedDb])).toBeLessThan(1e-5);
      }
    }
  });
});

test('AdamW follows its formula over three steps', async () => {
  const n = 23;
  const [lr, beta1, beta2, eps, lambda] = [1e-2, 0.9, 0.999, 1e-8, 0.1];
  let arrays = [random(n), random(n), new Float32Array(n), new Float32Array(n)];
  const [p, m, v] = [[...arrays[0]], new Array<number>(n).fill(0), new Array<number>(n).fill(0)];
  for (let t = 1; t <= 3; t++) {
    const g = random(n);
    arrays[1] = g;
    const root = 1 / Math.sqrt(1 - beta2 ** t);
    const size = lr / (1 - beta1 ** t);
    arrays = await call(
      (module, [pp, pg, pm, pv]) =>
        module.adamw(n, pp, pg, pm, pv, beta1, beta2, eps, 1 - lr * lambda, size, root),
      ...arrays,
    );
    for (let i = 0; i < n; i++) {
      p[i] *= 1 - lr * lambda;
      m[i] = beta1 * m[i] + (1 - beta1) * g[i];
      v[i] = beta2 * v[i] + (1 - beta2) * g[i] ** 2;
      p[i] -= (size * m[i]) / (Math.sqrt(v[i]) * root + eps);
    }
  }
  for (let i = 0; i < n; i++) {
    expect(Math.abs(arrays[0][i] - p[i])).toBeLessThan(3e-7);
    expect(Math.abs(arrays[2][i] - m[i])).toBeLessThan(3e-7);
    expect(Math.abs(arrays[3][i] / v[i] - 1)).toBeLessThan(1e-6);
  }
});
