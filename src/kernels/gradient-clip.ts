/** Access pattern: many tensors changed in place by one rule, which may depend on the norm of them all. */
import {
  type Dispatch,
  type HostArray,
  type Kernel,
  type KernelCall,
  type KernelTarget,
  type Program,
  type View,
  wgslType,
} from '../device/types.js';
import { numel } from '../tensor/shape.js';
import { branches, deal } from './multi-tensor.js';
import { partsOf } from './parts.js';
import { load, type ParamSpec, store } from './pointwise.js';
import { declarations, IS_INF, IS_NAN } from './wgsl.js';

/** Most tensors in one dispatch: beyond it the parameters would not fit 256 bytes of uniforms. */
const MAX_TENSORS = 16;
/** What PyTorch adds to the norm before dividing by it. */
const NORM_EPSILON = 1e-6;

const kernels = new Map<string, Kernel>();

export interface Rule {
  readonly name: string;
  /** WGSL statements that read `v`, the element, and assign it, or take note of it in what `prologue` declares. */
  readonly statement: string;
  /** Bindings before the tensors. */
  readonly before: Kernel['bindings'];
  readonly params: readonly ParamSpec[];
  readonly declarations?: string;
  /** WGSL before and after the branches. */
  readonly prologue?: string;
  readonly epilogue?: string;
  /** The elements are changed, not only read. */
  readonly writes: boolean;
}

/** Dispatches that apply a rule to every element of all tensors. */
export function each(
  rule: Rule,
  tensors: readonly View[],
  target: KernelTarget,
  before: readonly View['buffer'][],
  values: (firstGroup: number) => readonly number[],
): Dispatch[] {
  const workgroupSize = sizeOf(target);
  const buffers = tensors.map((v) => [v.buffer]);
  const dispatches: Dispatch[] = [];
  let firstGroup = 0;
  for (const [from, to] of partsOf(buffers, target, { fixed: before, most: MAX_TENSORS })) {
    const part = tensors.slice(from, to);
    const types = part.map((v) => wgslType(v.dtype));
    const key = `${rule.name}:${types}:${workgroupSize}`;
    let kernel = kernels.get(key);
    if (!kernel) {
      const body = (i: number): string => `for (var e = first + local; e < stop; e += ${workgroupSize}u) {
    var v = ${load(types[i], `x${i}[p.x${i}_offset + e]`)};
    ${rule.statement}
    ${rule.writes ? `x${i}[p.x${i}_offset + e] = ${store(types[i], 'v')};` : ''}
  }`;
      kernel = {
        key,
        bindings: [
          ...rule.before,
          ...types.map((type, i) => ({
            name: `x${i}`,
            type,
            access: rule.writes ? ('read_write' as const) : ('read' as const),
          })),
        ],
        params: [
          ...rule.params,
          ...types.flatMap((_, i) =>
            [`end${i}`, `n${i}`, `x${i}_offset`].map((name) => ({ name, type: 'u32' as const })),
          ),
        ],
        workgroupSize,
        enables: types.includes('f16') ? ['f16'] : undefined,
        declarations: rule.declarations,
        body: `${rule.prologue ?? ''}\n${branches(types.length, body)}\n${rule.epilogue ?? ''}`,
      };
      kernels.set(key, kernel);
    }
    const { ends, workgroups } = deal(part);
    dispatches.push({
      kernel,
      buffers: [...before, ...part.map((v) => v.buffer)],
      params: [...values(firstGroup), ...part.flatMap((v, i) => [ends[i], numel(v.shape), v.offset])],
      workgroups,
    });
    firstGroup += workgroups;
  }
  return dispatches;
}

function sizeOf(target: KernelTarget): number {
  return target.kind === 'software' ? 64 : 256;
}

/** WGSL that sums `acc` over a workgroup into `partial[0]`. */
function tree(size: number): string {
  return `partial[local] = acc;
for (var half = ${size / 2}u; half > 0u; half /= 2u) {
  workgroupBarrier();
  if (local < half) { partial[local] += partial[local + half]; }
}`;
}

/** Σ v² per workgroup (gpu), or per invocation where barriers are dear. */
function squares(target: KernelTarget): { rule: Rule; partials: number } {
  const size = sizeOf(target);
  const software = target.kind === 'software';
  return {
    partials: software ? size : 1,
    rule: {
      name: 'squares',
      statement: 'acc += v * v;',
      before: [{ name: 'sums', type: 'f32', access: 'read_write' }],
      params: [{ name: 'first_group', type: 'u32' }],
      declarations: software ? undefined : `var<workgroup> partial: array<f32, ${size}>;`,
      prologue: 'var acc = 0.0;',
      epilogue: software
        ? `sums[p.first_group * ${size}u + index] = acc;`
        : `${tree(size)}\nif (local == 0u) { sums[p.first_group + group] = partial[0]; }`,
      writes: false,
    },
  };
}

