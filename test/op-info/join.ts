import { cat, flip, pad, repeat, roll, stack } from '../../src/autograd/ops/join.js';
import { tril, triu } from '../../src/autograd/ops/triangle.js';
import { DTypeError, ShapeError } from '../../src/device/errors.js';
import { tensor } from '../../src/tensor/factories.js';
import { type Arg, type OpInfo, row, type Sample, values } from './types.js';

function whole(shape: readonly number[], seed: number): Arg {
  return { shape, data: values(shape, seed, 0, 100).data.map(Math.floor) };
}

const specials: Arg = { shape: [3, 3], data: [NaN, 1, -Infinity, Infinity, NaN, 2, -0, 3, NaN] };

const triangles: readonly Sample[] = [
  { name: 'square', inputs: [values([4, 4], 1)], params: { d: 0 } },
  { name: 'wide, above', inputs: [values([3, 5], 2)], params: { d: 1 } },
  { name: 'tall, below', inputs: [values([5, 3], 3)], params: { d: -2 } },
  { name: 'batch', inputs: [values([2, 3, 6, 7], 4)], params: { d: 0 } },
  { name: 'far away', inputs: [values([2, 3], 5)], params: { d: 9 } },
  { name: 'size 1', inputs: [values([1, 1], 6)], params: { d: 0 } },
  { name: 'empty', inputs: [values([0, 3], 7)], params: { d: 0 }, noGrad: true },
  { name: 'NaN and infinities', inputs: [specials], params: { d: 0 }, noGrad: true },
  { name: 'whole numbers', inputs: [whole([4, 5], 8)], params: { d: 0 } },
];

