/** Metrics of two classes from scores: how well they rank, how well a threshold decides, how far they are probabilities. */
import { DataError } from '../device/errors.js';

export {
  type BootstrapOptions,
  bootstrapInterval,
  type Interval,
  type Metric,
  type PairedComparison,
  pairedBootstrap,
} from './bootstrap.js';

/** Scores of documents, higher for class 1; probabilities or logits. */
export type Scores = ArrayLike<number>;
/** The true classes, 0 or 1. */
export type Labels = ArrayLike<number>;

/** Decisions at a threshold against the truth. */
export interface ConfusionMatrix {
  readonly truePositive: number;
  readonly falsePositive: number;
  readonly trueNegative: number;
  readonly falseNegative: number;
}

/** Documents of one score. */
interface Tie {
  readonly score: number;
  readonly positive: number;
  readonly negative: number;
}

/** The scores in falling order, equal ones together. */
interface Ranking {
  readonly ties: readonly Tie[];
  readonly positives: number;
  readonly negatives: number;
}

/**
 * Area under the ROC curve: P(score⁺ > score⁻) + ½ P(score⁺ = score⁻) over all pairs of a positive and a negative document,
 * the Mann–Whitney statistic; ½ for scores that say nothing.
 * @param scores [n], any monotone map of them gives the same
 * @param labels [n], 0 or 1
 * @returns 0 to 1; NaN where only one class is there, for then there are no pairs
 * @throws DataError for unequal lengths, other labels, or scores that are not finite
 * @source sklearn.metrics.roc_auc_score
 */
export function rocAuc(scores: Scores, labels: Labels): number {
  const { ties, positives, negatives } = rank('rocAuc', scores, labels);
  let above = 0;
  let wins = 0;
  for (const { positive, negative } of ties) {
    wins += negative * (above + positive / 2);
    above += positive;
  }
  return wins / (positives * negatives);
}

/**
 * Area under the precision–recall curve as average precision, Σ (Rₖ − Rₖ₋₁) Pₖ over the different scores from high to low: no
 * interpolation, which would flatter. Scores that say nothing give the share of positives.
 * @param scores [n]
 * @param labels [n], 0 or 1
 * @returns 0 to 1; NaN where only one class is there
 * @throws DataError as `rocAuc`
 * @source sklearn.metrics.average_precision_score
 */
export function prAuc(scores: Scores, labels: Labels): number {
  const { ties, positives, negatives } = rank('prAuc', scores, labels);
  if (negatives === 0) return Number.NaN;
  let found = 0;
  let seen = 0;
  let sum = 0;
  for (const { positive, negative } of ties) {
    found += positive;
    seen += positive + negative;
    sum += (positive * found) / seen;
  }
  return sum / positives;
}

/** One point of the ROC curve: what is found and what is wrongly taken by `score ≥ threshold`. */
export interface RocPoint {
  /** Infinity at the first point, which takes nothing. */
  readonly threshold: number;
  readonly falsePositiveRate: number;
  readonly truePositiveRate: number;
}

/**
 * The ROC curve, a point for each different score; the trapezoids below it sum to `rocAuc`.
 * @returns from (0, 0) to (1, 1); none where only one class is there
 * @throws DataError as `rocAuc`
 */
export function rocCurve(scores: Scores, labels: Labels): RocPoint[] {
  const { ties, positives, negatives } = rank('rocCurve', scores, labels);
  if (positives === 0 || negatives === 0) return [];
  const points: RocPoint[] = [{ threshold: Infinity, falsePositiveRate: 0, truePositiveRate: 0 }];
  let found = 0;
  let wrong = 0;
  for (const { score, positive, negative } of ties) {
    found += positive;
    wrong += negative;
    points.push({
      threshold: score,
      falsePositiveRate: wrong / negatives,
      truePositiveRate: found / positives,
    });
  }
  return points;
}

