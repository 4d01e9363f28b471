/** Further elementary functions of four floats. NaN stays NaN, and infinities give the limits. */
import { multiplyAdd } from './fused';
import { constant, exp4, log4 } from './math';

/** x · y + c */
// @ts-ignore: decorators of functions exist in AssemblyScript only
@inline
function step(x: v128, y: v128, c: f32): v128 {
  return multiplyAdd(x, y, constant(c));
}

/** log(1 + x): within 3 ulp, also near 0. The rounding of 1 + x is made good by a factor (Kahan). */
export function log1p4(x: v128): v128 {
  const u = f32x4.add(x, constant(1));
  const y = log4(u);
  // x / (u - 1) is 1 but for that rounding, and ∞ / ∞ at the end of the range.
  const factor = f32x4.div(x, f32x4.sub(u, constant(1)));
  const corrected = v128.bitselect(f32x4.mul(y, factor), y, f32x4.lt(f32x4.abs(x), constant(16777216)));
  return v128.bitselect(x, corrected, f32x4.eq(u, constant(1)));
}

/** eˣ - 1: within 2.5 ulp, also near 0. With x = n·ln 2 + r it is 2ⁿ·(eʳ - 1) + (2ⁿ - 1), whose last part is exact. */
export function expm14(x: v128): v128 {
  // Below -17.4 the result rounds to -1; from 17.4 on it is eˣ. NaN passes.
  const bounded = f32x4.pmax(f32x4.pmin(x, constant(18)), constant(-18));
  const n = f32x4.nearest(f32x4.mul(bounded, constant(1.44269504088896341)));
  // ln 2 in two parts, the first with zeros at its end.
  let r = f32x4.sub(bounded, f32x4.mul(n, constant(0.693359375)));
  r = f32x4.sub(r, f32x4.mul(n, constant(-2.12194440e-4)));
  let p = step(constant(1.9875691500e-4), r, 1.3981999507e-3);
  p = step(p, r, 8.3334519073e-3);
  p = step(p, r, 4.1665795894e-2);
  p = step(p, r, 1.6666665459e-1);
  p = step(p, r, 5.0000001201e-1);
  p = f32x4.add(f32x4.mul(p, f32x4.mul(r, r)), r);
  const power = i32x4.shl(i32x4.add(i32x4.trunc_sat_f32x4_s(n), i32x4.splat(127)), 23);
  const near = f32x4.add(f32x4.mul(p, power), f32x4.sub(power, constant(1)));
  const y = v128.bitselect(exp4(x), near, f32x4.gt(x, constant(17.5)));
  // -0, and subnormals: r is x itself there, and p too; what is left is the sign of 0.
  return v128.bitselect(x, y, f32x4.eq(x, constant(0)));
}

/** From here on the product with 2/π needs more digits than float64 has. */
const FAR: f32 = 1048576;

/** sin of r + (turns + quarter) · π/2, for r in [-π/4, π/4]: polynomials of Cephes, single precision. */
// @ts-ignore
@inline
function quarterWave(r: v128, turns: v128, quarter: i32): v128 {
  const z = f32x4.mul(r, r);
  let s = step(constant(-1.9515295891e-4), z, 8.3321608736e-3);
  s = step(s, z, -1.6666654611e-1);
  s = f32x4.add(f32x4.mul(f32x4.mul(s, z), r), r);
  let c = step(constant(2.443315711809948e-5), z, -1.388731625493765e-3);
  c = step(c, z, 4.166664568298827e-2);
  c = f32x4.add(f32x4.sub(f32x4.mul(f32x4.mul(c, z), z), f32x4.mul(z, constant(0.5))), constant(1));
  const q = i32x4.add(turns, i32x4.splat(quarter));
  const odd = i32x4.ne(v128.and(q, i32x4.splat(1)), i32x4.splat(0));
  const sign = i32x4.shl(v128.and(q, i32x4.splat(2)), 30);
  return v128.xor(v128.bitselect(c, s, odd), sign);
}

