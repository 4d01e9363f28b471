/** An LSTM that may look back at what it knew at every earlier character of the window. */
import { attentionPacked, cat, crossEntropy, nn, type Tensor } from '../../src/index.js';

/**
 * a_t = softmax(q_t·K_≤t / √H)·V_≤t over its own hidden states h_1 … h_t, and tanh(W·[h_t; a_t]) goes to the head.
 *
 * @source Luong et al., Effective approaches to attention-based neural machine translation (2015), equation 5, for the last step
 */
export class AttentionLSTM extends nn.Module {
  readonly embedding: nn.Embedding;
  readonly lstm: nn.LSTM;
  readonly qkv: nn.Linear;
  readonly combine: nn.Linear;
  readonly head: nn.Linear;

  constructor(
    private readonly vocabSize: number,
    embedding = 48,
    hidden = 96,
  ) {
    super();
    this.embedding = new nn.Embedding(vocabSize, embedding);
    this.lstm = new nn.LSTM(embedding, hidden, { batchFirst: true });
    this.qkv = new nn.Linear(hidden, 3 * hidden);
    this.combine = new nn.Linear(2 * hidden, hidden);
    this.head = new nn.Linear(hidden, vocabSize);
  }

  /** Ids [B, T] → logits [B, T, V]. */
  forward(ids: Tensor): Tensor {
    const [h] = this.lstm.forward(this.embedding.forward(ids));
    const attended = attentionPacked(this.qkv.forward(h), 1, { isCausal: true });
    return this.head.forward(this.combine.forward(cat([h, attended], 2)).tanh());
  }

  loss(ids: Tensor, targets: Tensor): Tensor {
    return crossEntropy(this.forward(ids).reshape([-1, this.vocabSize]), targets.reshape([-1]));
  }
}
