/**
 * Reductions of rows, y[i] from x[i, 0], x[i, 1], …, for any strides; exchange the strides for columns.
 *
 * Where a row is contiguous, its elements are reduced in lanes. Elsewhere lanes are four rows that lie side by side, or one
 * row four times over: so the order of additions depends on a row's length and strides, not on how many rows there are.
 */
import { constant, expNegative4, log4 } from './math';
import { expRow } from './rows';
import { sumLanes } from './vector';

const ABS = 0, SQUARE = 1, NON_ZERO = 2, DEVIATION = 3, ITSELF = 4;
const MAX = 0, MIN = 1, MAX_ABS = 2, MIN_ABS = 3;
/** Elements that a lane adds in float32 before the sum joins one in float64. */
const CHUNK: i32 = 64;

// @ts-ignore: decorators of functions exist in AssemblyScript only
@inline
function term(f: i32, x: v128, center: v128): v128 {
  if (f == ABS) return f32x4.abs(x);
  if (f == SQUARE) return f32x4.mul(x, x);
  if (f == NON_ZERO) return v128.and(f32x4.ne(x, constant(0)), constant(1));
  if (f == ITSELF) return x;
  const d = f32x4.sub(x, center);
  return f32x4.mul(d, d);
}

/** Four rows that lie side by side, or the same row in all lanes. */
// @ts-ignore
@inline
function lanes(at: usize, four: bool): v128 {
  return four ? v128.load(at) : v128.load32_splat(at);
}

/** Σ term of a contiguous row. */
// @ts-ignore
@inline
function sumAcross(f: i32, count: i32, x: usize, center: f32): f64 {
  const centers = constant(center);
  let total: f64 = 0;
  while (count >= 4) {
    const part = min(count >> 2, CHUNK);
    let sum = f32x4.splat(0);
    for (let j = 0; j < part; j++) {
      sum = f32x4.add(sum, term(f, v128.load(x), centers));
      x += 16;
    }
    total += <f64>sumLanes(sum);
    count -= part << 2;
  }
  for (; count > 0; count--) {
    total += <f64>f32x4.extract_lane(term(f, v128.load32_splat(x), centers), 0);
    x += 4;
  }
  return total;
}

/** Σ term down the lanes. */
// @ts-ignore
@inline
function sumDown(f: i32, count: i32, x: usize, step: usize, four: bool, centers: v128): v128 {
  let low = f64x2.splat(0), high = low;
  while (count > 0) {
    const part = min(count, CHUNK);
    let sum = f32x4.splat(0);
    for (let j = 0; j < part; j++) {
      sum = f32x4.add(sum, term(f, lanes(x, four), centers));
      x += step;
    }
    low = f64x2.add(low, f64x2.promote_low_f32x4(sum));
    high = f64x2.add(high, f64x2.promote_low_f32x4(v128.shuffle<f32>(sum, sum, 2, 3, 2, 3)));
    count -= part;
  }
  return v128.shuffle<f32>(f32x4.demote_f64x2_zero(low), f32x4.demote_f64x2_zero(high), 0, 1, 4, 5);
}

// @ts-ignore
@inline
function put(at: usize, value: v128, four: bool): void {
  if (four) v128.store(at, value);
  else store<f32>(at, f32x4.extract_lane(value, 0));
}

/** y[i] = Σ term, or its root. */
// @ts-ignore
@inline
function sums(f: i32, root: bool, rows: i32, columns: i32, x: usize, xRow: i32, xCol: i32, y: usize): void {
  const rowStep = <usize>xRow << 2;
  const step = <usize>xCol << 2;
  for (let i = 0; i < rows; ) {
    const at = x + <usize>i * rowStep;
    const to = y + (<usize>i << 2);
    if (xCol == 1) {
      const sum = sumAcross(f, columns, at, 0);
      store<f32>(to, <f32>(root ? sqrt<f64>(sum) : sum));
      i++;
    } else {
      const four = xRow == 1 && i + 4 <= rows;
      const sum = sumDown(f, columns, at, step, four, constant(0));
      put(to, root ? f32x4.sqrt(sum) : sum, four);
      i += four ? 4 : 1;
    }
  }
}

/** Σ |x| */
export function sumAbs(rows: i32, columns: i32, x: usize, xRow: i32, xCol: i32, y: usize): void {
  sums(ABS, false, rows, columns, x, xRow, xCol, y);
}

