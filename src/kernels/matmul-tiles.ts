/**
 * Matrix product for GPUs: a workgroup computes a tile of results, for which tiles of A and B are staged in shared memory, DEPTH
 * steps of k at a time. Tiles lie there as vectors along m and n. While a tile is multiplied, the next one is on its way from
 * memory into registers.
 */
import type { WgslType } from '../device/types.js';
import { storeSums } from './matmul-registers.js';
import {
  each,
  LANES,
  loadBias,
  loadVector,
  prologue,
  type Reading,
  ROWS_END,
  storeVector,
  type TextForm,
  type VariantText,
  VECTORS_END,
} from './matmul-text.js';
import { load } from './pointwise.js';

export interface TileShape {
  /** Vectors of 4 rows and of 4 columns of results that an invocation keeps: 1 or 2. */
  readonly rowVectors: number;
  readonly colVectors: number;
  /** Invocations along each side of the workgroup. */
  readonly side: number;
}

/** Steps of k staged at a time. */
export const DEPTH = 16;

/**
 * Vectors of every fourth step of k change places, within groups of 8: those that neighbouring invocations write at once
 * then lie in different banks.
 */
const SPREAD = '((step >> 2u) & 3u) << 1u';

export function tilesText(form: TextForm, { rowVectors, colVectors, side }: TileShape): VariantText {
  const size = side * side;
  const rows = rowVectors * 4 * side;
  const columns = colVectors * 4 * side;
  // Vectors per step of k.
  const [aPitch, bPitch] = [rows / 4, columns / 4];
  // Operands come in blocks of 4 steps × 4 elements, one block per invocation and turn.
  const aBlocks = (rows / 4) * (DEPTH / 4);
  const blocks = aBlocks + (columns / 4) * (DEPTH / 4);
  const turns = Math.ceil(blocks / size);
  const [aType, bType] = form.types;
  const place = (turn: number) => `local${turn > 0 ? ` + ${turn * size}u` : ''}`;

  /** Loads block `item` into n0 … n3 of a turn, each a step of k. */
  const fetch = (turn: number): string => `{
  let item = ${place(turn)};
  if (item < ${aBlocks}u) {
    ${loadBlock(form.a, aType, 'a', 'item', rows / 4, 'row_group', 'p.m', 'p.a_row', 'p.a_col', turn)}
  } else if (item < ${blocks}u) {
    let other = item - ${aBlocks}u;
    ${loadBlock(form.b, bType, 'b', 'other', columns / 4, 'col_group', 'p.n', 'p.b_col', 'p.b_row', turn)}
  }
}`;
  const put = (turn: number): string => `{
  let item = ${place(turn)};
  if (item < ${aBlocks}u) {
    ${blockPlace(form.a, 'item', rows / 4)}
    let spread = ${SPREAD};
    ${each(4, (i) => `a_tile[(step + ${i}u) * ${aPitch}u + (lane ^ spread)] = n${turn}_${i};`)}
  } else if (item < ${blocks}u) {
    let other = item - ${aBlocks}u;
    ${blockPlace(form.b, 'other', columns / 4)}
    let spread = ${SPREAD};
    ${each(4, (i) => `b_tile[(step + ${i}u) * ${bPitch}u + (lane ^ spread)] = n${turn}_${i};`)}
  }
}`;
  const rowsOf = rowVectors * 4;
  return {
    workgroupSize: size,
    declarations: `
var<workgroup> a_tile: array<vec4f, ${DEPTH * aPitch}>;
var<workgroup> b_tile: array<vec4f, ${DEPTH * bPitch}>;`,
    body: `
${form.sums ? sumsText(form, size, { get: (at) => `a_tile[${at}]`, put: (at, v) => `a_tile[${at}] = ${v};` }) : ''}
${prologue(form, `${rows}u`, `${columns}u`)}
let tile_row = local / ${side}u;
let tile_col = local % ${side}u;
${each(turns, (t) => each(4, (i) => `var n${t}_${i} = vec4f();`))}
${each(rowsOf, (r) => each(colVectors, (v) => `var c${r}_${v} = vec4f();`))}
var k0 = k_from;
${each(turns, fetch)}
while (k0 < k_to) {
  ${each(turns, put)}
  workgroupBarrier();
  k0 += ${DEPTH}u;
  ${each(turns, fetch)}
  for (var step = 0u; step < ${DEPTH}u; step++) {
    let spread = ${SPREAD};
    ${each(rowVectors, (v) => `let av${v} = a_tile[step * ${aPitch}u + ((tile_row + ${v * side}u) ^ spread)];`)}
    ${each(colVectors, (v) => `let bv${v} = b_tile[step * ${bPitch}u + ((tile_col + ${v * side}u) ^ spread)];`)}
    ${each(rowsOf, (r) => each(colVectors, (v) => `c${r}_${v} += av${r >> 2}.${LANES[r & 3]} * bv${v};`))}
  }
  workgroupBarrier();
}
${epilogue(form, rowVectors, colVectors, side)}`,
  };
}

