/** Node only. Hyper-parameter search: trials with random values, of which asynchronous successive halving trains the good ones on. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { DataError } from '../device/errors.js';
import { Asha, type Job, type RungOptions, rungBudgets } from './tune-asha.js';
import { type TuneEvent, TuneJournal } from './tune-journal.js';
import { type ParamsOf, parseSpace, type SearchSpace, sampleSpace } from './tune-space.js';

/** What an objective is told beside the values. */
export interface TrialContext {
  /** From 0. */
  readonly trial: number;
  /** In steps, counted from the beginning of the trial. */
  readonly budget: number;
  /** The trial's own folder, the same at each rung; null in a search without a folder. */
  readonly folder: string | null;
  /** Whether the trial was begun before: at a lower rung, or at this one by a process that ended. */
  readonly resume: boolean;
  /** Asks to stop soon; whoever throws then is asked again when the search goes on. */
  readonly signal: AbortSignal;
}

/** Trains a trial up to the budget; resolves to its metric. What it throws makes the trial a failed one. */
export type Objective<P> = (params: P, context: TrialContext) => Promise<number> | number;

export interface TuneOptions<S extends SearchSpace> {
  readonly space: S;
  objective(params: ParamsOf<S>, context: TrialContext): Promise<number> | number;
  readonly trials: number;
  /** 'asha' (default), or 'random': every trial gets the whole budget. */
  readonly scheduler?: 'asha' | 'random';
  readonly budget: RungOptions;
  /** Whether the best value is the largest or the smallest; default 'min'. */
  readonly mode?: 'max' | 'min';
  /** Trials at the same time; default 1. With more of them, which trials go on depends on who is done first. */
  readonly workers?: number;
  /** The same seed gives the same values; default 0. */
  readonly seed?: number;
  /** Where the journal is written; a search that is found there goes on. Default: nowhere. */
  readonly folder?: string;
  /** More that must be the same for a search to go on. */
  readonly identity?: Readonly<Record<string, unknown>>;
  readonly signal?: AbortSignal;
  /** Hears of events, those that the journal tells of an earlier process included. */
  onEvent?(event: TuneEvent, state: TuneResult<ParamsOf<S>>): void;
}

/** A trial, as far as it came. */
export interface TrialResult<P = Record<string, unknown>> {
  readonly trial: number;
  readonly params: P;
  /** What it came to at each rung, from the lowest up. */
  readonly results: readonly { readonly rung: number; readonly budget: number; readonly value: number }[];
  /** Why it failed. */
  readonly failed: string | null;
  /** Up to which budget it is being trained. */
  readonly running: number | null;
}

export interface TuneResult<P = Record<string, unknown>> {
  /** By number. */
  readonly trials: readonly TrialResult<P>[];
  /** The trial with the best value among those that came to the highest rung. */
  readonly best: TrialResult<P> | null;
  readonly stopped: 'finished' | 'interrupted';
  /** Steps of all trials together. */
  readonly spent: number;
  /** Budgets of the rungs. */
  readonly budgets: readonly number[];
  /** The best value so far after each result, over the steps spent. */
  readonly history: readonly { readonly spent: number; readonly trial: number; readonly best: number }[];
}

/** Name of the journal in a search's folder. */
export const JOURNAL = 'tune.jsonl';

/**
 * Searches for the best values of a space.
 *
 * @example
 * const { best } = await tune({
 *   space: { lr: { type: 'logUniform', min: 1e-4, max: 1e-1 } },
 *   objective: ({ lr }, { budget }) => lossAfter(budget, lr),
 *   trials: 27,
 *   budget: { min: 10, max: 90, eta: 3 },
 * });
 * @throws DataError for options that make no sense, and for a folder that holds another search
 */
export async function tune<const S extends SearchSpace>(
  options: TuneOptions<S>,
): Promise<TuneResult<ParamsOf<S>>> {
  const search = new Search(options);
  try {
    return await search.run();
  } finally {
    search.close();
  }
}

class Search<S extends SearchSpace> {
  private readonly space: S;
  private readonly budgets: number[];
  private readonly asha: Asha;
  private readonly journal: TuneJournal | null;
  private readonly trials: Mutable<TrialResult<ParamsOf<S>>>[] = [];
  private readonly history: { spent: number; trial: number; best: number }[] = [];
  private readonly mode: 'max' | 'min';
  private readonly workers: number;
  private spent = 0;
  /** Jobs that an earlier process left undone. */
  private readonly undone: Job[];
  private readonly signal: AbortSignal;

  constructor(private readonly options: TuneOptions<S>) {
    const { trials, workers = 1, scheduler = 'asha', mode = 'min', folder } = options;
    for (const [name, value] of Object.entries({ trials, workers })) {
      if (!(Number.isSafeInteger(value) && value >= 1))
        throw new DataError(`tune: expected ${name} to be a whole number of at least 1, got ${value}`);
    }
    this.space = parseSpace(options.space, 'the options of tune') as S;
    const all = rungBudgets(options.budget);
    this.budgets = scheduler === 'random' ? all.slice(-1) : all;
    this.asha = new Asha({ budgets: this.budgets, eta: options.budget.eta, trials, mode });
    this.mode = mode;
    this.workers = workers;
    this.signal = options.signal ?? new AbortController().signal;
    if (folder !== undefined) mkdirSync(folder, { recursive: true });
    this.journal = folder === undefined ? null : TuneJournal.open(join(folder, JOURNAL));
    try {
      this.replay(this.journal?.events ?? []);
    } catch (error) {
      this.close();
      throw error;
    }
    this.undone = this.asha.jobs();
  }

  close(): void {
    this.journal?.close();
  }

