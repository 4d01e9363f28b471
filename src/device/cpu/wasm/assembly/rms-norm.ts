/** RMS norm along the rows of contiguous matrices, with its gradients. */
import { constant } from './math';
import { sumLanes } from './vector';

/** Σ x² of a row. */
function squares(count: i32, x: usize): f32 {
  let s0 = f32x4.splat(0), s1 = s0;
  for (; count >= 8; count -= 8) {
    const a = v128.load(x);
    const b = v128.load(x, 16);
    s0 = f32x4.add(s0, f32x4.mul(a, a));
    s1 = f32x4.add(s1, f32x4.mul(b, b));
    x += 32;
  }
  let total = sumLanes(f32x4.add(s0, s1));
  for (; count > 0; count--) {
    total += load<f32>(x) * load<f32>(x);
    x += 4;
  }
  return total;
}

/** y = x · rstd · weight with rstd = 1 / √(mean x² + eps), row by row. Address 0: no weight, rstd not wanted. y may be x. */
export function rmsNorm(rows: i32, columns: i32, x: usize, weight: usize, eps: f64, y: usize, rstd: usize): void {
  const bytes = <usize>columns << 2;
  const vectors = bytes & ~15;
  for (let i = 0; i < rows; i++) {
    const scale: f32 = 1 / sqrt<f32>(squares(columns, x) / <f32>columns + <f32>eps);
    if (rstd) store<f32>(rstd + (<usize>i << 2), scale);
    const scales = constant(scale);
    for (let j: usize = 0; j < vectors; j += 16) {
      const normal = f32x4.mul(v128.load(x + j), scales);
      v128.store(y + j, weight ? f32x4.mul(normal, v128.load(weight + j)) : normal);
    }
    for (let j = vectors; j < bytes; j += 4) {
      const normal = load<f32>(x + j) * scale;
      store<f32>(y + j, weight ? normal * load<f32>(weight + j) : normal);
    }
    x += bytes;
    y += bytes;
  }
}

/** dx = rstd · (q - x̂ · mean(q · x̂)) with q = g · weight and x̂ = x · rstd, row by row. Address 0: no weight. */
export function rmsNormBackward(
  rows: i32, columns: i32, x: usize, weight: usize, rstd: usize, g: usize, dx: usize,
): void {
  const bytes = <usize>columns << 2;
  const vectors = bytes & ~15;
  for (let i = 0; i < rows; i++) {
    const scale = load<f32>(rstd + (<usize>i << 2));
    let sum = f32x4.splat(0);
    for (let j: usize = 0; j < vectors; j += 16) {
      let q = v128.load(g + j);
      if (weight) q = f32x4.mul(q, v128.load(weight + j));
      sum = f32x4.add(sum, f32x4.mul(q, v128.load(x + j)));
    }
    let dot = sumLanes(sum);
    for (let j = vectors; j < bytes; j += 4) {
      dot += load<f32>(g + j) * (weight ? load<f32>(weight + j) : 1) * load<f32>(x + j);
    }
    const slope = dot * scale * scale / <f32>columns;
    const scales = constant(scale);
    const slopes = constant(slope);
    for (let j: usize = 0; j < vectors; j += 16) {
      let q = v128.load(g + j);
      if (weight) q = f32x4.mul(q, v128.load(weight + j));
      v128.store(dx + j, f32x4.mul(f32x4.sub(q, f32x4.mul(v128.load(x + j), slopes)), scales));
    }
    for (let j = vectors; j < bytes; j += 4) {
      const q = load<f32>(g + j) * (weight ? load<f32>(weight + j) : 1);
      store<f32>(dx + j, (q - load<f32>(x + j) * slope) * scale);
    }
    x += bytes;
    g += bytes;
    dx += bytes;
  }
}

/**
 * dWeight = Σ g · x̂ and dBias = Σ g over the rows; rows of x and g are `stride` elements apart, so that a range of columns
 * can be done alone. Address 0 leaves one out.
 */
export function rmsNormAffine(
  rows: i32, columns: i32, stride: i32, x: usize, rstd: usize, g: usize, dWeight: usize, dBias: usize,
): void {
  const bytes = <usize>columns << 2;
  const vectors = bytes & ~15;
  const step = <usize>stride << 2;
  if (dWeight) memory.fill(dWeight, 0, bytes);
  if (dBias) memory.fill(dBias, 0, bytes);
  for (let i = 0; i < rows; i++) {
    const scale = load<f32>(rstd + (<usize>i << 2));
    const scales = constant(scale);
    if (dWeight) {
      for (let j: usize = 0; j < vectors; j += 16) {
        const h = f32x4.mul(v128.load(x + j), scales);
        v128.store(dWeight + j, f32x4.add(v128.load(dWeight + j), f32x4.mul(v128.load(g + j), h)));
      }
      for (let j = vectors; j < bytes; j += 4) {
        store<f32>(dWeight + j, load<f32>(dWeight + j) + load<f32>(g + j) * (load<f32>(x + j) * scale));
      }
    }
    if (dBias) {
      for (let j: usize = 0; j < vectors; j += 16) {
        v128.store(dBias + j, f32x4.add(v128.load(dBias + j), v128.load(g + j)));
      }
      for (let j = vectors; j < bytes; j += 4) store<f32>(dBias + j, load<f32>(dBias + j) + load<f32>(g + j));
    }
    x += step;
    g += step;
  }
}
