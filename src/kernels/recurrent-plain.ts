/** Plain recurrent cells; see recurrent-scan.ts for symbols and layouts. */
import type { HostArray } from '../device/types.js';
import { hostBackward, hostForward, tanh } from './recurrent-host.js';
import { type ScanParams, scanBackward, scanForward } from './recurrent-scan.js';
import { rnnBackwardSimd, rnnSimd } from './recurrent-simd.js';
import type { ScanHalf } from './recurrent-text.js';
import type { Snippet } from './wgsl.js';
import { TANH } from './wgsl-math.js';

/** Kept per unit: h before the step. */
const PLAIN = { gates: 1, acts: 1 };

/** h' = f(xp + W·h); the derivative of f is a function of h'. */
function plain(
  name: string,
  wgsl: string,
  snippets: readonly Snippet[],
  derivative: string,
  f: (x: number) => number,
  df: (h: number) => number,
) {
  const forward: ScanHalf = {
    name,
    inputs: ['xp', 'h0', 'weight'],
    strided: ['h0'],
    outputs: ['out', 'acts'],
    snippets,
    step: () => `let v = sum + xp[x];\n      let h = ${wgsl};`,
  };
  const backward: ScanHalf = {
    name: `${name}Backward`,
    inputs: ['gh', 'states', 'weight'],
    strided: [],
    outputs: ['dx', 'dh'],
    gradient: 'dx',
    snippets: [],
    step: (at) => `let h = states[p.states_offset + out_at];\n        ${at('dx', 'x')} = d * ${derivative};`,
  };
  return {
    /** Inputs xp, h0, W; outputs h of all steps and what is kept. */
    forward: {
      kernel: scanForward(PLAIN, forward),
      simd: rnnSimd(name === 'rnnRelu'),
      host(inputs: readonly HostArray[], outputs: readonly HostArray[], params: ScanParams): void {
        const [xp] = inputs;
        const O = outputs[0].data;
        const H = xp.shape[2];
        hostForward(PLAIN, inputs, outputs, params, (_, row, sums) => {
          for (let j = 0; j < H; j++) O[row * H + j] = f(sums[j] + xp.data[xp.offset + row * H + j]);
        });
      },
    },
    /** Inputs: gradient of all h, h of all steps, W; outputs: gradients of xp and h0. */
    backward: {
      kernel: scanBackward(PLAIN, backward),
      simd: rnnBackwardSimd(name === 'rnnRelu'),
      host(inputs: readonly HostArray[], outputs: readonly HostArray[], params: ScanParams): void {
        const [gh, states, weight] = inputs;
        const X = outputs[0].data;
        const H = gh.shape[2];
        hostBackward(PLAIN, gh, weight, outputs, params, (_, row, D) => {
          const at = row * H;
          for (let j = 0; j < H; j++) X[at + j] = D[j] * df(states.data[states.offset + at + j]);
        });
      },
    },
  };
}

/** h' = tanh(xp + W·h). @source torch.nn.RNN */
export const tanhCell = plain('rnnTanh', 'tanh_f(v)', [TANH], '(1.0 - h * h)', tanh, (h) => 1 - h * h);

/** h' = max(xp + W·h, 0). @source torch.nn.RNN with nonlinearity 'relu' */
export const reluCell = plain(
  'rnnRelu',
  'max(v, 0.0)',
  [],
  'select(0.0, 1.0, h > 0.0)',
  (x) => Math.max(x, 0),
  (h) => (h > 0 ? 1 : 0),
);
