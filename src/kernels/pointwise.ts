/** Access pattern: every output element from the elements at the same place of one to three broadcast inputs. */
import {
  type Dispatch,
  type HostArray,
  type Kernel,
  type KernelCall,
  type KernelTarget,
  type WgslType,
  wgslType,
} from '../device/types.js';
import { numel } from '../tensor/shape.js';
import { type Collapsed, collapse, forEachRow } from './collapse.js';

export const WORKGROUP = 64;

/** Workgroups that cover `n` invocations. */
export function workgroups(n: number, size = WORKGROUP): number {
  return Math.ceil(n / size);
}

/** Elements that a workgroup of an elementwise kernel takes, each invocation several of them, a workgroup's width apart. */
const SPAN = 1024;

/** Invocations of such a workgroup: on a software adapter they share a core, and what costs is the workgroup. */
export function spanWidth(target: KernelTarget): number {
  return target.kind === 'software' ? 64 : 256;
}

/** Workgroups that cover `n` elements so. */
export function spans(n: number): number {
  return Math.ceil(n / SPAN);
}

/** WGSL that runs `code`, which reads `index`, for the elements of a workgroup below `p.n`. */
export function overSpan(width: number, code: string): string {
  return `let span_end = min((group + 1u) * ${SPAN}u, p.n);
for (var element = group * ${SPAN}u + local; element < span_end; element += ${width}u) {
let index = element;
${code}
}`;
}

export type ParamSpec = { readonly name: string; readonly type: 'u32' | 'i32' | 'f32' };

export interface PointwiseTemplate<P> {
  /** Unique among all kernels. */
  readonly name: string;
  /** WGSL expression in `a`, `b`, `c` (f32 for floats, i32, u32) and `p.name`. */
  readonly expr: string | ((types: readonly WgslType[]) => string);
  readonly params?: readonly ParamSpec[];
  readonly values?: (params: P) => readonly number[];
  readonly declarations?: string;
}

const NAMES = ['a', 'b', 'c'] as const;

/** Loads a storage element as the type that arithmetic runs in. */
export function load(type: WgslType, element: string): string {
  return type === 'f16' ? `f32(${element})` : element;
}

/** Converts an arithmetic result to a storage element. */
export function store(type: WgslType, value: string): string {
  return type === 'f16' ? `f16(${value})` : value;
}

/** WGSL that turns `index` into offsets `at_a`, `at_b`, … of a collapsed space of `rank` dims, and the parameters it reads. */
export function offsetsCode(rank: number, names: readonly string[]): { params: ParamSpec[]; code: string } {
  const params: ParamSpec[] = [];
  for (let d = 1; d < rank; d++) params.push({ name: `size${d}`, type: 'u32' });
  for (const name of names) {
    params.push({ name: `${name}_offset`, type: 'u32' });
    for (let d = 0; d < rank; d++) params.push({ name: `${name}_step${d}`, type: 'u32' });
  }
  const lines = ['var rest = index;'];
  for (let d = rank - 1; d >= 0; d--) {
    lines.push(d > 0 ? `let i${d} = rest % p.size${d}; rest = rest / p.size${d};` : 'let i0 = rest;');
  }
  for (const name of names) {
    const terms = Array.from({ length: rank }, (_, d) => `i${d} * p.${name}_step${d}`);
    lines.push(`let at_${name} = p.${name}_offset + ${terms.join(' + ')};`);
  }
  return { params, code: lines.join('\n') };
}

/** Values of `offsetsCode`'s parameters. */
export function offsetsValues(space: Collapsed, offsets: readonly number[]): number[] {
  const values = space.shape.slice(1);
  for (let v = 0; v < offsets.length; v++) values.push(offsets[v], ...space.strides[v]);
  return values;
}

/**
 * A kernel function for a pointwise expression. Specialised on dtypes and on the rank left after merging dims, never on
 * sizes. Reads every input element once per output element that uses it, writes each output element once.
 */
