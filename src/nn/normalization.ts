/** Layers that normalise over the last dims. */
import { layerNorm, rmsNorm } from '../autograd/ops/norm-layers.js';
import type { Shape } from '../tensor/shape.js';
import type { Tensor } from '../tensor/tensor.js';
import { ones_, zeros_ } from './init.js';
import { Module } from './module.js';
import { type FactoryOptions, Parameter } from './parameter.js';

export interface LayerNormOptions extends FactoryOptions {
  /** Added to the variance; default 1e-5. */
  readonly eps?: number;
  /** With weight and bias; default true. */
  readonly elementwiseAffine?: boolean;
  /** Default true. */
  readonly bias?: boolean;
}

/** (x − mean) / √(variance + eps) · weight + bias over the last dims. @source torch.nn.LayerNorm */
export class LayerNorm extends Module {
  readonly normalizedShape: Shape;
  readonly eps: number;
  readonly weight: Parameter | null;
  readonly bias: Parameter | null;

  constructor(normalizedShape: number | Shape, options: LayerNormOptions = {}) {
    super();
    const { eps = 1e-5, elementwiseAffine = true, bias = true } = options;
    this.normalizedShape = typeof normalizedShape === 'number' ? [normalizedShape] : [...normalizedShape];
    this.eps = eps;
    this.weight = elementwiseAffine ? ones_(Parameter.empty(this.normalizedShape, options)) : null;
    this.bias = elementwiseAffine && bias ? zeros_(Parameter.empty(this.normalizedShape, options)) : null;
  }

  forward(x: Tensor): Tensor {
    const { weight, bias, eps } = this;
    return layerNorm(x, this.normalizedShape, { weight, bias, eps });
  }
}

export interface RMSNormOptions extends FactoryOptions {
  /** Added to the mean square. Default: the spacing of the dtype at 1 (1.19e-7 for float32), as in PyTorch. */
  readonly eps?: number;
  /** With a weight; default true. */
  readonly elementwiseAffine?: boolean;
}

/** x / √(mean of x² + eps) · weight over the last dims. @source torch.nn.RMSNorm */
export class RMSNorm extends Module {
  readonly normalizedShape: Shape;
  readonly eps: number | undefined;
  readonly weight: Parameter | null;

  constructor(normalizedShape: number | Shape, options: RMSNormOptions = {}) {
    super();
    this.normalizedShape = typeof normalizedShape === 'number' ? [normalizedShape] : [...normalizedShape];
    this.eps = options.eps;
    this.weight =
      (options.elementwiseAffine ?? true) ? ones_(Parameter.empty(this.normalizedShape, options)) : null;
  }

  forward(x: Tensor): Tensor {
    return rmsNorm(x, this.normalizedShape, { weight: this.weight, eps: this.eps });
  }
}
