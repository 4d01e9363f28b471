/**
 * Access pattern: one time step of a recurrent layer, forward or backward, for all sequences at once. The steps of a
 * sequence share their buffers: every program gets the whole of them, and the time it is at.
 *
 * Symbols: T steps, B sequences, H hidden size, G gates, A values kept per hidden unit for backward.
 * hs [T+1, B, H] holds the states, one slot more than steps; forward in time slot t is before step t and slot t+1 after it.
 */
import type { Dispatch, HostArray, Kernel, KernelCall, Program, View } from '../device/types.js';
import { workgroups, WORKGROUP } from './pointwise.js';
import { declarations, type Snippet } from './wgsl.js';

/** Where a step stands: time t, and the slots of hs (and cs) before and after it. */
export interface StepParams {
  readonly t: number;
  readonly from: number;
  readonly to: number;
}

/** A recurrent cell: what one step computes. */
export interface RecurrentCell {
  readonly name: string;
  /** G: rows of the weights are G·H. */
  readonly gates: number;
  /** A: values kept per hidden unit. */
  readonly acts: number;
  /** Has a second state, cs. */
  readonly cell: boolean;
  /** The bias of the recurrent product acts inside a gate and cannot be folded into the input's. */
  readonly bias: boolean;
  /** Something of the gradient of h bypasses the recurrent product: the buffer `carry` takes it to the step before. */
  readonly carry: boolean;
  /** Inputs [hp [B, GH], xp [T, B, GH] (any strides), bias [GH]?]; outputs [hs, cs?, acts [T, A, B, H]?]. */
  readonly forward: Program<StepParams>;
  /**
   * Inputs [gradient of h [T, B, H] (any strides), gradient from the step after [B, H], acts?, cs or hs]; outputs [dxp
   * [T, B, GH], dhp (where `bias`), carry [B, H]?].
   */
  readonly backward: Program<StepParams>;
}

export type Data = HostArray['data'];

interface Part {
  readonly name: string;
  readonly access: 'read' | 'read_write';
}

export interface StepTemplate {
  readonly name: string;
  readonly gates: number;
  readonly acts: number;
  /** Bindings in order; `strided` is the one of shape [T, B, ·] with any strides. */
  readonly parts: readonly Part[];
  readonly strided: string;
  /** WGSL that computes unit `j` of sequence `row`, element `index` of a [B, H] array. */
  readonly body: string;
  readonly snippets: readonly Snippet[];
}

export const read = (name: string): Part => ({ name, access: 'read' });
export const written = (name: string): Part => ({ name, access: 'read_write' });

/**
 * One invocation per hidden unit of a sequence. In `body`: `at(k)` offsets of the strided binding's gate k as `v0`, …;
 * `gate` the place of gate 0 in a [B, GH] array, `p.size` apart; `step` the same in [T, B, GH] at time t; `act` in
 * [T, A, B, H], `p.n` apart; `p.prev + index` and `p.next + index` the places in hs and cs.
 */
export function stepKernel(t: StepTemplate): (call: KernelCall<StepParams>) => Dispatch[] {
  const kernel: Kernel = {
    key: t.name,
    bindings: t.parts.map(({ name, access }) => ({ name, access, type: 'f32' })),
    params: ['n', 'size', 'start', 'row_step', 'col_step', 'prev', 'next', 'time'].map((name) => ({
      name,
      type: 'u32',
    })),
    workgroupSize: WORKGROUP,
    declarations: declarations(...t.snippets),
    body: `if (index >= p.n) { return; }
let row = index / p.size;
let j = index % p.size;
let gate = row * p.size * ${t.gates}u + j;
let step = p.time * ${t.gates}u + gate;
let act = p.time * ${t.acts}u + index;
let strided = p.start + row * p.row_step + j * p.col_step;
${t.body}`,
  };
  const at = t.parts.findIndex((part) => part.name === t.strided);
  return ({ inputs, outputs, params }) => {
    const all: View[] = [...inputs, ...outputs];
    const x = all[at];
    const n = numberOfUnits(t, x);
    return [
      {
        kernel,
        buffers: all.map((v) => v.buffer),
        params: [
          n,
          n / x.shape[1],
          x.offset + params.t * x.strides[0],
          x.strides[1],
          x.strides[2],
          params.from * n,
          params.to * n,
          params.t * n,
        ],
        workgroups: workgroups(n),
      },
    ];
  };
}

/** B·H, from the strided view: xp [T, B, GH] forward, the gradient of h [T, B, H] backward. */
function numberOfUnits(t: StepTemplate, x: View): number {
  return (x.shape[1] * x.shape[2]) / (t.strided === 'xp' ? t.gates : 1);
}

/** The sum that enters gate k. */
export function gateSum(k: number): string {
  return `(hp[gate + ${k}u * p.size] + xp[strided + ${k}u * p.size * p.col_step])`;
}

/** Host side: calls the loop body's sizes once, so that the loops stay tight. */
interface HostStep {
  readonly B: number;
  readonly H: number;
  /** B·H */
  readonly n: number;
  /** Offset of step t in the strided array, and its steps. */
  readonly start: number;
  readonly row: number;
  readonly col: number;
  readonly from: number;
  readonly to: number;
  /** t·B·H */
  readonly time: number;
}

export function hostStep(
  x: Pick<HostArray, 'shape' | 'strides' | 'offset'>,
  gates: number,
  { t, from, to }: StepParams,
): HostStep {
  const B = x.shape[1];
  const H = x.shape[2] / gates;
  const n = B * H;
  const [step, row, col] = x.strides;
  return { B, H, n, start: x.offset + t * step, row, col, from: from * n, to: to * n, time: t * n };
}

/** tanh through one exponential: twice as fast as Math.tanh, and as exact where the result is not tiny. */
export function tanh(x: number): number {
  return Math.abs(x) < 0.1 ? Math.tanh(x) : 1 - 2 / (Math.exp(2 * x) + 1);
}
