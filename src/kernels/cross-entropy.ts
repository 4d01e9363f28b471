/**
 * Access pattern: rows of class scores against a class each. x [outer, classes, inner] is walked along its middle dim, one
 * row per (outer, inner) pair.
 *
 * Forward reads x twice (maximum, then sum of exponentials; the second time mostly from cache) and writes four numbers
 * per row. Backward reads x once and writes its gradient; the log-sum-exp is not computed again.
 */
import {
  type Dispatch,
  type Kernel,
  type KernelCall,
  type View,
  type WgslType,
  wgslType,
} from '../device/types.js';
import { numel } from '../tensor/shape.js';
import { load, store, workgroups } from './pointwise.js';
import { declarations, IS_INF, NAN } from './wgsl.js';
import { EXP, LOG } from './wgsl-math.js';

/** What the fused operations take. */
export interface ClassParams {
  /** The public function, for messages. */
  readonly name: string;
  /** Rows of this class count for nothing. */
  readonly ignoreIndex: number;
  /** ε: this share of the target is spread evenly over all classes. */
  readonly smoothing: number;
  /** x are log-probabilities already: no log-sum-exp is taken. */
  readonly normalized: boolean;
  /** The last input is a weight per class. */
  readonly weighted: boolean;
}

/** Sizes of x [outer, classes, inner]; a vector is one row. */
export function classSpace(shape: readonly number[]): { classes: number; inner: number; rows: number } {
  const dim = shape.length > 1 ? 1 : 0;
  const classes = shape[dim];
  const inner = numel(shape.slice(dim + 1));
  return { classes, inner, rows: inner * (dim === 1 ? shape[0] : 1) };
}

const cache = new Map<string, Kernel>();
/** Invocations per row where a workgroup shares one. */
const TEAM = 128;

const SPACE = ['rows', 'classes', 'inner', 'x_offset', 't_offset', 'w_offset'] as const;

/** Names, types and values of the parameters that both kernels share. */
function spaceParams(x: View, target: View, weight: View | undefined, p: ClassParams) {
  const { classes, inner, rows } = classSpace(x.shape);
  return {
    specs: [
      ...SPACE.map((name) => ({ name, type: 'u32' as const })),
      { name: 'ignore', type: 'i32' as const },
      { name: 'smoothing', type: 'f32' as const },
    ],
    values: [rows, classes, inner, x.offset, target.offset, weight?.offset ?? 0, p.ignoreIndex, p.smoothing],
  };
}

/** `weight_of(class)`; 1 for all where there are no weights. */
function weightCode(type: WgslType | undefined): string {
  const value = type ? load(type, 'w[p.w_offset + class_]') : '1.0';
  return `fn weight_of(class_: u32) -> f32 { return ${value}; }`;
}

/**
 * Losses [rows] and, for backward, [3, rows]: the log-sum-exp, the weight of the whole target distribution, and the
 * weight of the class. Classes out of range are read as the nearest one.
 */
export function crossEntropyKernel({
  inputs,
  outputs: [y, stats],
  params,
  target,
}: KernelCall<ClassParams>): Dispatch[] {
  const [x, t] = inputs;
  const w = params.weighted ? inputs[2] : undefined;
  const { rows } = classSpace(x.shape);
  // One invocation per row needs rows enough to keep all cores busy, and neighbours then read far-apart memory.
  const team = !params.normalized && (target.kind === 'gpu' || rows < 64);
  const { specs, values } = spaceParams(x, t, w, params);
  const [xType, tType] = [wgslType(x.dtype), wgslType(t.dtype)];
  const wType = w && wgslType(w.dtype);
  const key = `crossEntropy:${team}:${params.normalized}:${xType}:${tType}:${wType}`;
  let kernel = cache.get(key);
  if (!kernel) {
    kernel = {
      key,
      bindings: [
        { name: 'x', type: xType, access: 'read' },
        { name: 'classes_of', type: tType, access: 'read' },
        ...(wType ? [{ name: 'w', type: wType, access: 'read' as const }] : []),
        { name: 'losses', type: 'f32', access: 'read_write' },
        { name: 'stats', type: 'f32', access: 'read_write' },
      ],
      params: specs,
      workgroupSize: team ? TEAM : 64,
      enables: xType === 'f16' || wType === 'f16' ? ['f16'] : undefined,
      declarations: `${declarations(EXP, LOG, IS_INF, NAN)}
${weightCode(wType)}
${team ? `var<workgroup> shared_tops: array<f32, ${TEAM}>; var<workgroup> shared_sums: array<vec3f, ${TEAM}>;` : ''}`,
      body: forwardBody(xType, team, params.normalized),
    };
    cache.set(key, kernel);
  }
  return [
    {
      kernel,
      buffers: [...inputs.map((v) => v.buffer), y.buffer, stats.buffer],
      params: values,
      workgroups: team ? rows : workgroups(rows),
    },
  ];
}

