/** Losses: how far predictions are from targets. */
import { isFloat } from '../../device/dtype.js';
import { DTypeError, ShapeError } from '../../device/errors.js';
import type { ClassParams } from '../../kernels/cross-entropy.js';
import { constant } from '../../tensor/factories.js';
import { formatShape, type Shape, sameShape } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { checkIndices } from '../indices.js';
import { mode, noGrad } from '../mode.js';
import { add, div, mul, sub } from './arithmetic.js';
import { reshape, sum } from './broadcast.js';
import { eq } from './compare.js';
import { crossEntropyOp } from './cross-entropy.js';
import { lossMean } from './loss-mean.js';
import { bceOp, bceWithLogitsOp, huberOp } from './loss-pointwise.js';
import { mean } from './mean.js';
import { where } from './select.js';
import { logSoftmax } from './softmax.js';
import { abs, square } from './unary.js';

/** What becomes of the losses of all elements. */
export interface ReductionOptions {
  /** 'mean' (default), 'sum', or 'none' for a loss per element. */
  reduction?: 'mean' | 'sum' | 'none';
}

export interface ClassOptions extends ReductionOptions {
  /** A weight per class, [C]; the mean divides by the weights of the targets. Gets no gradient. */
  weight?: Tensor | null;
  /** Targets of this class count neither in the loss nor in its mean. Default −100. */
  ignoreIndex?: number;
}

export interface CrossEntropyOptions extends ClassOptions {
  /** ε in [0, 1]: the target becomes (1 − ε) · target + ε / C. Default 0. */
  labelSmoothing?: number;
}

function reduced(losses: Tensor, { reduction = 'mean' }: ReductionOptions): Tensor {
  if (reduction === 'none') return losses;
  return reduction === 'sum' ? sum(losses) : mean(losses);
}

/** @throws ShapeError unless both have one shape: losses that broadcast by accident train models that learn nothing. */
function checkSame(op: string, input: Tensor, target: Tensor): void {
  if (sameShape(input.shape, target.shape)) return;
  throw new ShapeError(
    `${op}: expected input and target of one shape, got ${formatShape(input.shape)} and ${formatShape(target.shape)}; use expand() or squeeze()`,
  );
}

/** The class dim: the second, of a vector the only one. */
function classDim(op: string, input: Tensor, weight: Tensor | null | undefined): number {
  const dim = input.ndim > 1 ? 1 : 0;
  if (!isFloat(input.dtype)) {
    throw new DTypeError(
      `${op}: expected floating-point scores, got ${input.dtype}; convert with x.to('float32')`,
    );
  }
  if (input.ndim === 0 || input.shape[dim] === 0) {
    throw new ShapeError(
      `${op}: expected scores of shape [N, C, …] with C > 0, got ${formatShape(input.shape)}`,
    );
  }
  if (weight && !sameShape(weight.shape, [input.shape[dim]])) {
    throw new ShapeError(
      `${op}: expected a weight per class [${input.shape[dim]}], got ${formatShape(weight.shape)}`,
    );
  }
  if (weight && weight.dtype !== input.dtype) {
    throw new DTypeError(
      `${op}: expected one dtype, got ${input.dtype} and weights of ${weight.dtype}; convert with weight.to('${input.dtype}')`,
    );
  }
  return dim;
}

/** Loss of class indices through the fused operation. */
function classLoss(input: Tensor, target: Tensor, params: ClassParams, options: ClassOptions): Tensor {
  const { weight, reduction = 'mean' } = options;
  const dim = classDim(params.name, input, weight);
  const rows = input.shape.filter((_, d) => d !== dim);
  if (target.dtype !== 'int32' && target.dtype !== 'uint32') {
    throw new DTypeError(
      `${params.name}: expected int32 or uint32 classes, got ${target.dtype}; convert with target.to('int32')`,
    );
  }
  if (!sameShape(rows, target.shape)) {
    throw new ShapeError(
      `${params.name}: expected scores [N, C, …] and classes [N, …], got ${formatShape(input.shape)} and ${formatShape(target.shape)}`,
    );
  }
  const [losses, stats] = crossEntropyOp.all(weight ? [input, target, weight] : [input, target], params);
  if (mode.debug) checkClasses(params, target, input.shape[dim]);
  if (reduction === 'none') return reshape(losses, target.shape);
  return reduction === 'sum' ? sum(losses) : lossMean(losses, stats);
}

