/** Node only. What decides a fine-tuning run: one table that files, environment, flags and `--help` are read from. */
import { z } from 'zod';
import { DataError } from '../device/errors.js';
import { GPT2_SIZES } from '../models/gpt2-config.js';
import { type ConfigOf, DEVICE_FIELDS, defineConfig, INTERVAL_FIELDS, share, whole } from './config.js';

const positive = z.number().positive();

/** All settings of `dawngrad finetune`, and how they are read. */
export const FINETUNE = defineConfig(
  'finetune',
  {
    name: [
      z.string().min(1).nullable().default(null),
      'name',
      'name of the run folder; default: the model and the method',
    ],
    model: [
      z.string().min(1).default('gpt2'),
      'model',
      "a folder, a run, a name on the Hugging Face Hub, or 'scratch' for random weights",
    ],
    size: [
      z.enum(GPT2_SIZES).nullable().default(null),
      'size',
      'scratch: the size to begin with (default nano)',
    ],
    layers: [whole(1).nullable().default(null), 'n', 'scratch: Transformer blocks'],
    dim: [whole(1).nullable().default(null), 'n', 'scratch: width of the model'],
    heads: [whole(1).nullable().default(null), 'n', 'scratch: attention heads'],
    context: [
      whole(2).nullable().default(null),
      'n',
      'scratch: longest context in tokens (default: blockSize, or as the size says)',
    ],
    vocabSize: [
      whole(257).max(50_257).nullable().default(null),
      'n',
      'scratch: tokens of the vocabulary, the first of r50k_base (default 2048)',
    ],
    dropout: [
      z.number().min(0).lt(1).nullable().default(null),
      'p',
      'share of activations dropped in training (default: as the model says; scratch 0)',
    ],
    data: [
      z.array(z.string().min(1)).min(1),
      'path',
      'files of questions and answers (.jsonl or QUESTION:/ANSWER: text), plain text, or folders of .txt',
    ],
    answersOnly: [z.boolean().default(false), '', 'only tokens of answers count in the loss'],
    validation: [
      z.number().min(0.001).max(0.9).default(0.1),
      'share',
      'share held out of data that say no split (of text: its end)',
    ],
    method: [
      z.enum(['full', 'lora', 'qlora']).default('full'),
      'method',
      'what is trained: full, lora or qlora',
    ],
    scheme: [z.enum(['nf4', 'int8']).default('nf4'), 'scheme', 'qlora: how the base is kept, nf4 or int8'],
    rank: [whole(1).default(16), 'r', 'lora: rank of the adapters'],
    alpha: [positive.default(32), 'a', 'lora: the adapters count alpha / rank'],
    loraDropout: [
      z.number().min(0).lt(1).default(0),
      'p',
      'lora: share of inputs dropped before the adapters',
    ],
    targets: [
      z.array(z.string().min(1)).min(1).default(['c_attn', 'c_proj', 'c_fc']),
      'module',
      'lora: modules that get adapters, by the end of their names',
    ],
    lr: [
      positive.nullable().default(null),
      'x',
      'peak learning rate (default: scratch 2e-3, lora 1e-3, full 5e-5)',
    ],
    batchSize: [whole(1).default(8), 'n', 'blocks per batch'],
    blockSize: [
      whole(2).nullable().default(null),
      'n',
      'tokens per block (default: the context, at most 256)',
    ],
    accumulate: [whole(1).default(1), 'n', 'batches per step, their gradients averaged'],
    steps: [whole(1).nullable().default(null), 'n', 'optimizer steps; instead of epochs'],
    epochs: [positive.nullable().default(null), 'x', 'passes over the data (default 3)'],
    warmup: [share.default(0.1), 'share', 'share of the steps in which the rate rises; a cosine follows'],
    clipNorm: [positive.default(1), 'x', 'largest gradient norm'],
    weightDecay: [z.number().min(0).default(0.1), 'x', 'decay of weight matrices'],
    precision: [
      z.enum(['float32', 'mixed']).default('float32'),
      'p',
      "'mixed' computes matrix products in float16",
    ],
    ...INTERVAL_FIELDS,
    patience: [whole(0).default(0), 'n', 'evaluations without a new best before it stops; 0 for never'],
    seed: [whole(0).default(1), 'n', 'the same seed repeats the same run'],
    ...DEVICE_FIELDS,
    capture: [
      z.boolean().default(true),
      '',
      'run the code of every step instead of replaying the first; slower, same numbers',
    ],
    samplePrompts: [
      z.array(z.string().min(1)).nullable().default(null),
      'text',
      'what samples continue (default: held-out questions, or the start of the held-out text)',
    ],
    evaluationTokens: [whole(0).default(16_384), 'n', 'held-out tokens to measure on; 0 for all'],
    sampleLength: [whole(0).default(60), 'n', 'tokens of each sample; 0 for none'],
    temperature: [z.number().min(0).default(0.8), 'x', 'of samples'],
    topK: [whole(0).default(40), 'n', 'of samples; 0 for all tokens'],
  },
  { either: ['steps', 'epochs'], plainLists: ['samplePrompts'], check },
);

/** Everything that decides a fine-tuning run; written to its config.json. */
export type FinetuneConfig = ConfigOf<typeof FINETUNE>;

/** Fields that make no sense together. */
function check(config: Record<string, unknown>, from: (name: string) => string): void {
  if (config.model !== 'scratch') {
    for (const name of ['size', 'layers', 'dim', 'heads', 'context', 'vocabSize']) {
      if (config[name] === null) continue;
      throw new DataError(
        `finetune: expected ${name} only beside model 'scratch', got ${JSON.stringify(config[name])} ${from(name)} and the model '${config.model}', which has its own`,
      );
    }
  } else if (config.method !== 'full') {
    throw new DataError(
      `finetune: expected method 'full' beside model 'scratch', got '${config.method}': adapters need a trained model to sit on`,
    );
  }
}
