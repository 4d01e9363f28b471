/** A Dataset as what a training loop takes its batches from. */
import { DataError } from '../device/errors.js';

/** Where a `DatasetBatches` stands. */
export interface DatasetPosition {
  readonly epoch: number;
  /** Items of this epoch that were given out. */
  readonly position: number;
  /** Items per epoch where known, so that other data are noticed. */
  readonly length: number | null;
}

interface Epochs<T> {
  readonly length: number | undefined;
  epoch(index: number, first?: number): AsyncGenerator<T, void, undefined>;
}

/** A dataset's items epoch after epoch, resumable at any item: a `BatchSource` of the training loop. */
export class DatasetBatches<T> {
  private epoch = 0;
  private position = 0;
  private items: AsyncGenerator<T, void, undefined> | null = null;
  private closing: Promise<unknown> = Promise.resolve();

  constructor(private readonly dataset: Epochs<T>) {}

  /** @throws DataError when an epoch has no item at all */
  async next(): Promise<T> {
    await this.closing;
    for (;;) {
      const items = this.items ?? this.dataset.epoch(this.epoch, this.position);
      // What fails is over; asked again, it begins anew at the same item.
      this.items = null;
      const { done, value } = await items.next();
      if (!done) {
        this.items = items;
        this.position++;
        return value;
      }
      if (this.position === 0)
        throw new DataError(`Dataset: expected at least one item, got none in epoch ${this.epoch}`);
      this.epoch++;
      this.position = 0;
    }
  }

  state(): DatasetPosition {
    const { length } = this.dataset;
    return { epoch: this.epoch, position: this.position, length: Number.isFinite(length) ? length! : null };
  }

  /**
   * Continues from a state. Streams are read again up to there.
   * @throws DataError for anything else than a state of a dataset of this length
   */
  load(state: unknown): void {
    const { epoch, position, length } = (state ?? {}) as Partial<DatasetPosition>;
    const isCount = (x: unknown): x is number => Number.isSafeInteger(x) && (x as number) >= 0;
    if (!isCount(epoch) || !isCount(position)) {
      throw new DataError(`Dataset: expected { epoch, position } as state, got ${JSON.stringify(state)}`);
    }
    const own = this.state().length;
    if (own !== (length ?? null) || (own !== null && position > own)) {
      throw new DataError(
        `Dataset: expected a state of ${own ?? 'an unknown number of'} items per epoch, got position ${position} of ${length ?? 'an unknown number'}; the data or the batch size changed since it was saved`,
      );
    }
    void this.close();
    this.epoch = epoch;
    this.position = position;
  }

  /** Closes what the source holds open; `next` would open it again. */
  close(): Promise<unknown> {
    const open = this.items;
    this.items = null;
    if (open) this.closing = open.return();
    return this.closing;
  }
}
