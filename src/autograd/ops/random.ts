/** Random tensors. Seed and counter decide every number: the same on every device (normal numbers up to rounding). */
import { type DType, isFloat } from '../../device/dtype.js';
import { DataError, DTypeError, GradError, ShapeError } from '../../device/errors.js';
import type { Device, Program } from '../../device/types.js';
import { copyProgram } from '../../kernels/copy.js';
import {
  type BlockParams,
  bernoulliHost,
  bernoulliKernel,
  chanceProgram,
  integerProgram,
  normalProgram,
  uniformProgram,
} from '../../kernels/random.js';
import { type MultinomialParams, multinomialHost, multinomialKernel } from '../../kernels/sample.js';
import { capturing } from '../../tensor/capturing.js';
import { defaultDevice } from '../../tensor/default-device.js';
import { fromHost, type TensorOptions } from '../../tensor/factories.js';
import { type Draw, defaultGenerator, type Generator, mulHigh, philox } from '../../tensor/random.js';
import { formatShape, numel, type Shape } from '../../tensor/shape.js';
import { Tensor } from '../../tensor/tensor.js';
import { mode } from '../mode.js';
import { defineOp, executeInPlace } from '../op.js';
import { create } from './creation.js';
import { checkDType } from './define.js';

export interface RandomOptions extends TensorOptions {
  /** Where seed and counter come from; the default generator, which manualSeed() seeds, unless given. */
  generator?: Generator;
}

function drawOn(device: Device, options: { generator?: Generator }, count: number): Draw {
  return (options.generator ?? defaultGenerator).drawOn(device, count);
}

/** A new tensor of what a program draws. */
function drawn<P>(
  op: string,
  shape: Shape,
  program: Program<P & BlockParams>,
  params: P,
  options: RandomOptions,
  dtype?: DType,
): Tensor {
  const { state, block } = drawOn(options.device ?? defaultDevice(), options, numel(shape));
  return create(op, shape, program, { ...params, block }, options, dtype, [state]);
}

function checkFloat(op: string, dtype: DType = 'float32'): void {
  if (!isFloat(dtype)) throw new DTypeError(`${op}: expected a floating-point dtype, got ${dtype}`);
}

function bitsOf(dtype: DType | undefined): number {
  return dtype === 'float16' ? 11 : 24;
}

/** Uniform numbers in [0, 1), multiples of 2⁻²⁴ (2⁻¹¹ in float16). @source torch.rand */
export function rand(shape: Shape, options: RandomOptions = {}): Tensor {
  checkFloat('rand', options.dtype);
  return drawn('rand', shape, uniformProgram, { low: 0, high: 1, bits: bitsOf(options.dtype) }, options);
}

/** Normal numbers of mean 0 and variance 1. @source torch.randn; Box and Muller (1958) */
export function randn(shape: Shape, options: RandomOptions = {}): Tensor {
  checkFloat('randn', options.dtype);
  return drawn('randn', shape, normalProgram, { mean: 0, std: 1 }, options);
}

/** `rand` with the shape, dtype and device of `x`. @source torch.rand_like */
export function randLike(x: Tensor, options: RandomOptions = {}): Tensor {
  return rand(x.shape, { dtype: x.dtype, device: x.device, ...options });
}

/** `randn` with the shape, dtype and device of `x`. @source torch.randn_like */
export function randnLike(x: Tensor, options: RandomOptions = {}): Tensor {
  return randn(x.shape, { dtype: x.dtype, device: x.device, ...options });
}

/**
 * Uniform integers in [low, high).
 *
 * @returns int32 by default
 * @throws ShapeError for an empty range, or one of 2³² or more
 * @source torch.randint
 */
export function randint(low: number, high: number, shape: Shape, options: RandomOptions = {}): Tensor {
  const range = high - low;
  if (!Number.isInteger(low) || !Number.isInteger(high) || range < 1 || range >= 2 ** 32) {
    throw new ShapeError(
      `randint: expected integers low < high less than 2^32 apart, got ${low} and ${high}`,
    );
  }
  const dtype = options.dtype ?? 'int32';
  const [least, most] =
    dtype === 'int32' ? [-(2 ** 31), 2 ** 31] : dtype === 'uint32' ? [0, 2 ** 32] : [-(2 ** 53), 2 ** 53];
  if (dtype === 'bool' || low < least || high > most) {
    throw new DTypeError(`randint: expected a dtype that holds [${low}, ${high}), got ${dtype}`);
  }
  return drawn('randint', shape, integerProgram, { low, range }, options, 'int32');
}

/** The integers 0 … n − 1 in random order, int32 by default. @source torch.randperm; Fisher and Yates (1938) */
export function randperm(n: number, options: RandomOptions = {}): Tensor {
  if (!Number.isInteger(n) || n < 0) throw new ShapeError(`randperm: expected a size of 0 or more, got ${n}`);
  if (capturing.current) throw capturing.current.refuse('randperm shuffled');
  const { seed, counter } = (options.generator ?? defaultGenerator).draw(n);
  const order = Int32Array.from({ length: n }, (_, i) => i);
  const words = new Uint32Array(4);
  for (let i = n - 1, w = 0; i > 0; i--, w++) {
    if (w % 4 === 0) philox(counter + w / 4, seed, words);
    const j = mulHigh(words[w % 4], i + 1);
    [order[i], order[j]] = [order[j], order[i]];
  }
  return fromHost(order, [n], { ...options, dtype: options.dtype ?? 'int32' }, 'randperm');
}

