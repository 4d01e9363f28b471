import { describe, expect, it } from 'vitest';
import { bigramLoss, unigramLoss } from '../../src/data/ngram.js';
import { HostRandom } from '../../src/data/random.js';
import { DataError } from '../../src/device/errors.js';

describe('count baselines', () => {
  it('are what one gets by hand', () => {
    // Training pairs after the first token: unigram 1,0,2 of 3; bigram 0→1, 1→0, 0→2.
    const train = Int32Array.of(0, 1, 0, 2);
    const validation = Int32Array.of(2, 0, 1);
    // p(0) = p(1) = (1 + 1) / (3 + 3)
    expect(unigramLoss(train, validation, 3, { k: 1 })).toBeCloseTo(Math.log(3), 12);
    // p(0 | 2) = 1/3 (2 never came before anything), p(1 | 0) = (1 + 1) / (2 + 3)
    expect(bigramLoss(train, validation, 3, { k: 1 })).toBeCloseTo((Math.log(3) + Math.log(5 / 2)) / 2, 12);
  });

  it('reach the entropy of a known source', () => {
    // A Markov chain that stays with probability 0.9: entropy rate −0.9 ln 0.9 − 0.1 ln 0.1, stationary ½ each.
    const random = new HostRandom(5);
    let token = 0;
    const chain = Int32Array.from(
      { length: 40_000 },
      () => (token = random.uniform() < 0.9 ? token : 1 - token),
    );
    const train = chain.subarray(0, 30_000);
    const validation = chain.subarray(30_000);
    expect(unigramLoss(train, validation, 2)).toBeCloseTo(Math.log(2), 2);
    expect(bigramLoss(train, validation, 2)).toBeCloseTo(-0.9 * Math.log(0.9) - 0.1 * Math.log(0.1), 1);
  });

  it('choose k on the training part only, and hardly worse than the best k', () => {
    const random = new HostRandom(9);
    const text = Int32Array.from({ length: 5000 }, () => Math.floor(40 * random.uniform() ** 3));
    const train = text.subarray(0, 4000);
    const validation = text.subarray(4000);
    const best = Math.min(
      ...[0.001, 0.01, 0.1, 0.3, 1, 3].map((k) => bigramLoss(train, validation, 40, { k })),
    );
    expect(bigramLoss(train, validation, 40)).toBeLessThan(best + 0.02);
    expect(bigramLoss(train, validation, 40)).toBeLessThan(Math.log(40));
  });

  it('stay finite on tokens that training never saw', () => {
    expect(bigramLoss(Int32Array.of(0, 1), Int32Array.of(5, 6, 5), 7)).toBeCloseTo(Math.log(7), 12);
  });

  it('refuse impossible input', () => {
    expect(() => unigramLoss(Int32Array.of(0, 3), Int32Array.of(0, 1), 3)).toThrow(
      new DataError('unigramLoss: expected training ids from 0 to 2, got 3 at position 1'),
    );
    expect(() => bigramLoss(Int32Array.of(0, 1), Int32Array.of(0), 3)).toThrow(
      new DataError('bigramLoss: expected at least 2 validation tokens, got 1'),
    );
    expect(() => bigramLoss(Int32Array.of(0, 1), Int32Array.of(0, 1), 3, { k: 0 })).toThrow(
      new DataError('bigramLoss: expected k above 0, got 0'),
    );
  });
});
