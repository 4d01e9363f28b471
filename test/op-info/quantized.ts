import { zeros } from '../../src/autograd/ops/creation.js';
import {
  dequantize,
  type QuantizedScheme,
  type QuantizedWeight,
  quantizedEmbedding,
  quantizedLinear,
} from '../../src/autograd/ops/quantized.js';
import { DTypeError, ShapeError } from '../../src/device/errors.js';
import type { Tensor } from '../../src/tensor/tensor.js';
import { type Arg, type OpInfo, row, type Sample, values } from './types.js';

interface Params {
  readonly scheme: QuantizedScheme;
  readonly block: number;
  /** Scales are quantised, and the next input says what they stand for. */
  readonly double?: boolean;
  readonly bias?: boolean;
  readonly residual?: boolean;
}

/** Words of any bits: all codes occur. */
function words(shape: readonly number[], seed: number): Arg {
  let state = (seed * 0x9e3779b9) >>> 0;
  const data = Array.from({ length: shape.reduce((n, s) => n * s, 1) }, () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state = (state ^ (state << 5)) >>> 0;
    return state;
  });
  return { shape, data, dtype: 'uint32' };
}

/** Packed weights [out, in] and their scales, quantised scales with their groups. */
function weight(
  scheme: QuantizedScheme,
  out: number,
  width: number,
  block: number,
  seed: number,
  double = false,
): Arg[] {
  const per = scheme === 'int8' ? 4 : 8;
  const packed = words([out, width / per], seed);
  if (!double) return [packed, values([out, width / block], seed + 1, 0.25, 2)];
  const count = (out * width) / block;
  return [
    packed,
    words([Math.ceil(count / 4)], seed + 1),
    values([1 + Math.ceil(count / 256)], seed + 2, 0.25, 2),
  ];
}

// PyTorch 1.13 has neither of these formats.
function sample(
  name: string,
  x: readonly number[],
  out: number,
  scheme: QuantizedScheme,
  block: number,
  more: Partial<Sample> & Partial<Params> = {},
): Sample {
  const { double = false, bias = false, residual = false, ...rest } = more;
  const [packed, scales, ...groups] = weight(scheme, out, x[x.length - 1], block, 5, double);
  const inputs = [values(x, 3), packed, scales];
  if (bias) inputs.push(values([out], 9));
  if (residual) inputs.push(values([...x.slice(0, -1), out], 10));
  inputs.push(...groups);
  return { name, inputs, params: { scheme, block, double, bias, residual }, noGolden: true, ...rest };
}

const unpack = (
  { scheme, block, double }: Params,
  packed: Tensor,
  scales: Tensor,
  groups?: Tensor,
): QuantizedWeight => ({
  packed,
  scales,
  groups: double ? groups : null,
  scheme,
  block,
});

/** Indices into a table of 9 rows. */
const picks: Arg = { shape: [2, 5], data: [0, 8, 3, 3, 7, 1, 0, 5, 8, 2], dtype: 'int32' };

/** A table of quantised weights in blocks of 16, and indices. */
const table = (name: string, scheme: QuantizedScheme, double: boolean, index = picks): Sample => {
  const [packed, scales, ...groups] = weight(scheme, 9, 48, 16, 2, double);
  const inputs = [packed, scales, index, ...groups];
  return { name, inputs, params: { scheme, block: 16, double }, noGolden: true };
};

