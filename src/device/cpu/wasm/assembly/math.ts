/**
 * Elementary functions of four floats. Polynomials and their splits are those of Cephes (Moshier, single precision);
 * NaN stays NaN, and infinities give the limits.
 */
import { multiplyAdd } from './fused';

/** 1.5 · 2²³: adding it rounds a float to an integer, which then lies in the low bits. */
const ROUNDER: f32 = 12582912;
/** ln 2 in two parts; multiples of the first up to 2⁸ are exact. */
const LN2_HIGH: f32 = 0.693359375;
const LN2_LOW: f32 = -2.12194440e-4;
/** ln 2⁻¹²⁶: below it eˣ is subnormal. */
const LN_SMALLEST: f32 = -87.33654;

// @ts-ignore: decorators of functions exist in AssemblyScript only
@inline
export function constant(value: f32): v128 {
  return f32x4.splat(value);
}

/** x · y + c */
// @ts-ignore
@inline
function step(x: v128, y: v128, c: f32): v128 {
  return multiplyAdd(x, y, constant(c));
}

/** x · log₂e rounded to an integer, in the low bits of the result. */
// @ts-ignore
@inline
function shiftedLog2(x: v128): v128 {
  return step(x, constant(1.44269504088896341), ROUNDER);
}

/** e^(x - n·ln 2) for the integer n of `shiftedLog2`. */
// @ts-ignore
@inline
function expFraction(x: v128, shifted: v128): v128 {
  const n = f32x4.sub(shifted, constant(ROUNDER));
  let r = f32x4.sub(x, f32x4.mul(n, constant(LN2_HIGH)));
  r = f32x4.sub(r, f32x4.mul(n, constant(LN2_LOW)));
  let p = step(constant(1.9875691500e-4), r, 1.3981999507e-3);
  p = step(p, r, 8.3334519073e-3);
  p = step(p, r, 4.1665795894e-2);
  p = step(p, r, 1.6666665459e-1);
  p = step(p, r, 5.0000001201e-1);
  p = f32x4.add(f32x4.mul(p, f32x4.mul(r, r)), r);
  return f32x4.add(p, constant(1));
}

// @ts-ignore
@inline
function powerOfTwo(k: v128): v128 {
  return i32x4.shl(i32x4.add(k, i32x4.splat(127)), 23);
}

/** eˣ: within 1.5 ulp, subnormal results included. */
// @ts-ignore
@inline
export function exp4(x: v128): v128 {
  // Beyond these bounds the result is 0 or ∞. NaN passes: pmin and pmax return their first operand unless the second is beyond it.
  x = f32x4.pmax(f32x4.pmin(x, constant(89)), constant(-104));
  const shifted = shiftedLog2(x);
  // 2ⁿ as two factors: n reaches from -150 to 128, more than one exponent holds.
  const k = i32x4.sub(shifted, constant(ROUNDER));
  const half = i32x4.shr_s(k, 1);
  const p = f32x4.mul(expFraction(x, shifted), powerOfTwo(half));
  return f32x4.mul(p, powerOfTwo(i32x4.sub(k, half)));
}

/** eˣ for x ≤ 0: within 1.5 ulp, and 0 where the result would be subnormal. */
// @ts-ignore
@inline
export function expNegative4(x: v128): v128 {
  const bounded = f32x4.pmax(x, constant(LN_SMALLEST));
  const shifted = shiftedLog2(bounded);
  const k = i32x4.sub(shifted, constant(ROUNDER));
  const p = f32x4.mul(expFraction(bounded, shifted), powerOfTwo(k));
  return v128.andnot(p, f32x4.lt(x, constant(LN_SMALLEST)));
}

