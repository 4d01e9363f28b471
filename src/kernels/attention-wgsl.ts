/** What the WGSL of attention for both classes of adapters is made of. */
import type { Kernel } from '../device/types.js';
import type { ParamSpec } from './pointwise.js';
import { EXP_DOWN } from './softmax.js';
import { declarations, NAN } from './wgsl.js';
import { LOG } from './wgsl-math.js';

/** What the text of a kernel depends on. */
export interface AttentionForm {
  readonly D: number;
  readonly E: number;
  readonly type: 'f32' | 'f16';
  /** Operands are bound as vec4; D, E, all strides and offsets are multiples of four, and addresses count vectors. */
  readonly vectors: boolean;
  /** q, k and v have one set of strides, and D = E. */
  readonly shared: boolean;
  readonly padding: boolean;
  /** Invocations of a subgroup, on software adapters where they can share what they read; else 1. */
  readonly team: number;
}

export interface AttentionText {
  readonly workgroupSize: number;
  /** Queries (or keys) per workgroup. */
  readonly rows: number;
  readonly enables?: Kernel['enables'];
  readonly declarations?: string;
  readonly body: string;
}

/** The parameters that all kernels begin with. */
export const HEAD: readonly ParamSpec[] = [
  { name: 'queries', type: 'u32' },
  { name: 'keys', type: 'u32' },
  { name: 'heads', type: 'u32' },
  { name: 'shift', type: 'i32' },
  { name: 'window', type: 'i32' },
  { name: 'scale', type: 'f32' },
];

const DIMS = ['batch', 'step', 'head'];

/** Names of the strides along B, T or S, and H. */
export const STRIDES = {
  shared: DIMS.map((d) => `x_${d}`),
  own: ['q', 'k', 'v'].flatMap((x) => DIMS.map((d) => `${x}_${d}`)),
};

/** The parameter with a stride of an operand. */
export function stride(
  { shared }: AttentionForm,
  x: 'q' | 'k' | 'v',
  dim: 'batch' | 'step' | 'head',
): string {
  return `p.${shared ? 'x' : x}_${dim}`;
}

/** Below all scores: smaller ones count as −∞. */
export const LOWEST = '-3.4e38';

export const FUNCTIONS = declarations(EXP_DOWN, NAN, LOG);

/** Code for each of `count` things, a line each. */
export function each(count: number, line: (i: number) => string): string {
  return Array.from({ length: count }, (_, i) => line(i)).join('\n');
}

/** Vectors that hold a row of `n` elements. */
export function vectorsOf(n: number): number {
  return Math.ceil(n / 4);
}

const LANES = ['x', 'y', 'z', 'w'];

/** `read_NAME(at, d)`: vector `d` of the row of `n` elements at `at`; what a row lacks is 0, and is not read. */
export function reader(form: AttentionForm, name: string, n: number): string {
  const head = `fn read_${name}(at: u32, d: u32) -> vec4f`;
  if (form.vectors) return `${head} { return vec4f(${name}[at + d]); }`;
  const lane = (_: string, c: number): string => {
    if (n % 4 === 0 || c < n % 4) return `f32(${name}[first + ${c}u])`;
    return `select(0.0, f32(${name}[first + min(${c}u, left)]), left >= ${c}u)`;
  };
  return `${head} {
  let first = at + 4u * d;
  let left = ${n - 1}u - 4u * d;
  return vec4f(${LANES.map(lane).join(', ')});
}`;
}

/** `write_NAME(at, d, value)` */
export function writer(form: AttentionForm, name: string, n: number): string {
  const { type, vectors } = form;
  const head = `fn write_${name}(at: u32, d: u32, value: vec4f)`;
  if (vectors) return `${head} { ${name}[at + d] = ${type === 'f16' ? 'vec4h(value)' : 'value'}; }`;
  const lane = (x: string, c: number): string => {
    const line = `${name}[first + ${c}u] = ${type}(value.${x});`;
    return c < n % 4 || n % 4 === 0 ? line : `if (4u * d + ${c}u < ${n}u) { ${line} }`;
  };
  return `${head} { let first = at + 4u * d; ${LANES.map(lane).join(' ')} }`;
}

/**
 * `tile`, `head` and `batch` of a workgroup of `rows` rows out of `count`, and where the operands' rows begin: `q_base`, `k_base`,
 * `v_base`.
 */
export function place(form: AttentionForm, rows: number, count: 'queries' | 'keys'): string {
  const base = (x: 'q' | 'k' | 'v'): string =>
    `let ${x}_base = p.${x}_offset + batch * ${stride(form, x, 'batch')} + head * ${stride(form, x, 'head')};`;
  return `
let tiles = (p.${count} + ${rows - 1}u) / ${rows}u;
let tile = group % tiles;
let head = (group / tiles) % p.heads;
let batch = group / tiles / p.heads;
let first_row = tile * ${rows}u;
${base('q')}
${base('k')}
${base('v')}`;
}

/** Elements of a row, as addresses count them. */
export function units({ vectors }: AttentionForm, n: number): number {
  return vectors ? n / 4 : n;
}

/** Where row `i` of query-shaped contiguous tensors [B, T, H, E] begins. */
export function outputRow(form: AttentionForm, i: string): string {
  return `((batch * p.queries + ${i}) * p.heads + head) * ${units(form, form.E)}u`;
}

/** Where row `i` of a gradient with a pitch begins. */
export function gradientRow(
  form: AttentionForm,
  i: string,
  count: 'queries' | 'keys',
  step: string,
  n: number,
): string {
  return `(batch * p.${count} + ${i}) * ${step} + head * ${units(form, n)}u`;
}

/** The keys from `begin` to before `end` that any of the workgroup's queries sees. */
export function keyRange(rows: number): string {
  return `
let last_row = min(first_row + ${rows}u, p.queries) - 1u;
let begin = u32(max(i32(first_row) + p.shift - p.window + 1, 0));
let end = u32(clamp(i32(last_row) + p.shift + 1, 0, i32(p.keys)));`;
}

/** The queries from `begin` to before `end` that see any of the workgroup's keys. */
export function queryRange(rows: number): string {
  return `
let last_row = min(first_row + ${rows}u, p.keys) - 1u;
let begin = u32(max(i32(first_row) - p.shift, 0));
let end = u32(clamp(i32(last_row) - p.shift + p.window, 0, i32(p.queries)));`;
}

/** One invocation per query: its log-sum-exp and δ = Σ g·y, for adapters that cannot bind all operands at once. */
export function statsText(form: AttentionForm): AttentionText {
  const n = vectorsOf(form.E);
  return {
    workgroupSize: 64,
    rows: 64,
    declarations: `${reader(form, 'g', form.E)}\n${reader(form, 'y', form.E)}`,
    body: `
let tiles = (p.queries + 63u) / 64u;
let i = (group % tiles) * 64u + local;
if (i >= p.queries) { return; }
let head = (group / tiles) % p.heads;
let batch = group / tiles / p.heads;
let at = ${outputRow(form, 'i')};
let g_at = p.g_offset + at;
let y_at = p.y_offset + at;
var delta = vec4f();
for (var d = 0u; d < ${n}u; d++) { delta += read_g(g_at, d) * read_y(y_at, d); }
let n = (batch * p.heads + head) * p.queries + i;
stats[2u * n] = lse[p.lse_offset + n];
stats[2u * n + 1u] = dot(delta, vec4f(1.0));`,
  };
}
