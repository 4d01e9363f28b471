/** Picking elements and rows by index, and the adjoints: sums into picked places. */
import { DTypeError, ShapeError } from '../../device/errors.js';
import {
  type GatherParams,
  gatherHost,
  gatherKernel,
  scatterHost,
  scatterKernel,
} from '../../kernels/gather.js';
import {
  type AddParams,
  addRowsHost,
  addRowsSimd,
  type SelectParams,
  selectRowsHost,
  selectRowsSimd,
} from '../../kernels/gather-rows.js';
import { addRowsKernel, selectRowsKernel } from '../../kernels/gather-rows-wgsl.js';
import { broadcastShapes, formatShape, normalizeDim, numel, type Shape } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { checkIndices } from '../indices.js';
import { defineOp, type Op, type Spec } from '../op.js';
import { add } from './arithmetic.js';
import { expand, reshape } from './broadcast.js';
import { checkDType } from './define.js';
import { pad } from './join.js';
import { narrow } from './views.js';

/** @throws DTypeError unless the index is of an integer type. */
export function checkIndexDType(op: string, { dtype }: Spec): void {
  if (dtype === 'int32' || dtype === 'uint32') return;
  throw new DTypeError(`${op}: expected int32 or uint32 indices, got ${dtype}; convert with x.to('int32')`);
}

/** @throws ShapeError where there is nothing to pick from. */
function checkNotEmpty(op: string, size: number, index: Spec): void {
  if (size === 0 && numel(index.shape) > 0) {
    throw new ShapeError(`${op}: expected a dim that is not empty to pick from, got size 0`);
  }
}

/** `shape` with another size along `dim`. */
function resized(shape: Shape, dim: number, size: number): number[] {
  return shape.map((s, d) => (d === dim ? size : s));
}

interface SizedParams extends GatherParams {
  /** Size along `dim` of the output of scatterAdd. */
  readonly size: number;
}

const gatherOp: Op<[Tensor, Tensor], GatherParams> = defineOp<[Tensor, Tensor], GatherParams>({
  name: 'gather',
  layout: 'strided',
  mixedDTypes: true,
  infer([x, index], { dim, op }) {
    checkIndexDType(op, index);
    checkNotEmpty(op, x.shape[dim], index);
    return { shape: index.shape, dtype: x.dtype };
  },
  host: gatherHost,
  kernel: gatherKernel,
  saves: [1],
  backward: ({ gradOutput: g, params: { dim, op }, inputShapes: [shape], input }) => {
    const sums = scatterOp([g, input(1)], { dim, op, size: shape[dim] });
    return [padTo(sums, shape), null];
  },
});

/** Zeros, and the sums of x's elements at the places that the index (of the same shape) names along `dim`. */
const scatterOp: Op<[Tensor, Tensor], SizedParams> = defineOp<[Tensor, Tensor], SizedParams>({
  name: 'scatterAdd',
  layout: 'strided',
  mixedDTypes: true,
  infer([x, index], { dim, size, op }) {
    checkDType(op, x.dtype, 'number');
    checkIndexDType(op, index);
    checkNotEmpty(op, size, index);
    return { shape: resized(index.shape, dim, size), dtype: x.dtype };
  },
  host: scatterHost,
  kernel: scatterKernel,
  saves: [1],
  backward: ({ gradOutput: g, params: { dim, op }, input }) => [gatherOp([g, input(1)], { dim, op }), null],
});

/** Zeros behind every dim, up to `shape`. */
function padTo(x: Tensor, shape: Shape): Tensor {
  const pads = shape.flatMap((s, d) => [s - x.shape[d], 0]).reverse();
  return pads.some((n) => n > 0) ? pad(x, pads) : x;
}

/** Gathers, with 0-dim operands seen as 1-dim. */
function pick(op: string, x: Tensor, dim: number, index: Tensor): Tensor {
  const row = x.ndim === 0 ? reshape(x, [1]) : x;
  const picks = index.ndim === 0 ? reshape(index, [1]) : index;
  const y = gatherOp([row, picks], { dim, op });
  checkIndices(op, index, row.shape[dim]);
  return index.ndim === 0 ? reshape(y, []) : y;
}

