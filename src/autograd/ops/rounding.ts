/** Piecewise constant functions, whose gradient is 0, and clamp. */
import { isFloat } from '../../device/dtype.js';
import { DTypeError } from '../../device/errors.js';
import { simdBinaryWith, simdUnary, simdUnaryWith } from '../../kernels/simd.js';
import { roundHalfEven } from '../../kernels/special.js';
import { declarations, IS_NAN } from '../../kernels/wgsl.js';
import type { Tensor } from '../../tensor/tensor.js';
import { defineActivation } from './activation.js';
import { checkDType, defineUnary } from './define.js';
import { maximum, minimum } from './maximum.js';
import { operand, zeroGradient } from './operands.js';

function zeros({ gradOutput }: { gradOutput: Tensor }): readonly Tensor[] {
  return [zeroGradient(gradOutput)];
}

const signOp = defineUnary({
  name: 'sign',
  accepts: 'number',
  loop(n, y, yo, a, ao, as) {
    for (let i = 0; i < n; i++) y[yo + i] = a[ao + i * as] > 0 ? 1 : a[ao + i * as] < 0 ? -1 : 0;
  },
  wgsl: ([type]) =>
    type === 'u32' ? 'min(a, 1u)' : type === 'i32' ? 'sign(a)' : 'select(sign(a), 0.0, is_nan(a))',
  declarations: declarations(IS_NAN),
  simd: simdUnary('sign'),
  backward: zeros,
});

const floorOp = defineUnary({
  name: 'floor',
  loop(n, y, yo, a, ao, as) {
    for (let i = 0; i < n; i++) y[yo + i] = Math.floor(a[ao + i * as]);
  },
  wgsl: 'floor(a)',
  simd: simdUnary('floor'),
  backward: zeros,
});

const ceilOp = defineUnary({
  name: 'ceil',
  loop(n, y, yo, a, ao, as) {
    for (let i = 0; i < n; i++) y[yo + i] = Math.ceil(a[ao + i * as]);
  },
  wgsl: 'ceil(a)',
  simd: simdUnary('ceil'),
  backward: zeros,
});

const roundOp = defineUnary({
  name: 'round',
  loop(n, y, yo, a, ao, as) {
    for (let i = 0; i < n; i++) y[yo + i] = roundHalfEven(a[ao + i * as]);
  },
  wgsl: 'round(a)',
  simd: simdUnary('round'),
  backward: zeros,
});

const truncOp = defineUnary({
  name: 'trunc',
  loop(n, y, yo, a, ao, as) {
    for (let i = 0; i < n; i++) y[yo + i] = Math.trunc(a[ao + i * as]);
  },
  wgsl: 'trunc(a)',
  simd: simdUnary('trunc'),
  backward: zeros,
});

const clampOp = defineActivation<{ readonly min: number; readonly max: number }>({
  name: 'clamp',
  loop(n, y, yo, a, ao, as, { min, max }) {
    // Where min > max, max wins.
    for (let i = 0; i < n; i++) y[yo + i] = Math.min(Math.max(a[ao + i * as], min), max);
  },
  wgsl: 'select(min(max(a, p.low), p.high), a, is_nan(a))',
  params: [
    { name: 'low', type: 'f32' },
    { name: 'high', type: 'f32' },
  ],
  values: ({ min, max }) => [min, max],
  declarations: declarations(IS_NAN),
  simd: simdUnaryWith('clamp', ({ min, max }) => [min, max]),
  slope: {
    of: 'input',
    loop(n, y, yo, g, go, gs, x, xo, xs, { min, max }) {
      for (let i = 0; i < n; i++)
        y[yo + i] = x[xo + i * xs] >= min && x[xo + i * xs] <= max ? g[go + i * gs] : 0;
    },
    wgsl: 'select(0.0, a, b >= p.low && b <= p.high && !is_nan(b))',
    simd: simdBinaryWith('clampBackward', ({ min, max }) => [min, max]),
  },
});

/** −1, 0 or 1 (0 for NaN). Gradient 0. @param x floats or integers @source torch.sign */
export function sign(x: Tensor): Tensor {
  return signOp([x], null);
}

/** ⌊x⌋. Gradient 0. @source torch.floor */
export function floor(x: Tensor): Tensor {
  return floorOp([x], null);
}

/** ⌈x⌉. Gradient 0. @source torch.ceil */
export function ceil(x: Tensor): Tensor {
  return ceilOp([x], null);
}

/** The nearest whole number, halves to the even one. Gradient 0. @source torch.round */
export function round(x: Tensor): Tensor {
  return roundOp([x], null);
}

/** x without its fraction. Gradient 0. @source torch.trunc */
export function trunc(x: Tensor): Tensor {
  return truncOp([x], null);
}

/**
 * min(max(x, options.min), options.max). Gradient g within the bounds, bounds included, 0 outside; NaN stays.
 *
 * @param x floats or integers
 * @param options.min lower bound, none by default
 * @param options.max upper bound, none by default; wins where min > max
 * @throws DTypeError for bounds that are no integers while x is of integers.
 * @source torch.clamp
 */
export function clamp(x: Tensor, options: { min?: number; max?: number }): Tensor {
  const { min = -Infinity, max = Infinity } = options;
  checkDType('clamp', x.dtype, 'number');
  if (Number.isNaN(min) || Number.isNaN(max)) {
    throw new DTypeError(`clamp: expected bounds that are numbers, got min ${min} and max ${max}`);
  }
  if (isFloat(x.dtype)) return clampOp([x], { min, max });
  const low = min === -Infinity ? x : maximum(x, operand('clamp', min, x));
  return max === Infinity ? low : minimum(low, operand('clamp', max, x));
}
