/** The Transformer of the paper, with encoder and decoder, under the names of PyTorch's `nn.Transformer`. */
import { mul } from '../autograd/ops/arithmetic.js';
import { eq } from '../autograd/ops/compare.js';
import { narrow } from '../autograd/ops/views.js';
import { DataError, ShapeError } from '../device/errors.js';
import * as F from '../nn/functional.js';
import { Dropout, Embedding, Linear, Module } from '../nn/index.js';
import { formatShape } from '../tensor/shape.js';
import type { Tensor } from '../tensor/tensor.js';
import type { DecoderCache } from './transformer-cache.js';
import {
  checkLayerConfig,
  sinusoids,
  TransformerDecoder,
  TransformerEncoder,
  type TransformerLayerConfig,
} from './transformer-layers.js';

export interface TransformerConfig extends TransformerLayerConfig {
  /** Number of different tokens of the source. */
  readonly sourceVocab: number;
  /** Number of different tokens of the target, start and end among them. */
  readonly targetVocab: number;
  readonly encoderLayers: number;
  readonly decoderLayers: number;
  /** Positions there are: the longest source or target, in tokens. */
  readonly maxLength: number;
  /** 'sinusoidal' waves, as in the paper, or a 'learned' vector for each position. */
  readonly positions: 'sinusoidal' | 'learned';
  /** Token that fills sequences up; nobody looks at it, and it is no target. Null: there is none. */
  readonly padToken: number | null;
  /** Source and target share one embedding. */
  readonly tieSource: boolean;
  /** The head's weight is the target's embedding; then it has no bias. */
  readonly tieHead: boolean;
  /** ε: in training, the target is (1 − ε) · target + ε / V. */
  readonly labelSmoothing: number;
}

/** The base model of the paper, table 3. */
const BASE = {
  dim: 512,
  heads: 8,
  innerDim: 2048,
  encoderLayers: 6,
  decoderLayers: 6,
  maxLength: 512,
  dropout: 0.1,
  activation: 'relu',
  norm: 'post',
  layerNormEps: 1e-5,
  positions: 'sinusoidal',
  padToken: null,
  tieSource: false,
  tieHead: false,
  labelSmoothing: 0.1,
} as const;

export interface DecodeInputs {
  /** bool [B, T], true for padding of the target. Default: where it is `padToken`. */
  readonly padding?: Tensor | null;
  /** bool [B, S], true for padding of the source. Default: none. */
  readonly memoryPadding?: Tensor | null;
  /** What was decoded before; `target` then holds the tokens after it. */
  readonly cache?: DecoderCache | null;
}

export interface SequenceInputs {
  /** bool [B, S], true for padding of the source. Default: where it is `padToken`. */
  readonly sourcePadding?: Tensor | null;
  /** bool [B, T], true for padding of the target. Default: where it is `padToken`. */
  readonly targetPadding?: Tensor | null;
}

/**
 * The Transformer: an encoder reads the source, a decoder writes the target, one token after the other, looking at both.
 *
 * Tokens become vectors, scaled by √dim, to which positions are added. The parameters of `encoder` and `decoder` have the
 * names of PyTorch's `nn.Transformer`.
 *
 * @source Vaswani et al., Attention is all you need (2017); torch.nn.Transformer
 * @example
 * const model = new Transformer({ sourceVocab: 13, targetVocab: 13, dim: 64, heads: 4, innerDim: 128, padToken: 0 });
 * const loss = model.loss(source, target); // [B, S] and [B, T + 1], from start to end
 */
export class Transformer extends Module {
  readonly config: TransformerConfig;
  readonly src_embed: Embedding;
  readonly tgt_embed: Embedding;
  /** Learned positions. */
  readonly src_pos: Embedding | null = null;
  readonly tgt_pos: Embedding | null = null;
  readonly encoder: TransformerEncoder;
  readonly decoder: TransformerDecoder;
  readonly head: Linear | null;
  readonly drop: Dropout;
  /** Waves [maxLength, C], which are no part of the saved state. */
  declare readonly waves: Tensor | undefined;

