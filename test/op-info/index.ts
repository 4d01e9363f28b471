import {
  embedding,
  gather,
  indexAdd,
  indexSelect,
  scatterAdd,
  takeAlongDim,
} from '../../src/autograd/ops/index.js';
import { oneHot } from '../../src/autograd/ops/one-hot.js';
import { DTypeError, ShapeError } from '../../src/device/errors.js';
import type { Device } from '../../src/device/types.js';
import { tensor } from '../../src/tensor/factories.js';
import { type Arg, integers, type OpInfo, row, type Sample, values } from './types.js';

/** Whole numbers, which integer dtypes hold too. */
function whole(shape: readonly number[], seed: number): Arg {
  const { data } = values(shape, seed, 0, 100);
  return { shape, data: data.map(Math.floor) };
}

function ints(shape: readonly number[], data: readonly number[], dtype: Arg['dtype'] = 'int32'): Arg {
  return { shape, data, dtype };
}

const int = (device: Device, data: number[] | number[][]) => tensor(data, { device, dtype: 'int32' });

const gathers: readonly Sample[] = [
  { name: 'rows of a matrix', inputs: [values([4, 5], 1), integers([4, 3], 2, 0, 4)], params: { dim: 1 } },
  { name: 'columns', inputs: [values([4, 5], 3), integers([7, 5], 4, 0, 3)], params: { dim: 0 } },
  { name: 'smaller index', inputs: [values([4, 5, 3], 5), integers([2, 6, 2], 6, 0, 4)], params: { dim: 1 } },
  {
    name: 'negative dim, uint32',
    inputs: [values([3, 4], 7), integers([3, 2], 8, 0, 3, 'uint32')],
    params: { dim: -1 },
  },
  { name: 'one per row', inputs: [values([70, 6], 9), integers([70, 1], 10, 0, 5)], params: { dim: 1 } },
  { name: 'size 1', inputs: [values([1, 1], 11), ints([1, 3], [0, 0, 0])], params: { dim: 1 } },
  { name: 'scalar', inputs: [values([], 12), ints([], [0])], params: { dim: 0 } },
  { name: 'empty index', inputs: [values([3, 4], 13), ints([3, 0], [])], params: { dim: 1 }, noGrad: true },
  { name: 'whole numbers', inputs: [whole([3, 4], 14), integers([3, 5], 15, 0, 3)], params: { dim: 1 } },
  {
    name: 'NaN and infinities',
    inputs: [{ shape: [4], data: [NaN, Infinity, -Infinity, -0] }, ints([5], [3, 2, 1, 0, 0])],
    params: { dim: 0 },
    noGrad: true,
  },
];

const along: readonly Sample[] = [
  { name: 'same shape', inputs: [values([3, 4], 1), integers([3, 4], 2, 0, 3)], params: { dim: 1 } },
  { name: 'broadcast index', inputs: [values([3, 4], 3), integers([1, 5], 4, 0, 3)], params: { dim: 1 } },
  { name: 'broadcast x', inputs: [values([1, 6, 1], 5), integers([3, 2, 4], 6, 0, 5)], params: { dim: 1 } },
  { name: 'flat', inputs: [values([3, 4], 7), integers([7], 8, 0, 11)], params: {} },
];

const scatters: readonly Sample[] = [
  {
    name: 'columns with repeats',
    inputs: [values([3, 5], 1), integers([6, 5], 2, 0, 2), values([6, 5], 3)],
    params: { dim: 0 },
  },
  {
    name: 'smaller index',
    inputs: [values([4, 5, 3], 4), integers([2, 6, 2], 5, 0, 4), values([3, 7, 2], 6)],
    params: { dim: 1 },
    // PyTorch 1.13 cannot differentiate with a src larger than the index.
    noGolden: true,
  },
  {
    name: 'long line',
    inputs: [values([2, 3], 7), integers([2, 150], 8, 0, 2), values([2, 150], 9)],
    params: { dim: 1 },
  },
  { name: 'scalar', inputs: [values([], 10), ints([], [0]), values([], 11)], params: { dim: 0 } },
  {
    name: 'empty index',
    inputs: [values([3, 4], 12), ints([3, 0], []), values([3, 0], 13)],
    params: { dim: 1 },
    noGrad: true,
  },
  {
    name: 'whole numbers',
    inputs: [whole([3, 4], 14), integers([3, 9], 15, 0, 3, 'uint32'), whole([3, 9], 16)],
    params: { dim: 1 },
  },
];

