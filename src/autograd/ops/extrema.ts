/** Largest and smallest elements and where they are. NaN is larger and smaller than everything, as in PyTorch. */
import { ShapeError } from '../../device/errors.js';
import { type LineLoop, type Loaded, reduce, reduceHost } from '../../kernels/reduce.js';
import { simdReduce } from '../../kernels/simd-reduce.js';
import { declarations, ORDER_KEYS } from '../../kernels/wgsl.js';
import { formatShape, normalizeDim, numel, reducedShape, type Shape } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { type BackwardContext, defineOp, type Spec } from '../op.js';
import { div, mul } from './arithmetic.js';
import {
  expandReduced,
  type ReduceOptions,
  type ReduceParams,
  reduceParams,
  reshape,
  sum,
} from './broadcast.js';
import { pick } from './pick.js';
import { equalMask } from './reduce-helpers.js';
import { squeeze } from './views.js';

type Sign = 1 | -1;

/** The key of a loaded element: the greatest key is the wanted element. */
function keyOf(sign: Sign): (loaded: Loaded) => string {
  return (loaded) => {
    if (loaded === 'f32') return sign === 1 ? 'order_key(v)' : 'low_key(v)';
    const key = loaded === 'i32' ? '(bitcast<u32>(v) ^ 0x80000000u)' : 'v';
    return sign === 1 ? key : `~${key}`;
  };
}

/** The element of a key. */
function fromKey(sign: Sign): (loaded: Loaded) => string {
  return (loaded) => {
    if (loaded === 'f32') return sign === 1 ? 'from_order_key(acc)' : 'from_low_key(acc)';
    const key = sign === 1 ? 'acc' : '~acc';
    return loaded === 'i32' ? `bitcast<i32>(${key} ^ 0x80000000u)` : key;
  };
}

/** @throws ShapeError when there are outputs but no elements. */
export function checkNotEmpty(op: string, shape: Shape, dims: readonly number[], outputs: Shape): void {
  if (numel(outputs) > 0 && dims.some((d) => shape[d] === 0)) {
    throw new ShapeError(
      `${op}: expected at least one element to choose from, got shape ${formatShape(shape)}`,
    );
  }
}

/** Loops that find the position of the wanted element, the first of equals or the first NaN, or its value. */
function extremeLoops(sign: Sign): { position: LineLoop; value: LineLoop } {
  const largest: LineLoop = (data, at, n, step) => {
    let best = data[at];
    let place = 0;
    for (let r = 1, i = at + step; r < n; r++, i += step) {
      if (data[i] > best) {
        best = data[i];
        place = r;
      }
    }
    return place;
  };
  const smallest: LineLoop = (data, at, n, step) => {
    let best = data[at];
    let place = 0;
    for (let r = 1, i = at + step; r < n; r++, i += step) {
      if (data[i] < best) {
        best = data[i];
        place = r;
      }
    }
    return place;
  };
  const find = sign === 1 ? largest : smallest;
  const position: LineLoop = (data, at, n, step) => {
    if (!(data instanceof Int32Array || data instanceof Uint32Array)) {
      for (let r = 0, i = at; r < n; r++, i += step) if (Number.isNaN(data[i])) return r;
    }
    return find(data, at, n, step);
  };
  return { position, value: (data, at, n, step) => data[at + step * position(data, at, n, step)] };
}

function defineExtreme(name: 'amax' | 'amin', sign: Sign) {
  const { value } = extremeLoops(sign);
  return defineOp<[Tensor], ReduceParams>({
    name,
    layout: 'strided',
    infer([x], { dims, keepdim }) {
      const shape = reducedShape(x.shape, dims, keepdim);
      checkNotEmpty(name, x.shape, dims, shape);
      return { shape, dtype: x.dtype };
    },
    host: ([x], [y], { dims }) => reduceHost(x, y, dims, value),
    kernel: reduce<ReduceParams>(
      {
        name,
        accumulator: () => 'u32',
        init: () => '0u',
        step: (t) => `max(acc, ${keyOf(sign)(t)})`,
        merge: 'max(acc, other)',
        finish: fromKey(sign),
        declarations: declarations(ORDER_KEYS),
      },
      ({ dims }) => dims,
    ),
    simd: simdReduce(name === 'amax' ? 'maxOf' : 'minOf', ({ dims }) => dims),
    saves: [0, 'output'],
    backward: shareOnTies,
  });
}

/** The gradient goes to the extreme elements in equal shares. */
function shareOnTies({
  gradOutput: g,
  params,
  input,
  output,
  inputShapes: [shape],
}: BackwardContext<ReduceParams>) {
  const mask = equalMask(input(0), expandReduced(output(), shape, params));
  const share = div(g, sum(mask, { dim: params.dims, keepdim: params.keepdim }));
  return [mul(expandReduced(share, shape, params), mask)];
}

