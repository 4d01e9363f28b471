/** The layers of the Transformer, under PyTorch's names: positions, encoder and decoder. */
import { type DType, isFloat } from '../device/dtype.js';
import { DataError, ShapeError } from '../device/errors.js';
import type { Device } from '../device/types.js';
import * as F from '../nn/functional.js';
import { Dropout, LayerNorm, Linear, Module, ModuleList, MultiheadAttention } from '../nn/index.js';
import { tensor } from '../tensor/factories.js';
import type { Tensor } from '../tensor/tensor.js';
import type { DecoderCache } from './transformer-cache.js';

/** What all layers of a Transformer share. */
export interface TransformerLayerConfig {
  readonly dim: number;
  readonly heads: number;
  /** Width of the feed-forward layer. */
  readonly innerDim: number;
  /** Share of attention weights, of the feed-forward layer's inside, and of what each branch adds, dropped in training. */
  readonly dropout: number;
  readonly activation: 'relu' | 'gelu';
  /** 'post' normalises the sum of a branch, as the paper does; 'pre' the input of a branch, which trains more easily. */
  readonly norm: 'pre' | 'post';
  readonly layerNormEps: number;
}

/** @throws ShapeError or DataError for sizes and names that make no layer. */
export function checkLayerConfig(config: TransformerLayerConfig): void {
  const { dim, heads, dropout, activation, norm } = config;
  for (const name of ['dim', 'heads', 'innerDim'] as const) {
    if (!(Number.isInteger(config[name]) && config[name] > 0)) {
      throw new ShapeError(`Transformer: expected ${name} to be a positive integer, got ${config[name]}`);
    }
  }
  if (dim % heads !== 0) {
    throw new ShapeError(`Transformer: expected heads that divide dim ${dim}, got ${heads}`);
  }
  if (!(dropout >= 0 && dropout < 1)) {
    throw new DataError(`Transformer: expected a dropout in [0, 1), got ${dropout}`);
  }
  if (activation !== 'relu' && activation !== 'gelu') {
    throw new DataError(`Transformer: expected activation 'relu' or 'gelu', got '${activation}'`);
  }
  if (norm !== 'pre' && norm !== 'post') {
    throw new DataError(`Transformer: expected norm 'pre' or 'post', got '${norm}'`);
  }
}

/** 1 GiB of float32: a million positions of width 256. */
const MOST_WAVES = 2 ** 28;

/**
 * Positions as waves: [p, 2i] = sin(p / 10000^(2i / dim)) and [p, 2i + 1] = cos(the same), one pair of columns for each wave
 * length from 2π to 10000 · 2π.
 *
 * @param length number of positions
 * @param dim even
 * @returns [length, dim]
 * @throws ShapeError for an odd dim, and for more numbers than there is room for.
 * @source Vaswani et al. (2017), section 3.5
 */
export function sinusoids(
  length: number,
  dim: number,
  options: { dtype?: DType; device?: Device } = {},
): Tensor {
  if (dim % 2 !== 0) throw new ShapeError(`sinusoids: expected an even dim, got ${dim}`);
  if (length * dim > MOST_WAVES) {
    throw new ShapeError(
      `sinusoids: expected at most ${MOST_WAVES} numbers, got ${length} positions of ${dim} each; take fewer positions (shorter chunks)`,
    );
  }
  const values = new Float64Array(length * dim);
  for (let p = 0; p < length; p++) {
    for (let i = 0; i < dim; i += 2) {
      const angle = p / 10_000 ** (i / dim);
      values[p * dim + i] = Math.sin(angle);
      values[p * dim + i + 1] = Math.cos(angle);
    }
  }
  const { dtype = 'float32', device } = options;
  return tensor(values, { shape: [length, dim], dtype: isFloat(dtype) ? dtype : 'float32', device });
}

/** What the layers of encoder and decoder have in common: residual branches, and the feed-forward layer as one of them. */
abstract class TransformerLayer extends Module {
  constructor(protected readonly config: TransformerLayerConfig) {
    super();
  }

  /** x + f(norm(x)) before the norm's time, or norm(x + f(x)) after it; what f gives passes dropout. */
  protected branch(x: Tensor, norm: LayerNorm, f: (x: Tensor) => Tensor): Tensor {
    const before = this.config.norm === 'pre';
    const y = f(before ? norm.forward(x) : x);
    const sum = F.dropoutAdd(y, x, this.config.dropout, this.training);
    return before ? sum : norm.forward(sum);
  }

  protected attention(): MultiheadAttention {
    const { dim, heads, dropout } = this.config;
    return new MultiheadAttention(dim, heads, { dropout, batchFirst: true });
  }

  protected norm(): LayerNorm {
    return new LayerNorm(this.config.dim, { eps: this.config.layerNormEps });
  }
}

/**
 * A layer of the encoder: every position looks at every other, then thinks about what it saw.
 *
 * @source torch.nn.TransformerEncoderLayer
 */
