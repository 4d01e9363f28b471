/** Vector times matrix: limited by memory, so nothing is packed and every element of the matrix is read once. */
import { multiplyAdd } from './fused';

/** Columns handled at a time where rows are contiguous: their sums stay in the first-level cache. */
const COLUMNS: i32 = 1024;

/** The address of a strided vector as contiguous floats: itself, or a copy at `target`. */
export function gather(count: i32, source: usize, stride: i32, target: usize): usize {
  if (stride == 1 || count == 1) return source;
  const step = <usize>stride << 2;
  for (let i = 0; i < count; i++) {
    store<f32>(target + (<usize>i << 2), load<f32>(source));
    source += step;
  }
  return target;
}

/** Copies contiguous floats to a strided vector. */
export function scatter(count: i32, source: usize, target: usize, stride: i32): void {
  const step = <usize>stride << 2;
  for (let i = 0; i < count; i++) {
    store<f32>(target, load<f32>(source + (<usize>i << 2)));
    target += step;
  }
}

/** y[N] = x[K] · B[K×N]; x and y are contiguous. */
export function rowTimesMatrix(k: i32, n: i32, x: usize, b: usize, bRow: i32, bCol: i32, y: usize): void {
  if (bRow == 1 || k == 1) {
    columnDots(k, n, x, b, <usize>bCol << 2, y);
  } else if (bCol == 1) {
    for (let j = 0; j < n; j += COLUMNS) {
      sumRows(k, min(COLUMNS, n - j), x, b + (<usize>j << 2), <usize>bRow << 2, y + (<usize>j << 2));
    }
  } else {
    for (let j = 0; j < n; j++) {
      let sum: f32 = 0;
      let at = b + (<usize>j * <usize>bCol << 2);
      for (let p = 0; p < k; p++) {
        sum += load<f32>(x + (<usize>p << 2)) * load<f32>(at);
        at += <usize>bRow << 2;
      }
      store<f32>(y + (<usize>j << 2), sum);
    }
  }
}

/** y = Σₚ xₚ · (row p of B), four rows at a time; rows are contiguous, `step` bytes apart. */
function sumRows(k: i32, n: i32, x: usize, b: usize, step: usize, y: usize): void {
  memory.fill(y, 0, <usize>n << 2);
  const vectorEnd = y + (<usize>(n & ~7) << 2);
  const end = y + (<usize>n << 2);
  let p = 0;
  for (; p + 4 <= k; p += 4) {
    const x0 = v128.load32_splat(x);
    const x1 = v128.load32_splat(x, 4);
    const x2 = v128.load32_splat(x, 8);
    const x3 = v128.load32_splat(x, 12);
    let b0 = b, b1 = b + step, b2 = b1 + step, b3 = b2 + step;
    let at = y;
    for (; at < vectorEnd; at += 32) {
      let sum01 = f32x4.add(f32x4.mul(x0, v128.load(b0)), f32x4.mul(x1, v128.load(b1)));
      let sum23 = f32x4.add(f32x4.mul(x2, v128.load(b2)), f32x4.mul(x3, v128.load(b3)));
      v128.store(at, f32x4.add(v128.load(at), f32x4.add(sum01, sum23)));
      sum01 = f32x4.add(f32x4.mul(x0, v128.load(b0, 16)), f32x4.mul(x1, v128.load(b1, 16)));
      sum23 = f32x4.add(f32x4.mul(x2, v128.load(b2, 16)), f32x4.mul(x3, v128.load(b3, 16)));
      v128.store(at, f32x4.add(v128.load(at, 16), f32x4.add(sum01, sum23)), 16);
      b0 += 32;
      b1 += 32;
      b2 += 32;
      b3 += 32;
    }
    for (; at < end; at += 4) {
      const sum01 = f32x4.extract_lane(x0, 0) * load<f32>(b0) + f32x4.extract_lane(x1, 0) * load<f32>(b1);
      const sum23 = f32x4.extract_lane(x2, 0) * load<f32>(b2) + f32x4.extract_lane(x3, 0) * load<f32>(b3);
      store<f32>(at, load<f32>(at) + (sum01 + sum23));
      b0 += 4;
      b1 += 4;
      b2 += 4;
      b3 += 4;
    }
    x += 16;
    b += step * 4;
  }
  for (; p < k; p++) {
    const x0 = v128.load32_splat(x);
    let b0 = b;
    let at = y;
    for (; at < vectorEnd; at += 32) {
      v128.store(at, f32x4.add(v128.load(at), f32x4.mul(x0, v128.load(b0))));
      v128.store(at, f32x4.add(v128.load(at, 16), f32x4.mul(x0, v128.load(b0, 16))), 16);
      b0 += 32;
    }
    for (; at < end; at += 4) {
      store<f32>(at, load<f32>(at) + f32x4.extract_lane(x0, 0) * load<f32>(b0));
      b0 += 4;
    }
    x += 4;
    b += step;
  }
}

