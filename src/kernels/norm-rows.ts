/**
 * Layer norm and RMS norm over the trailing dims, with their gradients: WGSL and host loops. Both are one template:
 *
 *     x̂ = (x − mean) · rstd,  y = x̂ · weight + bias,  rstd = 1 / √(mean of (x − mean)² + eps)
 *
 * where RMS norm has mean = 0.
 */
import {
  type Dispatch,
  type HostArray,
  type Kernel,
  type KernelCall,
  type View,
  wgslType,
} from '../device/types.js';
import { numel } from '../tensor/shape.js';
import { unrolled } from './loop.js';
import { load, type ParamSpec, store, workgroups } from './pointwise.js';
import { rowDispatch, type RowStep, type RowTemplate, total } from './row.js';

export interface NormRowsParams {
  readonly eps: number;
  /** How many trailing dims are normalised. */
  readonly dims: number;
  /** Layer norm subtracts the mean; RMS norm does not, and has no such input or output. */
  readonly centered: boolean;
  readonly weight: boolean;
  readonly bias: boolean;
}

/** Rows and their length. */
export function normRows(shape: readonly number[], dims: number): { rows: number; n: number } {
  const at = shape.length - dims;
  return { rows: numel(shape.slice(0, at)), n: numel(shape.slice(at)) };
}

const EPS: readonly ParamSpec[] = [{ name: 'eps', type: 'f32' }];

/** Reads each element three times (layer norm) or twice, writes it once. */
const forward: RowTemplate = {
  name: 'normRows',
  operands: { x: 'row', weight: 'column', bias: 'column', y: 'row', mean: 'stat', rstd: 'stat' },
  params: EPS,
  steps({ read, write, has }) {
    const x = read('x');
    const steps: RowStep[] = [];
    if (has('mean')) {
      steps.push(total('sum', x), 'let center = sum / f32(p.n);', write('mean', 'center'));
    } else steps.push('let center = 0.0;');
    const scaled = `(${x} - center) * scale`;
    const weighted = has('weight') ? `${scaled} * ${read('weight')}` : scaled;
    steps.push(
      total('squares', `(${x} - center) * (${x} - center)`),
      'let scale = 1.0 / sqrt(squares / f32(p.n) + p.eps);',
      write('rstd', 'scale'),
      { each: write('y', has('bias') ? `${weighted} + ${read('bias')}` : weighted) },
    );
    return steps;
  },
};

/** dx = rstd (a − mean(a) − x̂ · mean(a x̂)), a = g · weight; without mean(a) for RMS norm. Reads twice, writes once. */
const backward: RowTemplate = {
  name: 'normRowsBackward',
  operands: { g: 'row', x: 'row', mean: 'stat', rstd: 'stat', weight: 'column', dx: 'row' },
  steps({ read, write, has }) {
    const a = has('weight') ? `${read('g')} * ${read('weight')}` : read('g');
    const xhat = `(${read('x')} - center) * scale`;
    return [
      `let center = ${has('mean') ? read('mean') : '0.0'};`,
      `let scale = ${read('rstd')};`,
      total('sums', `${a} * vec2f(1.0, ${xhat})`, 'vec2f'),
      'let means = sums / f32(p.n);',
      { each: write('dx', `scale * (${a}${has('mean') ? ' - means.x' : ''} - ${xhat} * means.y)`) },
    ];
  },
};

export function normRowsKernel({ inputs, outputs, params, target }: KernelCall<NormRowsParams>): Dispatch[] {
  const { rows: outer, n } = normRows(inputs[0].shape, params.dims);
  const weight = params.weight ? inputs[1] : undefined;
  const bias = params.bias ? inputs[inputs.length - 1] : undefined;
  const [y, rstd, mean] = outputs;
  const written: Record<string, View> = params.centered ? { y, rstd, mean } : { y, rstd };
  return rowDispatch(forward, { outer, n, inner: 1 }, target, { x: inputs[0], weight, bias }, written, [
    params.eps,
  ]);
}

