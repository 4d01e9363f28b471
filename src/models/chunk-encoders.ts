/** What reads a chunk: token ids in, one vector per chunk out. */
import { mul } from '../autograd/ops/arithmetic.js';
import { expand, reshape } from '../autograd/ops/broadcast.js';
import { eq, ge, lt } from '../autograd/ops/compare.js';
import { arange, full } from '../autograd/ops/creation.js';
import { cat } from '../autograd/ops/join.js';
import { matmul } from '../autograd/ops/matmul.js';
import { clamp } from '../autograd/ops/rounding.js';
import { narrow, select, unsqueeze } from '../autograd/ops/views.js';
import { DataError, ShapeError } from '../device/errors.js';
import * as F from '../nn/functional.js';
import { Dropout, Embedding, Module, Parameter } from '../nn/index.js';
import type { Tensor } from '../tensor/tensor.js';
import type { CausalLM } from './causal-lm.js';
import type { Transformer } from './transformer.js';
import {
  checkLayerConfig,
  sinusoids,
  TransformerEncoder,
  type TransformerLayerConfig,
} from './transformer-layers.js';

/** Reads chunks. Nothing of a chunk's state may depend on its padding or on other chunks. */
export interface ChunkEncoder extends Module {
  /** E: width of a chunk's state. */
  readonly dim: number;
  /** Longest chunk, in tokens. */
  readonly maxLength: number;
  /**
   * @param ids int32 [G, T]
   * @param lengths tokens of each chunk, int32 [G]; what comes behind them is padding
   * @returns [G, E]; finite also for a chunk without tokens
   */
  states(ids: Tensor, lengths: Tensor): Tensor;
}

/** Which positions are padding, bool [G, T]. */
function paddingOf({ shape: [G, T], device }: Tensor, lengths: Tensor): Tensor {
  return ge(arange(T, { dtype: 'int32', device }), expand(unsqueeze(lengths, 1), [G, T]));
}

/**
 * One vector per row: the mean over its tokens, or the last one; zeros for a row without tokens.
 *
 * A product with weights, [G, 1, T] · [G, T, C], so that nothing as large as x is made on the way.
 */
function poolTokens(x: Tensor, lengths: Tensor, how: 'mean' | 'last'): Tensor {
  const [G, T, C] = x.shape;
  const at = arange(T, { dtype: 'int32', device: x.device });
  const counts = unsqueeze(lengths, 1);
  const weights =
    how === 'last'
      ? eq(at, counts.sub(1)).to(x.dtype)
      : lt(at, counts)
          .to(x.dtype)
          .div(clamp(counts.to(x.dtype), { min: 1 }));
  return reshape(matmul(reshape(weights, [G, 1, T]), x), [G, C]);
}

export interface TransformerChunkConfig extends TransformerLayerConfig {
  readonly vocabSize: number;
  readonly layers: number;
  /** Longest chunk, in tokens. */
  readonly maxLength: number;
  /** A chunk's state: the mean over its tokens, or a token of its own before them. Default 'mean'. */
  readonly state: 'mean' | 'first';
}

const SMALL = {
  dim: 64,
  heads: 4,
  layers: 2,
  maxLength: 512,
  dropout: 0,
  activation: 'gelu',
  norm: 'pre',
  layerNormEps: 1e-5,
  state: 'mean',
} as const;

/**
 * A small Transformer encoder that is trained from nothing: every token of a chunk sees every other.
 *
 * @example
 * const encoder = new TransformerChunkEncoder({ vocabSize: 2048, dim: 64, heads: 4, layers: 2, maxLength: 256 });
 */
export class TransformerChunkEncoder extends Module implements ChunkEncoder {
  readonly config: TransformerChunkConfig;
  readonly embed: Embedding;
  /** The token before all others, [C]. */
  readonly first: Parameter | null;
  readonly encoder: TransformerEncoder;
  readonly drop: Dropout;
  /** Waves [maxLength + 1, C], which are no part of the saved state. */
  declare readonly waves: Tensor;

