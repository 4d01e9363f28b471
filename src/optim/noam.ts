/** The schedule of the paper that introduced the Transformer. */
import { type AnyOptimizer, LRScheduler } from './scheduler.js';

export interface NoamOptions {
  /** Width of the model. */
  dim: number;
  warmupSteps: number;
}

/**
 * lr = base · dim^−½ · min(n^−½, n · warmupSteps^−³⁄²) at step n = 1, 2, …: linear up to `warmupSteps`, then falling as 1/√n. The
 * base learning rate is a factor, 1 in the paper; the peak is base / √(dim · warmupSteps).
 *
 * @throws RangeError unless dim and warmupSteps are at least 1.
 * @source Vaswani et al.: Attention is all you need (2017), equation 3
 * @example
 * const optimizer = new Adam(model.parameters(), { lr: 1, betas: [0.9, 0.98], eps: 1e-9 });
 * const scheduler = new NoamLR(optimizer, { dim: 512, warmupSteps: 4000 });
 */
export class NoamLR extends LRScheduler {
  private readonly dim: number;
  private readonly warmupSteps: number;

  constructor(optimizer: AnyOptimizer, { dim, warmupSteps }: NoamOptions) {
    super('NoamLR', optimizer);
    if (!(dim >= 1 && warmupSteps >= 1)) {
      throw new RangeError(
        `NoamLR: expected dim and warmupSteps of at least 1, got ${dim} and ${warmupSteps}`,
      );
    }
    this.dim = dim;
    this.warmupSteps = warmupSteps;
    this.apply();
  }

  protected override lrAt(epoch: number, base: number): number {
    const n = epoch + 1;
    return base * this.dim ** -0.5 * Math.min(n ** -0.5, n * this.warmupSteps ** -1.5);
  }
}
