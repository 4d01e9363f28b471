/** Node only. One training of a document classifier: loop, threshold, figures, and what its folder holds. */
import { existsSync } from 'node:fs';
import { basename } from 'node:path';
import type { Tokenizer } from '../data/tokenizer.js';
import type { Device } from '../device/types.js';
import type { BinaryLossOptions } from '../models/chunk-classifier.js';
import type { GPT2 } from '../models/gpt2.js';
import type { PretrainedProgress } from '../models/pretrained.js';
import { constant_ } from '../nn/init.js';
import { countParameters } from '../nn/lora.js';
import { AdamW } from '../optim/adam.js';
import { WarmupCosineLR } from '../optim/scheduler.js';
import { type BaselineInputs, fitBaselines } from './classify-baselines.js';
import { type DocumentBatch, DocumentBatches } from './classify-batches.js';
import type { ClassifyConfig } from './classify-config.js';
import { type ClassifyData, countPart, type DataHooks, type Division } from './classify-data.js';
import { evaluateDocuments, judgeDocuments, keyOf, sigmoid } from './classify-evaluate.js';
import { checkResumable, recordOf } from './classify-record.js';
import {
  calibrationErrors,
  chooseThresholds,
  inOrder,
  jsonLines,
  measure,
  MODEL,
  predictionLines,
  scoredModels,
} from './classify-report.js';
import { type ClassifyResult, PARTS, type Part, type PartCounts } from './classify-types.js';
import {
  type Classifier,
  type ClassifyRecord,
  keepsTrainedOnly,
  RESULT,
  TOKENIZER,
} from './classifier-run.js';
import type { RunFolder } from './run-folder.js';
import { writeReport } from './run-report.js';
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
    const { counts } = data.tokens;
    const all = PARTS.flatMap((part) => division.parts[part]);
    const longest = all.reduce((a, b) => (counts[b] > counts[a] ? b : a));
    // Else a test document would end the run when all training is done.
    classifier.checkLength(counts[longest], data.documents[longest].id);
    const { train } = division.parts;
    const { documents, positives } = this.parts.train;
    const batches = new DocumentBatches(
      train,
      train.map((i) => counts[i]),
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
    const { train } = this.division.parts;
    const read = train.reduce((sum, i) => sum + classifier.tokensRead(data.tokens.counts[i]), 0);
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
        const part = this.division.parts.validation;
        const { validation, ...found } = await evaluateDocuments(classifier, data, part, this.lossOptions);
        latest = found;
        return { validation, score: found.prAuc, metrics: found };
      },
      evaluateEvery: settings.evaluateEvery,
      checkpointEvery: settings.checkpointEvery,
      trainableOnly: keepsTrainedOnly(config),
      patience: config.patience > 0 ? config.patience : Infinity,
      title: `${config.data.map((name) => basename(name)).join(', ')}: ${this.parameters.trainable.toLocaleString('en')} parameters trained`,
      tokensPerBatch: Math.round((read / train.length) * Math.min(config.batchSize, train.length)),
      readEvery: 5,
      signal: hooks.signal,
      stopAt: hooks.stopAt,
      onProgress: hooks.onProgress,
      onEvaluate: (result) => hooks.onEvaluate?.({ ...result, ...latest }),
    });
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
    checkResumable(run, this.data);
    await this.begin(run);
    if (existsSync(run.file(LAST))) await this.trainer.resume();
    else await run.truncateMetrics(0);
  }

  /**
   * Takes the best weights, chooses the threshold on validation, and only then reads the test documents; leaves
   * predictions, the result and, made of these, the report.
   */
  async finish(run: RunFolder, { step, stopped, seconds, best }: TrainResult): Promise<ClassifyResult> {
    const { config, data, device, hooks, division, settings, parameters, parts } = this;
    const { documents } = data;
    const { validation, test } = division.parts;
    await this.trainer.loadBest();
    // Part by part: in one batch with them, test documents would change the last bits of the others.
    const wanted: Part[] = ['validation', 'test', ...(config.predictTraining ? (['train'] as const) : [])];
    const own = new Map<number, number>();
    for (const part of wanted) {
      const logits = await judgeDocuments(this.classifier, data, division.parts[part], hooks.onPredict);
      for (const [i, x] of logits) own.set(i, sigmoid(x));
    }
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
      validation: measure(score(validation), config, 200),
      test: measure(onTest, config),
      calibration: calibrationErrors(onTest),
      baselines: Object.fromEntries(baselines.map(({ name, facts }) => [name, facts])),
    };
    await run.writeText('predictions.jsonl', jsonLines(predictionLines(models, documents, division.parts)));
    await run.writeJson(RESULT, result);
    await writeReport(run);
    return result;
  }

  /** Gives the model's memory back, for the next fold. */
  release(): void {
    const { model } = this.classifier;
    if ('cache' in model) model.cache?.clear();
    for (const t of [...model.parameters(), ...model.buffers()]) t.release();
  }
}
