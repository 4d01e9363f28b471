/** Second derivatives of fused attention, in operations on whole matrices of scores; and which pairs are hidden. */

import type { Device } from '../../device/types.js';
import type { AttentionParams } from '../../kernels/attention.js';
import type { Tensor } from '../../tensor/tensor.js';
import { add, mul, sub } from './arithmetic.js';
import { reshape, sum } from './broadcast.js';
import { gt, le, logicalNot, logicalOr } from './compare.js';
import { arange } from './creation.js';
import { matmul } from './matmul.js';
import { maskedFill } from './select.js';
import { softmax } from './softmax.js';
import { permute, transpose } from './views.js';

/** Which pairs of T queries and S keys the positions hide: bool [T, S], or null for none. */
export function hiddenByPosition(
  T: number,
  S: number,
  { shift, window }: Pick<AttentionParams, 'shift' | 'window'>,
  device: Device,
): Tensor | null {
  const after = shift < S - 1;
  const before = T - 1 + shift - window >= 0;
  if (!after && !before) return null;
  const keys = arange(S, { dtype: 'int32', device });
  const last = reshape(arange(shift, shift + T, { dtype: 'int32', device }), [T, 1]);
  const late = after ? gt(keys, last) : null;
  const early = before
    ? le(keys, reshape(arange(shift - window, shift - window + T, { dtype: 'int32', device }), [T, 1]))
    : null;
  return late && early ? logicalOr(late, early) : (late ?? early);
}

/** [B, T, H, D] ↔ [B, H, T, D] */
const swap = (x: Tensor): Tensor => permute(x, [0, 2, 1, 3]);

const sumUp = (parts: readonly (Tensor | null)[]): Tensor | null =>
  parts.reduce((a, b) => (a && b ? add(a, b) : (a ?? b)), null);

const rowSum = (x: Tensor): Tensor => sum(x, { dim: -1, keepdim: true });

/**
 * Gradients of ⟨u, (dq, dk, dv)⟩ with respect to g, q, k and v, where dq, dk and dv are the gradients of attention:
 *
 *     P = softmax(s·q·kᵀ), dP = g·vᵀ, dS = P∘(dP − δ) with δ = Σ P∘dP of each row,
 *     dq = s·dS·k, dk = s·dSᵀ·q, dv = Pᵀ·g
 *
 * With A = s·(u_q·kᵀ + q·u_kᵀ) and C = g·u_vᵀ the product is ⟨A, dS⟩ + ⟨C, P⟩. Its derivative with respect to dP is
 * W = P∘(A − α), α = Σ A∘P of each row; with respect to P it is G = A∘dP − α·dP − δ·A + C.
 */
export function secondOrder(
  gradOutputs: readonly (Tensor | null | undefined)[],
  inputs: { g: Tensor; q: Tensor; k: Tensor; v: Tensor; pad: Tensor | null },
  params: AttentionParams,
  needs: (i: number) => boolean,
): (Tensor | null)[] {
  const { scale: s } = params;
  const [uq, uk, uv] = [0, 1, 2].map((i) => (gradOutputs[i] ? swap(gradOutputs[i]!) : null));
  const [g, q, k, v] = [inputs.g, inputs.q, inputs.k, inputs.v].map(swap);
  const t = (x: Tensor): Tensor => transpose(x, -2, -1);
  const P = weights(q, k, inputs.pad, params);
  const dP = matmul(g, t(v));
  const delta = rowSum(mul(P, dP));
  const dS = mul(P, sub(dP, delta));
  const A = sumUp([uq && matmul(mul(uq, s), t(k)), uk && matmul(mul(q, s), t(uk))]);
  const alpha = A && rowSum(mul(A, P));
  const W = A && mul(P, sub(A, alpha!));
  const scores = (): Tensor | null => {
    const first = A && sub(mul(sub(A, alpha!), dP), mul(delta, A));
    const G = sumUp([first, uv && matmul(g, t(uv))]);
    return G && mul(P, sub(G, rowSum(mul(P, G))));
  };
  const dScores = needs(1) || needs(2) ? scores() : null;
  const scaled = (x: Tensor | null): Tensor | null => x && mul(x, s);
  const dg = needs(0) ? sumUp([W && matmul(W, v), uv && matmul(P, uv)]) : null;
  const dq = needs(1) ? scaled(sumUp([uk && matmul(dS, uk), dScores && matmul(dScores, k)])) : null;
  const dk = needs(2) ? scaled(sumUp([uq && matmul(t(dS), uq), dScores && matmul(t(dScores), q)])) : null;
  const dv = needs(3) ? W && matmul(t(W), g) : null;
  return [dg, dq, dk, dv].map((x) => x && swap(x));
}

/** P, hidden pairs 0. */
function weights(q: Tensor, k: Tensor, pad: Tensor | null, params: AttentionParams): Tensor {
  const [T, S] = [q.size(2), k.size(2)];
  let hidden = hiddenByPosition(T, S, params, q.device);
  if (pad) {
    const padding = reshape(logicalNot(pad), [pad.size(0), 1, 1, S]);
    hidden = hidden ? logicalOr(hidden, padding) : padding;
  }
  const scores = matmul(mul(q, params.scale), transpose(k, -2, -1));
  if (!hidden) return softmax(scores, -1);
  return maskedFill(softmax(maskedFill(scores, hidden, -Infinity), -1), hidden, 0);
}
