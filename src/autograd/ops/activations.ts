/** Activation functions. Each has its gradient as a second operation, which reads memory once instead of three to ten times. */
import { simdBinary, simdBinaryWith, simdUnary, simdUnaryWith } from '../../kernels/simd.js';
import { normalCdf, normalPdf, sigmoid as sigmoidHost } from '../../kernels/special.js';
import { declarations, IS_NAN } from '../../kernels/wgsl.js';
import { EXP, EXPM1, LOG1P, NORMAL_CDF, SIGMOID, TANH } from '../../kernels/wgsl-math.js';
import type { Tensor } from '../../tensor/tensor.js';
import { defineActivation } from './activation.js';
import { add, mul, neg } from './arithmetic.js';
import { le } from './compare.js';
import { where } from './select.js';
import { exp, square } from './unary.js';

/** c − x. */
function from(c: number, x: Tensor): Tensor {
  return add(neg(x), c);
}

const reluOp = defineActivation({
  name: 'relu',
  accepts: 'number',
  loop(n, y, yo, a, ao, as) {
    for (let i = 0; i < n; i++) y[yo + i] = Math.max(a[ao + i * as], 0);
  },
  wgsl: ([type]) =>
    type === 'u32' ? 'a' : type === 'i32' ? 'max(a, 0)' : 'select(max(a, 0.0), a, is_nan(a))',
  declarations: declarations(IS_NAN),
  simd: simdUnary('relu'),
  slope: {
    of: 'output',
    simd: simdBinary('reluBackward'),
    loop(n, y, yo, g, go, gs, x, xo, xs) {
      for (let i = 0; i < n; i++) y[yo + i] = x[xo + i * xs] <= 0 ? 0 : g[go + i * gs];
    },
    wgsl: 'select(a, 0.0, b <= 0.0 && !is_nan(b))',
  },
});

const leakyReluOp = defineActivation<{ readonly slope: number }>({
  name: 'leakyRelu',
  loop(n, y, yo, a, ao, as, { slope }) {
    for (let i = 0; i < n; i++) y[yo + i] = a[ao + i * as] > 0 ? a[ao + i * as] : slope * a[ao + i * as];
  },
  wgsl: 'select(a * p.slope, a, a > 0.0)',
  params: [{ name: 'slope', type: 'f32' }],
  values: ({ slope }) => [slope],
  simd: simdUnaryWith('leakyRelu', ({ slope }) => [slope, 0]),
  slope: {
    of: 'input',
    loop(n, y, yo, g, go, gs, x, xo, xs, { slope }) {
      for (let i = 0; i < n; i++) y[yo + i] = x[xo + i * xs] > 0 ? g[go + i * gs] : slope * g[go + i * gs];
    },
    wgsl: 'select(a * p.slope, a, b > 0.0)',
    simd: simdBinaryWith('leakyReluBackward', ({ slope }) => [slope, 0]),
  },
});

const eluOp = defineActivation<{ readonly alpha: number }>({
  name: 'elu',
  loop(n, y, yo, a, ao, as, { alpha }) {
    for (let i = 0; i < n; i++)
      y[yo + i] = a[ao + i * as] > 0 ? a[ao + i * as] : alpha * Math.expm1(a[ao + i * as]);
  },
  wgsl: 'select(p.alpha * expm1_f(a), a, a > 0.0)',
  params: [{ name: 'alpha', type: 'f32' }],
  values: ({ alpha }) => [alpha],
  simd: simdUnaryWith('elu', ({ alpha }) => [alpha, 0]),
  declarations: declarations(EXPM1),
  slope: {
    of: 'input',
    loop(n, y, yo, g, go, gs, x, xo, xs, { alpha }) {
      for (let i = 0; i < n; i++)
        y[yo + i] = x[xo + i * xs] > 0 ? g[go + i * gs] : g[go + i * gs] * alpha * Math.exp(x[xo + i * xs]);
    },
    wgsl: 'select(a * p.alpha * exp_f(b), a, b > 0.0)',
    simd: simdBinaryWith('eluBackward', ({ alpha }) => [alpha, 0]),
    derivative: (x, { alpha }) => where(le(x, 0), mul(exp(x), alpha), 0),
  },
});

const sigmoidOp = defineActivation({
  name: 'sigmoid',
  loop(n, y, yo, a, ao, as) {
    for (let i = 0; i < n; i++) y[yo + i] = sigmoidHost(a[ao + i * as]);
  },
  wgsl: 'sigmoid_f(a)',
  declarations: declarations(SIGMOID),
  simd: simdUnary('sigmoid'),
  slope: {
    of: 'output',
    simd: simdBinary('sigmoidBackward'),
    loop(n, y, yo, g, go, gs, s, so, ss) {
      for (let i = 0; i < n; i++) y[yo + i] = g[go + i * gs] * s[so + i * ss] * (1 - s[so + i * ss]);
    },
    wgsl: 'a * b * (1.0 - b)',
    derivative: (s) => from(1, mul(s, 2)),
  },
});

