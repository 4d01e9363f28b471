/**
 * WGSL of products with quantised weights. Software adapters get an invocation per four rows and one output (or one word of
 * outputs, for products with W itself); GPUs a workgroup per output where there are few rows, and tiles in shared memory
 * where there are many. Each reads W once per tile or group of rows, as it is packed.
 */
import {
  type Dispatch,
  type Kernel,
  type KernelCall,
  type View,
  type WgslType,
  wgslType,
} from '../device/types.js';
import { load, type ParamSpec, store, workgroups } from './pointwise.js';
import {
  codesPerWord,
  GROUP,
  NF4,
  type QuantizedLinearParams,
  type QuantizedParams,
  type QuantizedScheme,
} from './quantized.js';

/** What the text of a kernel depends on. */
interface Form {
  readonly scheme: QuantizedScheme;
  readonly transposed: boolean;
  readonly x: WgslType;
  readonly scales: WgslType;
  /** Null where scales are floats, else those say what their codes stand for. */
  readonly groups: WgslType | null;
  readonly bias: WgslType | null;
  readonly residual: WgslType | null;
  readonly y: WgslType;
}

const SIZES: readonly ParamSpec[] = (
  ['rows', 'n', 'k', 'words', 'blocks', 'block', 'x_offset', 'w_offset', 's_offset'] as const
).map((name) => ({ name, type: 'u32' }));

/** The inputs behind the first three, in their order. */
const OPTIONAL = ['groups', 'bias', 'residual'] as const;

/** Rows that an invocation of the plain form, or a workgroup of the split form, computes. */
const ROWS = 4;
/** Invocations of the split form. */
const SPLIT = 64;
/** Rows and columns of a tile, and the part of the reduced dim that lies in shared memory at a time. */
const TILE = 32;
const DEPTH = 16;

/** `code(word, i)`: the value of code i of a word, without its scale. */
function decoder(scheme: QuantizedScheme): string {
  if (scheme === 'int8') {
    return 'fn code(word: u32, i: u32) -> f32 { return f32(extractBits(bitcast<i32>(word), 8u * i, 8u)); }';
  }
  const values = NF4.map((v) => (Number.isInteger(v) ? `${v}.0` : `${v}`)).join(', ');
  return `var<private> nf4: array<f32, 16> = array<f32, 16>(${values});
fn code(word: u32, i: u32) -> f32 { return nf4[(word >> (8u * (i >> 1u) + 4u * (1u - (i & 1u)))) & 15u]; }`;
}

const factor = (scheme: QuantizedScheme): string => (scheme === 'int8' ? ' / 127.0' : '');

const kernels = new Map<string, Kernel>();

function kernelOf(name: string, f: Form, size: number, body: string, shared = ''): Kernel {
  const more = OPTIONAL.filter((input) => f[input] !== null);
  const types = [f.x, f.scales, ...more.map((input) => f[input]!), f.y];
  const key = `${name}:${f.scheme}:${f.transposed}:${more}:${types}`;
  let kernel = kernels.get(key);
  if (!kernel) {
    kernel = {
      key,
      bindings: [
        { name: 'x', type: f.x, access: 'read' },
        { name: 'w', type: 'u32', access: 'read' },
        { name: 'scales', type: f.scales, access: 'read' },
        ...more.map((input) => ({ name: input, type: f[input]!, access: 'read' as const })),
        { name: 'y', type: f.y, access: 'read_write' },
      ],
      params: [...SIZES, ...more.map((input): ParamSpec => ({ name: `${input}_offset`, type: 'u32' }))],
      workgroupSize: size,
      enables: types.includes('f16') ? ['f16'] : undefined,
      declarations: `${decoder(f.scheme)}\n${shared}`,
      body,
    };
    kernels.set(key, kernel);
  }
  return kernel;
}

