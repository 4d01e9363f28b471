/**
 * Random operations: same seed, same numbers on every device and in every dtype. Rows of those without inputs take one
 * whose shape, device and dtype the new tensor gets. PyTorch's generator is another, so there are no golden values.
 */
import { dropout } from '../../src/autograd/ops/dropout.js';
import {
  bernoulli,
  multinomial,
  normal_,
  rand,
  randint,
  randLike,
  randn,
  randnLike,
  randperm,
  uniform_,
} from '../../src/autograd/ops/random.js';
import { DataError, DTypeError, GradError, ShapeError } from '../../src/device/errors.js';
import { tensor } from '../../src/tensor/factories.js';
import { Generator } from '../../src/tensor/random.js';
import { Tensor } from '../../src/tensor/tensor.js';
import { type Arg, type OpInfo, row, type Sample, values } from './types.js';

const shapes: readonly Sample[] = [
  { name: 'matrix', inputs: [values([3, 5], 1)] },
  { name: 'many', inputs: [values([7, 301], 2)] },
  { name: 'scalar', inputs: [values([], 3)] },
  { name: 'empty', inputs: [values([0, 4], 4)] },
];

/** Seed and counter of more than 32 bits, and a carry between the counter's halves. */
function far(): Generator {
  const generator = new Generator();
  generator.setState({ seed: 2 ** 52 + 12345, counter: 2 ** 32 - 5 });
  return generator;
}

/** A tensor like x that may be overwritten. */
function room(x: Tensor): Tensor {
  return Tensor.allocate(x.device, x.dtype, x.shape, 'room');
}

/** Probabilities, multiples of 1/8: exact in every dtype. */
function probabilities(shape: readonly number[], seed: number): Arg {
  return { shape, data: values(shape, seed, 0, 1).data.map((v) => Math.round(v * 8) / 8) };
}

