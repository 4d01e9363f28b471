/** Node only. The training loop: steps, evaluation, checkpoints, metrics, curve, early stopping, resume. */
import { autocast } from '../autograd/autocast.js';
import { type Captured, capture } from '../autograd/capture.js';
import { contiguousCopy } from '../autograd/contiguous.js';
import { noGrad } from '../autograd/mode.js';
import { DataError, GradError } from '../device/errors.js';
import type { Device } from '../device/types.js';
import type { Module, StateDict } from '../nn/module.js';
import { clipGradNorm_ } from '../optim/clip.js';
import { GradScaler } from '../optim/grad-scaler.js';
import type { AnyOptimizer, LRScheduler } from '../optim/scheduler.js';
import { keep, scope } from '../tensor/lifetime.js';
import { defaultGenerator } from '../tensor/random.js';
import type { Tensor } from '../tensor/tensor.js';
import type { BatchSource } from './batches.js';
import { loadTensors, saveTensors } from './checkpoint.js';
import { type Baseline, type LossPoint, lossCurveSvg } from './plot.js';
import type { RunFolder } from './run-folder.js';

export type Precision = 'float32' | 'mixed';

/** What an evaluation found, where that is more than a loss. */
export interface Evaluation {
  /** Validation loss. */
  readonly validation: number;
  /**
   * What the best weights and early stopping go by, such as an accuracy: larger is better, and of equals the smaller loss.
   * Default: minus the loss.
   */
  readonly score?: number;
  /** Further figures for `metrics.jsonl`. */
  readonly metrics?: Readonly<Record<string, number>>;
}

/** @template Inputs what the loss is computed from: the batch on the device */
export interface TrainerOptions<Batch, Inputs = Batch> {
  readonly model: Module;
  readonly optimizer: AnyOptimizer;
  /** Stepped after every optimizer step. */
  readonly scheduler?: LRScheduler;
  readonly batches: BatchSource<Batch>;
  /** A batch as tensors, or arrays and plain objects of tensors. Without it the batches must be so themselves. */
  toDevice?(batch: Batch): Inputs;
  /**
   * The scalar loss of a batch. Runs inside a scope: what it makes on the way is released after the step. It is captured
   * (see `capture`), so it runs in JavaScript at the first step only, and must read nothing.
   */
  loss(inputs: Inputs): Tensor;
  /** Repeat the first step's work at the others instead of running its code again; default true. The numbers are the same. */
  readonly capture?: boolean;
  /**
   * 'mixed' computes products in float16 with float32 weights, and scales the loss (`autocast` and `GradScaler`); steps with
   * infinite gradients are left out and counted. Default 'float32'.
   */
  readonly precision?: Precision;
  /** Optimizer steps in all. */
  readonly steps: number;
  /** Batches per optimizer step, their gradients averaged. Default 1. */
  readonly accumulate?: number;
  /** Largest global gradient norm. Default: no clipping. */
  readonly clipNorm?: number;
  /** Validation loss; the model is in eval mode and gradients are off for operations run at once inside. */
  evaluate?(): Promise<number | Evaluation>;
  /** Steps between evaluations, each followed by a checkpoint. Default: only at the end. */
  readonly evaluateEvery?: number;
  /** Steps between checkpoints, beside those that follow evaluations. Default: none. */
  readonly checkpointEvery?: number;
  /**
   * Files hold only the parameters that are trained: what is frozen is loaded again from where it came. Buffers are frozen
   * too. Default false.
   */
  readonly trainableOnly?: boolean;
  /** The file of the best evaluation's weights. Default `model.safetensors`. */
  readonly bestFile?: string;
  /** Evaluations without a new best before training stops. Default: never. */
  readonly patience?: number;
  /** Where metrics, curve and checkpoints go. Default: nowhere, until attach(). */
  readonly run?: RunFolder;
  readonly title?: string;
  readonly baselines?: readonly Baseline[];
  /** Tokens (or items) per batch, for the rate. */
  readonly tokensPerBatch?: number;
  /** Steps between readings of the loss, since each waits for the device. Default 10. */
  readonly readEvery?: number;
  onProgress?(update: { step: number; loss: number; tokensPerSecond: number }): void;
  onEvaluate?(result: { step: number; validation: number; best: boolean }): void | Promise<void>;
  /** Stops after the current step, with a checkpoint. */
  readonly signal?: AbortSignal;
  /**
   * Stops after this step as the signal does: all is saved, and resuming goes on as if it had never stopped. Schedule and
   * evaluations stay those of `steps`. Default: never.
   */
  readonly stopAt?: number;
}

