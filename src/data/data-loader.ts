/** Batches out of a dataset: shuffled, collated, fetched ahead, and resumable at any batch. */
import { DataError } from '../device/errors.js';
import { type Collated, defaultCollate } from './collate.js';
import { Dataset, type IndexedDataset } from './dataset.js';
import { epochRandom, permutation } from './random.js';

/** How a `DataLoader` makes batches. */
export interface DataLoaderOptions<Item, Batch> {
  /** Examples per batch; 1 by default. */
  batchSize?: number;
  /** Whether each epoch goes through the examples in an order of its own; false by default. */
  shuffle?: boolean;
  /** Decides the orders; 0 by default. */
  seed?: number;
  /** Whether to leave out a last batch of fewer than `batchSize` examples; false by default. */
  dropLast?: boolean;
  /** Examples to a batch; `defaultCollate` by default. */
  collate?: (items: Item[]) => Batch;
  /** Batches that are fetched ahead in `for await`; 2 by default. */
  prefetch?: number;
}

/** Where a loader stands, and what it must be like for that to mean the same again. */
export interface DataLoaderState {
  /** The epoch and the batch in it that come next. */
  epoch: number;
  batch: number;
  seed: number;
  shuffle: boolean;
  batchSize: number;
  dropLast: boolean;
  /** Length of the dataset. */
  examples: number;
}

/** The batches of one epoch, to go through with `for` or `for await`. */
export interface Epoch<Batch> extends Iterable<Batch>, AsyncIterable<Batch> {
  /** Number of this epoch, from 0. */
  readonly index: number;
  /** The batch it starts at: 0 unless resumed. */
  readonly firstBatch: number;
  /** Batches from `firstBatch` on. */
  readonly length: number;
}

/**
 * Goes through a dataset in batches: `for (const batch of loader.epoch(k))`, or `for await` where examples are read
 * asynchronously. The order depends on the seed and the number of the epoch only.
 * @source torch.utils.data.DataLoader
 */
export class DataLoader<Item, Batch = Collated<Item>> {
  /** Batches per epoch. */
  readonly length: number;
  private readonly batchSize: number;
  private readonly shuffle: boolean;
  private readonly seed: number;
  private readonly dropLast: boolean;
  private readonly prefetch: number;
  private readonly collate: (items: Item[]) => Batch;
  private position = { epoch: 0, batch: 0 };
  private resumeAt: { epoch: number; batch: number } | undefined;
  private readonly dataset: IndexedDataset<Item>;

  /**
   * @param examples `length` and `get(index)`, or a `Dataset` whose items can be had by number
   * @param options see `DataLoaderOptions`
   * @throws DataError when the options leave no batch, or the dataset is a stream
   */
  constructor(examples: IndexedDataset<Item> | Dataset<Item>, options: DataLoaderOptions<Item, Batch> = {}) {
    this.dataset = examples instanceof Dataset ? examples.indexed() : examples;
    this.batchSize = options.batchSize ?? 1;
    this.shuffle = options.shuffle ?? false;
    this.seed = options.seed ?? 0;
    this.dropLast = options.dropLast ?? false;
    this.prefetch = options.prefetch ?? 2;
    this.collate = options.collate ?? (defaultCollate as unknown as (items: Item[]) => Batch);
    const count = this.dataset.length;
    if (!isCount(count) || count === 0) {
      throw new DataError(`DataLoader: expected a dataset of at least one example, got length ${count}`);
    }
    if (!isCount(this.batchSize) || this.batchSize === 0) {
      throw new DataError(`DataLoader: expected batchSize of at least 1, got ${this.batchSize}`);
    }
    if (!isCount(this.prefetch))
      throw new DataError(`DataLoader: expected prefetch of at least 0, got ${this.prefetch}`);
    const batches = count / this.batchSize;
    this.length = this.dropLast ? Math.floor(batches) : Math.ceil(batches);
    if (this.length === 0) {
      throw new DataError(
        `DataLoader: expected at least one full batch, got ${count} examples for batchSize ${this.batchSize}; ` +
          'use a smaller batchSize, or dropLast: false',
      );
    }
  }

