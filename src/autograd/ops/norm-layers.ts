/** Layer norm and RMS norm, also of a sum: the public functions. */
import { ShapeError } from '../../device/errors.js';
import { formatShape, type Shape, sameShape } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { layerNormOps, rmsNormOps } from './norm-rows.js';

interface NormArgs {
  readonly weight?: Tensor | null;
  readonly bias?: Tensor | null;
  readonly eps: number;
}

type NormName = 'layerNorm' | 'rmsNorm' | 'addLayerNorm' | 'addRMSNorm';

/** [y], or [x + r, y] where there is an r. */
function normalize(
  op: NormName,
  x: Tensor,
  r: Tensor | null,
  normalizedShape: number | Shape,
  { weight, bias, eps }: NormArgs,
): Tensor[] {
  const shape = typeof normalizedShape === 'number' ? [normalizedShape] : normalizedShape;
  if (shape.length === 0 || !sameShape(x.shape.slice(-Math.min(shape.length, x.ndim)), shape)) {
    throw new ShapeError(
      `${op}: expected an input whose last dims are normalizedShape, got ${formatShape(x.shape)} and ${formatShape(shape)}`,
    );
  }
  if (r && !sameShape(x.shape, r.shape)) {
    throw new ShapeError(
      `${op}: expected two tensors of one shape, got ${formatShape(x.shape)} and ${formatShape(r.shape)}; use expand()`,
    );
  }
  for (const [name, t] of Object.entries({ weight, bias })) {
    if (t && !sameShape(t.shape, shape)) {
      throw new ShapeError(
        `${op}: expected ${name} of shape ${formatShape(shape)}, got ${formatShape(t.shape)}`,
      );
    }
  }
  const centered = op === 'layerNorm' || op === 'addLayerNorm';
  const { norm, addNorm } = centered ? layerNormOps : rmsNormOps;
  const inputs = [x, ...(r ? [r] : []), ...(weight ? [weight] : []), ...(bias ? [bias] : [])];
  const outputs = (r ? addNorm : norm).all(inputs, {
    eps,
    dims: shape.length,
    centered,
    weight: Boolean(weight),
    bias: Boolean(bias),
    residual: r !== null,
  });
  // Backward has its own hold on the statistics.
  outputs.pop()!.release();
  return outputs;
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
  return normalize('layerNorm', x, null, normalizedShape, { weight, bias, eps })[0];
}

/**
 * The sum s = x + r and its `layerNorm`, in one pass: the step from one branch of a pre-norm Transformer to the next.
 *
 * @param r of x's shape
 * @returns [s, y], both of x's shape
 * @throws as `layerNorm`; ShapeError unless x and r have one shape
 * @source torch.nn.functional.layer_norm of a sum
 */
export function addLayerNorm(
  x: Tensor,
  r: Tensor,
  normalizedShape: number | Shape,
  { weight, bias, eps = 1e-5 }: LayerNormOptions = {},
): [sum: Tensor, y: Tensor] {
  return normalize('addLayerNorm', x, r, normalizedShape, { weight, bias, eps }) as [Tensor, Tensor];
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
  { weight, eps = epsilon(x) }: RMSNormOptions = {},
): Tensor {
  return normalize('rmsNorm', x, null, normalizedShape, { weight, eps })[0];
}

/**
 * The sum s = x + r and its `rmsNorm`, in one pass.
 *
 * @param r of x's shape
 * @returns [s, y], both of x's shape
 * @throws as `rmsNorm`; ShapeError unless x and r have one shape
 * @source torch.nn.functional.rms_norm of a sum
 */
export function addRMSNorm(
  x: Tensor,
  r: Tensor,
  normalizedShape: number | Shape,
  { weight, eps = epsilon(x) }: RMSNormOptions = {},
): [sum: Tensor, y: Tensor] {
  return normalize('addRMSNorm', x, r, normalizedShape, { weight, eps }) as [Tensor, Tensor];
}

/** The machine epsilon of the arithmetic that x is normalised in. */
function epsilon(x: Tensor): number {
  return x.dtype === 'float64' ? 2 ** -52 : 2 ** -23;
}
