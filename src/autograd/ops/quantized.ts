/** Linear layers whose weights have 8 or 4 bits: constants, with gradients for the input only. */
import { type DType, isFloat } from '../../device/dtype.js';
import { DTypeError, ShapeError } from '../../device/errors.js';
import {
  codesPerWord,
  dequantizeHost,
  GROUP,
  packScales,
  packWeights,
  type QuantizedLinearParams,
  type QuantizedParams,
  type QuantizedScheme,
  quantizedLinearBackwardHost,
  quantizedLinearHost,
  quantizedRowsHost,
} from '../../kernels/quantized.js';
import { quantizedSimd } from '../../kernels/quantized-simd.js';
import { dequantizeKernel, quantizedKernel, quantizedRowsKernel } from '../../kernels/quantized-wgsl.js';
import { tensor } from '../../tensor/factories.js';
import { formatShape, numel, sameShape } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { checkIndices } from '../indices.js';
import { noGrad } from '../mode.js';
import { defineOp, type Op, type Spec } from '../op.js';
import { add } from './arithmetic.js';
import { reshape, sum } from './broadcast.js';
import { checkDType } from './define.js';
import { checkIndexDType } from './index.js';
import { type LinearOptions, linearActivations } from './linear.js';

export type { QuantizedScheme } from '../../kernels/quantized.js';

export interface QuantizeOptions {
  /** 'int8': codes of 8 bits, evenly spaced; 'nf4' (default): of 4 bits, spaced as normally distributed weights are. */
  scheme?: QuantizedScheme;
  /** Weights that share a scale: a multiple of 16 that divides the rows' length. Default 64. */
  block?: number;
  /** Quantise the scales as well, to 8 bits: 4.13 bits per weight instead of 4.5 for nf4. Default false. */
  doubleQuant?: boolean;
}

/** A matrix [out, in] of few bits per element. */
export interface QuantizedWeight {
  /** Codes, uint32 [out, in / 4] (int8) or [out, in / 8] (nf4). */
  readonly packed: Tensor;
  /**
   * The largest magnitude of each block, float32 [out, in / block]; where `groups` says so, their codes, uint32
   * [⌈out · in / block / 4⌉].
   */
  readonly scales: Tensor;
  /**
   * What the codes of scales stand for, float32 [1 + ⌈out · in / block / 256⌉]: their mean, then the largest
   * distance from it of each 256.
   */
  readonly groups?: Tensor | null;
  readonly scheme: QuantizedScheme;
  readonly block: number;
}

/** @throws ShapeError unless blocks divide the rows. */
function checkBlock(op: string, width: number, block: number): void {
  if (Number.isInteger(block) && block > 0 && block % 16 === 0 && width % block === 0) return;
  throw new ShapeError(
    `${op}: expected blocks of a multiple of 16 that divides the ${width} weights of a row, got ${block}; choose another block`,
  );
}

/** @throws DTypeError or ShapeError unless codes and scales are those of an [out, in] matrix. */
function checkWeight(op: string, packed: Spec, scales: Spec, groups: Spec | null, p: QuantizedParams): void {
  if (packed.dtype !== 'uint32')
    throw new DTypeError(`${op}: expected packed weights in uint32, got ${packed.dtype}`);
  if (!groups) checkDType(op, scales.dtype, 'float');
  else {
    checkDType(op, groups.dtype, 'float');
    if (scales.dtype !== 'uint32') {
      throw new DTypeError(`${op}: expected quantised scales packed in uint32, got ${scales.dtype}`);
    }
  }
  checkBlock(op, p.in, p.block);
  const words = [p.out, p.in / codesPerWord(p.scheme)];
  const count = (p.out * p.in) / p.block;
  const blocks = groups ? [Math.ceil(count / 4)] : [p.out, p.in / p.block];
  if (!sameShape(packed.shape, words) || !sameShape(scales.shape, blocks)) {
    throw new ShapeError(
      `${op}: expected ${p.scheme} weights packed as ${formatShape(words)} with scales ${formatShape(blocks)}, got ` +
        `${formatShape(packed.shape)} and ${formatShape(scales.shape)}`,
    );
  }
  const size = [1 + Math.ceil(count / GROUP)];
  if (groups && !sameShape(groups.shape, size)) {
    throw new ShapeError(
      `${op}: expected groups of scales ${formatShape(size)}, got ${formatShape(groups.shape)}`,
    );
  }
}

