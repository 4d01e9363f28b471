/** What broadcasting needs: views of other shapes, stretched dims, and sums, each the other's gradient. */
import { ShapeError } from '../../device/errors.js';
import { pointwise, unaryHost } from '../../kernels/pointwise.js';
import { reduce, sumHost } from '../../kernels/reduce.js';
import { simdUnary } from '../../kernels/simd.js';
import { simdSum } from '../../kernels/simd-reduce.js';
import {
  broadcastStrides,
  contiguousStrides,
  formatShape,
  normalizeDims,
  reducedShape,
  resolveShape,
  type Shape,
  sameShape,
  viewStrides,
} from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { defineOp, defineView } from '../op.js';

const contiguousOp = defineOp<[Tensor], null>({
  name: 'contiguous',
  autocast: 'never',
  layout: 'strided',
  infer: ([x]) => x,
  host: unaryHost((n, y, yo, a, ao, as) => {
    for (let i = 0; i < n; i++) y[yo + i] = a[ao + i * as];
  }),
  kernel: pointwise({ name: 'contiguous', expr: 'a' }),
  simd: simdUnary('copy'),
  simdIntegers: true,
  backward: ({ gradOutput }) => [gradOutput],
});

/** The same values in row-major memory: itself where it is so already. @source torch.Tensor.contiguous */
export function contiguous(x: Tensor): Tensor {
  return x.isContiguous ? x : contiguousOp([x], null);
}

/** A copy in memory of its own, differentiable. @source torch.clone */
export function clone(x: Tensor): Tensor {
  return contiguousOp([x], null);
}

const viewOp = defineView<{ shape: Shape; strides: readonly number[] }>({
  name: 'view',
  view: (x, { shape, strides }) => ({ shape, strides, offset: x.offset }),
  backward: (g, _, shape) => reshape(g, shape),
});

/**
 * The same elements in row-major order under another shape; one size may be −1. A view where the strides allow it.
 *
 * @throws ShapeError when the number of elements differs.
 * @source torch.reshape
 */
export function reshape(x: Tensor, shape: Shape): Tensor {
  const to = resolveShape('reshape', shape, x.shape);
  if (sameShape(to, x.shape)) return viewOp(x, { shape: x.shape, strides: x.strides });
  const strides = viewStrides(x.shape, x.strides, to);
  return strides
    ? viewOp(x, { shape: to, strides })
    : viewOp(contiguousOp([x], null), { shape: to, strides: contiguousStrides(to) });
}

/**
 * `reshape` that never copies.
 *
 * @throws ShapeError when the strides do not allow it.
 * @source torch.Tensor.view
 */
export function view(x: Tensor, shape: Shape): Tensor {
  const to = resolveShape('view', shape, x.shape);
  const strides = viewStrides(x.shape, x.strides, to);
  if (!strides) {
    throw new ShapeError(
      `view: expected strides that show ${formatShape(x.shape)} as ${formatShape(to)} without a copy, got strides ${formatShape(x.strides)}; use reshape()`,
    );
  }
  return viewOp(x, { shape: to, strides });
}

const expandOp = defineView<Shape>({
  name: 'expand',
  view: (x, shape) => ({ shape, strides: broadcastStrides(x.shape, x.strides, shape), offset: x.offset }),
  backward: (g, _, shape) => sumTo(g, shape),
});

/**
 * Dims of size 1 stretched, and new ones added in front, without a copy; −1 keeps a size.
 *
 * @throws ShapeError where a size other than 1 would change.
 * @source torch.Tensor.expand
 */
export function expand(x: Tensor, shape: Shape): Tensor {
  const lead = shape.length - x.ndim;
  const to = shape.map((s, d) => (s === -1 && d >= lead ? x.shape[d - lead] : s));
  if (
    lead < 0 ||
    to.some((s, d) => s < 0 || (d >= lead && x.shape[d - lead] !== 1 && x.shape[d - lead] !== s))
  ) {
    throw new ShapeError(
      `expand: expected a shape that ${formatShape(x.shape)} stretches to, got ${formatShape(shape)}`,
    );
  }
  return sameShape(to, x.shape) ? x : expandOp(x, to);
}

export interface ReduceOptions {
  /** One dim or several, negative ones from the end; all by default. */
  dim?: number | readonly number[];
  /** Leave reduced dims as size 1. Default false. */
  keepdim?: boolean;
}

/** Normalised dims, as the definitions take them. */
export interface ReduceParams {
  readonly dims: readonly number[];
  readonly keepdim: boolean;
}

/** Normalises reduction options for a tensor. */
export function reduceParams(op: string, x: Tensor, { dim, keepdim = false }: ReduceOptions): ReduceParams {
  return { dims: normalizeDims(op, dim, x.ndim), keepdim };
}

/** A reduced tensor or gradient, with its reduced dims back and stretched to the input's shape. */
export function expandReduced(g: Tensor, shape: Shape, { dims, keepdim }: ReduceParams): Tensor {
  return expand(keepdim ? g : reshape(g, reducedShape(shape, dims, true)), shape);
}

const sumOp = defineOp<[Tensor], ReduceParams>({
  name: 'sum',
  autocast: 'full',
  layout: 'strided',
  infer([x], { dims, keepdim }) {
    return { shape: reducedShape(x.shape, dims, keepdim), dtype: x.dtype === 'bool' ? 'int32' : x.dtype };
  },
  host: ([x], [y], { dims }) => sumHost(x, y, dims),
  simd: simdSum(({ dims }) => dims),
  kernel: reduce<ReduceParams>(
    { name: 'sum', accumulator: (t) => t, init: (t) => `${t}(0)`, step: 'acc + v', merge: 'acc + other' },
    ({ dims }) => dims,
  ),
  backward: ({ gradOutput: g, params, inputShapes: [shape] }) => [expandReduced(g, shape, params)],
});

/**
 * Σ x over the given dims (all by default). Integers are summed in their own type and wrap (PyTorch sums in int64, which
 * does not exist here); bool counts in int32. @source torch.sum
 */
export function sum(x: Tensor, options: ReduceOptions = {}): Tensor {
  return sumOp([x], reduceParams('sum', x, options));
}

/** Sums a tensor down to a shape that broadcasts to its own: the adjoint of `expand`. */
export function sumTo(x: Tensor, shape: Shape): Tensor {
  const lead = x.ndim - shape.length;
  const dims = x.shape
    .map((_, d) => d)
    .filter((d) => d < lead || (shape[d - lead] === 1 && x.shape[d] !== 1));
  const summed = dims.length > 0 ? sum(x, { dim: dims, keepdim: true }) : x;
  return lead > 0 ? reshape(summed, shape) : summed;
}
