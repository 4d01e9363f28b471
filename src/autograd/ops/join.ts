/** Tensors put together, bordered, repeated and turned around. */
import { DTypeError, ShapeError } from '../../device/errors.js';
import type { Dispatch, HostArray, KernelCall, SimdModule, SimdView, View } from '../../device/types.js';
import { copyProgram } from '../../kernels/copy.js';
import { fillDispatch } from '../../kernels/fill.js';
import { simdCopyInto, wordOf } from '../../kernels/simd.js';
import { formatShape, normalizeDim, normalizeDims, numel, type Shape } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { defineOp, type Op } from '../op.js';
import { contiguous, expand, reshape } from './broadcast.js';
import { narrow, unsqueeze } from './views.js';

type Layout = Pick<View, 'shape' | 'strides' | 'offset'>;

/** The part of a view that starts at `start` and has `shape`. */
function windowOf(y: Layout, start: readonly number[], shape: Shape): Layout {
  let { offset } = y;
  start.forEach((s, d) => {
    offset += s * y.strides[d];
  });
  return { shape, strides: y.strides, offset };
}

/** Copies x into a window of y, on the host or as dispatches. */
function copyHost(x: HostArray, y: HostArray, at: Layout): void {
  copyProgram.host([x], [{ data: y.data, dtype: y.dtype, ...at }], null);
}
function copyKernel(call: KernelCall, x: View, y: View, at: Layout): readonly Dispatch[] {
  return copyProgram.kernel({
    ...call,
    inputs: [x],
    outputs: [{ buffer: y.buffer, dtype: y.dtype, ...at }],
    params: null,
  });
}

function copySimd(module: SimdModule, x: SimdView, y: SimdView, start: readonly number[]): void {
  const { shape, strides, offset } = windowOf({ ...y, offset: 0 }, start, x.shape);
  simdCopyInto(module, x, { pointer: y.pointer + offset * 4, shape, strides });
}

/** Where each input of cat starts. */
function starts(inputs: readonly { readonly shape: Shape }[], dim: number): number[][] {
  let at = 0;
  return inputs.map((x) => {
    const start = x.shape.map((_, d) => (d === dim ? at : 0));
    at += x.shape[dim];
    return start;
  });
}

const catOp = defineOp<Tensor[], { dim: number }>({
  name: 'cat',
  layout: 'strided',
  infer(inputs, { dim }) {
    const [first] = inputs;
    let size = 0;
    inputs.forEach((x, i) => {
      if (
        x.shape.length !== first.shape.length ||
        x.shape.some((s, d) => d !== dim && s !== first.shape[d])
      ) {
        throw new ShapeError(
          `cat: expected shapes that differ in dim ${dim} only, got ${formatShape(first.shape)} and ${formatShape(x.shape)} (tensor ${i})`,
        );
      }
      size += x.shape[dim];
    });
    return { shape: first.shape.map((s, d) => (d === dim ? size : s)), dtype: first.dtype };
  },
  host(inputs, [y], { dim }) {
    starts(inputs, dim).forEach((start, i) => {
      copyHost(inputs[i], y, windowOf(y, start, inputs[i].shape));
    });
  },
  kernel(call) {
    const { inputs, outputs, params } = call;
    const [y] = outputs;
    return starts(inputs, params.dim).flatMap((start, i) =>
      copyKernel(call, inputs[i], y, windowOf(y, start, inputs[i].shape)),
    );
  },
  simd(module, inputs, [y], { dim }) {
    module.together(() => {
      starts(inputs, dim).forEach((start, i) => {
        copySimd(module, inputs[i], y, start);
      });
    });
    return true;
  },
  simdIntegers: true,
  backward: ({ gradOutput: g, params: { dim }, inputShapes, needs }) => {
    let at = 0;
    return inputShapes.map((shape, i) => {
      at += shape[dim];
      return needs(i) ? narrow(g, dim, at - shape[dim], shape[dim]) : null;
    });
  },
});

/**
 * Tensors one after the other along `dim`.
 *
 * @throws ShapeError where their shapes differ elsewhere
 * @source torch.cat
 */
export function cat(tensors: readonly Tensor[], dim = 0): Tensor {
  if (tensors.length === 0) throw new ShapeError('cat: expected at least one tensor, got none');
  if (tensors[0].ndim === 0)
    throw new ShapeError('cat: expected tensors with dims, got scalars; use stack()');
  return catOp([...tensors], { dim: normalizeDim('cat', dim, tensors[0].ndim) });
}

/**
 * Tensors of one shape one after the other along a new `dim`.
 *
 * @throws ShapeError where their shapes differ
 * @source torch.stack
 */
export function stack(tensors: readonly Tensor[], dim = 0): Tensor {
  if (tensors.length === 0) throw new ShapeError('stack: expected at least one tensor, got none');
  const [first] = tensors;
  const d = normalizeDim('stack', dim, first.ndim + 1);
  tensors.forEach((x, i) => {
    if (x.ndim !== first.ndim || x.shape.some((s, j) => s !== first.shape[j])) {
      throw new ShapeError(
        `stack: expected tensors of one shape, got ${formatShape(first.shape)} and ${formatShape(x.shape)} (tensor ${i})`,
      );
    }
  });
  return catOp(
    tensors.map((x) => unsqueeze(x, d)),
    { dim: d },
  );
}

interface PadParams {
  /** Elements added before and behind, by dim. */
  readonly before: readonly number[];
  readonly after: readonly number[];
  readonly value: number;
}

