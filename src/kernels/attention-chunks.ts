/**
 * Attention for software adapters, heads wider than 16: an invocation takes four queries (or keys) and walks the keys (or queries) in
 * chunks, without barriers.
 *
 * A workgroup has rows of one head only and walks the union of the keys that they see. Loads cost more than arithmetic on these
 * adapters, so each vector of a key serves four rows, whose own vectors, or sums, stay in registers for the whole
 * chunk. Loops over blocks of D and E stay loops: these drivers compile some tenths of a second for each load in the text.
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

/** Rows per invocation, `LANES` apart; what belongs to a pair is a vec4f over them. */
const HEIGHT = 4;
/** Invocations per workgroup: the widest vectors of the CPUs at hand. */
const LANES = 8;
const ROWS = HEIGHT * LANES;
/** Keys (or queries) per round. */
const CHUNK = 32;

const rows = (line: (r: number) => string): string => each(HEIGHT, line);
/** A vector of something of each row. */
const overRows = (type: string, term: (r: number) => string): string =>
  `${type}(${Array.from({ length: HEIGHT }, (_, r) => term(r)).join(', ')})`;

const EXP_DOWN_4 = `
fn exp_down_4(x: vec4f) -> vec4f { return select(exp(x), vec4f(), x < vec4f(-104.0)); }`;

/** How many vectors of a row of `n` are held in registers at a time. */
const blockOf = (n: number): number => [4, 3, 2, 1].find((size) => n % size === 0)!;

/** The rows of the invocation, `rows`, those beyond the end replaced by the last one, and where each begins in operands. */
const place4 = (count: 'queries' | 'keys', starts: Readonly<Record<string, string>>): string => `
let lanes = vec4u(0u, ${LANES}u, ${2 * LANES}u, ${3 * LANES}u) + first_row + local;
let rows = min(lanes, vec4u(p.${count} - 1u));
// 0, which compilers cannot know: loops to a constant would be unrolled, and their loads with them.
let zero = p.${count} >> 31u;
${Object.entries(starts)
  .map(([name, at]) => `var ${name} = ${at};`)
  .join('\n')}`;

/** The loop along rows of `n` vectors, `size` at a time; without loop, and with constant addresses, where that is all. */
function blocks(n: number, body: (d: string, size: number, single: boolean) => string): string {
  const size = blockOf(n);
  if (size === n) return `{\n${body('0u', size, true)}\n}`;
  return `for (var d = 0u; d < ${n}u + zero; d += ${size}u) {\n${body('d', size, false)}\n}`;
}

/** `other`: vectors d … of the row at `at`. */
const readOther = (other: string, d: string, size: number): string =>
  each(size, (i) => `let other${i} = read_${other}(at, ${d} + ${i}u);`);

/** `out`[c] = the rows of `row` times row c of the chunk of `other`; `otherAt` says where that begins. */
const products = (
  out: string,
  row: string,
  other: string,
  otherAt: (c: string) => string,
  n: number,
): string =>
  blocks(n, (d, size, single) => {
    const sum = (r: number): string =>
      Array.from({ length: size }, (_, i) => `dot(row[${r * size + i}], other${i})`).join(' + ');
    return `
var row: array<vec4f, ${HEIGHT * size}>;
for (var x = 0u; x < ${HEIGHT * size}u + zero; x++) { row[x] = read_${row}(${row}_rows[x / ${size}u], ${d} + x % ${size}u); }
for (var c = 0u; c < count; c++) {
  let at = ${otherAt('c')};
  ${readOther(other, d, size)}
  let sums = ${overRows('vec4f', sum)};
  ${single ? `${out}[c] = sums;` : `${out}[c] = select(${out}[c], vec4f(), d == 0u) + sums;`}
}`;
  });

/** sums[r] = sums[r] · shrink + Σ weights[c] · row c of the chunk of `other`. */
const accumulate = (
  sums: string,
  weights: string,
  other: string,
  otherAt: (c: string) => string,
  n: number,
  shrink = '',
): string =>
  blocks(n, (d, size) => {
    const at = `(x / ${size}u) * ${n}u + ${d} + x % ${size}u`;
    const lane = ['x', 'y', 'z', 'w'];
    return `
var part: array<vec4f, ${HEIGHT * size}>;
for (var x = 0u; x < ${HEIGHT * size}u + zero; x++) { part[x] = ${sums}[${at}]${shrink && ` * ${shrink}[x / ${size}u]`}; }
for (var c = 0u; c < count; c++) {
  let at = ${otherAt('c')};
  ${readOther(other, d, size)}
  let weight = ${weights}[c];
  ${rows((r) => each(size, (i) => `part[${r * size + i}] += weight.${lane[r]} * other${i};`))}
}
for (var x = 0u; x < ${HEIGHT * size}u + zero; x++) { ${sums}[${at}] = part[x]; }`;
  });

