/**
 * Attention of one head, block by block of keys with a running maximum and sum (Milakov and Gimelshein 2018; Dao et al.
 * 2022), so that the scores of all queries and keys never exist at once.
 *
 * Eight queries lie side by side in lanes: scores are a matrix [keys, 8], maxima and sums run down its columns without a
 * step across lanes, and keys and values are read where they lie. Blocks begin at multiples of their size, and a key that
 * a query may not see adds an exact zero, so a query's result does not depend on which other queries are in the call.
 */
import { multiplyAdd } from './fused';
import { constant, expNegative4, log4 } from './math';
import { packPanels } from './pack';
import { expRow } from './rows';
import { addProduct, productScratchBytes, tile1, tile4 } from './tile';

/** Queries side by side. */
const LANES: i32 = 8;
const LANE_BYTES: usize = 32;
/** Keys of a block: their scores are 2 KiB, and 64 values of 64 floats 16 KiB of the first-level cache. */
const KEYS: i32 = 64;
/** Queries and keys of a block of the gradients: two matrices of 4 KiB beside the rows. */
const QUERIES: i32 = 32;
const QUERY_BYTES: usize = 128;
const BACKWARD_KEYS: i32 = 32;

/** Bytes of scratch that `attentionForward` needs: a panel of queries, scores, corrections and that of a product. */
export function attentionScratchBytes(dim: i32): usize {
  return (<usize>((dim + KEYS + 1) * LANES) << 2) + productScratchBytes(KEYS);
}

/** Bytes of scratch that `attentionBackward` needs. */
export function attentionBackwardScratchBytes(dim: i32, vDim: i32): usize {
  const rows = dim + vDim + 2 * BACKWARD_KEYS + 2;
  return (<usize>(rows * QUERIES) << 2) + productScratchBytes(max(QUERIES, BACKWARD_KEYS));
}

/** scores[keys × 8] = rows of k · panel, `step` bytes from row to row of the scores. */
function scoreBlock(count: i32, dim: i32, k: usize, kStep: usize, panel: usize, scores: usize, step: usize): void {
  for (; count >= 4; count -= 4) {
    tile4(dim, k, kStep, 4, panel, LANE_BYTES, scores, step, false);
    k += kStep * 4;
    scores += step * 4;
  }
  for (; count > 0; count--) {
    tile1(dim, k, 4, panel, LANE_BYTES, scores, false);
    k += kStep;
    scores += step;
  }
}

/**
 * Hides, as -∞, the scores of keys outside the window: query r (a lane) at `position` + r sees keys from
 * position + r - left to position + r + right.
 */
function hideOutside(
  count: i32, key: i32, position: i32, left: i32, right: i32, scores: usize, step: usize,
): void {
  // Lanes of keys that the queries see last and first.
  const last = i32x4.add(i32x4.splat(position + right), i32x4(0, 1, 2, 3));
  const first = i32x4.add(i32x4.splat(position - left), i32x4(0, 1, 2, 3));
  const hidden = constant(-Infinity);
  for (let t = 0; t < count; t++) {
    const here = i32x4.splat(key + t);
    let out = v128.or(i32x4.gt_s(here, last), i32x4.lt_s(here, first));
    v128.store(scores, v128.bitselect(hidden, v128.load(scores), out));
    const back = i32x4.splat(key + t - 4);
    out = v128.or(i32x4.gt_s(back, last), i32x4.lt_s(back, first));
    v128.store(scores, v128.bitselect(hidden, v128.load(scores, 16), out), 16);
    scores += step;
  }
}

/** Hides the scores of keys whose word in the mask is 0. */
function hideMasked(count: i32, mask: usize, scores: usize, step: usize): void {
  for (let t = 0; t < count; t++) {
    if (load<u32>(mask + (<usize>t << 2)) == 0) {
      v128.store(scores, constant(-Infinity));
      v128.store(scores, constant(-Infinity), 16);
    }
    scores += step;
  }
}

/** A panel [dim, 8] of up to eight rows, times `scale`. */
function packScaled(rows: i32, dim: i32, x: usize, xRow: i32, scale: f32, panel: usize): void {
  packPanels(rows, dim, x, xRow, 1, panel, LANES);
  const factor = constant(scale);
  for (const end = panel + <usize>dim * LANE_BYTES; panel < end; panel += 16) {
    v128.store(panel, f32x4.mul(v128.load(panel), factor));
  }
}

