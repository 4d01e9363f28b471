/** Reductions that keep more than one number along the way: variance and the logarithm of a sum of exponentials. */
import type { HostArray } from '../../device/types.js';
import { type ReduceTemplate, reduce, reduceHost } from '../../kernels/reduce.js';
import { simdReduce, simdVariance } from '../../kernels/simd-reduce.js';
import { EXP_DOWN } from '../../kernels/softmax.js';
import { declarations, INF, IS_NAN, NAN, ROOT } from '../../kernels/wgsl.js';
import { LOG } from '../../kernels/wgsl-math.js';
import { reducedShape } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { defineOp, type Spec } from '../op.js';
import { mul, sub } from './arithmetic.js';
import { expandReduced, type ReduceOptions, type ReduceParams, reduceParams } from './broadcast.js';
import { checkDType } from './define.js';
import { mean } from './mean.js';
import { divOrZero } from './reduce-helpers.js';
import { exp } from './unary.js';

function inferFloat(op: string): (inputs: readonly Spec[], params: ReduceParams) => Spec {
  return ([x], { dims, keepdim }) => {
    checkDType(op, x.dtype, 'float');
    return { shape: reducedShape(x.shape, dims, keepdim), dtype: x.dtype };
  };
}

interface VarParams extends ReduceParams {
  readonly correction: number;
}

/** Mean and sum of squared deviations, updated element by element (Welford) and merged (Chan, Golub, LeVeque). */
const WELFORD = `
fn welford(acc: vec3f, v: f32) -> vec3f {
  let n = acc.x + 1.0;
  let d = v - acc.y;
  let mean = acc.y + d / n;
  return vec3f(n, mean, acc.z + d * (v - mean));
}
fn welford_merge(a: vec3f, b: vec3f) -> vec3f {
  if (b.x == 0.0) { return a; }
  if (a.x == 0.0) { return b; }
  let n = a.x + b.x;
  let d = b.y - a.y;
  return vec3f(n, a.y + d * (b.x / n), a.z + b.z + d * d * (a.x * (b.x / n)));
}
fn variance(squares: f32, divisor: f32) -> f32 {
  if (divisor > 0.0) { return squares / divisor; }
  return select(nan(), inf(), squares > 0.0);
}`;

function varianceTemplate(name: string, finish: string): ReduceTemplate<VarParams> {
  return {
    name,
    accumulator: () => 'vec3f',
    init: () => 'vec3f(0.0, 0.0, 0.0)',
    // Relative to any element, large means cost no digits.
    step: 'welford(acc, v - origin)',
    merge: 'welford_merge(acc, other)',
    finish,
    declarations: declarations(NAN, INF, ROOT) + WELFORD,
    params: [{ name: 'correction', type: 'f32' }],
    values: ({ correction }) => [correction],
  };
}

/** Two passes: the mean, then the squared deviations from it. */
function varianceHost(x: HostArray, y: HostArray, { dims, correction }: VarParams, root: boolean): void {
  reduceHost(x, y, dims, (data, at, n, step) => {
    let total = 0;
    for (let r = 0, i = at; r < n; r++, i += step) total += data[i];
    const center = total / n;
    let squares = 0;
    for (let r = 0, i = at; r < n; r++, i += step) {
      const d = data[i] - center;
      squares += d * d;
    }
    const variance = squares / Math.max(n - correction, 0);
    return root ? Math.sqrt(variance) : variance;
  });
}

/** d var / dx = 2 (x − mean) / (n − correction), times g. */
function varianceGradient(g: Tensor, x: Tensor, params: VarParams): Tensor {
  const n = params.dims.reduce((count, d) => count * x.shape[d], 1);
  const centered = sub(x, mean(x, { dim: params.dims, keepdim: true }));
  return mul(expandReduced(mul(g, 2 / (n - params.correction)), x.shape, params), centered);
}

const varOp = defineOp<[Tensor], VarParams>({
  name: 'var',
  autocast: 'full',
  layout: 'strided',
  infer: inferFloat('var'),
  host: ([x], [y], params) => varianceHost(x, y, params, false),
  kernel: reduce(
    varianceTemplate('var', 'variance(acc.z, p.count - p.correction)'),
    ({ dims }: VarParams) => dims,
  ),
  simd: simdVariance(false),
  saves: [0],
  backward: ({ gradOutput: g, params, input }) => [varianceGradient(g, input(0), params)],
});

