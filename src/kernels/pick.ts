/**
 * Access pattern: elements chosen along one dim of [outer, n, inner] by an index tensor [outer, k, inner], and back.
 * Contiguous. Reads and writes each element once.
 */
import { type Dispatch, type Kernel, type KernelCall, type WgslType, wgslType } from '../device/types.js';
import { numel } from '../tensor/shape.js';
import { workgroups } from './pointwise.js';
import { lineSpace } from './scan.js';

const kernels = new Map<string, Kernel>();

function cached(key: string, make: () => Omit<Kernel, 'key' | 'workgroupSize'>): Kernel {
  let kernel = kernels.get(key);
  if (!kernel) kernels.set(key, (kernel = { key, workgroupSize: 64, ...make() }));
  return kernel;
}

const u32 = (name: string) => ({ name, type: 'u32' }) as const;

/** Where element `index` of [outer, k, inner] points to in [outer, n, inner]. */
const TARGET = '(index / (p.k * p.inner) * p.n + u32(at[p.at_offset + index])) * p.inner + index % p.inner';

function copyKernel(key: string, type: WgslType, to: string, from: string): Kernel {
  return cached(`${key}:${type}`, () => ({
    bindings: [
      { name: 'x', type, access: 'read' },
      { name: 'at', type: 'i32', access: 'read' },
      { name: 'y', type, access: 'read_write' },
    ],
    params: ['items', 'k', 'n', 'inner', 'x_offset', 'at_offset'].map(u32),
    enables: type === 'f16' ? ['f16'] : undefined,
    body: `if (index >= p.items) { return; }\ny[${to}] = x[p.x_offset + ${from}];`,
  }));
}

/** y[o, j, i] = x[o, at[o, j, i], i] */
export function pickKernel({
  inputs: [x, at],
  outputs: [y],
  params,
}: KernelCall<{ dim: number }>): Dispatch[] {
  const { n, inner } = lineSpace(x.shape, params.dim);
  const items = numel(y.shape);
  return [
    {
      kernel: copyKernel('pick', wgslType(x.dtype), 'index', TARGET),
      buffers: [x.buffer, at.buffer, y.buffer],
      params: [items, at.shape[params.dim], n, inner, x.offset, at.offset],
      workgroups: workgroups(items),
    },
  ];
}

/** y[o, at[o, j, i], i] = g[o, j, i], zeros elsewhere; the positions of a line are distinct. */
export function placeKernel({
  inputs: [g, at],
  outputs: [y],
  params,
}: KernelCall<{ dim: number }>): Dispatch[] {
  const { n, inner } = lineSpace(y.shape, params.dim);
  const type = wgslType(y.dtype);
  const items = numel(g.shape);
  const all = numel(y.shape);
  const zero = cached(`place:zero:${type}`, () => ({
    bindings: [{ name: 'y', type, access: 'read_write' }],
    params: [u32('n')],
    enables: type === 'f16' ? ['f16'] : undefined,
    body: `if (index >= p.n) { return; }\ny[index] = ${type}(0);`,
  }));
  return [
    { kernel: zero, buffers: [y.buffer], params: [all], workgroups: workgroups(all) },
    {
      kernel: copyKernel('place', type, TARGET, 'index'),
      buffers: [g.buffer, at.buffer, y.buffer],
      params: [items, at.shape[params.dim], n, inner, g.offset, at.offset],
      workgroups: workgroups(items),
    },
  ];
}
