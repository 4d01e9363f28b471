/** How a reduction is laid out: its dims merged, its work cut into blocks, and its loops on the host. */
import type { HostArray } from '../device/types.js';
import { numel } from '../tensor/shape.js';
import { collapse } from './collapse.js';

/** A strided input split into the dims that stay and the dims that go. */
export interface ReduceSpace {
  readonly outShape: readonly number[];
  readonly outStrides: readonly number[];
  readonly redShape: readonly number[];
  readonly redStrides: readonly number[];
}

/** Splits a view at `dims` and merges neighbours on both sides. */
export function reduceSpace(
  shape: readonly number[],
  strides: readonly number[],
  dims: readonly number[],
): ReduceSpace {
  const pick = (want: boolean): { shape: readonly number[]; strides: readonly number[] } => {
    const at = shape.map((_, d) => d).filter((d) => dims.includes(d) === want);
    const part = at.map((d) => shape[d]);
    const merged = collapse(part, [{ shape: part, strides: at.map((d) => strides[d]) }]);
    return { shape: merged.shape, strides: merged.strides[0] };
  };
  const out = pick(false);
  const red = pick(true);
  return { outShape: out.shape, outStrides: out.strides, redShape: red.shape, redStrides: red.strides };
}

/**
 * One invocation or one tree per output, and into how many blocks the reduced elements are cut.
 *
 * Software adapters run workgroups on few cores and pay for every barrier: rows only, cut until there are about a
 * thousand invocations. GPUs want tens of thousands of invocations and neighbours that read neighbouring elements:
 * rows where the outputs are the fastest axis, trees where the reduced elements are.
 */
export function planReduction(
  space: ReduceSpace,
  outputs: number,
  length: number,
  kind: 'gpu' | 'software',
): { form: 'row' | 'tree'; blocks: number } {
  if (length <= 64 || outputs === 0) return { form: 'row', blocks: 1 };
  const cut = (wanted: number, shortest: number): number =>
    Math.max(Math.min(Math.ceil(wanted / outputs), Math.floor(length / shortest)), 1);
  // A second dispatch costs as much as adding up some thousand elements.
  if (kind === 'software') return { form: 'row', blocks: cut(1024, 1024) };
  const fastest = (shape: readonly number[], strides: readonly number[]): number =>
    Math.min(...strides.filter((s, d) => s > 0 && shape[d] > 1), Infinity);
  const columns = fastest(space.outShape, space.outStrides) < fastest(space.redShape, space.redStrides);
  if (columns) return { form: 'row', blocks: cut(32768, 32) };
  if (outputs >= 32768 && length <= 256) return { form: 'row', blocks: 1 };
  return { form: 'tree', blocks: cut(512, 4096) };
}

/** Reduces one line of n elements, `step` apart from `at` on, to a number. */
export type LineLoop = (data: HostArray['data'], at: number, n: number, step: number) => number;

/** Host side: y = loop over every line of x along `dims`. Lines that are no single stride are gathered first. */
export function reduceHost(x: HostArray, y: HostArray, dims: readonly number[], loop: LineLoop): void {
  const { outShape, outStrides, redShape, redStrides } = reduceSpace(x.shape, x.strides, dims);
  const outputs = numel(y.shape);
  if (numel(x.shape) === 0) {
    for (let i = 0; i < outputs; i++) y.data[i] = loop(x.data, 0, 0, 1);
    return;
  }
  const bases = offsetsOf(outShape, outStrides);
  const n = numel(redShape);
  if (redShape.length === 1) {
    for (let i = 0; i < outputs; i++) y.data[i] = loop(x.data, x.offset + bases[i], n, redStrides[0]);
    return;
  }
  const offsets = offsetsOf(redShape, redStrides);
  const line = new (x.data.constructor as new (n: number) => HostArray['data'])(n);
  for (let i = 0; i < outputs; i++) {
    const base = x.offset + bases[i];
    for (let r = 0; r < n; r++) line[r] = x.data[base + offsets[r]];
    y.data[i] = loop(line, 0, n, 1);
  }
}

/** Offsets of all elements of a strided shape, in row-major order. */
function offsetsOf(shape: readonly number[], strides: readonly number[]): Int32Array {
  const out = new Int32Array(numel(shape));
  if (out.length === 0) return out;
  // Dim by dim from the last: what is there already, repeated with the dim's stride.
  for (let d = shape.length - 1, filled = 1; d >= 0; d--) {
    for (let i = filled; i < filled * shape[d]; i++) out[i] = out[i - filled] + strides[d];
    filled *= shape[d];
  }
  return out;
}

/**
 * Host side of sums, which every training step runs many times: y = scale · Σ x over `dims`, added in float64.
 * Where the outputs are the fastest axis, memory is walked in its own order and a row of sums is kept.
 */
export function sumHost(x: HostArray, y: HostArray, dims: readonly number[], scale = 1): void {
  const { outShape, outStrides, redShape, redStrides } = reduceSpace(x.shape, x.strides, dims);
  const data = x.data;
  const out = y.data;
  const inner = outShape.length - 1;
  if (redShape.length > 1 || numel(x.shape) === 0) {
    reduceHost(x, y, dims, (line, at, n, stride) => {
      let s = 0;
      for (let r = 0, i = at; r < n; r++, i += stride) s += line[i];
      return s * scale;
    });
    return;
  }
  const length = redShape[0];
  const step = redStrides[0];
  if (outStrides[inner] === 1 && outShape[inner] > 1 && step !== 1) {
    const width = outShape[inner];
    const sums = new Float64Array(width);
    const bases = offsetsOf(outShape.slice(0, inner), outStrides.slice(0, inner));
    for (let o = 0; o < bases.length; o++) {
      sums.fill(0);
      for (let r = 0; r < length; r++) {
        const at = x.offset + bases[o] + r * step;
        for (let j = 0; j < width; j++) sums[j] += data[at + j];
      }
      for (let j = 0; j < width; j++) out[o * width + j] = sums[j] * scale;
    }
    return;
  }
  const bases = offsetsOf(outShape, outStrides);
  for (let o = 0; o < bases.length; o++) {
    let at = x.offset + bases[o];
    let s = 0;
    for (let r = 0; r < length; r++, at += step) s += data[at];
    out[o] = s * scale;
  }
}
