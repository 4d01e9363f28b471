/** Calls of the exports whose signatures are their own: choices, gathers, attention, quantised products. */
import type { SimdModule } from '../../src/device/types.js';
import { numbers, type ThreadCase } from './threads-cases.js';

type Names = Record<string, (...args: unknown[]) => unknown>;

const zeros = (count: number): Float32Array => new Float32Array(count);

/** Cases of attention: sizes, and whether queries see later keys. */
const HEADS = [
  { heads: 3, queries: 70, keys: 130, dim: 20, right: 0 },
  { heads: 1, queries: 200, keys: 200, dim: 16, right: 2 ** 30 - 1 },
];

export function moreThreadCases(name: string): ThreadCase[] {
  const call = (module: SimdModule, ...args: unknown[]): unknown =>
    (module as unknown as Names)[name](...args);
  const [rows, columns] = [67, 304];
  const n = rows * columns;
  const x = numbers(n);
  const index = Int32Array.from({ length: 500 }, (_, i) => (i * 37) % rows);
  switch (name) {
    case 'where':
      return [1, rows].map((r) => ({
        name: `where, ${r} rows`,
        arrays: [Int32Array.from(x, (v) => Number(v > 0)), x, numbers(n, 2), zeros(n)],
        run: (m, [c, a, b, y]) => {
          const w = n / r;
          return call(m, r, w, c, w, 1, a, w, 1, b, 0, 1, y);
        },
      }));
    case 'cumsum':
      return [
        {
          name: 'cumsum, rows',
          arrays: [x, zeros(n)],
          run: (m, [p, y]) => call(m, rows, columns, p, y, columns, 1, 0),
        },
        {
          name: 'cumsum, columns',
          arrays: [x, zeros(n)],
          run: (m, [p, y]) => call(m, columns, rows, p, y, 1, columns, 1),
        },
      ];
    case 'rmsNormAffine':
      return [
        {
          name,
          arrays: [x, numbers(rows, 3).map((v) => v + 2), numbers(n, 4), zeros(columns), zeros(columns)],
          run: (m, [p, s, g, w, b]) => call(m, rows, columns, columns, p, s, g, w, b),
        },
      ];
    case 'sparseSums': {
      // Three wires to every output, from 300 columns of 67 rows, 80 apart.
      const outputs = 500;
      const starts = Int32Array.from({ length: outputs + 1 }, (_, o) => 3 * o);
      const ends = Int32Array.from({ length: 3 * outputs }, (_, i) => (i * 37) % 300);
      const wires = Int32Array.from({ length: 3 * outputs }, (_, i) => 3 * outputs - 1 - i);
      const weights = numbers(3 * outputs, 2);
      const result = zeros(outputs * rows);
      return [
        {
          name: 'sparseSums, a bias',
          arrays: [
            numbers(300 * 80),
            starts,
            ends,
            weights,
            numbers(outputs, 3),
            zeros(outputs * 80),
            result,
          ],
          run: (m, [p, s, e, w, b, t, y]) =>
            call(m, outputs, 3 * outputs, rows, 80, p, s, e, 0, w, b, t, y, outputs),
        },
        {
          name: 'sparseSums, wires in another order',
          arrays: [numbers(300 * 80), starts, ends, wires, weights, zeros(outputs * 80), result],
          run: (m, [p, s, e, k, w, t, y]) =>
            call(m, outputs, 3 * outputs, rows, 80, p, s, e, k, w, 0, t, y, outputs),
        },
      ];
    }
    case 'sparseDots': {
      const ends = (step: number) => Int32Array.from({ length: 2000 }, (_, i) => (i * step) % 300);
      return [
        {
          name,
          arrays: [numbers(300 * 80), numbers(300 * 80, 2), ends(37), ends(41), zeros(2000)],
          run: (m, [g, p, t, s, y]) => call(m, 2000, rows, 80, g, p, t, s, y),
        },
      ];
    }
    case 'fillWords':
      return [{ name, arrays: [zeros(n + 3)], run: (m, [y]) => call(m, n + 3, y, 12345) }];
    case 'selectRows':
      return [-1, 5].map((skip) => ({
        name: `selectRows, without ${skip}`,
        arrays: [x, index, zeros(500 * columns)],
        run: (m, [p, i, y]) => call(m, 500, columns, p, rows, i, skip, y),
      }));
    case 'addRows':
      return [-1, 5].map((skip) => ({
        name: `addRows, without ${skip}`,
        arrays: [numbers(500 * columns, 5), index, zeros(n)],
        run: (m, [p, i, y]) => call(m, 500, columns, p, columns, i, rows, skip, y, columns),
      }));
    case 'matmulInt8':
    case 'matmulNF4':
    case 'matmulTransposedInt8':
    case 'matmulTransposedNF4':
      return [2, 9].map((height) => quantizedCase(name, height, call));
    case 'attentionForward':
    case 'attentionBackward':
    case 'attentionRow':
      return HEADS.map((sizes) => attentionCase(name, sizes, call));
    default:
      return [];
  }
}

