/** Layers without a family: linear, embedding, dropout, identity, flatten. */
import { dropout } from '../autograd/ops/dropout.js';
import { embedding } from '../autograd/ops/index.js';
import { type LinearOptions, linear } from '../autograd/ops/linear.js';
import { checkProbability } from '../autograd/ops/random.js';
import { flatten, select } from '../autograd/ops/views.js';
import { ShapeError } from '../device/errors.js';
import { scope } from '../tensor/lifetime.js';
import type { Tensor } from '../tensor/tensor.js';
import { kaimingUniform_, normal_, uniform_, zeros_ } from './init.js';
import { Module } from './module.js';
import { type FactoryOptions, Parameter } from './parameter.js';

export interface InitializeOptions extends FactoryOptions {
  /** Whether to draw first values. False leaves them undefined, for a model that draws its own or reads them. Default true. */
  readonly initialize?: boolean;
}

/**
 * y = x·Wᵀ + b, with W [out, in] and b [out], both uniform in ±1/√in at first.
 *
 * @source torch.nn.Linear
 * @example
 * new Linear(3, 4).forward(x); // [..., 3] → [..., 4]
 */
export class Linear extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter | null;

  constructor(
    readonly inFeatures: number,
    readonly outFeatures: number,
    { bias = true, initialize = true, ...options }: InitializeOptions & { bias?: boolean } = {},
  ) {
    super();
    this.weight = Parameter.empty([outFeatures, inFeatures], options);
    this.bias = bias ? Parameter.empty([outFeatures], options) : null;
    if (initialize) this.resetParameters();
  }

  /** Draws the first values again. */
  resetParameters(): void {
    if (this.inFeatures === 0) return;
    // A leaky slope of √5 makes He's bound 1/√in.
    kaimingUniform_(this.weight, { a: Math.sqrt(5) });
    const bound = 1 / Math.sqrt(this.inFeatures);
    if (this.bias) uniform_(this.bias, { a: -bound, b: bound });
  }

  /**
   * [..., in] → [..., out], with an activation or a residual in the same operation where wanted.
   *
   * @throws ShapeError where the last dim is not `in`.
   */
  forward(x: Tensor, options?: LinearOptions): Tensor {
    return linear(x, this.weight, this.bias, options);
  }
}

/**
 * Rows of a table W [V, C] by index, standard normal at first.
 *
 * @source torch.nn.Embedding
 * @example
 * new Embedding(60, 48).forward(ids); // [B, T] → [B, T, 48]
 */
export class Embedding extends Module {
  readonly weight: Parameter;
  /** Row that stays as it is: zeros at first, and no gradient. */
  readonly paddingIdx: number | undefined;

  constructor(
    readonly numEmbeddings: number,
    readonly embeddingDim: number,
    { paddingIdx, initialize = true, ...options }: InitializeOptions & { paddingIdx?: number } = {},
  ) {
    super();
    if (
      paddingIdx !== undefined &&
      !(Number.isInteger(paddingIdx) && paddingIdx >= -numEmbeddings && paddingIdx < numEmbeddings)
    ) {
      throw new ShapeError(
        `Embedding: expected paddingIdx in [${-numEmbeddings}, ${numEmbeddings - 1}], got ${paddingIdx}`,
      );
    }
    this.paddingIdx = paddingIdx !== undefined && paddingIdx < 0 ? paddingIdx + numEmbeddings : paddingIdx;
    this.weight = Parameter.empty([numEmbeddings, embeddingDim], options);
    if (initialize) this.resetParameters();
  }

  /** Draws the first values again. */
  resetParameters(): void {
    normal_(this.weight);
    const { paddingIdx, weight } = this;
    if (paddingIdx !== undefined) {
      scope(() => {
        zeros_(select(weight.detach(), 0, paddingIdx));
      });
    }
  }

  /** int32 or uint32 of any shape → the same with C at its end. @throws ShapeError for an index out of range. */
  forward(indices: Tensor): Tensor {
    return embedding(this.weight, indices, { paddingIdx: this.paddingIdx });
  }
}

/** In training, zeroes elements with probability p and scales the others by 1 / (1 − p). @source torch.nn.Dropout */
export class Dropout extends Module {
  constructor(readonly p = 0.5) {
    super();
    checkProbability('Dropout', p);
  }

  forward(x: Tensor): Tensor {
    return dropout(x, this.p, this.training);
  }
}

/** x itself. @source torch.nn.Identity */
export class Identity extends Module {
  forward(x: Tensor): Tensor {
    return x;
  }
}

/** Dims `start` to `end` as one; all but the batch dim by default. @source torch.nn.Flatten */
export class Flatten extends Module {
  constructor(
    readonly startDim = 1,
    readonly endDim = -1,
  ) {
    super();
  }

  forward(x: Tensor): Tensor {
    return flatten(x, this.startDim, this.endDim);
  }
}
