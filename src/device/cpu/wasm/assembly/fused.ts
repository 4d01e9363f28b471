/**
 * x · y + sum, in one rounding where the module is built with relaxed SIMD: twice the arithmetic per cycle on
 * processors that have it.
 */
// @ts-ignore: decorators of functions exist in AssemblyScript only
@inline
export function multiplyAdd(x: v128, y: v128, sum: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_madd(x, y, sum);
  return f32x4.add(sum, f32x4.mul(x, y));
}
