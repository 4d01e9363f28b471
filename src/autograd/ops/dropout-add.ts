/** Dropout and a residual sum as one operation. */
import { ShapeError } from '../../device/errors.js';
import { dropoutAddHost, dropoutAddKernel, dropoutAddSimd } from '../../kernels/dropout-add.js';
import type { DropoutParams } from '../../kernels/random.js';
import { defaultGenerator, type Generator } from '../../tensor/random.js';
import { formatShape, sameShape } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { defineOp } from '../op.js';
import { add } from './arithmetic.js';
import { checkDType } from './define.js';
import { dropout, dropoutOp } from './dropout.js';
import { checkProbability } from './random.js';

/** Inputs x, residual, state. The gradient of the residual is g itself, that of x its dropout with the same mask. */
const dropoutAddOp = defineOp<[Tensor, Tensor, Tensor], DropoutParams>({
  name: 'dropoutAdd',
  infer([x]) {
    checkDType('dropoutAdd', x.dtype, 'float');
    return { shape: x.shape, dtype: x.dtype };
  },
  host: dropoutAddHost,
  kernel: dropoutAddKernel,
  simd: dropoutAddSimd,
  simdIntegers: true,
  mixedDTypes: true,
  saves: [2],
  backward: ({ gradOutput: g, input, needs, params }) => [
    needs(0) ? dropoutOp([g, input(2)], params) : null,
    needs(1) ? g : null,
  ],
});

/**
 * residual + dropout(x, p): the end of a branch of a Transformer, in one pass; outside training, or for p = 0, the sum. The mask
 * is the one that `dropout` would draw.
 *
 * @param residual of x's shape and dtype
 * @throws DataError for a p outside [0, 1]; ShapeError unless both have one shape
 * @source torch.nn.functional.dropout; Srivastava et al. (2014)
 */
export function dropoutAdd(
  x: Tensor,
  residual: Tensor,
  p = 0.5,
  training = true,
  options: { generator?: Generator } = {},
): Tensor {
  checkProbability('dropoutAdd', p);
  if (!sameShape(x.shape, residual.shape)) {
    throw new ShapeError(
      `dropoutAdd: expected two tensors of one shape, got ${formatShape(x.shape)} and ${formatShape(residual.shape)}; use expand()`,
    );
  }
  if (!training || p === 0 || x.dtype !== residual.dtype)
    return add(dropout(x, p, training, options), residual);
  const { state, block } = (options.generator ?? defaultGenerator).drawOn(x.device, x.numel);
  return dropoutAddOp([x, residual, state], { block, p });
}
