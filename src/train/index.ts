/** The namespace `train`: what of training works in browsers too. The loop with its files is in `dawngrad/node`. */
export {
  type BatchSource,
  consecutiveWindows,
  Epochs,
  RandomWindows,
  type TokenBatch,
  toTensors,
} from './batches.js';
export {
  BowClassifier,
  type BowJSON,
  type BowOptions,
  type LabelledTexts,
  PriorClassifier,
  tuneBow,
} from './bow-baseline.js';
export { BowVectors, type BowVectorOptions, type BowVectorsJSON, type SparseRow } from './bow-vectors.js';
export {
  type Bar,
  barsSvg,
  type ChartPoint,
  type ChartSeries,
  type CurvesOptions,
  curvesSvg,
  type HistogramOptions,
  histogramSvg,
} from './chart.js';
export {
  type BootstrapOptions,
  balancedAccuracy,
  bestThreshold,
  bootstrapInterval,
  brier,
  type CalibrationBin,
  type CalibrationOptions,
  type ConfusionMatrix,
  calibrationCurve,
  calibrationError,
  confusionMatrix,
  type Interval,
  type Labels,
  type Metric,
  macroF1,
  type PairedComparison,
  type PrPoint,
  pairedBootstrap,
  prAuc,
  prCurve,
  type RocPoint,
  rocAuc,
  rocCurve,
  type Scores,
  type ThresholdMetric,
} from './classification-metrics.js';
export {
  calibrationSvg,
  classifierSections,
  formatMetricRows,
  type MetricName,
  type MetricRow,
  measureModels,
  prSvg,
  type ReportOptions,
  rocSvg,
  type ScoredModel,
} from './classifier-report.js';
export { explorationHtml, formatExploration } from './explore-report.js';
export type { Finding } from './finding.js';
export {
  escapeHtml,
  type HtmlCell,
  type HtmlReport,
  type HtmlSection,
  htmlCharts,
  htmlReport,
  htmlTable,
  htmlText,
} from './html-report.js';
export { LossWatch } from './loss-watch.js';
export { type DeviceSpeed, measureDevice } from './measure.js';
export {
  PARALLEL_STYLE,
  type ParallelAxis,
  type ParallelLine,
  type ParallelOptions,
  parallelSvg,
} from './parallel-chart.js';
export { type Baseline, type LossCurveOptions, type LossPoint, lossCurveSvg } from './plot.js';
export { correctedResampledTTest, type ResampledTTest } from './resampled-t-test.js';
export {
  checkPositions,
  checkStart,
  checkTokens,
  checkVocabulary,
  describeStart,
  type StartFacts,
} from './sanity.js';
export { checkGradients } from './sanity-gradients.js';
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
export { Asha, type AshaOptions, type Job, type RungOptions, rungBudgets } from './tune-asha.js';
export {
  type ChoiceDistribution,
  type Condition,
  type Distribution,
  type FixedValue,
  type NumberDistribution,
  type ParamsOf,
  parseSpace,
  type SearchSpace,
  sampleSpace,
} from './tune-space.js';
export { type ZeroShotOptions, zeroShot } from './zero-shot.js';
