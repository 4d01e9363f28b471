/** One step of an optimizer over contiguous parameters, in place. */
import { constant } from './math';

/**
 * AdamW (Loshchilov and Hutter 2019, algorithm 2), in PyTorch's order of operations:
 * p ← p·decay; m ← m + (1 - β₁)(g - m); v ← β₂v + (1 - β₂)g²; p ← p - stepSize · m / (√v · rootScale + eps),
 * with decay = 1 - lr·λ, stepSize = lr / (1 - β₁ᵗ), rootScale = 1 / √(1 - β₂ᵗ).
 */
export function adamw(
  count: i32, p: usize, g: usize, m: usize, v: usize,
  beta1: f64, beta2: f64, eps: f64, decay: f64, stepSize: f64, rootScale: f64,
): void {
  // 1 - 0.999 taken in float32 would be off by 10⁻⁵ of it.
  const rest1 = <f32>(1 - beta1);
  const rest2 = <f32>(1 - beta2);
  const keep2 = <f32>beta2;
  const small = <f32>eps;
  const shrink = <f32>decay;
  const size = <f32>stepSize;
  const scale = <f32>rootScale;
  const end = p + (<usize>(count & ~3) << 2);
  while (p < end) {
    const gradient = v128.load(g);
    const old = v128.load(m);
    const first = f32x4.add(old, f32x4.mul(f32x4.sub(gradient, old), constant(rest1)));
    const square = f32x4.mul(f32x4.mul(gradient, gradient), constant(rest2));
    const second = f32x4.add(f32x4.mul(v128.load(v), constant(keep2)), square);
    const root = f32x4.add(f32x4.mul(f32x4.sqrt(second), constant(scale)), constant(small));
    const change = f32x4.mul(f32x4.div(first, root), constant(size));
    v128.store(p, f32x4.sub(f32x4.mul(v128.load(p), constant(shrink)), change));
    v128.store(m, first);
    v128.store(v, second);
    p += 16;
    g += 16;
    m += 16;
    v += 16;
  }
  for (let i = count & 3; i > 0; i--) {
    const gradient = load<f32>(g);
    const first = load<f32>(m) + (gradient - load<f32>(m)) * rest1;
    const second = load<f32>(v) * keep2 + gradient * gradient * rest2;
    const root = sqrt<f32>(second) * scale + small;
    store<f32>(p, load<f32>(p) * shrink - (first / root) * size);
    store<f32>(m, first);
    store<f32>(v, second);
    p += 4;
    g += 4;
    m += 4;
    v += 4;
  }
}