/** @internal In debug mode: classes out of range are reported at the next await. */
export function checkClasses(
  { name, ignoreIndex }: Pick<ClassParams, 'name' | 'ignoreIndex'>,
  target: Tensor,
  classes: number,
): void {
  noGrad(() => {
    // A uint32 tensor has no class −100 to ignore.
    const named =
      target.dtype === 'uint32' && ignoreIndex < 0
        ? target
        : where(eq(target, ignoreIndex), constant(0, target.dtype, target.device), target);
    checkIndices(name, named, classes);
  });
}

/**
 * The cross-entropy of softmax(logits) against a target: −log softmax(logits)[t] for a class t, or −Σ_c q[c] · log
 * softmax(logits)[c] for probabilities q. Forward and backward are one kernel each for classes.
 *
 * @param logits [N, C], [N, C, d1, …] or [C]; floating-point
 * @param target classes, [N], [N, d1, …] or a scalar, int32 or uint32; or probabilities of the logits' shape and dtype
 * @returns a scalar, or the shape of the classes for reduction 'none'; float32 for float16 logits and classes. The mean over
 *   classes is weighted: Σ loss / Σ weight[t], NaN where all targets are ignored
 * @throws ShapeError where shapes do not fit, and for classes outside [0, C): at once on the CPU device, in debug mode
 *   at the next await elsewhere
 * @source torch.nn.functional.cross_entropy
 */
export function crossEntropy(logits: Tensor, target: Tensor, options: CrossEntropyOptions = {}): Tensor {
  const { labelSmoothing = 0, ignoreIndex = -100, weight } = options;
  if (!(labelSmoothing >= 0 && labelSmoothing <= 1)) {
    throw new ShapeError(`crossEntropy: expected labelSmoothing in [0, 1], got ${labelSmoothing}`);
  }
  if (!isFloat(target.dtype)) {
    const params = {
      name: 'crossEntropy',
      ignoreIndex,
      smoothing: labelSmoothing,
      normalized: false,
      weighted: weight != null,
    };
    return classLoss(logits, target, params, options);
  }
  const dim = classDim('crossEntropy', logits, weight);
  checkSame('crossEntropy', logits, target);
  const classes = logits.shape[dim];
  const q = labelSmoothing > 0 ? add(mul(target, 1 - labelSmoothing), labelSmoothing / classes) : target;
  const logs = logSoftmax(logits, dim);
  const along = logits.shape.map((s, d) => (d === dim ? s : 1));
  const weighted = weight ? mul(logs, reshape(weight, along)) : logs;
  const losses = mul(sum(mul(weighted, q), { dim }), -1);
  return reduced(losses, options);
}

/**
 * −weight[t] · logProbs[t]: the negative log-likelihood of class t.
 *
 * @param logProbs [N, C], [N, C, d1, …] or [C]; log-probabilities, e.g. of logSoftmax
 * @param target classes, [N], [N, d1, …] or a scalar; int32 or uint32
 * @returns as `crossEntropy`
 * @throws as `crossEntropy`
 * @source torch.nn.functional.nll_loss
 */
export function nllLoss(logProbs: Tensor, target: Tensor, options: ClassOptions = {}): Tensor {
  const { ignoreIndex = -100, weight } = options;
  const params = { name: 'nllLoss', ignoreIndex, smoothing: 0, normalized: true, weighted: weight != null };
  return classLoss(logProbs, target, params, options);
}

/**
 * (input − target)².
 *
 * @param input any shape, floating-point
 * @param target of the same shape
 * @returns a scalar, or that shape for reduction 'none'
 * @throws ShapeError unless the shapes are equal
 * @source torch.nn.functional.mse_loss
 */
export function mseLoss(input: Tensor, target: Tensor, options: ReductionOptions = {}): Tensor {
  checkSame('mseLoss', input, target);
  return reduced(square(sub(input, target)), options);
}

