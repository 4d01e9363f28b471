/** Learning rates that change with the steps. Call `scheduler.step()` after `optimizer.step()`. */
import { DataError } from '../device/errors.js';
import type { Optimizer } from './optimizer.js';

/** A scheduler's state as JSON. */
export interface SchedulerState {
  readonly type: string;
  readonly lastEpoch: number;
  readonly baseLrs: readonly number[];
}

/** Any optimizer: schedulers only read and write `lr` (and, one-cycle, the momentum). */
// biome-ignore lint/suspicious/noExplicitAny: the hyper-parameters of the optimizer do not matter here.
export type AnyOptimizer = Optimizer<any>;

/**
 * The base of schedulers whose learning rate is a function of the step alone: lr = f(base lr, step). `lastEpoch` counts
 * the steps; the first learning rate is set when the scheduler is made.
 *
 * @source torch.optim.lr_scheduler.LRScheduler (its closed forms)
 */
export abstract class LRScheduler {
  lastEpoch = 0;
  protected baseLrs: number[];

  constructor(
    readonly name: string,
    protected readonly optimizer: AnyOptimizer,
  ) {
    for (const group of optimizer.paramGroups) group.initialLr ??= group.lr;
    this.baseLrs = optimizer.paramGroups.map((g) => g.initialLr!);
  }

  /** The learning rate of group `group` after `epoch` steps. */
  protected abstract lrAt(epoch: number, base: number, group: number): number;

  /** Sets the learning rates for the current step. Subclasses call it at the end of their constructors. */
  protected apply(): void {
    this.optimizer.paramGroups.forEach((group, i) => {
      group.lr = this.lrAt(this.lastEpoch, this.baseLrs[i], i);
    });
  }

  /** Moves on by one step. */
  step(): void {
    this.lastEpoch++;
    this.apply();
  }

  /** The learning rate of each group now. */
  getLastLr(): number[] {
    return this.optimizer.paramGroups.map((g) => g.lr);
  }

  /** What is needed to go on from here, as JSON; functions and constructor arguments are not part of it. */
  stateDict(): SchedulerState {
    return { type: this.name, lastEpoch: this.lastEpoch, baseLrs: [...this.baseLrs] };
  }

  /** Takes over a saved state and sets the learning rates. @throws DataError for the state of another scheduler. */
  loadStateDict(state: SchedulerState): void {
    checkState(this.name, state, this.baseLrs.length);
    this.lastEpoch = state.lastEpoch;
    this.baseLrs = [...state.baseLrs];
    this.apply();
  }
}

function checkState(
  name: string,
  state: { type: string; baseLrs?: readonly number[] },
  groups: number,
): void {
  if (state.type !== name) {
    throw new DataError(`${name}.loadStateDict: expected the state of ${name}, got that of ${state.type}`);
  }
  if (state.baseLrs && state.baseLrs.length !== groups) {
    throw new DataError(
      `${name}.loadStateDict: expected learning rates of ${groups} groups, got ${state.baseLrs.length}`,
    );
  }
}

/** lr = base · f(step), with one function for all groups or one for each. @source torch.optim.lr_scheduler.LambdaLR */
export class LambdaLR extends LRScheduler {
  constructor(
    optimizer: AnyOptimizer,
    private readonly factor: ((step: number) => number) | readonly ((step: number) => number)[],
  ) {
    super('LambdaLR', optimizer);
    if (typeof factor !== 'function' && factor.length !== this.baseLrs.length) {
      throw new RangeError(
        `LambdaLR: expected one function or ${this.baseLrs.length} of them, got ${factor.length}`,
      );
    }
    this.apply();
  }

  protected override lrAt(epoch: number, base: number, group: number): number {
    return base * (typeof this.factor === 'function' ? this.factor : this.factor[group])(epoch);
  }
}

/** lr = base · γ^⌊step / stepSize⌋. @source torch.optim.lr_scheduler.StepLR */
export class StepLR extends LRScheduler {
  private readonly stepSize: number;
  private readonly gamma: number;

  constructor(optimizer: AnyOptimizer, { stepSize, gamma = 0.1 }: { stepSize: number; gamma?: number }) {
    super('StepLR', optimizer);
    if (!(stepSize >= 1)) throw new RangeError(`StepLR: expected a stepSize of at least 1, got ${stepSize}`);
    this.stepSize = stepSize;
    this.gamma = gamma;
    this.apply();
  }

  protected override lrAt(epoch: number, base: number): number {
    return base * this.gamma ** Math.floor(epoch / this.stepSize);
  }
}

/**
 * lr = ηₘᵢₙ + (base − ηₘᵢₙ)(1 + cos(π · step / tMax)) / 2; beyond tMax it rises again.
 *
 * @source torch.optim.lr_scheduler.CosineAnnealingLR; Loshchilov and Hutter: SGDR (ICLR 2017), equation 5.
 */
export class CosineAnnealingLR extends LRScheduler {
  private readonly tMax: number;
  private readonly etaMin: number;

  constructor(optimizer: AnyOptimizer, { tMax, etaMin = 0 }: { tMax: number; etaMin?: number }) {
    super('CosineAnnealingLR', optimizer);
    if (!(tMax > 0)) throw new RangeError(`CosineAnnealingLR: expected a tMax above 0, got ${tMax}`);
    this.tMax = tMax;
    this.etaMin = etaMin;
    this.apply();
  }

  protected override lrAt(epoch: number, base: number): number {
    return this.etaMin + ((base - this.etaMin) * (1 + Math.cos((Math.PI * epoch) / this.tMax))) / 2;
  }
}

/**
 * Linear from 0 to the base learning rate over `warmupSteps`, then a half cosine down to `minFactor` of it at `totalSteps`,
 * where it stays.
 *
 * @source transformers.get_cosine_schedule_with_warmup (minFactor 0)
 */
export class WarmupCosineLR extends LRScheduler {
  private readonly warmupSteps: number;
  private readonly totalSteps: number;
  private readonly minFactor: number;

  constructor(
    optimizer: AnyOptimizer,
    options: { warmupSteps: number; totalSteps: number; minFactor?: number },
  ) {
    super('WarmupCosineLR', optimizer);
    const { warmupSteps, totalSteps, minFactor = 0 } = options;
    if (!(warmupSteps >= 0 && warmupSteps <= totalSteps)) {
      throw new RangeError(
        `WarmupCosineLR: expected 0 ≤ warmupSteps ≤ totalSteps, got ${warmupSteps} and ${totalSteps}`,
      );
    }
    this.warmupSteps = warmupSteps;
    this.totalSteps = totalSteps;
    this.minFactor = minFactor;
    this.apply();
  }

  protected override lrAt(epoch: number, base: number): number {
    if (epoch < this.warmupSteps) return (base * epoch) / this.warmupSteps;
    const span = Math.max(1, this.totalSteps - this.warmupSteps);
    const progress = Math.min((epoch - this.warmupSteps) / span, 1);
    return base * (this.minFactor + ((1 - this.minFactor) * (1 + Math.cos(Math.PI * progress))) / 2);
  }
}

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
