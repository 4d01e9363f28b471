/**
 * Recurrent layers over whole sequences. A step is two dispatches forward, the recurrent product and the cell, and two
 * backward; the gradient of the recurrent weights is one product over all steps at the end.
 *
 * Symbols: T steps, B sequences, H hidden size, G gates.
 */
import { isFloat } from '../../device/dtype.js';
import { DTypeError, ShapeError } from '../../device/errors.js';
import type { View } from '../../device/types.js';
import { copyProgram } from '../../kernels/copy.js';
import { fillProgram } from '../../kernels/fill.js';
import { reluCell, tanhCell } from '../../kernels/recurrent.js';
import { gruCell } from '../../kernels/recurrent-gru.js';
import { lstmCell } from '../../kernels/recurrent-lstm.js';
import type { RecurrentCell } from '../../kernels/recurrent-step.js';
import { constant } from '../../tensor/factories.js';
import { contiguousStrides, formatShape, type Shape, sameShape } from '../../tensor/shape.js';
import { Tensor } from '../../tensor/tensor.js';
import { grad } from '../engine.js';
import { enableGrad, mode, noGrad } from '../mode.js';
import { Node } from '../node.js';
import { type OpDefinition, registry } from '../op.js';
import { type Saved, save } from '../saved.js';
import { relu, sigmoid, tanh } from './activations.js';
import { add, mul, sub } from './arithmetic.js';
import { expand, reshape, sum } from './broadcast.js';
import { to } from './cast.js';
import { stack } from './join.js';
import { matmul } from './matmul.js';
import { chunk } from './split.js';
import { narrow, select, transpose } from './views.js';

export type CellName = 'lstm' | 'gru' | 'rnnTanh' | 'rnnRelu';

const CELLS: Readonly<Record<CellName, RecurrentCell>> = {
  lstm: lstmCell,
  gru: gruCell,
  rnnTanh: tanhCell,
  rnnRelu: reluCell,
};

/** What a recurrent layer reads. */
export interface RecurrentInputs {
  /** x·W_ihᵀ + b_ih for all steps, [T, B, GH]; lstm and plain cells: with b_hh added. */
  readonly projected: Tensor;
  /** Initial hidden state [B, H]. */
  readonly h0: Tensor;
  /** lstm: initial cell state [B, H]. */
  readonly c0?: Tensor | null;
  /** W_hh [GH, H]. */
  readonly weight: Tensor;
  /** gru: b_hh [GH], of which the part of n acts inside its gate. */
  readonly bias?: Tensor | null;
}

export interface RecurrentOutputs {
  /** Hidden states of all steps, [T, B, H]. */
  readonly output: Tensor;
  /** State after the last step, [B, H]. */
  readonly h: Tensor;
  /** lstm: cell state after the last step, [B, H]. */
  readonly c: Tensor | null;
}

/**
 * Runs a recurrent cell over a sequence, from the last step to the first where `reverse`.
 *
 * @throws ShapeError for shapes that do not fit, or no steps at all; DTypeError for mixed dtypes.
 * @source torch.nn.LSTM, torch.nn.GRU, torch.nn.RNN: one layer, one direction
 */
export function recurrent(
  name: CellName,
  inputs: RecurrentInputs,
  { reverse = false }: { reverse?: boolean } = {},
): RecurrentOutputs {
  const cell = CELLS[name];
  const { projected, h0, weight } = inputs;
  const H = weight.shape[1];
  const B = projected.shape[1];
  const state = [B, H];
  const list = [
    projected,
    h0,
    weight,
    ...(cell.cell ? [inputs.c0] : []),
    ...(cell.bias ? [inputs.bias] : []),
  ];
  const wanted: Shape[] = [[projected.shape[0], B, cell.gates * H], state, [cell.gates * H, H]];
  if (cell.cell) wanted.push(state);
  if (cell.bias) wanted.push([cell.gates * H]);
  const tensors = list.map((t) => t ?? null);
  if (
    projected.ndim !== 3 ||
    projected.shape[0] === 0 ||
    !tensors.every((t, i) => t !== null && sameShape(t.shape, wanted[i]))
  ) {
    throw new ShapeError(
      `${name}: expected at least one step and shapes ${wanted.map(formatShape).join(', ')}, got ${tensors.map((t) => (t ? formatShape(t.shape) : 'none')).join(', ')}`,
    );
  }
  const all = tensors as Tensor[];
  const dtype = projected.dtype;
  if (!isFloat(dtype) || all.some((t) => t.dtype !== dtype)) {
    throw new DTypeError(
      `${name}: expected one floating-point dtype, got ${all.map((t) => t.dtype).join(', ')}`,
    );
  }
  // The steps write into shared buffers, which devices without float16 would widen and round again at every step.
  const half = dtype === 'float16';
  const outputs = run(cell, reverse, half ? all.map((t) => to(t, 'float32')) : all);
  const [output, h, c] = half ? outputs.map((t) => to(t, 'float16')) : outputs;
  return { output, h, c: c ?? null };
}

