/** Node only. What decides a run of the document classifier: one table for files, environment, flags and `--help`. */
import { z } from 'zod';
import { DataError } from '../device/errors.js';
import { type ConfigOf, defineConfig, share, whole, DEVICE_FIELDS, INTERVAL_FIELDS } from './config.js';

const positive = z.number().positive();
const column = z.string().min(1).nullable().default(null);
const names = z.array(z.string().min(1)).min(1).nullable().default(null);

/** All settings of `dawngrad classify`, and how they are read. */
export const CLASSIFY = defineConfig(
  'classify',
  {
    name: [
      z.string().min(1).nullable().default(null),
      'name',
      'name of the run folder; default: the data and the encoder',
    ],
    data: [
      z.array(z.string().min(1)).min(1),
      'data',
      'sotu, spam, .parquet, .jsonl, .csv or .tsv files, folders of .txt files',
    ],
    text: [
      column,
      'column',
      'the text (default: script_clean, script_plain, script, summary or text, whichever is there)',
    ],
    label: [column, 'column', 'the class (default: nominated, winner, label or class)'],
    positive: [names, 'value', 'values of the class that are 1 (default: 1, true, yes)'],
    negative: [names, 'value', 'values that are 0, others are left out (default: all others)'],
    id: [column, 'column', 'what names a document'],
    group: [column, 'column', 'what must not be in two splits (default: group, or title and year)'],
    split: [
      column,
      'column',
      'train, validation or test, as the data say (default: splits made by splitSeed)',
    ],
    limit: [whole(1).nullable().default(null), 'rows', 'rows to read at most of each source'],
    headers: [z.boolean().default(false), '', 'spam: read all headers, which give it away'],
    oscars: [
      z.string().min(1).nullable().default(null),
      'file',
      'films: table of Oscar nominations from which the label, nominated or winner, is taken',
    ],
    oscarClasses: [names, 'class', 'films: nominations of these classes only, such as Writing'],
    fractions: [
      z.array(z.coerce.number().min(0).max(1)).length(3).default([0.6, 0.2, 0.2]),
      'share',
      'shares of training, validation and test',
    ],
    folds: [
      whole(0).default(0),
      'k',
      'cross-validation: every document is in the test of one of k runs; 0 for none',
    ],
    splitSeed: [whole(0).default(0), 'n', 'of the splits, so that runs of other seeds have the same test'],
    twins: [
      z.boolean().default(true),
      '',
      'false: near-duplicates may be in two splits; they are counted only',
    ],
    vocabSize: [
      whole(257).max(50_257).default(4096),
      'n',
      'tokens of the vocabulary, the first of r50k_base; gpt2 has its own',
    ],
    encoder: [
      z.enum(['transformer', 'encoder-decoder', 'gpt2', 'window']).default('transformer'),
      'kind',
      'what reads chunks: transformer, encoder-decoder or gpt2; or window, which reads the whole document at once',
    ],
    base: [
      z.string().min(1).default('gpt2'),
      'model',
      'gpt2: a folder, a run, or a name on the Hugging Face Hub',
    ],
    tune: [z.enum(['frozen', 'lora', 'full']).default('lora'), 'how', 'gpt2: frozen, lora or full'],
    rank: [whole(1).default(16), 'r', 'gpt2, lora: rank of the adapters'],
    alpha: [positive.default(32), 'a', 'gpt2, lora: the adapters count alpha / rank'],
    targets: [
      z.array(z.string().min(1)).min(1).default(['c_attn', 'c_proj', 'c_fc']),
      'module',
      'gpt2, lora: modules that get adapters, by the end of their names',
    ],
    chunkState: [
      z.enum(['mean', 'first', 'last']).nullable().default(null),
      'token',
      'state of a chunk: mean, or transformer: first, gpt2: last (default: mean; gpt2: last)',
    ],
    pooling: [
      z.enum(['mean', 'max', 'attention', 'transformer', 'decoder']).default('attention'),
      'kind',
      'from chunks to the document: mean, max, attention, transformer or decoder',
    ],
    poolingLayers: [whole(1).default(1), 'n', 'layers of the poolings transformer and decoder'],
    chunk: [whole(1).default(256), 'n', 'tokens of a chunk'],
    overlap: [whole(0).default(0), 'n', 'tokens that a chunk shares with the one before'],
    maxChunks: [whole(1).nullable().default(null), 'n', 'chunks that are read of a document (default: all)'],
    keep: [
      z.enum(['head', 'headTail', 'even']).default('even'),
      'which',
      'which chunks of a longer one: head, headTail or even',
    ],
    maxTokens: [
      whole(1).nullable().default(null),
      'n',
      'tokens that are read of a document, its first ones (default: all; window: 16384)',
    ],
    chunkGroup: [whole(1).default(8), 'n', 'chunks that are in memory together'],
    sampled: [
      whole(1).nullable().default(null),
      'k',
      'gradients go through k chunks of each document, drawn anew each step (default: all)',
    ],
    window: [whole(1).default(128), 'n', 'window: tokens that a head sees to one side'],
    globals: [whole(1).default(4), 'n', 'window: vectors that see the whole document'],
    dim: [whole(1).default(64), 'n', 'width of the model'],
    layers: [whole(1).default(2), 'n', 'Transformer blocks'],
    heads: [whole(1).default(4), 'n', 'attention heads'],
    dropout: [
      z.number().min(0).lt(1).default(0.1),
      'p',
      'share of activations dropped in training (gpt2: only of what stands above it)',
    ],
    batchSize: [whole(1).default(8), 'n', 'documents per batch'],
    accumulate: [whole(1).default(1), 'n', 'batches per step, their gradients averaged'],
    steps: [whole(1).nullable().default(null), 'n', 'optimizer steps; instead of epochs'],
    epochs: [positive.nullable().default(null), 'x', 'passes over the training documents (default 10)'],
    lr: [positive.nullable().default(null), 'x', 'peak learning rate (default: 1e-3; gpt2, full: 5e-5)'],
    warmup: [share.default(0.1), 'share', 'share of the steps in which the rate rises; a cosine follows'],
    weightDecay: [z.number().min(0).default(0.01), 'x', 'decay of weight matrices'],
    clipNorm: [positive.default(1), 'x', 'largest gradient norm'],
    imbalance: [
      z.enum(['none', 'posWeight', 'focal', 'balanced']).default('none'),
      'how',
      'what a rare class gets: none; posWeight, a weight in the loss; focal, a loss for hard documents; balanced, as many documents',
    ],
    posWeight: [
      positive.nullable().default(null),
      'x',
      'posWeight: what a document of class 1 counts (default: class 0 by class 1 of the training documents)',
    ],
    focal: [positive.default(2), 'γ', 'focal: (1 − p)^γ · −log p'],
    ...INTERVAL_FIELDS,
    patience: [
      whole(0).default(0),
      'n',
      'evaluations without a better PR-AUC of validation, or an equal one with a smaller loss, before it stops; 0 for never',
    ],
    thresholdMetric: [
      z.enum(['macroF1', 'balancedAccuracy']).default('macroF1'),
      'metric',
      'what the threshold is best at on validation: macroF1 or balancedAccuracy',
    ],
    baselines: [
      z.array(z.enum(['prior', 'bow', 'zero-shot'])).default(['prior', 'bow']),
      'name',
      'what the model is measured beside: prior, bow (bag of words), zero-shot',
    ],
    zeroShotModel: [
      z.string().min(1).nullable().default(null),
      'folder',
      'zero-shot: the language model, a folder, a run or a name on the Hub',
    ],
    question: [
      z.string().min(1).nullable().default(null),
      'text',
      'zero-shot: what is asked of each text (default: whether it is of the positive class)',
    ],
    bootstrap: [whole(1).default(2000), 'n', 'resamples for the intervals'],
    predictTraining: [
      z.boolean().default(true),
      '',
      'false: predictions.jsonl holds no training documents, which takes less time',
    ],
    seed: [whole(0).default(1), 'n', 'of weights, dropout and the order of documents'],
    ...DEVICE_FIELDS,
  },
  { either: ['steps', 'epochs'], plainLists: ['positive', 'negative'], check },
);

