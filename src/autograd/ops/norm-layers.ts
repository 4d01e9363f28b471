/** Layer norm and RMS norm, each one operation forward and two backward: for the input, and for weight and bias. */
import type { DType } from '../../device/dtype.js';
import { ShapeError } from '../../device/errors.js';
import type { SimdModule, SimdView } from '../../device/types.js';
import {
  type NormRowsParams,
  normRows,
  normRowsAffineHost,
  normRowsAffineKernel,
  normRowsBackwardHost,
  normRowsBackwardKernel,
  normRowsHost,
  normRowsKernel,
} from '../../kernels/norm-rows.js';
import { formatShape, type Shape, sameShape } from '../../tensor/shape.js';
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

/** The shape of what is kept per row. */
const leading = (shape: Shape, dims: number): Shape => shape.map((s, d) => (d < shape.length - dims ? s : 1));
const trailing = (shape: Shape, dims: number): Shape => shape.slice(shape.length - dims);

/** x̂ and rstd in operations of their own, which can be differentiated as often as wanted. */
function normalized(x: Tensor, { dims, eps, centered }: NormRowsParams): { xhat: Tensor; rstd: Tensor } {
  const along = x.shape.map((_, d) => d).slice(x.ndim - dims);
  const from = centered ? sub(x, mean(x, { dim: along, keepdim: true })) : x;
  const rstd = rsqrt(add(mean(square(from), { dim: along, keepdim: true }), eps));
  return { xhat: mul(from, rstd), rstd };
}

/** Sums over all but the trailing dims. */
function overRows(t: Tensor, dims: number): Tensor {
  return t.ndim === dims ? t : sum(t, { dim: t.shape.map((_, d) => d).slice(0, t.ndim - dims) });
}

type Simd = (
  module: SimdModule,
  inputs: readonly SimdView[],
  outputs: readonly SimdView[],
  params: NormRowsParams,
) => boolean;

const layerNormSimd: Simd = (module, inputs, [y, rstd, mean], { dims, eps, weight, bias }) => {
  const { rows, n } = normRows(inputs[0].shape, dims);
  const w = weight ? inputs[1].pointer : 0;
  const b = bias ? inputs[inputs.length - 1].pointer : 0;
  if (n > 0) module.layerNorm(rows, n, inputs[0].pointer, w, b, eps, y.pointer, mean.pointer, rstd.pointer);
  return true;
};

const layerNormBackwardSimd: Simd = (module, [g, x, rstd, mean, weight], [dx], { dims }) => {
  const { rows, n } = normRows(x.shape, dims);
  const w = weight?.pointer ?? 0;
  if (n > 0)
    module.layerNormBackward(rows, n, x.pointer, w, mean.pointer, rstd.pointer, g.pointer, dx.pointer, 0, 0);
  return true;
};

const layerNormAffineSimd: Simd = (module, [g, x, rstd, mean], [dWeight, dBias], { dims }) => {
  const { rows, n } = normRows(x.shape, dims);
  if (n > 0) {
    const { pointer } = x;
    module.layerNormBackward(
      rows,
      n,
      pointer,
      0,
      mean.pointer,
      rstd.pointer,
      g.pointer,
      0,
      dWeight.pointer,
      dBias.pointer,
    );
  }
  return true;
};