export const quantized: readonly OpInfo[] = [
  row<Params>({
    name: 'quantizedLinear',
    covers: ['quantizedLinear', 'quantizedLinearBackward'],
    run([x, packed, scales, ...more], p) {
      const bias = p.bias ? more.shift() : null;
      const residual = p.residual ? more.shift() : null;
      return quantizedLinear(x, unpack(p, packed, scales, more[0]), { bias, residual });
    },
    samples: [
      sample('int8, one row', [1, 64], 3, 'int8', 64),
      sample('nf4, one row', [1, 64], 3, 'nf4', 64),
      sample('int8, a vector, small blocks', [32], 5, 'int8', 16),
      sample('nf4, a vector, small blocks', [32], 5, 'nf4', 16),
      sample('int8, batches', [2, 3, 32], 9, 'int8', 32),
      sample('nf4, batches', [2, 3, 32], 9, 'nf4', 32),
      sample('int8, several tiles', [45, 128], 70, 'int8', 64, { noGrad: true }),
      sample('nf4, several tiles', [45, 128], 70, 'nf4', 64, { noGrad: true }),
      sample('int8, one output', [9, 48], 1, 'int8', 48),
      sample('nf4, one output', [9, 48], 1, 'nf4', 48),
      sample('nf4, no rows', [0, 32], 4, 'nf4', 32, { noGrad: true }),
      sample('int8, a bias', [2, 3, 32], 9, 'int8', 32, { bias: true }),
      sample('nf4, a residual', [5, 32], 9, 'nf4', 16, { residual: true }),
      sample('nf4, one row, bias and residual', [1, 32], 70, 'nf4', 16, { bias: true, residual: true }),
      sample('nf4, several tiles, bias and residual', [45, 64], 70, 'nf4', 64, {
        bias: true,
        residual: true,
        noGrad: true,
      }),
      sample('int8, quantised scales', [3, 64], 5, 'int8', 16, { double: true, bias: true, residual: true }),
      sample('nf4, quantised scales', [3, 64], 5, 'nf4', 16, { double: true, bias: true, residual: true }),
      sample('nf4, one row, quantised scales of several groups', [1, 128], 70, 'nf4', 16, {
        double: true,
        bias: true,
        residual: true,
      }),
      sample('nf4, several tiles, everything', [45, 128], 70, 'nf4', 16, {
        double: true,
        bias: true,
        residual: true,
        noGrad: true,
      }),
    ],
    // Bias and residual; groups, which are constants, come after both.
    gradInputs: [0, 3, 4],
    // Sums of up to 128 products of about 1, whose roundings do not get smaller where the sum does.
    tolerance: { float32: { absolute: 2e-5, relative: 2e-5 }, float16: { absolute: 2e-2, relative: 4e-3 } },
    errors: [
      {
        name: 'weights of another shape',
        run: (device) =>
          quantizedLinear(zeros([2, 64], { device }), {
            packed: zeros([3, 8], { dtype: 'uint32', device }),
            scales: zeros([3, 2], { device }),
            scheme: 'nf4',
            block: 64,
          }),
        error: ShapeError,
        message:
          'quantizedLinear: expected nf4 weights packed as [3, 8] with scales [3, 1], got [3, 8] and [3, 2]',
      },
      {
        name: 'an input that does not fit',
        run: (device) =>
          quantizedLinear(zeros([2, 32], { device }), {
            packed: zeros([3, 16], { dtype: 'uint32', device }),
            scales: zeros([3, 1], { device }),
            scheme: 'int8',
            block: 64,
          }),
        error: ShapeError,
        message: 'quantizedLinear: expected an input [..., 64], got [2, 32]',
      },
      {
        name: 'packed weights of floats',
        run: (device) =>
          quantizedLinear(zeros([2, 64], { device }), {
            packed: zeros([3, 16], { device }),
            scales: zeros([3, 1], { device }),
            scheme: 'int8',
            block: 64,
          }),
        error: DTypeError,
        message: 'quantizedLinear: expected packed weights in uint32, got float32',
      },
      {
        name: 'blocks that do not divide a row',
        run: (device) =>
          quantizedLinear(zeros([2, 64], { device }), {
            packed: zeros([3, 16], { dtype: 'uint32', device }),
            scales: zeros([3, 1], { device }),
            scheme: 'int8',
            block: 48,
          }),
        error: ShapeError,
        message:
          'quantizedLinear: expected blocks of a multiple of 16 that divides the 64 weights of a row, got 48; choose another block',
      },
      {
        name: 'a bias of another size',
        run: (device) =>
          quantizedLinear(
            zeros([2, 64], { device }),
            {
              packed: zeros([3, 16], { dtype: 'uint32', device }),
              scales: zeros([3, 1], { device }),
              scheme: 'int8',
              block: 64,
            },
            { bias: zeros([4], { device }) },
          ),
        error: ShapeError,
        message: 'quantizedLinear: expected a bias of shape [3], got [4]',
      },
      {
        name: 'a residual that does not fit',
        run: (device) =>
          quantizedLinear(
            zeros([2, 64], { device }),
            {
              packed: zeros([3, 16], { dtype: 'uint32', device }),
              scales: zeros([3, 1], { device }),
              scheme: 'int8',
              block: 64,
            },
            { residual: zeros([3], { device }) },
          ),
        error: ShapeError,
        message: "quantizedLinear: expected a residual of the result's shape [2, 3], got [3]",
      },
      {
        name: 'groups that do not fit',
        run: (device) =>
          quantizedLinear(zeros([2, 64], { device }), {
            packed: zeros([3, 16], { dtype: 'uint32', device }),
            scales: zeros([1], { dtype: 'uint32', device }),
            groups: zeros([1], { device }),
            scheme: 'int8',
            block: 64,
          }),
        error: ShapeError,
        message: 'quantizedLinear: expected groups of scales [2], got [1]',
      },
    ],
  }),
  row<Params>({
    name: 'dequantize',
    covers: ['dequantize'],
    run: ([packed, scales, groups], p) => dequantize(unpack(p, packed, scales, groups)),
    samples: [
      {
        name: 'int8',
        inputs: weight('int8', 3, 64, 32, 1),
        params: { scheme: 'int8', block: 32 },
        noGolden: true,
      },
      {
        name: 'nf4',
        inputs: weight('nf4', 3, 64, 32, 1),
        params: { scheme: 'nf4', block: 32 },
        noGolden: true,
      },
      {
        name: 'int8, quantised scales',
        inputs: weight('int8', 3, 64, 32, 1, true),
        params: { scheme: 'int8', block: 32, double: true },
        noGolden: true,
      },
      {
        name: 'nf4, quantised scales of several groups',
        inputs: weight('nf4', 20, 256, 16, 1, true),
        params: { scheme: 'nf4', block: 16, double: true },
        noGolden: true,
      },
      {
        name: 'several workgroups',
        inputs: weight('nf4', 20, 128, 64, 1),
        params: { scheme: 'nf4', block: 64 },
        noGolden: true,
      },
    ],
    grad: false,
    errors: [
      {
        name: 'into integers',
        run: (device) =>
          dequantize(
            {
              packed: zeros([3, 16], { dtype: 'uint32', device }),
              scales: zeros([3, 1], { device }),
              scheme: 'int8',
              block: 64,
            },
            'int32',
          ),
        error: DTypeError,
        message: 'dequantize: expected a floating-point dtype, got int32',
      },
    ],
  }),
  row<Params>({
    name: 'quantizedEmbedding',
    covers: ['quantizedEmbedding'],
    run: ([packed, scales, index, groups], p) => quantizedEmbedding(unpack(p, packed, scales, groups), index),
    samples: [
      table('int8', 'int8', false),
      table('nf4', 'nf4', false),
      table('int8, quantised scales', 'int8', true),
      table('nf4, quantised scales', 'nf4', true),
      table('no indices', 'nf4', false, { shape: [0], data: [], dtype: 'int32' }),
      table('one index', 'nf4', true, { shape: [], data: [4], dtype: 'int32' }),
    ],
    grad: false,
    errors: [
      {
        name: 'indices of floats',
        run: (device) =>
          quantizedEmbedding(
            {
              packed: zeros([3, 8], { dtype: 'uint32', device }),
              scales: zeros([3, 1], { device }),
              scheme: 'nf4',
              block: 64,
            },
            zeros([2], { device }),
          ),
        error: DTypeError,
        message:
          "quantizedEmbedding: expected int32 or uint32 indices, got float32; convert with x.to('int32')",
      },
    ],
  }),
];
