/** Node only. The document classifier of a configuration, and of a run folder that it was trained in. */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { noGrad } from '../autograd/mode.js';
import { type Tokenizer, tokenizerFromJSON } from '../data/tokenizer.js';
import { DataError } from '../device/errors.js';
import type { Device } from '../device/types.js';
import { batchDocuments, type ChunkBatch } from '../models/chunk-batch.js';
import {
  type BinaryLossOptions,
  binaryLoss,
  ChunkClassifier,
  type Explanation,
} from '../models/chunk-classifier.js';
import {
  CausalChunkEncoder,
  type ChunkEncoder,
  EncoderDecoderChunkEncoder,
  TransformerChunkEncoder,
} from '../models/chunk-encoders.js';
import { GPT2 } from '../models/gpt2.js';
import type { GPT2Config } from '../models/gpt2-config.js';
import type { PretrainedProgress } from '../models/pretrained.js';
import { Transformer } from '../models/transformer.js';
import { type WindowBatch, WindowClassifier, windowBatch } from '../models/window-classifier.js';
import { applyLora } from '../nn/lora.js';
import type { Module, StateDict } from '../nn/module.js';
import { tensor } from '../tensor/factories.js';
import { keep, scope } from '../tensor/lifetime.js';
import type { Tensor } from '../tensor/tensor.js';
import { loadTensors } from './checkpoint.js';
import { CLASSIFY, type ClassifyConfig } from './classify-config.js';
import type { ClassifyResult } from './classify-types.js';
import { openTrained } from './finetune-model.js';
import { RunFolder } from './run-folder.js';
import { BEST } from './trainer.js';

/** Tokens of a document that the window reads, where the configuration does not say. */
const WINDOW_TOKENS = 16_384;
export const TOKENIZER = 'tokenizer.json';
export const RESULT = 'result.json';

/** A classifier, and how documents become its batches. */
export class Classifier {
  /** @param model made by `buildClassifier` from `config` */
  constructor(
    readonly model: ChunkClassifier | WindowClassifier,
    readonly config: ClassifyConfig,
  ) {}

  private get device(): Device {
    return this.model.parameters()[0].device;
  }

  /** What of a document is read, before it is cut into chunks. */
  private cut(tokens: readonly Int32Array[]): readonly Int32Array[] {
    const { maxTokens, encoder } = this.config;
    const most = maxTokens ?? (encoder === 'window' ? WINDOW_TOKENS : null);
    return most === null ? tokens : tokens.map((t) => t.subarray(0, most));
  }

  private chunkBatch(
    tokens: readonly Int32Array[],
    labels?: ArrayLike<number>,
    keys?: readonly string[],
  ): ChunkBatch {
    const { chunk, overlap, maxChunks, keep: which } = this.config;
    return batchDocuments(this.cut(tokens), { chunk, overlap, maxChunks, keep: which, labels, keys });
  }

  /** The model's own batch: a ChunkBatch, or a WindowBatch, which lies on the device and is to be released. */
  batch(tokens: readonly Int32Array[], labels?: ArrayLike<number>): ChunkBatch | WindowBatch {
    if (this.model instanceof ChunkClassifier) return this.chunkBatch(tokens, labels);
    return windowBatch(this.cut(tokens), { device: this.device });
  }

  /**
   * @param tokens ids of each document
   * @param keys a name for each, under which a frozen encoder keeps its states
   * @returns logits [B]
   */
  logits(tokens: readonly Int32Array[], keys?: readonly string[]): Tensor {
    const { model } = this;
    if (model instanceof ChunkClassifier) return model.forward(this.chunkBatch(tokens, undefined, keys));
    return model.forward(windowBatch(this.cut(tokens), { device: this.device }));
  }

  /** Mean loss of documents with labels, a scalar. */
  loss(
    tokens: readonly Int32Array[],
    labels: ArrayLike<number>,
    options: BinaryLossOptions = {},
    keys?: readonly string[],
  ): Tensor {
    const logits = this.logits(tokens, keys);
    const { dtype, device } = logits;
    return binaryLoss(logits, tensor(Float64Array.from(labels), { dtype, device }), options);
  }

  /** Logits of the documents of one batch, [B], in evaluation mode. */
  async judge(tokens: readonly Int32Array[], keys?: readonly string[]): Promise<Float64Array> {
    const { model } = this;
    const was = model.training;
    model.eval();
    const logits = noGrad(() => scope(() => keep(this.logits(tokens, keys))));
    model.train(was);
    const values = Float64Array.from(await logits.data());
    logits.release();
    return values;
  }

