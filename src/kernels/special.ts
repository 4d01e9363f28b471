/** Functions on the host that JavaScript's Math lacks, accurate to float64. */

/** c[0] + c[1]·x + c[2]·x² + … */
function polynomial(c: readonly number[], x: number): number {
  let y = 0;
  for (let i = c.length - 1; i >= 0; i--) y = y * x + c[i];
  return y;
}

// Rational approximations of W. J. Cody's kind (Mathematics of Computation 23, 1969), with the coefficients of Sun's fdlibm, s_erf.c.
/** (erf x − x) / x in x², for |x| < 0.84375. */
const NEAR_P = [
  0.12837916709551256, -0.3250421072470015, -0.02848174957559851, -0.005770270296489442,
  -2.3763016656650163e-5,
];
const NEAR_Q = [
  1, 0.39791722395915535, 0.0650222499887673, 0.005081306281875766, 1.3249473800432164e-4,
  -3.960228278775368e-6,
];
/** erf x − MIDDLE in |x| − 1, for 0.84375 ≤ |x| < 1.25. */
const MIDDLE = 0.8450629115104675;
const MIDDLE_P = [
  -0.0023621185607526594, 0.41485611868374833, -0.3722078760357013, 0.31834661990116175, -0.11089469428239668,
  0.035478304325618236, -0.002166375594868791,
];
const MIDDLE_Q = [
  1, 0.10642088040084423, 0.540397917702171, 0.07182865441419627, 0.12617121980876164, 0.01363708391202905,
  0.011984499846799107,
];
/** log(x · erfc x) + x² + 0.5625 in 1/x², for 1.25 ≤ x < 1/0.35. */
const FAR_P = [
  -0.009864944034847148, -0.6938585727071818, -10.558626225323291, -62.375332450326006, -162.39666946257347,
  -184.60509290671104, -81.2874355063066, -9.814329344169145,
];
const FAR_Q = [
  1, 19.651271667439257, 137.65775414351904, 434.56587747522923, 645.3872717332679, 429.00814002756783,
  108.63500554177944, 6.570249770319282, -0.0604244152148581,
];
/** The same, for 1/0.35 ≤ x < 28. */
const TAIL_P = [
  -0.0098649429247001, -0.799283237680523, -17.757954917754752, -160.63638485582192, -637.5664433683896,
  -1025.0951316110772, -483.5191916086514,
];
const TAIL_Q = [
  1, 30.33806074348246, 325.7925129965739, 1536.729586084437, 3199.8582195085955, 2553.0504064331644,
  474.52854120695537, -22.44095244658582,
];

/** erfc x for x ≥ 1.25. */
function erfcFar(x: number): number {
  const s = 1 / (x * x);
  const r =
    x < 1 / 0.35
      ? polynomial(FAR_P, s) / polynomial(FAR_Q, s)
      : polynomial(TAIL_P, s) / polynomial(TAIL_Q, s);
  // x² with the rounding error of its leading part kept: z has 24 bits, so z·z is exact.
  const z = Math.fround(x);
  return (Math.exp(-z * z - 0.5625) * Math.exp((z - x) * (z + x) + r)) / x;
}

/** The error function 2/√π ∫₀ˣ e^−t² dt, to 1 ulp or so. */
export function erf(x: number): number {
  const t = Math.abs(x);
  if (t < 0.84375) return x + x * (polynomial(NEAR_P, x * x) / polynomial(NEAR_Q, x * x));
  const sign = x < 0 ? -1 : 1;
  if (t < 1.25) return sign * (MIDDLE + polynomial(MIDDLE_P, t - 1) / polynomial(MIDDLE_Q, t - 1));
  // erfc 6 is below half of the last bit of 1.
  return t < 6 ? sign * (1 - erfcFar(t)) : t >= 6 ? sign : x;
}

/** 1 − erf x without the cancellation. */
export function erfc(x: number): number {
  if (x < 1.25) return 1 - erf(x);
  return x < 28 ? erfcFar(x) : x >= 28 ? 0 : x;
}

/** Φ(x), the distribution function of the standard normal distribution. */
export function normalCdf(x: number): number {
  return 0.5 * erfc(-x * Math.SQRT1_2);
}

/** φ(x) = e^(−x²/2) / √(2π), the density of the standard normal distribution. */
export function normalPdf(x: number): number {
  return Math.exp(-0.5 * x * x) * 0.3989422804014327;
}

/** Rounds to the nearest whole number, halves to the even one. */
export function roundHalfEven(x: number): number {
  const down = Math.floor(x);
  const rest = x - down;
  if (rest < 0.5) return down;
  return rest > 0.5 || down % 2 !== 0 ? down + 1 : down;
}

/** 1 / (1 + e^−x), from e^−|x|, which cannot overflow. */
export function sigmoid(x: number): number {
  if (x >= 0) return 1 / (1 + Math.exp(-x));
  const z = Math.exp(x);
  return z / (1 + z);
}

/** x^y as C has it: 1^y = 1 and (−1)^±∞ = 1, which JavaScript makes NaN. */
export function pow(x: number, y: number): number {
  return x === 1 || (x === -1 && (y === Infinity || y === -Infinity)) ? 1 : x ** y;
}
