import { describe, expect, it } from 'vitest';
import { HostRandom } from '../../src/data/random.js';
import { bootstrapInterval, pairedBootstrap, rocAuc } from '../../src/train/classification-metrics.js';

/** About normal, from uniform numbers. */
function normal(random: HostRandom): number {
  let sum = -6;
  for (let i = 0; i < 12; i++) sum += random.uniform();
  return sum;
}
const mean = (scores: ArrayLike<number>) => Array.from(scores).reduce((a, b) => a + b, 0) / scores.length;

describe('bootstrapInterval', () => {
  it('of a mean is its standard error to both sides', () => {
    const random = new HostRandom(3);
    const scores = Array.from({ length: 400 }, () => normal(random));
    const { value, low, high, resamples } = bootstrapInterval(
      mean,
      scores,
      scores.map(() => 0),
    );
    expect(value).toBe(mean(scores));
    expect(resamples).toBe(2000);
    // 1.96 / √400 = 0.098.
    expect(value - low).toBeGreaterThan(0.085);
    expect(value - low).toBeLessThan(0.112);
    expect(high - value).toBeGreaterThan(0.085);
    expect(high - value).toBeLessThan(0.112);
  });

  it('holds the truth about as often as it says', () => {
    let held = 0;
    for (let trial = 0; trial < 100; trial++) {
      const random = new HostRandom(trial);
      const labels = Array.from({ length: 80 }, (_, i) => i % 2);
      const scores = labels.map((y) => y + normal(random));
      // P(1 + N > N′) = Φ(1 / √2).
      const truth = 0.7602;
      const { low, high } = bootstrapInterval(rocAuc, scores, labels, { resamples: 200, seed: trial });
      if (low <= truth && truth <= high) held++;
    }
    expect(held).toBeGreaterThan(85);
  });

  it('gives the same for the same seed', () => {
    const scores = [0.1, 0.7, 0.4, 0.9, 0.3, 0.8];
    const labels = [0, 0, 1, 1, 0, 1];
    const run = (seed: number) => bootstrapInterval(rocAuc, scores, labels, { seed, resamples: 100 });
    expect(run(1)).toEqual(run(1));
    // Draws of one class only define no AUC; they are counted.
    expect(run(1).skipped + run(1).resamples).toBe(100);
    expect(run(1).skipped).toBeGreaterThan(0);
    const alone = bootstrapInterval(rocAuc, [1, 2], [1, 1]);
    expect([alone.value, alone.low, alone.resamples]).toEqual([Number.NaN, Number.NaN, 0]);
  });

  it('draws whole groups: copies of a document make nothing surer', () => {
    const random = new HostRandom(5);
    const once = Array.from({ length: 50 }, () => normal(random));
    const copied = once.flatMap((x) => [x, x, x, x]);
    const width = (scores: number[], groups?: number[]) => {
      const { low, high } = bootstrapInterval(
        mean,
        scores,
        scores.map(() => 0),
        { groups },
      );
      return high - low;
    };
    const groups = copied.map((_, i) => Math.floor(i / 4));
    expect(width(copied, groups)).toBeCloseTo(width(once), 10);
    expect(width(copied)).toBeLessThan(0.7 * width(once));
    expect(() => width(once, [1, 2])).toThrow('expected a group for each of 50 documents, got 2');
  });

  it('refuses options out of range', () => {
    expect(() => bootstrapInterval(mean, [1], [1], { resamples: 0 })).toThrow('at least 1 resample');
    expect(() => bootstrapInterval(mean, [1], [1], { confidence: 95 })).toThrow('between 0 and 1, got 95');
  });
});

describe('pairedBootstrap', () => {
  const random = new HostRandom(11);
  const labels = Array.from({ length: 150 }, (_, i) => i % 2);
  const noise = labels.map(() => normal(random));
  const good = labels.map((y, i) => 2 * y + noise[i]);
  const other = labels.map((y, i) => 2 * y + noise[i] + 0.05 * normal(random));
  const poor = labels.map((y, i) => 0.5 * y + noise[i]);

  it('tells a better model from an equal one', () => {
    const better = pairedBootstrap(rocAuc, good, poor, labels, { resamples: 500 });
    expect(better.difference.value).toBeCloseTo(rocAuc(good, labels) - rocAuc(poor, labels), 12);
    expect(better.difference.low).toBeGreaterThan(0);
    expect(better.pValue).toBeLessThan(0.01);
    const equal = pairedBootstrap(rocAuc, good, other, labels, { resamples: 500 });
    expect(equal.difference.low).toBeLessThan(0);
    expect(equal.difference.high).toBeGreaterThan(0);
    expect(equal.pValue).toBeGreaterThan(0.05);
    expect(pairedBootstrap(rocAuc, good, good, labels, { resamples: 100 }).pValue).toBe(1);
  });

  it('turns with the order of the models', () => {
    const ab = pairedBootstrap(rocAuc, good, poor, labels, { resamples: 200 });
    const ba = pairedBootstrap(rocAuc, poor, good, labels, { resamples: 200 });
    expect(ba.difference.value).toBeCloseTo(-ab.difference.value, 12);
    expect(ba.difference.low).toBeCloseTo(-ab.difference.high, 12);
    expect(ba.pValue).toBe(ab.pValue);
    expect(() => pairedBootstrap(rocAuc, [1], [1, 2], [0, 1])).toThrow('of the same documents, got 1 and 2');
  });

  it('is narrower than two intervals side by side, for models that err alike', () => {
    const paired = pairedBootstrap(rocAuc, good, other, labels, { resamples: 300 }).difference;
    const alone = bootstrapInterval(rocAuc, good, labels, { resamples: 300 });
    expect(paired.high - paired.low).toBeLessThan((alone.high - alone.low) / 2);
  });
});
