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

/** @internal @throws DataError unless the state is of this scheduler and as many groups. */
export function checkState(
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
