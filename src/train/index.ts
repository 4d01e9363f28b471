/** The namespace `train`: what of training works in browsers too. The loop with its files is in `dawngrad/node`. */
export {
  type BatchSource,
  consecutiveWindows,
  Epochs,
  RandomWindows,
  type TokenBatch,
  toTensors,
} from './batches.js';
export { type DeviceSpeed, measureDevice } from './measure.js';
export { type Baseline, type LossCurveOptions, type LossPoint, lossCurveSvg } from './plot.js';
export {
  checkGradients,
  checkPositions,
  checkStart,
  checkTokens,
  checkVocabulary,
  describeStart,
  type Finding,
  LossWatch,
  type StartFacts,
} from './sanity.js';
export {
  type CountBaseline,
  type CountBaselines,
  distinctN,
  type LengthStatistics,
  lengthStatistics,
  type Perplexity,
  percentile,
  perplexity,
  repetitionRate,
  type TextLoss,
  type TokenSequence,
  tokenBaselines,
} from './text-metrics.js';
