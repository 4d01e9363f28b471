import { isContiguous, numel, sameShape } from '../tensor/shape.js';

interface Strided {
  readonly shape: readonly number[];
  readonly strides: readonly number[];
}

/** An iteration space shared by several views: `strides[v][d]` is the step of view v along dim d. */
export interface Collapsed {
  readonly shape: readonly number[];
  readonly strides: readonly (readonly number[])[];
}

/**
 * Views broadcast to `shape`, with neighbouring dims merged wherever every view allows it, so that most cases become
 * one dim. The first view's order decides nothing: all views are walked in row-major order of `shape`.
 */
export function collapse(shape: readonly number[], views: readonly Strided[]): Collapsed {
  if (views.every((v) => sameShape(v.shape, shape) && isContiguous(v.shape, v.strides))) {
    return { shape: [numel(shape)], strides: views.map(() => [1]) };
  }
  const rank = shape.length;
  const outShape: number[] = [];
  const outStrides: number[][] = views.map(() => []);
  const step = (v: Strided, d: number): number => {
    const at = d - (rank - v.shape.length);
    return at < 0 || (v.shape[at] === 1 && shape[d] !== 1) ? 0 : v.strides[at];
  };
  for (let d = 0; d < rank; d++) {
    if (shape[d] === 1) continue;
    const last = outShape.length - 1;
    if (last >= 0 && views.every((v, i) => outStrides[i][last] === step(v, d) * shape[d])) {
      outShape[last] *= shape[d];
      views.forEach((v, i) => {
        outStrides[i][last] = step(v, d);
      });
    } else {
      outShape.push(shape[d]);
      views.forEach((v, i) => outStrides[i].push(step(v, d)));
    }
  }
  if (outShape.length === 0) return { shape: [1], strides: views.map(() => [0]) };
  return { shape: outShape, strides: outStrides };
}

/**
 * Calls `visit(position, offset of view 0, offset of view 1, …)` for the start of every innermost row of a collapsed
 * space; the caller walks the row itself.
 */
export function forEachRow(
  space: Collapsed,
  offsets: readonly number[],
  visit: (at: number, offsets: readonly number[]) => void,
): void {
  const rank = space.shape.length;
  const inner = space.shape[rank - 1];
  const rows = numel(space.shape) / Math.max(inner, 1);
  const here = [...offsets];
  const coords = new Array<number>(rank).fill(0);
  for (let row = 0; row < rows; row++) {
    visit(row * inner, here);
    for (let d = rank - 2; d >= 0; d--) {
      coords[d]++;
      const wraps = coords[d] === space.shape[d];
      for (let v = 0; v < here.length; v++) {
        here[v] += wraps ? space.strides[v][d] * (1 - space.shape[d]) : space.strides[v][d];
      }
      if (!wraps) break;
      coords[d] = 0;
    }
  }
}
