/** What generation asks of a language model that remembers by a state of fixed size. */
import type { Module } from '../nn/module.js';
import type { Tensor } from '../tensor/tensor.js';

export interface RecurrentLM extends Module {
  readonly shape: {
    /** V: number of tokens in the vocabulary. */
    readonly vocabSize: number;
    /** Infinity: a state of fixed size has no longest text. */
    readonly contextLength: number;
  };
  /**
   * Reads tokens and says what may come next.
   *
   * @param ids int32 [B, T]
   * @param state what an earlier call returned; of zeros where there is none
   * @returns logits [B, V] after the last token, and the state there: tensors [layers, B, H]
   */
  step(ids: Tensor, state?: readonly Tensor[] | null): [logits: Tensor, state: readonly Tensor[]];
}