  /**
   * @param config sizes and choices; what is left out is as in the paper's base model, with no padding and nothing shared
   * @throws ShapeError or DataError for a configuration that makes no model.
   */
  constructor(config: Partial<TransformerConfig> & Pick<TransformerConfig, 'sourceVocab' | 'targetVocab'>) {
    super();
    const full: TransformerConfig = { ...BASE, ...config };
    this.config = full;
    check(full);
    const { dim, maxLength, sourceVocab, targetVocab, tieSource, tieHead, positions } = full;
    this.tgt_embed = new Embedding(targetVocab, dim);
    this.src_embed = tieSource ? this.tgt_embed : new Embedding(sourceVocab, dim);
    if (positions === 'learned') {
      this.src_pos = new Embedding(maxLength, dim);
      this.tgt_pos = new Embedding(maxLength, dim);
    } else {
      this.registerBuffer('waves', sinusoids(maxLength, dim), { persistent: false });
    }
    this.encoder = new TransformerEncoder(full, full.encoderLayers);
    this.decoder = new TransformerDecoder(full, full.decoderLayers);
    this.head = tieHead ? null : new Linear(dim, targetVocab);
    this.drop = new Dropout(full.dropout);
    this.initialize();
  }

  /** Xavier's uniform weights, biases zero; embeddings of deviation 1/√dim, so that they have deviation 1 once scaled. */
  private initialize(): void {
    for (const [name, p] of this.namedParameters()) {
      if (/norm/.test(name)) continue;
      if (name.endsWith('bias')) F.init.zeros_(p);
      else if (/embed|pos/.test(name)) F.init.normal_(p, { mean: 0, std: this.config.dim ** -0.5 });
      else F.init.xavierUniform_(p);
    }
  }

  /**
   * What the encoder makes of the source.
   *
   * @param source token ids, int32 [B, S]
   * @param options `padding`: bool [B, S], true for padding; default where the source is `padToken`
   * @returns the memory, [B, S, C]
   * @throws ShapeError unless the source is [B, S ≤ maxLength].
   */
  encode(source: Tensor, options: { padding?: Tensor | null } = {}): Tensor {
    const { padding = this.paddingOf(source) } = options;
    return this.encoder.forward(this.embed('source', source, this.src_embed, this.src_pos, 0), padding);
  }

  /**
   * What the decoder makes of the target up to each position, having seen the memory.
   *
   * @param target token ids, int32 [B, T], the first one the start token
   * @param memory what `encode` gave, [B, S, C]
   * @returns [B, T, C]; `logits` gives their scores
   * @throws ShapeError unless the target is [B, T ≤ maxLength], of the memory's batch.
   */
  decode(target: Tensor, memory: Tensor, options: DecodeInputs = {}): Tensor {
    const { cache = null, memoryPadding = null } = options;
    const { padding = cache ? null : this.paddingOf(target) } = options;
    const at = cache?.length ?? 0;
    const x = this.embed('target', target, this.tgt_embed, this.tgt_pos, at);
    if (memory.ndim !== 3 || memory.shape[0] !== target.shape[0] || memory.shape[2] !== this.config.dim) {
      throw new ShapeError(
        `Transformer: expected a memory of shape [${target.shape[0]}, S, ${this.config.dim}], got ${formatShape(memory.shape)}`,
      );
    }
    const y = this.decoder.forward(x, memory, { padding, memoryPadding, cache });
    cache?.advance(target.shape[1]);
    return y;
  }

  /** Scores of all tokens of the target's vocabulary: [..., C] → [..., V]. */
  logits(x: Tensor): Tensor {
    return this.head ? this.head.forward(x) : F.linear(x, this.tgt_embed.weight);
  }

  /**
   * The scores of each next token, given the source and the target so far.
   *
   * @param source int32 [B, S]
   * @param target int32 [B, T]
   * @returns [B, T, V]
   */
  forward(source: Tensor, target: Tensor, options: SequenceInputs = {}): Tensor {
    return this.logits(this.hidden(source, target, options));
  }

