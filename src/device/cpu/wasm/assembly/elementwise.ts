/**
 * Further elementwise functions over rows × columns: inputs with any strides (stride 0 repeats), outputs contiguous, as in
 * pointwise.ts. Functions with parameters take two.
 */
import { constant, exp4, sigmoid4 } from './math';
import { cos4, expm14, log1p4, pow4, sin4 } from './math-more';

const SQUARE = 0, RSQRT = 1, SIGN = 2, FLOOR = 3, CEIL = 4, ROUND = 5, TRUNC = 6, LOG1P = 7, EXPM1 = 8, SIN = 9, COS = 10,
  CLAMP = 11, LEAKY_RELU = 12, ELU = 13, SOFTPLUS = 14;
const POW = 0, EQ = 1, NE = 2, LT = 3, LE = 4, EQ_INT = 5, NE_INT = 6, LT_INT = 7, LE_INT = 8, AND = 9, OR = 10, XOR = 11,
  CLAMP_BACKWARD = 12, LEAKY_RELU_BACKWARD = 13, ELU_BACKWARD = 14, SOFTPLUS_BACKWARD = 15;

// @ts-ignore: decorators of functions exist in AssemblyScript only
@inline
function one(f: i32, x: v128, p: v128, q: v128): v128 {
  if (f == SQUARE) return f32x4.mul(x, x);
  if (f == RSQRT) return f32x4.div(constant(1), f32x4.sqrt(x));
  if (f == SIGN) {
    const below = v128.and(constant(-1), f32x4.lt(x, constant(0)));
    return v128.or(below, v128.and(constant(1), f32x4.gt(x, constant(0))));
  }
  if (f == FLOOR) return f32x4.floor(x);
  if (f == CEIL) return f32x4.ceil(x);
  if (f == ROUND) return f32x4.nearest(x);
  if (f == TRUNC) return f32x4.trunc(x);
  if (f == LOG1P) return log1p4(x);
  if (f == EXPM1) return expm14(x);
  if (f == SIN) return sin4(x);
  if (f == COS) return cos4(x);
  // pmax(a, b) is a < b ? b : a, so NaN in x stays; the upper bound comes last and wins.
  if (f == CLAMP) return f32x4.pmin(f32x4.pmax(x, p), q);
  if (f == LEAKY_RELU) return v128.bitselect(x, f32x4.mul(x, p), f32x4.gt(x, constant(0)));
  if (f == ELU) return v128.bitselect(x, f32x4.mul(expm14(x), p), f32x4.gt(x, constant(0)));
  // max(z, 0) + log(1 + e^-|z|), z = x · p, divided by p; x itself where z > q.
  const z = f32x4.mul(x, p);
  const tail = log1p4(exp4(f32x4.neg(f32x4.abs(z))));
  const y = f32x4.div(f32x4.add(f32x4.pmax(z, constant(0)), tail), p);
  return v128.bitselect(x, y, f32x4.gt(z, q));
}

/** Four lanes of a comparison as words of 0 and 1. */
// @ts-ignore
@inline
function truth(lanes: v128): v128 {
  return i32x4.shr_u(lanes, 31);
}

// @ts-ignore
@inline
function two(f: i32, a: v128, b: v128, p: v128, q: v128): v128 {
  if (f == POW) return pow4(a, b);
  if (f == EQ) return truth(f32x4.eq(a, b));
  if (f == NE) return truth(f32x4.ne(a, b));
  if (f == LT) return truth(f32x4.lt(a, b));
  if (f == LE) return truth(f32x4.le(a, b));
  if (f == EQ_INT) return truth(i32x4.eq(a, b));
  if (f == NE_INT) return truth(i32x4.ne(a, b));
  if (f == LT_INT) return truth(i32x4.lt_s(a, b));
  if (f == LE_INT) return truth(i32x4.le_s(a, b));
  if (f == AND) return v128.and(a, b);
  if (f == OR) return v128.or(a, b);
  if (f == XOR) return v128.xor(a, b);
  if (f == CLAMP_BACKWARD) return v128.and(a, v128.and(f32x4.ge(b, p), f32x4.le(b, q)));
  if (f == LEAKY_RELU_BACKWARD) return v128.bitselect(a, f32x4.mul(a, p), f32x4.gt(b, constant(0)));
  if (f == ELU_BACKWARD) return v128.bitselect(a, f32x4.mul(f32x4.mul(a, p), exp4(b)), f32x4.gt(b, constant(0)));
  const z = f32x4.mul(b, p);
  return v128.bitselect(a, f32x4.mul(a, sigmoid4(z)), f32x4.gt(z, q));
}