export const random: readonly OpInfo[] = [
  row({
    name: 'rand',
    covers: [],
    random: true,
    run: ([x]) => [
      rand(x.shape, { device: x.device, dtype: x.dtype }),
      randLike(x),
      randLike(x, { generator: far() }),
      uniform_(room(x), -3, 5),
    ],
    grad: false,
    samples: shapes,
    // float16 has numbers of 11 bits, the first of the oracle's 24.
    tolerance: { float16: { absolute: 8 * 2 ** -11, relative: 2e-3 } },
    errors: [
      {
        name: 'integers',
        run: (device) => rand([2], { device, dtype: 'int32' }),
        error: DTypeError,
        message: 'rand: expected a floating-point dtype, got int32',
      },
      {
        name: 'in place with a gradient',
        run: (device) => uniform_(tensor([1], { device, requiresGrad: true })),
        error: GradError,
        message:
          'uniform_: expected no change in place of a tensor that requires a gradient; use noGrad(() => …)',
      },
    ],
  }),
  row({
    name: 'randn',
    covers: [],
    random: true,
    run: ([x]) => [
      randn(x.shape, { device: x.device, dtype: x.dtype }),
      randnLike(x),
      randnLike(x, { generator: far() }),
      normal_(room(x), 2, 0.5),
    ],
    grad: false,
    samples: shapes,
  }),
  row<{ low: number; high: number }>({
    name: 'randint',
    covers: [],
    random: true,
    run: ([x], { low, high }) => [
      randint(low, high, x.shape, { device: x.device }),
      randint(low, high, x.shape, { device: x.device, dtype: x.dtype }),
      randint(0, 60_000, x.shape, { device: x.device, dtype: 'uint32', generator: far() }),
    ],
    grad: false,
    samples: shapes.map((s) => ({ ...s, params: { low: -1000, high: 1000 } })),
    errors: [
      {
        name: 'empty range',
        run: (device) => randint(3, 3, [2], { device }),
        error: ShapeError,
        message: 'randint: expected integers low < high less than 2^32 apart, got 3 and 3',
      },
      {
        name: 'range beyond the dtype',
        run: (device) => randint(-1, 3, [2], { device, dtype: 'uint32' }),
        error: DTypeError,
        message: 'randint: expected a dtype that holds [-1, 3), got uint32',
      },
    ],
  }),
  row<{ n: number }>({
    name: 'randperm',
    covers: [],
    random: true,
    run: ([x], { n }) => randperm(n, { device: x.device }),
    grad: false,
    samples: [0, 1, 100].map((n) => ({ name: `${n}`, inputs: [values([1], 1)], params: { n } })),
    errors: [
      {
        name: 'negative size',
        run: (device) => randperm(-1, { device }),
        error: ShapeError,
        message: 'randperm: expected a size of 0 or more, got -1',
      },
    ],
  }),
  row<{ p: number }>({
    name: 'bernoulli',
    covers: ['bernoulli'],
    random: true,
    run: ([x], { p }) => [bernoulli(x), bernoulli(p, x.shape, { device: x.device, dtype: x.dtype })],
    grad: false,
    samples: [
      { name: 'matrix', inputs: [probabilities([6, 50], 1)], params: { p: 0.3 } },
      { name: 'certain', inputs: [{ shape: [5], data: [0, 1, 0, 1, 1] }], params: { p: 1 } },
      { name: 'never', inputs: [{ shape: [3], data: [NaN, -1, 0] }], params: { p: 0 } },
      { name: 'empty', inputs: [values([0], 1)], params: { p: 0.5 } },
    ],
    errors: [
      {
        name: 'no probability',
        run: (device) => bernoulli(1.5, [2], { device }),
        error: DataError,
        message: 'bernoulli: expected a probability in [0, 1], got 1.5',
      },
      {
        name: 'integers',
        run: (device) => bernoulli(tensor([1], { device, dtype: 'int32' })),
        error: DTypeError,
        message: "bernoulli: expected a floating-point tensor, got int32; convert with x.to('float32')",
      },
    ],
  }),
  row<{ draws: number; replacement: boolean }>({
    name: 'multinomial',
    covers: ['multinomial'],
    random: true,
    run: ([x], { draws, replacement }) => multinomial(x, draws, { replacement }),
    grad: false,
    // Weights are multiples of 1/8, whose sums are exact in float32 in any order: all devices draw the same.
    samples: [
      { name: 'one', inputs: [probabilities([8], 1)], params: { draws: 1, replacement: false } },
      { name: 'batch', inputs: [probabilities([5, 300], 2)], params: { draws: 20, replacement: false } },
      {
        name: 'with replacement',
        inputs: [probabilities([3, 700], 3)],
        params: { draws: 90, replacement: true },
      },
      {
        name: 'two categories',
        inputs: [{ shape: [4], data: [0, 1, 0, 3] }],
        params: { draws: 70, replacement: true },
      },
      {
        name: 'all of them',
        inputs: [{ shape: [1, 2, 3], data: [1, 2, 3, 4, 5, 6] }],
        params: { draws: 3, replacement: false },
      },
      {
        name: 'no draws',
        inputs: [{ shape: [2, 3], data: [1, 2, 3, 4, 5, 6] }],
        params: { draws: 0, replacement: false },
      },
    ],
    errors: [
      {
        name: 'more draws than categories',
        run: (device) => multinomial(tensor([0.5, 0.5], { device }), 3),
        error: ShapeError,
        message:
          'multinomial: expected at most 2 draws without replacement, got 3; pass { replacement: true } for more',
      },
      {
        name: 'no categories',
        run: (device) => multinomial(tensor([], { device }), 1),
        error: ShapeError,
        message: 'multinomial: expected weights [..., K] with K > 0, got [0]',
      },
    ],
  }),
  row<{ p: number }>({
    name: 'dropout',
    covers: ['dropout'],
    random: true,
    run: ([x], { p }) => dropout(x, p),
    samples: [
      { name: 'half', inputs: [values([6, 30], 1)], params: { p: 0.5 } },
      { name: 'a tenth', inputs: [values([4, 2, 17], 2)], params: { p: 0.1 } },
      { name: 'all', inputs: [values([3, 4], 3)], params: { p: 1 } },
      { name: 'scalar', inputs: [values([], 4)], params: { p: 0.25 } },
      { name: 'empty', inputs: [values([0, 3], 5)], params: { p: 0.5 }, noGrad: true },
      {
        name: 'NaN and infinities',
        inputs: [{ shape: [8], data: [NaN, Infinity, -Infinity, -0, NaN, Infinity, -Infinity, -0] }],
        params: { p: 0.5 },
        noGrad: true,
      },
    ],
    errors: [
      {
        name: 'no probability',
        run: (device) => dropout(tensor([1], { device }), -0.1),
        error: DataError,
        message: 'dropout: expected a probability in [0, 1], got -0.1',
      },
    ],
  }),
];