/** Shape and dtype of a product along `from`; x, packed and scales are the first inputs, groups the next if there. */
function inferProduct(op: string, size: (p: QuantizedParams) => [from: number, to: number]) {
  return ([x, packed, scales, groups]: readonly Spec[], p: QuantizedParams): Spec => {
    checkDType(op, x.dtype, 'float');
    checkWeight(op, packed, scales, p.double ? groups : null, p);
    const [from, to] = size(p);
    if (x.shape[x.shape.length - 1] !== from) {
      throw new ShapeError(`${op}: expected an input [..., ${from}], got ${formatShape(x.shape)}`);
    }
    return { shape: [...x.shape.slice(0, -1), to], dtype: x.dtype };
  };
}

/** The parts of W among the inputs. */
const weightSaves = ({ double }: QuantizedParams) => (double ? [1, 2, 3] : [1, 2]);

const linearOp: Op<readonly Tensor[], QuantizedLinearParams> = defineOp<
  readonly Tensor[],
  QuantizedLinearParams
>({
  name: 'quantizedLinear',
  mixedDTypes: true,
  infer: inferProduct('quantizedLinear', (p) => [p.in, p.out]),
  host: quantizedLinearHost,
  kernel: quantizedKernel(false),
  simd: quantizedSimd(false),
  simdIntegers: true,
  work: (_, [y], p) => ({ operations: 2 * p.in * numel(y.shape) }),
  saves: weightSaves,
  backward({ gradOutput: g, params, input, needs }) {
    const { scheme, block, out, in: width, double, bias, residual } = params;
    const weight = weightSaves(params).map(input);
    const grads = [
      needs(0) ? linearBackwardOp([g, ...weight], { scheme, block, out, in: width, double }) : null,
      ...weight.map(() => null),
    ];
    if (bias) grads.push(needs(grads.length) ? sum(reshape(g, [-1, out]), { dim: 0 }) : null);
    if (residual) grads.push(needs(grads.length) ? g : null);
    return grads;
  },
});

/** dx = g · W. */
const linearBackwardOp: Op<readonly Tensor[], QuantizedParams> = defineOp<readonly Tensor[], QuantizedParams>(
  {
    name: 'quantizedLinearBackward',
    mixedDTypes: true,
    infer: inferProduct('quantizedLinearBackward', (p) => [p.out, p.in]),
    host: quantizedLinearBackwardHost,
    kernel: quantizedKernel(true),
    simd: quantizedSimd(true),
    simdIntegers: true,
    work: (_, [y], p) => ({ operations: 2 * p.out * numel(y.shape) }),
    saves: weightSaves,
    backward({ gradOutput: h, params, input }) {
      const weight = weightSaves(params).map(input);
      return [
        linearOp([h, ...weight], { ...params, bias: false, residual: false }),
        ...weight.map(() => null),
      ];
    },
  },
);

/** Inputs packed, scales, groups?. */
const dequantizeOp = defineOp<readonly Tensor[], QuantizedParams & { readonly dtype: DType }>({
  name: 'dequantize',
  mixedDTypes: true,
  infer([packed, scales, groups], p) {
    checkWeight('dequantize', packed, scales, p.double ? groups : null, p);
    return { shape: [p.out, p.in], dtype: p.dtype };
  },
  host: dequantizeHost,
  kernel: dequantizeKernel,
  differentiable: false,
});

/** Inputs packed, scales, index, groups?. */
const rowsOp = defineOp<readonly Tensor[], QuantizedParams & { readonly dtype: DType }>({
  name: 'quantizedEmbedding',
  mixedDTypes: true,
  infer([packed, scales, index, groups], p) {
    checkWeight('quantizedEmbedding', packed, scales, p.double ? groups : null, p);
    checkIndexDType('quantizedEmbedding', index);
    return { shape: [...index.shape, p.in], dtype: p.dtype };
  },
  host: quantizedRowsHost,
  kernel: quantizedRowsKernel,
  // The table is a constant, and so are indices.
  differentiable: false,
});

/** Sizes as the packed weights have them. */
function paramsOf({ packed, groups, scheme, block }: QuantizedWeight): QuantizedParams {
  const [out, words] = packed.shape;
  return { scheme, block, in: words * codesPerWord(scheme), out, double: Boolean(groups) };
}

/** The tensors of a weight. */
function partsOf({ packed, scales, groups }: QuantizedWeight): Tensor[] {
  return groups ? [packed, scales, groups] : [packed, scales];
}

export interface QuantizedLinearOptions extends LinearOptions {
  /** [out], added to the product. */
  readonly bias?: Tensor | null;
}