/** `count` words (1 to 4) at a stride; missing lanes repeat the first. */
// @ts-ignore
@inline
function loadLanes(at: usize, stride: usize, count: i32): v128 {
  let value = v128.load32_splat(at);
  if (count > 1) value = v128.load_lane<f32>(at + stride, value, 1);
  if (count > 2) value = v128.load_lane<f32>(at + stride * 2, value, 2);
  if (count > 3) value = v128.load_lane<f32>(at + stride * 3, value, 3);
  return value;
}

// @ts-ignore
@inline
function storeLanes(at: usize, value: v128, count: i32): void {
  v128.store_lane<f32>(at, value, 0);
  if (count > 1) v128.store_lane<f32>(at, value, 1, 4);
  if (count > 2) v128.store_lane<f32>(at, value, 2, 8);
  if (count > 3) v128.store_lane<f32>(at, value, 3, 12);
}

// @ts-ignore
@inline
function unary(f: i32, rows: i32, columns: i32, x: usize, xRow: i32, xCol: i32, y: usize, p: f64, q: f64): void {
  const stride = <usize>xCol << 2;
  const ps = constant(<f32>p);
  const qs = constant(<f32>q);
  for (let i = 0; i < rows; i++) {
    let at = x + (<usize>i * <usize>xRow << 2);
    let j = columns;
    if (xCol == 1) {
      for (; j >= 4; j -= 4) {
        v128.store(y, one(f, v128.load(at), ps, qs));
        at += 16;
        y += 16;
      }
    }
    for (; j > 0; j -= 4) {
      storeLanes(y, one(f, loadLanes(at, stride, j), ps, qs), j);
      at += stride * 4;
      y += <usize>min(j, 4) << 2;
    }
  }
}

// @ts-ignore
@inline
function binary(
  f: i32, rows: i32, columns: i32, a: usize, aRow: i32, aCol: i32, b: usize, bRow: i32, bCol: i32, y: usize,
  p: f64, q: f64,
): void {
  const aStep = <usize>aCol << 2;
  const bStep = <usize>bCol << 2;
  const ps = constant(<f32>p);
  const qs = constant(<f32>q);
  for (let i = 0; i < rows; i++) {
    let s = a + (<usize>i * <usize>aRow << 2);
    let t = b + (<usize>i * <usize>bRow << 2);
    let j = columns;
    if (aCol <= 1 && bCol <= 1) {
      const aRepeated = v128.load32_splat(s);
      const bRepeated = v128.load32_splat(t);
      for (; j >= 4; j -= 4) {
        const left = aCol ? v128.load(s) : aRepeated;
        const right = bCol ? v128.load(t) : bRepeated;
        v128.store(y, two(f, left, right, ps, qs));
        s += aStep * 4;
        t += bStep * 4;
        y += 16;
      }
    }
    for (; j > 0; j -= 4) {
      storeLanes(y, two(f, loadLanes(s, aStep, j), loadLanes(t, bStep, j), ps, qs), j);
      s += aStep * 4;
      t += bStep * 4;
      y += <usize>min(j, 4) << 2;
    }
  }
}

/** y = a where the word c is not 0, else b; words of any type. */
export function where(
  rows: i32, columns: i32, c: usize, cRow: i32, cCol: i32, a: usize, aRow: i32, aCol: i32,
  b: usize, bRow: i32, bCol: i32, y: usize,
): void {
  const cStep = <usize>cCol << 2;
  const aStep = <usize>aCol << 2;
  const bStep = <usize>bCol << 2;
  const zero = i32x4.splat(0);
  for (let i = 0; i < rows; i++) {
    let r = c + (<usize>i * <usize>cRow << 2);
    let s = a + (<usize>i * <usize>aRow << 2);
    let t = b + (<usize>i * <usize>bRow << 2);
    let j = columns;
    if (cCol <= 1 && aCol <= 1 && bCol <= 1) {
      const cRepeated = v128.load32_splat(r);
      const aRepeated = v128.load32_splat(s);
      const bRepeated = v128.load32_splat(t);
      for (; j >= 4; j -= 4) {
        const no = i32x4.eq(cCol ? v128.load(r) : cRepeated, zero);
        v128.store(y, v128.bitselect(bCol ? v128.load(t) : bRepeated, aCol ? v128.load(s) : aRepeated, no));
        r += cStep * 4;
        s += aStep * 4;
        t += bStep * 4;
        y += 16;
      }
    }
    for (; j > 0; j -= 4) {
      const no = i32x4.eq(loadLanes(r, cStep, j), zero);
      storeLanes(y, v128.bitselect(loadLanes(t, bStep, j), loadLanes(s, aStep, j), no), j);
      r += cStep * 4;
      s += aStep * 4;
      t += bStep * 4;
      y += <usize>min(j, 4) << 2;
    }
  }
}

