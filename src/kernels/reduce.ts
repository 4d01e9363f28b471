/**
 * Access pattern: every output element from all input elements along some dims.
 *
 * The input is walked as (kept dims) × (reduced dims), any strides. A reduction runs as one invocation per output
 * ('row') or one workgroup per output with a tree in shared memory ('tree'). Long reductions into few outputs are cut
 * into blocks first: one dispatch reduces every block into a partial result, a second one joins the partial results.
 * The order of additions depends on shapes alone: results repeat bit for bit.
 *
 * Reads every input element once; writes one element per output and, when cut, two partial results per block.
 */
import { type Dispatch, type Kernel, type KernelCall, type WgslType, wgslType } from '../device/types.js';
import { numel } from '../tensor/shape.js';
import { unrolled } from './loop.js';
import { load, type ParamSpec, store, workgroups } from './pointwise.js';
import { planReduction, type ReduceSpace, reduceSpace } from './reduce-space.js';

export { type LineLoop, reduceHost, reduceSpace, sumHost } from './reduce-space.js';

/** The type that elements load as. */
export type Loaded = 'f32' | 'i32' | 'u32';

/** A reduction as WGSL expressions on an accumulator `acc` and a loaded element `v`. */
export interface ReduceTemplate<P = unknown> {
  readonly name: string;
  /** Type of the accumulator, given the type that elements load as: a scalar, or a vector of 2 or 3. */
  readonly accumulator: (loaded: Loaded) => string;
  /** Initial accumulator. */
  readonly init: (loaded: Loaded) => string;
  /**
   * New accumulator from `acc`, `v` and `r`, the row-major position along the reduced dims; `origin` is the element at
   * position 0.
   */
  readonly step: string | ((loaded: Loaded) => string);
  /** New accumulator from two, `acc` and `other`; `acc` covers the earlier positions or interleaved ones. */
  readonly merge: string;
  /** Result from `acc`; may read `p.count`, the number of reduced elements as f32. Default `acc`. */
  readonly finish?: string | ((loaded: Loaded) => string);
  readonly declarations?: string;
  /** Further parameters that the expressions read as `p.name`. */
  readonly params?: readonly ParamSpec[];
  readonly values?: (params: P) => readonly number[];
}

/** Invocations of a tree. */
const TREE = 128;

type Form = 'row' | 'tree';

/** A kernel function that reduces input 0 along `dims(params)` into output 0. */
export function reduce<P>(
  t: ReduceTemplate<P>,
  dims: (params: P, rank: number) => readonly number[],
): (call: KernelCall<P>) => Dispatch[] {
  const cache = new Map<string, Kernel>();
  const cached = (key: string, make: (key: string) => Kernel): Kernel => {
    let kernel = cache.get(key);
    if (!kernel) cache.set(key, (kernel = make(key)));
    return kernel;
  };
  return ({ inputs: [x], outputs: [y], params, target, scratch }) => {
    const space = reduceSpace(x.shape, x.strides, dims(params, x.shape.length));
    const outputs = numel(y.shape);
    const length = numel(x.shape) === 0 ? 0 : numel(space.redShape);
    const { form, blocks } = planReduction(space, outputs, length, target.kind);
    const from = wgslType(x.dtype);
    const to = wgslType(y.dtype);
    const shape = `${form}:${space.outShape.length}:${space.redShape.length}:${from}`;
    const values = t.values?.(params) ?? [];
    const chunk = Math.ceil(length / blocks);
    const walk = [outputs, length, length, x.offset, ...offsetValues(space), ...values];
    if (blocks === 1) {
      return [
        {
          kernel: cached(`${t.name}:${shape}:${to}`, (key) => whole(t, key, form, space, from, to)),
          buffers: [x.buffer, y.buffer],
          params: walk,
          workgroups: form === 'tree' ? outputs : workgroups(outputs),
        },
      ];
    }
    const { lanes } = accumulator(t, from);
    const partial = scratch(outputs * blocks * lanes * 4);
    const items = outputs * blocks;
    const joinForm: Form = target.kind === 'gpu' && blocks > 32 ? 'tree' : 'row';
    return [
      {
        kernel: cached(`${t.name}:part:${shape}`, (key) => part(t, key, form, space, from)),
        buffers: [x.buffer, partial],
        params: [...walk, items, chunk],
        workgroups: form === 'tree' ? items : workgroups(items),
      },
      {
        kernel: cached(`${t.name}:join:${joinForm}:${from}:${to}`, (key) => join(t, key, joinForm, from, to)),
        buffers: [partial, y.buffer],
        params: [outputs, blocks, length, ...values],
        workgroups: joinForm === 'tree' ? outputs : workgroups(outputs),
      },
    ];
  };
}

