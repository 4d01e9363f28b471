/** Repeated cross-validation of all models on the same folds, and what may be concluded from it. */
import { type Device, train } from '../../src/index.js';
import {
  at,
  type Fitted,
  type FoldIndices,
  fitModel,
  foldsOf,
  type Kind,
  KINDS,
  labelsOf,
  type Settings,
} from './fitting.js';
import { METRIC_NAMES, METRICS, type MetricName } from './metrics.js';
import type { Passenger } from './passengers.js';
import { searchSettings } from './search.js';

export interface ValidationOptions {
  readonly folds: number;
  /** How often the passengers are dealt into folds anew. */
  readonly repeats: number;
  readonly seed: number;
  /** Trials of the search in each training part; 0 for none. */
  readonly trials: number;
  /** Changes of the settings, for all models. */
  readonly changes?: Partial<Settings>;
  readonly device: Device;
  /** Hears of each model of each fold, before it is released. */
  onFold?(fold: FoldResult): Promise<void> | void;
}

/** One model, on one fold. */
export interface FoldResult {
  readonly kind: Kind;
  readonly repeat: number;
  readonly fold: number;
  readonly settings: Settings;
  readonly fitted: Fitted;
  readonly held: readonly Passenger[];
  readonly probabilities: Float64Array;
  readonly metrics: Readonly<Record<MetricName, number>>;
}

/** What cross-validation measured. */
export interface Validation {
  readonly folds: number;
  readonly repeats: number;
  /** Of each model, the figures of each fold: repeat by repeat. */
  readonly metrics: Readonly<Record<Kind, readonly Readonly<Record<MetricName, number>>[]>>;
  /** Of each model, a probability for each passenger and repeat [repeats][n], by a model that had not seen him. */
  readonly probabilities: Readonly<Record<Kind, readonly Float64Array[]>>;
  readonly settings: Readonly<Record<Kind, readonly Settings[]>>;
}

/** Trains and measures one model on one fold. Of the held-out passengers only the features are made and the fate is compared. */
export async function runFold(
  kind: Kind,
  passengers: readonly Passenger[],
  { train, test }: FoldIndices,
  seed: number,
  { trials, device, changes }: Pick<ValidationOptions, 'trials' | 'device' | 'changes'>,
): Promise<Omit<FoldResult, 'repeat' | 'fold'>> {
  const training = at(passengers, train);
  const settings = { ...(await searchSettings(kind, training, { trials, seed, device })), ...changes };
  const fitted = await fitModel(kind, settings, training, seed, device);
  const held = at(passengers, test);
  const probabilities = await fitted.predict(held);
  const labels = labelsOf(held);
  const metrics = Object.fromEntries(
    METRIC_NAMES.map((name) => [name, METRICS[name].measure(probabilities, labels)]),
  ) as Record<MetricName, number>;
  return { kind, settings, fitted, held, probabilities, metrics };
}

export async function crossValidate(
  passengers: readonly Passenger[],
  options: ValidationOptions,
): Promise<Validation> {
  const { folds: k, repeats, seed } = options;
  const forEachKind = <T>(make: () => T) =>
    Object.fromEntries(KINDS.map((kind) => [kind, make()])) as Record<Kind, T>;
  const metrics = forEachKind((): Record<MetricName, number>[] => []);
  const settings = forEachKind((): Settings[] => []);
  const probabilities = forEachKind(() =>
    Array.from({ length: repeats }, () => new Float64Array(passengers.length)),
  );
  for (let repeat = 0; repeat < repeats; repeat++) {
    const folds = foldsOf(passengers, k, seed + repeat);
    for (const [fold, indices] of folds.entries()) {
      for (const kind of KINDS) {
        const result = await runFold(kind, passengers, indices, seed + repeat, options);
        metrics[kind].push(result.metrics);
        settings[kind].push(result.settings);
        indices.test.forEach((place, i) => {
          probabilities[kind][repeat][place] = result.probabilities[i];
        });
        await options.onFold?.({ ...result, repeat, fold });
        result.fitted.release();
      }
    }
  }
  return { folds: k, repeats, metrics, probabilities, settings };
}

/** A figure of one model over all folds. */
export interface Summary {
  readonly mean: number;
  /** Corrected for folds that share training rows. */
  readonly low: number;
  readonly high: number;
}

export function summarize({ metrics, folds }: Validation, kind: Kind, name: MetricName): Summary {
  return train.correctedResampledTTest(
    metrics[kind].map((m) => m[name]),
    { testShare: 1 / (folds - 1) },
  );
}

/** How two models differ in a figure: a − b. */
export interface Comparison {
  readonly metric: MetricName;
  readonly a: Kind;
  readonly b: Kind;
  /** Over the folds. */
  readonly tTest: train.ResampledTTest;
  /** Over the passengers, of which those on one ticket are drawn together. */
  readonly bootstrap: train.PairedComparison;
  /** Folds in which a was better, worse, and as good. */
  readonly wins: readonly [better: number, worse: number, equal: number];
}

export function compare(
  passengers: readonly Passenger[],
  validation: Validation,
  a: Kind,
  b: Kind,
  metric: MetricName,
  seed = 0,
): Comparison {
  const { metrics, probabilities, repeats, folds } = validation;
  const differences = metrics[a].map((m, i) => m[metric] - metrics[b][i][metric]);
  const sign = metric === 'logLoss' ? -1 : 1;
  const count = (s: number) => differences.filter((d) => Math.sign(sign * d) === s).length;
  const once = labelsOf(passengers);
  // All repeats of a passenger are drawn with him: they are no new passengers.
  const all = <T>(of: readonly T[]): T[] => Array.from({ length: repeats }, () => of).flat();
  const flat = (kind: Kind) => Float64Array.from(probabilities[kind].flatMap((p) => [...p]));
  return {
    metric,
    a,
    b,
    tTest: train.correctedResampledTTest(differences, { testShare: 1 / (folds - 1) }),
    bootstrap: train.pairedBootstrap(METRICS[metric].measure, flat(a), flat(b), all(once), {
      groups: all(passengers.map(({ ticket, id }) => ticket ?? `passenger ${id}`)),
      resamples: 1000,
      seed,
    }),
    wins: [count(1), count(-1), count(0)],
  };
}
