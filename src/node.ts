/**
 * What of dawngrad needs Node.js: files, run folders, the training loop.
 *
 * @module dawngrad/node
 */
export { type Novel, readNovel } from './data/novel.js';
export { type QARecord, readQA } from './data/qa-file.js';
export { readSafetensorsFile, writeSafetensorsFile } from './data/safetensors-file.js';
export {
  type CharLM,
  type CharLMConfig,
  defaultConfig,
  prepareCharLM,
  type SampleOptions,
  sampleText,
} from './train/char-lm.js';
export { entryToTensor, loadTensors, saveTensors, tensorsToEntries } from './train/checkpoint.js';
export { formatDuration, Progress, type ProgressOptions, type ProgressUpdate } from './train/progress.js';
export { listRuns, type MetricsLine, RunFolder, type RunListing } from './train/run-folder.js';
export { meanLoss, Trainer, type TrainerOptions, type TrainResult } from './train/trainer.js';
