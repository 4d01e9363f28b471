/** Node only. Training a document classifier: from a configuration to a run folder with model, figures and predictions. */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { GPT2Tokenizer, type Tokenizer } from '../data/tokenizer.js';
import { DataError } from '../device/errors.js';
import type { Device } from '../device/types.js';
import type { BinaryLossOptions } from '../models/chunk-classifier.js';
import type { GPT2 } from '../models/gpt2.js';
import type { PretrainedProgress } from '../models/pretrained.js';
import { constant_ } from '../nn/init.js';
import { countParameters } from '../nn/lora.js';
import { AdamW } from '../optim/adam.js';
import { WarmupCosineLR } from '../optim/scheduler.js';
import { manualSeed } from '../tensor/random.js';
import { prAuc, rocAuc } from './classification-metrics.js';
import { type BaselineInputs, fitBaselines } from './classify-baselines.js';
import { type DocumentBatch, DocumentBatches } from './classify-batches.js';
import type { ClassifyConfig } from './classify-config.js';
import {
  type ClassifyData,
  countPart,
  type DataHooks,
  type Division,
  readClassifyData,
} from './classify-data.js';
import {
  chooseThresholds,
  classifyReport,
  inOrder,
  measure,
  MODEL,
  predictionLines,
  type Probabilities,
  scoredModels,
} from './classify-report.js';
import { type ClassifyResult, PARTS, type Part, type PartCounts } from './classify-types.js';
import {
  buildClassifier,
  type Classifier,
  type ClassifyRecord,
  keepsTrainedOnly,
  openBase,
  readClassifyRun,
  RESULT,
  TOKENIZER,
} from './classifier-run.js';
import type { RunFolder } from './run-folder.js';
import { type Evaluation, LAST, Trainer, type TrainerOptions, type TrainResult } from './trainer.js';

/** Peak learning rates: of all of a trained model, and of what begins with random weights. */
const RATES = { full: 5e-5, other: 1e-3 };
const EPOCHS = 10;
/** Evaluations per run, where the configuration does not say. */
const EVALUATIONS = 10;

/** What is told while a job goes on. */
export interface ClassifyHooks
  extends DataHooks,
    Pick<BaselineInputs, 'onBaseline'>,
    Pick<TrainerOptions<DocumentBatch>, 'onProgress' | 'signal' | 'stopAt'> {
  onEvaluate?(result: {
    step: number;
    validation: number;
    prAuc: number;
    rocAuc: number;
    best: boolean;
  }): void;
  onLoad?(progress: PretrainedProgress): void;
  /** While documents are judged after training. */
  onPredict?(done: number, total: number): void;
}

/** What the configuration leaves open, as it came to be. */
export interface ClassifySettings {
  readonly lr: number;
  readonly steps: number;
  readonly epochs: number;
  readonly evaluateEvery: number;
  readonly checkpointEvery: number;
  readonly posWeight: number;
}

/** Data and tokenizer, from which a job is made for each division. */
export interface ClassifySetup {
  readonly config: ClassifyConfig;
  readonly data: ClassifyData;
  readonly tokenizer: Tokenizer;
  /** A job for a division; random numbers begin at the seed. */
  openJob(division: Division): Promise<ClassifyJob>;
  close(): void;
}

/**
 * Reads and divides the documents. Changes no file but the cache of tokens.
 *
 * @throws DataError for what makes training impossible
 */
export async function prepareClassify(
  config: ClassifyConfig,
  device: Device,
  hooks: ClassifyHooks = {},
): Promise<ClassifySetup> {
  const isPretrained = config.encoder === 'gpt2';
  // Its tokenizer is needed at once; a later fold needs the model anew, since it has been changed.
  let first = isPretrained ? await openBase(config, device, hooks.onLoad) : null;
  const tokenizer = first?.tokenizer ?? new GPT2Tokenizer({ size: config.vocabSize });
  const data = await readClassifyData(config, tokenizer, hooks);
  return {
    config,
    data,
    tokenizer,
    openJob: async (division) => {
      const base = isPretrained ? (first ?? (await openBase(config, device, hooks.onLoad))).model : null;
      first = null;
      manualSeed(config.seed);
      const classifier = buildClassifier(config, tokenizer, base);
      await classifier.model.to(device);
      return new ClassifyJob(config, device, hooks, data, tokenizer, classifier, division, base);
    },
    close: () => data.tokens.close(),
  };
}

