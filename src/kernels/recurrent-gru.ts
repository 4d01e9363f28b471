/** The GRU cell; see recurrent-step.ts for symbols and layouts. */
import { gruBackwardSimd, gruForwardSimd } from './recurrent-simd.js';
import {
  type Data,
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