const selects: readonly Sample[] = [
  { name: 'rows', inputs: [values([5, 3], 1), integers([8], 2, 0, 4)], params: { dim: 0 } },
  { name: 'middle', inputs: [values([2, 4, 3], 3), integers([5], 4, 0, 3)], params: { dim: 1 } },
  { name: 'last', inputs: [values([2, 7], 5), integers([4], 6, 0, 6, 'uint32')], params: { dim: -1 } },
  { name: 'long rows', inputs: [values([3, 70], 7), integers([5], 8, 0, 2)], params: { dim: 0 } },
  { name: 'nothing', inputs: [values([3, 2], 9), ints([0], [])], params: { dim: 0 }, noGrad: true },
  { name: 'whole numbers', inputs: [whole([4, 3], 10), integers([6], 11, 0, 3)], params: { dim: 0 } },
];

const adds: readonly Sample[] = [
  {
    name: 'rows with repeats',
    inputs: [values([4, 3], 1), integers([9], 2, 0, 3), values([9, 3], 3)],
    params: { dim: 0 },
  },
  {
    name: 'middle',
    inputs: [values([2, 3, 5], 4), integers([6], 5, 0, 2), values([2, 6, 5], 6)],
    params: { dim: 1 },
  },
  {
    name: 'more than a workgroup',
    inputs: [values([20, 2], 7), integers([130], 8, 0, 19), values([130, 2], 9)],
    params: { dim: 0 },
  },
  {
    name: 'one row for all',
    inputs: [values([3, 2], 10), ints([70], new Array(70).fill(1)), values([70, 2], 11)],
    params: { dim: 0 },
  },
  {
    name: 'nothing',
    inputs: [values([3, 2], 12), ints([0], []), values([0, 2], 13)],
    params: { dim: 0 },
    noGrad: true,
  },
  {
    name: 'whole numbers',
    inputs: [whole([4, 3], 14), integers([9], 15, 0, 3), whole([9, 3], 16)],
    params: { dim: 0 },
  },
];

