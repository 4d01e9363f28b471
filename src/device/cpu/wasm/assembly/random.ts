/**
 * Philox 4×32-10, four blocks at once: lane i of a word's vector belongs to block i. The numbers are those of `philox`
 * in tensor/random.ts, bit for bit.
 */
import { constant } from './math';

// Words 0 to 3 of four blocks; after `transpose`, blocks 0 to 3 with their words in order.
let w0: v128 = i32x4.splat(0);
let w1: v128 = i32x4.splat(0);
let w2: v128 = i32x4.splat(0);
let w3: v128 = i32x4.splat(0);

/** The words left over at the end of an array. */
const TAIL: usize = memory.data(64, 16);

/** The upper halves of the four 64-bit products of which a and b are the lanes (0, 1) and (2, 3). */
// @ts-ignore: decorators of functions exist in AssemblyScript only
@inline
function high(a: v128, b: v128): v128 {
  return v128.shuffle<i32>(a, b, 1, 3, 5, 7);
}

// @ts-ignore
@inline
function low(a: v128, b: v128): v128 {
  return v128.shuffle<i32>(a, b, 0, 2, 4, 6);
}

/** Four blocks from number `block` after the counter, into w0 … w3 in the order of the elements. */
// @ts-ignore
@inline
function blocks(block: u32, seedLow: u32, seedHigh: u32, counterLow: u32, counterHigh: u32): void {
  const numbers = i32x4.add(i32x4.splat(block), i32x4(0, 1, 2, 3));
  let c0 = i32x4.add(i32x4.splat(counterLow), numbers);
  // A sum below its summand has wrapped; the comparison gives −1 there.
  let c1 = i32x4.sub(i32x4.splat(counterHigh), i32x4.lt_u(c0, numbers));
  let c2 = i32x4.splat(0);
  let c3 = i32x4.splat(0);
  const m0 = i32x4.splat(0xd2511f53);
  const m1 = i32x4.splat(0xcd9e8d57);
  for (let round = 0; round < 10; round++) {
    const a = i64x2.extmul_low_i32x4_u(c0, m0);
    const b = i64x2.extmul_high_i32x4_u(c0, m0);
    const c = i64x2.extmul_low_i32x4_u(c2, m1);
    const d = i64x2.extmul_high_i32x4_u(c2, m1);
    c0 = v128.xor(v128.xor(high(c, d), c1), i32x4.splat(seedLow));
    c1 = low(c, d);
    c2 = v128.xor(v128.xor(high(a, b), c3), i32x4.splat(seedHigh));
    c3 = low(a, b);
    seedLow += 0x9e3779b9;
    seedHigh += 0xbb67ae85;
  }
  const even = v128.shuffle<i32>(c0, c1, 0, 4, 1, 5);
  const odd = v128.shuffle<i32>(c2, c3, 0, 4, 1, 5);
  const even2 = v128.shuffle<i32>(c0, c1, 2, 6, 3, 7);
  const odd2 = v128.shuffle<i32>(c2, c3, 2, 6, 3, 7);
  w0 = v128.shuffle<i64>(even, odd, 0, 2);
  w1 = v128.shuffle<i64>(even, odd, 1, 3);
  w2 = v128.shuffle<i64>(even2, odd2, 0, 2);
  w3 = v128.shuffle<i64>(even2, odd2, 1, 3);
}

// @ts-ignore
@inline
function dropped(words: v128, x: v128, below: v128, scale: v128): v128 {
  return v128.and(i32x4.ge_s(i32x4.shr_u(words, 8), below), f32x4.mul(x, scale));
}

/**
 * y = x·scale where the upper 24 bits of the element's word are at least `below`, else 0. The first element has the number
 * `first`, a multiple of 16.
 */
export function dropout(
  n: u32, x: usize, y: usize,
  seedLow: u32, seedHigh: u32, counterLow: u32, counterHigh: u32,
  below: u32, scale: f32, first: u32,
): void {
  const limit = i32x4.splat(below);
  const factor = constant(scale);
  const whole = n & ~15;
  let i: u32 = 0;
  for (; i < whole; i += 16) {
    blocks((first + i) >> 2, seedLow, seedHigh, counterLow, counterHigh);
    const from = x + (<usize>i << 2);
    const to = y + (<usize>i << 2);
    v128.store(to, dropped(w0, v128.load(from), limit, factor));
    v128.store(to, dropped(w1, v128.load(from, 16), limit, factor), 16);
    v128.store(to, dropped(w2, v128.load(from, 32), limit, factor), 32);
    v128.store(to, dropped(w3, v128.load(from, 48), limit, factor), 48);
  }
  if (i == n) return;
  tail((first + i) >> 2, seedLow, seedHigh, counterLow, counterHigh);
  for (; i < n; i++) {
    const word = load<u32>(TAIL + (<usize>(i - whole) << 2)) >>> 8;
    const at = <usize>i << 2;
    store<f32>(y + at, word >= below ? load<f32>(x + at) * scale : 0);
  }
}

// @ts-ignore
@inline
function scaled(words: v128, shift: i32, unit: v128, span: v128, start: v128): v128 {
  const u = f32x4.mul(f32x4.convert_i32x4_u(i32x4.shr_u(words, shift)), unit);
  return f32x4.add(start, f32x4.mul(span, u));
}

/** y = start + span·((word >> shift)·unit); `first` as in `dropout`. */
export function uniform(
  n: u32, y: usize,
  seedLow: u32, seedHigh: u32, counterLow: u32, counterHigh: u32,
  start: f32, span: f32, shift: i32, unit: f32, first: u32,
): void {
  const s = constant(span);
  const b = constant(start);
  const u = constant(unit);
  const whole = n & ~15;
  let i: u32 = 0;
  for (; i < whole; i += 16) {
    blocks((first + i) >> 2, seedLow, seedHigh, counterLow, counterHigh);
    const to = y + (<usize>i << 2);
    v128.store(to, scaled(w0, shift, u, s, b));
    v128.store(to, scaled(w1, shift, u, s, b), 16);
    v128.store(to, scaled(w2, shift, u, s, b), 32);
    v128.store(to, scaled(w3, shift, u, s, b), 48);
  }
  if (i == n) return;
  tail((first + i) >> 2, seedLow, seedHigh, counterLow, counterHigh);
  for (; i < n; i++) {
    const word = load<u32>(TAIL + (<usize>(i - whole) << 2)) >>> shift;
    store<f32>(y + (<usize>i << 2), start + span * (<f32>word * unit));
  }
}

/** Four blocks into TAIL. */
function tail(block: u32, seedLow: u32, seedHigh: u32, counterLow: u32, counterHigh: u32): void {
  blocks(block, seedLow, seedHigh, counterLow, counterHigh);
  v128.store(TAIL, w0);
  v128.store(TAIL, w1, 16);
  v128.store(TAIL, w2, 32);
  v128.store(TAIL, w3, 48);
}
