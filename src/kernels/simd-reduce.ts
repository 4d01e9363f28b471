/**
 * `Program.simd` for reductions.
 *
 *     simd: simdSum(({ dims }) => dims)      simd: simdReduce('maxOf', ({ dims }) => dims)
 */
import type { SimdModule, SimdView } from '../device/types.js';
import { contiguousStrides, numel } from '../tensor/shape.js';
import { forEachRow } from './collapse.js';
import { reduceSpace } from './reduce-space.js';
import { type Simd, simdCopyInto } from './simd.js';

/** The module's functions from rows to numbers. */
export type SimdReduceName =
  | 'sumAbs'
  | 'norm'
  | 'countNonZero'
  | 'maxOf'
  | 'minOf'
  | 'maxAbs'
  | 'minAbs'
  | 'argmax'
  | 'argmin'
  | 'logSumExp';

/** Calls `visit` for rows of `length` elements, `step` apart, whose results lie side by side from `y` on. */
function forEachRows(
  module: SimdModule,
  x: SimdView,
  y: SimdView,
  dims: readonly number[],
  visit: (rows: number, length: number, x: number, row: number, step: number, y: number) => void,
): boolean {
  if (numel(x.shape) === 0) return false;
  let { outShape, outStrides, redShape, redStrides } = reduceSpace(x.shape, x.strides, dims);
  let { pointer } = x;
  if (redShape.length !== 1) {
    // Reduced dims that do not merge: a copy in which each row is contiguous.
    const shape = [...outShape, ...redShape];
    const strides = contiguousStrides(shape);
    const copy = module.scratch(numel(shape) * 4);
    const from = { pointer, dtype: x.dtype, shape, strides: [...outStrides, ...redStrides] };
    simdCopyInto(module, from, { pointer: copy, shape, strides });
    pointer = copy;
    outStrides = strides.slice(0, outShape.length);
    redShape = [numel(redShape)];
    redStrides = [1];
  }
  const inner = outShape.length - 1;
  forEachRow({ shape: outShape, strides: [outStrides] }, [0], (at, [offset]) => {
    const [rows, row] = [outShape[inner], outStrides[inner]];
    visit(rows, redShape[0], pointer + offset * 4, row, redStrides[0], y.pointer + at * 4);
  });
  return true;
}

/** y = factor · Σ x along dims. */
export function simdSum<P>(
  dims: (params: P) => readonly number[],
  factor: (params: P, shape: readonly number[]) => number = () => 1,
): Simd<P> {
  return (module, [x], [y], params) => {
    const done = forEachRows(module, x, y, dims(params), (rows, length, from, row, step, to) => {
      module.sumRows(rows, length, from, row, step, to);
    });
    const scale = factor(params, x.shape);
    if (done && scale !== 1) module.scale(numel(y.shape), y.pointer, scale, y.pointer);
    return done;
  };
}

/** y = a reduction of x along dims. Needs `simdIntegers` where y is int32. */
export function simdReduce<P>(
  name: SimdReduceName | ((params: P) => SimdReduceName | null),
  dims: (params: P) => readonly number[],
): Simd<P> {
  return (module, [x], [y], params) => {
    const which = typeof name === 'string' ? name : name(params);
    if (which === null || x.dtype !== 'float32') return false;
    return forEachRows(module, x, y, dims(params), (rows, length, from, row, step, to) => {
      module[which](rows, length, from, row, step, to);
    });
  };
}

/** y = Σ (x − mean)² / (n − correction) along dims, or its root. */
export function simdVariance<P extends { readonly dims: readonly number[]; readonly correction: number }>(
  root: boolean,
): Simd<P> {
  return (module, [x], [y], { dims, correction }) =>
    forEachRows(module, x, y, dims, (rows, length, from, row, step, to) => {
      module.variance(rows, length, from, row, step, to, correction, root);
    });
}
