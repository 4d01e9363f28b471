/**
 * Access pattern: fused attention, y = softmax(q·kᵀ·scale, hidden pairs left out)·v, and its gradients; nothing of size T × S.
 *
 * Operands are q [B, T, H, D], k [B, S, H, D] and v [B, S, H, E] with any strides but unit ones along the last dim, so that
 * heads are views of projections. Forward walks the keys in chunks with the softmax of those seen so far (Milakov and
 * Gimelshein 2018; Dao et al. 2022) and keeps log-sum-exps [B, H, T]. Backward makes the weights again from
 * these, in two passes: one over queries for dq, which leaves δ = Σ dy·y of every query, and one over keys for dk and dv.
 * Sums run in float32, in an order that depends on shapes only.
 *
 * Kernels are specialised on D and E (their loops are unrolled), on whether vectors of four can be bound, on the dtype and on
 * whether there is padding; never on B, T, S or on what causal masks and windows hide: those are parameters.
 */
import { type Dispatch, type Kernel, type KernelTarget, type View, wgslType } from '../device/types.js';
import { decodeForward } from './attention-decode.js';
import { gpuForward, gpuKeys, gpuQueries } from './attention-gpu.js';
import { softwareForward, softwareKeys, softwareQueries, teamOf } from './attention-software.js';
import { type AttentionForm, type AttentionText, HEAD, STRIDES, statsText } from './attention-wgsl.js';
import type { ParamSpec } from './pointwise.js';

/** Largest D and E that the kernels take. */
export const MAX_HEAD_DIM = 128;

/** A window without bound; small enough that sums with positions stay in 32 bits. */
export const NO_WINDOW = 2 ** 30;

export interface AttentionParams {
  readonly scale: number;
  /** Query i sees the keys j with i + shift − window < j ≤ i + shift. */
  readonly shift: number;
  readonly window: number;
  /** Queries that see no key give zeros rather than NaN. */
  readonly zeroEmpty: boolean;
}

/** Sizes, as the shapes of the operands have them. */
export interface AttentionSizes {
  readonly B: number;
  readonly T: number;
  readonly S: number;
  readonly H: number;
  readonly D: number;
  readonly E: number;
}

export function attentionSizes(
  q: { readonly shape: readonly number[] },
  v: { readonly shape: readonly number[] },
): AttentionSizes {
  const [B, T, H, D] = q.shape;
  return { B, T, S: v.shape[1], H, D, E: v.shape[3] };
}

interface Strided {
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  readonly offset: number;
  readonly buffer?: View['buffer'];
  readonly dtype?: View['dtype'];
}

/** The queries, keys and values [B, T, H, D] in one [B, T, 3·H·D]. */
export function unpackHeads<V extends Strided>(qkv: V, heads: number): [V, V, V] {
  const [B, T, width] = qkv.shape;
  const C = width / 3;
  const D = C / heads;
  const part = (i: number): V => ({
    ...qkv,
    // Getters of tensors, which spreading leaves out.
    ...(qkv.buffer && { buffer: qkv.buffer, dtype: qkv.dtype }),
    shape: [B, T, heads, D],
    strides: [qkv.strides[0], qkv.strides[1], D, 1],
    offset: qkv.offset + i * C,
  });
  return [part(0), part(1), part(2)];
}

const cache = new Map<string, Kernel>();

/** How kernels see the operands: what their text depends on, and the values of `STRIDES` or of the shared ones. */
interface Plan {
  readonly form: AttentionForm;
  readonly key: string;
  /** Elements per step of an address: 4 where vectors are bound. */
  readonly unit: number;
  readonly params: readonly ParamSpec[];
  readonly values: readonly number[];
}

const u32 = (...names: readonly string[]): ParamSpec[] => names.map((name) => ({ name, type: 'u32' }));

/** Strides along B, T and H; those of single positions do not matter. */
function steps(x: View): number[] {
  return [0, 1, 2].map((d) => (x.shape[d] > 1 ? x.strides[d] : 0));
}

