/** The rival of chunks: one pass over the whole document with windowed attention and a few global vectors. */
import { checkpoint } from '../autograd/checkpoint.js';
import { isGradEnabled } from '../autograd/mode.js';
import { mul } from '../autograd/ops/arithmetic.js';
import { attentionPacked } from '../autograd/ops/attention.js';
import { expand, reshape } from '../autograd/ops/broadcast.js';
import { cat, flip } from '../autograd/ops/join.js';
import { mean } from '../autograd/ops/mean.js';
import { narrow } from '../autograd/ops/views.js';
import { DataError, ShapeError } from '../device/errors.js';
import * as F from '../nn/functional.js';
import {
  Dropout,
  Embedding,
  LayerNorm,
  Linear,
  Module,
  ModuleList,
  MultiheadAttention,
  Parameter,
} from '../nn/index.js';
import { tensor } from '../tensor/factories.js';
import { scope } from '../tensor/lifetime.js';
import type { Tensor } from '../tensor/tensor.js';
import { type BinaryLossOptions, binaryLoss } from './chunk-classifier.js';
import { sinusoids } from './transformer-layers.js';

export interface WindowConfig {
  readonly vocabSize: number;
  readonly dim: number;
  /** Even: half of the heads look back, half ahead. */
  readonly heads: number;
  readonly innerDim: number;
  readonly layers: number;
  /** W: tokens that a head sees, its own one included; both ways together 2W − 1. */
  readonly window: number;
  /** Vectors that see the whole document, and that every token sees. */
  readonly globals: number;
  /** Longest document, in tokens. */
  readonly maxLength: number;
  readonly dropout: number;
  /** Whether a layer's activations are computed again in backward. */
  readonly checkpoint: boolean;
}

const DEFAULTS = {
  dim: 64,
  heads: 4,
  layers: 2,
  window: 128,
  globals: 4,
  maxLength: 16_384,
  dropout: 0,
  checkpoint: true,
} as const;

/** @throws ShapeError or DataError for sizes that make no model. */
function check(config: WindowConfig): void {
  const { dim, heads, dropout } = config;
  for (const name of ['vocabSize', 'dim', 'innerDim', 'layers', 'window', 'globals', 'maxLength'] as const) {
    if (!(Number.isInteger(config[name]) && config[name] > 0)) {
      throw new ShapeError(
        `WindowClassifier: expected ${name} to be a positive integer, got ${config[name]}`,
      );
    }
  }
  if (!(Number.isInteger(heads) && heads > 0 && heads % 2 === 0 && dim % heads === 0)) {
    throw new ShapeError(
      `WindowClassifier: expected an even number of heads that divides dim ${dim}, got ${heads}`,
    );
  }
  if (!(dropout >= 0 && dropout < 1)) {
    throw new DataError(`WindowClassifier: expected a dropout in [0, 1), got ${dropout}`);
  }
}

/**
 * A layer: tokens look at their neighbours, then at the global vectors; those look at all tokens; all think.
 *
 * Attention to neighbours is causal attention with a window, in half of the heads over the sequence and in the other half
 * over its reverse. Longformer takes one softmax over neighbours and global tokens together; here they are two branches,
 * so that both are the fused operation, in memory that grows with T and not with T · W.
 */
export class WindowLayer extends Module {
  readonly norm1: LayerNorm;
  readonly back: Linear;
  readonly ahead: Linear;
  readonly proj: Linear;
  readonly norm2: LayerNorm;
  readonly normGlobals: LayerNorm;
  /** Tokens look at global vectors. */
  readonly up: MultiheadAttention;
  /** Global vectors look at tokens. */
  readonly down: MultiheadAttention;
  readonly norm3: LayerNorm;
  readonly fc: Linear;
  readonly out: Linear;

  constructor(private readonly config: WindowConfig) {
    super();
    const { dim, heads, innerDim } = config;
    this.norm1 = new LayerNorm(dim);
    this.back = new Linear(dim, (3 * dim) / 2);
    this.ahead = new Linear(dim, (3 * dim) / 2);
    this.proj = new Linear(dim, dim);
    this.norm2 = new LayerNorm(dim);
    this.normGlobals = new LayerNorm(dim);
    this.up = new MultiheadAttention(dim, heads, { batchFirst: true });
    this.down = new MultiheadAttention(dim, heads, { batchFirst: true });
    this.norm3 = new LayerNorm(dim);
    this.fc = new Linear(dim, innerDim);
    this.out = new Linear(innerDim, dim);
  }

  /** @param x [B, T, C] @param globals [B, G, C] @param padding bool [B, T], true for padding */
  forward(x: Tensor, globals: Tensor, padding: Tensor): [x: Tensor, globals: Tensor] {
    const { dropout } = this.config;
    const join = (y: Tensor, to: Tensor) => F.dropoutAdd(y, to, dropout, this.training);
    x = join(this.proj.forward(this.neighbours(this.norm1.forward(x), padding)), x);
    const seen = this.normGlobals.forward(globals);
    x = join(this.up.forward(this.norm2.forward(x), seen, seen)[0], x);
    const tokens = this.norm2.forward(x);
    globals = join(this.down.forward(seen, tokens, tokens, { keyPaddingMask: padding })[0], globals);
    const think = (h: Tensor): Tensor =>
      join(this.out.forward(this.fc.forward(this.norm3.forward(h), { activation: 'gelu' })), h);
    return [think(x), think(globals)];
  }

