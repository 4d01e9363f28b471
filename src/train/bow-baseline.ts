/** What a classifier of documents must beat: the share of the classes, and logistic regression on a bag of words. */
import { backward } from '../autograd/engine.js';
import { zeros } from '../autograd/ops/creation.js';
import { bceWithLogitsLoss } from '../autograd/ops/losses.js';
import { HostRandom, permutation } from '../data/random.js';
import { DataError } from '../device/errors.js';
import type { Device } from '../device/types.js';
import { Linear } from '../nn/layers.js';
import { Adam } from '../optim/adam.js';
import { CosineAnnealingLR } from '../optim/scheduler.js';
import { defaultDevice } from '../tensor/default-device.js';
import { tensor } from '../tensor/factories.js';
import { scope } from '../tensor/lifetime.js';
import type { Tensor } from '../tensor/tensor.js';
import {
  BowVectors,
  type BowVectorsJSON,
  type BowVectorOptions,
  densify,
  type SparseRow,
} from './bow-vectors.js';
import { type Metric, prAuc } from './classification-metrics.js';

/** Says the share of class 1 in training to every document. */
export class PriorClassifier {
  constructor(readonly probability: number) {}

  /** @throws DataError without labels */
  static fit(labels: ArrayLike<number>): PriorClassifier {
    if (labels.length === 0) throw new DataError('PriorClassifier: expected at least one label, got none');
    return new PriorClassifier(Array.from(labels).reduce((a, b) => a + b, 0) / labels.length);
  }

  /** @returns probabilities [n], all the same */
  predict(texts: readonly unknown[]): Float64Array {
    return new Float64Array(texts.length).fill(this.probability);
  }
}

/** How logistic regression is fitted. */
export interface BowOptions extends BowVectorOptions {
  /** λ of Σ lossᵢ + λ/2 · |w|², 1 / C of scikit-learn; 0.1 by default. The bias is free. */
  l2?: number;
  /** 'balanced': each class weighs the same in all, n / (2 n_c) per document; or weights of class 0 and 1; none by default. */
  classWeight?: 'balanced' | readonly [number, number] | null;
  /** Steps of Adam; 400 by default. */
  steps?: number;
  /** Learning rate at the start, falling to 0 as a cosine; 0.1 by default. */
  lr?: number;
  /** Documents per step; up to as many, every step reads all of them. 512 by default. */
  batchSize?: number;
  /** Order of the batches; 0 by default. */
  seed?: number;
  /** The default device by default. */
  device?: Device;
}

/** A fitted `BowClassifier` as JSON. */
export interface BowJSON {
  vectors: BowVectorsJSON;
  weights: number[];
  bias: number;
}

/**
 * Logistic regression on words, p = σ(w · x + b) with x the tf-idf vector of the text: the minimum of
 * Σ lossᵢ + λ/2 · |w|², which is convex, so that neither chance nor the start decides it.
 *
 * @source sklearn.linear_model.LogisticRegression
 * @example
 * const model = await BowClassifier.fit(['good film', 'bad film', 'good', 'bad'], [1, 0, 1, 0], { minDocuments: 1 });
 * model.predict(['a good one'])[0]; // above 0.5
 */
export class BowClassifier {
  constructor(
    readonly vectors: BowVectors,
    readonly weights: Float32Array,
    readonly bias: number,
  ) {}

  /**
   * @param texts [n], each read once
   * @param labels [n], 0 or 1
   * @throws DataError for unequal lengths, one class only, or no words
   */
  static async fit(
    texts: Iterable<string> | AsyncIterable<string>,
    labels: ArrayLike<number>,
    options: BowOptions = {},
  ): Promise<BowClassifier> {
    const { vectors, rows } = await BowVectors.fit(texts, options);
    return BowClassifier.fitRows(vectors, rows, labels, options);
  }

  /** Fits vectors that `BowVectors.fit` gave, so that several fits share them. */
  static async fitRows(
    vectors: BowVectors,
    rows: readonly SparseRow[],
    labels: ArrayLike<number>,
    options: BowOptions = {},
  ): Promise<BowClassifier> {
    const { weights, bias } = await fitLogistic(rows, labels, vectors.words.length, options);
    return new BowClassifier(vectors, weights, bias);
  }

  /** @returns w · x + b of each text [n] */
  logits(texts: readonly string[]): Float64Array {
    return this.logitsOf(texts.map((text) => this.vectors.row(text)));
  }

  /** Logits of vectors. */
  logitsOf(rows: readonly SparseRow[]): Float64Array {
    return Float64Array.from(rows, ({ ids, values }) => {
      let sum = this.bias;
      for (let k = 0; k < ids.length; k++) sum += this.weights[ids[k]] * values[k];
      return sum;
    });
  }

  /** @returns probabilities of class 1 [n] */
  predict(texts: readonly string[]): Float64Array {
    return this.logits(texts).map(sigmoid);
  }

  /** The n words that speak most for class 1, or against it. */
  topWords(n: number, label: 0 | 1 = 1): { word: string; weight: number }[] {
    const sign = label === 1 ? 1 : -1;
    return this.vectors.words
      .map((word, id) => ({ word, weight: this.weights[id] }))
      .filter(({ weight }) => sign * weight > 0)
      .sort((a, b) => sign * (b.weight - a.weight))
      .slice(0, n);
  }

  toJSON(): BowJSON {
    return { vectors: this.vectors.toJSON(), weights: [...this.weights], bias: this.bias };
  }

  static fromJSON({ vectors, weights, bias }: BowJSON): BowClassifier {
    return new BowClassifier(BowVectors.fromJSON(vectors), Float32Array.from(weights), bias);
  }
}

