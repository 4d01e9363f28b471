/**
 * Access pattern: every row of [outer, n, inner] (contiguous, the row along n) reduced to a few numbers and then written.
 *
 * A template is a list of steps: folds along the row, statements between them, and loops that write. It runs as one
 * invocation per row ('line') or one workgroup per row with trees in shared memory. Software adapters pay for barriers
 * and get lines; GPUs get lines only where rows are short or their neighbours lie side by side. Sizes are parameters.
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

/** How a buffer is addressed: element i of the row, one number per row, or one number per position i of all rows. */
export type RowKind = 'row' | 'stat' | 'column';

/** A sum, maximum or the like along the row: WGSL of `acc` and, in `merge`, `other`. */
export interface Fold {
  readonly fold: string;
  readonly type: string;
  readonly init: string;
  readonly step: string;
  readonly merge: string;
}

/** A loop over the positions `i` of the row. */
export interface Each {
  readonly each: string;
}

export type RowStep = string | Fold | Each;

/** What a template writes its steps with. */
export interface RowCode {
  /** The element of an input at position i of the row, as f32. */
  read(name: string): string;
  /** Writes an element of an output; for a 'stat' once per row. */
  write(name: string, value: string): string;
  has(name: string): boolean;
}

export interface RowTemplate {
  /** Unique among all kernels. */
  readonly name: string;
  readonly operands: Readonly<Record<string, RowKind>>;
  steps(code: RowCode): readonly RowStep[];
  readonly params?: readonly ParamSpec[];
  readonly declarations?: string;
}

/** Rows of a call. */
export interface RowSpace {
  readonly outer: number;
  readonly n: number;
  readonly inner: number;
}

/** A fold that sums. */
export function total(fold: string, value: string, type = 'f32'): Fold {
  return { fold, type, init: `${type}(0)`, step: `acc + ${value}`, merge: 'acc + other' };
}

/** Invocations of a workgroup, and whether they share one row. */
interface Form {
  readonly tree: boolean;
  readonly size: number;
}

function chooseForm({ outer, n, inner }: RowSpace, { kind }: KernelTarget): Form {
  const rows = outer * inner;
  // Few rows in small workgroups: each runs on one core.
  if (kind === 'software') return { tree: false, size: rows >= 1024 ? 64 : 8 };
  if (inner === 1 ? n <= 16 : n <= 64 || rows >= 8192) return { tree: false, size: 64 };
  return { tree: true, size: n <= 256 ? 32 : n <= 4096 ? 128 : 256 };
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
  const form = chooseForm(space, target);
  const ins = Object.entries(inputs).filter((e): e is [string, View] => e[1] !== undefined);
  const outs = Object.entries(outputs);
  const types = [...ins, ...outs].map(([name, v]) => `${name}=${wgslType(v.dtype)}`);
  const key = `${t.name}:${form.tree ? 'tree' : 'line'}${form.size}:${types}`;
  let kernel = kernels.get(key);
  if (!kernel) kernels.set(key, (kernel = build(t, key, form, ins, outs)));
  return [
    {
      kernel,
      buffers: [...ins, ...outs].map(([, v]) => v.buffer),
      params: [rows, space.n, space.inner, ...ins.map(([, v]) => v.offset), ...values],
      workgroups: space.n === 0 ? 0 : form.tree ? rows : Math.ceil(rows / form.size),
    },
  ];
}

function build(
  t: RowTemplate,
  key: string,
  form: Form,
  ins: [string, View][],
  outs: [string, View][],
): Kernel {
  const typeOf = new Map<string, WgslType>([...ins, ...outs].map(([name, v]) => [name, wgslType(v.dtype)]));
  const inputNames = new Set(ins.map(([name]) => name));
  const element = (name: string): string => {
    const at = { row: 'base + i * p.inner', stat: 'row', column: 'i' }[t.operands[name]];
    return inputNames.has(name) ? `${name}[p.${name}_offset + ${at}]` : `${name}[${at}]`;
  };
  const code: RowCode = {
    has: (name) => typeOf.has(name),
    read: (name) => load(typeOf.get(name)!, element(name)),
    write(name, value) {
      const statement = `${element(name)} = ${store(typeOf.get(name)!, value)};`;
      return t.operands[name] === 'stat' && form.tree ? `if (local == 0u) { ${statement} }` : statement;
    },
  };
  const steps = t.steps(code);
  const folds = steps.filter((s): s is Fold => typeof s !== 'string' && 'fold' in s);
  const shared = form.tree
    ? folds.map(({ fold, type }) => `var<workgroup> shared_${fold}: array<${type}, ${form.size}>;`)
    : [];
  return {
    key,
    bindings: [
      ...ins.map(([name]) => ({ name, type: typeOf.get(name)!, access: 'read' as const })),
      ...outs.map(([name]) => ({ name, type: typeOf.get(name)!, access: 'read_write' as const })),
    ],
    params: [
      { name: 'rows', type: 'u32' },
      { name: 'n', type: 'u32' },
      { name: 'inner', type: 'u32' },
      ...ins.map(([name]) => ({ name: `${name}_offset`, type: 'u32' as const })),
      ...(t.params ?? []),
    ],
    workgroupSize: form.size,
    enables: [...typeOf.values()].includes('f16') ? ['f16'] : undefined,
    declarations: [t.declarations ?? '', ...shared].join('\n'),
    body: `
let row = ${form.tree ? 'group' : 'index'};
if (row >= p.rows) { return; }
let base = row / p.inner * p.n * p.inner + row % p.inner;
${steps.map((step) => stepCode(step, form)).join('\n')}`,
  };
}

function stepCode(step: RowStep, { tree, size }: Form): string {
  if (typeof step === 'string') return step;
  const loop = (body: string): string =>
    tree ? `for (var i = local; i < p.n; i += ${size}u) { ${body} }` : unrolled('i', '0u', 'p.n', 1, body);
  if ('each' in step) return loop(step.each);
  const { fold, type, init, step: next, merge } = step;
  const along = `var ${fold}: ${type} = ${init};
${loop(`let acc = ${fold}; ${fold} = ${next};`)}`;
  if (!tree) return along;
  return `${along}
shared_${fold}[local] = ${fold};
for (var half = ${size / 2}u; half > 0u; half /= 2u) {
  workgroupBarrier();
  if (local < half) {
    let acc = ${fold};
    let other = shared_${fold}[local + half];
    ${fold} = ${merge};
    shared_${fold}[local] = ${fold};
  }
}
workgroupBarrier();
${fold} = shared_${fold}[0];`;
}
