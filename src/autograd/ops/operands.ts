/** What operations of two tensors share. */
import type { DType } from '../../device/dtype.js';
import { DTypeError } from '../../device/errors.js';
import { constant } from '../../tensor/factories.js';
import { type Shape, sameShape } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { expand, sumTo } from './broadcast.js';
import { asTensor } from './define.js';

/** The gradient of a broadcast operand: summed over the dims that were stretched. */
export function unbroadcast(g: Tensor, shape: Shape): Tensor {
  return sameShape(g.shape, shape) ? g : sumTo(g, shape);
}

/** The gradient of a function that is constant almost everywhere: zeros, as PyTorch has it, rather than none. */
export function zeroGradient(g: Tensor): Tensor {
  return expand(constant(0, g.dtype, g.device), g.shape);
}

/** What whole numbers a dtype holds; null for floating-point types, which take every number. */
const RANGE: Readonly<Record<DType, readonly [number, number] | null>> = {
  float16: null,
  float32: null,
  float64: null,
  int32: [-(2 ** 31), 2 ** 31 - 1],
  uint32: [0, 2 ** 32 - 1],
  bool: [0, 1],
};

/**
 * A number as a scalar tensor of the dtype and device of `like`.
 *
 * @throws DTypeError for a number that the dtype does not hold: a wrapped one would compare or clamp wrongly.
 */
export function operand(op: string, value: Tensor | number, like: Tensor): Tensor {
  const range = RANGE[like.dtype];
  if (
    typeof value === 'number' &&
    range &&
    !(value >= range[0] && value <= range[1] && Number.isInteger(value))
  ) {
    throw new DTypeError(
      `${op}: expected a whole number in [${range.join(', ')}] to go with ${like.dtype}, got ${value}; convert the tensor with x.to('float32')`,
    );
  }
  return asTensor(value, like);
}

/** The two operands of a function that takes a number on either side. @throws DTypeError when both are numbers. */
export function operands(op: string, a: Tensor | number, b: Tensor | number): [Tensor, Tensor] {
  if (typeof a !== 'number') return [a, operand(op, b, a)];
  if (typeof b !== 'number') return [operand(op, a, b), b];
  throw new DTypeError(`${op}: expected at least one tensor, got the numbers ${a} and ${b}`);
}

/** Whether a WGSL type loads as f32. */
export function isFloatType(type: string): boolean {
  return type === 'f32' || type === 'f16';
}
