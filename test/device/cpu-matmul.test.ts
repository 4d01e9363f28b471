import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { openCPU } from '../../src/device/cpu/device.js';
import type { Program, View } from '../../src/device/types.js';

/** The module called as an op would call it; `pad` makes rows of C longer than N. */
const matmul: Program<{ ldc: number }> = {
  name: 'matmul',
  host() {
    throw new Error('the WebAssembly path must take this');
  },
  kernel: () => [],
  simd(module, [a, b], [c], { ldc }) {
    const [m, k] = a.shape;
    const n = b.shape[1];
    module.matmul(
      ...([m, n, k, a.pointer, a.strides[0], a.strides[1], b.pointer, b.strides[0], b.strides[1]] as const),
      ...([c.pointer, ldc, module.scratch(module.matmulScratchBytes(m, n, k))] as const),
    );
    return true;
  },
};

type Layout = 'rows' | 'columns' | 'padded' | 'sparse' | 'repeated';

const device = openCPU();
let state = 1;

/** Numbers in [-1, 1), the same in every run. */
function next(): number {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return state / 2 ** 31 - 1;
}

function matrix(
  rows: number,
  columns: number,
  layout: Layout,
): { view: View; at(i: number, j: number): number } {
  const strides = {
    rows: [columns, 1],
    columns: [1, rows],
    padded: [columns + 3, 1],
    sparse: [2 * columns + 1, 2],
    repeated: [0, 1],
  }[layout];
  const offset = layout === 'rows' ? 0 : 3;
  const count = offset + rows * strides[0] + columns * strides[1] + 1;
  const data = Float32Array.from({ length: count }, next);
  const buffer = device.allocate(data.byteLength, 'test');
  device.write(buffer, data);
  return {
    view: { buffer, dtype: 'float32', shape: [rows, columns], strides, offset },
    at: (i, j) => data[offset + i * strides[0] + j * strides[1]],
  };
}

/** Runs one product and holds every element of C, and the gaps between its rows, against a float64 triple loop. */
async function check(
  m: number,
  k: number,
  n: number,
  layoutA: Layout,
  layoutB: Layout,
  pad: number,
): Promise<void> {
  const a = matrix(m, k, layoutA);
  const b = matrix(k, n, layoutB);
  const ldc = n + pad;
  const c = device.allocate((m * ldc + 1) * 4, 'test');
  device.write(c, new Float32Array(m * ldc + 1).fill(77));
  const view: View = { buffer: c, dtype: 'float32', shape: [m, n], strides: [ldc, 1], offset: 0 };
  device.execute(matmul, [a.view, b.view], [view], { ldc });
  const got = new Float32Array(await device.read(c, 0, c.bytes));
  let worst = 0;
  let touched = got[m * ldc] === 77 ? 0 : 1;
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      let sum = 0;
      let magnitude = 1e-30;
      for (let p = 0; p < k; p++) {
        const term = a.at(i, p) * b.at(p, j);
        sum += term;
        magnitude += Math.abs(term);
      }
      const error = Math.abs(got[i * ldc + j] - sum) / magnitude;
      if (!(error <= worst)) worst = error;
    }
    for (let j = n; j < ldc; j++) if (got[i * ldc + j] !== 77) touched++;
  }
  // |error| ≤ (K + 1)·2⁻²⁴·Σ|terms| for any order of summation (Higham, Accuracy and Stability, eq. 3.5).
  expect(worst, `[${m}, ${k}] ${layoutA} · [${k}, ${n}] ${layoutB}`).toBeLessThanOrEqual((k + 1) * 2 ** -24);
  expect(touched, 'elements written outside of C').toBe(0);
  for (const buffer of [a.view.buffer, b.view.buffer, c]) device.free(buffer);
}

