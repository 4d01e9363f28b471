/**
 * `Program.simd` for elementwise ops and sums: walks views of any strides and calls the module for two dims at a time.
 *
 *     simd: simdUnary('exp')      simd: simdBinary('add')      simd: simdSum(({ dims }) => dims)
 */
import type { SimdModule, SimdView } from '../device/types.js';
import { numel } from '../tensor/shape.js';
import { type Collapsed, collapse, forEachRow } from './collapse.js';
import { reduceSpace } from './reduce-space.js';

type Simd<P> = (
  module: SimdModule,
  inputs: readonly SimdView[],
  outputs: readonly SimdView[],
  params: P,
) => boolean;

/** The module's functions of one input. */
export type SimdUnaryName =
  | 'neg'
  | 'abs'
  | 'sqrt'
  | 'reciprocal'
  | 'relu'
  | 'exp'
  | 'log'
  | 'sigmoid'
  | 'silu'
  | 'tanh'
  | 'erf'
  | 'gelu'
  | 'geluTanh'
  | 'copy';

/** The module's functions of two inputs. */
export type SimdBinaryName =
  | 'add'
  | 'sub'
  | 'mul'
  | 'div'
  | 'maximum'
  | 'minimum'
  | 'geluBackward'
  | 'geluTanhBackward'
  | 'siluBackward'
  | 'reluBackward'
  | 'tanhBackward'
  | 'sigmoidBackward';

/** y = f(x), x broadcast to the shape of y. */
export function simdUnary<P>(name: SimdUnaryName): Simd<P> {
  return (module, [x], [y]) => {
    forEachMatrix(collapse(y.shape, [x]), (rows, columns, at, [offset], [row], [column]) => {
      module[name](rows, columns, x.pointer + offset * 4, row, column, y.pointer + at * 4);
    });
    return true;
  };
}

/** y = f(a, b), both broadcast to the shape of y. */
export function simdBinary<P>(name: SimdBinaryName): Simd<P> {
  return (module, [a, b], [y]) => {
    forEachMatrix(collapse(y.shape, [a, b]), (rows, columns, at, offsets, [aRow, bRow], [aCol, bCol]) => {
      const p = a.pointer + offsets[0] * 4;
      const q = b.pointer + offsets[1] * 4;
      module[name](rows, columns, p, aRow, aCol, q, bRow, bCol, y.pointer + at * 4);
    });
    return true;
  };
}

/** y = factor · Σ x along dims, where the reduced dims merge into one; elsewhere the host does it. */
export function simdSum<P>(
  dims: (params: P) => readonly number[],
  factor: (params: P, shape: readonly number[]) => number = () => 1,
): Simd<P> {
  return (module, [x], [y], params) => {
    const { outShape, outStrides, redShape, redStrides } = reduceSpace(x.shape, x.strides, dims(params));
    if (redShape.length !== 1 || numel(x.shape) === 0) return false;
    const space = { shape: outShape, strides: [outStrides] };
    forEachRow(space, [0], (at, [offset]) => {
      const [rows, row] = [outShape[outShape.length - 1], outStrides[outStrides.length - 1]];
      module.sumRows(rows, redShape[0], x.pointer + offset * 4, row, redStrides[0], y.pointer + at * 4);
    });
    const scale = factor(params, x.shape);
    if (scale !== 1) module.scale(numel(y.shape), y.pointer, scale, y.pointer);
    return true;
  };
}

/** Calls `visit` for the last two dims at every position of the others, with offsets and strides of each view. */
function forEachMatrix(
  { shape, strides }: Collapsed,
  visit: (
    rows: number,
    columns: number,
    at: number,
    offsets: readonly number[],
    rowStrides: readonly number[],
    columnStrides: readonly number[],
  ) => void,
): void {
  const rank = shape.length;
  if (rank === 1) {
    visit(1, shape[0], 0, new Array<number>(strides.length).fill(0), ZEROS, columnsOf(strides, 0));
    return;
  }
  const rows = shape[rank - 2];
  const columns = shape[rank - 1];
  const rowStrides = columnsOf(strides, rank - 2);
  const columnStrides = columnsOf(strides, rank - 1);
  if (rank === 2) {
    visit(rows, columns, 0, new Array<number>(strides.length).fill(0), rowStrides, columnStrides);
    return;
  }
  // What is left are the outer dims; forEachRow's innermost dim is walked here.
  const outer = { shape: shape.slice(0, -2), strides: strides.map((s) => s.slice(0, -2)) };
  const inner = outer.shape.length - 1;
  forEachRow(outer, new Array<number>(strides.length).fill(0), (at, offsets) => {
    for (let i = 0; i < outer.shape[inner]; i++) {
      const here = offsets.map((offset, v) => offset + i * outer.strides[v][inner]);
      visit(rows, columns, (at + i) * rows * columns, here, rowStrides, columnStrides);
    }
  });
}

const ZEROS: readonly number[] = [0, 0];

function columnsOf(strides: readonly (readonly number[])[], dim: number): number[] {
  return strides.map((s) => s[dim]);
}