export const index: readonly OpInfo[] = [
  row<{ dim: number }>({
    name: 'gather',
    covers: ['gather', 'scatterAdd', 'pad'],
    run: ([x, i], { dim }) => gather(x, dim, i),
    torch: "torch.gather(a, p['dim'], b.long())",
    samples: gathers,
    dtypes: ['int32', 'uint32'],
    errors: [
      {
        name: 'index of other dims',
        run: (device) => gather(tensor([1, 2], { device }), 0, int(device, [[0]])),
        error: ShapeError,
        message: 'gather: expected an index that fits into [2] beside dim 0, got [1, 1]',
      },
      {
        name: 'larger index',
        run: (device) => gather(tensor([[1, 2]], { device }), 1, int(device, [[0], [0]])),
        error: ShapeError,
        message: 'gather: expected an index that fits into [1, 2] beside dim 1, got [2, 1]',
      },
      {
        name: 'float index',
        run: (device) => gather(tensor([1, 2], { device }), 0, tensor([0], { device })),
        error: DTypeError,
        message: "gather: expected int32 or uint32 indices, got float32; convert with x.to('int32')",
      },
      {
        name: 'dim out of range',
        run: (device) => gather(tensor([1, 2], { device }), 1, int(device, [0])),
        error: ShapeError,
        message: 'gather: expected dim in [-1, 0], got 1',
      },
      {
        name: 'empty dim',
        run: (device) => gather(tensor([], { device }), 0, int(device, [0])),
        error: ShapeError,
        message: 'gather: expected a dim that is not empty to pick from, got size 0',
      },
    ],
  }),
  row<{ dim?: number }>({
    name: 'takeAlongDim',
    covers: ['gather', 'expand'],
    run: ([x, i], { dim }) => takeAlongDim(x, i, dim),
    torch: "torch.take_along_dim(a, b.long(), p['dim']) if 'dim' in p else torch.take_along_dim(a, b.long())",
    samples: along,
    errors: [
      {
        name: 'shapes that do not broadcast',
        run: (device) => takeAlongDim(tensor([[1], [2], [3]], { device }), int(device, [[0], [0]]), 1),
        error: ShapeError,
        message: 'takeAlongDim: expected shapes that broadcast, got [3, 1] and [2, 1] (3 ≠ 2 in dim -2)',
      },
    ],
  }),
  row<{ dim: number }>({
    name: 'scatterAdd',
    covers: ['scatterAdd'],
    run: ([x, i, src], { dim }) => scatterAdd(x, dim, i, src),
    torch: "a.scatter_add(p['dim'], b.long(), c)",
    samples: scatters,
    dtypes: ['int32', 'uint32'],
    errors: [
      {
        name: 'index larger than src',
        run: (device) =>
          scatterAdd(tensor([1, 2], { device }), 0, int(device, [0, 1]), tensor([1], { device })),
        error: ShapeError,
        message: 'scatterAdd: expected src no smaller than the index [2], got [1]',
      },
      {
        name: 'bool',
        run: (device) =>
          scatterAdd(tensor([true], { device }), 0, int(device, [0]), tensor([true], { device })),
        error: DTypeError,
        message: "scatterAdd: expected a numeric tensor, got bool; convert with x.to('float32')",
      },
    ],
  }),
  row<{ dim: number }>({
    name: 'indexSelect',
    covers: ['indexSelect', 'indexAdd'],
    run: ([x, i], { dim }) => indexSelect(x, dim, i),
    torch: "torch.index_select(a, p['dim'], b.long())",
    samples: selects,
    dtypes: ['int32', 'uint32'],
    errors: [
      {
        name: 'index of two dims',
        run: (device) => indexSelect(tensor([1, 2], { device }), 0, int(device, [[0]])),
        error: ShapeError,
        message: 'indexSelect: expected x with dims and an index of one dim, got [2] and [1, 1]',
      },
    ],
  }),
  row<{ dim: number }>({
    name: 'indexAdd',
    covers: ['indexAdd'],
    run: ([x, i, src], { dim }) => indexAdd(x, dim, i, src),
    torch: "torch.index_add(a, p['dim'], b.long(), c)",
    samples: adds,
    dtypes: ['int32', 'uint32'],
    errors: [
      {
        name: 'src of another shape',
        run: (device) =>
          indexAdd(tensor([1, 2, 3], { device }), 0, int(device, [0, 1]), tensor([1], { device })),
        error: ShapeError,
        message: 'indexAdd: expected src of shape [2], got [1]',
      },
    ],
  }),
  row<{ padding?: number }>({
    name: 'embedding',
    covers: ['indexSelect', 'indexAdd'],
    run: ([w, i], { padding }) => embedding(w, i, { paddingIdx: padding }),
    torch: "F.embedding(b.long(), a, padding_idx=p.get('padding'))",
    samples: [
      { name: 'sequence', inputs: [values([6, 4], 1), integers([9], 2, 0, 5)] },
      { name: 'batch', inputs: [values([5, 3], 3), integers([2, 7], 4, 0, 4)] },
      { name: 'one index', inputs: [values([5, 3], 5), ints([], [2])] },
      // A padding row has no gradient although the output depends on it; test/indexing.test.ts has its gradients.
      {
        name: 'padding',
        inputs: [values([4, 3], 6), integers([3, 6], 7, 0, 3)],
        params: { padding: 1 },
        noGrad: true,
      },
      { name: 'many', inputs: [values([9, 20], 10), integers([2, 65], 11, 0, 8, 'uint32')] },
      { name: 'large table', inputs: [values([150, 8], 13), ints([7], [149, 3, 3, 0, 149, 70, 3])] },
      {
        name: 'large table of odd rows',
        inputs: [values([150, 3], 14), ints([2, 3], [149, 3, 3, 0, 149, 149])],
      },
      { name: 'rows of many vectors', inputs: [values([5, 48], 15), integers([12], 16, 0, 4)] },
      { name: 'nothing', inputs: [values([4, 3], 12), ints([0], [])], noGrad: true },
    ],
    errors: [
      {
        name: 'weight of three dims',
        run: (device) => embedding(tensor([[[1]]], { device }), int(device, [0])),
        error: ShapeError,
        message: 'embedding: expected a weight of shape [V, C], got [1, 1, 1]',
      },
      {
        name: 'float indices',
        run: (device) => embedding(tensor([[1]], { device }), tensor([0], { device })),
        error: DTypeError,
        message: "embedding: expected int32 or uint32 indices, got float32; convert with x.to('int32')",
      },
      {
        name: 'padding out of range',
        run: (device) => embedding(tensor([[1], [2]], { device }), int(device, [0]), { paddingIdx: 2 }),
        error: ShapeError,
        message: 'embedding: expected paddingIdx in [-2, 1], got 2',
      },
    ],
  }),
  row<{ classes: number }>({
    name: 'oneHot',
    covers: ['oneHot'],
    run: ([i], { classes }) => oneHot(i, classes),
    torch: "F.one_hot(a.long(), p['classes'])",
    grad: false,
    samples: [
      { name: 'list', inputs: [integers([5], 1, 0, 3)], params: { classes: 4 } },
      { name: 'batch', inputs: [integers([3, 40], 2, 0, 8, 'uint32')], params: { classes: 9 } },
      { name: 'scalar', inputs: [ints([], [1])], params: { classes: 2 } },
      { name: 'nothing', inputs: [ints([0], [])], params: { classes: 2 } },
    ],
    errors: [
      {
        name: 'no classes',
        run: (device) => oneHot(int(device, [0]), 0),
        error: ShapeError,
        message: 'oneHot: expected at least 1 class, got 0',
      },
    ],
  }),
];