  /** [B, T, C] → [B, T, C]: what each token sees before and after itself. */
  private neighbours(x: Tensor, padding: Tensor): Tensor {
    const { window, heads } = this.config;
    const look = (qkv: Tensor, hidden: Tensor): Tensor =>
      attentionPacked(qkv, heads / 2, { window, keyPadding: hidden.logicalNot(), empty: 'zero' });
    const back = look(this.back.forward(x), padding);
    const ahead = look(flip(this.ahead.forward(x), 1), flip(padding, 1));
    return cat([back, flip(ahead, 1)], 2);
  }
}

/** Whole documents, filled up to the longest. */
export interface WindowBatch {
  /** int32 [B, T] */
  readonly ids: Tensor;
  /** bool [B, T], true for padding. */
  readonly padding: Tensor;
}

/** Documents as one batch; `length` pads further than the longest. */
export function windowBatch(
  tokens: readonly ArrayLike<number>[],
  { length = 1, ...options }: { length?: number; device?: Tensor['device'] } = {},
): WindowBatch {
  const T = Math.max(length, ...tokens.map((t) => t.length));
  const ids = new Int32Array(tokens.length * T);
  const padding = new Uint8Array(tokens.length * T).fill(1);
  tokens.forEach((t, b) => {
    for (let i = 0; i < t.length; i++) ids[b * T + i] = t[i];
    padding.fill(0, b * T, b * T + t.length);
  });
  const shape = [tokens.length, T];
  return { ids: tensor(ids, { shape, ...options }), padding: tensor(padding, { shape, ...options }) };
}

/**
 * Reads a whole document at once: windowed attention in each layer, and global vectors from which the logit is read.
 *
 * Memory grows with the document, but only linearly; with `checkpoint` by two vectors per token and layer.
 *
 * @source after Beltagy, Peters, Cohan: Longformer, the long-document Transformer (2020); how it differs is at the layer
 * @example
 * const model = new WindowClassifier({ vocabSize: 2048, window: 128 });
 * const logits = model.forward(windowBatch([ids])); // [1]
 */
export class WindowClassifier extends Module {
  readonly config: WindowConfig;
  readonly embed: Embedding;
  /** [G, C] */
  readonly globals: Parameter;
  readonly layers: ModuleList<WindowLayer>;
  readonly norm: LayerNorm;
  readonly drop: Dropout;
  readonly head: Linear;
  /** [maxLength, C], no part of the saved state. */
  declare readonly waves: Tensor;

  /** @throws ShapeError or DataError for a configuration that makes no model. */
  constructor(config: Partial<WindowConfig> & Pick<WindowConfig, 'vocabSize'>) {
    super();
    const dim = config.dim ?? DEFAULTS.dim;
    const full: WindowConfig = { ...DEFAULTS, innerDim: 4 * dim, ...config };
    this.config = full;
    check(full);
    this.embed = new Embedding(full.vocabSize, dim);
    F.init.normal_(this.embed.weight, { std: dim ** -0.5 });
    this.registerBuffer('waves', sinusoids(full.maxLength, dim), { persistent: false });
    this.globals = F.init.normal_(Parameter.empty([full.globals, dim]), { std: 1 });
    this.layers = new ModuleList(Array.from({ length: full.layers }, () => new WindowLayer(full)));
    this.norm = new LayerNorm(dim);
    this.drop = new Dropout(full.dropout);
    this.head = new Linear(dim, 1);
  }

  /** @returns logits [B] @throws ShapeError for documents longer than there are positions. */
  forward({ ids, padding }: WindowBatch): Tensor {
    const { dim, maxLength, globals: count } = this.config;
    const [B, T] = ids.shape;
    if (ids.ndim !== 2 || T > maxLength) {
      throw new ShapeError(`WindowClassifier: expected documents of at most ${maxLength} tokens, got ${T}`);
    }
    let x = mul(this.embed.forward(ids), Math.sqrt(dim)).add(narrow(this.waves, 0, 0, T));
    x = this.drop.forward(x);
    let globals = expand(this.globals, [B, count, dim]);
    for (const layer of this.layers) {
      const run = (h: Tensor, g: Tensor, p: Tensor) => layer.forward(h, g, p);
      if (!isGradEnabled()) [x, globals] = scope(() => run(x, globals, padding));
      else if (this.config.checkpoint) [x, globals] = checkpoint(run, x, globals, padding);
      else [x, globals] = run(x, globals, padding);
    }
    return reshape(this.head.forward(this.norm.forward(mean(globals, { dim: 1 }))), [B]);
  }

  /** Mean loss, a scalar. @param labels 0 or 1 for each document, [B], of the logits' dtype */
  loss(batch: WindowBatch, labels: Tensor, options: BinaryLossOptions = {}): Tensor {
    return binaryLoss(this.forward(batch), labels, options);
  }
}
