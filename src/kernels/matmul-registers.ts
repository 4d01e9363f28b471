/**
 * Matrix product without shared memory and barriers, for adapters in software: an invocation keeps `height` rows × `wide`
 * vectors of 4 columns in registers. Invocations that lie side by side need the same elements of A: where a subgroup does, each
 * of its invocations reads some, and they tell each other. These drivers read memory lane by lane, and compile each place that
 * reads for tens of milliseconds.
 */

import {
  ACROSS,
  each,
  LANES,
  LANES_END,
  loadVector,
  prologue,
  type Reading,
  ROWS_END,
  storeSingle,
  type TextForm,
  type VariantText,
  VECTORS_END,
} from './matmul-text.js';
import { load } from './pointwise.js';

export interface RegistersShape {
  /** Rows of an invocation: 32, 16, 8, 4 or 1. */
  readonly height: number;
  /** Vectors of 4 columns of an invocation. */
  readonly wide: number;
}

/** Invocations of a workgroup; `ACROSS` of them lie side by side along n. */
export const REGISTERS_SIZE = 16;

/** Vectors along k would make the loop four times as long, and drivers in software minutes slower to compile: none are read. */
export function registersReading(reading: Reading): Reading {
  return reading === 'k' ? 'single' : reading;
}

/** @param team invocations of a subgroup, all of the same rows, that share what they read of A; 1 where they do not */
export function registersText(form: TextForm, { height, wide }: RegistersShape, team: number): VariantText {
  const [aType, bType] = form.types;
  const quads = Math.ceil(height / 4);
  const vector = (element: (i: number) => string) => `vec4f(${[0, 1, 2, 3].map(element).join(', ')})`;

  // Rows and columns beyond the edge repeat the last ones, and are not stored.
  const items = form.a === 'side' ? quads : height;
  const reads = Math.ceil(items / team);
  const item = (i: number) => (team > 1 ? `(${i * team}u + subgroup_invocation_id)` : `${i}u`);
  const aStart = each(reads, (i) =>
    form.a === 'side'
      ? `var a${i} = (a_base + min(row + 4u * ${item(i)}, p.m - 4u) + k_from * p.a_col) / 4u;`
      : `var a${i} = a_base + min(row + ${item(i)}, p.m - 1u) * p.a_row + k_from * p.a_col;`,
  );
  const element = (i: number) =>
    form.a === 'side' ? loadVector(aType, `a[a${i}]`) : load(aType, `a[a${i}]`);
  const [read, told] = team > 1 ? ['own', 'av'] : ['av', ''];
  const aLoads = each(reads, (i) => `let ${read}${i} = ${element(i)}; a${i} += a_step;`);
  const aTold = told
    ? each(items, (i) => `let av${i} = subgroupBroadcast(own${Math.floor(i / team)}, ${i % team}u);`)
    : '';
  const aAt = (r: number): string =>
    form.a !== 'side' ? `av${r}` : height < 4 ? 'av0[row % 4u]' : `av${r >> 2}.${LANES[r & 3]}`;

  const bStart = each(wide, (v) =>
    form.b === 'side'
      ? `var b${v} = (b_base + k_from * p.b_row + min(col0 + ${v}u * stride, p.n - 4u)) / 4u;`
      : each(
          4,
          (j) =>
            `var b${v}_${j} = b_base + min(col0 + ${v}u * stride + ${j}u, p.n - 1u) * p.b_col + k_from * p.b_row;`,
        ),
  );
  const bLoads = (v: number): string =>
    form.b === 'side'
      ? `let bv${v} = ${loadVector(bType, `b[b${v}]`)}; b${v} += b_step;`
      : `let bv${v} = ${vector((j) => load(bType, `b[b${v}_${j}]`))};` +
        each(4, (j) => `b${v}_${j} += b_step;`);

  const results = Array.from({ length: wide * height }, (_, i) => `c${i % height}_${Math.floor(i / height)}`);
  return {
    workgroupSize: REGISTERS_SIZE,
    enables: team > 1 ? ['subgroups'] : undefined,
    body: `
${form.sums ? sumsText(form) : ''}
let across = ${ACROSS};
let down = ${REGISTERS_SIZE}u / across;
${prologue(form, `(${height}u * down)`, `(${4 * wide}u * across)`)}
let stride = 4u * across;
let col0 = (col_group * ${wide}u * across + local % across) * 4u;
let row = (row_group * down + local / across) * ${height}u;
let a_step = p.a_col${form.a === 'side' ? ' / 4u' : ''}; let b_step = p.b_row${form.b === 'side' ? ' / 4u' : ''};
${aStart}
${bStart}
${each(height, (r) => each(wide, (v) => `var c${r}_${v} = vec4f();`))}
for (var k = k_from; k < k_to; k++) {
${aLoads}
${aTold}
${each(wide, bLoads)}
${each(height, (r) => each(wide, (v) => `c${r}_${v} += ${aAt(r)} * bv${v};`))}
}
if (col0 >= p.n || row >= p.m) { return; }
// In loops, with ends that compilers do not know: the text of an epilogue stands here once, for one result.
var results = array<vec4f, ${wide * height}>(${results.join(', ')});
let rows_here = min(${ROWS_END}, p.m - row);
let columns_here = 4u * ${VECTORS_END};
for (var j = 0u; j < columns_here; j++) {
  let col = col0 + (j / 4u) * stride + j % 4u;
  if (col >= p.n) { break; }
  for (var r = 0u; r < rows_here; r++) {
    let value = results[(j / 4u) * ${height}u + r][j % 4u];
    ${storeSingle(form, '(row + r)', 'col', 'value')}
  }
}`,
  };
}

/** Groups from `p.tiles` on add up the rows of A, 4 per invocation. */
function sumsText(form: TextForm): string {
  const [aType] = form.types;
  const element = (r: number) =>
    load(aType, `a[p.a_offset + min(quad * 4u + ${r}u, p.m - 1u) * p.a_row + k * p.a_col]`);
  const value =
    form.a === 'side'
      ? loadVector(aType, 'a[(p.a_offset + k * p.a_col) / 4u + quad]')
      : `vec4f(${[0, 1, 2, 3].map(element).join(', ')})`;
  return `
if (group >= p.tiles) {
  let quads = (p.m + 3u) / 4u;
  let place = (group - p.tiles) * ${REGISTERS_SIZE}u + local;
  let quad = place % quads;
  let part = place / quads;
  let k_from = ${form.split ? 'part * p.k_part' : 'part * p.k'};
  let k_to = ${form.split ? 'min(p.k, k_from + p.k_part)' : 'p.k'};
  if (k_from < max(p.k, 1u)) {
    var sum = vec4f();
    for (var k = k_from; k < k_to; k++) { sum += ${value}; }
    ${storeSums(form, 'quad * 4u', 'sum')}
  }
  return;
}`;
}

/** Stores the sums of the four rows from `row` on, as far as they exist. `value` is a variable. */
export function storeSums(form: TextForm, row: string, value: string): string {
  const part = 'part * p.part_size + p.m * p.n + at';
  const lane = `${value}[r]`;
  const target = form.split
    ? `${form.vectors ? splitVector(part) : `y[${part}]`} = ${lane};`
    : `sums[at] = ${form.types[2] === 'f16' ? `f16(${lane})` : lane};`;
  return `for (var r = 0u; r < ${LANES_END}; r++) {
  let at = ${row} + r;
  if (at < p.m) { ${target} }
}`;
}

/** One element of a binding of vectors. */
function splitVector(at: string): string {
  return `y[(${at}) / 4u][(${at}) % 4u]`;
}
