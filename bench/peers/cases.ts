/** What every engine is asked to compute: cases as plain data, with inputs that each engine makes from the same seeds. */

/** An input by its recipe; see `values`. */
export interface InputSpec {
  readonly name: string;
  readonly shape: readonly number[];
  /** 'uniform' in ±scale, 'ids' below `below` (int32), 'const' `value`. */
  readonly kind: 'uniform' | 'ids' | 'const';
  readonly seed: number;
  readonly scale?: number;
  readonly below?: number;
  readonly value?: number;
}

export interface TransformerConfig {
  readonly vocabSize: number;
  readonly blockSize: number;
  readonly layers: number;
  readonly heads: number;
  readonly dim: number;
}

export interface LstmConfig {
  readonly vocabSize: number;
  readonly embedding: number;
  readonly hidden: number;
}

export type OpKind =
  | 'matmul'
  | 'softmax'
  | 'layerNorm'
  | 'layerNormGrad'
  | 'crossEntropy'
  | 'crossEntropyGrad'
  | 'attention'
  | 'attentionGrad'
  | 'embeddingGrad'
  | 'decode';

interface Common {
  readonly name: string;
  /** Times the operation is applied before the one read that ends an iteration; 1 for training steps. */
  readonly repeat: number;
  readonly inputs: readonly InputSpec[];
  /** How far two engines may be apart, relative to the largest value. */
  readonly tolerance: number;
  /** Left out unless asked for: slow on software adapters. */
  readonly large?: boolean;
}

export interface OpCase extends Common {
  readonly kind: OpKind;
  /** Of 'decode', whose inputs are the weights under their names, the keys and values of earlier tokens, and the token. */
  readonly config?: TransformerConfig;
}

export interface StepCase extends Common {
  readonly kind: 'transformerStep' | 'lstmStep';
  /** inputs[0 … weights) are parameters, the last two the ids and the targets. */
  readonly config: TransformerConfig | LstmConfig;
  readonly optimizer: 'sgd' | 'adam';
  readonly lr: number;
}

export type Case = OpCase | StepCase;

export function isStep(c: Case): c is StepCase {
  return c.kind === 'transformerStep' || c.kind === 'lstmStep';
}

/** MurmurHash3's finalizer over a counter: any engine in any language can make the same numbers. */
function hash(i: number, seed: number): number {
  let x = (i + Math.imul(seed, 0x9e3779b1)) >>> 0;
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}

/** The values of an input. */
export function values(spec: InputSpec): Float32Array | Int32Array {
  const n = spec.shape.reduce((a, b) => a * b, 1);
  const { seed, scale = 1 } = spec;
  if (spec.kind === 'const') return new Float32Array(n).fill(spec.value!);
  if (spec.kind === 'ids') return Int32Array.from({ length: n }, (_, i) => hash(i, seed) % spec.below!);
  const out = new Float32Array(n);
  for (let i = 0; i < n; i++) out[i] = (hash(i, seed) / 2 ** 31 - 1) * scale;
  return out;
}

const uniform = (name: string, shape: number[], seed: number, scale = 1): InputSpec => ({
  name,
  shape,
  seed,
  scale,
  kind: 'uniform',
});
const ids = (name: string, shape: number[], seed: number, below: number): InputSpec => ({
  name,
  shape,
  seed,
  below,
  kind: 'ids',
});
const constant = (name: string, shape: number[], value: number): InputSpec => ({
  name,
  shape,
  seed: 0,
  value,
  kind: 'const',
});

/** Parameters of models.CharTransformer under its names, of deviation 0.02 as in GPT-2. */
function transformerWeights({ vocabSize: V, blockSize: T, layers, dim: C }: TransformerConfig): InputSpec[] {
  const specs: InputSpec[] = [];
  const normal = (name: string, shape: number[]): void => {
    // A uniform variable in ±s has the deviation s/√3.
    specs.push(uniform(name, shape, specs.length + 1, 0.02 * Math.sqrt(3)));
  };
  const norm = (name: string): void => {
    specs.push(constant(`${name}.weight`, [C], 1), constant(`${name}.bias`, [C], 0));
  };
  const linear = (name: string, outputs: number, inputs: number): void => {
    normal(`${name}.weight`, [outputs, inputs]);
    specs.push(constant(`${name}.bias`, [outputs], 0));
  };
  normal('tokens.weight', [V, C]);
  normal('positions.weight', [T, C]);
  for (let i = 0; i < layers; i++) {
    norm(`blocks.${i}.ln1`);
    linear(`blocks.${i}.attention.qkv`, 3 * C, C);
    linear(`blocks.${i}.attention.proj`, C, C);
    norm(`blocks.${i}.ln2`);
    linear(`blocks.${i}.up`, 4 * C, C);
    linear(`blocks.${i}.down`, C, 4 * C);
  }
  norm('norm');
  normal('head.weight', [V, C]);
  return specs;
}

function lstmWeights({ vocabSize: V, embedding: E, hidden: H }: LstmConfig): InputSpec[] {
  const bound = 1 / Math.sqrt(H);
  return [
    uniform('embedding.weight', [V, E], 1),
    uniform('lstm.weight_ih_l0', [4 * H, E], 2, bound),
    uniform('lstm.weight_hh_l0', [4 * H, H], 3, bound),
    uniform('lstm.bias_ih_l0', [4 * H], 4, bound),
    uniform('lstm.bias_hh_l0', [4 * H], 5, bound),
    uniform('head.weight', [V, H], 6, bound),
    uniform('head.bias', [V], 7, bound),
  ];
}