  /** Probabilities of class 1 for the documents of one batch, [B], in evaluation mode. */
  async probabilities(tokens: readonly Int32Array[]): Promise<Float64Array> {
    return (await this.judge(tokens)).map((x) => 1 / (1 + Math.exp(-x)));
  }

  /** What each chunk did; null for the window, which has none. */
  async explain(tokens: readonly Int32Array[]): Promise<Explanation[] | null> {
    return this.model instanceof ChunkClassifier ? this.model.explain(this.chunkBatch(tokens)) : null;
  }
}

/**
 * The untrained classifier of a configuration, on the default device, with random numbers as they come.
 *
 * @param base of the encoder gpt2: the model, which is frozen or gets adapters here
 * @throws DataError or ShapeError for chunks longer than the encoder reads, and sizes that make no model
 */
export function buildClassifier(
  config: ClassifyConfig,
  tokenizer: Pick<Tokenizer, 'size'>,
  base: GPT2 | null = null,
): Classifier {
  const { dim, heads, layers, dropout, pooling, poolingLayers, chunkGroup, sampled } = config;
  const vocabSize = tokenizer.size;
  const known = base?.shape.vocabSize ?? config.vocabSize;
  if (base ? vocabSize > known : vocabSize !== known) {
    throw new DataError(
      `classify: expected a tokenizer of ${base ? 'at most ' : ''}${known} ids, as ${base ? config.base : 'vocabSize'} has it, got one of ${vocabSize}`,
    );
  }
  if (config.encoder === 'window') {
    const { window, globals, maxTokens } = config;
    const maxLength = maxTokens ?? WINDOW_TOKENS;
    const sizes = { vocabSize, dim, heads, layers, window, globals, maxLength, dropout };
    return new Classifier(new WindowClassifier(sizes), config);
  }
  const encoder = encoderOf(config, vocabSize, base);
  if (config.chunk > encoder.maxLength) {
    throw new DataError(
      `classify: expected a chunk of at most ${encoder.maxLength} tokens, which ${config.base} reads, got ${config.chunk}; lower chunk`,
    );
  }
  const model = new ChunkClassifier(encoder, {
    pooling,
    // Places are numbers of chunks: only a document beyond this many tokens is refused.
    poolingLayers: { layers: poolingLayers, dropout, heads: divisor(encoder.dim, heads), maxPlaces: 4096 },
    dropout,
    group: chunkGroup,
    sampled,
    cache: true,
  });
  return new Classifier(model, config);
}

/** GPT-2's width need not be a multiple of the heads that the configuration asks for. */
function divisor(dim: number, heads: number): number {
  let most = Math.min(heads, dim);
  while (dim % most !== 0) most--;
  return most;
}

function encoderOf(config: ClassifyConfig, vocabSize: number, base: GPT2 | null): ChunkEncoder {
  const { encoder, dim, heads, layers, dropout, chunk, chunkState: state } = config;
  if (encoder === 'gpt2') {
    if (!base) throw new DataError("buildClassifier: expected a model for the encoder 'gpt2', got none");
    const { tune, rank, alpha, targets } = config;
    if (tune === 'frozen') base.requiresGrad_(false);
    else if (tune === 'lora') applyLora(base, { rank, alpha, targets });
    else base.requiresGrad_(true);
    return new CausalChunkEncoder(base, state === 'mean' ? 'mean' : 'last');
  }
  if (encoder === 'transformer') {
    const sizes = { vocabSize, dim, heads, layers, dropout, maxLength: chunk };
    return new TransformerChunkEncoder({ ...sizes, state: state === 'first' ? 'first' : 'mean' });
  }
  // The decoder writes nothing, so its vocabulary is the start token, which is its head, too.
  return new EncoderDecoderChunkEncoder(
    new Transformer({
      sourceVocab: vocabSize,
      targetVocab: 1,
      dim,
      heads,
      innerDim: 4 * dim,
      encoderLayers: layers,
      decoderLayers: 1,
      maxLength: chunk,
      dropout,
      activation: 'gelu',
      norm: 'pre',
      tieHead: true,
    }),
  );
}

/** Whether a run keeps only what is trained: the rest is loaded again from where it came. */
export function keepsTrainedOnly({ encoder, tune }: ClassifyConfig): boolean {
  return encoder === 'gpt2' && tune !== 'full';
}

/** The trained language model that the encoder gpt2 begins with. */
export async function openBase(
  { base, dropout }: ClassifyConfig,
  device: Device,
  onLoad?: (progress: PretrainedProgress) => void,
): Promise<{ model: GPT2; tokenizer: Tokenizer }> {
  return openTrained(base, { device, dropout, onProgress: onLoad });
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