function offsetValues({ outShape, outStrides, redShape, redStrides }: ReduceSpace): number[] {
  const of = (shape: readonly number[], strides: readonly number[]): number[] =>
    shape.flatMap((size, d) => (d > 0 ? [size, strides[d]] : [strides[d]]));
  return [...of(outShape, outStrides), ...of(redShape, redStrides)];
}

function offsetCode(prefix: string, from: string, rank: number): { params: ParamSpec[]; code: string } {
  const params: ParamSpec[] = [];
  for (let d = 0; d < rank; d++) {
    if (d > 0) params.push({ name: `${prefix}_size${d}`, type: 'u32' });
    params.push({ name: `${prefix}_step${d}`, type: 'u32' });
  }
  if (rank === 1) return { params, code: `let ${prefix}_at = ${from} * p.${prefix}_step0;` };
  const lines = [`var ${prefix}_rest = ${from};`, `var ${prefix}_at = 0u;`];
  for (let d = rank - 1; d > 0; d--) {
    lines.push(
      `${prefix}_at += (${prefix}_rest % p.${prefix}_size${d}) * p.${prefix}_step${d}; ${prefix}_rest /= p.${prefix}_size${d};`,
    );
  }
  lines.push(`${prefix}_at += ${prefix}_rest * p.${prefix}_step0;`);
  return { params, code: lines.join(' ') };
}

function loadedType(from: WgslType): Loaded {
  return from === 'f16' ? 'f32' : from;
}

/** The accumulator as storage sees it: so many scalars of a type. */
function accumulator<P>(
  t: ReduceTemplate<P>,
  from: WgslType,
): { type: string; lanes: number; scalar: Loaded } {
  const type = t.accumulator(loadedType(from));
  const vector = /^vec([23])([fiu])$/.exec(type);
  if (!vector) return { type, lanes: 1, scalar: type as Loaded };
  return { type, lanes: Number(vector[1]), scalar: `${vector[2]}32` as Loaded };
}

/** The tree that merges `acc` of all invocations into that of invocation 0. */
function treeCode(merge: string): string {
  return `
shared_acc[local] = acc;
for (var half = ${TREE / 2}u; half > 0u; half /= 2u) {
  workgroupBarrier();
  if (local < half) { let other = shared_acc[local + half]; acc = ${merge}; shared_acc[local] = acc; }
}
if (local != 0u) { return; }`;
}

/** Declarations of a kernel in either form. */
function declarations<P>(t: ReduceTemplate<P>, form: Form, type: string): string {
  return `${t.declarations ?? ''}\n${form === 'tree' ? `var<workgroup> shared_acc: array<${type}, ${TREE}>;` : ''}`;
}

function finished<P>(t: ReduceTemplate<P>, from: WgslType, to: WgslType): string {
  const loaded = loadedType(from);
  const target = loadedType(to);
  const result = typeof t.finish === 'function' ? t.finish(loaded) : t.finish;
  if (result) return store(to, result);
  return store(to, target === t.accumulator(loaded) ? 'acc' : `${target}(acc)`);
}

/** The loop over positions `r` from `start` below `end`. */
function stepLoop<P>(
  t: ReduceTemplate<P>,
  from: WgslType,
  start: string,
  end: string,
  stride: number,
  red: string,
): string {
  const loaded = loadedType(from);
  const step = typeof t.step === 'function' ? t.step(loaded) : t.step;
  const origin = step.includes('origin') ? `let origin = ${load(from, 'x[base]')};` : '';
  const body = `${red} let v = ${load(from, 'x[base + red_at]')}; acc = ${step};`;
  return `
${origin}
var acc: ${t.accumulator(loaded)} = ${t.init(loaded)};
${unrolled('r', start, end, stride, body)}`;
}

const SIZES: readonly ParamSpec[] = [
  { name: 'outputs', type: 'u32' },
  { name: 'length', type: 'u32' },
  { name: 'count', type: 'f32' },
];

