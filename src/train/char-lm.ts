/** Node only. The main job: a character-level Transformer on a novel, from text to run folder. */
import { noGrad } from '../autograd/mode.js';
import { bigramLoss, unigramLoss } from '../data/ngram.js';
import { type Novel, readNovel } from '../data/novel.js';
import { HostRandom } from '../data/random.js';
import { splitText } from '../data/text.js';
import { CharVocabulary } from '../data/vocabulary.js';
import { DataError } from '../device/errors.js';
import type { Device } from '../device/types.js';
import { CharTransformer, type CharTransformerConfig } from '../models/char-transformer.js';
import { AdamW } from '../optim/adam.js';
import { WarmupCosineLR } from '../optim/scheduler.js';
import { tensor } from '../tensor/factories.js';
import { scope } from '../tensor/lifetime.js';
import { manualSeed } from '../tensor/random.js';
import type { Tensor } from '../tensor/tensor.js';
import { consecutiveWindows, RandomWindows, type TokenBatch, toTensors } from './batches.js';
import { meanLoss, type Precision, Trainer, type TrainerOptions } from './trainer.js';

/** Everything that decides a run; written to its config.json. */
export interface CharLMConfig extends Omit<CharTransformerConfig, 'vocabSize'> {
  /** Path of the text; null for Moby-Dick. */
  readonly text: string | null;
  /** Windows per step. */
  readonly batchSize: number;
  readonly steps: number;
  /** Peak learning rate; warm-up over the first 5 % of the steps, then a cosine down to a tenth. */
  readonly lr: number;
  readonly weightDecay: number;
  readonly clipNorm: number;
  readonly evaluateEvery: number;
  /** Evaluations without a new best before it stops; 0 for never. */
  readonly patience: number;
  /** Share of the text, at its end, held out for validation. */
  readonly validation: number;
  readonly seed: number;
  /** Characters of each sample. */
  readonly sampleLength: number;
  /** Where it ran: 'auto', 'webgpu' or 'cpu', and which adapter. */
  readonly device: string;
  readonly adapter: string | null;
  /** 'mixed' computes matrix products in float16. */
  readonly precision: Precision;
  /** Repeat the first step's work at the others instead of running its code again. */
  readonly capture: boolean;
  /** SHA-256 of the text. */
  readonly digest: string;
}

/** What does not depend on the device. */
export const SHARED = {
  text: null,
  weightDecay: 0.1,
  clipNorm: 1,
  patience: 0,
  validation: 0.1,
  seed: 1,
  device: 'auto',
  adapter: null,
  precision: 'float32',
  capture: true,
  digest: '',
} as const;

/** For machines without a GPU: under 4 minutes on two cores. */
export const SMALL: CharLMConfig = {
  ...SHARED,
  blockSize: 64,
  layers: 2,
  heads: 4,
  dim: 96,
  dropout: 0,
  batchSize: 16,
  steps: 2400,
  lr: 3e-3,
  evaluateEvery: 600,
  sampleLength: 160,
};

/** For a GPU: the size of nanoGPT's character model. */
export const LARGE: CharLMConfig = {
  ...SHARED,
  blockSize: 256,
  layers: 6,
  heads: 6,
  dim: 384,
  dropout: 0.2,
  batchSize: 64,
  steps: 5000,
  lr: 1e-3,
  evaluateEvery: 250,
  sampleLength: 320,
};

/** The settings for a device: software ones get the small model. */
export function defaultConfig(device: Device): CharLMConfig {
  return device.info.software ? SMALL : LARGE;
}

/** A prepared job. */
export interface CharLM {
  readonly model: CharTransformer;
  readonly vocabulary: CharVocabulary;
  readonly trainer: Trainer<TokenBatch, [ids: Tensor, targets: Tensor]>;
  readonly novel: Novel;
  readonly trainTokens: number;
  readonly validationTokens: number;
  /** Validation loss of counts, in nats per character. */
  readonly unigram: number;
  readonly bigram: number;
  /** The first words of the held-out text, which samples continue unless given others. */
  readonly prompt: string;
  /** What the model writes after a prompt. */
  sample(length: number, prompt?: string): Promise<string>;
  /** Loss over the whole validation part; `onBatch` hears of progress, in batches. */
  validate(onBatch?: (done: number, total: number) => void): Promise<number>;
}

/** Validation batches of each evaluation on the way; the last one reads the whole part. */
const QUICK_EVALUATION_TOKENS = 16_384;

/**
 * Prepares a run: reads the text, builds vocabulary, split, baselines, model and trainer.
 *
 * @throws DataError for a text that cannot be read, is too short, or is not the one that the run began with.
 */
