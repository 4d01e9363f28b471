/** Linear layers: a matrix product by a transposed weight, with all that follows on the way out. */
import type { Dispatch, HostArray, KernelCall } from '../device/types.js';
import { numel } from '../tensor/shape.js';
import { matmulDispatches } from './matmul.js';
import { matmulLayout } from './matmul-layout.js';
import type { ActivationText } from './matmul-text.js';

/** Which inputs follow x and W. */
export interface LinearInputs {
  readonly bias: boolean;
  readonly residual: boolean;
}

interface Matrix {
  readonly shape: readonly number[];
  readonly strides: readonly number[];
}

/** A matrix or array seen as its transpose. */
function transposed<T extends Matrix>(t: T): T {
  return { ...t, shape: [t.shape[1], t.shape[0]], strides: [t.strides[1], t.strides[0]] };
}

/** Outputs y = activation(x·Wᵀ + b + r), and the sum itself where there is a second one. One dispatch, or two where k is split. */
export function linearKernel<P extends LinearInputs>(
  call: KernelCall<P>,
  activation: ActivationText | null,
): Dispatch[] {
  const { inputs, outputs, params } = call;
  const { buffer, dtype, offset, shape, strides } = inputs[1];
  const right = transposed({ buffer, dtype, offset, shape, strides });
  const layout = matmulLayout(inputs[0], right);
  const [a, b] = layout.swapped ? [right, inputs[0]] : [inputs[0], right];
  const residual = params.residual ? inputs[params.bias ? 3 : 2] : undefined;
  const epilogue = {
    bias: params.bias ? inputs[2] : undefined,
    // Turned around, the single output is a row.
    biasStep: layout.swapped ? 0 : 1,
    residual,
    activation: activation ?? undefined,
    z: outputs[1],
  };
  return matmulDispatches({ layout, a, b, y: outputs[0], epilogue }, call);
}

/** Outputs dW = dzᵀ·x and db = Σ rows of dz, of inputs dz [R, out] and x [R, in]. */
export function linearWeightsKernel(call: KernelCall<null>): Dispatch[] {
  const [dz, x] = call.inputs;
  const [dW, db] = call.outputs;
  const [R, out] = dz.shape;
  // The plain layout: a single column is not turned around, since the sums go by rows of dzᵀ.
  const layout = {
    m: out,
    n: x.shape[1],
    k: R,
    aRow: dz.strides[1],
    aCol: dz.strides[0],
    bRow: x.strides[0],
    bCol: x.strides[1],
    batch: { shape: [1], strides: [[0], [0]] },
    entries: 1,
    swapped: false,
  };
  return matmulDispatches({ layout, a: dz, b: x, y: dW, sums: db }, call);
}

type Product = (inputs: readonly HostArray[], outputs: readonly HostArray[]) => void;

/** y = f(z) of contiguous elements; y may be z. */
type Apply = (count: number, y: HostArray['data'], z: HostArray['data']) => void;

export function linearHost(
  product: Product,
  inputs: readonly HostArray[],
  [y, z]: readonly HostArray[],
  { bias, residual }: LinearInputs,
  activation: Apply | null,
): void {
  const target = z ?? y;
  product([inputs[0], transposed(inputs[1])], [target]);
  const [out] = inputs[1].shape;
  const count = numel(y.shape);
  const T = target.data;
  if (bias) {
    const b = inputs[2];
    for (let at = 0, j = 0; at < count; at++) {
      T[at] += b.data[b.offset + j];
      if (++j === out) j = 0;
    }
  }
  if (residual) {
    const r = inputs[bias ? 3 : 2];
    for (let at = 0; at < count; at++) T[at] += r.data[r.offset + at];
  }
  activation?.(count, y.data, T);
}

export function linearWeightsHost(
  product: Product,
  [dz, x]: readonly HostArray[],
  [dW, db]: readonly HostArray[],
): void {
  product([transposed(dz), x], [dW]);
  const [rows, out] = dz.shape;
  const [down, right] = dz.strides;
  db.data.fill(0, 0, out);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < out; j++) db.data[j] += dz.data[dz.offset + i * down + j * right];
  }
}
