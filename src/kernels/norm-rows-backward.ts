/**
 * Gradients of the norms of norm-rows.ts in one dispatch: some workgroups take rows, for dx, the others columns, for
 * dWeight and dBias, which need nothing of one another. Where the rows are many for the number of columns, columns are
 * cut into blocks of rows, and a second dispatch adds up the blocks: no atomics, one order of additions.
 *
 * Reads g and x three times, the second time mostly from cache; writes dx once.
 */
import {
  type Dispatch,
  type HostArray,
  type Kernel,
  type KernelCall,
  type KernelTarget,
  type View,
  wgslType,
} from '../device/types.js';
import { type NormRowsParams, normRows, statisticsPerRow } from './norm-rows.js';
import { type ParamSpec, store, workgroups } from './pointwise.js';
import {
  baseCode,
  bindingType,
  chooseForm,
  formKey,
  type RowForm,
  type RowKind,
  rowCode,
  stepsCode,
  together,
  total,
} from './row.js';

/** Inputs g, x, stats, weight?, more?; outputs dx?, dWeight?, dBias?. */
export interface NormBackwardParams extends NormRowsParams {
  /** A last input of x's shape is added to dx: the gradient that arrived at the sum itself. */
  readonly more: boolean;
  readonly wants: { readonly x: boolean; readonly weight: boolean; readonly bias: boolean };
}

/** Operands by name, without those that are absent. */
function operands<T>(
  inputs: readonly T[],
  outputs: readonly T[],
  { weight, more, wants }: NormBackwardParams,
) {
  const [g, x, stats, ...rest] = inputs;
  const ins: Record<string, T> = { g, x, stats };
  if (weight) ins.weight = rest[0];
  if (more) ins.more = rest[rest.length - 1];
  const names = [
    ...(wants.x ? ['dx'] : []),
    ...(wants.weight ? ['dweight'] : []),
    ...(wants.bias ? ['dbias'] : []),
  ];
  return { ins, outs: Object.fromEntries(names.map((name, i) => [name, outputs[i]])) as Record<string, T> };
}

const KINDS: Readonly<Record<string, RowKind>> = {
  g: 'row',
  x: 'row',
  stats: 'stat',
  weight: 'column',
  more: 'row',
  dx: 'row',
  dweight: 'column',
  dbias: 'column',
  part: 'column',
};

/** Rows summed one after the other before they join a sum of such sums, which keeps long sums accurate. */
const STRIP = 64;

/** Into how many blocks of rows the columns are cut: as few as give every core or unit something to do. */
function blocksOf(rows: number, turns: number, { kind }: KernelTarget): number {
  const wanted = Math.ceil((kind === 'gpu' ? 16384 : 16) / turns);
  return Math.max(Math.min(wanted, Math.floor(rows / STRIP), 256), 1);
}

const cache = new Map<string, Kernel>();

function cached(key: string, make: () => Omit<Kernel, 'key'>): Kernel {
  let kernel = cache.get(key);
  if (!kernel) cache.set(key, (kernel = { key, ...make() }));
  return kernel;
}

export function normRowsBackwardKernel(call: KernelCall<NormBackwardParams>): Dispatch[] {
  const { params, target, scratch } = call;
  const { ins, outs } = operands(call.inputs, call.outputs, params);
  const { rows, n } = normRows(ins.x.shape, params.dims);
  if (n === 0) return [];
  const vectors = n % 4 === 0 && Object.values(ins).every((v) => v === ins.stats || v.offset % 4 === 0);
  const chosen = chooseForm({ outer: rows, n, inner: 1 }, target, vectors);
  // Small workgroups, where each is a core's: columns are few, and their workgroups long.
  const form = target.kind === 'software' ? { ...chosen, size: Math.min(chosen.size, 16) } : chosen;
  const turns = n / form.lanes;
  const affine = Boolean(outs.dweight || outs.dbias);
  const blocks = affine ? blocksOf(rows, turns, target) : 0;
  const rowGroups = outs.dx ? (form.tree ? rows : Math.ceil(rows / form.size)) : 0;
  const bound: Record<string, View> = { ...ins };
  if (outs.dx) bound.dx = outs.dx;
  if (blocks === 1) Object.assign(bound, outs);
  const part = blocks > 1 ? scratch(blocks * n * 8) : null;
  if (part) bound.part = { buffer: part, dtype: 'float32', shape: [blocks * n * 2], strides: [1], offset: 0 };
  const types = Object.entries(bound).map(([name, v]) => `${name}=${wgslType(v.dtype)}`);
  const kernel = cached(`normRowsBackward:${params.centered}:${formKey(form)}:${types}`, () =>
    build(form, params.centered, ins, bound),
  );
  const list: Dispatch[] = [
    {
      kernel,
      buffers: Object.values(bound).map((v) => v.buffer),
      params: [
        rows,
        n,
        1,
        ...Object.entries(ins).map(([name, v]) => (name === 'stats' ? v.offset : v.offset / form.lanes)),
        rowGroups,
        blocks,
        Math.ceil(rows / Math.max(blocks, 1)),
      ],
      workgroups: rowGroups + Math.ceil((blocks * turns) / form.size),
    },
  ];
  if (part) {
    const [dweight, dbias] = [outs.dweight, outs.dbias].map((v) => v && wgslType(v.dtype));
    const written = Object.entries(outs).filter(([name]) => name !== 'dx');
    list.push({
      kernel: cached(`normRowsBackward:join:${dweight}:${dbias}`, () => join(written)),
      buffers: [part, ...written.map(([, v]) => v.buffer)],
      params: [n, blocks, form.lanes],
      workgroups: workgroups(n),
    });
  }
  return list;
}

