import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DataError } from '../../src/device/errors.js';
import {
  balancedAccuracy,
  bestThreshold,
  brier,
  calibrationCurve,
  calibrationError,
  confusionMatrix,
  macroF1,
  prAuc,
  prCurve,
  rocAuc,
  rocCurve,
} from '../../src/train/classification-metrics.js';

/** Scores with many ties, and labels. */
const cases = fc
  .array(fc.record({ score: fc.integer({ min: 0, max: 8 }), label: fc.constantFrom(0, 1) }), {
    minLength: 1,
    maxLength: 40,
  })
  .map((rows) => ({
    scores: rows.map(({ score }) => score / 8),
    labels: rows.map(({ label }): number => label),
  }));
const both = cases.filter(({ labels }) => labels.includes(0) && labels.includes(1));

describe('rocAuc', () => {
  it('gives what a hand counts', () => {
    // sklearn's example: of four pairs three are in order.
    expect(rocAuc([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])).toBe(0.75);
    expect(rocAuc([1, 2, 3], [0, 0, 1])).toBe(1);
    expect(rocAuc([3, 2, 1], [0, 0, 1])).toBe(0);
    // (1 > 0), (1 = 1): 1½ of 2.
    expect(rocAuc([0, 1, 1], [0, 0, 1])).toBe(0.75);
    expect(rocAuc([7, 7, 7, 7], [0, 1, 1, 0])).toBe(0.5);
  });

  it('is the share of ordered pairs, ties counting half', () => {
    fc.assert(
      fc.property(both, ({ scores, labels }) => {
        let wins = 0;
        let pairs = 0;
        labels.forEach((y, i) => {
          labels.forEach((z, j) => {
            if (y !== 1 || z !== 0) return;
            pairs++;
            wins += scores[i] > scores[j] ? 1 : scores[i] === scores[j] ? 0.5 : 0;
          });
        });
        expect(rocAuc(scores, labels)).toBeCloseTo(wins / pairs, 12);
      }),
    );
  });

  it('knows only the order of scores, and turns with their sign', () => {
    fc.assert(
      fc.property(both, ({ scores, labels }) => {
        const auc = rocAuc(scores, labels);
        const bent = scores.map((s) => Math.exp(3 * s) - 5);
        expect(rocAuc(bent, labels)).toBe(auc);
        expect(prAuc(bent, labels)).toBe(prAuc(scores, labels));
        const turned = scores.map((s) => -s);
        expect(rocAuc(turned, labels)).toBeCloseTo(1 - auc, 12);
      }),
    );
  });

  it('is the area under its curve', () => {
    fc.assert(
      fc.property(both, ({ scores, labels }) => {
        const curve = rocCurve(scores, labels);
        let area = 0;
        for (let i = 1; i < curve.length; i++) {
          const width = curve[i].falsePositiveRate - curve[i - 1].falsePositiveRate;
          area += (width * (curve[i].truePositiveRate + curve[i - 1].truePositiveRate)) / 2;
        }
        expect(area).toBeCloseTo(rocAuc(scores, labels), 12);
        expect(curve.at(-1)).toMatchObject({ falsePositiveRate: 1, truePositiveRate: 1 });
      }),
    );
  });
});

describe('prAuc', () => {
  it('gives what a hand counts', () => {
    // Ranks 1, 3 are positive: ½ · 1/1 + ½ · 2/3, which is sklearn's 0.8333.
    expect(prAuc([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])).toBeCloseTo(5 / 6, 12);
    expect(prAuc([1, 2, 3], [0, 0, 1])).toBe(1);
    expect(prAuc([3, 2, 1], [0, 0, 1])).toBeCloseTo(1 / 3, 12);
    expect(prAuc([7, 7, 7, 7], [0, 1, 0, 0])).toBe(0.25);
  });

  it('is the sum of precision over the steps of recall, by counting afresh at each threshold', () => {
    fc.assert(
      fc.property(both, ({ scores, labels }) => {
        const thresholds = [...new Set(scores)].sort((a, b) => b - a);
        let before = 0;
        let sum = 0;
        const points = thresholds.map((threshold) => {
          const m = confusionMatrix(scores, labels, threshold);
          const recall = m.truePositive / (m.truePositive + m.falseNegative);
          const precision = m.truePositive / (m.truePositive + m.falsePositive);
          sum += (recall - before) * precision;
          before = recall;
          return { threshold, recall, precision };
        });
        expect(prAuc(scores, labels)).toBeCloseTo(sum, 12);
        expect(prCurve(scores, labels)).toEqual(points);
      }),
    );
  });
});