/** Input to output. */
function whole<P>(
  t: ReduceTemplate<P>,
  key: string,
  form: Form,
  space: ReduceSpace,
  from: WgslType,
  to: WgslType,
): Kernel {
  const tree = form === 'tree';
  const item = tree ? 'group' : 'index';
  const out = offsetCode('out', item, space.outShape.length);
  const red = offsetCode('red', 'r', space.redShape.length);
  const loop = stepLoop(t, from, tree ? 'local' : '0u', 'p.length', tree ? TREE : 1, red.code);
  return {
    key,
    bindings: [
      { name: 'x', type: from, access: 'read' },
      { name: 'y', type: to, access: 'read_write' },
    ],
    params: [...SIZES, { name: 'offset', type: 'u32' }, ...out.params, ...red.params, ...(t.params ?? [])],
    workgroupSize: tree ? TREE : 64,
    enables: from === 'f16' || to === 'f16' ? ['f16'] : undefined,
    declarations: declarations(t, form, t.accumulator(loadedType(from))),
    body: `
if (${item} >= p.outputs) { return; }
${out.code}
let base = p.offset + out_at;
${loop}
${tree ? treeCode(t.merge) : ''}
y[${item}] = ${finished(t, from, to)};`,
  };
}

/** Input to partial results [blocks, outputs]. */
function part<P>(t: ReduceTemplate<P>, key: string, form: Form, space: ReduceSpace, from: WgslType): Kernel {
  const tree = form === 'tree';
  const item = tree ? 'group' : 'index';
  const out = offsetCode('out', 'output', space.outShape.length);
  const red = offsetCode('red', 'r', space.redShape.length);
  const { type, lanes, scalar } = accumulator(t, from);
  const start = 'block * p.chunk';
  const loop = stepLoop(t, from, tree ? `${start} + local` : start, 'end', tree ? TREE : 1, red.code);
  const writes = Array.from({ length: lanes }, (_, k) =>
    lanes === 1 ? `part[${item}] = acc;` : `part[${item} * ${lanes}u + ${k}u] = acc[${k}];`,
  );
  return {
    key,
    bindings: [
      { name: 'x', type: from, access: 'read' },
      { name: 'part', type: scalar, access: 'read_write' },
    ],
    params: [
      ...SIZES,
      { name: 'offset', type: 'u32' },
      ...out.params,
      ...red.params,
      ...(t.params ?? []),
      { name: 'items', type: 'u32' },
      { name: 'chunk', type: 'u32' },
    ],
    workgroupSize: tree ? TREE : 64,
    enables: from === 'f16' ? ['f16'] : undefined,
    declarations: declarations(t, form, type),
    body: `
if (${item} >= p.items) { return; }
let block = ${item} / p.outputs;
let output = ${item} % p.outputs;
let end = min((block + 1u) * p.chunk, p.length);
${out.code}
let base = p.offset + out_at;
${loop}
${tree ? treeCode(t.merge) : ''}
${writes.join('\n')}`,
  };
}

/** Partial results [blocks, outputs] to output. */
function join<P>(t: ReduceTemplate<P>, key: string, form: Form, from: WgslType, to: WgslType): Kernel {
  const tree = form === 'tree';
  const item = tree ? 'group' : 'index';
  const { type, lanes, scalar } = accumulator(t, from);
  const at = `(b * p.outputs + ${item})`;
  const reads = Array.from({ length: lanes }, (_, k) => `part[${at} * ${lanes}u + ${k}u]`);
  const other = lanes === 1 ? `part[${at}]` : `${type}(${reads.join(', ')})`;
  return {
    key,
    bindings: [
      { name: 'part', type: scalar, access: 'read' },
      { name: 'y', type: to, access: 'read_write' },
    ],
    params: [
      { name: 'outputs', type: 'u32' },
      { name: 'blocks', type: 'u32' },
      { name: 'count', type: 'f32' },
      ...(t.params ?? []),
    ],
    workgroupSize: tree ? TREE : 64,
    enables: to === 'f16' ? ['f16'] : undefined,
    declarations: declarations(t, form, type),
    body: `
if (${item} >= p.outputs) { return; }
var acc: ${type} = ${t.init(loadedType(from))};
for (var b = ${tree ? 'local' : '0u'}; b < p.blocks; b += ${tree ? TREE : 1}u) {
  let other = ${other};
  acc = ${t.merge};
}
${tree ? treeCode(t.merge) : ''}
y[${item}] = ${finished(t, from, to)};`,
  };
}
