/**
 * Access pattern: matrix products, C[m, n] = Σₖ A[m, k] · B[k, n], any strides of A and B, batches included.
 *
 * Reads m·k + k·n elements, many times over, through caches or shared memory; writes m·n; 2·m·n·k operations, summed in
 * float32 in the order of k. Three kernels: `blocked` keeps a block of results in registers and shares nothing (software
 * adapters, where barriers are dear), `tiled` stages tiles of A and B in shared memory (GPUs), `rows` splits k over the
 * invocations of a workgroup (a few rows on GPUs). All are specialised on which operand dims are contiguous and on
 * the block's size, never on m, n, k.
 */
import { type Dispatch, type Kernel, type KernelCall, type WgslType, wgslType } from '../device/types.js';
import { type MatmulLayout, matmulLayout } from './matmul-layout.js';
import { load, type ParamSpec, store } from './pointwise.js';

const cache = new Map<string, Kernel>();

/** Dispatches for output 0 = input 0 · input 1. */
export function matmulKernel({ inputs, outputs: [y], target }: KernelCall<null>): Dispatch[] {
  const layout = matmulLayout(inputs[0], inputs[1]);
  const [a, b] = layout.swapped ? [inputs[1], inputs[0]] : inputs;
  const { m, n, entries } = layout;
  if (m * n * entries === 0) return [];
  const plan = target.kind === 'software' ? blocked(layout) : m <= 4 ? rows(layout) : tiled(layout);
  const types = [wgslType(a.dtype), wgslType(b.dtype), wgslType(y.dtype)] as const;
  const rank = layout.batch.shape.length;
  const key = `matmul:${plan.key}:${rank}:${types}`;
  let kernel = cache.get(key);
  if (!kernel) cache.set(key, (kernel = build(key, plan.template(...types), rank, types)));
  return [
    {
      kernel,
      buffers: [a.buffer, b.buffer, y.buffer],
      params: [m, n, layout.k, entries, ...operandValues(layout, a.offset, b.offset)],
      workgroups: plan.workgroups,
    },
  ];
}

/** A kernel chosen for a layout: what it is specialised on, how many workgroups, and its text. */
interface Plan {
  readonly key: string;
  readonly workgroups: number;
  readonly template: (a: WgslType, b: WgslType, y: WgslType) => Template;
}

interface Template {
  readonly workgroupSize: number;
  readonly declarations?: string;
  /** Sets `entry`; returns where there is nothing to do. */
  readonly head: string;
  /** Reads `a_base` and `b_base`, the offsets of the entry's first elements. */
  readonly body: string;
}

function build(key: string, t: Template, rank: number, types: readonly WgslType[]): Kernel {
  const steps: ParamSpec[] = [];
  for (let d = 1; d < rank; d++) steps.push({ name: `batch${d}`, type: 'u32' });
  for (let d = 0; d < rank; d++) {
    steps.push({ name: `a_step${d}`, type: 'u32' }, { name: `b_step${d}`, type: 'u32' });
  }
  const offsets = ['var rest = entry;', 'var a_base = p.a_offset;', 'var b_base = p.b_offset;'];
  for (let d = rank - 1; d >= 0; d--) {
    offsets.push(d > 0 ? `let i${d} = rest % p.batch${d}; rest /= p.batch${d};` : 'let i0 = rest;');
    offsets.push(`a_base += i${d} * p.a_step${d}; b_base += i${d} * p.b_step${d};`);
  }
  const u32 = (...names: string[]): ParamSpec[] => names.map((name) => ({ name, type: 'u32' }));
  return {
    key,
    bindings: [
      { name: 'a', type: types[0], access: 'read' },
      { name: 'b', type: types[1], access: 'read' },
      { name: 'y', type: types[2], access: 'read_write' },
    ],
    params: [
      ...u32('m', 'n', 'k', 'entries', 'a_offset', 'a_row', 'a_col', 'b_offset', 'b_row', 'b_col'),
      ...steps,
    ],
    workgroupSize: t.workgroupSize,
    enables: types.includes('f16') ? ['f16'] : undefined,
    declarations: t.declarations,
    body: `${t.head}\n${offsets.join('\n')}\n${t.body}`,
  };
}

function operandValues(l: MatmulLayout, aOffset: number, bOffset: number): number[] {
  const [aSteps, bSteps] = l.batch.strides;
  return [
    ...[aOffset, l.aRow, l.aCol, bOffset, l.bRow, l.bCol],
    ...l.batch.shape.slice(1),
    ...aSteps.flatMap((step, d) => [step, bSteps[d]]),
  ];
}

