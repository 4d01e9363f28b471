/** Documents in batches, in an order that a seed decides and a number continues. */
import { HostRandom, permutation } from '../data/random.js';
import { DataError } from '../device/errors.js';
import type { BatchSource } from './batches.js';

/** Documents of a batch by number. */
export type DocumentBatch = readonly number[];

export interface DocumentBatchesOptions {
  readonly batchSize: number;
  readonly seed: number;
  /** Draw as many documents of either class, whatever there are. Default false. */
  readonly balanced?: boolean;
}

/** Batches in a pool, within which documents are sorted by length. */
const POOL = 8;

/**
 * Endless batches of documents. Each epoch has another order; within it, documents of similar length come together, so
 * that little is padding, and batches differ in size by one at most.
 *
 * Balanced, an epoch has as many documents as there are, half of them of either class: the rare ones several times, of the
 * others as many, going on in the next epoch where this one ends.
 */
export class DocumentBatches implements BatchSource<DocumentBatch> {
  /** Batches of an epoch. */
  readonly perEpoch: number;
  private count = 0;
  private made: { epoch: number; batches: DocumentBatch[] } | null = null;

  /**
   * @param documents numbers of the documents
   * @param lengths tokens of each of them
   * @param labels 0 or 1 of each of them
   */
  constructor(
    private readonly documents: readonly number[],
    private readonly lengths: readonly number[],
    private readonly labels: readonly number[],
    private readonly options: DocumentBatchesOptions,
  ) {
    if (documents.length === 0) throw new DataError('DocumentBatches: expected documents, got none');
    this.perEpoch = Math.ceil(documents.length / options.batchSize);
  }

  next(): DocumentBatch {
    const epoch = Math.floor(this.count / this.perEpoch);
    if (this.made?.epoch !== epoch) this.made = { epoch, batches: this.epoch(epoch) };
    return this.made.batches[this.count++ % this.perEpoch];
  }

  state(): unknown {
    return this.count;
  }

  load(state: unknown): void {
    if (!(Number.isSafeInteger(state) && (state as number) >= 0)) {
      throw new DataError(`DocumentBatches: expected a batch count as state, got ${JSON.stringify(state)}`);
    }
    this.count = state as number;
  }

  private epoch(epoch: number): DocumentBatch[] {
    const { documents, lengths, perEpoch } = this;
    // A generator per epoch: the position is a single number.
    const random = new HostRandom(this.options.seed * 2 ** 20 + epoch);
    const order = this.options.balanced
      ? this.balancedOrder(epoch, random)
      : Array.from(permutation(documents.length, random));
    const n = order.length;
    const edge = (b: number): number => Math.round((b * n) / perEpoch);
    const batches: DocumentBatch[] = [];
    for (let first = 0; first < perEpoch; first += POOL) {
      const last = Math.min(first + POOL, perEpoch);
      const start = edge(first);
      const pool = order.slice(start, edge(last)).sort((a, b) => lengths[a] - lengths[b]);
      for (let b = first; b < last; b++) {
        batches.push(pool.slice(edge(b) - start, edge(b + 1) - start).map((k) => documents[k]));
      }
    }
    return Array.from(permutation(batches.length, random), (b) => batches[b]);
  }

  /** Positions of the documents of an epoch in random order, half of them of either class. */
  private balancedOrder(epoch: number, random: HostRandom): number[] {
    const n = this.documents.length;
    const drawn = ([0, 1] as const).flatMap((label) => {
      const own = this.labels.flatMap((l, k) => (l === label ? [k] : []));
      if (own.length === 0)
        throw new DataError(`DocumentBatches: expected documents of class ${label}, got none`);
      const want = label === 1 ? Math.floor(n / 2) : n - Math.floor(n / 2);
      return this.stretch(own, label, epoch * want, want);
    });
    return Array.from(permutation(drawn.length, random), (i) => drawn[i]);
  }

  /** `want` items of an endless sequence of permutations, from the place `from` on. */
  private stretch(own: readonly number[], label: number, from: number, want: number): number[] {
    const out: number[] = [];
    let order: Int32Array | null = null;
    for (let at = from; at < from + want; at++) {
      const k = at % own.length;
      if (order === null || k === 0) {
        const round = Math.floor(at / own.length);
        // Seeds apart from those of the epochs, which are below 2⁵⁰ for any seed in use.
        order = permutation(
          own.length,
          new HostRandom(-(this.options.seed * 2 ** 21 + 2 * round + label + 1)),
        );
      }
      out.push(own[order[k]]);
    }
    return out;
  }
}
