/** Elementary functions of one tensor, element by element. */

import { simdUnary } from '../../kernels/simd.js';
import { erf as erfHost } from '../../kernels/special.js';
import { declarations, INF, IS_NAN, NAN } from '../../kernels/wgsl.js';
import { COS, ERF, EXP, EXPM1, LOG, LOG1P, SIN } from '../../kernels/wgsl-math.js';
import type { Tensor } from '../../tensor/tensor.js';
import { add, div, mul, neg } from './arithmetic.js';
import { defineUnary } from './define.js';
import { sign } from './rounding.js';

const absOp = defineUnary({
  name: 'abs',
  accepts: 'number',
  loop(n, y, yo, a, ao, as) {
    for (let i = 0; i < n; i++) y[yo + i] = Math.abs(a[ao + i * as]);
  },
  wgsl: 'abs(a)',
  simd: simdUnary('abs'),
  saves: [0],
  backward: ({ gradOutput: g, input }) => [mul(g, sign(input(0)))],
});

const expOp = defineUnary({
  name: 'exp',
  autocast: 'full',
  loop(n, y, yo, a, ao, as) {
    for (let i = 0; i < n; i++) y[yo + i] = Math.exp(a[ao + i * as]);
  },
  wgsl: 'exp_f(a)',
  declarations: declarations(EXP),
  simd: simdUnary('exp'),
  saves: ['output'],
  backward: ({ gradOutput: g, output }) => [mul(g, output())],
});

const expm1Op = defineUnary({
  name: 'expm1',
  autocast: 'full',
  loop(n, y, yo, a, ao, as) {
    for (let i = 0; i < n; i++) y[yo + i] = Math.expm1(a[ao + i * as]);
  },
  wgsl: 'expm1_f(a)',
  declarations: declarations(EXPM1),
  simd: simdUnary('expm1'),
  saves: ['output'],
  backward: ({ gradOutput: g, output }) => [mul(g, add(output(), 1))],
});

const logOp = defineUnary({
  name: 'log',
  autocast: 'full',
  loop(n, y, yo, a, ao, as) {
    for (let i = 0; i < n; i++) y[yo + i] = Math.log(a[ao + i * as]);
  },
  wgsl: 'log_f(a)',
  declarations: declarations(LOG),
  simd: simdUnary('log'),
  saves: [0],
  backward: ({ gradOutput: g, input }) => [div(g, input(0))],
});

const log1pOp = defineUnary({
  name: 'log1p',
  autocast: 'full',
  loop(n, y, yo, a, ao, as) {
    for (let i = 0; i < n; i++) y[yo + i] = Math.log1p(a[ao + i * as]);
  },
  wgsl: 'log1p_f(a)',
  declarations: declarations(LOG1P),
  simd: simdUnary('log1p'),
  saves: [0],
  backward: ({ gradOutput: g, input }) => [div(g, add(input(0), 1))],
});

// The guards of the next three: WGSL makes sqrt of inverseSqrt and leaves quotients beyond 2^126 open.
const sqrtOp = defineUnary({
  name: 'sqrt',
  loop(n, y, yo, a, ao, as) {
    for (let i = 0; i < n; i++) y[yo + i] = Math.sqrt(a[ao + i * as]);
  },
  wgsl: 'sqrt_f(a)',
  declarations: declarations({
    text: `fn sqrt_f(x: f32) -> f32 {
  if (is_nan(x) || x == 0.0 || bitcast<u32>(x) == 0x7f800000u) { return x; }
  if (x < 0.0) { return nan(); }
  return sqrt(x);
}`,
    uses: [IS_NAN, NAN],
  }),
  simd: simdUnary('sqrt'),
  saves: ['output'],
  backward: ({ gradOutput: g, output }) => [div(g, mul(output(), 2))],
});

const rsqrtOp = defineUnary({
  name: 'rsqrt',
  autocast: 'full',
  loop(n, y, yo, a, ao, as) {
    for (let i = 0; i < n; i++) y[yo + i] = 1 / Math.sqrt(a[ao + i * as]);
  },
  wgsl: 'rsqrt_f(a)',
  declarations: declarations({
    text: `fn rsqrt_f(x: f32) -> f32 {
  let bits = bitcast<u32>(x);
  if (is_nan(x)) { return x; }
  if (bits == 0x7f800000u) { return 0.0; }
  if ((bits & 0x7fffffffu) == 0u) { return bitcast<f32>(bits | bitcast<u32>(inf())); }
  if (x < 0.0) { return nan(); }
  return inverseSqrt(x);
}`,
    uses: [IS_NAN, INF, NAN],
  }),
  simd: simdUnary('rsqrt'),
  saves: ['output'],
  backward: ({ gradOutput: g, output }) => [mul(g, mul(mul(output(), square(output())), -0.5))],
});