describe('matmul in WebAssembly', () => {
  const layouts: Layout[] = ['rows', 'columns', 'padded', 'sparse', 'repeated'];

  test('every small shape: all edges of a tile, all ways through', async () => {
    for (const m of [1, 2, 3, 4, 5, 7, 8, 17])
      for (const k of [1, 2, 3, 4, 5, 17])
        for (const n of [1, 2, 7, 8, 9, 16, 19]) {
          await check(m, k, n, 'rows', 'rows', 0);
          await check(m, k, n, 'columns', 'columns', 1);
        }
  });

  test('any shape, layout and row stride', async () => {
    const size = fc.oneof(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 90 }));
    const layout = fc.constantFrom(...layouts);
    await fc.assert(
      fc.asyncProperty(size, size, size, layout, layout, fc.integer({ min: 0, max: 3 }), check),
      { numRuns: 300 },
    );
  });

  test.each<[number, number, number, Layout, Layout]>([
    // Beyond each block size: KC = 256, MC = 128, NC = 512; the columns of a vector product, 1,024.
    [9, 600, 11, 'rows', 'rows'],
    [300, 33, 20, 'columns', 'rows'],
    [6, 5, 1100, 'rows', 'rows'],
    [30, 257, 530, 'rows', 'columns'],
    [137, 300, 521, 'rows', 'padded'],
    [1, 70, 2100, 'rows', 'rows'],
    [2, 1500, 9, 'sparse', 'columns'],
    [2100, 70, 1, 'columns', 'rows'],
    [37, 1500, 1, 'rows', 'sparse'],
  ])('%i × %i × %i, %s, %s', (m, k, n, layoutA, layoutB) => check(m, k, n, layoutA, layoutB, 2));

  test('K = 0 makes zeros, M = 0 or N = 0 nothing', async () => {
    await check(5, 0, 7, 'rows', 'rows', 2);
    await check(1, 0, 1, 'rows', 'rows', 0);
    await check(0, 3, 7, 'rows', 'rows', 0);
    await check(3, 3, 0, 'rows', 'rows', 0);
  });

  test('NaN and infinity reach exactly the elements they belong to', async () => {
    for (const [m, k, n] of [
      [6, 5, 11],
      [1, 9, 6],
      [6, 9, 1],
    ]) {
      const a = device.allocate(m * k * 4, 'test');
      const b = device.allocate(k * n * 4, 'test');
      const c = device.allocate(m * n * 4, 'test');
      const valuesA = new Float32Array(m * k);
      valuesA[(m - 1) * k] = Number.NaN;
      const valuesB = new Float32Array(k * n).fill(1);
      valuesB[n - 1] = Number.POSITIVE_INFINITY;
      device.write(a, valuesA);
      device.write(b, valuesB);
      const view = (buffer: typeof a, rows: number, columns: number): View => {
        return { buffer, dtype: 'float32', shape: [rows, columns], strides: [columns, 1], offset: 0 };
      };
      device.execute(matmul, [view(a, m, k), view(b, k, n)], [view(c, m, n)], { ldc: n });
      // 0 · ∞ is NaN too: the last column as well as the last row.
      const expected = Float32Array.from({ length: m * n }, (_, at) =>
        Math.floor(at / n) === m - 1 || at % n === n - 1 ? Number.NaN : 0,
      );
      expect(new Float32Array(await device.read(c, 0, c.bytes))).toEqual(expected);
    }
  });

  test('the same product twice gives the same bits', async () => {
    const a = matrix(50, 300, 'rows');
    const b = matrix(300, 70, 'columns');
    const results: Float32Array[] = [];
    for (let run = 0; run < 2; run++) {
      const c = device.allocate(50 * 70 * 4, 'test');
      const view: View = { buffer: c, dtype: 'float32', shape: [50, 70], strides: [70, 1], offset: 0 };
      device.execute(matmul, [a.view, b.view], [view], { ldc: 70 });
      results.push(new Float32Array(await device.read(c, 0, c.bytes)));
    }
    expect(results[0]).toEqual(results[1]);
  });

  test('beyond 2 GiB addresses are still right', async () => {
    const large = openCPU();
    // Address space only: the pages in between are never touched.
    for (let i = 0; i < 3; i++) large.allocate(1024 ** 3, 'test');
    const a = large.allocate(16, 'test');
    const b = large.allocate(16, 'test');
    const c = large.allocate(16, 'test');
    large.write(a, Float32Array.of(1, 2, 3, 4));
    large.write(b, Float32Array.of(5, 6, 7, 8));
    const view = (buffer: typeof a): View => ({
      buffer,
      dtype: 'float32',
      shape: [2, 2],
      strides: [2, 1],
      offset: 0,
    });
    large.execute(matmul, [view(a), view(b)], [view(c)], { ldc: 2 });
    expect([...new Float32Array(await large.read(c, 0, 16))]).toEqual([19, 22, 43, 50]);
    await large.close();
  });

  test('scratch memory goes back after each program', () => {
    const before = device.memory();
    const a = matrix(40, 40, 'rows');
    const c = device.allocate(6400, 'test');
    const view: View = { buffer: c, dtype: 'float32', shape: [40, 40], strides: [40, 1], offset: 0 };
    device.execute(matmul, [a.view, a.view], [view], { ldc: 40 });
    device.free(c);
    device.free(a.view.buffer);
    expect(device.memory().liveBytes).toBe(before.liveBytes);
  });
});
