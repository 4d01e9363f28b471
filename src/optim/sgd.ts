/** Stochastic gradient descent. */
import { executeInPlace } from '../autograd/op.js';
import { multiTensorUpdate, type PairOffsets } from '../kernels/multi-tensor.js';
import { type Batch, checkRange, Optimizer, type ParamGroup, type Params } from './optimizer.js';

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

interface Update extends PairOffsets {
  readonly lr: number;
  readonly weightDecay: number;
  readonly momentum: number;
  /** Share of the gradient in the momentum: 1 − dampening. */
  readonly fresh: number;
  readonly nesterov: boolean;
}

const plain = multiTensorUpdate<Update>({
  name: 'sgd',
  states: 0,
  params: [
    { name: 'lr', type: 'f32' },
    { name: 'decay', type: 'f32' },
  ],
  values: ({ lr, weightDecay }) => [lr, weightDecay],
  update: 'x -= p.lr * (g + p.decay * x);',
  loop(n, x, xo, g, go, _states, _so, { lr, weightDecay }) {
    for (let i = 0; i < n; i++) x[xo + i] -= lr * (g[go + i] + weightDecay * x[xo + i]);
  },
});

const withMomentum = multiTensorUpdate<Update>({
  name: 'sgdMomentum',
  states: 1,
  params: [
    { name: 'lr', type: 'f32' },
    { name: 'decay', type: 'f32' },
    { name: 'momentum', type: 'f32' },
    { name: 'fresh', type: 'f32' },
    { name: 'nesterov', type: 'u32' },
  ],
  values: (u) => [u.lr, u.weightDecay, u.momentum, u.fresh, Number(u.nesterov)],
  update: `g += p.decay * x;
s0 = p.momentum * s0 + p.fresh * g;
if (p.nesterov != 0u) { x -= p.lr * (g + p.momentum * s0); } else { x -= p.lr * s0; }`,
  loop(n, x, xo, g, go, [buffer], so, { lr, weightDecay, momentum, fresh, nesterov }) {
    for (let i = 0; i < n; i++) {
      const d = g[go + i] + weightDecay * x[xo + i];
      const b = momentum * buffer[so + i] + fresh * d;
      buffer[so + i] = b;
      x[xo + i] -= lr * (nesterov ? d + momentum * b : b);
    }
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

  protected override update(
    { grads, outputs, stateOffsets, step }: Batch,
    group: ParamGroup<SGDOptions>,
  ): void {
    const { lr, weightDecay, momentum, dampening, nesterov } = group;
    // The first step takes the gradient whole; the buffer holds zeros then.
    const fresh = step === 1 ? 1 : 1 - dampening;
    const program = momentum === 0 ? plain : withMomentum;
    executeInPlace(program, grads, outputs, { lr, weightDecay, momentum, fresh, nesterov, stateOffsets });
  }
}