export interface TrainResult {
  readonly step: number;
  /** Last validation loss, NaN before the first evaluation. */
  readonly validation: number;
  /** The evaluation whose weights are the best, by its score. */
  readonly best: Best;
  readonly stopped: 'finished' | 'early stopping' | 'interrupted';
  /** Steps that mixed precision left out because their gradients were infinite. */
  readonly skipped: number;
  /** Time spent in training steps, in seconds. */
  readonly seconds: number;
}

/** Checkpoint of the last evaluation or interruption, with all that resuming needs. */
export const LAST = 'last.safetensors';
/** Weights alone, under the module's own names, of the best evaluation. */
export const BEST = 'model.safetensors';

/** An evaluation that no other was better than. */
export interface Best {
  readonly step: number;
  readonly validation: number;
  readonly score: number;
}

/** A loss that is still on the device. */
interface PendingLoss {
  readonly step: number;
  readonly loss: Tensor;
  readonly lr: number;
}

/** What a checkpoint says beside tensors. */
interface Progress {
  readonly step: number;
  readonly best: Best;
  readonly sinceBest: number;
  readonly validation: number;
  readonly seconds: number;
  readonly batches: unknown;
  readonly random: { seed: number; counter: number };
  readonly optimizer: unknown;
  readonly scheduler: unknown;
}

/**
 * Trains a model. One step is one scope: batch, forward, backward, clipping, optimizer; nothing outlives it but the loss.
 * From the second step on, it is a replay.
 *
 * @example
 * const trainer = new Trainer({ model, optimizer, batches, loss: ([x, y]) => model.loss(x, y), steps: 1000 });
 * const { best } = await trainer.train();
 */
export class Trainer<Batch, Inputs = Batch> {
  step = 0;
  private best: Best = { step: 0, validation: Infinity, score: -Infinity };
  private validation = Number.NaN;
  private sinceBest = 0;
  private seconds = 0;

  private run: RunFolder | undefined;

  private readonly captured: Captured<[Inputs[]], Tensor>;
  private readonly scaler: GradScaler;

  constructor(readonly options: TrainerOptions<Batch, Inputs>) {
    const { steps, accumulate = 1, stopAt = steps } = options;
    this.run = options.run;
    if (!Number.isInteger(steps) || steps < 0)
      throw new DataError(`Trainer: expected steps to be a non-negative integer, got ${steps}`);
    if (!Number.isInteger(stopAt) || stopAt < 0)
      throw new DataError(`Trainer: expected stopAt to be a non-negative integer, got ${stopAt}`);
    if (!Number.isInteger(accumulate) || accumulate < 1) {
      throw new DataError(`Trainer: expected accumulate to be a positive integer, got ${accumulate}`);
    }
    this.scaler = new GradScaler({ enabled: options.precision === 'mixed' });
    this.captured = capture((parts: Inputs[]) => this.work(parts));
  }

  private get device(): Device {
    return this.options.model.parameters()[0].device;
  }

  /** Sends metrics, curve and checkpoints to a folder from now on. */
  attach(run: RunFolder): void {
    this.run = run;
  }

  /** Runs until the last step, early stopping or the signal. */
  async train(): Promise<TrainResult> {
    const { model, steps, evaluateEvery = steps, patience = Infinity, readEvery = 10, signal } = this.options;
    const { checkpointEvery = Infinity, stopAt = steps } = this.options;
    const isAtStop = (): boolean => this.step < steps && this.step >= stopAt;
    const mustStop = (): boolean => isAtStop() || (this.step < steps && signal?.aborted === true);
    model.train();
    let pending: PendingLoss[] = [];
    let since = performance.now();
    // A run that was resumed may stand where it is to stop.
    let stopped: TrainResult['stopped'] = 'finished';
    if (this.sinceBest >= patience) stopped = 'early stopping';
    else if (isAtStop()) stopped = 'interrupted';
    let evaluated = -1;
    while (this.step < steps && stopped === 'finished') {
      // The rate that this step uses; the scheduler moves it on.
      const { lr } = this.options.optimizer.paramGroups[0];
      const loss = await this.trainStep();
      this.step++;
      // Devices that compute in this thread give signals and timers no turn of their own.
      await new Promise(setImmediate);
      pending.push({ step: this.step, loss, lr });
      const evaluateNow = this.step % evaluateEvery === 0 || this.step === steps;
      const saveNow = this.step % checkpointEvery === 0 && !evaluateNow;
      if (pending.length >= readEvery || evaluateNow || saveNow || mustStop()) {
        since = await this.report(pending, since);
        pending = [];
      }
      if (evaluateNow) {
        evaluated = this.step;
        await this.evaluate();
        since = performance.now();
        if (this.sinceBest >= patience) {
          stopped = 'early stopping';
          break;
        }
      }
      if (saveNow) {
        await this.save();
        since = performance.now();
      }
      if (mustStop()) {
        stopped = 'interrupted';
        break;
      }
    }
    this.captured.release();
    if (evaluated !== this.step) await this.save();
    return {
      step: this.step,
      validation: this.validation,
      best: { ...this.best },
      skipped: await this.scaler.skippedSteps(),
      stopped,
      seconds: this.seconds,
    };
  }