const padOp = defineOp<[Tensor], PadParams>({
  name: 'pad',
  layout: 'strided',
  infer: ([x], { before, after }) => ({
    shape: x.shape.map((s, d) => s + before[d] + after[d]),
    dtype: x.dtype,
  }),
  host([x], [y], { before, value }) {
    y.data.fill(value, 0, numel(y.shape));
    copyHost(x, y, windowOf(y, before, x.shape));
  },
  simd(module, [x], [y], { before, value }) {
    module.fillWords(numel(y.shape), y.pointer, wordOf(y.dtype, value));
    copySimd(module, x, y, before);
    return true;
  },
  simdIntegers: true,
  kernel(call) {
    const { inputs, outputs, params } = call;
    const [x] = inputs;
    const [y] = outputs;
    return [fillDispatch(y, params.value), ...copyKernel(call, x, y, windowOf(y, params.before, x.shape))];
  },
  backward: ({ gradOutput: g, params: { before }, inputShapes: [shape] }) => [
    shape.reduce((part, s, d) => (part.shape[d] === s ? part : narrow(part, d, before[d], s)), g),
  ],
});

/**
 * x with a border of `value`; negative pads cut instead.
 *
 * @param pads [before, behind] of the last dim, then of the one before it, and so on
 * @throws ShapeError for more pads than dims, or cuts larger than x
 * @source torch.nn.functional.pad, mode 'constant'
 * @example
 * pad(tensor([1, 2]), [1, 2]); // [0, 1, 2, 0, 0]
 */
export function pad(x: Tensor, pads: readonly number[], options: { value?: number } = {}): Tensor {
  if (pads.length % 2 !== 0 || pads.length / 2 > x.ndim || !pads.every(Number.isInteger)) {
    throw new ShapeError(
      `pad: expected up to ${x.ndim} pairs of integers for shape ${formatShape(x.shape)}, got ${formatShape(pads)}`,
    );
  }
  const { value = 0 } = options;
  if (x.dtype !== 'float32' && x.dtype !== 'float16' && x.dtype !== 'float64' && !Number.isInteger(value)) {
    throw new DTypeError(`pad: expected an integer value for ${x.dtype}, got ${value}`);
  }
  const before = x.shape.map(() => 0);
  const after = x.shape.map(() => 0);
  let inner = x;
  for (let i = 0; i < pads.length; i += 2) {
    const d = x.ndim - 1 - i / 2;
    const cut = Math.max(-pads[i], 0);
    const left = x.shape[d] - cut - Math.max(-pads[i + 1], 0);
    if (left < 0) {
      throw new ShapeError(
        `pad: expected cuts of at most ${x.shape[d]} elements in dim ${d}, got ${pads[i]} and ${pads[i + 1]}`,
      );
    }
    if (left < x.shape[d]) inner = narrow(inner, d, cut, left);
    before[d] = Math.max(pads[i], 0);
    after[d] = Math.max(pads[i + 1], 0);
  }
  return padOp([inner], { before, after, value: x.dtype === 'bool' ? Number(value !== 0) : value });
}

/**
 * x repeated `repeats[d]` times along every dim; new dims come in front.
 *
 * @throws ShapeError for fewer repeats than dims
 * @source torch.Tensor.repeat
 */
export function repeat(x: Tensor, repeats: readonly number[]): Tensor {
  const lead = repeats.length - x.ndim;
  if (lead < 0 || repeats.some((r) => !Number.isInteger(r) || r < 0)) {
    throw new ShapeError(
      `repeat: expected ${x.ndim} or more counts of 0 or more, got ${formatShape(repeats)}`,
    );
  }
  const shape = [...new Array<number>(lead).fill(1), ...x.shape];
  const split = reshape(
    x,
    shape.flatMap((s) => [1, s]),
  );
  const stretched = expand(
    split,
    shape.flatMap((s, d) => [repeats[d], s]),
  );
  return reshape(
    contiguous(stretched),
    shape.map((s, d) => s * repeats[d]),
  );
}

/** x's layout walked backwards along `dims`. */
function flipped<V extends Layout>(x: V, dims: readonly number[]): V {
  let { offset } = x;
  for (const d of dims) offset += Math.max(x.shape[d] - 1, 0) * x.strides[d];
  // In WGSL a negative step is added as an unsigned number, which wraps to the same place.
  return { ...x, offset, strides: x.strides.map((s, d) => (dims.includes(d) ? -s : s)) };
}

const flipOp: Op<[Tensor], { dims: readonly number[] }> = defineOp<[Tensor], { dims: readonly number[] }>({
  name: 'flip',
  layout: 'strided',
  infer: ([x]) => x,
  host([x], [y], { dims }) {
    copyProgram.host([flipped(x, dims)], [y], null);
  },
  kernel(call) {
    const { buffer, dtype, shape, strides, offset } = call.inputs[0];
    const x = flipped({ buffer, dtype, shape, strides, offset }, call.params.dims);
    return copyProgram.kernel({ ...call, inputs: [x], params: null });
  },
  backward: ({ gradOutput: g, params }) => [flipOp([g], params)],
});

/** x in reverse order along one dim or several. @source torch.flip */
export function flip(x: Tensor, dims: number | readonly number[]): Tensor {
  return flipOp([x], { dims: normalizeDims('flip', dims, x.ndim) });
}

/** x shifted along `dim`; what leaves at one end comes in at the other. @source torch.roll */
export function roll(x: Tensor, shift: number, dim: number): Tensor {
  const d = normalizeDim('roll', dim, x.ndim);
  const size = x.size(d);
  const by = size === 0 ? 0 : ((shift % size) + size) % size;
  if (by === 0) return x;
  return cat([narrow(x, d, size - by, by), narrow(x, d, 0, size - by)], d);
}
