/** Where a training loop gets its batches from, so that a resumed run gets the same ones. */
import type { DataLoader, DataLoaderState } from '../data/data-loader.js';
import { HostRandom } from '../data/random.js';
import { DataError } from '../device/errors.js';
import type { Device } from '../device/types.js';
import { tensor } from '../tensor/factories.js';
import type { Tensor } from '../tensor/tensor.js';

/** An endless sequence of batches whose position is plain data. */
export interface BatchSource<Batch> {
  next(): Batch | Promise<Batch>;
  /** JSON that `load` continues from. */
  state(): unknown;
  load(state: unknown): void;
}

/** A DataLoader's batches, epoch after epoch. */
export class Epochs<Item, Batch> implements BatchSource<Batch> {
  private epoch = 0;
  private batches: AsyncIterator<Batch> | null = null;

  constructor(private readonly loader: DataLoader<Item, Batch>) {}

  async next(): Promise<Batch> {
    for (;;) {
      this.batches ??= this.loader.epoch(this.epoch)[Symbol.asyncIterator]();
      const { done, value } = await this.batches.next();
      if (!done) return value;
      this.epoch++;
      this.batches = null;
    }
  }

  state(): DataLoaderState {
    return this.loader.state();
  }

  load(state: unknown): void {
    this.loader.load(state as DataLoaderState);
    this.epoch = this.loader.state().epoch;
    this.batches = null;
  }
}

/** Token ids and, shifted by one, what follows them; both [B, T] int32. */
export interface TokenBatch {
  readonly input: Int32Array;
  readonly target: Int32Array;
  readonly shape: readonly [B: number, T: number];
}

/** Windows that start at random places of a text. */
export class RandomWindows implements BatchSource<TokenBatch> {
  private count = 0;

  /** @throws DataError when the text is shorter than one window. */
  constructor(
    private readonly ids: Int32Array,
    private readonly batchSize: number,
    private readonly length: number,
    private readonly seed: number,
  ) {
    if (ids.length < length + 1)
      throw new DataError(
        `RandomWindows: expected at least ${length + 1} tokens for a window, got ${ids.length}`,
      );
  }

  next(): TokenBatch {
    // A generator per batch: the position is a single number.
    const random = new HostRandom(this.seed * 2 ** 20 + this.count++);
    const { batchSize: B, length: T } = this;
    const input = new Int32Array(B * T);
    const target = new Int32Array(B * T);
    for (let b = 0; b < B; b++) {
      const at = random.integer(this.ids.length - T);
      input.set(this.ids.subarray(at, at + T), b * T);
      target.set(this.ids.subarray(at + 1, at + T + 1), b * T);
    }
    return { input, target, shape: [B, T] };
  }

  state(): unknown {
    return this.count;
  }

  load(state: unknown): void {
    if (!Number.isSafeInteger(state))
      throw new DataError(`RandomWindows: expected a batch count as state, got ${JSON.stringify(state)}`);
    this.count = state as number;
  }
}

/** Every window of a text once, without overlap, in batches of at most `batchSize`: for evaluation. */
export function consecutiveWindows(ids: Int32Array, batchSize: number, length: number): TokenBatch[] {
  const windows = Math.floor((ids.length - 1) / length);
  const batches: TokenBatch[] = [];
  for (let w = 0; w < windows; w += batchSize) {
    const B = Math.min(batchSize, windows - w);
    const from = w * length;
    batches.push({
      input: ids.slice(from, from + B * length),
      target: ids.slice(from + 1, from + 1 + B * length),
      shape: [B, length],
    });
  }
  return batches;
}

/** A batch as tensors. */
export function toTensors(
  { input, target, shape }: TokenBatch,
  device: Device,
): [ids: Tensor, targets: Tensor] {
  return [tensor(input, { shape, device }), tensor(target, { shape, device })];
}
