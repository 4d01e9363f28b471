/** From training passengers and settings to a model that can be asked. */
import { DataError, data, type Device, manualSeed } from '../../src/index.js';
import { Features, type FeatureSet, type FeatureTable } from './features.js';
import {
  LogisticRegression,
  Networks,
  type NetworkShape,
  predict,
  type Scorer,
  type Training,
  train,
} from './models.js';
import type { Passenger } from './passengers.js';

/** What is compared. */
export const KINDS = ['plain', 'logistic', 'network'] as const;
export type Kind = (typeof KINDS)[number];

/** As tables and plots say it. */
export const TITLES: Readonly<Record<Kind, string>> = {
  plain: 'logistic regression, columns as they are',
  logistic: 'logistic regression, engineered features',
  network: 'network, engineered features',
};
const FEATURE_SETS: Readonly<Record<Kind, FeatureSet>> = {
  plain: 'raw',
  logistic: 'engineered',
  network: 'engineered',
};

/** Everything about a model that is not learned. */
export interface Settings extends Training, NetworkShape {}

/** What a search does not change, and where there is no search. */
export const SETTINGS: Readonly<Record<Kind, Settings>> = (() => {
  const network: Settings = {
    steps: 150,
    lr: 0.01,
    l2: 3,
    members: 5,
    dim: 4,
    hidden: [16],
    dropout: 0.4,
    inputDropout: 0.1,
    wide: true,
  };
  const logistic: Settings = { ...network, steps: 300, lr: 0.1, members: 1 };
  return { plain: logistic, logistic, network };
})();

/** A trained model with the features it was trained on. */
export interface Fitted {
  readonly features: Features;
  readonly model: Scorer;
  /** @returns probabilities of having survived [n] */
  predict(passengers: readonly Passenger[]): Promise<Float64Array>;
  predictTable(table: FeatureTable): Promise<Float64Array>;
  /** Gives the model's memory back. */
  release(): void;
}

/** Trains on these passengers, and on nothing else. The same seed gives the same model. */
export async function fitModel(
  kind: Kind,
  settings: Settings,
  training: readonly Passenger[],
  seed: number,
  device: Device,
): Promise<Fitted> {
  const labels = labelsOf(training);
  const features = Features.fit(training, FEATURE_SETS[kind]);
  const table = features.transform(training);
  const sizes = {
    numbers: features.numberNames.length,
    categories: features.encoders.map(({ size }) => size),
  };
  manualSeed(seed);
  const model: Scorer =
    kind === 'network' ? new Networks(sizes, settings, device) : new LogisticRegression(sizes, device);
  await train(model, table, labels, settings, device);
  return {
    features,
    model,
    predict: (passengers) => predict(model, features.transform(passengers), device),
    predictTable: (given) => predict(model, given, device),
    release: () => [...model.parameters(), ...model.buffers()].forEach((t) => t.release()),
  };
}

/** Who survived [n]. @throws DataError where somebody's fate is not known */
export function labelsOf(passengers: readonly Passenger[]): (0 | 1)[] {
  return passengers.map(({ id, survived }) => {
    if (survived === null) throw new DataError(`titanic: expected the fate of passenger ${id}, got nothing`);
    return survived;
  });
}

/** Passengers by their place in a list. */
export interface FoldIndices {
  readonly train: readonly number[];
  readonly test: readonly number[];
}

/** k folds with equal shares of survivors, the same for the same seed. */
export function foldsOf(passengers: readonly Passenger[], k: number, seed: number): FoldIndices[] {
  const labels = labelsOf(passengers);
  const places = passengers.map(({ id }, index) => ({ index, group: String(id), label: labels[index] }));
  const index = (place: { index: number }) => place.index;
  return data
    .kFolds(places, k, { seed })
    .map(({ train, test }) => ({ train: train.map(index), test: test.map(index) }));
}

/** The elements at some places. */
export function at<T>(all: readonly T[], places: readonly number[]): T[] {
  return places.map((i) => all[i]);
}
