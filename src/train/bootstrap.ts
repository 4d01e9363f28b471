/** How sure a measured figure is: bootstrap intervals, and the paired test of two models on the same documents. */
import { percentile } from '../data/lengths.js';
import { HostRandom } from '../data/random.js';
import { DataError } from '../device/errors.js';

/** A figure of scores and labels, NaN where they do not define it (as AUC does with one class). */
export type Metric = (scores: ArrayLike<number>, labels: ArrayLike<number>) => number;

/** How to resample. */
export interface BootstrapOptions {
  /** 2,000 by default. */
  resamples?: number;
  /** Share of the resamples inside the interval, 0.95 by default. */
  confidence?: number;
  /** 0 by default: the same seed gives the same interval. */
  seed?: number;
  /**
   * Name of each document's group (film, speaker). Whole groups are then drawn, because documents of one group are not
   * independent, and pretending so gives intervals that are too narrow.
   */
  groups?: ArrayLike<string | number>;
}

/** A figure with its percentile interval. */
export interface Interval {
  readonly value: number;
  readonly low: number;
  readonly high: number;
  /** Resamples that define the metric; both ends are NaN where none does. */
  readonly resamples: number;
  /** Resamples left out because the metric was NaN, as with one class only. */
  readonly skipped: number;
}

/**
 * Percentile bootstrap: documents (or groups) are drawn with replacement, and the interval holds the middle share of what
 * the metric gives on such draws.
 * @param scores [n]
 * @param labels [n]
 * @throws DataError for unequal lengths or options out of range
 * @source B. Efron, R. Tibshirani, "An introduction to the bootstrap" (1993), chapter 13
 */
export function bootstrapInterval(
  metric: Metric,
  scores: ArrayLike<number>,
  labels: ArrayLike<number>,
  options: BootstrapOptions = {},
): Interval {
  const value = metric(scores, labels);
  const found = resample('bootstrapInterval', labels, options, (pick) => metric(pick(scores), pick(labels)));
  return { value, ...found };
}

/** Two models on the same documents. */
export interface PairedComparison {
  /** metric(a) − metric(b) and its interval. */
  readonly difference: Interval;
  /** Two-sided: twice the share of resamples in which the sign of the difference turns, at most 1. */
  readonly pValue: number;
}

/**
 * Paired bootstrap of metric(a) − metric(b): both models are measured on the same draws, so that what is hard for both does not
 * count as difference.
 * @param a scores of the first model [n]
 * @param b scores of the second model [n], of the same documents
 * @param labels [n]
 * @throws DataError as `bootstrapInterval`
 * @source P. Koehn, "Statistical significance tests for machine translation evaluation" (2004)
 */
export function pairedBootstrap(
  metric: Metric,
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  labels: ArrayLike<number>,
  options: BootstrapOptions = {},
): PairedComparison {
  if (a.length !== b.length) {
    throw new DataError(
      `pairedBootstrap: expected scores of the same documents, got ${a.length} and ${b.length}`,
    );
  }
  const value = metric(a, labels) - metric(b, labels);
  let notAbove = 0;
  let notBelow = 0;
  const found = resample('pairedBootstrap', labels, options, (pick) => {
    const drawn = pick(labels);
    const difference = metric(pick(a), drawn) - metric(pick(b), drawn);
    if (difference <= 0) notAbove++;
    if (difference >= 0) notBelow++;
    return difference;
  });
  // The observed sample counts as one of them: no finite number of draws shows a probability of 0.
  const pValue = Math.min(1, (2 * (Math.min(notAbove, notBelow) + 1)) / (found.resamples + 1));
  return {
    difference: { value, ...found },
    pValue: found.resamples === 0 ? Number.NaN : pValue,
  };
}

/** Takes the drawn documents' values out of an array. */
type Pick = (values: ArrayLike<number>) => Float64Array;

function resample(
  name: string,
  labels: ArrayLike<number>,
  { resamples = 2000, confidence = 0.95, seed = 0, groups }: BootstrapOptions,
  measure: (pick: Pick) => number,
): Omit<Interval, 'value'> {
  if (!Number.isInteger(resamples) || resamples < 1)
    throw new DataError(`${name}: expected at least 1 resample, got ${resamples}`);
  if (!(confidence > 0 && confidence < 1))
    throw new DataError(`${name}: expected a confidence between 0 and 1, got ${confidence}`);
  if (groups !== undefined && groups.length !== labels.length) {
    throw new DataError(
      `${name}: expected a group for each of ${labels.length} documents, got ${groups.length}`,
    );
  }
  const units = unitsOf(groups ?? Array.from(labels, (_, i) => i));
  const random = new HostRandom(seed);
  const values: number[] = [];
  for (let r = 0; r < resamples; r++) {
    const drawn: number[] = [];
    for (let u = 0; u < units.length; u++) for (const i of units[random.integer(units.length)]) drawn.push(i);
    const value = measure((all) => {
      const picked = new Float64Array(drawn.length);
      for (let i = 0; i < picked.length; i++) picked[i] = all[drawn[i]];
      return picked;
    });
    if (!Number.isNaN(value)) values.push(value);
  }
  const sorted = Float64Array.from(values).sort();
  const tail = (1 - confidence) / 2;
  return {
    low: sorted.length === 0 ? Number.NaN : percentile(sorted, tail),
    high: sorted.length === 0 ? Number.NaN : percentile(sorted, 1 - tail),
    resamples: sorted.length,
    skipped: resamples - sorted.length,
  };
}

/** The documents of each group. */
function unitsOf(groups: ArrayLike<string | number>): number[][] {
  const units = new Map<string | number, number[]>();
  for (let i = 0; i < groups.length; i++) {
    const unit = units.get(groups[i]);
    if (unit === undefined) units.set(groups[i], [i]);
    else unit.push(i);
  }
  return [...units.values()];
}
