/** What the network would lose without a feature: the feature's values are dealt out anew among held-out passengers. */
import { data, train } from '../../src/index.js';
import { type Fitted, labelsOf } from './fitting.js';
import type { Features, FeatureTable } from './features.js';
import { accuracy } from './metrics.js';
import type { Passenger } from './passengers.js';

/** Columns that say one thing, and are shuffled together: a family whose size does not fit its parents would be new to the model. */
export const CONCEPTS: Readonly<Record<string, readonly string[]>> = {
  'sex and title': ['sex', 'title'],
  sex: ['sex'],
  title: ['title'],
  class: ['class'],
  'fate of companions': ['fate of women and children', 'fate of men'],
  'family on board': ['siblings', 'parents', 'family size', 'alone'],
  'ticket group': ['ticket group'],
  age: ['age', 'age missing'],
  fare: ['fare', 'fare missing'],
  deck: ['deck'],
  embarked: ['embarked'],
};

/** What one fold says of a concept. */
export interface Loss {
  readonly rocAuc: number;
  readonly accuracy: number;
}

/** Drops of AUC and accuracy on held-out passengers, by concept. */
export async function foldImportance(
  fitted: Fitted,
  held: readonly Passenger[],
  { shuffles = 10, seed = 0 }: { shuffles?: number; seed?: number } = {},
): Promise<Record<string, Loss>> {
  const random = new data.HostRandom(seed);
  const table = fitted.features.transform(held);
  const labels = labelsOf(held);
  const whole = await fitted.predictTable(table);
  const before = { rocAuc: train.rocAuc(whole, labels), accuracy: accuracy(whole, labels) };
  const found: Record<string, Loss> = {};
  for (const [concept, names] of Object.entries(CONCEPTS)) {
    const lost = { rocAuc: 0, accuracy: 0 };
    for (let i = 0; i < shuffles; i++) {
      const order = data.permutation(held.length, random);
      const probabilities = await fitted.predictTable(shuffled(table, fitted.features, names, order));
      lost.rocAuc += (before.rocAuc - train.rocAuc(probabilities, labels)) / shuffles;
      lost.accuracy += (before.accuracy - accuracy(probabilities, labels)) / shuffles;
    }
    found[concept] = lost;
  }
  return found;
}

/** The table with some columns in another order of rows. */
function shuffled(
  table: FeatureTable,
  { numberNames, categoryNames }: Features,
  names: readonly string[],
  order: Int32Array,
): FeatureTable {
  const mix = <A extends Float32Array | Int32Array>(values: A, columns: readonly string[]): A => {
    const mixed = values.slice() as A;
    columns.forEach((name, c) => {
      if (!names.includes(name)) return;
      for (let i = 0; i < table.rows; i++)
        mixed[i * columns.length + c] = values[order[i] * columns.length + c];
    });
    return mixed;
  };
  return {
    rows: table.rows,
    numbers: mix(table.numbers, numberNames),
    categories: mix(table.categories, categoryNames),
  };
}

/** A concept's importance over all folds, the most important first. */
export interface Importance {
  readonly concept: string;
  readonly rocAuc: train.ResampledTTest;
  readonly accuracy: train.ResampledTTest;
}

export function summarizeImportance(folds: readonly Record<string, Loss>[], k: number): Importance[] {
  const testShare = 1 / (k - 1);
  const over = (concept: string, name: keyof Loss) =>
    train.correctedResampledTTest(
      folds.map((fold) => fold[concept][name]),
      { testShare },
    );
  return Object.keys(CONCEPTS)
    .map((concept) => ({ concept, rocAuc: over(concept, 'rocAuc'), accuracy: over(concept, 'accuracy') }))
    .sort((a, b) => b.rocAuc.mean - a.rocAuc.mean);
}
