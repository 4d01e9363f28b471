import { describe, expect, it } from 'vitest';
import { CategoryEncoder, MedianImputer, missingFlags, StandardScaler } from '../../src/data/features.js';
import { DataError } from '../../src/device/errors.js';

const throughJson = (value: unknown) => JSON.parse(JSON.stringify(value));

describe('StandardScaler', () => {
  it('brings what it was fitted on to mean 0 and deviation 1, and other values by the same rule', () => {
    const scaler = StandardScaler.fit([2, 4, Number.NaN, 6, 8]);
    expect(scaler.mean).toBe(5);
    expect(scaler.deviation).toBeCloseTo(Math.sqrt(5), 12);
    const z = scaler.transform([2, 4, 6, 8]);
    expect(z.reduce((a, b) => a + b, 0)).toBeCloseTo(0, 12);
    expect(z.reduce((a, b) => a + b * b, 0) / 4).toBeCloseTo(1, 12);
    expect([...scaler.inverse(scaler.transform([100, -3]))]).toEqual([100, -3]);
    expect(scaler.transform([Number.NaN])[0]).toBeNaN();
    expect(StandardScaler.fromJSON(throughJson(scaler))).toEqual(scaler);
  });

  it('makes nothing of a column that never changes', () => {
    const scaler = StandardScaler.fit([0.1, 0.1, 0.1]);
    expect(scaler.transform([0.1])[0]).toBeCloseTo(0, 12);
    expect(scaler.deviation).toBe(1);
    expect(StandardScaler.fit([0, 0]).deviation).toBe(1);
    // Small values are not constant ones.
    expect(StandardScaler.fit([1e-9, 3e-9]).transform([3e-9])[0]).toBeCloseTo(1, 9);
  });

  it('says when there is nothing to fit', () => {
    expect(() => StandardScaler.fit([Number.NaN, Number.NaN])).toThrow(
      'StandardScaler.fit: expected at least one value, got 2 missing ones; leave the column out',
    );
    expect(() => StandardScaler.fit([1, Infinity])).toThrow(DataError);
  });
});

describe('MedianImputer', () => {
  it('fills with the median of all, or of the group where that is large enough', () => {
    const ages = [1, 2, 3, 30, 40, 50, 70, Number.NaN];
    const titles = ['Master', 'Master', 'Master', 'Mr', 'Mr', 'Mr', 'Dr', null];
    expect([...MedianImputer.fit(ages).transform([Number.NaN, 7])]).toEqual([30, 7]);
    const imputer = MedianImputer.fit(ages, titles, { minCount: 3 });
    const missing = new Array(5).fill(Number.NaN);
    expect([...imputer.transform(missing, ['Master', 'Mr', 'Dr', 'Countess', null])]).toEqual([
      2, 40, 30, 30, 30,
    ]);
    expect(MedianImputer.fromJSON(throughJson(imputer))).toEqual(imputer);
    // The order of the rows is no matter.
    expect(MedianImputer.fit(ages.toReversed(), titles.toReversed(), { minCount: 3 })).toEqual(imputer);
  });

  it('refuses nothing and groups that do not fit', () => {
    expect(() => MedianImputer.fit([])).toThrow('MedianImputer.fit: expected at least one value');
    expect(() => MedianImputer.fit([1, 2], ['a'])).toThrow(
      'MedianImputer: expected a group for each of 2 values, got 1',
    );
  });
});

it('missing values leave a flag', () => {
  expect([...missingFlags([1, Number.NaN, 0])]).toEqual([0, 1, 0]);
});

describe('CategoryEncoder', () => {
  it('numbers known names from 1 in alphabetical order, and all else 0', () => {
    const ports = CategoryEncoder.fit(['S', 'C', null, 'S', 'Q']);
    expect(ports.categories).toEqual(['C', 'Q', 'S']);
    expect(ports.size).toBe(4);
    expect([...ports.encode(['S', 'C', 'X', null, ''])]).toEqual([3, 1, 0, 0, 0]);
    expect([0, 1, 2, 3].map((id) => ports.decode(id))).toEqual([null, 'C', 'Q', 'S']);
    expect(() => ports.decode(4)).toThrow('CategoryEncoder.decode: expected a number from 0 to 3, got 4');
    expect(CategoryEncoder.fromJSON(throughJson(ports))).toEqual(ports);
  });

  it('leaves rare names unknown', () => {
    const titles = CategoryEncoder.fit(['Mr', 'Mr', 'Don', 'Mrs', 'Mrs'], { minCount: 2 });
    expect(titles.categories).toEqual(['Mr', 'Mrs']);
    expect([...titles.encode(['Don', 'Mrs'])]).toEqual([0, 2]);
  });

  it('writes rows with a single one', () => {
    const ports = CategoryEncoder.fit(['S', 'C']);
    expect([...ports.oneHot(['S', null])]).toEqual([0, 0, 1, 1, 0, 0]);
    expect([...CategoryEncoder.fit([null]).oneHot(['x'])]).toEqual([1]);
  });
});