  async run(): Promise<TuneResult<ParamsOf<S>>> {
    const active = new Set<Promise<void>>();
    for (;;) {
      while (!this.signal.aborted && active.size < this.workers) {
        const undone = this.undone.shift();
        const job = undone ?? this.asha.next();
        if (!job) break;
        const done = this.work(job, undone !== undefined).finally(() => active.delete(done));
        active.add(done);
      }
      if (active.size === 0) break;
      await Promise.race(active);
    }
    this.note({ event: this.asha.finished ? 'end' : 'interrupted' });
    return this.state();
  }

  private async work(job: Job, again: boolean): Promise<void> {
    const params = sampleSpace(this.space, this.options.seed ?? 0, job.trial);
    const { folder: base } = this.options;
    const folder = base === undefined ? null : trialFolder(base, job.trial);
    if (!again) this.note({ event: 'start', ...job, params: params as never });
    const began = performance.now();
    const seconds = () => Math.round(performance.now() - began) / 1000;
    let outcome: { value: number } | { reason: string };
    try {
      if (folder) mkdirSync(folder, { recursive: true });
      const context = { ...job, folder, resume: again || job.rung > 0, signal: this.signal };
      const value = await this.options.objective(params, context);
      outcome = Number.isFinite(value) ? { value } : { reason: `the metric is ${value}` };
    } catch (error) {
      // Stopped halfway: the job stays undone.
      if (this.signal.aborted) return;
      outcome = { reason: error instanceof Error ? error.message : String(error) };
    }
    const event = 'value' in outcome ? 'result' : 'failed';
    this.asha.report(job.trial, 'value' in outcome ? outcome.value : null);
    this.note({ event, ...job, ...outcome, seconds: seconds() } as TuneEvent);
  }

  /** Brings the scheduler to where an earlier process left it. */
  private replay(events: readonly TuneEvent[]): void {
    const search = JSON.parse(JSON.stringify(this.identity()));
    if (events.length === 0) {
      this.note({ event: 'begin', search });
      return;
    }
    events.forEach((event, i) => {
      const where = `${this.journal!.path}:${i + 1}`;
      if ((i === 0) !== (event.event === 'begin'))
        throw new DataError(`tune: ${where}: expected a journal that begins once, got ${event.event}`);
      if (event.event === 'begin' && JSON.stringify(event.search) !== JSON.stringify(search)) {
        throw new DataError(
          `tune: expected the search that ${this.journal!.path} began with, got another one: ${difference(event.search, search)}; take another folder`,
        );
      }
      try {
        if (event.event === 'start') this.asha.start(event);
        if (event.event === 'result') this.asha.report(event.trial, event.value);
        if (event.event === 'failed') this.asha.report(event.trial, null);
      } catch (cause) {
        throw new DataError(`${(cause as Error).message} at ${where}`, { cause });
      }
      this.take(event);
    });
    this.note({ event: 'resume' });
  }

  private identity(): Record<string, unknown> {
    const { space, options, mode } = this;
    const { trials, seed = 0, scheduler = 'asha', budget, identity } = options;
    return { space, trials, seed, scheduler, budget, mode, ...identity };
  }

  private note(event: TuneEvent): void {
    this.journal?.append(event);
    this.take(event);
  }

  private take(event: TuneEvent): void {
    if (event.event === 'start') {
      this.trials[event.trial] ??= {
        trial: event.trial,
        params: event.params as ParamsOf<S>,
        results: [],
        failed: null,
        running: null,
      };
      this.trials[event.trial].running = event.budget;
    }
    if (event.event === 'result' || event.event === 'failed') {
      const trial = this.trials[event.trial];
      const before = trial.results.at(-1)?.budget ?? 0;
      trial.running = null;
      this.spent += event.budget - before;
      if (event.event === 'failed') trial.failed = event.reason;
      else {
        const { rung, budget, value } = event;
        trial.results = [...trial.results, { rung, budget, value }];
        const best = Math[this.mode](value, this.history.at(-1)?.best ?? value);
        this.history.push({ spent: this.spent, trial: event.trial, best });
      }
    }
    this.options.onEvent?.(event, this.state());
  }

  private state(): TuneResult<ParamsOf<S>> {
    const trials = this.trials.map((t) => ({ ...t }));
    return {
      trials,
      best: rankTrials(trials, this.mode).find((t) => t.results.length > 0) ?? null,
      stopped: this.asha.finished ? 'finished' : 'interrupted',
      spent: this.spent,
      budgets: this.budgets,
      history: [...this.history],
    };
  }
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** The folder of a trial in that of its search. */
export function trialFolder(folder: string, trial: number): string {
  return join(folder, 'trials', String(trial).padStart(3, '0'));
}

/** Trials, the best first: those of higher rungs before all others, since only equal budgets compare. */
export function rankTrials<T extends TrialResult<unknown>>(trials: readonly T[], mode: 'max' | 'min'): T[] {
  const sign = mode === 'max' ? -1 : 1;
  const last = (t: T) => t.results.at(-1);
  return trials.toSorted(
    (a, b) =>
      (last(b)?.rung ?? -1) - (last(a)?.rung ?? -1) ||
      sign * ((last(a)?.value ?? 0) - (last(b)?.value ?? 0)) ||
      a.trial - b.trial,
  );
}

/** The first field in which two searches differ. */
function difference(a: unknown, b: unknown): string {
  const [before, now] = [a, b] as Record<string, unknown>[];
  const name = Object.keys({ ...before, ...now }).find(
    (key) => JSON.stringify(before[key]) !== JSON.stringify(now[key]),
  );
  if (name === undefined) return 'the order of its fields differs';
  return `${name} was ${JSON.stringify(before[name])} and is ${JSON.stringify(now[name])}`;
}
