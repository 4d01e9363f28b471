/**
 * Elementary functions in WGSL that are accurate everywhere.
 *
 * WGSL promises little for its own: sin and cos to 2⁻¹¹ within ±π and nothing beyond, log to 2⁻²¹ around 1, exp to
 * 3 + 2|x| ulp, tanh and pow as what they are made of; and what NaN, infinity and overflow give is left open. These keep to a few
 * ulp (1 ulp ≤ 1.2e-7 relative) for every finite argument, and answer special values as C's functions do. Errors stated
 * here are the largest that sweeps met. Subnormal arguments and results may count as 0, as adapters like it.
 */
import { INF, IS_INF, IS_NAN, NAN, snippet } from './wgsl.js';

/**
 * `exp_f(x)`: 1.5 ulp. e^x = 2ⁿ · e^r with |r| ≤ ln 2 / 2; ln 2 is split so that n · 0.693359375 is exact, and 2ⁿ in two
 * factors so that neither over- nor underflows before the product does.
 */
export const EXP = snippet(
  `fn exp_f(x: f32) -> f32 {
  if (is_nan(x)) { return x; }
  if (x > 88.722839) { return inf(); }
  if (x < -104.0) { return 0.0; }
  let n = round(x * 1.44269504);
  let r = (x - n * 0.693359375) + n * 2.12194440e-4;
  let tail = r * r * (0.5 + r * (0.166666667 + r * (0.0416666667 + r * (8.33333333e-3 + r * (1.38888889e-3 + r * 1.98412698e-4)))));
  let low = i32(n) >> 1u;
  let high = i32(n) - low;
  return (1.0 + (r + tail)) * bitcast<f32>((low + 127) << 23u) * bitcast<f32>((high + 127) << 23u);
}`,
  IS_NAN,
  INF,
);

/** `expm1_f(x)` = e^x − 1: 4 ulp, also near 0, where it is a Taylor polynomial. */
export const EXPM1 = snippet(
  `fn expm1_f(x: f32) -> f32 {
  if (abs(x) < 0.5) {
    return x + x * x * (0.5 + x * (0.166666667 + x * (0.0416666667 + x * (8.33333333e-3 + x * (1.38888889e-3
      + x * (1.98412698e-4 + x * (2.48015873e-5 + x * 2.75573192e-6)))))));
  }
  return exp_f(x) - 1.0;
}`,
  EXP,
);

/** `log1p_near(f)` = log(1 + f) for f in [√½ − 1, √2 − 1]: the series of 2 artanh(f / (2 + f)). */
const LOG1P_NEAR = snippet(`fn log1p_near(f: f32) -> f32 {
  let s = f / (2.0 + f);
  let z = s * s;
  // f − s·f = 2s exactly in exact arithmetic; starting from f keeps its last bit.
  return f - s * (f - 2.0 * z * (0.333333333 + z * (0.2 + z * (0.142857143 + z * 0.111111111))));
}`);

/** `log_f(x)`: 2 ulp. log x = e · ln 2 + log m with m in [√½, √2). */
export const LOG = snippet(
  `fn log_f(x: f32) -> f32 {
  let bits = bitcast<u32>(x);
  if (is_nan(x) || bits == 0x7f800000u) { return x; }
  if ((bits & 0x7fffffffu) == 0u) { return -inf(); }
  if ((bits & 0x80000000u) != 0u) { return nan(); }
  var scaled = bits;
  var e = 0.0;
  // Subnormal: 2^23 times as much is normal.
  if (bits < 0x00800000u) { scaled = bitcast<u32>(f32(bits) * 1.1754943508e-38); e = -23.0; }
  // 0x3f3504f3 is √½: subtracting it makes the exponent field that of the m in [√½, √2).
  let shifted = scaled - 0x3f3504f3u;
  e += f32(bitcast<i32>(shifted) >> 23u);
  let m = bitcast<f32>((shifted & 0x007fffffu) + 0x3f3504f3u);
  return e * 0.693359375 + (log1p_near(m - 1.0) - e * 2.12194440e-4);
}`,
  IS_NAN,
  INF,
  NAN,
  LOG1P_NEAR,
);

/** `log1p_f(x)` = log(1 + x): 3 ulp, also near 0. */
export const LOG1P = snippet(
  `fn log1p_f(x: f32) -> f32 {
  if (x > -0.292893 && x < 0.414213) { return log1p_near(x); }
  return log_f(1.0 + x);
}`,
  LOG,
);

