/** The whole novel. */
import { DataError, data, type models } from '../../src/index.js';
import { type Trained, type TrainingData, trainModel, windowBatches } from './job.js';
import { count, figure, fixed, markdown, percent, smoothed } from './report.js';
import { type Context, describeModel, originalModel, planOf, save } from './shared.js';

/** What the original reported, of its first epoch and its last, of 12,188 steps each. */
const REPORTED = [1.5216, ...new Array<number>(8).fill(Number.NaN), 1.2887];

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

/** Trains on the whole novel, or finds the run that did. */
export async function trainNovel(context: Context): Promise<NovelResult> {
  const { config } = context;
  const { vocabulary, ...texts } = novelTexts(context);
  const { windows, batches } = windowBatches(texts.train, config);
  const epoch = Math.max(1, Math.round(batches * config.share));
  const model = await originalModel(context, vocabulary.size);
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
  return { windows, batches, vocabulary, texts, run, model };
}

/** The whole novel: a table of epochs, and curves. */
export async function novel(context: Context): Promise<NovelResult> {
  const { config, log } = context;
  log('\nNOVEL');
  const result = await trainNovel(context);
  const { windows, batches, vocabulary, texts, run } = result;
  const described =
    `${count(texts.train.length)} characters to learn from, ${vocabulary.size} different: ${count(windows)} windows, ${count(batches)} batches; ${count(texts.validation.length)} characters held out. ` +
    `${count(run.parameters)} parameters, learning rate ${config.novelLr}, ${percent(config.share, 0)} of the windows per epoch.`;
  const table = epochTable(run, config.share === 1 ? REPORTED : []);
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
        name: 'reported after 121,880 steps: 1.29',
        points: [0, run.plan.steps].map((x) => ({ x, y: REPORTED[9] })),
      },
    }),
  );
  return result;
}
