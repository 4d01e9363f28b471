/** Functions along the rows of contiguous matrices: sums, softmax, layer norm, with their gradients. */
import { constant, exp4, expNegative4, log4 } from './math';
import { sumLanes } from './vector';

/** Elements summed in float32 before they join a float64 sum, so that long sums stay accurate. */
const CHUNK: i32 = 2048;
/** The same where each lane adds one element after the other. */
const DOWN: i32 = 64;

/** y[i] = Σⱼ x[i, j] for any strides. */
export function sumRows(rows: i32, columns: i32, x: usize, xRow: i32, xCol: i32, y: usize): void {
  const rowStep = <usize>xRow << 2;
  const colStep = <usize>xCol << 2;
  let i = 0;
  if (xRow == 1 && xCol != 1) {
    // Rows side by side: a cache line of them at a time, in the lanes.
    for (; i + 16 <= rows; i += 16) sumDown16(columns, x + (<usize>i << 2), colStep, y + (<usize>i << 2));
    for (; i + 4 <= rows; i += 4) sumDown4(columns, x + (<usize>i << 2), colStep, y + (<usize>i << 2));
  }
  for (; i < rows; i++) {
    const at = x + <usize>i * rowStep;
    store<f32>(y + (<usize>i << 2), <f32>(xCol == 1 ? sumRow(columns, at) : sumStrided(columns, at, colStep)));
  }
}

/** The sums of 16 neighbouring columns, `step` bytes from row to row. */
function sumDown16(count: i32, x: usize, step: usize, y: usize): void {
  const zero = f64x2.splat(0);
  let t0 = zero, t1 = zero, t2 = zero, t3 = zero, t4 = zero, t5 = zero, t6 = zero, t7 = zero;
  while (count > 0) {
    const part = min(count, DOWN);
    let s0 = f32x4.splat(0), s1 = s0, s2 = s0, s3 = s0;
    for (let j = 0; j < part; j++) {
      s0 = f32x4.add(s0, v128.load(x));
      s1 = f32x4.add(s1, v128.load(x, 16));
      s2 = f32x4.add(s2, v128.load(x, 32));
      s3 = f32x4.add(s3, v128.load(x, 48));
      x += step;
    }
    t0 = f64x2.add(t0, f64x2.promote_low_f32x4(s0));
    t1 = f64x2.add(t1, promoteHigh(s0));
    t2 = f64x2.add(t2, f64x2.promote_low_f32x4(s1));
    t3 = f64x2.add(t3, promoteHigh(s1));
    t4 = f64x2.add(t4, f64x2.promote_low_f32x4(s2));
    t5 = f64x2.add(t5, promoteHigh(s2));
    t6 = f64x2.add(t6, f64x2.promote_low_f32x4(s3));
    t7 = f64x2.add(t7, promoteHigh(s3));
    count -= part;
  }
  v128.store(y, demote(t0, t1));
  v128.store(y, demote(t2, t3), 16);
  v128.store(y, demote(t4, t5), 32);
  v128.store(y, demote(t6, t7), 48);
}

/** The sums of four neighbouring columns. */
function sumDown4(count: i32, x: usize, step: usize, y: usize): void {
  let low = f64x2.splat(0);
  let high = f64x2.splat(0);
  while (count > 0) {
    const part = min(count, DOWN);
    let sum = f32x4.splat(0);
    for (let j = 0; j < part; j++) {
      sum = f32x4.add(sum, v128.load(x));
      x += step;
    }
    low = f64x2.add(low, f64x2.promote_low_f32x4(sum));
    high = f64x2.add(high, promoteHigh(sum));
    count -= part;
  }
  v128.store(y, demote(low, high));
}

// @ts-ignore: decorators of functions exist in AssemblyScript only
@inline
function promoteHigh(value: v128): v128 {
  return f64x2.promote_low_f32x4(v128.shuffle<f64>(value, value, 1, 1));
}

