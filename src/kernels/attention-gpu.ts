/**
 * Attention for GPUs: a workgroup takes 64 queries (or keys) of one head and walks the others in tiles in shared memory.
 *
 * Invocations form 16 groups of rows, four rows each, by `across` groups of columns. Scores are blocks of 4 rows × some columns
 * per invocation, then go through shared memory so that the sums y (or dq; dk and dv) can be blocks of 4 rows × some
 * vectors. The row's own operands come from the cache. At most 16 KiB of shared memory, which every adapter has.
 */
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

const ROWS = 64;
/** Rows per invocation. */
const HEIGHT = 4;

interface Block {
  readonly nd: number;
  readonly ne: number;
  /** Groups of columns. */
  readonly across: number;
  readonly threads: number;
  /** Columns of a tile. */
  readonly columns: number;
  /** Columns per invocation. */
  readonly width: number;
}

function blockOf({ D, E }: AttentionForm, columns: number): Block {
  const [nd, ne] = [vectorsOf(D), vectorsOf(E)];
  // Sums of wide heads are spread over twice as many invocations, else they would not fit into registers.
  const across = Math.max(nd, ne) > 16 ? 8 : 4;
  return { nd, ne, across, threads: (ROWS / HEIGHT) * across, columns, width: columns / across };
}

const grid = ({ across }: Block): string => `
let row_group = local / ${across}u;
let column_group = local % ${across}u;
let first = first_row + ${HEIGHT}u * row_group;`;

/** Rows of an invocation, those beyond the end replaced by the last one, and where they begin in `name`. */
const rowsAt = (name: string, base: string, step: string, count: string): string =>
  each(HEIGHT, (r) => `let ${name}${r} = ${base} + min(first + ${r}u, p.${count} - 1u) * ${step};`);

/**
 * Loads rows from_column … of `name` into shared memory; those from `end` on are 0, since a weight of 0 does not hide an infinite
 * value. Each is a vector longer than it need be: see banks.
 */
const stage = (b: Block, name: string, n: number, at: string): string => `
for (var item = local; item < ${b.columns * n}u; item += ${b.threads}u) {
  let column = from_column + item / ${n}u;
  let d = item % ${n}u;
  ${name}_tile[(item / ${n}u) * ${n + 1}u + d] = select(vec4f(), read_${name}(${at}, d), column < end);
}`;

/** sums[r, c] = Σ row r of `rows` · column c of the tile `columns`. */
const products = (b: Block, sums: string, rows: string, columns: string, n: number): string => `
${each(HEIGHT, (r) => each(b.width, (c) => `var ${sums}${r}_${c} = 0.0;`))}
for (var d = 0u; d < ${n}u; d++) {
  ${each(HEIGHT, (r) => `let row${r} = read_${rows}(${rows}_row${r}, d);`)}
  ${each(b.width, (c) => `let column${c} = ${columns}_tile[(column_group + ${c * b.across}u) * ${n + 1}u + d];`)}
  ${each(HEIGHT, (r) => each(b.width, (c) => `${sums}${r}_${c} += dot(row${r}, column${c});`))}
}`;

/** Vectors per invocation and row. */
const spread = (b: Block, n: number): number => Math.ceil(n / b.across);

const zeros = (b: Block, name: string, n: number): string =>
  each(HEIGHT, (r) => each(spread(b, n), (e) => `var ${name}${r}_${e} = vec4f();`));

/** name[r, e] += Σ over columns of weights[column, row r] · tile[column, vector e] */
const accumulate = (b: Block, name: string, weights: string, tile: string, n: number): string => `
for (var c = 0u; c < ${b.columns}u; c++) {
  let at = c * ${ROWS}u + ${HEIGHT}u * row_group;
  ${each(HEIGHT, (r) => `let weight${r} = ${weights}[at + ${r}u];`)}
  ${each(
    spread(b, n),
    (e) => `{
    let v = ${tile}[c * ${n + 1}u + min(column_group + ${e * b.across}u, ${n - 1}u)];
    ${each(HEIGHT, (r) => `${name}${r}_${e} += weight${r} * v;`)}
  }`,
  )}
}`;