  /**
   * The batches of an epoch.
   * @param index number of the epoch, from 0; by default the one the loader stands in
   * @returns an iterable, synchronous and asynchronous; after `load` it starts where the state says
   */
  epoch(index: number = this.position.epoch): Epoch<Batch> {
    if (!isCount(index)) throw new DataError(`DataLoader.epoch: expected a number from 0 on, got ${index}`);
    const firstBatch = this.resumeAt?.epoch === index ? this.resumeAt.batch : 0;
    this.resumeAt = undefined;
    return {
      index,
      firstBatch,
      length: this.length - firstBatch,
      [Symbol.iterator]: () => this.batches(index, firstBatch),
      [Symbol.asyncIterator]: () => this.batchesAhead(index, firstBatch),
    };
  }

  /**
   * Where the loader stands: what comes after the batch handed out last, however many were fetched ahead.
   * @returns plain data for JSON
   */
  state(): DataLoaderState {
    const { batchSize, shuffle, seed, dropLast } = this;
    return { ...this.position, seed, shuffle, batchSize, dropLast, examples: this.dataset.length };
  }

  /**
   * Continues from a state: the next `epoch(state.epoch)` starts at `state.batch`.
   * @throws DataError when this loader would not make the same batches
   */
  load(state: Readonly<DataLoaderState>): void {
    const { epoch, batch } = state;
    if (!isCount(epoch) || !isCount(batch) || batch >= this.length) {
      throw new DataError(
        `DataLoader.load: expected a batch from 0 to ${this.length - 1}, got ${batch} of epoch ${epoch}`,
      );
    }
    const own = this.state();
    for (const key of ['examples', 'batchSize', 'dropLast', 'shuffle', 'seed'] as const) {
      if (state[key] !== own[key]) {
        throw new DataError(
          `DataLoader.load: expected ${key} ${own[key]}, got a state saved with ${state[key]}`,
        );
      }
    }
    this.position = { epoch, batch };
    this.resumeAt = { epoch, batch };
  }

  private *batches(epoch: number, firstBatch: number): Generator<Batch, void, undefined> {
    const order = this.order(epoch);
    for (let batch = firstBatch; batch < this.length; batch++) {
      const items = this.indices(order, batch).map((index) => {
        const item = this.get(index);
        if (item instanceof Promise) {
          item.catch(() => {});
          throw new DataError(
            `DataLoader: dataset.get(${index}) returned a promise; use for await (… of loader.epoch())`,
          );
        }
        return item;
      });
      const made = this.collate(items);
      this.advance(epoch, batch);
      yield made;
    }
  }

  private async *batchesAhead(epoch: number, firstBatch: number): AsyncGenerator<Batch, void, undefined> {
    const order = this.order(epoch);
    const inFlight: Promise<Item[]>[] = [];
    let next = firstBatch;
    const fetchUpTo = (count: number) => {
      while (inFlight.length < count && next < this.length) {
        const items = Promise.all(this.indices(order, next++).map((index) => this.getAsync(index)));
        // A failure is reported when its turn comes, and not at all if the loop ends before.
        items.catch(() => {});
        inFlight.push(items);
      }
    };
    for (let batch = firstBatch; batch < this.length; batch++) {
      fetchUpTo(Math.max(1, this.prefetch));
      const items = await inFlight.shift()!;
      fetchUpTo(this.prefetch);
      const made = this.collate(items);
      this.advance(epoch, batch);
      yield made;
    }
  }

  private advance(epoch: number, batch: number): void {
    this.position = batch + 1 < this.length ? { epoch, batch: batch + 1 } : { epoch: epoch + 1, batch: 0 };
  }

  private order(epoch: number): Int32Array | undefined {
    return this.shuffle ? permutation(this.dataset.length, epochRandom(this.seed, epoch)) : undefined;
  }

  private indices(order: Int32Array | undefined, batch: number): number[] {
    const start = batch * this.batchSize;
    const end = Math.min(start + this.batchSize, this.dataset.length);
    return Array.from({ length: end - start }, (_, i) =>
      order === undefined ? start + i : order[start + i],
    );
  }

  private get(index: number): Item | Promise<Item> {
    try {
      return this.dataset.get(index);
    } catch (cause) {
      throw failed(index, cause);
    }
  }

  private async getAsync(index: number): Promise<Item> {
    try {
      return await this.dataset.get(index);
    } catch (cause) {
      throw failed(index, cause);
    }
  }
}

function failed(index: number, cause: unknown): DataError {
  const message = cause instanceof Error ? cause.message : String(cause);
  return new DataError(`DataLoader: dataset.get(${index}) failed: ${message}`, { cause });
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