// @ts-ignore
@inline
function demote(low: v128, high: v128): v128 {
  return v128.shuffle<f64>(f32x4.demote_f64x2_zero(low), f32x4.demote_f64x2_zero(high), 0, 2);
}

function sumStrided(count: i32, x: usize, step: usize): f64 {
  let sum: f64 = 0;
  for (let j = 0; j < count; j++) {
    sum += <f64>load<f32>(x);
    x += step;
  }
  return sum;
}

/** Σ x of contiguous floats, to be added to further sums. */
export function sumPart(count: i32, x: usize): f64 {
  return sumRow(count, x);
}

/** Σ x of contiguous floats. */
function sumRow(count: i32, x: usize): f64 {
  let total: f64 = 0;
  while (count >= 16) {
    const part = min(count, CHUNK) & ~15;
    let s0 = f32x4.splat(0), s1 = s0, s2 = s0, s3 = s0;
    for (const end = x + (<usize>part << 2); x < end; x += 64) {
      s0 = f32x4.add(s0, v128.load(x));
      s1 = f32x4.add(s1, v128.load(x, 16));
      s2 = f32x4.add(s2, v128.load(x, 32));
      s3 = f32x4.add(s3, v128.load(x, 48));
    }
    total += <f64>sumLanes(f32x4.add(f32x4.add(s0, s1), f32x4.add(s2, s3)));
    count -= part;
  }
  return total + sumStrided(count, x, 4);
}

/** Σ x² of contiguous floats: the square of a gradient's norm. */
export function sumSquares(count: i32, x: usize): f64 {
  let total: f64 = 0;
  while (count >= 8) {
    const part = min(count, CHUNK) & ~7;
    let s0 = f32x4.splat(0), s1 = s0;
    for (const end = x + (<usize>part << 2); x < end; x += 32) {
      const a = v128.load(x);
      const b = v128.load(x, 16);
      s0 = f32x4.add(s0, f32x4.mul(a, a));
      s1 = f32x4.add(s1, f32x4.mul(b, b));
    }
    total += <f64>sumLanes(f32x4.add(s0, s1));
    count -= part;
  }
  for (; count > 0; count--) {
    const value = <f64>load<f32>(x);
    total += value * value;
    x += 4;
  }
  return total;
}

/** The largest of contiguous floats, NaN aside: f32x4.max would respect it at several times the cost. */
export function maxRow(count: i32, x: usize): f32 {
  let m0 = constant(-Infinity), m1 = m0;
  let j = count;
  for (; j >= 8; j -= 8) {
    m0 = f32x4.pmax(m0, v128.load(x));
    m1 = f32x4.pmax(m1, v128.load(x, 16));
    x += 32;
  }
  for (; j > 0; j--) {
    m0 = f32x4.pmax(m0, v128.load32_splat(x));
    x += 4;
  }
  m0 = f32x4.pmax(m0, m1);
  m0 = f32x4.pmax(m0, v128.shuffle<f32>(m0, m0, 2, 3, 0, 1));
  m0 = f32x4.pmax(m0, v128.shuffle<f32>(m0, m0, 1, 0, 3, 2));
  return f32x4.extract_lane(m0, 0);
}

/** y = e^(x - shift) for a shift no smaller than any x, returning Σ y; y = 0 writes nothing. */
// @ts-ignore: decorators of functions exist in AssemblyScript only
@inline
export function expRow(count: i32, x: usize, shift: f32, y: usize): f32 {
  const shifts = constant(shift);
  let sum = f32x4.splat(0);
  let j = count;
  for (; j >= 4; j -= 4) {
    const e = expNegative4(f32x4.sub(v128.load(x), shifts));
    sum = f32x4.add(sum, e);
    if (y) {
      v128.store(y, e);
      y += 16;
    }
    x += 16;
  }
  let total = sumLanes(sum);
  for (; j > 0; j--) {
    const e = f32x4.extract_lane(expNegative4(f32x4.sub(v128.load32_splat(x), shifts)), 0);
    total += e;
    if (y) {
      store<f32>(y, e);
      y += 4;
    }
    x += 4;
  }
  return total;
}

