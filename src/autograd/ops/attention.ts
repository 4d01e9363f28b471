/** Attention: fused where it can be, so that the scores, T × S per head, never exist; else as it is written in the paper. */
import { DTypeError, ShapeError } from '../../device/errors.js';
import { type AttentionParams, MAX_HEAD_DIM, NO_WINDOW } from '../../kernels/attention.js';
import { broadcastShapes, formatShape, numel, sameShape } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { add, mul } from './arithmetic.js';
import { attentionOp, attentionPackedOp, checkPacked } from './attention-fused.js';
import { hiddenByPosition } from './attention-second.js';
import { contiguous, expand, reshape } from './broadcast.js';
import { logicalAnd, logicalNot, logicalOr } from './compare.js';
import { zeros } from './creation.js';
import { dropout } from './dropout.js';
import { matmul } from './matmul.js';
import { all } from './reduce.js';
import { maskedFill } from './select.js';
import { softmax } from './softmax.js';
import { narrow, permute, transpose } from './views.js';

export interface AttentionOptions {
  /**
   * What broadcasts to the scores [..., T, S]: bool, true where a query may look, or numbers that are added to them. With a
   * mask (or dropout) the scores are made as a whole.
   */
  mask?: Tensor | null;
  /** Query i sees keys up to its own position only: 0 … i. Default false. */
  isCausal?: boolean;
  /** W: each query sees the last W keys up to its own position, that one included; implies `isCausal`. Default all. */
  window?: number | null;
  /**
   * Where queries stand among the keys, for `isCausal` and `window`: query i at position i ('start', as in PyTorch), or the
   * last query at the last key, i + S − T ('end'), as when earlier keys come from a cache. Default 'start'.
   */
  align?: 'start' | 'end';
  /** bool [B, S], B the first leading dim (or [S] where there is none): true for real tokens, false for padding, which nobody sees. */
  keyPadding?: Tensor | null;
  /** What a query gives that may look at nothing: 'nan' as in PyTorch, or 'zero'. Default 'nan'. */
  empty?: 'nan' | 'zero';
  /** Share of attention weights dropped. Default 0. */
  dropout?: number;
  /** Factor of the scores. Default 1/√D. */
  scale?: number;
}

/**
 * softmax(q·kᵀ·scale + mask)·v. Without a mask and dropout one kernel computes it, and two its gradients, with memory that grows with
 * T + S. Leading dims broadcast. Inputs may be views of larger projections, [B, H, T, D] of [B, T, H·D], and are not
 * copied; the result is such a view too, so that `permute([0, 2, 1, 3]).reshape([B, T, H·E])` is free.
 *
 * @param q queries [..., T, D]
 * @param k keys [..., S, D]
 * @param v values [..., S, E]
 * @returns [..., T, E]
 * @throws ShapeError for shapes that do not fit; DTypeError for dtypes that differ, a mask of integers or padding that is not bool.
 * @source torch.nn.functional.scaled_dot_product_attention; Vaswani et al. (2017), equation 1; Dao (2023), FlashAttention-2
 */
export function scaledDotProductAttention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: AttentionOptions = {},
): Tensor {
  check(q, k, v);
  const params = paramsOf('scaledDotProductAttention', q.size(-2), k.size(-2), q.size(-1), options);
  const batch = [q, k, v]
    .map((x) => x.shape.slice(0, -2))
    .reduce((a, b) => [...broadcastShapes('scaledDotProductAttention', a, b)]);
  const pad = paddingOf('scaledDotProductAttention', batch, k.size(-2), options);
  const wide = Math.max(q.size(-1), v.size(-1)) > MAX_HEAD_DIM;
  if (options.mask || options.dropout || wide || k.numel === 0 || v.numel === 0) {
    const byHead = pad && reshape(pad, [...batch.map((n, d) => (d === 0 ? n : 1)), 1, k.size(-2)]);
    return composed(q, k, v, params, byHead, options);
  }
  checkDTypes(q, k, v);
  const [qh, kh, vh] = [q, k, v].map((x) => headsOf(x, batch));
  const inputs = [qh, kh, vh];
  if (pad) inputs.push(perBatch(pad, batch, qh.shape[0]));
  const [y, lse] = attentionOp.all(inputs, { ...params, padded: pad !== null });
  lse.release();
  const [T, E] = [q.size(-2), v.size(-1)];
  return reshape(permute(y, [0, 2, 1, 3]), [...batch, T, E]);
}