  /** @throws ShapeError or DataError for a configuration that makes no encoder. */
  constructor(config: Partial<TransformerChunkConfig> & Pick<TransformerChunkConfig, 'vocabSize'>) {
    super();
    const dim = config.dim ?? SMALL.dim;
    const full: TransformerChunkConfig = { ...SMALL, innerDim: 4 * dim, ...config };
    checkLayerConfig(full);
    for (const name of ['vocabSize', 'layers', 'maxLength'] as const) {
      if (!(Number.isInteger(full[name]) && full[name] > 0)) {
        throw new ShapeError(
          `TransformerChunkEncoder: expected ${name} to be a positive integer, got ${full[name]}`,
        );
      }
    }
    if (full.state !== 'mean' && full.state !== 'first') {
      throw new DataError(`TransformerChunkEncoder: expected state 'mean' or 'first', got '${full.state}'`);
    }
    this.config = full;
    this.embed = new Embedding(full.vocabSize, dim);
    this.first = full.state === 'first' ? F.init.normal_(Parameter.empty([dim]), { std: dim ** -0.5 }) : null;
    this.registerBuffer('waves', sinusoids(full.maxLength + 1, dim), { persistent: false });
    this.encoder = new TransformerEncoder(full, full.layers);
    this.drop = new Dropout(full.dropout);
    F.init.normal_(this.embed.weight, { std: dim ** -0.5 });
  }

  get dim(): number {
    return this.config.dim;
  }

  get maxLength(): number {
    return this.config.maxLength;
  }

  states(ids: Tensor, lengths: Tensor): Tensor {
    const { dim } = this.config;
    let x = mul(this.embed.forward(ids), Math.sqrt(dim));
    const [G] = x.shape;
    // With a token of its own a chunk is one longer, and never empty.
    const counts = this.first ? lengths.add(1) : lengths;
    if (this.first) x = cat([expand(mul(this.first, Math.sqrt(dim)), [G, 1, dim]), x], 1);
    x = this.drop.forward(x.add(narrow(this.waves, 0, 0, x.shape[1])));
    const y = this.encoder.forward(x, paddingOf(x, counts));
    return this.first ? select(y, 1, 0) : poolTokens(y, counts, 'mean');
  }
}

/**
 * An encoder–decoder: the encoder reads the chunk, and the decoder, given the start token, looks at all of it; what it
 * would write first is the chunk's state. The head of the model is not used.
 */
export class EncoderDecoderChunkEncoder extends Module implements ChunkEncoder {
  /** @throws ShapeError for a start token outside the target's vocabulary. */
  constructor(
    readonly model: Transformer,
    readonly startToken = 0,
  ) {
    super();
    const { targetVocab } = model.config;
    if (!(Number.isInteger(startToken) && startToken >= 0 && startToken < targetVocab)) {
      throw new ShapeError(
        `EncoderDecoderChunkEncoder: expected a startToken in [0, ${targetVocab}), got ${startToken}`,
      );
    }
  }

  get dim(): number {
    return this.model.config.dim;
  }

  get maxLength(): number {
    return this.model.config.maxLength;
  }

  states(ids: Tensor, lengths: Tensor): Tensor {
    const padding = paddingOf(ids, lengths);
    const memory = this.model.encode(ids, { padding });
    const start = full([ids.shape[0], 1], this.startToken, { dtype: 'int32', device: ids.device });
    return select(this.model.decode(start, memory, { padding: null, memoryPadding: padding }), 1, 0);
  }
}

/**
 * A causal language model such as GPT-2: the state is that of the last token, which has seen all others, or the mean.
 * Padding stands behind the tokens, where nobody looks. The head is not used.
 *
 * Train it as a whole; or `applyLora(model, …)` before; or `model.requiresGrad_(false)`, and its states are computed
 * without a graph.
 *
 * @example
 * const encoder = new CausalChunkEncoder(await models.GPT2.fromPretrained('openai-community/gpt2'));
 */
export class CausalChunkEncoder extends Module implements ChunkEncoder {
  constructor(
    readonly model: CausalLM,
    readonly state: 'last' | 'mean' = 'last',
  ) {
    super();
    if (state !== 'last' && state !== 'mean') {
      throw new DataError(`CausalChunkEncoder: expected state 'last' or 'mean', got '${state}'`);
    }
  }

  get dim(): number {
    return this.model.shape.dim;
  }

  get maxLength(): number {
    return this.model.shape.contextLength;
  }

  states(ids: Tensor, lengths: Tensor): Tensor {
    return poolTokens(this.model.hidden(ids), lengths, this.state);
  }
}
