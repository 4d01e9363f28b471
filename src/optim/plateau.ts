/** A learning rate that falls when a metric stops improving. */
import { type AnyOptimizer, checkState } from './scheduler.js';

export interface PlateauOptions {
  /** Whether a smaller or a larger metric is better; default 'min'. */
  mode?: 'min' | 'max';
  /** What the learning rate is multiplied by; default 0.1. */
  factor?: number;
  /** Bad evaluations that are tolerated; default 10. */
  patience?: number;
  /** How much better counts as better; default 1e-4. */
  threshold?: number;
  /** Whether the threshold is a share of the best value or a difference; default 'rel'. */
  thresholdMode?: 'rel' | 'abs';
  /** Evaluations after a reduction during which bad ones do not count; default 0. */
  cooldown?: number;
  /** Default 0. */
  minLr?: number;
  /** Smaller changes of the learning rate are not made; default 1e-8. */
  eps?: number;
}

/** ReduceLROnPlateau's state as JSON; null is no best value yet. */
export interface PlateauState {
  readonly type: string;
  readonly lastEpoch: number;
  readonly best: number | null;
  readonly badEpochs: number;
  readonly cooldownCounter: number;
}

/**
 * Multiplies the learning rate by `factor` when a metric has not improved for more than `patience` evaluations.
 *
 * @source torch.optim.lr_scheduler.ReduceLROnPlateau
 */
export class ReduceLROnPlateau {
  readonly name = 'ReduceLROnPlateau';
  lastEpoch = 0;
  private best: number | null = null;
  private badEpochs = 0;
  private cooldownCounter = 0;
  private readonly options: Required<PlateauOptions>;

  constructor(
    private readonly optimizer: AnyOptimizer,
    options: PlateauOptions = {},
  ) {
    this.options = {
      mode: 'min',
      factor: 0.1,
      patience: 10,
      threshold: 1e-4,
      thresholdMode: 'rel',
      cooldown: 0,
      minLr: 0,
      eps: 1e-8,
      ...options,
    };
    const { factor } = this.options;
    if (!(factor < 1)) throw new RangeError(`ReduceLROnPlateau: expected a factor below 1, got ${factor}`);
  }

  /** Takes in an evaluation: the metric as a number. */
  step(metric: number): void {
    const { patience, cooldown, factor, minLr, eps } = this.options;
    this.lastEpoch++;
    if (this.isBetter(metric)) {
      this.best = metric;
      this.badEpochs = 0;
    } else this.badEpochs++;
    if (this.cooldownCounter > 0) {
      this.cooldownCounter--;
      this.badEpochs = 0;
    }
    if (this.badEpochs <= patience) return;
    for (const group of this.optimizer.paramGroups) {
      const lr = Math.max(group.lr * factor, minLr);
      if (group.lr - lr > eps) group.lr = lr;
    }
    this.cooldownCounter = cooldown;
    this.badEpochs = 0;
  }

  private isBetter(metric: number): boolean {
    const { mode, threshold, thresholdMode } = this.options;
    if (this.best === null) return !Number.isNaN(metric);
    const margin = thresholdMode === 'rel' ? this.best * threshold : threshold;
    return mode === 'min' ? metric < this.best - margin : metric > this.best + margin;
  }

  /** The learning rate of each group now. */
  getLastLr(): number[] {
    return this.optimizer.paramGroups.map((g) => g.lr);
  }

  /** What is needed to go on from here, as JSON. The learning rates themselves are in the optimizer's state. */
  stateDict(): PlateauState {
    const { name, lastEpoch, best, badEpochs, cooldownCounter } = this;
    return { type: name, lastEpoch, best, badEpochs, cooldownCounter };
  }

  /** Takes over a saved state. @throws DataError for the state of another scheduler. */
  loadStateDict(state: PlateauState): void {
    checkState(this.name, state, 0);
    this.lastEpoch = state.lastEpoch;
    this.best = state.best;
    this.badEpochs = state.badEpochs;
    this.cooldownCounter = state.cooldownCounter;
  }
}
