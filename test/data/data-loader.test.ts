import fc from 'fast-check';
import { describe, expect, expectTypeOf, it } from 'vitest';
import { defaultCollate, type HostTensor, stack } from '../../src/data/collate.js';
import { DataLoader } from '../../src/data/data-loader.js';
import { Dataset, type IndexedDataset } from '../../src/data/dataset.js';
import { SlidingWindowDataset } from '../../src/data/text.js';
import { DataError } from '../../src/device/errors.js';

const numbers = (length: number): IndexedDataset<number> => ({ length, get: (i) => i });
const asList = (items: number[]) => items;

/** Fetches take turns in an order of their own; `most` is the most that were ever in flight. */
function slow(length: number, failAt = -1) {
  const log = { most: 0, now: 0, asked: 0 };
  const dataset: IndexedDataset<number> = {
    length,
    async get(i) {
      log.asked++;
      log.most = Math.max(log.most, ++log.now);
      await new Promise((resolve) => setTimeout(resolve, (i * 7) % 4));
      log.now--;
      if (i === failAt) throw new Error('disk on fire');
      return i;
    },
  };
  return { dataset, log };
}

async function collect<T>(batches: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const batch of batches) all.push(batch);
  return all;
}

describe('DataLoader', () => {
  it('makes batches in order, the last one shorter or left out', () => {
    expect([...new DataLoader(numbers(5), { batchSize: 2, collate: asList }).epoch()]).toEqual([
      [0, 1],
      [2, 3],
      [4],
    ]);
    const dropping = new DataLoader(numbers(5), { batchSize: 2, dropLast: true, collate: asList });
    expect(dropping.length).toBe(2);
    expect([...dropping.epoch()]).toEqual([
      [0, 1],
      [2, 3],
    ]);
  });

  it('has the batches of system 2: 189 of 36 windows', () => {
    const loader = new DataLoader(new SlidingWindowDataset(new Int32Array(6850), 48), { batchSize: 36 });
    expect(loader.length).toBe(189);
    const [first] = loader.epoch();
    expectTypeOf(first).toEqualTypeOf<{ input: HostTensor<Int32Array>; target: HostTensor<Int32Array> }>();
    expect(first.input.shape).toEqual([36, 48]);
    expect(first.target.data).toBeInstanceOf(Int32Array);
    expect([...loader.epoch(1)].at(-1)!.input.shape).toEqual([6802 - 188 * 36, 48]);
  });

  it('shuffles each epoch anew, the same for the same seed', () => {
    const make = (seed: number) =>
      new DataLoader(numbers(40), { batchSize: 8, shuffle: true, seed, collate: asList });
    const epoch = (seed: number, k: number) => [...make(seed).epoch(k)].flat();
    expect(epoch(1, 0)).toEqual(epoch(1, 0));
    expect(epoch(1, 0)).not.toEqual(epoch(1, 1));
    expect(epoch(1, 0)).not.toEqual(epoch(2, 0));
    expect(epoch(1, 1)).not.toEqual(epoch(2, 0));
    expect(epoch(3, 5).sort((a, b) => a - b)).toEqual(Array.from({ length: 40 }, (_, i) => i));
  });

  it('gives the same batches to for and for await, prefetched or not', async () => {
    for (const prefetch of [0, 1, 3, 100]) {
      const options = { batchSize: 3, shuffle: true, seed: 4, prefetch, collate: asList };
      const expected = [...new DataLoader(numbers(20), options).epoch(2)];
      expect(await collect(new DataLoader(numbers(20), options).epoch(2))).toEqual(expected);
      expect(await collect(new DataLoader(slow(20).dataset, options).epoch(2))).toEqual(expected);
    }
  });

  it('keeps as many batches in flight as asked, and stops asking when the loop ends', async () => {
    const { dataset, log } = slow(40);
    const loader = new DataLoader(dataset, { batchSize: 2, prefetch: 3, collate: asList });
    let seen = 0;
    for await (const _ of loader.epoch()) {
      // The batch in hand, and at most three more.
      expect(log.asked).toBeLessThanOrEqual(2 * (++seen + 3));
      if (seen === 5) break;
    }
    expect(log.most).toBe(6);
    expect(log.asked).toBe(16);
  });

  it('reports a failing example by its index, when its batch is due', async () => {
    const loader = new DataLoader(slow(10, 5).dataset, { batchSize: 2, collate: asList });
    const seen: number[][] = [];
    await expect(async () => {
      for await (const batch of loader.epoch()) seen.push(batch);
    }).rejects.toThrow(new DataError('DataLoader: dataset.get(5) failed: disk on fire'));
    expect(seen).toEqual([
      [0, 1],
      [2, 3],
    ]);
    expect(() => [...new DataLoader(slow(3).dataset).epoch()]).toThrow(
      new DataError('DataLoader: dataset.get(0) returned a promise; use for await (… of loader.epoch())'),
    );
    const throwing = { length: 1, get: () => JSON.parse('{') };
    expect(() => [...new DataLoader(throwing).epoch()]).toThrow(/^DataLoader: dataset.get\(0\) failed: /);
  });

  it('resumes at any batch', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 12 }),
        fc.integer({ min: 0, max: 12 }),
        fc.boolean(),
        async (batchSize, stop, isAsync) => {
          const options = { batchSize, shuffle: true, seed: 6, collate: asList };
          const walk = async (loader: DataLoader<number, number[]>, limit: number) => {
            const seen: number[][] = [];
            for (let k = loader.state().epoch; k < 3; k++) {
              if (isAsync) {
                for await (const batch of loader.epoch(k)) if (seen.push(batch) === limit) return seen;
              } else {
                for (const batch of loader.epoch(k)) if (seen.push(batch) === limit) return seen;
              }
            }
            return seen;
          };
          const whole = await walk(new DataLoader(numbers(12), options), Number.POSITIVE_INFINITY);
          const first = new DataLoader(numbers(12), options);
          const before = stop === 0 ? [] : await walk(first, stop);
          const second = new DataLoader(numbers(12), options);
          second.load(JSON.parse(JSON.stringify(first.state())));
          const after = await walk(second, Number.POSITIVE_INFINITY);
          expect([...before, ...after]).toEqual(whole);
        },
      ),
      { numRuns: 60 },
    );
  });

  it('tells how much of a resumed epoch is left', () => {
    const loader = new DataLoader(numbers(10), { batchSize: 2, collate: asList });
    loader.load({ ...loader.state(), epoch: 3, batch: 4 });
    const epoch = loader.epoch();
    expect([epoch.index, epoch.firstBatch, epoch.length]).toEqual([3, 4, 1]);
    expect([...epoch]).toEqual([[8, 9]]);
    expect(loader.epoch(3).length).toBe(5);
    expect(loader.state()).toMatchObject({ epoch: 4, batch: 0 });
  });

  it.each<[string, () => unknown, string]>([
    [
      'no examples',
      () => new DataLoader(numbers(0)),
      'DataLoader: expected a dataset of at least one example, got length 0',
    ],
    [
      'no batch size',
      () => new DataLoader(numbers(1), { batchSize: 0 }),
      'DataLoader: expected batchSize of at least 1, got 0',
    ],
    [
      'no prefetch',
      () => new DataLoader(numbers(1), { prefetch: -1 }),
      'DataLoader: expected prefetch of at least 0, got -1',
    ],
    [
      'no full batch',
      () => new DataLoader(numbers(3), { batchSize: 4, dropLast: true }),
      'DataLoader: expected at least one full batch, got 3 examples for batchSize 4; use a smaller batchSize, or dropLast: false',
    ],
    [
      'no epoch',
      () => new DataLoader(numbers(3)).epoch(-1),
      'DataLoader.epoch: expected a number from 0 on, got -1',
    ],
    [
      'a state of another loader',
      () =>
        new DataLoader(numbers(8), { batchSize: 2 }).load(
          new DataLoader(numbers(8), { batchSize: 4 }).state(),
        ),
      'DataLoader.load: expected batchSize 2, got a state saved with 4',
    ],
    [
      'a state beyond the end',
      () => new DataLoader(numbers(2)).load({ ...new DataLoader(numbers(2)).state(), batch: 2 }),
      'DataLoader.load: expected a batch from 0 to 1, got 2 of epoch 0',
    ],
  ])('refuses %s', (_, make, message) => {
    expect(make).toThrow(new DataError(message));
  });
});

