/**
 * Access pattern: every output element from all input elements along some dims.
 *
 * The input is walked as (kept dims) × (reduced dims), any strides. Short reductions, and all of them on software
 * adapters when there are outputs enough to keep the cores busy, run one invocation per output; others one workgroup
 * per output with a tree in shared memory. The order of additions depends on shapes alone: results repeat bit for bit.
 */
import {
  type Dispatch,
  type HostArray,
  type Kernel,
  type KernelCall,
  type WgslType,
  wgslType,
} from '../device/types.js';
import { contiguousStrides, numel } from '../tensor/shape.js';
import { collapse } from './collapse.js';
import { load, type ParamSpec, store, workgroups } from './pointwise.js';

/** A reduction as WGSL expressions on an accumulator `acc` and a loaded element `v`. */
export interface ReduceTemplate {
  readonly name: string;
  /** Type of the accumulator, given the type that elements load as. */
  readonly accumulator: (loaded: 'f32' | 'i32' | 'u32') => string;
  /** Initial accumulator. */
  readonly init: (loaded: 'f32' | 'i32' | 'u32') => string;
  /** New accumulator from `acc`, `v` and `r`, the position along the reduced dims. */
  readonly step: string;
  /** New accumulator from two, `acc` and `other`; `acc` covers the earlier positions or interleaved ones. */
  readonly merge: string;
  /** Result from `acc`; may read `p.count`, the number of reduced elements as f32. Default `acc`. */
  readonly finish?: string;
  readonly declarations?: string;
}

/** A strided input split into the dims that stay and the dims that go. */
export interface ReduceSpace {
  readonly outShape: readonly number[];
  readonly outStrides: readonly number[];
  readonly redShape: readonly number[];
  readonly redStrides: readonly number[];
}

/** Splits a view at `dims` and merges neighbours on both sides. */
export function reduceSpace(
  shape: readonly number[],
  strides: readonly number[],
  dims: readonly number[],
): ReduceSpace {
  const pick = (want: boolean): { shape: readonly number[]; strides: readonly number[] } => {
    const at = shape.map((_, d) => d).filter((d) => dims.includes(d) === want);
    const part = at.map((d) => shape[d]);
    const merged = collapse(part, [{ shape: part, strides: at.map((d) => strides[d]) }]);
    return { shape: merged.shape, strides: merged.strides[0] };
  };
  const out = pick(false);
  const red = pick(true);
  return { outShape: out.shape, outStrides: out.strides, redShape: red.shape, redStrides: red.strides };
}

const TREE = 128;

function offsetCode(prefix: string, from: string, rank: number): { params: ParamSpec[]; code: string } {
  const params: ParamSpec[] = [];
  for (let d = 0; d < rank; d++) {
    if (d > 0) params.push({ name: `${prefix}_size${d}`, type: 'u32' });
    params.push({ name: `${prefix}_step${d}`, type: 'u32' });
  }
  const lines = [`var ${prefix}_rest = ${from};`, `var ${prefix}_at = 0u;`];
  for (let d = rank - 1; d > 0; d--) {
    lines.push(
      `${prefix}_at += (${prefix}_rest % p.${prefix}_size${d}) * p.${prefix}_step${d}; ${prefix}_rest /= p.${prefix}_size${d};`,
    );
  }
  lines.push(`${prefix}_at += ${prefix}_rest * p.${prefix}_step0;`);
  return { params, code: lines.join(' ') };
}

function offsetValues(shape: readonly number[], strides: readonly number[]): number[] {
  return shape.flatMap((size, d) => (d > 0 ? [size, strides[d]] : [strides[d]]));
}