/** Writes private sums of the rows that exist. */
const store = (
  count: string,
  name: string,
  sums: string,
  n: number,
  at: (row: string) => string,
  factor: string,
): string => `for (var r = 0u; r < ${HEIGHT}u + zero; r++) {
  let row = first_row + local + r * ${LANES}u;
  if (row < p.${count}) {
    let at = ${at('row')};
    for (var d = 0u; d < ${n}u + zero; d++) { write_${name}(at, d, ${sums}[r * ${n}u + d]${factor}); }
  }
}`;

const keyAt =
  (form: AttentionForm, x: 'k' | 'v') =>
  (c: string): string =>
    `${x}_base + (j + ${c}) * ${stride(form, x, 'step')}`;

/** `seen`: which rows see the key at chunk position c. */
const seenKey = (form: AttentionForm): string => `
let position = vec4i(i32(j + c));
let seen = (position > low) & (position <= high)${form.padding ? ' & vec4<bool>(pad[pad_base + j + c] != 0u)' : ''};`;

const keyLimits = (form: AttentionForm): string => `
let high = vec4i(rows) + p.shift;
let low = high - p.window;
${form.padding ? 'let pad_base = p.pad_offset + batch * p.keys;' : ''}`;

/** Walks `counter` from `begin` to `end`, `count` at a time. */
const chunks = (counter: string, body: string): string => `
for (var ${counter} = begin; ${counter} < end; ${counter} += ${CHUNK}u) {
  let count = min(end - ${counter}, ${CHUNK}u);
  ${body}
}`;

/** Reads q once per 32 keys, k and v once per 4 queries and vector of lanes; 4·D operations and an exponential per pair. */
export function chunkedForward(form: AttentionForm): AttentionText {
  const { D, E } = form;
  const [nd, ne] = [vectorsOf(D), vectorsOf(E)];
  return {
    workgroupSize: LANES,
    rows: ROWS,
    declarations: `${FUNCTIONS}${EXP_DOWN_4}
${reader(form, 'q', D)}
${reader(form, 'k', D)}
${reader(form, 'v', E)}
${writer(form, 'y', E)}`,
    body: `
${place(form, ROWS, 'queries')}
${place4('queries', { q_rows: `q_base + rows * ${stride(form, 'q', 'step')}` })}
${keyLimits(form)}
var sums: array<vec4f, ${HEIGHT * ne}>;
var scores: array<vec4f, ${CHUNK}>;
var top = vec4f(${LOWEST});
var total = vec4f();
${keyRange(ROWS)}
${chunks(
  'j',
  `
  ${products('scores', 'q', 'k', keyAt(form, 'k'), nd)}
  var highest = top;
  for (var c = 0u; c < count; c++) {
    ${seenKey(form)}
    let score = select(vec4f(${LOWEST}), scores[c] * p.scale, seen);
    scores[c] = score;
    highest = max(highest, score);
  }
  var shrink = exp_down_4(top - highest);
  top = highest;
  total *= shrink;
  for (var c = 0u; c < count; c++) {
    let score = scores[c];
    let weight = select(exp_down_4(score - highest), vec4f(), score < vec4f(-3.3e38));
    scores[c] = weight;
    total += weight;
  }
  ${accumulate('sums', 'scores', 'v', keyAt(form, 'v'), ne, 'shrink')}`,
)}
let any = total != vec4f();
var factors = select(vec4f(select(nan(), 0.0, p.zero_empty != 0u)), 1.0 / total, any);
for (var r = 0u; r < ${HEIGHT}u + zero; r++) {
  if (lanes[r] < p.queries) {
    lse[(batch * p.heads + head) * p.queries + lanes[r]] = select(0.0, top[r] + log_f(total[r]), any[r]);
  }
}
${store('queries', 'y', 'sums', ne, (row) => outputRow(form, row), ' * factors[r]')}`,
  };
}