/** One point of the precision–recall curve, for `score ≥ threshold`. */
export interface PrPoint {
  readonly threshold: number;
  readonly recall: number;
  readonly precision: number;
}

/**
 * The precision–recall curve, a point for each different score by rising recall; drawn as steps, the area below is `prAuc`.
 * @returns none where only one class is there
 * @throws DataError as `rocAuc`
 */
export function prCurve(scores: Scores, labels: Labels): PrPoint[] {
  const { ties, positives, negatives } = rank('prCurve', scores, labels);
  if (positives === 0 || negatives === 0) return [];
  let found = 0;
  let seen = 0;
  return ties.map(({ score, positive, negative }) => {
    found += positive;
    seen += positive + negative;
    return { threshold: score, recall: found / positives, precision: found / seen };
  });
}

/**
 * Counts decisions: class 1 where score ≥ threshold.
 * @throws DataError as `rocAuc`
 */
export function confusionMatrix(scores: Scores, labels: Labels, threshold = 0.5): ConfusionMatrix {
  check('confusionMatrix', scores, labels);
  const counts = { truePositive: 0, falsePositive: 0, trueNegative: 0, falseNegative: 0 };
  for (let i = 0; i < scores.length; i++) {
    if (scores[i] >= threshold) counts[labels[i] === 1 ? 'truePositive' : 'falsePositive']++;
    else counts[labels[i] === 1 ? 'falseNegative' : 'trueNegative']++;
  }
  return counts;
}

/**
 * Macro-F1: the mean of both classes' F1 = 2 TP / (2 TP + FP + FN), each class as the one to find.
 * @param threshold class 1 where score ≥ threshold; chosen on validation data by `bestThreshold`
 * @returns 0 to 1; NaN where only one class is there
 * @throws DataError as `rocAuc`
 * @source sklearn.metrics.f1_score(average='macro')
 */
export function macroF1(scores: Scores, labels: Labels, threshold = 0.5): number {
  return macroF1Of(confusionMatrix(scores, labels, threshold));
}

/**
 * Balanced accuracy: the mean of the shares of each class that are decided rightly; ½ for one answer to all.
 * @returns 0 to 1; NaN where only one class is there
 * @throws DataError as `rocAuc`
 * @source sklearn.metrics.balanced_accuracy_score
 */
export function balancedAccuracy(scores: Scores, labels: Labels, threshold = 0.5): number {
  return balancedAccuracyOf(confusionMatrix(scores, labels, threshold));
}

/** Macro-F1 of counts. */
export function macroF1Of({
  truePositive,
  falsePositive,
  trueNegative,
  falseNegative,
}: ConfusionMatrix): number {
  if (truePositive + falseNegative === 0 || trueNegative + falsePositive === 0) return Number.NaN;
  const wrong = falsePositive + falseNegative;
  return truePositive / (2 * truePositive + wrong) + trueNegative / (2 * trueNegative + wrong);
}

/** Balanced accuracy of counts. */
export function balancedAccuracyOf(counts: ConfusionMatrix): number {
  const { truePositive, falsePositive, trueNegative, falseNegative } = counts;
  const sensitivity = truePositive / (truePositive + falseNegative);
  const specificity = trueNegative / (trueNegative + falsePositive);
  return (sensitivity + specificity) / 2;
}

/** What a threshold is chosen for. */
export type ThresholdMetric = 'macroF1' | 'balancedAccuracy';

/**
 * The threshold with the best macro-F1 or balanced accuracy. Choose it on validation data and use it on the test: chosen on
 * the test itself it would flatter. Thresholds lie in the middle between two scores; of equally good ones it is that with
 * the most room around it, then the lowest.
 * @returns the threshold, for `score ≥ threshold`, and what it reaches here
 * @throws DataError as `rocAuc`, and where only one class is there
 */