/** Writes the rows and vectors that exist. */
const storeRows = (
  b: Block,
  name: string,
  n: number,
  target: string,
  at: (row: string) => string,
  count: string,
  value: (x: string, r: number) => string,
): string => {
  const write = (r: number, e: number): string => {
    const d = `column_group + ${e * b.across}u`;
    return `write_${target}(at, ${d}, ${value(`${name}${r}_${e}`, r)});`;
  };
  // All but the last vector of an invocation exist.
  const last = spread(b, n) - 1;
  const exists = n % b.across === 0 ? '' : `if (column_group + ${last * b.across}u < ${n}u) `;
  return each(
    HEIGHT,
    (r) => `if (first + ${r}u < p.${count}) {
  let at = ${at(`(first + ${r}u)`)};
  ${each(last, (e) => write(r, e))}
  ${exists}{ ${write(r, last)} }
}`,
  );
};

/** Whether query `i` sees key `j`; keys from `end` on are none. */
function keySeen(form: AttentionForm, i: string, j: string, bounded = true): string {
  const tests = [`(i32(${j}) > i32(${i}) + p.shift - p.window)`, `(i32(${j}) <= i32(${i}) + p.shift)`];
  if (bounded) tests.push(`(${j} < end)`);
  if (form.padding) tests.push(`(pad[p.pad_offset + batch * p.keys + min(${j}, p.keys - 1u)] != 0u)`);
  return tests.join(' & ');
}

const rowsOf = (line: (r: number) => string): string => each(HEIGHT, line);

/** A line for each pair of the invocation's block, and where it lies in shared memory. */
const blockOfPairs = (b: Block, line: (r: number, c: number, at: string) => string): string =>
  each(
    b.width,
    (c) => `{
  let at = (column_group + ${c * b.across}u) * ${ROWS}u + ${HEIGHT}u * row_group;
  ${rowsOf((r) => line(r, c, `at + ${r}u`))}
}`,
  );

/** Puts the block's sums into shared memory. */
const putPairs = (b: Block, sums: string, out: string): string =>
  blockOfPairs(b, (r, c, at) => `${out}[${at}] = ${sums}${r}_${c};`);

/** ds = w·(dw − δ); rows that see nothing may have a δ that is NaN. */
const SLOPE = `
fn slope_of(weight: f32, slope: f32) -> f32 { return select(weight * slope, 0.0, weight == 0.0); }`;

const tile = (b: Block, name: string, n: number): string =>
  `var<workgroup> ${name}_tile: array<vec4f, ${b.columns * (n + 1)}>;`;

/** Reads q once per 16 keys (from the cache), k and v once per 64 queries. */
export function gpuForward(form: AttentionForm): AttentionText {
  const { D, E } = form;
  const b = blockOf(form, 16);
  const { nd, ne } = b;
  const n = Math.max(nd, ne);
  return {
    workgroupSize: b.threads,
    rows: ROWS,
    declarations: `${FUNCTIONS}${SLOPE}
${reader(form, 'q', D)}
${reader(form, 'k', D)}
${reader(form, 'v', E)}
${writer(form, 'y', E)}
// Keys, then values.
var<workgroup> k_tile: array<vec4f, ${b.columns * (n + 1)}>;
var<workgroup> scores: array<f32, ${b.columns * ROWS}>;
var<workgroup> factors: array<f32, ${ROWS}>;`,
    body: `
${place(form, ROWS, 'queries')}
${grid(b)}
${rowsAt('q_row', 'q_base', stride(form, 'q', 'step'), 'queries')}
${zeros(b, 'y', ne)}
var top = ${LOWEST};
var sum = 0.0;
${keyRange(ROWS)}
for (var from_column = begin; from_column < end; from_column += ${b.columns}u) {
  workgroupBarrier();
  ${stage(b, 'k', nd, `k_base + min(column, p.keys - 1u) * ${stride(form, 'k', 'step')}`)}
  workgroupBarrier();
  ${products(b, 's', 'q', 'k', nd)}
  ${putPairs(b, 's', 'scores')}
  workgroupBarrier();
  ${stage(b, 'v', ne, `v_base + min(column, p.keys - 1u) * ${stride(form, 'v', 'step')}`).replace('v_tile', 'k_tile')}
  if (local < ${ROWS}u) {
    var highest = top;
    let i = first_row + local;
    for (var c = 0u; c < ${b.columns}u; c++) {
      let j = from_column + c;
      let seen = ${keySeen(form, 'i', 'j')};
      let score = select(${LOWEST}, scores[c * ${ROWS}u + local] * p.scale, seen);
      scores[c * ${ROWS}u + local] = score;
      highest = max(highest, score);
    }
    let shrink = exp_down(top - highest);
    sum *= shrink;
    for (var c = 0u; c < ${b.columns}u; c++) {
      let score = scores[c * ${ROWS}u + local];
      let weight = select(exp_down(score - highest), 0.0, score < -3.3e38);
      scores[c * ${ROWS}u + local] = weight;
      sum += weight;
    }
    top = highest;
    factors[local] = shrink;
  }
  workgroupBarrier();
  ${each(HEIGHT, (r) => `let shrink${r} = factors[${HEIGHT}u * row_group + ${r}u];\n${each(spread(b, ne), (e) => `y${r}_${e} *= shrink${r};`)}`)}
  ${accumulate(b, 'y', 'scores', 'k_tile', ne)}
}
workgroupBarrier();
if (local < ${ROWS}u) {
  var factor = 1.0 / sum;
  var log_sum = top + log_f(sum);
  if (sum == 0.0) {
    factor = 0.0;
    if (p.zero_empty == 0u) { factor = nan(); }
    log_sum = 0.0;
  }
  factors[local] = factor;
  if (first_row + local < p.queries) {
    lse[(batch * p.heads + head) * p.queries + first_row + local] = log_sum;
  }
}
workgroupBarrier();
${storeRows(
  b,
  'y',
  ne,
  'y',
  (row) => outputRow(form, row),
  'queries',
  (x, r) => `${x} * factors[${HEIGHT}u * row_group + ${r}u]`,
)}`,
  };
}

