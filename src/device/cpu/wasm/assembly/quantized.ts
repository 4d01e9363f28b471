/**
 * Products with weights of 8 or 4 bits. W is [n, k], each row in blocks of `block` codes with one scale (the largest
 * magnitude of the block): w = code · scale. Codes are int8 / 127, or the 16 values of NF4 (`codes`, 16 floats), two to a
 * byte with the first in the high half. `block` is a multiple of 16 and divides k.
 *
 * From four rows of x on, eight rows of W at a time become a panel of floats for the tiles of a matrix product; fewer rows are
 * multiplied by one row of W after the other. Both read W once per call, and an element of y depends on its own row of x
 * and of W, and on whether there are four rows, only.
 */
import { transpose4 } from './copy';
import { multiplyAdd } from './fused';
import { constant } from './math';
import { addProduct, productScratchBytes, tile1, tile4 } from './tile';
import { sumLanes } from './vector';

const INT8 = 0, NF4 = 1;
/** Rows of W in a panel, as wide as a tile. */
const WIDTH: i32 = 8;
const PANEL_BYTES: usize = 32;
/** From so many rows of x on, panels pay. */
const PANEL_ROWS: i32 = 4;
/** Rows and columns of a piece of W as floats (16 KiB) for products with W itself. */
const PIECE: i32 = 64;

/** 16 values as four vectors: the planes of their bytes, each picked by swizzle. */
// @ts-ignore: decorators of functions exist in AssemblyScript only
@inline
function swizzle(plane: v128, index: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return i8x16.relaxed_swizzle(plane, index);
  return i8x16.swizzle(plane, index);
}

/** Bytes of scratch that the products need, for k or n columns of W. */
export function quantizedScratchBytes(k: i32): usize {
  const panel = <usize>((k + 4) * WIDTH) << 2;
  const piece = (<usize>((PIECE + 1) * PIECE) << 2) + productScratchBytes(PIECE);
  return max(panel, piece) + 320;
}

/** Bytes of `count` codes. */
// @ts-ignore
@inline
function bytesOf(scheme: i32, count: i32): usize {
  return scheme == INT8 ? <usize>count : <usize>count >> 1;
}

