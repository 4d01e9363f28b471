/** The LSTM cell; see recurrent-scan.ts for symbols and layouts. */
import type { HostArray } from '../device/types.js';
import { hostBackward, hostForward, stateAt, tanh } from './recurrent-host.js';
import { type ScanParams, scanBackward, scanForward } from './recurrent-scan.js';
import { lstmBackwardSimd, lstmSimd } from './recurrent-simd.js';
import type { ScanHalf } from './recurrent-text.js';
import { sigmoid } from './special.js';
import { SIGMOID, TANH } from './wgsl-math.js';

/** Kept per unit: i, f, g, o, c, and h before the step. */
const LSTM = { gates: 4, acts: 6 };

const forward: ScanHalf = {
  name: 'lstm',
  inputs: ['xp', 'h0', 'weight', 'c0'],
  strided: ['h0', 'c0'],
  outputs: ['out', 'acts', 'c'],
  edge: 'c[unit] = c0[p.c0_offset + b * p.c0_row + j * p.c0_col];',
  snippets: [SIGMOID, TANH],
  step: (at) => `let i = sigmoid_f(sum.x + xp[x]);
      let f = sigmoid_f(sum.y + xp[x + p.size]);
      let g = tanh_f(sum.z + xp[x + 2u * p.size]);
      let o = sigmoid_f(sum.w + xp[x + 3u * p.size]);
      let state = f * c[unit] + i * g;
      let h = o * tanh_f(state);
      c[unit] = state;
      ${at('acts', 'act')} = i;
      ${at('acts', 'act + p.size')} = f;
      ${at('acts', 'act + 2u * p.size')} = g;
      ${at('acts', 'act + 3u * p.size')} = o;
      ${at('acts', 'act + 4u * p.size')} = state;`,
};

const backward: ScanHalf = {
  name: 'lstmBackward',
  inputs: ['gh', 'gc', 'acts', 'c0', 'weight'],
  strided: ['gc', 'c0'],
  outputs: ['dx', 'dh', 'dc'],
  gradient: 'dx',
  snippets: [TANH],
  step: (at) => `let i = ${at('acts', 'act')};
        let f = ${at('acts', 'act + p.size')};
        let g = ${at('acts', 'act + 2u * p.size')};
        let o = ${at('acts', 'act + 3u * p.size')};
        let t = tanh_f(${at('acts', 'act + 4u * p.size')});
        var carry: f32;
        if (is_last) { carry = gc[p.gc_offset + b * p.gc_row + j * p.gc_col]; } else { carry = dc[unit]; }
        var c_before: f32;
        if (is_first) { c_before = c0[p.c0_offset + b * p.c0_row + j * p.c0_col]; }
        else { c_before = ${at('acts', 'act_before + 4u * p.size')}; }
        let state = carry + d * o * (1.0 - t * t);
        ${at('dx', 'x')} = state * g * i * (1.0 - i);
        ${at('dx', 'x + p.size')} = state * c_before * f * (1.0 - f);
        ${at('dx', 'x + 2u * p.size')} = state * i * (1.0 - g * g);
        ${at('dx', 'x + 3u * p.size')} = d * t * o * (1.0 - o);
        dc[unit] = state * f;`,
};

/**
 * i, f, o = σ(·), g = tanh(·) of xp + W·h, gates in the order i, f, g, o; c' = f·c + i·g; h' = o·tanh c'. Inputs xp, h0, W,
 * c0; outputs h of all steps, what is kept, and the last c.
 *
 * @source torch.nn.LSTM
 */
export const lstmForward = {
  kernel: scanForward(LSTM, forward),
  simd: lstmSimd,
  host(inputs: readonly HostArray[], outputs: readonly HostArray[], params: ScanParams): void {
    const [xp, , , c0] = inputs;
    const [out, acts, c] = outputs;
    const initial = stateAt(c0);
    const [X, O, A, C] = [xp.data, out.data, acts.data, c.data];
    const H = out.shape[2];
    hostForward(LSTM, inputs, outputs, params, (b, row, sums, isFirst) => {
      const x = xp.offset + row * 4 * H;
      const act = row * 6 * H;
      for (let j = 0; j < H; j++) {
        const i = sigmoid(sums[j] + X[x + j]);
        const f = sigmoid(sums[H + j] + X[x + H + j]);
        const g = tanh(sums[2 * H + j] + X[x + 2 * H + j]);
        const o = sigmoid(sums[3 * H + j] + X[x + 3 * H + j]);
        const state = f * (isFirst ? initial(b, j) : C[b * H + j]) + i * g;
        C[b * H + j] = state;
        O[row * H + j] = o * tanh(state);
        A[act + j] = i;
        A[act + H + j] = f;
        A[act + 2 * H + j] = g;
        A[act + 3 * H + j] = o;
        A[act + 4 * H + j] = state;
      }
    });
  },
};

/** Inputs: gradients of all h and of the last c, what was kept, c0, W; outputs: gradients of xp, h0 and c0. */
export const lstmBackward = {
  kernel: scanBackward(LSTM, backward),
  simd: lstmBackwardSimd,
  host(inputs: readonly HostArray[], outputs: readonly HostArray[], params: ScanParams): void {
    const [gh, gc, acts, c0, weight] = inputs;
    const [dx, , dc] = outputs;
    const [last, initial] = [stateAt(gc), stateAt(c0)];
    const [A, X, C] = [acts.data, dx.data, dc.data];
    const H = gh.shape[2];
    hostBackward(LSTM, gh, weight, outputs, params, (b, row, D, isLast, before) => {
      const x = row * 4 * H;
      const act = acts.offset + row * 6 * H;
      for (let j = 0; j < H; j++) {
        const [i, f, g] = [A[act + j], A[act + H + j], A[act + 2 * H + j]];
        const o = A[act + 3 * H + j];
        const t = tanh(A[act + 4 * H + j]);
        const c = before < 0 ? initial(b, j) : A[acts.offset + (before * 6 + 4) * H + j];
        const state = (isLast ? last(b, j) : C[b * H + j]) + D[j] * o * (1 - t * t);
        X[x + j] = state * g * i * (1 - i);
        X[x + H + j] = state * c * f * (1 - f);
        X[x + 2 * H + j] = state * i * (1 - g * g);
        X[x + 3 * H + j] = D[j] * t * o * (1 - o);
        C[b * H + j] = state * f;
      }
    });
  },
};