/** Defines the three operations of a norm. */
function defineNorm(name: 'layerNorm' | 'rmsNorm', centered: boolean): Op<Tensor[], NormRowsParams> {
  /** Inputs x, weight?, bias?; outputs y, rstd, mean (where centered). */
  const forward = defineOp<Tensor[], NormRowsParams>({
    name,
    infer([x], { dims }) {
      checkDType(name, x.dtype, 'float');
      const stat = { shape: leading(x.shape, dims), dtype: statistics(x.dtype) };
      return centered ? [x, stat, stat] : [x, stat];
    },
    host: normRowsHost,
    kernel: normRowsKernel,
    simd: centered ? layerNormSimd : undefined,
    saves: ({ weight }) =>
      [0, 'output1', ...(centered ? ['output2' as const] : []), ...(weight ? [1] : [])] as SaveName[],
    backward({ gradOutput: g, params, input, output, needs }) {
      const stats = centered ? [output(1), output(2)] : [output(1)];
      const grads: (Tensor | null)[] = [];
      grads.push(
        needs(0) ? backwardOp([g, input(0), ...stats, ...(params.weight ? [input(1)] : [])], params) : null,
      );
      const inputs = 1 + Number(params.weight) + Number(params.bias);
      const wanted = Array.from({ length: inputs - 1 }, (_, i) => needs(i + 1));
      if (wanted.includes(true)) {
        const [dWeight, dBias] = affineOp.all([g, input(0), ...stats], params);
        if (params.weight) grads.push(needs(1) ? dWeight : null);
        if (params.bias) grads.push(needs(inputs - 1) ? dBias : null);
      }
      return grads;
    },
  });

  /** dx from g, x, rstd, mean (where centered) and weight (where there is one). */
  const backwardOp: Op<Tensor[], NormRowsParams> = defineOp<Tensor[], NormRowsParams>({
    name: `${name}Backward`,
    mixedDTypes: true,
    infer: ([g]) => g,
    host: normRowsBackwardHost,
    kernel: normRowsBackwardKernel,
    simd: centered ? layerNormBackwardSimd : undefined,
    saves: ({ weight }) => [0, 1, 2, ...(centered ? [3] : []), ...(weight ? [centered ? 4 : 3] : [])],
    // With J(v) = rstd (v − mean(v) − x̂ mean(v x̂)), a symmetric matrix per row, dx = J(a), a = g · weight. Its dot
    // product with h depends on x through x̂, whose own Jacobian is J, and through rstd, d rstd / dx = −rstd² x̂ / n.
    // rstd and mean count as functions of x here, not as inputs.
    backward({ gradOutput: h, params, input, needs }) {
      const { dims, weight } = params;
      const [g, x] = [input(0), input(1)];
      const stats = centered ? [input(2), input(3)] : [input(2)];
      const w = weight ? input(centered ? 4 : 3) : null;
      const plain = { ...params, weight: false };
      const jacobian = (v: Tensor): Tensor => backwardOp([v, x, ...stats], plain);
      const grads: (Tensor | null)[] = [
        null,
        null,
        null,
        ...(centered ? [null] : []),
        ...(weight ? [null] : []),
      ];
      const jh = needs(0) || (w && needs(grads.length - 1)) ? jacobian(h) : null;
      if (needs(0)) grads[0] = w ? mul(w, jh!) : jh;
      if (needs(1)) {
        const a = w ? mul(g, w) : g;
        const { xhat, rstd } = normalized(x, params);
        const along = x.shape.map((_, d) => d).slice(x.ndim - dims);
        const avg = (t: Tensor): Tensor => mean(t, { dim: along, keepdim: true });
        const [ax, hx] = [avg(mul(a, xhat)), avg(mul(h, xhat))];
        const cotangent = neg(mul(rstd, add(mul(h, ax), mul(a, hx))));
        let through = sub(avg(mul(h, a)), mul(hx, ax));
        if (centered) through = sub(through, mul(avg(h), avg(a)));
        grads[1] = sub(jacobian(cotangent), mul(mul(square(rstd), xhat), through));
      }
      if (w && needs(grads.length - 1)) grads[grads.length - 1] = overRows(mul(g, jh!), dims);
      return grads;
    },
  });

  /** dWeight = Σ g x̂ and dBias = Σ g over rows, from g, x, rstd and mean (where centered). */
  const affineOp: Op<Tensor[], NormRowsParams> = defineOp<Tensor[], NormRowsParams>({
    name: `${name}AffineBackward`,
    mixedDTypes: true,
    infer([g], { dims }) {
      const shape = trailing(g.shape, dims);
      return [
        { shape, dtype: g.dtype },
        { shape, dtype: g.dtype },
      ];
    },
    host: normRowsAffineHost,
    kernel: normRowsAffineKernel,
    simd: centered ? layerNormAffineSimd : undefined,
    saves: centered ? [0, 1, 2, 3] : [0, 1, 2],
    backward({ gradOutputs: [hWeight, hBias], params, input, needs }) {
      const [g, x] = [input(0), input(1)];
      let dg: Tensor | null = null;
      if (needs(0) && hWeight) dg = mul(normalized(x, params).xhat, hWeight);
      if (needs(0) && hBias) dg = dg ? add(dg, hBias) : expand(hBias, g.shape);
      const dx =
        needs(1) && hWeight
          ? backwardOp([mul(g, hWeight), x, input(2), ...(centered ? [input(3)] : [])], {
              ...params,
              weight: false,
            })
          : null;
      return [dg, dx];
    },
  });

  return forward;
}

