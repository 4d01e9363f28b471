import { zeros } from '../../src/autograd/ops/creation.js';
import { dequantize, type QuantizedScheme, quantizedLinear } from '../../src/autograd/ops/quantized.js';
import { DTypeError, ShapeError } from '../../src/device/errors.js';
import { type Arg, type OpInfo, row, type Sample, values } from './types.js';

interface Params {
  readonly scheme: QuantizedScheme;
  readonly block: number;
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

/** Packed weights [out, in] and their scales. */
function weight(
  scheme: QuantizedScheme,
  out: number,
  width: number,
  block: number,
  seed: number,
): [Arg, Arg] {
  const per = scheme === 'int8' ? 4 : 8;
  return [words([out, width / per], seed), values([out, width / block], seed + 1, 0.25, 2)];
}

// PyTorch 1.13 has neither of these formats.
function sample(
  name: string,
  x: readonly number[],
  out: number,
  scheme: QuantizedScheme,
  block: number,
  more: Partial<Sample> = {},
): Sample {
  const inputs = [values(x, 3), ...weight(scheme, out, x[x.length - 1], block, 5)];
  return { name, inputs, params: { scheme, block }, noGolden: true, ...more };
}

const unpack = ({ scheme, block }: Params, packed: unknown, scales: unknown) =>
  ({ packed, scales, scheme, block }) as Parameters<typeof quantizedLinear>[1];

export const quantized: readonly OpInfo[] = [
  row<Params>({
    name: 'quantizedLinear',
    covers: ['quantizedLinear', 'quantizedLinearBackward'],
    run: ([x, packed, scales], p) => quantizedLinear(x, unpack(p, packed, scales)),
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
    ],
    gradInputs: [0],
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
    ],
  }),
  row<Params>({
    name: 'dequantize',
    covers: ['dequantize'],
    run: ([packed, scales], p) => dequantize(unpack(p, packed, scales)),
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
];
