/** One text, six models, the same number of characters read. */
import {
  crossEntropy,
  data,
  type Device,
  manualSeed,
  models,
  type nn,
  noGrad,
  scope,
  tensor,
} from '../../src/index.js';
import { sampleText } from '../../src/node.js';
import { AttentionLSTM } from './attention-lstm.js';
import { readOn } from './decode.js';
import { type Trained, type TrainingData, trainModel, type WindowModel } from './job.js';
import { novelTexts } from './novel.js';
import { count, figure, fixed, markdown, oneLine, smoothed } from './report.js';
import { type Context, planOf, save } from './shared.js';
import { SpellingVocabulary } from './words.js';

/** Of the word model's tokens, 83 are characters. */
const WORDS = 2048;
/** All models learn at the rate of the novel, falling to 0, with gradients of at most this norm. */
const CLIP_NORM = 1;
const SAMPLE_LENGTH = 160;

interface Contender {
  readonly name: string;
  readonly description: string;
  readonly model: WindowModel;
  /** Ids of the text for this model, and how many characters an id stands for. */
  readonly texts: TrainingData;
  readonly charactersPerToken: { readonly train: number; readonly validation: number };
  /** Continues a text. */
  sample(prompt: string): Promise<string>;
}

export interface CompareRow {
  readonly name: string;
  readonly parameters: number;
  /** Nats per character, of held-out windows that each begin with nothing known. */
  readonly windows: number;
  /** The same with the state carried on through the whole text; null for models that cannot. */
  readonly carried: number | null;
  readonly processorSeconds: number | null;
  readonly sample: string;
  readonly run: Trained;
}

/** Trains all of them. */
export async function compare(context: Context): Promise<CompareRow[]> {
  const { config, log } = context;
  const { vocabulary, ...texts } = novelTexts(context);
  const held = vocabulary.decode(texts.validation);
  const prompt = held.slice(0, config.promptLength);
  log('\nCOMPARE');
  const rows: CompareRow[] = [];
  for (const make of contenders(context, vocabulary, texts)) {
    const { name, description, model, texts: ids, charactersPerToken, sample } = await make();
    const steps = Math.max(1, Math.round(config.compareSteps / charactersPerToken.train));
    const plan = planOf(config, ids, {
      name: `compare-${name}`,
      model: description,
      lr: config.novelLr,
      falling: true,
      clipNorm: CLIP_NORM,
      steps,
      epoch: Math.max(1, Math.ceil(steps / 5)),
    });
    const run = await trainModel(plan, model, ids, context);
    rows.push({
      name: description,
      parameters: run.parameters,
      windows: run.best.validation / charactersPerToken.validation,
      carried:
        model instanceof models.CharLSTM
          ? (await carriedLoss(model, ids.validation, context)) / charactersPerToken.validation
          : null,
      processorSeconds: run.processorSeconds,
      sample: await sample(prompt),
      run,
    });
  }
  const table = markdown(
    ['model', 'parameters', 'held-out loss, windows', 'state carried on', 'processor seconds'],
    rows.map((r) => [
      r.name,
      count(r.parameters),
      fixed(r.windows),
      r.carried === null ? '–' : fixed(r.carried),
      r.processorSeconds === null ? '–' : r.processorSeconds.toFixed(0),
    ]),
  );
  const samples = markdown(
    ['model', 'sample at temperature 0.8'],
    rows.map((r) => [r.name, oneLine(r.sample)]),
  );
  const budget = `${count(config.compareSteps)} steps of ${config.batchSize} × ${config.window} characters, or as many characters in words; Adam at ${config.novelLr} falling to 0, gradients clipped at ${CLIP_NORM}.`;
  await save(context, 'compare.md', `${budget}\n\n${table}\n\nPrompt: ${oneLine(prompt)}\n\n${samples}\n`);
  await save(
    context,
    'compare.svg',
    figure({
      title: 'The same text, six models',
      xLabel: 'share of the characters read',
      yLabel: 'training loss, nats per character',
      yDomain: [1, 3],
      series: rows.map(({ name, run, windows }) => {
        const perToken = run.best.validation / windows;
        const { points } = smoothed(name, run.losses, 60);
        return { name, points: points.map(({ x, y }) => ({ x: x / run.losses.length, y: y / perToken })) };
      }),
    }),
  );
  return rows;
}

