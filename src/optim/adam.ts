/** Adam, and AdamW with its decoupled weight decay. */
import { type MultiTensorUpdate, multiTensorUpdate } from '../kernels/multi-tensor.js';
import { checkRange, Optimizer, type ParamGroup, type Params, type Rule } from './optimizer.js';

export interface AdamOptions {
  /** Learning rate; default 1e-3. */
  lr: number;
  /** Decay rates of the running means of gradients and of their squares; default [0.9, 0.999]. */
  betas: readonly [number, number];
  /** Added to the root of the second mean; default 1e-8. */
  eps: number;
  /** Adam: L2 penalty, added to the gradient, default 0. AdamW: share lr · weightDecay of x that goes at each step, default 0.01. */
  weightDecay: number;
}

interface Update {
  readonly beta1: number;
  readonly beta2: number;
  readonly eps: number;
  readonly weightDecay: number;
}

const PARAMS = ['beta1', 'fresh1', 'beta2', 'fresh2', 'eps', 'penalty'] as const;

/** ln β, and instead of −∞ a number whose exponential is 0 in any precision. */
function logOf(beta: number): number {
  return Math.max(Math.log(beta), -1e4);
}

/** The update of both; they differ in where weight decay enters. */
function adamUpdate(name: string, decoupled: boolean): MultiTensorUpdate<Update> {
  return multiTensorUpdate<Update>({
    name,
    states: 2,
    rates: {
      // γ / (1 − β₁ᵗ), 1 / √(1 − β₂ᵗ), 1 − γλ
      host: (t, lr, { beta1, beta2, weightDecay }) => [
        lr / -Math.expm1(t * logOf(beta1)),
        1 / Math.sqrt(-Math.expm1(t * logOf(beta2))),
        decoupled ? 1 - lr * weightDecay : 1,
      ],
      // 1 − eˣ for x ≤ 0 without cancellation: β₂ᵗ is near 1 for hundreds of steps.
      declarations: `fn one_minus_exp(x: f32) -> f32 {
  if (x < -0.5) { return 1.0 - exp(x); }
  return -x * (1.0 + x / 2.0 * (1.0 + x / 3.0 * (1.0 + x / 4.0 * (1.0 + x / 5.0 * (1.0 + x / 6.0 * (1.0 + x / 7.0 * (1.0 + x / 8.0)))))));
}`,
      wgsl: `r0 = lr / one_minus_exp(t * p.log1);
r1 = 1.0 / sqrt(one_minus_exp(t * p.log2));
r2 = 1.0 - lr * p.decay;`,
      params: ['log1', 'log2', 'decay'].map((param) => ({ name: param, type: 'f32' })),
      values: ({ beta1, beta2, weightDecay }) => [logOf(beta1), logOf(beta2), decoupled ? weightDecay : 0],
    },
    params: PARAMS.map((param) => ({ name: param, type: 'f32' })),
    values: ({ beta1, beta2, eps, weightDecay }) => [
      beta1,
      1 - beta1,
      beta2,
      1 - beta2,
      eps,
      decoupled ? 0 : weightDecay,
    ],
    update: `${decoupled ? 'x *= r2;' : 'g += p.penalty * x;'}
s0 = p.beta1 * s0 + p.fresh1 * g;
s1 = p.beta2 * s1 + p.fresh2 * g * g;
x -= r0 * s0 / (sqrt(s1) * r1 + p.eps);`,
    loop(n, x, xo, g, go, state, [mo, vo], { rates: [stepSize, root, shrink] }, params) {
      const { beta1, beta2, eps, weightDecay } = params;
      const penalty = decoupled ? 0 : weightDecay;
      const fresh1 = 1 - beta1;
      const fresh2 = 1 - beta2;
      for (let i = 0; i < n; i++) {
        const before = x[xo + i];
        const d = g[go + i] + penalty * before;
        const m = beta1 * state[mo + i] + fresh1 * d;
        const v = beta2 * state[vo + i] + fresh2 * d * d;
        state[mo + i] = m;
        state[vo + i] = v;
        x[xo + i] = shrink * before - (stepSize * m) / (Math.sqrt(v) * root + eps);
      }
    },
    simd(module, n, x, g, [mean, square], { rates: [stepSize, root, shrink] }, params) {
      const { beta1, beta2, eps, weightDecay } = params;
      if (decoupled) module.adamw(n, x, g, mean, square, beta1, beta2, eps, shrink, stepSize, root);
      else module.adam(n, x, g, mean, square, beta1, beta2, eps, weightDecay, stepSize, root);
      return true;
    },
  });
}

/** What Adam and AdamW share. */
abstract class AdamBase extends Optimizer<AdamOptions> {
  protected abstract readonly programs: MultiTensorUpdate<Update>;

  protected override check(g: ParamGroup<AdamOptions>): void {
    checkRange(this.name, 'lr', g.lr);
    checkRange(this.name, 'betas[0]', g.betas[0], 0, 1);
    checkRange(this.name, 'betas[1]', g.betas[1], 0, 1);
    checkRange(this.name, 'eps', g.eps);
    checkRange(this.name, 'weightDecay', g.weightDecay);
  }

  protected override stateNames(): readonly string[] {
    return ['exp_avg', 'exp_avg_sq'];
  }

  protected override rule({
    betas: [beta1, beta2],
    eps,
    weightDecay,
  }: ParamGroup<AdamOptions>): Rule<Update> {
    return { programs: this.programs, params: { beta1, beta2, eps, weightDecay } };
  }
}

const adam = adamUpdate('adam', false);
const adamW = adamUpdate('adamW', true);

/**
 * Adam: m ← β₁m + (1 − β₁)d; v ← β₂v + (1 − β₂)d²; x ← x − γ · m̂ / (√v̂ + ε) with d = g + λx, m̂ = m / (1 − β₁ᵗ) and
 * v̂ = v / (1 − β₂ᵗ).
 *
 * @source torch.optim.Adam; Kingma and Ba: Adam: A Method for Stochastic Optimization (ICLR 2015), algorithm 1.
 * @example
 * const optimizer = new Adam(model.parameters(), { lr: 3e-4 });
 */
export class Adam extends AdamBase {
  protected override readonly programs = adam;

  constructor(params: Params<AdamOptions>, options: Partial<AdamOptions> = {}) {
    super('Adam', params, { lr: 1e-3, betas: [0.9, 0.999], eps: 1e-8, weightDecay: 0, ...options });
  }
}

/**
 * Adam whose weight decay acts on the weights alone: x ← (1 − γλ)x before Adam's step with d = g.
 *
 * @source torch.optim.AdamW; Loshchilov and Hutter: Decoupled Weight Decay Regularization (ICLR 2019), algorithm 2.
 * @example
 * const optimizer = new AdamW(model.parameters(), { lr: 3e-4, weightDecay: 0.1 });
 */
export class AdamW extends AdamBase {
  protected override readonly programs = adamW;

  constructor(params: Params<AdamOptions>, options: Partial<AdamOptions> = {}) {
    super('AdamW', params, { lr: 1e-3, betas: [0.9, 0.999], eps: 1e-8, weightDecay: 0.01, ...options });
  }
}
