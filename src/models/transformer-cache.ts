/** What the decoder of a Transformer need not compute again: keys and values of earlier tokens and of the source. */
import { scaledDotProductAttention } from '../autograd/ops/attention.js';
import { reshape } from '../autograd/ops/broadcast.js';
import { logicalNot } from '../autograd/ops/compare.js';
import { indexSelect } from '../autograd/ops/index.js';
import { cat } from '../autograd/ops/join.js';
import { linear } from '../autograd/ops/linear.js';
import { chunk } from '../autograd/ops/split.js';
import { narrow, permute } from '../autograd/ops/views.js';
import type { MultiheadAttention } from '../nn/attention.js';
import { keep } from '../tensor/lifetime.js';
import type { Tensor } from '../tensor/tensor.js';

/** Keys and values [B, H, length, D] of one layer. */
interface Pair {
  readonly k: Tensor;
  readonly v: Tensor;
}

/** Keys and values of all layers of a decoder. They outlive scopes until `release()`. */
export class DecoderCache {
  /** Tokens that have been read. */
  length = 0;
  private readonly own: Pair[] = [];
  private readonly memory: Pair[] = [];

  /** Attention of T new tokens [B, T, C] to all so far and themselves, whose keys and values are added. */
  attendSelf(layer: number, attention: MultiheadAttention, x: Tensor): Tensor {
    const [q, k, v] = project(attention, x, 0, 3);
    const old = this.own[layer];
    const now = old ? { k: cat([old.k, k], 2), v: cat([old.v, v], 2) } : { k, v };
    this.put(this.own, layer, now);
    const y = scaledDotProductAttention(q, now.k, now.v, { isCausal: true, align: 'end' });
    return join(attention, y);
  }

  /** Attention of T tokens [B, T, C] to the memory [B, S, C], whose keys and values are computed once. */
  attendMemory(
    layer: number,
    attention: MultiheadAttention,
    x: Tensor,
    memory: Tensor,
    padding: Tensor | null,
  ): Tensor {
    const [q] = project(attention, x, 0, 1);
    if (!this.memory[layer]) {
      const [k, v] = project(attention, memory, 1, 2);
      this.put(this.memory, layer, { k, v });
    }
    const { k, v } = this.memory[layer];
    const keyPadding = padding && logicalNot(padding);
    return join(attention, scaledDotProductAttention(q, k, v, { keyPadding, empty: 'zero' }));
  }

  /** Says that T tokens have been read. */
  advance(T: number): void {
    this.length += T;
  }

  /** Row i of the batch becomes what row `rows[i]` was; the memory stays as it is. @param rows int32 [B] */
  reorder(rows: Tensor): void {
    this.own.forEach(({ k, v }, layer) => {
      this.put(this.own, layer, { k: indexSelect(k, 0, rows), v: indexSelect(v, 0, rows) });
    });
  }

  /** Gives the memory back. */
  release(): void {
    for (const { k, v } of [...this.own.splice(0), ...this.memory.splice(0)]) {
      k.release();
      v.release();
    }
    this.length = 0;
  }

  private put(pairs: Pair[], layer: number, pair: Pair): void {
    const old = pairs[layer];
    pairs[layer] = { k: keep(pair.k), v: keep(pair.v) };
    old?.k.release();
    old?.v.release();
  }
}

/** Parts `from` … of queries, keys and values of x [B, T, C], each [B, H, T, D]. */
function project(attention: MultiheadAttention, x: Tensor, from: number, parts: number): Tensor[] {
  const { embedDim: C, numHeads: H, in_proj_weight, in_proj_bias } = attention;
  const rows = (t: Tensor) => narrow(t, 0, from * C, parts * C);
  const y = linear(x, rows(in_proj_weight!), in_proj_bias && rows(in_proj_bias));
  const [B, T] = x.shape;
  return chunk(y, parts, -1).map((t) => permute(reshape(t, [B, T, H, C / H]), [0, 2, 1, 3]));
}

/** [B, H, T, D] → [B, T, C], through the last projection. */
function join(attention: MultiheadAttention, y: Tensor): Tensor {
  const [B, H, T, D] = y.shape;
  return attention.out_proj.forward(reshape(permute(y, [0, 2, 1, 3]), [B, T, H * D]));
}