/** `sigmoid_f(x)` = 1 / (1 + e^−x): 3 ulp; only e^−|x| is taken, which cannot overflow. */
export const SIGMOID = snippet(
  `fn sigmoid_f(x: f32) -> f32 {
  let z = exp_f(-abs(x));
  return select(1.0, z, x < 0.0) / (1.0 + z);
}`,
  EXP,
);

/** `tanh_f(x)`: 5 ulp, from e^−2|x| − 1, which cannot overflow and keeps small x. */
export const TANH = snippet(
  `fn tanh_f(x: f32) -> f32 {
  let t = expm1_f(-2.0 * abs(x));
  let y = -t / (2.0 + t);
  return select(y, -y, x < 0.0);
}`,
  EXPM1,
);

/**
 * `reduce_f(x)`: |x| − q · π/2 in [−π/4, π/4], q modulo 4. Below 8192, π/2 in three parts of which the first two times
 * q are exact (Cody and Waite); beyond, the bits of 2/π that matter times the mantissa, in integers (Payne and Hanek).
 */
const REDUCE = snippet(`struct Reduced { r: f32, q: u32 }
fn mul_high_24(m: u32, b: u32) -> u32 {
  let low = m & 0xffffu;
  let high = m >> 16u;
  let u = high * (b & 0xffffu) + ((low * (b & 0xffffu)) >> 16u);
  let v = low * (b >> 16u) + (u & 0xffffu);
  return high * (b >> 16u) + (u >> 16u) + (v >> 16u);
}
fn reduce_f(x: f32) -> Reduced {
  let a = abs(x);
  if (a < 8192.0) {
    let n = round(a * 0.636619772);
    return Reduced(((a - n * 1.5703125) - n * 4.837512969970703e-4) - n * 7.549789948768648e-8, u32(n));
  }
  // 32 zeros, then 2/π.
  var table = array<u32, 8>(0u, 0xa2f9836eu, 0x4e441529u, 0xfc2757d1u, 0xf534ddc0u, 0xdb629599u, 0x3c439041u, 0xfe5163abu);
  let bits = bitcast<u32>(a);
  let m = (bits & 0x007fffffu) | 0x00800000u;
  // a = m · 2^(e − 23): bits of 2/π up to number e − 25 only add multiples of 4 to a · 2/π.
  let from_bit = (bits >> 23u) - 120u;
  let word = from_bit >> 5u;
  let shift = from_bit & 31u;
  var w = vec3u(table[word], table[word + 1u], table[word + 2u]);
  if (shift > 0u) {
    w = (w << vec3u(shift)) | (vec3u(table[word + 1u], table[word + 2u], table[word + 3u]) >> vec3u(32u - shift));
  }
  let middle_low = m * w.y;
  let middle = middle_low + mul_high_24(m, w.z);
  let top = m * w.x + mul_high_24(m, w.y) + select(0u, 1u, middle < middle_low);
  var q = top >> 30u;
  var high = (top << 2u) | (middle >> 30u);
  var low = middle << 2u;
  var sign = 1.57079633;
  if ((high & 0x80000000u) != 0u) {
    q += 1u;
    high = ~high + select(0u, 1u, low == 0u);
    low = ~low + 1u;
    sign = -sign;
  }
  return Reduced((f32(high) * 2.3283064365e-10 + f32(low) * 5.4210108624e-20) * sign, q & 3u);
}`);

/** Polynomials on [−π/4, π/4] with the coefficients of Cephes' sinf.c (S. Moshier). */
const SIN_COS_NEAR = snippet(`fn sin_near(r: f32) -> f32 {
  let z = r * r;
  return r + r * z * (-1.6666654611e-1 + z * (8.3321608736e-3 + z * -1.9515295891e-4));
}
fn cos_near(r: f32) -> f32 {
  let z = r * r;
  return 1.0 - 0.5 * z + z * z * (4.166664568298827e-2 + z * (-1.388731625493765e-3 + z * 2.443315711809948e-5));
}`);

/** `sin_f(x)`: 1.5e-7 absolute for every finite x. */
export const SIN = snippet(
  `fn sin_f(x: f32) -> f32 {
  if (is_nan(x) || is_inf(x)) { return nan(); }
  let to = reduce_f(x);
  var y = sin_near(to.r);
  if ((to.q & 1u) == 1u) { y = cos_near(to.r); }
  return select(y, -y, ((to.q & 2u) == 2u) != (x < 0.0));
}`,
  IS_NAN,
  IS_INF,
  NAN,
  REDUCE,
  SIN_COS_NEAR,
);

