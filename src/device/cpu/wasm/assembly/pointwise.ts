/**
 * Elementwise functions over rows × columns: inputs with any strides (stride 0 repeats), outputs contiguous.
 *
 * An output may be one of the inputs where that is contiguous too. Each export names its function as a constant, so the
 * compiler makes one loop per function.
 */
import {
  exp4, log4, sigmoid4, tanh4, erf4, geluTanh4, geluTanhSlope4, geluErf4, geluErfSlope4, silu4, siluSlope4, constant,
} from './math';

const ADD = 0, SUB = 1, MUL = 2, DIV = 3, MAXIMUM = 4, MINIMUM = 5, GELU_TANH_BACKWARD = 6, GELU_BACKWARD = 7,
  RELU_BACKWARD = 8, TANH_BACKWARD = 9, SIGMOID_BACKWARD = 10, SILU_BACKWARD = 11;
const NEG = 0, ABS = 1, SQRT = 2, RELU = 3, EXP = 4, LOG = 5, SIGMOID = 6, TANH = 7, ERF = 8, GELU_TANH = 9, GELU = 10,
  SILU = 11, RECIPROCAL = 12;

// @ts-ignore: decorators of functions exist in AssemblyScript only
@inline
function two(f: i32, a: v128, b: v128): v128 {
  if (f == ADD) return f32x4.add(a, b);
  if (f == SUB) return f32x4.sub(a, b);
  if (f == MUL) return f32x4.mul(a, b);
  if (f == DIV) return f32x4.div(a, b);
  if (f == MAXIMUM) return f32x4.max(a, b);
  if (f == MINIMUM) return f32x4.min(a, b);
  if (f == GELU_TANH_BACKWARD) return f32x4.mul(a, geluTanhSlope4(b));
  if (f == GELU_BACKWARD) return f32x4.mul(a, geluErfSlope4(b));
  if (f == RELU_BACKWARD) return v128.andnot(a, f32x4.le(b, constant(0)));
  if (f == TANH_BACKWARD) return f32x4.mul(a, f32x4.sub(constant(1), f32x4.mul(b, b)));
  if (f == SIGMOID_BACKWARD) return f32x4.mul(a, f32x4.mul(b, f32x4.sub(constant(1), b)));
  return f32x4.mul(a, siluSlope4(b));
}

// @ts-ignore
@inline
function one(f: i32, x: v128): v128 {
  if (f == NEG) return f32x4.neg(x);
  if (f == ABS) return f32x4.abs(x);
  if (f == SQRT) return f32x4.sqrt(x);
  if (f == RELU) return f32x4.pmax(x, f32x4.splat(0)); // NaN stays: it is not below 0
  if (f == EXP) return exp4(x);
  if (f == LOG) return log4(x);
  if (f == SIGMOID) return sigmoid4(x);
  if (f == TANH) return tanh4(x);
  if (f == ERF) return erf4(x);
  if (f == GELU_TANH) return geluTanh4(x);
  if (f == GELU) return geluErf4(x);
  if (f == SILU) return silu4(x);
  return f32x4.div(constant(1), x);
}

/** `count` floats (1 to 4) at a stride; missing lanes repeat the first. */
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
  store<f32>(at, f32x4.extract_lane(value, 0));
  if (count > 1) store<f32>(at, f32x4.extract_lane(value, 1), 4);
  if (count > 2) store<f32>(at, f32x4.extract_lane(value, 2), 8);
  if (count > 3) store<f32>(at, f32x4.extract_lane(value, 3), 12);
}

// @ts-ignore
@inline
function unary(f: i32, rows: i32, columns: i32, x: usize, xRow: i32, xCol: i32, y: usize): void {
  const stride = <usize>xCol << 2;
  for (let i = 0; i < rows; i++) {
    let at = x + (<usize>i * <usize>xRow << 2);
    let j = columns;
    if (xCol == 1) {
      for (; j >= 4; j -= 4) {
        v128.store(y, one(f, v128.load(at)));
        at += 16;
        y += 16;
      }
    }
    for (; j > 0; j -= 4) {
      storeLanes(y, one(f, loadLanes(at, stride, j)), j);
      at += stride * 4;
      y += <usize>min(j, 4) << 2;
    }
  }
}