/** dq and the stats of queries. */
export function gpuQueries(form: AttentionForm, apart: boolean): AttentionText {
  const { D, E } = form;
  const b = blockOf(form, vectorsOf(D) + vectorsOf(E) > 32 ? 8 : 16);
  const { nd, ne } = b;
  return {
    workgroupSize: b.threads,
    rows: ROWS,
    declarations: `${FUNCTIONS}${SLOPE}
${reader(form, 'q', D)}
${reader(form, 'k', D)}
${reader(form, 'v', E)}
${reader(form, 'g', E)}
${apart ? '' : reader(form, 'y', E)}
${writer(form, 'dq', D)}
${tile(b, 'k', nd)}
${tile(b, 'v', ne)}
var<workgroup> slopes: array<f32, ${b.columns * ROWS}>;
// Log-sum-exp and δ.
var<workgroup> row_stats: array<vec2f, ${ROWS}>;`,
    body: `
${place(form, ROWS, 'queries')}
${grid(b)}
${rowsAt('q_row', 'q_base', stride(form, 'q', 'step'), 'queries')}
${each(HEIGHT, (r) => `let g_row${r} = p.g_offset + ${outputRow(form, `min(first + ${r}u, p.queries - 1u)`)};`)}
${zeros(b, 'dq', nd)}
if (local < ${ROWS}u) {
  let i = min(first_row + local, p.queries - 1u);
  let n = (batch * p.heads + head) * p.queries + i;
  ${
    apart
      ? 'row_stats[local] = vec2f(stats[2u * n], stats[2u * n + 1u]);'
      : `
  let row_at = ${outputRow(form, 'i')};
  var delta = 0.0;
  for (var d = 0u; d < ${ne}u; d++) { delta += dot(read_g(p.g_offset + row_at, d), read_y(p.y_offset + row_at, d)); }
  let log_sum = lse[p.lse_offset + n];
  row_stats[local] = vec2f(log_sum, delta);
  if (first_row + local < p.queries) { stats[2u * n] = log_sum; stats[2u * n + 1u] = delta; }`
  }
}
${keyRange(ROWS)}
for (var from_column = begin; from_column < end; from_column += ${b.columns}u) {
  workgroupBarrier();
  ${stage(b, 'k', nd, `k_base + min(column, p.keys - 1u) * ${stride(form, 'k', 'step')}`)}
  ${stage(b, 'v', ne, `v_base + min(column, p.keys - 1u) * ${stride(form, 'v', 'step')}`)}
  workgroupBarrier();
  ${products(b, 's', 'q', 'k', nd)}
  ${products(b, 'dw', 'g', 'v', ne)}
  ${putPairs(b, 's', 'slopes')}
  workgroupBarrier();
  for (var item = local; item < ${b.columns * ROWS}u; item += ${b.threads}u) {
    let i = first_row + item % ${ROWS}u;
    let j = from_column + item / ${ROWS}u;
    let weight = exp_down(slopes[item] * p.scale - row_stats[item % ${ROWS}u].x);
    slopes[item] = select(0.0, weight, ${keySeen(form, 'i', 'j')});
  }
  workgroupBarrier();
  ${rowsOf((r) => `let delta${r} = row_stats[${HEIGHT}u * row_group + ${r}u].y;`)}
  ${blockOfPairs(b, (r, c, at) => `slopes[${at}] = slope_of(slopes[${at}], dw${r}_${c} - delta${r});`)}
  workgroupBarrier();
  ${accumulate(b, 'dq', 'slopes', 'k_tile', nd)}
}
${storeRows(
  b,
  'dq',
  nd,
  'dq',
  (row) => gradientRow(form, row, 'queries', 'p.dq_step', D),
  'queries',
  (x) => `${x} * p.scale`,
)}`,
  };
}

