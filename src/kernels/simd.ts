/**
 * `Program.simd` for elementwise ops: walks views of any strides and calls the module for two dims at a time.
 *
 *     simd: simdUnary('exp')      simd: simdBinary('add')      simd: simdCompare('lt')
 */
import type { SimdModule, SimdView } from '../device/types.js';
import { type Collapsed, collapse, forEachRow } from './collapse.js';

export type Simd<P> = (
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
  | 'square'
  | 'rsqrt'
  | 'sign'
  | 'floor'
  | 'ceil'
  | 'round'
  | 'trunc'
  | 'log1p'
  | 'expm1'
  | 'sin'
  | 'cos'
  | 'copy';

/** Those with two parameters. */
export type SimdUnaryWithName = 'clamp' | 'leakyRelu' | 'elu' | 'softplus';
export type SimdBinaryWithName = 'clampBackward' | 'leakyReluBackward' | 'eluBackward' | 'softplusBackward';

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
  | 'sigmoidBackward'
  | 'pow'
  | 'eq'
  | 'ne'
  | 'lt'
  | 'le'
  | 'eqInt'
  | 'neInt'
  | 'ltInt'
  | 'leInt'
  | 'and'
  | 'or'
  | 'xor';

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

/** y = f(x, p, q), x broadcast to the shape of y. */
export function simdUnaryWith<P>(
  name: SimdUnaryWithName,
  values: (params: P) => readonly [number, number],
): Simd<P> {
  return (module, [x], [y], params) => {
    const [p, q] = values(params);
    forEachMatrix(collapse(y.shape, [x]), (rows, columns, at, [offset], [row], [column]) => {
      module[name](rows, columns, x.pointer + offset * 4, row, column, y.pointer + at * 4, p, q);
    });
    return true;
  };
}

/** y = f(a, b, p, q), a and b broadcast to the shape of y. */
export function simdBinaryWith<P>(
  name: SimdBinaryWithName,
  values: (params: P) => readonly [number, number],
): Simd<P> {
  return (module, [a, b], [y], params) => {
    const [p, q] = values(params);
    forEachMatrix(collapse(y.shape, [a, b]), (rows, columns, at, offsets, [aRow, bRow], [aCol, bCol]) => {
      const [left, right] = [a.pointer + offsets[0] * 4, b.pointer + offsets[1] * 4];
      module[name](rows, columns, left, aRow, aCol, right, bRow, bCol, y.pointer + at * 4, p, q);
    });
    return true;
  };
}

/** A comparison of floats or of words, as bool; `gt` and `ge` are `lt` and `le` with the operands exchanged. Needs `simdIntegers`. */
export function simdCompare(name: 'eq' | 'ne' | 'lt' | 'le' | 'gt' | 'ge'): Simd<null> {
  const swap = name === 'gt' || name === 'ge';
  const same = name === 'gt' ? 'lt' : name === 'ge' ? 'le' : name;
  const floats = simdBinary<null>(same);
  const words = simdBinary<null>(`${same}Int`);
  const ordered = same === 'lt' || same === 'le';
  return (module, [a, b], outputs) => {
    // Words are ordered as signed numbers; bool, which is 0 or 1, is too.
    if (ordered && a.dtype === 'uint32') return false;
    return (a.dtype === 'float32' ? floats : words)(module, swap ? [b, a] : [a, b], outputs, null);
  };
}

/** y = a where the condition holds, else b, all broadcast to the shape of y. Needs `simdIntegers`. */
export const simdWhere: Simd<null> = (module, [c, a, b], [y]) => {
  forEachMatrix(collapse(y.shape, [c, a, b]), (rows, columns, at, [co, ao, bo], row, column) => {
    module.where(
      rows,
      columns,
      c.pointer + co * 4,
      row[0],
      column[0],
      a.pointer + ao * 4,
      row[1],
      column[1],
      b.pointer + bo * 4,
      row[2],
      column[2],
      y.pointer + at * 4,
    );
  });
  return true;
};

/** y = x^exponent: by multiplication for small whole exponents, else as `pow`. */
export const simdPower: Simd<{ readonly exponent: number }> = (module, [x], [y], { exponent }) => {
  if (exponent === 2) return squares(module, [x], [y], null);
  if (exponent === 1) return copies(module, [x], [y], null);
  if (exponent === -1) return reciprocals(module, [x], [y], null);
  if (exponent === 3) {
    squares(module, [x], [y], null);
    return products(module, [y, x], [y], null);
  }
  const repeated = { pointer: module.scratch(4), dtype: x.dtype, shape: [], strides: [] };
  module.storeF32(repeated.pointer, exponent);
  return powers(module, [x, repeated], [y], null);
};
const squares = simdUnary<null>('square');
const copies = simdUnary<null>('copy');
const reciprocals = simdUnary<null>('reciprocal');
const products = simdBinary<null>('mul');
const powers = simdBinary<null>('pow');

/** Copies x to a view of the same shape, whatever the strides of either; words of any type. */
export function simdCopyInto(module: SimdModule, x: SimdView, y: Omit<SimdView, 'dtype'>): void {
  forEachMatrix(collapse(y.shape, [x, y]), (rows, columns, _, [xo, yo], [xRow, yRow], [xCol, yCol]) => {
    module.copyStrided(rows, columns, x.pointer + xo * 4, xRow, xCol, y.pointer + yo * 4, yRow, yCol);
  });
}

/** The bits of a value as a word of a dtype of four bytes. */
export function wordOf(dtype: SimdView['dtype'], value: number): number {
  if (dtype !== 'float32') return value | 0;
  FLOAT[0] = value;
  return WORD[0];
}
const FLOAT = new Float32Array(1);
const WORD = new Int32Array(FLOAT.buffer);

/** Calls `visit` for the last two dims at every position of the others, with offsets and strides of each view. */
export function forEachMatrix(
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

const ZEROS: readonly number[] = [0, 0, 0];

function columnsOf(strides: readonly (readonly number[])[], dim: number): number[] {
  return strides.map((s) => s[dim]);
}
