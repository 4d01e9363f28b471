/** A decoder-only Transformer over characters: the model that `npm start` trains. */

import { narrow } from '../autograd/ops/views.js';
import { ShapeError } from '../device/errors.js';
import * as F from '../nn/functional.js';
import { Dropout, Embedding, LayerNorm, Linear, Module, ModuleList } from '../nn/index.js';
import { formatShape } from '../tensor/shape.js';
import type { Tensor } from '../tensor/tensor.js';

export interface CharTransformerConfig {
  /** V: number of characters. */
  readonly vocabSize: number;
  /** Longest context, in characters. */
  readonly blockSize: number;
  /** Number of Transformer blocks. */
  readonly layers: number;
  /** H: attention heads; divides `dim`. */
  readonly heads: number;
  /** C: width of the residual stream. */
  readonly dim: number;
  /** Share of activations dropped in training. */
  readonly dropout: number;
}

/** Attention of every position to itself and those before it, in several heads. */
export class CausalSelfAttention extends Module {
  readonly qkv: Linear;
  readonly proj: Linear;
  private readonly heads: number;
  private readonly dropout: number;

  constructor({ dim, heads, dropout }: CharTransformerConfig) {
    super();
    this.heads = heads;
    this.dropout = dropout;
    this.qkv = new Linear(dim, 3 * dim);
    this.proj = new Linear(dim, dim);
  }

  /** [B, T, C] → [B, T, C], to which `residual` is added. */
  forward(x: Tensor, residual?: Tensor): Tensor {
    const y = F.attentionPacked(this.qkv.forward(x), this.heads, {
      isCausal: true,
      dropout: this.training ? this.dropout : 0,
    });
    return this.proj.forward(y, { residual });
  }
}

/** Attention and a feed-forward layer, each normalised before and added to the residual stream. */
export class Block extends Module {
  readonly ln1: LayerNorm;
  readonly attention: CausalSelfAttention;
  readonly ln2: LayerNorm;
  readonly up: Linear;
  readonly down: Linear;
  readonly drop: Dropout;

  constructor(config: CharTransformerConfig) {
    super();
    const { dim, dropout } = config;
    this.ln1 = new LayerNorm(dim);
    this.attention = new CausalSelfAttention(config);
    this.ln2 = new LayerNorm(dim);
    this.up = new Linear(dim, 4 * dim);
    this.down = new Linear(4 * dim, dim);
    this.drop = new Dropout(dropout);
  }

  /** [B, T, C] → [B, T, C]. */
  forward(x: Tensor): Tensor {
    // Without dropout, what is added to the stream is added where it is computed.
    const drops = this.training && this.drop.p > 0;
    const add = (y: Tensor): Tensor => (drops ? x.add(this.drop.forward(y)) : y);
    const residual = (): Tensor | undefined => (drops ? undefined : x);
    x = add(this.attention.forward(this.ln1.forward(x), residual()));
    const h = this.up.forward(this.ln2.forward(x), { activation: 'geluTanh' });
    return add(this.down.forward(h, { residual: residual() }));
  }
}

/**
 * Token and learned position embeddings, pre-norm blocks, a final norm and a linear head.
 *
 * @source Vaswani et al., Attention is all you need (2017); Radford et al., GPT-2 (2019) for pre-norm and initialisation.
 */
export class CharTransformer extends Module {
  readonly tokens: Embedding;
  readonly positions: Embedding;
  readonly drop: Dropout;
  readonly blocks: ModuleList<Block>;
  readonly norm: LayerNorm;
  readonly head: Linear;

  constructor(readonly config: CharTransformerConfig) {
    super();
    const { vocabSize, blockSize, layers, heads, dim, dropout } = config;
    if (dim % heads !== 0)
      throw new ShapeError(`CharTransformer: expected heads that divide dim ${dim}, got ${heads}`);
    this.tokens = new Embedding(vocabSize, dim);
    this.positions = new Embedding(blockSize, dim);
    this.drop = new Dropout(dropout);
    this.blocks = new ModuleList(Array.from({ length: layers }, () => new Block(config)));
    this.norm = new LayerNorm(dim);
    this.head = new Linear(dim, vocabSize, { bias: false });
    this.initialize();
  }

  /** Normal weights of deviation 0.02, the ends of residual branches smaller by √(2·layers), biases zero: as in GPT-2. */
  private initialize(): void {
    const residual = 0.02 / Math.sqrt(2 * this.config.layers);
    for (const [name, p] of this.namedParameters()) {
      if (/ln\d|norm/.test(name)) continue;
      if (name.endsWith('bias')) F.init.zeros_(p);
      else F.init.normal_(p, { mean: 0, std: /(proj|down)\.weight$/.test(name) ? residual : 0.02 });
    }
  }

  /** Character ids [B, T] → logits [B, T, V]. @throws ShapeError when T exceeds the block size. */
  forward(ids: Tensor): Tensor {
    const [, T] = ids.shape;
    if (ids.ndim !== 2 || T > this.config.blockSize) {
      throw new ShapeError(
        `CharTransformer: expected ids of shape [B, T ≤ ${this.config.blockSize}], got ${formatShape(ids.shape)}`,
      );
    }
    // Rows 0 … T − 1 of the table, without a look-up.
    const table = this.positions.weight;
    const positions = T < this.config.blockSize ? narrow(table, 0, 0, T) : table;
    let x = this.drop.forward(this.tokens.forward(ids).add(positions));
    for (const block of this.blocks) x = block.forward(x);
    return this.head.forward(this.norm.forward(x));
  }

  /** Mean cross-entropy in nats of `targets` [B, T] after `ids` [B, T]. */
  loss(ids: Tensor, targets: Tensor): Tensor {
    const logits = this.forward(ids);
    return F.crossEntropy(logits.reshape([-1, this.config.vocabSize]), targets.reshape([-1]));
  }
}