/** A run that is ready to be trained. */
export class ClassifyJob {
  readonly settings: ClassifySettings;
  readonly trainer: Trainer<DocumentBatch>;
  readonly parts: Readonly<Record<Part, PartCounts>>;
  readonly parameters: { readonly total: number; readonly trainable: number };
  private readonly lossOptions: BinaryLossOptions;

  constructor(
    readonly config: ClassifyConfig,
    private readonly device: Device,
    private readonly hooks: ClassifyHooks,
    readonly data: ClassifyData,
    readonly tokenizer: Tokenizer,
    readonly classifier: Classifier,
    readonly division: Division,
    private readonly base: GPT2 | null,
  ) {
    const { batchSize, accumulate, imbalance, seed } = config;
    this.parts = Object.fromEntries(
      PARTS.map((part) => [part, countPart(data, division.parts[part])]),
    ) as Record<Part, PartCounts>;
    const { train } = division.parts;
    const { documents, positives } = this.parts.train;
    const batches = new DocumentBatches(
      train,
      train.map((i) => data.tokens.counts[i]),
      train.map((i) => data.documents[i].label),
      { batchSize, seed, balanced: imbalance === 'balanced' },
    );
    const perEpoch = batches.perEpoch / accumulate;
    const steps = config.steps ?? Math.max(1, Math.round(perEpoch * (config.epochs ?? EPOCHS)));
    const evaluateEvery = config.evaluateEvery ?? Math.max(1, Math.ceil(steps / EVALUATIONS));
    const balance = (documents - positives) / positives;
    this.settings = {
      lr: config.lr ?? RATES[config.encoder === 'gpt2' && config.tune === 'full' ? 'full' : 'other'],
      steps,
      epochs: steps / perEpoch,
      evaluateEvery,
      checkpointEvery: config.checkpointEvery ?? evaluateEvery,
      posWeight: imbalance === 'posWeight' ? (config.posWeight ?? balance) : 1,
    };
    this.lossOptions = {
      posWeight: this.settings.posWeight,
      focal: imbalance === 'focal' ? config.focal : 0,
    };
    // Where classes count as they come, the first answer is their share, not one half.
    if (imbalance === 'none' || imbalance === 'focal') {
      constant_(classifier.model.head.bias!, Math.log(positives / (documents - positives)));
    }
    const { total, trainable } = countParameters(classifier.model);
    this.parameters = { total, trainable };
    this.trainer = this.makeTrainer(batches);
  }

  private makeTrainer(batches: DocumentBatches): Trainer<DocumentBatch> {
    const { config, settings, classifier, hooks, data } = this;
    const { model } = classifier;
    const trained = model.parameters().filter((p) => p.requiresGrad);
    const groups = [
      { params: trained.filter((p) => p.ndim >= 2), weightDecay: config.weightDecay },
      { params: trained.filter((p) => p.ndim < 2), weightDecay: 0 },
    ].filter(({ params }) => params.length > 0);
    const optimizer = new AdamW(groups, { lr: settings.lr });
    const scheduler = new WarmupCosineLR(optimizer, {
      warmupSteps: Math.round(settings.steps * config.warmup),
      totalSteps: settings.steps,
      minFactor: 0.1,
    });
    let latest = { prAuc: Number.NaN, rocAuc: Number.NaN };
    const { documents, tokens } = this.parts.train;
    return new Trainer<DocumentBatch>({
      model,
      optimizer,
      scheduler,
      batches,
      loss: (batch) =>
        classifier.loss(
          batch.map((i) => data.tokens.tokens(i)),
          batch.map((i) => data.documents[i].label),
          this.lossOptions,
          batch.map(keyOf),
        ),
      // A batch is host data, cut into other chunks each time.
      capture: false,
      steps: settings.steps,
      accumulate: config.accumulate,
      clipNorm: config.clipNorm,
      evaluate: async (): Promise<Evaluation> => {
        const { validation, ...found } = await this.evaluate();
        latest = found;
        return { validation, score: found.prAuc, metrics: found };
      },
      evaluateEvery: settings.evaluateEvery,
      checkpointEvery: settings.checkpointEvery,
      trainableOnly: keepsTrainedOnly(config),
      patience: config.patience > 0 ? config.patience : Infinity,
      title: `${config.data.map((name) => basename(name)).join(', ')}: ${this.parameters.trainable.toLocaleString('en')} parameters trained`,
      tokensPerBatch: Math.round((tokens / documents) * Math.min(config.batchSize, documents)),
      readEvery: 5,
      signal: hooks.signal,
      stopAt: hooks.stopAt,
      onProgress: hooks.onProgress,
      onEvaluate: (result) => hooks.onEvaluate?.({ ...result, ...latest }),
    });
  }

