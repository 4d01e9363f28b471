/**
 * Access pattern: whole rows picked by an index, and its adjoint, sums of rows into picked rows. Tensors are seen as
 * [outer, rows, inner], contiguous, with `dim` in the middle; the index is flat. gather-rows-wgsl.ts has the kernels.
 */
import type { HostArray, SimdModule, SimdView } from '../device/types.js';
import { numel } from '../tensor/shape.js';
import { indexError } from './gather.js';

export interface RowsParams {
  readonly dim: number;
  /** Public function, for messages. */
  readonly op: string;
  /** Index of the row that gets no gradient; −1 for none. */
  readonly padding: number;
}

export interface SelectParams extends RowsParams {
  /** Positions of the padding index give zeros: so it is where this is the adjoint of adding rows. */
  readonly masked: boolean;
}

export interface AddParams extends RowsParams {
  /** Rows of the output. */
  readonly size: number;
}

/** The product of the sizes from dim `from` below `to`. */
export function product(shape: readonly number[], from: number, to: number): number {
  let n = 1;
  for (let d = from; d < to; d++) n *= shape[d];
  return n;
}

/** Rows shorter than this are copied by a loop: a call of `set` costs more. */
const SHORT_ROW = 32;

/** y[o, k, :] = x[o, index[k], :] */
export function selectRowsHost(
  [x, index]: readonly HostArray[],
  [y]: readonly HostArray[],
  p: SelectParams,
): void {
  const rows = x.shape[p.dim];
  const outer = product(x.shape, 0, p.dim);
  const inner = product(x.shape, p.dim + 1, x.shape.length);
  const count = numel(index.shape);
  let to = 0;
  for (let o = 0; o < outer; o++) {
    for (let k = 0; k < count; k++, to += inner) {
      const pick = index.data[index.offset + k];
      if (pick < 0 || pick >= rows) throw indexError(p.op, rows, pick, k);
      const at = x.offset + (o * rows + pick) * inner;
      if (p.masked && pick === p.padding) y.data.fill(0, to, to + inner);
      else if (inner < SHORT_ROW) for (let c = 0; c < inner; c++) y.data[to + c] = x.data[at + c];
      else y.data.set(x.data.subarray(at, at + inner), to);
    }
  }
}

/** False for an index out of range: the host says which. */
export function selectRowsSimd(
  module: SimdModule,
  [x, index]: readonly SimdView[],
  [y]: readonly SimdView[],
  p: SelectParams,
): boolean {
  const rows = x.shape[p.dim];
  const outer = product(x.shape, 0, p.dim);
  const inner = product(x.shape, p.dim + 1, x.shape.length);
  const count = numel(index.shape);
  const skip = p.masked ? p.padding : -1;
  for (let o = 0; o < outer; o++) {
    const from = x.pointer + o * rows * inner * 4;
    const to = y.pointer + o * count * inner * 4;
    if (!module.selectRows(count, inner, from, rows, index.pointer, skip, to)) return false;
  }
  return true;
}

export function addRowsSimd(
  module: SimdModule,
  [x, index]: readonly SimdView[],
  [y]: readonly SimdView[],
  p: AddParams,
): boolean {
  if (x.dtype !== 'float32') return false;
  const outer = product(y.shape, 0, p.dim);
  const inner = product(y.shape, p.dim + 1, y.shape.length);
  const count = numel(index.shape);
  for (let o = 0; o < outer; o++) {
    const from = x.pointer + o * count * inner * 4;
    const to = y.pointer + o * p.size * inner * 4;
    if (!module.addRows(count, inner, from, inner, index.pointer, p.size, p.padding, to, inner)) return false;
  }
  return true;
}

/** y = 0, then y[o, index[k], :] += x[o, k, :] in order of k. */
export function addRowsHost([x, index]: readonly HostArray[], [y]: readonly HostArray[], p: AddParams): void {
  const outer = product(y.shape, 0, p.dim);
  const inner = product(y.shape, p.dim + 1, y.shape.length);
  const count = numel(index.shape);
  const [X, Y] = [x.data, y.data];
  Y.fill(0, 0, numel(y.shape));
  let at = x.offset;
  for (let o = 0; o < outer; o++) {
    for (let k = 0; k < count; k++, at += inner) {
      const pick = index.data[index.offset + k];
      if (pick < 0 || pick >= p.size) throw indexError(p.op, p.size, pick, k);
      if (pick === p.padding) continue;
      const to = (o * p.size + pick) * inner;
      for (let c = 0; c < inner; c++) Y[to + c] += X[at + c];
    }
  }
}
