/** Adam, and AdamW with its decoupled weight decay. */
import { executeInPlace } from '../autograd/op.js';
import type { Program } from '../device/types.js';
import { multiTensorUpdate, type PairOffsets } from '../kernels/multi-tensor.js';
import { type Batch, checkRange, Optimizer, type ParamGroup, type Params } from './optimizer.js';

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

interface Update extends PairOffsets {
  readonly beta1: number;
  readonly beta2: number;
  readonly eps: number;
  /** γ / (1 − β₁ᵗ) */
  readonly stepSize: number;
  /** 1 / √(1 − β₂ᵗ) */
  readonly root: number;
  /** L2 penalty (Adam). */
  readonly penalty: number;
  /** 1 − γλ (AdamW). */
  readonly shrink: number;
}

const PARAMS = ['beta1', 'fresh1', 'beta2', 'fresh2', 'eps', 'step_size', 'root', 'decay'] as const;

/** The update of both; they differ in where weight decay enters. */
function adamProgram(name: string, decoupled: boolean): Program<Update> {
  return multiTensorUpdate<Update>({
    name,
    states: 2,
    params: PARAMS.map((param) => ({ name: param, type: 'f32' })),
    values: (u) => [
      u.beta1,
      1 - u.beta1,
      u.beta2,
      1 - u.beta2,
      u.eps,
      u.stepSize,
      u.root,
      decoupled ? u.shrink : u.penalty,
    ],
    update: `${decoupled ? 'x *= p.decay;' : 'g += p.decay * x;'}
s0 = p.beta1 * s0 + p.fresh1 * g;
s1 = p.beta2 * s1 + p.fresh2 * g * g;
x -= p.step_size * s0 / (sqrt(s1) * p.root + p.eps);`,
    loop(n, x, xo, g, go, [mean, square], so, { beta1, beta2, eps, stepSize, root, penalty, shrink }) {
      const fresh1 = 1 - beta1;
      const fresh2 = 1 - beta2;
      for (let i = 0; i < n; i++) {
        const before = x[xo + i];
        const d = g[go + i] + penalty * before;
        const m = beta1 * mean[so + i] + fresh1 * d;
        const v = beta2 * square[so + i] + fresh2 * d * d;
        mean[so + i] = m;
        square[so + i] = v;
        x[xo + i] = shrink * before - (stepSize * m) / (Math.sqrt(v) * root + eps);
      }
    },
    simd(module, n, x, g, [mean, square], { beta1, beta2, eps, shrink, penalty, stepSize, root }) {
      if (penalty !== 0) return false;
      module.adamw(n, x, g, mean, square, beta1, beta2, eps, shrink, stepSize, root);
      return true;
    },
  });
}

/** What Adam and AdamW share. */
abstract class AdamBase extends Optimizer<AdamOptions> {
  protected abstract readonly program: Program<Update>;
  protected abstract readonly decoupled: boolean;

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

  protected override update(
    { grads, outputs, stateOffsets, step }: Batch,
    group: ParamGroup<AdamOptions>,
  ): void {
    const {
      lr,
      betas: [beta1, beta2],
      eps,
      weightDecay,
    } = group;
    executeInPlace(this.program, grads, outputs, {
      beta1,
      beta2,
      eps,
      stepSize: lr / (1 - beta1 ** step),
      root: 1 / Math.sqrt(1 - beta2 ** step),
      penalty: this.decoupled ? 0 : weightDecay,
      shrink: this.decoupled ? 1 - lr * weightDecay : 1,
      stateOffsets,
    });
  }
}

const adam = adamProgram('adam', false);
const adamW = adamProgram('adamW', true);

/**
 * Adam: m ← β₁m + (1 − β₁)d; v ← β₂v + (1 − β₂)d²; x ← x − γ · m̂ / (√v̂ + ε) with d = g + λx, m̂ = m / (1 − β₁ᵗ) and
 * v̂ = v / (1 − β₂ᵗ).
 *
 * @source torch.optim.Adam; Kingma and Ba: Adam: A Method for Stochastic Optimization (ICLR 2015), algorithm 1.
 * @example
 * const optimizer = new Adam(model.parameters(), { lr: 3e-4 });
 */
export class Adam extends AdamBase {
  protected override readonly program = adam;
  protected override readonly decoupled = false;

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
  protected override readonly program = adamW;
  protected override readonly decoupled = true;

  constructor(params: Params<AdamOptions>, options: Partial<AdamOptions> = {}) {
    super('AdamW', params, { lr: 1e-3, betas: [0.9, 0.999], eps: 1e-8, weightDecay: 0.01, ...options });
  }
}
