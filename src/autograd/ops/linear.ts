/** Linear layers as one operation: product, bias, activation or residual; and the gradients of weight and bias as another. */
import { ShapeError } from '../../device/errors.js';
import type { Dispatch, KernelCall, SimdModule, SimdUnary, SimdView } from '../../device/types.js';
import { linearHost, linearKernel, linearWeightsHost, linearWeightsKernel } from '../../kernels/linear.js';
import type { ActivationText } from '../../kernels/matmul-text.js';
import { formatShape, numel, sameShape } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { mode } from '../mode.js';
import { defineOp, type Op, type SaveName } from '../op.js';
import { activations, type DefinedActivation } from './activation.js';
import { gelu, relu, sigmoid, silu, tanh } from './activations.js';
import { add } from './arithmetic.js';
import { expand, reshape, sum } from './broadcast.js';
import { checkDType } from './define.js';
import { matmul, matmulHost, matmulSimd } from './matmul.js';
import { transpose } from './views.js';

/** What may follow a linear layer in the same operation; `gelu` is the exact one. */
export type LinearActivation = 'relu' | 'gelu' | 'geluTanh' | 'silu' | 'tanh' | 'sigmoid';

/** The same functions as operations of their own. */
export const linearActivations: Readonly<Record<LinearActivation, (x: Tensor) => Tensor>> = {
  relu,
  gelu,
  geluTanh: (x) => gelu(x, { approximate: 'tanh' }),
  silu,
  tanh,
  sigmoid,
};

/** Inputs x, W, then b and r where there are such. */
interface LinearParams {
  readonly bias: boolean;
  readonly residual: boolean;
  readonly activation: LinearActivation | null;
  /** The sum before the activation is an output too: backward needs it. */
  readonly keep: boolean;
}

const known = (name: LinearActivation): DefinedActivation => activations.get(name)!;

const texts = new Map<LinearActivation, ActivationText>();

/** The activation as kernels want it. */
function textOf(name: LinearActivation): ActivationText {
  let text = texts.get(name);
  if (!text) {
    const { wgsl, declarations } = known(name).definition;
    texts.set(name, (text = { name, wgsl: typeof wgsl === 'function' ? wgsl(['f32']) : wgsl, declarations }));
  }
  return text;
}

/** One dispatch for all; or the activation in one of its own where a further product takes longer to compile than that saves. */
function linearDispatches(call: KernelCall<LinearParams>): Dispatch[] {
  const { activation, keep } = call.params;
  if (!(activation && keep && call.target.dearPlaces)) {
    return linearKernel(call, activation && textOf(activation));
  }
  const [y, z] = call.outputs;
  const { kernel } = known(activation).op.definition;
  return [
    ...linearKernel({ ...call, outputs: [z] }, null),
    ...kernel({ ...call, inputs: [z], outputs: [y], params: null }),
  ];
}

/** What backward computes the slope from: z, the second output, or y. */
function slopeSource(name: LinearActivation): SaveName {
  return known(name).definition.slope.of === 'input' ? 'output1' : 'output';
}

const linearOp: Op<readonly Tensor[], LinearParams> = defineOp<readonly Tensor[], LinearParams>({
  name: 'linear',
  autocast: 'half',
  layout: ['strided', 'strided', 'contiguous', 'contiguous'],
  infer([x, weight], { keep }) {
    checkDType('linear', x.dtype, 'float');
    const y = { shape: [...x.shape.slice(0, -1), weight.shape[0]], dtype: x.dtype };
    return keep ? [y, y] : y;
  },
  host(inputs, outputs, p) {
    const loop = p.activation && known(p.activation).definition.loop;
    linearHost(matmulHost, inputs, outputs, p, loop && ((n, y, x) => loop(n, y, 0, x, 0, 1, null)));
  },
  simd: linearSimd,
  kernel: linearDispatches,
  work: ([x], [y]) => ({ operations: 2 * x.shape[x.shape.length - 1] * numel(y.shape) }),
  saves: ({ activation }) => (activation ? [0, 1, slopeSource(activation)] : [0, 1]),
  backward({ gradOutputs: [g, gz], params, input, output, needs, inputShapes }) {
    const { activation, bias, residual } = params;
    // The gradient of z comes from activation's own, and of those who differentiate twice from z itself.
    let dz = g;
    if (g && activation) {
      dz = known(activation).slope([g, output(slopeSource(activation) === 'output1' ? 1 : 0)], null);
    }
    if (gz) dz = dz ? add(dz, gz) : gz;
    const [inFeatures, out] = [inputShapes[1][1], inputShapes[1][0]];
    const grads: (Tensor | null)[] = [needs(0) ? matmul(dz!, input(1)) : null];
    const rows = numel(inputShapes[0].slice(0, -1));
    const flat = (t: Tensor, columns: number): Tensor => (t.ndim === 2 ? t : reshape(t, [rows, columns]));
    const wanted = { weight: needs(1), bias: bias && needs(2) };
    const [dW, db] = weightGradients(flat(dz!, out), () => flat(input(0), inFeatures), wanted);
    grads.push(dW);
    if (bias) grads.push(db);
    if (residual) grads.push(needs(bias ? 3 : 2) ? dz! : null);
    return grads;
  },
});

/** dW = dzᵀ·x and db = Σ rows of dz, as far as they are wanted. */
function weightGradients(
  dz: Tensor,
  x: () => Tensor,
  wanted: { readonly weight: boolean; readonly bias: boolean },
): [Tensor | null, Tensor | null] {
  if (wanted.weight && wanted.bias) {
    const [dW, db] = linearWeightsOp.all([dz, x()], null);
    return [dW, db];
  }
  return [wanted.weight ? matmul(transpose(dz, 0, 1), x()) : null, wanted.bias ? sum(dz, { dim: 0 }) : null];
}

