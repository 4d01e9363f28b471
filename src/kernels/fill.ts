/** Access pattern: no inputs; every element of a contiguous output from its position. Writes every element once. */
import {
  type Dispatch,
  type HostArray,
  type Kernel,
  type KernelCall,
  type Program,
  type View,
  type WgslType,
  wgslType,
} from '../device/types.js';
import { numel } from '../tensor/shape.js';
import { type ParamSpec, store, WORKGROUP, workgroups } from './pointwise.js';

/** The type that a storage type computes in, and that its scalar parameters have. */
export function scalarType(type: WgslType): 'f32' | 'i32' | 'u32' {
  return type === 'f16' ? 'f32' : type;
}

/** An output computed from the element's position `i` (u32) and `p.name`. */
export interface FillTemplate<P> {
  /** Unique among all kernels. */
  readonly name: string;
  /** Host side: writes the elements at `offset` to `offset + n`. */
  host(data: HostArray['data'], offset: number, n: number, params: P, y: HostArray): void;
  /** Parameters and expression for a type of arithmetic. */
  readonly params: (type: 'f32' | 'i32' | 'u32') => readonly ParamSpec[];
  readonly wgsl: (type: 'f32' | 'i32' | 'u32') => string;
  readonly values: (params: P, y: View) => readonly number[];
}

/** A program without inputs; its output may lie at any offset. */
export function fill<P>(t: FillTemplate<P>): Program<P> {
  const cache = new Map<WgslType, Kernel>();
  return {
    name: t.name,
    host: (_, [y], params) => t.host(y.data, y.offset, numel(y.shape), params, y),
    kernel({ outputs: [y], params }: KernelCall<P>): Dispatch[] {
      const type = wgslType(y.dtype);
      let kernel = cache.get(type);
      if (!kernel) {
        const scalar = scalarType(type);
        kernel = {
          key: `fill:${t.name}:${type}`,
          bindings: [{ name: 'y', type, access: 'read_write' }],
          params: [{ name: 'n', type: 'u32' }, { name: 'offset', type: 'u32' }, ...t.params(scalar)],
          workgroupSize: WORKGROUP,
          enables: type === 'f16' ? ['f16'] : undefined,
          body: `if (index >= p.n) { return; }\nlet i = index;\ny[p.offset + i] = ${store(type, t.wgsl(scalar))};`,
        };
        cache.set(type, kernel);
      }
      const n = numel(y.shape);
      return [
        {
          kernel,
          buffers: [y.buffer],
          params: [n, y.offset, ...t.values(params, y)],
          workgroups: workgroups(n),
        },
      ];
    },
  };
}

/** Every element is one value. */
export const fillProgram: Program<number> = fill<number>({
  name: 'full',
  host: (data, offset, n, value) => data.fill(value, offset, offset + n),
  params: (type) => [{ name: 'value', type }],
  wgsl: () => 'p.value',
  values: (value) => [value],
});

/** The dispatch that fills a contiguous view with one value. */
export function fillDispatch(view: View, value: number): Dispatch {
  const call = { inputs: [], outputs: [view], params: value } as unknown as KernelCall<number>;
  return fillProgram.kernel(call)[0];
}

/** yᵢ = start + i·step. Integers wrap and are exact; floats are rounded once per operation. */
export const arangeProgram: Program<{ start: number; step: number }> = fill({
  name: 'arange',
  host(data, offset, n, { start, step }) {
    for (let i = 0; i < n; i++) data[offset + i] = start + i * step;
  },
  params: (type) => [
    { name: 'start', type },
    { name: 'step', type },
  ],
  wgsl: (type) => `p.start + ${type}(i) * p.step`,
  values: ({ start, step }) => [start, step],
});

/** `steps` values from start to end, both included; counted from the nearer end, so that both are exact. */
export const linspaceProgram: Program<{ start: number; end: number }> = fill({
  name: 'linspace',
  host(data, offset, n, { start, end }) {
    const step = n > 1 ? (end - start) / (n - 1) : 0;
    for (let i = 0; i < n; i++) {
      data[offset + i] = i < n / 2 ? start + i * step : end - (n - 1 - i) * step;
    }
  },
  params: () => [
    { name: 'start', type: 'f32' },
    { name: 'end', type: 'f32' },
    { name: 'step', type: 'f32' },
  ],
  wgsl: (type) =>
    `${type}(select(p.end - f32(p.n - 1u - i) * p.step, p.start + f32(i) * p.step, 2u * i < p.n))`,
  values: ({ start, end }, y) => {
    const n = numel(y.shape);
    return [start, end, n > 1 ? (end - start) / (n - 1) : 0];
  },
});

/** Ones where row = column, else zeros; `y` is a matrix. */
export const eyeProgram: Program<null> = fill<null>({
  name: 'eye',
  host(data, offset, n, _, y) {
    data.fill(0, offset, offset + n);
    const cols = y.shape[1];
    for (let i = 0; i < Math.min(y.shape[0], cols); i++) data[offset + i * cols + i] = 1;
  },
  params: () => [{ name: 'cols', type: 'u32' }],
  wgsl: (type) => `select(${type}(0), ${type}(1), i / p.cols == i % p.cols)`,
  values: (_, y) => [y.shape[1]],
});
