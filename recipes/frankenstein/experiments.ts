/** The letter, the novel, and the learning rate that is too high for the novel. */
import { readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { DataError, data, manualSeed, models } from '../../src/index.js';
import type { FrankensteinConfig } from './config.js';
import { type GateStatistics, gateStatistics } from './gates.js';
import {
  digestOf,
  type Trained,
  type TrainingData,
  type TrainingPlan,
  trainModel,
  type Workplace,
  windowBatches,
} from './job.js';
import { count, figure, fixed, markdown, percent, smoothed } from './report.js';
import { encodeKnown, letters, type Source } from './text.js';

/** What the original reported, epoch by epoch; of the novel only its ends. */
export const REPORTED = {
  letter: [2.8, 2.3, 2.0, 1.8, 1.7],
  novel: [1.5216, ...new Array<number>(8).fill(Number.NaN), 1.2887],
  diverging: [1.51, 1.51, 1.61, 1.63],
} as const;

export interface Context extends Workplace {
  readonly config: FrankensteinConfig;
  readonly source: Source;
  /** A page that takes tables and figures; null for none. */
  readonly readme: string | null;
}

/** Saves a figure or a table beside the run folders; tables are shown as well. */
export async function save({ out, log, readme }: Context, name: string, content: string): Promise<void> {
  if (name.endsWith('.md')) log(`\n${content}`);
  await writeFile(join(out, name), content);
  if (readme === null) return;
  if (name.endsWith('.svg')) await writeFile(join(dirname(readme), name), content);
  else await writeFile(readme, withSection(await readFile(readme, 'utf8'), name.slice(0, -3), content));
}

/** A page with another text between `<!-- name -->` and `<!-- /name -->`. */
export function withSection(page: string, name: string, content: string): string {
  const [begin, end] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
  const [from, to] = [page.indexOf(begin), page.indexOf(end)];
  if (from < 0 || to < from)
    throw new DataError(`frankenstein: expected ${begin} … ${end} in the README, got none`);
  return `${page.slice(0, from + begin.length)}\n${content.trim()}\n${page.slice(to)}`;
}

/** The model of the original, on the device. */
export async function originalModel(
  { config, device }: Pick<Context, 'config' | 'device'>,
  vocabSize: number,
  hidden = config.hidden,
): Promise<models.CharLSTM> {
  manualSeed(config.seed);
  const model = new models.CharLSTM({ vocabSize, embedding: config.embedding, hidden });
  return (await model.to(device)) as models.CharLSTM;
}

/** What all plans of a configuration have in common. */
export function planOf(
  config: FrankensteinConfig,
  texts: TrainingData,
  own: Pick<TrainingPlan, 'name' | 'model' | 'lr' | 'steps' | 'epoch'> & Partial<TrainingPlan>,
): TrainingPlan {
  const { window, batchSize, seed } = config;
  const digest = digestOf(texts);
  return {
    window,
    batchSize,
    seed,
    digest,
    shuffle: true,
    falling: false,
    clipNorm: null,
    patience: 0,
    ...own,
  };
}

function describeModel({ embedding, hidden }: FrankensteinConfig, vocabSize: number): string {
  return `LSTM ${embedding} → ${hidden}, ${vocabSize} characters`;
}

/** A table of epochs beside what was reported. */
function epochTable(run: Trained, reported: readonly number[]): string {
  const rows = run.epochs.map(({ step, train, validation }, i) => [
    String(i + 1),
    count(step),
    fixed(train),
    reported[i] === undefined || Number.isNaN(reported[i]) ? '–' : String(reported[i]),
    fixed(validation),
  ]);
  return markdown(['epoch', 'steps', 'training loss', 'reported', 'held-out loss'], rows);
}

export interface LetterResult {
  readonly windows: number;
  readonly batches: number;
  readonly vocabulary: number;
  /** As the original did it: windows in the order of the text. */
  readonly original: Trained;
  /** The same, shuffled. */
  readonly shuffled: Trained;
  /** Shuffled, at the rate of the novel, until the held-out loss has stopped falling. */
  readonly long: Trained;
}

/** Letter 1 as the original learned it; then shuffled; then at a lower rate with early stopping. */
export async function letter(context: Context): Promise<LetterResult> {
  const { config, source, log } = context;
  const parts = letters(source.text);
  const vocabulary = data.CharVocabulary.fromText(parts.first);
  const heldOut = encodeKnown(vocabulary, parts.second);
  const texts = { train: vocabulary.encode(parts.first), validation: heldOut.ids };
  const { windows, batches } = windowBatches(texts.train, config);
  const model = describeModel(config, vocabulary.size);
  log(`\nLETTER  ${parts.from}`);
  const run = async (
    own: Pick<TrainingPlan, 'name' | 'lr'> & Partial<TrainingPlan>,
    epochs: number,
  ): Promise<Trained> =>
    trainModel(
      planOf(config, texts, { model, steps: epochs * batches, epoch: batches, ...own }),
      await originalModel(context, vocabulary.size),
      texts,
      context,
    );
  const original = await run({ name: 'letter', lr: config.letterLr, shuffle: false }, config.letterEpochs);
  const shuffled = await run({ name: 'letter-shuffled', lr: config.letterLr }, config.letterEpochs);
  const { patience } = config;
  const long = await run({ name: 'letter-long', lr: config.novelLr, patience }, config.longEpochs);
  const described =
    `${count(texts.train.length)} characters, ${vocabulary.size} different: ${count(windows)} windows, ${count(batches)} batches per epoch, ` +
    `${count(original.parameters)} parameters. Held out: ${count(texts.validation.length)} characters of the text behind it (${heldOut.left} more, which the letter lacks, are left out).`;
  const table = markdown(
    ['epoch', 'reported', 'in order', 'shuffled', 'in order, held out', 'shuffled, held out'],
    original.epochs.map((e, i) => [
      String(i + 1),
      fixed(REPORTED.letter[i] ?? Number.NaN, 2),
      fixed(e.train, 2),
      fixed(shuffled.epochs[i].train, 2),
      fixed(e.validation, 2),
      fixed(shuffled.epochs[i].validation, 2),
    ]),
  );
  const stopped =
    `At learning rate ${config.novelLr}, shuffled, for at most ${config.longEpochs} epochs: ${long.stopped} after epoch ${long.epochs.length}; ` +
    `the best held-out loss was ${fixed(long.best.validation, 2)}, after epoch ${long.best.step / batches}.`;
  await save(context, 'letter.md', `${described}\n\n${table}\n\n${stopped}\n`);
  await save(
    context,
    'letter.svg',
    figure({
      title: 'Letter 1: losses per epoch',
      xLabel: 'epoch',
      yLabel: 'nats per character',
      yDomain: [0, 4],
      series: [
        curve('in order', original, 'train', batches),
        curve('shuffled', shuffled, 'train', batches),
        curve('shuffled, held out', shuffled, 'validation', batches),
        curve(`shuffled, at ${config.novelLr}`, long, 'train', batches),
        curve('its held-out loss', long, 'validation', batches),
      ],
      reference: { name: 'reported', points: REPORTED.letter.map((y, i) => ({ x: i + 1, y })) },
    }),
  );
  return { windows, batches, vocabulary: vocabulary.size, original, shuffled, long };
}

function curve(name: string, run: Trained, what: 'train' | 'validation', epoch: number) {
  return { name, marks: true, points: run.epochs.map((e) => ({ x: e.step / epoch, y: e[what] })) };
}

/** The novel as ids, its end held out. */
export function novelTexts({ config, source }: Pick<Context, 'config' | 'source'>) {
  const vocabulary = data.CharVocabulary.fromText(source.text);
  const { train, validation } = data.splitText(vocabulary.encode(source.text), {
    validation: config.validation,
  });
  if (validation.length < config.promptLength + config.continuation) {
    throw new DataError(
      `frankenstein: expected a held-out text of at least ${config.promptLength + config.continuation} characters, got ${validation.length}; use a longer text or --validation`,
    );
  }
  return { vocabulary, train, validation };
}

export interface NovelResult {
  readonly windows: number;
  readonly batches: number;
  readonly vocabulary: data.CharVocabulary;
  readonly texts: TrainingData;
  readonly run: Trained;
  /** With the weights of its best evaluation. */
  readonly model: models.CharLSTM;
}

/** The whole novel. */
export async function novel(context: Context): Promise<NovelResult> {
  const { config, log } = context;
  const { vocabulary, ...texts } = novelTexts(context);
  const { windows, batches } = windowBatches(texts.train, config);
  const epoch = Math.max(1, Math.round(batches * config.share));
  const model = await originalModel(context, vocabulary.size);
  log('\nNOVEL');
  const run = await trainModel(
    planOf(config, texts, {
      name: 'novel',
      model: describeModel(config, vocabulary.size),
      lr: config.novelLr,
      shuffle: config.order === 'shuffled',
      steps: config.novelEpochs * epoch,
      epoch,
      patience: config.patience,
    }),
    model,
    texts,
    context,
  );
  const described =
    `${count(texts.train.length)} characters to learn from, ${vocabulary.size} different: ${count(windows)} windows, ${count(batches)} batches; ${count(texts.validation.length)} characters held out. ` +
    `${count(run.parameters)} parameters, learning rate ${config.novelLr}, ${percent(config.share, 0)} of the windows per epoch.`;
  const table = epochTable(run, config.share === 1 ? REPORTED.novel : []);
  await save(context, 'novel.md', `${described}\n\n${table}\n`);
  await save(
    context,
    'novel.svg',
    figure({
      title: `The novel: ${count(run.plan.steps)} steps at ${config.novelLr}`,
      xLabel: 'step',
      yLabel: 'nats per character',
      yDomain: [1, 3],
      series: [
        smoothed('training', run.losses),
        { name: 'held out', marks: true, points: run.epochs.map((e) => ({ x: e.step, y: e.validation })) },
      ],
      reference: {
        name: 'reported after one epoch and after ten, of 12,188 steps each: 1.52, 1.29',
        points: [1.5216, 1.5216].map((y, i) => ({ x: i * run.plan.steps, y })),
      },
    }),
  );
  return { windows, batches, vocabulary, texts, run, model };
}

/** A run of the novel, and what its gates have come to. */
export interface RateRow {
  readonly name: string;
  readonly run: Trained;
  readonly gates: GateStatistics;
}

/** The novel at the letter's rate: constant, falling, and with windows in the order of the text; beside its own. */
export async function diverge(context: Context): Promise<RateRow[]> {
  const { config, log } = context;
  const low = await novel(context);
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
