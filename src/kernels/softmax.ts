/** Softmax and log-softmax along one dim, with their gradients: WGSL and host loops. */
import type { HostArray, SimdModule, SimdView } from '../device/types.js';
import { type Fold, type RowCode, type RowTemplate, total } from './row.js';
import { lineSpace } from './scan.js';
import { declarations, NAN, type Snippet, snippet } from './wgsl.js';
import { LOG } from './wgsl-math.js';

export interface SoftmaxParams {
  readonly dim: number;
}

/**
 * e^x for x ≤ 0, −∞ included. The adapter's exp is off by 3 + 2|x| ulp at most, which weights of a sum can bear, and on
 * software adapters it takes a third of the time of an exact one.
 */
export const EXP_DOWN = snippet('fn exp_down(x: f32) -> f32 { return select(exp(x), 0.0, x < -104.0); }');

/** `exp_down` of as many numbers as a turn reads. */
export function expDowns({ type }: Pick<RowCode, 'type'>): Snippet {
  return snippet(
    `fn exp_downs(x: ${type}) -> ${type} { return select(exp(x), ${type}(), x < ${type}(-104.0)); }`,
  );
}

/**
 * The largest number of the row, `top`, and `sum` = Σ exp(x − top) in one loop, with one exponential per number: whichever
 * of the old maximum and the new number is smaller is weighed. `seen` is the largest magnitude as bits, which tell of NaN.
 * Needs `exp_down` and `exp_downs`.
 */
export function onlineSum(x: string, { type, lanes }: Pick<RowCode, 'type' | 'lanes'>): Fold {
  const bits = lanes === 4 ? 'vec4u' : 'u32';
  return {
    vars: { top: ['f32', '-3.4028234e38'], sum: ['f32', '0.0'], seen: ['u32', '0u'] },
    step: `let v = ${x};
seen_v = max(seen_v, bitcast<${bits}>(v) & ${bits}(0x7fffffffu));
let above = v - top_v;
let weight_v = exp_downs(-abs(above));
sum_v = select(sum_v + weight_v, sum_v * weight_v + 1.0, above > ${type}());
top_v = max(top_v, v);`,
    merge: `let most = max(top, other_top);
sum = sum * exp_down(top - most) + other_sum * exp_down(other_top - most);
top = most;
seen = max(seen, other_seen);`,
  };
}

/**
 * Behind `onlineSum`: `regular` is false for rows with NaN or +∞, or of −∞ only, which are NaN throughout. Elements of −∞
 * weigh nothing, so a sum of 0 is that of no others.
 */
export const REGULAR = 'let regular = seen <= 0x7f800000u && bitcast<u32>(top) != 0x7f800000u && sum > 0.0;';

/** Reads each element twice, the second time mostly from cache, and writes it once; two exponentials. */
export const softmaxRows: RowTemplate = {
  name: 'softmax',
  operands: { x: 'row', y: 'row' },
  declarations: (code) => declarations(NAN, EXP_DOWN, expDowns(code)),
  steps: (code) => [
    onlineSum(code.read('x'), code),
    REGULAR,
    'let scale = select(nan(), 1.0 / sum, regular);',
    { each: code.write('y', `exp_downs(${code.read('x')} - top) * scale`) },
  ],
};

export const logSoftmaxRows: RowTemplate = {
  name: 'logSoftmax',
  operands: { x: 'row', y: 'row' },
  declarations: (code) => declarations(NAN, EXP_DOWN, expDowns(code), LOG),
  steps: (code) => [
    onlineSum(code.read('x'), code),
    REGULAR,
    'let log_sum = select(nan(), log_f(sum), regular);',
    { each: code.write('y', `(${code.read('x')} - top) - log_sum`) },
  ],
};

export const softmaxBackwardRows: RowTemplate = {
  name: 'softmaxBackward',
  operands: { g: 'row', y: 'row', dx: 'row' },
  steps: ({ read, write }) => [
    total('inner_product', `${read('g')} * ${read('y')}`),
    { each: write('dx', `${read('y')} * (${read('g')} - inner_product)`) },
  ],
};

export const logSoftmaxBackwardRows: RowTemplate = {
  name: 'logSoftmaxBackward',
  operands: { g: 'row', y: 'row', dx: 'row' },
  declarations: (code) => declarations(expDowns(code)),
  steps: ({ read, write }) => [
    total('sum', read('g')),
    { each: write('dx', `${read('g')} - exp_downs(${read('y')}) * sum`) },
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
