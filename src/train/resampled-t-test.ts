/** Whether one model is better than another, from their differences over the folds of repeated cross-validation. */
import { DataError } from '../device/errors.js';

/** What folds say of a mean. */
export interface ResampledTTest {
  /** The mean of the values. */
  readonly mean: number;
  /** Its standard error, with the correction. */
  readonly standardError: number;
  /** The mean's interval. */
  readonly low: number;
  readonly high: number;
  /** mean / standardError; NaN where all values are 0, infinite where they are all equal otherwise. */
  readonly t: number;
  readonly degreesOfFreedom: number;
  /** Two-sided probability of a t at least as large where the true mean is 0. */
  readonly pValue: number;
}

/**
 * The corrected resampled t-test: mean ± t · √((1/J + n₂/n₁) s²) of J values, one for each fold of each repetition. The folds'
 * training sets share most of their rows, so their values are not independent; the plain √(s²/J) would go to 0 by mere
 * repetition. n₂/n₁ stands for that: for five folds ¼, however often they are drawn anew.
 *
 * @param values differences of two models' figures, fold by fold; or the figures of one model, for its interval
 * @param testShare n₂/n₁, rows tested on for each row trained on: 1 / (k − 1) for k folds
 * @throws DataError for fewer than two values or some that are not finite, and for a share that is not above 0
 * @source C. Nadeau, Y. Bengio, "Inference for the generalization error" (2003), section 4; R. Bouckaert, E. Frank, "Evaluating
 *   the replicability of significance tests for comparing learning algorithms" (2004) for repeated folds
 * @example
 * correctedResampledTTest([0.02, 0.01, 0.03, -0.01, 0.02], { testShare: 1 / 4 }).pValue; // 0.24
 */
export function correctedResampledTTest(
  values: ArrayLike<number>,
  { testShare, confidence = 0.95 }: { testShare: number; confidence?: number },
): ResampledTTest {
  const J = values.length;
  if (J < 2) throw new DataError(`correctedResampledTTest: expected at least 2 values, got ${J}`);
  if (!(testShare > 0)) {
    throw new DataError(
      `correctedResampledTTest: expected a share of test to training rows above 0, got ${testShare}; it is 1 / (k − 1) for k folds`,
    );
  }
  if (!(confidence > 0 && confidence < 1)) {
    throw new DataError(`correctedResampledTTest: expected a confidence between 0 and 1, got ${confidence}`);
  }
  // Without this, NaN would come out as a difference of no significance.
  const odd = Array.from(values).find((value) => !Number.isFinite(value));
  if (odd !== undefined) throw new DataError(`correctedResampledTTest: expected finite values, got ${odd}`);
  let mean = 0;
  for (let i = 0; i < J; i++) mean += values[i] / J;
  let squares = 0;
  for (let i = 0; i < J; i++) squares += (values[i] - mean) ** 2;
  const degreesOfFreedom = J - 1;
  const standardError = Math.sqrt((1 / J + testShare) * (squares / degreesOfFreedom));
  const t = mean / standardError;
  const reach = standardError * studentQuantile((1 + confidence) / 2, degreesOfFreedom);
  return {
    mean,
    standardError,
    low: mean - reach,
    high: mean + reach,
    t,
    degreesOfFreedom,
    pValue: Number.isNaN(t) ? 1 : 2 * (1 - studentCdf(Math.abs(t), degreesOfFreedom)),
  };
}

/**
 * P(T ≤ t) of Student's distribution with ν degrees of freedom.
 * @source M. Abramowitz, I. Stegun, "Handbook of mathematical functions", 26.7.3 and 26.7.4: finite sums for whole ν
 */
export function studentCdf(t: number, degreesOfFreedom: number): number {
  const v = degreesOfFreedom;
  if (!(Number.isInteger(v) && v >= 1))
    throw new DataError(`studentCdf: expected whole degrees of freedom of at least 1, got ${v}`);
  if (!Number.isFinite(t)) return t > 0 ? 1 : 0;
  const angle = Math.atan(t / Math.sqrt(v));
  const [sin, cos] = [Math.sin(angle), Math.cos(angle)];
  const isOdd = v % 2 === 1;
  // 1 + ½cos² + (1·3)/(2·4)cos⁴ … up to cosᵛ⁻² for even ν; cos + ⅔cos³ + … up to cosᵛ⁻² for odd ν.
  let term = isOdd ? cos : 1;
  let sum = v === 1 ? 0 : term;
  for (let k = isOdd ? 3 : 2; k <= v - 2; k += 2) {
    term *= ((k - 1) / k) * cos * cos;
    sum += term;
  }
  const inside = isOdd ? (2 / Math.PI) * (angle + sin * sum) : sin * sum;
  return (1 + inside) / 2;
}

/** The t with P(T ≤ t) = p, by bisection. */
function studentQuantile(p: number, degreesOfFreedom: number): number {
  let [low, high] = [0, 1];
  while (studentCdf(high, degreesOfFreedom) < p) high *= 2;
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    if (studentCdf(middle, degreesOfFreedom) < p) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}