/** Inputs dz [R, out] and x [R, in]; outputs dW = dzᵀ·x [out, in] and db = Σ rows of dz [out]. */
const linearWeightsOp: Op<[Tensor, Tensor], null> = defineOp<[Tensor, Tensor], null>({
  name: 'linearBackward',
  layout: 'strided',
  infer([dz, x]) {
    const { dtype } = dz;
    return [
      { shape: [dz.shape[1], x.shape[1]], dtype },
      { shape: [dz.shape[1]], dtype },
    ];
  },
  host: (inputs, outputs) => linearWeightsHost(matmulHost, inputs, outputs),
  simd(module, [dz, x], [dW, db]) {
    const [rows, out] = dz.shape;
    const columns = { ...dz, shape: [out, rows], strides: [dz.strides[1], dz.strides[0]] };
    matmulSimd(module, [columns, x], [dW]);
    module.sumRows(out, rows, dz.pointer, dz.strides[1], dz.strides[0], db.pointer);
    return true;
  },
  kernel: linearWeightsKernel,
  work: ([dz, x]) => ({ operations: numel(dz.shape) * (2 * x.shape[1] + 1) }),
  saves: [0, 1],
  backward({ gradOutputs: [gW, gb], input, needs }) {
    const [dz, x] = [input(0), input(1)];
    const towardsDz = () => (gW ? linear(x, gW, gb) : expand(gb!, dz.shape));
    return [needs(0) ? towardsDz() : null, needs(1) && gW ? matmul(dz, gW) : null];
  },
});

function linearSimd(
  module: SimdModule,
  inputs: readonly SimdView[],
  [y, z]: readonly SimdView[],
  { bias, residual, activation }: LinearParams,
): boolean {
  const [x, w] = inputs;
  const [rows, out] = [numel(y.shape.slice(0, -1)), w.shape[0]];
  if (rows * out === 0) return true;
  const target = z ?? y;
  const transposed = { ...w, shape: [w.shape[1], out], strides: [w.strides[1], w.strides[0]] };
  matmulSimd(module, [x, transposed], [target]);
  const { pointer } = target;
  if (bias) module.add(rows, out, pointer, out, 1, inputs[2].pointer, 0, 1, pointer);
  const count = rows * out;
  if (residual) {
    module.add(1, count, pointer, count, 1, inputs[bias ? 3 : 2].pointer, count, 1, pointer);
  }
  if (activation) (module[activation] as SimdUnary)(1, count, pointer, count, 1, y.pointer);
  return true;
}

export interface LinearOptions {
  /** Applied to the sum: y = activation(x·Wᵀ + b). */
  readonly activation?: LinearActivation | null;
  /** Added to the result; of its shape. */
  readonly residual?: Tensor | null;
}

/**
 * y = activation(x·Wᵀ + b) + residual, in one operation unless both activation and residual are given.
 *
 * @param x [..., in]
 * @param weight [out, in], or [in] for a single output without a dim of its own
 * @param bias [out]
 * @returns [..., out]
 * @throws ShapeError where `in` differs, or bias or residual do not fit
 * @source torch.nn.functional.linear
 */
export function linear(
  x: Tensor,
  weight: Tensor,
  bias?: Tensor | null,
  { activation = null, residual = null }: LinearOptions = {},
): Tensor {
  if (
    weight.ndim < 1 ||
    weight.ndim > 2 ||
    x.ndim < 1 ||
    x.shape[x.ndim - 1] !== weight.shape[weight.ndim - 1]
  ) {
    throw new ShapeError(
      `linear: expected x [..., in] and weight [out, in], got ${formatShape(x.shape)} and ${formatShape(weight.shape)}`,
    );
  }
  const [out] = weight.ndim === 2 ? weight.shape : [1];
  if (bias && (bias.numel !== out || bias.ndim > 1)) {
    throw new ShapeError(`linear: expected a bias of shape [${out}], got ${formatShape(bias.shape)}`);
  }
  const lead = x.shape.slice(0, -1);
  const shape = weight.ndim === 2 ? [...lead, out] : lead;
  if (residual && !sameShape(residual.shape, shape)) {
    throw new ShapeError(
      `linear: expected a residual of the result's shape ${formatShape(shape)}, got ${formatShape(residual.shape)}`,
    );
  }
  // In mixed precision the stream that residuals are added to keeps its own dtype.
  if (residual && (activation || mode.autocast)) {
    return add(linear(x, weight, bias, { activation }), residual);
  }
  if (weight.ndim === 1) {
    let y = matmul(x, weight);
    if (bias) y = add(y, reshape(bias, []));
    if (residual) return add(y, residual);
    return activation ? linearActivations[activation](y) : y;
  }
  const inputs = [x, weight, ...(bias ? [reshape1(bias)] : []), ...(residual ? [residual] : [])];
  const keep =
    activation !== null &&
    slopeSource(activation) === 'output1' &&
    mode.gradEnabled &&
    inputs.some((t) => t.requiresGrad);
  const [y, z] = linearOp.all(inputs, {
    bias: Boolean(bias),
    residual: Boolean(residual),
    activation,
    keep,
  });
  // Backward has its own hold on it.
  z?.release();
  return y;
}

/** A bias for a single output may be a scalar. */
function reshape1(bias: Tensor): Tensor {
  return bias.ndim === 1 ? bias : reshape(bias, [1]);
}