export function pointwise<P>(template: PointwiseTemplate<P>): (call: KernelCall<P>) => Dispatch[] {
  const cache = new Map<string, Kernel>();
  return ({ inputs, outputs, params, target }) => {
    const y = outputs[0];
    const n = numel(y.shape);
    const space = collapse(y.shape, inputs);
    const types = inputs.map((v) => wgslType(v.dtype));
    const out = wgslType(y.dtype);
    const rank = space.shape.length;
    const width = spanWidth(target);
    const key = `${template.name}:${rank}:${types}:${out}:${width}`;
    let kernel = cache.get(key);
    if (!kernel) cache.set(key, (kernel = build(template, key, rank, types, out, width)));
    const values = [
      n,
      ...offsetsValues(
        space,
        inputs.map((v) => v.offset),
      ),
      ...(template.values?.(params) ?? []),
    ];
    return [
      {
        kernel,
        buffers: [...inputs.map((v) => v.buffer), y.buffer],
        params: values,
        workgroups: spans(n),
      },
    ];
  };
}

function build<P>(
  t: PointwiseTemplate<P>,
  key: string,
  rank: number,
  types: readonly WgslType[],
  out: WgslType,
  width: number,
): Kernel {
  const names = NAMES.slice(0, types.length);
  const { params, code } = offsetsCode(rank, names);
  const loads = names.map((name, i) => `let ${name} = ${load(types[i], `in_${name}[at_${name}]`)};`);
  const expr = typeof t.expr === 'function' ? t.expr(types) : t.expr;
  return {
    key,
    bindings: [
      ...names.map((name, i) => ({ name: `in_${name}`, type: types[i], access: 'read' as const })),
      { name: 'y', type: out, access: 'read_write' },
    ],
    params: [{ name: 'n', type: 'u32' }, ...params, ...(t.params ?? [])],
    workgroupSize: width,
    declarations: t.declarations,
    enables: [...types, out].includes('f16') ? ['f16'] : undefined,
    body: overSpan(width, `${code}\n${loads.join('\n')}\ny[index] = ${store(out, expr)};`),
  };
}

type Data = HostArray['data'];

/** The inner loop of a unary op: y[yo + i] = f(a[ao + i·as]) for i < n. */
export type UnaryLoop<P> = (
  n: number,
  y: Data,
  yo: number,
  a: Data,
  ao: number,
  as: number,
  params: P,
) => void;
export type BinaryLoop<P> = (
  n: number,
  y: Data,
  yo: number,
  a: Data,
  ao: number,
  as: number,
  b: Data,
  bo: number,
  bs: number,
  params: P,
) => void;
export type TernaryLoop<P> = (
  n: number,
  y: Data,
  yo: number,
  a: Data,
  ao: number,
  as: number,
  b: Data,
  bo: number,
  bs: number,
  c: Data,
  co: number,
  cs: number,
  params: P,
) => void;

/** Host implementations from inner loops: the loop runs over the innermost merged dim. */
export function unaryHost<P>(loop: UnaryLoop<P>) {
  return ([a]: readonly HostArray[], [y]: readonly HostArray[], params: P): void => {
    const space = collapse(y.shape, [a]);
    const inner = space.shape.length - 1;
    forEachRow(space, [a.offset], (at, [ao]) =>
      loop(space.shape[inner], y.data, at, a.data, ao, space.strides[0][inner], params),
    );
  };
}

export function binaryHost<P>(loop: BinaryLoop<P>) {
  return ([a, b]: readonly HostArray[], [y]: readonly HostArray[], params: P): void => {
    const space = collapse(y.shape, [a, b]);
    const inner = space.shape.length - 1;
    const [sa, sb] = space.strides;
    forEachRow(space, [a.offset, b.offset], (at, [ao, bo]) =>
      loop(space.shape[inner], y.data, at, a.data, ao, sa[inner], b.data, bo, sb[inner], params),
    );
  };
}

export function ternaryHost<P>(loop: TernaryLoop<P>) {
  return ([a, b, c]: readonly HostArray[], [y]: readonly HostArray[], params: P): void => {
    const space = collapse(y.shape, [a, b, c]);
    const inner = space.shape.length - 1;
    const [sa, sb, sc] = space.strides;
    forEachRow(space, [a.offset, b.offset, c.offset], (at, [ao, bo, co]) =>
      loop(
        space.shape[inner],
        y.data,
        at,
        a.data,
        ao,
        sa[inner],
        b.data,
        bo,
        sb[inner],
        c.data,
        co,
        sc[inner],
        params,
      ),
    );
  };
}
