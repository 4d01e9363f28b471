/** Arithmetic on shapes and strides. Strides count elements. */
import { ShapeError } from '../device/errors.js';

export type Shape = readonly number[];

/** Number of elements: the product of the sizes, 1 for a scalar. */
export function numel(shape: Shape): number {
  let n = 1;
  for (let i = 0; i < shape.length; i++) n *= shape[i];
  return n;
}

/** Row-major strides. */
export function contiguousStrides(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let step = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = step;
    step *= shape[i];
  }
  return strides;
}

/** Whether the strides are row-major, those of dims of size 1 aside. */
export function isContiguous(shape: Shape, strides: readonly number[]): boolean {
  let step = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    if (shape[i] !== 1) {
      if (strides[i] !== step) return numel(shape) === 0;
      step *= shape[i];
    }
  }
  return true;
}

export function sameShape(a: Shape, b: Shape): boolean {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** `[2, 3]`, as error messages print it. */
export function formatShape(shape: Shape): string {
  return `[${shape.join(', ')}]`;
}

/** The shape two operands broadcast to: sizes aligned at the right, 1 stretches. */
export function broadcastShapes(op: string, a: Shape, b: Shape): Shape {
  if (sameShape(a, b)) return a;
  const rank = Math.max(a.length, b.length);
  const out = new Array<number>(rank);
  for (let i = 1; i <= rank; i++) {
    const x = a.length >= i ? a[a.length - i] : 1;
    const y = b.length >= i ? b[b.length - i] : 1;
    if (x !== y && x !== 1 && y !== 1) {
      throw new ShapeError(
        `${op}: expected shapes that broadcast, got ${formatShape(a)} and ${formatShape(b)} (${x} ≠ ${y} in dim -${i})`,
      );
    }
    out[rank - i] = x === 1 ? y : x;
  }
  return out;
}

/** Strides of a view broadcast to `to`: 0 where a dim is stretched or new. */
export function broadcastStrides(shape: Shape, strides: readonly number[], to: Shape): readonly number[] {
  if (sameShape(shape, to)) return strides;
  const out = new Array<number>(to.length).fill(0);
  const shift = to.length - shape.length;
  for (let i = 0; i < shape.length; i++)
    out[i + shift] = shape[i] === 1 && to[i + shift] !== 1 ? 0 : strides[i];
  return out;
}

/** Maps a dim in [−rank, rank) to [0, rank). A scalar has the one dim 0 (or −1), as in PyTorch. */
export function normalizeDim(op: string, dim: number, rank: number): number {
  const r = Math.max(rank, 1);
  if (!Number.isInteger(dim) || dim < -r || dim >= r) {
    throw new ShapeError(`${op}: expected dim in [${-r}, ${r - 1}], got ${dim}`);
  }
  return dim < 0 ? dim + r : dim;
}

/** Sorted, distinct, normalised dims; all of them where `dim` is undefined. */
export function normalizeDims(
  op: string,
  dim: number | readonly number[] | undefined,
  rank: number,
): number[] {
  if (dim === undefined) return Array.from({ length: rank }, (_, i) => i);
  const dims = (typeof dim === 'number' ? [dim] : [...dim]).map((d) => normalizeDim(op, d, rank));
  dims.sort((x, y) => x - y);
  for (let i = 1; i < dims.length; i++) {
    if (dims[i] === dims[i - 1])
      throw new ShapeError(`${op}: expected distinct dims, got dim ${dims[i]} twice`);
  }
  return rank === 0 ? [] : dims;
}

/** The shape after reducing `dims` (normalised). */
export function reducedShape(shape: Shape, dims: readonly number[], keepdim: boolean): number[] {
  const out: number[] = [];
  for (let i = 0; i < shape.length; i++) {
    if (!dims.includes(i)) out.push(shape[i]);
    else if (keepdim) out.push(1);
  }
  return out;
}

/** Checks sizes: non-negative integers. */
export function checkShape(op: string, shape: Shape): void {
  for (const size of shape) {
    if (!Number.isInteger(size) || size < 0) {
      throw new ShapeError(`${op}: expected sizes that are non-negative integers, got ${formatShape(shape)}`);
    }
  }
}

/** Resolves one −1 in a requested shape of `count` elements. */
export function resolveShape(op: string, shape: Shape, from: Shape): number[] {
  const count = numel(from);
  const wild = shape.indexOf(-1);
  const rest = shape.reduce((n, s, i) => (i === wild ? n : n * s), 1);
  const out = [...shape];
  if (wild >= 0 && rest > 0 && count % rest === 0) out[wild] = count / rest;
  if (out.some((s) => !Number.isInteger(s) || s < 0) || numel(out) !== count) {
    throw new ShapeError(
      `${op}: expected a shape of ${count} elements, got ${formatShape(shape)} for a tensor of shape ${formatShape(from)}`,
    );
  }
  return out;
}

/**
 * Strides that show (shape, strides) as `to` without a copy, or null where there are none. Groups of dims that lie
 * behind one another in memory are matched with groups of `to` of equal size.
 */
export function viewStrides(shape: Shape, strides: readonly number[], to: Shape): number[] | null {
  if (numel(shape) === 0) return contiguousStrides(to);
  const out = new Array<number>(to.length);
  let t = to.length - 1;
  let i = shape.length - 1;
  while (i >= 0) {
    let size = shape[i];
    const base = strides[i];
    let step = base * size;
    i--;
    while (i >= 0 && (shape[i] === 1 || size === 1 || strides[i] === step)) {
      if (size === 1 && shape[i] !== 1) return viewStridesFrom(shape, strides, to);
      if (shape[i] !== 1) step = strides[i] * shape[i];
      size *= shape[i];
      i--;
    }
    let filled = 1;
    let s = base;
    while (t >= 0 && filled < size) {
      out[t] = s;
      filled *= to[t];
      s *= to[t];
      t--;
    }
    if (filled !== size) return null;
  }
  for (; t >= 0; t--) {
    if (to[t] !== 1) return null;
    out[t] = 1;
  }
  return out;
}

/** The same without the dims of size 1, which constrain nothing. */
function viewStridesFrom(shape: Shape, strides: readonly number[], to: Shape): number[] | null {
  const keep = shape.map((_, i) => i).filter((i) => shape[i] !== 1);
  return viewStrides(
    keep.map((i) => shape[i]),
    keep.map((i) => strides[i]),
    to,
  );
}
