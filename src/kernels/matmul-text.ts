/** What the kernels for matrix products share: how operands lie in memory, how results are finished, how work is dealt out. */
import type { DeviceBuffer, Kernel, View, WgslType } from '../device/types.js';
import type { MatmulLayout } from './matmul-layout.js';
import { load, type ParamSpec, store } from './pointwise.js';

/** An activation as WGSL: an expression of the float `a`, and the functions that it calls. */
export interface ActivationText {
  readonly name: string;
  readonly wgsl: string;
  readonly declarations?: string;
}

/** What happens to a result before it is stored: z = c + bias + residual; y = activation(z). */
export interface Epilogue {
  /** One value per column; strides count elements, 0 where all columns share one. */
  readonly bias?: View;
  readonly biasStep?: number;
  /** As y, contiguous. */
  readonly residual?: View;
  readonly activation?: ActivationText;
  /** Where z is kept. */
  readonly z?: View;
}

/** One matrix product to be computed. */
export interface MatmulJob {
  readonly layout: MatmulLayout;
  readonly a: View;
  readonly b: View;
  /** Contiguous, offset 0. */
  readonly y: View;
  readonly epilogue?: Epilogue;
  /** Where the sum of each row of A goes, [m]; for batches of one. */
  readonly sums?: View;
}

/**
 * How an operand is read: vectors of 4 along k, vectors along its other dim (m of A, n of B), or single elements at any
 * strides.
 */
export type Reading = 'k' | 'side' | 'single';

const fits = (value: number): boolean => value % 4 === 0;

/** Vectors need a contiguous dim that is a multiple of 4, and everything else at multiples of 4. */
export function readingOf(
  view: View,
  k: number,
  side: number,
  kStep: number,
  sideStep: number,
  batchSteps: readonly number[],
): Reading {
  if (!fits(view.offset) || !batchSteps.every(fits)) return 'single';
  if (kStep === 1 && k > 0 && fits(k) && (side === 1 || fits(sideStep))) return 'k';
  if (sideStep === 1 && side > 0 && fits(side) && (k === 1 || fits(kStep))) return 'side';
  return 'single';
}

/** All that a kernel's text depends on, apart from its variant. */
export interface TextForm {
  readonly a: Reading;
  readonly b: Reading;
  readonly types: readonly [a: WgslType, b: WgslType, y: WgslType];
  /** Results are stored as vectors of 4 columns. */
  readonly vectors: boolean;
  /** Dims of the batch; 0 where there is one product. */
  readonly rank: number;
  /** Parts of k go to scratch, to be added up by a second dispatch. */
  readonly split: boolean;
  readonly sums: boolean;
  /** A bias and a residual are bound in any case, and parameters say which of them there is: one kernel for all linear layers. */
  readonly asked: boolean;
  readonly bias: WgslType | null;
  readonly residual: { readonly type: WgslType; readonly vectors: boolean } | null;
  readonly activation: ActivationText | null;
  readonly z: WgslType | null;
}

/** Text of a variant: declarations, and the body between `prologue` and the end. */
export interface VariantText {
  readonly workgroupSize: number;
  readonly declarations?: string;
  readonly body: string;
  readonly enables?: Kernel['enables'];
}

export const LANES = ['x', 'y', 'z', 'w'] as const;

/** Code for each of `count` things, a line each. */
export function each(count: number, line: (i: number) => string): string {
  return Array.from({ length: count }, (_, i) => line(i)).join('\n');
}

/**
 * Ends of loops over the rows, vectors and lanes of a block, in bytes of the parameter `ends`: what is done to results. Compilers that know them unroll
 * the loops, and those of software adapters then take several times as long for text that runs once per block.
 */
export function endsOf(rows: number, vectors: number, across = 0): number {
  return rows | (vectors << 8) | (4 << 16) | (across << 24);
}
export const ROWS_END = '(p.ends & 0xffu)';
export const VECTORS_END = '((p.ends >> 8u) & 0xffu)';
export const LANES_END = '((p.ends >> 16u) & 0xffu)';
/** Invocations of a workgroup that lie side by side, where that is not in the text: one kernel serves narrow and wide results. */
export const ACROSS = '(p.ends >> 24u)';

/** The WGSL type of a binding. */
function bound(type: WgslType, vectors: boolean): Kernel['bindings'][number]['type'] {
  return vectors ? (`vec4<${type}>` as 'vec4<f32>') : type;
}

/** A vector of 4 elements read from a binding of vectors, as f32. */
export function loadVector(type: WgslType, element: string): string {
  return type === 'f16' ? `vec4f(${element})` : element;
}