describe('defaultCollate', () => {
  it('stacks numbers, booleans, typed arrays and shaped data, and goes into objects and arrays', () => {
    const examples = [0, 1].map((i) => ({
      label: i,
      isLong: i === 1,
      title: `film ${i}`,
      ids: Int32Array.of(i, i + 1),
      image: { data: Float32Array.of(i, 0, 0, i), shape: [2, 2] },
      pair: [i, Float64Array.of(i)] as [number, Float64Array],
    }));
    const batch = defaultCollate(examples);
    expectTypeOf(batch.label).toEqualTypeOf<HostTensor<Float32Array>>();
    expectTypeOf(batch.isLong).toEqualTypeOf<HostTensor<Uint8Array>>();
    expectTypeOf(batch.title).toEqualTypeOf<string[]>();
    expectTypeOf(batch.pair).toEqualTypeOf<[HostTensor<Float32Array>, HostTensor<Float64Array>]>();
    expect(batch).toEqual({
      label: { data: Float32Array.of(0, 1), shape: [2] },
      isLong: { data: Uint8Array.of(0, 1), shape: [2] },
      title: ['film 0', 'film 1'],
      ids: { data: Int32Array.of(0, 1, 1, 2), shape: [2, 2] },
      image: { data: Float32Array.of(0, 0, 0, 0, 1, 0, 0, 1), shape: [2, 2, 2] },
      pair: [
        { data: Float32Array.of(0, 1), shape: [2] },
        { data: Float64Array.of(0, 1), shape: [2, 1] },
      ],
    });
    expect(stack([3, 1], Int32Array)).toEqual({ data: Int32Array.of(3, 1), shape: [2] });
  });

  it.each<[string, unknown[], string]>([
    [
      'lengths that differ',
      [{ ids: Int32Array.of(1, 2) }, { ids: Int32Array.of(1) }],
      'collate: "ids": expected all examples alike, got shape [1] in example 1 and shape [2] in example 0; cut or pad them to one length, or give the loader its own collate',
    ],
    [
      'types that differ',
      [Int32Array.of(1), Float32Array.of(1)],
      'collate: expected all examples alike, got a Float32Array in example 1 and a Int32Array in example 0',
    ],
    [
      'fields that differ',
      [{ a: { b: 1 } }, { a: { c: 1 } }],
      'collate: "a": expected all examples alike, got an object with c in example 1 and an object with b in example 0',
    ],
    [
      'a text among numbers',
      ['x', 1],
      'collate: expected all examples alike, got a number in example 1 and a string in example 0',
    ],
    [
      'values of no known kind',
      [{ when: null }],
      'collate: "when": expected a number, boolean, Float32Array, Float64Array, Int32Array, Uint32Array, Uint8Array or { data, shape }, got null in example 0',
    ],
    ['nothing', [], 'collate: expected at least one example, got none'],
  ])('refuses %s', (_, items, message) => {
    expect(() => defaultCollate(items)).toThrow(new DataError(message));
  });
});

describe('DataLoader of a Dataset', () => {
  it('takes one with items by number, and says why it cannot take a stream', () => {
    const squares = Dataset.from([1, 2, 3]).map((x) => x * x);
    expect([...new DataLoader(squares, { batchSize: 2, collate: asList }).epoch()]).toEqual([[1, 4], [9]]);
    expect(() => new DataLoader(squares.filter((x) => x > 1))).toThrow(
      'Dataset.indexed: expected items by number and an end, got a stream (of an iterable, a function, or after filter); collect it with toArray()',
    );
  });
});