/** A window onto one slot of a tensor [slots, ...shape]. */
function slot(t: Tensor, i: number, shape: Shape): View {
  const size = t.strides[0];
  return {
    buffer: t.buffer,
    dtype: t.dtype,
    shape,
    strides: contiguousStrides(shape),
    offset: t.offset + i * size,
  };
}

/** As `slot`, as a tensor of its own. */
function slotTensor(
  t: Tensor,
  i: number,
  count: number,
  shape: Shape,
  op: string,
  node: Node | null,
  index: number,
): Tensor {
  const full = count < 0 ? shape : [count, ...shape];
  return new Tensor(
    t.storage.retain(),
    t.dtype,
    full,
    contiguousStrides(full),
    t.offset + i * t.strides[0],
    op,
    node,
    index,
  );
}

function matmulProgram(): OpDefinition<null> {
  return registry.get('matmul') as unknown as OpDefinition<null>;
}

/** Inputs [projected, h0, weight, c0?, bias?] to outputs [output, h, c?]. */
function run(cell: RecurrentCell, reverse: boolean, inputs: Tensor[]): Tensor[] {
  const [projected, h0, weight] = inputs;
  const { device, dtype } = projected;
  const [T, B] = projected.shape;
  const H = weight.shape[1];
  const tracked = mode.gradEnabled && inputs.some((t) => t.requiresGrad);
  const make = (...shape: number[]) => Tensor.allocate(device, dtype, shape, cell.name);
  const { hs, cs, acts } = noGrad(() => {
    const hs = make(T + 1, B, H);
    const cs = cell.cell ? make(T + 1, B, H) : null;
    const acts = cell.acts > 0 ? make(T, cell.acts, B, H) : null;
    const hp = make(B, cell.gates * H);
    const first = reverse ? T : 0;
    device.execute(copyProgram, [h0], [slot(hs, first, [B, H])], null);
    if (cs) device.execute(copyProgram, [inputs[3]], [slot(cs, first, [B, H])], null);
    const bias = cell.bias ? [contiguousOr(inputs.at(-1)!)] : [];
    const turned = transpose(weight, 0, 1);
    const outputs = [hs, ...(cs ? [cs] : []), ...(acts ? [acts] : [])];
    for (let s = 0; s < T; s++) {
      const t = reverse ? T - 1 - s : s;
      const [from, to] = reverse ? [t + 1, t] : [t, t + 1];
      device.execute(matmulProgram(), [slot(hs, from, [B, H]), turned], [hp], null);
      device.execute(cell.forward, [hp, projected, ...bias], outputs, { t, from, to });
    }
    turned.release();
    hp.release();
    for (const b of bias) if (b !== inputs.at(-1)) b.release();
    return { hs, cs, acts };
  });

  const node = tracked
    ? new Node(cell.name, device, inputs, (self, grads) => backward(cell, reverse, self, grads))
    : null;
  const last = reverse ? 0 : T;
  const outputs = [
    slotTensor(hs, reverse ? 0 : 1, T, [B, H], cell.name, node, 0),
    slotTensor(hs, last, -1, [B, H], cell.name, node, 1),
  ];
  if (cs) outputs.push(slotTensor(cs, last, -1, [B, H], cell.name, node, 2));
  if (node) {
    node.outputShapes = outputs.map((t) => t.shape);
    const saved: (Saved | null)[] = inputs.map((t) => save(t));
    saved.push(save(hs), cs ? save(cs) : null, acts ? save(acts) : null);
    node.saved = saved;
  }
  for (const t of [hs, cs, acts]) t?.release();
  mode.observer?.ran(cell.name, inputs, outputs, { reverse });
  return outputs;
}

/** A row-major tensor of the same values: itself where it is one. */
function contiguousOr(t: Tensor): Tensor {
  if (t.isContiguous) return t;
  const copy = Tensor.allocate(t.device, t.dtype, t.shape, 'contiguous');
  t.device.execute(copyProgram, [t], [copy], null);
  return copy;
}

