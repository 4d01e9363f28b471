/** What generation, fine-tuning and evaluation ask of a language model. */
import type { Module } from '../nn/module.js';
import type { Tensor } from '../tensor/tensor.js';
import type { KVCache } from './kv-cache.js';

export interface CausalLMConfig {
  /** V: number of tokens in the vocabulary. */
  readonly vocabSize: number;
  /** Longest context, in tokens. */
  readonly contextLength: number;
  readonly layers: number;
  /** H: attention heads; divides `dim`. */
  readonly heads: number;
  /** C: width of the residual stream. */
  readonly dim: number;
}

export interface CausalForwardOptions {
  /** Keys and values of earlier tokens; those of `ids` are added to it. It knows positions and padding. */
  readonly cache?: KVCache | null;
  /** bool [B, T]: true for real tokens, false for padding, which nobody sees. Not beside a cache. */
  readonly keyPadding?: Tensor | null;
  /** int32 [B, T]; default 0 … T − 1, or as the cache says. */
  readonly positions?: Tensor | null;
}

/** A model that gives, for every position, the logits of the next token. */
export interface CausalLM extends Module {
  readonly shape: CausalLMConfig;
  /** Token ids [B, T] → what the head reads, [B, T, C]. */
  hidden(ids: Tensor, options?: CausalForwardOptions): Tensor;
  /** [..., C] → logits [..., V]. */
  head(x: Tensor): Tensor;
  /** Token ids [B, T] → logits [B, T, V]. */
  forward(ids: Tensor, options?: CausalForwardOptions): Tensor;
  /** Mean cross-entropy in nats of `targets` [B, T] after `ids` [B, T]; targets of −100 do not count. */
  loss(ids: Tensor, targets: Tensor, options?: CausalForwardOptions): Tensor;
}