const tanhOp = defineActivation({
  name: 'tanh',
  loop(n, y, yo, a, ao, as) {
    for (let i = 0; i < n; i++) y[yo + i] = Math.tanh(a[ao + i * as]);
  },
  wgsl: 'tanh_f(a)',
  declarations: declarations(TANH),
  simd: simdUnary('tanh'),
  slope: {
    of: 'output',
    simd: simdBinary('tanhBackward'),
    loop(n, y, yo, g, go, gs, t, to, ts) {
      for (let i = 0; i < n; i++) y[yo + i] = g[go + i * gs] * (1 - t[to + i * ts] * t[to + i * ts]);
    },
    wgsl: 'a * (1.0 - b * b)',
    derivative: (t) => mul(t, -2),
  },
});

const siluOp = defineActivation({
  name: 'silu',
  loop(n, y, yo, a, ao, as) {
    for (let i = 0; i < n; i++) y[yo + i] = a[ao + i * as] * sigmoidHost(a[ao + i * as]);
  },
  wgsl: 'a * sigmoid_f(a)',
  declarations: declarations(SIGMOID, {
    text: 'fn silu_slope(x: f32) -> f32 { let s = sigmoid_f(x); return s * (1.0 + x * (1.0 - s)); }',
    uses: [SIGMOID],
  }),
  simd: simdUnary('silu'),
  slope: {
    of: 'input',
    simd: simdBinary('siluBackward'),
    loop(n, y, yo, g, go, gs, x, xo, xs) {
      for (let i = 0; i < n; i++) {
        const s = sigmoidHost(x[xo + i * xs]);
        y[yo + i] = g[go + i * gs] * s * (1 + x[xo + i * xs] * (1 - s));
      }
    },
    wgsl: 'a * silu_slope(b)',
    // s (1 − s) (2 + x (1 − 2s))
    derivative(x) {
      const s = sigmoid(x);
      return mul(mul(s, from(1, s)), add(mul(x, from(1, mul(s, 2))), 2));
    },
  },
});

const geluOp = defineActivation({
  name: 'gelu',
  loop(n, y, yo, a, ao, as) {
    for (let i = 0; i < n; i++) y[yo + i] = a[ao + i * as] * normalCdf(a[ao + i * as]);
  },
  wgsl: 'a * normal_cdf(a)',
  declarations: declarations(NORMAL_CDF, {
    text: `fn gelu_slope(x: f32) -> f32 { return normal_cdf(x) + x * 0.398942280 * exp_f(-0.5 * x * x); }`,
    uses: [NORMAL_CDF, EXP],
  }),
  simd: simdUnary('gelu'),
  slope: {
    of: 'input',
    simd: simdBinary('geluBackward'),
    // Φ(x) + x φ(x)
    loop(n, y, yo, g, go, gs, x, xo, xs) {
      for (let i = 0; i < n; i++) {
        const v = x[xo + i * xs];
        y[yo + i] = g[go + i * gs] * (normalCdf(v) + v * normalPdf(v));
      }
    },
    wgsl: 'a * gelu_slope(b)',
    // φ(x) (2 − x²)
    derivative(x) {
      const z = square(x);
      return mul(mul(exp(mul(z, -0.5)), 1 / Math.sqrt(2 * Math.PI)), from(2, z));
    },
  },
});

/** √(2/π) and the cubic coefficient of GELU's approximation (Hendrycks and Gimpel 2016, section 2). */
const K = Math.sqrt(2 / Math.PI);
const CUBIC = 0.044715;

// x (1 + tanh u) / 2 with u = K (x + CUBIC x³) is x σ(2u), which keeps the tail on the left.
const geluTanhOp = defineActivation({
  name: 'geluTanh',
  loop(n, y, yo, a, ao, as) {
    for (let i = 0; i < n; i++) {
      const v = a[ao + i * as];
      y[yo + i] = v * sigmoidHost(2 * K * v * (1 + CUBIC * v * v));
    }
  },
  wgsl: 'a * sigmoid_f(1.59576912 * a * (1.0 + 0.044715 * a * a))',
  declarations: declarations(SIGMOID, {
    text: `fn gelu_tanh_slope(x: f32) -> f32 {
  let z = x * x;
  let s = sigmoid_f(1.59576912 * x * (1.0 + 0.044715 * z));
  let bell = s * (1.0 - s);
  // Where the bell is 0, the polynomial beside it may be infinite.
  return s + select(0.0, bell * x * 1.59576912 * (1.0 + 0.134145 * z), bell != 0.0);
}`,
    uses: [SIGMOID],
  }),
  simd: simdUnary('geluTanh'),
  slope: {
    of: 'input',
    simd: simdBinary('geluTanhBackward'),
    loop(n, y, yo, g, go, gs, x, xo, xs) {
      for (let i = 0; i < n; i++) {
        const v = x[xo + i * xs];
        const s = sigmoidHost(2 * K * v * (1 + CUBIC * v * v));
        const bell = s * (1 - s);
        y[yo + i] = g[go + i * gs] * (bell === 0 ? s : s + bell * v * 2 * K * (1 + 3 * CUBIC * v * v));
      }
    },
    wgsl: 'a * gelu_tanh_slope(b)',
    // With w = 2u: s (1 − s) (2 w′ + x (w″ + w′² (1 − 2s)))
    derivative(x) {
      const z = square(x);
      const s = sigmoid(mul(mul(x, add(mul(z, CUBIC), 1)), 2 * K));
      const w1 = mul(add(mul(z, 3 * CUBIC), 1), 2 * K);
      const w2 = mul(x, 12 * K * CUBIC);
      const curve = add(mul(w1, 2), mul(x, add(w2, mul(square(w1), from(1, mul(s, 2))))));
      return mul(mul(s, from(1, s)), curve);
    },
  },
});

