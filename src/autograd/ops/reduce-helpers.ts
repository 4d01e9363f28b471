/** Elementwise operations that gradients of reductions are written in: each is defined where a plain quotient or power is not. */
import { declarations, IS_NAN } from '../../kernels/wgsl.js';
import { type Shape, sameShape } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import type { Op } from '../op.js';
import { mul, neg } from './arithmetic.js';
import { sumTo } from './broadcast.js';
import { defineBinary, defineUnary } from './define.js';

const fitTo = (g: Tensor, shape: Shape): Tensor => (sameShape(g.shape, shape) ? g : sumTo(g, shape));

const IS_ZERO = 'fn is_zero(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) == 0u; }';

const divOrZeroOp: Op<[Tensor, Tensor], null> = defineBinary({
  name: 'divOrZero',
  accepts: 'float',
  loop(n, y, yo, a, ao, as, b, bo, bs) {
    for (let i = 0; i < n; i++) {
      const d = b[bo + i * bs];
      y[yo + i] = d === 0 ? 0 : a[ao + i * as] / d;
    }
  },
  wgsl: 'select(a / b, 0.0, is_zero(b))',
  declarations: IS_ZERO,
  saves: [0, 1],
  backward: ({ gradOutput: g, inputShapes: [a, b], input, needs }) => {
    const scaled = divOrZero(g, input(1));
    return [
      needs(0) ? fitTo(scaled, a) : null,
      needs(1) ? fitTo(neg(mul(scaled, divOrZero(input(0), input(1)))), b) : null,
    ];
  },
});

/** a / b, and 0 where b = 0: the subgradient of roots and norms at 0. @internal */
export function divOrZero(a: Tensor, b: Tensor): Tensor {
  return divOrZeroOp([a, b], null);
}

const equalMaskOp = defineBinary({
  name: 'equalMask',
  accepts: 'float',
  loop(n, y, yo, a, ao, as, b, bo, bs) {
    for (let i = 0; i < n; i++) y[yo + i] = a[ao + i * as] === b[bo + i * bs] ? 1 : 0;
  },
  wgsl: 'select(0.0, 1.0, order_equal(a, b))',
  declarations: `
fn order_equal(a: f32, b: f32) -> bool {
  let x = bitcast<u32>(a);
  let y = bitcast<u32>(b);
  return (x == y && (x & 0x7fffffffu) <= 0x7f800000u) || ((x | y) & 0x7fffffffu) == 0u;
}`,
  differentiable: false,
});

/** 1 where a = b, else 0 (NaN equals nothing), in the dtype of the operands and without a gradient. @internal */
export function equalMask(a: Tensor, b: Tensor): Tensor {
  return equalMaskOp([a, b], null);
}

interface Exponent {
  readonly exponent: number;
}

/** pow is exp2(q · log2 x) on most adapters; the exponents that norms meet most are exact here. */
const ABS_POW = `${declarations(IS_NAN)}
fn abs_pow(x: f32, q: f32) -> f32 {
  if ((bitcast<u32>(x) & 0x7fffffffu) == 0u) { return 0.0; }
  if (is_nan(x)) { return x; }
  if (q == 0.0) { return 1.0; }
  let size = abs(x);
  if (q == 1.0) { return size; }
  if (q == 2.0) { return size * size; }
  return pow(size, q);
}`;

const absPowOp: Op<[Tensor], Exponent> = defineUnary<Exponent>({
  name: 'absPow',
  loop(n, y, yo, a, ao, as, { exponent }) {
    for (let i = 0; i < n; i++) {
      const v = a[ao + i * as];
      y[yo + i] = v === 0 ? 0 : Math.abs(v) ** exponent;
    }
  },
  wgsl: 'abs_pow(a, p.exponent)',
  declarations: ABS_POW,
  params: [{ name: 'exponent', type: 'f32' }],
  values: ({ exponent }) => [exponent],
  saves: [0],
  backward: ({ gradOutput: g, params: { exponent }, input }) => [
    mul(mul(g, exponent), signPow(input(0), exponent - 1)),
  ],
});

const signPowOp: Op<[Tensor], Exponent> = defineUnary<Exponent>({
  name: 'signPow',
  loop(n, y, yo, a, ao, as, { exponent }) {
    for (let i = 0; i < n; i++) {
      const v = a[ao + i * as];
      y[yo + i] = v === 0 ? 0 : Math.sign(v) * Math.abs(v) ** exponent;
    }
  },
  wgsl: 'select(abs_pow(a, p.exponent), -abs_pow(a, p.exponent), bitcast<u32>(a) > 0x80000000u)',
  declarations: ABS_POW,
  params: [{ name: 'exponent', type: 'f32' }],
  values: ({ exponent }) => [exponent],
  saves: [0],
  backward: ({ gradOutput: g, params: { exponent }, input }) => [
    mul(mul(g, exponent), absPow(input(0), exponent - 1)),
  ],
});

/** |x|^exponent, and 0 at x = 0 whatever the exponent. @internal */
export function absPow(x: Tensor, exponent: number): Tensor {
  return absPowOp([x], { exponent });
}

/** sign(x) · |x|^exponent, and 0 at x = 0 whatever the exponent. @internal */
export function signPow(x: Tensor, exponent: number): Tensor {
  return signPowOp([x], { exponent });
}