/** Inputs g, x, rstd, then mean where centered, then weight where there is one. */
export function normRowsBackwardKernel({
  inputs,
  outputs: [dx],
  params,
  target,
}: KernelCall<NormRowsParams>): Dispatch[] {
  const [g, x, rstd] = inputs;
  const { rows: outer, n } = normRows(x.shape, params.dims);
  const mean = params.centered ? inputs[3] : undefined;
  const weight = params.weight ? inputs[inputs.length - 1] : undefined;
  return rowDispatch(backward, { outer, n, inner: 1 }, target, { g, x, rstd, mean, weight }, { dx });
}

const kernels = new Map<string, Kernel>();

function cached(key: string, make: () => Omit<Kernel, 'key' | 'workgroupSize'>): Kernel {
  let kernel = kernels.get(key);
  if (!kernel) kernels.set(key, (kernel = { key, workgroupSize: 64, ...make() }));
  return kernel;
}

/**
 * dWeight = Σ g x̂ and dBias = Σ g over rows, from g, x, rstd and, where centered, mean. Blocks of rows first, each column
 * an invocation (neighbours read neighbouring elements), then the sum of the blocks: no atomics, one order of additions.
 * Reads g and x once; the partial sums are 1/64 of that or less.
 */
export function normRowsAffineKernel({
  inputs,
  outputs: [dWeight, dBias],
  params,
  target,
  scratch,
}: KernelCall<NormRowsParams>): Dispatch[] {
  const [g, x, rstd, mean] = inputs;
  const { rows, n } = normRows(x.shape, params.dims);
  const wanted = Math.ceil((target.kind === 'gpu' ? 32768 : 1024) / Math.max(n, 1));
  const blocks = Math.max(Math.min(wanted, Math.floor(rows / 64), 256), 1);
  const items = blocks * n;
  const partial = scratch(items * 8);
  const from = wgslType(x.dtype);
  const stat = wgslType(rstd.dtype);
  const to = wgslType(dWeight.dtype);
  const { centered } = params;
  const part = cached(`normRowsAffine:${centered}:${from}:${stat}`, () => ({
    bindings: [
      { name: 'g', type: from, access: 'read' },
      { name: 'x', type: from, access: 'read' },
      { name: 'rstd', type: stat, access: 'read' },
      ...(centered ? [{ name: 'mean', type: stat, access: 'read' } as const] : []),
      { name: 'part', type: 'f32', access: 'read_write' },
    ],
    params: (['items', 'n', 'rows', 'chunk', 'g_offset', 'x_offset', 'rstd_offset'] as const)
      .map((name): ParamSpec => ({ name, type: 'u32' }))
      .concat(centered ? [{ name: 'mean_offset', type: 'u32' }] : []),
    enables: from === 'f16' ? ['f16'] : undefined,
    body: `
if (index >= p.items) { return; }
let column = index % p.n;
let first = index / p.n * p.chunk;
let end = min(first + p.chunk, p.rows);
var sums = vec2f(0.0, 0.0);
${unrolled(
  'row',
  'first',
  'end',
  1,
  `let grad = ${load(from, 'g[p.g_offset + row * p.n + column]')};
let center = ${centered ? load(stat, 'mean[p.mean_offset + row]') : '0.0'};
let xhat = (${load(from, 'x[p.x_offset + row * p.n + column]')} - center) * ${load(stat, 'rstd[p.rstd_offset + row]')};
sums += vec2f(grad * xhat, grad);`,
)}
part[2u * index] = sums.x;
part[2u * index + 1u] = sums.y;`,
  }));
  const join = cached(`normRowsAffine:join:${to}`, () => ({
    bindings: [
      { name: 'part', type: 'f32', access: 'read' },
      { name: 'dweight', type: to, access: 'read_write' },
      { name: 'dbias', type: to, access: 'read_write' },
    ],
    params: [
      { name: 'n', type: 'u32' },
      { name: 'blocks', type: 'u32' },
    ],
    enables: to === 'f16' ? ['f16'] : undefined,
    body: `
if (index >= p.n) { return; }
var sums = vec2f(0.0, 0.0);
for (var b = 0u; b < p.blocks; b++) {
  let at = 2u * (b * p.n + index);
  sums += vec2f(part[at], part[at + 1u]);
}
dweight[index] = ${store(to, 'sums.x')};
dbias[index] = ${store(to, 'sums.y')};`,
  }));
  const offsets = [g.offset, x.offset, rstd.offset, ...(centered ? [mean.offset] : [])];
  return [
    {
      kernel: part,
      buffers: [g.buffer, x.buffer, rstd.buffer, ...(centered ? [mean.buffer] : []), partial],
      params: [items, n, rows, Math.ceil(rows / blocks), ...offsets],
      workgroups: workgroups(items),
    },
    {
      kernel: join,
      buffers: [partial, dWeight.buffer, dBias.buffer],
      params: [n, blocks],
      workgroups: workgroups(n),
    },
  ];
}

