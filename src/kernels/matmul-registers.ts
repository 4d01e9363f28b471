/**
 * Matrix product without shared memory and barriers, for adapters in software: an invocation keeps `height` rows × 4 columns
 * in registers. All invocations of a workgroup that lie side by side read the same elements of A.
 */
import { load } from './pointwise.js';
import {
  each,
  LANES,
  loadVector,
  prologue,
  storeVector,
  type TextForm,
  type VariantText,
} from './matmul-text.js';

export interface RegistersShape {
  /** Rows of an invocation: 8, 4 or 1. */
  readonly height: number;
  /** Invocations of a workgroup along n, and along m. */
  readonly across: number;
  readonly down: number;
}

export function registersText(form: TextForm, { height, across, down }: RegistersShape): VariantText {
  const [aType, bType] = form.types;
  const size = across * down;
  // Vectors along k hold 4 steps; else a step at a time is as fast.
  const steps = form.a === 'k' || form.b === 'k' ? 4 : 1;
  const quads = Math.ceil(height / 4);

  const aStart =
    form.a === 'side'
      ? each(quads, (q) => `var a${q} = a_base / 4u + min(row / 4u + ${q}u, p.m / 4u - 1u);`)
      : each(height, (r) => {
          const at = `a_base + min(row + ${r}u, p.m - 1u) * p.a_row`;
          return `var a${r} = ${form.a === 'k' ? `(${at} + k_from) / 4u` : `${at} + k_from * p.a_col`};`;
        });
  const aSideStart = each(quads, (q) => `a${q} += k_from * a_step;`);
  const aStep = form.a === 'side' ? 'p.a_col / 4u' : 'p.a_col';
  const aLoads = {
    k: () => each(height, (r) => `let av${r} = ${loadVector(aType, `a[a${r}]`)}; a${r} += 1u;`),
    side: () =>
      each(steps, (i) =>
        each(
          quads,
          (q) => `let av${i}_${q} = ${loadVector(aType, `a[a${q}${i ? ` + ${i}u * a_step` : ''}]`)};`,
        ),
      ) + each(quads, (q) => `a${q} += ${steps}u * a_step;`),
    single: () =>
      each(height, (r) => {
        const element = (i: number) => load(aType, `a[a${r}${i ? ` + ${i}u * a_step` : ''}]`);
        const all = steps === 1 ? element(0) : `vec4f(${[0, 1, 2, 3].map(element).join(', ')})`;
        return `let av${r} = ${all}; a${r} += ${steps}u * a_step;`;
      }),
  }[form.a];
  const aAt = (r: number, i: number): string =>
    form.a === 'side'
      ? height < 4
        ? `av${i}_0[row % 4u]`
        : `av${i}_${r >> 2}.${LANES[r & 3]}`
      : steps === 1
        ? `av${r}`
        : `av${r}.${LANES[i]}`;

  const bStart =
    form.b === 'side'
      ? 'var b0 = (b_base + k_from * p.b_row + col) / 4u;'
      : each(4, (j) => {
          const at = `b_base + min(col + ${j}u, p.n - 1u) * p.b_col`;
          return `var b${j} = ${form.b === 'k' ? `(${at} + k_from) / 4u` : `${at} + k_from * p.b_row`};`;
        });
  const bStep = form.b === 'side' ? 'p.b_row / 4u' : 'p.b_row';
  const bLoads = {
    k: () =>
      each(4, (j) => `let t${j} = ${loadVector(bType, `b[b${j}]`)}; b${j} += 1u;`) +
      each(4, (i) => `let bv${i} = vec4f(${[0, 1, 2, 3].map((j) => `t${j}.${LANES[i]}`).join(', ')});`),
    side: () =>
      each(steps, (i) => `let bv${i} = ${loadVector(bType, `b[b0${i ? ` + ${i}u * b_step` : ''}]`)};`) +
      `b0 += ${steps}u * b_step;`,
    single: () =>
      each(steps, (i) => {
        const element = (j: number) => load(bType, `b[b${j}${i ? ` + ${i}u * b_step` : ''}]`);
        return `let bv${i} = vec4f(${[0, 1, 2, 3].map(element).join(', ')});`;
      }) + each(4, (j) => `b${j} += ${steps}u * b_step;`),
  }[form.b];

  return {
    workgroupSize: size,
    body: `
${form.sums ? sumsText(form, size) : ''}
${prologue(form, height * down, 4 * across)}
let col = (col_group * ${across}u + local % ${across}u) * 4u;
let row = (row_group * ${down}u + local / ${across}u) * ${height}u;
if (col >= p.n || row >= p.m) { return; }
let a_step = ${aStep}; let b_step = ${bStep};
${aStart}
${form.a === 'side' ? aSideStart : ''}
${bStart}
${each(height, (r) => `var c${r} = vec4f();`)}
for (var k = k_from; k < k_to; k += ${steps}u) {
${aLoads()}
${bLoads()}
${each(steps, (i) => each(height, (r) => `c${r} += ${aAt(r, i)} * bv${i};`))}
}
${each(height, (r) => `if (row + ${r}u < p.m) { ${storeVector(form, `(row + ${r}u)`, 'col', `c${r}`)} }`)}`,
  };
}

/** Groups from `p.tiles` on add up the rows of A, 4 per invocation. */
function sumsText(form: TextForm, size: number): string {
  const [aType] = form.types;
  const element = (r: number) =>
    load(aType, `a[p.a_offset + min(quad * 4u + ${r}u, p.m - 1u) * p.a_row + k * p.a_col]`);
  const value =
    form.a === 'side'
      ? loadVector(aType, 'a[(p.a_offset + k * p.a_col) / 4u + quad]')
      : form.a === 'single'
        ? `vec4f(${[0, 1, 2, 3].map(element).join(', ')})`
        : null;
  const rowVector = (r: number) =>
    loadVector(aType, `a[(p.a_offset + min(quad * 4u + ${r}u, p.m - 1u) * p.a_row + k) / 4u]`);
  const turn = value
    ? `sum += ${value};`
    : each(4, (r) => `sum.${LANES[r]} += dot(${rowVector(r)}, vec4f(1.0));`);
  return `
if (group >= p.tiles) {
  let quads = (p.m + 3u) / 4u;
  let place = (group - p.tiles) * ${size}u + local;
  let quad = place % quads;
  ${form.split ? 'let part = place / quads; let k_from = part * p.k_part; let k_to = min(p.k, k_from + p.k_part); if (k_from >= p.k) { return; }' : 'if (place >= quads) { return; } let k_from = 0u; let k_to = p.k;'}
  var sum = vec4f();
  for (var k = k_from; k < k_to; k += ${value ? 1 : 4}u) { ${turn} }
  ${storeSums(form, 'quad * 4u', 'sum')}
  return;
}`;
}

/** Stores the sums of the four rows from `row` on. */
export function storeSums(form: TextForm, row: string, value: string): string {
  return each(4, (r) => {
    const at = `${row} + ${r}u`;
    const lane = `${value}.${LANES[r]}`;
    const target = form.split
      ? `${form.vectors ? splitVector(`part * p.part_size + p.m * p.n + ${at}`) : `y[part * p.part_size + p.m * p.n + ${at}]`} = ${lane};`
      : `sums[${at}] = ${form.types[2] === 'f16' ? `f16(${lane})` : lane};`;
    return `if (${at} < p.m) { ${target} }`;
  });
}

/** One element of a binding of vectors. */
function splitVector(at: string): string {
  return `y[(${at}) / 4u][(${at}) % 4u]`;
}