/** ln x: within 1.5 ulp; -∞ at 0, NaN below. */
// @ts-ignore
@inline
export function log4(x: v128): v128 {
  const tiny = f32x4.lt(x, constant(1.17549435e-38));
  const normal = v128.bitselect(f32x4.mul(x, constant(8388608)), x, tiny);
  // Mantissa in [√½, √2), exponent to match.
  const offset = i32x4.sub(normal, i32x4.splat(0x3f3504f3));
  const exponent = i32x4.shr_s(offset, 23);
  const mantissa = i32x4.sub(normal, i32x4.shl(exponent, 23));
  const e = f32x4.sub(f32x4.convert_i32x4_s(exponent), v128.and(tiny, constant(23)));
  const r = f32x4.sub(mantissa, constant(1));
  const z = f32x4.mul(r, r);
  let p = step(constant(7.0376836292e-2), r, -1.1514610310e-1);
  p = step(p, r, 1.1676998740e-1);
  p = step(p, r, -1.2420140846e-1);
  p = step(p, r, 1.4249322787e-1);
  p = step(p, r, -1.6668057665e-1);
  p = step(p, r, 2.0000714765e-1);
  p = step(p, r, -2.4999993993e-1);
  p = step(p, r, 3.3333331174e-1);
  p = f32x4.mul(f32x4.mul(p, r), z);
  p = f32x4.add(p, f32x4.mul(e, constant(LN2_LOW)));
  p = f32x4.sub(p, f32x4.mul(z, constant(0.5)));
  let y = f32x4.add(f32x4.add(r, p), f32x4.mul(e, constant(LN2_HIGH)));
  // x itself where it is ∞ or NaN; x - x would lose the infinity.
  y = v128.bitselect(y, x, f32x4.lt(x, constant(Infinity)));
  y = v128.bitselect(constant(NaN), y, f32x4.lt(x, constant(0)));
  return v128.bitselect(constant(-Infinity), y, f32x4.eq(x, constant(0)));
}

/** 1 / (1 + e⁻ˣ): within 3 ulp. */
// @ts-ignore
@inline
export function sigmoid4(x: v128): v128 {
  return f32x4.div(constant(1), f32x4.add(constant(1), exp4(f32x4.neg(x))));
}

/** tanh x: within 2 ulp. */
// @ts-ignore
@inline
export function tanh4(x: v128): v128 {
  const magnitude = f32x4.abs(x);
  const z = f32x4.mul(x, x);
  let p = step(constant(-5.70498872745e-3), z, 2.06390887954e-2);
  p = step(p, z, -5.37397155531e-2);
  p = step(p, z, 1.33314422036e-1);
  p = step(p, z, -3.33332819422e-1);
  const near = f32x4.add(f32x4.mul(f32x4.mul(p, z), x), x);
  const e = exp4(f32x4.add(magnitude, magnitude));
  const far = f32x4.sub(constant(1), f32x4.div(constant(2), f32x4.add(e, constant(1))));
  const signed = v128.or(far, v128.and(x, constant(-0.0)));
  return v128.bitselect(near, signed, f32x4.lt(magnitude, constant(0.625)));
}

/** erf x: within 3 ulp. */
// @ts-ignore
@inline
export function erf4(x: v128): v128 {
  const magnitude = f32x4.abs(x);
  const z = f32x4.mul(x, x);
  let p = step(constant(7.853861353153693e-5), z, -8.010193625184903e-4);
  p = step(p, z, 5.188327685732524e-3);
  p = step(p, z, -2.685381193529856e-2);
  p = step(p, z, 1.128358514861418e-1);
  p = step(p, z, -3.761262582423300e-1);
  p = step(p, z, 1.128379165726710);
  const near = f32x4.mul(p, x);
  const signed = v128.or(f32x4.sub(constant(1), erfcAboveOne(magnitude)), v128.and(x, constant(-0.0)));
  return v128.bitselect(near, signed, f32x4.lt(magnitude, constant(1)));
}

