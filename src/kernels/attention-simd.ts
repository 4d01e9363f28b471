/** Attention on the CPU device: the module's kernels, head by head of every batch. */
import type { SimdModule, SimdView } from '../device/types.js';

type Inputs = readonly [SimdView, SimdView, SimdView, SimdView | null];

/** What decides which keys a query sees, as the kernels for WebGPU have it. */
interface Params {
  readonly scale: number;
  /** Query i sees the keys j with i + shift − window < j ≤ i + shift. */
  readonly shift: number;
  readonly window: number;
  readonly zeroEmpty: boolean;
}

/** Windows from here on are none; sums with positions stay in 32 bits. */
const NO_WINDOW = 2 ** 30;

/** q [B, T, H, D], k [B, S, H, D] and v [B, S, H, E]. */
function sizes([{ shape: q }, , { shape: v }]: Inputs) {
  return { B: q[0], T: q[1], H: q[2], D: q[3], S: v[1], E: v[3] };
}

/** The queries, keys and values [B, T, H, D] in one [B, T, 3·H·D]. */
export function unpackSimd(qkv: SimdView, heads: number): [SimdView, SimdView, SimdView] {
  const [B, T, width] = qkv.shape;
  const D = width / 3 / heads;
  const part = (i: number): SimdView => ({
    pointer: qkv.pointer + i * heads * D * 4,
    dtype: qkv.dtype,
    shape: [B, T, heads, D],
    strides: [qkv.strides[0], qkv.strides[1], D, 1],
  });
  return [part(0), part(1), part(2)];
}

/** Where the queries stand and how far they see: all keys, where the last ones are before the first query. */
function range({ shift, window }: Params, S: number): [first: number, left: number, right: number] {
  const left = Math.min(window, NO_WINDOW) - 1;
  if (shift < S) return [shift, left, 0];
  return window >= NO_WINDOW ? [0, NO_WINDOW - 1, NO_WINDOW - 1] : [Math.min(shift, NO_WINDOW), left, 0];
}

/** The address of a batch. */
function at(x: SimdView, b: number): number {
  return x.pointer + b * x.strides[0] * 4;
}

/** Whether the module takes the operands: rows that are contiguous. */
function fits([q, k, v]: Inputs, outputs: readonly SimdView[]): boolean {
  const float = [q, k, v, ...outputs].every((x) => x.dtype === 'float32');
  return float && [q, k, v].every((x) => x.shape[3] === 1 || x.strides[3] === 1);
}

/** y [B, T, H, E] and lse [B, H, T], contiguous. */
export function attentionSimd(
  module: SimdModule,
  inputs: Inputs,
  [y, lse]: readonly SimdView[],
  p: Params,
): boolean {
  const [q, k, v, pad] = inputs;
  const { B, T, S, H, D, E } = sizes(inputs);
  if (!fits(inputs, [y, lse])) return false;
  const [first, left, right] = range(p, S);
  if (T === 1) {
    // Decoding: one query per head, which may not see the first keys or the last ones.
    const from = Math.max(first - left, 0);
    const count = Math.max(Math.min(first + right + 1, S) - from, 0);
    const scratch = module.threadScratch(module.attentionRowScratchBytes(Math.max(count, 1)));
    module.together(() => {
      for (let b = 0; b < B; b++) {
        module.attentionRow(
          ...([H, count, D, E, at(q, b), q.strides[2]] as const),
          ...([at(k, b) + from * k.strides[1] * 4, k.strides[2], k.strides[1]] as const),
          ...([at(v, b) + from * v.strides[1] * 4, v.strides[2], v.strides[1]] as const),
          pad ? pad.pointer + (b * S + from) * 4 : 0,
          ...([
            p.scale,
            p.zeroEmpty,
            y.pointer + b * H * E * 4,
            E,
            lse.pointer + b * H * 4,
            scratch,
          ] as const),
        );
      }
    });
    return true;
  }
  const scratch = module.threadScratch(module.attentionScratchBytes(D));
  module.together(() => {
    for (let b = 0; b < B; b++) {
      module.attentionForward(
        ...([H, T, S, D, E] as const),
        ...([at(q, b), q.strides[2], q.strides[1]] as const),
        ...([at(k, b), k.strides[2], k.strides[1]] as const),
        ...([at(v, b), v.strides[2], v.strides[1]] as const),
        pad ? pad.pointer + b * S * 4 : 0,
        ...([p.scale, first, left, right, p.zeroEmpty] as const),
        ...([y.pointer + b * T * H * E * 4, E, H * E, lse.pointer + b * H * T * 4, T, scratch] as const),
      );
    }
  });
  return true;
}

/** Gradients, of any strides but unit ones along their rows; g and y [B, T, H, E] and lse [B, H, T] are contiguous. */
export function attentionBackwardSimd(
  module: SimdModule,
  inputs: Inputs,
  [g, y, lse]: readonly SimdView[],
  [dq, dk, dv]: readonly (SimdView | undefined)[],
  p: Params,
): boolean {
  const [q, k, v, pad] = inputs;
  const { B, T, S, H, D, E } = sizes(inputs);
  if (!fits(inputs, [g, y, lse]) || !dq || Boolean(dk) !== Boolean(dv)) return false;
  const [first, left, right] = range(p, S);
  const scratch = module.threadScratch(module.attentionBackwardScratchBytes(D, E));
  const out = (x: SimdView | undefined, b: number) =>
    x ? ([at(x, b), x.strides[2], x.strides[1]] as const) : ([0, 0, 0] as const);
  module.together(() => {
    for (let b = 0; b < B; b++) {
      const rows = b * T * H * E * 4;
      module.attentionBackward(
        ...([H, T, S, D, E] as const),
        ...([at(q, b), q.strides[2], q.strides[1]] as const),
        ...([at(k, b), k.strides[2], k.strides[1]] as const),
        ...([at(v, b), v.strides[2], v.strides[1]] as const),
        pad ? pad.pointer + b * S * 4 : 0,
        ...([p.scale, first, left, right, y.pointer + rows, g.pointer + rows, E, H * E] as const),
        ...([lse.pointer + b * H * T * 4, T] as const),
        ...out(dq, b),
        ...out(dk, b),
        ...out(dv, b),
        scratch,
      );
    }
  });
  return true;
}