/** yⱼ = x · (column j of B), four columns at a time; columns are contiguous, `step` bytes apart. */
function columnDots(k: i32, n: i32, x: usize, b: usize, step: usize, y: usize): void {
  const vectorEnd = x + (<usize>(k & ~7) << 2);
  const end = x + (<usize>k << 2);
  let j = 0;
  for (; j + 4 <= n; j += 4) {
    let sum0 = f32x4.splat(0), sum1 = sum0, sum2 = sum0, sum3 = sum0;
    let b0 = b, b1 = b + step, b2 = b1 + step, b3 = b2 + step;
    let at = x;
    for (; at < vectorEnd; at += 32) {
      let value = v128.load(at);
      sum0 = multiplyAdd(value, v128.load(b0), sum0);
      sum1 = multiplyAdd(value, v128.load(b1), sum1);
      sum2 = multiplyAdd(value, v128.load(b2), sum2);
      sum3 = multiplyAdd(value, v128.load(b3), sum3);
      value = v128.load(at, 16);
      sum0 = multiplyAdd(value, v128.load(b0, 16), sum0);
      sum1 = multiplyAdd(value, v128.load(b1, 16), sum1);
      sum2 = multiplyAdd(value, v128.load(b2, 16), sum2);
      sum3 = multiplyAdd(value, v128.load(b3, 16), sum3);
      b0 += 32;
      b1 += 32;
      b2 += 32;
      b3 += 32;
    }
    let s0 = sumLanes(sum0), s1 = sumLanes(sum1), s2 = sumLanes(sum2), s3 = sumLanes(sum3);
    for (; at < end; at += 4) {
      const value = load<f32>(at);
      s0 += value * load<f32>(b0);
      s1 += value * load<f32>(b1);
      s2 += value * load<f32>(b2);
      s3 += value * load<f32>(b3);
      b0 += 4;
      b1 += 4;
      b2 += 4;
      b3 += 4;
    }
    store<f32>(y, s0);
    store<f32>(y, s1, 4);
    store<f32>(y, s2, 8);
    store<f32>(y, s3, 12);
    y += 16;
    b += step * 4;
  }
  for (; j < n; j++) {
    store<f32>(y, dot(k, x, b));
    y += 4;
    b += step;
  }
}

/** x · y of contiguous vectors, four sums side by side because an addition takes four cycles. */
function dot(k: i32, x: usize, y: usize): f32 {
  let sum0 = f32x4.splat(0), sum1 = sum0, sum2 = sum0, sum3 = sum0;
  let p = 0;
  for (; p + 16 <= k; p += 16) {
    sum0 = multiplyAdd(v128.load(x), v128.load(y), sum0);
    sum1 = multiplyAdd(v128.load(x, 16), v128.load(y, 16), sum1);
    sum2 = multiplyAdd(v128.load(x, 32), v128.load(y, 32), sum2);
    sum3 = multiplyAdd(v128.load(x, 48), v128.load(y, 48), sum3);
    x += 64;
    y += 64;
  }
  let sum = sumLanes(f32x4.add(f32x4.add(sum0, sum1), f32x4.add(sum2, sum3)));
  for (; p < k; p++) {
    sum += load<f32>(x) * load<f32>(y);
    x += 4;
    y += 4;
  }
  return sum;
}

/** The sum of four lanes, in pairs. */
export function sumLanes(value: v128): f32 {
  return (
    (f32x4.extract_lane(value, 0) + f32x4.extract_lane(value, 2)) +
    (f32x4.extract_lane(value, 1) + f32x4.extract_lane(value, 3))
  );
}
