/**
 * LSTM over whole sequences. A call takes `count` sequences of a batch, from the one numbered `from`: no two share anything,
 * and the results are the same however a batch is divided.
 *
 * Layouts: step s of sequence b is row first + b·rowB + s·rowT of the arrays over all steps: xp and dx [rows, 4H], out and
 * dOut [rows, H], acts [rows, 6, H] with i, f, g, o, c and the h before the step. States are [B, H].
 */
import {
  copyStates, gateSigmoid, gateTanh, GROUP, groups, loadSome, packStates, stateGradient, storePacked, storeSome,
  throughSigmoid, throughTanh, tile,
} from './recurrent-tile';
import { rowTimesMatrix } from './vector';

/** Values kept per unit. */
const ACTS: i32 = 6;
/** A tile's sums: four gates of four units. */
const SUMS: usize = 64;

/**
 * `packed` is `weight` as recurrentPack has it, or 0: then it is read as it is, which is better for a few steps. c takes the
 * last cell states.
 */
export function lstm(
  count: i32, steps: i32, H: i32, first: i32, rowB: i32, rowT: i32,
  xp: usize, h0: usize, h0Row: i32, h0Col: i32, weight: usize, packed: usize, c0: usize, c0Row: i32, c0Col: i32,
  out: usize, acts: usize, c: usize, scratch: usize, from: i32,
): void {
  const unit = <usize>H << 2;
  const start = <usize>(first + from * rowB);
  xp += start * 4 * unit;
  out += start * unit;
  acts += start * ACTS * unit;
  h0 += <usize>(from * h0Row) << 2;
  c0 += <usize>(from * c0Row) << 2;
  c += <usize>from * unit;
  copyStates(count, H, h0, h0Row, h0Col, acts + 5 * unit, rowB * ACTS * H);
  copyStates(count, H, c0, c0Row, c0Col, c, H);
  // States of all groups, of this step and the next.
  let h = scratch + SUMS * GROUP;
  let next = h + <usize>(groups(count) * GROUP) * unit;
  if (packed) {
    packStates(count, H, h0, h0Row, h0Col, h);
    memory.copy(next, h, <usize>(groups(count) * GROUP) * unit);
  }
  for (let s = 0; s < steps; s++) {
    const row = s * rowT;
    const later = s + 1 < steps ? <usize>rowT * ACTS * unit + 5 * unit : 0;
    if (!packed) {
      for (let b = 0; b < count; b++) {
        const r = <usize>(row + b * rowB);
        const at = acts + r * ACTS * unit;
        rowTimesMatrix(H, 4 * H, at + 5 * unit, weight, 1, H, h);
        for (let j = 0; j < H; j += 4) {
          const column = <usize>j << 2;
          const y = cell(
            xp + r * 4 * unit + column, h + column, unit, unit, H - j,
            c + <usize>b * unit + column, at + column, out + r * unit + column,
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
            xp + r * 4 * unit + column, scratch + <usize>i * SUMS, 16, unit, lanes,
            c + <usize>(b + i) * unit + column, at, out + r * unit + column,
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

/** Four units of one sequence: c' = f·c + i·g; returns h' = o·tanh c'. Gates are `gate` bytes apart in `sums`. */
// @ts-ignore: decorators of functions exist in AssemblyScript only
@inline
function cell(x: usize, sums: usize, gate: usize, unit: usize, lanes: i32, c: usize, acts: usize, out: usize): v128 {
  const i = gateSigmoid(f32x4.add(loadSome(sums, lanes), loadSome(x, lanes)));
  const f = gateSigmoid(f32x4.add(loadSome(sums + gate, lanes), loadSome(x + unit, lanes)));
  const g = gateTanh(f32x4.add(loadSome(sums + 2 * gate, lanes), loadSome(x + 2 * unit, lanes)));
  const o = gateSigmoid(f32x4.add(loadSome(sums + 3 * gate, lanes), loadSome(x + 3 * unit, lanes)));
  const state = f32x4.add(f32x4.mul(f, loadSome(c, lanes)), f32x4.mul(i, g));
  const h = f32x4.mul(o, gateTanh(state));
  storeSome(c, state, lanes);
  storeSome(acts, i, lanes);
  storeSome(acts + unit, f, lanes);
  storeSome(acts + 2 * unit, g, lanes);
  storeSome(acts + 3 * unit, o, lanes);
  storeSome(acts + 4 * unit, state, lanes);
  storeSome(out, h, lanes);
  return h;
}

/**
 * Gradients of xp, h0 and c0 from those of `out` and of the last c (any strides). `packed` is as recurrentPackBackward has
 * the weights, or 0. dh and dc [B, H] hold the gradients of the states on their way back.
 */
export function lstmBackward(
  count: i32, steps: i32, H: i32, first: i32, rowB: i32, rowT: i32,
  dOut: usize, dLast: usize, dLastRow: i32, dLastCol: i32,
  acts: usize, c0: usize, c0Row: i32, c0Col: i32, weight: usize, packed: usize,
  dx: usize, dh: usize, dc: usize, scratch: usize, from: i32,
): void {
  const unit = <usize>H << 2;
  const start = <usize>(first + from * rowB);
  dOut += start * unit;
  acts += start * ACTS * unit;
  dx += start * 4 * unit;
  dLast += <usize>(from * dLastRow) << 2;
  c0 += <usize>(from * c0Row) << 2;
  dh += <usize>from * unit;
  dc += <usize>from * unit;
  const gates = scratch + SUMS * GROUP;
  memory.fill(dh, 0, <usize>count * unit);
  memory.fill(gates, 0, <usize>(groups(count) * GROUP * 4) * unit);
  copyStates(count, H, dLast, dLastRow, dLastCol, dc, H);
  for (let s = steps - 1; s >= 0; s--) {
    const row = s * rowT;
    for (let b = 0; b < count; b++) {
      const r = <usize>(row + b * rowB);
      const at = acts + r * ACTS * unit;
      // The cell state before the step.
      const before = acts + <usize>(row + b * rowB - rowT) * ACTS * unit + 4 * unit;
      const initial = c0 + (<usize>(b * c0Row) << 2);
      for (let j = 0; j < H; j += 4) {
        const lanes = H - j;
        const column = <usize>j << 2;
        const c = s > 0 ? loadSome(before + column, lanes) : gatherSome(initial + (<usize>(j * c0Col) << 2), c0Col, lanes);
        cellBackward(
          dOut + r * unit + column, at + column, unit, c, lanes, dx + r * 4 * unit + column,
          dh + <usize>b * unit + column, dc + <usize>b * unit + column,
          packed ? gates + (<usize>(b / GROUP * GROUP * 4 * H + j * GROUP + b % GROUP) << 2) : 0,
        );
      }
      if (!packed) rowTimesMatrix(4 * H, H, dx + r * 4 * unit, weight, H, 1, dh + <usize>b * unit);
    }
    if (packed) stateGradient(count, H, 4 * H, gates, packed, dh, scratch);
  }
}

/** Up to four floats, `column` elements apart. */
// @ts-ignore
@inline
function gatherSome(at: usize, column: i32, lanes: i32): v128 {
  const step = <usize>column << 2;
  let v = v128.load32_zero(at);
  if (lanes > 1) v = f32x4.replace_lane(v, 1, load<f32>(at + step));
  if (lanes > 2) v = f32x4.replace_lane(v, 2, load<f32>(at + 2 * step));
  if (lanes > 3) v = f32x4.replace_lane(v, 3, load<f32>(at + 3 * step));
  return v;
}

// @ts-ignore
@inline
function cellBackward(
  dOut: usize, acts: usize, unit: usize, c: v128, lanes: i32, dx: usize, dh: usize, dc: usize, packed: usize,
): void {
  const i = loadSome(acts, lanes);
  const f = loadSome(acts + unit, lanes);
  const g = loadSome(acts + 2 * unit, lanes);
  const o = loadSome(acts + 3 * unit, lanes);
  const t = gateTanh(loadSome(acts + 4 * unit, lanes));
  const d = f32x4.add(loadSome(dh, lanes), loadSome(dOut, lanes));
  const ofTanh = throughTanh(f32x4.mul(d, o), t);
  const state = f32x4.add(loadSome(dc, lanes), ofTanh);
  const di = throughSigmoid(f32x4.mul(state, g), i);
  const df = throughSigmoid(f32x4.mul(state, c), f);
  const dg = throughTanh(f32x4.mul(state, i), g);
  const dO = throughSigmoid(f32x4.mul(d, t), o);
  storeSome(dx, di, lanes);
  storeSome(dx + unit, df, lanes);
  storeSome(dx + 2 * unit, dg, lanes);
  storeSome(dx + 3 * unit, dO, lanes);
  storeSome(dc, f32x4.mul(state, f), lanes);
  if (packed == 0) return;
  storePacked(packed, di, lanes);
  storePacked(packed + GROUP * unit, df, lanes);
  storePacked(packed + 2 * GROUP * unit, dg, lanes);
  storePacked(packed + 3 * GROUP * unit, dO, lanes);
}
