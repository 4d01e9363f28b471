/**
 * Attention for software adapters: an invocation takes one query (or key) and walks the keys (or queries), without barriers.
 *
 * A workgroup has rows of one head only and walks the union of the keys that they see. Everything about a row has a name of its
 * own, so that it stays in registers: arrays that a loop indexes compile for seconds to minutes on these drivers, and run
 * slower. Each place that reads memory compiles for tens of milliseconds, more the more there are, so there are few. Two rows per
 * invocation would halve the reads, but take two to four times as long to compile and are no faster.
 */

import type { KernelTarget } from '../device/types.js';
import {
  type AttentionForm,
  type AttentionText,
  each,
  FUNCTIONS,
  gradientRow,
  keyRange,
  LOWEST,
  outputRow,
  place,
  queryRange,
  reader,
  stride,
  vectorsOf,
  writer,
} from './attention-wgsl.js';

/** Invocations per workgroup, and rows: the widest vectors of the CPUs at hand. */
const LANES = 8;

/** How many invocations can share what they read: those of a subgroup, where workgroups are made of whole ones. */
export function teamOf({ kind, subgroups, subgroupSize = 1 }: KernelTarget): number {
  return kind === 'software' && subgroups && LANES % subgroupSize === 0 ? subgroupSize : 1;
}

function text({ team }: AttentionForm, declarations: readonly string[], body: string): AttentionText {
  return {
    workgroupSize: LANES,
    rows: LANES,
    enables: team > 1 ? ['subgroups'] : undefined,
    declarations: [FUNCTIONS, ...declarations].filter(Boolean).join('\n'),
    body,
  };
}

/** `row`, the row of the invocation; one beyond the end is replaced by the last one, and not written. */
const rowNumber = (count: 'queries' | 'keys'): string =>
  `let lane = first_row + local; let row = min(lane, p.${count} - 1u);`;

/**
 * A loop over the vectors of a row that compilers cannot unroll, so that what it reads or writes stands in the text once: n + 0
 * turns, where heads are fewer than 2³¹.
 */
const overVectors = (n: number, body: string): string =>
  `for (var d = 0u; d < ${n}u + (p.heads >> 31u); d++) { ${body} }`;

/** The vectors `{name}_{i}` of the invocation's own row of an operand, read from `at`. */
const own = (name: string, n: number, at: string, also = ''): string => `
${zeros(name, n)}
let ${name}_at = ${at};
${overVectors(n, `let x = read_${name}(${name}_at, d); ${also}\n${each(n, (i) => `${name}_${i} = select(${name}_${i}, x, d == ${i}u);`)}`)}`;

/**
 * The same of a row that the whole workgroup needs: each invocation of a subgroup reads some vectors, and tells the others. These
 * drivers read memory lane by lane, and compile each place that reads for tens of milliseconds.
 */
function shared({ team }: AttentionForm, name: string, n: number, at: string): string {
  const place = `let ${name}_at = ${at};`;
  if (team === 1) return `${place}\n${each(n, (i) => `let ${name}_${i} = read_${name}(${name}_at, ${i}u);`)}`;
  const mine = (i: number): string =>
    `let own_${name}_${i} = read_${name}(${name}_at, min(${i * team}u + subgroup_invocation_id, ${n - 1}u));`;
  const told = (i: number): string =>
    `let ${name}_${i} = subgroupBroadcast(own_${name}_${Math.floor(i / team)}, ${i % team}u);`;
  return `${place}\n${each(Math.ceil(n / team), mine)}\n${each(n, told)}`;
}

/** The sums `{name}_{i}`, zero. */
const zeros = (name: string, n: number): string => each(n, (i) => `var ${name}_${i} = vec4f();`);

/** `{out}` = the row `a` times the row `b`. */
const product = (out: string, a: string, b: string, n: number): string =>
  `let ${out} = ${Array.from({ length: n }, (_, i) => `dot(${a}_${i}, ${b}_${i})`).join(' + ')};`;

