/** Other ways to look at the same memory: permute, slice, and what is built of them. */
import { ShapeError } from '../../device/errors.js';
import { type Dispatch, type Kernel, type View, wgslType } from '../../device/types.js';
import { copyProgram } from '../../kernels/copy.js';
import { simdCopyInto } from '../../kernels/simd.js';
import { formatShape, normalizeDim, numel, resolveShape, type Shape } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { defineOp, defineView, type Op } from '../op.js';
import { reshape } from './broadcast.js';

const permuteOp: (x: Tensor, dims: readonly number[]) => Tensor = defineView<readonly number[]>({
  name: 'permute',
  view: (x, dims) => ({
    shape: dims.map((d) => x.shape[d]),
    strides: dims.map((d) => x.strides[d]),
    offset: x.offset,
  }),
  backward: (g, dims) => {
    const inverse = new Array<number>(dims.length);
    dims.forEach((d, i) => {
      inverse[d] = i;
    });
    return permuteOp(g, inverse);
  },
});

/** The dims in another order. @throws ShapeError unless `dims` names every dim once. @source torch.permute */
export function permute(x: Tensor, dims: readonly number[]): Tensor {
  const order = dims.map((d) => normalizeDim('permute', d, x.ndim));
  if (order.length !== x.ndim || new Set(order).size !== x.ndim) {
    throw new ShapeError(
      `permute: expected every dim of ${formatShape(x.shape)} once, got ${formatShape(dims)}`,
    );
  }
  return permuteOp(x, order);
}

/** Two dims swapped. @source torch.transpose */
export function transpose(x: Tensor, dim0: number, dim1: number): Tensor {
  const order = x.shape.map((_, d) => d);
  const a = normalizeDim('transpose', dim0, x.ndim);
  const b = normalizeDim('transpose', dim1, x.ndim);
  if (x.ndim > 0) [order[a], order[b]] = [b, a];
  return permuteOp(x, order);
}

interface SliceParams {
  readonly dim: number;
  readonly start: number;
  readonly step: number;
  readonly length: number;
}

const sliceOp: (x: Tensor, params: SliceParams) => Tensor = defineView<SliceParams>({
  name: 'slice',
  view: (x, { dim, start, step, length }) => ({
    shape: x.shape.map((s, d) => (d === dim ? length : s)),
    strides: x.strides.map((s, d) => (d === dim ? s * step : s)),
    offset: x.offset + start * x.strides[dim],
  }),
  backward: (g, params, shape) => sliceBackwardOp([g], { ...params, shape }),
});

const zeroKernels = new Map<string, Kernel>();

/** The adjoint of `slice`: zeros of the full shape with the gradient in the slice's place. */
const sliceBackwardOp: Op<[Tensor], SliceParams & { shape: Shape }> = defineOp<
  [Tensor],
  SliceParams & { shape: Shape }
>({
  name: 'sliceBackward',
  layout: 'strided',
  infer: ([g], { shape }) => ({ shape, dtype: g.dtype }),
  host([g], [y], params) {
    y.data.fill(0, 0, numel(y.shape));
    copyProgram.host([g], [{ data: y.data, dtype: y.dtype, ...windowOf(y, params) }], null);
  },
  simd(module, [g], [y], params) {
    module.fillWords(numel(y.shape), y.pointer, 0);
    const { offset, ...place } = windowOf({ ...y, offset: 0 }, params);
    simdCopyInto(module, g, { ...place, pointer: y.pointer + offset * 4 });
    return true;
  },
  simdIntegers: true,
  kernel(call) {
    const [y] = call.outputs;
    const type = wgslType(y.dtype);
    let kernel = zeroKernels.get(type);
    if (!kernel) {
      kernel = {
        key: `zero:${type}`,
        bindings: [{ name: 'y', type, access: 'read_write' }],
        params: [{ name: 'n', type: 'u32' }],
        workgroupSize: 64,
        enables: type === 'f16' ? ['f16'] : undefined,
        body: `if (index >= p.n) { return; }\ny[index] = ${type}(0);`,
      };
      zeroKernels.set(type, kernel);
    }
    const n = numel(y.shape);
    const zero: Dispatch = { kernel, buffers: [y.buffer], params: [n], workgroups: Math.ceil(n / 64) };
    return [
      zero,
      ...copyProgram.kernel({
        ...call,
        outputs: [{ buffer: y.buffer, dtype: y.dtype, ...windowOf(y, call.params) }],
        params: null,
      }),
    ];
  },
  backward: ({ gradOutput: g, params: { dim, start, step, length } }) => [
    sliceOp(g, { dim, start, step, length }),
  ],
});

