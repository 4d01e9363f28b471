/** Linear layers whose weights have 8 or 4 bits: constants, with gradients for the input only. */
import { type DType, isFloat } from '../../device/dtype.js';
import { DTypeError, ShapeError } from '../../device/errors.js';
import {
  codesPerWord,
  dequantizeHost,
  packWeights,
  type QuantizedParams,
  type QuantizedScheme,
  quantizedLinearBackwardHost,
  quantizedLinearHost,
} from '../../kernels/quantized.js';
import { quantizedSimd } from '../../kernels/quantized-simd.js';
import { dequantizeKernel, quantizedKernel } from '../../kernels/quantized-wgsl.js';
import { tensor } from '../../tensor/factories.js';
import { formatShape } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { noGrad } from '../mode.js';
import { defineOp, type Op, type Spec } from '../op.js';
import { checkDType } from './define.js';

export type { QuantizedScheme } from '../../kernels/quantized.js';

export interface QuantizeOptions {
  /** 'int8': codes of 8 bits, evenly spaced; 'nf4' (default): of 4 bits, spaced as normally distributed weights are. */
  scheme?: QuantizedScheme;
  /** Weights that share a scale: a multiple of 16 that divides the rows' length. Default 64. */
  block?: number;
}

/** A matrix [out, in] of few bits per element. */
export interface QuantizedWeight {
  /** Codes, uint32 [out, in / 4] (int8) or [out, in / 8] (nf4). */
  readonly packed: Tensor;
  /** The largest magnitude of each block, float32 [out, in / block]. */
  readonly scales: Tensor;
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
function checkWeight(op: string, packed: Spec, scales: Spec, p: QuantizedParams): void {
  if (packed.dtype !== 'uint32')
    throw new DTypeError(`${op}: expected packed weights in uint32, got ${packed.dtype}`);
  checkDType(op, scales.dtype, 'float');
  checkBlock(op, p.in, p.block);
  const words = [p.out, p.in / codesPerWord(p.scheme)];
  const blocks = [p.out, p.in / p.block];
  if (formatShape(packed.shape) === formatShape(words) && formatShape(scales.shape) === formatShape(blocks))
    return;
  throw new ShapeError(
    `${op}: expected ${p.scheme} weights packed as ${formatShape(words)} with scales ${formatShape(blocks)}, got ` +
      `${formatShape(packed.shape)} and ${formatShape(scales.shape)}`,
  );
}

function inferProduct(op: string, size: (p: QuantizedParams) => [from: number, to: number]) {
  return ([x, packed, scales]: readonly Spec[], p: QuantizedParams): Spec => {
    checkDType(op, x.dtype, 'float');
    checkWeight(op, packed, scales, p);
    const [from, to] = size(p);
    if (x.shape[x.shape.length - 1] !== from) {
      throw new ShapeError(`${op}: expected an input [..., ${from}], got ${formatShape(x.shape)}`);
    }
    return { shape: [...x.shape.slice(0, -1), to], dtype: x.dtype };
  };
}

const linearOp: Op<[Tensor, Tensor, Tensor], QuantizedParams> = defineOp<
  [Tensor, Tensor, Tensor],
  QuantizedParams
>({
  name: 'quantizedLinear',
  mixedDTypes: true,
  infer: inferProduct('quantizedLinear', (p) => [p.in, p.out]),
  host: quantizedLinearHost,
  kernel: quantizedKernel(false),
  simd: quantizedSimd(false),
  simdIntegers: true,
  saves: [1, 2],
  backward: ({ gradOutput: g, params, input }) => [
    linearBackwardOp([g, input(1), input(2)], params),
    null,
    null,
  ],
});

/** dx = g · W. */
const linearBackwardOp: Op<[Tensor, Tensor, Tensor], QuantizedParams> = defineOp<
  [Tensor, Tensor, Tensor],
  QuantizedParams
>({
  name: 'quantizedLinearBackward',
  mixedDTypes: true,
  infer: inferProduct('quantizedLinearBackward', (p) => [p.out, p.in]),
  host: quantizedLinearBackwardHost,
  kernel: quantizedKernel(true),
  simd: quantizedSimd(true),
  simdIntegers: true,
  saves: [1, 2],
  backward: ({ gradOutput: h, params, input }) => [linearOp([h, input(1), input(2)], params), null, null],
});

const dequantizeOp = defineOp<[Tensor, Tensor], QuantizedParams & { readonly dtype: DType }>({
  name: 'dequantize',
  mixedDTypes: true,
  infer([packed, scales], p) {
    checkWeight('dequantize', packed, scales, p);
    return { shape: [p.out, p.in], dtype: p.dtype };
  },
  host: dequantizeHost,
  kernel: dequantizeKernel,
  differentiable: false,
});

/** Sizes as the packed weights have them. */
function paramsOf({ packed, scheme, block }: QuantizedWeight): QuantizedParams {
  const [out, words] = packed.shape;
  return { scheme, block, in: words * codesPerWord(scheme), out };
}

/**
 * x · Wᵀ with W made floats inside the product, so that a 16th or an 8th of the memory is read. W is a constant: gradients
 * go to x.
 *
 * @param x [..., in]
 * @param weight what `quantize` made of W [out, in]
 * @returns [..., out]
 * @throws ShapeError for sizes that do not fit; DTypeError unless x is floating-point.
 * @source bitsandbytes.nn.Linear4bit; Dettmers et al. (2023), QLoRA, equation 5
 */
export function quantizedLinear(x: Tensor, weight: QuantizedWeight): Tensor {
  return linearOp([x, weight.packed, weight.scales], paramsOf(weight));
}

/**
 * The weights as floats again: code · scale.
 *
 * @param dtype default that of the scales
 * @returns [out, in]
 */
export function dequantize(weight: QuantizedWeight, dtype: DType = weight.scales.dtype): Tensor {
  if (!isFloat(dtype)) throw new DTypeError(`dequantize: expected a floating-point dtype, got ${dtype}`);
  return dequantizeOp([weight.packed, weight.scales], { ...paramsOf(weight), dtype });
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
  const { scheme = 'nf4', block = 64 } = options;
  if (weight.ndim !== 2) {
    throw new ShapeError(`quantize: expected a weight [out, in], got ${formatShape(weight.shape)}`);
  }
  checkDType('quantize', weight.dtype, 'float');
  const [out, width] = weight.shape;
  checkBlock('quantize', width, block);
  const { words, scales } = packWeights(await weight.data(), { scheme, block });
  const { device } = weight;
  return noGrad(() => ({
    packed: tensor(words, { shape: [out, width / codesPerWord(scheme)], dtype: 'uint32', device }),
    scales: tensor(scales, { shape: [out, width / block], dtype: 'float32', device }),
    scheme,
    block,
  }));
}
