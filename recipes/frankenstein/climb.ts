/** The rate that is too high for the novel, held until the loss rises; beside the rate that is right. */
import { gateStatistics } from './gates.js';
import { trainModel } from './job.js';
import { novelTexts } from './novel.js';
import { count, figure, fixed, markdown, percent, smoothed } from './report.js';
import { type Context, describeModel, originalModel, planOf, save } from './shared.js';

/** What the original reported at 0.015, after each of its epochs of 12,188 steps. */
const REPORTED = [1.51, 1.51, 1.61, 1.63];
const REPORTED_STEPS = 48_752;

/** Evaluations of a run: two to an epoch of the original's four. */
const EVALUATIONS = 2 * REPORTED.length;

/** One run at a constant rate over whole passes of the novel, and what its gates have come to. */
async function longRun(context: Context, name: string, lr: number) {
  const { config, device } = context;
  const { vocabulary, ...texts } = novelTexts(context);
  const model = await originalModel(context, vocabulary.size);
  const plan = planOf(config, texts, {
    name,
    model: describeModel(config, vocabulary.size),
    lr,
    shuffle: config.order === 'shuffled',
    steps: config.climbSteps,
    epoch: Math.ceil(config.climbSteps / EVALUATIONS),
  });
  const run = await trainModel(plan, model, texts, context, 'last');
  return { lr, run, gates: await gateStatistics(model, texts.validation, device) };
}

/** Both rates for as long as the original held the high one: a table of losses, and curves. */
export async function climb(context: Context) {
  const { config, log } = context;
  log(`\nCLIMB  ${count(config.climbSteps)} steps of the novel at learning rate ${config.letterLr}`);
  const high = await longRun(context, 'climb-high', config.letterLr);
  const low = await longRun(context, 'climb-low', config.novelLr);
  const both = [high, low];
  const isTheirs = config.climbSteps === REPORTED_STEPS;
  const rows = high.run.epochs.map(({ step }, i) => [
    count(step),
    ...both.map(({ run }) => fixed(run.epochs[i].train)),
    isTheirs && i % 2 === 1 ? String(REPORTED[(i - 1) / 2]) : '–',
    ...both.map(({ run }) => fixed(run.epochs[i].validation)),
  ]);
  const [highGates, lowGates] = both.map(
    ({ gates }) => `${fixed(gates.recurrentSize, 2)}, and ${percent(gates.stuck, 1)} of the gates`,
  );
  const table = markdown(
    [
      'steps',
      `training loss at ${high.lr}`,
      `at ${low.lr}`,
      'reported',
      `held out at ${high.lr}`,
      `at ${low.lr}`,
    ],
    rows,
  );
  await save(
    context,
    'climb.md',
    `${table}\n\nIn the end the root of the mean square of the recurrent weights is ${highGates} are stuck open or shut; at ${low.lr} ${lowGates}.\n`,
  );
  const curves = both.map(({ lr, run }) => smoothed(String(lr), run.losses, 200));
  const settled = curves.flatMap(({ points }) => points.slice(points.length >> 3)).map(({ y }) => y);
  await save(
    context,
    'climb.svg',
    figure({
      title: 'A rate that is too high, held',
      xLabel: 'step',
      yLabel: 'training loss, nats per character',
      yDomain: [Math.floor(10 * Math.min(...settled)) / 10, Math.ceil(10 * Math.max(...settled) + 1) / 10],
      series: curves,
    }),
  );
  return both;
}