/** One workgroup: norm = √Σ sums, factor = min(maxNorm / (norm + ε), 1), with NaN and infinity as IEEE has them. */
function finish(size: number): Kernel {
  const key = `clipGradNorm.finish:${size}`;
  let kernel = kernels.get(key);
  if (!kernel) {
    kernel = {
      key,
      bindings: [
        { name: 'sums', type: 'f32', access: 'read' },
        { name: 'norm', type: 'f32', access: 'read_write' },
        { name: 'factor', type: 'f32', access: 'read_write' },
      ],
      params: [
        { name: 'n', type: 'u32' },
        { name: 'max_norm', type: 'f32' },
      ],
      workgroupSize: size,
      declarations: `${declarations(IS_NAN, IS_INF)}\nvar<workgroup> partial: array<f32, ${size}>;`,
      body: `var acc = 0.0;
for (var i = local; i < p.n; i += ${size}u) { acc += sums[i]; }
${tree(size)}
if (local == 0u) {
  let total = partial[0];
  var length = total;
  var f = 0.0;
  if (is_nan(total)) { f = total; }
  else if (!is_inf(total)) {
    length = sqrt(total);
    f = min(p.max_norm / (length + ${NORM_EPSILON}), 1.0);
  }
  norm[0] = length;
  factor[0] = f;
}`,
    };
    kernels.set(key, kernel);
  }
  return kernel;
}

const scaleRule: Rule = {
  name: 'clipGradNorm.scale',
  statement: 'v *= scale;',
  before: [{ name: 'factor', type: 'f32', access: 'read' }],
  params: [],
  prologue: 'let scale = factor[0];\nif (scale == 1.0) { return; }',
  writes: true,
};

/**
 * Outputs [norm, tensor 0, tensor 1, …], all contiguous: the Euclidean norm of all elements together, and the tensors
 * scaled in place so that it is at most `maxNorm`. Reads every element twice, writes it at most once.
 */
export const clipNormProgram: Program<{ readonly maxNorm: number }> = {
  name: 'clipGradNorm',
  host(_, [norm, ...tensors], { maxNorm }) {
    let sum = 0;
    for (const t of tensors) {
      const { data, offset } = t;
      const end = offset + numel(t.shape);
      for (let i = offset; i < end; i++) sum += data[i] * data[i];
    }
    const length = Math.sqrt(sum);
    norm.data[norm.offset] = length;
    const factor = Math.min(maxNorm / (length + NORM_EPSILON), 1);
    if (factor !== 1) for (const t of tensors) scale(t, factor);
  },
  simd(module, _, [norm, ...tensors], { maxNorm }) {
    let sum = 0;
    for (const t of tensors) sum += module.sumSquares(numel(t.shape), t.pointer);
    const length = Math.sqrt(sum);
    module.storeF32(norm.pointer, length);
    const factor = Math.min(maxNorm / (length + NORM_EPSILON), 1);
    if (factor !== 1) for (const t of tensors) module.scale(numel(t.shape), t.pointer, factor, t.pointer);
    return true;
  },
  kernel({
    outputs: [norm, ...tensors],
    params: { maxNorm },
    target,
    scratch,
  }: KernelCall<{ maxNorm: number }>) {
    const { rule, partials } = squares(target);
    const count = deal(tensors).workgroups * partials;
    const sums = scratch(Math.max(count, 1) * 4);
    const factor = scratch(4);
    return [
      ...each(rule, tensors, target, [sums], (firstGroup) => [firstGroup]),
      {
        kernel: finish(sizeOf(target)),
        buffers: [sums, norm.buffer, factor],
        params: [count, maxNorm],
        workgroups: 1,
      },
      ...each(scaleRule, tensors, target, [factor], () => []),
    ];
  },
};

function scale({ data, offset, shape }: HostArray, factor: number): void {
  const end = offset + numel(shape);
  for (let i = offset; i < end; i++) data[i] *= factor;
}

const clampRule: Rule = {
  name: 'clipGradValue',
  statement: 'if (!is_nan(v)) { v = clamp(v, -p.limit, p.limit); }',
  before: [],
  params: [{ name: 'limit', type: 'f32' }],
  declarations: declarations(IS_NAN),
  writes: true,
};

/** Outputs: contiguous tensors, whose elements are cut to [−limit, limit] in place; NaN stays. */
export const clipValueProgram: Program<{ readonly limit: number }> = {
  name: 'clipGradValue',
  host(_, tensors, { limit }) {
    for (const { data, offset, shape } of tensors) {
      const end = offset + numel(shape);
      for (let i = offset; i < end; i++) data[i] = Math.min(Math.max(data[i], -limit), limit);
    }
  },
  kernel: ({ outputs, params: { limit }, target }) => each(clampRule, outputs, target, [], () => [limit]),
};
