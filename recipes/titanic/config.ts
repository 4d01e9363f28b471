/** Settings of the recipe. */
import { z } from 'zod';
import { defineConfig, type ConfigOf } from '../../src/node.js';
import { share, whole, DEVICE_FIELDS } from '../../src/train/config.js';

export const TITANIC = defineConfig('titanic', {
  csv: [
    z.string().min(1).nullable().default(null),
    'file',
    "passengers whose fate is known, in Kaggle's columns; default: data/titanic.csv or ../shared/data/titanic.csv",
  ],
  test: [
    z.string().min(1).nullable().default(null),
    'file',
    'passengers to predict for: writes submission.csv in the run folder',
  ],
  folds: [whole(2).default(5), 'n', 'folds of the cross-validation'],
  repeats: [
    whole(0).default(5),
    'n',
    'times that the passengers are dealt into folds; 0 for no cross-validation',
  ],
  search: [
    whole(0).default(6),
    'n',
    'trials of the search in each training part; 0 for the settings of fitting.ts',
  ],
  members: [whole(1).default(5), 'n', 'networks whose probabilities are averaged'],
  steps: [whole(1).nullable().default(null), 'n', 'training steps (default: as the search finds)'],
  dropout: [
    share.nullable().default(null),
    'p',
    'share of hidden units dropped (default: as the search finds)',
  ],
  shuffles: [whole(1).default(5), 'n', "times that a feature's values are dealt out for its importance"],
  seed: [whole(0).default(1), 'n', 'the same seed repeats the same run'],
  ...DEVICE_FIELDS,
});
export type TitanicConfig = ConfigOf<typeof TITANIC>;

/** One deal into folds, fewer trials and networks. */
export const QUICK = {
  repeats: 1,
  search: 3,
  members: 3,
  shuffles: 2,
} as const satisfies Partial<TitanicConfig>;