/** dk and dv. */
export function gpuKeys(form: AttentionForm, together: boolean): AttentionText {
  const { D, E } = form;
  const b = blockOf(form, vectorsOf(D) + vectorsOf(E) > 24 ? 8 : 16);
  const { nd, ne } = b;
  const dv = together ? 'dk' : 'dv';
  return {
    workgroupSize: b.threads,
    rows: ROWS,
    declarations: `${FUNCTIONS}${SLOPE}
${reader(form, 'q', D)}
${reader(form, 'k', D)}
${reader(form, 'v', E)}
${reader(form, 'g', E)}
${writer(form, 'dk', D)}
${together ? '' : writer(form, 'dv', E)}
${tile(b, 'q', nd)}
${tile(b, 'g', ne)}
var<workgroup> weights: array<f32, ${b.columns * ROWS}>;
var<workgroup> slopes: array<f32, ${b.columns * ROWS}>;
// Log-sum-exp and δ.
var<workgroup> column_stats: array<vec2f, ${b.columns}>;`,
    body: `
${place(form, ROWS, 'keys')}
${grid(b)}
${rowsAt('k_row', 'k_base', stride(form, 'k', 'step'), 'keys')}
${rowsAt('v_row', 'v_base', stride(form, 'v', 'step'), 'keys')}
${zeros(b, 'dk', nd)}
${zeros(b, 'dv', ne)}
let stats_base = (batch * p.heads + head) * p.queries;
${queryRange(ROWS)}
for (var from_column = begin; from_column < end; from_column += ${b.columns}u) {
  workgroupBarrier();
  ${stage(b, 'q', nd, `q_base + min(column, p.queries - 1u) * ${stride(form, 'q', 'step')}`)}
  ${stage(b, 'g', ne, `p.g_offset + ${outputRow(form, 'min(column, p.queries - 1u)')}`)}
  if (local < ${b.columns}u) {
    let n = 2u * (stats_base + min(from_column + local, p.queries - 1u));
    column_stats[local] = vec2f(stats[n], stats[n + 1u]);
  }
  workgroupBarrier();
  ${products(b, 's', 'k', 'q', nd)}
  ${products(b, 'dw', 'v', 'g', ne)}
  ${putPairs(b, 's', 'weights')}
  workgroupBarrier();
  for (var item = local; item < ${b.columns * ROWS}u; item += ${b.threads}u) {
    let j = first_row + item % ${ROWS}u;
    let i = from_column + item / ${ROWS}u;
    let weight = exp_down(weights[item] * p.scale - column_stats[item / ${ROWS}u].x);
    weights[item] = select(0.0, weight, (i < end) & ${keySeen(form, 'i', 'j', false)});
  }
  workgroupBarrier();
  ${each(b.width, (c) => `let delta${c} = column_stats[column_group + ${c * b.across}u].y;`)}
  ${blockOfPairs(b, (r, c, at) => `slopes[${at}] = slope_of(weights[${at}], dw${r}_${c} - delta${c});`)}
  workgroupBarrier();
  ${accumulate(b, 'dv', 'weights', 'g_tile', ne)}
  ${accumulate(b, 'dk', 'slopes', 'q_tile', nd)}
}
${storeRows(
  b,
  'dk',
  nd,
  'dk',
  (row) => `p.dk_offset + ${gradientRow(form, row, 'keys', 'p.dk_step', D)}`,
  'keys',
  (x) => `${x} * p.scale`,
)}
${storeRows(
  b,
  'dv',
  ne,
  dv,
  (row) => `p.dv_offset + ${gradientRow(form, row, 'keys', form.shared ? 'p.dk_step' : 'p.dv_step', E)}`,
  'keys',
  (x) => x,
)}`,
  };
}
