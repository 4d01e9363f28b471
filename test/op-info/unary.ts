import { ceil, clamp, floor, round, sign, trunc } from '../../src/autograd/ops/rounding.js';
import {
  abs,
  cos,
  erf,
  exp,
  expm1,
  log,
  log1p,
  reciprocal,
  rsqrt,
  sin,
  sqrt,
  square,
} from '../../src/autograd/ops/unary.js';
import { DTypeError } from '../../src/device/errors.js';
import { tensor } from '../../src/tensor/factories.js';
import { floatsOnly, list, SPECIAL, shifted, unarySamples } from './samples.js';
import { integers, type OpInfo, row, type Sample, values } from './types.js';

/** Away from whole numbers, halves and zero: where there are steps and kinks. Exact in float16. */
const OFF = 1 / 128;

/** Whole numbers for the integer dtypes, forward only: their kinks are among them. */
const whole: Sample = {
  name: 'whole numbers',
  inputs: [{ ...integers([3, 5], 7, -9, 9), dtype: 'float' }],
  noGrad: true,
};

const steps = list(
  NaN,
  Infinity,
  -Infinity,
  0,
  -0,
  0.5,
  -0.5,
  1.5,
  -1.5,
  2.5,
  -2.5,
  0.25,
  -0.75,
  7,
  -7,
  1024.5,
);