/**
 * Self-attention of queries, keys and values that one projection has made: the result of `scaledDotProductAttention` with the heads
 * put side by side again. The gradient comes as one tensor like `qkv`, in two dispatches.
 *
 * @param qkv [B, T, 3·H·D]: for each token the H queries, then the keys, then the values
 * @param heads H
 * @returns [B, T, H·D]
 * @throws ShapeError or DTypeError for inputs that do not fit.
 * @example
 * const y = attentionPacked(qkv.forward(x), 8, { isCausal: true }); // [B, T, C]
 */
export function attentionPacked(qkv: Tensor, heads: number, options: AttentionOptions = {}): Tensor {
  checkPacked('attentionPacked', qkv.shape, heads);
  const [B, T, width] = qkv.shape;
  const [C, D] = [width / 3, width / 3 / heads];
  const params = paramsOf('attentionPacked', T, T, D, options);
  if (options.mask || options.dropout || D > MAX_HEAD_DIM || qkv.numel === 0) {
    const [q, k, v] = [0, 1, 2].map((i) =>
      permute(reshape(narrow(qkv, 2, i * C, C), [B, T, heads, D]), [0, 2, 1, 3]),
    );
    const y = scaledDotProductAttention(q, k, v, options);
    return reshape(permute(y, [0, 2, 1, 3]), [B, T, C]);
  }
  const pad = paddingOf('attentionPacked', [B, heads], T, options);
  const inputs = pad ? [unitRows(qkv), pad] : [unitRows(qkv)];
  const [y, lse] = attentionPackedOp.all(inputs, { ...params, heads, padded: pad !== null });
  lse.release();
  return y;
}

function paramsOf(
  op: string,
  T: number,
  S: number,
  D: number,
  { isCausal = false, window, align = 'start', empty = 'nan', scale = 1 / Math.sqrt(D) }: AttentionOptions,
): AttentionParams {
  if (window !== undefined && window !== null && !(Number.isInteger(window) && window >= 1)) {
    throw new ShapeError(`${op}: expected a window of at least 1 key, got ${window}`);
  }
  const ordered = isCausal || (window ?? 0) > 0;
  // A shift of S shows every key to every query.
  const shift = ordered ? (align === 'end' ? S - T : 0) : S;
  return { scale, shift, window: Math.min(window ?? NO_WINDOW, NO_WINDOW), zeroEmpty: empty === 'zero' };
}

/** The padding, if there is any. */
function paddingOf(
  op: string,
  batch: readonly number[],
  S: number,
  { keyPadding }: AttentionOptions,
): Tensor | null {
  if (!keyPadding) return null;
  if (keyPadding.dtype !== 'bool') {
    throw new DTypeError(
      `${op}: expected a bool keyPadding, got ${keyPadding.dtype}; convert with keyPadding.to('bool')`,
    );
  }
  const shape = [...batch.slice(0, 1), S];
  if (!sameShape(keyPadding.shape, shape)) {
    throw new ShapeError(
      `${op}: expected a keyPadding of shape ${formatShape(shape)}, got ${formatShape(keyPadding.shape)}`,
    );
  }
  return keyPadding;
}

/** A tensor whose last dim lies closely: itself, or a copy. */
function unitRows(x: Tensor): Tensor {
  return x.strides[x.ndim - 1] === 1 ? x : contiguous(x);
}