describe('decisions', () => {
  const scores = [0.9, 0.8, 0.7, 0.4, 0.3, 0.2];
  const labels = [1, 0, 1, 1, 0, 0];

  it('counts them', () => {
    expect(confusionMatrix(scores, labels)).toEqual({
      truePositive: 2,
      falsePositive: 1,
      trueNegative: 2,
      falseNegative: 1,
    });
    // The threshold itself belongs to class 1.
    expect(confusionMatrix(scores, labels, 0.4).truePositive).toBe(3);
    expect(macroF1(scores, labels)).toBeCloseTo(2 / 3, 12);
    expect(balancedAccuracy(scores, labels)).toBeCloseTo(2 / 3, 12);
    // 1 of 4 positive, all taken: F1 of 2/5 and of 0.
    expect(macroF1([1, 1, 1, 1], [1, 0, 0, 0])).toBeCloseTo(0.2, 12);
    expect(balancedAccuracy([1, 1, 1, 1], [1, 0, 0, 0])).toBe(0.5);
  });

  it('finds the best threshold', () => {
    expect(bestThreshold(scores, labels)).toEqual({
      threshold: 0.3 + (0.4 - 0.3) / 2,
      value: expect.any(Number),
    });
    expect(bestThreshold([0, 1, 2, 10], [0, 0, 0, 1])).toEqual({ threshold: 6, value: 1 });
    // No score tells: with one positive in four, "no" to all has the better macro-F1.
    const { threshold, value } = bestThreshold([0.5, 0.5, 0.5, 0.5], [1, 0, 0, 0]);
    expect(threshold).toBeGreaterThan(0.5);
    expect(value).toBeCloseTo(3 / 7, 12);
    // Of equals the one with more room, then the lower one.
    expect(bestThreshold([0, 1, 3, 4], [0, 1, 0, 1], { metric: 'balancedAccuracy' }).threshold).toBe(0.5);
    expect(bestThreshold([0, 1, 2, 5], [0, 1, 0, 1], { metric: 'balancedAccuracy' }).threshold).toBe(3.5);
    // Neighbouring numbers have no middle.
    const next = 1 + Number.EPSILON;
    expect(macroF1([1, next], [0, 1], bestThreshold([1, next], [0, 1]).threshold)).toBe(1);
    expect(() => bestThreshold([0.1, 0.2], [1, 1])).toThrow(
      'bestThreshold: expected documents of both classes, got 2 of class 1 and 0 of class 0',
    );
  });

  it('no threshold is better than the best', () => {
    fc.assert(
      fc.property(both, fc.constantFrom('macroF1', 'balancedAccuracy'), ({ scores, labels }, metric) => {
        const of = metric === 'macroF1' ? macroF1 : balancedAccuracy;
        const { threshold, value } = bestThreshold(scores, labels, { metric });
        expect(of(scores, labels, threshold)).toBeCloseTo(value, 12);
        for (let t = -1; t <= 17; t++) expect(of(scores, labels, t / 16)).toBeLessThanOrEqual(value + 1e-12);
      }),
    );
  });
});

describe('probabilities', () => {
  it('Brier score', () => {
    expect(brier([0.1, 0.9, 0.8, 0.3], [0, 1, 1, 0])).toBeCloseTo(0.0375, 12);
    expect(brier([0.25, 0.25, 0.25, 0.25], [1, 0, 0, 0])).toBeCloseTo(0.25 * 0.75, 12);
    expect(brier([1], [1])).toBe(0);
  });

  it('calibration in bins', () => {
    const curve = calibrationCurve([0.05, 0.15, 0.1, 0.95, 1, 0.9], [0, 1, 0, 1, 1, 0], { bins: 10 });
    expect(curve.map(({ low, count, observed }) => [low, count, observed])).toEqual([
      [0, 1, 0],
      [0.1, 2, 0.5],
      [0.9, 3, 2 / 3],
    ]);
    expect(curve[2].predicted).toBeCloseTo(0.95, 12);
    // Wilson's interval of 1 of 2.
    expect(curve[1].interval[0]).toBeCloseTo(0.0945, 4);
    expect(curve[1].interval[1]).toBeCloseTo(0.9055, 4);
    expect(calibrationError(curve)).toBeCloseTo((0.05 + 2 * 0.375 + 3 * (0.95 - 2 / 3)) / 6, 12);
    const even = calibrationCurve([0.1, 0.11, 0.12, 0.8], [0, 0, 1, 1], { bins: 2, strategy: 'quantile' });
    expect(even.map(({ count }) => count)).toEqual([2, 2]);
  });

  it('every document is in one bin', () => {
    fc.assert(
      fc.property(
        cases,
        fc.constantFrom('uniform' as const, 'quantile' as const),
        ({ scores, labels }, strategy) => {
          const curve = calibrationCurve(scores, labels, { bins: 7, strategy });
          expect(curve.reduce((n, { count }) => n + count, 0)).toBe(labels.length);
          for (const { interval, observed } of curve) {
            expect(interval[0]).toBeLessThanOrEqual(observed + 1e-12);
            expect(interval[1]).toBeGreaterThanOrEqual(observed - 1e-12);
          }
          const mean = curve.reduce((sum, { count, observed }) => sum + count * observed, 0) / labels.length;
          expect(mean).toBeCloseTo(labels.reduce((a, b) => a + b, 0) / labels.length, 12);
        },
      ),
    );
  });
});

it('one class alone defines no metric of two', () => {
  for (const label of [0, 1]) {
    const labels = [label, label, label];
    for (const metric of [rocAuc, prAuc, macroF1, balancedAccuracy]) {
      expect(metric([0.1, 0.5, 0.9], labels)).toBeNaN();
    }
    expect(rocCurve([0.1, 0.5, 0.9], labels)).toEqual([]);
    expect(prCurve([0.1, 0.5, 0.9], labels)).toEqual([]);
    expect(brier([0.5, 0.5, 0.5], labels)).toBe(0.25);
  }
});

it('refuses what it cannot score, by name and place', () => {
  expect(() => rocAuc([1, 2], [1])).toThrow('rocAuc: expected a score for each label and at least one');
  expect(() => rocAuc([], [])).toThrow(DataError);
  expect(() => prAuc([1, 2], [1, 2])).toThrow('prAuc: expected labels 0 and 1, got 2 at 1');
  expect(() => macroF1([1, Number.NaN], [1, 0])).toThrow('expected finite scores, got NaN at 1');
  expect(() => brier([2], [1])).toThrow('brier: expected probabilities from 0 to 1, got 2 at 0');
  expect(() => calibrationCurve([0.5], [1], { bins: 0 })).toThrow('at least 1 bin');
});
