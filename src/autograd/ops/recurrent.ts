/**
 * Recurrent layers over whole sequences: one op forward and one backward; the gradient of the recurrent weights is one
 * product over all steps.
 *
 * Symbols: T steps, B sequences, H hidden size, G gates.
 */
import { isFloat } from '../../device/dtype.js';
import { DTypeError, ShapeError } from '../../device/errors.js';
import type { Program, View, Work } from '../../device/types.js';
import { gruBackward, gruForward } from '../../kernels/recurrent-gru.js';
import { lstmBackward, lstmForward } from '../../kernels/recurrent-lstm.js';
import { reluCell, tanhCell } from '../../kernels/recurrent-plain.js';
import type { ScanParams } from '../../kernels/recurrent-scan.js';
import { constant } from '../../tensor/factories.js';
import { formatShape, numel, type Shape, sameShape } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { grad } from '../engine.js';
import { enableGrad, mode } from '../mode.js';
import { type BackwardContext, defineOp, type Op, type SaveName, type Spec } from '../op.js';
import { relu, sigmoid, tanh } from './activations.js';
import { add, mul, sub } from './arithmetic.js';
import { expand, reshape, sum } from './broadcast.js';
import { to } from './cast.js';
import { stack } from './join.js';
import { matmul } from './matmul.js';
import { chunk } from './split.js';
import { select, transpose } from './views.js';

export type CellName = 'lstm' | 'gru' | 'rnnTanh' | 'rnnRelu';

type Implementation = Omit<Program<ScanParams>, 'name'>;

/** What an op of a cell is made of. */
interface Cell {
  readonly name: CellName;
  readonly gates: number;
  /** Values kept per hidden unit; the last is h before the step. */
  readonly acts: number;
  /** The fourth input: an initial state, or a bias of the recurrent product, which acts inside a gate. */
  readonly extra: 'c0' | 'bias' | null;
  readonly forward: Implementation;
  readonly backward: Implementation;
  /** What `backward` reads besides the gradients. */
  readonly reads: readonly SaveName[];
}

const CELLS: readonly Cell[] = [
  {
    ...{ name: 'lstm', gates: 4, acts: 6, extra: 'c0', reads: ['output1', 3, 2] },
    ...{ forward: lstmForward, backward: lstmBackward },
  },
  {
    ...{ name: 'gru', gates: 3, acts: 5, extra: 'bias', reads: ['output1', 2] },
    ...{ forward: gruForward, backward: gruBackward },
  },
  { name: 'rnnTanh', gates: 1, acts: 1, extra: null, reads: ['output', 2], ...tanhCell },
  { name: 'rnnRelu', gates: 1, acts: 1, extra: null, reads: ['output', 2], ...reluCell },
];

/** B and T of an array over all steps. */
function sizes(shape: Shape, { batchFirst }: ScanParams): readonly [number, number] {
  return batchFirst ? [shape[0], shape[1]] : [shape[1], shape[0]];
}

/** The products of all steps: h [B, H] times a weight [G·H, H] for gates [B, T, G·H]. */
function scanWork(gates: View, h: View): Work {
  return { operations: 2 * numel(gates.shape) * h.shape[1] };
}

function define(cell: Cell): Op<readonly Tensor[], ScanParams> {
  const { name, gates: G, acts, extra } = cell;
  const state = extra === 'c0';
  const backwardOp = defineOp<readonly Tensor[], ScanParams>({
    name: `${name}Backward`,
    layout: state
      ? ['contiguous', 'strided', 'contiguous', 'strided', 'contiguous']
      : ['contiguous', 'contiguous', 'contiguous'],
    infer(inputs, params) {
      const { shape, dtype } = inputs[0];
      const H = shape[2];
      const gates = { shape: [shape[0], shape[1], G * H], dtype };
      const h = { shape: [sizes(shape, params)[0], H], dtype };
      return [gates, h, ...(state ? [h] : []), ...(extra === 'bias' ? [gates] : [])];
    },
    ...cell.backward,
    work: (_, [gates, h]) => scanWork(gates, h),
    // The layer's own backward is what can be differentiated: see `composedBackward`.
    differentiable: false,
  });
  const inputs = extra ? [0, 1, 2, 3] : [0, 1, 2];
  const saves: SaveName[] = [...inputs, 'output1', ...(extra ? [] : (['output'] as const))];
  return defineOp<readonly Tensor[], ScanParams>({
    name,
    layout: ['contiguous', 'strided', 'contiguous', 'strided'],
    infer(specs, params) {
      check(cell, specs, params);
      const [{ shape, dtype }, h0] = specs;
      const H = h0.shape[1];
      return [
        { shape: [shape[0], shape[1], H], dtype },
        { shape: [shape[0] * shape[1], acts, H], dtype },
        ...(state ? [{ shape: h0.shape, dtype }] : []),
      ];
    },
    ...cell.forward,
    work: ([gates, h0]) => scanWork(gates, h0),
    saves,
    backward(context) {
      if (mode.gradEnabled) return composedBackward(cell, context, inputs);
      const { gradOutputs, inputShapes, params, needs } = context;
      const read = (n: SaveName) =>
        typeof n === 'number' ? context.input(n) : context.output(n === 'output' ? 0 : 1);
      const reads = cell.reads.map(read);
      const kept = context.output(1);
      const [rows, , H] = kept.shape;
      const zero = (shape: Shape) => expand(constant(0, kept.dtype, kept.device), shape);
      const [T0, B0] = inputShapes[0];
      const given = [gradOutputs[0] ?? zero([T0, B0, H])];
      if (state) given.push(gradOutputs[2] ?? zero(inputShapes[1]));
      const [gates, dh, ...more] = backwardOp.all([...given, ...reads], params);
      const turned = () => transpose(reshape(gates, [rows, G * H]), 0, 1);
      return [
        extra === 'bias' ? more[0] : gates,
        dh,
        needs(2) ? matmul(turned(), select(kept, 1, acts - 1)) : null,
        ...(state ? [more[0]] : []),
        ...(extra === 'bias' ? [needs(3) ? sum(gates, { dim: [0, 1] }) : null] : []),
      ];
    },
  });
}

