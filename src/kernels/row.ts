/**
 * Access pattern: every row of [outer, n, inner] (contiguous, the row along n) reduced to a few numbers and then written.
 *
 * A template is a list of steps: folds along the row, statements between them, and loops that write. Rows that lie
 * together and whose length is a multiple of 4 are walked as vectors: on SwiftShader, for which a load costs the same
 * whatever its width, that is three times as fast. Small ones are not where each place that reads takes long to compile.
 *
 * A row is one invocation's ('line') or a workgroup's with a tree over its invocations ('tree'). Software adapters pay for
 * barriers and get lines unless rows are few and long; GPUs get lines only where rows are short or their neighbours lie side by
 * side, and trees over subgroups where the adapter has them. Sizes are parameters.
 */
import {
  type Dispatch,
  type Kernel,
  type KernelTarget,
  type View,
  type WgslType,
  wgslType,
} from '../device/types.js';
import { unrolled } from './loop.js';
import { load, type ParamSpec, store } from './pointwise.js';

/**
 * How a buffer is addressed: element i of the row; one number per row (or several, [k, rows]); one number per position i,
 * shared by all rows; or as the template says.
 */
export type RowKind = 'row' | 'stat' | 'column' | 'other';

/**
 * Numbers gathered along the row. In a loop, each of `vars` is called `name_v` and is as wide as what `read` gives; behind
 * it, `name` is the scalar result.
 */
export interface Fold {
  /** Scalar types and initial values; 'turns' is an f32 that is the same in all lanes of a vector. */
  readonly vars: Readonly<Record<string, readonly [type: 'f32' | 'u32' | 'turns', init: string]>>;
  /** Statements that update every `name_v`. */
  readonly step: string;
  /** Statements that update every scalar `name` by `other_name`. */
  readonly merge: string;
}

/** A loop over the positions `i` of the row. */
export interface Each {
  readonly each: string;
}

export type RowStep = string | Fold | Each;

/** What a template writes its steps with. */
export interface RowCode {
  /** The type of what `read` gives in loops. */
  readonly type: 'f32' | 'vec4f';
  /** Positions that a turn of a loop covers: 4 for vectors. */
  readonly lanes: 1 | 4;
  /** The element (elements) of an input at position i of the row; for a 'stat' the k-th number of the row. */
  read(name: string, k?: number): string;
  /** Writes an element (elements) of an output; for a 'stat' once per row. */
  write(name: string, value: string, k?: number): string;
  /** The element of an input at an index of the template's own, behind the input's offset; for 'other'. */
  at(name: string, index: string): string;
  /** The number at position `i` of the row, of a 'row' or 'column' operand. */
  element(name: string, i: string): string;
  /** Replaces the number at position `i` of the row, behind the loops; runs in the invocation that has written it. */
  patch(name: string, i: string, value: string): string;
  has(name: string): boolean;
}

export interface RowTemplate {
  /** Unique among all kernels. */
  readonly name: string;
  readonly operands: Readonly<Record<string, RowKind>>;
  steps(code: RowCode): readonly RowStep[];
  readonly params?: readonly ParamSpec[];
  readonly declarations?: string | ((code: RowCode) => string);
  /** There is nothing to share: one invocation per row on every adapter. */
  readonly line?: boolean;
}

/** Rows of a call. */
export interface RowSpace {
  readonly outer: number;
  readonly n: number;
  readonly inner: number;
}

/** A fold that sums. */
export function total(name: string, value: string): Fold {
  return {
    vars: { [name]: ['f32', '0.0'] },
    step: `${name}_v += ${value};`,
    merge: `${name} += other_${name};`,
  };
}

/** Two folds in one loop. */
export function together(...folds: readonly Fold[]): Fold {
  return {
    vars: Object.assign({}, ...folds.map((f) => f.vars)),
    step: folds.map((f) => f.step).join('\n'),
    merge: folds.map((f) => f.merge).join('\n'),
  };
}

/** How a template runs. */
export interface RowForm {
  /** A workgroup shares a row. */
  readonly tree: boolean;
  /** Invocations of a workgroup. */
  readonly size: number;
  readonly subgroups: boolean;
  readonly lanes: 1 | 4;
  /** Loops over single elements take four in a turn. */
  readonly unroll: boolean;
}

