import { zeros } from '../../src/autograd/ops/creation.js';
import { dot, matmul, outer } from '../../src/autograd/ops/matmul.js';
import { transpose } from '../../src/autograd/ops/views.js';
import { DTypeError, ShapeError } from '../../src/device/errors.js';
import { tensor } from '../../src/tensor/factories.js';
import { type ErrorSample, type OpInfo, row, type Sample, values } from './types.js';

function product(name: string, a: number[], b: number[], more: Partial<Sample> = {}): Sample {
  return { name, inputs: [values(a, 1), values(b, 2)], ...more };
}

/** Sizes at the borders of blocks and tiles. No golden values, to keep their file small: the small samples show the convention. */
function border(m: number, k: number, n: number): Sample {
  return product(`${m} × ${k} × ${n}`, [m, k], [k, n], { noGolden: true });
}

function shapeError(
  name: string,
  a: number[],
  b: number[],
  message: string,
  fn: (...inputs: Parameters<typeof matmul>) => unknown = matmul,
): ErrorSample {
  return {
    name,
    run: (device) => fn(zeros(a, { device }), zeros(b, { device })),
    error: ShapeError,
    message,
  };
}

export const matmuls: readonly OpInfo[] = [
  row<{ transpose?: 'a' | 'b' | 'both' }>({
    name: 'matmul',
    covers: ['matmul'],
    run: ([a, b], p) =>
      matmul(
        p.transpose === 'a' || p.transpose === 'both' ? transpose(a, -1, -2) : a,
        p.transpose === 'b' || p.transpose === 'both' ? transpose(b, -1, -2) : b,
      ),
    torch:
      'torch.matmul(a.transpose(-1, -2) if p.get("transpose") in ("a", "both") else a, b.transpose(-1, -2) if p.get("transpose") in ("b", "both") else b)',
    samples: [
      product('1 × 1 × 1', [1, 1], [1, 1]),
      product('small', [3, 4], [4, 5]),
      product('vector · vector', [7], [7]),
      product('vector · matrix', [4], [4, 5]),
      product('matrix · vector', [5, 4], [4]),
      product('vector · batch', [4], [2, 4, 3]),
      product('batch · vector', [2, 3, 4], [4]),
      product('batches', [2, 3, 4], [2, 4, 5]),
      product('one right side for the batch', [2, 3, 4], [4, 5]),
      product('one left side for the batch', [3, 4], [2, 4, 5]),
      product('batches that broadcast both ways', [2, 1, 3, 4], [3, 4, 2]),
      product('batches of three dims', [2, 1, 2, 2, 3], [1, 3, 1, 3, 2]),
      product('one-row batches', [3, 1, 4], [3, 4, 2]),
      product('one-column batches', [3, 2, 4], [3, 4, 1]),
      product('left side transposed', [4, 3], [4, 5], { params: { transpose: 'a' } }),
      product('right side transposed', [3, 4], [5, 4], { params: { transpose: 'b' } }),
      product('both transposed, in batches', [2, 4, 3], [2, 5, 4], { params: { transpose: 'both' } }),
      product('transposed, one right side', [2, 4, 3], [4, 5], { params: { transpose: 'a' } }),
      product('no terms: zeros', [3, 0], [0, 4]),
      product('no rows', [0, 3], [3, 4], { noGrad: true }),
      product('no columns', [2, 3], [3, 0], { noGrad: true }),
      product('no entries', [0, 2, 3], [3, 2], { noGrad: true }),
      border(63, 17, 65),
      border(64, 64, 64),
      border(65, 63, 64),
      border(7, 33, 5),
      border(9, 15, 130),
      border(1, 300, 70),
      border(4, 90, 33),
      border(70, 300, 1),
      border(129, 5, 127),
      // Few results and a long k, which is split.
      border(5, 1100, 12),
      border(12, 2000, 3),
      product('entries, with a split k', [2, 6, 900], [2, 900, 8], { noGolden: true }),
      // Sizes that are multiples of 4 and lie transposed: vectors along m and n.
      product('20 × 36 × 28, both transposed', [36, 20], [28, 36], {
        params: { transpose: 'both' },
        noGolden: true,
      }),
      product('20 × 36 × 28, left side transposed', [36, 20], [36, 28], {
        params: { transpose: 'a' },
        noGolden: true,
      }),
      product('40 × 64 × 72, right side transposed', [40, 64], [72, 64], {
        params: { transpose: 'b' },
        noGolden: true,
      }),
      product('vectors in batches', [3, 12, 8], [3, 8, 20], { noGolden: true }),
      product('63 × 33 × 65, both transposed', [33, 63], [65, 33], {
        params: { transpose: 'both' },
        noGolden: true,
      }),
      product('rows, right side transposed', [2, 300], [37, 300], {
        params: { transpose: 'b' },
        noGolden: true,
      }),
      {
        name: 'special values',
        inputs: [
          { shape: [3, 2], data: [Number.NaN, 1, Infinity, 1, 1, 1] },
          { shape: [2, 2], data: [1, 0, 2, -1] },
        ],
        noGrad: true,
      },
    ],
    errors: [
      shapeError(
        'inner sizes',
        [2, 3],
        [4, 5],
        'matmul: expected [..., M, K] and [..., K, N], got [2, 3] and [4, 5] (3 ≠ 4)',
      ),
      shapeError('vectors', [3], [4], 'matmul: expected [K] and [K], got [3] and [4] (3 ≠ 4)'),
      shapeError(
        'batch sizes',
        [2, 3, 4],
        [5, 4, 6],
        'matmul batch dims: expected shapes that broadcast, got [2] and [5] (2 ≠ 5 in dim -1)',
      ),
      shapeError(
        'a scalar',
        [],
        [2, 3],
        'matmul: expected tensors with dims, got [] and [2, 3]; multiply by a scalar with mul()',
      ),
      {
        name: 'integers',
        run: (device) =>
          matmul(tensor([[1]], { device, dtype: 'int32' }), tensor([[1]], { device, dtype: 'int32' })),
        error: DTypeError,
        message: "matmul: expected a floating-point tensor, got int32; convert with x.to('float32')",
      },
    ],
  }),
  row({
    name: 'dot',
    covers: ['matmul'],
    run: ([a, b]) => dot(a, b),
    torch: 'torch.dot(a, b)',
    samples: [
      product('seven', [7], [7]),
      product('long', [1000], [1000], { noGolden: true }),
      product('empty', [0], [0], { noGrad: true }),
    ],
    errors: [
      shapeError(
        'matrices',
        [2, 2],
        [2, 2],
        'dot: expected two vectors of one length, got [2, 2] and [2, 2]',
        dot,
      ),
    ],
  }),
  row({
    name: 'outer',
    covers: ['mul'],
    run: ([a, b]) => outer(a, b),
    torch: 'torch.outer(a, b)',
    samples: [product('3 × 5', [3], [5]), product('empty', [0], [5], { noGrad: true })],
    errors: [shapeError('a matrix', [2, 2], [2], 'outer: expected two vectors, got [2, 2] and [2]', outer)],
  }),
];