/** @throws ShapeError unless the index has as many dims as x and fits into it beside `dim`. */
function checkFits(op: string, x: Tensor, index: Tensor, dim: number): void {
  if (x.ndim !== index.ndim || index.shape.some((s, d) => d !== dim && s > x.shape[d])) {
    throw new ShapeError(
      `${op}: expected an index that fits into ${formatShape(x.shape)} beside dim ${dim}, got ${formatShape(index.shape)}`,
    );
  }
}

/**
 * y[i][j][k] = x[index[i][j][k]][j][k] for dim 0, and so on: one element of x per element of the index.
 *
 * @param index int32 or uint32, of x's dims, beside `dim` no larger
 * @returns a tensor of the index's shape
 * @throws ShapeError for an index out of range: at once on the CPU device, in debug mode at the next await elsewhere
 * @source torch.gather
 */
export function gather(x: Tensor, dim: number, index: Tensor): Tensor {
  const d = normalizeDim('gather', dim, x.ndim);
  checkFits('gather', x, index, d);
  return pick('gather', x, d, index);
}

/**
 * `gather` with x and index broadcast to each other beside `dim`; without `dim`, from x in one row.
 *
 * @throws ShapeError as `gather`
 * @source torch.take_along_dim
 */
export function takeAlongDim(x: Tensor, index: Tensor, dim?: number): Tensor {
  if (dim === undefined) return pick('takeAlongDim', reshape(x, [-1]), 0, reshape(index, [-1]));
  const d = normalizeDim('takeAlongDim', dim, x.ndim);
  if (x.ndim !== index.ndim) {
    throw new ShapeError(
      `takeAlongDim: expected an index of ${x.ndim} dims as x has, got ${formatShape(index.shape)}`,
    );
  }
  if (x.ndim === 0) return pick('takeAlongDim', x, 0, index);
  const shape = broadcastShapes('takeAlongDim', resized(x.shape, d, 1), resized(index.shape, d, 1));
  return pick(
    'takeAlongDim',
    expand(x, resized(shape, d, x.shape[d])),
    d,
    expand(index, resized(shape, d, index.shape[d])),
  );
}

/**
 * x plus src at the places that the index names: y[index[i][j][k]][j][k] += src[i][j][k] for dim 0. The sums are
 * always added in the same order.
 *
 * @param index int32 or uint32, no larger than src, and beside `dim` no larger than x
 * @throws ShapeError as `gather`; on a GPU outside debug mode, indices out of range add nothing
 * @source torch.Tensor.scatter_add
 */
export function scatterAdd(x: Tensor, dim: number, index: Tensor, src: Tensor): Tensor {
  const d = normalizeDim('scatterAdd', dim, x.ndim);
  checkFits('scatterAdd', x, index, d);
  if (src.ndim !== index.ndim || index.shape.some((s, i) => s > src.shape[i])) {
    throw new ShapeError(
      `scatterAdd: expected src no smaller than the index ${formatShape(index.shape)}, got ${formatShape(src.shape)}`,
    );
  }
  let part = src;
  src.shape.forEach((s, i) => {
    if (index.shape[i] < s) part = narrow(part, i, 0, index.shape[i]);
  });
  const flat = x.ndim === 0;
  const picks = flat ? reshape(index, [1]) : index;
  const size = x.shape[d] ?? 1;
  const sums = scatterOp([flat ? reshape(part, [1]) : part, picks], { dim: d, op: 'scatterAdd', size });
  checkIndices('scatterAdd', index, size);
  return add(x, flat ? reshape(sums, []) : padTo(sums, x.shape));
}

const selectRowsOp: Op<[Tensor, Tensor], SelectParams> = defineOp<[Tensor, Tensor], SelectParams>({
  name: 'indexSelect',
  mixedDTypes: true,
  infer([x, index], { dim, op }) {
    checkIndexDType(op, index);
    checkNotEmpty(op, x.shape[dim], index);
    return { shape: [...x.shape.slice(0, dim), ...index.shape, ...x.shape.slice(dim + 1)], dtype: x.dtype };
  },
  host: selectRowsHost,
  kernel: selectRowsKernel,
  simd: selectRowsSimd,
  simdIntegers: true,
  saves: [1],
  backward: ({ gradOutput: g, params: { dim, op, padding }, inputShapes: [shape], input }) => [
    addRowsOp([g, input(1)], { dim, op, padding, size: shape[dim] }),
    null,
  ],
});

