/** Multi-head attention as a layer. */
import { add, mul } from '../autograd/ops/arithmetic.js';
import {
  type AttentionOptions,
  attentionPacked,
  scaledDotProductAttention,
} from '../autograd/ops/attention.js';
import { reshape } from '../autograd/ops/broadcast.js';
import { gt, logicalAnd, logicalNot, logicalOr } from '../autograd/ops/compare.js';
import { arange } from '../autograd/ops/creation.js';
import { dropout } from '../autograd/ops/dropout.js';
import { linear } from '../autograd/ops/linear.js';
import { matmul } from '../autograd/ops/matmul.js';
import { mean } from '../autograd/ops/mean.js';
import { checkProbability } from '../autograd/ops/random.js';
import { all } from '../autograd/ops/reduce.js';
import { maskedFill } from '../autograd/ops/select.js';
import { softmax } from '../autograd/ops/softmax.js';
import { chunk } from '../autograd/ops/split.js';
import { narrow, permute, squeeze, transpose, unsqueeze } from '../autograd/ops/views.js';
import { DTypeError, ShapeError } from '../device/errors.js';
import { formatShape, type Shape, sameShape } from '../tensor/shape.js';
import type { Tensor } from '../tensor/tensor.js';
import { xavierUniform_, zeros_ } from './init.js';
import { Linear } from './layers.js';
import { Module } from './module.js';
import { type FactoryOptions, Parameter } from './parameter.js';

export interface MultiheadAttentionOptions extends FactoryOptions {
  /** Share of attention weights dropped in training; default 0. */
  readonly dropout?: number;
  /** Biases of all four projections; default true. */
  readonly bias?: boolean;
  /** Width of the keys; default embedDim. */
  readonly kdim?: number;
  /** Width of the values; default embedDim. */
  readonly vdim?: number;
  /** Sequences are [B, L, E] instead of [L, B, E]; default false. */
  readonly batchFirst?: boolean;
}

export interface AttendOptions {
  /** bool [B, S]: keys that are padding (true) and get no attention. */
  readonly keyPaddingMask?: Tensor | null;
  /** [L, S] or [B·heads, L, S]: bool, true where attention is forbidden, or floating-point, added to the scores. */
  readonly attnMask?: Tensor | null;
  /** Position i attends to keys 0 … i only; default false. */
  readonly isCausal?: boolean;
  /** Give the attention weights too, which costs their memory; default false (PyTorch: true). */
  readonly needWeights?: boolean;
  /** Weights averaged over the heads; default true. */
  readonly averageAttnWeights?: boolean;
}

/**
 * Attention of L queries to S keys in several heads: softmax(q·kᵀ/√D)·v per head of width D = E / heads, with linear
 * projections before and after.
 *
 * A query to which the boolean masks leave no key at all attends to nothing: its weights, its heads' outputs and the
 * gradients through them are 0, not NaN as in PyTorch. A floating-point mask that forbids with −∞ is added as it is, and
 * gives NaN for such a query.
 *
 * @source torch.nn.MultiheadAttention; Vaswani et al. (2017).
 * @example
 * const attention = new MultiheadAttention(64, 8, { batchFirst: true });
 * const [y] = attention.forward(x, x, x, { isCausal: true }); // [B, T, 64]
 */
export class MultiheadAttention extends Module {
  /** W of queries, keys and values in one, [3E, E]; null where keys or values have another width. */
  readonly in_proj_weight: Parameter | null = null;
  readonly q_proj_weight: Parameter | null = null;
  readonly k_proj_weight: Parameter | null = null;
  readonly v_proj_weight: Parameter | null = null;
  readonly in_proj_bias: Parameter | null;
  readonly out_proj: Linear;
  readonly dropout: number;
  readonly batchFirst: boolean;

  constructor(
    readonly embedDim: number,
    readonly numHeads: number,
    options: MultiheadAttentionOptions = {},
  ) {
    super();
    const { dropout: p = 0, bias = true, kdim = embedDim, vdim = embedDim, batchFirst = false } = options;
    if (!(embedDim % numHeads === 0)) {
      throw new ShapeError(
        `MultiheadAttention: expected heads that divide embedDim ${embedDim}, got ${numHeads}`,
      );
    }
    checkProbability('MultiheadAttention', p);
    this.dropout = p;
    this.batchFirst = batchFirst;
    const weight = (rows: number, columns: number) =>
      xavierUniform_(Parameter.empty([rows, columns], options));
    if (kdim === embedDim && vdim === embedDim) this.in_proj_weight = weight(3 * embedDim, embedDim);
    else {
      this.q_proj_weight = weight(embedDim, embedDim);
      this.k_proj_weight = weight(embedDim, kdim);
      this.v_proj_weight = weight(embedDim, vdim);
    }
    this.in_proj_bias = bias ? zeros_(Parameter.empty([3 * embedDim], options)) : null;
    this.out_proj = new Linear(embedDim, embedDim, { ...options, bias });
    if (this.out_proj.bias) zeros_(this.out_proj.bias);
  }

