/** Vector norms. */
import { type LineLoop, type ReduceTemplate, reduce, reduceHost } from '../../kernels/reduce.js';
import { type SimdReduceName, simdReduce } from '../../kernels/simd-reduce.js';
import { declarations, ORDER_KEYS, ROOT } from '../../kernels/wgsl.js';
import { POW } from '../../kernels/wgsl-math.js';
import { reducedShape } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { type BackwardContext, defineOp } from '../op.js';
import { div, mul } from './arithmetic.js';
import { expandReduced, type ReduceOptions, type ReduceParams, reduceParams, sum } from './broadcast.js';
import { checkDType } from './define.js';
import { checkNotEmpty } from './extrema.js';
import { absPow, divOrZero, equalMask, signPow } from './reduce-helpers.js';

interface NormParams extends ReduceParams {
  readonly p: number;
}

type Accumulate = Partial<ReduceTemplate<NormParams>> & Pick<ReduceTemplate<NormParams>, 'step'>;

function kernelOf(name: string, t: Accumulate) {
  const template: ReduceTemplate<NormParams> = {
    name: `norm:${name}`,
    accumulator: () => 'f32',
    init: () => '0.0',
    merge: 'acc + other',
    ...t,
  };
  return reduce(template, ({ dims }: NormParams) => dims);
}

const extreme = (sign: 1 | -1): Accumulate => ({
  accumulator: () => 'u32',
  init: () => '0u',
  step: sign === 1 ? 'max(acc, order_key(abs(v)))' : 'max(acc, low_key(abs(v)))',
  merge: 'max(acc, other)',
  finish: sign === 1 ? 'from_order_key(acc)' : 'from_low_key(acc)',
  declarations: declarations(ORDER_KEYS),
});

const sumOfSizes = kernelOf('1', { step: 'acc + abs(v)' });
const rootOfSquares = kernelOf('2', {
  step: 'acc + v * v',
  finish: 'root_f(acc)',
  declarations: declarations(ROOT),
});
const largest = kernelOf('inf', extreme(1));
const smallest = kernelOf('-inf', extreme(-1));
const nonZeros = kernelOf('0', {
  step: 'acc + select(0.0, 1.0, (bitcast<u32>(v) & 0x7fffffffu) != 0u)',
});
const general = kernelOf('p', {
  step: 'acc + pow_f(abs(v), p.power)',
  finish: 'pow_f(acc, 1.0 / p.power)',
  declarations: declarations(POW),
  params: [{ name: 'power', type: 'f32' }],
  values: ({ p }) => [p],
});

function kernelFor(p: number): ReturnType<typeof kernelOf> {
  if (p === 1) return sumOfSizes;
  if (p === 2) return rootOfSquares;
  if (p === 0) return nonZeros;
  if (p === Infinity) return largest;
  if (p === -Infinity) return smallest;
  return general;
}

/** The module's function for p, where there is one. */
function simdNorm(p: number): SimdReduceName | null {
  if (p === 1) return 'sumAbs';
  if (p === 2) return 'norm';
  if (p === 0) return 'countNonZero';
  if (p === Infinity) return 'maxAbs';
  return p === -Infinity ? 'minAbs' : null;
}

function normLine(p: number): LineLoop {
  if (p === 2) {
    return (data, at, n, step) => {
      let acc = 0;
      for (let r = 0, i = at; r < n; r++, i += step) acc += data[i] * data[i];
      return Math.sqrt(acc);
    };
  }
  if (p === 1) {
    return (data, at, n, step) => {
      let acc = 0;
      for (let r = 0, i = at; r < n; r++, i += step) acc += Math.abs(data[i]);
      return acc;
    };
  }
  if (p === 0) {
    return (data, at, n, step) => {
      let acc = 0;
      for (let r = 0, i = at; r < n; r++, i += step) if (data[i] !== 0) acc++;
      return acc;
    };
  }
  if (Number.isFinite(p)) {
    return (data, at, n, step) => {
      let acc = 0;
      for (let r = 0, i = at; r < n; r++, i += step) acc += Math.abs(data[i]) ** p;
      return acc ** (1 / p);
    };
  }
  // Math.max and Math.min answer NaN where either is.
  const better = p > 0 ? Math.max : Math.min;
  return (data, at, n, step) => {
    let acc = Math.abs(data[at]);
    for (let r = 1, i = at + step; r < n; r++, i += step) acc = better(acc, Math.abs(data[i]));
    return acc;
  };
}

const normOp = defineOp<[Tensor], NormParams>({
  name: 'norm',
  autocast: 'full',
  layout: 'strided',
  infer([x], { dims, keepdim, p }) {
    checkDType('norm', x.dtype, 'float');
    const shape = reducedShape(x.shape, dims, keepdim);
    if (!Number.isFinite(p)) checkNotEmpty('norm', x.shape, dims, shape);
    return { shape, dtype: x.dtype };
  },
  host: ([x], [y], { dims, p }) => reduceHost(x, y, dims, normLine(p)),
  kernel: (call) => kernelFor(call.params.p)(call),
  simd: simdReduce(
    ({ p }) => simdNorm(p),
    ({ dims }) => dims,
  ),
  saves: [0, 'output'],
  backward: (context) => [normGradient(context)],
});

/** d‖x‖ / dxᵢ = sign(xᵢ) (|xᵢ| / ‖x‖)^(p − 1); 0 at ‖x‖ = 0. For p = ±∞ the extreme elements share it. */
function normGradient({
  gradOutput: g,
  params,
  input,
  output,
  inputShapes: [shape],
}: BackwardContext<NormParams>): Tensor {
  const { p } = params;
  const x = input(0);
  if (!Number.isFinite(p)) {
    const mask = equalMask(absPow(x, 1), expandReduced(output(), shape, params));
    const share = div(g, sum(mask, { dim: params.dims, keepdim: params.keepdim }));
    return mul(mul(signPow(x, 0), mask), expandReduced(share, shape, params));
  }
  if (p === 0) return mul(x, 0);
  const direction = p === 2 ? x : signPow(x, p - 1);
  const scale = p === 1 ? g : divOrZero(g, p === 2 ? output() : absPow(output(), p - 1));
  return mul(direction, expandReduced(scale, shape, params));
}

export interface NormOptions extends ReduceOptions {
  /** Default 2. Infinity is the largest |x|, −Infinity the smallest, 0 counts what is not zero. */
  p?: number;
}

/**
 * (Σ |x|ᵖ)^(1/p) over the given dims (all by default). The gradient at 0 is 0.
 *
 * @throws DTypeError unless x is floating-point.
 * @throws ShapeError when p is infinite and there is nothing to choose from.
 * @source torch.norm
 */
export function norm(x: Tensor, { p = 2, ...options }: NormOptions = {}): Tensor {
  return normOp([x], { ...reduceParams('norm', x, options), p });
}