/**
 * y = activation(x·Wᵀ + b) + residual with W made floats inside the product, so that a quarter or an eighth of the
 * memory is read. W is a constant: gradients
 * go to x, bias and residual.
 *
 * @param x [..., in]
 * @param weight what `quantize` made of W [out, in]
 * @param options bias [out]; residual of the result's shape; both are added in the same operation
 * @returns [..., out]
 * @throws ShapeError for sizes that do not fit; DTypeError unless x is floating-point.
 * @source bitsandbytes.nn.Linear4bit; Dettmers et al. (2023), QLoRA, equation 5
 */
export function quantizedLinear(
  x: Tensor,
  weight: QuantizedWeight,
  { bias = null, activation = null, residual = null }: QuantizedLinearOptions = {},
): Tensor {
  const params = paramsOf(weight);
  if (bias && !sameShape(bias.shape, [params.out])) {
    throw new ShapeError(
      `quantizedLinear: expected a bias of shape [${params.out}], got ${formatShape(bias.shape)}`,
    );
  }
  const shape = [...x.shape.slice(0, -1), params.out];
  if (residual && !sameShape(residual.shape, shape)) {
    throw new ShapeError(
      `quantizedLinear: expected a residual of the result's shape ${formatShape(shape)}, got ${formatShape(residual.shape)}`,
    );
  }
  // An activation comes between the bias and the residual.
  const inside = residual && !activation ? residual : null;
  const inputs = [x, ...partsOf(weight), ...(bias ? [bias] : []), ...(inside ? [inside] : [])];
  const sums = linearOp(inputs, { ...params, bias: bias !== null, residual: inside !== null });
  if (!activation) return sums;
  const y = linearActivations[activation](sums);
  return residual ? add(y, residual) : y;
}

/**
 * The weights as floats again: code · scale.
 *
 * @param dtype default that of the scales
 * @returns [out, in]
 */
export function dequantize(weight: QuantizedWeight, dtype: DType = floatOf(weight)): Tensor {
  if (!isFloat(dtype)) throw new DTypeError(`dequantize: expected a floating-point dtype, got ${dtype}`);
  return dequantizeOp(partsOf(weight), { ...paramsOf(weight), dtype });
}

/** The dtype of what scales are in the end. */
function floatOf({ scales, groups }: QuantizedWeight): DType {
  return (groups ?? scales).dtype;
}

/**
 * Rows of a quantised table by index, as floats.
 *
 * @param weight what `quantize` made of a table [V, C]
 * @param indices int32 or uint32 of any shape
 * @returns [..., C] in the dtype of the scales
 * @throws ShapeError for an index out of range: at once on the CPU device, in debug mode at the next await elsewhere
 * @source torch.nn.functional.embedding
 */
export function quantizedEmbedding(weight: QuantizedWeight, indices: Tensor): Tensor {
  const { packed, scales, groups } = weight;
  const params = paramsOf(weight);
  const inputs = [packed, scales, indices, ...(groups ? [groups] : [])];
  const y = rowsOp(inputs, { ...params, dtype: floatOf(weight) });
  checkIndices('quantizedEmbedding', indices, params.out);
  return y;
}

/**
 * Packs a matrix into codes of 8 or 4 bits, block by block, each relative to the largest magnitude of its block: reads W on the
 * host once. The error is at most half a step, 1/254 of that for int8 and 0.152 of it (near ±1) for nf4.
 *
 * @param weight W [out, in] in float32 or float16
 * @throws ShapeError unless W has two dims and blocks divide its rows.
 * @source bitsandbytes.functional.quantize_4bit; Dettmers et al. (2023), QLoRA, section 3
 */
export async function quantize(weight: Tensor, options: QuantizeOptions = {}): Promise<QuantizedWeight> {
  const { scheme = 'nf4', block = 64, doubleQuant = false } = options;
  if (weight.ndim !== 2) {
    throw new ShapeError(`quantize: expected a weight [out, in], got ${formatShape(weight.shape)}`);
  }
  checkDType('quantize', weight.dtype, 'float');
  const [out, width] = weight.shape;
  checkBlock('quantize', width, block);
  const { words, scales } = packWeights(await weight.data(), { scheme, block });
  const { device } = weight;
  return noGrad(() => {
    const packed = tensor(words, { shape: [out, width / codesPerWord(scheme)], dtype: 'uint32', device });
    if (!doubleQuant) {
      const shape = [out, width / block];
      return { packed, scales: tensor(scales, { shape, dtype: 'float32', device }), scheme, block };
    }
    const double = packScales(scales);
    return {
      packed,
      scales: tensor(double.words, { shape: [double.words.length], dtype: 'uint32', device }),
      groups: tensor(double.groups, { shape: [double.groups.length], dtype: 'float32', device }),
      scheme,
      block,
    };
  });
}