function planOf(
  [q, k, v, pad]: readonly [View, View, View, View | null],
  others: readonly View[],
  target: KernelTarget,
  p: AttentionParams,
): Plan {
  const { T, S, H, D, E } = attentionSizes(q, v);
  const all = [q, k, v].map(steps);
  const numbers = [D, E, ...[q, k, v, ...others].map((x) => x.offset), ...all.flat()];
  const vectors = numbers.every((n) => n % 4 === 0);
  const unit = vectors ? 4 : 1;
  // The common case of equal strides has few enough parameters for immediates.
  const shared = D === E && all.every((s) => s.every((n, d) => n === all[0][d]));
  const type = wgslType(q.dtype) as 'f32' | 'f16';
  const team = teamOf(target);
  const form: AttentionForm = { D, E, type, vectors, shared, padding: pad !== null, team };
  const strides = shared ? all[0] : all.flat();
  const offsets = [q.offset, k.offset, v.offset];
  return {
    form,
    key: `${target.kind}:${D}:${E}:${type}:${vectors}:${shared}:${pad !== null}:${team}`,
    unit,
    params: [
      ...HEAD,
      ...u32('q_offset', 'k_offset', 'v_offset', ...(shared ? STRIDES.shared : STRIDES.own)),
      ...(pad ? u32('pad_offset') : []),
    ],
    values: [
      ...[T, S, H, p.shift, p.window, p.scale],
      ...[...offsets, ...strides].map((n) => n / unit),
      ...(pad ? [pad.offset] : []),
    ],
  };
}

interface Operand {
  readonly name: string;
  readonly view: { readonly buffer: View['buffer'] };
  /** Elements of the operands' dtype, f32, or padding. */
  readonly kind: 'data' | 'f32' | 'u32';
  readonly write?: true;
}

/** One dispatch of a text over B·H heads and `n` rows each. */
function dispatch(
  name: string,
  plan: Plan,
  make: (form: AttentionForm) => AttentionText,
  operands: readonly Operand[],
  params: readonly ParamSpec[],
  values: readonly number[],
  heads: number,
  n: number,
): Dispatch {
  const { form } = plan;
  const key = `${name}:${plan.key}`;
  let kernel = cache.get(key);
  let rows = rowsOf.get(key);
  if (!kernel || !rows) {
    const text = make(form);
    const data = form.vectors ? (`vec4<${form.type}>` as const) : form.type;
    kernel = {
      key,
      bindings: operands.map(({ name, kind, write }) => ({
        name,
        type: kind === 'data' ? data : kind,
        access: write ? 'read_write' : 'read',
      })),
      params: [...plan.params, ...params],
      workgroupSize: text.workgroupSize,
      enables: [...(form.type === 'f16' ? (['f16'] as const) : []), ...(text.enables ?? [])],
      declarations: text.declarations,
      body: text.body,
    };
    rows = text.rows;
    cache.set(key, kernel);
    rowsOf.set(key, rows);
  }
  return {
    kernel,
    buffers: operands.map(({ view }) => view.buffer),
    params: [...plan.values, ...values],
    workgroups: Math.ceil(n / rows) * heads,
  };
}

/** Rows per workgroup of each kernel. */
const rowsOf = new Map<string, number>();

const GPU = { forward: gpuForward, queries: gpuQueries, keys: gpuKeys };
const SOFTWARE = { forward: softwareForward, queries: softwareQueries, keys: softwareKeys };

const textsOf = ({ kind }: KernelTarget): typeof GPU => (kind === 'gpu' ? GPU : SOFTWARE);

/** y [B, T, H, E] and lse [B, H, T], both contiguous. Reads keys and values once per tile of queries. */
export function attentionKernel(
  inputs: readonly [View, View, View, View | null],
  [y, lse]: readonly View[],
  p: AttentionParams,
  target: KernelTarget,
): Dispatch[] {
  const { B, T, H } = attentionSizes(inputs[0], inputs[2]);
  if (B * T * H === 0) return [];
  const plan = planOf(inputs, [], target, p);
  const operands: Operand[] = [
    ...operandsOf(inputs),
    { name: 'y', view: y, kind: 'data', write: true },
    { name: 'lse', view: lse, kind: 'f32', write: true },
  ];
  const [name, make] =
    T === 1 ? ['attentionDecode', decodeForward(target)] : ['attention', textsOf(target).forward];
  return [dispatch(name, plan, make, operands, u32('zero_empty'), [Number(p.zeroEmpty)], B * H, T)];
}

