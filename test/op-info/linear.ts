import { zeros } from '../../src/autograd/ops/creation.js';
import { type LinearActivation, linear } from '../../src/autograd/ops/linear.js';
import { narrow } from '../../src/autograd/ops/views.js';
import { ShapeError } from '../../src/device/errors.js';
import { type OpInfo, row, type Sample, values } from './types.js';

const ACTIVATIONS: readonly LinearActivation[] = ['relu', 'gelu', 'geluTanh', 'silu', 'tanh', 'sigmoid'];

/** x [..., k], W [n, k] and b [n]; values small enough that activations do not all saturate. */
function layer(x: number[], n: number, more: Partial<Sample> = {}): Sample {
  const k = x[x.length - 1];
  return {
    name: `[${x}] → ${n}`,
    inputs: [values(x, 1, -1, 1), values([n, k], 2, -1, 1), values([n], 3)],
    ...more,
  };
}

/** Without golden values, to keep their file small. */
const border = (m: number, k: number, n: number, more: Partial<Sample> = {}): Sample =>
  layer([m, k], n, { noGolden: true, ...more });

const message = (text: string) => ({ error: ShapeError, message: `linear: ${text}` });

/**
 * Sums of many terms of both signs: the error is that of the terms, which are up to 1, not of what is left of them. Float16
 * rounds the sum and the slope before the gradient is summed.
 */
const LONG = {
  float32: { absolute: 2e-5, relative: 2e-5 },
  float16: { absolute: 2e-2, relative: 4e-3 },
};

export const linears: readonly OpInfo[] = [
  row({
    name: 'linear',
    covers: ['linear', 'linearBackward'],
    run: ([x, weight, bias]) => linear(x, weight, bias),
    torch: 'F.linear(*inputs)',
    tolerance: LONG,
    samples: [
      { name: 'batch', inputs: [values([2, 3, 4], 1), values([5, 4], 2), values([5], 3)] },
      { name: 'vector', inputs: [values([4], 1), values([5, 4], 2), values([5], 3)] },
      { name: 'no bias', inputs: [values([3, 4], 1), values([5, 4], 2)] },
      // PyTorch 1.13 wants a matrix here when there is a bias.
      { name: 'one output', inputs: [values([3, 4], 1), values([4], 2), values([], 3)], noGolden: true },
      layer([3, 4], 1, { name: 'one output, a matrix' }),
      layer([1, 4], 1, { name: 'one row, one output' }),
      layer([2, 0], 3, { name: 'no inputs: the bias' }),
      layer([0, 3], 2, { name: 'no rows', noGrad: true }),
      border(8, 8, 8),
      border(63, 17, 65),
      border(40, 32, 48),
      border(70, 64, 65),
      border(1, 300, 70),
      border(4, 96, 36),
      border(3, 1200, 8),
      border(1300, 4, 6),
      border(600, 12, 1),
    ],
    errors: [
      {
        name: 'in differs',
        run: (device) => linear(zeros([2, 3], { device }), zeros([5, 4], { device })),
        ...message('expected x [..., in] and weight [out, in], got [2, 3] and [5, 4]'),
      },
      {
        name: 'bias of another size',
        run: (device) => linear(zeros([2, 3], { device }), zeros([5, 3], { device }), zeros([4], { device })),
        ...message('expected a bias of shape [5], got [4]'),
      },
      {
        name: 'residual of another shape',
        run: (device) =>
          linear(zeros([2, 3], { device }), zeros([5, 3], { device }), null, {
            residual: zeros([5], { device }),
          }),
        ...message("expected a residual of the result's shape [2, 5], got [5]"),
      },
    ],
  }),
  row<{ activation: LinearActivation; bias?: false }>({
    name: 'linear, activation',
    covers: ['linear', 'linearBackward'],
    run: ([x, weight, bias], { activation }) => linear(x, weight, bias, { activation }),
    torch:
      '(lambda y: F.gelu(y, approximate="tanh") if p["activation"] == "geluTanh" else getattr(F if p["activation"] in ("gelu", "silu", "relu") else torch, p["activation"])(y))(F.linear(*inputs))',
    tolerance: LONG,
    samples: [
      ...ACTIVATIONS.map((activation) => layer([2, 3, 4], 5, { name: activation, params: { activation } })),
      {
        name: 'no bias',
        inputs: [values([3, 4], 1), values([5, 4], 2)],
        params: { activation: 'gelu' },
      },
      layer([3, 4], 1, { name: 'one output', params: { activation: 'silu' } }),
      {
        name: 'a vector as weight',
        inputs: [values([3, 4], 1), values([4], 2)],
        params: { activation: 'tanh' },
      },
      border(12, 16, 20, { params: { activation: 'geluTanh' } }),
      border(33, 18, 35, { params: { activation: 'gelu' } }),
      border(2, 1100, 8, { params: { activation: 'silu' } }),
    ],
  }),
  row<{ activation?: LinearActivation; bias?: false; offset?: boolean }>({
    name: 'linear, residual',
    covers: ['linear', 'linearBackward'],
    run: ([x, weight, last, bias], { activation, offset }) =>
      linear(x, weight, bias, {
        activation,
        // Rows from the second on: a residual that does not begin at a multiple of 4.
        residual: offset ? narrow(last, 0, 1, last.shape[0] - 1) : last,
      }),
    torch:
      '(torch.relu if p.get("activation") else lambda y: y)(F.linear(a, b, d if len(inputs) > 3 else None)) + (c[1:] if p.get("offset") else c)',
    tolerance: LONG,
    samples: [
      {
        name: 'bias and residual',
        inputs: [values([2, 3, 4], 1), values([5, 4], 2), values([2, 3, 5], 3), values([5], 4)],
      },
      { name: 'residual', inputs: [values([3, 4], 1), values([8, 4], 2), values([3, 8], 3)] },
      {
        name: 'a residual at an offset',
        inputs: [values([3, 4], 1), values([8, 4], 2), values([4, 8], 3)],
        params: { offset: true },
      },
      {
        name: 'an odd offset',
        inputs: [values([3, 4], 1), values([6, 4], 2), values([4, 6], 3)],
        params: { offset: true },
      },
      {
        name: 'activation and residual',
        inputs: [values([3, 4], 1), values([5, 4], 2), values([3, 5], 3), values([5], 4)],
        params: { activation: 'relu' },
      },
      {
        name: 'a vector as weight',
        inputs: [values([3, 4], 1), values([4], 2), values([3], 3)],
      },
      {
        name: 'split k',
        inputs: [values([4, 1200], 1, -1, 1), values([8, 1200], 2, -1, 1), values([4, 8], 3), values([8], 4)],
        noGolden: true,
      },
    ],
  }),
];
