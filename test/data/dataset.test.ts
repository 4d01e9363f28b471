import fc from 'fast-check';
import { describe, expect, expectTypeOf, it } from 'vitest';
import type { HostTensor } from '../../src/data/collate.js';
import { Dataset } from '../../src/data/dataset.js';
import { DataError } from '../../src/device/errors.js';
import type { BatchSource } from '../../src/train/batches.js';

const list = <T>(items: T[]): T[] => items;
const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

/** Counts how often it was opened and closed, and how many items were read. */
function watched(n: number) {
  const log = { opened: 0, closed: 0, read: 0 };
  const dataset = Dataset.from(function* () {
    log.opened++;
    try {
      for (let i = 0; i < n; i++) {
        log.read++;
        yield i;
      }
    } finally {
      log.closed++;
    }
  });
  return { dataset, log };
}

/** The same items from every kind of source. */
const KINDS: Record<string, (items: number[]) => Dataset<number>> = {
  array: (items) => Dataset.from(items),
  'typed array': (items) => Dataset.from(Int32Array.from(items)),
  'length and get': (items) => Dataset.from({ length: items.length, get: (i: number) => items[i] }),
  'slow get': (items) =>
    Dataset.from({
      length: items.length,
      get: async (i: number) => {
        await new Promise((resolve) => setImmediate(resolve));
        return items[i];
      },
    }),
  iterable: (items) => Dataset.from(new Set(items)),
  'generator function': (items) =>
    Dataset.from(function* () {
      yield* items;
    }),
  'async generator function': (items) =>
    Dataset.from(async function* () {
      yield* items;
    }),
  'bare iterator': (items) =>
    Dataset.from(() => {
      const iterator = items.values();
      return { next: () => iterator.next() };
    }),
};