const reciprocalOp = defineUnary({
  name: 'reciprocal',
  autocast: 'full',
  loop(n, y, yo, a, ao, as) {
    for (let i = 0; i < n; i++) y[yo + i] = 1 / a[ao + i * as];
  },
  wgsl: 'reciprocal_f(a)',
  declarations: declarations({
    text: `fn reciprocal_f(x: f32) -> f32 {
  let bits = bitcast<u32>(x);
  let sign = bits & 0x80000000u;
  if ((bits & 0x7fffffffu) == 0u) { return bitcast<f32>(sign | bitcast<u32>(inf())); }
  if ((bits & 0x7fffffffu) == 0x7f800000u) { return bitcast<f32>(sign); }
  return 1.0 / x;
}`,
    uses: [INF],
  }),
  simd: simdUnary('reciprocal'),
  saves: ['output'],
  backward: ({ gradOutput: g, output }) => [neg(mul(g, square(output())))],
});

const squareOp = defineUnary({
  name: 'square',
  accepts: 'number',
  loop(n, y, yo, a, ao, as) {
    // Float64 products of two 32-bit integers lose their low bits.
    if (y instanceof Int32Array || y instanceof Uint32Array) {
      for (let i = 0; i < n; i++) y[yo + i] = Math.imul(a[ao + i * as], a[ao + i * as]);
    } else for (let i = 0; i < n; i++) y[yo + i] = a[ao + i * as] * a[ao + i * as];
  },
  wgsl: 'a * a',
  simd: simdUnary('square'),
  saves: [0],
  backward: ({ gradOutput: g, input }) => [mul(mul(g, 2), input(0))],
});

const sinOp = defineUnary({
  name: 'sin',
  loop(n, y, yo, a, ao, as) {
    for (let i = 0; i < n; i++) y[yo + i] = Math.sin(a[ao + i * as]);
  },
  wgsl: 'sin_f(a)',
  declarations: declarations(SIN),
  simd: simdUnary('sin'),
  saves: [0],
  backward: ({ gradOutput: g, input }) => [mul(g, cos(input(0)))],
});

const cosOp = defineUnary({
  name: 'cos',
  loop(n, y, yo, a, ao, as) {
    for (let i = 0; i < n; i++) y[yo + i] = Math.cos(a[ao + i * as]);
  },
  wgsl: 'cos_f(a)',
  declarations: declarations(COS),
  simd: simdUnary('cos'),
  saves: [0],
  backward: ({ gradOutput: g, input }) => [neg(mul(g, sin(input(0))))],
});

const erfOp = defineUnary({
  name: 'erf',
  loop(n, y, yo, a, ao, as) {
    for (let i = 0; i < n; i++) y[yo + i] = erfHost(a[ao + i * as]);
  },
  wgsl: 'erf_f(a)',
  declarations: declarations(ERF),
  simd: simdUnary('erf'),
  saves: [0],
  backward: ({ gradOutput: g, input }) => [mul(g, mul(exp(neg(square(input(0)))), 2 / Math.sqrt(Math.PI)))],
});

/** |x|. Gradient g · sign x, 0 at 0. @param x floats or integers @source torch.abs */
export function abs(x: Tensor): Tensor {
  return absOp([x], null);
}

/** eˣ. Gradient g · eˣ. @source torch.exp */
export function exp(x: Tensor): Tensor {
  return expOp([x], null);
}

/** eˣ − 1, accurate near 0. Gradient g · eˣ. @source torch.expm1 */
export function expm1(x: Tensor): Tensor {
  return expm1Op([x], null);
}

/** ln x: −∞ at 0, NaN below. Gradient g / x. @source torch.log */
export function log(x: Tensor): Tensor {
  return logOp([x], null);
}

/** ln(1 + x), accurate near 0. Gradient g / (1 + x). @source torch.log1p */
export function log1p(x: Tensor): Tensor {
  return log1pOp([x], null);
}

/** √x: NaN below 0. Gradient g / 2√x. @source torch.sqrt */
export function sqrt(x: Tensor): Tensor {
  return sqrtOp([x], null);
}

/** 1 / √x: ∞ at 0, NaN below. Gradient −g / 2x√x. @source torch.rsqrt */
export function rsqrt(x: Tensor): Tensor {
  return rsqrtOp([x], null);
}

/** 1 / x. Gradient −g / x². @source torch.reciprocal */
export function reciprocal(x: Tensor): Tensor {
  return reciprocalOp([x], null);
}

/** x². Gradient 2 · g · x. @param x floats or integers, which wrap @source torch.square */
export function square(x: Tensor): Tensor {
  return squareOp([x], null);
}

/** sin x, x in radians. Gradient g · cos x. @source torch.sin */
export function sin(x: Tensor): Tensor {
  return sinOp([x], null);
}

/** cos x, x in radians. Gradient −g · sin x. @source torch.cos */
export function cos(x: Tensor): Tensor {
  return cosOp([x], null);
}

/** The error function 2/√π ∫₀ˣ e^−t² dt. Gradient g · 2/√π · e^−x². @source torch.erf */
export function erf(x: Tensor): Tensor {
  return erfOp([x], null);
}