/** sin x, or for `quarter` 1 cos x = sin(x + π/2): within 1.5 ulp for all x. */
// @ts-ignore
@inline
function wave4(x: v128, quarter: i32): v128 {
  // Quarter turns and what is left, in float64: 33 bits of π/2 times 20 bits are exact.
  const low = f64x2.promote_low_f32x4(x);
  const high = f64x2.promote_low_f32x4(v128.shuffle<f32>(x, x, 2, 3, 2, 3));
  const inverse = f64x2.splat(0.63661977236758134308);
  const nLow = f64x2.nearest(f64x2.mul(low, inverse));
  const nHigh = f64x2.nearest(f64x2.mul(high, inverse));
  const first = f64x2.splat(1.57079632673412561417e0);
  const second = f64x2.splat(6.07710050650619224932e-11);
  const rLow = f64x2.sub(f64x2.sub(low, f64x2.mul(nLow, first)), f64x2.mul(nLow, second));
  const rHigh = f64x2.sub(f64x2.sub(high, f64x2.mul(nHigh, first)), f64x2.mul(nHigh, second));
  const r = v128.shuffle<f32>(f32x4.demote_f64x2_zero(rLow), f32x4.demote_f64x2_zero(rHigh), 0, 1, 4, 5);
  const turns = v128.shuffle<i32>(i32x4.trunc_sat_f64x2_s_zero(nLow), i32x4.trunc_sat_f64x2_s_zero(nHigh), 0, 1, 4, 5);
  let y = quarterWave(r, turns, quarter);
  // sin -0 = -0
  if (quarter == 0) y = v128.bitselect(x, y, f32x4.eq(x, constant(0)));
  if (v128.any_true(v128.or(f32x4.ge(f32x4.abs(x), constant(FAR)), f32x4.ne(x, x)))) y = farWaves(x, y, quarter);
  return y;
}

/** Replaces the lanes that `wave4` cannot do: large numbers, ∞ and NaN. */
function farWaves(x: v128, y: v128, quarter: i32): v128 {
  y = f32x4.replace_lane(y, 0, farWave(f32x4.extract_lane(x, 0), f32x4.extract_lane(y, 0), quarter));
  y = f32x4.replace_lane(y, 1, farWave(f32x4.extract_lane(x, 1), f32x4.extract_lane(y, 1), quarter));
  y = f32x4.replace_lane(y, 2, farWave(f32x4.extract_lane(x, 2), f32x4.extract_lane(y, 2), quarter));
  return f32x4.replace_lane(y, 3, farWave(f32x4.extract_lane(x, 3), f32x4.extract_lane(y, 3), quarter));
}

/**
 * Quarter turns of a large number (Payne and Hanek 1983): its 24 bits times the 96 bits of 2/π that neither make whole
 * rounds nor fall below the result, in fixed point.
 */
function farWave(x: f32, y: f32, quarter: i32): f32 {
  const bits = reinterpret<u32>(x) & 0x7fffffff;
  if (bits < reinterpret<u32>(FAR)) return y;
  if (bits >= 0x7f800000) return NaN;
  // x = m · 2ᵉ; bits of 2/π before the one at e - 2 make multiples of 4 quarter turns.
  const m = <u64>(bits & 0x7fffff | 0x800000);
  const from = <i32>(bits >> 23) - 152;
  const turns = m * twoOverPi(from) + (m * (twoOverPi(from + 64) >> 32) >> 32);
  const n = <i32>((turns + (1 << 61)) >> 62);
  const rest = <f64><i64>(turns - (<u64>n << 62)) * 3.40612158008655459e-19; // π/2 · 2⁻⁶²
  const negative = reinterpret<u32>(x) >> 31 != 0;
  const r = <f32>(negative ? -rest : rest);
  return f32x4.extract_lane(quarterWave(constant(r), i32x4.splat(negative ? -n : n), quarter), 0);
}

/** 64 bits of 2/π behind its first `skip` binary places; before them come zeros. */
function twoOverPi(skip: i32): u64 {
  if (skip < 0) return piWord(0) >> -skip;
  const word = skip >> 6;
  const shift = skip & 63;
  return shift ? piWord(word) << shift | piWord(word + 1) >> (64 - shift) : piWord(word);
}

function piWord(i: i32): u64 {
  if (i == 0) return 0xa2f9836e4e441529;
  if (i == 1) return 0xfc2757d1f534ddc0;
  if (i == 2) return 0xdb6295993c439041;
  return 0xfe5163abdebbc561;
}

export function sin4(x: v128): v128 {
  return wave4(x, 0);
}

export function cos4(x: v128): v128 {
  return wave4(x, 1);
}

/** log₂ of two positive floats, in float64: relative error below 2⁻³³. */
// @ts-ignore
@inline
function log2Pair(x: v128): v128 {
  // Mantissa in [√½, √2) and the exponent that goes with it.
  const offset = i64x2.sub(x, i64x2.splat(0x3fe6a09e667f3bcd));
  const exponent = i64x2.shr_s(offset, 52);
  const m = i64x2.sub(x, i64x2.shl(exponent, 52));
  // The low words of both, as 32-bit integers.
  const e = f64x2.convert_low_i32x4_s(v128.shuffle<i32>(exponent, exponent, 0, 2, 0, 2));
  const one = f64x2.splat(1);
  const s = f64x2.div(f64x2.sub(m, one), f64x2.add(m, one));
  const z = f64x2.mul(s, s);
  // 2 / ln 2 · artanh s = 2 / ln 2 · (s + s³/3 + …): what is left out is below 2⁻³⁹ of it.
  let p = f64x2.splat(1 / 13.0);
  p = f64x2.add(f64x2.mul(p, z), f64x2.splat(1 / 11.0));
  p = f64x2.add(f64x2.mul(p, z), f64x2.splat(1 / 9.0));
  p = f64x2.add(f64x2.mul(p, z), f64x2.splat(1 / 7.0));
  p = f64x2.add(f64x2.mul(p, z), f64x2.splat(1 / 5.0));
  p = f64x2.add(f64x2.mul(p, z), f64x2.splat(1 / 3.0));
  p = f64x2.add(f64x2.mul(p, z), one);
  return f64x2.add(f64x2.mul(f64x2.mul(p, s), f64x2.splat(2.88539008177792681472)), e);
}