describe.each(Object.entries(KINDS))('a Dataset of an %s', (kind, make) => {
  it('gives the same items in every loop', async () => {
    const dataset = make(range(5));
    expect(await dataset.toArray()).toEqual(range(5));
    expect(await dataset.toArray()).toEqual(range(5));
    expect(await make([]).toArray()).toEqual([]);
  });

  it('does what arrays do', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: 12 }),
        fc.integer({ min: 0, max: 14 }),
        fc.integer({ min: 1, max: 5 }),
        fc.boolean(),
        async (n, count, size, dropLast) => {
          const items = range(n);
          const d = make(items);
          expect(await d.map(async (x, i) => [x * 2, i]).toArray()).toEqual(items.map((x, i) => [x * 2, i]));
          expect(await d.filter((x) => x % 2 === 1).toArray()).toEqual(items.filter((x) => x % 2 === 1));
          expect(await d.take(count).toArray()).toEqual(items.slice(0, count));
          expect(await d.skip(count).toArray()).toEqual(items.slice(count));
          expect(await d.concat(make(range(count)), d).toArray()).toEqual([
            ...items,
            ...range(count),
            ...items,
          ]);
          expect(await d.zip(make(range(count))).toArray()).toEqual(items.slice(0, count).map((x) => [x, x]));
          expect(await d.repeat(size).toArray()).toEqual(Array.from({ length: size }, () => items).flat());
          if (n > 0) expect(await d.repeat().take(count).toArray()).toEqual(range(count).map((i) => i % n));
          expect(await d.cache().toArray()).toEqual(items);
          const batches = await d.batch(size, { dropLast, collate: list }).toArray();
          expect(batches.flat()).toEqual(dropLast ? items.slice(0, n - (n % size)) : items);
          expect(batches.slice(0, -1).every((b) => b.length === size)).toBe(true);
        },
      ),
      { numRuns: 15 },
    );
  });

  it('knows its length where the source does', () => {
    const known = !/iterable|function|iterator/.test(kind);
    const d = make(range(7));
    const of = (n: number) => (known ? n : undefined);
    expect([d, d.map(String), d.shuffle(), d.cache()].map((x) => x.length)).toEqual(Array(4).fill(of(7)));
    expect([d.take(3), d.take(9), d.skip(2), d.skip(9)].map((x) => x.length)).toEqual([3, 7, 5, 0].map(of));
    expect([d.batch(3), d.batch(3, { dropLast: true })].map((x) => x.length)).toEqual([3, 2].map(of));
    expect([d.concat(d), d.zip(d.take(4)), d.repeat(2)].map((x) => x.length)).toEqual([14, 4, 14].map(of));
    expect(d.filter(() => true).length).toBeUndefined();
    expect(d.repeat().length).toBe(Infinity);
  });

  it('shuffles each epoch anew, the same for the same seed', async () => {
    const items = range(60);
    const shuffled = make(items).shuffle(3);
    const epochs = [await shuffled.toArray(), await shuffled.toArray()];
    expect(epochs[0]).not.toEqual(items);
    expect(epochs[1]).not.toEqual(epochs[0]);
    for (const e of epochs) expect([...e].sort((a, b) => a - b)).toEqual(items);
    const again = make(items).shuffle(3);
    expect([await again.toArray(), await again.toArray()]).toEqual(epochs);
    expect(await make(items).shuffle(4).toArray()).not.toEqual(epochs[0]);
    // Repeated epochs are these, too.
    expect(await make(items).shuffle(3).repeat(2).toArray()).toEqual(epochs.flat());
  });

  it('resumes at any item', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: 30 }),
        fc.integer({ min: 0, max: 12 }),
        async (stop, more) => {
          const source = () =>
            make(range(11))
              .map((x) => x + 1)
              .shuffle(2)
              .batch(3, { collate: list })
              .toBatchSource();
          const whole = source();
          const expected: number[][] = [];
          for (let i = 0; i < stop + more; i++) expected.push(await whole.next());
          const first = source();
          for (let i = 0; i < stop; i++) await first.next();
          const state = JSON.parse(JSON.stringify(first.state()));
          const second = source();
          await second.next();
          second.load(state);
          const rest: number[][] = [];
          for (let i = 0; i < more; i++) rest.push(await second.next());
          expect(rest).toEqual(expected.slice(stop));
          expect(second.state()).toEqual(whole.state());
        },
      ),
      { numRuns: 15 },
    );
  });
});

