/**
 * Access pattern: whole rows picked by an index, and its adjoint, sums of rows into picked rows. Tensors are seen as
 * [outer, rows, inner], contiguous, with `dim` in the middle; the index is flat.
 */
import {
  type Dispatch,
  type HostArray,
  type Kernel,
  type KernelCall,
  type SimdModule,
  type SimdView,
  type WgslType,
  wgslType,
} from '../device/types.js';
import { numel } from '../tensor/shape.js';
import { fillDispatch, scalarType } from './fill.js';
import { indexError } from './gather.js';
import { load, type ParamSpec, store, WORKGROUP, workgroups } from './pointwise.js';

export interface RowsParams {
  readonly dim: number;
  /** Public function, for messages. */
  readonly op: string;
  /** Index of the row that gets no gradient; −1 for none. */
  readonly padding: number;
}

export interface SelectParams extends RowsParams {
  /** Positions of the padding index give zeros: so it is where this is the adjoint of adding rows. */
  readonly masked: boolean;
}

export interface AddParams extends RowsParams {
  /** Rows of the output. */
  readonly size: number;
}

/** No valid index: −1 as a word, and beyond every row. */
const NONE = 0xffffffff;

function product(shape: readonly number[], from: number, to: number): number {
  let n = 1;
  for (let d = from; d < to; d++) n *= shape[d];
  return n;
}

/** Rows shorter than this are copied by a loop: a call of `set` costs more. */
const SHORT_ROW = 32;

/** y[o, k, :] = x[o, index[k], :] */
export function selectRowsHost(
  [x, index]: readonly HostArray[],
  [y]: readonly HostArray[],
  p: SelectParams,
): void {
  const rows = x.shape[p.dim];
  const outer = product(x.shape, 0, p.dim);
  const inner = product(x.shape, p.dim + 1, x.shape.length);
  const count = numel(index.shape);
  let to = 0;
  for (let o = 0; o < outer; o++) {
    for (let k = 0; k < count; k++, to += inner) {
      const pick = index.data[index.offset + k];
      if (pick < 0 || pick >= rows) throw indexError(p.op, rows, pick, k);
      const at = x.offset + (o * rows + pick) * inner;
      if (p.masked && pick === p.padding) y.data.fill(0, to, to + inner);
      else if (inner < SHORT_ROW) for (let c = 0; c < inner; c++) y.data[to + c] = x.data[at + c];
      else y.data.set(x.data.subarray(at, at + inner), to);
    }
  }
}

/** False for an index out of range: the host says which. */
export function selectRowsSimd(
  module: SimdModule,
  [x, index]: readonly SimdView[],
  [y]: readonly SimdView[],
  p: SelectParams,
): boolean {
  const rows = x.shape[p.dim];
  const outer = product(x.shape, 0, p.dim);
  const inner = product(x.shape, p.dim + 1, x.shape.length);
  const count = numel(index.shape);
  const skip = p.masked ? p.padding : -1;
  for (let o = 0; o < outer; o++) {
    const from = x.pointer + o * rows * inner * 4;
    const to = y.pointer + o * count * inner * 4;
    if (!module.selectRows(count, inner, from, rows, index.pointer, skip, to)) return false;
  }
  return true;
}

export function addRowsSimd(
  module: SimdModule,
  [x, index]: readonly SimdView[],
  [y]: readonly SimdView[],
  p: AddParams,
): boolean {
  if (x.dtype !== 'float32') return false;
  const outer = product(y.shape, 0, p.dim);
  const inner = product(y.shape, p.dim + 1, y.shape.length);
  const count = numel(index.shape);
  for (let o = 0; o < outer; o++) {
    const from = x.pointer + o * count * inner * 4;
    const to = y.pointer + o * p.size * inner * 4;
    if (!module.addRows(count, inner, from, inner, index.pointer, p.size, p.padding, to, inner)) return false;
  }
  return true;
}

const cache = new Map<string, Kernel>();

function cached(key: string, make: () => Omit<Kernel, 'key' | 'workgroupSize'>): Kernel {
  let kernel = cache.get(key);
  if (!kernel) cache.set(key, (kernel = { key, workgroupSize: WORKGROUP, ...make() }));
  return kernel;
}

const u32 = (name: string): ParamSpec => ({ name, type: 'u32' });

/** One invocation per element of the output; indices out of range read the last row. */
function selectKernel(type: WgslType): Kernel {
  return cached(`select-rows:${type}`, () => ({
    bindings: [
      { name: 'picks', type: 'u32', access: 'read' },
      { name: 'x', type, access: 'read' },
      { name: 'y', type, access: 'read_write' },
    ],
    params: ['n', 'rows', 'inner', 'count', 'picks_offset', 'x_offset', 'skip'].map(u32),
    enables: type === 'f16' ? ['f16'] : undefined,
    body: `if (index >= p.n) { return; }
let c = index % p.inner;
let row = index / p.inner;
let pick = picks[p.picks_offset + row % p.count];
if (pick == p.skip && pick < p.rows) { y[index] = ${type}(0); return; }
y[index] = x[p.x_offset + ((row / p.count) * p.rows + min(pick, p.rows - 1u)) * p.inner + c];`,
  }));
}