export function prepareCharLM(
  config: CharLMConfig,
  device: Device,
  hooks: Pick<TrainerOptions<TokenBatch>, 'onProgress' | 'onEvaluate' | 'signal' | 'stopAt'> = {},
): CharLM {
  const novel = readNovel(config.text ?? undefined);
  if (config.digest && config.digest !== novel.digest) {
    throw new DataError(
      `train: expected the text that the run began with (SHA-256 ${config.digest.slice(0, 12)}…), got another one in ${novel.title}`,
    );
  }
  const vocabulary = CharVocabulary.fromText(novel.text);
  const ids = vocabulary.encode(novel.text);
  const { train, validation } = splitText(ids, { validation: config.validation });
  const T = config.blockSize;
  if (validation.length < T + 1) {
    throw new DataError(
      `train: expected at least ${Math.ceil((T + 1) / config.validation)} characters for a context of ${T}, got ${ids.length}; use a longer text or --block-size`,
    );
  }
  const unigram = unigramLoss(train, validation, vocabulary.size);
  const bigram = bigramLoss(train, validation, vocabulary.size);

  manualSeed(config.seed);
  const model = new CharTransformer({ ...config, vocabSize: vocabulary.size });
  const matrices = model.parameters().filter((p) => p.ndim >= 2);
  const vectors = model.parameters().filter((p) => p.ndim < 2);
  const optimizer = new AdamW(
    [
      { params: matrices, weightDecay: config.weightDecay },
      { params: vectors, weightDecay: 0 },
    ],
    { lr: config.lr, betas: [0.9, 0.99] },
  );
  const scheduler = new WarmupCosineLR(optimizer, {
    warmupSteps: Math.max(1, Math.round(config.steps * 0.05)),
    totalSteps: config.steps,
    minFactor: 0.1,
  });
  // Half a context of whole words.
  const prompt =
    vocabulary.decode(validation.subarray(0, T / 2)).replace(/^\S*\s|\S*$/g, '') || vocabulary.decode([0]);
  const evaluationBatches = consecutiveWindows(validation, config.batchSize, T);
  const quick = evaluationBatches.slice(
    0,
    Math.max(1, Math.ceil(QUICK_EVALUATION_TOKENS / (config.batchSize * T))),
  );
  const toDevice = (batch: TokenBatch) => toTensors(batch, device);
  const over = (batches: readonly TokenBatch[], onBatch?: (done: number, total: number) => void) =>
    meanLoss(
      batches,
      (b) => model.loss(...toDevice(b)),
      (b) => b.input.length,
      (done) => onBatch?.(done, batches.length),
    );

  const trainer = new Trainer({
    model,
    optimizer,
    scheduler,
    batches: new RandomWindows(train, config.batchSize, T, config.seed),
    toDevice,
    loss: ([input, target]) => model.loss(input, target),
    precision: config.precision,
    capture: config.capture,
    steps: config.steps,
    clipNorm: config.clipNorm,
    evaluate: () => over(quick),
    evaluateEvery: config.evaluateEvery,
    patience: config.patience > 0 ? config.patience : Infinity,
    title: `${novel.title}: character-level Transformer, ${model.numParameters().toLocaleString('en')} parameters`,
    baselines: [
      { label: 'unigram', loss: unigram },
      { label: 'bigram', loss: bigram },
    ],
    tokensPerBatch: config.batchSize * T,
    ...hooks,
  });
  return {
    model,
    vocabulary,
    trainer,
    novel,
    trainTokens: train.length,
    validationTokens: validation.length,
    unigram,
    bigram,
    validate: async (onBatch) => {
      model.eval();
      const loss = await over(evaluationBatches, onBatch);
      model.train();
      return loss;
    },
    prompt,
    sample: (length, start = prompt) =>
      sampleText(model, vocabulary, device, { length, prompt: start, seed: config.seed + trainer.step }),
  };
}

export interface SampleOptions {
  readonly length: number;
  /** Text to continue. Default: the vocabulary's first character, in most texts the line break. */
  readonly prompt?: string;
  /** Default 0.8. */
  readonly temperature?: number;
  readonly seed?: number;
}

/**
 * Continues a prompt character by character: pᵢ ∝ exp(logitᵢ / temperature).
 *
 * @throws DataError for a prompt with characters that the vocabulary lacks.
 */
export async function sampleText(
  model: CharTransformer,
  vocabulary: CharVocabulary,
  device: Device,
  { length, prompt = vocabulary.decode([0]), temperature = 0.8, seed = 0 }: SampleOptions,
): Promise<string> {
  const random = new HostRandom(seed);
  const ids = [...vocabulary.encode(prompt)];
  const start = ids.length;
  const wasTraining = model.training;
  model.eval();
  for (let i = 0; i < length; i++) {
    const context = ids.slice(-model.config.blockSize);
    const last = scope(() =>
      noGrad(() =>
        model
          .forward(tensor(Int32Array.from(context), { shape: [1, context.length], device }))
          .select(1, -1)
          .contiguous(),
      ),
    );
    const logits = await last.data();
    last.release();
    ids.push(pick(logits, temperature, random));
  }
  if (wasTraining) model.train();
  return vocabulary.decode(ids.slice(start));
}

function pick(logits: ArrayLike<number>, temperature: number, random: HostRandom): number {
  let max = -Infinity;
  for (let i = 0; i < logits.length; i++) max = Math.max(max, logits[i]);
  const weights = Array.from(logits, (l) => Math.exp((l - max) / temperature));
  let rest = random.uniform() * weights.reduce((a, b) => a + b, 0);
  const at = weights.findIndex((w) => (rest -= w) < 0);
  return at < 0 ? weights.length - 1 : at;
}