function transformerStep(
  name: string,
  config: TransformerConfig,
  batch: number,
  optimizer: 'sgd' | 'adam',
  lr: number,
  large = false,
): StepCase {
  const shape = [batch, config.blockSize];
  const inputs = [
    ...transformerWeights(config),
    ids('ids', shape, 101, config.vocabSize),
    ids('targets', shape, 102, config.vocabSize),
  ];
  return { name, kind: 'transformerStep', repeat: 1, inputs, config, optimizer, lr, tolerance: 1e-4, large };
}

function lstmStep(name: string, config: LstmConfig, batch: number, length: number): StepCase {
  const inputs = [
    ...lstmWeights(config),
    ids('ids', [batch, length], 101, config.vocabSize),
    ids('targets', [batch, length], 102, config.vocabSize),
  ];
  return {
    name,
    kind: 'lstmStep',
    repeat: 1,
    inputs,
    config,
    optimizer: 'adam',
    lr: 1e-3,
    tolerance: 1e-4,
  };
}

/** As many applications per read as make the work outweigh the read, for everybody alike. */
const op = (name: string, kind: OpKind, repeat: number, inputs: InputSpec[], tolerance = 1e-4): OpCase => ({
  name,
  kind,
  repeat,
  inputs,
  tolerance,
});

const matmul = (n: number, repeat: number): OpCase =>
  op(`matmul ${n}³`, 'matmul', repeat, [uniform('a', [n, n], 1), uniform('b', [n, n], 2)]);

function layerNorm(rows: number, columns: number, repeat: number): OpCase[] {
  const inputs = [
    uniform('x', [rows, columns], 1),
    uniform('weight', [columns], 2),
    uniform('bias', [columns], 3),
    uniform('g', [rows, columns], 4),
  ];
  return [
    op(`layer norm [${rows}, ${columns}]`, 'layerNorm', repeat, inputs.slice(0, 3)),
    op(`layer norm [${rows}, ${columns}] + gradient`, 'layerNormGrad', repeat, inputs),
  ];
}

function crossEntropy(rows: number, columns: number, repeat: number): OpCase[] {
  const inputs = [uniform('logits', [rows, columns], 1, 3), ids('targets', [rows], 2, columns)];
  return [
    op(`cross-entropy [${rows}, ${columns}]`, 'crossEntropy', repeat, inputs),
    op(`cross-entropy [${rows}, ${columns}] + gradient`, 'crossEntropyGrad', repeat, inputs),
  ];
}

function attention(B: number, H: number, T: number, D: number, repeat: number): OpCase[] {
  const shape = [B, H, T, D];
  const inputs = ['q', 'k', 'v', 'g'].map((name, i) => uniform(name, shape, i + 1));
  const text = `causal attention [${shape.join(', ')}]`;
  return [
    op(text, 'attention', repeat, inputs.slice(0, 3)),
    op(`${text} + gradient`, 'attentionGrad', repeat, inputs),
  ];
}

const embedding = (V: number, C: number, n: number, repeat: number): OpCase =>
  op(`embedding gradient ${n} of [${V}, ${C}]`, 'embeddingGrad', repeat, [
    uniform('table', [V, C], 1),
    ids('ids', [n], 2, V),
    uniform('g', [n, C], 3),
  ]);

/** One token's logits [1, V] after `blockSize` − 1 others, whose keys and values are known; the head's weight is the token table. */
function decode(name: string, config: TransformerConfig): OpCase {
  const { layers, heads, dim, blockSize, vocabSize } = config;
  const shape = [layers, heads, blockSize - 1, dim / heads];
  const inputs = [
    ...transformerWeights(config).filter((spec) => spec.name !== 'tokens.weight'),
    uniform('keys', shape, 201),
    uniform('values', shape, 202),
    ids('token', [1], 203, vocabSize),
  ];
  // Several in a row, as tokens come: half a gigabyte of weights that lay idle for a while is slow to read once.
  return { name, kind: 'decode', repeat: 8, inputs, config, tolerance: 1e-3, large: true };
}

/** The model of the peers' first figures. */
const TINY: TransformerConfig = { vocabSize: 65, blockSize: 32, layers: 1, heads: 4, dim: 64 };
/** 5 × 12 × 128² and the embeddings: 1.0 M parameters. */
const GPT_1M: TransformerConfig = { vocabSize: 65, blockSize: 64, layers: 5, heads: 4, dim: 128 };
/** `npm start` on a GPU: 10.8 M parameters. */
const GPT_10M: TransformerConfig = { vocabSize: 65, blockSize: 256, layers: 6, heads: 6, dim: 384 };
const GPT2: TransformerConfig = { vocabSize: 50_257, blockSize: 128, layers: 12, heads: 12, dim: 768 };

export const CASES: readonly Case[] = [
  matmul(64, 32),
  matmul(128, 16),
  matmul(256, 4),
  matmul(512, 1),
  matmul(1024, 1),
  op('softmax [128, 64]', 'softmax', 32, [uniform('x', [128, 64], 1, 3)]),
  op('softmax [1024, 384]', 'softmax', 8, [uniform('x', [1024, 384], 1, 3)]),
  ...layerNorm(128, 64, 32),
  ...layerNorm(1024, 384, 8),
  ...crossEntropy(128, 65, 32),
  ...crossEntropy(512, 2048, 4),
  ...attention(4, 4, 32, 16, 16),
  ...attention(4, 4, 128, 32, 4),
  embedding(65, 64, 128, 32),
  embedding(2048, 256, 1024, 8),
  transformerStep('tiny Transformer step', TINY, 4, 'sgd', 0.1),
  lstmStep('LSTM step (system 2)', { vocabSize: 60, embedding: 48, hidden: 96 }, 36, 48),
  transformerStep('1 M GPT step', GPT_1M, 4, 'adam', 1e-3),
  transformerStep('10 M GPT step', GPT_10M, 4, 'adam', 1e-3, true),
  decode('GPT-2 124M, one token after 127', GPT2),
];
