/** What may be overwritten in place. */
import { GradError, ShapeError } from '../device/errors.js';
import { formatShape } from '../tensor/shape.js';
import type { Tensor } from '../tensor/tensor.js';
import { mode } from './mode.js';

/** Throws unless values of `x` may be overwritten without backward noticing too late. */
export function checkWritable(op: string, x: Tensor, source: Tensor | null): void {
  if (mode.gradEnabled && x.requiresGrad) {
    throw new GradError(
      `${op}: expected a tensor that requires no gradient, got the ${x.isLeaf ? 'leaf' : 'output of'} '${x.op}', which does; write inside noGrad, or use the function that returns a new tensor`,
    );
  }
  if (mode.gradEnabled && source?.requiresGrad) {
    throw new GradError(
      `${op}: expected a source that requires no gradient, got the ${source.isLeaf ? 'leaf' : 'output of'} '${source.op}', which does and whose history would be lost; use detach() or write inside noGrad`,
    );
  }
  if (x.shape.some((size, d) => size > 1 && x.strides[d] === 0)) {
    throw new ShapeError(
      `${op}: expected a tensor of separate elements, got one expanded to ${formatShape(x.shape)}, whose elements share memory; clone() it first`,
    );
  }
}
