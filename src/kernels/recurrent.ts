/** Plain recurrent cells; see recurrent-step.ts for symbols and layouts. */
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
import type { Snippet } from './wgsl.js';
import { TANH } from './wgsl-math.js';

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
