/** Powers, and the quotients and remainders of integers. */
import { isFloat } from '../../device/dtype.js';
import { DTypeError } from '../../device/errors.js';
import { simdBinary, simdPower } from '../../kernels/simd.js';
import { pow as powHost } from '../../kernels/special.js';
import { declarations, snippet } from '../../kernels/wgsl.js';
import { POW } from '../../kernels/wgsl-math.js';
import type { Tensor } from '../../tensor/tensor.js';
import type { Op } from '../op.js';
import { mul, sub } from './arithmetic.js';
import { eq, ge, logicalAnd } from './compare.js';
import { defineBinary, defineUnary } from './define.js';
import { isFloatType, operand, operands, unbroadcast, zeroGradient } from './operands.js';
import { maskedFill, where } from './select.js';
import { log } from './unary.js';

/** x^n of 32-bit integers, wrapping; of a negative n, the whole part of 1 / x^|n|: 0 unless x is ±1. */
function powInteger(x: number, n: number): number {
  if (n < 0) return x === 1 ? 1 : x === -1 ? 1 - 2 * (n & 1) : 0;
  let r = 1;
  for (let b = x, k = n; k > 0; k = Math.floor(k / 2)) {
    if (k % 2 === 1) r = Math.imul(r, b);
    b = Math.imul(b, b);
  }
  return r;
}

const POW_INTEGER = snippet(`fn pow_u32(x: u32, n: u32) -> u32 {
  var r = 1u;
  var b = x;
  for (var k = n; k > 0u; k >>= 1u) {
    if ((k & 1u) == 1u) { r *= b; }
    b *= b;
  }
  return r;
}
fn pow_i32(x: i32, n: i32) -> i32 {
  if (n < 0) { return select(select(0, 1 - 2 * (n & 1), x == -1), 1, x == 1); }
  return bitcast<i32>(pow_u32(bitcast<u32>(x), u32(n)));
}`);

const powOp = defineBinary({
  name: 'pow',
  autocast: 'full',
  loop(n, y, yo, a, ao, as, b, bo, bs) {
    if (y instanceof Int32Array || y instanceof Uint32Array) {
      for (let i = 0; i < n; i++) y[yo + i] = powInteger(a[ao + i * as], b[bo + i * bs]);
    } else for (let i = 0; i < n; i++) y[yo + i] = powHost(a[ao + i * as], b[bo + i * bs]);
  },
  wgsl: ([type]) => (isFloatType(type) ? 'pow_f(a, b)' : `pow_${type}(a, b)`),
  declarations: declarations(POW, POW_INTEGER),
  simd: simdBinary('pow'),
  saves: [0, 1, 'output'],
  // As in PyTorch, 0 where the exponent is 0, and for the exponent where 0ⁿ with n ≥ 0 makes ln 0 meaningless: ln 1 there.
  backward({ gradOutput: g, input, output, inputShapes: [a, b], needs }) {
    const [x, n] = [input(0), input(1)];
    const byBase = (): Tensor => maskedFill(mul(mul(g, n), powOp([x, sub(n, 1)], null)), eq(n, 0), 0);
    const byExponent = (): Tensor => {
      const logarithm = log(where(logicalAnd(eq(x, 0), ge(n, 0)), 1, x));
      return mul(g, mul(output(), logarithm));
    };
    return [needs(0) ? unbroadcast(byBase(), a) : null, needs(1) ? unbroadcast(byExponent(), b) : null];
  },
});

const powScalarOp: Op<[Tensor], { readonly exponent: number }> = defineUnary<{ readonly exponent: number }>({
  name: 'powScalar',
  autocast: 'full',
  loop(n, y, yo, a, ao, as, { exponent }) {
    for (let i = 0; i < n; i++) y[yo + i] = powHost(a[ao + i * as], exponent);
  },
  wgsl: 'pow_f(a, p.exponent)',
  params: [{ name: 'exponent', type: 'f32' }],
  values: ({ exponent }) => [exponent],
  simd: simdPower,
  declarations: declarations(POW),
  saves: ({ exponent }) => (exponent === 0 ? [] : [0]),
  backward: ({ gradOutput: g, input, params: { exponent } }) => [
    exponent === 0
      ? zeroGradient(g)
      : mul(g, mul(powScalarOp([input(0)], { exponent: exponent - 1 }), exponent)),
  ],
});

