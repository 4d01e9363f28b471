/** Dropout: one op that is its own gradient, because backward makes the same mask again from the same counter. */
import { type DropoutParams, dropoutHost, dropoutKernel, dropoutSimd } from '../../kernels/random.js';
import { defaultGenerator, type Generator } from '../../tensor/random.js';
import type { Tensor } from '../../tensor/tensor.js';
import { defineOp, type Op } from '../op.js';
import { checkDType } from './define.js';
import { checkProbability } from './random.js';

const dropoutOp: Op<[Tensor], DropoutParams> = defineOp<[Tensor], DropoutParams>({
  name: 'dropout',
  infer([x]) {
    checkDType('dropout', x.dtype, 'float');
    return { shape: x.shape, dtype: x.dtype };
  },
  host: dropoutHost,
  kernel: dropoutKernel,
  simd: dropoutSimd,
  backward: ({ gradOutput: g, params }) => [dropoutOp([g], params)],
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
  return dropoutOp([x], { ...(options.generator ?? defaultGenerator).draw(x.numel), p });
}
