import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  BandIndex,
  characterShingles,
  estimateJaccard,
  jaccard,
  minHash,
  wordShingles,
} from '../../src/data/minhash.js';
import { hashText } from '../../src/data/text-hash.js';

describe('shingles', () => {
  it('are runs of words, in any case and punctuation', () => {
    const text = 'One two three four five six, seven.';
    expect(wordShingles(text).size).toBe(3);
    expect(wordShingles('ONE two – three; four five six seven')).toEqual(wordShingles(text));
    expect(jaccard(wordShingles('one two three four five'), wordShingles(text))).toBeCloseTo(1 / 3, 12);
    // Too short for a run: the text as a whole.
    expect(wordShingles('One two').size).toBe(1);
    expect(wordShingles('one two')).toEqual(wordShingles('One two'));
    expect(wordShingles('')).not.toEqual(wordShingles('…'));
    expect(characterShingles('abcdef', 5).size).toBe(2);
  });
});

describe('minHash', () => {
  it('estimates what two sets share', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 300 }),
        fc.integer({ min: 1, max: 300 }),
        fc.nat(),
        (both, own, seed) => {
          const from = (start: number, n: number) =>
            Array.from({ length: n }, (_, i) => hashText(`${start + i}`));
          const shared = from(seed, both);
          const a = new Set([...shared, ...from(seed + 1e6, own)]);
          const b = new Set([...shared, ...from(seed + 2e6, own)]);
          // Five standard errors.
          expect(Math.abs(estimateJaccard(minHash(a), minHash(b)) - jaccard(a, b))).toBeLessThan(0.22);
        },
      ),
      { numRuns: 50 },
    );
  });

  it('finds pairs above the threshold by their bands', () => {
    const base = Array.from(
      { length: 200 },
      (_, i) =>
        `word${'abcdefghij'[i % 10]}${'klmnopqrst'[Math.floor(i / 10) % 10]}${'uv'[Math.floor(i / 100)]}`,
    );
    const changed = base.map((word, i) => (i % 40 === 7 ? 'other' : word)).join(' ');
    const index = new BandIndex(0.5);
    index.add(0, index.bands(minHash(wordShingles(base.join(' ')))));
    index.add(1, index.bands(minHash(wordShingles([...base].reverse().join(' ')))));
    expect([...index.candidates(index.bands(minHash(wordShingles(changed))))]).toContain(0);
    expect([
      ...index.candidates(index.bands(minHash(wordShingles('nothing of the like is here at all')))),
    ]).toEqual([]);
  });
});