export function normRowsHost(
  inputs: readonly HostArray[],
  outputs: readonly HostArray[],
  params: NormRowsParams,
): void {
  const { eps, centered } = params;
  const [x] = inputs;
  const weight = params.weight ? inputs[1] : null;
  const bias = params.bias ? inputs[inputs.length - 1] : null;
  const [w, wo] = [weight?.data, weight?.offset ?? 0];
  const [b, bo] = [bias?.data, bias?.offset ?? 0];
  const y = outputs[0].data;
  const rstd = outputs[1].data;
  const { rows, n } = normRows(x.shape, params.dims);
  const data = x.data;
  for (let row = 0; row < rows; row++) {
    const at = x.offset + row * n;
    let center = 0;
    if (centered) {
      for (let i = 0; i < n; i++) center += data[at + i];
      center /= n;
      outputs[2].data[row] = center;
    }
    let squares = 0;
    for (let i = 0; i < n; i++) {
      const d = data[at + i] - center;
      squares += d * d;
    }
    const scale = 1 / Math.sqrt(squares / n + eps);
    rstd[row] = scale;
    const to = row * n;
    if (w) for (let i = 0; i < n; i++) y[to + i] = (data[at + i] - center) * scale * w[wo + i];
    else for (let i = 0; i < n; i++) y[to + i] = (data[at + i] - center) * scale;
    if (b) for (let i = 0; i < n; i++) y[to + i] += b[bo + i];
  }
}

export function normRowsBackwardHost(
  inputs: readonly HostArray[],
  [dx]: readonly HostArray[],
  params: NormRowsParams,
): void {
  const [g, x, rstd] = inputs;
  const mean = params.centered ? inputs[3] : null;
  const { rows, n } = normRows(x.shape, params.dims);
  const weight = params.weight ? inputs[inputs.length - 1] : null;
  // One kind of array in the loop, also where there is no weight.
  const w = weight?.data ?? new (g.data.constructor as new (n: number) => HostArray['data'])(n).fill(1);
  const wo = weight?.offset ?? 0;
  const [gs, xs, out] = [g.data, x.data, dx.data];
  for (let row = 0; row < rows; row++) {
    const center = mean ? mean.data[mean.offset + row] : 0;
    const scale = rstd.data[rstd.offset + row];
    const xo = x.offset + row * n;
    const go = g.offset + row * n;
    let sum = 0;
    let dot = 0;
    for (let i = 0; i < n; i++) {
      const a = gs[go + i] * w[wo + i];
      sum += a;
      dot += a * (xs[xo + i] - center);
    }
    const shift = mean ? sum / n : 0;
    const slope = (dot * scale * scale) / n;
    const to = row * n;
    for (let i = 0; i < n; i++) {
      out[to + i] = scale * (gs[go + i] * w[wo + i] - shift - (xs[xo + i] - center) * slope);
    }
  }
}

export function normRowsAffineHost(
  inputs: readonly HostArray[],
  [dWeight, dBias]: readonly HostArray[],
  params: NormRowsParams,
): void {
  const [g, x, rstd] = inputs;
  const mean = params.centered ? inputs[3] : null;
  const { rows, n } = normRows(x.shape, params.dims);
  const [gs, xs] = [g.data, x.data];
  const weights = new Float64Array(n);
  const biases = new Float64Array(n);
  for (let row = 0; row < rows; row++) {
    const center = mean ? mean.data[mean.offset + row] : 0;
    const scale = rstd.data[rstd.offset + row];
    const xo = x.offset + row * n;
    const go = g.offset + row * n;
    for (let i = 0; i < n; i++) {
      const grad = gs[go + i];
      biases[i] += grad;
      weights[i] += grad * (xs[xo + i] - center) * scale;
    }
  }
  dWeight.data.set(weights);
  dBias.data.set(biases);
}
