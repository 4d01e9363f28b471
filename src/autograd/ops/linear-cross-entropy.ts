/** The cross-entropy of a linear layer's scores, which never exist together: for vocabularies of tens of thousands of words. */
import { isFloat } from '../../device/dtype.js';
import { DTypeError, ShapeError } from '../../device/errors.js';
import {
  chunkOf,
  type LinearClassBackwardParams,
  type LinearClassParams,
  linearCrossEntropyBackwardKernel,
  linearCrossEntropyKernel,
} from '../../kernels/linear-cross-entropy.js';
import {
  linearCrossEntropyBackwardHost,
  linearCrossEntropyBackwardSimd,
  linearCrossEntropyHost,
  linearCrossEntropySimd,
} from '../../kernels/linear-cross-entropy-host.js';
import { formatShape, numel, sameShape } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { mode } from '../mode.js';
import { type BackwardContext, defineOp } from '../op.js';
import { reshape, sum } from './broadcast.js';
import { crossEntropyBackwardOp } from './cross-entropy.js';
import { linear } from './linear.js';
import { lossMean } from './loss-mean.js';
import { checkClasses, crossEntropy, type ReductionOptions } from './losses.js';
import { matmul } from './matmul.js';
import { transpose } from './views.js';

const NAME = 'linearCrossEntropy';

/** Inputs x [N, C], weight [V, C], targets [N], bias [V]?; outputs losses [N] and stats [3, N] as crossEntropy has them. */
const linearCrossEntropyOp = defineOp<readonly Tensor[], LinearClassParams>({
  name: NAME,
  autocast: 'half',
  mixedDTypes: true,
  layout: ['strided', 'strided', 'contiguous', 'contiguous'],
  infer([x]) {
    const dtype = x.dtype === 'float16' ? 'float32' : x.dtype;
    return [
      { shape: [x.shape[0]], dtype },
      { shape: [3, x.shape[0]], dtype },
    ];
  },
  host: linearCrossEntropyHost,
  simd: linearCrossEntropySimd,
  simdIntegers: true,
  kernel: linearCrossEntropyKernel,
  work: ([x, weight]) => ({ operations: 2 * weight.shape[0] * numel(x.shape) }),
  saves: ({ bias }) => (bias ? [0, 1, 2, 3, 'output1'] : [0, 1, 2, 'output1']),
  backward(context) {
    const { params, gradOutput: g, input, output, needs } = context;
    // A gradient to be differentiated again is made of operations, at the price of all scores.
    if (mode.gradEnabled) return composed(context);
    const wants = { x: needs(0), weight: needs(1), bias: params.bias && needs(3) };
    const bias = params.bias ? [input(3)] : [];
    const found = backwardOp.all([g, input(0), input(1), input(2), output(1), ...bias], { ...params, wants });
    const next = (wanted: boolean) => (wanted ? found.shift()! : null);
    const [dx, dWeight] = [next(wants.x), next(wants.weight)];
    return [dx, dWeight, null, ...(params.bias ? [next(wants.bias)] : [])];
  },
});

const backwardOp = defineOp<readonly Tensor[], LinearClassBackwardParams>({
  name: `${NAME}Backward`,
  mixedDTypes: true,
  layout: ['strided', 'strided', 'strided', 'contiguous', 'contiguous', 'contiguous'],
  infer([, x, weight], { wants }) {
    const of = (shape: readonly number[], wanted: boolean) => (wanted ? [{ shape, dtype: x.dtype }] : []);
    return [
      ...of(x.shape, wants.x),
      ...of(weight.shape, wants.weight),
      ...of(weight.shape.slice(0, 1), wants.bias),
    ];
  },
  host: linearCrossEntropyBackwardHost,
  simd: linearCrossEntropyBackwardSimd,
  simdIntegers: true,
  kernel: linearCrossEntropyBackwardKernel,
  // The scores again, and a product for each gradient.
  work: ([, x, weight], _, { wants }) => ({
    operations: 2 * weight.shape[0] * numel(x.shape) * (1 + Number(wants.x) + Number(wants.weight)),
  }),
  // Runs only where no graph is recorded: see above.
  differentiable: false,
});

function composed(context: BackwardContext<LinearClassParams>): (Tensor | null)[] {
  const { params, gradOutput: g, input, output, needs } = context;
  const [x, weight] = [input(0), input(1)];
  const scores = linear(x, weight, params.bias ? input(3) : null);
  const slope = crossEntropyBackwardOp([g, scores, input(2), output(1)], {
    name: NAME,
    ignoreIndex: params.ignoreIndex,
    smoothing: params.smoothing,
    normalized: false,
    weighted: false,
  });
  return [
    needs(0) ? matmul(slope, weight) : null,
    needs(1) ? matmul(transpose(slope, 0, 1), x) : null,
    null,
    ...(params.bias ? [needs(3) ? sum(slope, { dim: 0 }) : null] : []),
  ];
}