/** Elements up to which places that read are worth saving, on adapters that compile them slowly. */
const SMALL = 16384;

/** Elements per row from which a workgroup of a software adapter shares one, where rows are too few for its cores' lanes. */
const LONG = 512;

export function chooseForm({ outer, n, inner }: RowSpace, target: KernelTarget, vectors: boolean): RowForm {
  const rows = outer * inner;
  const { subgroups, dearPlaces = false } = target;
  const lanes = vectors && !(dearPlaces && rows * n <= SMALL) ? 4 : 1;
  const unroll = !dearPlaces;
  if (target.kind === 'software') {
    if (rows < 16 && inner === 1 && n >= LONG)
      return { tree: true, size: 8, subgroups: false, lanes, unroll };
    // Few rows in small workgroups: each runs on one core.
    return { tree: false, size: rows >= 1024 ? 64 : 8, subgroups: false, lanes, unroll };
  }
  if (inner === 1 ? n <= 16 : n <= 64 || rows >= 8192) {
    return { tree: false, size: 64, subgroups: false, lanes, unroll };
  }
  const turns = n / lanes;
  return { tree: true, size: turns <= 256 ? 32 : turns <= 1024 ? 128 : 256, subgroups, lanes, unroll };
}

/** A form in the key of a kernel. */
export function formKey({ tree, size, subgroups, lanes, unroll }: RowForm): string {
  const way = tree ? (subgroups ? 'subgroups' : 'tree') : 'line';
  return `${way}${size}x${lanes}${lanes === 1 && !tree && !unroll ? ', not unrolled' : ''}`;
}

const kernels = new Map<string, Kernel>();

/** The dispatch of a template: `operands` by name, those that are absent left out; `outputs` names what is written. */
export function rowDispatch(
  t: RowTemplate,
  space: RowSpace,
  target: KernelTarget,
  inputs: Readonly<Record<string, View | undefined>>,
  outputs: Readonly<Record<string, View>>,
  values: readonly number[] = [],
): Dispatch[] {
  const rows = space.outer * space.inner;
  const ins = Object.entries(inputs).filter((e): e is [string, View] => e[1] !== undefined);
  const outs = Object.entries(outputs);
  const wide = (name: string) => t.operands[name] === 'row' || t.operands[name] === 'column';
  const vectors =
    space.inner === 1 && space.n % 4 === 0 && ins.every(([name, v]) => !wide(name) || v.offset % 4 === 0);
  const form: RowForm = t.line
    ? { tree: false, size: 64, subgroups: false, lanes: vectors ? 4 : 1, unroll: true }
    : chooseForm(space, target, vectors);
  const types = [...ins, ...outs].map(([name, v]) => `${name}=${wgslType(v.dtype)}`);
  const key = `${t.name}:${formKey(form)}:${types}`;
  let kernel = kernels.get(key);
  if (!kernel) kernels.set(key, (kernel = build(t, key, form, ins, outs)));
  return [
    {
      kernel,
      buffers: [...ins, ...outs].map(([, v]) => v.buffer),
      params: [
        rows,
        space.n,
        space.inner,
        ...ins.map(([name, v]) => (wide(name) ? v.offset / form.lanes : v.offset)),
        ...values,
      ],
      workgroups: space.n === 0 ? 0 : form.tree ? rows : Math.ceil(rows / form.size),
    },
  ];
}

type Typed = readonly [string, { readonly dtype: View['dtype'] }];

