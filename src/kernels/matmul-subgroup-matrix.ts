/**
 * Matrix product by the matrix units of GPUs (`chromium-experimental-subgroup-matrix`): float16 factors, sums in float32. A
 * workgroup of four subgroups computes a tile of 64 × 64; tiles of A and B, and later of the results, are staged in shared memory,
 * which also brings transposed and odd operands into the form that the units load.
 */
import type { DType } from '../device/dtype.js';
import type { KernelTarget, SubgroupMatrix, WgslType } from '../device/types.js';
import {
  each,
  loadBias,
  prologue,
  type Reading,
  storeVector,
  type TextForm,
  type VariantText,
} from './matmul-text.js';
import { sumsText } from './matmul-tiles.js';

/** A shape of the units that the kernel can use. */
export interface MatrixShape extends SubgroupMatrix {
  /** Of both factors. */
  readonly dtype: DType;
}

/** Results of a workgroup, along each side; steps of k staged at a time. */
export const MATRIX_TILE = 64;
const DEPTH = 32;
/** Subgroups along each side of the tile. */
const SIDE = 2;

const DTYPES: Readonly<Record<string, DType>> = { f16: 'float16', f32: 'float32' };

/** The shapes among an adapter's that the kernel can use: factors and tile divide evenly, sums are float32. */
export function matrixShapes({ subgroupMatrix, subgroupSize, subgroups }: KernelTarget): MatrixShape[] {
  if (!subgroups || !subgroupSize) return [];
  const block = MATRIX_TILE / SIDE;
  return (subgroupMatrix ?? [])
    .filter(
      (s) =>
        DTYPES[s.componentType] !== undefined &&
        s.resultComponentType === 'f32' &&
        block % s.M === 0 &&
        block % s.N === 0 &&
        DEPTH % s.K === 0,
    )
    .map((s) => ({ ...s, dtype: DTYPES[s.componentType] }))
    .sort((a, b) => b.M * b.N * b.K - a.M * a.N * a.K);
}

export function matrixText(form: TextForm, shape: MatrixShape, subgroupSize: number): VariantText {
  const { M, N, K, componentType: type } = shape;
  const size = subgroupSize * SIDE * SIDE;
  const block = MATRIX_TILE / SIDE;
  const [down, across] = [block / M, block / N];
  const [left, right, result] = [
    `subgroup_matrix_left<${type}, ${K}, ${M}>`,
    `subgroup_matrix_right<${type}, ${N}, ${K}>`,
    `subgroup_matrix_result<f32, ${N}, ${M}>`,
  ];
  const all = (line: (i: number, j: number) => string): string =>
    each(down, (i) => each(across, (j) => line(i, j)));
  return {
    workgroupSize: size,
    enables: [
      'subgroups',
      'chromium_experimental_subgroup_matrix',
      ...(type === 'f16' ? (['f16'] as const) : []),
    ],
    declarations: `
var<workgroup> a_tile: array<${type}, ${MATRIX_TILE * DEPTH}>;
var<workgroup> b_tile: array<${type}, ${MATRIX_TILE * DEPTH}>;
var<workgroup> c_tile: array<f32, ${Math.max(SIDE * M * MATRIX_TILE, 4 * size)}>;`,
    body: `
${form.sums ? sumsText(form, size, { get: vectorOf, put: putVector }) : ''}
${prologue(form, `${MATRIX_TILE}u`, `${MATRIX_TILE}u`)}
// The units want addresses that are the same for a subgroup, and the compiler cannot see that these are.
@diagnostic(off, chromium.subgroup_matrix_uniformity) {
let subgroup = local / subgroup_size;
let block_row = subgroup / ${SIDE}u * ${block}u;
let block_col = subgroup % ${SIDE}u * ${block}u;
${all((i, j) => `var c${i}_${j}: ${result};`)}
for (var k0 = k_from; k0 < k_to; k0 += ${DEPTH}u) {
  // a_tile: [row, k]; b_tile: [k, column].
  ${stage(form.a, form.types[0], type, 'a', size)}
  ${stage(form.b, form.types[1], type, 'b', size)}
  workgroupBarrier();
  for (var step = 0u; step < ${DEPTH}u; step += ${K}u) {
    ${each(down, (i) => `let l${i} = subgroupMatrixLoad<${left}>(&a_tile, (block_row + ${i * M}u) * ${DEPTH}u + step, false, ${DEPTH}u);`)}
    ${each(across, (j) => `let r${j} = subgroupMatrixLoad<${right}>(&b_tile, step * ${MATRIX_TILE}u + block_col + ${j * N}u, false, ${MATRIX_TILE}u);`)}
    ${all((i, j) => `c${i}_${j} = subgroupMatrixMultiplyAccumulate(l${i}, r${j}, c${i}_${j});`)}
  }
  workgroupBarrier();
}
${each(
  down,
  (i) => `
// A row of matrices of every subgroup at a time.
${each(across, (j) => `subgroupMatrixStore(&c_tile, (subgroup / ${SIDE}u) * ${M * MATRIX_TILE}u + block_col + ${j * N}u, c${i}_${j}, false, ${MATRIX_TILE}u);`)}
workgroupBarrier();
for (var item = local; item < ${(SIDE * M * MATRIX_TILE) / 4}u; item += ${size}u) {
  let line = item / ${MATRIX_TILE / 4}u;
  let row = row_group * ${MATRIX_TILE}u + line / ${M}u * ${block}u + ${i * M}u + line % ${M}u;
  let col = col_group * ${MATRIX_TILE}u + item % ${MATRIX_TILE / 4}u * 4u;
  let value = ${vectorOf('item')};
  if (row < p.m && col < p.n) {
    ${loadBias(form, 'col')}
    ${storeVector(form, 'row', 'col', 'value')}
  }
}
workgroupBarrier();`,
)}
}`,
  };
}