/** y = x · scale + shift */
// @ts-ignore
@inline
export function affineRow(count: i32, x: usize, scale: f32, shift: f32, y: usize): void {
  let j = count;
  for (; j >= 4; j -= 4) {
    v128.store(y, f32x4.add(f32x4.mul(v128.load(x), constant(scale)), constant(shift)));
    x += 16;
    y += 16;
  }
  for (; j > 0; j--) {
    store<f32>(y, load<f32>(x) * scale + shift);
    x += 4;
    y += 4;
  }
}

/** yᵢⱼ = e^(xᵢⱼ - max xᵢ) / Σⱼ e^(xᵢⱼ - max xᵢ); y may be x. */
export function softmax(rows: i32, columns: i32, x: usize, y: usize): void {
  for (let i = 0; i < rows; i++) {
    const sum = expRow(columns, x, maxRow(columns, x), y);
    affineRow(columns, y, 1 / sum, 0, y);
    x += <usize>columns << 2;
    y += <usize>columns << 2;
  }
}

/** y = x - max x - ln Σⱼ e^(xⱼ - max x), row by row; y may be x. */
export function logSoftmax(rows: i32, columns: i32, x: usize, y: usize): void {
  for (let i = 0; i < rows; i++) {
    const most = maxRow(columns, x);
    const sum = expRow(columns, x, most, 0);
    const log = f32x4.extract_lane(log4(constant(sum)), 0);
    shiftRow(columns, x, most, log, y);
    x += <usize>columns << 2;
    y += <usize>columns << 2;
  }
}

/** y = (x - a) - b: two steps, because a may be large and b small. */
function shiftRow(count: i32, x: usize, a: f32, b: f32, y: usize): void {
  let j = count;
  for (; j >= 4; j -= 4) {
    v128.store(y, f32x4.sub(f32x4.sub(v128.load(x), constant(a)), constant(b)));
    x += 16;
    y += 16;
  }
  for (; j > 0; j--) {
    store<f32>(y, load<f32>(x) - a - b);
    x += 4;
    y += 4;
  }
}

/** Σ a · b of contiguous floats. */
function dotRow(count: i32, a: usize, b: usize): f32 {
  let s0 = f32x4.splat(0), s1 = s0;
  let j = count;
  for (; j >= 8; j -= 8) {
    s0 = f32x4.add(s0, f32x4.mul(v128.load(a), v128.load(b)));
    s1 = f32x4.add(s1, f32x4.mul(v128.load(a, 16), v128.load(b, 16)));
    a += 32;
    b += 32;
  }
  let sum = sumLanes(f32x4.add(s0, s1));
  for (; j > 0; j--) {
    sum += load<f32>(a) * load<f32>(b);
    a += 4;
    b += 4;
  }
  return sum;
}

/** dx = y · (g - Σⱼ gⱼyⱼ), row by row; dx may be g or y. */
export function softmaxBackward(rows: i32, columns: i32, y: usize, g: usize, dx: usize): void {
  for (let i = 0; i < rows; i++) {
    const inner = dotRow(columns, y, g);
    let j = columns;
    for (; j >= 4; j -= 4) {
      v128.store(dx, f32x4.mul(v128.load(y), f32x4.sub(v128.load(g), constant(inner))));
      y += 16;
      g += 16;
      dx += 16;
    }
    for (; j > 0; j--) {
      store<f32>(dx, load<f32>(y) * (load<f32>(g) - inner));
      y += 4;
      g += 4;
      dx += 4;
    }
  }
}