  /**
   * @param query [L, B, E] ([B, L, E] where batchFirst; [L, E] for one sequence)
   * @param key [S, B, kdim]; default query
   * @param value [S, B, vdim]; default key
   * @returns the output, shaped as the query, and the weights [B, L, S] ([B, heads, L, S] where not averaged) or null
   * @throws ShapeError or DTypeError for inputs and masks that do not fit.
   */
  forward(
    query: Tensor,
    key: Tensor = query,
    value: Tensor = key,
    options: AttendOptions = {},
  ): [Tensor, Tensor | null] {
    const single = query.ndim === 2;
    if (single) {
      const at = this.batchFirst ? 0 : 1;
      const same = key === query;
      const q = unsqueeze(query, at);
      const k = same ? q : unsqueeze(key, at);
      const v = value === key ? k : unsqueeze(value, at);
      const padding = options.keyPaddingMask;
      const [y, w] = this.forward(q, k, v, {
        ...options,
        keyPaddingMask: padding?.ndim === 1 ? unsqueeze(padding, 0) : padding,
      });
      return [squeeze(y, at), w && squeeze(w, 0)];
    }
    const [B, L, S] = this.check(query, key, value);
    const {
      attnMask,
      keyPaddingMask,
      isCausal = false,
      needWeights = false,
      averageAttnWeights = true,
    } = options;
    const p = this.training ? this.dropout : 0;
    const added = this.added(attnMask, B, L, S);
    const padding = keyPaddingMask ? this.padding(keyPaddingMask, B, S) : null;
    const forbidden = attnMask && !added ? this.perHead(attnMask, B, L, S) : null;
    if (!needWeights && !(added && (padding || isCausal))) {
      const fast = {
        isCausal,
        keyPadding: padding && logicalNot(padding),
        mask: forbidden ? logicalNot(forbidden) : added,
        dropout: p,
        empty: 'zero' as const,
      };
      return [this.out_proj.forward(this.attend(query, key, value, fast)), null];
    }
    const [q, k, v] = this.project(query, key, value).map((t) => this.split(t));
    const blocked = this.blocked(isCausal, forbidden, padding, B, L, S, query);
    // Queries without any key get all of them, so that all numbers are finite, and lose the result afterwards.
    const nothing = blocked ? all(blocked, { dim: -1, keepdim: true }) : null;
    let scores = matmul(mul(q, 1 / Math.sqrt(this.embedDim / this.numHeads)), transpose(k, -1, -2));
    if (added) scores = add(scores, added);
    if (blocked && nothing) {
      scores = maskedFill(scores, logicalAnd(blocked, logicalNot(nothing)), -Infinity);
    }
    let weights = softmax(scores, -1);
    if (nothing) weights = maskedFill(weights, nothing, 0);
    weights = dropout(weights, p);
    const heads = matmul(weights, v);
    const y = this.out_proj.forward(this.join(heads, query.shape));
    if (!needWeights) return [y, null];
    return [y, averageAttnWeights ? mean(weights, { dim: 1 }) : weights];
  }

  /** The heads' results in the query's shape, without the weights. */
  private attend(query: Tensor, key: Tensor, value: Tensor, options: AttentionOptions): Tensor {
    const whole = this.in_proj_weight;
    if (query === key && key === value && whole) {
      const x = linear(query, whole, this.in_proj_bias);
      if (this.batchFirst) return attentionPacked(x, this.numHeads, options);
      return transpose(attentionPacked(transpose(x, 0, 1), this.numHeads, options), 0, 1);
    }
    const [q, k, v] = this.project(query, key, value).map((t) => this.split(t));
    return this.join(scaledDotProductAttention(q, k, v, options), query.shape);
  }

