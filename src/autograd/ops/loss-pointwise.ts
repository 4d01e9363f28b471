/** Losses element by element, as operations of their own: their formulas need care that compositions lack. */
import { pointwise, ternaryHost } from '../../kernels/pointwise.js';
import { declarations, IS_NAN, snippet } from '../../kernels/wgsl.js';
import { EXP, LOG, LOG1P } from '../../kernels/wgsl-math.js';
import type { Tensor } from '../../tensor/tensor.js';
import { defineOp } from '../op.js';
import { sigmoid, softplus } from './activations.js';
import { add, div, mul, neg, sub } from './arithmetic.js';
import { asTensor, checkDType, defineBinary } from './define.js';
import { unbroadcast } from './operands.js';
import { clamp } from './rounding.js';
import { log, log1p } from './unary.js';

/** d² / 2 where |d| ≤ delta, delta · (|d| − delta / 2) beyond, d = a − b. */
export const huberOp = defineBinary<{ readonly delta: number }>({
  name: 'huber',
  autocast: 'full',
  accepts: 'float',
  loop(n, y, yo, a, ao, as, b, bo, bs, { delta }) {
    for (let i = 0; i < n; i++) {
      const d = Math.abs(a[ao + i * as] - b[bo + i * bs]);
      y[yo + i] = d <= delta ? 0.5 * d * d : delta * (d - 0.5 * delta);
    }
  },
  declarations: `fn huber(d: f32, delta: f32) -> f32 {
  if (d <= delta) { return 0.5 * d * d; }
  return delta * (d - 0.5 * delta);
}`,
  wgsl: 'huber(abs(a - b), p.delta)',
  params: [{ name: 'delta', type: 'f32' }],
  values: ({ delta }) => [delta],
  saves: [0, 1],
  backward({ gradOutput: g, input, params: { delta }, needs }) {
    const slope = mul(g, clamp(sub(input(0), input(1)), { min: -delta, max: delta }));
    return [slope, needs(1) ? neg(slope) : null];
  },
});

/** PyTorch's lower bound of the logarithms in binary cross-entropy. */
const LOWEST = -100;
/** PyTorch's lower bound of x · (1 − x) in its gradient. */
const SMALLEST = 1e-12;

/** Beyond this, softplus(x) = x to float64's last bit. */
const EXACT = 80;

const BOUNDED = snippet(
  `fn bounded(x: f32) -> f32 {
  if (is_nan(x)) { return x; }
  return max(x, ${LOWEST}.0);
}`,
  IS_NAN,
);

/** −y · log x − (1 − y) · log(1 − x), the logarithms at least −100. */
export const bceOp = defineBinary({
  name: 'bce',
  autocast: 'full',
  accepts: 'float',
  loop(n, y, yo, a, ao, as, b, bo, bs) {
    for (let i = 0; i < n; i++) {
      const x = a[ao + i * as];
      const t = b[bo + i * bs];
      y[yo + i] = (t - 1) * Math.max(Math.log1p(-x), LOWEST) - t * Math.max(Math.log(x), LOWEST);
    }
  },
  declarations: declarations(BOUNDED, LOG, LOG1P),
  wgsl: '(b - 1.0) * bounded(log1p_f(-a)) - b * bounded(log_f(a))',
  saves: [0, 1],
  backward({ gradOutput: g, input, needs }) {
    const [x, y] = [input(0), input(1)];
    const slope = () => div(sub(x, y), clamp(mul(x, sub(asTensor(1, x), x)), { min: SMALLEST }));
    const ofTarget = () => sub(clamp(log1p(neg(x)), { min: LOWEST }), clamp(log(x), { min: LOWEST }));
    return [needs(0) ? mul(g, slope()) : null, needs(1) ? mul(g, ofTarget()) : null];
  },
});

/** (1 − y) · x + (1 + (w − 1) · y) · log(1 + e^−x) of logits x, targets y and weights w of positives, which broadcast. */
export const bceWithLogitsOp = defineOp<[Tensor, Tensor, Tensor], null>({
  name: 'bceWithLogits',
  autocast: 'full',
  layout: 'strided',
  infer([x]) {
    checkDType('bceWithLogitsLoss', x.dtype, 'float');
    return x;
  },
  host: ternaryHost((n, y, yo, a, ao, as, b, bo, bs, c, co, cs) => {
    for (let i = 0; i < n; i++) {
      const x = a[ao + i * as];
      const t = b[bo + i * bs];
      const soft = Math.log1p(Math.exp(-Math.abs(x))) + Math.max(-x, 0);
      y[yo + i] = (1 - t) * x + (1 + (c[co + i * cs] - 1) * t) * soft;
    }
  }),
  kernel: pointwise({
    name: 'bceWithLogits',
    expr: '(1.0 - b) * a + (1.0 + (c - 1.0) * b) * (log1p_f(exp_f(-abs(a))) + max(-a, 0.0))',
    declarations: declarations(EXP, LOG1P),
  }),
  saves: [0, 1, 2],
  backward({ gradOutput: g, input, needs }) {
    const [x, y, w] = [input(0), input(1), input(2)];
    const one = asTensor(1, x);
    const soft = () => softplus(neg(x), 1, EXACT);
    const slope = () => sub(sub(one, y), mul(add(mul(sub(w, one), y), one), sigmoid(neg(x))));
    return [
      needs(0) ? mul(g, slope()) : null,
      needs(1) ? mul(g, sub(mul(sub(w, one), soft()), x)) : null,
      needs(2) ? unbroadcast(mul(g, mul(y, soft())), w.shape) : null,
    ];
  },
});