/** Stores the results; where an activation follows, its text stands there once. */
function epilogue(form: TextForm, rowVectors: number, colVectors: number, side: number): string {
  const height = rowVectors * 4;
  const rowAt = (quad: string, r: string) =>
    `row_group * ${height * side}u + (tile_row + ${quad} * ${side}u) * 4u + ${r}`;
  const colAt = (v: string) => `col_group * ${4 * colVectors * side}u + (tile_col + ${v} * ${side}u) * 4u`;
  if (!form.activation || form.split) {
    return each(
      colVectors,
      (v) => `{
  let col = ${colAt(`${v}u`)};
  if (col < p.n) {
    ${loadBias(form, 'col')}
    ${each(
      height,
      (r) => `{
      let row = ${rowAt(`${r >> 2}u`, `${r & 3}u`)};
      if (row < p.m) { ${storeVector(form, 'row', 'col', `c${r}_${v}`)} }
    }`,
    )}
  }
}`,
    );
  }
  const results = Array.from(
    { length: colVectors * height },
    (_, i) => `c${i % height}_${Math.floor(i / height)}`,
  );
  return `var results = array<vec4f, ${results.length}>(${results.join(', ')});
for (var v = 0u; v < ${VECTORS_END}; v++) {
  let col = ${colAt('v')};
  if (col >= p.n) { break; }
  ${loadBias(form, 'col')}
  for (var r = 0u; r < ${ROWS_END}; r++) {
    let row = ${rowAt('(r / 4u)', '(r % 4u)')};
    let value = results[v * ${height}u + r];
    if (row < p.m) { ${storeVector(form, 'row', 'col', 'value')} }
  }
}`;
}

/** Which block an invocation takes: neighbours walk along the dim that is contiguous in memory. Sets `step` and `lane`. */
function blockPlace(reading: Reading, item: string, lanes: number): string {
  return reading === 'k'
    ? `let step = (${item} % ${DEPTH / 4}u) * 4u; let lane = ${item} / ${DEPTH / 4}u;`
    : `let step = (${item} / ${lanes}u) * 4u; let lane = ${item} % ${lanes}u;`;
}

