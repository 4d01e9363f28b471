import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { jaccard } from '../../src/data/minhash.js';
import { dedupeTexts, shingleSet } from '../../src/data/qa-dedupe.js';
import { permutation, HostRandom } from '../../src/data/random.js';
import { DataError } from '../../src/device/errors.js';

/** 25 posts on one topic, in the same words as far as possible. */
const POSTS = Array.from({ length: 25 }, (_, i) => {
  const who = ['brother', 'mother', 'neighbour', 'teacher', 'best friend'][i % 5];
  const what = [
    'borrows my bicycle',
    'reads my diary',
    'sings at night',
    'forgets my birthday',
    'never calls back',
  ];
  const then = [
    'and laughs about it',
    'whenever I am away',
    'since last summer',
    'but denies it',
    'though I asked nicely',
  ];
  const why = 'What would you do?';
  return `My ${who} ${what[Math.floor(i / 5)]} ${then[(i + Math.floor(i / 5)) % 5]}, and ${i * 37 + 11} people know. ${i % 2 ? why : 'Please advise.'}`;
});
/** What becomes of a post that is copied around. */
const COPIES = [
  (s: string) => s,
  (s: string) => s.toUpperCase(),
  (s: string) => `${s.replace(/[,.?]/g, '')} `,
  (s: string) => s.replace(/ /g, '  ').replace('My', '“My”'),
  (s: string) => `${s} Thanks!`,
  (s: string) => s.replace('people', 'persons').replace('My', 'my own'),
];

describe('dedupeTexts', () => {
  it('finds the 25 different ones among 150 posts, in any order', () => {
    const copies = POSTS.flatMap((post) => COPIES.map((copy) => copy(post)));
    for (const seed of [0, 1, 2]) {
      const order = [...permutation(150, new HostRandom(seed))];
      const texts = order.map((i) => copies[i]);
      const { kept, dropped } = dedupeTexts(texts);
      expect(kept.length).toBe(25);
      expect(dropped.length).toBe(125);
      expect(new Set(kept.map((i) => Math.floor(order[i] / 6))).size).toBe(25);
      for (const { index, of } of dropped) {
        expect(of).toBeLessThan(index);
        expect(Math.floor(order[index] / 6)).toBe(Math.floor(order[of] / 6));
      }
    }
  });

  it('says what repeats what, and how', () => {
    const text = 'I told my parents that I want to move out, and now they do not talk to me.';
    const { kept, dropped } = dedupeTexts([
      text,
      'Something else.',
      text.toUpperCase().replace(',', ' –'),
      text.replace('parents', 'family'),
      text.replace('parents', 'family'),
    ]);
    expect(kept).toEqual([0, 1]);
    expect(dropped).toEqual([
      { index: 2, of: 0, reason: 'exact', similarity: 1 },
      { index: 3, of: 0, reason: 'near', similarity: expect.closeTo(0.72, 1) },
      { index: 4, of: 0, reason: 'near', similarity: expect.closeTo(0.72, 1) },
    ]);
  });

  it('keeps short texts that differ in the telling word', () => {
    const texts = [
      'How can I trust my wife again?',
      'How can I trust my husband again?',
      'How do I ask her out?',
      'How do I ask him out?',
      'Yes.',
      'No.',
      '?',
      '!',
    ];
    expect(dedupeTexts(texts).kept).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  });

  it('compares texts in parts part by part', () => {
    const question =
      'A long question about my husband, who works too much, sleeps too little, and forgets what he promised.';
    const pairs = [
      [question, 'Ask him.'],
      [question, 'Leave him.'],
      [question.toUpperCase(), 'ask him'],
      ['Another question?', 'Ask him.'],
    ];
    const { kept, dropped } = dedupeTexts(pairs);
    expect(kept).toEqual([0, 1, 3]);
    expect(dropped).toEqual([{ index: 2, of: 0, reason: 'exact', similarity: 1 }]);
    expect(dedupeTexts(pairs.map(([, answer]) => answer)).kept).toEqual([0, 1]);
  });

  it('drops nothing but exact duplicates at threshold 1', () => {
    const text = 'I told my parents that I want to move out, and now they do not talk to me.';
    expect(dedupeTexts([text, `${text} Help.`, text], { threshold: 1 }).kept).toEqual([0, 1]);
  });

  it('agrees with comparing all pairs', () => {
    const words = fc.array(fc.constantFrom('sun', 'rain', 'wind', 'snow', 'cloud', 'storm'), {
      minLength: 3,
      maxLength: 9,
    });
    const texts = fc.array(
      words.map((w) => w.join(' ')),
      { maxLength: 25 },
    );
    fc.assert(
      fc.property(texts, fc.constantFrom(0.5, 0.6, 0.8, 0.95), (all, threshold) => {
        const { kept } = dedupeTexts(all, { threshold });
        const expected: number[] = [];
        for (const [i, text] of all.entries()) {
          const set = shingleSet(text);
          if (!expected.some((j) => jaccard(shingleSet(all[j]), set) >= threshold)) expected.push(i);
        }
        expect(kept).toEqual(expected);
      }),
      // Signatures are approximate, so the seeds are fixed.
      { seed: 1, numRuns: 200 },
    );
  });

  it('changes nothing the second time', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ maxLength: 30 }), { maxLength: 20 }), (texts) => {
        const kept = dedupeTexts(texts).kept.map((i) => texts[i]);
        expect(dedupeTexts(kept).dropped).toEqual([]);
      }),
    );
  });

  it('refuses other thresholds', () => {
    expect(() => dedupeTexts([], { threshold: 0 })).toThrow(
      new DataError('dedupeTexts: expected a threshold above 0 and at most 1, got 0'),
    );
  });
});