// @ts-ignore
@inline
function binary(
  f: i32, rows: i32, columns: i32, a: usize, aRow: i32, aCol: i32, b: usize, bRow: i32, bCol: i32, y: usize,
): void {
  const aStep = <usize>aCol << 2;
  const bStep = <usize>bCol << 2;
  for (let i = 0; i < rows; i++) {
    let p = a + (<usize>i * <usize>aRow << 2);
    let q = b + (<usize>i * <usize>bRow << 2);
    let j = columns;
    if (aCol == 1 && bCol == 1) {
      for (; j >= 4; j -= 4) {
        v128.store(y, two(f, v128.load(p), v128.load(q)));
        p += 16;
        q += 16;
        y += 16;
      }
    } else if (aCol == 1 && bCol == 0) {
      const repeated = v128.load32_splat(q);
      for (; j >= 4; j -= 4) {
        v128.store(y, two(f, v128.load(p), repeated));
        p += 16;
        y += 16;
      }
    } else if (aCol == 0 && bCol == 1) {
      const repeated = v128.load32_splat(p);
      for (; j >= 4; j -= 4) {
        v128.store(y, two(f, repeated, v128.load(q)));
        q += 16;
        y += 16;
      }
    }
    for (; j > 0; j -= 4) {
      storeLanes(y, two(f, loadLanes(p, aStep, j), loadLanes(q, bStep, j)), j);
      p += aStep * 4;
      q += bStep * 4;
      y += <usize>min(j, 4) << 2;
    }
  }
}

export function neg(rows: i32, columns: i32, x: usize, xRow: i32, xCol: i32, y: usize): void {
  unary(NEG, rows, columns, x, xRow, xCol, y);
}

export function abs(rows: i32, columns: i32, x: usize, xRow: i32, xCol: i32, y: usize): void {
  unary(ABS, rows, columns, x, xRow, xCol, y);
}

export function sqrt(rows: i32, columns: i32, x: usize, xRow: i32, xCol: i32, y: usize): void {
  unary(SQRT, rows, columns, x, xRow, xCol, y);
}

export function relu(rows: i32, columns: i32, x: usize, xRow: i32, xCol: i32, y: usize): void {
  unary(RELU, rows, columns, x, xRow, xCol, y);
}

export function exp(rows: i32, columns: i32, x: usize, xRow: i32, xCol: i32, y: usize): void {
  unary(EXP, rows, columns, x, xRow, xCol, y);
}

export function log(rows: i32, columns: i32, x: usize, xRow: i32, xCol: i32, y: usize): void {
  unary(LOG, rows, columns, x, xRow, xCol, y);
}

export function sigmoid(rows: i32, columns: i32, x: usize, xRow: i32, xCol: i32, y: usize): void {
  unary(SIGMOID, rows, columns, x, xRow, xCol, y);
}

export function tanh(rows: i32, columns: i32, x: usize, xRow: i32, xCol: i32, y: usize): void {
  unary(TANH, rows, columns, x, xRow, xCol, y);
}

export function erf(rows: i32, columns: i32, x: usize, xRow: i32, xCol: i32, y: usize): void {
  unary(ERF, rows, columns, x, xRow, xCol, y);
}

export function geluTanh(rows: i32, columns: i32, x: usize, xRow: i32, xCol: i32, y: usize): void {
  unary(GELU_TANH, rows, columns, x, xRow, xCol, y);
}

export function gelu(rows: i32, columns: i32, x: usize, xRow: i32, xCol: i32, y: usize): void {
  unary(GELU, rows, columns, x, xRow, xCol, y);
}

export function silu(rows: i32, columns: i32, x: usize, xRow: i32, xCol: i32, y: usize): void {
  unary(SILU, rows, columns, x, xRow, xCol, y);
}

export function reciprocal(rows: i32, columns: i32, x: usize, xRow: i32, xCol: i32, y: usize): void {
  unary(RECIPROCAL, rows, columns, x, xRow, xCol, y);
}

