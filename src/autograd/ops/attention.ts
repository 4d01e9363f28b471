/** Attention as it is written in the paper; the scores exist as a whole, T × S per head. */
import { ShapeError } from '../../device/errors.js';
import { formatShape } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { add, mul } from './arithmetic.js';
import { reshape } from './broadcast.js';
import { gt, logicalNot } from './compare.js';
import { arange, zeros } from './creation.js';
import { dropout } from './dropout.js';
import { matmul } from './matmul.js';
import { maskedFill } from './select.js';
import { softmax } from './softmax.js';
import { transpose } from './views.js';

export interface AttentionOptions {
  /** What broadcasts to the scores [..., T, S]: bool, true where a query may look, or numbers that are added to them. */
  mask?: Tensor | null;
  /** Query i sees keys 0 … i only. Default false. */
  isCausal?: boolean;
  /** Share of attention weights dropped. Default 0. */
  dropout?: number;
  /** Factor of the scores. Default 1/√D. */
  scale?: number;
}

/**
 * softmax(q·kᵀ·scale + mask)·v. A query that may look at nothing gives NaN, as in PyTorch.
 *
 * @param q queries [..., T, D]
 * @param k keys [..., S, D]
 * @param v values [..., S, E]
 * @returns [..., T, E]
 * @throws ShapeError for shapes that do not fit; DTypeError for a mask of integers.
 * @source torch.nn.functional.scaled_dot_product_attention; Vaswani et al. (2017), equation 1
 */
export function scaledDotProductAttention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: AttentionOptions = {},
): Tensor {
  check(q, k, v);
  const { mask, isCausal = false, scale = 1 / Math.sqrt(q.size(-1)) } = options;
  // The scale goes into q, T × D, rather than into the scores, T × S.
  let scores = matmul(mul(q, scale), transpose(k, -2, -1));
  // Masks are added: a pass over the scores that costs no more than any sum, and nothing in backward.
  if (isCausal) scores = add(scores, causalBias(q.size(-2), k.size(-2), scores));
  if (mask) scores = add(scores, mask.dtype === 'bool' ? bias(logicalNot(mask), scores) : mask);
  return matmul(dropout(softmax(scores, -1), options.dropout ?? 0), v);
}

/** 0 where a query may look and −∞ where `hidden` is true. */
function bias(hidden: Tensor, like: Tensor): Tensor {
  return maskedFill(zeros(hidden.shape, { dtype: like.dtype, device: like.device }), hidden, -Infinity);
}

/** −∞ above the diagonal of [T, S]. */
function causalBias(T: number, S: number, like: Tensor): Tensor {
  const range = (n: number): Tensor => arange(n, { dtype: 'int32', device: like.device });
  return bias(gt(range(S), reshape(range(T), [T, 1])), like);
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