export class TransformerEncoderLayer extends TransformerLayer {
  readonly self_attn: MultiheadAttention;
  readonly linear1: Linear;
  readonly linear2: Linear;
  readonly norm1: LayerNorm;
  readonly norm2: LayerNorm;
  readonly drop: Dropout;

  constructor(config: TransformerLayerConfig) {
    super(config);
    this.self_attn = this.attention();
    this.linear1 = new Linear(config.dim, config.innerDim);
    this.linear2 = new Linear(config.innerDim, config.dim);
    this.norm1 = this.norm();
    this.norm2 = this.norm();
    this.drop = new Dropout(config.dropout);
  }

  /** @param x [B, S, C] @param padding bool [B, S], true for padding @returns [B, S, C] */
  forward(x: Tensor, padding: Tensor | null = null): Tensor {
    const { activation } = this.config;
    x = this.branch(x, this.norm1, (h) => this.self_attn.forward(h, h, h, { keyPaddingMask: padding })[0]);
    return this.branch(x, this.norm2, (h) =>
      this.linear2.forward(this.drop.forward(this.linear1.forward(h, { activation }))),
    );
  }
}

export interface DecoderLayerOptions {
  /** bool [B, T], true for padding. */
  readonly padding?: Tensor | null;
  /** bool [B, S], true for padding of the source. */
  readonly memoryPadding?: Tensor | null;
  /** Keys and values of what was decoded before, and of the memory. */
  readonly cache?: DecoderCache | null;
}

/**
 * A layer of the decoder: every position looks at itself and those before it, then at the source, then thinks.
 *
 * @source torch.nn.TransformerDecoderLayer
 */
export class TransformerDecoderLayer extends TransformerLayer {
  readonly self_attn: MultiheadAttention;
  readonly multihead_attn: MultiheadAttention;
  readonly linear1: Linear;
  readonly linear2: Linear;
  readonly norm1: LayerNorm;
  readonly norm2: LayerNorm;
  readonly norm3: LayerNorm;
  readonly drop: Dropout;

  constructor(
    config: TransformerLayerConfig,
    private readonly index: number,
  ) {
    super(config);
    this.self_attn = this.attention();
    this.multihead_attn = this.attention();
    this.linear1 = new Linear(config.dim, config.innerDim);
    this.linear2 = new Linear(config.innerDim, config.dim);
    this.norm1 = this.norm();
    this.norm2 = this.norm();
    this.norm3 = this.norm();
    this.drop = new Dropout(config.dropout);
  }

  /** @param x [B, T, C] @param memory what the encoder gave, [B, S, C] @returns [B, T, C] */
  forward(x: Tensor, memory: Tensor, options: DecoderLayerOptions = {}): Tensor {
    const { padding = null, memoryPadding = null, cache } = options;
    const { activation } = this.config;
    x = this.branch(x, this.norm1, (h) =>
      cache
        ? cache.attendSelf(this.index, this.self_attn, h)
        : this.self_attn.forward(h, h, h, { keyPaddingMask: padding, isCausal: true })[0],
    );
    x = this.branch(x, this.norm2, (h) =>
      cache
        ? cache.attendMemory(this.index, this.multihead_attn, h, memory, memoryPadding)
        : this.multihead_attn.forward(h, memory, memory, { keyPaddingMask: memoryPadding })[0],
    );
    return this.branch(x, this.norm3, (h) =>
      this.linear2.forward(this.drop.forward(this.linear1.forward(h, { activation }))),
    );
  }
}

/** Layers of the encoder, and a norm at the end. @source torch.nn.TransformerEncoder */
export class TransformerEncoder extends Module {
  readonly layers: ModuleList<TransformerEncoderLayer>;
  readonly norm: LayerNorm;

  constructor(config: TransformerLayerConfig, layers: number) {
    super();
    this.layers = new ModuleList(Array.from({ length: layers }, () => new TransformerEncoderLayer(config)));
    this.norm = new LayerNorm(config.dim, { eps: config.layerNormEps });
  }

  /** @param x [B, S, C] @param padding bool [B, S], true for padding @returns [B, S, C] */
  forward(x: Tensor, padding: Tensor | null = null): Tensor {
    for (const layer of this.layers) x = layer.forward(x, padding);
    return this.norm.forward(x);
  }
}

/** Layers of the decoder, and a norm at the end. @source torch.nn.TransformerDecoder */
export class TransformerDecoder extends Module {
  readonly layers: ModuleList<TransformerDecoderLayer>;
  readonly norm: LayerNorm;

  constructor(config: TransformerLayerConfig, layers: number) {
    super();
    this.layers = new ModuleList(
      Array.from({ length: layers }, (_, i) => new TransformerDecoderLayer(config, i)),
    );
    this.norm = new LayerNorm(config.dim, { eps: config.layerNormEps });
  }

  /** @param x [B, T, C] @param memory [B, S, C] @returns [B, T, C] */
  forward(x: Tensor, memory: Tensor, options: DecoderLayerOptions = {}): Tensor {
    for (const layer of this.layers) x = layer.forward(x, memory, options);
    return this.norm.forward(x);
  }
}
