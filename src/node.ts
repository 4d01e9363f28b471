/**
 * What of dawngrad needs Node.js: files, run folders, the training loop.
 *
 * @module dawngrad/node
 */
export { type CsvOptions, openCsv } from './data/csv-file.js';
export { type DocumentSourceOptions, loadDocuments, openDocuments } from './data/document-source.js';
export { type GutenbergOptions, gutenbergText } from './data/gutenberg.js';
export { type HubOptions, type HubProgress, type HubRepo, openHubRepo } from './data/hub.js';
export { openJsonLines } from './data/jsonl-file.js';
export { type Novel, readNovel } from './data/novel.js';
export { type SpamOptions, sotuDocuments, spamDocuments } from './data/npm-documents.js';
export { openParquet, type ParquetColumn, type ParquetTable } from './data/parquet-file.js';
export { type QARecord, readQA } from './data/qa-file.js';
export { readSafetensorsFile, writeSafetensorsFile } from './data/safetensors-file.js';
export { openTable, type TableOptions } from './data/table-file.js';
export { openTextFolder, type TextFolderOptions } from './data/text-folder.js';
export {
  type CachedText,
  defaultCacheFolder,
  TokenCache,
  type TokenCacheOptions,
  type TokenizeProgress,
  tokenizeDocuments,
} from './data/token-cache.js';
export type { TokenFile } from './data/token-cache-file.js';
export { GPT2Tokenizer, tokenizerFromJSON } from './data/tokenizer.js';
export { type LoadedGPT2, loadGPT2, saveGPT2 } from './models/gpt2-weights.js';
export {
  type AdapterConfig,
  type AdapterInfo,
  loadAdapter,
  readAdapterConfig,
  saveAdapter,
} from './train/adapter.js';
export {
  type CharLM,
  type CharLMConfig,
  defaultConfig,
  prepareCharLM,
  type SampleOptions,
  sampleText,
} from './train/char-lm.js';
export { charLMConfig, TRAIN, type TrainConfig } from './train/char-lm-config.js';
export { entryToTensor, loadTensors, saveTensors, tensorsToEntries } from './train/checkpoint.js';
export {
  buildClassifier,
  Classifier,
  type ClassifierRun,
  type ClassifyRecord,
  openClassifier,
} from './train/classifier-run.js';
export { type ClassifySetup, prepareClassify } from './train/classify.js';
export type { DocumentBatch } from './train/classify-batches.js';
export { CLASSIFY, type ClassifyConfig } from './train/classify-config.js';
export type { ClassifyData, Division } from './train/classify-data.js';
export type { ClassifyDocument } from './train/classify-documents.js';
export type { ClassifyHooks, ClassifyJob, ClassifySettings } from './train/classify-job.js';
export type {
  ClassifyResult,
  FoldsResult,
  Part,
  PartCounts,
  PredictionLine,
  Thresholds,
  TwinCounts,
} from './train/classify-types.js';
export {
  type ConfigDefinition,
  type ConfigOf,
  type ConfigRules,
  type ConfigSources,
  defineConfig,
  type FieldInfo,
  type FieldKind,
  type FieldTable,
} from './train/config.js';
export { type FinetuneHooks, FinetuneJob, prepareFinetune } from './train/finetune.js';
export { FINETUNE, type FinetuneConfig } from './train/finetune-config.js';
export type { MaskedTokens, Measured, TextData, TextPart } from './train/finetune-data.js';
export type {
  Beginning,
  FinetuneResult,
  HeldOut,
  ModelSize,
  ResolvedSettings,
  Sample,
  Sampled,
  SampleStatistics,
} from './train/finetune-types.js';
export { LoadProgress } from './train/load-progress.js';
export {
  type PredictedChunk,
  type Prediction,
  type PredictOptions,
  Predictor,
  type UnseenDocument,
} from './train/predict.js';
export { formatDuration, Progress, type ProgressOptions, type ProgressUpdate } from './train/progress.js';
export { listRuns, type MetricsLine, RunFolder, type RunListing } from './train/run-folder.js';
export { type RunReport, reportRun } from './train/run-report.js';
export { type ForeignFolder, type FoundRuns, findRuns, openRuns, type Run, readRun } from './train/runs.js';
export { type PlotRunsOptions, runsHtml, runsSvg } from './train/runs-plot.js';
export { type ComparedRow, compareRuns, differingSettings } from './train/runs-table.js';
export {
  type Best,
  type Evaluation,
  meanLoss,
  type Precision,
  Trainer,
  type TrainerOptions,
  type TrainResult,
} from './train/trainer.js';
export {
  type Objective,
  type TrialContext,
  type TrialResult,
  type TuneOptions,
  type TuneResult,
  tune,
} from './train/tune.js';
export type { TuneFile } from './train/tune-file.js';
export { type Importance, importances } from './train/tune-importance.js';
export type { TuneEvent } from './train/tune-journal.js';
export { type TuneFacts, tuneHtml } from './train/tune-report.js';
