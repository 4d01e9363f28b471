/** The operations behind layer norm and RMS norm: each one forward, and one backward for all of its gradients. */
import type { DType } from '../../device/dtype.js';
import type { SimdModule, SimdView } from '../../device/types.js';
import {
  type NormRowsParams,
  normOperands,
  normRows,
  normRowsHost,
  normRowsKernel,
  statisticsPerRow,
} from '../../kernels/norm-rows.js';
import {
  type NormBackwardParams,
  normRowsBackwardHost,
  normRowsBackwardKernel,
} from '../../kernels/norm-rows-backward.js';
import { numel, type Shape } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { defineOp, type Op, type SaveName } from '../op.js';
import { add, mul, neg, sub } from './arithmetic.js';
import { expand, sum } from './broadcast.js';
import { checkDType } from './define.js';
import { mean } from './mean.js';
import { rsqrt, square } from './unary.js';

/** Statistics stay in float32 for float16 inputs, as in PyTorch. */
function statistics(dtype: DType): DType {
  return dtype === 'float64' ? 'float64' : 'float32';
}

const trailing = (shape: Shape, dims: number): Shape => shape.slice(shape.length - dims);

/** The dims that are normalised. */
function along(x: Tensor, dims: number): number[] {
  return x.shape.map((_, d) => d).slice(x.ndim - dims);
}

/** x̂ and rstd in operations of their own, which can be differentiated as often as wanted. */
function normalized(x: Tensor, { dims, eps, centered }: NormRowsParams): { xhat: Tensor; rstd: Tensor } {
  const dim = along(x, dims);
  const from = centered ? sub(x, mean(x, { dim, keepdim: true })) : x;
  const rstd = rsqrt(add(mean(square(from), { dim, keepdim: true }), eps));
  return { xhat: mul(from, rstd), rstd };
}

/** Sums over all but the trailing dims. */
function overRows(t: Tensor, dims: number): Tensor {
  return t.ndim === dims ? t : sum(t, { dim: t.shape.map((_, d) => d).slice(0, t.ndim - dims) });
}

function normSimd(
  module: SimdModule,
  inputs: readonly SimdView[],
  outputs: readonly SimdView[],
  params: NormRowsParams,
): boolean {
  const { rows, n } = normRows(inputs[0].shape, params.dims);
  if (n === 0 || rows === 0) return true;
  const { x, r, weight, bias, sum, y, stats } = normOperands(inputs, outputs, params);
  if (r && sum) module.add(1, rows * n, x.pointer, 0, 1, r.pointer, 0, 1, sum.pointer);
  const [w, b] = [weight?.pointer ?? 0, bias?.pointer ?? 0];
  const mean = stats.pointer;
  if (!params.centered) {
    if (bias) return false;
    module.rmsNorm(rows, n, (sum ?? x).pointer, w, params.eps, y.pointer, stats.pointer);
    return true;
  }
  module.layerNorm(rows, n, (sum ?? x).pointer, w, b, params.eps, y.pointer, mean, mean + rows * 4);
  return true;
}

function normBackwardSimd(
  module: SimdModule,
  [g, x, stats, ...rest]: readonly SimdView[],
  outputs: readonly SimdView[],
  { dims, weight, more, wants, centered }: NormBackwardParams,
): boolean {
  const { rows, n } = normRows(x.shape, dims);
  if (n === 0) return true;
  const out = outputs.map((v) => v.pointer);
  const dx = wants.x ? out.shift()! : 0;
  const dWeight = wants.weight ? out.shift()! : 0;
  const dBias = wants.bias ? out.shift()! : 0;
  const w = weight ? rest[0].pointer : 0;
  const mean = stats.pointer;
  const rstd = mean + rows * 4;
  if (centered) module.layerNormBackward(rows, n, x.pointer, w, mean, rstd, g.pointer, dx, dWeight, dBias);
  else {
    if (dx) module.rmsNormBackward(rows, n, x.pointer, w, stats.pointer, g.pointer, dx);
    if (dWeight || dBias) {
      module.rmsNormAffine(rows, n, n, x.pointer, stats.pointer, g.pointer, dWeight, dBias);
    }
  }
  if (more && dx) module.add(1, rows * n, dx, 0, 1, rest[rest.length - 1].pointer, 0, 1, dx);
  return true;
}

