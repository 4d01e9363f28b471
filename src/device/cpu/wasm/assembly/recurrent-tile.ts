/**
 * What recurrent layers share: products of the states of some sequences with weights that are packed once for all steps.
 *
 * Six sequences make a group, and their states lie side by side, [units][6]; weights lie in panels of 8 columns, [K][8].
 * The 6 × 8 sums of a tile, two vectors of weights and one of states fill 15 of the 16 SIMD registers: a sixth faster than the
 * 4 × 8 of a matrix product in memory, whose operands have to be packed for every call.
 */
import { multiplyAdd } from './fused';

/** Sequences of a group. */
export const GROUP: i32 = 6;
/** Bytes of a panel's row. */
const PANEL_BYTES: usize = 32;

// @ts-ignore: decorators of functions exist in AssemblyScript only
@inline
export function groups(rows: i32): i32 {
  return (rows + GROUP - 1) / GROUP;
}

/** sums[row] = Σₖ a[k][row] · panel[k] for six rows, `step` bytes apart. */
export function tile(depth: i32, a: usize, panel: usize, sums: usize, step: usize): void {
  let c00 = f32x4.splat(0), c01 = c00;
  let c10 = c00, c11 = c00;
  let c20 = c00, c21 = c00;
  let c30 = c00, c31 = c00;
  let c40 = c00, c41 = c00;
  let c50 = c00, c51 = c00;
  const end = a + <usize>(depth * GROUP * 4);
  while (a < end) {
    const b0 = v128.load(panel);
    const b1 = v128.load(panel, 16);
    let x = v128.load32_splat(a);
    c00 = multiplyAdd(x, b0, c00);
    c01 = multiplyAdd(x, b1, c01);
    x = v128.load32_splat(a, 4);
    c10 = multiplyAdd(x, b0, c10);
    c11 = multiplyAdd(x, b1, c11);
    x = v128.load32_splat(a, 8);
    c20 = multiplyAdd(x, b0, c20);
    c21 = multiplyAdd(x, b1, c21);
    x = v128.load32_splat(a, 12);
    c30 = multiplyAdd(x, b0, c30);
    c31 = multiplyAdd(x, b1, c31);
    x = v128.load32_splat(a, 16);
    c40 = multiplyAdd(x, b0, c40);
    c41 = multiplyAdd(x, b1, c41);
    x = v128.load32_splat(a, 20);
    c50 = multiplyAdd(x, b0, c50);
    c51 = multiplyAdd(x, b1, c51);
    panel += PANEL_BYTES;
    a += GROUP * 4;
  }
  storeRow(sums, c00, c01);
  storeRow(sums + step, c10, c11);
  storeRow(sums + 2 * step, c20, c21);
  storeRow(sums + 3 * step, c30, c31);
  storeRow(sums + 4 * step, c40, c41);
  storeRow(sums + 5 * step, c50, c51);
}

// @ts-ignore
@inline
function storeRow(at: usize, left: v128, right: v128): void {
  v128.store(at, left);
  v128.store(at, right, 16);
}

/** Units whose gates a forward panel, or several in a row, hold. */
// @ts-ignore
@inline
export function panelUnits(gates: i32): i32 {
  return gates == 1 ? 8 : 4;
}

/**
 * Panels for gates = h · Wᵀ: W is [gates · H, H]. Four units at a time, all their gates: two gates to a panel, and the last of
 * an odd number alone beside zeros. Where there is one gate, eight units to a panel.
 */
export function recurrentPack(gates: i32, H: i32, weight: usize, target: usize): void {
  for (let j = 0; j < H; j += panelUnits(gates)) {
    for (let g = 0; g < gates; g += 2) {
      for (let half = 0; half < 2; half++) {
        const first = gates == 1 ? j + 4 * half : j;
        const gate = gates == 1 ? 0 : g + half;
        const units = gate < gates ? min(4, H - first) : 0;
        let from = weight + (<usize>((gate * H + first) * H) << 2);
        let at = target + <usize>(half * 16);
        for (let k = 0; k < H; k++) {
          for (let u = 0; u < 4; u++) {
            store<f32>(at + (<usize>u << 2), u < units ? load<f32>(from + (<usize>(u * H) << 2)) : 0);
          }
          from += 4;
          at += PANEL_BYTES;
        }
      }
      target += <usize>H * PANEL_BYTES;
    }
  }
}

/** Panels of eight units each for dh = dgates · W. */
export function recurrentPackBackward(gates: i32, H: i32, weight: usize, target: usize): void {
  for (let j = 0; j < H; j += 8) {
    const bytes = <usize>min(8, H - j) << 2;
    for (let k = 0; k < gates * H; k++) {
      memory.fill(target, 0, PANEL_BYTES);
      memory.copy(target, weight + (<usize>(k * H + j) << 2), bytes);
      target += PANEL_BYTES;
    }
  }
}

/** dh [rows, H] = the packed gradients of gates, `depth` of each sequence, times all panels. `sums` holds a tile. */
export function stateGradient(rows: i32, H: i32, depth: i32, packed: usize, panels: usize, dh: usize, sums: usize): void {
  const unit = <usize>H << 2;
  const group = <usize>(depth * GROUP * 4);
  for (let j = 0; j < H; j += 8) {
    for (let b = 0; b < rows; b += GROUP) {
      const a = packed + <usize>(b / GROUP) * group;
      const target = dh + <usize>b * unit + (<usize>j << 2);
      if (j + 8 <= H && b + GROUP <= rows) tile(depth, a, panels, target, unit);
      else {
        tile(depth, a, panels, sums, PANEL_BYTES);
        for (let i = 0; i < min(GROUP, rows - b); i++) {
          memory.copy(target + <usize>i * unit, sums + <usize>i * PANEL_BYTES, <usize>min(8, H - j) << 2);
        }
      }
    }
    panels += <usize>depth * PANEL_BYTES;
  }
}