/** Texts and their classes. */
export interface LabelledTexts {
  readonly texts: readonly string[];
  readonly labels: ArrayLike<number>;
}

/**
 * Fits with each λ and keeps the one that does best on the validation texts: a baseline at its best is the one to beat.
 *
 * @param train what is fitted
 * @param validation by what λ is chosen
 * @param options.l2 the values tried, by default 10 to 0.001; of equals the larger
 * @param options.metric average precision by default
 */
export async function tuneBow(
  train: LabelledTexts,
  validation: LabelledTexts,
  options: Omit<BowOptions, 'l2'> & { l2?: readonly number[]; metric?: Metric } = {},
): Promise<{ model: BowClassifier; l2: number; tried: { l2: number; value: number }[] }> {
  const { l2 = [10, 1, 0.1, 0.01, 0.001], metric = prAuc, ...rest } = options;
  const { vectors, rows } = await BowVectors.fit(train.texts, rest);
  const held = validation.texts.map((text) => vectors.row(text));
  const tried: { l2: number; value: number }[] = [];
  let best: { model: BowClassifier; l2: number; value: number } | null = null;
  for (const strength of [...l2].sort((a, b) => b - a)) {
    const model = await BowClassifier.fitRows(vectors, rows, train.labels, { ...rest, l2: strength });
    const value = metric(model.logitsOf(held), validation.labels);
    tried.push({ l2: strength, value });
    if (best === null || value > best.value) best = { model, l2: strength, value };
  }
  if (best === null) throw new DataError('tuneBow: expected at least one value of l2, got none');
  return { model: best.model, l2: best.l2, tried };
}

/** Minimises Σ lossᵢ + λ/2 · |w|², divided by the sum of the documents' weights, on the device. */
async function fitLogistic(
  rows: readonly SparseRow[],
  labels: ArrayLike<number>,
  width: number,
  {
    l2 = 0.1,
    classWeight = null,
    steps = 400,
    lr = 0.1,
    batchSize = 512,
    seed = 0,
    device = defaultDevice(),
  }: BowOptions,
): Promise<{ weights: Float32Array; bias: number }> {
  const documentWeights = weightsOf(rows, labels, classWeight);
  if (!(l2 >= 0)) throw new DataError(`BowClassifier: expected l2 of at least 0, got ${l2}`);
  const total = documentWeights.reduce((a, b) => a + b, 0);
  const model = new Linear(width, 1, { initialize: false, device });
  // Convex: zeros are as good a start as any, and the same on every machine.
  await model.loadStateDict(
    new Map([
      ['weight', zeros([1, width], { device })],
      ['bias', zeros([1], { device })],
    ]),
  );
  const optimizer = new Adam(
    [
      { params: [model.weight], weightDecay: l2 / total },
      { params: [model.bias!], weightDecay: 0 },
    ],
    { lr },
  );
  const scheduler = new CosineAnnealingLR(optimizer, { tMax: steps });
  const random = new HostRandom(seed);
  const mean = total / rows.length;
  const toTensors = (batch: ArrayLike<number>): [x: Tensor, y: Tensor, weight: Tensor] => {
    const indices = Array.from(batch);
    const B = indices.length;
    const column = (values: number[]) => tensor(Float32Array.from(values), { shape: [B, 1], device });
    return [
      tensor(
        densify(
          indices.map((i) => rows[i]),
          width,
        ),
        { shape: [B, width], device },
      ),
      column(indices.map((i) => labels[i])),
      column(indices.map((i) => documentWeights[i] / mean)),
    ];
  };
  const isWhole = rows.length <= batchSize;
  const whole = isWhole ? toTensors(rows.map((_, i) => i)) : null;
  let order = permutation(rows.length, random);
  let at = 0;
  for (let step = 0; step < steps; step++) {
    if (at + batchSize > rows.length) {
      order = permutation(rows.length, random);
      at = 0;
    }
    scope(() => {
      const [x, y, weight] = whole ?? toTensors(order.subarray(at, at + batchSize));
      optimizer.zeroGrad();
      backward(bceWithLogitsLoss(model.forward(x), y, { weight }));
      optimizer.step();
    });
    scheduler.step();
    at += batchSize;
    // Bounds what waits in the queue, and lets others have the thread.
    if (step % 20 === 19) await model.bias!.data();
  }
  const weights = Float32Array.from(await model.weight.data());
  const [bias] = await model.bias!.data();
  for (const t of [...(whole ?? []), ...model.parameters()]) t.release();
  return { weights, bias };
}

function weightsOf(
  rows: readonly SparseRow[],
  labels: ArrayLike<number>,
  classWeight: BowOptions['classWeight'],
): Float64Array {
  if (rows.length !== labels.length) {
    throw new DataError(
      `BowClassifier: expected a label for each text, got ${rows.length} texts and ${labels.length} labels`,
    );
  }
  const counts = [0, 0];
  for (let i = 0; i < labels.length; i++) {
    if (labels[i] !== 0 && labels[i] !== 1)
      throw new DataError(`BowClassifier: expected labels 0 and 1, got ${labels[i]} at ${i}`);
    counts[labels[i]]++;
  }
  if (counts[0] === 0 || counts[1] === 0) {
    throw new DataError(
      `BowClassifier: expected documents of both classes, got ${counts[1]} of class 1 and ${counts[0]} of class 0`,
    );
  }
  const weights =
    classWeight === 'balanced' ? counts.map((n) => rows.length / (2 * n)) : (classWeight ?? [1, 1]);
  return Float64Array.from(labels, (label) => weights[label]);
}

function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x));
}
