/** How much each setting of a search mattered, by ranks: neither logarithms nor outliers change it. */
import { groupBy } from '../data/group-by.js';
import type { TrialResult } from './tune.js';
import type { SearchSpace } from './tune-space.js';

/** What a setting had to do with the metric. */
export interface Importance {
  readonly name: string;
  /**
   * Of numbers Spearman's ρ, −1 to 1, turned so that above 0 larger values are better. Of categories the correlation ratio of
   * ranks, 0 to 1: the root of the variance between categories by that of all. NaN where it cannot be told.
   */
  readonly value: number;
  readonly kind: 'number' | 'category';
  /** Trials that had the setting and a metric. */
  readonly trials: number;
  /** What chance alone stays within in 95 % of cases, roughly: of ρ, 1.96 / √(n − 1). */
  readonly chance: number;
}

/**
 * The importance of each setting that varies, at the lowest rung: there all trials had the same budget.
 *
 * @source C. Spearman, The Proof and Measurement of Association between Two Things (1904); for categories W. Kruskal, W. Wallis,
 *   Use of Ranks in One-Criterion Variance Analysis (1952), whose H is (n − 1) times the squared ratio
 */
export function importances(
  space: SearchSpace,
  trials: readonly TrialResult[],
  mode: 'max' | 'min',
): Importance[] {
  const sign = mode === 'max' ? 1 : -1;
  return Object.entries(space).flatMap(([name, { type }]): Importance[] => {
    if (type === 'fixed') return [];
    const kind = type === 'choice' ? 'category' : 'number';
    const these = trials.filter((t) => name in t.params && t.results.length > 0);
    const metric = ranks(these.map((t) => sign * t.results[0].value));
    const values = these.map((t) => t.params[name]);
    const n = these.length;
    if (kind === 'number') {
      const value = correlation(ranks(values as number[]), metric);
      return [{ name, value, kind, trials: n, chance: 1.96 / Math.sqrt(n - 1) }];
    }
    const groups = groupBy(metric.keys(), (i) => JSON.stringify(values[i]));
    const means = [...groups.values()].map((members) => ({
      size: members.length,
      rank: mean(members.map((i) => metric[i])),
    }));
    const all = mean(metric);
    const between = means.reduce((sum, { size, rank }) => sum + size * (rank - all) ** 2, 0);
    const total = metric.reduce((sum, rank) => sum + (rank - all) ** 2, 0);
    const value = groups.size < 2 ? Number.NaN : Math.sqrt(between / total);
    return [{ name, value, kind, trials: n, chance: Math.sqrt(chi95(groups.size - 1) / (n - 1)) }];
  });
}

/**
 * Below what χ² stays in 95 % of cases.
 *
 * @source E. Wilson, M. Hilferty, The Distribution of Chi-Square (1931)
 */
function chi95(degrees: number): number {
  if (degrees < 1) return Number.NaN;
  const spread = 2 / (9 * degrees);
  return degrees * (1 - spread + 1.645 * Math.sqrt(spread)) ** 3;
}

/** Ranks from 1, equal values sharing the mean of theirs. */
export function ranks(values: readonly number[]): number[] {
  const order = values.map((_, i) => i).sort((a, b) => values[a] - values[b]);
  const out = new Array<number>(values.length);
  for (let from = 0; from < order.length; ) {
    let to = from;
    while (to < order.length && values[order[to]] === values[order[from]]) to++;
    for (let k = from; k < to; k++) out[order[k]] = (from + 1 + to) / 2;
    from = to;
  }
  return out;
}

/** Pearson's correlation; NaN where one of the two does not vary. */
function correlation(x: readonly number[], y: readonly number[]): number {
  const [mx, my] = [mean(x), mean(y)];
  const product = (a: readonly number[], ma: number, b: readonly number[], mb: number): number =>
    a.reduce((sum, v, i) => sum + (v - ma) * (b[i] - mb), 0);
  return product(x, mx, y, my) / Math.sqrt(product(x, mx, x, mx) * product(y, my, y, my));
}

function mean(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0) / values.length;
}
