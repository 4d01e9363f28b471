/** Optimizers, learning-rate schedules, gradient clipping. */
export { Adam, type AdamOptions, AdamW } from './adam.js';
export { clipGradNorm_, clipGradValue_ } from './clip.js';
export { Optimizer, type OptimizerState, type ParamGroup, type Params } from './optimizer.js';
export {
  type AnyOptimizer,
  CosineAnnealingLR,
  LambdaLR,
  LRScheduler,
  OneCycleLR,
  type OneCycleOptions,
  type PlateauOptions,
  type PlateauState,
  ReduceLROnPlateau,
  type SchedulerState,
  StepLR,
  WarmupCosineLR,
} from './scheduler.js';
export { SGD, type SGDOptions } from './sgd.js';