  /** B, L and S. */
  private check(query: Tensor, key: Tensor, value: Tensor): [number, number, number] {
    const [batch, time] = this.batchFirst ? [0, 1] : [1, 0];
    const fits = [query, key, value].every((t) => t.ndim === 3 && t.shape[batch] === query.shape[batch]);
    if (!fits || key.shape[time] !== value.shape[time] || query.shape[2] !== this.embedDim) {
      const form = this.batchFirst ? 'B, L' : 'L, B';
      throw new ShapeError(
        `MultiheadAttention: expected query [${form}, ${this.embedDim}] and key and value of one length and batch, got ${formatShape(query.shape)}, ${formatShape(key.shape)} and ${formatShape(value.shape)}`,
      );
    }
    return [query.shape[batch], query.shape[time], key.shape[time]];
  }

  /** Projected queries, keys and values; equal inputs share one product. */
  private project(query: Tensor, key: Tensor, value: Tensor): Tensor[] {
    const E = this.embedDim;
    const bias = (from: number, parts: number) =>
      this.in_proj_bias && narrow(this.in_proj_bias, 0, from * E, parts * E);
    const whole = this.in_proj_weight;
    if (!whole) {
      return [
        linear(query, this.q_proj_weight!, bias(0, 1)),
        linear(key, this.k_proj_weight!, bias(1, 1)),
        linear(value, this.v_proj_weight!, bias(2, 1)),
      ];
    }
    if (query === key && key === value) return chunk(linear(query, whole, this.in_proj_bias), 3, -1);
    const part = (t: Tensor, from: number, parts: number) =>
      linear(t, narrow(whole, 0, from * E, parts * E), bias(from, parts));
    const q = part(query, 0, 1);
    if (key === value) return [q, ...chunk(part(key, 1, 2), 2, -1)];
    return [q, part(key, 1, 1), part(value, 2, 1)];
  }

  /** → [B, heads, length, D] */
  private split(t: Tensor): Tensor {
    const [first, second, E] = t.shape;
    const heads = reshape(t, [first, second, this.numHeads, E / this.numHeads]);
    return permute(heads, this.batchFirst ? [0, 2, 1, 3] : [1, 2, 0, 3]);
  }

  /** [B, heads, L, D] → the query's shape. */
  private join(t: Tensor, shape: Shape): Tensor {
    return reshape(permute(t, this.batchFirst ? [0, 2, 1, 3] : [2, 0, 1, 3]), shape);
  }

  /** Where attention is forbidden, bool, broadcasting to [B, heads, L, S]; null for nowhere. */
  private blocked(
    isCausal: boolean,
    forbidden: Tensor | null,
    padding: Tensor | null,
    B: number,
    L: number,
    S: number,
    { device }: Tensor,
  ): Tensor | null {
    const masks: Tensor[] = [];
    if (isCausal) {
      const range = (n: number) => arange(n, { dtype: 'int32', device });
      masks.push(gt(range(S), reshape(range(L), [L, 1])));
    }
    if (forbidden) masks.push(forbidden);
    if (padding) masks.push(reshape(padding, [B, 1, 1, S]));
    return masks.length === 0 ? null : masks.reduce((a, b) => logicalOr(a, b));
  }

  /** The mask of padding, bool [B, S]. */
  private padding(mask: Tensor, B: number, S: number): Tensor {
    if (mask.dtype !== 'bool') {
      throw new DTypeError(
        `MultiheadAttention: expected a bool keyPaddingMask, got ${mask.dtype}; convert with mask.to('bool')`,
      );
    }
    if (!sameShape(mask.shape, [B, S])) {
      throw new ShapeError(
        `MultiheadAttention: expected a keyPaddingMask of shape [${B}, ${S}], got ${formatShape(mask.shape)}`,
      );
    }
    return mask;
  }

  /** The floating-point mask, if there is one. */
  private added(mask: Tensor | null | undefined, B: number, L: number, S: number): Tensor | null {
    return !mask || mask.dtype === 'bool' ? null : this.perHead(mask, B, L, S);
  }

  /** A mask that broadcasts to [B, heads, L, S]. */
  private perHead(mask: Tensor, B: number, L: number, S: number): Tensor {
    if (sameShape(mask.shape, [L, S])) return mask;
    if (sameShape(mask.shape, [B * this.numHeads, L, S])) return reshape(mask, [B, this.numHeads, L, S]);
    throw new ShapeError(
      `MultiheadAttention: expected an attnMask of shape [${L}, ${S}] or [${B * this.numHeads}, ${L}, ${S}], got ${formatShape(mask.shape)}`,
    );
  }
}
