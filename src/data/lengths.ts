/** Distributions of lengths. */
import { DataError } from '../device/errors.js';

/** Distribution of lengths. */
export interface LengthStatistics {
  readonly count: number;
  readonly total: number;
  readonly mean: number;
  /** Of the population: divided by n. */
  readonly standardDeviation: number;
  readonly min: number;
  readonly p10: number;
  readonly p25: number;
  readonly median: number;
  readonly p75: number;
  readonly p90: number;
  readonly p99: number;
  readonly max: number;
}

/**
 * Mean and percentiles of lengths.
 * @throws DataError when there are none
 */
export function lengthStatistics(lengths: ArrayLike<number>): LengthStatistics {
  if (lengths.length === 0) throw new DataError('lengthStatistics: expected at least one length, got none');
  const sorted = Float64Array.from(lengths).sort();
  const count = sorted.length;
  const total = sorted.reduce((a, b) => a + b, 0);
  const mean = total / count;
  const variance = sorted.reduce((a, b) => a + (b - mean) ** 2, 0) / count;
  return {
    count,
    total,
    mean,
    standardDeviation: Math.sqrt(variance),
    min: sorted[0],
    p10: percentile(sorted, 0.1),
    p25: percentile(sorted, 0.25),
    median: percentile(sorted, 0.5),
    p75: percentile(sorted, 0.75),
    p90: percentile(sorted, 0.9),
    p99: percentile(sorted, 0.99),
    max: sorted[count - 1],
  };
}

/**
 * The q-quantile of sorted numbers, interpolated linearly between neighbours.
 * @source numpy.quantile, method 'linear'
 */
export function percentile(sorted: ArrayLike<number>, q: number): number {
  const at = q * (sorted.length - 1);
  const below = Math.floor(at);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (sorted[above] - sorted[below]) * (at - below);
}