/** Gradients of [projected, h0, weight, c0?, bias?] from those of [output, h, c?]. */
function backward(
  cell: RecurrentCell,
  reverse: boolean,
  node: Node,
  [gradOutput, gradH, gradC]: (Tensor | null)[],
): (Tensor | null)[] {
  const count = node.parents.length;
  if (mode.gradEnabled) return composedBackward(cell, reverse, node, [gradOutput, gradH, gradC]);
  const unpack = (i: number) => node.saved[i]!.unpack(cell.name, null, 0);
  const weight = node.unpackInput(2, 2);
  const hs = unpack(count);
  const cs = cell.cell ? unpack(count + 1) : null;
  const acts = cell.acts > 0 ? unpack(count + 2) : null;
  const { device, dtype } = hs;
  const [T, B, H] = [hs.shape[0] - 1, hs.shape[1], hs.shape[2]];
  const make = (...shape: number[]) => Tensor.allocate(device, dtype, shape, `${cell.name}Backward`);
  const start = (g: Tensor | null): Tensor => {
    const t = make(B, H);
    if (g) device.execute(copyProgram, [g], [t], null);
    else device.execute(fillProgram, [], [t], 0);
    return t;
  };
  const dx = make(T, B, cell.gates * H);
  const dp = cell.bias ? make(T, B, cell.gates * H) : dx;
  const dh = start(gradH ?? null);
  const carry = cell.carry ? start(gradC ?? null) : null;
  const gh = gradOutput ?? expand(constant(0, dtype, device), [T, B, H]);
  const inputs = [gh, dh, ...(acts ? [acts] : []), cs ?? hs];
  const outputs = [dx, ...(cell.bias ? [dp] : []), ...(carry ? [carry] : [])];
  for (let s = T - 1; s >= 0; s--) {
    const t = reverse ? T - 1 - s : s;
    const [from, to] = reverse ? [t + 1, t] : [t, t + 1];
    device.execute(cell.backward, inputs, outputs, { t, from, to });
    device.execute(matmulProgram(), [slot(dp, t, [B, cell.gates * H]), weight], [dh], null);
  }
  const rows = T * B;
  const before = narrow(hs, 0, reverse ? 1 : 0, T);
  const result: (Tensor | null)[] = [
    node.needs(0) ? dx : null,
    node.needs(1) ? (cell.cell || !carry ? dh : add(dh, carry)) : null,
    node.needs(2)
      ? matmul(transpose(reshape(dp, [rows, cell.gates * H]), 0, 1), reshape(before, [rows, H]))
      : null,
  ];
  if (cell.cell) result.push(node.needs(3) ? carry : null);
  if (cell.bias) result.push(node.needs(count - 1) ? sum(dp, { dim: [0, 1] }) : null);
  return result;
}

/** Backward that can be differentiated itself: the layer once more in plain operations, and their gradients. */
function composedBackward(
  cell: RecurrentCell,
  reverse: boolean,
  node: Node,
  grads: (Tensor | null)[],
): (Tensor | null)[] {
  // A view of each input, so that gradients end there even where one input depends on another.
  const inputs = node.parents.map((_, i) => {
    const t = node.unpackInput(i, i);
    return reshape(t, t.shape);
  });
  const outputs = enableGrad(() => composed(cell, reverse, inputs));
  const wanted = inputs.filter((_, i) => node.needs(i));
  const given = outputs.map((_, i) => grads[i] ?? null);
  const found = grad(
    outputs.filter((_, i) => given[i] !== null),
    wanted,
    { gradOutputs: given.filter((g) => g !== null), createGraph: true, allowUnused: true },
  );
  return inputs.map((_, i) => (node.needs(i) ? (found.shift() ?? null) : null));
}

/** The same layer in plain operations, step by step. */
function composed(cell: RecurrentCell, reverse: boolean, inputs: readonly Tensor[]): Tensor[] {
  const [projected, h0, weight] = inputs;
  const T = projected.shape[0];
  const bias = cell.bias ? inputs.at(-1)! : null;
  let h = h0;
  let c = cell.cell ? inputs[3] : null;
  const steps = new Array<Tensor>(T);
  for (let s = 0; s < T; s++) {
    const t = reverse ? T - 1 - s : s;
    const x = select(projected, 0, t);
    const p = matmul(h, transpose(weight, 0, 1));
    if (c) {
      const [i, f, g, o] = chunk(add(x, p), 4, 1);
      c = add(mul(sigmoid(f), c), mul(sigmoid(i), tanh(g)));
      h = mul(sigmoid(o), tanh(c));
    } else if (bias) {
      const [xr, xz, xn] = chunk(x, 3, 1);
      const [pr, pz, pn] = chunk(add(p, bias), 3, 1);
      const z = sigmoid(add(xz, pz));
      const n = tanh(add(xn, mul(sigmoid(add(xr, pr)), pn)));
      h = add(n, mul(z, sub(h, n)));
    } else h = cell === reluCell ? relu(add(x, p)) : tanh(add(x, p));
    steps[t] = h;
  }
  return [stack(steps, 0), h, ...(c ? [c] : [])];
}