/** The layout of the slice within a full-size view. */
function windowOf(
  y: Pick<View, 'shape' | 'strides' | 'offset'>,
  p: SliceParams,
): Pick<View, 'shape' | 'strides' | 'offset'> {
  return {
    shape: y.shape.map((s, d) => (d === p.dim ? p.length : s)),
    strides: y.strides.map((s, d) => (d === p.dim ? s * p.step : s)),
    offset: y.offset + p.start * y.strides[p.dim],
  };
}

/**
 * Elements start, start + step, … before `end` along `dim`, as Python's `x[start:end:step]`: negative positions count
 * from the end, and positions beyond it are cut.
 *
 * @throws ShapeError for a step below 1.
 */
export function slice(x: Tensor, dim: number, start = 0, end = Infinity, step = 1): Tensor {
  const d = normalizeDim('slice', dim, x.ndim);
  if (x.ndim === 0) throw new ShapeError('slice: expected a tensor with dims, got a scalar');
  if (!Number.isInteger(step) || step < 1)
    throw new ShapeError(`slice: expected a step of at least 1, got ${step}`);
  const size = x.shape[d];
  const from = Math.min(Math.max(start < 0 ? start + size : start, 0), size);
  const to = Math.min(Math.max(end < 0 ? end + size : end, from), size);
  return sliceOp(x, { dim: d, start: from, step, length: Math.ceil((to - from) / step) });
}

/**
 * `length` elements from `start` along `dim`.
 *
 * @throws ShapeError when they are not all there.
 * @source torch.narrow
 */
export function narrow(x: Tensor, dim: number, start: number, length: number): Tensor {
  const d = normalizeDim('narrow', dim, x.ndim);
  const from = start < 0 ? start + x.size(d) : start;
  if (
    !Number.isInteger(from) ||
    !Number.isInteger(length) ||
    from < 0 ||
    length < 0 ||
    from + length > x.size(d)
  ) {
    throw new ShapeError(
      `narrow: expected a range within dim ${dim} of ${formatShape(x.shape)}, got start ${start}, length ${length}`,
    );
  }
  return sliceOp(x, { dim: d, start: from, step: 1, length });
}

/** One element along `dim`, which disappears. @throws ShapeError when it is not there. @source torch.select */
export function select(x: Tensor, dim: number, index: number): Tensor {
  const d = normalizeDim('select', dim, x.ndim);
  const size = x.size(d);
  if (!Number.isInteger(index) || index < -size || index >= size) {
    throw new ShapeError(
      `select: expected an index in [${-size}, ${size - 1}] along dim ${dim}, got ${index}`,
    );
  }
  return squeeze(sliceOp(x, { dim: d, start: index < 0 ? index + size : index, step: 1, length: 1 }), d);
}

/** Without the given dims of size 1 (all such by default); others stay. @source torch.squeeze */
export function squeeze(x: Tensor, dim?: number | readonly number[]): Tensor {
  const dims =
    dim === undefined
      ? x.shape.map((_, d) => d)
      : [dim].flat().map((d) => normalizeDim('squeeze', d as number, x.ndim));
  return reshape(
    x,
    x.shape.filter((s, d) => s !== 1 || !dims.includes(d)),
  );
}

/** A new dim of size 1 at `dim`. @source torch.unsqueeze */
export function unsqueeze(x: Tensor, dim: number): Tensor {
  const d = normalizeDim('unsqueeze', dim, x.ndim + 1);
  return reshape(x, [...x.shape.slice(0, d), 1, ...x.shape.slice(d)]);
}

/** Dims `start` to `end` (inclusive) as one. @source torch.flatten */
export function flatten(x: Tensor, start = 0, end = -1): Tensor {
  if (x.ndim === 0) return reshape(x, [1]);
  const from = normalizeDim('flatten', start, x.ndim);
  const to = normalizeDim('flatten', end, x.ndim);
  if (from > to) throw new ShapeError(`flatten: expected start ≤ end, got ${start} and ${end}`);
  return reshape(x, [
    ...x.shape.slice(0, from),
    numel(x.shape.slice(from, to + 1)),
    ...x.shape.slice(to + 1),
  ]);
}

/** One dim as several, whose sizes multiply to it; one may be −1. @source torch.unflatten */
export function unflatten(x: Tensor, dim: number, sizes: Shape): Tensor {
  const d = normalizeDim('unflatten', dim, x.ndim);
  const parts = resolveShape('unflatten', sizes, [x.size(d)]);
  return reshape(x, [...x.shape.slice(0, d), ...parts, ...x.shape.slice(d + 1)]);
}
