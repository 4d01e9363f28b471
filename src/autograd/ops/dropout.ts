/** Dropout: one op that is its own gradient, because backward makes the same mask again from the same counter. */
import { type DropoutParams, dropoutHost, dropoutKernel, dropoutSimd } from '../../kernels/random.js';
import { defaultGenerator, type Generator } from '../../tensor/random.js';
import type { Tensor } from '../../tensor/tensor.js';
import { defineOp, type Op } from '../op.js';
import { checkDType } from './define.js';
import { checkProbability } from './random.js';

export const dropoutOp: Op<[Tensor, Tensor], DropoutParams> = defineOp<[Tensor, Tensor], DropoutParams>({
  name: 'dropout',
  infer([x]) {
    checkDType('dropout', x.dtype, 'float');
    return { shape: x.shape, dtype: x.dtype };
  },
  host: dropoutHost,
  kernel: dropoutKernel,
  simd: dropoutSimd,
  simdIntegers: true,
  mixedDTypes: true,
  saves: [1],
  backward: ({ gradOutput: g, input, params }) => [dropoutOp([g, input(1)], params)],
});

/**
 * Zeroes every element with probability p and scales the others by 1 / (1 − p); outside training, x itself.
 *
 * The mask is bit-identical on all devices for a seed.
 *
 * @throws DataError for a p outside [0, 1]
 * @source torch.nn.functional.dropout; Srivastava et al. (2014)
 */
export function dropout(
  x: Tensor,
  p = 0.5,
  training = true,
  options: { generator?: Generator } = {},
): Tensor {
  checkProbability('dropout', p);
  if (!training || p === 0) return x;
  const { state, block } = (options.generator ?? defaultGenerator).drawOn(x.device, x.numel);
  return dropoutOp([x, state], { block, p });
}