/** x ← x · factor */
function scaleRow(count: i32, x: usize, factor: f32): void {
  const factors = constant(factor);
  for (; count >= 4; count -= 4) {
    v128.store(x, f32x4.mul(v128.load(x), factors));
    x += 16;
  }
  for (; count > 0; count--) {
    store<f32>(x, load<f32>(x) * factor);
    x += 4;
  }
}

/**
 * o = softmax(scale · q·kᵀ) · v of several heads, and lse = log Σ e^score, one number per query.
 *
 * A head of q is [queries, dim], of k [keys, dim], of v [keys, vDim], of o [queries, vDim]: rows contiguous, `…Row` elements
 * apart, heads `…Head`. Query i stands at `first` + i among the keys and sees those from `left` before it to `right` after
 * it, but none whose word in `mask` (of all heads; address 0: no mask) is 0. A query that sees nothing gives NaN, or 0
 * where `zeroEmpty`, and lse 0.
 */
export function attentionForward(
  heads: i32, queries: i32, keys: i32, dim: i32, vDim: i32,
  q: usize, qHead: i32, qRow: i32, k: usize, kHead: i32, kRow: i32, v: usize, vHead: i32, vRow: i32, mask: usize,
  scale: f64, first: i32, left: i32, right: i32, zeroEmpty: bool,
  o: usize, oHead: i32, oRow: i32, lse: usize, lseHead: i32, scratch: usize,
): void {
  for (; heads > 0; heads--) {
    forwardHead(
      queries, keys, dim, vDim, q, qRow, k, <usize>kRow << 2, v, <usize>vRow << 2, mask,
      <f32>scale, first, left, right, zeroEmpty, o, <usize>oRow << 2, lse, scratch,
    );
    q += <usize>qHead << 2;
    k += <usize>kHead << 2;
    v += <usize>vHead << 2;
    o += <usize>oHead << 2;
    lse += <usize>lseHead << 2;
  }
}

function forwardHead(
  queries: i32, keys: i32, dim: i32, vDim: i32,
  q: usize, qRow: i32, k: usize, kStep: usize, v: usize, vStep: usize, mask: usize,
  scale: f32, first: i32, left: i32, right: i32, zeroEmpty: bool,
  o: usize, oStep: usize, lse: usize, scratch: usize,
): void {
  const panel = scratch;
  const scores = panel + <usize>dim * LANE_BYTES;
  const factors = scores + <usize>KEYS * LANE_BYTES;
  const rest = factors + LANE_BYTES;
  for (let i = 0; i < queries; i += LANES) {
    const rows = min(LANES, queries - i);
    const out = o + <usize>i * oStep;
    packScaled(rows, dim, q + (<usize>i * <usize>qRow << 2), qRow, scale, panel);
    clearRows(rows, vDim, out, oStep);
    let m0 = constant(-Infinity), m1 = m0;
    let l0 = f32x4.splat(0), l1 = l0;
    const position = first + i;
    const end = min(keys, position + rows + right);
    for (let j = max(position - left, 0) / KEYS * KEYS; j < end; j += KEYS) {
      const count = min(KEYS, end - j);
      scoreBlock(count, dim, k + <usize>j * kStep, kStep, panel, scores, LANE_BYTES);
      if (mask) hideMasked(count, mask + (<usize>j << 2), scores, LANE_BYTES);
      if (j + count - 1 > position + right || j < position + rows - 1 - left) {
        hideOutside(count, j, position, left, right, scores, LANE_BYTES);
      }
      const stop = scores + <usize>count * LANE_BYTES;
      let n0 = m0, n1 = m1;
      for (let at = scores; at < stop; at += LANE_BYTES) {
        n0 = f32x4.pmax(n0, v128.load(at));
        n1 = f32x4.pmax(n1, v128.load(at, 16));
      }
      // Where nothing was seen yet, any shift but -∞ leaves the weights at 0.
      const s0 = v128.andnot(n0, f32x4.eq(n0, constant(-Infinity)));
      const s1 = v128.andnot(n1, f32x4.eq(n1, constant(-Infinity)));
      if (v128.any_true(v128.or(f32x4.ne(n0, m0), f32x4.ne(n1, m1)))) {
        const f0 = expNegative4(f32x4.sub(m0, s0));
        const f1 = expNegative4(f32x4.sub(m1, s1));
        l0 = f32x4.mul(l0, f0);
        l1 = f32x4.mul(l1, f1);
        m0 = n0;
        m1 = n1;
        v128.store(factors, f0);
        v128.store(factors, f1, 16);
        if (j > 0) scaleRows(rows, vDim, out, oStep, factors);
      }
      for (let at = scores; at < stop; at += LANE_BYTES) {
        const e0 = expNegative4(f32x4.sub(v128.load(at), s0));
        v128.store(at, e0);
        l0 = f32x4.add(l0, e0);
        const e1 = expNegative4(f32x4.sub(v128.load(at, 16), s1));
        v128.store(at, e1, 16);
        l1 = f32x4.add(l1, e1);
      }
      addProduct(rows, vDim, count, scores, 4, LANE_BYTES, v + <usize>j * vStep, vStep, out, oStep, rest);
    }
    v128.store(factors, inverse(l0, zeroEmpty));
    v128.store(factors, inverse(l1, zeroEmpty), 16);
    scaleRows(rows, vDim, out, oStep, factors);
    // Only a query that saw nothing has a sum of 0.
    v128.store(factors, v128.andnot(f32x4.add(m0, log4(l0)), f32x4.eq(l0, f32x4.splat(0))));
    v128.store(factors, v128.andnot(f32x4.add(m1, log4(l1)), f32x4.eq(l1, f32x4.splat(0))), 16);
    for (let r: usize = 0; r < <usize>rows << 2; r += 4) store<f32>(lse + (<usize>i << 2) + r, load<f32>(factors + r));
  }
}

