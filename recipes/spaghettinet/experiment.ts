/** Training, testing and cutting, over several seeds. */
import {
  capture,
  crossEntropy,
  data,
  type Device,
  manualSeed,
  noGrad,
  optim,
  scope,
  tensor,
} from '../../src/index.js';
import { type Dataset, type DatasetName, type DataPaths, type Examples, loadDataset } from './data.js';
import { build, type Kind, type Net, type Shape, write } from './models.js';

/** Everything that decides the numbers. */
export interface Settings extends Shape, DataPaths {
  readonly datasets: readonly DatasetName[];
  readonly kinds: readonly Kind[];
  readonly seeds: number;
  readonly seed: number;
  readonly steps: number;
  readonly batchSize: number;
  readonly rates: readonly number[];
  readonly cuts: number;
}

/** Shares of the wires that are cut. */
export const SHARES = [0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8] as const;

/** One trained network. */
export interface Trained {
  readonly net: Net;
  readonly validationLoss: number;
  readonly validation: number;
  readonly test: number;
}

/** A kind of network on a data set: one number per seed. */
export interface KindResult {
  readonly kind: Kind;
  readonly parameters: number;
  readonly wires: number;
  readonly operations: number;
  /** The learning rate chosen on validation examples of a seed of its own. */
  readonly rate: number;
  /** Shares of test examples that are right. */
  readonly accuracy: readonly number[];
  /** By share of SHARES, then by seed: accuracy with that share of the wires cut, the mean over several cuts. */
  readonly cut: readonly (readonly number[])[];
}

export interface DatasetResult {
  readonly name: DatasetName;
  readonly examples: readonly [train: number, validation: number, test: number];
  readonly width: number;
  readonly classes: number;
  /** Accuracy of the most frequent class, the mean over seeds. */
  readonly majority: number;
  readonly kinds: readonly KindResult[];
}

/** Evaluations in a training run; the weights of the best one are kept. */
const EVALUATIONS = 20;

export async function runDataset(
  name: DatasetName,
  settings: Settings,
  device: Device,
  log: (line: string) => void,
): Promise<DatasetResult> {
  const seeds = Array.from({ length: settings.seeds }, (_, i) => settings.seed + i);
  // Rates are chosen on data that no result is taken from.
  const trial = await loadDataset(name, settings.seed + 10_000, settings);
  const sets = await Promise.all(seeds.map((seed) => loadDataset(name, seed, settings)));
  const kinds: KindResult[] = [];
  for (const kind of settings.kinds) {
    let [rate, best] = [settings.rates[0], Infinity];
    for (const candidate of settings.rates.length > 1 ? settings.rates : []) {
      const { validationLoss, net } = await train(
        kind,
        trial,
        settings,
        settings.seed + 10_000,
        candidate,
        device,
      );
      release(net);
      if (validationLoss < best) [rate, best] = [candidate, validationLoss];
    }
    const accuracy: number[] = [];
    const cut: number[][] = SHARES.map(() => []);
    let last: Net | null = null;
    for (const [i, set] of sets.entries()) {
      const { net, test } = await train(kind, set, settings, seeds[i], rate, device);
      accuracy.push(test);
      for (const [s, share] of SHARES.entries()) {
        cut[s].push(share === 0 ? test : await cutAccuracy(net, set, share, settings.cuts, seeds[i]));
      }
      if (last) release(last);
      last = net;
    }
    const { parameters, wires, operations } = last!;
    release(last!);
    kinds.push({ kind, parameters, wires, operations, rate, accuracy, cut });
    const { mean, half } = interval(accuracy);
    log(
      `  ${kind.padEnd(27)}${parameters.toLocaleString('en').padStart(7)} parameters  ${percent(mean)} ± ${percent(half)} %  (rate ${rate})`,
    );
  }
  const { train: t, validation: v, test, width, classes } = sets[0];
  return {
    name,
    examples: [t.y.length, v.y.length, test.y.length],
    width,
    classes,
    majority: sets.reduce((sum, set) => sum + majority(set), 0) / sets.length,
    kinds,
  };
}