/** Addresses of four rows of x from `first_row` on; rows beyond the last repeat it. */
const ROW_ADDRESSES = `let row_numbers = min(vec4u(first_row, first_row + 1u, first_row + 2u, first_row + 3u), vec4u(p.rows - 1u));
let at = p.x_offset + row_numbers * WIDTH;`;

/** The scale at `index`, times what every code is to be multiplied by. */
function scaleOf(f: Pick<Form, 'scheme' | 'scales' | 'groups'>, index: string): string {
  if (!f.groups) return `${load(f.scales, `scales[p.s_offset + ${index}]`)}${factor(f.scheme)}`;
  const code = `f32(extractBits(bitcast<i32>(scales[p.s_offset + (${index}) / 4u]), 8u * ((${index}) % 4u), 8u))`;
  const group = load(f.groups, `groups[p.groups_offset + 1u + (${index}) / ${GROUP}u]`);
  return `(${load(f.groups, 'groups[p.groups_offset]')} + ${group} * ${code} / 127.0)${factor(f.scheme)}`;
}

const scaleAt = (f: Form, row: string, block: string): string => scaleOf(f, `(${row} * p.blocks + ${block})`);

const fourRows = (f: Form, i: string): string =>
  `vec4f(${['x', 'y', 'z', 'w'].map((c) => load(f.x, `x[at.${c} + ${i}]`)).join(', ')})`;

/** A result at column `j`, and `at` in y, with what is added to it. */
function finish(f: Form, sum: string, j: string, at: string): string {
  const bias = f.bias ? ` + ${load(f.bias, `bias[p.bias_offset + ${j}]`)}` : '';
  const residual = f.residual ? ` + ${load(f.residual, `residual[p.residual_offset + ${at}]`)}` : '';
  return `y[${at}] = ${store(f.y, `${sum}${bias}${residual}`)};`;
}

/** Four sums, one per row, to column `j` of y, whose rows are `width` long. */
const storeRows = (f: Form, sums: string, j: string, width: string): string =>
  [0, 1, 2, 3]
    .map(
      (r) =>
        `if (first_row + ${r}u < p.rows) { ${finish(f, `${sums}[${r}]`, j, `(first_row + ${r}u) * ${width} + ${j}`)} }`,
    )
    .join('\n');

/** Σ of one word's codes times four rows of x. */
function wordProduct(f: Form, sum: string, word: string, column: string): string {
  const per = codesPerWord(f.scheme);
  return Array.from(
    { length: per },
    (_, i) => `${sum} += code(${word}, ${i}u) * ${fourRows(f, `${column} + ${i}u`)};`,
  ).join('\n');
}

/** y = x · Wᵀ, an invocation per four rows and an output. */
function plain(f: Form): Kernel {
  const per = codesPerWord(f.scheme);
  return kernelOf(
    'quantizedLinear',
    f,
    64,
    `if (index >= p.n * ((p.rows + 3u) / 4u)) { return; }
let j = index % p.n;
let first_row = index / p.n * 4u;
${ROW_ADDRESSES.replace('WIDTH', 'p.k')}
var sums = vec4f(0.0);
for (var b = 0u; b < p.blocks; b++) {
  var part = vec4f(0.0);
  for (var c = b * p.block; c < (b + 1u) * p.block; c += ${per}u) {
    let word = w[p.w_offset + j * p.words + c / ${per}u];
    ${wordProduct(f, 'part', 'word', 'c')}
  }
  sums += part * (${scaleAt(f, 'j', 'b')});
}
${storeRows(f, 'sums', 'j', 'p.n')}`,
  );
}