/** Code for each of `count` things, a line each. */
function each(count: number, line: (i: number) => string): string {
  return Array.from({ length: count }, (_, i) => line(i)).join('\n');
}

const LANES = ['x', 'y', 'z', 'w'];

/** Writes the four columns from `col` of row `row`, as far as they exist. */
function storeRow(y: WgslType, row: string, col: string, value: string): string {
  return `if (${row} < p.m) {
  let at = (entry * p.m + ${row}) * p.n + ${col};
  ${each(4, (i) => `if (${col} + ${i}u < p.n) { y[at + ${i}u] = ${store(y, `${value}.${LANES[i]}`)}; }`)}
}`;
}

/** One invocation computes up to 8 rows × 4 columns in registers. Neighbouring invocations take neighbouring columns. */
function blocked({ m, n, entries }: MatmulLayout): Plan {
  const height = m >= 8 ? 8 : m >= 4 ? 4 : m;
  return {
    key: `blocked${height}`,
    workgroups: Math.ceil((entries * Math.ceil(m / height) * Math.ceil(n / 4)) / 64),
    template: (a, b, y) => ({
      workgroupSize: 64,
      head: `
let across = (p.n + 3u) / 4u;
let blocks = across * ((p.m + ${height - 1}u) / ${height}u);
let entry = index / blocks;
if (entry >= p.entries) { return; }
let row = (index % blocks) / across * ${height}u;
let col = (index % across) * 4u;`,
      // Rows and columns beyond the edge read the last one, and are not stored.
      body: `
${each(height, (r) => `var a${r} = a_base + min(row + ${r}u, p.m - 1u) * p.a_row; var c${r} = vec4f();`)}
${each(4, (c) => `var b${c} = b_base + min(col + ${c}u, p.n - 1u) * p.b_col;`)}
// Software adapters do not hoist these out of the loop.
let depth = p.k; let a_next = p.a_col; let b_next = p.b_row;
for (var k = 0u; k < depth; k++) {
  let v = vec4f(${[0, 1, 2, 3].map((c) => load(b, `b[b${c}]`)).join(', ')});
  ${each(height, (r) => `c${r} += ${load(a, `a[a${r}]`)} * v; a${r} += a_next;`)}
  ${each(4, (c) => `b${c} += b_next;`)}
}
${each(height, (r) => storeRow(y, `row + ${r}u`, 'col', `c${r}`))}`,
    }),
  };
}

/** Steps of k staged at a time, and invocations along each side of a tile: 16 × 16 = 256. */
const DEPTH = 16;
const SIDE = 16;

/**
 * A workgroup computes a tile of 128 × 128 or 64 × 64 results, each invocation 8 × 8 or 4 × 4 of them. Tiles of A and B
 * lie in shared memory as vec4 along m and n, DEPTH steps of k, each step one vec4 longer than the tile so that writes along k
 * hit different banks.
 */
