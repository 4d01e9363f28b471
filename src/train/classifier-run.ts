/** Node only. The run folder of a document classifier: what it says, and the classifier that was trained in it. */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { noGrad } from '../autograd/mode.js';
import { type Tokenizer, tokenizerFromJSON } from '../data/tokenizer.js';
import { DataError } from '../device/errors.js';
import type { Device } from '../device/types.js';
import type { ChunkBatch } from '../models/chunk-batch.js';
import type { ChunkClassifier } from '../models/chunk-classifier.js';
import { GPT2 } from '../models/gpt2.js';
import type { GPT2Config } from '../models/gpt2-config.js';
import type { PretrainedProgress } from '../models/pretrained.js';
import type { WindowBatch, WindowClassifier } from '../models/window-classifier.js';
import type { Module, StateDict } from '../nn/module.js';
import { loadTensors } from './checkpoint.js';
import { buildClassifier, type Classifier } from './classifier-model.js';
import { CLASSIFY, type ClassifyConfig } from './classify-config.js';
import type { ClassifyResult } from './classify-types.js';
import { openTrained } from './finetune-model.js';
import { RunFolder } from './run-folder.js';
import { BEST } from './trainer.js';

export { buildClassifier, Classifier } from './classifier-model.js';

export const TOKENIZER = 'tokenizer.json';
export const RESULT = 'result.json';

/** Whether a run keeps only what is trained: the rest is loaded again from where it came. */
export function keepsTrainedOnly({ encoder, tune }: ClassifyConfig): boolean {
  return encoder === 'gpt2' && tune !== 'full';
}

/** The trained language model that the encoder gpt2 begins with. */
export async function openBase(
  { base }: ClassifyConfig,
  device: Device,
  onLoad?: (progress: PretrainedProgress) => void,
): Promise<{ model: GPT2; tokenizer: Tokenizer }> {
  // Where attention weights are dropped they must be kept for backward, which takes several times the memory.
  return openTrained(base, { device, dropout: 0, onProgress: onLoad });
}

/** A trained classifier and what its run says of it. */
export interface ClassifierRun {
  readonly run: RunFolder;
  readonly config: ClassifyConfig;
  readonly classifier: Classifier;
  /** The model in evaluation mode. */
  readonly model: ChunkClassifier | WindowClassifier;
  readonly tokenizer: Tokenizer;
  /** Class 1 from this probability on. */
  readonly threshold: number;
  readonly result: ClassifyResult;
  batch(tokens: readonly Int32Array[], labels?: ArrayLike<number>): ChunkBatch | WindowBatch;
  /** Probabilities of class 1 for the documents of one batch. */
  probabilities(tokens: readonly Int32Array[]): Promise<Float64Array>;
}

/** What config.json of a run says beside the configuration. */
export interface ClassifyRecord {
  /** Settings that the configuration leaves open, as they came to be. */
  readonly resolved: Readonly<Record<string, unknown>>;
  /** SHA-256 over documents and splits. */
  readonly digest: string;
  /** Sizes of the language model, where the encoder is one. */
  readonly gpt2: GPT2Config | null;
  /** Of a cross-validation, in the folder of one of its runs: 1 … k. */
  readonly fold: number | null;
}

/** The configuration of a run, and what else its config.json says. @throws DataError for another command's run */
export function readClassifyRun(run: RunFolder): { config: ClassifyConfig; record: ClassifyRecord } {
  const { resolved, digest, gpt2, fold, ...config } = run.config as ClassifyRecord & Record<string, unknown>;
  if (resolved === undefined || digest === undefined || gpt2 === undefined) {
    throw new DataError(
      `classify: expected the run of a classifier, got ${run.path}, which another command made`,
    );
  }
  return {
    config: CLASSIFY.parse(config, run.file('config.json')),
    record: { resolved, digest, gpt2, fold },
  };
}

/**
 * Opens the classifier of a finished run.
 *
 * @param folder of `dawngrad classify`; of a cross-validation the folder of one of its runs, `…/fold-1`
 * @throws DataError for other folders, and runs that have not finished
 * @example
 * const { tokenizer, probabilities, threshold } = await openClassifier('runs/sotu', device);
 * const [p] = await probabilities([tokenizer.encode(text)]);
 */
export async function openClassifier(folder: string, device: Device): Promise<ClassifierRun> {
  const run = await RunFolder.open(folder);
  const { config, record } = readClassifyRun(run);
  if (config.folds > 0 && record.fold === null) {
    throw new DataError(
      `openClassifier: expected one classifier, got ${folder}, a cross-validation of ${config.folds}; name one of them, such as ${run.file('fold-1')}`,
    );
  }
  if (!existsSync(run.file(RESULT))) {
    throw new DataError(
      `openClassifier: expected a finished run, got ${folder}; finish it with: dawngrad classify --resume ${folder}`,
    );
  }
  const result = (await readJson(run.file(RESULT))) as ClassifyResult;
  const tokenizer = tokenizerFromJSON(await readJson(run.file(TOKENIZER)));
  let base: GPT2 | null = null;
  if (record.gpt2) {
    if (keepsTrainedOnly(config)) base = (await openBase(config, device)).model;
    else base = new GPT2(record.gpt2, { device, initialize: false });
  }
  const classifier = buildClassifier(config, tokenizer, base);
  const { model } = classifier;
  await model.to(device);
  const { tensors } = await loadTensors(run.file(BEST), device);
  loadTrained(model, tensors, keepsTrainedOnly(config));
  for (const t of tensors.values()) t.release();
  model.eval();
  return {
    run,
    config,
    classifier,
    model,
    tokenizer,
    threshold: result.threshold,
    result,
    batch: (tokens, labels) => classifier.batch(tokens, labels),
    probabilities: (tokens) => classifier.probabilities(tokens),
  };
}

/** Loads all weights, or those that are trained. @throws DataError where the file holds others */
function loadTrained(model: Module, weights: StateDict, trainedOnly: boolean): void {
  const { missing, unexpected } = noGrad(() => model.loadStateDict(weights, { strict: !trainedOnly }));
  if (!trainedOnly) return;
  const trained = new Set(
    model
      .namedParameters()
      .filter(([, p]) => p.requiresGrad)
      .map(([name]) => name),
  );
  const absent = missing.filter((name) => trained.has(name));
  if (absent.length + unexpected.length > 0) {
    throw new DataError(
      `openClassifier: expected the ${trained.size} trained parameters, got others; missing: ${absent.join(', ') || 'none'}; unexpected: ${unexpected.join(', ') || 'none'}`,
    );
  }
}

async function readJson(path: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(path, 'utf8'));
  } catch (cause) {
    throw new DataError(`openClassifier: cannot read ${path}: ${(cause as Error).message}`, { cause });
  }
}
