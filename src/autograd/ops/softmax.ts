/** Softmax and log-softmax, each one operation forward and one backward. */
import type { KernelCall } from '../../device/types.js';
import { type RowTemplate, rowDispatch } from '../../kernels/row.js';
import { lineSpace } from '../../kernels/scan.js';
import {
  logSoftmaxBackwardHost,
  logSoftmaxBackwardRows,
  logSoftmaxHost,
  logSoftmaxRows,
  type SoftmaxParams,
  simdRows,
  simdRowsBackward,
  softmaxBackwardHost,
  softmaxBackwardRows,
  softmaxHost,
  softmaxRows,
} from '../../kernels/softmax.js';
import { normalizeDim } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { defineOp, type Op, type Spec } from '../op.js';
import { mul, neg, sub } from './arithmetic.js';
import { sum } from './broadcast.js';
import { checkDType } from './define.js';
import { exp } from './unary.js';

function infer(op: string): (inputs: readonly Spec[]) => Spec {
  return ([x]) => {
    checkDType(op, x.dtype, 'float');
    return x;
  };
}

const forwardKernel =
  (template: RowTemplate) =>
  ({ inputs: [x], outputs: [y], params, target }: KernelCall<SoftmaxParams>) =>
    rowDispatch(template, lineSpace(x.shape, params.dim), target, { x }, { y });

const backwardKernel =
  (template: RowTemplate) =>
  ({ inputs: [g, y], outputs: [dx], params, target }: KernelCall<SoftmaxParams>) =>
    rowDispatch(template, lineSpace(g.shape, params.dim), target, { g, y }, { dx });

const sumAlong = (x: Tensor, dim: number): Tensor => (x.ndim === 0 ? x : sum(x, { dim, keepdim: true }));

const softmaxOp = defineOp<[Tensor], SoftmaxParams>({
  name: 'softmax',
  autocast: 'full',
  infer: infer('softmax'),
  host: softmaxHost,
  simd: simdRows('softmax'),
  kernel: forwardKernel(softmaxRows),
  saves: ['output'],
  backward: ({ gradOutput: g, output, params }) => [softmaxBackwardOp([g, output()], params)],
});

/** dx = y (g − Σ g y) */
const softmaxBackwardOp: Op<[Tensor, Tensor], SoftmaxParams> = defineOp<[Tensor, Tensor], SoftmaxParams>({
  name: 'softmaxBackward',
  infer: ([g]) => g,
  host: softmaxBackwardHost,
  simd: simdRowsBackward('softmaxBackward'),
  kernel: backwardKernel(softmaxBackwardRows),
  saves: [0, 1],
  backward({ gradOutput: h, params, input, needs }) {
    const y = input(1);
    if (!needs(1)) return [softmaxBackwardOp([h, y], params), null];
    const g = input(0);
    const centered = sub(g, sumAlong(mul(g, y), params.dim));
    const dy = sub(mul(h, centered), mul(g, sumAlong(mul(h, y), params.dim)));
    return [needs(0) ? softmaxBackwardOp([h, y], params) : null, dy];
  },
});

const logSoftmaxOp = defineOp<[Tensor], SoftmaxParams>({
  name: 'logSoftmax',
  autocast: 'full',
  infer: infer('logSoftmax'),
  host: logSoftmaxHost,
  simd: simdRows('logSoftmax'),
  kernel: forwardKernel(logSoftmaxRows),
  saves: ['output'],
  backward: ({ gradOutput: g, output, params }) => [logSoftmaxBackwardOp([g, output()], params)],
});

/** dx = g − eʸ Σ g */
const logSoftmaxBackwardOp: Op<[Tensor, Tensor], SoftmaxParams> = defineOp<[Tensor, Tensor], SoftmaxParams>({
  name: 'logSoftmaxBackward',
  infer: ([g]) => g,
  host: logSoftmaxBackwardHost,
  simd: simdRowsBackward('logSoftmaxBackward'),
  kernel: backwardKernel(logSoftmaxBackwardRows),
  saves: [0, 1],
  backward({ gradOutput: h, params, input, needs }) {
    const weighted = mul(h, exp(input(1)));
    return [
      needs(0) ? sub(h, sumAlong(weighted, params.dim)) : null,
      needs(1) ? neg(mul(weighted, sumAlong(input(0), params.dim))) : null,
    ];
  },
});

/**
 * yᵢ = exp(xᵢ − max x) / Σⱼ exp(xⱼ − max x) along `dim`.
 *
 * @returns the shape of x; NaN along rows with NaN or +∞, or of −∞ only.
 * @throws DTypeError unless x is floating-point.
 * @throws ShapeError when `dim` is not a dim of x.
 * @source torch.softmax
 */
export function softmax(x: Tensor, dim: number): Tensor {
  return softmaxOp([x], { dim: normalizeDim('softmax', dim, x.ndim) });
}

/**
 * yᵢ = xᵢ − max x − log Σⱼ exp(xⱼ − max x) along `dim`: log softmax without its underflow.
 *
 * @throws DTypeError unless x is floating-point.
 * @throws ShapeError when `dim` is not a dim of x.
 * @source torch.log_softmax
 */
export function logSoftmax(x: Tensor, dim: number): Tensor {
  return logSoftmaxOp([x], { dim: normalizeDim('logSoftmax', dim, x.ndim) });
}
