/** Plain recurrent layers over whole sequences; layouts as in lstm.ts, with acts [rows, H] the h before the step. */
import {
  copyStates, gateTanh, GROUP, groups, loadSome, packStates, stateGradient, storePacked, storeSome, throughTanh, tile,
} from './recurrent-tile';
import { rowTimesMatrix } from './vector';

/** A tile's sums: eight units. */
const SUMS: usize = 32;

/** h' = tanh, or with `relu` the larger of 0 and, xp + W·h. `packed` as in `lstm`. */
export function rnn(
  relu: bool, count: i32, steps: i32, H: i32, first: i32, rowB: i32, rowT: i32,
  xp: usize, h0: usize, h0Row: i32, h0Col: i32, weight: usize, packed: usize,
  out: usize, acts: usize, scratch: usize, from: i32,
): void {
  const unit = <usize>H << 2;
  const start = <usize>(first + from * rowB) * unit;
  xp += start;
  out += start;
  acts += start;
  h0 += <usize>(from * h0Row) << 2;
  copyStates(count, H, h0, h0Row, h0Col, acts, rowB * H);
  let h = scratch + SUMS * GROUP;
  let next = h + <usize>(groups(count) * GROUP) * unit;
  if (packed) {
    packStates(count, H, h0, h0Row, h0Col, h);
    memory.copy(next, h, <usize>(groups(count) * GROUP) * unit);
  }
  for (let s = 0; s < steps; s++) {
    const later = s + 1 < steps ? <usize>rowT * unit : 0;
    let panel = packed;
    for (let j = 0; j < H; j += packed ? 8 : H) {
      for (let b = 0; b < count; b += packed ? GROUP : 1) {
        const group = <usize>b * unit;
        const row = <usize>(s * rowT + b * rowB) * unit;
        if (packed) tile(H, h + group, panel, scratch, SUMS);
        else rowTimesMatrix(H, H, acts + row, weight, 1, H, h);
        const members = packed ? min(GROUP, count - b) : 1;
        const width = packed ? min(8, H - j) : H;
        for (let i = 0; i < members; i++) {
          const sums = packed ? scratch + <usize>i * SUMS : h;
          for (let u = 0; u < width; u += 4) {
            const lanes = H - j - u;
            const at = row + <usize>(i * rowB) * unit + (<usize>(j + u) << 2);
            const x = f32x4.add(loadSome(sums + (<usize>u << 2), lanes), loadSome(xp + at, lanes));
            // NaN passes: pmax returns its first operand unless the second is larger.
            const y = relu ? f32x4.pmax(x, f32x4.splat(0)) : gateTanh(x);
            storeSome(out + at, y, lanes);
            if (later) storeSome(acts + later + at, y, lanes);
            if (packed) storePacked(next + group + (<usize>((j + u) * GROUP + i) << 2), y, lanes);
          }
        }
      }
      panel += unit * 8;
    }
    const before = h;
    h = packed ? next : h;
    next = packed ? before : next;
  }
}

/** Gradients of xp and h0 from that of `out`; `states` is `out` itself. `packed` as in `lstmBackward`. */
export function rnnBackward(
  relu: bool, count: i32, steps: i32, H: i32, first: i32, rowB: i32, rowT: i32,
  dOut: usize, states: usize, weight: usize, packed: usize, dx: usize, dh: usize, scratch: usize, from: i32,
): void {
  const unit = <usize>H << 2;
  const start = <usize>(first + from * rowB) * unit;
  dOut += start;
  states += start;
  dx += start;
  dh += <usize>from * unit;
  const gates = scratch + SUMS * GROUP;
  memory.fill(dh, 0, <usize>count * unit);
  memory.fill(gates, 0, <usize>(groups(count) * GROUP) * unit);
  for (let s = steps - 1; s >= 0; s--) {
    for (let b = 0; b < count; b++) {
      const row = <usize>(s * rowT + b * rowB) * unit;
      for (let j = 0; j < H; j += 4) {
        const lanes = H - j;
        const column = <usize>j << 2;
        const d = f32x4.add(loadSome(dh + <usize>b * unit + column, lanes), loadSome(dOut + row + column, lanes));
        const y = loadSome(states + row + column, lanes);
        const g = relu ? v128.and(d, f32x4.gt(y, f32x4.splat(0))) : throughTanh(d, y);
        storeSome(dx + row + column, g, lanes);
        if (packed) storePacked(gates + (<usize>(b / GROUP * GROUP * H + j * GROUP + b % GROUP) << 2), g, lanes);
      }
      if (!packed) rowTimesMatrix(H, H, dx + row, weight, H, 1, dh + <usize>b * unit);
    }
    if (packed) stateGradient(count, H, H, gates, packed, dh, scratch);
  }
}