export function selectRowsKernel({
  inputs: [x, index],
  outputs: [y],
  params,
}: KernelCall<SelectParams>): Dispatch[] {
  const n = numel(y.shape);
  const inner = product(x.shape, params.dim + 1, x.shape.length);
  return [
    {
      // A copy looks at no bits, so one kernel serves all types of four bytes.
      kernel: selectKernel(y.dtype === 'float16' ? 'f16' : 'u32'),
      buffers: [index.buffer, x.buffer, y.buffer],
      params: [
        n,
        x.shape[params.dim],
        inner,
        numel(index.shape),
        index.offset,
        x.offset,
        params.masked && params.padding >= 0 ? params.padding : NONE,
      ],
      workgroups: workgroups(n),
    },
  ];
}

/** y = 0, then y[o, index[k], :] += x[o, k, :] in order of k. */
export function addRowsHost([x, index]: readonly HostArray[], [y]: readonly HostArray[], p: AddParams): void {
  const outer = product(y.shape, 0, p.dim);
  const inner = product(y.shape, p.dim + 1, y.shape.length);
  const count = numel(index.shape);
  const [X, Y] = [x.data, y.data];
  Y.fill(0, 0, numel(y.shape));
  let at = x.offset;
  for (let o = 0; o < outer; o++) {
    for (let k = 0; k < count; k++, at += inner) {
      const pick = index.data[index.offset + k];
      if (pick < 0 || pick >= p.size) throw indexError(p.op, p.size, pick, k);
      if (pick === p.padding) continue;
      const to = (o * p.size + pick) * inner;
      for (let c = 0; c < inner; c++) Y[to + c] += X[at + c];
    }
  }
}

/**
 * Links every position to the next one with the same index: `links[i]` is that position (0 where there is none), and
 * `links[count + j]` is 1 where j has one before it. Each position is linked from one other at most, so no writes meet.
 */
const linkKernel = (): Kernel =>
  cached('add-rows:link', () => ({
    bindings: [
      { name: 'picks', type: 'u32', access: 'read' },
      { name: 'links', type: 'u32', access: 'read_write' },
    ],
    params: ['count', 'picks_offset'].map(u32),
    body: `if (index >= p.count) { return; }
let pick = picks[p.picks_offset + index];
for (var j = index + 1u; j < p.count; j++) {
  if (picks[p.picks_offset + j] == pick) {
    links[index] = j;
    links[p.count + j] = 1u;
    break;
  }
}`,
  }));

/** One invocation per position and column; those of an index's first position walk its chain in order and write the sum. */
function chainKernel(type: WgslType): Kernel {
  return cached(`add-rows:chain:${type}`, () => ({
    bindings: [
      { name: 'picks', type: 'u32', access: 'read' },
      { name: 'links', type: 'u32', access: 'read' },
      { name: 'x', type, access: 'read' },
      { name: 'y', type, access: 'read_write' },
    ],
    params: ['n', 'size', 'inner', 'count', 'picks_offset', 'x_offset', 'skip'].map(u32),
    enables: type === 'f16' ? ['f16'] : undefined,
    body: `if (index >= p.n) { return; }
let c = index % p.inner;
let row = index / p.inner;
let first = row % p.count;
let o = row / p.count;
let pick = picks[p.picks_offset + first];
if (links[p.count + first] != 0u || pick >= p.size || pick == p.skip) { return; }
let base = p.x_offset + o * p.count * p.inner + c;
var sum = ${scalarType(type)}(0);
var k = first;
loop {
  sum += ${load(type, 'x[base + k * p.inner]')};
  k = links[k];
  if (k == 0u) { break; }
}
y[(o * p.size + pick) * p.inner + c] = ${store(type, 'sum')};`,
  }));
}

/**
 * Deterministic sums of rows without atomics and without work per row of the output beyond its zeros: at most
 * count² / 2 comparisons of indices, then one addition per element of x.
 */
export function addRowsKernel({
  inputs: [x, index],
  outputs: [y],
  params,
  scratch,
}: KernelCall<AddParams>): Dispatch[] {
  const zero = fillDispatch(y, 0);
  const n = numel(x.shape);
  if (n === 0) return [zero];
  const count = numel(index.shape);
  const inner = product(y.shape, params.dim + 1, y.shape.length);
  const links = scratch(count * 8);
  return [
    zero,
    fillDispatch({ buffer: links, dtype: 'uint32', shape: [2 * count], strides: [1], offset: 0 }, 0),
    {
      kernel: linkKernel(),
      buffers: [index.buffer, links],
      params: [count, index.offset],
      workgroups: workgroups(count),
    },
    {
      kernel: chainKernel(wgslType(y.dtype)),
      buffers: [index.buffer, links, x.buffer, y.buffer],
      params: [
        n,
        params.size,
        inner,
        count,
        index.offset,
        x.offset,
        params.padding >= 0 ? params.padding : NONE,
      ],
      workgroups: workgroups(n),
    },
  ];
}