/** Writes the sums of the row, if it exists. */
const write = (
  binding: string,
  sums: string,
  count: 'queries' | 'keys',
  n: number,
  at: string,
  factor: string,
): string => `if (lane < p.${count}) {
  let at = ${at};
  ${overVectors(
    n,
    `var x = ${sums}_0;\n${each(n - 1, (i) => `x = select(x, ${sums}_${i + 1}, d == ${i + 1}u);`)}
write_${binding}(at, d, x${factor});`,
  )}
}`;

const queryAt = (form: AttentionForm): string => `q_base + row * ${stride(form, 'q', 'step')}`;
const keyAt = (form: AttentionForm, x: 'k' | 'v', j: string): string =>
  `${x}_base + ${j} * ${stride(form, x, 'step')}`;

/** Reads q once, k and v once per row of the invocation; 4·D operations and an exponential per pair. */
export function softwareForward(form: AttentionForm): AttentionText {
  const [nd, ne] = [vectorsOf(form.D), vectorsOf(form.E)];
  const declarations = [
    reader(form, 'q', form.D),
    reader(form, 'k', form.D),
    reader(form, 'v', form.E),
    writer(form, 'y', form.E),
  ];
  return text(
    form,
    declarations,
    `
${place(form, LANES, 'queries')}
${rowNumber('queries')}
${own('q', nd, queryAt(form))}
let high = i32(row) + p.shift;
var top = ${LOWEST};
var total = 0.0;
${zeros('sum', ne)}
${keyRange(LANES)}
for (var j = begin; j < end; j++) {
  ${realKey(form)}
  ${shared(form, 'k', nd, keyAt(form, 'k', 'j'))}
  ${shared(form, 'v', ne, keyAt(form, 'v', 'j'))}
  ${seesKey(form)}
  ${product('dots', 'q', 'k', nd)}
  let score = select(${LOWEST}, dots * p.scale, seen);
  // One of the two exponentials, of what is gained and of what is kept, is always that of 0.
  let higher = score > top;
  let less = exp_down(-abs(score - top));
  let shrink = select(1.0, less, higher);
  let weight = select(select(less, 1.0, higher), 0.0, score < -3.3e38);
  top = max(top, score);
  total = total * shrink + weight;
  ${each(ne, (i) => `sum_${i} = sum_${i} * shrink + weight * v_${i};`)}
}
let any = total != 0.0;
if (lane < p.queries) {
  lse[(batch * p.heads + head) * p.queries + lane] = select(0.0, top + log_f(total), any);
}
let factor = select(select(nan(), 0.0, p.zero_empty != 0u), 1.0 / total, any);
${write('y', 'sum', 'queries', ne, outputRow(form, 'lane'), ' * factor')}`,
  );
}

/** dq = scale · Σ ds·k with ds = w·(g·v − δ), and the stats of the queries; 6·D operations and an exponential per pair. */
export function softwareQueries(form: AttentionForm, apart: boolean): AttentionText {
  const [nd, ne] = [vectorsOf(form.D), vectorsOf(form.E)];
  const declarations = [
    reader(form, 'q', form.D),
    reader(form, 'k', form.D),
    reader(form, 'v', form.E),
    reader(form, 'g', form.E),
    apart ? '' : reader(form, 'y', form.E),
    writer(form, 'dq', form.D),
  ];
  const stats = apart
    ? 'let log_sum = stats[2u * n]; delta = stats[2u * n + 1u];'
    : `let log_sum = lse[p.lse_offset + n];
if (lane < p.queries) { stats[2u * n] = log_sum; stats[2u * n + 1u] = delta; }`;
  const deltas = apart ? '' : 'delta += dot(x, read_y(g_at - p.g_offset + p.y_offset, d));';
  return text(
    form,
    declarations,
    `
${place(form, LANES, 'queries')}
${rowNumber('queries')}
var delta = 0.0;
${own('q', nd, queryAt(form))}
${own('g', ne, `p.g_offset + ${outputRow(form, 'row')}`, deltas)}
let high = i32(row) + p.shift;
let n = (batch * p.heads + head) * p.queries + row;
${stats}
${zeros('sum', nd)}
${keyRange(LANES)}
for (var j = begin; j < end; j++) {
  ${realKey(form)}
  ${shared(form, 'k', nd, keyAt(form, 'k', 'j'))}
  ${shared(form, 'v', ne, keyAt(form, 'v', 'j'))}
  ${seesKey(form)}
  ${product('dots', 'q', 'k', nd)}
  ${product('slope', 'g', 'v', ne)}
  let ds = select(0.0, exp_down(dots * p.scale - log_sum) * (slope - delta), seen);
  ${each(nd, (i) => `sum_${i} += ds * k_${i};`)}
}
${write('dq', 'sum', 'queries', nd, gradientRow(form, 'lane', 'queries', 'p.dq_step', form.D), ' * p.scale')}`,
  );
}