/** 2ˣ of two float64: relative error below 2⁻³⁵; beyond ±200 as at ±200, which rounds to 0 or ∞ as a float. */
// @ts-ignore
@inline
function exp2Pair(x: v128): v128 {
  const bounded = f64x2.pmax(f64x2.pmin(x, f64x2.splat(200)), f64x2.splat(-200));
  const n = f64x2.nearest(bounded);
  const t = f64x2.mul(f64x2.sub(bounded, n), f64x2.splat(0.69314718055994530942));
  let p = f64x2.splat(1 / 362880.0);
  p = f64x2.add(f64x2.mul(p, t), f64x2.splat(1 / 40320.0));
  p = f64x2.add(f64x2.mul(p, t), f64x2.splat(1 / 5040.0));
  p = f64x2.add(f64x2.mul(p, t), f64x2.splat(1 / 720.0));
  p = f64x2.add(f64x2.mul(p, t), f64x2.splat(1 / 120.0));
  p = f64x2.add(f64x2.mul(p, t), f64x2.splat(1 / 24.0));
  p = f64x2.add(f64x2.mul(p, t), f64x2.splat(1 / 6.0));
  p = f64x2.add(f64x2.mul(p, t), f64x2.splat(0.5));
  p = f64x2.add(f64x2.mul(p, t), f64x2.splat(1));
  p = f64x2.add(f64x2.mul(p, t), f64x2.splat(1));
  const k = i64x2.extend_low_i32x4_s(i32x4.trunc_sat_f64x2_s_zero(n));
  return f64x2.mul(p, i64x2.shl(i64x2.add(k, i64x2.splat(1023)), 52));
}

/** |x|^y of two lanes, given as float64. */
// @ts-ignore
@inline
function powerPair(x: v128, y: v128): v128 {
  let l = log2Pair(x);
  const infinite = f64x2.splat(Infinity);
  l = v128.bitselect(infinite, l, f64x2.eq(x, infinite));
  l = v128.bitselect(f64x2.splat(-Infinity), l, f64x2.eq(x, f64x2.splat(0)));
  return exp2Pair(f64x2.mul(y, l));
}

/** x^y within 1 ulp, by way of float64; special cases as in C: 1^y = x^0 = 1, also for NaN, and (-1)^±∞ = 1. */
export function pow4(x: v128, y: v128): v128 {
  const base = f32x4.abs(x);
  const low = powerPair(f64x2.promote_low_f32x4(base), f64x2.promote_low_f32x4(y));
  const high = powerPair(
    f64x2.promote_low_f32x4(v128.shuffle<f32>(base, base, 2, 3, 2, 3)),
    f64x2.promote_low_f32x4(v128.shuffle<f32>(y, y, 2, 3, 2, 3)),
  );
  let r = v128.shuffle<f32>(f32x4.demote_f64x2_zero(low), f32x4.demote_f64x2_zero(high), 0, 1, 4, 5);
  // Whole exponents: odd ones keep the sign of x, others of a negative x have no power. From 2²⁴ on all are even.
  const whole = f32x4.eq(f32x4.trunc(y), y);
  const half = f32x4.mul(y, constant(0.5));
  const odd = v128.andnot(whole, f32x4.eq(f32x4.trunc(half), half));
  r = v128.or(r, v128.and(v128.and(odd, x), constant(-0.0)));
  const noPower = v128.andnot(v128.and(f32x4.lt(x, constant(0)), f32x4.gt(x, constant(-Infinity))), whole);
  r = v128.bitselect(constant(NaN), r, noPower);
  r = v128.bitselect(constant(NaN), r, v128.or(f32x4.ne(x, x), f32x4.ne(y, y)));
  const infinite = f32x4.eq(f32x4.abs(y), constant(Infinity));
  const one = v128.or(
    v128.or(f32x4.eq(x, constant(1)), f32x4.eq(y, constant(0))),
    v128.and(f32x4.eq(base, constant(1)), infinite),
  );
  return v128.bitselect(constant(1), r, one);
}