export function bestThreshold(
  scores: Scores,
  labels: Labels,
  { metric = 'macroF1' }: { metric?: ThresholdMetric } = {},
): { threshold: number; value: number } {
  const { ties, positives, negatives } = rank('bestThreshold', scores, labels);
  if (positives === 0 || negatives === 0) {
    throw new DataError(
      `bestThreshold: expected documents of both classes, got ${positives} of class 1 and ${negatives} of class 0; split by class (stratify)`,
    );
  }
  const measure = metric === 'macroF1' ? macroF1Of : balancedAccuracyOf;
  const highest = ties[0].score;
  let best = { threshold: Number.NaN, value: Number.NEGATIVE_INFINITY, room: 0 };
  let truePositive = 0;
  let falsePositive = 0;
  // Candidate k takes the k highest scores.
  for (let k = 0; k <= ties.length; k++) {
    const value = measure({
      truePositive,
      falsePositive,
      trueNegative: negatives - falsePositive,
      falseNegative: positives - truePositive,
    });
    const below = ties[k]?.score;
    const above = ties[k - 1]?.score;
    const room = above === undefined || below === undefined ? 0 : above - below;
    if (value > best.value || (value === best.value && room >= best.room)) {
      best = { threshold: between(below, above, highest), value, room };
    }
    truePositive += ties[k]?.positive ?? 0;
    falsePositive += ties[k]?.negative ?? 0;
  }
  return { threshold: best.threshold, value: best.value };
}

/** The middle of two scores; just above all scores, or the lowest itself, at the ends. */
function between(below: number | undefined, above: number | undefined, highest: number): number {
  if (above === undefined) return highest + 1e-6 * Math.max(1, Math.abs(highest));
  if (below === undefined) return above;
  const middle = below + (above - below) / 2;
  // Neighbouring floating-point numbers have no middle.
  return middle > below ? middle : above;
}

/**
 * Brier score: the mean of (p − y)². Smaller is better; the share π of positives as the answer to all gives π (1 − π).
 * @param probabilities [n], 0 to 1
 * @throws DataError as `rocAuc`, and for numbers that are no probabilities
 * @source G. Brier (1950); sklearn.metrics.brier_score_loss
 */
export function brier(probabilities: Scores, labels: Labels): number {
  checkProbabilities('brier', probabilities, labels);
  let sum = 0;
  for (let i = 0; i < labels.length; i++) sum += (probabilities[i] - labels[i]) ** 2;
  return sum / labels.length;
}

/** Documents of like probability. */
export interface CalibrationBin {
  /** The bin holds probabilities from `low` on and below `high`; the last one also 1. */
  readonly low: number;
  readonly high: number;
  readonly count: number;
  /** Mean probability said. */
  readonly predicted: number;
  /** Share of class 1 found, and Wilson's 95 % interval of it. */
  readonly observed: number;
  readonly interval: readonly [low: number, high: number];
}

/** How a calibration curve is cut into bins. */
export interface CalibrationOptions {
  /** Number of bins, 10 by default. */
  bins?: number;
  /** 'uniform': bins of equal width; 'quantile': of equally many documents, as far as ties allow. */
  strategy?: 'uniform' | 'quantile';
}

/**
 * What share of the documents was of class 1 where the model said p.
 * @returns the bins that hold documents, by rising probability
 * @throws DataError as `brier`
 * @source sklearn.calibration.calibration_curve; E. Wilson (1927) for the intervals
 */
export function calibrationCurve(
  probabilities: Scores,
  labels: Labels,
  { bins = 10, strategy = 'uniform' }: CalibrationOptions = {},
): CalibrationBin[] {
  checkProbabilities('calibrationCurve', probabilities, labels);
  if (!Number.isInteger(bins) || bins < 1)
    throw new DataError(`calibrationCurve: expected at least 1 bin, got ${bins}`);
  const edges = Array.from({ length: bins + 1 }, (_, i) => i / bins);
  if (strategy === 'quantile') {
    const sorted = Float64Array.from(probabilities).sort();
    for (let i = 1; i < bins; i++) edges[i] = sorted[Math.floor((i * sorted.length) / bins)];
  }
  const sums = edges.map(() => ({ count: 0, predicted: 0, positive: 0 }));
  for (let i = 0; i < labels.length; i++) {
    let bin = bins - 1;
    while (bin > 0 && probabilities[i] < edges[bin]) bin--;
    sums[bin].count++;
    sums[bin].predicted += probabilities[i];
    sums[bin].positive += labels[i];
  }
  return sums.flatMap(({ count, predicted, positive }, i) =>
    count === 0
      ? []
      : {
          low: edges[i],
          high: edges[i + 1],
          count,
          predicted: predicted / count,
          observed: positive / count,
          interval: wilson(positive, count),
        },
  );
}

