/** The mean of class losses, each of which counts for the weight of its class. */
import { lossMeanHost, lossMeanKernel } from '../../kernels/loss-mean.js';
import type { Tensor } from '../../tensor/tensor.js';
import { defineOp } from '../op.js';
import { div } from './arithmetic.js';
import { expand } from './broadcast.js';

/** Inputs as `crossEntropyOp` gives them; outputs Σ losses / Σ weights and, for backward, Σ weights. */
const lossMeanOp = defineOp<[losses: Tensor, stats: Tensor], null>({
  name: 'lossMean',
  autocast: 'full',
  infer: ([{ dtype }]) => [
    { shape: [], dtype },
    { shape: [], dtype },
  ],
  host: lossMeanHost,
  kernel: lossMeanKernel,
  saves: ['output1'],
  backward: ({ gradOutput: g, output, inputShapes: [shape] }) => [
    expand(div(g, output(1).detach()), shape),
    null,
  ],
});

/**
 * Σ losses / Σ w[t], NaN where that is 0 / 0.
 *
 * @param losses [rows]
 * @param stats [3, rows] of the same rows, with w[t] at last; gets no gradient
 */
export function lossMean(losses: Tensor, stats: Tensor): Tensor {
  return lossMeanOp([losses, stats.detach()], null);
}
