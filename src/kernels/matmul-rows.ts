/**
 * Matrix product of up to 4 rows, for GPUs, as in decoding: a workgroup takes a few columns of all rows and splits k over its
 * invocations, whose sums are added in a fixed order. Reads B once; neighbouring invocations read neighbouring memory.
 */

import { each, loadVector, prologue, storeSingle, type TextForm, type VariantText } from './matmul-text.js';
import { load } from './pointwise.js';

const TEAM = 256;

/** Columns of a workgroup: few where B lies along k, so that many invocations read one column. */
export function rowsColumns(form: TextForm): number {
  return form.b === 'k' ? 4 : 32;
}

export function rowsText(form: TextForm, height: number): VariantText {
  const [aType, bType] = form.types;
  const columns = rowsColumns(form);
  /** Where B is read along n, a lane holds 4 columns. */
  const width = form.b === 'side' ? 4 : 1;
  const lanes = columns / width;
  const shares = TEAM / lanes;
  const type = width === 4 ? 'vec4f' : 'f32';
  // Neighbouring invocations share a column where it is contiguous, else take neighbouring columns.
  const deal =
    form.b === 'k'
      ? `let lane = local / ${shares}u; let share = local % ${shares}u;`
      : `let lane = local % ${lanes}u; let share = local / ${lanes}u;`;
  const steps = form.b === 'k' ? 4 : 1;
  const aElement = (r: number, i: number): string => {
    const k = i ? `(k + ${i}u)` : 'k';
    if (form.a === 'k') return load(aType, `a[(a${r} + ${k}) / 4u][${k} % 4u]`);
    if (form.a === 'side') return load(aType, `a[(a_base + ${k} * p.a_col) / 4u][${r}u]`);
    return load(aType, `a[a${r} + ${k} * p.a_col]`);
  };
  const aVector = (r: number): string =>
    form.a === 'k'
      ? loadVector(aType, `a[(a${r} + k) / 4u]`)
      : `vec4f(${[0, 1, 2, 3].map((i) => aElement(r, i)).join(', ')})`;
  const bStart = {
    k: 'let b_start = b_base + min(col, p.n - 1u) * p.b_col;',
    side: 'let b_start = b_base + min(col, p.n - 4u);',
    single: 'let b_start = b_base + min(col, p.n - 1u) * p.b_col;',
  }[form.b];
  const bValue = {
    k: loadVector(bType, 'b[(b_start + k) / 4u]'),
    side: loadVector(bType, 'b[(b_start + k * p.b_row) / 4u]'),
    single: load(bType, 'b[b_start + k * p.b_row]'),
  }[form.b];
  const product = (r: number) => (steps === 4 ? `dot(${aVector(r)}, v)` : `${aElement(r, 0)} * v`);
  // Rows of A exist as far as p.m goes; `side` readings have exactly 4.
  return {
    workgroupSize: TEAM,
    declarations: `var<workgroup> sums_of: array<array<${type}, ${TEAM}>, ${height}>;`,
    body: `
${prologue(form, `${height}u`, `${columns}u`)}
${deal}
let col = col_group * ${columns}u + lane * ${width}u;
${bStart}
${each(height, (r) => `let a${r} = a_base + min(${r}u, p.m - 1u) * p.a_row; var c${r} = ${type}();`)}
for (var k = k_from + share * ${steps}u; k < k_to; k += ${shares * steps}u) {
  let v = ${bValue};
  ${each(height, (r) => `c${r} += ${product(r)};`)}
}
${each(height, (r) => `sums_of[${r}][share * ${lanes}u + lane] = c${r};`)}
for (var half = ${TEAM / 2}u; half >= ${lanes}u; half /= 2u) {
  workgroupBarrier();
  if (local < half) {
    ${each(height, (r) => `sums_of[${r}][local] += sums_of[${r}][local + half];`)}
  }
}
workgroupBarrier();
let out = col_group * ${columns}u + local;
if (local < ${columns}u && out < p.n) {
  ${each(height, (r) => `if (${r}u < p.m) { ${storeSingle(form, `${r}u`, 'out', width === 4 ? `sums_of[${r}][local / 4u][local % 4u]` : `sums_of[${r}][local]`)} }`)}
}`,
  };
}
