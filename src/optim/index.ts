/** Optimizers, learning-rate schedules, gradient clipping. */
export { Adam, type AdamOptions, AdamW } from './adam.js';
export { clipGradNorm_, clipGradValue_ } from './clip.js';
export { GradScaler, type GradScalerOptions, type GradScalerState } from './grad-scaler.js';
export { NoamLR, type NoamOptions } from './noam.js';
export { OneCycleLR, type OneCycleOptions } from './one-cycle.js';
export { Optimizer, type OptimizerState, type ParamGroup, type Params } from './optimizer.js';
export { type PlateauOptions, type PlateauState, ReduceLROnPlateau } from './plateau.js';
export {
  type AnyOptimizer,
  CosineAnnealingLR,
  LambdaLR,
  LRScheduler,
  type SchedulerState,
  StepLR,
  WarmupCosineLR,
} from './scheduler.js';
export { SGD, type SGDOptions } from './sgd.js';
