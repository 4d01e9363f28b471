/** Asynchronous successive halving: which trial gets how many steps next. No clock, no files, no random numbers. */
import { DataError } from '../device/errors.js';

/** Budgets of the rungs, in steps. */
export interface RungOptions {
  /** Budget of the first rung. */
  readonly min: number;
  /** Budget of the last rung: a trial that gets there is trained in full. */
  readonly max: number;
  /** One in η goes on from each rung, with η times the budget. */
  readonly eta: number;
}

/**
 * The budgets r, rη, rη² … up to the maximum, which stands in the place of the power nearest to it.
 *
 * @returns integers in rising order, counted from the beginning of a trial
 */
export function rungBudgets({ min, max, eta }: RungOptions): number[] {
  const isWhole = (x: number) => Number.isSafeInteger(x) && x >= 1;
  if (!isWhole(min) || !isWhole(max) || min > max)
    throw new DataError(
      `tune: expected budgets of whole steps, 1 ≤ min ≤ max, got min ${min} and max ${max}`,
    );
  if (!(eta >= 2 && Number.isFinite(eta)))
    throw new DataError(`tune: expected eta of at least 2, got ${eta}`);
  const last = Math.round(Math.log(max / min) / Math.log(eta));
  return [...Array.from({ length: last }, (_, k) => Math.round(min * eta ** k)), max];
}

/** A trial that is to be trained up to a rung's budget. */
export interface Job {
  readonly trial: number;
  readonly rung: number;
  /** In steps, from the beginning of the trial. */
  readonly budget: number;
}

export interface AshaOptions {
  /** From `rungBudgets`; a single one makes it a random search. */
  readonly budgets: readonly number[];
  readonly eta: number;
  /** Trials in all. */
  readonly trials: number;
  /** Whether the best value is the largest or the smallest. */
  readonly mode: 'max' | 'min';
}

/** What a rung has heard of a trial; null for one that failed there. */
interface Entry {
  readonly trial: number;
  readonly value: number | null;
}

/**
 * The scheduler of Li et al.: a free worker takes the best trial that stands in the best 1/η of its rung up to the next one,
 * from the highest rung down; where there is none, it begins a new trial. Nobody waits for a rung to fill. A failed trial
 * counts as the worst of its rung.
 *
 * Ties go to the trial with the lower number, so the order of `next` and `report` calls decides everything. When all
 * trials have begun and none is left to go on, the best of the highest rung goes on to the maximum all the same.
 *
 * @source L. Li et al., A System for Massively Parallel Hyperparameter Tuning (MLSys 2020, arXiv 1810.05934), algorithm 2
 */
export class Asha {
  private readonly rungs: Entry[][];
  private readonly promoted: Set<number>[];
  private readonly running = new Map<number, Job>();
  private begun = 0;

  constructor(private readonly options: AshaOptions) {
    this.rungs = options.budgets.map(() => []);
    this.promoted = options.budgets.map(() => new Set());
  }

  /** Trials that have begun. */
  get trialsBegun(): number {
    return this.begun;
  }

  /** Jobs that were given out and have not been heard of. */
  jobs(): Job[] {
    return [...this.running.values()];
  }

  /** Whether no job runs and none is left. */
  get finished(): boolean {
    return this.running.size === 0 && this.choose() === null;
  }

  /** The next job for a free worker; null when there is nothing to do until a running job reports, or ever again. */
  next(): Job | null {
    const job = this.choose();
    if (job) this.start(job);
    return job;
  }

  /** Notes a job as given out: what `next` does, and what a journal says that it did. */
  start({ trial, rung }: Pick<Job, 'trial' | 'rung'>): void {
    const budget = this.options.budgets[rung];
    const isNew = trial === this.begun && rung === 0;
    const isPromotion = rung > 0 && this.rungs[rung - 1]?.some((e) => e.trial === trial && e.value !== null);
    if (budget === undefined || this.running.has(trial) || !(isNew || isPromotion))
      throw new DataError(`tune: expected a trial that can begin rung ${rung}, got trial ${trial}`);
    if (isNew) this.begun++;
    else this.promoted[rung - 1].add(trial);
    this.running.set(trial, { trial, rung, budget });
  }

  /** A job has ended with a value; one that is no number, or null, means that it failed. */
  report(trial: number, value: number | null): void {
    const job = this.running.get(trial);
    if (!job) throw new DataError(`tune: expected a running trial, got trial ${trial}`);
    this.running.delete(trial);
    this.rungs[job.rung].push({ trial, value: value !== null && Number.isNaN(value) ? null : value });
  }

  /** The trials of a rung, best first; failed ones last. */
  ranking(rung: number): readonly Entry[] {
    const sign = this.options.mode === 'max' ? -1 : 1;
    const rank = ({ value }: Entry) => (value === null ? Infinity : sign * value);
    return this.rungs[rung].toSorted(
      (a, b) =>
        Number(a.value === null) - Number(b.value === null) || compare(rank(a), rank(b)) || a.trial - b.trial,
    );
  }

  private choose(): Job | null {
    const { budgets, eta, trials } = this.options;
    const job = (trial: number, rung: number): Job => ({ trial, rung, budget: budgets[rung] });
    for (let rung = budgets.length - 2; rung >= 0; rung--) {
      const trial = this.promotable(rung, Math.floor(this.rungs[rung].length / eta));
      if (trial !== null) return job(trial, rung + 1);
    }
    if (this.begun < trials) return job(this.begun, 0);
    if (this.running.size > 0) return null;
    // The highest rung that any trial has passed: if it is not the last one, its best goes on alone.
    const highest = this.rungs.findLastIndex((entries) => entries.some(({ value }) => value !== null));
    if (highest < 0 || highest === budgets.length - 1) return null;
    const trial = this.promotable(highest, 1);
    return trial === null ? null : job(trial, highest + 1);
  }

  /** The best trial among the first `count` of a rung that has not gone on yet. */
  private promotable(rung: number, count: number): number | null {
    const best = this.ranking(rung).slice(0, count);
    return best.find(({ trial, value }) => value !== null && !this.promoted[rung].has(trial))?.trial ?? null;
  }
}

const compare = (a: number, b: number): number => (a < b ? -1 : a > b ? 1 : 0);