/** y = g · W, an invocation per four rows and a word of W: neighbours read neighbouring words. */
function plainTransposed(f: Form): Kernel {
  const per = codesPerWord(f.scheme);
  const codes = Array.from({ length: per }, (_, i) => i);
  return kernelOf(
    'quantizedLinearBackward',
    f,
    64,
    `if (index >= p.words * ((p.rows + 3u) / 4u)) { return; }
let c = index % p.words;
let first_row = index / p.words * 4u;
${ROW_ADDRESSES.replace('WIDTH', 'p.n')}
${codes.map((i) => `var sums${i} = vec4f(0.0);`).join('\n')}
for (var j = 0u; j < p.n; j++) {
  let word = w[p.w_offset + j * p.words + c];
  let slopes = ${fourRows(f, 'j')} * (${scaleAt(f, 'j', `c * ${per}u / p.block`)});
  ${codes.map((i) => `sums${i} += code(word, ${i}u) * slopes;`).join('\n')}
}
${codes.map((i) => storeRows(f, `sums${i}`, `c * ${per}u + ${i}u`, 'p.k')).join('\n')}`,
  );
}

/** y = x · Wᵀ of few rows: a workgroup per output and four rows, whose invocations share the words of a row of W. */
function split(f: Form): Kernel {
  const per = codesPerWord(f.scheme);
  return kernelOf(
    'quantizedLinear:split',
    f,
    SPLIT,
    `let j = group % p.n;
let first_row = group / p.n * 4u;
var sums = vec4f(0.0);
if (first_row < p.rows) {
  ${ROW_ADDRESSES.replace('WIDTH', 'p.k')}
  for (var c = local; c < p.words; c += ${SPLIT}u) {
    let word = w[p.w_offset + j * p.words + c];
    var part = vec4f(0.0);
    ${wordProduct(f, 'part', 'word', `c * ${per}u`)}
    sums += part * (${scaleAt(f, 'j', `c * ${per}u / p.block`)});
  }
}
shared_sums[local] = sums;
for (var half = ${SPLIT / 2}u; half > 0u; half /= 2u) {
  workgroupBarrier();
  if (local < half) {
    sums += shared_sums[local + half];
    shared_sums[local] = sums;
  }
}
if (local == 0u && first_row < p.rows) {
  ${storeRows(f, 'sums', 'j', 'p.n')}
}`,
    `var<workgroup> shared_sums: array<vec4f, ${SPLIT}>;`,
  );
}

/**
 * Tiles of 32 rows × 32 columns, 64 invocations with 4 × 4 sums each. A piece of 16 along the reduced dim of both operands
 * lies in shared memory; 16 divides every block, so that a piece of a row of W has one scale.
 */