function build(
  form: RowForm,
  centered: boolean,
  ins: Readonly<Record<string, View>>,
  bound: Readonly<Record<string, View>>,
): Omit<Kernel, 'key'> {
  const written = Object.entries(bound).filter(([name]) => !(name in ins));
  const code = rowCode(KINDS, form, Object.entries(ins), written);
  const { read, write, has, type, lanes } = code;
  const statistics = (k: (name: string) => string) => `
let center = ${centered ? k('center') : '0.0'};
let scale = ${k('scale')};`;
  const stat = (name: string) => read('stats', name === 'scale' && centered ? 1 : 0);
  const a = has('weight') ? `${read('g')} * ${read('weight')}` : read('g');
  const xhat = `(${read('x')} - center) * scale`;
  const mean = centered ? ' - mean_a' : '';
  const dx = `scale * (${a}${mean} - ${xhat} * mean_dot)${has('more') ? ` + ${read('more')}` : ''}`;
  const sums = total('dot_sum', `a * (${xhat})`);
  const fold = centered ? together(total('a_sum', 'a'), sums) : sums;
  // dx = rstd (a − mean(a) − x̂ · mean(a x̂)), a = g · weight; without mean(a) for RMS norm.
  const rowSteps = stepsCode(
    [
      statistics(stat),
      { ...fold, step: `let a = ${a};\n${fold.step}` },
      centered ? 'let mean_a = a_sum / f32(p.n);' : '',
      'let mean_dot = dot_sum / f32(p.n);',
      { each: write('dx', dx) },
    ],
    form,
  );
  const affine = has('dweight') || has('dbias') || has('part');
  const columns = `
let column_index = (group - p.row_groups) * ${form.size}u + local;
if (column_index >= p.blocks * turns) { return; }
let i = column_index % turns;
let block = column_index / turns;
let end = min((block + 1u) * p.chunk, p.rows);
var dweight_sum = ${type}();
var dbias_sum = ${type}();
for (var first = block * p.chunk; first < end; first += ${STRIP}u) {
  var dweight_strip = ${type}();
  var dbias_strip = ${type}();
  for (var row = first; row < min(first + ${STRIP}u, end); row++) {
    let base = row * turns;
    ${statistics(stat)}
    let grad = ${read('g')};
    dweight_strip += grad * (${xhat});
    dbias_strip += grad;
  }
  dweight_sum += dweight_strip;
  dbias_sum += dbias_strip;
}
${has('part') ? 'part[2u * column_index] = dweight_sum; part[2u * column_index + 1u] = dbias_sum;' : ''}
${has('dweight') ? write('dweight', 'dweight_sum') : ''}
${has('dbias') ? write('dbias', 'dbias_sum') : ''}`;
  const rows = `
let row = ${form.tree ? 'group' : 'index'};
if (row < p.rows) {
  ${baseCode(lanes)}
  ${rowSteps.text}
}`;
  const half = Object.values(bound).some((v) => v.dtype === 'float16');
  return {
    bindings: Object.entries(bound).map(([name, v]) => ({
      name,
      type: bindingType(KINDS[name], wgslType(v.dtype), lanes),
      access: name in ins ? ('read' as const) : ('read_write' as const),
    })),
    params: [
      ...u32('rows', 'n', 'inner'),
      ...u32(...Object.keys(ins).map((name) => `${name}_offset`)),
      ...u32('row_groups', 'blocks', 'chunk'),
    ],
    workgroupSize: form.size,
    enables: [...(half ? ['f16' as const] : []), ...(form.subgroups ? ['subgroups' as const] : [])],
    declarations: has('dx') ? rowSteps.shared : '',
    body: `
${has('dx') ? `if (group < p.row_groups) { ${rows}\n return; }` : ''}
${affine ? `let turns = p.n / ${lanes}u;\n${columns}` : ''}`,
  };
}