/** Stores four units of a sequence where its group has them: `at` is those of unit j, six floats further the next. */
// @ts-ignore
@inline
export function storePacked(at: usize, v: v128, lanes: i32): void {
  v128.store_lane<f32>(at, v, 0);
  if (lanes > 1) v128.store_lane<f32>(at, v, 1, GROUP * 4);
  if (lanes > 2) v128.store_lane<f32>(at, v, 2, GROUP * 8);
  if (lanes > 3) v128.store_lane<f32>(at, v, 3, GROUP * 12);
}

/** Up to four floats, zeros beyond. */
// @ts-ignore
@inline
export function loadSome(at: usize, lanes: i32): v128 {
  if (lanes >= 4) return v128.load(at);
  let v = v128.load32_zero(at);
  if (lanes > 1) v = f32x4.replace_lane(v, 1, load<f32>(at, 4));
  if (lanes > 2) v = f32x4.replace_lane(v, 2, load<f32>(at, 8));
  return v;
}

/** The first `lanes` of four floats, all four from 4 on. */
// @ts-ignore
@inline
export function storeSome(at: usize, v: v128, lanes: i32): void {
  if (lanes >= 4) {
    v128.store(at, v);
    return;
  }
  store<f32>(at, f32x4.extract_lane(v, 0));
  if (lanes > 1) store<f32>(at, f32x4.extract_lane(v, 1), 4);
  if (lanes > 2) store<f32>(at, f32x4.extract_lane(v, 2), 8);
}

/** y[b, j] = x[b, j]: x has any strides, y rows of `yRow` elements. */
export function copyStates(rows: i32, H: i32, x: usize, row: i32, column: i32, y: usize, yRow: i32): void {
  for (let b = 0; b < rows; b++) {
    let source = x + (<usize>(b * row) << 2);
    let target = y + (<usize>(b * yRow) << 2);
    for (let j = 0; j < H; j++) {
      store<f32>(target, load<f32>(source));
      source += <usize>column << 2;
      target += 4;
    }
  }
}

/** States as their groups have them, from rows of H: see `storePacked`. */
export function packStates(rows: i32, H: i32, x: usize, row: i32, column: i32, target: usize): void {
  memory.fill(target, 0, <usize>(groups(rows) * GROUP * H * 4));
  for (let b = 0; b < rows; b++) {
    let source = x + (<usize>(b * row) << 2);
    let at = target + (<usize>(b / GROUP * GROUP * H + b % GROUP) << 2);
    for (let j = 0; j < H; j++) {
      store<f32>(at, load<f32>(source));
      source += <usize>column << 2;
      at += GROUP * 4;
    }
  }
}

/** tanh x to 3e-7, as a ratio of polynomials in x²: coefficients of Eigen's fast tanh. */
// @ts-ignore
@inline
export function gateTanh(x: v128): v128 {
  // NaN passes: pmin and pmax return their first operand unless the second is beyond it.
  x = f32x4.pmax(f32x4.pmin(x, f32x4.splat(7.99881172180175781)), f32x4.splat(-7.99881172180175781));
  const z = f32x4.mul(x, x);
  let p = multiplyAdd(f32x4.splat(-2.76076847742355e-16), z, f32x4.splat(2.00018790482477e-13));
  p = multiplyAdd(p, z, f32x4.splat(-8.60467152213735e-11));
  p = multiplyAdd(p, z, f32x4.splat(5.12229709037114e-8));
  p = multiplyAdd(p, z, f32x4.splat(1.48572235717979e-5));
  p = multiplyAdd(p, z, f32x4.splat(6.37261928875436e-4));
  p = multiplyAdd(p, z, f32x4.splat(4.89352455891786e-3));
  let q = multiplyAdd(f32x4.splat(1.19825839466702e-6), z, f32x4.splat(1.18534705686654e-4));
  q = multiplyAdd(q, z, f32x4.splat(2.26843463243900e-3));
  q = multiplyAdd(q, z, f32x4.splat(4.89352518554385e-3));
  return f32x4.div(f32x4.mul(x, p), q);
}

/** σ(x) to 1.5e-7: ½ + ½ · tanh ½x. */
// @ts-ignore
@inline
export function gateSigmoid(x: v128): v128 {
  const half = f32x4.splat(0.5);
  return multiplyAdd(half, gateTanh(f32x4.mul(half, x)), half);
}

/** d · y · (1 − y): the gradient through a sigmoid y. */
// @ts-ignore
@inline
export function throughSigmoid(d: v128, y: v128): v128 {
  return f32x4.mul(f32x4.mul(d, y), f32x4.sub(f32x4.splat(1), y));
}

/** d · (1 − y²): the gradient through a tanh y. */
// @ts-ignore
@inline
export function throughTanh(d: v128, y: v128): v128 {
  return f32x4.mul(d, f32x4.sub(f32x4.splat(1), f32x4.mul(y, y)));
}