type Call = (module: SimdModule, ...args: unknown[]) => unknown;

function quantizedCase(name: string, height: number, call: Call): ThreadCase {
  const [out, width, block] = [150, 192, 64];
  const words = width / (name.endsWith('NF4') ? 8 : 4);
  const transposed = name.includes('Transposed');
  const packed = Int32Array.from({ length: out * words }, (_, i) => Math.imul(i + 1, 0x9e3779b1));
  const [from, to] = transposed ? [out, width] : [width, out];
  return {
    name: `${name}, ${height} rows`,
    arrays: [
      numbers(height * from),
      packed,
      numbers((out * width) / block, 2),
      numbers(16, 3),
      zeros(height * to),
    ],
    run: (m, [x, w, s, codes, y]) =>
      call(
        m,
        ...[height, out, width, ...(transposed ? [0, width] : []), x, from],
        ...[w, words, s, width / block, block, ...(name.endsWith('NF4') ? [codes] : []), y, to],
        m.threadScratch(m.quantizedScratchBytes(width)),
      ),
  };
}

function attentionCase(name: string, sizes: (typeof HEADS)[number], call: Call): ThreadCase {
  const { heads, queries, keys, dim, right } = sizes;
  const [q, k] = [heads * queries * dim, heads * keys * dim];
  const rows = (at: number, count: number): number[] => [at, count * dim, dim];
  const far = 2 ** 30 - 1;
  return {
    name: `${name}, ${heads} heads of ${queries} × ${keys}`,
    arrays: [
      ...[q, k, k, q, q].map((size, i) => numbers(size, i + 1)),
      numbers(heads * queries, 6).map((v) => v + 5),
      ...[q, k, k].map(zeros),
    ],
    run(m, [qAt, kAt, vAt, g, o, lse, dq, dk, dv]) {
      if (name === 'attentionRow') {
        const operands = [qAt, dim, ...rows(kAt, keys), ...rows(vAt, keys), 0];
        const scratch = m.threadScratch(m.attentionRowScratchBytes(keys));
        return call(m, heads, keys, dim, dim, ...operands, 0.3, 0, o, dim, lse, scratch);
      }
      const operands = [...rows(qAt, queries), ...rows(kAt, keys), ...rows(vAt, keys), 0, 0.3, 0, far, right];
      if (name === 'attentionForward') {
        const scratch = m.threadScratch(m.attentionScratchBytes(dim));
        return call(
          m,
          heads,
          queries,
          keys,
          dim,
          dim,
          ...operands,
          0,
          ...rows(o, queries),
          lse,
          queries,
          scratch,
        );
      }
      const gradients = [...rows(dq, queries), ...rows(dk, keys), ...rows(dv, keys)];
      const scratch = m.threadScratch(m.attentionBackwardScratchBytes(dim, dim));
      const given = [o, g, queries * dim, dim, lse, queries];
      return call(m, heads, queries, keys, dim, dim, ...operands, ...given, ...gradients, scratch);
    },
  };
}
