/**
 * Keys and values of the tokens that a model has read, so that each new token costs one position.
 *
 * What changes from token to token lies on the device: the slot to write, the positions, and which slots hold tokens. So a
 * step that decodes one token can be captured, and its replays find everything where they left it.
 */

import { attentionPacked, scaledDotProductAttention } from '../autograd/ops/attention.js';
import { expand, reshape } from '../autograd/ops/broadcast.js';
import { zeros } from '../autograd/ops/creation.js';
import { add_, copy_ } from '../autograd/ops/in-place.js';
import { indexSelect } from '../autograd/ops/index.js';
import { indexCopy_ } from '../autograd/ops/index-copy.js';
import { narrow, permute, select } from '../autograd/ops/views.js';
import { ITEM_SIZE } from '../device/dtype.js';
import { DataError, ShapeError } from '../device/errors.js';
import type { Device } from '../device/types.js';
import { capturing } from '../tensor/capturing.js';
import { tensor } from '../tensor/factories.js';
import { scope, unscoped } from '../tensor/lifetime.js';
import { formatShape } from '../tensor/shape.js';
import type { Tensor } from '../tensor/tensor.js';
import type { CausalLMConfig } from './causal-lm.js';

/** The smallest capacity: growing from one slot on would capture the first steps one by one. */
const LEAST = 64;

export interface KVCacheOptions {
  /** B: sequences that are read side by side. Default 1. */
  readonly batch?: number;
  /** Where the keys and values go. */
  readonly device: Device;
  /** `[B]`: how many slots at the start of each sequence are padding, for prompts of different length. Default none. */
  readonly padding?: ArrayLike<number>;
}

/**
 * The keys and values of all layers, in memory for a capacity that doubles as it fills, up to the context. Models call
 * `positions` once and `attend` once per layer, inside noGrad; who generates calls `advance`.
 *
 * @example
 * const cache = new KVCache(model.shape, { device });
 * const logits = noGrad(() => model.forward(prompt, { cache })); // reads the prompt, [1, T]
 * cache.advance(T);
 */
export class KVCache {
  /** Slots in use: tokens that have been read, padding included. */
  length = 0;
  /** Slots that there is memory for. */
  capacity = 0;
  private rows: number;
  private readonly padding: number[];
  private readonly device: Device;
  /** Keys and values of each layer, [B, 2, H, capacity, D]. Slots without tokens hold zeros: a weight of 0 times what pools leave behind may be NaN. */
  private layers: Tensor[] = [];
  /** bool [B, capacity]: the slots that hold tokens. */
  private visible: Tensor | null = null;
  /** int32 [1]: the next slot. */
  private readonly slot: Tensor;
  /** int32 [B, 1]: the position of the next token of each sequence. */
  private position: Tensor;
  /** bool [1, 1]: true. */
  private readonly yes: Tensor;

  constructor(
    private readonly shape: CausalLMConfig,
    { batch = 1, device, padding = new Int32Array(batch) }: KVCacheOptions,
  ) {
    if (!(Number.isInteger(batch) && batch > 0 && padding.length === batch)) {
      throw new ShapeError(
        `KVCache: expected a batch of at least 1 and padding for each of it, got ${batch} and ${padding.length}`,
      );
    }
    this.rows = batch;
    this.device = device;
    this.padding = Array.from(padding);
    this.slot = this.state([0], [1]);
    this.position = this.state(
      this.padding.map((n) => -n),
      [batch, 1],
    );
    this.yes = this.state([1], [1, 1], 'bool');
  }

  /** B */
  get batch(): number {
    return this.rows;
  }

  /** Bytes of the keys and values: 2 · layers · B · capacity · C times 4, or 2 in float16. */
  get bytes(): number {
    return this.layers.reduce((n, kv) => n + kv.numel * ITEM_SIZE[kv.dtype], 0);
  }

  /** Makes room for T more tokens. Steps captured before are captured anew. @throws ShapeError beyond the context. */
  reserve(T: number): void {
    const { contextLength } = this.shape;
    const wanted = this.length + T;
    if (wanted > contextLength) {
      throw new ShapeError(
        `KVCache: expected at most ${contextLength} tokens, the context of the model, got ${this.length} and ${T} more`,
      );
    }
    if (wanted <= this.capacity) return;
    if (capturing.current) throw capturing.current.refuse('made a cache grow; call reserve(1)');
    let capacity = LEAST;
    while (capacity < wanted) capacity *= 2;
    this.capacity = Math.min(capacity, contextLength);
    this.layers = this.layers.map((kv) => this.grown(kv, 3));
    const old = this.visible;
    this.visible = old
      ? this.grown(old, 1)
      : unscoped(() => zeros([this.rows, this.capacity], { dtype: 'bool', device: this.device }));
  }

  /** A tensor of the new capacity along `dim` with what the old one held, which goes. */
  private grown(old: Tensor, dim: number): Tensor {
    const shape = old.shape.map((n, d) => (d === dim ? this.capacity : n));
    const made = unscoped(() => zeros(shape, { dtype: old.dtype, device: this.device }));
    if (this.length > 0) {
      scope(() => copy_(narrow(made, dim, 0, this.length), narrow(old, dim, 0, this.length)));
    }
    old.release();
    return made;
  }

