/** Softmax and log-softmax along one dim, with their gradients: WGSL and host loops. */
import type { HostArray, SimdModule, SimdView } from '../device/types.js';
import { type RowTemplate, total } from './row.js';
import { lineSpace } from './scan.js';
import { declarations, INF, NAN, ORDER_KEYS, snippet } from './wgsl.js';
import { LOG } from './wgsl-math.js';

export interface SoftmaxParams {
  readonly dim: number;
}

/**
 * The maximum as an integer key, so that NaN and infinity are seen. Rows with NaN or +∞, or of −∞ only, are NaN
 * throughout; single elements of −∞ weigh nothing.
 */
const MAXIMUM = (x: string) => [
  { fold: 'top', type: 'u32', init: '0u', step: `max(acc, order_key(${x}))`, merge: 'max(acc, other)' },
  'let regular = top > order_key(-inf()) && top < order_key(inf());',
  'let most = from_order_key(top);',
  total('sum', `exp_down(${x} - most)`),
];

/**
 * e^x for x ≤ 0, −∞ included. The adapter's exp is off by 3 + 2|x| ulp at most, which weights of a sum can bear, and on
 * software adapters it takes a third of the time of an exact one.
 */
export const EXP_DOWN = snippet('fn exp_down(x: f32) -> f32 { return select(exp(x), 0.0, x < -104.0); }');

const FUNCTIONS = declarations(ORDER_KEYS, NAN, INF, EXP_DOWN, LOG);

/** Reads each element three times (once from memory, where rows fit into the cache), writes it once; two exponentials. */
export const softmaxRows: RowTemplate = {
  name: 'softmax',
  operands: { x: 'row', y: 'row' },
  declarations: FUNCTIONS,
  steps: ({ read, write }) => [
    ...MAXIMUM(read('x')),
    { each: write('y', `select(nan(), exp_down(${read('x')} - most) / sum, regular)`) },
  ],
};

export const logSoftmaxRows: RowTemplate = {
  name: 'logSoftmax',
  operands: { x: 'row', y: 'row' },
  declarations: FUNCTIONS,
  steps: ({ read, write }) => [
    ...MAXIMUM(read('x')),
    'let log_sum = log_f(sum);',
    { each: write('y', `select(nan(), (${read('x')} - most) - log_sum, regular)`) },
  ],
};

export const softmaxBackwardRows: RowTemplate = {
  name: 'softmaxBackward',
  operands: { g: 'row', y: 'row', dx: 'row' },
  steps: ({ read, write }) => [
    total('dot', `${read('g')} * ${read('y')}`),
    { each: write('dx', `${read('y')} * (${read('g')} - dot)`) },
  ],
};

export const logSoftmaxBackwardRows: RowTemplate = {
  name: 'logSoftmaxBackward',
  operands: { g: 'row', y: 'row', dx: 'row' },
  declarations: declarations(EXP_DOWN),
  steps: ({ read, write }) => [
    total('sum', read('g')),
    { each: write('dx', `${read('g')} - exp_down(${read('y')}) * sum`) },
  ],
};

type RowLoop = (
  n: number,
  step: number,
  a: HostArray['data'],
  at: number,
  b: HostArray['data'],
  bAt: number,
  y: HostArray['data'],
  yAt: number,
) => void;

/** Calls a loop for every row; `b` is input 1, or input 0 again. */
function rowsHost(loop: RowLoop) {
  return (inputs: readonly HostArray[], [y]: readonly HostArray[], { dim }: SoftmaxParams): void => {
    const a = inputs[0];
    const b = inputs[1] ?? a;
    const { outer, n, inner } = lineSpace(a.shape, dim);
    for (let o = 0; o < outer; o++) {
      for (let j = 0; j < inner; j++) {
        const at = o * n * inner + j;
        loop(n, inner, a.data, a.offset + at, b.data, b.offset + at, y.data, at);
      }
    }
  };
}

/** The largest element, NaN where there is one. */
function rowMax(n: number, step: number, x: HostArray['data'], at: number): number {
  let top = -Infinity;
  for (let i = 0, a = at; i < n; i++, a += step) {
    const v = x[a];
    if (v > top) top = v;
    else if (Number.isNaN(v)) return v;
  }
  return top;
}

// ∞ − ∞ makes the rows NaN that should be.
export const softmaxHost = rowsHost((n, step, x, at, _b, _bAt, y, yAt) => {
  const top = rowMax(n, step, x, at);
  const end = yAt + n * step;
  let sum = 0;
  for (let a = at, o = yAt; o < end; a += step, o += step) {
    const e = Math.exp(x[a] - top);
    y[o] = e;
    sum += e;
  }
  const scale = 1 / sum;
  for (let o = yAt; o < end; o += step) y[o] *= scale;
});

export const logSoftmaxHost = rowsHost((n, step, x, at, _b, _bAt, y, yAt) => {
  const top = rowMax(n, step, x, at);
  const end = at + n * step;
  let sum = 0;
  for (let a = at; a < end; a += step) sum += Math.exp(x[a] - top);
  const log = Math.log(sum);
  for (let a = at, o = yAt; a < end; a += step, o += step) y[o] = x[a] - top - log;
});

export const softmaxBackwardHost = rowsHost((n, step, g, at, y, yAt, dx, dxAt) => {
  const end = at + n * step;
  let dot = 0;
  for (let a = at, b = yAt; a < end; a += step, b += step) dot += g[a] * y[b];
  for (let a = at, b = yAt, o = dxAt; a < end; a += step, b += step, o += step) dx[o] = y[b] * (g[a] - dot);
});

export const logSoftmaxBackwardHost = rowsHost((n, step, g, at, y, yAt, dx, dxAt) => {
  const end = at + n * step;
  let sum = 0;
  for (let a = at; a < end; a += step) sum += g[a];
  for (let a = at, b = yAt, o = dxAt; a < end; a += step, b += step, o += step)
    dx[o] = g[a] - Math.exp(y[b]) * sum;
});

/** The module's function where rows are contiguous. */
export function simdRows(name: 'softmax' | 'logSoftmax') {
  return (
    module: SimdModule,
    [x]: readonly SimdView[],
    [y]: readonly SimdView[],
    { dim }: SoftmaxParams,
  ): boolean => {
    const { outer, n, inner } = lineSpace(x.shape, dim);
    if (inner !== 1 || n === 0) return false;
    module[name](outer, n, x.pointer, y.pointer);
    return true;
  };
}

export function simdRowsBackward(name: 'softmaxBackward' | 'logSoftmaxBackward') {
  return (
    module: SimdModule,
    [g, y]: readonly SimdView[],
    [dx]: readonly SimdView[],
    { dim }: SoftmaxParams,
  ): boolean => {
    const { outer, n, inner } = lineSpace(g.shape, dim);
    if (inner !== 1 || n === 0) return false;
    module[name](outer, n, y.pointer, g.pointer, dx.pointer);
    return true;
  };
}