/** The kernel of a variant. */
export function buildKernel(key: string, form: TextForm, text: VariantText): Kernel {
  const u32 = (...names: string[]): ParamSpec[] => names.map((name) => ({ name, type: 'u32' }));
  const [aType, bType, yType] = form.types;
  const types = [...form.types, form.bias, form.residual?.type, form.z];
  const enables = new Set(text.enables ?? []);
  if (types.includes('f16')) enables.add('f16');
  const read = (name: string, type: WgslType, vectors: boolean) =>
    ({ name, type: bound(type, vectors), access: 'read' }) as const;
  const write = (name: string, type: WgslType, vectors: boolean) =>
    ({ name, type: bound(type, vectors), access: 'read_write' }) as const;
  const bindings: Kernel['bindings'][number][] = [
    read('a', aType, form.a !== 'single'),
    read('b', bType, form.b !== 'single'),
    write('y', form.split ? 'f32' : yType, form.vectors),
  ];
  const params = u32(
    'm',
    'n',
    'k',
    'a_offset',
    'a_row',
    'a_col',
    'b_offset',
    'b_row',
    'b_col',
    'k_part',
    'ends',
  );
  if (form.sums) params.push(...u32('tiles'));
  if (form.split) params.push(...u32('part_size'));
  else {
    if (form.sums) bindings.push(write('sums', yType, false));
    if (form.bias) bindings.push(read('bias', form.bias, false));
    if (form.residual) bindings.push(read('residual', form.residual.type, form.residual.vectors));
    if (form.z) bindings.push(write('z', form.z, form.vectors));
    if (form.bias) params.push(...u32('bias_offset', 'bias_step'));
    if (form.residual) params.push(...u32('residual_offset'));
    if (form.asked) params.push(...u32('has_bias', 'has_residual'));
  }
  if (form.rank > 0) params.push(...u32('entries'));
  for (let d = 1; d < form.rank; d++) params.push(...u32(`batch${d}`));
  for (let d = 0; d < form.rank; d++) params.push(...u32(`a_step${d}`, `b_step${d}`));
  const { activation } = form;
  const declarations = [
    text.declarations,
    form.split ? null : activation?.declarations,
    !form.split && activation && `fn activation(a: f32) -> f32 { return ${activation.wgsl}; }`,
  ];
  return {
    key,
    bindings,
    params,
    workgroupSize: text.workgroupSize,
    enables: enables.size > 0 ? [...enables] : undefined,
    declarations: declarations.filter(Boolean).join('\n') || undefined,
    body: text.body,
  };
}

/** Buffers and parameters in the order of `buildKernel`. */
export function operands(
  job: MatmulJob,
  form: TextForm,
  {
    kPart,
    ends,
    tiles,
    partial,
  }: { kPart: number; ends: number; tiles: number; partial: DeviceBuffer | null },
): { buffers: DeviceBuffer[]; params: number[] } {
  const { layout: l, a, b, y, epilogue } = job;
  const buffers = [a.buffer, b.buffer, partial ?? y.buffer];
  const params = [l.m, l.n, l.k, a.offset, l.aRow, l.aCol, b.offset, l.bRow, l.bCol, kPart, ends];
  if (form.sums) params.push(tiles);
  if (form.split) params.push(partSize(job));
  else {
    if (form.sums) buffers.push(job.sums!.buffer);
    const { bias, biasStep, residual, z } = epilogue ?? {};
    // What is not there is never used, and takes a buffer that is bound anyway: the smaller one, which needs fewer pieces.
    const unused = a.buffer.bytes <= b.buffer.bytes ? a : b;
    if (form.bias) buffers.push((bias ?? unused).buffer);
    if (form.residual) buffers.push((residual ?? unused).buffer);
    if (form.z) buffers.push(z!.buffer);
    if (form.bias) params.push(bias?.offset ?? 0, biasStep ?? 1);
    if (form.residual) params.push(residual?.offset ?? 0);
    if (form.asked) params.push(bias ? 1 : 0, residual ? 1 : 0);
  }
  if (form.rank > 0) {
    params.push(l.entries, ...l.batch.shape.slice(1));
    const [aSteps, bSteps] = l.batch.strides;
    params.push(...aSteps.flatMap((step, d) => [step, bSteps[d]]));
  }
  return { buffers, params };
}

/** Elements that a part of k has in scratch: all results, and the sums; a multiple of 4, for vectors. */
export function partSize({ layout: { m, n, entries }, sums }: MatmulJob): number {
  return Math.ceil((entries * m * n + (sums ? m : 0)) / 4) * 4;
}

/**
 * Turns `group` into the block of results to compute. Defines `row_group` and `col_group`, `entry`, `part`, the elements
 * `a_base` and `b_base` at which the entry's operands begin, and the range `k_from` … `k_to` of k. Returns where
 * there is nothing to do.
 *
 * @param rows, columns results of a workgroup, as expressions
 */