function forwardBody(xType: WgslType, team: boolean, normalized: boolean): string {
  const each = team
    ? `for (var c = local; c < p.classes; c += ${TEAM}u)`
    : 'for (var c = 0u; c < p.classes; c++)';
  const fold = (array: string, merge: string) =>
    team
      ? `for (var half = ${TEAM / 2}u; half > 0u; half /= 2u) {
  workgroupBarrier();
  if (local < half) { ${merge} }
}
workgroupBarrier();
`.replaceAll('ARRAY', array)
      : '';
  // sums: Σ exp(x − top), Σ w, Σ w·(top − x); the last two only where smoothing asks for them.
  const logSumExp = `
var top = -3.4028234e38;
${each} { let v = x_at(base, c); if (v > top) { top = v; } }
${team ? 'shared_tops[local] = top;' : ''}
${fold('shared_tops', 'ARRAY[local] = max(ARRAY[local], ARRAY[local + half]);')}
${team ? 'top = shared_tops[0];' : ''}
var sums = vec3f();
if (p.smoothing > 0.0) {
  ${each} { let v = x_at(base, c); let weight = weight_of(c); sums += vec3f(exp_f(v - top), weight, weight * (top - v)); }
} else {
  ${each} { sums.x += exp_f(x_at(base, c) - top); }
}
${team ? 'shared_sums[local] = sums;' : ''}
${fold('shared_sums', 'ARRAY[local] += ARRAY[local + half];')}
${team ? 'sums = shared_sums[0];\nif (local > 0u) { return; }' : ''}
// exp(top − top) = 1 is in the sum unless every score is −∞.
var lse = top + log_f(sums.x);
if (sums.x == 0.0 || is_inf(top)) { lse = nan(); }
let spread = p.smoothing / f32(p.classes);
let even = spread * (sums.y * (lse - top) + sums.z);`;
  return `
let row = ${team ? 'group' : 'index'};
if (row >= p.rows) { return; }
let base = p.x_offset + (row / p.inner) * p.classes * p.inner + row % p.inner;
let named = i32(classes_of[p.t_offset + row]);
let ignored = named == p.ignore;
let class_ = u32(clamp(named, 0, i32(p.classes) - 1));
${normalized ? 'let lse = 0.0; let even = 0.0; let spread = 0.0; let sums = vec3f();' : logSumExp}
let weight = weight_of(class_);
let loss = (1.0 - p.smoothing) * weight * (lse - x_at(base, class_)) + even;
losses[row] = select(loss, 0.0, ignored);
stats[row] = lse;
stats[p.rows + row] = select((1.0 - p.smoothing) * weight + spread * sums.y, 0.0, ignored);
stats[2u * p.rows + row] = select(weight, 0.0, ignored);`.replace(/x_at\(base, (\w+)\)/g, (_, c: string) =>
    load(xType, `x[base + ${c} * p.inner]`),
  );
}

/** The gradient of x from that of the losses (input 0, any stride), x, the classes, the statistics and the weights. */
export function crossEntropyBackwardKernel({
  inputs,
  outputs: [y],
  params,
}: KernelCall<ClassParams>): Dispatch[] {
  const [g, x, t, stats] = inputs;
  const w = params.weighted ? inputs[4] : undefined;
  const { specs, values } = spaceParams(x, t, w, params);
  const [gType, xType, tType, yType] = [g, x, t, y].map((v) => wgslType(v.dtype));
  const wType = w && wgslType(w.dtype);
  const key = `crossEntropyBackward:${params.normalized}:${gType}:${xType}:${tType}:${wType}:${yType}`;
  let kernel = cache.get(key);
  if (!kernel) {
    kernel = {
      key,
      bindings: [
        { name: 'g', type: gType, access: 'read' },
        { name: 'x', type: xType, access: 'read' },
        { name: 'classes_of', type: tType, access: 'read' },
        { name: 'stats', type: 'f32', access: 'read' },
        ...(wType ? [{ name: 'w', type: wType, access: 'read' as const }] : []),
        { name: 'y', type: yType, access: 'read_write' },
      ],
      params: [
        ...specs,
        ...['g_offset', 'g_step', 's_offset'].map((name) => ({ name, type: 'u32' as const })),
      ],
      workgroupSize: 64,
      enables: [gType, xType, wType, yType].includes('f16') ? ['f16'] : undefined,
      declarations: `${declarations(EXP)}\n${weightCode(wType)}`,
      body: `
let span = p.classes * p.inner;
let outer = index / span;
let row = outer * p.inner + index % p.inner;
if (row >= p.rows) { return; }
let c = (index % span) / p.inner;
let named = i32(classes_of[p.t_offset + row]);
let class_ = u32(clamp(named, 0, i32(p.classes) - 1));
let at = p.s_offset + row;
var d = ${params.normalized ? '0.0' : `stats[at + p.rows] * exp_f(${load(xType, 'x[p.x_offset + index]')} - stats[at])`};
if (p.smoothing > 0.0) { d -= p.smoothing / f32(p.classes) * weight_of(c); }
if (c == class_) { d -= (1.0 - p.smoothing) * stats[at + 2u * p.rows]; }
d *= ${load(gType, 'g[p.g_offset + row * p.g_step]')};
if (named == p.ignore) { d = 0.0; }
y[index] = ${store(yType, 'd')};`,
    };
    cache.set(key, kernel);
  }
  return [
    {
      kernel,
      buffers: [...inputs.map((v) => v.buffer), y.buffer],
      params: [...values, g.offset, g.strides[0], stats.offset],
      workgroups: workgroups(numel(y.shape)),
    },
  ];
}