/** @throws ShapeError, DTypeError */
function check({ name, gates, extra }: Cell, specs: readonly Spec[], params: ScanParams): void {
  const [projected, , weight] = specs;
  const H = weight.shape[1];
  const [B, T] = sizes(projected.shape, params);
  const state = [B, H];
  const steps = [projected.shape[0], projected.shape[1], gates * H];
  const wanted: Shape[] = [steps, state, [gates * H, H]];
  if (extra) wanted.push(extra === 'c0' ? state : [gates * H]);
  if (
    projected.shape.length !== 3 ||
    T === 0 ||
    specs.length !== wanted.length ||
    !specs.every((t, i) => sameShape(t.shape, wanted[i]))
  ) {
    throw new ShapeError(
      `${name}: expected at least one step and shapes ${wanted.map(formatShape).join(', ')}, got ${specs.map((t) => formatShape(t.shape)).join(', ')}`,
    );
  }
}

const OPS = Object.fromEntries(CELLS.map((cell) => [cell.name, define(cell)])) as unknown as Record<
  CellName,
  Op<readonly Tensor[], ScanParams>
>;

/** What a recurrent layer reads. */
export interface RecurrentInputs {
  /** x·W_ihᵀ + b_ih for all steps, [T, B, GH] or, where `batchFirst`, [B, T, GH]; lstm and plain cells: with b_hh added. */
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
  /** Hidden states of all steps, [T, B, H] or [B, T, H]. */
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
  { projected, h0, weight, c0, bias }: RecurrentInputs,
  { reverse = false, batchFirst = false }: Partial<ScanParams> = {},
): RecurrentOutputs {
  const more = { lstm: c0, gru: bias, rnnTanh: null, rnnRelu: null }[name];
  const inputs = [projected, h0, weight, ...(more ? [more] : [])];
  const { dtype } = projected;
  if (!isFloat(dtype) || inputs.some((t) => t.dtype !== dtype)) {
    throw new DTypeError(
      `${name}: expected one floating-point dtype, got ${inputs.map((t) => t.dtype).join(', ')}`,
    );
  }
  // States are carried in float32: in float16 they would be rounded at every step.
  const half = dtype === 'float16';
  const params = { reverse, batchFirst };
  const [all, acts, last] = OPS[name].all(half ? inputs.map((t) => to(t, 'float32')) : inputs, params);
  acts.release();
  const output = half ? to(all, 'float16') : all;
  const c = last ? (half ? to(last, 'float16') : last) : null;
  const T = sizes(projected.shape, params)[1];
  return { output, h: select(output, batchFirst ? 1 : 0, reverse ? 0 : T - 1), c };
}

/** Backward that can be differentiated itself: the layer once more in plain operations, and their gradients. */
function composedBackward(
  cell: Cell,
  { gradOutputs, params, input, needs }: BackwardContext<ScanParams>,
  numbers: readonly number[],
): (Tensor | null)[] {
  // A view of each input, so that gradients end there even where one input depends on another.
  const inputs = numbers.map((i) => {
    const t = input(i);
    return reshape(t, t.shape);
  });
  const outputs = enableGrad(() => composed(cell, params, inputs));
  const given = [gradOutputs[0], gradOutputs[2] ?? null];
  const found = grad(
    outputs.filter((_, i) => given[i]),
    inputs.filter((_, i) => needs(i)),
    { gradOutputs: given.filter((g) => g !== null), createGraph: true, allowUnused: true },
  );
  return inputs.map((_, i) => (needs(i) ? (found.shift() ?? null) : null));
}

/** The same layer in plain operations, step by step: the states of all steps, and the last c. */
function composed({ name, extra }: Cell, params: ScanParams, inputs: readonly Tensor[]): Tensor[] {
  const { reverse, batchFirst } = params;
  const [projected, h0, weight, more] = inputs;
  const T = sizes(projected.shape, params)[1];
  const time = batchFirst ? 1 : 0;
  let h = h0;
  let c = extra === 'c0' ? more : null;
  const steps = new Array<Tensor>(T);
  for (let s = 0; s < T; s++) {
    const t = reverse ? T - 1 - s : s;
    const x = select(projected, time, t);
    const p = matmul(h, transpose(weight, 0, 1));
    if (c) {
      const [i, f, g, o] = chunk(add(x, p), 4, 1);
      c = add(mul(sigmoid(f), c), mul(sigmoid(i), tanh(g)));
      h = mul(sigmoid(o), tanh(c));
    } else if (extra === 'bias') {
      const [xr, xz, xn] = chunk(x, 3, 1);
      const [pr, pz, pn] = chunk(add(p, more), 3, 1);
      const z = sigmoid(add(xz, pz));
      const n = tanh(add(xn, mul(sigmoid(add(xr, pr)), pn)));
      h = add(n, mul(z, sub(h, n)));
    } else h = name === 'rnnRelu' ? relu(add(x, p)) : tanh(add(x, p));
    steps[t] = h;
  }
  return [stack(steps, time), ...(c ? [c] : [])];
}
