/** `npm run recipe:titanic`: who survived the Titanic, by logistic regression and by small networks. README.md tells more. */
import { existsSync } from 'node:fs';
import { Command } from 'commander';
import { addConfigOptions, givenSettings, SETTINGS_HELP } from '../../src/cli/config-options.js';
import { runProgram } from '../../src/cli/run-program.js';
import { DataError, type Device, openDevice } from '../../src/index.js';
import { RunFolder, saveTensors } from '../../src/node.js';
import { QUICK, TITANIC, type TitanicConfig } from './config.js';
import { similarities } from './embeddings.js';
import { fitModel, type Kind, labelsOf, type Settings } from './fitting.js';
import { foldImportance, type Loss, summarizeImportance } from './importance.js';
import { METRIC_NAMES, METRICS } from './metrics.js';
import { type Passenger, readPassengers } from './passengers.js';
import {
  formatComparisons,
  formatImportance,
  formatModels,
  formatSimilarities,
  importanceSvg,
  resultsOf,
  rocCurvesSvg,
  verdict,
} from './report.js';
import { searchSettings } from './search.js';
import { writeSubmission } from './submission.js';
import { crossValidate } from './validation.js';

const program = new Command('recipe:titanic')
  .description('compare logistic regression and small networks on the passengers of the Titanic')
  .option('--quick', 'one deal into folds, few trials: minutes become seconds')
  .option('--out <folder>', 'where run folders go', 'runs');
addConfigOptions(program, TITANIC)
  .addHelpText(
    'after',
    `
${SETTINGS_HELP}

Examples:
  $ npm run recipe:titanic -- --csv train.csv --test test.csv
  $ npm run recipe:titanic -- --quick
  $ npm run recipe:titanic -- --repeats 0 --test test.csv`,
  )
  .showHelpAfterError('(--help shows what is possible)')
  .action(start);

await runProgram(program, 'recipe:titanic');

async function start(flags: Record<string, unknown>): Promise<void> {
  const given = givenSettings(flags, TITANIC);
  const config = await TITANIC.read({
    file: flags.config as string | undefined,
    environment: process.env,
    flags: flags.quick ? { ...QUICK, ...given } : given,
  });
  const passengers = await readPassengers(findPassengers(config.csv), { labelled: true });
  checkFates(passengers, config);
  const test = config.test === null ? null : await readPassengers(config.test, { labelled: false });
  const device = await openDevice({ device: config.device, adapter: config.adapter ?? undefined });
  try {
    const run = await RunFolder.create(flags.out as string, 'titanic', config);
    describe(passengers, config, device);
    console.log(`Run folder ${run.path}\n`);
    const changes = Object.fromEntries(
      Object.entries({ members: config.members, steps: config.steps, dropout: config.dropout }).filter(
        ([, value]) => value !== null,
      ),
    );
    if (config.repeats > 0) await validate(passengers, config, changes, device, run);
    await finish(passengers, test, config, changes, device, run);
  } finally {
    await device.close();
  }
}

function findPassengers(csv: string | null): string {
  if (csv !== null) return csv;
  const found = ['data/titanic.csv', '../shared/data/titanic.csv'].find((path) => existsSync(path));
  if (found !== undefined) return found;
  throw new DataError(
    'titanic: expected passengers in data/titanic.csv, got no such file; take train.csv of https://www.kaggle.com/c/titanic/data and say --csv train.csv',
  );
}

/** @throws DataError where some fold, or all, would hold one fate only: nothing can be ranked or learned there. */
function checkFates(passengers: readonly Passenger[], { repeats, folds }: TitanicConfig): void {
  const survived = labelsOf(passengers).filter((y) => y === 1).length;
  const drowned = passengers.length - survived;
  const least = repeats > 0 ? folds : 1;
  if (Math.min(survived, drowned) >= least) return;
  throw new DataError(
    `titanic: expected at least ${least} who survived and ${least} who drowned${repeats > 0 ? ', one of each in every fold' : ''}, got ${survived} and ${drowned}`,
  );
}

function describe(passengers: readonly Passenger[], config: TitanicConfig, device: Device): void {
  const survived = labelsOf(passengers).filter((y) => y === 1).length;
  const without = (['age', 'cabin', 'fare', 'embarked'] as const).map(
    (field) => `${passengers.filter((p) => p[field] === null).length} no ${field}`,
  );
  console.log(`Device     ${device.info.name}`);
  console.log(`Passengers ${passengers.length}, ${survived} survived; ${without.join(', ')}`);
  const search =
    config.search === 0 ? 'no search' : `a search of ${config.search} trials in each training part`;
  const deals = config.repeats === 0 ? 'none' : `${config.repeats} × ${config.folds} folds`;
  console.log(`Validation ${deals}; ${search}; seed ${config.seed}`);
}

async function validate(
  passengers: readonly Passenger[],
  config: TitanicConfig,
  changes: Partial<Settings>,
  device: Device,
  run: RunFolder,
): Promise<void> {
  const { folds, repeats, seed, search, shuffles } = config;
  const importance: Record<string, Loss>[] = [];
  const validation = await crossValidate(passengers, {
    folds,
    repeats,
    seed,
    trials: search,
    changes,
    device,
    onFold: async ({ kind, repeat, fold, fitted, held, metrics, settings }) => {
      run.appendMetrics({
        step: repeat * folds + fold,
        model: kind,
        ...metrics,
        settings: JSON.stringify(settings),
      });
      if (kind !== 'network') return;
      importance.push(await foldImportance(fitted, held, { shuffles, seed: seed + importance.length }));
      const figures = METRIC_NAMES.map((name) => `${METRICS[name].title} ${metrics[name].toFixed(3)}`);
      console.log(`repeat ${repeat + 1}, fold ${fold + 1}: network ${figures.join(', ')}`);
    },
  });
  const results = resultsOf(passengers, validation, seed);
  const concepts = summarizeImportance(importance, folds);
  console.log(`\n${formatModels(results)}\n\n${formatComparisons(results)}\n\n${verdict(results)}\n`);
  console.log(`${formatImportance(concepts)}\n`);
  await run.writeText('roc.svg', rocCurvesSvg(passengers, validation));
  await run.writeText('importance.svg', importanceSvg(concepts));
  await run.writeJson('result.json', {
    ...results,
    importance: concepts,
    settings: validation.settings,
    folds: validation.metrics,
  });
}

/** The network of all passengers, and what it says of others. */
async function finish(
  passengers: readonly Passenger[],
  test: readonly Passenger[] | null,
  { search, seed }: TitanicConfig,
  changes: Partial<Settings>,
  device: Device,
  run: RunFolder,
): Promise<void> {
  const kind: Kind = 'network';
  const settings = {
    ...(await searchSettings(kind, passengers, { trials: search, seed, device })),
    ...changes,
  };
  const fitted = await fitModel(kind, settings, passengers, seed, device);
  await run.writeJson('features.json', fitted.features);
  await run.writeJson('settings.json', settings);
  await saveTensors(run.file('model.safetensors'), fitted.model.stateDict());
  for (const feature of ['title', 'deck']) {
    const alike = await similarities(fitted, feature);
    if (alike !== null) console.log(`Cosines of vectors: ${feature}\n${formatSimilarities(alike)}\n`);
  }
  if (test !== null) {
    const probabilities = await fitted.predict(test);
    await writeSubmission(run.file('submission.csv'), test, probabilities);
    const survivors = probabilities.filter((p) => p >= 0.5).length;
    console.log(`${run.file('submission.csv')}: ${survivors} of ${test.length} passengers survive`);
  }
  fitted.release();
  run.close();
}
