/** Examples on their way from a source to a training loop: lazy steps that can be gone through again, epoch after epoch. */
import { DataError } from '../device/errors.js';
import { type Collated, defaultCollate } from './collate.js';
import { DatasetBatches } from './dataset-batches.js';
import {
  apply,
  type Eventual,
  filtered,
  remembered,
  shuffled,
  skipped,
  type Source,
  type StreamSource,
  sourceOf,
  stacked,
  taken,
  walk,
  zipped,
} from './dataset-source.js';
import { epochRandom, permutation } from './random.js';

/** Examples by number; `get` may be asynchronous. An array with a `get` is one, and so is any class like it. */
export interface IndexedDataset<Item> {
  readonly length: number;
  get(index: number): Item | Promise<Item>;
}

/** What `Dataset.from` takes. */
export type DatasetInput<T> = ArrayLike<T> | IndexedDataset<T> | StreamSource<T>;

/** How `Dataset.batch` makes batches. */
export interface BatchOptions<T, B> {
  /** Whether to leave out a last batch of fewer items; false by default. */
  readonly dropLast?: boolean;
  /** Items to a batch; `defaultCollate` by default. */
  readonly collate?: (items: T[]) => B;
}

/** How `Dataset.shuffle` shuffles. */
export interface ShuffleOptions {
  /**
   * Items in memory, one of which is drawn at a time. By default all, without reading one, where items can be had by number;
   * else 1,024. Infinity reads a whole epoch first.
   */
  readonly window?: number;
}

/** Items in memory where a stream is shuffled and nobody says how many. */
const WINDOW = 1024;

/**
 * A lazy sequence of examples: `for await (const item of dataset)`. Nothing is read before it is asked for, and every step
 * gives a new dataset.
 *
 * The k-th loop over a dataset is its epoch k (`epoch(k)` asks for one by number), on which only the order of `shuffle`
 * depends. Where the source has items by number (an array, or `length` and `get`), `map`, `batch`, `shuffle`, `zip`,
 * `cache`, `take`, `skip`, `concat` and `repeat` keep that, so shuffling is exact and resuming reads nothing twice; `filter`
 * and other sources make a stream.
 *
 * @source tf.data.Dataset; torch.utils.data
 * @example
 * const batches = Dataset.from([3, 1, 2]).map((x) => x * 10).shuffle(7).batch(2);
 * for await (const { data, shape } of batches) console.log(data, shape);
 */
export class Dataset<T> implements AsyncIterable<T> {
  private nextEpoch = 0;

  private constructor(
    /** Items of an epoch; Infinity for endless ones, undefined where only going through tells. */
    readonly length: number | undefined,
    private readonly source: Source<T>,
  ) {}

  /**
   * @param input an array or typed array; `length` and `get(index)`; an iterable, synchronous or not; or a function of the
   *   epoch's number that gives an iterable or iterator. A generator object can be gone through once only: pass its function.
   * @throws DataError for anything else
   */
  static from<T>(input: DatasetInput<T>): Dataset<T> {
    const [length, source] = sourceOf<T>(input);
    return new Dataset(length, source);
  }

  [Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    return this.epoch(this.nextEpoch++);
  }

  /** The items of epoch `index`, from item `first` on; does not count as a loop. */
  epoch(index: number, first = 0): AsyncGenerator<T, void, undefined> {
    checkCount('epoch', 'a number', index, 0);
    return walk(this.source, this.length, index, first);
  }

  /** All items of the next epoch. */
  async toArray(): Promise<T[]> {
    if (this.length === Infinity)
      throw new DataError('Dataset.toArray: expected an end, got a dataset without one; take(n) of it first');
    const items: T[] = [];
    for await (const item of this) items.push(item);
    return items;
  }

  /** Every item through a function of it and its place, which may be asynchronous. */
  map<U>(fn: (item: T, index: number) => Eventual<U>): Dataset<U> {
    const { at } = this.source;
    if (at) {
      return new Dataset(this.length, {
        at: (i, epoch) => apply(at(i, epoch), (item) => guard('map', i, () => fn(item, i))),
      });
    }
    const items = this.items;
    return new Dataset(this.length, {
      async *open(epoch) {
        let i = 0;
        for await (const item of items(epoch)) yield await guard('map', i, () => fn(item, i++));
      },
    });
  }

