/** GRU over whole sequences; layouts as in lstm.ts, with acts [rows, 5, H]: r, z, n, q and the h before the step. */
import {
  copyStates, gateSigmoid, gateTanh, GROUP, groups, loadSome, packStates, stateGradient, storePacked, storeSome,
  throughSigmoid, throughTanh, tile,
} from './recurrent-tile';
import { rowTimesMatrix } from './vector';

/** Values kept per unit. */
const ACTS: i32 = 5;
/** A tile's sums: three gates of four units, and nothing. */
const SUMS: usize = 64;

/** `bias` [3H] is that of the recurrent part; `packed` as in `lstm`. */
export function gru(
  count: i32, steps: i32, H: i32, first: i32, rowB: i32, rowT: i32,
  xp: usize, h0: usize, h0Row: i32, h0Col: i32, weight: usize, packed: usize, bias: usize,
  out: usize, acts: usize, scratch: usize, from: i32,
): void {
  const unit = <usize>H << 2;
  const start = <usize>(first + from * rowB);
  xp += start * 3 * unit;
  out += start * unit;
  acts += start * ACTS * unit;
  h0 += <usize>(from * h0Row) << 2;
  copyStates(count, H, h0, h0Row, h0Col, acts + 4 * unit, rowB * ACTS * H);
  let h = scratch + SUMS * GROUP;
  let next = h + <usize>(groups(count) * GROUP) * unit;
  if (packed) {
    packStates(count, H, h0, h0Row, h0Col, h);
    memory.copy(next, h, <usize>(groups(count) * GROUP) * unit);
  }
  for (let s = 0; s < steps; s++) {
    const row = s * rowT;
    const later = s + 1 < steps ? <usize>rowT * ACTS * unit + 4 * unit : 0;
    if (!packed) {
      for (let b = 0; b < count; b++) {
        const r = <usize>(row + b * rowB);
        const at = acts + r * ACTS * unit;
        rowTimesMatrix(H, 3 * H, at + 4 * unit, weight, 1, H, h);
        for (let j = 0; j < H; j += 4) {
          const column = <usize>j << 2;
          const y = cell(
            xp + r * 3 * unit + column, h + column, unit, bias + column, unit, H - j, at + column, out + r * unit + column,
          );
          if (later) storeSome(at + later + column, y, H - j);
        }
      }
      continue;
    }
    let panel = packed;
    for (let j = 0; j < H; j += 4) {
      const lanes = H - j;
      const column = <usize>j << 2;
      for (let b = 0; b < count; b += GROUP) {
        const group = <usize>b * unit;
        tile(H, h + group, panel, scratch, SUMS);
        tile(H, h + group, panel + unit * 8, scratch + 32, SUMS);
        for (let i = 0; i < min(GROUP, count - b); i++) {
          const r = <usize>(row + (b + i) * rowB);
          const at = acts + r * ACTS * unit + column;
          const y = cell(
            xp + r * 3 * unit + column, scratch + <usize>i * SUMS, 16, bias + column, unit, lanes,
            at, out + r * unit + column,
          );
          storePacked(next + group + (<usize>(j * GROUP + i) << 2), y, lanes);
          if (later) storeSome(at + later, y, lanes);
        }
      }
      panel += unit * 16;
    }
    const before = h;
    h = next;
    next = before;
  }
}

/** Four units of one sequence; returns h' = n + z·(h − n). Gates are `gate` bytes apart in `sums`. */
// @ts-ignore: decorators of functions exist in AssemblyScript only
@inline
function cell(x: usize, sums: usize, gate: usize, bias: usize, unit: usize, lanes: i32, acts: usize, out: usize): v128 {
  const r = gateSigmoid(f32x4.add(f32x4.add(loadSome(sums, lanes), loadSome(bias, lanes)), loadSome(x, lanes)));
  const z = gateSigmoid(
    f32x4.add(f32x4.add(loadSome(sums + gate, lanes), loadSome(bias + unit, lanes)), loadSome(x + unit, lanes)),
  );
  const q = f32x4.add(loadSome(sums + 2 * gate, lanes), loadSome(bias + 2 * unit, lanes));
  const n = gateTanh(f32x4.add(loadSome(x + 2 * unit, lanes), f32x4.mul(r, q)));
  const h = f32x4.add(n, f32x4.mul(z, f32x4.sub(loadSome(acts + 4 * unit, lanes), n)));
  storeSome(acts, r, lanes);
  storeSome(acts + unit, z, lanes);
  storeSome(acts + 2 * unit, n, lanes);
  storeSome(acts + 3 * unit, q, lanes);
  storeSome(out, h, lanes);
  return h;
}

