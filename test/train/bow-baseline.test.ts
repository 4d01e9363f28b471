import { describe, expect, it } from 'vitest';
import { HostRandom } from '../../src/data/random.js';
import { cpuDevice } from '../../src/tensor/default-device.js';
import { BowClassifier, PriorClassifier, tuneBow } from '../../src/train/bow-baseline.js';
import { BowVectors, densify } from '../../src/train/bow-vectors.js';
import { rocAuc } from '../../src/train/classification-metrics.js';

const device = cpuDevice();

/** Documents of noise words, in which class 1 says "ship" and "sea" more often. */
function documents(n: number, seed: number): { texts: string[]; labels: number[] } {
  const random = new HostRandom(seed);
  const labels = Array.from({ length: n }, (_, i) => Number(i % 4 === 0));
  const texts = labels.map((label) => {
    const words = Array.from(
      { length: 40 },
      () => `w${'abcdefghij'[random.integer(10)]}${'klmno'[random.integer(5)]}`,
    );
    for (const word of ['ship', 'sea', 'land']) {
      const likely = word === 'land' ? 0.3 + 0.3 * (1 - label) : 0.15 + 0.5 * label;
      if (random.uniform() < likely) words.push(word);
    }
    return words.join(' ');
  });
  return { texts, labels };
}

describe('BowVectors', () => {
  it('weighs words as scikit-learn does', async () => {
    const texts = ['the cat sat', 'the cat sat on the mat', 'the dog'];
    const { vectors, rows } = await BowVectors.fit(texts, { minDocuments: 1 });
    // By documents that hold them, then by name.
    expect(vectors.words).toEqual(['the', 'cat', 'sat', 'dog', 'mat', 'on']);
    const [the, two, one] = [3, 2, 1].map((n) => 1 + Math.log(4 / (1 + n)));
    const raw = [(1 + Math.log(2)) * the, two, two, 0, one, one];
    const length = Math.hypot(...raw);
    const dense = densify([rows[1]], 6);
    raw.forEach((value, id) => {
      expect(dense[id]).toBeCloseTo(value / length, 6);
    });
    expect(vectors.row('The mat; the MAT, on an ocean').ids).toEqual(Int32Array.of(0, 4, 5));
    expect(vectors.row('nothing known').ids.length).toBe(0);
  });

  it('keeps the words of most documents', async () => {
    const { vectors } = await BowVectors.fit(['a b c', 'a b', 'a d d d d'], { maxWords: 2 });
    expect(vectors.words).toEqual(['a', 'b']);
    await expect(BowVectors.fit(['a', 'b'])).rejects.toThrow('in at least 2 documents, got none in 2');
    const counts = await BowVectors.fit(['a a a b', 'a'], { weighting: 'counts' });
    expect(counts.rows[0].values[0]).toBeCloseTo(Math.log(4), 6);
  });
});

