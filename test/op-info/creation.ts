/** Creation has no inputs; its rows take one whose shape, device and dtype the new tensor gets. */
import {
  arange,
  eye,
  full,
  fullLike,
  linspace,
  ones,
  onesLike,
  zeros,
  zerosLike,
} from '../../src/autograd/ops/creation.js';
import { DTypeError, ShapeError } from '../../src/device/errors.js';
import type { TensorOptions } from '../../src/tensor/factories.js';
import type { Tensor } from '../../src/tensor/tensor.js';
import { type OpInfo, row, type Sample, values } from './types.js';

const like = (x: Tensor): TensorOptions => ({ device: x.device, dtype: x.dtype });

const shapes: readonly Sample[] = [
  { name: 'matrix', inputs: [{ shape: [3, 4], data: new Array(12).fill(1) }] },
  { name: 'more than a workgroup', inputs: [{ shape: [5, 67], data: new Array(335).fill(2) }] },
  { name: 'scalar', inputs: [{ shape: [], data: [3] }] },
  { name: 'empty', inputs: [{ shape: [0, 2], data: [] }] },
];

const one = [values([1], 1)];

export const creation: readonly OpInfo[] = [
  row({
    name: 'zeros',
    covers: [],
    run: ([x]) => [zeros(x.shape, like(x)), zerosLike(x)],
    torch: '(torch.zeros(a.shape, dtype=a.dtype), torch.zeros_like(a))',
    grad: false,
    samples: shapes,
    dtypes: ['int32', 'uint32', 'bool'],
    errors: [
      {
        name: 'negative size',
        run: (device) => zeros([2, -1], { device }),
        error: ShapeError,
        message: 'zeros: expected sizes that are non-negative integers, got [2, -1]',
      },
    ],
  }),
  row({
    name: 'ones',
    covers: [],
    run: ([x]) => [ones(x.shape, like(x)), onesLike(x)],
    torch: '(torch.ones(a.shape, dtype=a.dtype), torch.ones_like(a))',
    grad: false,
    samples: shapes,
    dtypes: ['int32', 'uint32', 'bool'],
  }),
  row<{ value: number }>({
    name: 'full',
    covers: [],
    run: ([x], { value }) => [full(x.shape, value, like(x)), fullLike(x, value)],
    torch: "(torch.full(a.shape, p['value'], dtype=a.dtype), torch.full_like(a, p['value']))",
    grad: false,
    samples: [
      ...[1.5, -0, Infinity, NaN].map((value) => ({
        name: `${value}`,
        inputs: [values([3, 70], 1)],
        params: { value },
      })),
      { name: 'whole', inputs: [{ shape: [4], data: [1, 2, 3, 4] }], params: { value: 2147483647 } },
    ],
    dtypes: ['int32', 'uint32', 'bool'],
    errors: [
      {
        name: 'fraction for integers',
        run: (device) => full([2], 0.5, { device, dtype: 'int32' }),
        error: DTypeError,
        message:
          "full: expected an integer in [-2147483648, 2147483647] for int32, got 0.5; pass { dtype: 'float32' }",
      },
    ],
  }),
  row<{ start: number; end: number; step: number }>({
    name: 'arange',
    covers: [],
    run: ([x], { start, end, step }) => arange(start, end, step, like(x)),
    torch: "torch.arange(p['start'], p['end'], p['step'], dtype=a.dtype)",
    grad: false,
    samples: [
      { name: 'from 0', inputs: one, params: { start: 0, end: 300, step: 1 } },
      { name: 'fractions', inputs: one, params: { start: -1, end: 2, step: 0.25 } },
      { name: 'not hitting the end', inputs: one, params: { start: 1, end: 2, step: 0.3 } },
      { name: 'downwards', inputs: one, params: { start: 5, end: -2, step: -2 } },
      { name: 'nothing', inputs: one, params: { start: 3, end: 3, step: 1 } },
      {
        name: 'whole numbers',
        inputs: [{ shape: [1], data: [1] }],
        params: { start: 10, end: 0, step: -3 },
      },
    ],
    dtypes: ['int32', 'uint32'],
    errors: [
      {
        name: 'wrong direction',
        run: (device) => arange(0, 5, -1, { device }),
        error: ShapeError,
        message: 'arange: expected a step that leads from start to end, got start 0, end 5, step -1',
      },
      {
        name: 'no step',
        run: (device) => arange(0, 5, 0, { device }),
        error: ShapeError,
        message: 'arange: expected a step that leads from start to end, got start 0, end 5, step 0',
      },
      {
        name: 'bool',
        run: (device) => arange(2, { device, dtype: 'bool' }),
        error: DTypeError,
        message: 'arange: expected a numeric dtype, got bool',
      },
    ],
  }),
  row<{ start: number; end: number; steps: number }>({
    name: 'linspace',
    covers: [],
    run: ([x], { start, end, steps }) => linspace(start, end, steps, like(x)),
    torch: "torch.linspace(p['start'], p['end'], p['steps'], dtype=a.dtype)",
    grad: false,
    samples: [
      { name: 'upwards', inputs: one, params: { start: -1, end: 3, steps: 101 } },
      { name: 'downwards', inputs: one, params: { start: 2, end: -7, steps: 10 } },
      { name: 'one', inputs: one, params: { start: 2, end: 5, steps: 1 } },
      { name: 'none', inputs: one, params: { start: 2, end: 5, steps: 0 } },
    ],
    errors: [
      {
        name: 'integers',
        run: (device) => linspace(0, 1, 3, { device, dtype: 'int32' }),
        error: DTypeError,
        message: 'linspace: expected a floating-point dtype, got int32',
      },
    ],
  }),
  row<{ n: number; m: number }>({
    name: 'eye',
    covers: [],
    run: ([x], { n, m }) => eye(n, m, like(x)),
    torch: "torch.eye(p['n'], p['m'], dtype=a.dtype)",
    grad: false,
    samples: [
      { name: 'square', inputs: one, params: { n: 9, m: 9 } },
      { name: 'wide', inputs: one, params: { n: 2, m: 5 } },
      { name: 'tall', inputs: one, params: { n: 40, m: 3 } },
      { name: 'empty', inputs: one, params: { n: 0, m: 3 } },
      { name: 'whole numbers', inputs: [{ shape: [1], data: [1] }], params: { n: 3, m: 4 } },
    ],
    dtypes: ['int32', 'uint32', 'bool'],
  }),
];