  /** The items for which a function, which may be asynchronous, says true. */
  filter(fn: (item: T, index: number) => Eventual<boolean>): Dataset<T> {
    const test = (item: T, i: number) => guard('filter', i, () => fn(item, i));
    return this.stream(undefined, (epoch) => filtered(this.items(epoch), test));
  }

  /**
   * Groups of `size` items in turn, made into batches; those of one batch are fetched together.
   * @throws DataError when the items of a batch do not fit together
   */
  batch(size: number, options?: { readonly dropLast?: boolean }): Dataset<Collated<T>>;
  batch<B>(size: number, options: BatchOptions<T, B>): Dataset<B>;
  batch(size: number, options: BatchOptions<T, unknown> = {}): Dataset<unknown> {
    checkCount('batch', 'a size', size, 1);
    const { dropLast = false, collate = defaultCollate as (items: T[]) => unknown } = options;
    const { length } = this;
    const count = length === undefined ? undefined : Math[dropLast ? 'floor' : 'ceil'](length / size);
    const { at } = this.source;
    const make = (items: T[], i: number) => guard('batch', i, () => collate(items));
    if (!at) return this.stream(count, (epoch) => stacked(this.items(epoch), size, dropLast, make));
    return new Dataset(count, {
      at: (b, epoch) => {
        const end = Math.min((b + 1) * size, length!);
        const items = Array.from({ length: end - b * size }, (_, i) => () => at(b * size + i, epoch));
        return apply(together(items), (all) => make(all, b));
      },
    });
  }

  /**
   * Another order for every epoch, the same for the same seed.
   * @param seed an integer
   */
  shuffle(seed = 0, { window }: ShuffleOptions = {}): Dataset<T> {
    if (window !== Infinity && window !== undefined) checkCount('shuffle', 'a window', window, 1);
    const { length } = this;
    const { at } = this.source;
    if (!at || window !== undefined || length === Infinity) {
      const open = (epoch: number) => shuffled(this.items(epoch), window ?? WINDOW, epochRandom(seed, epoch));
      return this.stream(length, open);
    }
    let latest: { epoch: number; order: Int32Array } | undefined;
    return new Dataset(length, {
      at: (i, epoch) => {
        if (latest?.epoch !== epoch)
          latest = { epoch, order: permutation(length!, epochRandom(seed, epoch)) };
        return at(latest.order[i], epoch);
      },
    });
  }

  /** The first items together, the second ones, and so on, up to the end of the shortest. */
  zip<Us extends unknown[]>(...others: { [K in keyof Us]: Dataset<Us[K]> }): Dataset<[T, ...Us]> {
    const all = [this, ...others] as Dataset<unknown>[];
    const lengths = all.map(({ length }) => length);
    const length = lengths.some((n) => n === undefined) ? undefined : Math.min(...(lengths as number[]));
    const sources = all.map(({ source }) => source.at);
    if (sources.every((at) => at !== undefined)) {
      return new Dataset(length, {
        at: (i, epoch) => together(sources.map((at) => () => at(i, epoch))) as Eventual<[T, ...Us]>,
      });
    }
    const open = (epoch: number) => zipped(all.map((d) => d.items(epoch)));
    return this.stream(length, open as (epoch: number) => AsyncGenerator<[T, ...Us], void, undefined>);
  }

  /**
   * Keeps the items of epoch 0 in memory: each by itself where items can be had by number, all at once when a stream has been
   * gone through to its end. Put `shuffle` after it, not before.
   */
  cache(): Dataset<T> {
    const { at } = this.source;
    if (!at)
      return this.stream(
        this.length,
        remembered(() => this.items(0)),
      );
    const kept = new Map<number, Eventual<T>>();
    return new Dataset(this.length, {
      at: (i) => {
        if (kept.has(i)) return kept.get(i)!;
        const item = at(i, 0);
        kept.set(i, item);
        // A failure is not kept.
        if (item instanceof Promise) item.catch(() => kept.delete(i));
        return item;
      },
    });
  }

  /** The first `count` items. */
  take(count: number): Dataset<T> {
    checkCount('take', 'a count', count, 0);
    const length = this.length === undefined ? undefined : Math.min(count, this.length);
    if (this.source.at) return new Dataset(length, this.source);
    return this.stream(length, (epoch) => taken(() => this.items(epoch), count));
  }