/** `cos_f(x)`: 1.5e-7 absolute for every finite x. */
export const COS = snippet(
  `fn cos_f(x: f32) -> f32 {
  if (is_nan(x) || is_inf(x)) { return nan(); }
  let to = reduce_f(x);
  var y = cos_near(to.r);
  if ((to.q & 1u) == 1u) { y = sin_near(to.r); }
  return select(y, -y, ((to.q + 1u) & 2u) == 2u);
}`,
  IS_NAN,
  IS_INF,
  NAN,
  REDUCE,
  SIN_COS_NEAR,
);

/**
 * `erf_near(x)` = erf x for |x| ≤ 1, x times a polynomial in x²: 1.8e-7 relative; `erfc_far(t)` = erfc t for t ≥ 1, e^−t² times
 * a polynomial in w = 1 / (1 + t/2) that approximates erfcx t on [1, 11]: 3e-7 relative beside the error of e^−t². Both polynomials
 * are minimax fits (Lawson's iteration on the float64 functions) made for this file.
 */
const ERF_PARTS = snippet(
  `fn erf_near(x: f32) -> f32 {
  let z = x * x;
  return x * (1.1283791 + z * (-0.37612626 + z * (0.112835854 + z * (-0.026853811 + z * (0.0051883277
    + z * (-8.010192e-4 + z * 7.853857e-5))))));
}
fn erfc_far(t: f32) -> f32 {
  let w = 1.0 / (1.0 + 0.5 * t);
  return exp_f(-t * t) * w * (0.28209716 + w * (0.28206402 + w * (0.2467643 + w * (0.17965408 + w * (0.058780488
    + w * (0.08575511 + w * (-0.22890319 + w * 0.09437577)))))));
}`,
  EXP,
);

/** `erf_f(x)`: 2.5e-7 relative. */
export const ERF = snippet(
  `fn erf_f(x: f32) -> f32 {
  if (is_nan(x)) { return x; }
  let t = abs(x);
  if (t <= 1.0) { return erf_near(x); }
  // erfc 4 is 1.5e-8, a quarter of the last bit of 1.
  let y = select(1.0, 1.0 - erfc_far(min(t, 4.0)), t < 4.0);
  return select(y, -y, x < 0.0);
}`,
  IS_NAN,
  ERF_PARTS,
);

/** `normal_cdf(x)` = Φ(x) = erfc(−x / √2) / 2: 4e-7 relative on [−5, ∞), growing to 5e-6 in the far tail, until it
 * underflows at −13. */
export const NORMAL_CDF = snippet(
  `fn normal_cdf(x: f32) -> f32 {
  if (is_nan(x)) { return x; }
  let t = abs(x) * 0.707106781;
  if (t <= 1.0) { return 0.5 + 0.5 * erf_near(x * 0.707106781); }
  let tail = 0.5 * erfc_far(min(t, 11.0));
  return select(1.0 - tail, tail, x < 0.0);
}`,
  IS_NAN,
  ERF_PARTS,
);

/**
 * `pow_f(x, y)` with C's special cases. Whole exponents up to 64 multiply (|y| / 2 ulp at most, a negative base keeps its sign);
 * others are e^(y · log x), whose relative error is about |y · log x| · 1.2e-7.
 */
export const POW = snippet(
  `fn pow_f(x: f32, y: f32) -> f32 {
  let magnitude = abs(y);
  if ((bitcast<u32>(magnitude)) == 0u || bitcast<u32>(x) == 0x3f800000u) { return 1.0; }
  if (is_nan(x)) { return x; }
  if (is_nan(y)) { return y; }
  let base = abs(x);
  // From 2^24 on every float is a whole, even number.
  let huge = magnitude >= 16777216.0;
  let whole = huge || floor(magnitude) == magnitude;
  let odd = !huge && whole && (u32(min(magnitude, 16777216.0)) & 1u) == 1u;
  let negative = (bitcast<u32>(x) & 0x80000000u) != 0u;
  if (is_inf(y)) {
    if (base == 1.0) { return 1.0; }
    return select(0.0, inf(), (base > 1.0) == (y > 0.0));
  }
  var r: f32;
  if (whole && magnitude <= 64.0) {
    r = 1.0;
    var b = base;
    for (var n = u32(magnitude); n > 0u; n >>= 1u) {
      if ((n & 1u) == 1u) { r *= b; }
      b *= b;
    }
    if (y < 0.0) {
      if (is_inf(r)) { r = 0.0; } else if (r == 0.0) { r = inf(); } else { r = 1.0 / r; }
    }
  } else {
    if (negative && base > 0.0 && !is_inf(x) && !whole) { return nan(); }
    r = exp_f(y * log_f(base));
  }
  return select(r, -r, negative && odd);
}`,
  IS_NAN,
  IS_INF,
  INF,
  NAN,
  EXP,
  LOG,
);
