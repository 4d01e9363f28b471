/** Attention in plain loops, a query at a time: the reference in float64, and the CPU device. Memory grows with S, not with T × S. */
import type { HostArray } from '../device/types.js';
import { type AttentionParams, attentionSizes } from './attention.js';

type Inputs = readonly [HostArray, HostArray, HostArray, HostArray | null];

/** Where the row of a position begins. */
function rowOf(x: HostArray, b: number, t: number, h: number): number {
  return x.offset + b * x.strides[0] + t * x.strides[1] + h * x.strides[2];
}

/** The keys that query i sees: from the first to before the second, padding apart. */
function range(i: number, S: number, { shift, window }: AttentionParams): [number, number] {
  return [Math.max(i + shift - window + 1, 0), Math.min(i + shift + 1, S)];
}

/**
 * Scores of query row `a` with the keys from `from` to before `to` into `out`, −∞ for padding. Returns whether any was seen.
 */
function scoreRow(
  row: Float64Array,
  k: HostArray,
  pad: HostArray | null,
  b: number,
  h: number,
  from: number,
  to: number,
  S: number,
  out: Float64Array,
): boolean {
  const data = k.data;
  const n = row.length;
  const step = k.strides[1];
  let at = rowOf(k, b, from, h);
  let any = false;
  for (let j = from; j < to; j++, at += step) {
    if (pad && !pad.data[pad.offset + b * S + j]) {
      out[j] = -Infinity;
      continue;
    }
    any = true;
    let s0 = 0;
    let s1 = 0;
    let d = 0;
    for (; d + 1 < n; d += 2) {
      s0 += row[d] * data[at + d];
      s1 += row[d + 1] * data[at + d + 1];
    }
    if (d < n) s0 += row[d] * data[at + d];
    out[j] = s0 + s1;
  }
  return any;
}

/** y [B, T, H, E] and lse [B, H, T]. Inputs have unit strides along their last dim. */
export function attentionHost(
  [q, k, v, pad]: Inputs,
  [y, lse]: readonly HostArray[],
  p: AttentionParams,
): void {
  const { B, T, S, H, D, E } = attentionSizes(q, v);
  const row = new Float64Array(D);
  const sums = new Float64Array(E);
  const scores = new Float64Array(S);
  const values = v.data;
  const step = v.strides[1];
  for (let b = 0; b < B; b++) {
    for (let h = 0; h < H; h++) {
      for (let i = 0; i < T; i++) {
        const qAt = rowOf(q, b, i, h);
        for (let d = 0; d < D; d++) row[d] = q.data[qAt + d] * p.scale;
        const [from, to] = range(i, S, p);
        const yAt = ((b * T + i) * H + h) * E;
        const lseAt = (b * H + h) * T + i;
        if (!scoreRow(row, k, pad, b, h, from, to, S, scores)) {
          y.data.fill(p.zeroEmpty ? 0 : NaN, yAt, yAt + E);
          lse.data[lseAt] = 0;
          continue;
        }
        let top = -Infinity;
        for (let j = from; j < to; j++) if (scores[j] > top) top = scores[j];
        let sum = 0;
        sums.fill(0);
        let at = rowOf(v, b, from, h);
        for (let j = from; j < to; j++, at += step) {
          const w = Math.exp(scores[j] - top);
          if (w === 0) continue;
          sum += w;
          for (let e = 0; e < E; e++) sums[e] += w * values[at + e];
        }
        const factor = 1 / sum;
        for (let e = 0; e < E; e++) y.data[yAt + e] = sums[e] * factor;
        lse.data[lseAt] = top + Math.log(sum);
      }
    }
  }
}

/** Gradients; dk and dv may be missing. Each is [B, T, H, D] with any strides but unit ones along the last dim. */
export function attentionBackwardHost(
  [q, k, v, pad]: Inputs,
  [g, y, lse]: readonly HostArray[],
  [dq, dk, dv]: readonly (HostArray | undefined)[],
  p: AttentionParams,
): void {
  const { B, T, S, H, D, E } = attentionSizes(q, v);
  const query = new Float64Array(D);
  const slope = new Float64Array(E);
  const sums = new Float64Array(D);
  const scores = new Float64Array(S);
  const steps = new Float64Array(S);
  const dQ = dq!;
  for (let b = 0; b < B; b++) {
    for (let h = 0; h < H; h++) {
      for (const x of [dk, dv]) {
        if (x) for (let j = 0; j < S; j++) x.data.fill(0, rowOf(x, b, j, h), rowOf(x, b, j, h) + x.shape[3]);
      }
      for (let i = 0; i < T; i++) {
        const at = ((b * T + i) * H + h) * E;
        let delta = 0;
        for (let e = 0; e < E; e++) {
          slope[e] = g.data[g.offset + at + e];
          delta += slope[e] * y.data[y.offset + at + e];
        }
        const qAt = rowOf(q, b, i, h);
        for (let d = 0; d < D; d++) query[d] = q.data[qAt + d] * p.scale;
        const [from, to] = range(i, S, p);
        sums.fill(0);
        if (scoreRow(query, k, pad, b, h, from, to, S, scores)) {
          scoreRow(slope, v, pad, b, h, from, to, S, steps);
          const log = lse.data[lse.offset + (b * H + h) * T + i];
          for (let j = from; j < to; j++) {
            const w = Math.exp(scores[j] - log);
            if (w === 0) continue;
            const ds = w * (steps[j] - delta);
            const kAt = rowOf(k, b, j, h);
            for (let d = 0; d < D; d++) sums[d] += ds * k.data[kAt + d];
            if (dk && dv) {
              const dkAt = rowOf(dk, b, j, h);
              const dvAt = rowOf(dv, b, j, h);
              // The rows of `query` hold the scale already.
              for (let d = 0; d < D; d++) dk.data[dkAt + d] += ds * query[d];
              for (let e = 0; e < E; e++) dv.data[dvAt + e] += w * slope[e];
            }
          }
        }
        const dqAt = rowOf(dQ, b, i, h);
        for (let d = 0; d < D; d++) dQ.data[dqAt + d] = sums[d] * p.scale;
      }
    }
  }
}
