/** The fused operations behind crossEntropy and nllLoss: a loss per row, and its gradient. */
import type { HostArray, SimdModule, SimdView } from '../../device/types.js';
import {
  type ClassParams,
  classSpace,
  crossEntropyBackwardKernel,
  crossEntropyKernel,
} from '../../kernels/cross-entropy.js';
import { indexError } from '../../kernels/gather.js';
import type { Shape } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { type BackwardContext, defineOp, type Op } from '../op.js';
import { mul, sub } from './arithmetic.js';
import { reshape, sum } from './broadcast.js';
import { full } from './creation.js';
import { softmax } from './softmax.js';
import { select } from './views.js';

/**
 * Outputs: losses [rows] = (1 − ε)·w[t]·(lse − x[t]) + ε/C · Σ_c w[c]·(lse − x[c]), 0 for ignored rows; and [3, rows] for
 * backward and the mean: lse = log Σ_c exp x[c]; the weight (1 − ε)·w[t] + ε/C · Σ_c w[c] of the whole target; w[t].
 * Both are float32 for float16 scores: sums over many rows would leave float16's range.
 */
export const crossEntropyOp = defineOp<readonly Tensor[], ClassParams>({
  name: 'crossEntropy',
  autocast: 'full',
  mixedDTypes: true,
  infer([x]) {
    const { rows } = classSpace(x.shape);
    const dtype = x.dtype === 'float16' ? 'float32' : x.dtype;
    return [
      { shape: [rows], dtype },
      { shape: [3, rows], dtype },
    ];
  },
  host: forwardHost,
  simd: forwardSimd,
  simdIntegers: true,
  kernel: crossEntropyKernel,
  saves: ({ weighted }) => (weighted ? [0, 1, 2, 'output1'] : [0, 1, 'output1']),
  backward(context) {
    const { params, gradOutput: g, input, output } = context;
    const weight = params.weighted ? [input(2)] : [];
    return [crossEntropyBackwardOp([g, input(0), input(1), output(1), ...weight], params)];
  },
});

/** Gradient of the scores: g · (weight of the target · softmax x − the weighted target). */
export const crossEntropyBackwardOp: Op<readonly Tensor[], ClassParams> = defineOp<
  readonly Tensor[],
  ClassParams
>({
  name: 'crossEntropyBackward',
  mixedDTypes: true,
  layout: ['strided', 'contiguous', 'contiguous', 'contiguous', 'contiguous'],
  infer: ([, x]) => x,
  host: backwardHost,
  simd: backwardSimd,
  simdIntegers: true,
  kernel: crossEntropyBackwardKernel,
  saves: ({ weighted }) => (weighted ? [0, 1, 2, 3, 4] : [0, 1, 2, 3]),
  backward: secondOrder,
});

/** u is the gradient of what backward gave; the log-sum-exp among the statistics is taken as the function of x that it is. */
function secondOrder({
  gradOutput: u,
  params,
  input,
  needs,
}: BackwardContext<ClassParams>): (Tensor | null)[] {
  const [g, x, target, stats] = [input(0), input(1), input(2), input(3)];
  const rest = params.weighted ? [input(4)] : [];
  const dim = x.ndim > 1 ? 1 : 0;
  const rowShape = x.shape.map((s, d) => (d === dim ? 1 : s));
  const gradG = () => {
    const ones = full(g.shape, 1, { dtype: g.dtype, device: g.device });
    const slope = crossEntropyBackwardOp([ones, x, target, stats, ...rest], params);
    return reshape(sum(mul(u, slope), { dim }), g.shape);
  };
  const gradX = () => {
    const scale = reshape(mul(g, select(stats, 0, 1)), rowShape);
    const y = softmax(x, dim);
    return mul(scale, mul(y, sub(u, sum(mul(u, y), { dim, keepdim: true }))));
  };
  return [needs(0) ? gradG() : null, needs(1) && !params.normalized ? gradX() : null];
}