  /** Loss, PR-AUC and ROC-AUC of validation. */
  private async evaluate(): Promise<{ validation: number; prAuc: number; rocAuc: number }> {
    const { validation } = this.division.parts;
    const logits = await this.judge(validation);
    const scores = validation.map((i) => logits.get(i)!);
    const labels = validation.map((i) => this.data.documents[i].label);
    return {
      validation: lossOf(scores, labels, this.lossOptions),
      prAuc: prAuc(scores, labels),
      rocAuc: rocAuc(scores, labels),
    };
  }

  /** Logits of documents by number. */
  private async judge(
    documents: readonly number[],
    onPredict?: (done: number, total: number) => void,
  ): Promise<Map<number, number>> {
    const { data, config, classifier } = this;
    const { counts } = data.tokens;
    const order = [...documents].sort((a, b) => counts[a] - counts[b] || a - b);
    const logits = new Map<number, number>();
    for (let at = 0; at < order.length; at += config.batchSize) {
      const some = order.slice(at, at + config.batchSize);
      const values = await classifier.judge(
        some.map((i) => data.tokens.tokens(i)),
        some.map(keyOf),
      );
      some.forEach((i, k) => {
        logits.set(i, values[k]);
      });
      onPredict?.(logits.size, order.length);
      // Devices that compute in this thread give signals and timers no turn of their own.
      await new Promise(setImmediate);
    }
    return logits;
  }

  /** What config.json says: the configuration, what it came to, and which data. */
  record(): ClassifyConfig & ClassifyRecord {
    return recordOf(this.config, this.data, this.base, { ...this.settings }, this.division.fold);
  }

  /** Attaches a new run folder. */
  async begin(run: RunFolder): Promise<void> {
    this.trainer.attach(run);
    await run.writeJson(TOKENIZER, this.tokenizer.toJSON());
  }

  /**
   * Continues a run from its last checkpoint, or from the beginning where it had none yet.
   *
   * @throws DataError when the data have changed, or the run has finished
   */
  async resume(run: RunFolder): Promise<void> {
    checkDigest(run, this.data);
    if (existsSync(run.file(RESULT)))
      throw new DataError(`classify: expected a run to go on with, got ${run.path}, which has finished`);
    await this.begin(run);
    if (existsSync(run.file(LAST))) await this.trainer.resume();
    else await run.truncateMetrics(0);
  }