/** 1 / sum; for the sum 0 infinity, which makes NaN of zeros, or 0. */
// @ts-ignore: decorators of functions exist in AssemblyScript only
@inline
function inverse(sum: v128, zeroEmpty: bool): v128 {
  const factor = f32x4.div(constant(1), sum);
  return zeroEmpty ? v128.andnot(factor, f32x4.eq(sum, f32x4.splat(0))) : factor;
}

function scaleRows(rows: i32, columns: i32, x: usize, step: usize, factors: usize): void {
  for (; rows > 0; rows--) {
    scaleRow(columns, x, load<f32>(factors));
    x += step;
    factors += 4;
  }
}

/** Σ a · b of two rows. */
function dotRows(count: i32, a: usize, b: usize): f32 {
  let sum = f32x4.splat(0);
  for (; count >= 4; count -= 4) {
    sum = f32x4.add(sum, f32x4.mul(v128.load(a), v128.load(b)));
    a += 16;
    b += 16;
  }
  let total = (f32x4.extract_lane(sum, 0) + f32x4.extract_lane(sum, 2)) + (f32x4.extract_lane(sum, 1) + f32x4.extract_lane(sum, 3));
  for (; count > 0; count--) {
    total += load<f32>(a) * load<f32>(b);
    a += 4;
    b += 4;
  }
  return total;
}

/** weights ← e^(scores - lse) and slopes ← weights · (slopes - delta) · scale, down eight lanes. */
function weightBlock(count: i32, weights: usize, slopes: usize, lse: usize, delta: usize, scale: f32): void {
  const shift0 = v128.load(lse), shift1 = v128.load(lse, 16);
  const delta0 = v128.load(delta), delta1 = v128.load(delta, 16);
  const factor = constant(scale);
  for (; count > 0; count--) {
    const p0 = expNegative4(f32x4.sub(v128.load(weights), shift0));
    const p1 = expNegative4(f32x4.sub(v128.load(weights, 16), shift1));
    v128.store(weights, p0);
    v128.store(weights, p1, 16);
    const d0 = f32x4.mul(f32x4.mul(p0, f32x4.sub(v128.load(slopes), delta0)), factor);
    const d1 = f32x4.mul(f32x4.mul(p1, f32x4.sub(v128.load(slopes, 16), delta1)), factor);
    // A weight of 0 has no slope, also where delta is NaN because its query sees nothing.
    v128.store(slopes, v128.andnot(d0, f32x4.eq(p0, f32x4.splat(0))));
    v128.store(slopes, v128.andnot(d1, f32x4.eq(p1, f32x4.splat(0))), 16);
    weights += QUERY_BYTES;
    slopes += QUERY_BYTES;
  }
}

function clearRows(rows: i32, columns: i32, x: usize, xStep: usize): void {
  for (; rows > 0; rows--) {
    memory.fill(x, 0, <usize>columns << 2);
    x += xStep;
  }
}