  /** One optimizer step; resolves to the loss, on the device. */
  private async trainStep(): Promise<Tensor> {
    const { batches, scheduler, accumulate = 1, toDevice, capture: replays = true } = this.options;
    const parts: Batch[] = [];
    for (let i = 0; i < accumulate; i++) parts.push(await batches.next());
    const loss = scope(() => {
      const inputs = toDevice ? parts.map((batch) => toDevice(batch)) : (parts as unknown as Inputs[]);
      // The next replay overwrites the captured loss before it is read.
      return keep(replays ? contiguousCopy(this.captured(inputs)) : this.work(inputs));
    });
    scheduler?.step();
    return loss;
  }

  /** Forward, backward, clipping and update; gives the loss. */
  private work(parts: readonly Inputs[]): Tensor {
    const { model, optimizer, loss, accumulate = 1, clipNorm } = this.options;
    const { scaler } = this;
    let total: Tensor | null = null;
    for (const inputs of parts) {
      let l = autocast(() => loss(inputs), { enabled: scaler.enabled });
      if (l.numel !== 1 || !l.requiresGrad) {
        throw new GradError(`Trainer: expected loss() to give a scalar that requires a gradient, got ${l}`);
      }
      if (accumulate > 1) l = l.div(accumulate);
      scaler.scale(l).backward();
      total = total ? total.add(l.detach()) : l.detach();
    }
    scaler.unscale_(optimizer);
    if (clipNorm !== undefined) clipGradNorm_(model.parameters(), clipNorm);
    scaler.step(optimizer);
    scaler.update();
    optimizer.zeroGrad();
    return total!;
  }

  /** Reads pending losses, writes the metrics, shows progress. Returns the time from which the next ones count. */
  private async report(pending: readonly PendingLoss[], since: number): Promise<number> {
    const { run } = this;
    const { accumulate = 1, tokensPerBatch = 0, onProgress } = this.options;
    const losses = await Promise.all(pending.map(({ loss }) => loss.item()));
    for (const { loss } of pending) loss.release();
    const now = performance.now();
    const seconds = (now - since) / 1000;
    this.seconds += seconds;
    const rate = (tokensPerBatch * accumulate * pending.length) / Math.max(seconds, 1e-9);
    pending.forEach(({ step, lr }, i) => {
      run?.appendMetrics({
        step,
        loss: losses[i],
        lr,
        tokensPerSecond: Math.round(rate),
      });
    });
    const bad = losses.findIndex((l) => !Number.isFinite(l));
    if (bad >= 0) {
      throw new GradError(
        `Trainer: the loss became ${losses[bad]} at step ${pending[bad].step}; lower the learning rate or clip the gradients (detectAnomaly names the operation)`,
      );
    }
    onProgress?.({
      step: this.step,
      loss: losses.reduce((a, b) => a + b, 0) / losses.length,
      tokensPerSecond: rate,
    });
    return now;
  }

  private async evaluate(): Promise<void> {
    const { run } = this;
    const { model, evaluate, onEvaluate } = this.options;
    if (!evaluate) {
      await this.save();
      return;
    }
    model.eval();
    const found = await evaluate();
    model.train();
    const {
      validation,
      score = -validation,
      metrics,
    } = typeof found === 'number' ? { validation: found } : found;
    this.validation = validation;
    const best = score > this.best.score || (score === this.best.score && validation < this.best.validation);
    if (best) this.best = { step: this.step, validation, score };
    this.sinceBest = best ? 0 : this.sinceBest + 1;
    run?.appendMetrics({ step: this.step, validation, ...metrics });
    if (best && run)
      await saveTensors(run.file(this.options.bestFile ?? BEST), this.weights(), {
        format: 'pt',
        step: String(this.step),
      });
    await this.save();
    await onEvaluate?.({ step: this.step, validation: this.validation, best });
  }

  /** What files hold of the model. */
  private weights(): StateDict {
    const { model, trainableOnly } = this.options;
    if (!trainableOnly) return model.stateDict();
    return new Map(model.namedParameters().filter(([, p]) => p.requiresGrad));
  }

  /** Puts the best evaluation's weights back into the model. */
  async loadBest(): Promise<void> {
    if (!this.run) throw new DataError('Trainer.loadBest: expected a run folder, got none');
    const { tensors } = await loadTensors(this.run.file(this.options.bestFile ?? BEST), this.device);
    this.loadWeights(tensors);
    for (const t of tensors.values()) t.release();
  }