  /** All items but the first `count`. */
  skip(count: number): Dataset<T> {
    checkCount('skip', 'a count', count, 0);
    const length = this.length === undefined ? undefined : Math.max(0, this.length - count);
    const { at } = this.source;
    if (at) return new Dataset(length, { at: (i, epoch) => at(i + count, epoch) });
    return this.stream(length, (epoch) => skipped(this.items(epoch), count));
  }

  /** These items, and then those of others. */
  concat(...others: Dataset<T>[]): Dataset<T> {
    const all: Dataset<T>[] = [this, ...others];
    const lengths = all.map(({ length }) => length ?? Number.NaN);
    const total = lengths.reduce((sum, n) => sum + n, 0);
    if (!all.every(({ source }) => source.at)) {
      return this.stream(Number.isNaN(total) ? undefined : total, async function* (epoch) {
        for (const dataset of all) yield* dataset.items(epoch);
      });
    }
    return new Dataset(total, {
      at: (i, epoch) => {
        let which = 0;
        let rest = i;
        while (rest >= lengths[which]) rest -= lengths[which++];
        return all[which].source.at!(rest, epoch);
      },
    });
  }

  /** Several epochs in a row as one, each in its own order; without a number, endlessly. */
  repeat(times = Infinity): Dataset<T> {
    if (times !== Infinity) checkCount('repeat', 'a number of times', times, 0);
    const { length } = this;
    // Epochs of the whole begin where the one before ended; endless ones have no end, and begin one order later.
    const first = (epoch: number) => epoch * (times === Infinity ? 1 : times);
    const total = length === 0 || times === 0 ? 0 : times === Infinity ? Infinity : length && length * times;
    const { at } = this.source;
    if (at) {
      return new Dataset(total, {
        at: (i, epoch) => at(i % length!, first(epoch) + Math.floor(i / length!)),
      });
    }
    const items = this.items;
    return this.stream(total, async function* (epoch) {
      for (let r = 0; r < times; r++) {
        let any = false;
        for await (const item of items(first(epoch) + r)) {
          any = true;
          yield item;
        }
        // Nothing, again and again, would never come to an end.
        if (!any) return;
      }
    });
  }

  /**
   * The items by number, for a `DataLoader` or code that picks.
   * @throws DataError where the dataset is a stream, or endless
   */
  indexed(): IndexedDataset<T> {
    const { length } = this;
    const { at } = this.source;
    if (!at || length === undefined || length === Infinity) {
      throw new DataError(
        `Dataset.indexed: expected items by number and an end, got ${at ? 'endless repetition' : 'a stream (of an iterable, a function, or after filter)'}; collect it with toArray()`,
      );
    }
    return { length, get: (index) => at(index, 0) };
  }

  /** Items for a `Trainer`, epoch after epoch, with a position that `load` continues from. */
  toBatchSource(): DatasetBatches<T> {
    return new DatasetBatches(this);
  }

  private readonly items = (epoch: number): AsyncGenerator<T, void, undefined> =>
    walk(this.source, this.length, epoch, 0);

  private stream<U>(
    length: number | undefined,
    open: (epoch: number) => AsyncGenerator<U, void, undefined>,
  ): Dataset<U> {
    return new Dataset(length, { open });
  }
}

/** All at once, if any of them needs waiting for; a failure leaves no other one unheard. */
function together<T>(getters: readonly (() => Eventual<T>)[]): Eventual<T[]> {
  const items: Eventual<T>[] = [];
  try {
    for (const get of getters) items.push(get());
  } catch (error) {
    for (const item of items) if (item instanceof Promise) item.catch(() => {});
    throw error;
  }
  return items.some((item) => item instanceof Promise) ? Promise.all(items) : (items as T[]);
}

/** Runs a caller's function; its failure names the step and the place. */
function guard<T>(step: string, index: number, fn: () => Eventual<T>): Eventual<T> {
  const failed = (cause: unknown): never => {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new DataError(`Dataset.${step}: failed at ${index}: ${message}`, { cause });
  };
  try {
    const result = fn();
    return result instanceof Promise ? result.catch(failed) : result;
  } catch (cause) {
    return failed(cause);
  }
}

function checkCount(step: string, what: string, value: number, least: number): void {
  if (Number.isSafeInteger(value) && value >= least) return;
  throw new DataError(`Dataset.${step}: expected ${what} of at least ${least}, got ${value}`);
}