/** 1 - erf x for x ≥ 1. */
// @ts-ignore
@inline
function erfcAboveOne(x: v128): v128 {
  const q = f32x4.div(constant(1), x);
  const y = f32x4.mul(q, q);
  let low = step(constant(2.326819970068386e-2), y, -1.387039388740657e-1);
  low = step(low, y, 3.687424674597105e-1);
  low = step(low, y, -5.824733027278666e-1);
  low = step(low, y, 6.210004621745983e-1);
  low = step(low, y, -4.944515323274145e-1);
  low = step(low, y, 3.404879937665872e-1);
  low = step(low, y, -2.741127028184656e-1);
  low = step(low, y, 5.638259427386472e-1);
  let high = step(constant(-1.047766399936249e1), y, 1.297719955372516e1);
  high = step(high, y, -7.495518717768503);
  high = step(high, y, 2.921019019210786);
  high = step(high, y, -1.015265279202700);
  high = step(high, y, 4.218463358204948e-1);
  high = step(high, y, -2.820767439740514e-1);
  high = step(high, y, 5.641895067754075e-1);
  const p = v128.bitselect(low, high, f32x4.lt(x, constant(2)));
  return f32x4.mul(f32x4.mul(expNegative4(f32x4.neg(f32x4.mul(x, x))), q), p);
}

/** GELU in its tanh form, x · σ(2u) with u = √(2/π)·(x + 0.044715·x³): the same as x/2 · (1 + tanh u), without its cancellation. */
// @ts-ignore
@inline
export function geluTanh4(x: v128): v128 {
  return f32x4.mul(x, sigmoid4(geluArgument(x)));
}

/** d/dx of `geluTanh4`: σ + x·σ·(1 - σ)·(2u)′. */
// @ts-ignore
@inline
export function geluTanhSlope4(x: v128): v128 {
  // From ±10 on the slope is 1 or 0; beyond, powers of x would overflow.
  x = f32x4.pmax(f32x4.pmin(x, constant(10)), constant(-10));
  const e = exp4(f32x4.neg(geluArgument(x)));
  const gate = f32x4.div(constant(1), f32x4.add(constant(1), e));
  const slope = step(f32x4.mul(x, x), constant(0.2140644489), 1.5957691216);
  // 1 - σ = e · σ, without cancellation.
  const rest = f32x4.mul(f32x4.mul(e, gate), gate);
  return f32x4.add(gate, f32x4.mul(f32x4.mul(x, slope), rest));
}

/** 2u of GELU's tanh form: 2·√(2/π)·(x + 0.044715·x³). */
// @ts-ignore
@inline
function geluArgument(x: v128): v128 {
  return f32x4.mul(x, step(f32x4.mul(x, x), constant(0.0713548163), 1.5957691216));
}

/** GELU, x · Φ(x) = x/2 · (1 + erf(x/√2)): error below 2 ulp of x. */
// @ts-ignore
@inline
export function geluErf4(x: v128): v128 {
  const phi = f32x4.add(constant(0.5), f32x4.mul(constant(0.5), erf4(f32x4.mul(x, constant(0.70710678118654752)))));
  return f32x4.mul(x, phi);
}

/** d/dx of `geluErf4`: Φ(x) + x·φ(x), with φ the normal density. */
// @ts-ignore
@inline
export function geluErfSlope4(x: v128): v128 {
  const phi = f32x4.add(constant(0.5), f32x4.mul(constant(0.5), erf4(f32x4.mul(x, constant(0.70710678118654752)))));
  const density = f32x4.mul(expNegative4(f32x4.mul(f32x4.mul(x, x), constant(-0.5))), constant(0.3989422804014327));
  return f32x4.add(phi, f32x4.mul(x, density));
}

/** x · σ(x). */
// @ts-ignore
@inline
export function silu4(x: v128): v128 {
  return f32x4.mul(x, sigmoid4(x));
}

/** d/dx of `silu4`: σ + x·σ·(1 - σ). */
// @ts-ignore
@inline
export function siluSlope4(x: v128): v128 {
  // From ±80 on the slope is 1 or 0; beyond, e⁻ˣ would overflow.
  x = f32x4.pmax(f32x4.pmin(x, constant(80)), constant(-80));
  const e = exp4(f32x4.neg(x));
  const gate = f32x4.div(constant(1), f32x4.add(constant(1), e));
  // 1 - σ = e⁻ˣ · σ, without cancellation.
  const rest = f32x4.mul(e, gate);
  return f32x4.mul(gate, f32x4.add(constant(1), f32x4.mul(x, rest)));
}