/** dq = scale · Σ ds·k with ds = w·(g·v − δ), and the stats of the queries; 6·D operations and an exponential per pair. */
export function chunkedQueries(form: AttentionForm, apart: boolean): AttentionText {
  const { D, E } = form;
  const [nd, ne] = [vectorsOf(D), vectorsOf(E)];
  return {
    workgroupSize: LANES,
    rows: ROWS,
    declarations: `${FUNCTIONS}${EXP_DOWN_4}
${reader(form, 'q', D)}
${reader(form, 'k', D)}
${reader(form, 'v', E)}
${reader(form, 'g', E)}
${apart ? '' : reader(form, 'y', E)}
${writer(form, 'dq', D)}`,
    body: `
${place(form, ROWS, 'queries')}
${place4('queries', {
  q_rows: `q_base + rows * ${stride(form, 'q', 'step')}`,
  g_rows: `p.g_offset + ${outputRow(form, 'rows')}`,
})}
${keyLimits(form)}
var log_sum = vec4f();
var delta = vec4f();
for (var r = 0u; r < ${HEIGHT}u + zero; r++) {
  let n = (batch * p.heads + head) * p.queries + rows[r];
  ${
    apart
      ? 'log_sum[r] = stats[2u * n]; delta[r] = stats[2u * n + 1u];'
      : `
  let y_at = g_rows[r] - p.g_offset + p.y_offset;
  var sum = 0.0;
  for (var d = 0u; d < ${ne}u + zero; d++) { sum += dot(read_g(g_rows[r], d), read_y(y_at, d)); }
  delta[r] = sum;
  log_sum[r] = lse[p.lse_offset + n];
  if (lanes[r] < p.queries) { stats[2u * n] = log_sum[r]; stats[2u * n + 1u] = sum; }`
  }
}
var sums: array<vec4f, ${HEIGHT * nd}>;
var scores: array<vec4f, ${CHUNK}>;
var slopes: array<vec4f, ${CHUNK}>;
${keyRange(ROWS)}
${chunks(
  'j',
  `
  ${products('scores', 'q', 'k', keyAt(form, 'k'), nd)}
  ${products('slopes', 'g', 'v', keyAt(form, 'v'), ne)}
  for (var c = 0u; c < count; c++) {
    ${seenKey(form)}
    scores[c] = select(vec4f(), exp_down_4(scores[c] * p.scale - log_sum) * (slopes[c] - delta), seen);
  }
  ${accumulate('sums', 'scores', 'k', keyAt(form, 'k'), nd)}`,
)}
${store('queries', 'dq', 'sums', nd, (row) => gradientRow(form, row, 'queries', 'p.dq_step', D), ' * p.scale')}`,
  };
}

/** dk = scale · Σ ds·q and dv = Σ w·g of keys over the queries that see them; 8·D operations and an exponential per pair. */
export function chunkedKeys(form: AttentionForm, together: boolean): AttentionText {
  const { D, E } = form;
  const [nd, ne] = [vectorsOf(D), vectorsOf(E)];
  const real = (r: number): string => `pad[p.pad_offset + batch * p.keys + rows[${r}]] != 0u`;
  const queryAt = (c: string): string => `q_base + (i + ${c}) * ${stride(form, 'q', 'step')}`;
  const gradientAt = (c: string): string => `p.g_offset + ${outputRow(form, `(i + ${c})`)}`;
  const valueStep = form.shared ? 'p.dk_step' : 'p.dv_step';
  return {
    workgroupSize: LANES,
    rows: ROWS,
    declarations: `${FUNCTIONS}${EXP_DOWN_4}
${reader(form, 'q', D)}
${reader(form, 'k', D)}
${reader(form, 'v', E)}
${reader(form, 'g', E)}
${writer(form, 'dk', D)}
${together ? '' : writer(form, 'dv', E)}`,
    body: `
${place(form, ROWS, 'keys')}
${place4('keys', {
  k_rows: `k_base + rows * ${stride(form, 'k', 'step')}`,
  v_rows: `v_base + rows * ${stride(form, 'v', 'step')}`,
})}
let low = vec4i(rows) - p.shift;
let high = low + p.window;
${form.padding ? `let real = ${overRows('vec4<bool>', real)};` : ''}
var key_sums: array<vec4f, ${HEIGHT * nd}>;
var value_sums: array<vec4f, ${HEIGHT * ne}>;
var scores: array<vec4f, ${CHUNK}>;
var slopes: array<vec4f, ${CHUNK}>;
let stats_base = (batch * p.heads + head) * p.queries;
${queryRange(ROWS)}
${chunks(
  'i',
  `
  ${products('scores', 'k', 'q', queryAt, nd)}
  ${products('slopes', 'v', 'g', gradientAt, ne)}
  for (var c = 0u; c < count; c++) {
    let position = vec4i(i32(i + c));
    let log_sum = stats[2u * (stats_base + i + c)];
    let delta = stats[2u * (stats_base + i + c) + 1u];
    let seen = (position >= low) & (position < high)${form.padding ? ' & real' : ''};
    let weight = select(vec4f(), exp_down_4(scores[c] * p.scale - log_sum), seen);
    scores[c] = weight;
    slopes[c] = select(vec4f(), weight * (slopes[c] - delta), seen);
  }
  ${accumulate('value_sums', 'scores', 'g', gradientAt, ne)}
  ${accumulate('key_sums', 'slopes', 'q', queryAt, nd)}`,
)}
${store('keys', 'dk', 'key_sums', nd, (row) => `p.dk_offset + ${gradientRow(form, row, 'keys', 'p.dk_step', D)}`, ' * p.scale')}
${store('keys', together ? 'dk' : 'dv', 'value_sums', ne, (row) => `p.dv_offset + ${gradientRow(form, row, 'keys', valueStep, E)}`, '')}`,
  };
}