/** dk = scale · Σ ds·q and dv = Σ w·g of keys over the queries that see them; 8·D operations and an exponential per pair. */
export function softwareKeys(form: AttentionForm, together: boolean): AttentionText {
  const [nd, ne] = [vectorsOf(form.D), vectorsOf(form.E)];
  const declarations = [
    reader(form, 'q', form.D),
    reader(form, 'k', form.D),
    reader(form, 'v', form.E),
    reader(form, 'g', form.E),
    writer(form, 'dk', form.D),
    together ? '' : writer(form, 'dv', form.E),
  ];
  const valueStep = form.shared ? 'p.dk_step' : 'p.dv_step';
  const real = form.padding ? 'let real = pad[p.pad_offset + batch * p.keys + row] != 0u;' : '';
  return text(
    form,
    declarations,
    `
${place(form, LANES, 'keys')}
${rowNumber('keys')}
${own('k', nd, keyAt(form, 'k', 'row'))}
${own('v', ne, keyAt(form, 'v', 'row'))}
let low = i32(row) - p.shift;
${real}
${zeros('key_sum', nd)}
${zeros('value_sum', ne)}
let stats_base = (batch * p.heads + head) * p.queries;
${queryRange(LANES)}
for (var i = begin; i < end; i++) {
  ${shared(form, 'q', nd, `q_base + i * ${stride(form, 'q', 'step')}`)}
  ${shared(form, 'g', ne, `p.g_offset + ${outputRow(form, 'i')}`)}
  let log_sum = stats[2u * (stats_base + i)];
  let delta = stats[2u * (stats_base + i) + 1u];
  let seen = i32(i) >= low && i32(i) < low + p.window${form.padding ? ' && real' : ''};
  ${product('dots', 'k', 'q', nd)}
  ${product('slope', 'v', 'g', ne)}
  let weight = select(0.0, exp_down(dots * p.scale - log_sum), seen);
  let ds = select(0.0, weight * (slope - delta), seen);
  ${each(ne, (x) => `value_sum_${x} += weight * g_${x};`)}
  ${each(nd, (x) => `key_sum_${x} += ds * q_${x};`)}
}
${write('dk', 'key_sum', 'keys', nd, `p.dk_offset + ${gradientRow(form, 'lane', 'keys', 'p.dk_step', form.D)}`, ' * p.scale')}
${write(together ? 'dk' : 'dv', 'value_sum', 'keys', ne, `p.dv_offset + ${gradientRow(form, 'lane', 'keys', valueStep, form.E)}`, '')}`,
  );
}

/** `seen`: whether the query sees key j. */
function seesKey(form: AttentionForm): string {
  return `let seen = i32(j) <= high && i32(j) > high - p.window${form.padding ? ' && real' : ''};`;
}

function realKey(form: AttentionForm): string {
  return form.padding ? 'let real = pad[p.pad_offset + batch * p.keys + j] != 0u;' : '';
}
