/**
 * Layer norm and RMS norm over the trailing dims, of x or of a sum x + r: WGSL and host loops. All are one template:
 *
 *     s = x + r,  x̂ = (s − mean) · rstd,  y = x̂ · weight + bias,  rstd = 1 / √(mean of (s − mean)² + eps)
 *
 * where RMS norm has mean = 0.
 */
import type { Dispatch, HostArray, KernelCall, View } from '../device/types.js';
import { numel } from '../tensor/shape.js';
import type { ParamSpec } from './pointwise.js';
import { type Fold, type RowCode, type RowTemplate, rowDispatch, total } from './row.js';

export interface NormRowsParams {
  readonly eps: number;
  /** How many trailing dims are normalised. */
  readonly dims: number;
  /** Layer norm subtracts the mean; RMS norm does not. */
  readonly centered: boolean;
  readonly weight: boolean;
  readonly bias: boolean;
  /** The second input is added first, and the sum is the first output. */
  readonly residual: boolean;
}

/** Rows and their length. */
export function normRows(shape: readonly number[], dims: number): { rows: number; n: number } {
  const at = shape.length - dims;
  return { rows: numel(shape.slice(0, at)), n: numel(shape.slice(at)) };
}

/** Numbers kept per row, [k, rows]: mean and rstd, or rstd alone. */
export function statisticsPerRow(centered: boolean): number {
  return centered ? 2 : 1;
}

const EPS: readonly ParamSpec[] = [{ name: 'eps', type: 'f32' }];

/**
 * Mean and Σ (v − mean)² in one loop (Welford 1962; merged as Chan, Golub and LeVeque 1979 do): no cancellation, and a
 * loop less than taking the mean first.
 */
const MOMENTS: Fold = {
  vars: { count: ['turns', '0.0'], center: ['f32', '0.0'], squares: ['f32', '0.0'] },
  step: `count_v += 1.0;
let away = v - center_v;
center_v += away * (1.0 / count_v);
squares_v += away * (v - center_v);`,
  merge: `let all = count + other_count;
let share = other_count / max(all, 1.0);
let apart = other_center - center;
center += apart * share;
squares += other_squares + apart * apart * count * share;
count = all;`,
};

/** Reads each element twice, the second time mostly from cache, and writes it once. */
const template = (centered: boolean): RowTemplate => ({
  name: `normRows:${centered}`,
  operands: { x: 'row', r: 'row', weight: 'column', bias: 'column', sum: 'row', y: 'row', stats: 'stat' },
  params: EPS,
  steps(code) {
    const { read, write, has } = code;
    const load = has('r')
      ? `let v = ${read('x')} + ${read('r')}; ${write('sum', 'v')}`
      : `let v = ${read('x')};`;
    const fold = centered ? MOMENTS : total('squares', 'v * v');
    const scaled = `(${kept(code)} - center) * scale`;
    const weighted = has('weight') ? `${scaled} * ${read('weight')}` : scaled;
    return [
      { ...fold, step: `${load}\n${fold.step}` },
      centered ? '' : 'let center = 0.0;',
      'let scale = 1.0 / sqrt(squares / f32(p.n) + p.eps);',
      centered ? write('stats', 'center') : '',
      write('stats', 'scale', centered ? 1 : 0),
      { each: write('y', has('bias') ? `${weighted} + ${read('bias')}` : weighted) },
    ];
  },
});

/** What is normalised; the sum as it was written, so that backward sees the same. */
function kept({ has, read }: RowCode): string {
  return read(has('r') ? 'sum' : 'x');
}

const layerNormRows = template(true);
const rmsNormRows = template(false);

/** Inputs by name; outputs likewise. */
export function normOperands<T>(inputs: readonly T[], outputs: readonly T[], p: NormRowsParams) {
  const rest = inputs.slice(p.residual ? 2 : 1);
  const [sum, y, stats] = p.residual ? outputs : [undefined, ...outputs];
  return {
    x: inputs[0],
    r: p.residual ? inputs[1] : undefined,
    weight: p.weight ? rest[0] : undefined,
    bias: p.bias ? rest[rest.length - 1] : undefined,
    sum,
    y: y as T,
    stats: stats as T,
  };
}

export function normRowsKernel({ inputs, outputs, params, target }: KernelCall<NormRowsParams>): Dispatch[] {
  const { rows: outer, n } = normRows(inputs[0].shape, params.dims);
  const { x, r, weight, bias, sum, y, stats } = normOperands(inputs, outputs, params);
  const written: Record<string, View> = sum ? { sum, y, stats } : { y, stats };
  const rows = params.centered ? layerNormRows : rmsNormRows;
  return rowDispatch(rows, { outer, n, inner: 1 }, target, { x, r, weight, bias }, written, [params.eps]);
}

export function normRowsHost(
  inputs: readonly HostArray[],
  outputs: readonly HostArray[],
  params: NormRowsParams,
): void {
  const { eps, centered } = params;
  const { x, r, weight, bias, sum, y: output, stats } = normOperands(inputs, outputs, params);
  const [w, wo] = [weight?.data, weight?.offset ?? 0];
  const [b, bo] = [bias?.data, bias?.offset ?? 0];
  const y = output.data;
  const { rows, n } = normRows(x.shape, params.dims);
  if (r && sum) {
    const [a, c, out] = [x.data, r.data, sum.data];
    for (let i = 0; i < rows * n; i++) out[i] = a[x.offset + i] + c[r.offset + i];
  }
  const { data, offset } = sum ?? x;
  const rstd = centered ? rows : 0;
  for (let row = 0; row < rows; row++) {
    const at = offset + row * n;
    let center = 0;
    if (centered) {
      for (let i = 0; i < n; i++) center += data[at + i];
      center /= n;
      stats.data[row] = center;
    }
    let squares = 0;
    for (let i = 0; i < n; i++) {
      const d = data[at + i] - center;
      squares += d * d;
    }
    const scale = 1 / Math.sqrt(squares / n + eps);
    stats.data[rstd + row] = scale;
    const to = row * n;
    if (w) for (let i = 0; i < n; i++) y[to + i] = (data[at + i] - center) * scale * w[wo + i];
    else for (let i = 0; i < n; i++) y[to + i] = (data[at + i] - center) * scale;
    if (b) for (let i = 0; i < n; i++) y[to + i] += b[bo + i];
  }
}
