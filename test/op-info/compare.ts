import {
  eq,
  ge,
  gt,
  isFinite as isFiniteOp,
  isInf,
  isNaN as isNaNOp,
  le,
  logicalAnd,
  logicalNot,
  logicalOr,
  logicalXor,
  lt,
  ne,
} from '../../src/autograd/ops/compare.js';
import { DTypeError } from '../../src/device/errors.js';
import { tensor } from '../../src/tensor/factories.js';
import type { Tensor } from '../../src/tensor/tensor.js';
import { binaryErrors, binarySamples, pairs, SPECIAL, unarySamples } from './samples.js';
import { type Arg, integers, type OpInfo, row, type Sample } from './types.js';

/** Few different values, so that many are equal. */
function coarse(shape: readonly number[], seed: number): Arg {
  return { ...integers(shape, seed, -2, 2), dtype: 'float' };
}

const samples: readonly Sample[] = [
  ...binarySamples(coarse),
  {
    name: 'special values',
    inputs: pairs([NaN, Infinity, -Infinity, 0, -0, 1, -1, 1.5, 2 ** -14, -(2 ** -14), 60000]),
  },
];

function comparison(name: string, fn: (a: Tensor, b: Tensor | number) => Tensor): OpInfo {
  return row({
    name,
    covers: [name],
    run: ([a, b]) => fn(a, b),
    torch: `torch.${name}(a, b)`,
    samples,
    grad: false,
    dtypes: ['int32', 'uint32', 'bool'],
    errors: [
      ...binaryErrors(name, fn),
      {
        name: 'a number that the dtype does not hold',
        run: (device) => fn(tensor([1, 2], { device, dtype: 'uint32' }), -1),
        error: DTypeError,
        message: `${name}: expected a whole number in [0, 4294967295] to go with uint32, got -1; convert the tensor with x.to('float32')`,
      },
    ],
  });
}

function logical(name: string, torch: string, fn: (a: Tensor, b: Tensor) => Tensor): OpInfo {
  return row({
    name,
    covers: [name],
    run: ([a, b]) => fn(a, b),
    torch: `torch.${torch}(a, b)`,
    samples,
    grad: false,
    dtypes: ['int32', 'uint32', 'bool'],
    errors: binaryErrors(name, fn),
  });
}

function test(name: string, torch: string, fn: (x: Tensor) => Tensor): OpInfo {
  return row({
    name,
    covers: [name],
    run: ([a]) => fn(a),
    torch: `torch.${torch}(a)`,
    samples: [...unarySamples(-2, 2, SPECIAL), { name: 'whole numbers', inputs: [coarse([3, 5], 7)] }],
    grad: false,
    dtypes: ['int32', 'uint32', 'bool'],
  });
}

export const compare: readonly OpInfo[] = [
  comparison('eq', eq),
  comparison('ne', ne),
  comparison('lt', lt),
  comparison('le', le),
  comparison('gt', gt),
  comparison('ge', ge),
  logical('logicalAnd', 'logical_and', logicalAnd),
  logical('logicalOr', 'logical_or', logicalOr),
  logical('logicalXor', 'logical_xor', logicalXor),
  test('logicalNot', 'logical_not', logicalNot),
  test('isNaN', 'isnan', isNaNOp),
  test('isInf', 'isinf', isInf),
  test('isFinite', 'isfinite', isFiniteOp),
];