/** Loads 4 steps of k × 4 rows of A (or columns of B), zeros from k_to on. Beyond the matrix, rows repeat the last one. */
function loadBlock(
  reading: Reading,
  type: WgslType,
  name: 'a' | 'b',
  item: string,
  lanes: number,
  group: string,
  extent: string,
  sideStep: string,
  kStep: string,
  turn: number,
): string {
  const head = `${blockPlace(reading, item, lanes)}
    let quad = ${group} * ${lanes}u + lane; let k = k0 + step;`;
  const result = (i: number) => `n${turn}_${i}`;
  if (reading === 'side') {
    return `${head}
    let at = (${name}_base + min(quad * 4u, ${extent} - 4u)) / 4u;
    ${each(4, (i) => `${result(i)} = vec4f(); if (k + ${i}u < k_to) { ${result(i)} = ${loadVector(type, `${name}[at + (k + ${i}u) * (${kStep} / 4u)]`)}; }`)}`;
  }
  const row = (j: number) => `${name}_base + min(quad * 4u + ${j}u, ${extent} - 1u) * ${sideStep}`;
  if (reading === 'k') {
    const lane = (i: number) => `vec4f(${[0, 1, 2, 3].map((j) => `w${j}.${LANES[i]}`).join(', ')})`;
    return `${head}
    ${each(4, (j) => `var w${j} = vec4f();`)}
    if (k < k_to) { ${each(4, (j) => `w${j} = ${loadVector(type, `${name}[(${row(j)} + k) / 4u]`)};`)} }
    ${each(4, (i) => `${result(i)} = ${lane(i)};`)}`;
  }
  const elements = (i: number) =>
    [0, 1, 2, 3].map((j) => load(type, `${name}[at${j} + (k + ${i}u) * ${kStep}]`)).join(', ');
  return `${head}
    ${each(4, (j) => `let at${j} = ${row(j)};`)}
    ${each(4, (i) => `${result(i)} = vec4f(); if (k + ${i}u < k_to) { ${result(i)} = vec4f(${elements(i)}); }`)}`;
}

/** Vectors of 4 rows that a workgroup adds up; the rest of its invocations share k. */
const SUM_QUADS = 16;

/** How many workgroups the sums of A's rows take, per part of k. */
export function sumGroups(m: number): number {
  return Math.ceil(m / (4 * SUM_QUADS));
}

/** A vector in shared memory per invocation. */
interface SharedVectors {
  get(at: string): string;
  put(at: string, value: string): string;
}

/** Groups from `p.tiles` on add up the rows of A; the order of additions depends on sizes only. */
export function sumsText(form: TextForm, size: number, shared: SharedVectors): string {
  const [aType] = form.types;
  const shares = size / SUM_QUADS;
  const row = (r: number) => `p.a_offset + min(quad * 4u + ${r}u, p.m - 1u) * p.a_row`;
  const turn =
    form.a === 'side'
      ? `sum += ${loadVector(aType, '(a[(p.a_offset + min(quad * 4u, p.m - 4u) + k * p.a_col) / 4u])')};`
      : form.a === 'k'
        ? each(
            4,
            (r) => `sum.${LANES[r]} += ${aType === 'f16' ? 'f32' : ''}(a[(${row(r)} + k) / 4u][k % 4u]);`,
          )
        : `sum += vec4f(${[0, 1, 2, 3].map((r) => load(aType, `a[${row(r)} + k * p.a_col]`)).join(', ')});`;
  return `
if (group >= p.tiles) {
  let stretch = (p.m + ${4 * SUM_QUADS - 1}u) / ${4 * SUM_QUADS}u;
  let quad = (group - p.tiles) % stretch * ${SUM_QUADS}u + local % ${SUM_QUADS}u;
  let share = local / ${SUM_QUADS}u;
  ${form.split ? 'let part = (group - p.tiles) / stretch; let k_from = part * p.k_part; let k_to = min(p.k, k_from + p.k_part);' : 'let k_from = 0u; let k_to = p.k;'}
  var sum = vec4f();
  for (var k = k_from + share; k < k_to; k += ${shares}u) { ${turn} }
  ${shared.put('local', 'sum')}
  for (var half = ${size / 2}u; half >= ${SUM_QUADS}u; half /= 2u) {
    workgroupBarrier();
    if (local < half) {
      let both = ${shared.get('local')} + ${shared.get('(local + half)')};
      ${shared.put('local', 'both')}
    }
  }
  if (local < ${SUM_QUADS}u) {
    let total = ${shared.get('local')};
    ${storeSums(form, 'quad * 4u', 'total')}
  }
  return;
}`;
}
