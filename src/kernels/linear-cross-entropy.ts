/**
 * Access pattern: scores x · Wᵀ + b of rows against a vocabulary, a chunk of the vocabulary at a time, and what a
 * cross-entropy needs of them. The scores of all words never exist together.
 *
 * Forward, per chunk: one matrix product into scratch, one pass over it that carries maximum and sum of exponentials on.
 * Backward, per chunk: the product again, one pass that turns scores into their gradients in place, and two products: one
 * for the chunk's rows of dW (and its part of db), one that adds to dx. Every sum has one order.
 */
import type { DeviceBuffer, Dispatch, KernelCall, View } from '../device/types.js';
import { contiguousStrides } from '../tensor/shape.js';
import { copyProgram } from './copy.js';
import { matmulDispatches } from './matmul.js';
import type { ParamSpec } from './pointwise.js';
import { type RowCode, type RowTemplate, rowDispatch, together } from './row.js';
import { EXP_DOWN, expDowns, onlineSum } from './softmax.js';
import { declarations, IS_NAN, NAN } from './wgsl.js';
import { LOG } from './wgsl-math.js';

/** Inputs x [N, C], weight [V, C], targets [N], bias [V]?. */
export interface LinearClassParams {
  /** Rows of this class count for nothing. */
  readonly ignoreIndex: number;
  /** ε: this share of the target is spread evenly over all words. */
  readonly smoothing: number;
  readonly bias: boolean;
  /** Words whose scores exist at a time. */
  readonly chunk: number;
}

/** Gradients of x, weight and bias, as far as they are wanted. */
export interface LinearClassBackwardParams extends LinearClassParams {
  readonly wants: { readonly x: boolean; readonly weight: boolean; readonly bias: boolean };
}

/** Words per chunk so that its scores take about 8 MB: enough rows of W for a matrix product to run at full speed. */
export function chunkOf(rows: number, words: number): number {
  const fitting = Math.floor(2 ** 21 / Math.max(rows, 1) / 64) * 64;
  return Math.max(Math.min(fitting, words), Math.min(256, words), 1);
}

/** Calls `visit` for each chunk: its first word, how many, and its number. */
export function forEachChunk(
  words: number,
  chunk: number,
  visit: (first: number, count: number, i: number) => void,
): void {
  for (let first = 0, i = 0; first < words; first += chunk, i++)
    visit(first, Math.min(chunk, words - first), i);
}

/** What is carried from chunk to chunk, [5, N]: maximum, Σ exp(score − maximum), magnitude bits, Σ score, target's score. */
const STATE = 5;

const CLASS = ({ read }: RowCode) => `
let named = i32(${read('classes')});
let ignored = named == p.ignore;
let class_at = u32(clamp(named, 0, i32(p.words) - 1));
let here = class_at >= p.first && class_at - p.first < p.n;`;

const PARAMS: readonly ParamSpec[] = [
  { name: 'words', type: 'u32' },
  { name: 'first', type: 'u32' },
  { name: 'ignore', type: 'i32' },
  { name: 'smoothing', type: 'f32' },
];