function tiled(f: Form): Kernel {
  const per = codesPerWord(f.scheme);
  const { transposed } = f;
  /** Words of a piece of W, and how they lie: [32 rows, 16 / per], or transposed [16 rows, 32 / per]. */
  const along = (transposed ? TILE : DEPTH) / per;
  const pieces = (TILE * DEPTH) / per;
  const [columns, depth] = transposed ? ['p.k', 'p.n'] : ['p.n', 'p.k'];
  const put = Array.from({ length: per }, (_, i) => {
    const at = transposed
      ? `w_row * ${TILE}u + w_word * ${per}u + ${i}u`
      : `(w_word * ${per}u + ${i}u) * ${TILE}u + w_row`;
    return `w_tile[${at}] = select(0.0, code(word, ${i}u) * scale, inside);`;
  });
  const [row, word] = transposed
    ? ['d0 + w_row', `column0 / ${per}u + w_word`]
    : ['column0 + w_row', `d0 / ${per}u + w_word`];
  return kernelOf(
    'quantizedLinear:tiles',
    f,
    64,
    `let across = (${columns} + ${TILE - 1}u) / ${TILE}u;
let row0 = group / across * ${TILE}u;
let column0 = group % across * ${TILE}u;
let thread_row = local / 8u * 4u;
let thread_column = local % 8u * 4u;
var s0 = vec4f(0.0);
var s1 = vec4f(0.0);
var s2 = vec4f(0.0);
var s3 = vec4f(0.0);
for (var d0 = 0u; d0 < ${depth}; d0 += ${DEPTH}u) {
  for (var i = local; i < ${TILE * DEPTH}u; i += 64u) {
    let r = row0 + i / ${DEPTH}u;
    let d = d0 + i % ${DEPTH}u;
    let inside = r < p.rows && d < ${depth};
    x_tile[i % ${DEPTH}u * ${TILE}u + i / ${DEPTH}u] = select(0.0, ${load(f.x, `x[p.x_offset + select(0u, r * ${depth} + d, inside)]`)}, inside);
  }
  for (var i = local; i < ${pieces}u; i += 64u) {
    let w_row = i / ${along}u;
    let w_word = i % ${along}u;
    let row = min(${row}, p.n - 1u);
    let column = min(${word}, p.words - 1u);
    let inside = ${row} < p.n && ${word} < p.words;
    let word = w[p.w_offset + row * p.words + column];
    let scale = ${scaleAt(f, 'row', `column * ${per}u / p.block`)};
    ${put.join('\n    ')}
  }
  workgroupBarrier();
  for (var d = 0u; d < ${DEPTH}u; d++) {
    let xs = d * ${TILE}u + thread_row;
    let ws = d * ${TILE}u + thread_column;
    let b = vec4f(w_tile[ws], w_tile[ws + 1u], w_tile[ws + 2u], w_tile[ws + 3u]);
    s0 += x_tile[xs] * b;
    s1 += x_tile[xs + 1u] * b;
    s2 += x_tile[xs + 2u] * b;
    s3 += x_tile[xs + 3u] * b;
  }
  workgroupBarrier();
}
let sums = array<vec4f, 4>(s0, s1, s2, s3);
${[0, 1, 2, 3]
  .flatMap((r) =>
    [0, 1, 2, 3].map(
      (c) => `if (row0 + thread_row + ${r}u < p.rows && column0 + thread_column + ${c}u < ${columns}) {
  ${finish(f, `sums[${r}][${c}]`, `column0 + thread_column + ${c}u`, `(row0 + thread_row + ${r}u) * ${columns} + column0 + thread_column + ${c}u`)}
}`,
    ),
  )
  .join('\n')}`,
    `var<workgroup> x_tile: array<f32, ${TILE * DEPTH}>;
var<workgroup> w_tile: array<f32, ${TILE * DEPTH}>;`,
  );
}

/** Up to this many rows GPUs split a row of W over a workgroup. */
const SPLIT_ROWS = 8;

/** What is there of the optional inputs, in their order. */
function present<T>(inputs: readonly T[], is: readonly boolean[]): (T | null)[] {
  let at = 0;
  return is.map((here) => (here ? inputs[at++] : null));
}

const typeOf = (view: View | null): WgslType | null => view && wgslType(view.dtype);

/** Kernels of y = x · Wᵀ + bias + residual, or of y = x · W where `transposed`. */
export function quantizedKernel(transposed: boolean) {
  return ({
    inputs: [x, w, s, ...more],
    outputs: [y],
    params,
    target,
  }: KernelCall<QuantizedParams & Partial<QuantizedLinearParams>>): Dispatch[] => {
    const { scheme, block, in: k, out: n } = params;
    const rows = x.shape.slice(0, -1).reduce((count, size) => count * size, 1);
    if (rows === 0 || n * k === 0) return [];
    const words = k / codesPerWord(scheme);
    const [groups, bias, residual] = present(more, [
      params.double,
      params.bias === true,
      params.residual === true,
    ]);
    const f: Form = {
      scheme,
      transposed,
      x: wgslType(x.dtype),
      scales: wgslType(s.dtype),
      groups: typeOf(groups),
      bias: typeOf(bias),
      residual: typeOf(residual),
      y: wgslType(y.dtype),
    };
    const parts = Math.ceil(rows / ROWS);
    let kernel: Kernel;
    let count: number;
    if (target.kind === 'gpu' && (transposed || rows > SPLIT_ROWS)) {
      kernel = tiled(f);
      count = Math.ceil(rows / TILE) * Math.ceil((transposed ? k : n) / TILE);
    } else if (target.kind === 'gpu') {
      kernel = split(f);
      count = n * parts;
    } else {
      kernel = transposed ? plainTransposed(f) : plain(f);
      count = workgroups((transposed ? words : n) * parts);
    }
    return [
      {
        kernel,
        buffers: [x.buffer, w.buffer, s.buffer, ...more.map((view) => view.buffer), y.buffer],
        params: [
          ...[rows, n, k, words, k / block, block, x.offset, w.offset, s.offset],
          ...more.map((view) => view.offset),
        ],
        workgroups: count,
      },
    ];
  };
}

