/** Keys and values of the tokens that a model has read, so that each new token costs one position. */

import { scaledDotProductAttention } from '../autograd/ops/attention.js';
import { expand, reshape } from '../autograd/ops/broadcast.js';
import { arange } from '../autograd/ops/creation.js';
import { cat } from '../autograd/ops/join.js';
import { chunk } from '../autograd/ops/split.js';
import { permute } from '../autograd/ops/views.js';
import type { Device } from '../device/types.js';
import type { Tensor } from '../tensor/tensor.js';

/** The keys and values of all layers. Models call `positions` once and `attend` once per layer; generation calls `advance`. */
export class KVCache {
  /** Tokens that have been read. */
  length = 0;
  private readonly layers: { k: Tensor; v: Tensor }[] = [];

  constructor(
    readonly heads: number,
    readonly batch: number,
    readonly device: Device,
  ) {}

  /** Positions of the next T tokens, int32 [B, T]. */
  positions(T: number): Tensor {
    return expand(arange(this.length, this.length + T, { dtype: 'int32', device: this.device }), [
      this.batch,
      T,
    ]);
  }

  /** Adds the keys and values of T new tokens, and gives their attention to everything up to themselves. @param qkv [B, T, 3C] */
  attend(layer: number, qkv: Tensor): Tensor {
    const [B, T, width] = qkv.shape;
    const [q, k, v] = chunk(qkv, 3, -1).map((x) =>
      permute(reshape(x, [B, T, this.heads, width / 3 / this.heads]), [0, 2, 1, 3]),
    );
    const old = this.layers[layer];
    const now = old ? { k: cat([old.k, k], 2), v: cat([old.v, v], 2) } : { k, v };
    this.layers[layer] = now;
    const y = scaledDotProductAttention(q, now.k, now.v, { isCausal: true, align: 'end' });
    return reshape(permute(y, [0, 2, 1, 3]), [B, T, width / 3]);
  }

  /** Says that T tokens have been read. */
  advance(T: number): void {
    this.length += T;
  }
}
