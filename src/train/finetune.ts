/** Node only. Fine-tuning: from a model and texts to a run folder with a better model, or an adapter for it. */
import { existsSync } from 'node:fs';
import { readdir, readFile, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { noGrad } from '../autograd/mode.js';
import { type TokenBlock, TokenBlocks } from '../data/token-blocks.js';
import type { Tokenizer } from '../data/tokenizer.js';
import { DataError, GradError } from '../device/errors.js';
import type { Device } from '../device/types.js';
import { generateText } from '../models/generate.js';
import type { GPT2 } from '../models/gpt2.js';
import { saveGPT2 } from '../models/gpt2-weights.js';
import type { PretrainedProgress } from '../models/pretrained.js';
import { countParameters } from '../nn/lora.js';
import { modelBytes } from '../nn/quantized.js';
import { AdamW } from '../optim/adam.js';
import { WarmupCosineLR } from '../optim/scheduler.js';
import { tensor } from '../tensor/factories.js';
import { defaultGenerator } from '../tensor/random.js';
import type { Tensor } from '../tensor/tensor.js';
import { saveAdapter } from './adapter.js';
import { toTensors } from './batches.js';
import type { Finding } from './finding.js';
import { FINETUNE, type FinetuneConfig } from './finetune-config.js';
import {
  type MaskedTokens,
  measuredPart,
  readTextData,
  samplePrompts,
  type TextData,
  tokenizePart,
} from './finetune-data.js';
import { loraConfig, openModel } from './finetune-model.js';
import type {
  Beginning,
  FinetuneResult,
  HeldOut,
  ModelSize,
  ResolvedSettings,
  Sample,
  Sampled,
  SampleStatistics,
} from './finetune-types.js';
import { explainNotFinite, LossWatch } from './loss-watch.js';
import type { RunFolder } from './run-folder.js';
import {
  checkPositions,
  checkStart,
  checkTokens,
  checkVocabulary,
  PLAIN_ENGLISH,
  type StartFacts,
} from './sanity.js';
import { checkGradients } from './sanity-gradients.js';
import { distinctN, lengthStatistics, perplexity, tokenBaselines } from './text-metrics.js';
import { LAST, meanLoss, Trainer, type TrainerOptions, type TrainResult } from './trainer.js';

/** Weights of the best evaluation, in the run folder: all of them, or those that are trained. */
export const BEST_WEIGHTS = 'best.safetensors';
const RESULT = 'result.json';
const BEGINNING = 'beginning.json';

/** Peak learning rates by what is trained. */
const RATES = { scratch: 2e-3, lora: 1e-3, qlora: 1e-3, full: 5e-5 } as const;
const EPOCHS = 3;
const MAX_BLOCK = 256;
/** Evaluations per run, where the configuration does not say. */
const EVALUATIONS = 10;
/** Training batches on which the untouched model is measured, to compare the loss of training with. */
const WATCHED_BATCHES = 4;

export interface FinetuneHooks
  extends Pick<TrainerOptions<TokenBlock>, 'onProgress' | 'onEvaluate' | 'signal' | 'stopAt'> {
  /** What is noticed while training. */
  onFinding?(finding: Finding): void;
  onLoad?(progress: PretrainedProgress): void;
}

type Inputs = [ids: Tensor, targets: Tensor];

/**
 * Prepares a fine-tuning run: model, adapters, tokens, baselines, trainer. Changes no file.
 *
 * @throws DataError for data or models that cannot be read, and for what makes training impossible
 */
export async function prepareFinetune(
  config: FinetuneConfig,
  device: Device,
  hooks: FinetuneHooks = {},
): Promise<FinetuneJob> {
  const data = await readTextData(config.data, config.validation);
  const { model, tokenizer } = await openModel(config, device, hooks.onLoad);
  return new FinetuneJob(config, device, hooks, data, model, tokenizer);
}

/** A run that is ready to be checked and trained. */
export class FinetuneJob {
  readonly settings: ResolvedSettings;
  readonly trainer: Trainer<TokenBlock, Inputs>;
  readonly tokens: MaskedTokens;
  readonly heldOut: readonly HeldOut[];
  readonly prompts: readonly string[];
  readonly parameters: ModelSize;
  private readonly watch: { current: LossWatch | null } = { current: null };
  private readonly noticed: Finding[] = [];

  constructor(
    readonly config: FinetuneConfig,
    private readonly device: Device,
    private readonly hooks: FinetuneHooks,
    readonly data: TextData,
    readonly model: GPT2,
    readonly tokenizer: Tokenizer,
  ) {
    const { answersOnly, batchSize, accumulate } = config;
    const { contextLength, vocabSize } = model.shape;
    const blockSize = config.blockSize ?? Math.min(contextLength, MAX_BLOCK);
    if (blockSize > contextLength) {
      throw new DataError(
        `finetune: expected a blockSize of at most ${contextLength}, the model's context, got ${blockSize}`,
      );
    }
    this.tokens = tokenizePart(data.train, tokenizer, { answersOnly });
    // Before anything counts or looks up ids.
    refuse([
      ...checkVocabulary(tokenizer, vocabSize, this.tokens.ids),
      ...checkTokens(this.tokens, tokenizer, { documents: this.tokens.documents }),
    ]);
    const batches = new TokenBlocks(this.tokens, { batchSize, blockSize, seed: config.seed });
    const perEpoch = Math.max(1, Math.ceil(batches.length / (batchSize * accumulate)));
    const steps = config.steps ?? Math.max(1, Math.round(perEpoch * (config.epochs ?? EPOCHS)));
    const evaluateEvery = config.evaluateEvery ?? Math.max(1, Math.ceil(steps / EVALUATIONS));
    this.settings = {
      lr: config.lr ?? RATES[config.model === 'scratch' ? 'scratch' : config.method],
      blockSize,
      steps,
      epochs: (steps * batchSize * accumulate) / batches.length,
      evaluateEvery,
      checkpointEvery: config.checkpointEvery ?? evaluateEvery,
    };
    this.heldOut = (['validation', 'test'] as const).flatMap((name) => this.measure(name));
    this.prompts =
      config.sampleLength === 0
        ? []
        : samplePrompts(data, tokenizer, {
            given: config.samplePrompts,
            context: contextLength,
            // In a short context prompts get half of it, and samples end where it does.
            room: Math.max(contextLength - config.sampleLength, Math.floor(contextLength / 2)),
          });
    this.parameters = { ...countParameters(model), bytes: modelBytes(model) };
    this.trainer = this.makeTrainer(batches);
  }

  /** Of questions, answers are measured, whatever the training counts. */
  private measure(name: HeldOut['name']): HeldOut[] {
    const { data, tokenizer, config, model } = this;
    const part = data[name];
    if (part.pairs.length + part.documents.length === 0) return [];
    const answersOnly = tokenizer.endOfText !== null;
    const measured = measuredPart(tokenizePart(part, tokenizer, { answersOnly }), tokenizer, {
      batchSize: config.batchSize,
      blockSize: this.settings.blockSize,
      limit: config.evaluationTokens,
    });
    const { unigram, bigram } = tokenBaselines(this.tokens, measured.stream, model.shape.vocabSize);
    return [{ name, measured, unigram: unigram.natsPerToken, bigram: bigram.natsPerToken }];
  }

  private makeTrainer(batches: TokenBlocks): Trainer<TokenBlock, Inputs> {
    const { config, settings, model, device, hooks } = this;
    const trained = model.parameters().filter((p) => p.requiresGrad);
    if (trained.length === 0) throw new DataError('finetune: expected trainable parameters, got none');
    const groups = [
      { params: trained.filter((p) => p.ndim >= 2), weightDecay: config.weightDecay },
      { params: trained.filter((p) => p.ndim < 2), weightDecay: 0 },
    ].filter(({ params }) => params.length > 0);
    const optimizer = new AdamW(groups, { lr: settings.lr, betas: [0.9, 0.99] });
    const scheduler = new WarmupCosineLR(optimizer, {
      warmupSteps: Math.round(settings.steps * config.warmup),
      totalSteps: settings.steps,
      minFactor: 0.1,
    });
    const [validation] = this.heldOut;
    const { vocabSize } = model.shape;
    return new Trainer<TokenBlock, Inputs>({
      model,
      optimizer,
      scheduler,
      batches,
      toDevice: (batch) => toTensors(batch, device),
      loss: ([ids, targets]) => model.loss(ids, targets),
      precision: config.precision,
      capture: config.capture,
      steps: settings.steps,
      accumulate: config.accumulate,
      clipNorm: config.clipNorm,
      evaluate: () => this.loss(validation),
      evaluateEvery: settings.evaluateEvery,
      checkpointEvery: settings.checkpointEvery,
      bestFile: BEST_WEIGHTS,
      trainableOnly: config.method !== 'full',
      patience: config.patience > 0 ? config.patience : Infinity,
      title: `${basename(config.model)}, ${config.method}: ${this.parameters.trainable.toLocaleString('en')} parameters trained`,
      baselines: [
        { label: 'uniform', loss: Math.log(vocabSize) },
        { label: 'unigram', loss: validation.unigram },
        { label: 'bigram', loss: validation.bigram },
      ],
      tokensPerBatch: config.batchSize * settings.blockSize,
      ...hooks,
      onProgress: (update) => {
        hooks.onProgress?.(update);
        const finding = this.watch.current?.push(update.step, update.loss);
        if (finding) this.notice(finding);
      },
    });
  }

  private notice(finding: Finding): void {
    this.noticed.push(finding);
    this.hooks.onFinding?.(finding);
  }

  /** Mean loss of a held-out part in nats per token. */
  loss({ measured }: HeldOut): Promise<number> {
    return this.lossOf(measured.blocks);
  }

  /** Mean loss in nats per token, without dropout. */
  private async lossOf(blocks: readonly TokenBlock[]): Promise<number> {
    const { model, device } = this;
    const was = model.training;
    model.eval();
    const loss = await meanLoss(
      blocks,
      (block) => model.loss(...toTensors(block, device)),
      (block) => block.count,
    );
    model.train(was);
    return loss;
  }

  private get isTrained(): boolean {
    return this.config.model !== 'scratch';
  }

  /** The untouched model's loss on plain English, for trained models. */
  private async plainLoss(): Promise<number | undefined> {
    const { model, tokenizer, device, settings } = this;
    if (!this.isTrained || tokenizer.endOfText === null) return undefined;
    const ids = tokenizer.encode(PLAIN_ENGLISH).slice(0, settings.blockSize + 1);
    model.eval();
    const T = ids.length - 1;
    const l = noGrad(() =>
      model.loss(
        tensor(ids.slice(0, T), { shape: [1, T], device }),
        tensor(ids.slice(1), { shape: [1, T], device }),
      ),
    );
    const value = await l.item();
    l.release();
    model.train();
    return value;
  }

  /** What `describeStart` and `checkStart` judge. */
  startFacts({ losses, plain }: Pick<Beginning, 'losses' | 'plain'>): StartFacts {
    return {
      loss: losses.validation ?? Number.NaN,
      vocabSize: this.model.shape.vocabSize,
      unigram: this.heldOut[0].unigram,
      pretrained: this.isTrained,
      plain: plain ?? undefined,
    };
  }

  /**
   * Checks tokens, losses and gradients of the untouched model; nothing is changed.
   *
   * @throws DataError for what makes training impossible
   */
  async check(): Promise<Omit<Beginning, keyof Sampled>> {
    const { model, tokenizer, tokens, config, device } = this;
    const losses: { -readonly [Name in keyof Beginning['losses']]: number } = {};
    for (const part of this.heldOut) losses[part.name] = await this.loss(part);
    const { batchSize, seed } = config;
    const batches = new TokenBlocks(tokens, { batchSize, blockSize: this.settings.blockSize, seed });
    const some = Array.from({ length: WATCHED_BATCHES }, () => batches.next());
    losses.training = await this.lossOf(some);
    const plain = (await this.plainLoss()) ?? null;
    const [batch] = some;
    model.train();
    const findings = [
      ...checkVocabulary(tokenizer, model.shape.vocabSize, tokens.ids),
      ...checkTokens(tokens, tokenizer, { documents: tokens.documents }),
      ...(this.isTrained ? [] : checkPositions(this.settings.blockSize, model.shape.contextLength)),
      ...checkStart(this.startFacts({ losses, plain })),
      ...(await checkGradients(model, () => model.loss(...toTensors(batch, device)), {
        shouldTrain: config.method === 'full' ? undefined : (name) => name.includes('lora_'),
      })),
    ];
    refuse(findings);
    return { losses, plain, findings };
  }

  /** What the model writes now after each prompt; random numbers of training stay where they are. */
  async sample(): Promise<Sampled> {
    const { model, tokenizer, config } = this;
    const random = defaultGenerator.getState();
    const was = model.training;
    model.eval();
    const samples: Sample[] = [];
    const tokens: number[][] = [];
    for (const [i, prompt] of this.prompts.entries()) {
      const chosen: number[] = [];
      let text = '';
      const pieces = generateText(model, tokenizer, prompt, {
        maxNewTokens: config.sampleLength,
        temperature: config.temperature,
        topK: config.topK > 0 ? config.topK : undefined,
        seed: config.seed + i,
        onToken: (token) => chosen.push(token),
      });
      for await (const piece of pieces) text += piece;
      samples.push({ prompt, text });
      tokens.push(chosen);
    }
    model.train(was);
    defaultGenerator.setState(random);
    return { samples, statistics: statisticsOf(tokens) };
  }

  /** What config.json says: the configuration, what it came to, and which data. */
  record(): Record<string, unknown> {
    return { ...this.config, resolved: this.settings, digest: this.data.digest };
  }

  /** Attaches a new run folder and keeps what was found before the first step. */
  async begin(run: RunFolder, beginning: Beginning): Promise<void> {
    this.trainer.attach(run);
    await run.writeJson(BEGINNING, beginning);
  }

  /**
   * Continues a run from its last checkpoint, or from the beginning where it had none yet.
   *
   * @returns what was found before its first step; null where it was killed before that was written
   * @throws DataError when the data have changed, or the run has finished
   */
  async resume(run: RunFolder): Promise<Beginning | null> {
    const { digest } = run.config as { digest?: string };
    if (digest !== this.data.digest) {
      throw new DataError(
        `finetune: expected the data that the run began with (SHA-256 ${digest?.slice(0, 12)}…), got others (${this.data.digest.slice(0, 12)}…)`,
      );
    }
    if (existsSync(run.file(RESULT)))
      throw new DataError(`finetune: expected a run to go on with, got ${run.path}, which has finished`);
    await removeTemporary(run.path);
    this.trainer.attach(run);
    if (existsSync(run.file(LAST))) await this.trainer.resume();
    else await run.truncateMetrics(0);
    if (!existsSync(run.file(BEGINNING))) return null;
    return JSON.parse(await readFile(run.file(BEGINNING), 'utf8')) as Beginning;
  }

  /**
   * Trains to the end, or to an interruption.
   *
   * @throws GradError when the loss is no number any more, with the likely cause
   */
  async train({ losses }: Pick<Beginning, 'losses'>): Promise<TrainResult> {
    const { lr } = this.settings;
    // Held-out answers may be easier than questions and answers together.
    const start = Math.max(losses.validation ?? -Infinity, losses.training ?? -Infinity);
    this.watch.current = new LossWatch(start, lr);
    try {
      return await this.trainer.train();
    } catch (error) {
      if (!(error instanceof GradError && error.message.includes('the loss became'))) throw error;
      const finding = explainNotFinite(lr, this.config.precision);
      this.notice(finding);
      throw new GradError(`${error.message}; ${finding.message}`, { cause: error });
    }
  }

  /** Takes the best weights, measures and samples, and leaves the model or the adapter in the run folder. */
  async finish(run: RunFolder, result: TrainResult, beginning: Beginning | null): Promise<FinetuneResult> {
    const { model, tokenizer, config } = this;
    if (existsSync(run.file(BEST_WEIGHTS))) await this.trainer.loadBest();
    const heldOut: FinetuneResult['heldOut'][number][] = [];
    for (const part of this.heldOut) {
      const after = await this.loss(part);
      const { tokens, characters } = part.measured;
      const { perplexity: value, bitsPerCharacter } = perplexity({
        nats: after * tokens,
        tokens,
        characters,
      });
      heldOut.push({
        name: part.name,
        tokens,
        characters,
        uniform: Math.log(model.shape.vocabSize),
        unigram: part.unigram,
        bigram: part.bigram,
        before: beginning?.losses[part.name] ?? null,
        after,
        perplexity: value,
        bitsPerCharacter,
      });
    }
    const { samples, statistics } = await this.sample();
    model.eval();
    if (config.method === 'full') await saveGPT2(run.file('model'), model, tokenizer);
    else await saveAdapter(run.file('adapter'), model, { ...loraConfig(config), base: config.model });
    const { step, stopped, seconds, best, skipped } = result;
    const out: FinetuneResult = {
      step,
      stopped,
      seconds,
      best,
      skipped,
      parameters: this.parameters,
      heldOut,
      samples: { before: beginning?.samples ?? [], after: samples },
      statistics: { before: beginning?.statistics ?? null, after: statistics },
      findings: [...(beginning?.findings ?? []), ...this.noticed],
    };
    await run.writeJson(RESULT, out);
    return out;
  }
}

function statisticsOf(tokens: readonly number[][]): SampleStatistics | null {
  if (tokens.length === 0) return null;
  const { mean, min, max } = lengthStatistics(tokens.map((t) => t.length));
  return {
    distinct1: distinctN(tokens, 1),
    distinct2: distinctN(tokens, 2),
    meanTokens: mean,
    minTokens: min,
    maxTokens: max,
  };
}

/** @throws DataError naming all findings that make training impossible */
function refuse(findings: readonly Finding[]): void {
  const errors = findings.filter(({ severity }) => severity === 'error');
  if (errors.length > 0) throw new DataError(`finetune: ${errors.map(({ message }) => message).join('\n')}`);
}

/** A killed process may leave files that it was still writing. */
async function removeTemporary(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (/^\..+\.tmp$/.test(name)) await rm(join(folder, name), { force: true });
  }
}

/** The configuration of a run from its config.json. */
export function configOfRun(run: RunFolder): FinetuneConfig {
  const { resolved, digest, ...config } = run.config as Record<string, unknown>;
  if (resolved === undefined || digest === undefined) {
    throw new DataError(`finetune: expected a fine-tuning run, got ${run.path}, which another command made`);
  }
  return FINETUNE.parse(config, run.file('config.json'));
}

/** A folder name for a new run. */
export function runName(config: FinetuneConfig): string {
  const base = basename(config.model)
    .replace(/[^\p{L}\p{N}._-]+/gu, '-')
    .replace(/^[^\p{L}\p{N}_]+/u, '');
  return config.name ?? `${base || 'model'}-${config.method}`;
}