function tiled(l: MatmulLayout): Plan {
  const tiles = (size: number) => Math.ceil(l.m / size) * Math.ceil(l.n / size) * l.entries;
  // Large tiles read less, but only pay when there are enough of them to keep a large GPU busy.
  const vectors = tiles(128) >= 256 ? 2 : 1;
  const size = vectors * 4 * SIDE;
  const aAlongK = l.aCol === 1;
  const bAlongK = l.bRow === 1 && l.bCol !== 1;
  const pitch = size / 4 + 1;
  /** Stages one operand: `fast` is whether neighbouring invocations take neighbouring k. */
  const stage = (
    name: string,
    type: WgslType,
    alongK: boolean,
    extent: string,
    across: string,
    along: string,
  ) =>
    each(
      vectors,
      (i) => `{
  let item = local + ${i * SIDE * SIDE}u;
  ${
    alongK
      ? `let step = item % ${DEPTH}u; let lane = item / ${DEPTH}u;`
      : `let step = item / ${size / 4}u; let lane = item % ${size / 4}u;`
  }
  let k = min(k0 + step, p.k - 1u);
  let first = ${name}_start + lane * 4u;
  let at = ${name}_base + k * ${along};
  let v = vec4f(${LANES.map((_, c) => load(type, `${name}[at + min(first + ${c}u, ${extent} - 1u) * ${across}]`)).join(', ')});
  ${name}_tile[step * ${pitch}u + lane] = select(vec4f(), v, k0 + step < p.k);
}`,
    );
  const rowsOf = vectors * 4;
  return {
    key: `tiled${size}:${aAlongK}:${bAlongK}`,
    workgroups: tiles(size),
    template: (a, b, y) => ({
      workgroupSize: SIDE * SIDE,
      declarations: `
var<workgroup> a_tile: array<vec4f, ${DEPTH * pitch}>;
var<workgroup> b_tile: array<vec4f, ${DEPTH * pitch}>;`,
      head: `
let across = (p.n + ${size - 1}u) / ${size}u;
let blocks = across * ((p.m + ${size - 1}u) / ${size}u);
let entry = group / blocks;
if (entry >= p.entries) { return; }
let a_start = (group % blocks) / across * ${size}u;
let b_start = (group % across) * ${size}u;`,
      body: `
let tile_row = local / ${SIDE}u;
let tile_col = local % ${SIDE}u;
${each(rowsOf, (r) => each(vectors, (v) => `var c${r}_${v} = vec4f();`))}
for (var k0 = 0u; k0 < p.k; k0 += ${DEPTH}u) {
  ${stage('a', a, aAlongK, 'p.m', 'p.a_row', 'p.a_col')}
  ${stage('b', b, bAlongK, 'p.n', 'p.b_col', 'p.b_row')}
  workgroupBarrier();
  for (var step = 0u; step < ${DEPTH}u; step++) {
    let line = step * ${pitch}u;
    ${each(vectors, (v) => `let a${v} = a_tile[line + tile_row + ${v * SIDE}u]; let b${v} = b_tile[line + tile_col + ${v * SIDE}u];`)}
    ${each(rowsOf, (r) => each(vectors, (v) => `c${r}_${v} += a${r >> 2}.${LANES[r & 3]} * b${v};`))}
  }
  workgroupBarrier();
}
${each(rowsOf, (r) =>
  each(vectors, (v) =>
    storeRow(
      y,
      `a_start + (tile_row + ${(r >> 2) * SIDE}u) * 4u + ${r & 3}u`,
      `b_start + (tile_col + ${v * SIDE}u) * 4u`,
      `c${r}_${v}`,
    )
      .replace(/^/, '{ ')
      .concat(' }'),
  ),
)}`,
    }),
  };
}

/** Invocations of `rows`. */
const TEAM = 256;

/**
 * Up to 4 rows: a workgroup takes `width` columns of all rows and splits k over TEAM / width invocations each, whose sums
 * are added in a fixed order. Contiguous memory is walked by neighbouring invocations, so the width is small
 * where B lies along k.
 */
function rows(l: MatmulLayout): Plan {
  const height = l.m > 1 ? 4 : 1;
  const alongK = l.bRow === 1 && l.k > 1;
  const width = alongK ? 4 : 32;
  const parts = TEAM / width;
  return {
    key: `rows${height}:${alongK}`,
    workgroups: Math.ceil(l.n / width) * l.entries,
    template: (a, b, y) => ({
      workgroupSize: TEAM,
      declarations: `var<workgroup> sums: array<array<f32, ${TEAM}>, ${height}>;`,
      head: `
let across = (p.n + ${width - 1}u) / ${width}u;
let entry = group / across;
if (entry >= p.entries) { return; }
let lane = ${alongK ? `local / ${parts}u` : `local % ${width}u`};
let part = ${alongK ? `local % ${parts}u` : `local / ${width}u`};
let col = (group % across) * ${width}u + lane;`,
      body: `
let b_start = b_base + min(col, p.n - 1u) * p.b_col;
${each(height, (r) => `let a${r} = a_base + min(${r}u, p.m - 1u) * p.a_row; var c${r} = 0f;`)}
for (var k = part; k < p.k; k += ${parts}u) {
  let v = ${load(b, 'b[b_start + k * p.b_row]')};
  ${each(height, (r) => `c${r} += ${load(a, `a[a${r} + k * p.a_col]`)} * v;`)}
}
${each(height, (r) => `sums[${r}][part * ${width}u + lane] = c${r};`)}
for (var half = ${TEAM / 2}u; half >= ${width}u; half /= 2u) {
  workgroupBarrier();
  if (local < half) {
    ${each(height, (r) => `sums[${r}][local] += sums[${r}][local + half];`)}
  }
}
workgroupBarrier();
let out = (group % across) * ${width}u + local;
if (local < ${width}u && out < p.n) {
  ${each(height, (r) => `if (${r}u < p.m) { y[(entry * p.m + ${r}u) * p.n + out] = ${store(y, `sums[${r}][local]`)}; }`)}
}`,
    }),
  };
}
