/** Training one model in a run folder of its own, which a second call finds again. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { isDeepStrictEqual } from 'node:util';
import { DataError, data, type Device, type nn, optim, type Tensor } from '../../src/index.js';
import {
  listRuns,
  meanLoss,
  Progress,
  RunFolder,
  Trainer,
  type TrainerOptions,
  type TrainResult,
} from '../../src/node.js';
import { consecutiveWindows, Epochs, type TokenBatch, toTensors } from '../../src/train/batches.js';

/** A language model that is trained on windows from a state of zeros. */
export type WindowModel = nn.Module & { loss(ids: Tensor, targets: Tensor): Tensor };

/** All that decides a run; written to its config.json. */
export interface TrainingPlan {
  /** Name of the run folder. */
  readonly name: string;
  /** Which model, in words. */
  readonly model: string;
  readonly window: number;
  readonly batchSize: number;
  readonly lr: number;
  /** Windows in random order, every one once per pass; else in the order of the text. */
  readonly shuffle: boolean;
  /** The rate falls along a cosine to 0; else it stays. */
  readonly falling: boolean;
  readonly clipNorm: number | null;
  readonly steps: number;
  /** Steps between evaluations; what the tables call an epoch. */
  readonly epoch: number;
  readonly patience: number;
  readonly seed: number;
  /** SHA-256 of what is learned. */
  readonly digest: string;
}

export interface TrainingData {
  readonly train: Int32Array;
  readonly validation: Int32Array;
}

/** One epoch of a run. */
export interface EpochLosses {
  readonly step: number;
  /** Mean over the epoch's steps, as the original reported it. */
  readonly train: number;
  readonly validation: number;
}

export interface Trained {
  readonly plan: TrainingPlan;
  readonly epochs: readonly EpochLosses[];
  readonly best: TrainResult['best'];
  readonly stopped: TrainResult['stopped'];
  readonly parameters: number;
  /** Time of this process in its training, by the processor, null for a run that was interrupted; and by the clock. */
  readonly processorSeconds: number | null;
  readonly seconds: number;
  /** Training loss of each step. */
  readonly losses: readonly number[];
  readonly path: string;
}

export interface Workplace {
  readonly device: Device;
  /** Where run folders and figures go. */
  readonly out: string;
  readonly log: (line: string) => void;
  readonly signal?: AbortSignal;
}

/** Thrown to leave all experiments when one was interrupted; everything is saved. */
export class Interrupted extends Error {}

/** All windows of a text, pass after pass, in an order that depends on the seed. */
export function windowBatches(
  ids: Int32Array,
  {
    window,
    batchSize,
    seed,
    shuffle = true,
  }: { window: number; batchSize: number; seed: number; shuffle?: boolean },
) {
  const windows = new data.SlidingWindowDataset(ids, window);
  const loader = new data.DataLoader<data.TextWindow, TokenBatch>(windows, {
    batchSize,
    shuffle,
    seed,
    collate: (items) => {
      const input = new Int32Array(items.length * window);
      const target = new Int32Array(items.length * window);
      items.forEach((item, b) => {
        input.set(item.input, b * window);
        target.set(item.target, b * window);
      });
      return { input, target, shape: [items.length, window] };
    },
  });
  return { windows: windows.length, batches: loader.length, source: new Epochs(loader) };
}

/** Held-out windows that are read at once. */
const EVALUATION_BATCH = 128;

/**
 * Trains a model as planned, or finds the run that did: one that is finished gives its result, one that was interrupted
 * goes on. In the end the model has the weights of the best evaluation, or of the last one.
 *
 * @throws Interrupted when the signal came; DataError for a text shorter than a window
 */