/** dx = g - e^y · Σⱼ gⱼ, row by row; dx may be g or y. */
export function logSoftmaxBackward(rows: i32, columns: i32, y: usize, g: usize, dx: usize): void {
  for (let i = 0; i < rows; i++) {
    const sum = constant(<f32>sumRow(columns, g));
    let j = columns;
    for (; j >= 4; j -= 4) {
      v128.store(dx, f32x4.sub(v128.load(g), f32x4.mul(exp4(v128.load(y)), sum)));
      y += 16;
      g += 16;
      dx += 16;
    }
    for (; j > 0; j--) {
      const value = f32x4.sub(v128.load32_splat(g), f32x4.mul(exp4(v128.load32_splat(y)), sum));
      store<f32>(dx, f32x4.extract_lane(value, 0));
      y += 4;
      g += 4;
      dx += 4;
    }
  }
}

/** Σ (x - mean)² */
function squaredDeviations(count: i32, x: usize, mean: f32): f32 {
  let sum = f32x4.splat(0);
  let j = count;
  for (; j >= 4; j -= 4) {
    const d = f32x4.sub(v128.load(x), constant(mean));
    sum = f32x4.add(sum, f32x4.mul(d, d));
    x += 16;
  }
  let total = sumLanes(sum);
  for (; j > 0; j--) {
    const d = load<f32>(x) - mean;
    total += d * d;
    x += 4;
  }
  return total;
}

/** The float at `at`, or a constant where there is no array. */
// @ts-ignore
@inline
function loadOr(at: usize, otherwise: f32): v128 {
  return at ? v128.load(at) : constant(otherwise);
}

// @ts-ignore
@inline
function loadOneOr(at: usize, otherwise: f32): v128 {
  return at ? v128.load32_splat(at) : constant(otherwise);
}

/**
 * y = (x - mean) · rstd · weight + bias with rstd = 1 / √(variance + eps), row by row. Address 0 leaves out weight or
 * bias, or does not store mean or rstd (one per row). y may be x.
 */
export function layerNorm(
  rows: i32, columns: i32, x: usize, weight: usize, bias: usize, eps: f32, y: usize, mean: usize, rstd: usize,
): void {
  for (let i = 0; i < rows; i++) {
    const center = <f32>(sumRow(columns, x) / <f64>columns);
    const scale: f32 = 1 / sqrt<f32>(squaredDeviations(columns, x, center) / <f32>columns + eps);
    if (mean) store<f32>(mean + (<usize>i << 2), center);
    if (rstd) store<f32>(rstd + (<usize>i << 2), scale);
    let w = weight, b = bias;
    let j = columns;
    for (; j >= 4; j -= 4) {
      const normal = f32x4.mul(f32x4.sub(v128.load(x), constant(center)), constant(scale));
      v128.store(y, f32x4.add(f32x4.mul(normal, loadOr(w, 1)), loadOr(b, 0)));
      x += 16;
      y += 16;
      if (w) w += 16;
      if (b) b += 16;
    }
    for (; j > 0; j--) {
      const normal = f32x4.mul(f32x4.sub(v128.load32_splat(x), constant(center)), constant(scale));
      const value = f32x4.add(f32x4.mul(normal, loadOneOr(w, 1)), loadOneOr(b, 0));
      store<f32>(y, f32x4.extract_lane(value, 0));
      x += 4;
      y += 4;
      if (w) w += 4;
      if (b) b += 4;
    }
  }
}

/**
 * Gradient of `layerNorm` for x: with h = (x - mean) · rstd and q = g · weight, dx = rstd · (q - mean(q) - h · mean(q · h)).
 * Weight 0 is 1.
 */
export function layerNormBackwardInput(
  rows: i32, columns: i32, x: usize, weight: usize, mean: usize, rstd: usize, g: usize, dx: usize,
): void {
  const bytes = <usize>columns << 2;
  for (let i = 0; i < rows; i++) {
    const center = load<f32>(mean + (<usize>i << 2));
    const scale = load<f32>(rstd + (<usize>i << 2));
    normBackwardRow(columns, x, weight, center, scale, g, dx);
    x += bytes;
    g += bytes;
    dx += bytes;
  }
}