/** Kernel of W as floats, or of those rows of it that an index names: an invocation per word. */
function decodeKernel(f: Pick<Form, 'scheme' | 'scales' | 'groups' | 'y'>, picks: boolean): Kernel {
  const { scheme, scales, groups, y } = f;
  const per = codesPerWord(scheme);
  const key = `dequantize:${scheme}:${picks}:${scales}:${groups}:${y}`;
  let kernel = kernels.get(key);
  if (!kernel) {
    const optional: [string, WgslType][] = [];
    if (picks) optional.push(['picks', 'u32']);
    if (groups) optional.push(['groups', groups]);
    // Indices out of range read the last row, as in other tables.
    const source = picks
      ? 'let source = min(picks[p.picks_offset + index / p.words], p.n - 1u) * p.words + index % p.words;'
      : 'let source = index;';
    kernel = {
      key,
      bindings: [
        { name: 'w', type: 'u32', access: 'read' },
        { name: 'scales', type: scales, access: 'read' },
        ...optional.map(([name, type]) => ({ name, type, access: 'read' as const })),
        { name: 'y', type: y, access: 'read_write' },
      ],
      params: [
        'count',
        'n',
        'words',
        'block',
        'w_offset',
        's_offset',
        ...optional.map(([name]) => `${name}_offset`),
      ].map((name) => ({ name, type: 'u32' })),
      workgroupSize: 64,
      enables: [scales, groups, y].includes('f16') ? ['f16'] : undefined,
      declarations: decoder(scheme),
      body: `if (index >= p.count) { return; }
${source}
let word = w[p.w_offset + source];
let block = source * ${per}u / p.block;
let scale = ${scaleOf(f, 'block')};
${Array.from({ length: per }, (_, i) => `y[index * ${per}u + ${i}u] = ${store(y, `code(word, ${i}u) * scale`)};`).join('\n')}`,
    };
    kernels.set(key, kernel);
  }
  return kernel;
}

function decodeDispatch(picks: boolean) {
  return ({ inputs: [w, s, ...more], outputs: [y], params }: KernelCall<QuantizedParams>): Dispatch[] => {
    const { scheme, block, in: k, out: n, double } = params;
    const words = k / codesPerWord(scheme);
    const count = y.shape.reduce((size, dim) => size * dim, 1) / codesPerWord(scheme);
    if (count === 0) return [];
    const groups = double ? wgslType(more[more.length - 1].dtype) : null;
    const f = { scheme, scales: wgslType(s.dtype), groups, y: wgslType(y.dtype) };
    return [
      {
        kernel: decodeKernel(f, picks),
        buffers: [w.buffer, s.buffer, ...more.map((view) => view.buffer), y.buffer],
        params: [count, n, words, block, w.offset, s.offset, ...more.map((view) => view.offset)],
        workgroups: workgroups(count),
      },
    ];
  };
}

/** Inputs w, scales, groups?; output W as floats. */
export const dequantizeKernel = decodeDispatch(false);

/** Inputs w, scales, index, groups?; output the rows of W that the index names. */
export const quantizedRowsKernel = decodeDispatch(true);