export const unary: readonly OpInfo[] = [
  row({
    name: 'abs',
    covers: ['abs'],
    run: ([a]) => abs(a),
    torch: 'torch.abs(a)',
    samples: [...unarySamples(-2, 2, SPECIAL, OFF), whole],
    dtypes: ['int32', 'uint32'],
  }),
  row({
    name: 'sign',
    covers: ['sign'],
    run: ([a]) => sign(a),
    torch: 'torch.sign(a)',
    gradgrad: false, // the gradient is 0 whatever the inputs
    samples: [...unarySamples(-2, 2, SPECIAL, OFF), whole],
    dtypes: ['int32', 'uint32'],
  }),
  row({
    name: 'exp',
    covers: ['exp'],
    run: ([a]) => exp(a),
    torch: 'torch.exp(a)',
    samples: unarySamples(-3, 3, list(NaN, Infinity, -Infinity, 0, -0, 11, -11, -200)),
    errors: [floatsOnly('exp', exp)],
  }),
  row({
    name: 'expm1',
    covers: ['expm1'],
    run: ([a]) => expm1(a),
    torch: 'torch.expm1(a)',
    samples: unarySamples(-3, 3, list(NaN, Infinity, -Infinity, 0, -0, 11, -11, 2 ** -10, -(2 ** -10), 0.5)),
    errors: [floatsOnly('expm1', expm1)],
  }),
  row({
    name: 'log',
    covers: ['log'],
    run: ([a]) => log(a),
    torch: 'torch.log(a)',
    samples: unarySamples(
      0.125,
      4,
      list(NaN, Infinity, -Infinity, 0, -0, 1, -1, 1 + 2 ** -10, 60000, 2 ** -14),
    ),
    errors: [floatsOnly('log', log)],
  }),
  row({
    name: 'log1p',
    covers: ['log1p'],
    run: ([a]) => log1p(a),
    torch: 'torch.log1p(a)',
    samples: unarySamples(
      -0.75,
      4,
      list(NaN, Infinity, -Infinity, 0, -0, -1, -2, 2 ** -12, -(2 ** -12), 60000),
    ),
    errors: [floatsOnly('log1p', log1p)],
  }),
  row({
    name: 'sqrt',
    covers: ['sqrt'],
    run: ([a]) => sqrt(a),
    torch: 'torch.sqrt(a)',
    samples: unarySamples(0.125, 4),
    errors: [floatsOnly('sqrt', sqrt)],
  }),
  row({
    name: 'rsqrt',
    covers: ['rsqrt'],
    run: ([a]) => rsqrt(a),
    torch: 'torch.rsqrt(a)',
    samples: unarySamples(0.125, 4),
    errors: [floatsOnly('rsqrt', rsqrt)],
  }),
  row({
    name: 'reciprocal',
    covers: ['reciprocal'],
    run: ([a]) => reciprocal(a),
    torch: 'torch.reciprocal(a)',
    samples: unarySamples(0.25, 4),
    errors: [floatsOnly('reciprocal', reciprocal)],
  }),
  row({
    name: 'square',
    covers: ['square'],
    run: ([a]) => square(a),
    torch: 'torch.square(a)',
    samples: [...unarySamples(-2, 2), whole],
    dtypes: ['int32', 'uint32'],
  }),
  row({
    name: 'sin',
    covers: ['sin'],
    run: ([a]) => sin(a),
    torch: 'torch.sin(a)',
    samples: unarySamples(-4, 4, list(NaN, Infinity, -Infinity, 0, -0, 100, -1000, 10000, -10000, 60000)),
    errors: [floatsOnly('sin', sin)],
  }),
  row({
    name: 'cos',
    covers: ['cos'],
    run: ([a]) => cos(a),
    torch: 'torch.cos(a)',
    samples: unarySamples(-4, 4, list(NaN, Infinity, -Infinity, 0, -0, 100, -1000, 10000, -10000, 60000)),
    errors: [floatsOnly('cos', cos)],
  }),
  row({
    name: 'erf',
    covers: ['erf'],
    run: ([a]) => erf(a),
    torch: 'torch.erf(a)',
    samples: unarySamples(-3, 3, list(NaN, Infinity, -Infinity, 0, -0, 1, -1, 4, -4, 6, -30, 2 ** -10)),
    errors: [floatsOnly('erf', erf)],
  }),
  row({
    name: 'floor',
    covers: ['floor'],
    run: ([a]) => floor(a),
    torch: 'torch.floor(a)',
    gradgrad: false, // the gradient is 0 whatever the inputs
    samples: unarySamples(-4, 4, steps, OFF),
    errors: [floatsOnly('floor', floor)],
  }),
  row({
    name: 'ceil',
    covers: ['ceil'],
    run: ([a]) => ceil(a),
    torch: 'torch.ceil(a)',
    gradgrad: false, // the gradient is 0 whatever the inputs
    samples: unarySamples(-4, 4, steps, OFF),
    errors: [floatsOnly('ceil', ceil)],
  }),
  row({
    name: 'round',
    covers: ['round'],
    run: ([a]) => round(a),
    torch: 'torch.round(a)',
    gradgrad: false, // the gradient is 0 whatever the inputs
    samples: unarySamples(-4, 4, steps, OFF),
    errors: [floatsOnly('round', round)],
  }),
  row({
    name: 'trunc',
    covers: ['trunc'],
    run: ([a]) => trunc(a),
    torch: 'torch.trunc(a)',
    gradgrad: false, // the gradient is 0 whatever the inputs
    samples: unarySamples(-4, 4, steps, OFF),
    errors: [floatsOnly('trunc', trunc)],
  }),
  row({
    name: 'clamp',
    covers: ['clamp', 'clampBackward', 'maximum', 'minimum'],
    run: ([a], p: { min?: number; max?: number }) => clamp(a, p),
    torch: "torch.clamp(a, min=p.get('min'), max=p.get('max'))",
    samples: [
      { name: 'both bounds', inputs: [shifted(values([3, 4], 1), OFF)], params: { min: -1, max: 0.5 } },
      { name: 'lower bound', inputs: [shifted(values([5], 2), OFF)], params: { min: 0.25 } },
      { name: 'upper bound', inputs: [shifted(values([], 3), OFF)], params: { max: 0.25 } },
      { name: 'special values', inputs: [SPECIAL], params: { min: -1, max: 1 }, noGrad: true },
      {
        name: 'bounds in the wrong order',
        inputs: [values([5], 4)],
        params: { min: 1, max: -1 },
        noGrad: true,
      },
      { name: 'whole numbers', inputs: [whole.inputs[0]], params: { min: 2, max: 5 }, noGrad: true },
      {
        name: 'several workgroups',
        inputs: [values([20, 15], 5)],
        params: { min: -1, max: 1 },
        noGrad: true,
        noGolden: true,
      },
      { name: 'empty', inputs: [values([0], 6)], params: { min: 0 }, noGrad: true },
    ],
    dtypes: ['int32', 'uint32'],
    errors: [
      {
        name: 'fractional bounds of integers',
        run: (device) => clamp(tensor([1, 2], { device, dtype: 'int32' }), { min: 0.5 }),
        error: DTypeError,
        message:
          "clamp: expected a whole number in [-2147483648, 2147483647] to go with int32, got 0.5; convert the tensor with x.to('float32')",
      },
      {
        name: 'NaN as a bound',
        run: (device) => clamp(tensor([1, 2], { device }), { max: NaN }),
        error: DTypeError,
        message: 'clamp: expected bounds that are numbers, got min -Infinity and max NaN',
      },
      {
        name: 'bool',
        run: (device) => clamp(tensor([true], { device }), { max: 1 }),
        error: DTypeError,
        message: "clamp: expected a numeric tensor, got bool; convert with x.to('float32')",
      },
    ],
  }),
];