/** √(Σ x²) */
export function norm(rows: i32, columns: i32, x: usize, xRow: i32, xCol: i32, y: usize): void {
  sums(SQUARE, true, rows, columns, x, xRow, xCol, y);
}

/** How many elements are not 0; NaN is not. */
export function countNonZero(rows: i32, columns: i32, x: usize, xRow: i32, xCol: i32, y: usize): void {
  sums(NON_ZERO, false, rows, columns, x, xRow, xCol, y);
}

/** y[i] = Σ (x - mean)² / max(columns - correction, 0), or its root. */
export function variance(
  rows: i32, columns: i32, x: usize, xRow: i32, xCol: i32, y: usize, correction: f64, root: bool,
): void {
  const rowStep = <usize>xRow << 2;
  const step = <usize>xCol << 2;
  const divisor = Math.max(<f64>columns - correction, 0);
  for (let i = 0; i < rows; ) {
    const at = x + <usize>i * rowStep;
    const to = y + (<usize>i << 2);
    if (xCol == 1) {
      const center = <f32>(sumAcross(ITSELF, columns, at, 0) / <f64>columns);
      const value = sumAcross(DEVIATION, columns, at, center) / divisor;
      store<f32>(to, <f32>(root ? sqrt<f64>(value) : value));
      i++;
    } else {
      const four = xRow == 1 && i + 4 <= rows;
      const centers = f32x4.div(sumDown(ITSELF, columns, at, step, four, constant(0)), constant(<f32>columns));
      const value = f32x4.div(sumDown(DEVIATION, columns, at, step, four, centers), constant(<f32>divisor));
      put(to, root ? f32x4.sqrt(value) : value, four);
      i += four ? 4 : 1;
    }
  }
}

/** What is to be as large as possible. */
// @ts-ignore
@inline
function key(f: i32, x: v128): v128 {
  if (f == MAX) return x;
  if (f == MIN) return f32x4.neg(x);
  if (f == MAX_ABS) return f32x4.abs(x);
  return f32x4.neg(f32x4.abs(x));
}

// @ts-ignore
@inline
function fromKey(f: i32, x: v128): v128 {
  return f == MIN || f == MIN_ABS ? f32x4.neg(x) : x;
}

/** The largest key of a contiguous row, NaN where there is one. */
// @ts-ignore
@inline
function extremeAcross(f: i32, count: i32, x: usize): f32 {
  let most = constant(-Infinity);
  let seen = i32x4.splat(0);
  for (; count >= 4; count -= 4) {
    const value = key(f, v128.load(x));
    most = f32x4.pmax(most, value);
    seen = v128.or(seen, f32x4.ne(value, value));
    x += 16;
  }
  for (; count > 0; count--) {
    const value = key(f, v128.load32_splat(x));
    most = f32x4.pmax(most, value);
    seen = v128.or(seen, f32x4.ne(value, value));
    x += 4;
  }
  if (v128.any_true(seen)) return NaN;
  most = f32x4.pmax(most, v128.shuffle<f32>(most, most, 2, 3, 0, 1));
  most = f32x4.pmax(most, v128.shuffle<f32>(most, most, 1, 0, 3, 2));
  return f32x4.extract_lane(most, 0);
}

/** The largest key down the lanes. */
// @ts-ignore
@inline
function extremeDown(f: i32, count: i32, x: usize, step: usize, four: bool): v128 {
  let most = constant(-Infinity);
  let seen = i32x4.splat(0);
  for (; count > 0; count--) {
    const value = key(f, lanes(x, four));
    most = f32x4.pmax(most, value);
    seen = v128.or(seen, f32x4.ne(value, value));
    x += step;
  }
  return v128.bitselect(constant(NaN), most, seen);
}

// @ts-ignore
@inline
function extremes(f: i32, rows: i32, columns: i32, x: usize, xRow: i32, xCol: i32, y: usize): void {
  for (let i = 0; i < rows; ) {
    const at = x + (<usize>i * <usize>xRow << 2);
    const four = xCol != 1 && xRow == 1 && i + 4 <= rows;
    const value = xCol == 1 ? constant(extremeAcross(f, columns, at)) : extremeDown(f, columns, at, <usize>xCol << 2, four);
    put(y + (<usize>i << 2), fromKey(f, value), four);
    i += four ? 4 : 1;
  }
}

/** The largest element, NaN where there is one. */
export function maxOf(rows: i32, columns: i32, x: usize, xRow: i32, xCol: i32, y: usize): void {
  extremes(MAX, rows, columns, x, xRow, xCol, y);
}