const layerNormOp = defineNorm('layerNorm', true);
const rmsNormOp = defineNorm('rmsNorm', false);

interface NormArgs {
  readonly weight?: Tensor | null;
  readonly bias?: Tensor | null;
  readonly eps: number;
}

function normalize(
  op: 'layerNorm' | 'rmsNorm',
  x: Tensor,
  normalizedShape: number | Shape,
  { weight, bias, eps }: NormArgs,
): Tensor {
  const shape = typeof normalizedShape === 'number' ? [normalizedShape] : normalizedShape;
  if (shape.length === 0 || !sameShape(trailing(x.shape, Math.min(shape.length, x.ndim)), shape)) {
    throw new ShapeError(
      `${op}: expected an input whose last dims are normalizedShape, got ${formatShape(x.shape)} and ${formatShape(shape)}`,
    );
  }
  for (const [name, t] of Object.entries({ weight, bias })) {
    if (t && !sameShape(t.shape, shape)) {
      throw new ShapeError(
        `${op}: expected ${name} of shape ${formatShape(shape)}, got ${formatShape(t.shape)}`,
      );
    }
  }
  const centered = op === 'layerNorm';
  const inputs = [x, ...(weight ? [weight] : []), ...(bias ? [bias] : [])];
  const params = { eps, dims: shape.length, centered, weight: Boolean(weight), bias: Boolean(bias) };
  const [y, ...statistics] = (centered ? layerNormOp : rmsNormOp).all(inputs, params);
  // Backward has its own hold on them.
  for (const t of statistics) t.release();
  return y;
}

export interface LayerNormOptions {
  /** Shape normalizedShape. Default: ones. */
  weight?: Tensor | null;
  /** Shape normalizedShape. Default: zeros. */
  bias?: Tensor | null;
  /** Added to the variance. Default 1e-5. */
  eps?: number;
}

/**
 * y = (x − mean) / √(var + eps) · weight + bias, with mean and var (of the elements, not the unbiased estimate) over the
 * last dims, which `normalizedShape` gives.
 *
 * @throws DTypeError unless x is floating-point and all share a dtype.
 * @throws ShapeError when shapes do not fit.
 * @source torch.nn.functional.layer_norm; Ba, Kiros, Hinton 2016
 */
export function layerNorm(
  x: Tensor,
  normalizedShape: number | Shape,
  { weight, bias, eps = 1e-5 }: LayerNormOptions = {},
): Tensor {
  return normalize('layerNorm', x, normalizedShape, { weight, bias, eps });
}

export interface RMSNormOptions {
  /** Shape normalizedShape. Default: ones. */
  weight?: Tensor | null;
  /** Added to the mean square. Default: the machine epsilon of float32 (of float64 for float64). */
  eps?: number;
}

/**
 * y = x / √(mean x² + eps) · weight, with the mean over the last dims, which `normalizedShape` gives.
 *
 * @throws DTypeError unless x is floating-point and both share a dtype.
 * @throws ShapeError when shapes do not fit.
 * @source torch.nn.functional.rms_norm; Zhang, Sennrich 2019
 */
export function rmsNorm(
  x: Tensor,
  normalizedShape: number | Shape,
  { weight, eps = x.dtype === 'float64' ? 2 ** -52 : 2 ** -23 }: RMSNormOptions = {},
): Tensor {
  return normalize('rmsNorm', x, normalizedShape, { weight, eps });
}
