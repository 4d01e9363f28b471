import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { kFolds, splitDocuments } from '../../src/data/splits.js';
import { DataError } from '../../src/device/errors.js';

interface Doc {
  readonly id: number;
  readonly group: string;
  readonly label: number;
}

const singles = (n: number, positives: number): Doc[] =>
  Array.from({ length: n }, (_, id) => ({ id, group: `film ${id}`, label: id < positives ? 1 : 0 }));
const share = (docs: readonly Doc[]) => docs.filter((d) => d.label === 1).length / docs.length;
const ids = (docs: readonly Doc[]) => docs.map((d) => d.id).sort((a, b) => a - b);

const anyDocuments = fc
  .array(fc.record({ group: fc.integer({ min: 0, max: 60 }), label: fc.constantFrom(0, 0, 0, 1) }), {
    minLength: 60,
    maxLength: 300,
  })
  .map((docs) => docs.map((d, id): Doc => ({ id, group: `g${d.group}`, label: d.label })))
  .filter((docs) => new Set(docs.map((d) => d.group)).size >= 12);

describe('splitDocuments', () => {
  it('has every document once, and no group in two parts', () => {
    fc.assert(
      fc.property(anyDocuments, fc.integer(), (docs, seed) => {
        const { train, validation, test } = splitDocuments(docs, { seed });
        expect(ids([...train, ...validation, ...test])).toEqual(docs.map((d) => d.id));
        const parts = [train, validation, test].map((part) => new Set(part.map((d) => d.group)));
        for (const group of parts[0]) expect(parts[1].has(group) || parts[2].has(group)).toBe(false);
        for (const group of parts[1]) expect(parts[2].has(group)).toBe(false);
      }),
    );
  });

  it('gives single documents to the parts as their shares say, class by class, within two', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 30, max: 600 }),
        fc.integer({ min: 5, max: 100 }),
        fc.integer(),
        fc.constantFrom([0.6, 0.2, 0.2] as const, [0.8, 0.1, 0.1] as const, [0.5, 0, 0.5] as const),
        (n, percent, seed, fractions) => {
          const docs = singles(n, Math.round((n * percent) / 100));
          const split = splitDocuments(docs, { seed, fractions });
          [split.train, split.validation, split.test].forEach((part, p) => {
            for (const label of [0, 1]) {
              const own = part.filter((d) => d.label === label).length;
              const target = fractions[p] * docs.filter((d) => d.label === label).length;
              expect(Math.abs(own - target)).toBeLessThanOrEqual(2);
            }
          });
        },
      ),
    );
  });

  it('keeps class shares close where groups hold several documents', () => {
    fc.assert(
      fc.property(anyDocuments, fc.integer(), (docs, seed) => {
        const split = splitDocuments(docs, { seed });
        const sizes = new Map<string, number>();
        for (const d of docs) sizes.set(d.group, (sizes.get(d.group) ?? 0) + 1);
        // What cannot be divided: a part is off by at most about the largest group, for each class.
        const slack = Math.max(...sizes.values()) + 2;
        [split.train, split.validation, split.test].forEach((part, p) => {
          for (const label of [0, 1]) {
            const own = part.filter((d) => d.label === label).length;
            const target = [0.6, 0.2, 0.2][p] * docs.filter((d) => d.label === label).length;
            expect(Math.abs(own - target)).toBeLessThanOrEqual(slack);
          }
        });
      }),
    );
  });

  it('splits 2,200 films, 19 % nominated, into 1320, 440 and 440 with 19 % each', () => {
    const { train, validation, test } = splitDocuments(singles(2200, 418), { seed: 1 });
    expect([train.length, validation.length, test.length]).toEqual([1320, 440, 440]);
    for (const part of [train, validation, test]) expect(share(part)).toBeCloseTo(0.19, 2);
  });

  it('depends on the seed and not on the order of the documents', () => {
    fc.assert(
      fc.property(anyDocuments, fc.integer(), (docs, seed) => {
        const there = splitDocuments(docs, { seed });
        const back = splitDocuments([...docs].reverse(), { seed });
        expect(ids(back.test)).toEqual(ids(there.test));
        expect(ids(back.validation)).toEqual(ids(there.validation));
      }),
    );
    const docs = singles(100, 50);
    expect(ids(splitDocuments(docs, { seed: 1 }).test)).not.toEqual(
      ids(splitDocuments(docs, { seed: 2 }).test),
    );
  });

  it('keeps together what shares one of several keys, through others', () => {
    const docs = singles(90, 30);
    // Chains of three: 0-1 share a title, 1-2 an id.
    const keys = (d: Doc) => {
      const chain = Math.floor(d.id / 3);
      return d.id % 3 === 0 ? [`t${chain}`] : d.id % 3 === 1 ? [`t${chain}`, `i${chain}`] : [`i${chain}`];
    };
    const split = splitDocuments(docs, { group: keys });
    for (const part of [split.train, split.validation, split.test]) {
      for (const d of part) {
        const chain = part.filter((other) => Math.floor(other.id / 3) === Math.floor(d.id / 3));
        expect(chain).toHaveLength(3);
      }
    }
  });

  it('splits without care for classes when told so', () => {
    const split = splitDocuments(singles(100, 10), { stratify: false, fractions: [0.5, 0.25, 0.25] });
    expect([split.train.length, split.validation.length, split.test.length]).toEqual([50, 25, 25]);
  });

  it('keeps the documents of a part in order', () => {
    const { train } = splitDocuments(singles(50, 20));
    expect(train.map((d) => d.id)).toEqual(ids(train));
  });

  it('refuses shares that do not sum to 1, and parts that would be empty', () => {
    expect(() => splitDocuments(singles(9, 3), { fractions: [0.5, 0.2, 0.2] })).toThrow(
      'splitDocuments: expected three shares of at least 0 that sum to 1, got 0.5, 0.2, 0.2',
    );
    expect(() => splitDocuments(singles(2, 1))).toThrow(DataError);
    expect(() => splitDocuments(singles(2, 1))).toThrow(/out of 2 documents; take fewer parts/);
  });
});

describe('kFolds', () => {
  it('tests each document once, with whole groups', () => {
    fc.assert(
      fc.property(anyDocuments, fc.integer({ min: 2, max: 5 }), fc.integer(), (docs, k, seed) => {
        const folds = kFolds(docs, k, { seed });
        expect(folds).toHaveLength(k);
        expect(ids(folds.flatMap((fold) => fold.test))).toEqual(docs.map((d) => d.id));
        for (const { train, test } of folds) {
          expect(train.length + test.length).toBe(docs.length);
          const groups = new Set(test.map((d) => d.group));
          expect(train.some((d) => groups.has(d.group))).toBe(false);
        }
      }),
    );
  });

  it('has folds of nearly one size and share', () => {
    for (const { test } of kFolds(singles(103, 21), 5, { seed: 4 })) {
      expect(test.length).toBeGreaterThanOrEqual(19);
      expect(test.length).toBeLessThanOrEqual(22);
      expect(share(test)).toBeCloseTo(0.2, 1);
    }
  });

  it('refuses more folds than groups', () => {
    expect(() => kFolds(singles(3, 1), 4)).toThrow('kFolds: expected at least 4 groups, got fewer');
    expect(() => kFolds(singles(3, 1), 1)).toThrow('kFolds: expected k of at least 2, got 1');
  });
});
