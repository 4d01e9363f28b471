/** gelu(x + bias) as one operation, and one for both of its gradients. */
import { ShapeError } from '../../device/errors.js';
import {
  type BiasGeluBackwardParams,
  type BiasGeluParams,
  biasGeluBackwardHost,
  biasGeluBackwardSimd,
  biasGeluHost,
  biasGeluKernel,
  biasGeluSimd,
} from '../../kernels/bias-gelu.js';
import { formatShape, sameShape } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { mode } from '../mode.js';
import { defineOp } from '../op.js';
import { sigmoid } from './activations.js';
import { add, mul, neg } from './arithmetic.js';
import { sumTo } from './broadcast.js';
import { checkDType } from './define.js';
import { erf, exp, square } from './unary.js';

const biasGeluOp = defineOp<[Tensor, Tensor], BiasGeluParams>({
  name: 'biasGelu',
  infer([x, bias]) {
    checkDType('biasGelu', x.dtype, 'float');
    if (x.shape.length === 0 || !sameShape(bias.shape, x.shape.slice(-1))) {
      throw new ShapeError(
        `biasGelu: expected x [..., C] and bias [C], got ${formatShape(x.shape)} and ${formatShape(bias.shape)}`,
      );
    }
    return x;
  },
  host: biasGeluHost,
  kernel: biasGeluKernel,
  simd: biasGeluSimd,
  saves: [0, 1],
  backward({ gradOutput: g, params, input, needs }) {
    const [x, bias] = [input(0), input(1)];
    if (mode.gradEnabled) {
      const dx = mul(g, slope(add(x, bias), params.tanh));
      return [needs(0) ? dx : null, needs(1) ? sumTo(dx, bias.shape) : null];
    }
    const wants = { x: needs(0), bias: needs(1) };
    const found = backwardOp.all([g, x, bias], { ...params, wants });
    return [wants.x ? found[0] : null, wants.bias ? found[found.length - 1] : null];
  },
});

/** Inputs g, x, bias; outputs dx?, dBias?. */
const backwardOp = defineOp<[Tensor, Tensor, Tensor], BiasGeluBackwardParams>({
  name: 'biasGeluBackward',
  infer: ([g, , bias], { wants }) => [...(wants.x ? [g] : []), ...(wants.bias ? [bias] : [])],
  host: biasGeluBackwardHost,
  kernel: biasGeluKernel,
  simd: biasGeluBackwardSimd,
  // Runs only where no graph is recorded; gradients of gradients go through operations.
  differentiable: false,
});

/** gelu′(z) in operations. */
function slope(z: Tensor, tanh: boolean): Tensor {
  if (!tanh) {
    const cdf = add(mul(erf(mul(z, Math.SQRT1_2)), 0.5), 0.5);
    return add(cdf, mul(z, mul(exp(mul(square(z), -0.5)), 1 / Math.sqrt(2 * Math.PI))));
  }
  const [k, cubic] = [2 * Math.sqrt(2 / Math.PI), 0.044715];
  const s = sigmoid(mul(mul(z, add(mul(square(z), cubic), 1)), k));
  const bell = mul(s, add(neg(s), 1));
  return add(s, mul(bell, mul(mul(z, k), add(mul(square(z), 3 * cubic), 1))));
}

/**
 * gelu(x + bias): the activation of a feed-forward layer with the bias of the layer before it, in one pass; backward gives
 * both gradients in one.
 *
 * @param x [..., C], floating-point
 * @param bias [C]
 * @returns the shape of x
 * @throws ShapeError unless the bias is as long as x's last dim
 * @source torch.nn.functional.gelu of a sum
 */
export function biasGelu(x: Tensor, bias: Tensor, options: { approximate?: 'none' | 'tanh' } = {}): Tensor {
  return biasGeluOp([x, bias], { tanh: options.approximate === 'tanh' });
}