/**
 * Gradients of `attentionForward` from o, lse and g, the gradient of o, which has the strides of o; with p the weights and
 * δ = Σ g·o per query: dv = pᵀ·g, ds = p · (g·vᵀ - δ), dq = scale · ds·k, dk = scale · dsᵀ·q. Address 0 leaves dk and dv out.
 */
export function attentionBackward(
  heads: i32, queries: i32, keys: i32, dim: i32, vDim: i32,
  q: usize, qHead: i32, qRow: i32, k: usize, kHead: i32, kRow: i32, v: usize, vHead: i32, vRow: i32, mask: usize,
  scale: f64, first: i32, left: i32, right: i32,
  o: usize, g: usize, oHead: i32, oRow: i32, lse: usize, lseHead: i32,
  dq: usize, dqHead: i32, dqRow: i32, dk: usize, dkHead: i32, dkRow: i32, dv: usize, dvHead: i32, dvRow: i32,
  scratch: usize,
): void {
  for (; heads > 0; heads--) {
    clearRows(queries, dim, dq, <usize>dqRow << 2);
    if (dk) {
      clearRows(keys, dim, dk, <usize>dkRow << 2);
      clearRows(keys, vDim, dv, <usize>dvRow << 2);
    }
    for (let i = 0; i < queries; i += QUERIES) {
      const at = <usize>i << 2;
      backwardBlock(
        min(QUERIES, queries - i), keys, dim, vDim,
        q + at * <usize>qRow, qRow, k, <usize>kRow << 2, v, <usize>vRow << 2, mask, <f32>scale, first + i, left, right,
        o + at * <usize>oRow, g + at * <usize>oRow, oRow, lse + at,
        dq + at * <usize>dqRow, <usize>dqRow << 2, dk, <usize>dkRow << 2, dv, <usize>dvRow << 2, scratch,
      );
    }
    q += <usize>qHead << 2;
    k += <usize>kHead << 2;
    v += <usize>vHead << 2;
    o += <usize>oHead << 2;
    g += <usize>oHead << 2;
    lse += <usize>lseHead << 2;
    dq += <usize>dqHead << 2;
    if (dk) {
      dk += <usize>dkHead << 2;
      dv += <usize>dvHead << 2;
    }
  }
}

/** The share of up to 32 queries in all gradients. */
function backwardBlock(
  rows: i32, keys: i32, dim: i32, vDim: i32,
  q: usize, qRow: i32, k: usize, kStep: usize, v: usize, vStep: usize, mask: usize,
  scale: f32, position: i32, left: i32, right: i32, o: usize, g: usize, oRow: i32, lse: usize,
  dq: usize, dqStep: usize, dk: usize, dkStep: usize, dv: usize, dvStep: usize, scratch: usize,
): void {
  const qPanel = scratch;
  const gPanel = qPanel + <usize>dim * QUERY_BYTES;
  const weights = gPanel + <usize>vDim * QUERY_BYTES;
  const slopes = weights + <usize>BACKWARD_KEYS * QUERY_BYTES;
  const shifts = slopes + <usize>BACKWARD_KEYS * QUERY_BYTES;
  const deltas = shifts + QUERY_BYTES;
  const rest = deltas + QUERY_BYTES;
  const qStep = <usize>qRow << 2;
  const gStep = <usize>oRow << 2;
  const groups = (rows + LANES - 1) / LANES;
  memory.fill(shifts, 0, QUERY_BYTES * 2);
  for (let r: usize = 0; r < <usize>rows; r++) {
    store<f32>(shifts + (r << 2), load<f32>(lse + (r << 2)));
    store<f32>(deltas + (r << 2), dotRows(vDim, g + r * gStep, o + r * gStep));
  }
  for (let n = 0; n < groups; n++) {
    const lanes = min(LANES, rows - n * LANES);
    const group = <usize>(n * LANES);
    packScaled(lanes, dim, q + group * qStep, qRow, scale, qPanel + group * 4 * <usize>dim);
    packPanels(lanes, vDim, g + group * gStep, oRow, 1, gPanel + group * 4 * <usize>vDim, LANES);
  }
  const end = min(keys, position + rows + right);
  for (let j = max(position - left, 0) / BACKWARD_KEYS * BACKWARD_KEYS; j < end; j += BACKWARD_KEYS) {
    const count = min(BACKWARD_KEYS, end - j);
    const kBlock = k + <usize>j * kStep;
    const vBlock = v + <usize>j * vStep;
    // Groups of queries that see some of these keys: those whose last query reaches back and whose window has begun.
    let from = 0, to = groups;
    while (from < to && position + min(from * LANES + LANES, rows) - 1 + right < j) from++;
    while (to > from && position + (to - 1) * LANES - left > j + count - 1) to--;
    for (let n = from; n < to; n++) {
      const lanes = min(LANES, rows - n * LANES);
      const group = <usize>(n * LANES) << 2;
      const here = position + n * LANES;
      scoreBlock(count, dim, kBlock, kStep, qPanel + group * <usize>dim, weights + group, QUERY_BYTES);
      if (mask) hideMasked(count, mask + (<usize>j << 2), weights + group, QUERY_BYTES);
      if (j + count - 1 > here + right || j < here + lanes - 1 - left) {
        hideOutside(count, j, here, left, right, weights + group, QUERY_BYTES);
      }
      scoreBlock(count, vDim, vBlock, vStep, gPanel + group * <usize>vDim, slopes + group, QUERY_BYTES);
      weightBlock(count, weights + group, slopes + group, shifts + group, deltas + group, scale);
    }
    const start = <usize>(from * LANES);
    const steps = min(to * LANES, rows) - from * LANES;
    if (steps <= 0) continue;
    const p = weights + (start << 2);
    const s = slopes + (start << 2);
    addProduct(steps, dim, count, s, 4, QUERY_BYTES, kBlock, kStep, dq + start * dqStep, dqStep, rest);
    if (!dk) continue;
    addProduct(count, vDim, steps, p, QUERY_BYTES, 4, g + start * gStep, gStep, dv + <usize>j * dvStep, dvStep, rest);
    addProduct(count, dim, steps, s, QUERY_BYTES, 4, q + start * qStep, qStep, dk + <usize>j * dkStep, dkStep, rest);
  }
}