const stdOp = defineOp<[Tensor], VarParams>({
  name: 'std',
  autocast: 'full',
  layout: 'strided',
  infer: inferFloat('std'),
  host: ([x], [y], params) => varianceHost(x, y, params, true),
  kernel: reduce(
    varianceTemplate('std', 'root_f(variance(acc.z, p.count - p.correction))'),
    ({ dims }: VarParams) => dims,
  ),
  simd: simdVariance(true),
  saves: [0, 'output'],
  backward: ({ gradOutput: g, params, input, output }) => [
    varianceGradient(divOrZero(g, mul(output(), 2)), input(0), params),
  ],
});

export interface VarOptions extends ReduceOptions {
  /** Subtracted from the number of elements: 1 (default) gives the unbiased estimate, 0 the variance of the elements. */
  correction?: number;
}

/**
 * Σ (x − mean)² / (n − correction) over the given dims (all by default).
 *
 * @returns NaN where n − correction ≤ 0 and all elements are equal.
 * @throws DTypeError unless x is floating-point.
 * @source torch.var
 */
export function var_(x: Tensor, { correction = 1, ...options }: VarOptions = {}): Tensor {
  return varOp([x], { ...reduceParams('var', x, options), correction });
}

/** √var, see `var_`. Its gradient is 0 where it is 0. @source torch.std */
export function std(x: Tensor, { correction = 1, ...options }: VarOptions = {}): Tensor {
  return stdOp([x], { ...reduceParams('std', x, options), correction });
}

/** acc = (max m of the numbers so far, Σ e^(v − m), 1 once +∞ and 2 once NaN was met); −∞ adds nothing. */
const LOG_SUM_EXP = `
fn lse_step(acc: vec3f, v: f32) -> vec3f {
  if (is_nan(v)) { return vec3f(acc.x, acc.y, 2.0); }
  let bits = bitcast<u32>(v);
  if (bits == 0x7f800000u) { return vec3f(acc.x, acc.y, max(acc.z, 1.0)); }
  if (bits == 0xff800000u) { return acc; }
  if (v > acc.x) { return vec3f(v, acc.y * exp_down(acc.x - v) + 1.0, acc.z); }
  return vec3f(acc.x, acc.y + exp_down(v - acc.x), acc.z);
}
fn lse_merge(a: vec3f, b: vec3f) -> vec3f {
  let m = max(a.x, b.x);
  return vec3f(m, a.y * exp_down(a.x - m) + b.y * exp_down(b.x - m), max(a.z, b.z));
}
fn lse_finish(acc: vec3f) -> f32 {
  if (acc.z == 2.0) { return nan(); }
  if (acc.z == 1.0) { return inf(); }
  if (acc.y == 0.0) { return -inf(); }
  return acc.x + log_f(acc.y);
}`;

function logSumExpLine(data: HostArray['data'], at: number, n: number, step: number): number {
  let top = -Infinity;
  for (let r = 0, i = at; r < n; r++, i += step) {
    if (data[i] > top) top = data[i];
    else if (Number.isNaN(data[i])) return NaN;
  }
  if (!Number.isFinite(top)) return top;
  let s = 0;
  for (let r = 0, i = at; r < n; r++, i += step) s += Math.exp(data[i] - top);
  return top + Math.log(s);
}

const logsumexpOp = defineOp<[Tensor], ReduceParams>({
  name: 'logsumexp',
  autocast: 'full',
  layout: 'strided',
  infer: inferFloat('logsumexp'),
  host: ([x], [y], { dims }) => reduceHost(x, y, dims, logSumExpLine),
  kernel: reduce<ReduceParams>(
    {
      name: 'logsumexp',
      accumulator: () => 'vec3f',
      init: () => 'vec3f(-3.4028234e38, 0.0, 0.0)',
      step: 'lse_step(acc, v)',
      merge: 'lse_merge(acc, other)',
      finish: 'lse_finish(acc)',
      declarations: declarations(IS_NAN, NAN, INF, EXP_DOWN, LOG) + LOG_SUM_EXP,
    },
    ({ dims }) => dims,
  ),
  simd: simdReduce('logSumExp', ({ dims }) => dims),
  saves: [0, 'output'],
  backward: ({ gradOutput: g, params, input, output, inputShapes: [shape] }) => [
    mul(expandReduced(g, shape, params), exp(sub(input(0), expandReduced(output(), shape, params)))),
  ],
});

/**
 * log Σ eˣ over the given dims (all by default), with the maximum taken out first: nothing overflows.
 *
 * @returns −∞ where all elements are −∞.
 * @throws DTypeError unless x is floating-point.
 * @source torch.logsumexp
 */
export function logsumexp(x: Tensor, options: ReduceOptions = {}): Tensor {
  return logsumexpOp([x], reduceParams('logsumexp', x, options));
}
