/**
 * Elements at chosen, distinct positions along a dim, and their adjoint: what max, min and topk have in common. Distinct
 * positions make the adjoint a plain copy, where a general scatter has to add.
 */
import type { HostArray } from '../../device/types.js';
import { pickKernel, placeKernel } from '../../kernels/pick.js';
import { lineSpace } from '../../kernels/scan.js';
import type { Shape } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { defineOp, type Op } from '../op.js';

/** Calls `visit(position in [outer, k, inner], position in [outer, n, inner])` for every chosen element. */
function forEachPicked(
  at: HostArray,
  full: Shape,
  dim: number,
  visit: (item: number, target: number) => void,
): void {
  const { outer, n, inner } = lineSpace(full, dim);
  const k = at.shape[dim];
  for (let o = 0, item = 0; o < outer; o++) {
    for (let j = 0; j < k; j++) {
      for (let i = 0; i < inner; i++, item++) visit(item, (o * n + at.data[at.offset + item]) * inner + i);
    }
  }
}

const pickOp: Op<[Tensor, Tensor], { dim: number }> = defineOp<[Tensor, Tensor], { dim: number }>({
  name: 'pick',
  mixedDTypes: true,
  infer: ([x, at]) => ({ shape: at.shape, dtype: x.dtype }),
  host([x, at], [y], { dim }) {
    forEachPicked(at, x.shape, dim, (item, target) => {
      y.data[item] = x.data[x.offset + target];
    });
  },
  kernel: pickKernel,
  saves: [1],
  backward: ({ gradOutput: g, params: { dim }, input, inputShapes: [shape] }) => [
    placeOp([g, input(1)], { dim, size: shape[dim] }),
    null,
  ],
});

const placeOp: Op<[Tensor, Tensor], { dim: number; size: number }> = defineOp<
  [Tensor, Tensor],
  { dim: number; size: number }
>({
  name: 'place',
  mixedDTypes: true,
  infer: ([g], { dim, size }) => ({ shape: g.shape.map((s, d) => (d === dim ? size : s)), dtype: g.dtype }),
  host([g, at], [y], { dim }) {
    y.data.fill(0);
    forEachPicked(at, y.shape, dim, (item, target) => {
      y.data[target] = g.data[g.offset + item];
    });
  },
  kernel: placeKernel,
  saves: [1],
  backward: ({ gradOutput: g, params: { dim }, input }) => [pickOp([g, input(1)], { dim }), null],
});

/** x at the positions `at` (int32, shaped as x but for `dim`, distinct along it). @internal */
export function pick(x: Tensor, at: Tensor, dim: number): Tensor {
  return pickOp([x, at], { dim });
}