export interface LinearCrossEntropyOptions extends ReductionOptions {
  /** [V] */
  bias?: Tensor | null;
  /** Targets of this class count neither in the loss nor in its mean. Default −100. */
  ignoreIndex?: number;
  /** ε in [0, 1]: the target becomes (1 − ε) · target + ε / V. Default 0. */
  labelSmoothing?: number;
  /** Words whose scores exist at a time. Default: as many as take about 8 MB. */
  chunk?: number;
}

/** @throws ShapeError or DTypeError where operands do not fit. */
function check(x: Tensor, weight: Tensor, targets: Tensor, options: LinearCrossEntropyOptions): void {
  const { bias, labelSmoothing = 0, chunk } = options;
  const fits =
    x.ndim > 0 && weight.ndim === 2 && weight.shape[0] > 0 && x.shape[x.ndim - 1] === weight.shape[1];
  if (!fits || !sameShape(x.shape.slice(0, -1), targets.shape)) {
    throw new ShapeError(
      `${NAME}: expected x [..., C], weight [V, C] with V > 0 and targets [...], got ${formatShape(x.shape)}, ${formatShape(weight.shape)} and ${formatShape(targets.shape)}`,
    );
  }
  if (bias && !sameShape(bias.shape, [weight.shape[0]])) {
    throw new ShapeError(
      `${NAME}: expected a bias of shape [${weight.shape[0]}], got ${formatShape(bias.shape)}`,
    );
  }
  const dtypes = [x, weight, ...(bias ? [bias] : [])].map((t) => t.dtype);
  if (!isFloat(x.dtype) || dtypes.some((d) => d !== x.dtype)) {
    throw new DTypeError(`${NAME}: expected one floating-point dtype, got ${dtypes.join(', ')}`);
  }
  if (targets.dtype !== 'int32' && targets.dtype !== 'uint32') {
    throw new DTypeError(
      `${NAME}: expected int32 or uint32 classes, got ${targets.dtype}; convert with targets.to('int32')`,
    );
  }
  if (!(labelSmoothing >= 0 && labelSmoothing <= 1)) {
    throw new ShapeError(`${NAME}: expected labelSmoothing in [0, 1], got ${labelSmoothing}`);
  }
  if (chunk !== undefined && !(Number.isInteger(chunk) && chunk > 0)) {
    throw new ShapeError(`${NAME}: expected a chunk of at least one word, got ${chunk}`);
  }
}

/**
 * The cross-entropy of x · weightᵀ + bias against classes: −log softmax(scores)[t], without the scores of all words ever
 * existing: forward and backward compute them a chunk of the vocabulary at a time. Where they fit into one chunk it is `linear`
 * and `crossEntropy`.
 *
 * @param x [..., C], floating-point
 * @param weight [V, C], of x's dtype
 * @param targets [...], int32 or uint32
 * @returns a scalar, or the shape of the targets for reduction 'none'; float32 for float16. The mean is over the rows that
 *   are not ignored
 * @throws ShapeError where shapes do not fit, and for classes outside [0, V): at once on the CPU device, in debug mode
 *   at the next await elsewhere; DTypeError for other dtypes
 * @source torch.nn.functional.cross_entropy of torch.nn.functional.linear; Wijmans et al. (2024), arXiv:2411.09009, for the
 *   idea
 */
export function linearCrossEntropy(
  x: Tensor,
  weight: Tensor,
  targets: Tensor,
  options: LinearCrossEntropyOptions = {},
): Tensor {
  check(x, weight, targets, options);
  const { bias = null, ignoreIndex = -100, labelSmoothing = 0, reduction = 'mean' } = options;
  const [words, C] = weight.shape;
  const rows = reshape(x, [-1, C]);
  const classes = reshape(targets, [-1]);
  const chunk = Math.min(options.chunk ?? chunkOf(classes.numel, words), words);
  if (chunk === words && options.chunk === undefined) {
    const scores = linear(rows, weight, bias);
    const loss = crossEntropy(scores, classes, { ignoreIndex, labelSmoothing, reduction });
    return reduction === 'none' ? reshape(loss, targets.shape) : loss;
  }
  const params = { ignoreIndex, smoothing: labelSmoothing, bias: bias !== null, chunk };
  const [losses, stats] = linearCrossEntropyOp.all([rows, weight, classes, ...(bias ? [bias] : [])], params);
  if (mode.debug) checkClasses({ name: NAME, ignoreIndex }, classes, words);
  if (reduction === 'none') return reshape(losses, targets.shape);
  return reduction === 'sum' ? sum(losses) : lossMean(losses, stats);
}