const softplusOp = defineActivation<{ readonly beta: number; readonly threshold: number }>({
  name: 'softplus',
  // log(1 + eᶻ) = max(z, 0) + log1p(e^−|z|), which cannot overflow.
  loop(n, y, yo, a, ao, as, { beta, threshold }) {
    for (let i = 0; i < n; i++) {
      const z = a[ao + i * as] * beta;
      y[yo + i] =
        z > threshold ? a[ao + i * as] : (Math.max(z, 0) + Math.log1p(Math.exp(-Math.abs(z)))) / beta;
    }
  },
  wgsl: 'softplus(a)',
  params: [
    { name: 'beta', type: 'f32' },
    { name: 'threshold', type: 'f32' },
  ],
  values: ({ beta, threshold }) => [beta, threshold],
  simd: simdUnaryWith('softplus', ({ beta, threshold }) => [beta, threshold]),
  declarations: declarations(SIGMOID, {
    text: `fn softplus(x: f32) -> f32 {
  let z = x * p.beta;
  if (z > p.threshold) { return x; }
  return (max(z, 0.0) + log1p_f(exp_f(-abs(z)))) / p.beta;
}`,
    uses: [EXP, LOG1P],
  }),
  slope: {
    of: 'input',
    loop(n, y, yo, g, go, gs, x, xo, xs, { beta, threshold }) {
      for (let i = 0; i < n; i++) {
        const z = x[xo + i * xs] * beta;
        y[yo + i] = z > threshold ? g[go + i * gs] : g[go + i * gs] * sigmoidHost(z);
      }
    },
    wgsl: 'select(a * sigmoid_f(b * p.beta), a, b * p.beta > p.threshold)',
    simd: simdBinaryWith('softplusBackward', ({ beta, threshold }) => [beta, threshold]),
    derivative(x, { beta, threshold }) {
      const z = mul(x, beta);
      const s = sigmoid(z);
      return where(le(z, threshold), mul(mul(s, from(1, s)), beta), 0);
    },
  },
});

/** max(x, 0); NaN stays. Gradient g where x > 0, else 0. @param x floats or integers @source torch.relu */
export function relu(x: Tensor): Tensor {
  return reluOp([x], null);
}

/** x where x > 0, else negativeSlope · x (default 0.01). @source torch.nn.functional.leaky_relu */
export function leakyRelu(x: Tensor, negativeSlope = 0.01): Tensor {
  return leakyReluOp([x], { slope: negativeSlope });
}

/** x where x > 0, else alpha · (eˣ − 1) (default alpha 1). @source torch.nn.functional.elu */
export function elu(x: Tensor, alpha = 1): Tensor {
  return eluOp([x], { alpha });
}

/** σ(x) = 1 / (1 + e⁻ˣ). Gradient g · σ (1 − σ). @source torch.sigmoid */
export function sigmoid(x: Tensor): Tensor {
  return sigmoidOp([x], null);
}

/** tanh x. Gradient g · (1 − tanh² x). @source torch.tanh */
export function tanh(x: Tensor): Tensor {
  return tanhOp([x], null);
}

/** x · σ(x), also called swish. @source torch.nn.functional.silu */
export function silu(x: Tensor): Tensor {
  return siluOp([x], null);
}

/**
 * x · Φ(x), Φ the distribution function of the standard normal distribution; with approximate 'tanh'
 * x · (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2, as GPT-2 has it.
 *
 * @source torch.nn.functional.gelu; Hendrycks and Gimpel 2016, arXiv:1606.08415
 */
export function gelu(x: Tensor, options: { approximate?: 'none' | 'tanh' } = {}): Tensor {
  return options.approximate === 'tanh' ? geluTanhOp([x], null) : geluOp([x], null);
}

/**
 * log(1 + e^(beta · x)) / beta, a smooth relu; x itself where beta · x > threshold.
 *
 * @source torch.nn.functional.softplus
 */
export function softplus(x: Tensor, beta = 1, threshold = 20): Tensor {
  return softplusOp([x], { beta, threshold });
}
