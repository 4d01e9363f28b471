/** The learning rate that is right for the letter and too high for the novel. */
import { type GateStatistics, gateStatistics } from './gates.js';
import { type Trained, type TrainingPlan, trainModel } from './job.js';
import { trainNovel } from './novel.js';
import { count, figure, fixed, markdown, percent, smoothed } from './report.js';
import { type Context, originalModel, save } from './shared.js';

/** A run of the novel, and what its gates have come to. */
export interface RateRow {
  readonly name: string;
  readonly run: Trained;
  readonly gates: GateStatistics;
}

/** The novel at the letter's rate: constant, falling, and with windows in the order of the text; beside its own. */
export async function diverge(context: Context): Promise<RateRow[]> {
  const { config, log } = context;
  const low = await trainNovel(context);
  const { vocabulary, texts } = low;
  const plan = { ...low.run.plan, lr: config.letterLr, patience: 0 };
  log(`\nDIVERGE  the novel at learning rate ${config.letterLr}`);
  const train = async (name: string, own: Pick<TrainingPlan, 'name'> & Partial<TrainingPlan>) => {
    const model = await originalModel(context, vocabulary.size);
    const run = await trainModel({ ...plan, ...own }, model, texts, context, 'last');
    return { name, run, gates: await gateStatistics(model, texts.validation, context.device) };
  };
  const lr = config.letterLr;
  const rows: RateRow[] = [
    {
      name: `${config.novelLr}`,
      run: low.run,
      gates: await gateStatistics(low.model, texts.validation, context.device),
    },
    await train(`${lr}`, { name: 'novel-high' }),
    await train(`${lr}, falling to 0`, { name: 'novel-falling', falling: true }),
    await train(`${lr}, windows in order`, { name: 'novel-order', shuffle: false }),
  ];
  const line = (what: string, of: (row: RateRow) => string): string[] => [what, ...rows.map(of)];
  const table = markdown(
    ['learning rate', ...rows.map(({ name }) => name)],
    [
      ...rows[1].run.epochs.map(({ step }, i) =>
        line(`training loss, up to step ${count(step)}`, ({ run }) =>
          fixed(run.epochs[i]?.train ?? Number.NaN),
        ),
      ),
      line('held-out loss at the end', ({ run }) => fixed(run.epochs.at(-1)!.validation)),
      line('best held-out loss', ({ run }) => fixed(run.best.validation)),
      line('worst step of the second half', ({ run }) =>
        fixed(Math.max(...run.losses.slice(run.losses.length / 2)), 2),
      ),
      line('recurrent weights, root of mean square', ({ gates }) => fixed(gates.recurrentSize, 3)),
      line('gates stuck open or shut', ({ gates }) => percent(gates.stuck, 1)),
    ],
  );
  await save(context, 'diverge.md', `${table}\n`);
  const curves = rows.map(({ name, run }) => smoothed(name, run.losses, 60));
  const lowest = Math.min(...curves.flatMap(({ points }) => points.map(({ y }) => y)));
  await save(
    context,
    'diverge.svg',
    figure({
      title: 'The novel at several learning rates',
      xLabel: 'step',
      yLabel: 'training loss, nats per character',
      yDomain: [Math.floor(10 * lowest - 0.5) / 10, Math.ceil(10 * lowest) / 10 + 0.9],
      series: curves,
    }),
  );
  return rows;
}