/** Zeros with `size` rows along `dim`, and the sums of x's rows in those that the index names. The index's dims are x's from `dim` on. */
const addRowsOp: Op<[Tensor, Tensor], AddParams> = defineOp<[Tensor, Tensor], AddParams>({
  name: 'indexAdd',
  mixedDTypes: true,
  infer([x, index], { dim, op, size }) {
    checkDType(op, x.dtype, 'number');
    checkIndexDType(op, index);
    checkNotEmpty(op, size, index);
    return {
      shape: [...x.shape.slice(0, dim), size, ...x.shape.slice(dim + index.shape.length)],
      dtype: x.dtype,
    };
  },
  host: addRowsHost,
  kernel: addRowsKernel,
  simd: addRowsSimd,
  simdIntegers: true,
  saves: [1],
  backward: ({ gradOutput: g, params: { dim, op, padding }, input }) => [
    selectRowsOp([g, input(1)], { dim, op, padding, masked: true }),
    null,
  ],
});

/** @throws ShapeError unless the index is a list and x has dims. */
function checkList(op: string, x: Tensor, index: Tensor): void {
  if (index.ndim !== 1 || x.ndim === 0) {
    throw new ShapeError(
      `${op}: expected x with dims and an index of one dim, got ${formatShape(x.shape)} and ${formatShape(index.shape)}`,
    );
  }
}

/**
 * The rows (slices along `dim`) that the index names, in its order.
 *
 * @param index [K] int32 or uint32
 * @returns x's shape with K along `dim`
 * @throws ShapeError as `gather`
 * @source torch.index_select
 */
export function indexSelect(x: Tensor, dim: number, index: Tensor): Tensor {
  const d = normalizeDim('indexSelect', dim, x.ndim);
  checkList('indexSelect', x, index);
  const y = selectRowsOp([x, index], { dim: d, op: 'indexSelect', padding: -1, masked: false });
  checkIndices('indexSelect', index, x.shape[d]);
  return y;
}

/**
 * x plus the rows of src in the rows that the index names, summed in order.
 *
 * @param index [K] int32 or uint32
 * @param src x's shape with K along `dim`
 * @throws ShapeError as `scatterAdd`
 * @source torch.Tensor.index_add
 */
export function indexAdd(x: Tensor, dim: number, index: Tensor, src: Tensor): Tensor {
  const d = normalizeDim('indexAdd', dim, x.ndim);
  checkList('indexAdd', x, index);
  const wanted = resized(x.shape, d, index.shape[0]);
  if (src.ndim !== x.ndim || src.shape.some((s, i) => s !== wanted[i])) {
    throw new ShapeError(
      `indexAdd: expected src of shape ${formatShape(wanted)}, got ${formatShape(src.shape)}`,
    );
  }
  const rows = addRowsOp([src, index], { dim: d, op: 'indexAdd', padding: -1, size: x.shape[d] });
  checkIndices('indexAdd', index, x.shape[d]);
  return add(x, rows);
}

export interface EmbeddingOptions {
  /** Row that gets no gradient; negative counts from the end. */
  paddingIdx?: number;
}

/**
 * y[…, :] = weight[indices[…], :]
 *
 * @param weight [V, C]
 * @param indices any shape, int32 or uint32, in [0, V)
 * @returns [..., C]
 * @throws ShapeError for an index out of range: at once on the CPU device, in debug mode at the next await elsewhere
 * @source torch.nn.functional.embedding
 */
export function embedding(weight: Tensor, indices: Tensor, options: EmbeddingOptions = {}): Tensor {
  if (weight.ndim !== 2) {
    throw new ShapeError(`embedding: expected a weight of shape [V, C], got ${formatShape(weight.shape)}`);
  }
  const rows = weight.shape[0];
  let padding = options.paddingIdx ?? -1;
  if (options.paddingIdx !== undefined) {
    padding = options.paddingIdx < 0 ? options.paddingIdx + rows : options.paddingIdx;
    if (!Number.isInteger(padding) || padding < 0 || padding >= rows) {
      throw new ShapeError(
        `embedding: expected paddingIdx in [${-rows}, ${rows - 1}], got ${options.paddingIdx}`,
      );
    }
  }
  const y = selectRowsOp([weight, indices], { dim: 0, op: 'embedding', padding, masked: false });
  checkIndices('embedding', indices, rows);
  return y;
}