export function square(rows: i32, columns: i32, x: usize, xRow: i32, xCol: i32, y: usize): void {
  unary(SQUARE, rows, columns, x, xRow, xCol, y, 0, 0);
}

export function rsqrt(rows: i32, columns: i32, x: usize, xRow: i32, xCol: i32, y: usize): void {
  unary(RSQRT, rows, columns, x, xRow, xCol, y, 0, 0);
}

export function sign(rows: i32, columns: i32, x: usize, xRow: i32, xCol: i32, y: usize): void {
  unary(SIGN, rows, columns, x, xRow, xCol, y, 0, 0);
}

export function floor(rows: i32, columns: i32, x: usize, xRow: i32, xCol: i32, y: usize): void {
  unary(FLOOR, rows, columns, x, xRow, xCol, y, 0, 0);
}

export function ceil(rows: i32, columns: i32, x: usize, xRow: i32, xCol: i32, y: usize): void {
  unary(CEIL, rows, columns, x, xRow, xCol, y, 0, 0);
}

export function round(rows: i32, columns: i32, x: usize, xRow: i32, xCol: i32, y: usize): void {
  unary(ROUND, rows, columns, x, xRow, xCol, y, 0, 0);
}

export function trunc(rows: i32, columns: i32, x: usize, xRow: i32, xCol: i32, y: usize): void {
  unary(TRUNC, rows, columns, x, xRow, xCol, y, 0, 0);
}

export function log1p(rows: i32, columns: i32, x: usize, xRow: i32, xCol: i32, y: usize): void {
  unary(LOG1P, rows, columns, x, xRow, xCol, y, 0, 0);
}

export function expm1(rows: i32, columns: i32, x: usize, xRow: i32, xCol: i32, y: usize): void {
  unary(EXPM1, rows, columns, x, xRow, xCol, y, 0, 0);
}

export function sin(rows: i32, columns: i32, x: usize, xRow: i32, xCol: i32, y: usize): void {
  unary(SIN, rows, columns, x, xRow, xCol, y, 0, 0);
}

export function cos(rows: i32, columns: i32, x: usize, xRow: i32, xCol: i32, y: usize): void {
  unary(COS, rows, columns, x, xRow, xCol, y, 0, 0);
}

/** min(max(x, p), q); NaN stays. */
export function clamp(rows: i32, columns: i32, x: usize, xRow: i32, xCol: i32, y: usize, p: f64, q: f64): void {
  unary(CLAMP, rows, columns, x, xRow, xCol, y, p, q);
}

/** x where x > 0, else p · x. */
export function leakyRelu(rows: i32, columns: i32, x: usize, xRow: i32, xCol: i32, y: usize, p: f64, q: f64): void {
  unary(LEAKY_RELU, rows, columns, x, xRow, xCol, y, p, q);
}

/** x where x > 0, else p · (eˣ - 1). */
export function elu(rows: i32, columns: i32, x: usize, xRow: i32, xCol: i32, y: usize, p: f64, q: f64): void {
  unary(ELU, rows, columns, x, xRow, xCol, y, p, q);
}

/** log(1 + e^(p·x)) / p; x itself where p · x > q. */
export function softplus(rows: i32, columns: i32, x: usize, xRow: i32, xCol: i32, y: usize, p: f64, q: f64): void {
  unary(SOFTPLUS, rows, columns, x, xRow, xCol, y, p, q);
}

export function pow(
  rows: i32, columns: i32, a: usize, aRow: i32, aCol: i32, b: usize, bRow: i32, bCol: i32, y: usize,
): void {
  binary(POW, rows, columns, a, aRow, aCol, b, bRow, bCol, y, 0, 0);
}

