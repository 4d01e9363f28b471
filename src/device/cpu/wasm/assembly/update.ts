/** Updates of parameters by optimizers, in place over contiguous floats: AdamW is in optim.ts. */
import { constant } from './math';

/** y ← y + x · factor. */
export function addScaled(count: i32, x: usize, factor: f64, y: usize): void {
  const factors = constant(<f32>factor);
  for (; count >= 4; count -= 4) {
    v128.store(y, f32x4.add(v128.load(y), f32x4.mul(v128.load(x), factors)));
    x += 16;
    y += 16;
  }
  for (; count > 0; count--) {
    store<f32>(y, load<f32>(y) + load<f32>(x) * <f32>factor);
    x += 4;
    y += 4;
  }
}

/** p ← p - lr · (g + decay · p): SGD without momentum. */
export function sgd(count: i32, p: usize, g: usize, lr: f64, decay: f64): void {
  const rates = constant(<f32>lr);
  const decays = constant(<f32>decay);
  for (; count > 0; count -= 4) {
    const old = loadPart(p, count);
    const d = f32x4.add(loadPart(g, count), f32x4.mul(old, decays));
    storePart(p, f32x4.sub(old, f32x4.mul(d, rates)), count);
    p += 16;
    g += 16;
  }
}

/** d = g + decay · p; b ← momentum · b + fresh · d; p ← p - lr · b, or p - lr · (d + momentum · b) where `nesterov`. */
export function sgdMomentum(
  count: i32, p: usize, g: usize, b: usize, lr: f64, decay: f64, momentum: f64, fresh: f64, nesterov: bool,
): void {
  const rates = constant(<f32>lr);
  const decays = constant(<f32>decay);
  const keep = constant(<f32>momentum);
  const share = constant(<f32>fresh);
  for (; count > 0; count -= 4) {
    const old = loadPart(p, count);
    const d = f32x4.add(loadPart(g, count), f32x4.mul(old, decays));
    const moved = f32x4.add(f32x4.mul(loadPart(b, count), keep), f32x4.mul(d, share));
    const step = nesterov ? f32x4.add(d, f32x4.mul(moved, keep)) : moved;
    storePart(b, moved, count);
    storePart(p, f32x4.sub(old, f32x4.mul(step, rates)), count);
    p += 16;
    g += 16;
    b += 16;
  }
}

/**
 * Adam (Kingma and Ba 2015, algorithm 1) with an L2 penalty: d = g + penalty · p; m ← m + (1 - β₁)(d - m);
 * v ← β₂v + (1 - β₂)d²; p ← p - stepSize · m / (√v · rootScale + eps), with stepSize and rootScale as in `adamw`.
 */
export function adam(
  count: i32, p: usize, g: usize, m: usize, v: usize,
  beta1: f64, beta2: f64, eps: f64, penalty: f64, stepSize: f64, rootScale: f64,
): void {
  // 1 - 0.999 taken in float32 would be off by 10⁻⁵ of it.
  const rest1 = constant(<f32>(1 - beta1));
  const rest2 = constant(<f32>(1 - beta2));
  const keep2 = constant(<f32>beta2);
  const small = constant(<f32>eps);
  const pull = constant(<f32>penalty);
  const size = constant(<f32>stepSize);
  const scale = constant(<f32>rootScale);
  for (; count > 0; count -= 4) {
    const x = loadPart(p, count);
    const d = f32x4.add(loadPart(g, count), f32x4.mul(x, pull));
    const old = loadPart(m, count);
    const first = f32x4.add(old, f32x4.mul(f32x4.sub(d, old), rest1));
    const second = f32x4.add(f32x4.mul(loadPart(v, count), keep2), f32x4.mul(f32x4.mul(d, d), rest2));
    const root = f32x4.add(f32x4.mul(f32x4.sqrt(second), scale), small);
    storePart(p, f32x4.sub(x, f32x4.mul(f32x4.div(first, root), size)), count);
    storePart(m, first, count);
    storePart(v, second, count);
    p += 16;
    g += 16;
    m += 16;
    v += 16;
  }
}

/** Four floats, or the first `count` of them. */
// @ts-ignore: decorators of functions exist in AssemblyScript only
@inline
function loadPart(at: usize, count: i32): v128 {
  if (count >= 4) return v128.load(at);
  let value = v128.load32_splat(at);
  if (count > 1) value = v128.load_lane<f32>(at, value, 1, 4);
  if (count > 2) value = v128.load_lane<f32>(at, value, 2, 8);
  return value;
}

// @ts-ignore
@inline
function storePart(at: usize, value: v128, count: i32): void {
  if (count >= 4) {
    v128.store(at, value);
    return;
  }
  v128.store_lane<f32>(at, value, 0);
  if (count > 1) v128.store_lane<f32>(at, value, 1, 4);
  if (count > 2) v128.store_lane<f32>(at, value, 2, 8);
}