  /** Makes room for the next T tokens, and gives their positions, int32 [B, T]; padding stands at 0. */
  positions(T: number): Tensor {
    this.reserve(T);
    const visible = this.visible!;
    if (T === 1) {
      indexCopy_(visible, 1, this.slot, expand(this.yes, [this.rows, 1]));
      return this.position;
    }
    const at = (fn: (slot: number, pad: number) => number) =>
      this.padding.flatMap((pad) => Array.from({ length: T }, (_, t) => fn(this.length + t, pad)));
    const seen = this.tensor(
      at((slot, pad) => Number(slot >= pad)),
      [this.rows, T],
      'bool',
    );
    copy_(narrow(visible, 1, this.length, T), seen);
    return this.tensor(
      at((slot, pad) => Math.max(slot - pad, 0)),
      [this.rows, T],
    );
  }

  /**
   * Keeps the keys and values of the next T tokens, and gives their attention to all tokens up to themselves.
   *
   * @param qkv [B, T, 3C]: for each token the queries of all heads, then the keys, then the values
   * @returns [B, T, C]
   */
  attend(layer: number, qkv: Tensor): Tensor {
    const { heads, dim: C } = this.shape;
    const [B, T, width] = qkv.shape;
    if (B !== this.rows || width !== 3 * C || this.length + T > this.capacity) {
      throw new ShapeError(
        `KVCache: expected qkv of shape [${this.rows}, T, ${3 * C}] after positions(T), got ${formatShape(qkv.shape)}`,
      );
    }
    const D = C / heads;
    const kv = this.layerOf(layer, qkv);
    const slots =
      T === 1
        ? this.slot
        : this.tensor(
            Array.from({ length: T }, (_, t) => this.length + t),
            [T],
          );
    const fresh = permute(reshape(narrow(qkv, 2, C, 2 * C), [B, T, 2, heads, D]), [0, 2, 3, 1, 4]);
    indexCopy_(kv, 3, slots, fresh);
    const padded = this.padding.some((n) => n > 0);
    const visible = this.visible!;
    if (T > 1 && this.length === 0) {
      const keyPadding = padded ? narrow(visible, 1, 0, T) : null;
      return attentionPacked(qkv, heads, { isCausal: true, keyPadding, empty: 'zero' });
    }
    const q = permute(reshape(narrow(qkv, 2, 0, C), [B, T, heads, D]), [0, 2, 1, 3]);
    const [k, v] = [select(kv, 1, 0), select(kv, 1, 1)];
    let y: Tensor;
    // A single token sees all slots that hold one, its own included: how many is known to the device alone.
    if (T === 1) y = scaledDotProductAttention(q, k, v, { keyPadding: visible });
    else {
      const S = this.length + T;
      y = scaledDotProductAttention(q, narrow(k, 2, 0, S), narrow(v, 2, 0, S), {
        isCausal: true,
        align: 'end',
        keyPadding: padded ? narrow(visible, 1, 0, S) : null,
        empty: 'zero',
      });
    }
    return reshape(permute(y, [0, 2, 1, 3]), [B, T, C]);
  }

  /** The memory of a layer, made when it is first written. */
  private layerOf(layer: number, { dtype }: Tensor): Tensor {
    const { heads, dim, layers } = this.shape;
    if (this.layers.length === 0) {
      const shape = [this.rows, 2, heads, this.capacity, dim / heads];
      this.layers = Array.from({ length: layers }, () =>
        unscoped(() => zeros(shape, { dtype, device: this.device })),
      );
    }
    const kv = this.layers[layer];
    if (!kv) throw new DataError(`KVCache: expected a layer in [0, ${layers}), got ${layer}`);
    return kv;
  }

  /** Says that T tokens have been read. In a captured step every replay says so again. */
  advance(T: number): void {
    add_(this.slot, T);
    add_(this.position, T);
    this.length += T;
    capturing.current?.beforeReplay(() => {
      this.length += T;
    });
  }

  /** Puts row rows[b] in the place of row b, in all layers: how beams change places. Rows must have the same padding. @param rows int32 [B] */
  reorder(rows: Tensor): void {
    for (const kv of this.layers) scope(() => copy_(kv, indexSelect(kv, 0, rows)));
  }

  /** Puts every row there `n` times, one after the other: several continuations of one prompt. */
  repeat(n: number): void {
    if (n === 1) return;
    const picks = Array.from({ length: this.rows * n }, (_, i) => Math.floor(i / n));
    const repeated = (t: Tensor): Tensor => {
      const made = unscoped(() => scope(() => indexSelect(t, 0, this.tensor(picks, [picks.length]))));
      t.release();
      return made;
    };
    this.layers = this.layers.map(repeated);
    this.position = repeated(this.position);
    if (this.visible) this.visible = repeated(this.visible);
    const padding = picks.map((i) => this.padding[i]);
    this.padding.splice(0, this.rows, ...padding);
    this.rows *= n;
  }

  /** Gives the memory back. Idempotent. */
  release(): void {
    for (const t of [...this.layers, this.slot, this.position, this.yes]) t.release();
    this.visible?.release();
    this.layers = [];
    this.visible = null;
    this.capacity = 0;
  }

  private tensor(
    values: readonly number[],
    shape: readonly number[],
    dtype: 'int32' | 'bool' = 'int32',
  ): Tensor {
    return tensor(Int32Array.from(values), { shape, dtype, device: this.device });
  }

  private state(values: readonly number[], shape: readonly number[], dtype?: 'bool'): Tensor {
    return unscoped(() => this.tensor(values, shape, dtype));
  }
}