  private loadWeights(weights: StateDict): void {
    const { model } = this.options;
    const { missing, unexpected } = noGrad(() =>
      model.loadStateDict(weights, { strict: !this.options.trainableOnly }),
    );
    if (!this.options.trainableOnly) return;
    const trained = new Set(this.weights().keys());
    const absent = missing.filter((name) => trained.has(name));
    if (absent.length + unexpected.length > 0) {
      throw new DataError(
        `Trainer: expected a checkpoint of the ${trained.size} trained parameters, got one that differs; missing: ${absent.join(', ') || 'none'}; unexpected: ${unexpected.join(', ') || 'none'}`,
      );
    }
  }

  /** Writes the checkpoint and the curve. */
  async save(): Promise<void> {
    const { run } = this;
    const { optimizer, scheduler, batches, title = 'loss', baselines } = this.options;
    if (!run) return;
    const state = optimizer.stateDict();
    const progress: Progress = {
      step: this.step,
      best: this.best,
      sinceBest: this.sinceBest,
      validation: this.validation,
      seconds: this.seconds,
      batches: batches.state(),
      random: defaultGenerator.getState(),
      optimizer: state.scalars,
      scheduler: scheduler?.stateDict() ?? null,
    };
    const tensors = new Map<string, Tensor>();
    for (const [name, t] of this.weights()) tensors.set(`model.${name}`, t);
    for (const [name, t] of state.tensors) tensors.set(`optimizer.${name}`, t);
    for (const [name, t] of this.scaler.stateDict().tensors) tensors.set(`scaler.${name}`, t);
    await saveTensors(run.file(LAST), tensors, { progress: JSON.stringify(progress) });
    const metrics = await run.readMetrics();
    const points = (key: 'loss' | 'validation'): LossPoint[] =>
      metrics.filter((m) => key in m).map((m) => ({ step: m.step, loss: m[key] as number | null }));
    await run.writeText(
      'loss.svg',
      lossCurveSvg({ title, train: points('loss'), validation: points('validation'), baselines }),
    );
  }

  /**
   * Continues from the run's last checkpoint: weights, optimizer, schedule, random numbers and position in the data, so
   * that the steps that follow are those of an uninterrupted run, bit for bit.
   *
   * @throws DataError when there is no checkpoint or it does not fit the model.
   */
  async resume(): Promise<void> {
    const { run } = this;
    const { optimizer, scheduler, batches } = this.options;
    if (!run) throw new DataError('Trainer.resume: expected a run folder, got none');
    const { tensors, metadata } = await loadTensors(run.file(LAST), this.device);
    let progress: Progress;
    try {
      progress = JSON.parse(metadata.progress) as Progress;
    } catch (cause) {
      throw new DataError(
        `Trainer.resume: ${run.file(LAST)} is no checkpoint of a training run: it says no progress`,
        { cause },
      );
    }
    const part = (prefix: string): Map<string, Tensor> =>
      new Map(
        [...tensors]
          .filter(([name]) => name.startsWith(prefix))
          .map(([name, t]) => [name.slice(prefix.length), t]),
      );
    this.loadWeights(part('model.'));
    optimizer.loadStateDict({ tensors: part('optimizer.'), scalars: progress.optimizer as never });
    this.scaler.loadStateDict({ tensors: part('scaler.') });
    for (const t of tensors.values()) t.release();
    if (scheduler) scheduler.loadStateDict(progress.scheduler as never);
    batches.load(progress.batches);
    defaultGenerator.setState(progress.random);
    this.step = progress.step;
    const { step, validation, score } = progress.best;
    // JSON has no infinite numbers; checkpoints of old say no score.
    this.best = { step, validation: validation ?? Infinity, score: score ?? -(validation ?? Infinity) };
    this.sinceBest = progress.sinceBest;
    this.validation = progress.validation ?? Number.NaN;
    this.seconds = progress.seconds;
    await run.truncateMetrics(this.step);
  }
}

/**
 * Mean loss over batches, weighted by their sizes, without gradients.
 *
 * @param loss mean loss of a batch
 * @param size how many items (tokens) it is the mean of
 * @param onBatch called after each batch with the number of batches done
 */
export async function meanLoss<Batch>(
  batches: Iterable<Batch>,
  loss: (batch: Batch) => Tensor,
  size: (batch: Batch) => number,
  onBatch?: (done: number) => void,
): Promise<number> {
  let total = 0;
  let count = 0;
  let done = 0;
  for (const batch of batches) {
    const l = scope(() => noGrad(() => keep(loss(batch))));
    total += (await l.item()) * size(batch);
    count += size(batch);
    l.release();
    onBatch?.(++done);
  }
  if (count === 0) throw new DataError('meanLoss: expected at least one batch, got none');
  return total / count;
}
