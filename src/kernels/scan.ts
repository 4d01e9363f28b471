/**
 * Access pattern: running results along one dim of [lines, n, inner], contiguous.
 *
 * Lines are cut into blocks where there are few: partial sums per block, a running sum of those, and every block again
 * with its start. No barriers, and the order of additions depends on shapes alone. Reads every element once or twice,
 * writes it once.
 */
import { type Dispatch, type Kernel, type KernelCall, type WgslType, wgslType } from '../device/types.js';
import { numel } from '../tensor/shape.js';
import { load, store, workgroups } from './pointwise.js';

export interface ScanParams {
  /** A dim of the input; 0 for a scalar. */
  readonly dim: number;
  /** From the end: y_i = Σ x_j over j ≥ i. */
  readonly reverse: boolean;
}

/** [lines, n, inner] around a dim. */
export function lineSpace(
  shape: readonly number[],
  dim: number,
): { outer: number; n: number; inner: number } {
  return { outer: numel(shape.slice(0, dim)), n: shape[dim] ?? 1, inner: numel(shape.slice(dim + 1)) };
}

const kernels = new Map<string, Kernel>();

function cached(key: string, make: () => Omit<Kernel, 'key' | 'workgroupSize'>): Kernel {
  let kernel = kernels.get(key);
  if (!kernel) kernels.set(key, (kernel = { key, workgroupSize: 64, ...make() }));
  return kernel;
}

const SIZES = (['items', 'n', 'inner', 'blocks', 'chunk', 'offset'] as const).map(
  (name) => ({ name, type: 'u32' }) as const,
);

/** Splits the item number: `line` (outer and inner), `block`, and where the line begins. */
const LOCATE = `
if (index >= p.items) { return; }
let line = index % (p.items / p.blocks);
let block = index / (p.items / p.blocks);
let base = (line / p.inner) * p.n * p.inner + line % p.inner;
let first = block * p.chunk;
let end = min(first + p.chunk, p.n);`;

/** Position `i` of a walk from the front or from the end. */
function at(reverse: boolean): string {
  return `base + ${reverse ? '(p.n - 1u - i)' : 'i'} * p.inner`;
}

/** Sums of input 0 along a dim into output 0. */
export function cumsumKernel({
  inputs: [x],
  outputs: [y],
  params,
  target,
  scratch,
}: KernelCall<ScanParams>): Dispatch[] {
  const { outer, n, inner } = lineSpace(x.shape, params.dim);
  const lines = outer * inner;
  const wanted = target.kind === 'gpu' ? 16384 : 512;
  const blocks = n <= 128 ? 1 : Math.max(Math.min(Math.ceil(wanted / lines), Math.ceil(Math.sqrt(n))), 1);
  const from = wgslType(x.dtype);
  const to = wgslType(y.dtype);
  const sums: WgslType = to === 'f16' ? 'f32' : to;
  const items = lines * blocks;
  const sizes = [items, n, inner, blocks, Math.ceil(n / blocks), x.offset];
  const v = load(from, `x[p.offset + ${at(params.reverse)}]`);
  const value = from === 'f16' || from === to ? v : `${sums}(${v})`;
  const enables = from === 'f16' || to === 'f16' ? (['f16'] as const) : undefined;
  const final = (start: string, bindings: Kernel['bindings'], key: string): Kernel =>
    cached(`${key}:${params.reverse}:${from}:${to}`, () => ({
      bindings: [
        { name: 'x', type: from, access: 'read' },
        ...bindings,
        { name: 'y', type: to, access: 'read_write' },
      ],
      params: SIZES,
      enables,
      body: `${LOCATE}
var sum = ${start};
for (var i = first; i < end; i++) {
  sum += ${value};
  y[${at(params.reverse)}] = ${store(to, 'sum')};
}`,
    }));
  if (blocks === 1) {
    return [
      {
        kernel: final(`${sums}(0)`, [], 'cumsum'),
        buffers: [x.buffer, y.buffer],
        params: sizes,
        workgroups: workgroups(items),
      },
    ];
  }
  const partial = scratch(items * 4);
  const starts = scratch(items * 4);
  return [
    {
      kernel: cached(`cumsum:part:${params.reverse}:${from}:${to}`, () => ({
        bindings: [
          { name: 'x', type: from, access: 'read' },
          { name: 'partial', type: sums, access: 'read_write' },
        ],
        params: SIZES,
        enables,
        body: `${LOCATE}
var sum = ${sums}(0);
for (var i = first; i < end; i++) { sum += ${value}; }
partial[index] = sum;`,
      })),
      buffers: [x.buffer, partial],
      params: sizes,
      workgroups: workgroups(items),
    },
    {
      kernel: cached(`cumsum:starts:${sums}`, () => ({
        bindings: [
          { name: 'partial', type: sums, access: 'read' },
          { name: 'starts', type: sums, access: 'read_write' },
        ],
        params: [
          { name: 'lines', type: 'u32' },
          { name: 'blocks', type: 'u32' },
        ],
        body: `
if (index >= p.lines) { return; }
var sum = ${sums}(0);
for (var b = 0u; b < p.blocks; b++) {
  starts[b * p.lines + index] = sum;
  sum += partial[b * p.lines + index];
}`,
      })),
      buffers: [partial, starts],
      params: [lines, blocks],
      workgroups: workgroups(lines),
    },
    {
      kernel: final('starts[index]', [{ name: 'starts', type: sums, access: 'read' }], 'cumsum:blocks'),
      buffers: [x.buffer, starts, y.buffer],
      params: sizes,
      workgroups: workgroups(items),
    },
  ];
}

/** Products of all other elements of each row of [rows, n]: one invocation per row, reads and writes twice. */
export function prodOthersKernel({ inputs: [x], outputs: [y] }: KernelCall<null>): Dispatch[] {
  const [rows, n] = x.shape;
  const type = wgslType(x.dtype);
  const kernel = cached(`prodOthers:${type}`, () => ({
    bindings: [
      { name: 'x', type, access: 'read' },
      { name: 'y', type, access: 'read_write' },
    ],
    params: [
      { name: 'rows', type: 'u32' },
      { name: 'n', type: 'u32' },
      { name: 'offset', type: 'u32' },
    ],
    enables: type === 'f16' ? ['f16'] : undefined,
    body: `
if (index >= p.rows) { return; }
let base = index * p.n;
var left = f32(1);
for (var i = 0u; i < p.n; i++) {
  y[base + i] = ${store(type, 'left')};
  left *= ${load(type, 'x[p.offset + base + i]')};
}
var right = f32(1);
for (var k = 0u; k < p.n; k++) {
  let i = p.n - 1u - k;
  y[base + i] = ${store(type, `${load(type, 'y[base + i]')} * right`)};
  right *= ${load(type, 'x[p.offset + base + i]')};
}`,
  }));
  return [
    {
      kernel,
      buffers: [x.buffer, y.buffer],
      params: [rows, n, x.offset],
      workgroups: n === 0 ? 0 : workgroups(rows),
    },
  ];
}
