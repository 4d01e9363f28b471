/** Letter 1, as the original learned it and otherwise. */
import { data } from '../../src/index.js';
import { type Trained, type TrainingPlan, trainModel, windowBatches } from './job.js';
import { count, figure, fixed, markdown } from './report.js';
import { type Context, describeModel, originalModel, planOf, save } from './shared.js';
import { encodeKnown, letters } from './text.js';

/** What the original reported, epoch by epoch. */
const REPORTED = [2.8, 2.3, 2.0, 1.8, 1.7];

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
      fixed(REPORTED[i] ?? Number.NaN, 2),
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
      reference: { name: 'reported', points: REPORTED.map((y, i) => ({ x: i + 1, y })) },
    }),
  );
  return { windows, batches, vocabulary: vocabulary.size, original, shuffled, long };
}

function curve(name: string, run: Trained, what: 'train' | 'validation', epoch: number) {
  return { name, marks: true, points: run.epochs.map((e) => ({ x: e.step / epoch, y: e[what] })) };
}
