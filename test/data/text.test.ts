import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  SlidingWindowDataset,
  splitText,
  stripGutenberg,
  trainValidationTestSplit,
} from '../../src/data/text.js';
import { DataError } from '../../src/device/errors.js';

const range = (n: number) => Int32Array.from({ length: n }, (_, i) => i);

describe('SlidingWindowDataset', () => {
  it('has the windows of system 2: 6,850 characters, 48 each, 6,802 windows', () => {
    const windows = new SlidingWindowDataset(range(6850), 48);
    expect(windows.length).toBe(6802);
    expect(Math.ceil(windows.length / 36)).toBe(189);
    expect(windows.get(6801).target[47]).toBe(6849);
  });

  it('labels each token with the one after it', () => {
    const windows = new SlidingWindowDataset(range(8), 3, { stride: 2 });
    expect(windows.length).toBe(3);
    expect(windows.get(1)).toEqual({ input: Int32Array.of(2, 3, 4), target: Int32Array.of(3, 4, 5) });
  });

  it('has as many windows as fit, for any length and stride', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 2, max: 60 }),
        fc.integer({ min: 1, max: 20 }),
        fc.integer({ min: 1, max: 9 }),
        (n, t, stride) => {
          fc.pre(n > t);
          const windows = new SlidingWindowDataset(range(n), t, { stride });
          const last = windows.get(windows.length - 1);
          expect(last.input.length).toBe(t);
          expect(last.target.length).toBe(t);
          expect(last.input[0]).toBe((windows.length - 1) * stride);
          // One more window would need a token beyond the end.
          expect(last.input[0] + stride + t).toBeGreaterThan(n - 1);
        },
      ),
    );
  });

  it('says what is wrong', () => {
    expect(() => new SlidingWindowDataset(range(48), 48)).toThrow(
      new DataError(
        'SlidingWindowDataset: expected at least 49 tokens for windows of 48, got 48; use more text or a shorter window',
      ),
    );
    expect(() => new SlidingWindowDataset(range(9), 0)).toThrow(
      'expected a window length of at least 1, got 0',
    );
    expect(() => new SlidingWindowDataset(range(9), 2, { stride: 0 })).toThrow(
      'expected a stride of at least 1, got 0',
    );
    expect(() => new SlidingWindowDataset(range(9), 2).get(7)).toThrow(
      new DataError('SlidingWindowDataset.get: expected an index from 0 to 6, got 7'),
    );
  });
});

describe('splits', () => {
  it('cuts text into contiguous parts', () => {
    const { train, validation, test } = splitText(range(20), { validation: 0.2, test: 0.1 });
    expect([train.length, validation.length, test.length]).toEqual([14, 4, 2]);
    expect([...train, ...validation, ...test]).toEqual([...range(20)]);
    expect(splitText(range(100)).validation).toEqual(range(100).slice(90));
    expect(splitText(range(100)).test.length).toBe(0);
  });

  it('deals every index to exactly one part', () => {
    fc.assert(
      fc.property(
        fc.nat(100),
        fc.double({ min: 0, max: 0.5 }),
        fc.double({ min: 0, max: 0.5 }),
        fc.nat(),
        (n, validation, test, seed) => {
          fc.pre(!Number.isNaN(validation) && !Number.isNaN(test));
          const split = trainValidationTestSplit(n, { validation, test }, seed);
          const all = [...split.train, ...split.validation, ...split.test];
          expect(all.sort((a, b) => a - b)).toEqual([...range(n)]);
          expect(Math.abs(split.test.length - n * test)).toBeLessThanOrEqual(0.5);
          expect(Math.abs(split.validation.length - n * validation)).toBeLessThanOrEqual(1);
          expect(trainValidationTestSplit(n, { validation, test }, seed)).toEqual(split);
        },
      ),
    );
    const parts = trainValidationTestSplit(2200, { validation: 0.2, test: 0.2 }, 1);
    expect([parts.train.length, parts.validation.length, parts.test.length]).toEqual([1320, 440, 440]);
    expect(parts.train).not.toEqual(trainValidationTestSplit(2200, { validation: 0.2, test: 0.2 }, 2).train);
  });

  it('refuses fractions that are no shares', () => {
    expect(() => splitText(range(10), { validation: 0.8, test: 0.3 })).toThrow(
      new DataError(
        'splitText: expected fractions of at least 0 that sum to at most 1, got validation 0.8 and test 0.3',
      ),
    );
    expect(() => trainValidationTestSplit(10, { validation: -1 })).toThrow(DataError);
    expect(() => trainValidationTestSplit(1.5)).toThrow(
      'trainValidationTestSplit: expected a count, got 1.5',
    );
  });
});

describe('stripGutenberg', () => {
  const body = 'Letter 1\r\n\r\nYou will rejoice to hear…\r\n*** a star line ***\r\nThe end.';

  it.each([
    [
      '*** START OF THE PROJECT GUTENBERG EBOOK FRANKENSTEIN ***',
      '*** END OF THE PROJECT GUTENBERG EBOOK FRANKENSTEIN ***',
    ],
    [
      '*** START OF THIS PROJECT GUTENBERG EBOOK MOBY DICK ***',
      "End of Project Gutenberg's Moby Dick\r\n\r\n*** END OF THIS PROJECT GUTENBERG EBOOK",
    ],
    ['***START OF THE PROJECT GUTENBERG EBOOK X***', 'End of the Project Gutenberg EBook of X'],
  ])('keeps what lies between %s and its end', (start, end) => {
    const text = `\uFEFFThe Project Gutenberg eBook of …\r\n\r\n${start}\r\n\r\n${body}\r\n\r\n${end}\r\n\r\nlicense`;
    expect(stripGutenberg(text)).toBe(`${body}\n`);
  });

  it('keeps a text without such lines as it is', () => {
    expect(stripGutenberg(body)).toBe(body);
    expect(stripGutenberg(`\uFEFF${body}`)).toBe(body);
    expect(stripGutenberg('')).toBe('');
  });
});
