/** From settings to a trained model. */
import {
  DataError,
  type Device,
  manualSeed,
  models,
  optim,
  scope,
  type Tensor,
  tensor,
} from '../../src/index.js';
import { meanLoss, Trainer, type TrainerOptions } from '../../src/node.js';
import {
  type DigitBatch,
  DigitBatches,
  decode,
  END,
  heldOutStrings,
  type Lengths,
  PAD,
  START,
  TASKS,
  type Task,
  toBatch,
  toTensors,
  VOCAB,
} from './task.js';

/** Everything that decides a run; written to its config.json. */
export interface DigitsConfig extends Lengths {
  readonly task: Task;
  readonly dim: number;
  readonly heads: number;
  readonly layers: number;
  readonly dropout: number;
  readonly norm: 'pre' | 'post';
  readonly labelSmoothing: number;
  readonly batchSize: number;
  readonly steps: number;
  /** The highest learning rate, at the end of the warm-up; from there a cosine down to 0. */
  readonly lr: number;
  readonly warmup: number;
  readonly evaluateEvery: number;
  /** Held-out strings that the result is measured on. */
  readonly test: number;
  readonly seed: number;
  readonly device: string;
  readonly adapter: string | null;
}

export const DEFAULTS: DigitsConfig = {
  task: 'reverse',
  minLength: 4,
  maxLength: 12,
  dim: 64,
  heads: 4,
  layers: 2,
  dropout: 0,
  norm: 'pre',
  labelSmoothing: 0,
  batchSize: 64,
  steps: 1200,
  lr: 3e-3,
  warmup: 100,
  evaluateEvery: 300,
  test: 2000,
  seed: 1,
  device: 'auto',
  adapter: null,
};

/** A task for seconds: strings of up to three digits, written as they are. */
export const QUICK: DigitsConfig = {
  ...DEFAULTS,
  task: 'copy',
  minLength: 1,
  maxLength: 3,
  dim: 32,
  heads: 2,
  layers: 1,
  steps: 300,
  warmup: 50,
  lr: 3e-3,
  evaluateEvery: 100,
  test: 100,
};

/** A string, what the model wrote after reading it, and what was right. */
export interface Answer {
  readonly digits: string;
  readonly written: string;
  readonly right: string;
}

export interface DigitsJob {
  readonly model: models.Transformer;
  readonly trainer: Trainer<DigitBatch, [Tensor, Tensor]>;
  /** Held-out strings that the result is measured on. */
  readonly test: readonly string[];
  /** What the model writes, greedily or with a beam. */
  answer(strings: readonly string[], beams?: number): Promise<Answer[]>;
}

/** Strings that are decoded together. */
const DECODE_BATCH = 250;

/** @throws DataError for lengths that leave no strings. */
export function prepareDigits(
  config: DigitsConfig,
  device: Device,
  hooks: Pick<TrainerOptions<DigitBatch>, 'onProgress' | 'onEvaluate' | 'signal'> = {},
): DigitsJob {
  const { task, maxLength, dim, batchSize, steps, seed } = config;
  if (!(config.minLength >= 1 && config.minLength <= maxLength)) {
    throw new DataError(
      `digits: expected lengths with 1 ≤ minimum ≤ maximum, got ${config.minLength} and ${maxLength}`,
    );
  }
  manualSeed(seed);
  const model = new models.Transformer({
    sourceVocab: VOCAB,
    targetVocab: VOCAB,
    tieSource: true,
    dim,
    heads: config.heads,
    innerDim: 4 * dim,
    encoderLayers: config.layers,
    decoderLayers: config.layers,
    maxLength: maxLength + 2,
    padToken: PAD,
    dropout: config.dropout,
    norm: config.norm,
    labelSmoothing: config.labelSmoothing,
  });
  // The paper's schedule never comes to rest; exact answers gain from steps that become ever smaller.
  const optimizer = new optim.Adam(model.parameters(), { lr: config.lr, betas: [0.9, 0.98], eps: 1e-9 });
  const scheduler = new optim.WarmupCosineLR(optimizer, {
    warmupSteps: Math.min(config.warmup, steps),
    totalSteps: steps,
  });
  const test = heldOutStrings(config.test, config, seed);
  // A few held-out strings on the way; all of them at the end.
  const some = toBatch(task, test.slice(0, DECODE_BATCH), maxLength);

  const trainer = new Trainer<DigitBatch, [Tensor, Tensor]>({
    model,
    optimizer,
    scheduler,
    batches: new DigitBatches(task, config, batchSize, seed),
    toDevice: (batch) => toTensors(batch, device),
    loss: ([source, target]) => model.loss(source, target),
    steps,
    clipNorm: 1,
    evaluate: () =>
      meanLoss(
        [some],
        (batch) => model.loss(...toTensors(batch, device)),
        (batch) => batch.count,
      ),
    evaluateEvery: config.evaluateEvery,
    title: `Digits: ${task}, ${model.numParameters().toLocaleString('en')} parameters`,
    baselines: [{ label: 'guessing digits', loss: Math.log(10) }],
    tokensPerBatch: batchSize * (2 * maxLength + 2),
    ...hooks,
  });
  const answer = async (strings: readonly string[], beams = 1): Promise<Answer[]> => {
    const answers: Answer[] = [];
    for (let at = 0; at < strings.length; at += DECODE_BATCH) {
      const part = strings.slice(at, at + DECODE_BATCH);
      const source = scope(() =>
        tensor(toBatch(task, part, maxLength).source, { shape: [part.length, maxLength], device }),
      );
      const options = { startToken: START, endToken: END };
      const written =
        beams === 1
          ? await models.greedyDecode(model, source, options)
          : (await models.beamSearch(model, source, { ...options, beams })).map(([best]) => best.tokens);
      source.release();
      part.forEach((digits, i) => {
        answers.push({ digits, written: decode(written[i]), right: TASKS[task](digits) });
      });
    }
    return answers;
  };
  return { model, trainer, test, answer };
}

/** Share of answers that are right from the first to the last digit, and end there. */
export function exactShare(answers: readonly Answer[]): number {
  return answers.filter(({ written, right }) => written === right).length / answers.length;
}