/** target[0 … 15] = 16 codes · scale; `planes` holds the bytes of the NF4 codes, lowest first. */
// @ts-ignore
@inline
function decode16(scheme: i32, codes: usize, planes: usize, scale: v128, target: usize): void {
  if (scheme == INT8) {
    const bytes = v128.load(codes);
    const low = i16x8.extend_low_i8x16_s(bytes);
    const high = i16x8.extend_high_i8x16_s(bytes);
    v128.store(target, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(low)), scale));
    v128.store(target, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(low)), scale), 16);
    v128.store(target, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(high)), scale), 32);
    v128.store(target, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(high)), scale), 48);
  } else {
    const bytes = v128.load64_zero(codes);
    const first = i8x16.shr_u(bytes, 4);
    const second = v128.and(bytes, i8x16.splat(15));
    const index = v128.shuffle<i8>(first, second, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const b0 = swizzle(v128.load(planes), index);
    const b1 = swizzle(v128.load(planes, 16), index);
    const b2 = swizzle(v128.load(planes, 32), index);
    const b3 = swizzle(v128.load(planes, 48), index);
    const low01 = v128.shuffle<i8>(b0, b1, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const high01 = v128.shuffle<i8>(b0, b1, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    const low23 = v128.shuffle<i8>(b2, b3, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const high23 = v128.shuffle<i8>(b2, b3, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    v128.store(target, f32x4.mul(v128.shuffle<i16>(low01, low23, 0, 8, 1, 9, 2, 10, 3, 11), scale));
    v128.store(target, f32x4.mul(v128.shuffle<i16>(low01, low23, 4, 12, 5, 13, 6, 14, 7, 15), scale), 16);
    v128.store(target, f32x4.mul(v128.shuffle<i16>(high01, high23, 0, 8, 1, 9, 2, 10, 3, 11), scale), 32);
    v128.store(target, f32x4.mul(v128.shuffle<i16>(high01, high23, 4, 12, 5, 13, 6, 14, 7, 15), scale), 48);
  }
}

/** The bytes of 16 floats in planes: 16 lowest bytes, 16 second ones, and so on. */
function makePlanes(codes: usize, planes: usize): void {
  for (let i: usize = 0; i < 16; i++) {
    for (let b: usize = 0; b < 4; b++) store<u8>(planes + b * 16 + i, load<u8>(codes + i * 4 + b));
  }
}

/** The factor of a code: the scale of its block, for int8 a 127th of it. */
// @ts-ignore
@inline
function scaleOf(scheme: i32, scale: usize): v128 {
  return scheme == INT8 ? constant(load<f32>(scale) / 127) : v128.load32_splat(scale);
}

/** `count` elements of a row of W as floats; `count` is a multiple of 16 and begins at a multiple of 16. */
// @ts-ignore
@inline
function decodeRow(
  scheme: i32, from: i32, count: i32, codes: usize, scales: usize, block: i32, planes: usize, target: usize,
): void {
  for (let p = from; p < from + count; p += 16) {
    decode16(scheme, codes + bytesOf(scheme, p), planes, scaleOf(scheme, scales + (<usize>(p / block) << 2)), target);
    target += 64;
  }
}

/** Σ x · w of one row of x and of W. */
// @ts-ignore
@inline
function dotCodes(scheme: i32, k: i32, x: usize, codes: usize, scales: usize, block: i32, planes: usize): f32 {
  const plane0 = v128.load(planes), plane1 = v128.load(planes, 16);
  const plane2 = v128.load(planes, 32), plane3 = v128.load(planes, 48);
  let total = f32x4.splat(0);
  for (let p = 0; p < k; p += block) {
    let s0 = f32x4.splat(0), s1 = s0, s2 = s0, s3 = s0;
    for (const end = x + (<usize>block << 2); x < end; x += 64) {
      // As in decode16, without a way through memory.
      if (scheme == INT8) {
        const bytes = v128.load(codes);
        const low = i16x8.extend_low_i8x16_s(bytes);
        const high = i16x8.extend_high_i8x16_s(bytes);
        s0 = multiplyAdd(v128.load(x), f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(low)), s0);
        s1 = multiplyAdd(v128.load(x, 16), f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(low)), s1);
        s2 = multiplyAdd(v128.load(x, 32), f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(high)), s2);
        s3 = multiplyAdd(v128.load(x, 48), f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(high)), s3);
        codes += 16;
      } else {
        const bytes = v128.load64_zero(codes);
        const first = i8x16.shr_u(bytes, 4);
        const second = v128.and(bytes, i8x16.splat(15));
        const index = v128.shuffle<i8>(first, second, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
        const b0 = swizzle(plane0, index);
        const b1 = swizzle(plane1, index);
        const b2 = swizzle(plane2, index);
        const b3 = swizzle(plane3, index);
        const low01 = v128.shuffle<i8>(b0, b1, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
        const high01 = v128.shuffle<i8>(b0, b1, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
        const low23 = v128.shuffle<i8>(b2, b3, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
        const high23 = v128.shuffle<i8>(b2, b3, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
        s0 = multiplyAdd(v128.load(x), v128.shuffle<i16>(low01, low23, 0, 8, 1, 9, 2, 10, 3, 11), s0);
        s1 = multiplyAdd(v128.load(x, 16), v128.shuffle<i16>(low01, low23, 4, 12, 5, 13, 6, 14, 7, 15), s1);
        s2 = multiplyAdd(v128.load(x, 32), v128.shuffle<i16>(high01, high23, 0, 8, 1, 9, 2, 10, 3, 11), s2);
        s3 = multiplyAdd(v128.load(x, 48), v128.shuffle<i16>(high01, high23, 4, 12, 5, 13, 6, 14, 7, 15), s3);
        codes += 8;
      }
    }
    // The scale once per block.
    total = multiplyAdd(f32x4.add(f32x4.add(s0, s1), f32x4.add(s2, s3)), scaleOf(scheme, scales), total);
    scales += 4;
  }
  return sumLanes(total);
}

/**
 * Up to eight rows of W as a panel, transposed: panel[p][j], four rows at a time. Rows beyond the last repeat it.
 */
// @ts-ignore
@inline
function packPanel(
  scheme: i32, rows: i32, k: i32, codes: usize, rowBytes: usize, scales: usize, scaleBytes: usize, block: i32,
  planes: usize, part: usize, panel: usize,
): void {
  for (let j = 0; j < rows; j += 4) {
    const to = panel + (<usize>j << 2);
    for (let p = 0; p < k; p += 16) {
      const at = bytesOf(scheme, p);
      const scale = <usize>(p / block) << 2;
      for (let r = 0; r < 4; r++) {
        const row = <usize>min(j + r, rows - 1);
        const factor = scaleOf(scheme, scales + row * scaleBytes + scale);
        decode16(scheme, codes + row * rowBytes + at, planes, factor, part + (<usize>r << 6));
      }
      for (let i: usize = 0; i < 16; i += 4) {
        transpose4(part + i * 4, 64, to + (<usize>p + i) * PANEL_BYTES, PANEL_BYTES);
      }
    }
  }
}

// @ts-ignore
@inline
function product(
  scheme: i32, rows: i32, n: i32, k: i32, x: usize, xRow: i32, w: usize, wRow: i32, scales: usize, sRow: i32, block: i32,
  codes: usize, y: usize, yRow: i32, scratch: usize,
): void {
  const planes = scratch;
  const part = planes + 64;
  const tile = part + 256;
  const panel = tile + <usize>(4 * WIDTH * 4);
  const rowBytes = <usize>wRow << 2;
  const scaleBytes = <usize>sRow << 2;
  const xStep = <usize>xRow << 2;
  const yStep = <usize>yRow << 2;
  if (scheme == NF4) makePlanes(codes, planes);
  if (rows < PANEL_ROWS) {
    for (let j = 0; j < n; j++) {
      for (let i = 0; i < rows; i++) {
        const sum = dotCodes(scheme, k, x + <usize>i * xStep, w, scales, block, planes);
        store<f32>(y + <usize>i * yStep + (<usize>j << 2), sum);
      }
      w += rowBytes;
      scales += scaleBytes;
    }
    return;
  }
  for (let j = 0; j < n; j += WIDTH) {
    const width = min(WIDTH, n - j);
    packPanel(scheme, width, k, w, rowBytes, scales, scaleBytes, block, planes, part, panel);
    let i = 0;
    for (; i < rows; ) {
      const at = x + <usize>i * xStep;
      const to = y + <usize>i * yStep + (<usize>j << 2);
      const height = i + 4 <= rows ? 4 : 1;
      const target = width == WIDTH ? to : tile;
      const step = width == WIDTH ? yStep : <usize>(WIDTH * 4);
      if (height == 4) tile4(k, at, xStep, 4, panel, <usize>(WIDTH * 4), target, step, false);
      else tile1(k, at, 4, panel, <usize>(WIDTH * 4), target, false);
      if (width < WIDTH) {
        for (let r = 0; r < height; r++) {
          for (let c: usize = 0; c < <usize>width << 2; c += 4) {
            store<f32>(to + <usize>r * yStep + c, load<f32>(tile + <usize>r * step + c));
          }
        }
      }
      i += height;
    }
    w += rowBytes * WIDTH;
    scales += scaleBytes * WIDTH;
  }
}

// @ts-ignore
@inline
function transposedProduct(
  scheme: i32, rows: i32, n: i32, k: i32, first: i32, columns: i32, g: usize, gRow: i32,
  w: usize, wRow: i32, scales: usize, sRow: i32, block: i32, codes: usize, y: usize, yRow: i32, scratch: usize,
): void {
  const planes = scratch;
  const piece = planes + 64;
  const rest = piece + <usize>(PIECE * PIECE * 4);
  const rowBytes = <usize>wRow << 2;
  const scaleBytes = <usize>sRow << 2;
  const yStep = <usize>yRow << 2;
  if (scheme == NF4) makePlanes(codes, planes);
  for (let i = 0; i < rows; i++) memory.fill(y + <usize>i * yStep + (<usize>first << 2), 0, <usize>columns << 2);
  for (let c = first; c < first + columns; c += PIECE) {
    const width = min(PIECE, first + columns - c);
    for (let j = 0; j < n; j += PIECE) {
      const depth = min(PIECE, n - j);
      for (let r = 0; r < depth; r++) {
        const row = <usize>(j + r);
        const to = piece + <usize>(r * PIECE * 4);
        decodeRow(scheme, c, width, w + row * rowBytes, scales + row * scaleBytes, block, planes, to);
      }
      addProduct(rows, width, depth, g + (<usize>j << 2), <usize>gRow << 2, 4, piece, <usize>(PIECE * 4), y + (<usize>c << 2), yStep, rest);
    }
  }
}

/**
 * y[rows × n] = x[rows × k] · Wᵀ, W in int8. Rows of x, W, its scales and y are `…Row` words apart, so that a range of the
 * rows of W can be done alone.
 */
export function matmulInt8(
  rows: i32, n: i32, k: i32, x: usize, xRow: i32, w: usize, wRow: i32, scales: usize, sRow: i32, block: i32,
  y: usize, yRow: i32, scratch: usize,
): void {
  product(INT8, rows, n, k, x, xRow, w, wRow, scales, sRow, block, 0, y, yRow, scratch);
}

/** y[rows × n] = x[rows × k] · Wᵀ, W in NF4, or any 16 values at `codes`. */
export function matmulNF4(
  rows: i32, n: i32, k: i32, x: usize, xRow: i32, w: usize, wRow: i32, scales: usize, sRow: i32, block: i32, codes: usize,
  y: usize, yRow: i32, scratch: usize,
): void {
  product(NF4, rows, n, k, x, xRow, w, wRow, scales, sRow, block, codes, y, yRow, scratch);
}

/** `columns` columns from `first` (both multiples of 16) of y[rows × k] = g[rows × n] · W, W in int8. */
export function matmulTransposedInt8(
  rows: i32, n: i32, k: i32, first: i32, columns: i32, g: usize, gRow: i32,
  w: usize, wRow: i32, scales: usize, sRow: i32, block: i32, y: usize, yRow: i32, scratch: usize,
): void {
  transposedProduct(INT8, rows, n, k, first, columns, g, gRow, w, wRow, scales, sRow, block, 0, y, yRow, scratch);
}

/** The same with W in NF4. */
export function matmulTransposedNF4(
  rows: i32, n: i32, k: i32, first: i32, columns: i32, g: usize, gRow: i32,
  w: usize, wRow: i32, scales: usize, sRow: i32, block: i32, codes: usize, y: usize, yRow: i32, scratch: usize,
): void {
  transposedProduct(NF4, rows, n, k, first, columns, g, gRow, w, wRow, scales, sRow, block, codes, y, yRow, scratch);
}

/**
 * target[0 … count − 1]: scales that are int8 codes themselves, code / 127 · (the factor of its group of 256) + the
 * mean. `groups` holds
 * the mean, then the factors.
 */
export function decodeScales(count: i32, codes: usize, groups: usize, target: usize): void {
  const mean = v128.load32_splat(groups);
  let i = 0;
  for (; i + 16 <= count; i += 16) {
    const at = target + (<usize>i << 2);
    decode16(INT8, codes + i, 0, constant(load<f32>(groups + (<usize>(i >> 8) << 2), 4) / 127), at);
    for (let j: usize = 0; j < 64; j += 16) v128.store(at + j, f32x4.add(v128.load(at + j), mean));
  }
  for (; i < count; i++) {
    const factor = load<f32>(groups + (<usize>(i >> 8) << 2), 4) / 127;
    store<f32>(target + (<usize>i << 2), <f32>load<i8>(codes + i) * factor + load<f32>(groups));
  }
}
