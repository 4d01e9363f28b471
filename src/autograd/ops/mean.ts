/** Means. */
import { reduce, sumHost } from '../../kernels/reduce.js';
import { simdSum } from '../../kernels/simd-reduce.js';
import { declarations, NAN } from '../../kernels/wgsl.js';
import { reducedShape } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { defineOp } from '../op.js';
import { div } from './arithmetic.js';
import { expandReduced, type ReduceOptions, type ReduceParams, reduceParams } from './broadcast.js';
import { checkDType } from './define.js';

const meanOp = defineOp<[Tensor], ReduceParams>({
  name: 'mean',
  autocast: 'full',
  layout: 'strided',
  infer([x], { dims, keepdim }) {
    checkDType('mean', x.dtype, 'float');
    return { shape: reducedShape(x.shape, dims, keepdim), dtype: x.dtype };
  },
  host: ([x], [y], { dims }) => sumHost(x, y, dims, 1 / countOf(x.shape, dims)),
  simd: simdSum(
    ({ dims }) => dims,
    ({ dims }, shape) => 1 / countOf(shape, dims),
  ),
  kernel: reduce<ReduceParams>(
    {
      name: 'mean',
      accumulator: () => 'f32',
      init: () => '0.0',
      step: 'acc + v',
      merge: 'acc + other',
      finish: 'select(acc / p.count, nan(), p.count == 0.0)',
      declarations: declarations(NAN),
    },
    ({ dims }) => dims,
  ),
  backward: ({ gradOutput: g, params, inputShapes: [shape] }) => [
    expandReduced(div(g, countOf(shape, params.dims)), shape, params),
  ],
});

/** How many elements go into each output. */
export function countOf(shape: readonly number[], dims: readonly number[]): number {
  return dims.reduce((n, d) => n * shape[d], 1);
}

/**
 * Σ x / n over the given dims (all by default), n the number of elements summed.
 *
 * @returns NaN where n = 0.
 * @throws DTypeError unless x is floating-point.
 * @source torch.mean
 */
export function mean(x: Tensor, options: ReduceOptions = {}): Tensor {
  return meanOp([x], reduceParams('mean', x, options));
}
