/** Models that the library has no file for: an LSTM over characters (system 2) and a plain multi-layer perceptron. */
import { crossEntropy, nn, type Tensor } from '../src/index.js';

export interface LstmShape {
  readonly vocabSize: number;
  readonly embedding: number;
  readonly hidden: number;
}

/** Embedding, one LSTM layer, linear: next-character logits. */
export class CharLstm extends nn.Module {
  readonly embedding: nn.Embedding;
  readonly lstm: nn.LSTM;
  readonly head: nn.Linear;

  constructor({ vocabSize, embedding, hidden }: LstmShape) {
    super();
    this.embedding = new nn.Embedding(vocabSize, embedding);
    this.lstm = new nn.LSTM(embedding, hidden, { batchFirst: true });
    this.head = new nn.Linear(hidden, vocabSize);
  }

  /** ids and targets [B, T]. */
  loss(ids: Tensor, targets: Tensor): Tensor {
    const [hidden] = this.lstm.forward(this.embedding.forward(ids));
    const logits = this.head.forward(hidden);
    return crossEntropy(logits.reshape([-1, logits.shape[2]]), targets.reshape([-1]));
  }
}

/** 784 → 256 → 10, the classic first network. */
export class Mlp extends nn.Module {
  readonly layers = new nn.Sequential(new nn.Linear(784, 256), new nn.ReLU(), new nn.Linear(256, 10));

  /** x [B, 784], targets [B]. */
  loss(x: Tensor, targets: Tensor): Tensor {
    return crossEntropy(this.layers.forward(x), targets);
  }
}
