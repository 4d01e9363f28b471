/** Linear layers over fixed wires: a gather and a sum, whose cost follows the number of wires. */
import { DTypeError, ShapeError } from '../../device/errors.js';
import {
  type SparseParams,
  sparseLinearHost,
  sparseLinearKernel,
  sparseWeightsHost,
  sparseWeightsKernel,
} from '../../kernels/sparse-linear.js';
import { sparseLinearSimd, sparseWeightsSimd } from '../../kernels/sparse-linear-simd.js';
import { formatShape, numel } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { defineOp, type Op, type Spec } from '../op.js';
import type { Wiring } from '../wiring.js';
import { reshape } from './broadcast.js';
import { checkDType } from './define.js';
import { sum } from './reduce.js';

interface Wired {
  readonly wiring: Wiring;
}

interface SparseLinearParams extends SparseParams, Wired {
  /** From outputs to inputs. */
  readonly transposed: boolean;
}

/**
 * Inputs x [..., in], weights [wires], starts and sources of the wiring, and a bias [out] where there is one. Where
 * `transposed`: g [..., out], weights, and starts, targets and wires of the wiring's other order.
 */
const sparseLinearOp: Op<readonly Tensor[], SparseLinearParams> = defineOp<
  readonly Tensor[],
  SparseLinearParams
>({
  name: 'sparseLinear',
  mixedDTypes: true,
  infer([x, weights, , , ...more], { wiring, transposed, bias }) {
    checkFloats('sparseLinear', [x, weights, ...(bias ? more : [])]);
    return {
      shape: [...x.shape.slice(0, -1), transposed ? wiring.inputs : wiring.outputs],
      dtype: x.dtype,
    };
  },
  host: sparseLinearHost,
  kernel: sparseLinearKernel,
  simd: sparseLinearSimd,
  simdIntegers: true,
  work: ([x, weights]) => ({ operations: 2 * numel(weights.shape) * numel(x.shape.slice(0, -1)) }),
  saves: [0, 1],
  backward({ gradOutput: g, params: { wiring, transposed, bias }, input, needs, inputShapes }) {
    const grads: (Tensor | null)[] = inputShapes.map(() => null);
    const last = grads.length - 1;
    if (needs(0)) grads[0] = along(wiring, g, input(1), !transposed);
    if (needs(1)) {
      grads[1] = transposed ? alongWeights(wiring, input(0), g) : alongWeights(wiring, g, input(0));
    }
    if (bias && needs(last)) {
      grads[last] = sum(reshape(g, [numel(g.shape.slice(0, -1)), wiring.outputs]), { dim: 0 });
    }
    return grads;
  },
});

/** @throws DTypeError unless all are of one floating-point dtype; the indices beside them are not. */
function checkFloats(op: string, floats: readonly Spec[]): void {
  const { dtype } = floats[0];
  checkDType(op, dtype, 'float');
  if (floats.every((t) => t.dtype === dtype)) return;
  throw new DTypeError(
    `${op}: expected one dtype, got ${floats.map((t) => t.dtype).join(' and ')}; convert with x.to('${dtype}')`,
  );
}

/** Sums along the wires without a bias, to their targets or, `transposed`, to their sources. */
function along(wiring: Wiring, x: Tensor, weights: Tensor, transposed: boolean): Tensor {
  const { starts, sources, backward } = wiring.on(x.device);
  const index = transposed ? [backward.starts, backward.targets, backward.wires] : [starts, sources];
  return sparseLinearOp([x, weights, ...index], { wiring, transposed, lookup: transposed, bias: false });
}

/** Inputs g [..., out], x [..., in], targets and sources; output [wires]: Σ g[r, target] · x[r, source] over rows. */
const sparseWeightsOp: Op<readonly Tensor[], Wired> = defineOp<readonly Tensor[], Wired>({
  name: 'sparseLinearBackward',
  mixedDTypes: true,
  infer([g, x], { wiring }) {
    checkFloats('sparseLinear', [g, x]);
    return { shape: [wiring.length], dtype: g.dtype };
  },
  host: sparseWeightsHost,
  kernel: sparseWeightsKernel,
  simd: sparseWeightsSimd,
  simdIntegers: true,
  work: ([g], [dWeights]) => ({ operations: 2 * numel(dWeights.shape) * numel(g.shape.slice(0, -1)) }),
  saves: [0, 1],
  backward: ({ gradOutput: d, params: { wiring }, input, needs }) => [
    needs(0) ? along(wiring, input(1), d, false) : null,
    needs(1) ? along(wiring, input(0), d, true) : null,
    null,
    null,
  ],
});

function alongWeights(wiring: Wiring, g: Tensor, x: Tensor): Tensor {
  const { targets, sources } = wiring.on(g.device);
  return sparseWeightsOp([g, x, targets, sources], { wiring });
}

/**
 * y[…, o] = bias[o] + Σ weights[w] · x[…, source(w)] over the wires w that end at o: `linear` with a matrix whose other
 * entries do not exist. Time and memory follow the number of wires, and gradients only run along them.
 *
 * @param x [..., in]
 * @param weights [wires], in the order of `wiring.sources`: by target, then by source
 * @param bias [out]
 * @returns [..., out]
 * @throws ShapeError where x, weights or bias do not fit the wiring
 * @source torch.nn.functional.linear with a sparse_csr weight
 * @example
 * const wiring = new Wiring(3, 2, [0, 2, 1], [0, 0, 1]);
 * sparseLinear(tensor([1, 2, 3]), tensor([10, 1, 5]), wiring); // [13, 10]
 */
export function sparseLinear(x: Tensor, weights: Tensor, wiring: Wiring, bias?: Tensor | null): Tensor {
  const { inputs, outputs, length } = wiring;
  if (x.ndim < 1 || x.shape[x.ndim - 1] !== inputs) {
    throw new ShapeError(`sparseLinear: expected x [..., ${inputs}] as wired, got ${formatShape(x.shape)}`);
  }
  if (weights.ndim !== 1 || weights.numel !== length) {
    throw new ShapeError(
      `sparseLinear: expected a weight for each of ${length} wires, got ${formatShape(weights.shape)}`,
    );
  }
  if (bias && (bias.ndim !== 1 || bias.numel !== outputs)) {
    throw new ShapeError(
      `sparseLinear: expected a bias of shape [${outputs}], got ${formatShape(bias.shape)}`,
    );
  }
  const { starts, sources } = wiring.on(x.device);
  return sparseLinearOp([x, weights, starts, sources, ...(bias ? [bias] : [])], {
    wiring,
    transposed: false,
    lookup: false,
    bias: Boolean(bias),
  });
}
