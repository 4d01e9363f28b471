/** Stochastic gradient descent. */
import { multiTensorUpdate } from '../kernels/multi-tensor.js';
import { checkRange, Optimizer, type ParamGroup, type Params, type Rule } from './optimizer.js';

export interface SGDOptions {
  /** Learning rate; default 1e-3. */
  lr: number;
  /** Share of the last update that is kept; default 0. */
  momentum: number;
  /** Share of the gradient that momentum leaves out; default 0. */
  dampening: number;
  /** L2 penalty, added to the gradient; default 0. */
  weightDecay: number;
  /** Looks ahead along the momentum; default false. */
  nesterov: boolean;
}

interface Update {
  readonly weightDecay: number;
  readonly momentum: number;
  readonly dampening: number;
  readonly nesterov: boolean;
}

const plain = multiTensorUpdate<Update>({
  name: 'sgd',
  states: 0,
  params: [{ name: 'decay', type: 'f32' }],
  values: ({ weightDecay }) => [weightDecay],
  update: 'x -= lr * (g + p.decay * x);',
  loop(n, x, xo, g, go, _state, _so, { lr }, { weightDecay }) {
    for (let i = 0; i < n; i++) x[xo + i] -= lr * (g[go + i] + weightDecay * x[xo + i]);
  },
  simd(module, n, x, g, _state, { lr }, { weightDecay }) {
    module.sgd(n, x, g, lr, weightDecay);
    return true;
  },
});

const withMomentum = multiTensorUpdate<Update>({
  name: 'sgdMomentum',
  states: 1,
  rates: {
    // The share of the gradient in the momentum. The first step takes it whole; the buffer holds zeros then.
    host: (t, _lr, { dampening }) => [t === 1 ? 1 : 1 - dampening],
    wgsl: 'r0 = select(p.fresh, 1.0, t == 1.0);',
    params: [{ name: 'fresh', type: 'f32' }],
    values: ({ dampening }) => [1 - dampening],
  },
  params: [
    { name: 'decay', type: 'f32' },
    { name: 'momentum', type: 'f32' },
    { name: 'nesterov', type: 'u32' },
  ],
  values: ({ weightDecay, momentum, nesterov }) => [weightDecay, momentum, Number(nesterov)],
  update: `g += p.decay * x;
s0 = p.momentum * s0 + r0 * g;
if (p.nesterov != 0u) { x -= lr * (g + p.momentum * s0); } else { x -= lr * s0; }`,
  loop(n, x, xo, g, go, state, [so], { lr, rates: [fresh] }, { weightDecay, momentum, nesterov }) {
    for (let i = 0; i < n; i++) {
      const d = g[go + i] + weightDecay * x[xo + i];
      const b = momentum * state[so + i] + fresh * d;
      state[so + i] = b;
      x[xo + i] -= lr * (nesterov ? d + momentum * b : b);
    }
  },
  simd(module, n, x, g, [buffer], { lr, rates: [fresh] }, { weightDecay, momentum, nesterov }) {
    module.sgdMomentum(n, x, g, buffer, lr, weightDecay, momentum, fresh, nesterov);
    return true;
  },
});

/**
 * Gradient descent with optional momentum: d = g + λx; b ← μb + (1 − τ)d (b ← d at the first step); x ← x − γb, or
 * x − γ(d + μb) with Nesterov.
 *
 * @source torch.optim.SGD
 * @example
 * const optimizer = new SGD(model.parameters(), { lr: 0.1, momentum: 0.9 });
 */
export class SGD extends Optimizer<SGDOptions> {
  constructor(params: Params<SGDOptions>, options: Partial<SGDOptions> = {}) {
    super('SGD', params, {
      lr: 1e-3,
      momentum: 0,
      dampening: 0,
      weightDecay: 0,
      nesterov: false,
      ...options,
    });
  }

  protected override check(g: ParamGroup<SGDOptions>): void {
    checkRange('SGD', 'lr', g.lr);
    checkRange('SGD', 'momentum', g.momentum);
    checkRange('SGD', 'weightDecay', g.weightDecay);
    if (g.nesterov && (g.momentum <= 0 || g.dampening !== 0)) {
      throw new RangeError(
        `SGD: expected a momentum above 0 and a dampening of 0 for nesterov, got ${g.momentum} and ${g.dampening}`,
      );
    }
  }

  protected override stateNames(group: ParamGroup<SGDOptions>): readonly string[] {
    return group.momentum === 0 ? [] : ['momentum_buffer'];
  }

  protected override rule({
    weightDecay,
    momentum,
    dampening,
    nesterov,
  }: ParamGroup<SGDOptions>): Rule<Update> {
    const programs = momentum === 0 ? plain : withMomentum;
    return { programs, params: { weightDecay, momentum, dampening, nesterov } };
  }
}
