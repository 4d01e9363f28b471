/**
 * Attention for software adapters: an invocation takes one or two queries (or keys) and walks the keys (or queries), without
 * barriers.
 *
 * A workgroup has rows of one head only and walks the union of the keys that they see, so that addresses of keys are the same in
 * all lanes of a vector. Everything about a row has a name of its own, so that it stays in registers: arrays that a loop
 * indexes compile for seconds to minutes on these drivers, and run slower.
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

/** Invocations per workgroup: the widest vectors of the CPUs at hand. */
const LANES = 8;

/** Rows per invocation, `LANES` apart: each vector that is read serves them all. */
function heightOf({ D, E }: AttentionForm): number {
  return Math.max(D, E) <= 64 ? 2 : 1;
}

/** A kernel's text from what it does; `each row` code is written once per row r of the invocation. */
function text(
  form: AttentionForm,
  declarations: readonly string[],
  body: (height: number, rows: (line: (r: number) => string) => string) => string,
): AttentionText {
  const height = heightOf(form);
  return {
    workgroupSize: LANES,
    rows: height * LANES,
    declarations: [FUNCTIONS, ...declarations].filter(Boolean).join('\n'),
    body: body(height, (line) => each(height, line)),
  };
}

/** `row{r}`, the rows of the invocation; those beyond the end are replaced by the last one, and not written. */
const rowNumbers = (r: number, count: 'queries' | 'keys'): string =>
  `let lane${r} = first_row + local + ${r * LANES}u; let row${r} = min(lane${r}, p.${count} - 1u);`;

/** The vectors `{name}{r}_{i}` of row r of an operand, read from `at`. */
const vectors = (name: string, r: number, n: number, at: string): string =>
  `let ${name}_at${r} = ${at};\n${each(n, (i) => `let ${name}${r}_${i} = read_${name}(${name}_at${r}, ${i}u);`)}`;

/** The sums `{name}{r}_{i}`, zero. */
const zeros = (name: string, r: number, n: number): string =>
  each(n, (i) => `var ${name}${r}_${i} = vec4f();`);

/** `{out}{r}` = row r of `row` times the row of `other` that was read as `{other}_{i}`. */
const product = (out: string, row: string, other: string, r: number, n: number): string =>
  `let ${out}${r} = ${Array.from({ length: n }, (_, i) => `dot(${row}${r}_${i}, ${other}_${i})`).join(' + ')};`;

/** The vectors `{name}_{i}` of a row that all lanes read. */
const shared = (name: string, n: number, at: string): string =>
  `let ${name}_at = ${at};\n${each(n, (i) => `let ${name}_${i} = read_${name}(${name}_at, ${i}u);`)}`;

/** Writes the sums of row r, if it exists. */
const write = (
  binding: string,
  sums: string,
  r: number,
  count: 'queries' | 'keys',
  n: number,
  at: string,
  factor: string,
): string => `if (lane${r} < p.${count}) {
  let at = ${at};
  ${each(n, (i) => `write_${binding}(at, ${i}u, ${sums}${r}_${i}${factor});`)}
}`;

const queryRow = (form: AttentionForm, r: number): string =>
  `q_base + row${r} * ${stride(form, 'q', 'step')}`;
const keyAt = (form: AttentionForm, x: 'k' | 'v', j: string): string =>
  `${x}_base + ${j} * ${stride(form, x, 'step')}`;

/** `seen{r}`: whether query r sees key j. */
const seesKey = (form: AttentionForm, r: number): string =>
  `let seen${r} = i32(j) <= high${r} && i32(j) > high${r} - p.window${form.padding ? ' && real' : ''};`;
const realKey = (form: AttentionForm): string =>
  form.padding ? 'let real = pad[p.pad_offset + batch * p.keys + j] != 0u;' : '';

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
    (_, rows) => `
${place(form, heightOf(form) * LANES, 'queries')}
${rows((r) => rowNumbers(r, 'queries'))}
${rows((r) => vectors('q', r, nd, queryRow(form, r)))}
${rows((r) => `let high${r} = i32(row${r}) + p.shift; var top${r} = ${LOWEST}; var total${r} = 0.0;`)}
${rows((r) => zeros('sum', r, ne))}
${keyRange(heightOf(form) * LANES)}
for (var j = begin; j < end; j++) {
  ${realKey(form)}
  ${shared('k', nd, keyAt(form, 'k', 'j'))}
  ${shared('v', ne, keyAt(form, 'v', 'j'))}
  ${rows(
    (r) => `${seesKey(form, r)}
  ${product('dots', 'q', 'k', r, nd)}
  let score${r} = select(${LOWEST}, dots${r} * p.scale, seen${r});
  // One of the two exponentials, of what is gained and of what is kept, is always that of 0.
  let higher${r} = score${r} > top${r};
  let less${r} = exp_down(-abs(score${r} - top${r}));
  let shrink${r} = select(1.0, less${r}, higher${r});
  let weight${r} = select(select(less${r}, 1.0, higher${r}), 0.0, score${r} < -3.3e38);
  top${r} = max(top${r}, score${r});
  total${r} = total${r} * shrink${r} + weight${r};
  ${each(ne, (i) => `sum${r}_${i} = sum${r}_${i} * shrink${r} + weight${r} * v_${i};`)}`,
  )}
}
${rows(
  (r) => `
