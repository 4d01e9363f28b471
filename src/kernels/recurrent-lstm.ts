/** The LSTM cell; see recurrent-step.ts for symbols and layouts. */
import { lstmBackwardSimd, lstmForwardSimd } from './recurrent-simd.js';
import {
  gateSum,
  hostStep,
  read,
  type RecurrentCell,
  stepKernel,
  type StepTemplate,
  tanh,
  written,
} from './recurrent-step.js';
import { sigmoid } from './special.js';
import { SIGMOID, TANH } from './wgsl-math.js';

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
