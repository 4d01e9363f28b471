import { mul } from '../../src/autograd/ops/arithmetic.js';
import { clone, contiguous, expand, reshape, sum, view } from '../../src/autograd/ops/broadcast.js';
import { chunk, split, unbind } from '../../src/autograd/ops/split.js';
import {
  flatten,
  narrow,
  permute,
  select,
  slice,
  squeeze,
  transpose,
  unflatten,
  unsqueeze,
} from '../../src/autograd/ops/views.js';
import { ShapeError } from '../../src/device/errors.js';
import { tensor } from '../../src/tensor/factories.js';
import { type ErrorSample, type OpInfo, row, values } from './types.js';

const cube = values([2, 3, 4], 1);

function shapeError(name: string, run: ErrorSample['run'], message: string): ErrorSample {
  return { name, run, error: ShapeError, message };
}

export const views: readonly OpInfo[] = [
  row<{ shape: number[] }>({
    name: 'reshape',
    covers: ['view', 'contiguous'],
    run: ([a], { shape }) => reshape(a, shape),
    torch: 'a.reshape(p["shape"])',
    samples: [
      { name: 'merge', inputs: [cube], params: { shape: [6, 4] } },
      { name: 'wild', inputs: [cube], params: { shape: [4, -1] } },
      { name: 'to scalar', inputs: [values([1, 1], 2)], params: { shape: [] } },
      { name: 'empty', inputs: [values([0, 3], 2)], params: { shape: [3, 0, 2] }, noGrad: true },
      { name: 'with ones', inputs: [values([3, 1, 4], 2)], params: { shape: [1, 3, 4, 1] } },
    ],
    errors: [
      shapeError(
        'another count',
        (device) => reshape(tensor([1, 2, 3], { device }), [2, 2]),
        'reshape: expected a shape of 3 elements, got [2, 2] for a tensor of shape [3]',
      ),
      shapeError(
        'two unknowns',
        (device) => reshape(tensor([1, 2, 3, 4], { device }), [-1, -1]),
        'reshape: expected a shape of 4 elements, got [-1, -1] for a tensor of shape [4]',
      ),
      shapeError(
        'view of a transposed matrix',
        (device) =>
          view(
            transpose(
              tensor(
                [
                  [1, 2],
                  [3, 4],
                ],
                { device },
              ),
              0,
              1,
            ),
            [4],
          ),
        'view: expected strides that show [2, 2] as [4] without a copy, got strides [1, 2]; use reshape()',
      ),
    ],
  }),
  row({
    name: 'reshape of permuted',
    covers: ['view', 'permute', 'contiguous'],
    run: ([a]) => reshape(permute(a, [2, 0, 1]), [8, 3]),
    torch: 'a.permute(2, 0, 1).reshape(8, 3)',
    samples: [{ name: 'cube', inputs: [cube] }],
  }),
  row({
    name: 'clone',
    covers: ['contiguous'],
    run: ([a]) => contiguous(clone(a)),
    torch: 'a.clone()',
    samples: [
      { name: 'cube', inputs: [cube] },
      { name: 'empty', inputs: [values([0], 1)], noGrad: true },
    ],
    dtypes: ['int32', 'uint32'],
  }),
  row<{ dims: number[] }>({
    name: 'permute',
    covers: ['permute'],
    run: ([a], { dims }) => permute(a, dims),
    torch: 'a.permute(p["dims"])',
    samples: [
      { name: 'rotate', inputs: [cube], params: { dims: [2, 0, 1] } },
      { name: 'negative', inputs: [cube], params: { dims: [-1, 1, 0] } },
    ],
    errors: [
      shapeError(
        'a dim twice',
        (device) => permute(tensor([[1, 2]], { device }), [0, 0]),
        'permute: expected every dim of [1, 2] once, got [0, 0]',
      ),
      shapeError(
        'no such dim',
        (device) => permute(tensor([[1, 2]], { device }), [0, 2]),
        'permute: expected dim in [-2, 1], got 2',
      ),
    ],
  }),
  row({
    name: 'transpose',
    covers: ['permute'],
    run: ([a]) => transpose(a, 1, -1),
    torch: 'a.transpose(1, -1)',
    samples: [{ name: 'cube', inputs: [cube] }],
  }),
  row<{ shape: number[] }>({
    name: 'expand',
    covers: ['expand', 'sum'],
    run: ([a], { shape }) => expand(a, shape),
    torch: 'a.expand(p["shape"])',
    samples: [
      { name: 'stretch', inputs: [values([3, 1], 3)], params: { shape: [3, 4] } },
      { name: 'new dims', inputs: [values([3, 1], 3)], params: { shape: [2, -1, 4] } },
      { name: 'scalar', inputs: [values([], 3)], params: { shape: [2, 3] } },
    ],
    errors: [
      shapeError(
        'a size that is not 1',
        (device) => expand(tensor([1, 2, 3], { device }), [2, 4]),
        'expand: expected a shape that [3] stretches to, got [2, 4]',
      ),
    ],
  }),
  row<{ dim?: number | number[]; keepdim?: boolean }>({
    name: 'sum',
    covers: ['sum'],
    run: ([a], p) => sum(a, p),
    torch: 'a.sum(p["dim"], keepdim=p.get("keepdim", False)) if "dim" in p else a.sum()',
    samples: [
      { name: 'all', inputs: [cube] },
      { name: 'last', inputs: [cube], params: { dim: -1 } },
      { name: 'first, kept', inputs: [cube], params: { dim: 0, keepdim: true } },
      { name: 'outer dims', inputs: [cube], params: { dim: [0, 2] } },
      { name: 'long', inputs: [values([2, 3000], 5)], params: { dim: 1 } },
      { name: 'long column', inputs: [values([700, 3], 5)], params: { dim: 0 } },
      { name: 'scalar', inputs: [values([], 5)] },
      { name: 'empty', inputs: [values([0, 3], 5)], params: { dim: 0 }, noGrad: true },
    ],
    dtypes: ['int32'],
    errors: [
      shapeError(
        'no such dim',
        (device) => sum(tensor([1, 2], { device }), { dim: 1 }),
        'sum: expected dim in [-1, 0], got 1',
      ),
      shapeError(
        'a dim twice',
        (device) => sum(tensor([[1, 2]], { device }), { dim: [0, -2] }),
        'sum: expected distinct dims, got dim 0 twice',
      ),
    ],
  }),
  row<{ dim: number; start: number; end: number; step: number }>({
    name: 'slice',
    covers: ['slice', 'sliceBackward'],
    run: ([a], { dim, start, end, step }) => mul(slice(a, dim, start, end, step), 2),
    torch:
      'a.narrow(p["dim"], p["from"], p["count"]).index_select(p["dim"], torch.arange(0, p["count"], p["step"])) * 2',
    samples: [
      { name: 'middle', inputs: [cube], params: { dim: 1, start: 1, end: 3, step: 1, from: 1, count: 2 } },
      {
        name: 'negative',
        inputs: [cube],
        params: { dim: -1, start: -3, end: -1, step: 1, from: 1, count: 2 },
      },
      {
        name: 'every second',
        inputs: [cube],
        params: { dim: 2, start: 0, end: 100, step: 2, from: 0, count: 4 },
      },
    ],
    errors: [
      shapeError(
        'step 0',
        (device) => slice(tensor([1, 2], { device }), 0, 0, 2, 0),
        'slice: expected a step of at least 1, got 0',
      ),
    ],
  }),
  row({
    name: 'narrow',
    covers: ['slice'],
    run: ([a]) => narrow(a, 1, 1, 2),
    torch: 'a.narrow(1, 1, 2)',
    samples: [{ name: 'cube', inputs: [cube] }],
    errors: [
      shapeError(
        'beyond the end',
        (device) => narrow(tensor([1, 2], { device }), 0, 1, 2),
        'narrow: expected a range within dim 0 of [2], got start 1, length 2',
      ),
    ],
  }),
  row({
    name: 'select',
    covers: ['slice', 'view'],
    run: ([a]) => select(a, 1, -1),
    torch: 'a.select(1, -1)',
    samples: [{ name: 'cube', inputs: [cube] }],
    errors: [
      shapeError(
        'no such index',
        (device) => select(tensor([1, 2], { device }), 0, 2),
        'select: expected an index in [-2, 1] along dim 0, got 2',
      ),
    ],
  }),
  row({
    name: 'squeeze and unsqueeze',
    covers: ['view'],
    run: ([a]) => [squeeze(a), squeeze(a, 1), unsqueeze(a, 0), unsqueeze(a, -1)],
    torch: '(a.squeeze(), a.squeeze(1), a.unsqueeze(0), a.unsqueeze(-1))',
    samples: [{ name: 'with ones', inputs: [values([3, 1, 2, 1], 6)] }],
  }),
  row({
    name: 'flatten and unflatten',
    covers: ['view'],
    run: ([a]) => [flatten(a), flatten(a, 1), unflatten(a, 2, [2, -1])],
    torch: '(a.flatten(), a.flatten(1), a.unflatten(2, (2, 2)))',
    samples: [{ name: 'cube', inputs: [cube] }],
  }),
  row({
    name: 'split and chunk',
    covers: ['split', 'cat'],
    run: ([a]) => [...split(a, [1, 3], 2), ...chunk(a, 2, 1)],
    torch: 'tuple(a.split([1, 3], 2)) + tuple(a.chunk(2, 1))',
    samples: [{ name: 'cube', inputs: [cube] }],
    errors: [
      shapeError(
        'sizes that do not add up',
        (device) => split(tensor([1, 2, 3], { device }), [1, 1]),
        'split: expected sizes that sum to 3 along dim 0, got [1, 1]',
      ),
    ],
  }),
  row({
    name: 'unbind',
    covers: ['split', 'view'],
    run: ([a]) => unbind(a, 1),
    torch: 'a.unbind(1)',
    samples: [{ name: 'cube', inputs: [cube] }],
  }),
];
