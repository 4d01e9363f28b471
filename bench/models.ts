/** What the benchmarks train beside the library's own models. */
import { crossEntropy, nn, type Tensor } from '../src/index.js';
import type { CharTransformerConfig } from '../src/models/char-transformer.js';

/** The Transformer of the peers' table: one layer, width 64, 4 heads, T = 32, vocabulary 65; with B = 4 and SGD. */
export const TINY: CharTransformerConfig = {
  vocabSize: 65,
  blockSize: 32,
  layers: 1,
  heads: 4,
  dim: 64,
  dropout: 0,
};

/** 784 → 256 → 10, the classic first network. */
export class Mlp extends nn.Module {
  readonly layers = new nn.Sequential(new nn.Linear(784, 256), new nn.ReLU(), new nn.Linear(256, 10));

  /** x [B, 784], targets [B]. */
  loss(x: Tensor, targets: Tensor): Tensor {
    return crossEntropy(this.layers.forward(x), targets);
  }
}
