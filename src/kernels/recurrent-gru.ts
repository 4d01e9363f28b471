/** The GRU cell; see recurrent-scan.ts for symbols and layouts. */
import type { HostArray } from '../device/types.js';
import { hostBackward, hostForward, tanh } from './recurrent-host.js';
import { type ScanParams, scanBackward, scanForward } from './recurrent-scan.js';
import { gruBackwardSimd, gruSimd } from './recurrent-simd.js';
import type { ScanHalf } from './recurrent-text.js';
import { sigmoid } from './special.js';
import { SIGMOID, TANH } from './wgsl-math.js';

/** Kept per unit: r, z, n, the recurrent part of n's argument (q), and h before the step. */
const GRU = { gates: 3, acts: 5 };

const forward: ScanHalf = {
  name: 'gru',
  inputs: ['xp', 'h0', 'weight', 'bias'],
  strided: ['h0', 'bias'],
  outputs: ['out', 'acts'],
  snippets: [SIGMOID, TANH],
  step: (at) => `let v = p.bias_offset + j * p.bias_col;
      let r = sigmoid_f(sum.x + bias[v] + xp[x]);
      let z = sigmoid_f(sum.y + bias[v + p.size * p.bias_col] + xp[x + p.size]);
      let q = sum.z + bias[v + 2u * p.size * p.bias_col];
      let n = tanh_f(xp[x + 2u * p.size] + r * q);
      let h = (1.0 - z) * n + z * ${at('acts', 'act + 4u * p.size')};
      ${at('acts', 'act')} = r;
      ${at('acts', 'act + p.size')} = z;
      ${at('acts', 'act + 2u * p.size')} = n;
      ${at('acts', 'act + 3u * p.size')} = q;`,
};

const backward: ScanHalf = {
  name: 'gruBackward',
  inputs: ['gh', 'acts', 'weight'],
  strided: [],
  outputs: ['dp', 'dh', 'dx'],
  carry: true,
  gradient: 'dp',
  snippets: [],
  step: (at) => `let r = ${at('acts', 'act')};
        let z = ${at('acts', 'act + p.size')};
        let n = ${at('acts', 'act + 2u * p.size')};
        let dn = d * (1.0 - z) * (1.0 - n * n);
        let dz = d * (${at('acts', 'act + 4u * p.size')} - n) * z * (1.0 - z);
        let dr = dn * ${at('acts', 'act + 3u * p.size')} * r * (1.0 - r);
        dx[x] = dr;
        dx[x + p.size] = dz;
        dx[x + 2u * p.size] = dn;
        ${at('dp', 'x')} = dr;
        ${at('dp', 'x + p.size')} = dz;
        ${at('dp', 'x + 2u * p.size')} = dn * r;
        dh[unit] = d * z;`,
};

/**
 * r, z = σ(·) of xp + W·h + b; n = tanh(xp + r·(W·h + b)), gates in the order r, z, n; h' = (1 − z)·n + z·h. Inputs xp, h0,
 * W, b; outputs h of all steps and what is kept.
 *
 * @source torch.nn.GRU
 */
export const gruForward = {
  kernel: scanForward(GRU, forward),
  simd: gruSimd,
  host(inputs: readonly HostArray[], outputs: readonly HostArray[], params: ScanParams): void {
    const [xp, , , bias] = inputs;
    const [out, acts] = outputs;
    const [X, V, O, A] = [xp.data, bias.data, out.data, acts.data];
    const H = out.shape[2];
    const step = bias.strides[0];
    hostForward(GRU, inputs, outputs, params, (_, row, sums) => {
      const x = xp.offset + row * 3 * H;
      const act = row * 5 * H;
      for (let j = 0; j < H; j++) {
        const v = bias.offset + j * step;
        const r = sigmoid(sums[j] + V[v] + X[x + j]);
        const z = sigmoid(sums[H + j] + V[v + H * step] + X[x + H + j]);
        const q = sums[2 * H + j] + V[v + 2 * H * step];
        const n = tanh(X[x + 2 * H + j] + r * q);
        O[row * H + j] = (1 - z) * n + z * A[act + 4 * H + j];
        A[act + j] = r;
        A[act + H + j] = z;
        A[act + 2 * H + j] = n;
        A[act + 3 * H + j] = q;
      }
    });
  },
};

/** Inputs: gradient of all h, what was kept, W; outputs: gradients of the recurrent part W·h + b, of h0 and of xp. */
export const gruBackward = {
  kernel: scanBackward(GRU, backward),
  simd: gruBackwardSimd,
  host(inputs: readonly HostArray[], outputs: readonly HostArray[], params: ScanParams): void {
    const [gh, acts, weight] = inputs;
    const [dp, dh, dx] = outputs;
    const [A, P, C, X] = [acts.data, dp.data, dh.data, dx.data];
    const H = gh.shape[2];
    hostBackward(GRU, gh, weight, outputs, params, (b, row, D) => {
      const x = row * 3 * H;
      const act = acts.offset + row * 5 * H;
      for (let j = 0; j < H; j++) {
        const [r, z, n] = [A[act + j], A[act + H + j], A[act + 2 * H + j]];
        const dn = D[j] * (1 - z) * (1 - n * n);
        const dz = D[j] * (A[act + 4 * H + j] - n) * z * (1 - z);
        const dr = dn * A[act + 3 * H + j] * r * (1 - r);
        X[x + j] = P[x + j] = dr;
        X[x + H + j] = P[x + H + j] = dz;
        X[x + 2 * H + j] = dn;
        P[x + 2 * H + j] = dn * r;
        C[b * H + j] = D[j] * z;
      }
    });
  },
};
