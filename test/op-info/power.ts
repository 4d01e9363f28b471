import { maximum, minimum } from '../../src/autograd/ops/maximum.js';
import { floorDivide, pow, remainder } from '../../src/autograd/ops/power.js';
import { DTypeError } from '../../src/device/errors.js';
import { tensor } from '../../src/tensor/factories.js';
import type { Tensor } from '../../src/tensor/tensor.js';
import { binaryErrors, binarySamples, list, pairs } from './samples.js';
import { type Arg, integers, type OpInfo, row, type Sample, values } from './types.js';

const SPECIAL = [NaN, Infinity, -Infinity, 0, -0, 1, -1, 0.5, -0.5, 2, -2, 3, -3];

const base = (shape: readonly number[], seed: number): Arg => values(shape, seed, 0.25, 3);
const exponent = (shape: readonly number[], seed: number): Arg => values(shape, seed, -3, 3);
const any = (shape: readonly number[], seed: number): Arg => values(shape, seed);
const whole = (shape: readonly number[], seed: number): Arg => integers(shape, seed, -9, 9);
const nonZero = (shape: readonly number[], seed: number): Arg => {
  const arg = integers(shape, seed, 1, 5);
  return { ...arg, data: arg.data.map((v, i) => (i % 2 ? -v : v)) };
};

function extreme(name: 'maximum' | 'minimum', fn: (a: Tensor, b: Tensor | number) => Tensor): OpInfo {
  return row({
    name,
    covers: [name, 'maximumBackward'],
    run: ([a, b]) => fn(a, b),
    torch: `torch.${name}(a, b)`,
    samples: [
      ...binarySamples(any),
      { name: 'special values', inputs: pairs(SPECIAL), noGrad: true },
      {
        name: 'whole numbers',
        inputs: [list(-3, 4, 0, 7, 7), list(5, -4, 0, 6, 7)],
        noGrad: true,
      },
    ],
    dtypes: ['int32', 'uint32'],
    errors: binaryErrors(name, fn),
  });
}

function integerRow(name: string, torch: string, fn: (a: Tensor, b: Tensor | number) => Tensor): OpInfo {
  const samples: Sample[] = [
    ...binarySamples(whole, nonZero),
    {
      name: 'signs',
      inputs: [list(7, -7, 7, -7, 6, -6), list(3, 3, -3, -3, 3, -1)].map((a) => ({ ...a, dtype: 'int32' })),
    },
    {
      name: 'unsigned',
      inputs: [list(7, 60000, 4294967295, 5), list(3, 2, 4294967295, 7)].map((a) => ({
        ...a,
        dtype: 'uint32',
      })),
    },
    // PyTorch raises an error.
    {
      name: 'divisors of 0',
      inputs: [list(5, -5, 0), list(0, 0, 0)].map((a) => ({ ...a, dtype: 'int32' })),
      noGolden: true,
    },
  ];
  return row({
    name,
    covers: [name],
    run: ([a, b]) => fn(a, b),
    torch,
    samples,
    grad: false,
    errors: [
      ...binaryErrors(name, fn),
      {
        name: 'floats',
        run: (device) => fn(tensor([1, 2], { device }), 2),
        error: DTypeError,
        message: `${name}: expected an int32 or uint32 tensor, got float32; convert with x.to('int32')`,
      },
    ],
  });
}

export const power: readonly OpInfo[] = [
  row({
    name: 'pow',
    covers: ['pow'],
    run: ([a, b]) => pow(a, b),
    torch: 'torch.pow(a, b)',
    samples: [
      ...binarySamples(base, exponent),
      { name: 'special values', inputs: pairs(SPECIAL), noGrad: true },
      {
        name: 'negative base, whole exponent',
        inputs: [list(-1.5, -2, -0.5, -2, 2, -3), list(2, 3, -3, 0, 11, 5)],
        noGrad: true,
      },
      // PyTorch has no power of integers to negative ones.
      {
        name: 'whole numbers',
        inputs: [list(3, -2, 0, 0, 1, -1, -1, 7), list(4, 5, 0, 3, -2, -3, -2, 2)],
        noGrad: true,
      },
    ],
    dtypes: ['int32', 'uint32'],
    errors: [
      ...binaryErrors('pow', pow),
      {
        name: 'two numbers',
        run: () => pow(2, 3),
        error: DTypeError,
        message: 'pow: expected at least one tensor, got the numbers 2 and 3',
      },
      {
        name: 'negative power of integers',
        run: (device) => pow(tensor([1, 2], { device, dtype: 'int32' }), -1),
        error: DTypeError,
        message: "pow: expected an exponent of at least 0 for int32, got -1; convert with x.to('float32')",
      },
    ],
  }),
  row({
    name: 'pow to a number',
    covers: ['powScalar'],
    run: ([a], p: { exponent: number }) => pow(a, p.exponent),
    torch: "torch.pow(a, p['exponent'])",
    samples: [
      ...[2, 3, -1, 0.5, -0.5, 2.5].map((exponent, i) => ({
        name: `exponent ${exponent}`,
        inputs: [values([3, 4], i + 1, 0.25, 3)],
        params: { exponent },
      })),
      { name: 'negative base', inputs: [values([5], 7, -3, -0.25)], params: { exponent: 3 } },
      { name: 'exponent 1', inputs: [values([5], 9)], params: { exponent: 1 } },
      { name: 'square at 0', inputs: [list(0, 1, -1)], params: { exponent: 2 } },
      ...[0, 0.5, -1, 2, 3, -Infinity, NaN].map((exponent) => ({
        name: `special values, exponent ${exponent}`,
        // PyTorch takes the square root for 0.5, which of −∞ is NaN where C's pow is ∞.
        inputs: [list(...SPECIAL.filter((v) => exponent !== 0.5 || v !== -Infinity))],
        params: { exponent },
        noGrad: true,
      })),
      {
        name: 'several workgroups',
        inputs: [base([20, 15], 10)],
        params: { exponent: 1.5 },
        noGrad: true,
        noGolden: true,
      },
      { name: 'empty', inputs: [base([0], 11)], params: { exponent: 2 }, noGrad: true },
    ],
  }),
  row({
    name: 'pow to 0',
    covers: ['powScalar'],
    run: ([a]) => pow(a, 0),
    torch: 'torch.pow(a, 0)',
    samples: [{ name: 'vector', inputs: [values([5], 8)] }],
    gradgrad: false, // the gradient is 0 whatever the inputs
  }),
  row({
    name: 'pow of a number',
    covers: ['pow'],
    run: ([a], p: { base: number }) => pow(p.base, a),
    torch: "torch.pow(p['base'], a)",
    samples: [
      { name: 'base 2', inputs: [values([3, 4], 1)], params: { base: 2 } },
      { name: 'base 1', inputs: [values([4], 2)], params: { base: 1 } },
      { name: 'base 0', inputs: [values([4], 3, 0.25, 2)], params: { base: 0 } },
      { name: 'special values', inputs: [list(...SPECIAL)], params: { base: 0 }, noGrad: true },
    ],
  }),
  extreme('maximum', maximum),
  extreme('minimum', minimum),
  integerRow('floorDivide', "torch.div(a, b, rounding_mode='floor')", floorDivide),
  integerRow('remainder', 'torch.remainder(a, b)', remainder),
];