export function prologue(form: TextForm, rows: string, columns: string): string {
  const lines = [
    `let col_groups = (p.n + ${columns} - 1u) / ${columns};`,
    `let row_groups = (p.m + ${rows} - 1u) / ${rows};`,
    'let col_group = group % col_groups;',
    'let row_group = (group / col_groups) % row_groups;',
    `let layer = group / (col_groups * row_groups);`,
    form.rank > 0 ? 'let entry = layer % p.entries;' : 'let entry = 0u;',
    form.split ? `let part = layer${form.rank > 0 ? ' / p.entries' : ''};` : '',
    form.split ? 'let k_from = part * p.k_part;' : 'let k_from = 0u;',
    form.split ? 'let k_to = min(p.k, k_from + p.k_part);' : 'let k_to = p.k;',
    form.rank > 0 ? 'var a_base = p.a_offset; var b_base = p.b_offset; var rest = entry;' : '',
    form.rank > 0 ? '' : 'let a_base = p.a_offset; let b_base = p.b_offset;',
  ];
  for (let d = form.rank - 1; d >= 0; d--) {
    lines.push(d > 0 ? `let i${d} = rest % p.batch${d}; rest /= p.batch${d};` : 'let i0 = rest;');
    lines.push(`a_base += i${d} * p.a_step${d}; b_base += i${d} * p.b_step${d};`);
  }
  return lines.filter(Boolean).join('\n');
}

/** Stores one result `value` (f32) at [row, col], where row < m and col < n. */
export function storeSingle(form: TextForm, row: string, col: string, value: string): string {
  if (form.split) return `y[part * p.part_size + (entry * p.m + ${row}) * p.n + ${col}] = ${value};`;
  const lines = [`let at = (entry * p.m + ${row}) * p.n + ${col};`];
  let result = value;
  const wanted = (value: string, has: string) => (form.asked ? `select(0.0, ${value}, ${has} > 0u)` : value);
  if (form.bias) {
    const bias = load(form.bias, `bias[p.bias_offset + (${col}) * p.bias_step]`);
    result += ` + ${wanted(bias, 'p.has_bias')}`;
  }
  if (form.residual) {
    const residual = load(form.residual.type, 'residual[p.residual_offset + at]');
    result += ` + ${wanted(residual, 'p.has_residual')}`;
  }
  lines.push(`let sum = ${result};`);
  if (form.z) lines.push(`z[at] = ${store(form.z, 'sum')};`);
  lines.push(`y[at] = ${store(form.types[2], form.activation ? 'activation(sum)' : 'sum')};`);
  return `{ ${lines.join('\n')} }`;
}

/** Where a bias is added, loads its four columns from `col` on as `bias_v`; those beyond the edge repeat the last one. */
export function loadBias(form: TextForm, col: string): string {
  if (!form.bias || form.split || !form.vectors) return '';
  const element = (i: number) => load(form.bias!, `bias[p.bias_offset + (${col} + ${i}u) * p.bias_step]`);
  return `let bias_v = vec4f(${[0, 1, 2, 3].map(element).join(', ')});`;
}

/**
 * Stores a vector of the four columns from `col` on, a multiple of 4, as far as they exist; row < m. `value` is a variable, and
 * `loadBias` stands before. What is done to each lane stands in a loop that compilers cannot unroll: activations are long.
 */
export function storeVector(form: TextForm, row: string, col: string, value: string): string {
  const lanes = `let lanes = min(${LANES_END}, p.n - ${col});`;
  if (!form.vectors) {
    return `{ ${lanes}
for (var lane = 0u; lane < lanes; lane++) { ${storeSingle(form, row, `(${col} + lane)`, `${value}[lane]`)} } }`;
  }
  const place = `((entry * p.m + ${row}) * p.n + ${col})`;
  if (form.split) return `y[(part * p.part_size + ${place}) / 4u] = ${value};`;
  const lines = [`let at = ${place};`];
  let result = value;
  if (form.bias) result += ' + bias_v';
  if (form.residual) {
    const { type, vectors } = form.residual;
    const element = (i: number) => load(type, `residual[p.residual_offset + at + ${i}u]`);
    result += vectors
      ? ` + ${loadVector(type, 'residual[(p.residual_offset + at) / 4u]')}`
      : ` + vec4f(${[0, 1, 2, 3].map(element).join(', ')})`;
  }
  lines.push(`var sum = ${result};`);
  const cast = (type: WgslType, v: string) => (type === 'f16' ? `vec4<f16>(${v})` : v);
  if (form.z) lines.push(`z[at / 4u] = ${cast(form.z, 'sum')};`);
  if (form.activation) {
    lines.push(lanes, 'for (var lane = 0u; lane < lanes; lane++) { sum[lane] = activation(sum[lane]); }');
  }
  lines.push(`y[at / 4u] = ${cast(form.types[2], 'sum')};`);
  return `{ ${lines.join('\n')} }`;
}