/**
 * Expected calibration error: the mean distance of said and observed shares over the bins, weighted by their documents.
 * @source M. Naeini et al., "Obtaining well calibrated probabilities using Bayesian binning" (2015)
 */
export function calibrationError(curve: readonly CalibrationBin[]): number {
  const total = curve.reduce((n, { count }) => n + count, 0);
  return curve.reduce((sum, bin) => sum + bin.count * Math.abs(bin.predicted - bin.observed), 0) / total;
}

/** Wilson's score interval of a share at 95 %. */
export function wilson(successes: number, n: number): [number, number] {
  const z2 = 1.959964 ** 2;
  const p = successes / n;
  const centre = (p + z2 / (2 * n)) / (1 + z2 / n);
  const half = Math.sqrt((p * (1 - p)) / n + z2 / (4 * n * n)) * (1.959964 / (1 + z2 / n));
  return [Math.max(0, centre - half), Math.min(1, centre + half)];
}

function rank(name: string, scores: Scores, labels: Labels): Ranking {
  check(name, scores, labels);
  let positives = 0;
  for (let i = 0; i < labels.length; i++) positives += labels[i];
  // Numbers without a comparison function are sorted much faster, and the bootstrap sorts thousands of times.
  const ones = new Float64Array(positives);
  const zeros = new Float64Array(labels.length - positives);
  for (let i = 0, one = 0, zero = 0; i < labels.length; i++) {
    if (labels[i] === 1) ones[one++] = scores[i];
    else zeros[zero++] = scores[i];
  }
  ones.sort();
  zeros.sort();
  const ties: Tie[] = [];
  let one = ones.length;
  let zero = zeros.length;
  while (one > 0 || zero > 0) {
    const score = Math.max(one > 0 ? ones[one - 1] : -Infinity, zero > 0 ? zeros[zero - 1] : -Infinity);
    const [oneBefore, zeroBefore] = [one, zero];
    while (one > 0 && ones[one - 1] === score) one--;
    while (zero > 0 && zeros[zero - 1] === score) zero--;
    ties.push({ score, positive: oneBefore - one, negative: zeroBefore - zero });
  }
  return { ties, positives, negatives: zeros.length };
}

function check(name: string, scores: Scores, labels: Labels): void {
  if (scores.length !== labels.length || scores.length === 0) {
    throw new DataError(
      `${name}: expected a score for each label and at least one, got ${scores.length} scores and ${labels.length} labels`,
    );
  }
  for (let i = 0; i < scores.length; i++) {
    if (labels[i] !== 0 && labels[i] !== 1)
      throw new DataError(`${name}: expected labels 0 and 1, got ${labels[i]} at ${i}`);
    if (!Number.isFinite(scores[i])) {
      throw new DataError(
        `${name}: expected finite scores, got ${scores[i]} at ${i}; has the training diverged?`,
      );
    }
  }
}

function checkProbabilities(name: string, probabilities: Scores, labels: Labels): void {
  check(name, probabilities, labels);
  for (let i = 0; i < probabilities.length; i++) {
    if (!(probabilities[i] >= 0 && probabilities[i] <= 1)) {
      throw new DataError(
        `${name}: expected probabilities from 0 to 1, got ${probabilities[i]} at ${i}; apply sigmoid to logits first`,
      );
    }
  }
}
