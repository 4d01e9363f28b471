import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { NgramModel } from '../../src/data/ngram.js';
import { HostRandom } from '../../src/data/random.js';
import { DataError } from '../../src/device/errors.js';
import {
  distinctN,
  lengthStatistics,
  perplexity,
  repetitionRate,
  tokenBaselines,
} from '../../src/train/text-metrics.js';

describe('perplexity', () => {
  it('is exp of nats per token, and per character for comparisons', () => {
    const p = perplexity({ nats: 10 * Math.log(8), tokens: 10, characters: 30 });
    expect(p.perplexity).toBeCloseTo(8, 12);
    expect(p.characterPerplexity).toBeCloseTo(2, 12);
    expect(p.bitsPerCharacter).toBeCloseTo(1, 12);
    expect(p.natsPerToken).toBeCloseTo(3 * p.natsPerCharacter, 12);
    expect(perplexity({ nats: 1, tokens: 1 }).natsPerCharacter).toBeNaN();
  });

  it('needs tokens', () => {
    expect(() => perplexity({ nats: 0, tokens: 0 })).toThrow(
      new DataError('perplexity: expected at least one token, got 0'),
    );
  });
});

describe('distinctN and repetitionRate', () => {
  it('are what one counts by hand', () => {
    const texts = [
      ['a', 'b', 'a', 'b'],
      ['a', 'b'],
    ];
    // Unigrams: a b of 6; bigrams: ab, ba of ab ba ab ab.
    expect(distinctN(texts, 1)).toBeCloseTo(2 / 6, 12);
    expect(distinctN(texts, 2)).toBeCloseTo(2 / 4, 12);
    // Within each text: 1 of 3 bigrams came before in the first, none in the second.
    expect(repetitionRate(texts, 2)).toBeCloseTo((1 / 3 + 0) / 2, 12);
    expect(repetitionRate([Int32Array.of(1, 1, 1, 1, 1, 1)], 2)).toBeCloseTo(4 / 5, 12);
  });

  it('do not confuse (1, 23) with (12, 3)', () => {
    expect(distinctN([Int32Array.of(1, 23), Int32Array.of(12, 3)], 2)).toBe(1);
  });

  it('are NaN without n-grams', () => {
    expect(distinctN([[1]], 2)).toBeNaN();
    expect(repetitionRate([], 4)).toBeNaN();
    expect(() => distinctN([[1]], 0)).toThrow(new DataError('distinctN: expected n of at least 1, got 0'));
  });
});

describe('lengthStatistics', () => {
  it('interpolates percentiles as numpy does', () => {
    // numpy.quantile([3, 1, 4, 1, 5, 9, 2, 6], [.1, .25, .5, .75, .9])
    const s = lengthStatistics([3, 1, 4, 1, 5, 9, 2, 6]);
    expect([s.p10, s.p25, s.median, s.p75, s.p90]).toEqual([1, 1.75, 3.5, 5.25, expect.closeTo(6.9, 12)]);
    expect(s).toMatchObject({ count: 8, total: 31, mean: 3.875, min: 1, max: 9 });
    expect(s.standardDeviation).toBeCloseTo(2.5708704751503917, 12);
    expect(() => lengthStatistics([])).toThrow(
      new DataError('lengthStatistics: expected at least one length, got none'),
    );
  });
});

describe('count baselines of tokens', () => {
  const random = new HostRandom(3);
  // Zipf-like words in a large vocabulary, the next one often the same plus one.
  let last = 0;
  const text = Int32Array.from({ length: 6000 }, () => {
    last = random.uniform() < 0.5 ? (last + 1) % 500 : Math.floor(500 * random.uniform() ** 3);
    return last;
  });
  const train = text.subarray(0, 5000);
  const heldOut = text.subarray(5000);

  it('interpolation is a distribution, and beats add-k where the vocabulary is large', () => {
    for (const order of [0, 1] as const) {
      for (const smoothing of ['add-k', 'interpolated'] as const) {
        const model = NgramModel.train(train, 500, { order, smoothing });
        for (const previous of [0, 7, 499]) {
          let sum = 0;
          for (let t = 0; t < 500; t++) sum += model.probability(previous, t);
          expect(sum).toBeCloseTo(1, 9);
        }
      }
    }
    const per = (smoothing: 'add-k' | 'interpolated') => {
      const { nats, count } = NgramModel.train(train, 500, { smoothing }).score(heldOut);
      return nats / count;
    };
    expect(per('interpolated')).toBeLessThan(per('add-k'));
  });

  it('interpolates what one gets by hand', () => {
    // Counts after the first token: unigram 0: 1, 1: 1, 2: 1; p(x) = (1 + 1) / (3 + 3) = 1/3; bigram 0→1 once, 0→2 once.
    const model = NgramModel.train(Int32Array.of(0, 1, 0, 2), 3, {
      smoothing: 'interpolated',
      k: 1,
      weight: 3,
    });
    expect(model.probability(0, 1)).toBeCloseTo((1 + 3 / 3) / (2 + 3), 12);
    expect(model.probability(2, 0)).toBeCloseTo(1 / 3, 12);
  });

  it('sums of parts are the sum of the whole, whatever the mask', () => {
    const model = NgramModel.train(train, 500, { smoothing: 'interpolated' });
    const whole = model.score(heldOut);
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1000, maxLength: 1000, max: 1 }), (mask) => {
        const a = model.score(heldOut, mask);
        const b = model.score(
          heldOut,
          mask.map((m) => 1 - m),
        );
        expect(a.count + b.count).toBe(whole.count);
        expect(a.nats + b.nats).toBeCloseTo(whole.nats, 6);
      }),
      { numRuns: 10 },
    );
  });

  it('count only what counts', () => {
    // Without the pair at the end, 1 always follows 0.
    const ids = Int32Array.of(0, 1, 0, 1, 0, 2);
    const options = { smoothing: 'interpolated', k: 1, weight: 3 } as const;
    const mask = Uint8Array.of(1, 1, 1, 1, 1, 0);
    expect(NgramModel.train(ids, 3, { ...options, mask }).probability(0, 1)).toBeCloseTo(
      NgramModel.train(ids.subarray(0, 5), 3, options).probability(0, 1),
      12,
    );
    expect(() => NgramModel.train(ids, 3, { mask: new Uint8Array(2) })).toThrow(
      new DataError('NgramModel: expected a mask of 6 entries, got 2'),
    );
  });

  it('are scored on the targets that a network is scored on', () => {
    const mask = new Uint8Array(heldOut.length).fill(1, 100, 300);
    const { unigram, bigram } = tokenBaselines({ ids: train }, { ids: heldOut, mask }, 500);
    expect([unigram.tokens, bigram.tokens]).toEqual([200, 200]);
    expect(bigram.natsPerToken).toBeLessThan(unigram.natsPerToken);
    expect(unigram.natsPerToken).toBeLessThan(Math.log(500));
    expect(bigram.smoothing).toMatch(/^interpolated with unigram counts, weight [\d.]+ \(k = [\d.]+\)$/);
    expect(unigram.smoothing).toMatch(/^add-k, k = [\d.]+$/);
  });
});