/** Everything that decides a run of the classifier; written to its config.json. */
export type ClassifyConfig = ConfigOf<typeof CLASSIFY>;

/** Fields that make no sense together. */
function check(values: Record<string, unknown>, from: (name: string) => string): void {
  const config = values as ClassifyConfig;
  const refuse = (name: keyof ClassifyConfig, expected: string): never => {
    throw new DataError(
      `classify: expected ${expected}, got ${name} ${JSON.stringify(config[name])} ${from(name)}`,
    );
  };
  if (config.overlap >= config.chunk)
    refuse('overlap', `an overlap below the chunk of ${config.chunk} tokens`);
  if (config.folds === 1) refuse('folds', 'at least 2 folds, or 0 for none');
  if (config.folds > 0 && config.split !== null) refuse('split', 'either folds or a column of splits');
  if (Math.abs(config.fractions.reduce((a, b) => a + b, 0) - 1) > 1e-6)
    refuse('fractions', 'shares that sum to 1');
  // Of 'validation' nothing can be done without, and of 'test' nothing be said.
  if (config.fractions.some((f, i) => f === 0 && !(i === 2 && config.folds > 0))) {
    refuse('fractions', 'training, validation and test above 0 (with folds, test may be 0)');
  }
  const { chunkState: state, encoder } = config;
  const states = { transformer: ['mean', 'first'], gpt2: ['last', 'mean'] }[encoder as string] ?? [];
  if (state !== null && !states.includes(state)) {
    refuse('chunkState', `one that the encoder ${encoder} has (${states.join(', ') || 'it has no choice'})`);
  }
  if (config.posWeight !== null && config.imbalance !== 'posWeight') {
    refuse('posWeight', `posWeight only beside imbalance 'posWeight', which is '${config.imbalance}'`);
  }
  if (config.oscars !== null && config.label !== null && !['nominated', 'winner'].includes(config.label)) {
    refuse('label', 'nominated or winner beside a table of nominations');
  }
  if (config.oscarClasses !== null && config.oscars === null) {
    refuse('oscarClasses', 'a table of nominations (oscars) beside its classes');
  }
  if (config.baselines.includes('zero-shot') !== (config.zeroShotModel !== null)) {
    refuse(
      config.zeroShotModel === null ? 'baselines' : 'zeroShotModel',
      "the baseline 'zero-shot' and its zeroShotModel together",
    );
  }
}