const amaxOp = defineExtreme('amax', 1);
const aminOp = defineExtreme('amin', -1);

/** `better(acc, key, at)`: the greater key, and of equal ones the smaller position. */
const BETTER = `
fn better(acc: vec2u, key: u32, at: u32) -> vec2u {
  return select(acc, vec2u(key, at), key > acc.x || (key == acc.x && at < acc.y));
}`;

function defineArg(name: 'argmax' | 'argmin', sign: Sign) {
  const { position } = extremeLoops(sign);
  return defineOp<[Tensor], ReduceParams>({
    name,
    layout: 'strided',
    infer([x], { dims, keepdim }): Spec {
      const shape = reducedShape(x.shape, dims, keepdim);
      checkNotEmpty(name, x.shape, dims, shape);
      return { shape, dtype: 'int32' };
    },
    host: ([x], [y], { dims }) => reduceHost(x, y, dims, position),
    kernel: reduce<ReduceParams>(
      {
        name,
        accumulator: () => 'vec2u',
        init: () => 'vec2u(0u, 0xffffffffu)',
        step: (t) => `better(acc, ${keyOf(sign)(t)}, r)`,
        merge: 'better(acc, other.x, other.y)',
        finish: 'i32(acc.y)',
        declarations: declarations(ORDER_KEYS) + BETTER,
      },
      ({ dims }) => dims,
    ),
    simd: simdReduce(name, ({ dims }) => dims),
    simdIntegers: true,
    differentiable: false,
  });
}

const argmaxOp = defineArg('argmax', 1);
const argminOp = defineArg('argmin', -1);

/**
 * The largest element over one or several dims (all by default). Ties share the gradient equally.
 *
 * @throws ShapeError when there is nothing to choose from.
 * @source torch.amax
 */
export function amax(x: Tensor, options: ReduceOptions = {}): Tensor {
  return amaxOp([x], reduceParams('amax', x, options));
}

/** The smallest element, as `amax`. @source torch.amin */
export function amin(x: Tensor, options: ReduceOptions = {}): Tensor {
  return aminOp([x], reduceParams('amin', x, options));
}

export interface ArgOptions {
  /** One dim; by default the position is that in the flattened tensor. */
  dim?: number;
  /** Leave reduced dims as size 1. Default false. */
  keepdim?: boolean;
}

/**
 * Where the largest element is along `dim`, or in the flattened tensor: the first of equals, the first NaN if there is
 * one.
 *
 * @returns int32 (PyTorch: int64, which does not exist here).
 * @throws ShapeError when there is nothing to choose from.
 * @source torch.argmax
 */
export function argmax(x: Tensor, options: ArgOptions = {}): Tensor {
  return argmaxOp([x], reduceParams('argmax', x, options));
}

/** Where the smallest element is, as `argmax`. @source torch.argmin */
export function argmin(x: Tensor, options: ArgOptions = {}): Tensor {
  return argminOp([x], reduceParams('argmin', x, options));
}

/** Chosen elements and their positions along the dim. */
export interface Extremum {
  readonly values: Tensor;
  /** int32. */
  readonly indices: Tensor;
}

function alongDim(op: string, x: Tensor, dim: number, keepdim: boolean, find: typeof argmax): Extremum {
  const lifted = x.ndim === 0 ? reshape(x, [1]) : x;
  const d = normalizeDim(op, dim, lifted.ndim);
  const indices = find(lifted, { dim: d, keepdim: true });
  const values = pick(lifted, indices, d);
  if (keepdim && x.ndim > 0) return { values, indices };
  return { values: squeeze(values, d), indices: squeeze(indices, d) };
}

/**
 * The largest element: of all, with the gradient shared equally on ties; or along `dim`, with its position (the first of
 * equals), to which the gradient goes. For several dims see `amax`.
 *
 * @throws ShapeError when there is nothing to choose from.
 * @source torch.max
 */
export function max(x: Tensor): Tensor;
export function max(x: Tensor, options: { dim: number; keepdim?: boolean }): Extremum;
export function max(x: Tensor, options?: { dim: number; keepdim?: boolean }): Tensor | Extremum {
  return options === undefined ? amax(x) : alongDim('max', x, options.dim, options.keepdim ?? false, argmax);
}

/** The smallest element, as `max`. @source torch.min */
export function min(x: Tensor): Tensor;
export function min(x: Tensor, options: { dim: number; keepdim?: boolean }): Extremum;
export function min(x: Tensor, options?: { dim: number; keepdim?: boolean }): Tensor | Extremum {
  return options === undefined ? amin(x) : alongDim('min', x, options.dim, options.keepdim ?? false, argmin);
}