/** The access to operands that lie as `rowDispatch` binds them. `row`, `base` and, in loops, `i` are in scope. */
export function rowCode(
  operands: Readonly<Record<string, RowKind>>,
  { tree, size, lanes }: RowForm,
  ins: readonly Typed[],
  outs: readonly Typed[],
): RowCode {
  const typeOf = new Map<string, WgslType>([...ins, ...outs].map(([name, v]) => [name, wgslType(v.dtype)]));
  const inputNames = new Set(ins.map(([name]) => name));
  const vector = (name: string) => lanes === 4 && operands[name] !== 'stat' && operands[name] !== 'other';
  const place = (name: string, at: string) =>
    `${name}[${inputNames.has(name) ? `p.${name}_offset + ` : ''}${at}]`;
  const position = (name: string, i: string) => (operands[name] === 'row' ? `base + ${i} * p.inner` : i);
  const whole = (name: string, k = 0): string => {
    if (operands[name] === 'stat') return place(name, k === 0 ? 'row' : `row + ${k}u * p.rows`);
    if (lanes === 4) return place(name, operands[name] === 'row' ? 'base + i' : 'i');
    return place(name, position(name, 'i'));
  };
  const one = (name: string, i: string): string => {
    if (lanes === 1) return place(name, position(name, i));
    return `${place(name, operands[name] === 'row' ? `base + ${i} / 4u` : `${i} / 4u`)}[${i} % 4u]`;
  };
  const owner = tree ? `local == ${lanes === 4 ? 'POSITION / 4u' : 'POSITION'} % ${size}u` : '';
  return {
    type: lanes === 4 ? 'vec4f' : 'f32',
    lanes,
    has: (name) => typeOf.has(name),
    read: (name, k) => (vector(name) ? wideLoad : load)(typeOf.get(name)!, whole(name, k)),
    write(name, value, k) {
      const element = whole(name, k);
      const statement = `${element} = ${(vector(name) ? wideStore : store)(typeOf.get(name)!, value)};`;
      return operands[name] === 'stat' && tree ? `if (local == 0u) { ${statement} }` : statement;
    },
    at: (name, index) => load(typeOf.get(name)!, place(name, index)),
    element: (name, i) => load(typeOf.get(name)!, one(name, i)),
    patch(name, i, value) {
      const statement = `${one(name, i)} = ${store(typeOf.get(name)!, value)};`;
      return tree ? `if (${owner.replace('POSITION', i)}) { ${statement} }` : statement;
    },
  };
}

function wideLoad(type: WgslType, element: string): string {
  return type === 'f16' ? `vec4f(${element})` : element;
}

function wideStore(type: WgslType, value: string): string {
  return type === 'f16' ? `vec4<f16>(${value})` : value;
}

/** The type that an operand is bound with. */
export function bindingType(
  kind: RowKind,
  type: WgslType,
  lanes: 1 | 4,
): WgslType | 'vec4<f32>' | 'vec4<f16>' {
  if (lanes === 1 || kind === 'stat' || kind === 'other') return type;
  return type === 'f16' ? 'vec4<f16>' : 'vec4<f32>';
}

function build(
  t: RowTemplate,
  key: string,
  form: RowForm,
  ins: readonly [string, View][],
  outs: readonly [string, View][],
): Kernel {
  const code = rowCode(t.operands, form, ins, outs);
  const bound = (access: 'read' | 'read_write') => (entry: [string, View]) => ({
    name: entry[0],
    type: bindingType(t.operands[entry[0]], wgslType(entry[1].dtype), form.lanes),
    access,
  });
  const { text, shared } = stepsCode(t.steps(code), form);
  const own = typeof t.declarations === 'function' ? t.declarations(code) : (t.declarations ?? '');
  const half = [...ins, ...outs].some(([, v]) => v.dtype === 'float16');
  return {
    key,
    bindings: [...ins.map(bound('read')), ...outs.map(bound('read_write'))],
    params: [
      { name: 'rows', type: 'u32' },
      { name: 'n', type: 'u32' },
      { name: 'inner', type: 'u32' },
      ...ins.map(([name]) => ({ name: `${name}_offset`, type: 'u32' as const })),
      ...(t.params ?? []),
    ],
    workgroupSize: form.size,
    enables: [...(half ? ['f16' as const] : []), ...(form.subgroups ? ['subgroups' as const] : [])],
    declarations: `${own}\n${shared}`,
    body: `
let row = ${form.tree ? 'group' : 'index'};
if (row >= p.rows) { return; }
${baseCode(form.lanes)}
${text}`,
  };
}

