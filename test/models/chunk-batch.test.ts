/** Documents cut into chunks: ends, overlap, and what is read of documents that are too long. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  batchDocuments,
  type ChunkOptions,
  chunkCount,
  chunkSpans,
  chunksOf,
} from '../../src/models/chunk-batch.js';

const spans = (length: number, options: ChunkOptions) =>
  chunkSpans(length, options).map(({ start, end }) => [start, end]);
const places = (length: number, options: ChunkOptions) => chunkSpans(length, options).map((s) => s.place);
const count = (n: number) => Int32Array.from({ length: n }, (_, i) => i + 1);

describe('chunkSpans', () => {
  it.each([
    [0, [[0, 0]]],
    [1, [[0, 1]]],
    [7, [[0, 7]]],
    [8, [[0, 8]]],
    [
      9,
      [
        [0, 8],
        [8, 9],
      ],
    ],
    [
      16,
      [
        [0, 8],
        [8, 16],
      ],
    ],
    [
      17,
      [
        [0, 8],
        [8, 16],
        [16, 17],
      ],
    ],
  ])('of %i tokens in chunks of 8', (length, expected) => {
    expect(spans(length, { chunk: 8 })).toEqual(expected);
  });

  it.each([
    [0, [[0, 0]]],
    [8, [[0, 8]]],
    [
      9,
      [
        [0, 8],
        [5, 9],
      ],
    ],
    [
      13,
      [
        [0, 8],
        [5, 13],
      ],
    ],
    [
      14,
      [
        [0, 8],
        [5, 13],
        [10, 14],
      ],
    ],
  ])('of %i tokens with an overlap of 3', (length, expected) => {
    expect(spans(length, { chunk: 8, overlap: 3 })).toEqual(expected);
  });

  it('keep some of a long document', () => {
    const of = (keep: ChunkOptions['keep'], maxChunks: number) => places(100, { chunk: 10, maxChunks, keep });
    expect(of('head', 4)).toEqual([0, 1, 2, 3]);
    expect(of('headTail', 4)).toEqual([0, 1, 8, 9]);
    expect(of('headTail', 5)).toEqual([0, 1, 2, 8, 9]);
    expect(of('headTail', 1)).toEqual([0]);
    expect(of('even', 4)).toEqual([0, 3, 6, 9]);
    expect(of('even', 2)).toEqual([0, 9]);
    expect(of('even', 1)).toEqual([0]);
    for (const keep of ['head', 'headTail', 'even'] as const) {
      expect(of(keep, 10)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
      expect(of(keep, 11)).toHaveLength(10);
    }
  });

  it('cover every token, in order, and each brings one that is new', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 20 }).chain((chunk) =>
          fc.record({
            chunk: fc.constant(chunk),
            overlap: fc.nat(chunk - 1),
            length: fc.nat(200),
          }),
        ),
        ({ length, ...options }) => {
          const list = chunkSpans(length, options);
          expect(list).toHaveLength(chunkCount(length, options));
          expect(list[0].start).toBe(0);
          expect(list.at(-1)!.end).toBe(length);
          for (let i = 1; i < list.length; i++) {
            expect(list[i].start).toBe(list[i - 1].end - options.overlap);
            expect(list[i].end).toBeGreaterThan(list[i - 1].end);
            expect(list[i].end - list[i].start).toBeLessThanOrEqual(options.chunk);
          }
        },
      ),
    );
  });

  it('that are left out leave distinct ones in order', () => {
    fc.assert(
      fc.property(
        fc.nat(300),
        fc.integer({ min: 1, max: 40 }),
        fc.constantFrom('head', 'headTail', 'even'),
        (length, maxChunks, keep) => {
          const kept = places(length, { chunk: 7, overlap: 2, maxChunks, keep });
          const all = chunkCount(length, { chunk: 7, overlap: 2 });
          expect(kept).toHaveLength(Math.min(all, maxChunks));
          expect(kept[0]).toBe(0);
          for (let i = 1; i < kept.length; i++) expect(kept[i]).toBeGreaterThan(kept[i - 1]);
          if (kept.length > 1 && keep !== 'head') expect(kept.at(-1)).toBe(all - 1);
        },
      ),
    );
  });

  it.each<[string, ChunkOptions]>([
    ['chunk to be a positive integer, got 0', { chunk: 0 }],
    ['an overlap in [0, 4), got 4', { chunk: 4, overlap: 4 }],
    ['maxChunks to be a positive integer, got 0', { chunk: 4, maxChunks: 0 }],
    ["keep 'head', 'headTail' or 'even', got 'tail'", { chunk: 4, keep: 'tail' as 'head' }],
  ])('expect %s', (message, options) => {
    expect(() => chunkSpans(3, options)).toThrow(message);
  });
});

describe('batchDocuments', () => {
  it('puts all chunks on one list', () => {
    const batch = batchDocuments([count(5), count(0), count(3)], {
      chunk: 3,
      overlap: 1,
      labels: [1, 0, 1],
      keys: ['a', 'b', 'c'],
    });
    expect([...batch.ids]).toEqual([1, 2, 3, 3, 4, 5, 0, 0, 0, 1, 2, 3]);
    expect([...batch.lengths]).toEqual([3, 3, 0, 3]);
    expect([...batch.documents]).toEqual([0, 0, 1, 2]);
    expect([...batch.places]).toEqual([0, 1, 0, 0]);
    expect([...batch.starts]).toEqual([0, 2, 0, 0]);
    expect([...batch.labels!]).toEqual([1, 0, 1]);
    expect(chunksOf(batch)).toEqual([[0, 1], [2], [3]]);
    expect(batch.size).toBe(3);
  });

  it('names what does not fit', () => {
    expect(() => batchDocuments([], { chunk: 3 })).toThrow(
      'batchDocuments: expected at least one document, got none',
    );
    expect(() => batchDocuments([count(1)], { chunk: 3, labels: [] })).toThrow(
      'batchDocuments: expected labels for each of 1 documents, got 0',
    );
    expect(() => batchDocuments([count(1)], { chunk: 3, keys: ['a', 'b'] })).toThrow(
      'batchDocuments: expected keys for each of 1 documents, got 2',
    );
  });
});