export function add(
  rows: i32, columns: i32, a: usize, aRow: i32, aCol: i32, b: usize, bRow: i32, bCol: i32, y: usize,
): void {
  binary(ADD, rows, columns, a, aRow, aCol, b, bRow, bCol, y);
}

export function sub(
  rows: i32, columns: i32, a: usize, aRow: i32, aCol: i32, b: usize, bRow: i32, bCol: i32, y: usize,
): void {
  binary(SUB, rows, columns, a, aRow, aCol, b, bRow, bCol, y);
}

export function mul(
  rows: i32, columns: i32, a: usize, aRow: i32, aCol: i32, b: usize, bRow: i32, bCol: i32, y: usize,
): void {
  binary(MUL, rows, columns, a, aRow, aCol, b, bRow, bCol, y);
}

export function div(
  rows: i32, columns: i32, a: usize, aRow: i32, aCol: i32, b: usize, bRow: i32, bCol: i32, y: usize,
): void {
  binary(DIV, rows, columns, a, aRow, aCol, b, bRow, bCol, y);
}

export function maximum(
  rows: i32, columns: i32, a: usize, aRow: i32, aCol: i32, b: usize, bRow: i32, bCol: i32, y: usize,
): void {
  binary(MAXIMUM, rows, columns, a, aRow, aCol, b, bRow, bCol, y);
}

export function minimum(
  rows: i32, columns: i32, a: usize, aRow: i32, aCol: i32, b: usize, bRow: i32, bCol: i32, y: usize,
): void {
  binary(MINIMUM, rows, columns, a, aRow, aCol, b, bRow, bCol, y);
}

/** y = g · gelu′(x), tanh form; a is g, b is x. */
export function geluTanhBackward(
  rows: i32, columns: i32, a: usize, aRow: i32, aCol: i32, b: usize, bRow: i32, bCol: i32, y: usize,
): void {
  binary(GELU_TANH_BACKWARD, rows, columns, a, aRow, aCol, b, bRow, bCol, y);
}

/** y = g · gelu′(x); a is g, b is x. */
export function geluBackward(
  rows: i32, columns: i32, a: usize, aRow: i32, aCol: i32, b: usize, bRow: i32, bCol: i32, y: usize,
): void {
  binary(GELU_BACKWARD, rows, columns, a, aRow, aCol, b, bRow, bCol, y);
}

/** y = 0 where x ≤ 0, else g, so also for NaN; a is g, b is x. */
export function reluBackward(
  rows: i32, columns: i32, a: usize, aRow: i32, aCol: i32, b: usize, bRow: i32, bCol: i32, y: usize,
): void {
  binary(RELU_BACKWARD, rows, columns, a, aRow, aCol, b, bRow, bCol, y);
}

/** y = g · (1 - t²); a is g, b is t = tanh x. */
export function tanhBackward(
  rows: i32, columns: i32, a: usize, aRow: i32, aCol: i32, b: usize, bRow: i32, bCol: i32, y: usize,
): void {
  binary(TANH_BACKWARD, rows, columns, a, aRow, aCol, b, bRow, bCol, y);
}

/** y = g · s · (1 - s); a is g, b is s = σ(x). */
export function sigmoidBackward(
  rows: i32, columns: i32, a: usize, aRow: i32, aCol: i32, b: usize, bRow: i32, bCol: i32, y: usize,
): void {
  binary(SIGMOID_BACKWARD, rows, columns, a, aRow, aCol, b, bRow, bCol, y);
}

/** y = g · silu′(x); a is g, b is x. */
export function siluBackward(
  rows: i32, columns: i32, a: usize, aRow: i32, aCol: i32, b: usize, bRow: i32, bCol: i32, y: usize,
): void {
  binary(SILU_BACKWARD, rows, columns, a, aRow, aCol, b, bRow, bCol, y);
}

/** y = x · factor, contiguous; y may be x. */
export function scale(count: i32, x: usize, factor: f64, y: usize): void {
  const factors = constant(<f32>factor);
  for (; count >= 4; count -= 4) {
    v128.store(y, f32x4.mul(v128.load(x), factors));
    x += 16;
    y += 16;
  }
  if (count > 0) storeLanes(y, f32x4.mul(loadLanes(x, 4, count), factors), count);
}