let any${r} = total${r} != 0.0;
if (lane${r} < p.queries) {
  lse[(batch * p.heads + head) * p.queries + lane${r}] = select(0.0, top${r} + log_f(total${r}), any${r});
}
let factor${r} = select(select(nan(), 0.0, p.zero_empty != 0u), 1.0 / total${r}, any${r});
${write('y', 'sum', r, 'queries', ne, outputRow(form, `lane${r}`), ` * factor${r}`)}`,
)}`,
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
  const stats = (r: number): string =>
    apart
      ? `let log_sum${r} = stats[2u * n${r}]; let delta${r} = stats[2u * n${r} + 1u];`
      : `let y_at${r} = g_at${r} - p.g_offset + p.y_offset;
let delta${r} = ${Array.from({ length: ne }, (_, i) => `dot(g${r}_${i}, read_y(y_at${r}, ${i}u))`).join(' + ')};
let log_sum${r} = lse[p.lse_offset + n${r}];
if (lane${r} < p.queries) { stats[2u * n${r}] = log_sum${r}; stats[2u * n${r} + 1u] = delta${r}; }`;
  return text(
    form,
    declarations,
    (_, rows) => `
${place(form, heightOf(form) * LANES, 'queries')}
${rows((r) => rowNumbers(r, 'queries'))}
${rows((r) => vectors('q', r, nd, queryRow(form, r)))}
${rows((r) => vectors('g', r, ne, `p.g_offset + ${outputRow(form, `row${r}`)}`))}
${rows((r) => `let high${r} = i32(row${r}) + p.shift; let n${r} = (batch * p.heads + head) * p.queries + row${r};`)}
${rows(stats)}
${rows((r) => zeros('sum', r, nd))}
${keyRange(heightOf(form) * LANES)}
for (var j = begin; j < end; j++) {
  ${realKey(form)}
  ${shared('k', nd, keyAt(form, 'k', 'j'))}
  ${shared('v', ne, keyAt(form, 'v', 'j'))}
  ${rows(
    (r) => `${seesKey(form, r)}
  ${product('dots', 'q', 'k', r, nd)}
  ${product('slope', 'g', 'v', r, ne)}
  let ds${r} = select(0.0, exp_down(dots${r} * p.scale - log_sum${r}) * (slope${r} - delta${r}), seen${r});
  ${each(nd, (i) => `sum${r}_${i} += ds${r} * k_${i};`)}`,
  )}
}
${rows((r) => write('dq', 'sum', r, 'queries', nd, gradientRow(form, `lane${r}`, 'queries', 'p.dq_step', form.D), ' * p.scale'))}`,
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
  const real = (r: number): string =>
    form.padding ? `let real${r} = pad[p.pad_offset + batch * p.keys + row${r}] != 0u;` : '';
  return text(
    form,
    declarations,
    (_, rows) => `
${place(form, heightOf(form) * LANES, 'keys')}
${rows((r) => rowNumbers(r, 'keys'))}
${rows((r) => vectors('k', r, nd, keyAt(form, 'k', `row${r}`)))}
${rows((r) => vectors('v', r, ne, keyAt(form, 'v', `row${r}`)))}
${rows((r) => `let low${r} = i32(row${r}) - p.shift; ${real(r)}`)}
${rows((r) => zeros('key_sum', r, nd))}
${rows((r) => zeros('value_sum', r, ne))}
let stats_base = (batch * p.heads + head) * p.queries;
${queryRange(heightOf(form) * LANES)}
for (var i = begin; i < end; i++) {
  ${shared('q', nd, `q_base + i * ${stride(form, 'q', 'step')}`)}
  ${shared('g', ne, `p.g_offset + ${outputRow(form, 'i')}`)}
  let log_sum = stats[2u * (stats_base + i)];
  let delta = stats[2u * (stats_base + i) + 1u];
  ${rows(
    (
      r,
    ) => `let seen${r} = i32(i) >= low${r} && i32(i) < low${r} + p.window${form.padding ? ` && real${r}` : ''};
  ${product('dots', 'k', 'q', r, nd)}
  ${product('slope', 'v', 'g', r, ne)}
  let weight${r} = select(0.0, exp_down(dots${r} * p.scale - log_sum), seen${r});
  let ds${r} = select(0.0, weight${r} * (slope${r} - delta), seen${r});
  ${each(ne, (x) => `value_sum${r}_${x} += weight${r} * g_${x};`)}
  ${each(nd, (x) => `key_sum${r}_${x} += ds${r} * q_${x};`)}`,
  )}
}
${rows((r) => write('dk', 'key_sum', r, 'keys', nd, `p.dk_offset + ${gradientRow(form, `lane${r}`, 'keys', 'p.dk_step', form.D)}`, ' * p.scale'))}
${rows((r) => write(together ? 'dk' : 'dv', 'value_sum', r, 'keys', ne, `p.dv_offset + ${gradientRow(form, `lane${r}`, 'keys', valueStep, form.E)}`, ''))}`,
  );
}