export async function trainModel(
  plan: TrainingPlan,
  model: WindowModel,
  texts: TrainingData,
  { device, out, log, signal }: Workplace,
  weights: 'best' | 'last' = 'best',
): Promise<Trained> {
  const { window, batchSize, steps } = plan;
  const { source } = windowBatches(texts.train, plan);
  const heldOut = consecutiveWindows(texts.validation, EVALUATION_BATCH, window);
  if (heldOut.length === 0) {
    throw new DataError(
      `frankenstein: expected a held-out text of more than ${window} tokens, got ${texts.validation.length}; use a longer text`,
    );
  }
  const optimizer = new optim.Adam(model.parameters(), { lr: plan.lr });
  const scheduler = plan.falling ? new optim.CosineAnnealingLR(optimizer, { tMax: steps }) : undefined;
  let progress: Progress | null = null;
  const options: TrainerOptions<TokenBatch, [Tensor, Tensor]> = {
    model,
    optimizer,
    scheduler,
    batches: source,
    toDevice: (batch) => toTensors(batch, device),
    loss: ([ids, targets]) => model.loss(ids, targets),
    steps,
    clipNorm: plan.clipNorm ?? undefined,
    evaluate: () =>
      meanLoss(
        heldOut,
        (batch) => model.loss(...toTensors(batch, device)),
        (batch) => batch.input.length,
      ),
    evaluateEvery: plan.epoch,
    checkpointEvery: 500,
    patience: plan.patience > 0 ? plan.patience : Infinity,
    readEvery: 50,
    title: `${plan.name}: ${plan.model}`,
    tokensPerBatch: batchSize * window,
    onProgress: (update) => progress?.update(update),
    signal,
  };
  const trainer = new Trainer(options);
  const { run, isOld } = await findRun(out, plan);
  trainer.attach(run);
  try {
    const known = await readResult(run);
    if (known) {
      await (weights === 'best' ? trainer.loadBest() : trainer.resume());
      log(`${plan.name}: found in ${run.path}`);
      return await summary(plan, known, run);
    }
    if (isOld) await trainer.resume().catch(noCheckpointYet);
    log(
      `${plan.name}: ${plan.model}, ${steps.toLocaleString('en')} steps${trainer.step > 0 ? ` from ${trainer.step} on` : ''}, in ${run.path}`,
    );
    progress = new Progress({ total: steps, start: trainer.step });
    const isWhole = trainer.step === 0;
    const before = process.cpuUsage();
    const result = await trainer.train();
    progress.stop();
    const { user, system } = process.cpuUsage(before);
    if (result.stopped === 'interrupted') throw new Interrupted(run.path);
    const done: Result = {
      best: result.best,
      stopped: result.stopped,
      parameters: model.numParameters(),
      processorSeconds: isWhole ? (user + system) / 1e6 : null,
      seconds: result.seconds,
    };
    await run.writeJson('result.json', done);
    if (weights === 'best') await trainer.loadBest();
    return await summary(plan, done, run);
  } finally {
    progress?.stop();
    run.close();
    model.eval();
  }
}

type Result = Pick<Trained, 'best' | 'stopped' | 'parameters' | 'processorSeconds' | 'seconds'>;

/** A run that stopped before its first checkpoint begins again. */
function noCheckpointYet(error: unknown): void {
  if (!/ENOENT|no such file/i.test(String((error as Error).message))) throw error;
}

async function findRun(
  out: string,
  plan: TrainingPlan,
): Promise<{ run: RunFolder<TrainingPlan>; isOld: boolean }> {
  for (const { path } of await listRuns(out)) {
    const run = await RunFolder.open<TrainingPlan>(path);
    if (isDeepStrictEqual(run.config, plan)) return { run, isOld: true };
  }
  return { run: await RunFolder.create(out, plan.name, plan), isOld: false };
}

async function readResult(run: RunFolder): Promise<Result | null> {
  const text = await readFile(run.file('result.json'), 'utf8').catch(() => null);
  return text === null ? null : (JSON.parse(text) as Result);
}

/** Means of the training loss between evaluations. */
async function summary(plan: TrainingPlan, result: Result, run: RunFolder): Promise<Trained> {
  const metrics = await run.readMetrics();
  const losses = metrics.filter((m) => 'loss' in m).map((m) => m.loss as number);
  let from = 0;
  const epochs = metrics
    .filter((m) => 'validation' in m)
    .map(({ step, validation }) => {
      const part = losses.slice(from, step);
      from = step;
      return {
        step,
        train: part.reduce((a, b) => a + b, 0) / part.length,
        validation: validation as number,
      };
    });
  return { plan, ...result, epochs, losses, path: run.path };
}

/** What a plan says of the data. */
export function digestOf({ train, validation }: TrainingData): string {
  return createHash('sha256').update(train).update('|').update(validation).digest('hex').slice(0, 16);
}
