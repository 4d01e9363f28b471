import { add, div, mul, neg, sub } from '../../src/autograd/ops/arithmetic.js';
import { DTypeError, ShapeError } from '../../src/device/errors.js';
import { tensor } from '../../src/tensor/factories.js';
import type { Tensor } from '../../src/tensor/tensor.js';
import { type ErrorSample, type OpInfo, row, type Sample, values } from './types.js';

const broadcasts: readonly Sample[] = [
  { name: 'same shape', inputs: [values([3, 4], 1), values([3, 4], 2, 0.5, 2)] },
  { name: 'row', inputs: [values([3, 4], 3), values([4], 4, 0.5, 2)] },
  { name: 'column and row', inputs: [values([3, 1], 5), values([1, 4], 6, 0.5, 2)] },
  { name: 'scalar', inputs: [values([2, 3, 2], 7), values([], 8, 0.5, 2)] },
  { name: 'middle dim', inputs: [values([2, 1, 3], 9), values([4, 1], 10, 0.5, 2)] },
  { name: 'empty', inputs: [values([0, 3], 1), values([3], 2)], noGrad: true },
];

function mismatch(name: string, fn: (a: Tensor, b: Tensor) => Tensor): ErrorSample[] {
  return [
    {
      name: 'shapes that do not broadcast',
      run: (device) => fn(tensor([1, 2, 3], { device }), tensor([1, 2], { device })),
      error: ShapeError,
      message: `${name}: expected shapes that broadcast, got [3] and [2] (3 ≠ 2 in dim -1)`,
    },
    {
      name: 'mixed dtypes',
      run: (device) => fn(tensor([1, 2], { device }), tensor([1, 2], { device, dtype: 'int32' })),
      error: DTypeError,
      message: `${name}: expected one dtype, got float32 and int32; convert with x.to('float32')`,
    },
  ];
}

export const arithmetic: readonly OpInfo[] = [
  row({
    name: 'add',
    covers: ['add', 'expand'],
    run: ([a, b]) => add(a, b),
    torch: 'a + b',
    samples: broadcasts,
    errors: mismatch('add', add),
    dtypes: ['int32', 'uint32'],
  }),
  row({
    name: 'sub',
    covers: ['sub'],
    run: ([a, b]) => sub(a, b),
    torch: 'a - b',
    samples: broadcasts,
    errors: mismatch('sub', sub),
    dtypes: ['int32'],
  }),
  row({
    name: 'mul',
    covers: ['mul'],
    run: ([a, b]) => mul(a, b),
    torch: 'a * b',
    samples: broadcasts,
    errors: mismatch('mul', mul),
    dtypes: ['int32', 'uint32'],
  }),
  row({
    name: 'div',
    covers: ['div'],
    run: ([a, b]) => div(a, b),
    torch: 'a / b',
    samples: broadcasts,
    errors: mismatch('div', div),
  }),
  row({
    name: 'neg',
    covers: ['neg'],
    run: ([a]) => neg(a),
    torch: '-a',
    samples: [{ name: 'matrix', inputs: [values([3, 4], 1)] }],
    dtypes: ['int32'],
  }),
];
