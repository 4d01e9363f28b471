import { describe, expect, it } from 'vitest';
import { HostRandom } from '../../src/data/random.js';
import { DataError } from '../../src/device/errors.js';
import { correctedResampledTTest, studentCdf } from '../../src/train/resampled-t-test.js';

describe('studentCdf', () => {
  // scipy.stats.t.cdf
  it.each([
    [1, 1, 0.75],
    [2.5, 2, 0.9351941398892446],
    [0.3, 3, 0.6081183539800405],
    [12, 5, 0.9999645525374142],
    [-1.7, 9, 0.061673831071911926],
    [2.064, 24, 0.9750051951736927],
    [4, 24, 0.9997365459636092],
  ])('of %d with %d degrees of freedom is %d', (t, v, p) => {
    expect(studentCdf(t, v)).toBeCloseTo(p, 12);
  });

  it('reaches from 0 to 1', () => {
    expect(studentCdf(Infinity, 7)).toBe(1);
    expect(studentCdf(-Infinity, 7)).toBe(0);
    expect(studentCdf(0, 8)).toBe(0.5);
    expect(() => studentCdf(1, 2.5)).toThrow('expected whole degrees of freedom of at least 1, got 2.5');
  });
});

describe('correctedResampledTTest', () => {
  it('gives the figures of the formula', () => {
    const test = correctedResampledTTest([0.02, 0.01, 0.03, -0.01, 0.02], { testShare: 1 / 4 });
    expect(test.degreesOfFreedom).toBe(4);
    // numpy and scipy
    expect(test.mean).toBeCloseTo(0.014, 12);
    expect(test.standardError).toBeCloseTo(0.010173494974687903, 12);
    expect(test.t).toBeCloseTo(1.376124924112373, 10);
    expect(test.pValue).toBeCloseTo(0.24080150290275065, 10);
    expect(test.low).toBeCloseTo(-0.014246150325226581, 9);
    expect(test.high).toBeCloseTo(0.04224615032522658, 9);
  });

  it('is not convinced by repetition', () => {
    const once = [0.02, 0.01, 0.03, -0.01, 0.02];
    const often = Array.from({ length: 40 }, () => once).flat();
    const { standardError } = correctedResampledTTest(often, { testShare: 1 / 4 });
    const plain = correctedResampledTTest(often, { testShare: 1e-9 }).standardError;
    expect(plain).toBeLessThan(0.0011);
    expect(standardError).toBeGreaterThan(0.006);
  });

  it('rarely finds a difference between equals', () => {
    // Five folds of 40 rows, drawn anew five times: two models that are right by chance, each on its own rows.
    const random = new HostRandom(1);
    let found = 0;
    for (let trial = 0; trial < 200; trial++) {
      const difference = Array.from({ length: 200 }, () => random.integer(3) - 1);
      const folds: number[] = [];
      for (let repeat = 0; repeat < 5; repeat++) {
        const sums = new Array(5).fill(0);
        for (const d of difference) sums[random.integer(5)] += d / 40;
        folds.push(...sums);
      }
      if (correctedResampledTTest(folds, { testShare: 1 / 4 }).pValue < 0.05) found++;
    }
    expect(found / 200).toBeLessThan(0.1);
  });

  it('knows nothing of equal values, and refuses what is no sample', () => {
    for (const odd of [Number.NaN, Infinity]) {
      expect(() => correctedResampledTTest([0.1, odd, 0.2], { testShare: 0.25 })).toThrow(
        `correctedResampledTTest: expected finite values, got ${odd}`,
      );
    }
    expect(correctedResampledTTest([0, 0, 0], { testShare: 0.25 })).toMatchObject({
      mean: 0,
      pValue: 1,
      low: 0,
    });
    expect(() => correctedResampledTTest([1], { testShare: 0.25 })).toThrow(DataError);
    expect(() => correctedResampledTTest([1, 2], { testShare: 0 })).toThrow('above 0, got 0');
  });
});
