/** The fused operations behind attention: queries, keys and values apart, or in one tensor. */

import type { DType } from '../../device/dtype.js';
import { ShapeError } from '../../device/errors.js';
import type { HostArray, View, Work } from '../../device/types.js';
import {
  type AttentionParams,
  attentionBackwardKernel,
  attentionKernel,
  unpackHeads,
} from '../../kernels/attention.js';
import { attentionBackwardHost, attentionHost } from '../../kernels/attention-host.js';
import { attentionBackwardSimd, attentionSimd, unpackSimd } from '../../kernels/attention-simd.js';
import { attentionWork } from '../../kernels/attention-work.js';
import { formatShape, numel } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { defineOp, type Op } from '../op.js';
import { secondOrder } from './attention-second.js';
import { reshape } from './broadcast.js';
import { checkDType } from './define.js';
import { cat } from './join.js';
import { narrow } from './views.js';

/** Statistics stay in float32 for float16 inputs. */
const statistics = (dtype: DType): DType => (dtype === 'float64' ? 'float64' : 'float32');

export interface FusedParams extends AttentionParams {
  /** A last input: bool [B, S], true for real tokens. */
  readonly padded: boolean;
}

interface PackedParams extends FusedParams {
  readonly heads: number;
}

interface BackwardParams extends FusedParams {
  /** dk and dv are outputs too. */
  readonly keys: boolean;
}

const KEYS = 3;
const PACKED = 1;

/**
 * Inputs q [B, T, H, D], k [B, S, H, D], v [B, S, H, E], each with a unit stride along its last dim, and padding [B, S] where
 * `padded`. Outputs y [B, T, H, E] and the log-sum-exp of each row of scores, [B, H, T].
 */
export const attentionOp = defineOp<readonly Tensor[], FusedParams>({
  name: 'attention',
  autocast: 'half',
  mixedDTypes: true,
  layout: ['strided', 'strided', 'strided', 'contiguous'],
  infer([q, k, v]) {
    checkDType('scaledDotProductAttention', q.dtype, 'float');
    const [B, T, H] = q.shape;
    return [
      { shape: [B, T, H, v.shape[3]], dtype: q.dtype },
      { shape: [B, H, T], dtype: statistics(k.dtype) },
    ];
  },
  host: ([q, k, v, pad], outputs, p) => attentionHost([q, k, v, pad ?? null], outputs, p),
  kernel: ({ inputs: [q, k, v, pad], outputs, params, target }) =>
    attentionKernel([q, k, v, pad ?? null], outputs, params, target),
  work: ([q, k, v], _, p) => attentionWork(q.shape, [k.shape[1], v.shape[3]], p, false),
  simd: (module, [q, k, v, pad], outputs, p) => attentionSimd(module, [q, k, v, pad ?? null], outputs, p),
  simdIntegers: true,
  saves: ({ padded }) => (padded ? [0, 1, 2, 3, 'output', 'output1'] : [0, 1, 2, 'output', 'output1']),
  backward({ gradOutputs: [g], params, input, output, needs }) {
    if (!g) return [];
    const keys = needs(1) || needs(2);
    const inputs = [g, input(0), input(1), input(2), output(0), output(1)];
    if (params.padded) inputs.push(input(KEYS));
    return attentionBackwardOp.all(inputs, { ...params, keys });
  },
});

/** Inputs g [B, T, H, E], q, k, v, y, lse and padding; outputs dq, and dk and dv where wanted. */
const attentionBackwardOp: Op<readonly Tensor[], BackwardParams> = defineOp<
  readonly Tensor[],
  BackwardParams
>({
  name: 'attentionBackward',
  mixedDTypes: true,
  layout: ['contiguous', 'strided', 'strided', 'strided', 'contiguous', 'contiguous', 'contiguous'],
  infer: ([, q, k, v], { keys }) => (keys ? [q, k, v] : [q]),
  host([g, q, k, v, y, lse, pad], outputs, p) {
    attentionBackwardHost([q, k, v, pad ?? null], [g, y, lse], outputs, p);
  },
  kernel({ inputs: [g, q, k, v, y, lse, pad], outputs: [dq, dk, dv], params, target, scratch }) {
    return attentionBackwardKernel(
      [q, k, v, pad ?? null],
      [g, y, lse],
      { dq, dk, dv },
      params,
      target,
      scratch,
    );
  },
  work: ([, q, k, v], _, p) => attentionWork(q.shape, [k.shape[1], v.shape[3]], p, true),
  simd: (module, [g, q, k, v, y, lse, pad], outputs, p) =>
    attentionBackwardSimd(module, [q, k, v, pad ?? null], [g, y, lse], outputs, p),
  simdIntegers: true,
  saves: ({ padded }) => (padded ? [0, 1, 2, 3, 6] : [0, 1, 2, 3]),
  // y and the log-sum-exp count as the functions of q, k and v that they are.
  backward({ gradOutputs, params, input, needs }) {
    const pad = params.padded ? input(6) : null;
    const [g, q, k, v] = [0, 1, 2, 3].map(input);
    return secondOrder(gradOutputs, { g, q, k, v, pad }, params, needs);
  },
});