/** Makers of the models, each seeded alike. */
function contenders(
  { config, device }: Context,
  vocabulary: data.CharVocabulary,
  texts: TrainingData,
): (() => Promise<Contender>)[] {
  const { seed, embedding, hidden, window, continuation } = config;
  const ready = async <M extends nn.Module>(make: () => M): Promise<M> => {
    manualSeed(seed);
    return (await make().to(device)) as M;
  };
  const length = Math.min(SAMPLE_LENGTH, continuation);
  const characters = { texts, charactersPerToken: { train: 1, validation: 1 } };
  const written = { temperature: 0.8, seed, maxNewTokens: length };
  const lstm = (size: number) => async (): Promise<Contender> => {
    const model = await ready(
      () => new models.CharLSTM({ vocabSize: vocabulary.size, embedding, hidden: size }),
    );
    return {
      ...characters,
      name: `lstm-${size}`,
      description: `LSTM, ${size} hidden`,
      model,
      sample: (prompt) => continued(model, vocabulary, prompt, written),
    };
  };
  return [
    // 128 and 256 where the first has 96.
    lstm(hidden),
    lstm(Math.round((hidden * 4) / 3)),
    lstm(Math.round((hidden * 8) / 3)),
    async () => {
      const learned = vocabulary.decode(texts.train);
      const heldOut = vocabulary.decode(texts.validation);
      const words = SpellingVocabulary.fromText(vocabulary.characters, learned, WORDS);
      const ids = { train: words.encode(learned), validation: words.encode(heldOut) };
      const model = await ready(() => new models.CharLSTM({ vocabSize: words.size, embedding, hidden }));
      return {
        name: 'words',
        description: `LSTM over ${count(words.size)} words and characters`,
        model,
        texts: ids,
        charactersPerToken: {
          train: learned.length / ids.train.length,
          validation: heldOut.length / ids.validation.length,
        },
        sample: (prompt) =>
          continued(model, words, prompt, { ...written, maxNewTokens: Math.ceil(length / 3) }, length),
      };
    },
    async () => {
      const model = await ready(() => new AttentionLSTM(vocabulary.size, embedding, hidden));
      return {
        ...characters,
        name: 'attention',
        description: `LSTM, ${hidden} hidden, with attention`,
        model,
        sample: (prompt) => rereading(model, vocabulary, device, prompt, { length, window, seed }),
      };
    },
    async () => {
      // Two blocks of half the width have about as many weights.
      const dim = 4 * Math.max(1, Math.round(hidden / 8));
      const model = await ready(
        () =>
          new models.CharTransformer({
            vocabSize: vocabulary.size,
            blockSize: window,
            layers: 2,
            heads: 4,
            dim,
            dropout: 0,
          }),
      );
      return {
        ...characters,
        name: 'transformer',
        description: `Transformer, 2 layers of width ${dim}`,
        model,
        sample: (prompt) => sampleText(model, vocabulary, device, { length, prompt, seed }),
      };
    },
  ];
}

/** Text by the state, from character to character. */
async function continued(
  model: models.CharLSTM,
  vocabulary: { encode(text: string): Int32Array; decode(ids: ArrayLike<number>): string },
  prompt: string,
  options: models.GenerateOptions,
  length = Number.POSITIVE_INFINITY,
): Promise<string> {
  const ids: number[] = [];
  for await (const { token } of models.generate(model, [vocabulary.encode(prompt)], options)) ids.push(token);
  return vocabulary.decode(ids).slice(0, length);
}

/** Text of a model without a state that could be carried: it reads the last window again for each character. */
async function rereading(
  model: AttentionLSTM,
  vocabulary: data.CharVocabulary,
  device: Device,
  prompt: string,
  { length, window, seed }: { length: number; window: number; seed: number },
): Promise<string> {
  const random = new data.HostRandom(seed);
  const ids = [...vocabulary.encode(prompt)];
  const start = ids.length;
  for (let i = 0; i < length; i++) {
    const context = Int32Array.from(ids.slice(-window));
    const p = scope(() =>
      noGrad(() =>
        model
          .forward(tensor(context, { shape: [1, context.length], device }))
          .select(1, -1)
          .div(0.8)
          .softmax(-1)
          .contiguous(),
      ),
    );
    const weights = await p.data();
    p.release();
    let rest = random.uniform();
    const at = Array.from(weights).findIndex((w) => (rest -= w) < 0);
    ids.push(at < 0 ? weights.length - 1 : at);
  }
  return vocabulary.decode(ids.slice(start));
}

/** Nats per token of a text that is read from its beginning to its end with one state. */
export async function carriedLoss(
  model: models.CharLSTM,
  ids: Int32Array,
  { device, config }: Pick<Context, 'device' | 'config'>,
): Promise<number> {
  const parts = await readOn(model, ids, config.window, device, (logits, targets) =>
    crossEntropy(logits.reshape([targets.shape[0], -1]), targets),
  );
  return parts.reduce((sum, p) => sum + p.value * p.count, 0) / (ids.length - 1);
}