describe('BowClassifier', () => {
  it('finds the minimum that Newton finds', async () => {
    const { texts, labels } = documents(60, 1);
    const options = { l2: 0.5, maxWords: 8, classWeight: 'balanced', device } as const;
    const model = await BowClassifier.fit(texts, labels, options);
    const { rows } = await BowVectors.fit(texts, options);
    const dense = densify(rows, 8);
    const x = rows.map((_, i) => [...dense.subarray(i * 8, i * 8 + 8), 1]);
    const weights = labels.map((y) => 60 / (2 * labels.filter((z) => z === y).length));
    const expected = newton(x, labels, weights, 0.5);
    expected.slice(0, 8).forEach((w, id) => {
      expect(model.weights[id]).toBeCloseTo(w, 2);
    });
    expect(model.bias).toBeCloseTo(expected[8], 2);
  });

  it('learns which words tell, and ranks new documents by them', async () => {
    const train = documents(300, 2);
    const test = documents(300, 3);
    const model = await BowClassifier.fit(train.texts, train.labels, { l2: 1, device });
    expect(new Set(model.topWords(2).map(({ word }) => word))).toEqual(new Set(['ship', 'sea']));
    expect(model.topWords(1, 0)[0].word).toBe('land');
    const auc = rocAuc(model.predict(test.texts), test.labels);
    expect(auc).toBeGreaterThan(0.75);
    // Without class weights the mean probability is the share of the class.
    const mean = model.predict(train.texts).reduce((a, b) => a + b, 0) / 300;
    expect(mean).toBeCloseTo(0.25, 2);
    const copy = BowClassifier.fromJSON(JSON.parse(JSON.stringify(model)));
    expect(copy.predict(test.texts)).toEqual(model.predict(test.texts));
  });

  it('is the same for the same seed, in batches too', async () => {
    const { texts, labels } = documents(100, 4);
    const train = (batchSize: number, seed: number) =>
      BowClassifier.fit(texts, labels, { batchSize, seed, steps: 60, device });
    expect((await train(30, 1)).weights).toEqual((await train(30, 1)).weights);
    expect((await train(30, 1)).weights).not.toEqual((await train(30, 2)).weights);
    expect((await train(100, 1)).weights).toEqual((await train(200, 2)).weights);
    const [batches, whole] = [await train(30, 1), await train(100, 1)].map((m) =>
      rocAuc(m.logits(texts), labels),
    );
    expect(Math.abs(batches - whole)).toBeLessThan(0.05);
  });

  it('refuses labels that do not fit', async () => {
    await expect(BowClassifier.fit(['a b', 'a b'], [1], { device })).rejects.toThrow('2 texts and 1 labels');
    await expect(BowClassifier.fit(['a b', 'a b'], [1, 1], { device })).rejects.toThrow(
      'got 2 of class 1 and 0',
    );
    await expect(BowClassifier.fit(['a b', 'a b'], [1, 3], { device })).rejects.toThrow('got 3 at 1');
  });
});

it('tuneBow keeps the strength that validates best', async () => {
  const train = documents(80, 5);
  const validation = documents(80, 6);
  const { model, l2, tried } = await tuneBow(train, validation, { l2: [0.001, 1000], steps: 150, device });
  expect(tried.map((t) => t.l2)).toEqual([1000, 0.001]);
  const best = tried.reduce((a, b) => (b.value > a.value ? b : a));
  expect(l2).toBe(best.l2);
  expect(model.predict(validation.texts).length).toBe(80);
});

it('PriorClassifier says the share of class 1', () => {
  const prior = PriorClassifier.fit([1, 0, 0, 0]);
  expect(prior.predict(['x', 'y'])).toEqual(Float64Array.of(0.25, 0.25));
  expect(() => PriorClassifier.fit([])).toThrow('at least one label');
});

/** Newton's method for Σ weightᵢ · lossᵢ + λ/2 · |w|², the last coordinate (the bias) free. */
function newton(x: number[][], y: number[], weight: number[], l2: number): number[] {
  const n = x[0].length;
  const w = new Array<number>(n).fill(0);
  for (let iteration = 0; iteration < 20; iteration++) {
    const h = w.map((_, j) => w.map((_, k) => (j === k && j < n - 1 ? l2 : 0)));
    const g = w.map((v, j) => (j < n - 1 ? l2 * v : 0));
    x.forEach((row, i) => {
      const p = 1 / (1 + Math.exp(-row.reduce((sum, v, j) => sum + v * w[j], 0)));
      for (let j = 0; j < n; j++) {
        g[j] += weight[i] * (p - y[i]) * row[j];
        for (let k = 0; k < n; k++) h[j][k] += weight[i] * p * (1 - p) * row[j] * row[k];
      }
    });
    solve(h, g).forEach((d, j) => {
      w[j] -= d;
    });
  }
  return w;
}

/** Gaussian elimination with pivots. */
function solve(a: number[][], b: number[]): number[] {
  const n = b.length;
  const m = a.map((row, i) => [...row, b[i]]);
  for (let c = 0; c < n; c++) {
    let pivot = c;
    for (let r = c; r < n; r++) if (Math.abs(m[r][c]) > Math.abs(m[pivot][c])) pivot = r;
    [m[c], m[pivot]] = [m[pivot], m[c]];
    for (let r = 0; r < n; r++) {
      if (r === c) continue;
      const f = m[r][c] / m[c][c];
      for (let k = c; k <= n; k++) m[r][k] -= f * m[c][k];
    }
  }
  return m.map((row, i) => row[n] / row[i]);
}