/** Inputs qkv [B, T, 3·H·D] with a unit stride along its last dim, and padding. Outputs y [B, T, H·D] and the log-sum-exps. */
export const attentionPackedOp = defineOp<readonly Tensor[], PackedParams>({
  name: 'attentionPacked',
  autocast: 'half',
  mixedDTypes: true,
  layout: ['strided', 'contiguous'],
  infer([{ shape, dtype }], { heads }) {
    checkDType('attentionPacked', dtype, 'float');
    return [
      { shape: [shape[0], shape[1], shape[2] / 3], dtype },
      { shape: [shape[0], heads, shape[1]], dtype: statistics(dtype) },
    ];
  },
  host: ([qkv, pad], outputs, p) => attentionHost([...unpackHeads(qkv, p.heads), pad ?? null], outputs, p),
  kernel: ({ inputs: [qkv, pad], outputs, params, target }) =>
    attentionKernel([...unpackHeads(qkv, params.heads), pad ?? null], outputs, params, target),
  work: ([qkv], _, p) => packedWork(qkv, p, false),
  simd: (module, [qkv, pad], outputs, p) =>
    attentionSimd(module, [...unpackSimd(qkv, p.heads), pad ?? null], outputs, p),
  simdIntegers: true,
  saves: ({ padded }) => (padded ? [0, 1, 'output', 'output1'] : [0, 'output', 'output1']),
  backward({ gradOutputs: [g], params, input, output }) {
    if (!g) return [];
    const inputs = [g, input(0), output(0), output(1)];
    if (params.padded) inputs.push(input(PACKED));
    return [attentionPackedBackwardOp(inputs, params)];
  },
});

/** Inputs g [B, T, H·D], qkv, y, lse and padding; the output [B, T, 3·H·D] holds dq, dk and dv as qkv does. */
const attentionPackedBackwardOp: Op<readonly Tensor[], PackedParams> = defineOp<
  readonly Tensor[],
  PackedParams
>({
  name: 'attentionPackedBackward',
  mixedDTypes: true,
  layout: ['contiguous', 'strided', 'contiguous', 'contiguous', 'contiguous'],
  infer: ([, qkv]) => qkv,
  host([g, qkv, y, lse, pad], [d], p) {
    const parts: HostArray[] = unpackHeads(d, p.heads);
    attentionBackwardHost([...unpackHeads(qkv, p.heads), pad ?? null], [g, y, lse], parts, p);
  },
  kernel({ inputs: [g, qkv, y, lse, pad], outputs: [d], params, target, scratch }) {
    const [dq, dk, dv]: View[] = unpackHeads(d, params.heads);
    const inputs = [...unpackHeads(qkv, params.heads), pad ?? null] as const;
    return attentionBackwardKernel(inputs, [g, y, lse], { dq, dk, dv }, params, target, scratch);
  },
  work: ([, qkv], _, p) => packedWork(qkv, p, true),
  simd(module, [g, qkv, y, lse, pad], [d], p) {
    const inputs = [...unpackSimd(qkv, p.heads), pad ?? null] as const;
    return attentionBackwardSimd(module, inputs, [g, y, lse], unpackSimd(d, p.heads), p);
  },
  simdIntegers: true,
  saves: ({ padded }) => (padded ? [0, 1, 4] : [0, 1]),
  backward({ gradOutputs: [u], params, input, needs }) {
    if (!u) return [];
    const { heads } = params;
    const qkv = input(1);
    const [B, T, width] = qkv.shape;
    const split = (x: Tensor): Tensor[] =>
      [0, 1, 2].map((i) =>
        reshape(narrow(x, 2, (i * width) / 3, width / 3), [B, T, heads, width / 3 / heads]),
      );
    const join = (x: Tensor): Tensor => reshape(x, [B, T, width / 3]);
    const [q, k, v] = split(qkv);
    const g = reshape(input(0), [B, T, heads, width / 3 / heads]);
    const pad = params.padded ? input(4) : null;
    const [dg, dq, dk, dv] = secondOrder(split(u), { g, q, k, v, pad }, params, (i) => needs(Math.min(i, 1)));
    return [dg && join(dg), needs(1) ? cat([dq!, dk!, dv!].map(join), 2) : null];
  },
});

function packedWork({ shape: [B, T, width] }: View, params: PackedParams, backward: boolean): Work {
  const D = width / 3 / params.heads;
  return attentionWork([B, T, params.heads, D], [T, D], params, backward);
}

/** The op's name and what is wrong where packed projections do not fit. */
export function checkPacked(op: string, shape: readonly number[], heads: number): void {
  if (shape.length === 3 && heads >= 1 && Number.isInteger(shape[2] / (3 * heads)) && numel(shape) >= 0)
    return;
  throw new ShapeError(
    `${op}: expected qkv of shape [B, T, 3·heads·D] for ${heads} heads, got ${formatShape(shape)}`,
  );
}