/** A kernel function that reduces input 0 along `dims(params)` into output 0. */
export function reduce<P>(
  t: ReduceTemplate,
  dims: (params: P, rank: number) => readonly number[],
): (call: KernelCall<P>) => Dispatch[] {
  const cache = new Map<string, Kernel>();
  return ({ inputs: [x], outputs: [y], params, target }) => {
    const space = reduceSpace(x.shape, x.strides, dims(params, x.shape.length));
    const outputs = numel(y.shape);
    const length = x.shape.length === 0 ? 1 : numel(space.redShape);
    const tree =
      length > 32 && outputs < (target.kind === 'software' ? 64 : 65536) && outputs * 32 < length * 1024;
    const from = wgslType(x.dtype);
    const to = wgslType(y.dtype);
    const key = `${t.name}:${tree ? 'tree' : 'row'}:${space.outShape.length}:${space.redShape.length}:${from}:${to}`;
    let kernel = cache.get(key);
    if (!kernel)
      cache.set(key, (kernel = build(t, key, tree, space.outShape.length, space.redShape.length, from, to)));
    const empty = numel(x.shape) === 0 ? 0 : length;
    return [
      {
        kernel,
        buffers: [x.buffer, y.buffer],
        params: [
          outputs,
          empty,
          empty,
          x.offset,
          ...offsetValues(space.outShape, space.outStrides),
          ...offsetValues(space.redShape, space.redStrides),
        ],
        workgroups: tree ? outputs : workgroups(outputs),
      },
    ];
  };
}

function build(
  t: ReduceTemplate,
  key: string,
  tree: boolean,
  outRank: number,
  redRank: number,
  from: WgslType,
  to: WgslType,
): Kernel {
  const loaded = from === 'f16' ? 'f32' : from;
  const acc = t.accumulator(loaded);
  const out = offsetCode('out', tree ? 'group' : 'index', outRank);
  const red = offsetCode('red', 'r', redRank);
  const finish = store(to, t.finish ?? 'acc');
  const loop = (start: string, step: string) => `
var acc: ${acc} = ${t.init(loaded)};
for (var r = ${start}; r < p.length; r += ${step}) {
  ${red.code}
  let v = ${load(from, 'x[base + red_at]')};
  acc = ${t.step};
}`;
  const treeBody = `
if (group >= p.outputs) { return; }
${out.code}
let base = p.offset + out_at;
${loop('local', `${TREE}u`)}
partial[local] = acc;
for (var half = ${TREE / 2}u; half > 0u; half /= 2u) {
  workgroupBarrier();
  if (local < half) { let other = partial[local + half]; acc = ${t.merge}; partial[local] = acc; }
}
if (local == 0u) { y[group] = ${finish}; }`;
  const rowBody = `
if (index >= p.outputs) { return; }
${out.code}
let base = p.offset + out_at;
${loop('0u', '1u')}
y[index] = ${finish};`;
  return {
    key,
    bindings: [
      { name: 'x', type: from, access: 'read' },
      { name: 'y', type: to, access: 'read_write' },
    ],
    params: [
      { name: 'outputs', type: 'u32' },
      { name: 'length', type: 'u32' },
      { name: 'count', type: 'f32' },
      { name: 'offset', type: 'u32' },
      ...out.params,
      ...red.params,
    ],
    workgroupSize: tree ? TREE : 64,
    enables: from === 'f16' || to === 'f16' ? ['f16'] : undefined,
    declarations: `${t.declarations ?? ''}\n${tree ? `var<workgroup> partial: array<${acc}, ${TREE}>;` : ''}`,
    body: tree ? treeBody : rowBody,
  };
}

/**
 * Host side: calls `visit(output index, offset of its first element)` for every output; `rowOffsets` gives the offsets
 * of the reduced elements relative to it.
 */
export function reduceHost(
  x: HostArray,
  dims: readonly number[],
  visit: (out: number, base: number, offsets: Int32Array) => void,
): void {
  const space = reduceSpace(x.shape, x.strides, dims);
  const offsets = offsetsOf(space.redShape, space.redStrides, numel(x.shape) === 0);
  const bases = offsetsOf(space.outShape, space.outStrides, false);
  const outputs = x.shape.filter((_, d) => !dims.includes(d)).reduce((n, s) => n * s, 1);
  for (let i = 0; i < outputs; i++) visit(i, x.offset + bases[i], offsets);
}

function offsetsOf(shape: readonly number[], strides: readonly number[], empty: boolean): Int32Array {
  if (empty) return new Int32Array(0);
  const row = contiguousStrides(shape);
  const out = new Int32Array(numel(shape));
  for (let i = 0; i < out.length; i++) {
    let at = 0;
    let rest = i;
    for (let d = 0; d < shape.length; d++) {
      const c = Math.floor(rest / row[d]);
      rest -= c * row[d];
      at += c * strides[d];
    }
    out[i] = at;
  }
  return out;
}