function u32(...names: string[]): ParamSpec[] {
  return names.map((name) => ({ name, type: 'u32' }));
}

/** Adds up the blocks, [blocks, turns, 2 (weight, bias), lanes]; vectors of both lie one after the other. */
function join(written: readonly [string, View][]): Omit<Kernel, 'key'> {
  const line = ([name, v]: [string, View]) => {
    const type = wgslType(v.dtype);
    return `{
  var sum = 0.0;
  for (var b = 0u; b < p.blocks; b++) {
    let at = b * p.n + index;
    sum += part[(at / p.lanes * 2u + ${name === 'dweight' ? 0 : 1}u) * p.lanes + at % p.lanes];
  }
  ${name}[index] = ${store(type, 'sum')};
}`;
  };
  return {
    bindings: [
      { name: 'part', type: 'f32', access: 'read' },
      ...written.map(([name, v]) => ({ name, type: wgslType(v.dtype), access: 'read_write' as const })),
    ],
    params: u32('n', 'blocks', 'lanes'),
    workgroupSize: 64,
    enables: written.some(([, v]) => v.dtype === 'float16') ? ['f16'] : undefined,
    body: `if (index >= p.n) { return; }\n${written.map(line).join('\n')}`,
  };
}

export function normRowsBackwardHost(
  inputs: readonly HostArray[],
  outputs: readonly HostArray[],
  params: NormBackwardParams,
): void {
  const { ins, outs } = operands(inputs, outputs, params);
  const { rows } = normRows(ins.x.shape, params.dims);
  const k = statisticsPerRow(params.centered);
  const mean = params.centered ? ins.stats.offset : -1;
  const rstd = ins.stats.offset + (k - 1) * rows;
  if (outs.dx) hostRows(ins, outs.dx, params, mean, rstd);
  if (outs.dweight || outs.dbias) hostColumns(ins, outs, params, mean, rstd);
}

function hostRows(
  ins: Readonly<Record<string, HostArray>>,
  dx: HostArray,
  params: NormBackwardParams,
  mean: number,
  rstd: number,
): void {
  const { g, x, stats, weight, more } = ins;
  const { rows, n } = normRows(x.shape, params.dims);
  // One kind of array in the loop, also where there is no weight.
  const w = weight?.data ?? new (g.data.constructor as new (n: number) => HostArray['data'])(n).fill(1);
  const wo = weight?.offset ?? 0;
  const [gs, xs, out, s] = [g.data, x.data, dx.data, stats.data];
  for (let row = 0; row < rows; row++) {
    const center = mean < 0 ? 0 : s[mean + row];
    const scale = s[rstd + row];
    const xo = x.offset + row * n;
    const go = g.offset + row * n;
    let sum = 0;
    let dot = 0;
    for (let i = 0; i < n; i++) {
      const a = gs[go + i] * w[wo + i];
      sum += a;
      dot += a * (xs[xo + i] - center);
    }
    const shift = mean < 0 ? 0 : sum / n;
    const slope = (dot * scale * scale) / n;
    const to = row * n;
    for (let i = 0; i < n; i++) {
      out[to + i] = scale * (gs[go + i] * w[wo + i] - shift - (xs[xo + i] - center) * slope);
    }
    if (more) for (let i = 0; i < n; i++) out[to + i] += more.data[more.offset + to + i];
  }
}

function hostColumns(
  { g, x, stats }: Readonly<Record<string, HostArray>>,
  outs: Readonly<Record<string, HostArray>>,
  params: NormBackwardParams,
  mean: number,
  rstd: number,
): void {
  const { rows, n } = normRows(x.shape, params.dims);
  const [gs, xs, s] = [g.data, x.data, stats.data];
  const weights = new Float64Array(n);
  const biases = new Float64Array(n);
  for (let row = 0; row < rows; row++) {
    const center = mean < 0 ? 0 : s[mean + row];
    const scale = s[rstd + row];
    const xo = x.offset + row * n;
    const go = g.offset + row * n;
    for (let i = 0; i < n; i++) {
      const grad = gs[go + i];
      biases[i] += grad;
      weights[i] += grad * (xs[xo + i] - center) * scale;
    }
  }
  outs.dweight?.data.set(weights);
  outs.dbias?.data.set(biases);
}