/** Carries the state over a chunk; behind the last one writes losses and stats [3, N] as the fused cross-entropy does. */
const carry = (last: boolean): RowTemplate => ({
  name: `linearCrossEntropy:${last}`,
  operands: { x: 'row', classes: 'stat', state: 'stat', losses: 'stat', stats: 'stat' },
  params: PARAMS,
  declarations: (code) => declarations(NAN, EXP_DOWN, expDowns(code), LOG),
  steps(code) {
    const { read, write, element } = code;
    return [
      CLASS(code),
      // Read before the fold, behind which one invocation of the row writes them.
      `let none = p.first == 0u;
let before_top = select(${read('state')}, -3.4028234e38, none);
let before_sum = select(${read('state', 1)}, 0.0, none);
let before_seen = select(bitcast<u32>(${read('state', 2)}), 0u, none);
let before_total = select(${read('state', 3)}, 0.0, none);
let before_target = select(${read('state', 4)}, 0.0, none);`,
      together(onlineSum(read('x'), code), {
        vars: { total: ['f32', '0.0'] },
        step: 'total_v += v;',
        merge: 'total += other_total;',
      }),
      `let highest = max(top, before_top);
sum = sum * exp_down(top - highest) + before_sum * exp_down(before_top - highest);
top = highest;
seen = max(seen, before_seen);
total += before_total;
var target_score = before_target;
if (here) { target_score = ${element('x', '(class_at - p.first)')}; }`,
      ...(last
        ? [
            `let regular = seen <= 0x7f800000u && bitcast<u32>(top) != 0x7f800000u && sum > 0.0;
let lse = select(nan(), top + log_f(sum), regular);
let even = select(0.0, p.smoothing * (lse - total / f32(p.words)), p.smoothing > 0.0);
let loss = (1.0 - p.smoothing) * (lse - target_score) + even;`,
            write('losses', 'select(loss, 0.0, ignored)'),
            write('stats', 'lse'),
            write('stats', 'select(1.0, 0.0, ignored)', 1),
            write('stats', 'select(1.0, 0.0, ignored)', 2),
          ]
        : [
            write('state', 'top'),
            write('state', 'sum', 1),
            write('state', 'bitcast<f32>(seen)', 2),
            write('state', 'total', 3),
            write('state', 'target_score', 4),
          ]),
    ];
  },
});

const carryOn = carry(false);
const finish = carry(true);

/** Scores become their gradients: g · (softmax − (1 − ε)[t] − ε/V). */
const slope: RowTemplate = {
  name: 'linearCrossEntropyBackward',
  operands: { g: 'other', classes: 'stat', stats: 'stat', y: 'row' },
  params: [...PARAMS, { name: 'g_step', type: 'u32' }],
  declarations: (code) => declarations(NAN, IS_NAN, EXP_DOWN, expDowns(code)),
  steps(code) {
    const { read, write, element, patch, at, type } = code;
    return [
      CLASS(code),
      `let lse = ${read('stats')};
let scale = ${at('g', 'row * p.g_step')};
let share = select(scale, nan(), is_nan(lse));
let spread = scale * p.smoothing / f32(p.words);
if (ignored) {`,
      { each: write('y', `${type}()`) },
      `} else {
var target_score = 0.0;
if (here) { target_score = ${element('y', '(class_at - p.first)')}; }`,
      { each: write('y', `exp_downs(${read('y')} - lse) * share - spread`) },
      'if (here) {',
      patch(
        'y',
        '(class_at - p.first)',
        'exp_down(target_score - lse) * share - spread - scale * (1.0 - p.smoothing)',
      ),
      '} }',
    ];
  },
};

/** Another view of the same buffer; views may be tensors, whose parts a spread would not copy. */
function window({ buffer, dtype }: View, shape: number[], strides: number[], offset: number): View {
  return { buffer, dtype, shape, strides, offset };
}

/** `count` rows of a matrix [·, columns] from `first`, as a view. */
function rowsOf(v: View, first: number, count: number): View {
  const [row, column] = v.strides;
  return window(v, [count, v.shape[1]], [row, column], v.offset + first * row);
}

function turned(v: View): View {
  return window(v, [v.shape[1], v.shape[0]], [v.strides[1], v.strides[0]], v.offset);
}

function matrix(buffer: DeviceBuffer, dtype: View['dtype'], ...shape: number[]): View {
  return { buffer, dtype, shape, strides: contiguousStrides(shape), offset: 0 };
}

/** y = a · b, with what else a job can do. */
function product(
  a: View,
  b: View,
  y: View,
  call: Pick<KernelCall, 'target' | 'scratch'>,
  more: { bias?: View; residual?: View; sums?: View } = {},
): Dispatch[] {
  const [m, k] = a.shape;
  const [aRow, aCol] = a.strides;
  const [bRow, bCol] = b.strides;
  // Never turned around, as single columns would otherwise be: sums and bias belong to these dims.
  const layout = { m, n: b.shape[1], k, aRow, aCol, bRow, bCol, batch: SINGLE, entries: 1, swapped: false };
  const { sums, ...epilogue } = more;
  return matmulDispatches({ layout, a, b, y, epilogue, sums }, call);
}

const SINGLE = { shape: [1], strides: [[0], [0]] };

