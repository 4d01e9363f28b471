/** float16 ↔ float32 of contiguous arrays, with integer arithmetic on eight lanes. */

/** Four float16, as zero-extended words, to float32 bits: exponents are moved from bias 15 to 127. */
// @ts-ignore: decorators of functions exist in AssemblyScript only
@inline
function widen4(half: v128): v128 {
  const shifted = i32x4.shl(v128.and(half, i32x4.splat(0x7fff)), 13);
  const exponent = v128.and(shifted, i32x4.splat(0x0f800000));
  let bits = i32x4.add(shifted, i32x4.splat(112 << 23));
  // ∞ and NaN: to the top of the exponents.
  bits = i32x4.add(bits, v128.and(i32x4.eq(exponent, i32x4.splat(0x0f800000)), i32x4.splat(112 << 23)));
  // Subnormals: as 2⁻¹⁴ · (1 + fraction), from which 2⁻¹⁴ is taken.
  const small = i32x4.eq(exponent, i32x4.splat(0));
  const leading = i32x4.add(bits, i32x4.splat(1 << 23));
  const subnormal = f32x4.sub(leading, i32x4.splat(113 << 23));
  bits = v128.bitselect(subnormal, bits, small);
  return v128.or(bits, i32x4.shl(v128.and(half, i32x4.splat(0x8000)), 16));
}

/** Four float32 to the nearest float16, ties to even, as words; NaN becomes the quiet NaN of its sign. */
// @ts-ignore
@inline
function narrow4(x: v128): v128 {
  const sign = v128.and(x, i32x4.splat(0x80000000));
  const magnitude = v128.xor(x, sign);
  // Normal results: the rounding may carry into the exponent, up to infinity.
  const odd = v128.and(i32x4.shr_u(magnitude, 13), i32x4.splat(1));
  const rebiased = i32x4.sub(magnitude, i32x4.splat((112 << 23) - 0xfff));
  const normal = i32x4.shr_u(i32x4.add(rebiased, odd), 13);
  // Subnormal results: added to 0.5, the float rounds at the bit where float16's last one is, 2⁻²⁴.
  const half = i32x4.splat(126 << 23);
  const subnormal = i32x4.sub(f32x4.add(magnitude, half), half);
  let bits = v128.bitselect(subnormal, normal, i32x4.lt_s(magnitude, i32x4.splat(113 << 23)));
  // From 2¹⁶ on ∞, and NaN.
  const special = v128.bitselect(i32x4.splat(0x7e00), i32x4.splat(0x7c00), i32x4.gt_s(magnitude, i32x4.splat(0x7f800000)));
  bits = v128.bitselect(special, bits, i32x4.ge_s(magnitude, i32x4.splat(143 << 23)));
  return v128.or(bits, i32x4.shr_u(sign, 16));
}

/** y (float32) = x (float16), exactly; NaN keeps its bits. */
export function widenFloat16(count: i32, x: usize, y: usize): void {
  for (; count >= 8; count -= 8) {
    const halves = v128.load(x);
    v128.store(y, widen4(i32x4.extend_low_i16x8_u(halves)));
    v128.store(y, widen4(i32x4.extend_high_i16x8_u(halves)), 16);
    x += 16;
    y += 32;
  }
  for (; count > 0; count--) {
    store<f32>(y, f32x4.extract_lane(widen4(i32x4.splat(load<u16>(x))), 0));
    x += 2;
    y += 4;
  }
}

/** y (float16) = x (float32), rounded to nearest, ties to even. */
export function narrowFloat16(count: i32, x: usize, y: usize): void {
  for (; count >= 8; count -= 8) {
    v128.store(y, i16x8.narrow_i32x4_u(narrow4(v128.load(x)), narrow4(v128.load(x, 16))));
    x += 32;
    y += 16;
  }
  for (; count > 0; count--) {
    store<u16>(y, <u16>i32x4.extract_lane(narrow4(v128.load32_splat(x)), 0));
    x += 4;
    y += 2;
  }
}