export const join: readonly OpInfo[] = [
  row<{ dim: number }>({
    name: 'cat',
    covers: ['cat', 'slice', 'sliceBackward'],
    run: (inputs, { dim }) => cat(inputs, dim),
    torch: "torch.cat(inputs, p['dim'])",
    samples: [
      { name: 'rows', inputs: [values([2, 3], 1), values([4, 3], 2), values([1, 3], 3)], params: { dim: 0 } },
      {
        name: 'columns',
        inputs: [values([3, 2], 4), values([3, 5], 5), values([3, 1], 6)],
        params: { dim: -1 },
      },
      {
        name: 'middle',
        inputs: [values([2, 3, 4], 7), values([2, 1, 4], 8), values([2, 60, 4], 9)],
        params: { dim: 1 },
      },
      {
        name: 'with an empty one',
        inputs: [values([2], 10), values([0], 11), values([3], 12)],
        params: { dim: 0 },
      },
      {
        name: 'all empty',
        inputs: [values([0, 2], 13), values([0, 2], 14), values([0, 2], 15)],
        params: { dim: 0 },
        noGrad: true,
      },
      {
        name: 'whole numbers',
        inputs: [whole([2, 3], 16), whole([2, 3], 17), whole([1, 3], 18)],
        params: { dim: 0 },
      },
    ],
    dtypes: ['int32', 'uint32'],
    errors: [
      {
        name: 'none',
        run: () => cat([]),
        error: ShapeError,
        message: 'cat: expected at least one tensor, got none',
      },
      {
        name: 'other sizes',
        run: (device) => cat([tensor([[1, 2]], { device }), tensor([[1]], { device })], 0),
        error: ShapeError,
        message: 'cat: expected shapes that differ in dim 0 only, got [1, 2] and [1, 1] (tensor 1)',
      },
      {
        name: 'scalars',
        run: (device) => cat([tensor(1, { device })]),
        error: ShapeError,
        message: 'cat: expected tensors with dims, got scalars; use stack()',
      },
      {
        name: 'mixed dtypes',
        run: (device) => cat([tensor([1], { device }), tensor([1], { device, dtype: 'int32' })]),
        error: DTypeError,
        message: "cat: expected one dtype, got float32 and int32; convert with x.to('float32')",
      },
    ],
  }),
  row<{ dim: number }>({
    name: 'stack',
    covers: ['cat', 'view'],
    run: (inputs, { dim }) => stack(inputs, dim),
    torch: "torch.stack(inputs, p['dim'])",
    samples: [
      { name: 'front', inputs: [values([2, 3], 1), values([2, 3], 2)], params: { dim: 0 } },
      { name: 'end', inputs: [values([2, 3], 3), values([2, 3], 4), values([2, 3], 5)], params: { dim: -1 } },
      { name: 'scalars', inputs: [values([], 6), values([], 7)], params: { dim: 0 } },
    ],
    errors: [
      {
        name: 'other shapes',
        run: (device) => stack([tensor([1, 2], { device }), tensor([1], { device })]),
        error: ShapeError,
        message: 'stack: expected tensors of one shape, got [2] and [1] (tensor 1)',
      },
    ],
  }),
  row<{ pads: number[]; value?: number }>({
    name: 'pad',
    covers: ['pad', 'slice'],
    run: ([x], { pads, value }) => pad(x, pads, { value }),
    torch: "F.pad(a, p['pads'], value=p.get('value', 0))",
    samples: [
      { name: 'last dim', inputs: [values([3, 4], 1)], params: { pads: [1, 2] } },
      { name: 'two dims', inputs: [values([2, 3, 4], 2)], params: { pads: [1, 0, 2, 3], value: -1.5 } },
      { name: 'cut', inputs: [values([4, 6], 3)], params: { pads: [-1, -2, -1, 0] } },
      { name: 'cut and border', inputs: [values([4, 6], 4)], params: { pads: [-2, 3, 1, -1], value: 0.5 } },
      { name: 'nothing', inputs: [values([3], 5)], params: { pads: [0, 0] } },
      {
        name: 'infinite border',
        inputs: [values([2, 2], 6)],
        params: { pads: [1, 1], value: -Infinity },
        noGrad: true,
      },
      // PyTorch 1.13 refuses to pad an empty tensor.
      {
        name: 'empty',
        inputs: [values([0, 2], 7)],
        params: { pads: [0, 0, 2, 1] },
        noGrad: true,
        noGolden: true,
      },
      { name: 'many', inputs: [values([3, 90], 8)], params: { pads: [5, 6] } },
      { name: 'whole numbers', inputs: [whole([2, 3], 9)], params: { pads: [1, 1], value: 7 } },
    ],
    dtypes: ['int32', 'uint32'],
    errors: [
      {
        name: 'more pads than dims',
        run: (device) => pad(tensor([1], { device }), [1, 1, 1, 1]),
        error: ShapeError,
        message: 'pad: expected up to 1 pairs of integers for shape [1], got [1, 1, 1, 1]',
      },
      {
        name: 'cuts too large',
        run: (device) => pad(tensor([1, 2], { device }), [-2, -1]),
        error: ShapeError,
        message: 'pad: expected cuts of at most 2 elements in dim 0, got -2 and -1',
      },
      {
        name: 'fraction for integers',
        run: (device) => pad(tensor([1, 2], { device, dtype: 'int32' }), [1, 1], { value: 0.5 }),
        error: DTypeError,
        message: 'pad: expected an integer value for int32, got 0.5',
      },
    ],
  }),
  row<{ d: number }>({
    name: 'tril',
    covers: ['tril'],
    run: ([x], { d }) => tril(x, d),
    torch: "torch.tril(a, p['d'])",
    samples: triangles,
    dtypes: ['int32', 'uint32'],
    errors: [
      {
        name: 'one dim',
        run: (device) => tril(tensor([1], { device })),
        error: ShapeError,
        message: 'tril: expected at least 2 dims, got [1]',
      },
    ],
  }),
  row<{ d: number }>({
    name: 'triu',
    covers: ['triu'],
    run: ([x], { d }) => triu(x, d),
    torch: "torch.triu(a, p['d'])",
    samples: triangles,
    dtypes: ['int32', 'uint32'],
  }),
  row<{ repeats: number[] }>({
    name: 'repeat',
    covers: ['view', 'expand', 'contiguous'],
    run: ([x], { repeats }) => repeat(x, repeats),
    torch: "a.repeat(*p['repeats'])",
    samples: [
      { name: 'both dims', inputs: [values([2, 3], 1)], params: { repeats: [3, 2] } },
      { name: 'new dims', inputs: [values([3], 2)], params: { repeats: [2, 4, 1] } },
      { name: 'zero times', inputs: [values([2, 2], 3)], params: { repeats: [0, 1] }, noGrad: true },
      { name: 'scalar', inputs: [values([], 4)], params: { repeats: [5] } },
    ],
    errors: [
      {
        name: 'fewer counts than dims',
        run: (device) => repeat(tensor([[1]], { device }), [2]),
        error: ShapeError,
        message: 'repeat: expected 2 or more counts of 0 or more, got [2]',
      },
    ],
  }),
  row<{ dims: number[] }>({
    name: 'flip',
    covers: ['flip'],
    run: ([x], { dims }) => flip(x, dims),
    torch: "torch.flip(a, p['dims'])",
    samples: [
      { name: 'one dim', inputs: [values([7], 1)], params: { dims: [0] } },
      { name: 'rows', inputs: [values([3, 4], 2)], params: { dims: [0] } },
      { name: 'all of three', inputs: [values([2, 30, 4], 3)], params: { dims: [0, 1, 2] } },
      { name: 'outer two', inputs: [values([2, 3, 4], 4)], params: { dims: [0, -1] } },
      { name: 'no dims', inputs: [values([2, 3], 5)], params: { dims: [] } },
      { name: 'empty', inputs: [values([0, 2], 6)], params: { dims: [0, 1] }, noGrad: true },
      { name: 'whole numbers', inputs: [whole([3, 4], 7)], params: { dims: [1] } },
    ],
    dtypes: ['int32', 'uint32'],
  }),
  row<{ shift: number; dim: number }>({
    name: 'roll',
    covers: ['cat', 'slice'],
    run: ([x], { shift, dim }) => roll(x, shift, dim),
    torch: "torch.roll(a, p['shift'], p['dim'])",
    samples: [
      { name: 'forwards', inputs: [values([3, 5], 1)], params: { shift: 2, dim: 1 } },
      { name: 'backwards and around', inputs: [values([4, 2], 2)], params: { shift: -7, dim: 0 } },
      { name: 'once around', inputs: [values([4], 3)], params: { shift: 4, dim: 0 } },
    ],
  }),
];