/** Bytes of scratch that `attentionRow` needs: a score per key. */
export function attentionRowScratchBytes(keys: i32): usize {
  return <usize>keys << 2;
}

/**
 * `attentionForward` of a single query per head that sees all the keys given, as in decoding: the lanes run along the rows of k
 * and v, which are read once.
 */
export function attentionRow(
  heads: i32, keys: i32, dim: i32, vDim: i32, q: usize, qHead: i32,
  k: usize, kHead: i32, kRow: i32, v: usize, vHead: i32, vRow: i32, mask: usize,
  scale: f64, zeroEmpty: bool, o: usize, oHead: i32, lse: usize, scratch: usize,
): void {
  for (; heads > 0; heads--) {
    rowOfHead(keys, dim, vDim, q, k, <usize>kRow << 2, v, <usize>vRow << 2, mask, <f32>scale, zeroEmpty, o, lse, scratch);
    q += <usize>qHead << 2;
    k += <usize>kHead << 2;
    v += <usize>vHead << 2;
    o += <usize>oHead << 2;
    lse += 4;
  }
}

function rowOfHead(
  keys: i32, dim: i32, vDim: i32, q: usize, k: usize, kStep: usize, v: usize, vStep: usize, mask: usize,
  scale: f32, zeroEmpty: bool, o: usize, lse: usize, scratch: usize,
): void {
  if (mask) {
    // The room that a cache keeps before and behind its tokens is not read.
    while (keys > 0 && load<u32>(mask + (<usize>(keys - 1) << 2)) == 0) keys--;
    for (; keys > 0 && load<u32>(mask) == 0; keys--) {
      k += kStep;
      v += vStep;
      mask += 4;
    }
  }
  const most = scoresOfRow(keys, dim, q, k, kStep, mask, scale, scratch);
  const sum = expRow(keys, scratch, most == -Infinity ? 0 : most, scratch);
  memory.fill(o, 0, <usize>vDim << 2);
  const end = o + (<usize>vDim << 2);
  let j = 0;
  for (; j + 4 <= keys; j += 4) {
    const weights = scratch + (<usize>j << 2);
    const w0 = v128.load32_splat(weights), w1 = v128.load32_splat(weights, 4);
    const w2 = v128.load32_splat(weights, 8), w3 = v128.load32_splat(weights, 12);
    let v0 = v, v1 = v + vStep, v2 = v1 + vStep, v3 = v2 + vStep, to = o;
    v = v3 + vStep;
    for (; to + 16 <= end; to += 16) {
      const y = multiplyAdd(w1, v128.load(v1), multiplyAdd(w0, v128.load(v0), v128.load(to)));
      v128.store(to, multiplyAdd(w3, v128.load(v3), multiplyAdd(w2, v128.load(v2), y)));
      v0 += 16;
      v1 += 16;
      v2 += 16;
      v3 += 16;
    }
    for (; to < end; to += 4) {
      let y = load<f32>(to) + f32x4.extract_lane(w0, 0) * load<f32>(v0);
      y += f32x4.extract_lane(w1, 0) * load<f32>(v1);
      y += f32x4.extract_lane(w2, 0) * load<f32>(v2);
      store<f32>(to, y + f32x4.extract_lane(w3, 0) * load<f32>(v3));
      v0 += 4;
      v1 += 4;
      v2 += 4;
      v3 += 4;
    }
  }
  for (; j < keys; j++) {
    const weight = v128.load32_splat(scratch + (<usize>j << 2));
    let at = v, to = o;
    for (; to + 16 <= end; to += 16) {
      v128.store(to, multiplyAdd(weight, v128.load(at), v128.load(to)));
      at += 16;
    }
    for (; to < end; to += 4) {
      store<f32>(to, load<f32>(to) + f32x4.extract_lane(weight, 0) * load<f32>(at));
      at += 4;
    }
    v += vStep;
  }
  scaleRow(vDim, o, f32x4.extract_lane(inverse(constant(sum), zeroEmpty), 0));
  store<f32>(lse, sum == 0 ? 0 : most + f32x4.extract_lane(log4(constant(sum)), 0));
}