/** |input − target|; otherwise as `mseLoss`. @source torch.nn.functional.l1_loss */
export function l1Loss(input: Tensor, target: Tensor, options: ReductionOptions = {}): Tensor {
  checkSame('l1Loss', input, target);
  return reduced(abs(sub(input, target)), options);
}

/**
 * d² / 2 where |d| ≤ delta, delta · (|d| − delta / 2) beyond, with d = input − target; otherwise as `mseLoss`.
 *
 * @param options.delta where the square ends, positive; default 1
 * @throws ShapeError unless the shapes are equal and delta is positive
 * @source torch.nn.functional.huber_loss; Huber (1964)
 */
export function huberLoss(
  input: Tensor,
  target: Tensor,
  options: ReductionOptions & { delta?: number } = {},
): Tensor {
  const { delta = 1 } = options;
  checkSame('huberLoss', input, target);
  if (!(delta > 0)) throw new ShapeError(`huberLoss: expected a positive delta, got ${delta}`);
  return reduced(huberOp([input, target], { delta }), options);
}

/**
 * huberLoss with delta = beta, divided by beta; |d| for beta = 0.
 *
 * @param options.beta where the square ends, not negative; default 1
 * @source torch.nn.functional.smooth_l1_loss
 */
export function smoothL1Loss(
  input: Tensor,
  target: Tensor,
  options: ReductionOptions & { beta?: number } = {},
): Tensor {
  const { beta = 1 } = options;
  checkSame('smoothL1Loss', input, target);
  if (!(beta >= 0)) throw new ShapeError(`smoothL1Loss: expected a beta of at least 0, got ${beta}`);
  if (beta === 0) return l1Loss(input, target, options);
  return reduced(div(huberOp([input, target], { delta: beta }), beta), options);
}

export interface BinaryOptions extends ReductionOptions {
  /** Multiplies the losses; broadcasts to their shape. */
  weight?: Tensor | null;
}

function weighted(losses: Tensor, weight: Tensor | null | undefined): Tensor {
  return weight ? mul(losses, weight) : losses;
}

/**
 * −y · log x − (1 − y) · log(1 − x): binary cross-entropy of probabilities. Logarithms are bounded below by −100, so
 * that a certain mistake costs 100 and not infinity.
 *
 * @param input x, probabilities in [0, 1] (NaN outside), any shape
 * @param target y in [0, 1], of the same shape
 * @returns a scalar, or that shape for reduction 'none'
 * @throws ShapeError unless the shapes are equal
 * @source torch.nn.functional.binary_cross_entropy
 */
export function bceLoss(input: Tensor, target: Tensor, options: BinaryOptions = {}): Tensor {
  checkSame('bceLoss', input, target);
  return reduced(weighted(bceOp([input, target], null), options.weight), options);
}

/**
 * −posWeight · y · log σ(x) − (1 − y) · log(1 − σ(x)): binary cross-entropy of logits, computed without overflow.
 *
 * @param input logits x, any shape
 * @param target y in [0, 1], of the same shape
 * @param options.posWeight weight of positive targets; broadcasts to the shape
 * @returns a scalar, or that shape for reduction 'none'
 * @throws ShapeError unless input and target have one shape and posWeight broadcasts to it
 * @source torch.nn.functional.binary_cross_entropy_with_logits
 */
export function bceWithLogitsLoss(
  input: Tensor,
  target: Tensor,
  options: BinaryOptions & { posWeight?: Tensor | null } = {},
): Tensor {
  checkSame('bceWithLogitsLoss', input, target);
  const posWeight = options.posWeight ?? constant(1, input.dtype, input.device);
  checkFits('bceWithLogitsLoss: posWeight', posWeight.shape, input.shape);
  return reduced(weighted(bceWithLogitsOp([input, target, posWeight], null), options.weight), options);
}

/** @throws ShapeError unless `shape` broadcasts to `to`. */
function checkFits(what: string, shape: Shape, to: Shape): void {
  const lead = to.length - shape.length;
  if (lead >= 0 && shape.every((s, d) => s === 1 || s === to[lead + d])) return;
  throw new ShapeError(
    `${what}: expected a shape that broadcasts to ${formatShape(to)}, got ${formatShape(shape)}`,
  );
}
