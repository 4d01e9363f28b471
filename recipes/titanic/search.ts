/** Hyper-parameters by a search inside the training passengers. */
import type { Device } from '../../src/index.js';
import { tune } from '../../src/train/tune.js';
import { at, fitModel, foldsOf, type Kind, labelsOf, SETTINGS, type Settings } from './fitting.js';
import { logLoss } from './metrics.js';
import type { Passenger } from './passengers.js';

const SPACE = {
  network: {
    hidden: { type: 'choice', values: [[8], [16], [32]] },
    wide: { type: 'choice', values: [false, true] },
    dim: { type: 'choice', values: [2, 4, 8] },
    dropout: { type: 'uniform', min: 0.2, max: 0.6 },
    inputDropout: { type: 'choice', values: [0, 0.1, 0.2] },
    l2: { type: 'logUniform', min: 1, max: 10 },
    steps: { type: 'choice', values: [100, 150, 200] },
    lr: { type: 'logUniform', min: 0.005, max: 0.02 },
  },
  logistic: { l2: { type: 'logUniform', min: 0.1, max: 30 } },
} as const;

/** Inner folds; a trial must do well in the first to be tried in the others. */
const INNER_FOLDS = 3;
/** Networks side by side during the search: one shows well enough what a setting is worth. */
const MEMBERS = 1;

/**
 * The settings with the least log loss in cross-validation within the training passengers: whoever is held out of these is not
 * seen by the search either.
 *
 * @param trials 0 for the settings that stand here
 */
export async function searchSettings(
  kind: Kind,
  training: readonly Passenger[],
  { trials, seed, device, folder }: { trials: number; seed: number; device: Device; folder?: string },
): Promise<Settings> {
  const fixed = SETTINGS[kind];
  if (trials === 0) return fixed;
  const folds = foldsOf(training, INNER_FOLDS, seed);
  const losses = new Map<number, number[]>();
  const space = kind === 'network' ? SPACE.network : SPACE.logistic;
  const found = await tune({
    space,
    trials: kind === 'network' ? trials : Math.ceil(trials / 2),
    budget: { min: 1, max: INNER_FOLDS, eta: INNER_FOLDS },
    seed,
    folder,
    objective: async (params, { trial, budget }) => {
      const settings = { ...fixed, ...params, members: MEMBERS };
      const own = losses.get(trial) ?? [];
      losses.set(trial, own);
      for (const fold of folds.slice(own.length, budget)) {
        const fitted = await fitModel(kind, settings, at(training, fold.train), seed, device);
        const held = at(training, fold.test);
        own.push(logLoss(await fitted.predict(held), labelsOf(held)));
        fitted.release();
      }
      return own.slice(0, budget).reduce((a, b) => a + b, 0) / budget;
    },
  });
  return { ...fixed, ...found.best?.params };
}