export function minOf(rows: i32, columns: i32, x: usize, xRow: i32, xCol: i32, y: usize): void {
  extremes(MIN, rows, columns, x, xRow, xCol, y);
}

export function maxAbs(rows: i32, columns: i32, x: usize, xRow: i32, xCol: i32, y: usize): void {
  extremes(MAX_ABS, rows, columns, x, xRow, xCol, y);
}

export function minAbs(rows: i32, columns: i32, x: usize, xRow: i32, xCol: i32, y: usize): void {
  extremes(MIN_ABS, rows, columns, x, xRow, xCol, y);
}

/** Where the first NaN, or the first of the largest keys, is in a contiguous row. */
// @ts-ignore
@inline
function placeAcross(f: i32, count: i32, x: usize): i32 {
  const most = constant(extremeAcross(f, count, x));
  const none = f32x4.ne(most, most);
  let j = 0;
  for (; j + 4 <= count; j += 4) {
    const value = key(f, v128.load(x + (<usize>j << 2)));
    const found = v128.or(f32x4.eq(value, most), v128.and(none, f32x4.ne(value, value)));
    if (v128.any_true(found)) return j + <i32>ctz<u32>(i32x4.bitmask(found));
  }
  for (; j < count; j++) {
    const value = key(f, v128.load32_splat(x + (<usize>j << 2)));
    if (v128.any_true(v128.or(f32x4.eq(value, most), v128.and(none, f32x4.ne(value, value))))) return j;
  }
  return 0;
}

// @ts-ignore
@inline
function placeDown(f: i32, count: i32, x: usize, step: usize, four: bool): v128 {
  let most = key(f, lanes(x, four));
  let place = i32x4.splat(0);
  for (let j = 1; j < count; j++) {
    x += step;
    const value = key(f, lanes(x, four));
    const firstNaN = v128.and(f32x4.ne(value, value), f32x4.eq(most, most));
    const better = v128.or(f32x4.gt(value, most), firstNaN);
    most = v128.bitselect(value, most, better);
    place = v128.bitselect(i32x4.splat(j), place, better);
  }
  return place;
}

// @ts-ignore
@inline
function places(f: i32, rows: i32, columns: i32, x: usize, xRow: i32, xCol: i32, y: usize): void {
  for (let i = 0; i < rows; ) {
    const at = x + (<usize>i * <usize>xRow << 2);
    const four = xCol != 1 && xRow == 1 && i + 4 <= rows;
    put(
      y + (<usize>i << 2),
      xCol == 1 ? i32x4.splat(placeAcross(f, columns, at)) : placeDown(f, columns, at, <usize>xCol << 2, four),
      four,
    );
    i += four ? 4 : 1;
  }
}

/** Where the largest element is, as int32: the first of equals, the first NaN if there is one. */
export function argmax(rows: i32, columns: i32, x: usize, xRow: i32, xCol: i32, y: usize): void {
  places(MAX, rows, columns, x, xRow, xCol, y);
}

export function argmin(rows: i32, columns: i32, x: usize, xRow: i32, xCol: i32, y: usize): void {
  places(MIN, rows, columns, x, xRow, xCol, y);
}

/** log Σ e^x: ±∞ and NaN as the largest element, where that is not finite. */
export function logSumExp(rows: i32, columns: i32, x: usize, xRow: i32, xCol: i32, y: usize): void {
  const step = <usize>xCol << 2;
  for (let i = 0; i < rows; ) {
    const at = x + (<usize>i * <usize>xRow << 2);
    const to = y + (<usize>i << 2);
    if (xCol == 1) {
      const most = extremeAcross(MAX, columns, at);
      let result = most;
      if (abs<f32>(most) < Infinity) result += f32x4.extract_lane(log4(constant(expRow(columns, at, most, 0))), 0);
      store<f32>(to, result);
      i++;
      continue;
    }
    const four = xRow == 1 && i + 4 <= rows;
    const most = extremeDown(MAX, columns, at, step, four);
    const finite = f32x4.lt(f32x4.abs(most), constant(Infinity));
    let sum = f32x4.splat(0);
    let from = at;
    for (let j = 0; j < columns; j++) {
      sum = f32x4.add(sum, expNegative4(f32x4.sub(lanes(from, four), most)));
      from += step;
    }
    put(to, v128.bitselect(f32x4.add(most, log4(sum)), most, finite), four);
    i += four ? 4 : 1;
  }
}