/** scores ← q·kᵀ · scale, −∞ where the mask is 0; gives the largest. Four keys at a time: their sums do not wait for one another. */
function scoresOfRow(
  keys: i32, dim: i32, q: usize, k: usize, kStep: usize, mask: usize, scale: f32, scores: usize,
): f32 {
  const lowest = f32x4.splat(-Infinity);
  const factor = constant(scale);
  let largest = lowest;
  const end = q + (<usize>dim << 2);
  for (; keys >= 4; keys -= 4) {
    let s0 = f32x4.splat(0), s1 = f32x4.splat(0), s2 = f32x4.splat(0), s3 = f32x4.splat(0);
    let k0 = k, k1 = k + kStep, k2 = k1 + kStep, k3 = k2 + kStep, at = q;
    k = k3 + kStep;
    for (; at + 16 <= end; at += 16) {
      const x = v128.load(at);
      s0 = multiplyAdd(x, v128.load(k0), s0);
      s1 = multiplyAdd(x, v128.load(k1), s1);
      s2 = multiplyAdd(x, v128.load(k2), s2);
      s3 = multiplyAdd(x, v128.load(k3), s3);
      k0 += 16;
      k1 += 16;
      k2 += 16;
      k3 += 16;
    }
    const a = f32x4.add(v128.shuffle<f32>(s0, s1, 0, 4, 1, 5), v128.shuffle<f32>(s0, s1, 2, 6, 3, 7));
    const b = f32x4.add(v128.shuffle<f32>(s2, s3, 0, 4, 1, 5), v128.shuffle<f32>(s2, s3, 2, 6, 3, 7));
    let total = f32x4.add(v128.shuffle<f32>(a, b, 0, 1, 4, 5), v128.shuffle<f32>(a, b, 2, 3, 6, 7));
    for (; at < end; at += 4) {
      let column = v128.load32_splat(k0);
      column = f32x4.replace_lane(column, 1, load<f32>(k1));
      column = f32x4.replace_lane(column, 2, load<f32>(k2));
      column = f32x4.replace_lane(column, 3, load<f32>(k3));
      total = multiplyAdd(v128.load32_splat(at), column, total);
      k0 += 4;
      k1 += 4;
      k2 += 4;
      k3 += 4;
    }
    total = f32x4.mul(total, factor);
    if (mask) {
      total = v128.bitselect(total, lowest, i32x4.ne(v128.load(mask), i32x4.splat(0)));
      mask += 16;
    }
    v128.store(scores, total);
    scores += 16;
    largest = f32x4.pmax(largest, total);
  }
  let most = max(
    max(f32x4.extract_lane(largest, 0), f32x4.extract_lane(largest, 1)),
    max(f32x4.extract_lane(largest, 2), f32x4.extract_lane(largest, 3)),
  );
  for (; keys > 0; keys--) {
    const score: f32 = mask && load<u32>(mask) == 0 ? -Infinity : dotRows(dim, q, k) * scale;
    store<f32>(scores, score);
    if (score > most) most = score;
    if (mask) mask += 4;
    scores += 4;
    k += kStep;
  }
  return most;
}