/** Trains one network and keeps the weights of its best validation loss. */
export async function train(
  kind: Kind,
  set: Dataset,
  settings: Settings,
  seed: number,
  rate: number,
  device: Device,
): Promise<Trained> {
  const { steps, batchSize } = settings;
  manualSeed(seed);
  const net = build(kind, [set.width, set.classes], settings, seed, device);
  const { model } = net;
  const optimizer = new optim.AdamW(model.parameters(), { lr: rate, weightDecay: 0.01 });
  const scheduler = new optim.WarmupCosineLR(optimizer, {
    warmupSteps: Math.ceil(steps / 20),
    totalSteps: steps,
  });
  const count = set.train.y.length;
  const xs = tensor(set.train.x, { shape: [count, set.width], device });
  const ys = tensor(set.train.y, { device });
  const step = capture((batch: ReturnType<typeof tensor>) => {
    const loss = crossEntropy(model.forward(xs.indexSelect(0, batch)), ys.indexSelect(0, batch));
    loss.backward();
    optimizer.step();
    optimizer.zeroGrad();
    return loss;
  });
  const random = new data.HostRandom(seed);
  let order = data.permutation(count, random);
  let at = 0;
  let best: Scores = { loss: Infinity, accuracy: 0 };
  let kept: Float32Array[] = [];
  const every = Math.max(1, Math.floor(steps / EVALUATIONS));
  const size = Math.min(batchSize, count);
  for (let i = 1; i <= steps; i++) {
    if (at + size > count) [order, at] = [data.permutation(count, random), 0];
    const picks = order.slice(at, at + size);
    at += size;
    scope(() => {
      step(tensor(picks, { device }));
    });
    scheduler.step();
    if (i % every !== 0 && i !== steps) continue;
    const scores = await score(net, set.validation, set);
    if (scores.loss >= best.loss) continue;
    best = scores;
    kept = await Promise.all(model.parameters().map(async (p) => Float32Array.from(await p.data())));
  }
  model.parameters().forEach((p, i) => {
    if (kept[i]) write(p, kept[i]);
  });
  step.release();
  xs.release();
  ys.release();
  const { accuracy } = await score(net, set.test, set);
  return { net, validationLoss: best.loss, validation: best.accuracy, test: accuracy };
}

interface Scores {
  readonly loss: number;
  readonly accuracy: number;
}

/** Mean loss, and the share of examples whose class has the highest score. */
async function score(net: Net, { x, y }: Examples, { width, classes }: Dataset): Promise<Scores> {
  const { device } = net.model.parameters()[0];
  const [loss, logits] = scope(() =>
    noGrad(() => {
      const scores = net.model.forward(tensor(x, { shape: [y.length, width], device }));
      return [crossEntropy(scores, tensor(y, { device })), scores] as const;
    }),
  ) as readonly [ReturnType<typeof tensor>, ReturnType<typeof tensor>];
  const values = await logits.data();
  let right = 0;
  for (let i = 0; i < y.length; i++) {
    let top = 0;
    for (let c = 1; c < classes; c++) if (values[i * classes + c] > values[i * classes + top]) top = c;
    if (top === y[i]) right++;
  }
  const result = { loss: (await loss.item()) as number, accuracy: right / y.length };
  loss.release();
  logits.release();
  return result;
}

/** Test accuracy with a share of the wires cut, the mean over several cuts. */
async function cutAccuracy(
  net: Net,
  set: Dataset,
  share: number,
  cuts: number,
  seed: number,
): Promise<number> {
  let sum = 0;
  for (let c = 0; c < cuts; c++) {
    const mend = await net.cut(share, seed * 100 + c);
    sum += (await score(net, set.test, set)).accuracy;
    mend();
  }
  return sum / cuts;
}

/** Gives a network's memory back. */
export function release({ model }: Net): void {
  for (const t of [...model.parameters(), ...model.buffers()]) t.release();
}

function majority({ test, classes }: Dataset): number {
  const counts = new Array<number>(classes).fill(0);
  for (const label of test.y) counts[label]++;
  return Math.max(...counts) / test.y.length;
}

/** 97.5 % quantiles of Student's t by degrees of freedom, from 1 on. @source any table of the distribution */
const T = [
  12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145, 2.131,
  2.12, 2.11, 2.101, 2.093, 2.086, 2.08, 2.074, 2.069, 2.064, 2.06, 2.056, 2.052, 2.048, 2.045, 2.042,
];

/** The mean over seeds, and half the width of its 95 % interval. */
export function interval(values: readonly number[]): { mean: number; half: number } {
  const n = values.length;
  const mean = values.reduce((a, b) => a + b, 0) / n;
  if (n < 2) return { mean, half: Number.NaN };
  const variance = values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / (n - 1);
  return { mean, half: (T[n - 2] ?? 1.96) * Math.sqrt(variance / n) };
}

/** The share of the wires that can be cut until accuracy has fallen by `drop`, on the mean curve; straight between points. */
export function tolerance({ cut }: KindResult, drop = 0.05): number {
  const means = cut.map((values) => interval(values).mean);
  const floor = means[0] - drop;
  const i = means.findIndex((mean) => mean < floor);
  if (i < 0) return SHARES[SHARES.length - 1];
  const part = (means[i - 1] - floor) / (means[i - 1] - means[i]);
  return SHARES[i - 1] + part * (SHARES[i] - SHARES[i - 1]);
}

export function percent(x: number): string {
  return (100 * x).toFixed(1);
}