/** Gradients of the recurrent part (dp), of h0 and of xp from that of `out`. `packed` as in `lstmBackward`. */
export function gruBackward(
  count: i32, steps: i32, H: i32, first: i32, rowB: i32, rowT: i32,
  dOut: usize, acts: usize, weight: usize, packed: usize, dp: usize, dh: usize, dx: usize, scratch: usize, from: i32,
): void {
  const unit = <usize>H << 2;
  const start = <usize>(first + from * rowB);
  dOut += start * unit;
  acts += start * ACTS * unit;
  dp += start * 3 * unit;
  dx += start * 3 * unit;
  dh += <usize>from * unit;
  const group = <usize>(groups(count) * GROUP) * unit;
  const gates = scratch + SUMS * GROUP;
  // What bypasses the recurrent product.
  const carry = gates + 3 * group;
  memory.fill(dh, 0, <usize>count * unit);
  memory.fill(gates, 0, 3 * group);
  for (let s = steps - 1; s >= 0; s--) {
    for (let b = 0; b < count; b++) {
      const r = <usize>(s * rowT + b * rowB);
      for (let j = 0; j < H; j += 4) {
        const column = <usize>j << 2;
        cellBackward(
          dOut + r * unit + column, acts + r * ACTS * unit + column, unit, H - j,
          dp + r * 3 * unit + column, dx + r * 3 * unit + column, dh + <usize>b * unit + column,
          carry + <usize>b * unit + column,
          packed ? gates + (<usize>(b / GROUP * GROUP * 3 * H + j * GROUP + b % GROUP) << 2) : 0,
        );
      }
      if (!packed) rowTimesMatrix(3 * H, H, dp + r * 3 * unit, weight, H, 1, dh + <usize>b * unit);
    }
    if (packed) stateGradient(count, H, 3 * H, gates, packed, dh, scratch);
    for (let at = <usize>0; at < <usize>count * unit; at += 4) {
      store<f32>(dh + at, load<f32>(dh + at) + load<f32>(carry + at));
    }
  }
}

// @ts-ignore
@inline
function cellBackward(
  dOut: usize, acts: usize, unit: usize, lanes: i32, dp: usize, dx: usize, dh: usize, carry: usize, packed: usize,
): void {
  const r = loadSome(acts, lanes);
  const z = loadSome(acts + unit, lanes);
  const n = loadSome(acts + 2 * unit, lanes);
  const d = f32x4.add(loadSome(dh, lanes), loadSome(dOut, lanes));
  const kept = f32x4.mul(d, z);
  const dn = throughTanh(f32x4.sub(d, kept), n);
  const dz = throughSigmoid(f32x4.mul(d, f32x4.sub(loadSome(acts + 4 * unit, lanes), n)), z);
  const dr = throughSigmoid(f32x4.mul(dn, loadSome(acts + 3 * unit, lanes)), r);
  const inner = f32x4.mul(dn, r);
  storeSome(dx, dr, lanes);
  storeSome(dx + unit, dz, lanes);
  storeSome(dx + 2 * unit, dn, lanes);
  storeSome(dp, dr, lanes);
  storeSome(dp + unit, dz, lanes);
  storeSome(dp + 2 * unit, inner, lanes);
  storeSome(carry, kept, lanes);
  if (packed == 0) return;
  storePacked(packed, dr, lanes);
  storePacked(packed + GROUP * unit, dz, lanes);
  storePacked(packed + 2 * GROUP * unit, inner, lanes);
}