/** Defines a norm, a norm of a sum, and the gradient of both. */
function defineNorm(name: 'layerNorm' | 'rmsNorm', centered: boolean) {
  /** Inputs x, r?, weight?, bias?; outputs sum?, y, stats. */
  const forward = (residual: boolean): Op<Tensor[], NormRowsParams> =>
    defineOp<Tensor[], NormRowsParams>({
      name: residual ? (centered ? 'addLayerNorm' : 'addRMSNorm') : name,
      infer([x], { dims }) {
        checkDType(name, x.dtype, 'float');
        const rows = numel(x.shape.slice(0, x.shape.length - dims));
        const stats = { shape: [statisticsPerRow(centered), rows], dtype: statistics(x.dtype) };
        return residual ? [x, x, stats] : [x, stats];
      },
      host: normRowsHost,
      kernel: normRowsKernel,
      simd: normSimd,
      saves: ({ weight }) => {
        const saved: SaveName[] = residual ? ['output', 'output2'] : [0, 'output1'];
        return weight ? [...saved, residual ? 2 : 1] : saved;
      },
      backward({ gradOutputs, params, input, output, needs }) {
        const [more, g] = residual ? gradOutputs : [null, gradOutputs[0]];
        const at = residual ? 2 : 1;
        const wants = {
          x: needs(0) || (residual && needs(1)),
          weight: params.weight && needs(at),
          bias: params.bias && needs(at + Number(params.weight)),
        };
        const affine = (dWeight: Tensor | null, dBias: Tensor | null) => [
          ...(params.weight ? [dWeight] : []),
          ...(params.bias ? [dBias] : []),
        ];
        const both = (dx: Tensor | null) => (residual ? [needs(0) ? dx : null, needs(1) ? dx : null] : [dx]);
        if (!g) return [...both(more), ...affine(null, null)];
        const found = backwardOp.all(
          [
            g,
            residual ? output(0) : input(0),
            output(residual ? 2 : 1),
            ...(params.weight ? [input(at)] : []),
            ...(more && wants.x ? [more] : []),
          ],
          { ...params, more: Boolean(more && wants.x), wants },
        );
        const dx = wants.x ? found.shift()! : null;
        const dWeight = wants.weight ? found.shift()! : null;
        return [...both(dx), ...affine(dWeight, wants.bias ? found.shift()! : null)];
      },
    });

  const backwardOp: Op<Tensor[], NormBackwardParams> = defineOp<Tensor[], NormBackwardParams>({
    name: `${name}Backward`,
    mixedDTypes: true,
    infer([g, x], { dims, wants }) {
      const column = { shape: trailing(x.shape, dims), dtype: g.dtype };
      return [...(wants.x ? [g] : []), ...(wants.weight ? [column] : []), ...(wants.bias ? [column] : [])];
    },
    host: normRowsBackwardHost,
    kernel: normRowsBackwardKernel,
    simd: normBackwardSimd,
    saves: ({ weight }) => [0, 1, 2, ...(weight ? [3] : [])],
    // With J(v) = rstd (v − mean(v) − x̂ mean(v x̂)), a symmetric matrix per row, dx = J(a) + more, a = g · weight. Its dot
    // product with h depends on x through x̂, whose own Jacobian is J, and through rstd, d rstd / dx = −rstd² x̂ / n.
    // dWeight = Σ g x̂ and dBias = Σ g over rows. The statistics count as functions of x here, not as inputs.
    backward({ gradOutputs, params, input, needs }) {
      const { dims, wants } = params;
      const given = [...gradOutputs];
      const h = wants.x ? given.shift()! : null;
      const hWeight = wants.weight ? given.shift()! : null;
      const hBias = wants.bias ? given.shift()! : null;
      const [g, x, stats] = [input(0), input(1), input(2)];
      const w = params.weight ? input(3) : null;
      const own = { ...params, weight: false, more: false, wants: { x: true, weight: false, bias: false } };
      const jacobian = (v: Tensor): Tensor => backwardOp([v, x, stats], own);
      const plus = (a: Tensor | null, b: Tensor | null) => (a && b ? add(a, b) : (a ?? b));
      const needsWeight = w !== null && needs(3);
      const jh = h && (needs(0) || needsWeight) ? jacobian(h) : null;
      let dg: Tensor | null = null;
      if (needs(0)) {
        dg = jh && (w ? mul(w, jh) : jh);
        if (hWeight) dg = plus(dg, mul(normalized(x, params).xhat, hWeight));
        if (hBias) dg = plus(dg, expand(hBias, g.shape));
      }
      let dx: Tensor | null = null;
      if (needs(1) && h) {
        const a = w ? mul(g, w) : g;
        const { xhat, rstd } = normalized(x, params);
        const avg = (t: Tensor): Tensor => mean(t, { dim: along(x, dims), keepdim: true });
        const [ax, hx] = [avg(mul(a, xhat)), avg(mul(h, xhat))];
        const cotangent = neg(mul(rstd, add(mul(h, ax), mul(a, hx))));
        let through = sub(avg(mul(h, a)), mul(hx, ax));
        if (centered) through = sub(through, mul(avg(h), avg(a)));
        dx = sub(jacobian(cotangent), mul(mul(square(rstd), xhat), through));
      }
      if (needs(1) && hWeight) dx = plus(dx, jacobian(mul(g, hWeight)));
      return [
        dg,
        dx,
        null,
        ...(w ? [needsWeight && jh ? overRows(mul(g, jh), dims) : null] : []),
        ...(params.more ? [h] : []),
      ];
    },
  });

  return { norm: forward(false), addNorm: forward(true) };
}

export const layerNormOps = defineNorm('layerNorm', true);
export const rmsNormOps = defineNorm('rmsNorm', false);