/** [..., T, D] → [B, T, H, D], H being the last of the leading dims where there are several, without a copy where possible. */
function headsOf(x: Tensor, batch: readonly number[]): Tensor {
  const rows = x.shape.slice(-2);
  const whole = unitRows(expand(x, [...batch, ...rows]));
  const H = batch.length > 1 ? batch[batch.length - 1] : 1;
  const four = reshape(whole, [numel(batch) / Math.max(H, 1), H, ...rows]);
  return permute(four, [0, 2, 1, 3]);
}

/** Padding of the first leading dim, [B, S], for all but the last of them together. */
function perBatch(pad: Tensor, batch: readonly number[], count: number): Tensor {
  const S = pad.size(-1);
  if (pad.ndim === 1 || pad.size(0) === count) return reshape(pad, [count, S]);
  const between = batch.slice(1, -1);
  const alone = [batch[0], ...between.map(() => 1), S];
  return reshape(expand(reshape(pad, alone), [batch[0], ...between, S]), [count, S]);
}

/** All scores at once. */
function composed(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  params: AttentionParams,
  pad: Tensor | null,
  { mask, dropout: p = 0 }: AttentionOptions,
): Tensor {
  const [T, S] = [q.size(-2), k.size(-2)];
  // The scale goes into q, T × D, rather than into the scores, T × S.
  let scores = matmul(mul(q, params.scale), transpose(k, -2, -1));
  // Masks are added: a pass over the scores that costs no more than any sum, and nothing in backward.
  const hidden = [hiddenByPosition(T, S, params, q.device)];
  if (pad) hidden.push(logicalNot(pad));
  if (mask?.dtype === 'bool') hidden.push(logicalNot(mask));
  const known = hidden.filter((x) => x !== null);
  let nothing: Tensor | null = null;
  if (params.zeroEmpty && known.length > 0) {
    // Queries without any key get all of them, so that all numbers are finite, and lose the result afterwards.
    const together = known.reduce((a, b) => logicalOr(a, b));
    nothing = all(together, { dim: -1, keepdim: true });
    scores = add(scores, bias(logicalAnd(together, logicalNot(nothing)), scores));
  } else for (const x of known) scores = add(scores, bias(x, scores));
  if (mask && mask.dtype !== 'bool') scores = add(scores, mask);
  const y = matmul(dropout(softmax(scores, -1), p), v);
  return nothing ? maskedFill(y, nothing, 0) : y;
}

/** 0 where a query may look and −∞ where `hidden` is true. */
function bias(hidden: Tensor, like: Tensor): Tensor {
  return maskedFill(zeros(hidden.shape, { dtype: like.dtype, device: like.device }), hidden, -Infinity);
}

function checkDTypes(q: Tensor, k: Tensor, v: Tensor): void {
  if (q.dtype === k.dtype && k.dtype === v.dtype) return;
  throw new DTypeError(
    `scaledDotProductAttention: expected one dtype, got q ${q.dtype}, k ${k.dtype} and v ${v.dtype}; convert with x.to('${q.dtype}')`,
  );
}

function check(q: Tensor, k: Tensor, v: Tensor): void {
  const got = `got q ${formatShape(q.shape)}, k ${formatShape(k.shape)} and v ${formatShape(v.shape)}`;
  if (Math.min(q.ndim, k.ndim, v.ndim) < 2) {
    throw new ShapeError(
      `scaledDotProductAttention: expected q [..., T, D], k [..., S, D] and v [..., S, E], ${got}`,
    );
  }
  if (q.size(-1) !== k.size(-1) || k.size(-2) !== v.size(-2)) {
    const [x, y] = q.size(-1) !== k.size(-1) ? [q.size(-1), k.size(-1)] : [k.size(-2), v.size(-2)];
    throw new ShapeError(
      `scaledDotProductAttention: expected q [..., T, D], k [..., S, D] and v [..., S, E], ${got} (${x} ≠ ${y})`,
    );
  }
}
