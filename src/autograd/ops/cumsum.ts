/** Running sums. */
import { cumsumKernel, lineSpace, type ScanParams } from '../../kernels/scan.js';
import { normalizeDim } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { defineOp, type Op } from '../op.js';

const cumsumOp: Op<[Tensor], ScanParams> = defineOp<[Tensor], ScanParams>({
  name: 'cumsum',
  autocast: 'full',
  infer: ([x]) => ({ shape: x.shape, dtype: x.dtype === 'bool' ? 'int32' : x.dtype }),
  host([x], [y], { dim, reverse }) {
    const { outer, n, inner } = lineSpace(x.shape, dim);
    const { data, offset } = x;
    const out = y.data;
    const step = reverse ? -inner : inner;
    for (let o = 0; o < outer; o++) {
      for (let j = 0; j < inner; j++) {
        let at = o * n * inner + j + (reverse ? (n - 1) * inner : 0);
        let sum = 0;
        for (let i = 0; i < n; i++, at += step) {
          sum += data[offset + at];
          out[at] = sum;
        }
      }
    }
  },
  kernel: cumsumKernel,
  simd(module, [x], [y], { dim, reverse }) {
    const { outer, n, inner } = lineSpace(x.shape, dim);
    if (inner === 1) module.cumsum(outer, n, x.pointer, y.pointer, n, 1, reverse);
    else {
      for (let at = 0; at < outer * n * inner * 4; at += n * inner * 4) {
        module.cumsum(inner, n, x.pointer + at, y.pointer + at, 1, inner, reverse);
      }
    }
    return true;
  },
  backward: ({ gradOutput: g, params: { dim, reverse } }) => [cumsumOp([g], { dim, reverse: !reverse })],
});

/**
 * yᵢ = Σ xⱼ over j ≤ i along `dim`. Integers wrap in their own type; bool counts in int32.
 *
 * @throws ShapeError when `dim` is not a dim of x.
 * @source torch.cumsum
 */
export function cumsum(x: Tensor, dim: number): Tensor {
  return cumsumOp([x], { dim: normalizeDim('cumsum', dim, x.ndim), reverse: false });
}
