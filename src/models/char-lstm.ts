/** A character-level LSTM: embedding, recurrent layers, linear. */

import { select } from '../autograd/ops/views.js';
import { ShapeError } from '../device/errors.js';
import * as F from '../nn/functional.js';
import { Embedding, Linear, LSTM, Module } from '../nn/index.js';
import { formatShape } from '../tensor/shape.js';
import type { Tensor } from '../tensor/tensor.js';
import type { RecurrentLM } from './recurrent-lm.js';

export interface CharLSTMConfig {
  /** V: number of characters. */
  readonly vocabSize: number;
  /** Width of a character's vector. Default 48. */
  readonly embedding?: number;
  /** H: numbers that the network remembers. Default 96. */
  readonly hidden?: number;
  /** LSTM layers on top of one another. Default 1. */
  readonly layers?: number;
  /** Share of activations dropped between layers in training. Default 0. */
  readonly dropout?: number;
}

/** h and c of all layers, each [layers, B, H]. */
export type LSTMState = readonly [h: Tensor, c: Tensor];

/**
 * A language model that reads one character after the other and keeps nothing of what it has read but its state:
 * logits_t = W·h_t + b, (h_t, c_t) = LSTM(embedding(id_t), h_{t−1}, c_{t−1}).
 *
 * Parameters: V·E + 4H·(E + H) + 8H + H·V + V for one layer; 64,764 for V = 60, E = 48, H = 96.
 *
 * @source Graves, Generating sequences with recurrent neural networks (2013)
 * @example
 * const model = new CharLSTM({ vocabSize: vocabulary.size });
 * const [logits, state] = model.step(ids); // ids [B, T] → logits [B, V] of what comes next
 * const [next] = model.step(chosen, state); // chosen [B, 1]
 */
export class CharLSTM extends Module implements RecurrentLM {
  readonly embedding: Embedding;
  readonly lstm: LSTM;
  readonly head: Linear;
  readonly shape: RecurrentLM['shape'];

  constructor({ vocabSize, embedding = 48, hidden = 96, layers = 1, dropout = 0 }: CharLSTMConfig) {
    super();
    this.shape = { vocabSize, contextLength: Number.POSITIVE_INFINITY };
    this.embedding = new Embedding(vocabSize, embedding);
    this.lstm = new LSTM(embedding, hidden, { numLayers: layers, dropout, batchFirst: true });
    this.head = new Linear(hidden, vocabSize);
  }

  /**
   * What the network remembers after each character.
   *
   * @param ids int32 [B, T]
   * @param state where to go on from; zeros by default
   * @returns hidden states of the last layer [B, T, H], and the state after the last character
   * @throws ShapeError for ids of another shape.
   */
  hidden(ids: Tensor, state?: LSTMState | null): [Tensor, LSTMState] {
    if (ids.ndim !== 2) {
      throw new ShapeError(`CharLSTM: expected ids of shape [B, T], got ${formatShape(ids.shape)}`);
    }
    return this.lstm.forward(this.embedding.forward(ids), state);
  }

  /**
   * Logits of the next character at every position.
   *
   * @param ids int32 [B, T]
   * @param state where to go on from; zeros by default
   * @returns logits [B, T, V], and the state after the last character
   */
  forward(ids: Tensor, state?: LSTMState | null): [Tensor, LSTMState] {
    const [hidden, next] = this.hidden(ids, state);
    return [this.head.forward(hidden), next];
  }

  /**
   * Reads characters and says what may come next, carrying the state on.
   *
   * @param ids int32 [B, T]; one character per sequence, [B, 1], while generating
   * @param state where to go on from; zeros by default
   * @returns logits [B, V] after the last character, and the state there
   */
  step(ids: Tensor, state?: LSTMState | null): [Tensor, LSTMState] {
    const [hidden, next] = this.hidden(ids, state);
    return [this.head.forward(select(hidden, 1, -1)), next];
  }

  /** Mean cross-entropy in nats of `targets` [B, T] after `ids` [B, T], from a state of zeros. */
  loss(ids: Tensor, targets: Tensor): Tensor {
    const [logits] = this.forward(ids);
    return F.crossEntropy(logits.reshape([-1, this.shape.vocabSize]), targets.reshape([-1]));
  }
}