  /** The decoder's vectors [B, T, C], before the head. */
  hidden(source: Tensor, target: Tensor, options: SequenceInputs = {}): Tensor {
    const { sourcePadding = this.paddingOf(source), targetPadding } = options;
    const memory = this.encode(source, { padding: sourcePadding });
    return this.decode(target, memory, { padding: targetPadding, memoryPadding: sourcePadding });
  }

  /**
   * Mean cross-entropy, in nats per token, of each token of the target after those before it (teacher forcing). Padding
   * does not count.
   *
   * @param source int32 [B, S]
   * @param target int32 [B, T + 1], from the start token to the end token
   * @param options `labelSmoothing`: default that of the configuration in training, else 0
   * @returns a scalar
   * @throws ShapeError unless the target has two tokens or more.
   */
  loss(
    source: Tensor,
    target: Tensor,
    options: { sourcePadding?: Tensor | null; labelSmoothing?: number } = {},
  ): Tensor {
    const { labelSmoothing = this.training ? this.config.labelSmoothing : 0, sourcePadding } = options;
    if (target.ndim !== 2 || target.shape[1] < 2) {
      throw new ShapeError(
        `Transformer.loss: expected a target of shape [B, T ≥ 2], from start to end, got ${formatShape(target.shape)}`,
      );
    }
    const T = target.shape[1] - 1;
    const hidden = this.hidden(source, narrow(target, 1, 0, T), { sourcePadding });
    return F.linearCrossEntropy(hidden, this.head?.weight ?? this.tgt_embed.weight, narrow(target, 1, 1, T), {
      bias: this.head?.bias,
      ignoreIndex: this.config.padToken ?? undefined,
      labelSmoothing,
    });
  }

  /** Where ids [B, T] are padding, bool [B, T]; null where the model knows no padding. */
  paddingOf(ids: Tensor): Tensor | null {
    const { padToken } = this.config;
    return padToken === null ? null : eq(ids, padToken);
  }

  /** √C · embedding + position, from position `at` on; [B, T] → [B, T, C]. */
  private embed(what: string, ids: Tensor, table: Embedding, learned: Embedding | null, at: number): Tensor {
    const { maxLength, dim } = this.config;
    const T = ids.shape[1];
    if (ids.ndim !== 2 || at + T > maxLength) {
      const room = at > 0 ? `${maxLength - at}, after ${at} tokens` : maxLength;
      throw new ShapeError(
        `Transformer: expected ${what} ids of shape [B, T ≤ ${room}], got ${formatShape(ids.shape)}`,
      );
    }
    const positions = narrow(learned ? learned.weight : this.waves!, 0, at, T);
    return this.drop.forward(mul(table.forward(ids), Math.sqrt(dim)).add(positions));
  }
}

/** @throws ShapeError or DataError for a configuration that makes no model. */
function check(config: TransformerConfig): void {
  checkLayerConfig(config);
  for (const name of ['sourceVocab', 'targetVocab', 'encoderLayers', 'decoderLayers', 'maxLength'] as const) {
    if (!(Number.isInteger(config[name]) && config[name] > 0)) {
      throw new ShapeError(`Transformer: expected ${name} to be a positive integer, got ${config[name]}`);
    }
  }
  const { sourceVocab, targetVocab, padToken, positions, labelSmoothing } = config;
  if (config.tieSource && sourceVocab !== targetVocab) {
    throw new ShapeError(
      `Transformer: expected one vocabulary for tieSource, got ${sourceVocab} source and ${targetVocab} target tokens`,
    );
  }
  if (positions !== 'sinusoidal' && positions !== 'learned') {
    throw new DataError(`Transformer: expected positions 'sinusoidal' or 'learned', got '${positions}'`);
  }
  const tokens = Math.min(sourceVocab, targetVocab);
  if (padToken !== null && !(Number.isInteger(padToken) && padToken >= 0 && padToken < tokens)) {
    throw new DataError(`Transformer: expected a padToken in [0, ${tokens}) or null, got ${padToken}`);
  }
  if (!(labelSmoothing >= 0 && labelSmoothing < 1)) {
    throw new DataError(`Transformer: expected labelSmoothing in [0, 1), got ${labelSmoothing}`);
  }
}