export function eq(
  rows: i32, columns: i32, a: usize, aRow: i32, aCol: i32, b: usize, bRow: i32, bCol: i32, y: usize,
): void {
  binary(EQ, rows, columns, a, aRow, aCol, b, bRow, bCol, y, 0, 0);
}

export function ne(
  rows: i32, columns: i32, a: usize, aRow: i32, aCol: i32, b: usize, bRow: i32, bCol: i32, y: usize,
): void {
  binary(NE, rows, columns, a, aRow, aCol, b, bRow, bCol, y, 0, 0);
}

export function lt(
  rows: i32, columns: i32, a: usize, aRow: i32, aCol: i32, b: usize, bRow: i32, bCol: i32, y: usize,
): void {
  binary(LT, rows, columns, a, aRow, aCol, b, bRow, bCol, y, 0, 0);
}

export function le(
  rows: i32, columns: i32, a: usize, aRow: i32, aCol: i32, b: usize, bRow: i32, bCol: i32, y: usize,
): void {
  binary(LE, rows, columns, a, aRow, aCol, b, bRow, bCol, y, 0, 0);
}

export function eqInt(
  rows: i32, columns: i32, a: usize, aRow: i32, aCol: i32, b: usize, bRow: i32, bCol: i32, y: usize,
): void {
  binary(EQ_INT, rows, columns, a, aRow, aCol, b, bRow, bCol, y, 0, 0);
}

export function neInt(
  rows: i32, columns: i32, a: usize, aRow: i32, aCol: i32, b: usize, bRow: i32, bCol: i32, y: usize,
): void {
  binary(NE_INT, rows, columns, a, aRow, aCol, b, bRow, bCol, y, 0, 0);
}

export function ltInt(
  rows: i32, columns: i32, a: usize, aRow: i32, aCol: i32, b: usize, bRow: i32, bCol: i32, y: usize,
): void {
  binary(LT_INT, rows, columns, a, aRow, aCol, b, bRow, bCol, y, 0, 0);
}

export function leInt(
  rows: i32, columns: i32, a: usize, aRow: i32, aCol: i32, b: usize, bRow: i32, bCol: i32, y: usize,
): void {
  binary(LE_INT, rows, columns, a, aRow, aCol, b, bRow, bCol, y, 0, 0);
}

export function and(
  rows: i32, columns: i32, a: usize, aRow: i32, aCol: i32, b: usize, bRow: i32, bCol: i32, y: usize,
): void {
  binary(AND, rows, columns, a, aRow, aCol, b, bRow, bCol, y, 0, 0);
}

export function or(
  rows: i32, columns: i32, a: usize, aRow: i32, aCol: i32, b: usize, bRow: i32, bCol: i32, y: usize,
): void {
  binary(OR, rows, columns, a, aRow, aCol, b, bRow, bCol, y, 0, 0);
}

export function xor(
  rows: i32, columns: i32, a: usize, aRow: i32, aCol: i32, b: usize, bRow: i32, bCol: i32, y: usize,
): void {
  binary(XOR, rows, columns, a, aRow, aCol, b, bRow, bCol, y, 0, 0);
}

/** The gradient a times the slope at b of the function of the same name, and its parameters. */
export function clampBackward(
  rows: i32, columns: i32, a: usize, aRow: i32, aCol: i32, b: usize, bRow: i32, bCol: i32, y: usize, p: f64, q: f64,
): void {
  binary(CLAMP_BACKWARD, rows, columns, a, aRow, aCol, b, bRow, bCol, y, p, q);
}

export function leakyReluBackward(
  rows: i32, columns: i32, a: usize, aRow: i32, aCol: i32, b: usize, bRow: i32, bCol: i32, y: usize, p: f64, q: f64,
): void {
  binary(LEAKY_RELU_BACKWARD, rows, columns, a, aRow, aCol, b, bRow, bCol, y, p, q);
}

export function eluBackward(
  rows: i32, columns: i32, a: usize, aRow: i32, aCol: i32, b: usize, bRow: i32, bCol: i32, y: usize, p: f64, q: f64,
): void {
  binary(ELU_BACKWARD, rows, columns, a, aRow, aCol, b, bRow, bCol, y, p, q);
}

export function softplusBackward(
  rows: i32, columns: i32, a: usize, aRow: i32, aCol: i32, b: usize, bRow: i32, bCol: i32, y: usize, p: f64, q: f64,
): void {
  binary(SOFTPLUS_BACKWARD, rows, columns, a, aRow, aCol, b, bRow, bCol, y, p, q);
}