describe('Dataset', () => {
  it('makes batches as the loader does', async () => {
    const batches = Dataset.from([1, 2, 3])
      .map((x) => ({ x, name: `n${x}` }))
      .batch(2);
    expectTypeOf(batches).toEqualTypeOf<Dataset<{ x: HostTensor<Float32Array>; name: string[] }>>();
    const [first, last] = await batches.toArray();
    expect(first.x).toEqual({ data: Float32Array.of(1, 2), shape: [2] });
    expect(last).toEqual({ x: { data: Float32Array.of(3), shape: [1] }, name: ['n3'] });
    expectTypeOf(Dataset.from([1]).zip(Dataset.from(['a']))).toEqualTypeOf<Dataset<[number, string]>>();
    expectTypeOf(batches.toBatchSource()).toExtend<BatchSource<unknown>>();
  });

  it('reads nothing before it is asked to, and no more than needed', async () => {
    const { dataset, log } = watched(100);
    const chain = dataset
      .map((x) => x)
      .filter(() => true)
      .batch(2, { collate: list })
      .take(3);
    expect(log).toEqual({ opened: 0, closed: 0, read: 0 });
    expect(await chain.toArray()).toEqual([
      [0, 1],
      [2, 3],
      [4, 5],
    ]);
    expect(log).toEqual({ opened: 1, closed: 1, read: 6 });
    expect(await dataset.take(0).toArray()).toEqual([]);
    expect(log.opened).toBe(1);
    const asked: number[] = [];
    const seen = Dataset.from({ length: 50, get: (i: number) => asked.push(i) })
      .shuffle(1)
      .batch(2, { collate: list });
    for await (const _ of seen) break;
    expect(asked.length).toBe(2);
  });

  it.each<[string, (d: Dataset<number>) => Dataset<unknown>]>([
    ['alone', (d) => d],
    ['map', (d) => d.map((x) => x)],
    ['filter', (d) => d.filter((x) => x > 0)],
    ['batch', (d) => d.batch(2)],
    ['shuffle', (d) => d.shuffle(1, { window: 4 })],
    ['zip', (d) => d.zip(Dataset.from([1, 2, 3]), d)],
    ['cache', (d) => d.cache()],
    ['skip', (d) => d.skip(2)],
    ['concat', (d) => d.concat(d)],
    ['repeat', (d) => d.repeat()],
  ])('closes its source when a loop ends early: %s', async (_, step) => {
    const { dataset, log } = watched(20);
    for await (const _item of step(dataset)) break;
    expect(log.opened).toBeGreaterThan(0);
    expect(log.closed).toBe(log.opened);
    // And when the caller's code throws.
    const failing = step(dataset).map(() => {
      throw new Error('no');
    });
    await expect(failing.toArray()).rejects.toThrow(DataError);
    expect(log.closed).toBe(log.opened);
  });

  it('closes all sources of a zip when the shortest ends or one fails', async () => {
    const [a, b] = [watched(20), watched(3)];
    expect((await a.dataset.zip(b.dataset).toArray()).length).toBe(3);
    const broken = Dataset.from<number>(() => {
      throw new Error('no such file');
    });
    await expect(a.dataset.zip(broken).toArray()).rejects.toThrow('no such file');
    for (const { log } of [a, b]) expect(log.closed).toBe(log.opened);
  });

  it('closes a source whose batches a loop no longer wants', async () => {
    const { dataset, log } = watched(20);
    const source = dataset.toBatchSource();
    await source.next();
    source.load(source.state());
    expect(await source.next()).toBe(1);
    await source.close();
    expect(log).toMatchObject({ opened: 2, closed: 2 });
  });

  it.each(['array', 'stream'])('asks a failing %s again for the same batch', async (kind) => {
    let failing = true;
    const items = range(4);
    const source = (kind === 'array' ? Dataset.from(items) : Dataset.from(() => items))
      .map((x) => {
        if (x === 2 && failing) throw new Error('for now');
        return x;
      })
      .toBatchSource();
    expect([await source.next(), await source.next()]).toEqual([0, 1]);
    await expect(source.next()).rejects.toThrow('Dataset.map: failed at 2: for now');
    expect(source.state()).toMatchObject({ epoch: 0, position: 2 });
    failing = false;
    expect([await source.next(), await source.next(), await source.next()]).toEqual([2, 3, 0]);
  });

  it('shuffles a stream within its window', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: 60 }),
        fc.integer({ min: 1, max: 70 }),
        async (n, window) => {
          const order = await Dataset.from(range(n)).shuffle(5, { window }).toArray();
          expect([...order].sort((a, b) => a - b)).toEqual(range(n));
          // An item cannot be drawn before it was read.
          order.forEach((item, place) => expect(item).toBeLessThan(place + window));
        },
      ),
      { numRuns: 40 },
    );
    const whole = await Dataset.from(new Set(range(50)))
      .shuffle(5, { window: Infinity })
      .toArray();
    expect(whole.slice(0, 10).some((x) => x > 30)).toBe(true);
  });

  it('draws every order of a full shuffle about as often', async () => {
    const counts = new Map<string, number>();
    const shuffled = Dataset.from([0, 1, 2]).shuffle(9);
    for (let i = 0; i < 600; i++) {
      const key = (await shuffled.toArray()).join('');
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    expect(counts.size).toBe(6);
    // Mean 100, standard deviation 9.
    for (const count of counts.values()) expect(Math.abs(count - 100)).toBeLessThan(45);
  });

  it('caches what was read to its end, once', async () => {
    const { dataset, log } = watched(4);
    const cached = dataset.map((x) => ({ x })).cache();
    for await (const _ of cached) break;
    const first = await cached.toArray();
    const second = await cached.toArray();
    expect(log).toMatchObject({ opened: 2, closed: 2 });
    second.forEach((item, i) => expect(item).toBe(first[i]));
    let calls = 0;
    const byNumber = Dataset.from([1, 2, 3])
      .map(async (x) => {
        if (++calls === 2) throw new Error('once');
        return x;
      })
      .cache();
    await expect(byNumber.toArray()).rejects.toThrow('Dataset.map: failed at 1: once');
    expect(await byNumber.toArray()).toEqual([1, 2, 3]);
    expect(await byNumber.shuffle().toArray()).toHaveLength(3);
    expect(calls).toBe(4);
  });

  it('goes through the characters of a string, again and again', async () => {
    const letters = Dataset.from('añ😀');
    expect(await letters.toArray()).toEqual(['a', 'ñ', '😀']);
    expect(await letters.toArray()).toHaveLength(3);
  });

  it('says what is wrong', async () => {
    expect(() => Dataset.from(5 as never)).toThrow(
      new DataError(
        'Dataset.from: expected an array, { length, get }, an iterable, or a function that gives one, got number',
      ),
    );
    expect(() => Dataset.from(null as never)).toThrow(/got null$/);
    await expect(Dataset.from((() => 5) as never).toArray()).rejects.toThrow(
      'Dataset.from: expected the function to give an iterable or an iterator, got number',
    );
    const once = Dataset.from(range(3)[Symbol.iterator]());
    expect(await once.toArray()).toEqual(range(3));
    await expect(once.toArray()).rejects.toThrow(
      /^Dataset: expected a source that can be gone through again/,
    );
    await expect(Dataset.from([1]).repeat().toArray()).rejects.toThrow(/^Dataset.toArray: expected an end/);
    await expect(Dataset.from({ length: 2, get: () => JSON.parse('{') }).toArray()).rejects.toThrow(
      /^Dataset.from: get\(0\) failed: /,
    );
    const d = Dataset.from([1, 2, 3]);
    await expect(d.filter(() => Promise.reject(new Error('no'))).toArray()).rejects.toThrow(
      'Dataset.filter: failed at 0: no',
    );
    await expect(Dataset.from<unknown>([1, 'a']).batch(2).toArray()).rejects.toThrow(
      /^Dataset.batch: failed at 0: /,
    );
    expect(() => d.batch(0)).toThrow('Dataset.batch: expected a size of at least 1, got 0');
    expect(() => d.take(-1)).toThrow('Dataset.take: expected a count of at least 0, got -1');
    expect(() => d.shuffle(1, { window: 0 })).toThrow(
      'Dataset.shuffle: expected a window of at least 1, got 0',
    );
    expect(() => d.repeat(1.5)).toThrow(/^Dataset.repeat/);
    expect(() => d.repeat().indexed()).toThrow(/got endless repetition/);
    await expect(
      d
        .filter(() => false)
        .toBatchSource()
        .next(),
    ).rejects.toThrow('Dataset: expected at least one item, got none in epoch 0');
    const source = d.batch(2).toBatchSource();
    expect(() => source.load({})).toThrow('Dataset: expected { epoch, position } as state, got {}');
    expect(() => source.load({ epoch: 0, position: 1, length: 3 })).toThrow(
      /expected a state of 2 items per epoch, got position 1 of 3/,
    );
  });

  it('leaves no failure unheard', async () => {
    const failing = Dataset.from(range(6)).map((x) =>
      x === 2 ? JSON.parse('{') : Promise.reject(new Error(`${x}`)),
    );
    const unheard: unknown[] = [];
    const listen = (reason: unknown) => unheard.push(reason);
    process.on('unhandledRejection', listen);
    await expect(failing.batch(6).toArray()).rejects.toThrow(/^Dataset.map: failed at/);
    await new Promise((resolve) => setTimeout(resolve, 5));
    process.off('unhandledRejection', listen);
    expect(unheard).toEqual([]);
  });
});