/** `turns` of a loop along the row and `base`, where it begins, in the units of its loads. */
export function baseCode(lanes: 1 | 4): string {
  return lanes === 4
    ? 'let turns = p.n / 4u; let base = row * turns;'
    : 'let turns = p.n; let base = row / p.inner * p.n * p.inner + row % p.inner;';
}

/** The text of a template's steps and the workgroup variables that they need. */
export function stepsCode(steps: readonly RowStep[], form: RowForm): { text: string; shared: string } {
  const shared: string[] = [];
  const text = steps.map((step) => {
    if (typeof step === 'string') return step;
    if ('each' in step) return loop(step.each, form);
    if (form.tree) {
      for (const [name, [type]] of Object.entries(step.vars)) {
        shared.push(`var<workgroup> shared_${name}: array<${scalar(type)}, ${form.size}>;`);
      }
    }
    return foldCode(step, form);
  });
  return { text: text.join('\n'), shared: shared.join('\n') };
}

function loop(body: string, { tree, size, lanes, unroll }: RowForm): string {
  if (tree) return `for (var i = local; i < turns; i += ${size}u) { ${body} }`;
  // Four vectors at a time would gain little and take three times as long to compile.
  if (lanes === 4 || !unroll) return `for (var i = 0u; i < turns; i++) { ${body} }`;
  return unrolled('i', '0u', 'turns', 1, body);
}

function scalar(type: 'f32' | 'u32' | 'turns'): string {
  return type === 'turns' ? 'f32' : type;
}

function foldCode({ vars, step, merge }: Fold, form: RowForm): string {
  const names = Object.keys(vars);
  const same = (name: string) => form.lanes === 1 || vars[name][0] === 'turns';
  const wide = (name: string) =>
    same(name) ? scalar(vars[name][0]) : vars[name][0] === 'f32' ? 'vec4f' : 'vec4u';
  const start = Object.entries(vars).map(([name, [, init]]) => `var ${name}_v = ${wide(name)}(${init});`);
  const lane = (from: (name: string) => string) =>
    `{ ${names.map((name) => `let other_${name} = ${from(name)};`).join(' ')} ${merge} }`;
  const narrow =
    form.lanes === 1
      ? names.map((name) => `var ${name} = ${name}_v;`)
      : [
          ...names.map((name) => `var ${name} = ${name}_v${same(name) ? '' : '.x'};`),
          ...['y', 'z', 'w'].map((c) => lane((name) => `${name}_v${same(name) ? '' : `.${c}`}`)),
        ];
  const parts = [...start, loop(step, form), ...narrow];
  if (form.tree) parts.push((form.subgroups ? subgroupTree : sharedTree)(names, lane, form.size));
  return parts.join('\n');
}

type LaneCode = (from: (name: string) => string) => string;

/** Merges the invocations of a workgroup pairwise in shared memory. */
function sharedTree(names: readonly string[], lane: LaneCode, size: number): string {
  const keep = names.map((name) => `shared_${name}[local] = ${name};`).join(' ');
  return `${keep}
for (var half = ${size / 2}u; half > 0u; half /= 2u) {
  workgroupBarrier();
  if (local < half) {
    ${lane((name) => `shared_${name}[local + half]`)}
    ${keep}
  }
}
workgroupBarrier();
${names.map((name) => `${name} = shared_${name}[0];`).join(' ')}`;
}

/** Merges a subgroup by shuffles, then one result per subgroup in shared memory. */
function subgroupTree(names: readonly string[], lane: LaneCode, size: number): string {
  return `for (var half = min(subgroup_size, ${size}u) / 2u; half > 0u; half /= 2u) {
  ${lane((name) => `subgroupShuffleXor(${name}, half)`)}
}
if (subgroup_size < ${size}u) {
  if (subgroup_invocation_id == 0u) { ${names.map((name) => `shared_${name}[local / subgroup_size] = ${name};`).join(' ')} }
  workgroupBarrier();
  ${names.map((name) => `${name} = shared_${name}[0];`).join(' ')}
  for (var k = 1u; k < ${size}u / subgroup_size; k++) {
    ${lane((name) => `shared_${name}[k]`)}
  }
}`;
}
