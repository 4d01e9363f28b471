/**
 * Access pattern: elements picked along one dim by an index of the output's shape (gather), and its adjoint, sums into
 * picked places (scatter). All inputs may have any strides, so that a broadcast index is never written out.
 *
 * Indices are bound as u32: a negative int32 is large there and falls under the same bounds check.
 */
import { ShapeError } from '../device/errors.js';
import {
  type Dispatch,
  type HostArray,
  type Kernel,
  type KernelCall,
  type WgslType,
  wgslType,
} from '../device/types.js';
import { contiguousStrides, numel } from '../tensor/shape.js';
import { collapse, forEachRow } from './collapse.js';
import { scalarType } from './fill.js';
import { load, offsetsCode, offsetsValues, store, WORKGROUP, workgroups } from './pointwise.js';

/** @throws ShapeError that says which index is out of range. */
export function indexError(op: string, size: number, value: number, position: number): ShapeError {
  return new ShapeError(`${op}: expected indices in [0, ${size}), got ${value} at position ${position}`);
}

export interface GatherParams {
  readonly dim: number;
  /** Public function, for messages. */
  readonly op: string;
}

interface Strided {
  readonly strides: readonly number[];
}

/** A view's steps over `shape` with those along `dim` left out: the caller adds them by index. */
function lines(shape: readonly number[], { strides }: Strided, dim: number) {
  return { shape, strides: strides.map((s, d) => (d === dim ? 0 : s)) };
}

/** y[… i …] = x[… index[… i …] …] */
export function gatherHost(
  [x, index]: readonly HostArray[],
  [y]: readonly HostArray[],
  p: GatherParams,
): void {
  const space = collapse(index.shape, [index, lines(index.shape, x, p.dim)]);
  const inner = space.shape.length - 1;
  const n = space.shape[inner];
  const [is, xs] = space.strides.map((s) => s[inner]);
  const size = x.shape[p.dim];
  const step = x.strides[p.dim];
  const picks = index.data;
  forEachRow(space, [index.offset, x.offset], (at, [io, xo]) => {
    for (let i = 0; i < n; i++) {
      const pick = picks[io + i * is];
      if (pick < 0 || pick >= size) throw indexError(p.op, size, pick, at + i);
      y.data[at + i] = x.data[xo + i * xs + pick * step];
    }
  });
}

const cache = new Map<string, Kernel>();

/** Reads each index and one element, writes it: 12 bytes per element of float32. Indices out of range read the last. */
export function gatherKernel({
  inputs: [x, index],
  outputs: [y],
  params,
}: KernelCall<GatherParams>): Dispatch[] {
  const n = numel(y.shape);
  const space = collapse(index.shape, [index, lines(index.shape, x, params.dim)]);
  // A copy looks at no bits, so one kernel serves all types of four bytes.
  const type: WgslType = y.dtype === 'float16' ? 'f16' : 'u32';
  const rank = space.shape.length;
  const key = `gather:${rank}:${type}`;
  let kernel = cache.get(key);
  if (!kernel) {
    const { params: steps, code } = offsetsCode(rank, ['picks', 'x']);
    kernel = {
      key,
      bindings: [
        { name: 'picks', type: 'u32', access: 'read' },
        { name: 'x', type, access: 'read' },
        { name: 'y', type, access: 'read_write' },
      ],
      params: [
        { name: 'n', type: 'u32' },
        { name: 'size', type: 'u32' },
        { name: 'step', type: 'u32' },
        ...steps,
      ],
      workgroupSize: WORKGROUP,
      enables: type === 'f16' ? ['f16'] : undefined,
      body: `if (index >= p.n) { return; }
${code}
y[index] = x[at_x + min(picks[at_picks], p.size - 1u) * p.step];`,
    };
    cache.set(key, kernel);
  }
  return [
    {
      kernel,
      buffers: [index.buffer, x.buffer, y.buffer],
      params: [
        n,
        x.shape[params.dim],
        x.strides[params.dim],
        ...offsetsValues(space, [index.offset, x.offset]),
      ],
      workgroups: workgroups(n),
    },
  ];
}

/** y = 0, then y[… index[… i …] …] += x[… i …] in row-major order of i. */
export function scatterHost(
  [x, index]: readonly HostArray[],
  [y]: readonly HostArray[],
  p: GatherParams,
): void {
  y.data.fill(0, 0, numel(y.shape));
  const strides = contiguousStrides(y.shape);
  const space = collapse(index.shape, [index, x, lines(index.shape, { strides }, p.dim)]);
  const inner = space.shape.length - 1;
  const n = space.shape[inner];
  const [is, xs, ys] = space.strides.map((s) => s[inner]);
  const size = y.shape[p.dim];
  const step = strides[p.dim];
  const picks = index.data;
  forEachRow(space, [index.offset, x.offset, 0], (at, [io, xo, yo]) => {
    for (let i = 0; i < n; i++) {
      const pick = picks[io + i * is];
      if (pick < 0 || pick >= size) throw indexError(p.op, size, pick, at + i);
      y.data[yo + i * ys + pick * step] += x.data[xo + i * xs];
    }
  });
}

/**
 * Every output element walks its line of the index and adds what is meant for it: no atomics, always the same order.
 * Reads the index once per output element; indices out of range add nothing.
 */
export function scatterKernel({
  inputs: [x, index],
  outputs: [y],
  params,
}: KernelCall<GatherParams>): Dispatch[] {
  const n = numel(y.shape);
  const { dim } = params;
  const place = { shape: y.shape, strides: y.shape.map((_, d) => (d === dim ? 1 : 0)) };
  const space = collapse(y.shape, [lines(y.shape, index, dim), lines(y.shape, x, dim), place]);
  const type = wgslType(y.dtype);
  const rank = space.shape.length;
  const key = `scatter:${rank}:${type}`;
  let kernel = cache.get(key);
  if (!kernel) {
    const { params: steps, code } = offsetsCode(rank, ['picks', 'x', 'place']);
    const scalar = scalarType(type);
    kernel = {
      key,
      bindings: [
        { name: 'picks', type: 'u32', access: 'read' },
        { name: 'x', type, access: 'read' },
        { name: 'y', type, access: 'read_write' },
      ],
      params: [
        { name: 'n', type: 'u32' },
        { name: 'length', type: 'u32' },
        { name: 'picks_step', type: 'u32' },
        { name: 'x_step', type: 'u32' },
        ...steps,
      ],
      workgroupSize: WORKGROUP,
      enables: type === 'f16' ? ['f16'] : undefined,
      body: `if (index >= p.n) { return; }
${code}
var sum = ${scalar}(0);
for (var k = 0u; k < p.length; k++) {
  if (picks[at_picks + k * p.picks_step] == at_place) { sum += ${load(type, 'x[at_x + k * p.x_step]')}; }
}
y[index] = ${store(type, 'sum')};`,
    };
    cache.set(key, kernel);
  }
  return [
    {
      kernel,
      buffers: [index.buffer, x.buffer, y.buffer],
      params: [
        n,
        numel(index.shape) === 0 ? 0 : index.shape[dim],
        index.strides[dim],
        x.strides[dim],
        ...offsetsValues(space, [index.offset, x.offset, 0]),
      ],
      workgroups: workgroups(n),
    },
  ];
}