  /**
   * Takes the best weights, chooses the threshold on validation, and only then reads the test documents; leaves
   * predictions, report and, last of all, the result.
   */
  async finish(run: RunFolder, { step, stopped, seconds, best }: TrainResult): Promise<ClassifyResult> {
    const { config, data, device, hooks, division, settings, parameters, parts } = this;
    const { documents } = data;
    const { train, validation, test } = division.parts;
    await this.trainer.loadBest();
    const wanted = [...(config.predictTraining ? train : []), ...validation, ...test];
    const logits = await this.judge(wanted, hooks.onPredict);
    const own: Probabilities = new Map([...logits].map(([i, x]) => [i, sigmoid(x)]));
    const { onBaseline } = hooks;
    const baselines = await fitBaselines({
      config,
      device,
      documents,
      parts: division.parts,
      wanted,
      onBaseline,
    });
    const models = inOrder(own, baselines);
    const thresholds = chooseThresholds(models, documents, validation, config);
    const score = (part: readonly number[]) =>
      scoredModels(models, documents, part, (model) => thresholds[model]);
    const onTest = score(test);
    const result: ClassifyResult = {
      step,
      stopped,
      seconds,
      best: { step: best.step, validation: best.validation, prAuc: best.score },
      parameters,
      posWeight: settings.posWeight,
      threshold: thresholds[MODEL],
      thresholds,
      parts,
      twins: division.twins,
      validation: measure(score(validation), config),
      test: measure(onTest, config),
      baselines: Object.fromEntries(baselines.map(({ name, facts }) => [name, facts])),
    };
    await run.writeText('predictions.jsonl', jsonLines(predictionLines(models, documents, division.parts)));
    await run.writeText(
      'report.html',
      classifyReport({
        title: `Classifier of ${config.data.map((name) => basename(name)).join(', ')}`,
        lead: `${parts.test.documents} test documents; ${parameters.trainable.toLocaleString('en')} parameters trained, best at step ${best.step} of ${step}.`,
        models: onTest,
        rows: result.test,
        config,
        parts,
        twins: division.twins,
        curve: existsSync(run.file('loss.svg')) ? await readFile(run.file('loss.svg'), 'utf8') : undefined,
      }),
    );
    await run.writeJson(RESULT, result);
    return result;
  }

  /** Gives the model's memory back, for the next fold. */
  release(): void {
    const { model } = this.classifier;
    if ('cache' in model) model.cache?.clear();
    for (const t of [...model.parameters(), ...model.buffers()]) t.release();
  }
}

/** Under this name a frozen encoder keeps the states of a document. */
const keyOf = (document: number): string => String(document);

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

/** Mean loss of logits as `binaryLoss` has it. */
export function lossOf(
  logits: readonly number[],
  labels: readonly number[],
  { posWeight = 1, focal = 0 }: BinaryLossOptions,
): number {
  const losses = logits.map((x, i) => {
    // −log σ(z) without overflow, where σ(z) is the probability of the right class.
    const z = labels[i] === 1 ? x : -x;
    const loss = Math.max(-z, 0) + Math.log1p(Math.exp(-Math.abs(z)));
    return (labels[i] === 1 ? posWeight : 1) * loss * sigmoid(-z) ** focal;
  });
  return losses.reduce((a, b) => a + b, 0) / losses.length;
}

export const jsonLines = (lines: readonly unknown[]): string =>
  lines.map((line) => `${JSON.stringify(line)}\n`).join('');

/** What config.json holds. */
export function recordOf(
  config: ClassifyConfig,
  { digest }: ClassifyData,
  base: GPT2 | null,
  resolved: Record<string, unknown>,
  fold: number | null,
): ClassifyConfig & ClassifyRecord {
  return { ...config, resolved, digest, gpt2: base?.config ?? null, fold };
}

/** @throws DataError where a run began with other data */
export function checkDigest(run: RunFolder, { digest }: ClassifyData): void {
  const { record } = readClassifyRun(run);
  if (record.digest === digest) return;
  throw new DataError(
    `classify: expected the documents and splits that the run began with (SHA-256 ${record.digest.slice(0, 12)}…), got others (${digest.slice(0, 12)}…)`,
  );
}

/** A folder name for a new run. */
export function runName(config: ClassifyConfig): string {
  if (config.name !== null) return config.name;
  const data = basename(config.data[0])
    .replace(/\.[^.]*$/, '')
    .replace(/[^\p{L}\p{N}._-]+/gu, '-')
    .replace(/^[^\p{L}\p{N}_]+/u, '');
  return `${data || 'documents'}-${config.encoder}`;
}
