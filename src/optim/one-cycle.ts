/** The one-cycle schedule. */
import { type AnyOptimizer, LRScheduler } from './scheduler.js';

export interface OneCycleOptions {
  /** The highest learning rate: one for all groups or one for each. */
  maxLr: number | readonly number[];
  totalSteps: number;
  /** Share of the steps that climb; default 0.3. */
  pctStart?: number;
  annealStrategy?: 'cos' | 'linear';
  /** Moves the momentum (SGD) or β₁ (Adam) the other way; default true. */
  cycleMomentum?: boolean;
  /** Default 0.85. */
  baseMomentum?: number;
  /** Default 0.95. */
  maxMomentum?: number;
  /** First learning rate: maxLr / divFactor; default 25. */
  divFactor?: number;
  /** Last learning rate: the first / finalDivFactor; default 10⁴. */
  finalDivFactor?: number;
}

/**
 * Climbs to `maxLr` over the first `pctStart` of the steps and descends far below the start over the others; the momentum
 * goes the other way.
 *
 * @throws RangeError for a step beyond `totalSteps`.
 * @source torch.optim.lr_scheduler.OneCycleLR (two phases); Smith and Topin: Super-Convergence (2018).
 */
export class OneCycleLR extends LRScheduler {
  private readonly options: Required<Omit<OneCycleOptions, 'maxLr'>>;
  private readonly maxLrs: readonly number[];

  constructor(optimizer: AnyOptimizer, { maxLr, ...options }: OneCycleOptions) {
    const groups = optimizer.paramGroups;
    const maxLrs = typeof maxLr === 'number' ? groups.map(() => maxLr) : maxLr;
    if (maxLrs.length !== groups.length) {
      throw new RangeError(
        `OneCycleLR: expected a maxLr or one for each of ${groups.length} groups, got ${maxLrs.length}`,
      );
    }
    if (!(options.totalSteps >= 1)) {
      throw new RangeError(`OneCycleLR: expected totalSteps of at least 1, got ${options.totalSteps}`);
    }
    const divFactor = options.divFactor ?? 25;
    groups.forEach((g, i) => {
      g.initialLr = maxLrs[i] / divFactor;
    });
    super('OneCycleLR', optimizer);
    this.maxLrs = maxLrs;
    this.options = {
      pctStart: 0.3,
      annealStrategy: 'cos',
      cycleMomentum: true,
      baseMomentum: 0.85,
      maxMomentum: 0.95,
      finalDivFactor: 1e4,
      ...options,
      divFactor,
    };
    this.apply();
  }

  /** From `start` over `middle` (after `pctStart` of the steps) to `end`. */
  private at(epoch: number, start: number, middle: number, end: number): number {
    const { totalSteps, pctStart, annealStrategy } = this.options;
    const peak = pctStart * totalSteps - 1;
    const last = totalSteps - 1;
    const climbs = epoch <= peak;
    const [from, to] = climbs ? [start, middle] : [middle, end];
    // The step after the last update asks for one more value; it stays at the end.
    const share = Math.min(climbs ? epoch / (peak || 1) : (epoch - peak) / (last - peak || 1), 1);
    return annealStrategy === 'linear'
      ? from + (to - from) * share
      : to + ((from - to) * (1 + Math.cos(Math.PI * share))) / 2;
  }

  protected override lrAt(epoch: number, base: number, group: number): number {
    const { totalSteps, finalDivFactor } = this.options;
    if (epoch > totalSteps) {
      throw new RangeError(`OneCycleLR: expected at most ${totalSteps} steps, got step ${epoch}`);
    }
    return this.at(epoch, base, this.maxLrs[group], base / finalDivFactor);
  }

  protected override apply(): void {
    super.apply();
    const { cycleMomentum, baseMomentum, maxMomentum } = this.options;
    if (!cycleMomentum) return;
    const momentum = this.at(this.lastEpoch, maxMomentum, baseMomentum, maxMomentum);
    for (const group of this.optimizer.paramGroups) {
      if (group.betas) group.betas = [momentum, group.betas[1]];
      else if ('momentum' in group) group.momentum = momentum;
    }
  }
}