const vectorOf = (at: string): string =>
  `vec4f(${[0, 1, 2, 3].map((i) => `c_tile[${at} * 4u + ${i}u]`).join(', ')})`;
const putVector = (at: string, value: string): string =>
  each(4, (i) => `c_tile[${at} * 4u + ${i}u] = ${value}[${i}];`);

/** Brings DEPTH steps of an operand into shared memory, with zeros beyond the matrix. */
function stage(reading: Reading, source: WgslType, type: string, name: 'a' | 'b', size: number): string {
  const [extent, sideStep, kStep, group] =
    name === 'a' ? ['p.m', 'p.a_row', 'p.a_col', 'row_group'] : ['p.n', 'p.b_col', 'p.b_row', 'col_group'];
  const cast = (value: string): string => (source === type ? value : `${type}(${value})`);
  const put = (side: string, k: string): string =>
    name === 'a' ? `a_tile[(${side}) * ${DEPTH}u + ${k}]` : `b_tile[(${k}) * ${MATRIX_TILE}u + ${side}]`;
  const start = `${group} * ${MATRIX_TILE}u`;
  if (reading === 'k') {
    return `for (var item = local; item < ${(MATRIX_TILE * DEPTH) / 4}u; item += ${size}u) {
    let side = item / ${DEPTH / 4}u; let k = item % ${DEPTH / 4}u * 4u;
    var v = vec4<${source}>();
    if (${start} + side < ${extent} && k0 + k < k_to) { v = ${name}[(${name}_base + (${start} + side) * ${sideStep} + k0 + k) / 4u]; }
    ${each(4, (i) => `${put('side', `k + ${i}u`)} = ${cast(`v[${i}]`)};`)}
  }`;
  }
  if (reading === 'side') {
    return `for (var item = local; item < ${(MATRIX_TILE * DEPTH) / 4}u; item += ${size}u) {
    let side = item % ${MATRIX_TILE / 4}u * 4u; let k = item / ${MATRIX_TILE / 4}u;
    var v = vec4<${source}>();
    if (${start} + side < ${extent} && k0 + k < k_to) { v = ${name}[(${name}_base + ${start} + side + (k0 + k) * ${kStep}) / 4u]; }
    ${each(4, (i) => `${put(`side + ${i}u`, 'k')} = ${cast(`v[${i}]`)};`)}
  }`;
  }
  return `for (var item = local; item < ${MATRIX_TILE * DEPTH}u; item += ${size}u) {
    let side = item % ${MATRIX_TILE}u; let k = item / ${MATRIX_TILE}u;
    var v = ${source}();
    if (${start} + side < ${extent} && k0 + k < k_to) { v = ${name}[${name}_base + (${start} + side) * ${sideStep} + (k0 + k) * ${kStep}]; }
    ${put('side', 'k')} = ${cast('v')};
  }`;
}
