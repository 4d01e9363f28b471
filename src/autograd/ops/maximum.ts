/** The larger and the smaller of two tensors. */
import type { WgslType } from '../../device/types.js';
import { pointwise, ternaryHost } from '../../kernels/pointwise.js';
import { simdBinary } from '../../kernels/simd.js';
import { declarations, IS_NAN } from '../../kernels/wgsl.js';
import type { Tensor } from '../../tensor/tensor.js';
import { defineOp, type Op } from '../op.js';
import { defineBinary } from './define.js';
import { isFloatType, operand, unbroadcast } from './operands.js';

/** NaN where either operand is; `max` or `min` else. */
function extreme(name: 'max' | 'min') {
  return ([type]: readonly WgslType[]): string =>
    isFloatType(type) ? `select(select(${name}(a, b), b, is_nan(b)), a, is_nan(a))` : `${name}(a, b)`;
}

/** g where a > b or one of them is NaN, g / 2 where they are equal, 0 where a < b: the share of a in max(a, b), of b in min. */
const shareOp: Op<[Tensor, Tensor, Tensor], null> = defineOp<[Tensor, Tensor, Tensor], null>({
  name: 'maximumBackward',
  layout: 'strided',
  infer: ([g]) => g,
  host: ternaryHost<null>((n, y, yo, g, go, gs, a, ao, as, b, bo, bs) => {
    for (let i = 0; i < n; i++) {
      const p = a[ao + i * as];
      const q = b[bo + i * bs];
      y[yo + i] = p < q ? 0 : p === q ? g[go + i * gs] * 0.5 : g[go + i * gs];
    }
  }),
  kernel: pointwise({
    name: 'maximumBackward',
    expr: 'share(a, b, c)',
    declarations: declarations({
      text: `fn share(g: f32, a: f32, b: f32) -> f32 {
  if (is_nan(a) || is_nan(b) || a > b) { return g; }
  return select(0.0, g * 0.5, a == b);
}`,
      uses: [IS_NAN],
    }),
  }),
  saves: [1, 2],
  backward: ({ gradOutput: g, input }) => [shareOp([g, input(1), input(2)], null), null, null],
});

const maximumOp = defineBinary({
  name: 'maximum',
  loop(n, y, yo, a, ao, as, b, bo, bs) {
    for (let i = 0; i < n; i++) y[yo + i] = Math.max(a[ao + i * as], b[bo + i * bs]);
  },
  wgsl: extreme('max'),
  declarations: declarations(IS_NAN),
  simd: simdBinary('maximum'),
  saves: [0, 1],
  backward: ({ gradOutput: g, input, inputShapes: [a, b], needs }) => [
    needs(0) ? unbroadcast(shareOp([g, input(0), input(1)], null), a) : null,
    needs(1) ? unbroadcast(shareOp([g, input(1), input(0)], null), b) : null,
  ],
});

const minimumOp = defineBinary({
  name: 'minimum',
  loop(n, y, yo, a, ao, as, b, bo, bs) {
    for (let i = 0; i < n; i++) y[yo + i] = Math.min(a[ao + i * as], b[bo + i * bs]);
  },
  wgsl: extreme('min'),
  declarations: declarations(IS_NAN),
  simd: simdBinary('minimum'),
  saves: [0, 1],
  backward: ({ gradOutput: g, input, inputShapes: [a, b], needs }) => [
    needs(0) ? unbroadcast(shareOp([g, input(1), input(0)], null), a) : null,
    needs(1) ? unbroadcast(shareOp([g, input(0), input(1)], null), b) : null,
  ],
});

/**
 * max(a, b), elementwise with broadcasting; NaN where either is. The gradient goes to the larger one, half to each where
 * they are equal.
 *
 * @param a floats or integers
 * @param b a tensor of the same dtype, or a number
 * @throws ShapeError for shapes that do not broadcast.
 * @source torch.maximum
 */
export function maximum(a: Tensor, b: Tensor | number): Tensor {
  return maximumOp([a, operand('maximum', b, a)], null);
}

/**
 * min(a, b), elementwise with broadcasting; NaN where either is. The gradient goes to the smaller one, half to each where
 * they are equal.
 *
 * @param a floats or integers
 * @param b a tensor of the same dtype, or a number
 * @throws ShapeError for shapes that do not broadcast.
 * @source torch.minimum
 */
export function minimum(a: Tensor, b: Tensor | number): Tensor {
  return minimumOp([a, operand('minimum', b, a)], null);
}