const bernoulliOp = defineOp<[Tensor, Tensor], BlockParams>({
  name: 'bernoulli',
  mixedDTypes: true,
  infer([p]) {
    checkDType('bernoulli', p.dtype, 'float');
    return { shape: p.shape, dtype: p.dtype };
  },
  host: bernoulliHost,
  kernel: bernoulliKernel,
  differentiable: false,
});

/** @throws DataError unless p is a probability. */
export function checkProbability(op: string, p: number): void {
  if (!(p >= 0 && p <= 1)) throw new DataError(`${op}: expected a probability in [0, 1], got ${p}`);
}

/**
 * 1 with probability p, else 0: for every element of a tensor of probabilities, or one p for a whole shape.
 *
 * @throws DataError for a number p outside [0, 1]
 * @source torch.bernoulli
 */
export function bernoulli(p: Tensor, options?: Pick<RandomOptions, 'generator'>): Tensor;
export function bernoulli(p: number, shape: Shape, options?: RandomOptions): Tensor;
export function bernoulli(
  p: Tensor | number,
  shape: Shape | Pick<RandomOptions, 'generator'> = {},
  options: RandomOptions = {},
): Tensor {
  if (p instanceof Tensor) {
    const { state, block } = drawOn(p.device, shape as RandomOptions, p.numel);
    return bernoulliOp([p, state], { block });
  }
  checkProbability('bernoulli', p);
  return drawn('bernoulli', shape as Shape, chanceProgram, { p }, options);
}

const multinomialOp = defineOp<[Tensor, Tensor], MultinomialParams>({
  name: 'multinomial',
  mixedDTypes: true,
  infer([probs], { draws, replacement }) {
    checkDType('multinomial', probs.dtype, 'float');
    const k = probs.shape[probs.shape.length - 1] ?? 0;
    if (k === 0) {
      throw new ShapeError(
        `multinomial: expected weights [..., K] with K > 0, got ${formatShape(probs.shape)}`,
      );
    }
    if (!Number.isInteger(draws) || draws < 0 || (!replacement && draws > k)) {
      throw new ShapeError(
        `multinomial: expected at most ${k} draws without replacement, got ${draws}; pass { replacement: true } for more`,
      );
    }
    return { shape: [...probs.shape.slice(0, -1), draws], dtype: 'int32' };
  },
  host: multinomialHost,
  kernel: multinomialKernel,
  differentiable: false,
});

/**
 * Draws categories from each row of weights, which need not sum to 1.
 *
 * @param probs [..., K], finite and not negative; on a GPU other weights count as 0
 * @param options.replacement draw the same category again? Default false: all draws of a row differ
 * @returns [..., numSamples], int32
 * @throws ShapeError for more draws than categories without replacement
 * @source torch.multinomial
 */
export function multinomial(
  probs: Tensor,
  numSamples: number,
  options: { replacement?: boolean; generator?: Generator } = {},
): Tensor {
  const { replacement = false } = options;
  const count = replacement ? (probs.numel / Math.max(probs.shape.at(-1) ?? 1, 1)) * numSamples : probs.numel;
  const { state, block } = drawOn(probs.device, options, count);
  return multinomialOp([probs, state], { block, draws: numSamples, replacement });
}

/** Overwrites `x` with what a program draws. */
function inPlace<P>(
  op: string,
  x: Tensor,
  program: Program<P & BlockParams>,
  params: P,
  options: { generator?: Generator },
): Tensor {
  checkFloat(op, x.dtype);
  if (x.requiresGrad && mode.gradEnabled) {
    throw new GradError(
      `${op}: expected no change in place of a tensor that requires a gradient; use noGrad(() => …)`,
    );
  }
  if (x.isContiguous) {
    const { state, block } = drawOn(x.device, options, x.numel);
    executeInPlace(program, [state], [x], { ...params, block });
  } else {
    const values = drawn(op, x.shape, program, params, { ...options, dtype: x.dtype, device: x.device });
    executeInPlace(copyProgram, [values], [x], null);
    values.release();
  }
  return x;
}

/** Overwrites `x` with uniform numbers in [low, high). @source torch.Tensor.uniform_ */
export function uniform_(
  x: Tensor,
  low = 0,
  high = 1,
  options: Pick<RandomOptions, 'generator'> = {},
): Tensor {
  return inPlace('uniform_', x, uniformProgram, { low, high, bits: bitsOf(x.dtype) }, options);
}

/** Overwrites `x` with normal numbers. @source torch.Tensor.normal_ */
export function normal_(
  x: Tensor,
  mean = 0,
  std = 1,
  options: Pick<RandomOptions, 'generator'> = {},
): Tensor {
  return inPlace('normal_', x, normalProgram, { mean, std }, options);
}