function forwardHost(inputs: readonly HostArray[], [y, stats]: readonly HostArray[], p: ClassParams): void {
  const [x, t] = inputs;
  const { classes, inner, rows } = classSpace(x.shape);
  const [X, T] = [x.data, t.data];
  const W = p.weighted ? inputs[2].data : null;
  const wStart = p.weighted ? inputs[2].offset : 0;
  const spread = p.smoothing / classes;
  for (let row = 0; row < rows; row++) {
    const base = x.offset + Math.floor(row / inner) * classes * inner + (row % inner);
    const end = base + classes * inner;
    let lse = 0;
    let even = 0;
    let total = 0;
    if (!p.normalized) {
      let top = -Infinity;
      for (let at = base; at < end; at += inner) if (X[at] > top) top = X[at];
      let s = 0;
      for (let at = base; at < end; at += inner) s += Math.exp(X[at] - top);
      lse = top + Math.log(s);
      if (p.smoothing > 0) {
        for (let c = 0; c < classes; c++) {
          const w = W ? W[wStart + c] : 1;
          total += w;
          even += w * (lse - X[base + c * inner]);
        }
      }
    }
    stats.data[row] = lse;
    const named = T[t.offset + row];
    if (named === p.ignoreIndex) {
      y.data[row] = stats.data[rows + row] = stats.data[2 * rows + row] = 0;
      continue;
    }
    if (!(named >= 0 && named < classes)) {
      throw indexError(p.name, classes, named, row);
    }
    const w = W ? W[wStart + named] : 1;
    y.data[row] = (1 - p.smoothing) * w * (lse - X[base + named * inner]) + spread * even;
    stats.data[rows + row] = (1 - p.smoothing) * w + spread * total;
    stats.data[2 * rows + row] = w;
  }
}

function backwardHost(inputs: readonly HostArray[], [y]: readonly HostArray[], p: ClassParams): void {
  const [g, x, t, stats] = inputs;
  const { classes, inner, rows } = classSpace(x.shape);
  const [X, Y, S] = [x.data, y.data, stats.data];
  const W = p.weighted ? inputs[4].data : null;
  const wStart = p.weighted ? inputs[4].offset : 0;
  const spread = p.smoothing / classes;
  for (let row = 0; row < rows; row++) {
    const base = Math.floor(row / inner) * classes * inner + (row % inner);
    const named = t.data[t.offset + row];
    if (named === p.ignoreIndex) {
      for (let c = 0; c < classes; c++) Y[base + c * inner] = 0;
      continue;
    }
    const scale = g.data[g.offset + row * g.strides[0]];
    const lse = S[stats.offset + row];
    const mass = S[stats.offset + rows + row];
    for (let c = 0; c < classes; c++) {
      const at = base + c * inner;
      let d = p.normalized ? 0 : mass * Math.exp(X[x.offset + at] - lse);
      if (spread > 0) d -= spread * (W ? W[wStart + c] : 1);
      if (c === named) d -= (1 - p.smoothing) * S[stats.offset + 2 * rows + row];
      Y[at] = scale * d;
    }
  }
}

/** Whether the module covers the case: rows contiguous, targets not smoothed, scores not normalised. */
function covered(shape: Shape, { smoothing, normalized }: ClassParams): boolean {
  return classSpace(shape).inner === 1 && smoothing === 0 && !normalized;
}

function forwardSimd(
  module: SimdModule,
  [x, t, w]: readonly SimdView[],
  [y, stats]: readonly SimdView[],
  p: ClassParams,
): boolean {
  const { rows, classes } = classSpace(x.shape);
  // A class out of range is left to the host, which says which one it is.
  return (
    covered(x.shape, p) &&
    Boolean(
      module.crossEntropy(
        rows,
        classes,
        x.pointer,
        t.pointer,
        w?.pointer ?? 0,
        p.ignoreIndex,
        y.pointer,
        stats.pointer,
      ),
    )
  );
}

function backwardSimd(
  module: SimdModule,
  [g, x, t, stats]: readonly SimdView[],
  [y]: readonly SimdView[],
  p: ClassParams,
): boolean {
  if (!covered(x.shape, p)) return false;
  const { rows, classes } = classSpace(x.shape);
  const [step] = g.strides;
  const { ignoreIndex } = p;
  const at = y.pointer;
  module.crossEntropyBackward(
    rows,
    classes,
    g.pointer,
    step,
    x.pointer,
    t.pointer,
    stats.pointer,
    ignoreIndex,
    at,
  );
  return true;
}
