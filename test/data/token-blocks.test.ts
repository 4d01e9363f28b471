import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { evaluationBlocks, IGNORE, TokenBlocks, type MaskedTokens } from '../../src/data/token-blocks.js';
import { DataError } from '../../src/device/errors.js';
import type { BatchSource, TokenBatch } from '../../src/train/batches.js';

const range = (n: number) => Int32Array.from({ length: n }, (_, i) => i);

/** Streams whose ids are their positions, with any mask that counts something. */
const streams = fc
  .integer({ min: 2, max: 120 })
  .chain((n) =>
    fc.record({
      n: fc.constant(n),
      mask: fc.option(fc.uint8Array({ minLength: n, maxLength: n, max: 1 }), { nil: undefined }),
    }),
  )
  .map(({ n, mask }): MaskedTokens => ({ ids: range(n), mask }))
  .filter(({ ids, mask }) => mask === undefined || mask.subarray(1, ids.length).includes(1));
const sizes = fc.record({
  batchSize: fc.integer({ min: 1, max: 5 }),
  blockSize: fc.integer({ min: 1, max: 30 }),
  seed: fc.integer({ min: 0, max: 1000 }),
});
/** Positions that are targets: all that count but the first. */
const counted = ({ ids, mask }: MaskedTokens) => [...ids].filter((i) => i > 0 && mask?.[i] !== 0);
const targets = (block: TokenBatch) => [...block.target].filter((t) => t !== IGNORE);

describe('TokenBlocks', () => {
  it('is a source of batches for the training loop', () => {
    const blocks: BatchSource<TokenBatch> = new TokenBlocks(
      { ids: range(9) },
      { batchSize: 4, blockSize: 3, seed: 1 },
    );
    const { input, target, shape } = blocks.next() as TokenBatch;
    expect(shape).toEqual([4, 3]);
    // Eight targets: three blocks, the last with two; the fourth row begins the next epoch.
    const rows = Array.from({ length: 4 }, (_, b) => [
      [...input.subarray(3 * b, 3 * b + 3)],
      [...target.subarray(3 * b, 3 * b + 3)],
    ]);
    const sorted = rows.slice(0, 3).sort((a, b) => a[0][0] - b[0][0]);
    expect(sorted).toEqual([
      [
        [0, 1, 2],
        [1, 2, 3],
      ],
      [
        [3, 4, 5],
        [4, 5, 6],
      ],
      [
        [6, 7, 8],
        [7, 8, IGNORE],
      ],
    ]);
    expect(sorted).toContainEqual(rows[3]);
  });

  it('gives every token that counts once per epoch, after the tokens before it', () => {
    fc.assert(
      fc.property(streams, sizes, (stream, options) => {
        const blocks = new TokenBlocks(stream, options);
        // As many epochs as rows in a batch end with a batch.
        const seen: number[] = [];
        for (let b = 0; b < blocks.length; b++) {
          const block = blocks.next();
          block.target.forEach((t, i) => {
            if (t !== IGNORE) expect(block.input[i]).toBe(t - 1);
          });
          expect(targets(block).length).toBe(block.count);
          seen.push(...targets(block));
        }
        const all = counted(stream);
        expect(blocks.targets).toBe(all.length);
        expect(seen.sort((a, b) => a - b)).toEqual(all.flatMap((t) => Array(options.batchSize).fill(t)));
      }),
    );
  });

  it('has an order of its own for every epoch and seed', () => {
    const order = (seed: number) => {
      const blocks = new TokenBlocks({ ids: range(101) }, { batchSize: 1, blockSize: 1, seed });
      return Array.from({ length: 200 }, () => blocks.next().input[0]);
    };
    const first = order(1);
    expect(first.slice(0, 100)).not.toEqual(first.slice(100));
    expect(new Set(first.slice(100)).size).toBe(100);
    expect(order(1)).toEqual(first);
    expect(order(2)).not.toEqual(first);
  });

  it('continues bit for bit from a state', () => {
    fc.assert(
      fc.property(streams, sizes, fc.nat({ max: 20 }), (stream, options, steps) => {
        const blocks = new TokenBlocks(stream, options);
        for (let i = 0; i < steps; i++) blocks.next();
        const resumed = new TokenBlocks(stream, options);
        resumed.load(JSON.parse(JSON.stringify(blocks.state())));
        for (let i = 0; i < 5; i++) expect(resumed.next()).toEqual(blocks.next());
      }),
    );
  });

  it('leaves blocks out that have nothing to learn', () => {
    const mask = Uint8Array.of(1, 0, 0, 0, 0, 0, 1, 0, 0);
    const blocks = new TokenBlocks({ ids: range(9), mask }, { batchSize: 1, blockSize: 2 });
    expect(blocks.length).toBe(1);
    expect([...blocks.next().target]).toEqual([IGNORE, 6]);
  });

  it('refuses streams without targets, and states of other streams', () => {
    const sizes = { batchSize: 1, blockSize: 2 };
    expect(() => new TokenBlocks({ ids: range(3), mask: Uint8Array.of(1, 0, 0) }, sizes)).toThrow(
      new DataError('TokenBlocks: expected at least one token after the first to count, got none among 3'),
    );
    expect(() => new TokenBlocks({ ids: range(3), mask: new Uint8Array(2) }, sizes)).toThrow(
      new DataError('TokenBlocks: expected a mask of 3 entries, as many as ids, got 2'),
    );
    expect(() => new TokenBlocks({ ids: range(3) }, { batchSize: 0, blockSize: 2 })).toThrow(
      new DataError('TokenBlocks: expected batchSize of at least 1, got 0'),
    );
    expect(() => new TokenBlocks({ ids: range(3) }, { batchSize: 1e12, blockSize: 2 })).toThrow(
      new DataError(
        'TokenBlocks: expected batches of at most 268435456 tokens, got 1000000000000 blocks of 2',
      ),
    );
    const blocks = new TokenBlocks({ ids: range(7) }, sizes);
    expect(() => blocks.load({ epoch: 0, position: 1, blocks: 4 })).toThrow(
      new DataError(
        'TokenBlocks.load: expected a state of 3 blocks, got position 1 of 4; the text, the tokenizer or the block size changed since it was saved',
      ),
    );
    expect(() => blocks.load(7)).toThrow(
      new DataError('TokenBlocks.load: expected { epoch, position, blocks }, got 7'),
    );
  });
});

describe('evaluationBlocks', () => {
  it('counts every target once, with at least T − stride tokens before it', () => {
    fc.assert(
      fc.property(streams, sizes, fc.nat(), (stream, { batchSize, blockSize }, n) => {
        const stride = 1 + (n % blockSize);
        const seen: number[] = [];
        for (const block of evaluationBlocks(stream, { batchSize, blockSize, stride })) {
          expect(block.shape[0]).toBeLessThanOrEqual(batchSize);
          expect(block.count).toBe(targets(block).length);
          block.target.forEach((t, i) => {
            if (t === IGNORE) return;
            expect(block.input[i]).toBe(t - 1);
            // Tokens of the row up to this input.
            expect((i % blockSize) + 1).toBeGreaterThanOrEqual(Math.min(t, blockSize - stride + 1));
          });
          seen.push(...targets(block));
        }
        expect(seen).toEqual(counted(stream));
      }),
    );
  });

  it('refuses strides that would leave tokens out', () => {
    expect(() => [...evaluationBlocks({ ids: range(9) }, { batchSize: 1, blockSize: 4, stride: 5 })]).toThrow(
      new DataError('evaluationBlocks: expected a stride from 1 to the block size 4, got 5'),
    );
  });
});
