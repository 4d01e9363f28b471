/** Choices between tensors, element by element. */
import { DTypeError, ShapeError } from '../../device/errors.js';
import { pointwise, ternaryHost } from '../../kernels/pointwise.js';
import { simdWhere } from '../../kernels/simd.js';
import { broadcastShapes, formatShape, sameShape } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { defineOp, type Op } from '../op.js';
import { operand, operands, unbroadcast } from './operands.js';

const whereOp: Op<[Tensor, Tensor, Tensor], null> = defineOp<[Tensor, Tensor, Tensor], null>({
  name: 'where',
  layout: 'strided',
  mixedDTypes: true,
  infer([condition, x, y]) {
    if (condition.dtype !== 'bool') {
      throw new DTypeError(
        `where: expected a bool condition, got ${condition.dtype}; compare, or convert with x.to('bool')`,
      );
    }
    if (x.dtype !== y.dtype) {
      throw new DTypeError(
        `where: expected one dtype, got ${x.dtype} and ${y.dtype}; convert with x.to('${x.dtype}')`,
      );
    }
    const shape = broadcastShapes('where', broadcastShapes('where', x.shape, y.shape), condition.shape);
    return { shape, dtype: x.dtype };
  },
  host: ternaryHost<null>((n, y, yo, c, co, cs, a, ao, as, b, bo, bs) => {
    for (let i = 0; i < n; i++) y[yo + i] = c[co + i * cs] !== 0 ? a[ao + i * as] : b[bo + i * bs];
  }),
  kernel: pointwise({ name: 'where', expr: 'select(c, b, a != 0u)' }),
  simd: simdWhere,
  simdIntegers: true,
  saves: [0],
  backward({ gradOutput: g, input, inputShapes: [, x, y], needs }) {
    const zero = operand('where', 0, g);
    return [
      null,
      needs(1) ? unbroadcast(whereOp([input(0), g, zero], null), x) : null,
      needs(2) ? unbroadcast(whereOp([input(0), zero, g], null), y) : null,
    ];
  },
});

/**
 * x where the condition holds, y elsewhere, with broadcasting of all three. The gradient goes where the value came from.
 *
 * @param condition bool
 * @param x a tensor or a number
 * @param y a tensor of the same dtype or a number; x and y may not both be numbers
 * @throws DTypeError for a condition that is not bool, or two dtypes.
 * @throws ShapeError for shapes that do not broadcast.
 * @source torch.where
 */
export function where(condition: Tensor, x: Tensor | number, y: Tensor | number): Tensor {
  return whereOp([condition, ...operands('where', x, y)], null);
}

/**
 * x with `value` where the mask holds. The gradient is 0 there.
 *
 * @param mask bool, of a shape that broadcasts to that of x
 * @param value a number, also ±Infinity
 * @throws ShapeError when the mask is larger than x.
 * @source torch.Tensor.masked_fill
 */
export function maskedFill(x: Tensor, mask: Tensor, value: number): Tensor {
  if (mask.dtype !== 'bool') {
    throw new DTypeError(
      `maskedFill: expected a bool mask, got ${mask.dtype}; compare, or convert with mask.to('bool')`,
    );
  }
  if (!sameShape(broadcastShapes('maskedFill', x.shape, mask.shape), x.shape)) {
    throw new ShapeError(
      `maskedFill: expected a mask that broadcasts to ${formatShape(x.shape)}, got ${formatShape(mask.shape)}`,
    );
  }
  return whereOp([mask, operand('maskedFill', value, x), x], null);
}
