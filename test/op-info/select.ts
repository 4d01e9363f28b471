import { to } from '../../src/autograd/ops/cast.js';
import { maskedFill, where } from '../../src/autograd/ops/select.js';
import type { DType } from '../../src/device/dtype.js';
import { DTypeError, ShapeError } from '../../src/device/errors.js';
import { tensor } from '../../src/tensor/factories.js';
import { list } from './samples.js';
import { bools, integers, type OpInfo, row, type Sample, values } from './types.js';

const TYPES =
  "{'float32': torch.float64, 'float16': torch.float64, 'int32': torch.int64, 'uint32': torch.int64, 'bool': torch.bool}";

/** Forward only: differences between float32 values tell no derivative of float64 ones; test/autograd/elementwise.test.ts has the gradient. */
function casts(dtype: DType): Sample[] {
  return [
    { name: `floats to ${dtype}`, inputs: [values([3, 4], 1, 0, 4)], params: { dtype }, noGrad: true },
    { name: `integers to ${dtype}`, inputs: [integers([3, 4], 2, 0, 9)], params: { dtype }, noGrad: true },
    {
      name: `unsigned integers to ${dtype}`,
      inputs: [integers([5], 3, 0, 9, 'uint32')],
      params: { dtype },
      noGrad: true,
    },
    { name: `bools to ${dtype}`, inputs: [bools([3, 4], 4)], params: { dtype }, noGrad: true },
    { name: `empty to ${dtype}`, inputs: [values([0], 5)], params: { dtype }, noGrad: true },
  ];
}

export const select: readonly OpInfo[] = [
  row({
    name: 'where',
    covers: ['where'],
    run: ([a, b, c]) => where(a, b, c),
    torch: 'torch.where(a, b, c)',
    samples: [
      { name: 'same shape', inputs: [bools([3, 4], 1), values([3, 4], 2), values([3, 4], 3)] },
      { name: 'all broadcast', inputs: [bools([3, 1, 1], 4), values([2, 1], 5), values([4], 6)] },
      { name: 'scalars', inputs: [bools([5], 7), values([], 8), values([1], 9)] },
      {
        name: 'special values',
        inputs: [
          { shape: [6], data: [1, 0, 1, 0, 1, 0], dtype: 'bool' },
          list(NaN, NaN, Infinity, Infinity, 1, 2),
          list(1, 2, 3, 4, NaN, -Infinity),
        ],
        noGrad: true,
      },
      { name: 'whole numbers', inputs: [bools([3, 4], 1), list(1, 2, -3, 4), list(5)], noGrad: true },
      {
        name: 'several workgroups',
        inputs: [bools([20, 15], 1), values([15], 2), values([20, 1], 3)],
        noGrad: true,
        noGolden: true,
      },
      { name: 'empty', inputs: [bools([0, 3], 1), values([3], 2), values([], 3)], noGrad: true },
    ],
    dtypes: ['int32', 'uint32', 'bool'],
    errors: [
      {
        name: 'a condition of floats',
        run: (device) => where(tensor([1, 0], { device }), 1, tensor([1, 2], { device })),
        error: DTypeError,
        message: "where: expected a bool condition, got float32; compare, or convert with x.to('bool')",
      },
      {
        name: 'mixed dtypes',
        run: (device) =>
          where(tensor([true], { device }), tensor([1], { device }), tensor([1], { device, dtype: 'int32' })),
        error: DTypeError,
        message: "where: expected one dtype, got float32 and int32; convert with x.to('float32')",
      },
      {
        name: 'two numbers',
        run: (device) => where(tensor([true], { device }), 1, 2),
        error: DTypeError,
        message: 'where: expected at least one tensor, got the numbers 1 and 2',
      },
      {
        name: 'shapes that do not broadcast',
        run: (device) => where(tensor([true, false], { device }), tensor([1, 2, 3], { device }), 0),
        error: ShapeError,
        message: 'where: expected shapes that broadcast, got [3] and [2] (3 ≠ 2 in dim -1)',
      },
    ],
  }),
  row({
    name: 'maskedFill',
    covers: ['where'],
    run: ([a, b], p: { value: number }) => maskedFill(a, b, p.value),
    torch: "a.masked_fill(b, p['value'])",
    samples: [
      { name: 'same shape', inputs: [values([3, 4], 1), bools([3, 4], 2)], params: { value: 7 } },
      { name: 'mask of a row', inputs: [values([2, 3, 4], 3), bools([4], 4)], params: { value: 0 } },
      { name: 'mask of a column', inputs: [values([3, 4], 5), bools([3, 1], 6)], params: { value: -1 } },
      {
        name: 'minus infinity',
        inputs: [values([3, 4], 7), bools([3, 4], 8)],
        params: { value: -Infinity },
        noGrad: true,
      },
      {
        name: 'infinity',
        inputs: [values([3, 4], 9), bools([3, 4], 10)],
        params: { value: Infinity },
        noGrad: true,
      },
      {
        name: 'NaN',
        inputs: [list(1, 2, NaN), { shape: [3], data: [1, 0, 0], dtype: 'bool' }],
        params: { value: NaN },
        noGrad: true,
      },
      { name: 'empty', inputs: [values([0, 3], 1), bools([3], 2)], params: { value: 7 }, noGrad: true },
    ],
    errors: [
      {
        name: 'a mask larger than the tensor',
        run: (device) => maskedFill(tensor([1, 2], { device }), tensor([[true, false]], { device }), 0),
        error: ShapeError,
        message: 'maskedFill: expected a mask that broadcasts to [2], got [1, 2]',
      },
      {
        name: 'a mask of floats',
        run: (device) => maskedFill(tensor([1, 2], { device }), tensor([1, 0], { device }), 0),
        error: DTypeError,
        message: "maskedFill: expected a bool mask, got float32; compare, or convert with mask.to('bool')",
      },
      {
        name: 'infinity among integers',
        run: (device) =>
          maskedFill(tensor([1], { device, dtype: 'int32' }), tensor([true], { device }), -Infinity),
        error: DTypeError,
        message:
          "maskedFill: expected a whole number in [-2147483648, 2147483647] to go with int32, got -Infinity; convert the tensor with x.to('float32')",
      },
    ],
  }),
  row({
    name: 'to',
    covers: ['to'],
    run: ([a], p: { dtype: DType }) => to(a, p.dtype),
    torch: `a.to(${TYPES}[p['dtype']])`,
    samples: [
      ...(['float32', 'float16', 'int32', 'uint32', 'bool'] as const).flatMap(casts),
      { name: 'fractions', inputs: [list(1.75, -1.75, 0.5, -0.5)], params: { dtype: 'int32' }, noGrad: true },
      {
        name: 'truth',
        inputs: [list(NaN, Infinity, 0, -0, 0.5, -1)],
        params: { dtype: 'bool' },
        noGrad: true,
      },
      {
        name: 'special values',
        inputs: [list(NaN, Infinity, -Infinity, 0, -0)],
        params: { dtype: 'float16' },
        noGrad: true,
      },
      {
        name: 'several workgroups',
        inputs: [values([20, 15], 6)],
        params: { dtype: 'int32' },
        noGrad: true,
        noGolden: true,
      },
    ],
  }),
];