/** The scores of a chunk. */
function scores(
  call: Pick<KernelCall, 'target' | 'scratch'>,
  [x, weight, bias]: readonly [View, View, View | undefined],
  first: number,
  count: number,
  y: View,
): Dispatch[] {
  const part = bias && window(bias, [count], [1], bias.offset + first);
  return product(x, turned(rowsOf(weight, first, count)), y, call, { bias: part });
}

const bytesOf = (v: View, elements: number): number =>
  Math.ceil((elements * (v.dtype === 'float16' ? 2 : 4)) / 4) * 4;

export function linearCrossEntropyKernel(call: KernelCall<LinearClassParams>): Dispatch[] {
  const {
    inputs,
    outputs: [losses, stats],
    params,
    target,
    scratch,
  } = call;
  const [x, weight, classes, bias] = inputs;
  const [N, words] = [x.shape[0], weight.shape[0]];
  if (N === 0) return [];
  const buffer = scratch(bytesOf(x, N * params.chunk));
  const state = matrix(scratch(STATE * N * 4), 'float32', STATE, N);
  const list: Dispatch[] = [];
  forEachChunk(words, params.chunk, (first, count) => {
    const part = matrix(buffer, x.dtype, N, count);
    list.push(...scores(call, [x, weight, bias], first, count, part));
    const last = first + count === words;
    list.push(
      ...rowDispatch(
        last ? finish : carryOn,
        { outer: N, n: count, inner: 1 },
        target,
        last ? { x: part, classes, state } : { x: part, classes },
        last ? { losses, stats } : { state },
        [words, first, params.ignoreIndex, params.smoothing],
      ),
    );
  });
  return list;
}

/** Inputs g [N], x, weight, targets, stats, bias?; outputs dx?, dWeight?, dBias?. */
export function linearCrossEntropyBackwardKernel(call: KernelCall<LinearClassBackwardParams>): Dispatch[] {
  const { inputs, params, target, scratch } = call;
  const [g, x, weight, classes, stats, bias] = inputs;
  const { wants, chunk } = params;
  const outputs = [...call.outputs];
  const dx = wants.x ? outputs.shift()! : null;
  const dWeight = wants.weight ? outputs.shift()! : null;
  const dBias = wants.bias ? outputs.shift()! : null;
  const [N, C] = x.shape;
  const words = weight.shape[0];
  const chunks = Math.ceil(words / chunk);
  const buffer = scratch(bytesOf(x, N * chunk));
  // dx goes back and forth between two buffers, and ends in the output.
  const other = dx && chunks > 1 ? matrix(scratch(bytesOf(x, N * C)), x.dtype, N, C) : dx;
  const rows = dWeight || dBias ? scratch(bytesOf(x, chunk * C)) : null;
  const sums = dBias ? scratch(bytesOf(x, chunk)) : null;
  const list: Dispatch[] = [];
  const copy = (from: View, to: View) =>
    list.push(...copyProgram.kernel({ inputs: [from], outputs: [to], params: null, target, scratch }));
  forEachChunk(words, chunk, (first, count, i) => {
    const part = matrix(buffer, x.dtype, N, count);
    list.push(
      ...scores(call, [x, weight, bias], first, count, part),
      ...rowDispatch(slope, { outer: N, n: count, inner: 1 }, target, { g, classes, stats }, { y: part }, [
        words,
        first,
        params.ignoreIndex,
        params.smoothing,
        g.strides[0],
      ]),
    );
    if (rows) {
      const down = matrix(rows, x.dtype, count, C);
      const sum = sums ? matrix(sums, x.dtype, count) : undefined;
      list.push(...product(turned(part), x, down, call, { sums: sum }));
      if (dWeight) copy(down, rowsOf(dWeight, first, count));
      if (dBias && sum) copy(sum, window(dBias, [count], [1], first));
    }
    if (dx) {
      const to = (chunks - 1 - i) % 2 === 0 ? dx : other!;
      const residual = i === 0 ? undefined : to === dx ? other! : dx;
      list.push(...product(part, rowsOf(weight, first, count), to, call, { residual }));
    }
  });
  return list;
}