/**
 * Gradients of `layerNorm` for its parameters: dWeight = Σᵢ g · h, dBias = Σᵢ g, with rows of x and g `step` elements
 * apart. Address 0 leaves one out.
 */
export function layerNormBackwardParameters(
  rows: i32, columns: i32, step: i32, x: usize, mean: usize, rstd: usize, g: usize, dWeight: usize, dBias: usize,
): void {
  const bytes = <usize>columns << 2;
  if (dWeight) memory.fill(dWeight, 0, bytes);
  if (dBias) memory.fill(dBias, 0, bytes);
  for (let i = 0; i < rows; i++) {
    const center = load<f32>(mean + (<usize>i << 2));
    const scale = load<f32>(rstd + (<usize>i << 2));
    if (dWeight) {
      for (let j: usize = 0; j < bytes; j += 4) {
        if (j + 16 <= bytes) {
          const h = f32x4.mul(f32x4.sub(v128.load(x + j), constant(center)), constant(scale));
          v128.store(dWeight + j, f32x4.add(v128.load(dWeight + j), f32x4.mul(v128.load(g + j), h)));
          j += 12;
        } else {
          const h = (load<f32>(x + j) - center) * scale;
          store<f32>(dWeight + j, load<f32>(dWeight + j) + load<f32>(g + j) * h);
        }
      }
    }
    if (dBias) {
      for (let j: usize = 0; j < bytes; j += 4) {
        if (j + 16 <= bytes) {
          v128.store(dBias + j, f32x4.add(v128.load(dBias + j), v128.load(g + j)));
          j += 12;
        } else store<f32>(dBias + j, load<f32>(dBias + j) + load<f32>(g + j));
      }
    }
    x += <usize>step << 2;
    g += <usize>step << 2;
  }
}

/** One row of dx. */
function normBackwardRow(
  columns: i32, x: usize, weight: usize, center: f32, scale: f32, g: usize, dx: usize,
): void {
  let sumQ = f32x4.splat(0), sumQH = f32x4.splat(0);
  const bytes = <usize>columns << 2;
  const vectors = bytes & ~15;
  let restQ: f32 = 0, restQH: f32 = 0;
  for (let j: usize = 0; j < vectors; j += 16) {
    const q = f32x4.mul(v128.load(g + j), loadOr(weight ? weight + j : 0, 1));
    const h = f32x4.mul(f32x4.sub(v128.load(x + j), constant(center)), constant(scale));
    sumQ = f32x4.add(sumQ, q);
    sumQH = f32x4.add(sumQH, f32x4.mul(q, h));
  }
  for (let j = vectors; j < bytes; j += 4) {
    const q = load<f32>(g + j) * (weight ? load<f32>(weight + j) : 1);
    restQ += q;
    restQH += q * (load<f32>(x + j) - center) * scale;
  }
  const meanQ = (sumLanes(sumQ) + restQ) / <f32>columns;
  const meanQH = (sumLanes(sumQH) + restQH) / <f32>columns;
  for (let j: usize = 0; j < vectors; j += 16) {
    const q = f32x4.mul(v128.load(g + j), loadOr(weight ? weight + j : 0, 1));
    const h = f32x4.mul(f32x4.sub(v128.load(x + j), constant(center)), constant(scale));
    const centered = f32x4.sub(f32x4.sub(q, constant(meanQ)), f32x4.mul(h, constant(meanQH)));
    v128.store(dx + j, f32x4.mul(centered, constant(scale)));
  }
  for (let j = vectors; j < bytes; j += 4) {
    const q = load<f32>(g + j) * (weight ? load<f32>(weight + j) : 1);
    const h = (load<f32>(x + j) - center) * scale;
    store<f32>(dx + j, (q - meanQ - h * meanQH) * scale);
  }
}