// Division by 0 is an error in PyTorch and undefined in C; here it gives 0 on every device.
const floorDivideOp = defineBinary({
  name: 'floorDivide',
  accepts: 'integer',
  differentiable: false,
  loop(n, y, yo, a, ao, as, b, bo, bs) {
    for (let i = 0; i < n; i++) {
      const d = b[bo + i * bs];
      y[yo + i] = d === 0 ? 0 : Math.floor(a[ao + i * as] / d);
    }
  },
  wgsl: ([type]) => `floor_divide_${type}(a, b)`,
  declarations: `fn floor_divide_u32(a: u32, b: u32) -> u32 { return select(a / max(b, 1u), 0u, b == 0u); }
fn floor_divide_i32(a: i32, b: i32) -> i32 {
  if (b == 0) { return 0; }
  if (b == -1) { return -a; }
  return a / b - select(0, 1, a % b != 0 && (a < 0) != (b < 0));
}`,
});

const remainderOp = defineBinary({
  name: 'remainder',
  accepts: 'integer',
  differentiable: false,
  loop(n, y, yo, a, ao, as, b, bo, bs) {
    for (let i = 0; i < n; i++) {
      const d = b[bo + i * bs];
      const r = a[ao + i * as] % d;
      y[yo + i] = d === 0 ? 0 : r !== 0 && r < 0 !== d < 0 ? r + d : r;
    }
  },
  wgsl: ([type]) => `remainder_${type}(a, b)`,
  declarations: `fn remainder_u32(a: u32, b: u32) -> u32 { return select(a % max(b, 1u), 0u, b == 0u); }
fn remainder_i32(a: i32, b: i32) -> i32 {
  if (b == 0 || b == -1) { return 0; }
  let r = a % b;
  return select(r, r + b, r != 0 && (r < 0) != (b < 0));
}`,
});

/**
 * x^n, elementwise with broadcasting: 0⁰ = 1, a negative base has a power where the exponent is whole and NaN elsewhere.
 * Gradients g · n · x^(n−1), 0 where n = 0, and g · xⁿ · ln x, 0 where x = 0 and n ≥ 0. Integers wrap.
 *
 * @param x a tensor or a number
 * @param exponent a tensor of the same dtype or a number; not both may be numbers
 * @throws DTypeError for a negative number as the exponent of integers.
 * @source torch.pow
 */
export function pow(x: Tensor | number, exponent: Tensor | number): Tensor {
  if (typeof exponent === 'number' && typeof x !== 'number') {
    if (isFloat(x.dtype)) return powScalarOp([x], { exponent });
    if (exponent < 0) {
      throw new DTypeError(
        `pow: expected an exponent of at least 0 for ${x.dtype}, got ${exponent}; convert with x.to('float32')`,
      );
    }
  }
  return powOp(operands('pow', x, exponent), null);
}

/**
 * ⌊a / b⌋ of integers, elementwise with broadcasting; 0 where b is 0.
 *
 * @param a int32 or uint32
 * @param b a tensor of the same dtype or a number
 * @source torch.floor_divide
 */
export function floorDivide(a: Tensor, b: Tensor | number): Tensor {
  return floorDivideOp([a, operand('floorDivide', b, a)], null);
}

/**
 * a − b · ⌊a / b⌋ of integers, elementwise with broadcasting: the sign is that of b; 0 where b is 0.
 *
 * @param a int32 or uint32
 * @param b a tensor of the same dtype or a number
 * @source torch.remainder
 */
export function remainder(a: Tensor, b: Tensor | number): Tensor {
  return remainderOp([a, operand('remainder', b, a)], null);
}