function operandsOf([q, k, v, pad]: readonly [View, View, View, View | null]): Operand[] {
  return [
    { name: 'q', view: q, kind: 'data' },
    { name: 'k', view: k, kind: 'data' },
    { name: 'v', view: v, kind: 'data' },
    ...(pad ? [{ name: 'pad', view: pad, kind: 'u32' } as const] : []),
  ];
}

export interface AttentionGradients {
  readonly dq: View;
  /** Missing where they are not wanted. */
  readonly dk?: View;
  readonly dv?: View;
}

/**
 * Gradients, whose rows may lie in one [B, T, 3·H·D] together: 7·D operations per pair and pass. g and y [B, T, H, E] and lse
 * [B, H, T] are contiguous; `stats` holds two floats per query.
 */
export function attentionBackwardKernel(
  inputs: readonly [View, View, View, View | null],
  [g, y, lse]: readonly View[],
  { dq, dk, dv }: AttentionGradients,
  p: AttentionParams,
  target: KernelTarget,
  scratch: (bytes: number) => View['buffer'],
): Dispatch[] {
  const { B, T, S, H } = attentionSizes(inputs[0], inputs[2]);
  const plan = planOf(inputs, [g, y], target, p);
  const { unit } = plan;
  const stats = { buffer: scratch(Math.max(B * T * H, 1) * 8) };
  const texts = textsOf(target);
  const list: Dispatch[] = [];
  const gradient = { name: 'g', view: g, kind: 'data' } as const;
  const output = { name: 'y', view: y, kind: 'data' } as const;
  const sums = { name: 'lse', view: lse, kind: 'f32' } as const;
  // One binding more than WebGPU guarantees: then δ has a pass of its own.
  const apart = 8 + Number(inputs[3] !== null) > target.maxStorageBuffers;
  if (apart && B * T * H > 0) {
    const operands: Operand[] = [
      gradient,
      output,
      sums,
      { name: 'stats', view: stats, kind: 'f32', write: true },
    ];
    const params = u32('g_offset', 'y_offset', 'lse_offset');
    const values = [g.offset / unit, y.offset / unit, lse.offset];
    list.push(dispatch('attentionStats', plan, statsText, operands, params, values, B * H, T));
  }
  if (B * T * H > 0) {
    const operands: Operand[] = [
      ...operandsOf(inputs),
      gradient,
      ...(apart ? [] : [output, sums]),
      { name: 'stats', view: stats, kind: 'f32', ...(apart ? {} : { write: true }) },
      { name: 'dq', view: dq, kind: 'data', write: true },
    ];
    const params = u32('g_offset', 'dq_step', ...(apart ? [] : ['y_offset', 'lse_offset']));
    const values = [g.offset / unit, dq.strides[1] / unit];
    if (!apart) values.push(y.offset / unit, lse.offset);
    const make = (form: AttentionForm) => texts.queries(form, apart);
    list.push(dispatch(`attentionQueries:${apart}`, plan, make, operands, params, values, B * H, T));
  }
  if (dk && dv && B * S * H > 0) {
    // One buffer may be bound for writing once only.
    const together = dk.buffer === dv.buffer;
    const operands: Operand[] = [
      ...operandsOf(inputs),
      gradient,
      { name: 'stats', view: stats, kind: 'f32' },
      { name: 'dk', view: dk, kind: 'data', write: true },
      ...(together ? [] : [{ name: 'dv', view: dv, kind: 'data', write: true } as const]),
    ];
    const own = !plan.form.shared;
    const params = u32('g_offset', 'dk_offset', 'dv_offset', 'dk_step', ...(own ? ['dv_step'] : []));
    const values = [g.offset, dk.offset, dv.offset, dk.strides[1], ...(own ? [dv.strides[1]] : [])];
    const make = (form: AttentionForm) => texts.keys(form, together);
    list.push(
      dispatch(
        `attentionKeys:${together}`,
        plan,
        make,
        operands,
        params,
        values.map((n) => n / unit),
        B * H,
        S,
      ),
    );
  }
  return list;
}
