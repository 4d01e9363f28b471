/**
 * Access pattern: one time step of a recurrent layer, forward or backward, for all sequences at once. The steps of a
 * sequence share their buffers: every program gets the whole of them, and the time it is at.
 *
 * Symbols: T steps, B sequences, H hidden size, G gates, A values kept per hidden unit for backward.
 * hs [T+1, B, H] holds the states, one slot more than steps; forward in time slot t is before step t and slot t+1 after it.
 */
import type { Dispatch, HostArray, Kernel, KernelCall, Program, View } from '../device/types.js';
import { workgroups, WORKGROUP } from './pointwise.js';
import { sigmoid } from './special.js';
import { declarations, type Snippet } from './wgsl.js';
import { SIGMOID, TANH } from './wgsl-math.js';
import {
  gruBackwardSimd,
  gruForwardSimd,
  lstmBackwardSimd,
  lstmForwardSimd,
  type StepParams,
} from './recurrent-simd.js';

export type { StepParams };

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

type Data = HostArray['data'];

interface Part {
  readonly name: string;
  readonly access: 'read' | 'read_write';
}

interface StepTemplate {
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

const read = (name: string): Part => ({ name, access: 'read' });
const written = (name: string): Part => ({ name, access: 'read_write' });

/**
 * One invocation per hidden unit of a sequence. In `body`: `at(k)` offsets of the strided binding's gate k as `v0`, …;
 * `gate` the place of gate 0 in a [B, GH] array, `p.size` apart; `step` the same in [T, B, GH] at time t; `act` in
 * [T, A, B, H], `p.n` apart; `p.prev + index` and `p.next + index` the places in hs and cs.
 */
function stepKernel(t: StepTemplate): (call: KernelCall<StepParams>) => Dispatch[] {
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
function gateSum(k: number): string {
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

function hostStep(
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
function tanh(x: number): number {
  return Math.abs(x) < 0.1 ? Math.tanh(x) : 1 - 2 / (Math.exp(2 * x) + 1);
}

const lstmForward: StepTemplate = {
  name: 'lstmStep',
  gates: 4,
  acts: 4,
  parts: [read('hp'), read('xp'), written('hs'), written('cs'), written('acts')],
  strided: 'xp',
  snippets: [SIGMOID, TANH],
  body: `let i = sigmoid_f(${gateSum(0)});
let f = sigmoid_f(${gateSum(1)});
let g = tanh_f(${gateSum(2)});
let o = sigmoid_f(${gateSum(3)});
let c = f * cs[p.prev + index] + i * g;
cs[p.next + index] = c;
hs[p.next + index] = o * tanh_f(c);
acts[act] = i;
acts[act + p.n] = f;
acts[act + 2u * p.n] = g;
acts[act + 3u * p.n] = o;`,
};

const lstmBackward: StepTemplate = {
  name: 'lstmStepBackward',
  gates: 4,
  acts: 4,
  parts: [read('gh'), read('dh'), read('acts'), read('cs'), written('dx'), written('carry')],
  strided: 'gh',
  snippets: [TANH],
  body: `let i = acts[act];
let f = acts[act + p.n];
let g = acts[act + 2u * p.n];
let o = acts[act + 3u * p.n];
let d = dh[index] + gh[strided];
let tc = tanh_f(cs[p.next + index]);
let dc = carry[index] + d * o * (1.0 - tc * tc);
dx[step] = dc * g * i * (1.0 - i);
dx[step + p.size] = dc * cs[p.prev + index] * f * (1.0 - f);
dx[step + 2u * p.size] = dc * i * (1.0 - g * g);
dx[step + 3u * p.size] = d * tc * o * (1.0 - o);
carry[index] = dc * f;`,
};

/**
 * i, f, o = σ(·), g = tanh(·) of xp + hp, gates in the order i, f, g, o; c' = f·c + i·g; h' = o·tanh c'.
 *
 * @source torch.nn.LSTM
 */
export const lstmCell: RecurrentCell = {
  name: 'lstm',
  gates: 4,
  acts: 4,
  cell: true,
  bias: false,
  carry: true,
  forward: {
    name: lstmForward.name,
    kernel: stepKernel(lstmForward),
    simd: lstmForwardSimd,
    host([hp, xp], [hs, cs, acts], params) {
      const { B, H, n, start, row, col, from, to, time } = hostStep(xp, 4, params);
      const [P, X, h, c, a] = [hp.data, xp.data, hs.data, cs.data, acts.data];
      for (let b = 0; b < B; b++) {
        const gate = hp.offset + b * 4 * H;
        const act = time * 4 + b * H;
        for (let j = 0; j < H; j++) {
          const x = start + b * row + j * col;
          const step = H * col;
          const i = sigmoid(P[gate + j] + X[x]);
          const f = sigmoid(P[gate + H + j] + X[x + step]);
          const g = tanh(P[gate + 2 * H + j] + X[x + 2 * step]);
          const o = sigmoid(P[gate + 3 * H + j] + X[x + 3 * step]);
          const next = f * c[from + b * H + j] + i * g;
          c[to + b * H + j] = next;
          h[to + b * H + j] = o * tanh(next);
          a[act + j] = i;
          a[act + n + j] = f;
          a[act + 2 * n + j] = g;
          a[act + 3 * n + j] = o;
        }
      }
    },
  },
  backward: {
    name: lstmBackward.name,
    kernel: stepKernel(lstmBackward),
    simd: lstmBackwardSimd,
    host([gh, dh, acts, cs], [dx, carry], params) {
      const { B, H, n, start, row, col, from, to, time } = hostStep(gh, 1, params);
      const [G, D, a, c, X, C] = [gh.data, dh.data, acts.data, cs.data, dx.data, carry.data];
      for (let b = 0; b < B; b++) {
        const act = time * 4 + b * H;
        const gate = (time + b * H) * 4;
        for (let j = 0; j < H; j++) {
          const unit = b * H + j;
          const i = a[act + j];
          const f = a[act + n + j];
          const g = a[act + 2 * n + j];
          const o = a[act + 3 * n + j];
          const d = D[unit] + G[start + b * row + j * col];
          const tc = tanh(c[to + unit]);
          const dc = C[unit] + d * o * (1 - tc * tc);
          X[gate + j] = dc * g * i * (1 - i);
          X[gate + H + j] = dc * c[from + unit] * f * (1 - f);
          X[gate + 2 * H + j] = dc * i * (1 - g * g);
          X[gate + 3 * H + j] = d * tc * o * (1 - o);
          C[unit] = dc * f;
        }
      }
    },
  },
};

const gruForward: StepTemplate = {
  name: 'gruStep',
  gates: 3,
  acts: 4,
  parts: [read('hp'), read('xp'), read('bias'), written('hs'), written('acts')],
  strided: 'xp',
  snippets: [SIGMOID, TANH],
  body: `let r = sigmoid_f(${gateSum(0)} + bias[j]);
let z = sigmoid_f(${gateSum(1)} + bias[p.size + j]);
let q = hp[gate + 2u * p.size] + bias[2u * p.size + j];
let n = tanh_f(xp[strided + 2u * p.size * p.col_step] + r * q);
hs[p.next + index] = (1.0 - z) * n + z * hs[p.prev + index];
acts[act] = r;
acts[act + p.n] = z;
acts[act + 2u * p.n] = n;
acts[act + 3u * p.n] = q;`,
};

const gruBackward: StepTemplate = {
  name: 'gruStepBackward',
  gates: 3,
  acts: 4,
  parts: [read('gh'), read('dh'), read('acts'), read('hs'), written('dx'), written('dp'), written('carry')],
  strided: 'gh',
  snippets: [],
  body: `let r = acts[act];
let z = acts[act + p.n];
let n = acts[act + 2u * p.n];
let q = acts[act + 3u * p.n];
let d = dh[index] + gh[strided] + carry[index];
let dn = d * (1.0 - z) * (1.0 - n * n);
let dz = d * (hs[p.prev + index] - n) * z * (1.0 - z);
let dr = dn * q * r * (1.0 - r);
dx[step] = dr;
dx[step + p.size] = dz;
dx[step + 2u * p.size] = dn;
dp[step] = dr;
dp[step + p.size] = dz;
dp[step + 2u * p.size] = dn * r;
carry[index] = d * z;`,
};

/**
 * r, z = σ(·) of xp + hp + b; n = tanh(xp + r·(hp + b)), gates in the order r, z, n; h' = (1 − z)·n + z·h.
 *
 * @source torch.nn.GRU
 */
export const gruCell: RecurrentCell = {
  name: 'gru',
  gates: 3,
  acts: 4,
  cell: false,
  bias: true,
  carry: true,
  forward: {
    name: gruForward.name,
    kernel: stepKernel(gruForward),
    simd: gruForwardSimd,
    host([hp, xp, bias], [hs, acts], params) {
      const { B, H, n: units, start, row, col, from, to, time } = hostStep(xp, 3, params);
      const [P, X, V, h, a]: Data[] = [hp.data, xp.data, bias.data, hs.data, acts.data];
      for (let b = 0; b < B; b++) {
        const gate = hp.offset + b * 3 * H;
        const act = time * 4 + b * H;
        for (let j = 0; j < H; j++) {
          const x = start + b * row + j * col;
          const step = H * col;
          const v = bias.offset + j;
          const r = sigmoid(P[gate + j] + X[x] + V[v]);
          const z = sigmoid(P[gate + H + j] + X[x + step] + V[v + H]);
          const q = P[gate + 2 * H + j] + V[v + 2 * H];
          const n = tanh(X[x + 2 * step] + r * q);
          h[to + b * H + j] = (1 - z) * n + z * h[from + b * H + j];
          a[act + j] = r;
          a[act + units + j] = z;
          a[act + 2 * units + j] = n;
          a[act + 3 * units + j] = q;
        }
      }
    },
  },
  backward: {
    name: gruBackward.name,
    kernel: stepKernel(gruBackward),
    simd: gruBackwardSimd,
    host([gh, dh, acts, hs], [dx, dp, carry], params) {
      const { B, H, n: units, start, row, col, from, time } = hostStep(gh, 1, params);
      const [G, D, a, h]: Data[] = [gh.data, dh.data, acts.data, hs.data];
      const [X, P, C]: Data[] = [dx.data, dp.data, carry.data];
      for (let b = 0; b < B; b++) {
        const act = time * 4 + b * H;
        const gate = (time + b * H) * 3;
        for (let j = 0; j < H; j++) {
          const unit = b * H + j;
          const r = a[act + j];
          const z = a[act + units + j];
          const n = a[act + 2 * units + j];
          const d = D[unit] + G[start + b * row + j * col] + C[unit];
          const dn = d * (1 - z) * (1 - n * n);
          const dz = d * (h[from + unit] - n) * z * (1 - z);
          const dr = dn * a[act + 3 * units + j] * r * (1 - r);
          X[gate + j] = P[gate + j] = dr;
          X[gate + H + j] = P[gate + H + j] = dz;
          X[gate + 2 * H + j] = dn;
          P[gate + 2 * H + j] = dn * r;
          C[unit] = d * z;
        }
      }
    },
  },
};

/** A plain recurrent cell: h' = f(xp + hp); the derivative of f is a function of h'. */
function plainCell(
  name: string,
  wgsl: string,
  snippets: readonly Snippet[],
  derivative: string,
  f: (x: number) => number,
  df: (h: number) => number,
): RecurrentCell {
  const forward: StepTemplate = {
    name: `${name}Step`,
    gates: 1,
    acts: 0,
    parts: [read('hp'), read('xp'), written('hs')],
    strided: 'xp',
    snippets,
    body: `let x = ${gateSum(0)};\nhs[p.next + index] = ${wgsl};`,
  };
  const backward: StepTemplate = {
    name: `${name}StepBackward`,
    gates: 1,
    acts: 0,
    parts: [read('gh'), read('dh'), read('hs'), written('dx')],
    strided: 'gh',
    snippets: [],
    body: `let h = hs[p.next + index];\ndx[step] = (dh[index] + gh[strided]) * ${derivative};`,
  };
  return {
    name,
    gates: 1,
    acts: 0,
    cell: false,
    bias: false,
    carry: false,
    forward: {
      name: forward.name,
      kernel: stepKernel(forward),
      host([hp, xp], [hs], params) {
        const { B, H, start, row, col, to } = hostStep(xp, 1, params);
        for (let b = 0; b < B; b++) {
          for (let j = 0; j < H; j++) {
            const unit = b * H + j;
            hs.data[to + unit] = f(hp.data[hp.offset + unit] + xp.data[start + b * row + j * col]);
          }
        }
      },
    },
    backward: {
      name: backward.name,
      kernel: stepKernel(backward),
      host([gh, dh, hs], [dx], params) {
        const { B, H, start, row, col, to, time } = hostStep(gh, 1, params);
        for (let b = 0; b < B; b++) {
          for (let j = 0; j < H; j++) {
            const unit = b * H + j;
            const d = dh.data[unit] + gh.data[start + b * row + j * col];
            dx.data[time + unit] = d * df(hs.data[to + unit]);
          }
        }
      },
    },
  };
}

/** h' = tanh(xp + hp). @source torch.nn.RNN */
export const tanhCell = plainCell('rnnTanh', 'tanh_f(x)', [TANH], '(1.0 - h * h)', tanh, (h) => 1 - h * h);

/** h' = max(xp + hp, 0). @source torch.nn.RNN with nonlinearity 'relu' */
export const reluCell = plainCell(
  'rnnRelu',
  'max(x, 0.0)',
  [],
  'select(0.0, 1.0, h > 0.0)',
  (x) => Math.max(x, 0),
  (h) => (h > 0 ? 1 : 0),
);
