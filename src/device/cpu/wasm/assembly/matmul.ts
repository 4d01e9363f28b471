/**
 * C[M×N] = A[M×K] · B[K×N] in float32, any strides for A and B.
 *
 * A and B are cut into blocks that fit the caches and packed into panels: 6 rows of A, 8 columns of B, each panel
 * contiguous along K. A tile of 6 × 8 results then stays in 12 of the 16 SIMD registers while both panels stream past: per
 * step of k, 8 loads feed 12 multiply-adds, and the arithmetic units are nearly the only limit. V8 keeps one register for
 * itself, so that two for B and one for A are all that is left: a larger tile spills.
 *
 * Every result is Σₖ in order, whatever the shape and the part of C that is asked for, except for up to three rows.
 *
 * Loop order and names after Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008).
 */
import { multiplyAdd } from './fused';
import { packPanels } from './pack';
import { rowTimesMatrix, gather, scatter } from './vector';

/** Rows and columns of a tile. */
const MR: i32 = 6;
const NR: i32 = 8;
/** Panels of A and of B are 12 and 16 KiB of the first-level cache; a block of A, MC × KC, is 120 KiB of the second-level cache. */
const KC: i32 = 512;
const MC: i32 = 60;
/** A block of B is KC × NC: 512 KiB. */
const NC: i32 = 256;
/** Up to this many rows a row-major B is read where it lies, because packing it would not pay: any B, and one of up to 64 KiB. */
const DIRECT_ROWS: i32 = 7;
const DIRECT_ROWS_SMALL: i32 = 32;
const DIRECT_SMALL: i32 = 16384;
/** Up to this many rows are computed one by one, as vector times matrix. */
const VECTOR_ROWS: i32 = 3;

function roundUp(value: i32, multiple: i32): i32 {
  return (value + multiple - 1) / multiple * multiple;
}

/** Cuts `size` into equal parts of at most `limit`, so that no part is a sliver. */
function evenly(size: i32, limit: i32, multiple: i32): i32 {
  const parts = (size + limit - 1) / limit;
  return roundUp((size + parts - 1) / parts, multiple);
}

/** Bytes of scratch that `matmul` needs: one tile, a block of A and a block of B, or two vectors. */
export function matmulScratchBytes(m: i32, n: i32, k: i32): usize {
  if (n == 1) return (<usize>m + <usize>k) << 2;
  if (m <= VECTOR_ROWS) return <usize>k << 2;
  const kc = min(k, KC);
  const packed = kc * (roundUp(min(m, MC), MR) + roundUp(min(n, NC), NR));
  return <usize>(packed + MR * NR) << 2;
}

/** Computes the part of C that begins at row `i0` and column `j0`; which way is taken depends on all of C. */
export function matmul(
  m: i32, n: i32, k: i32,
  a: usize, aRow: i32, aCol: i32,
  b: usize, bRow: i32, bCol: i32,
  c: usize, ldc: i32,
  scratch: usize,
  i0: i32, rows: i32, j0: i32, columns: i32,
): void {
  const cStep = <usize>ldc << 2;
  a += <usize>i0 * <usize>aRow << 2;
  b += <usize>j0 * <usize>bCol << 2;
  c += <usize>i0 * cStep + (<usize>j0 << 2);
  if (k == 0) {
    for (let i = 0; i < rows; i++) memory.fill(c + <usize>i * cStep, 0, <usize>columns << 2);
  } else if (n == 1) {
    // A · b = (bᵀ · Aᵀ)ᵀ, and Aᵀ is A with its strides exchanged.
    const x = gather(k, b, bRow, scratch);
    const y = ldc == 1 ? c : scratch + (<usize>k << 2);
    rowTimesMatrix(k, rows, x, a, aCol, aRow, y);
    if (y != c) scatter(rows, y, c, ldc);
  } else if (m <= VECTOR_ROWS) {
    for (let i = 0; i < rows; i++) {
      const x = gather(k, a + (<usize>i * <usize>aRow << 2), aCol, scratch);
      rowTimesMatrix(k, columns, x, b, bRow, bCol, c + <usize>i * cStep);
    }
  } else {
    blocked(rows, columns, k, a, aRow, aCol, b, bRow, bCol, c, cStep, scratch);
  }
}

function blocked(
  m: i32, n: i32, k: i32,
  a: usize, aRow: i32, aCol: i32,
  b: usize, bRow: i32, bCol: i32,
  c: usize, cStep: usize,
  scratch: usize,
): void {
  const kc = evenly(k, KC, 1);
  const mc = evenly(m, MC, MR);
  const nc = evenly(n, NC, NR);
  const tile = scratch;
  const aPacked = tile + <usize>(MR * NR * 4);
  const bPacked = aPacked + (<usize>(mc * kc) << 2);
  const direct = bCol == 1 && m <= (k * n <= DIRECT_SMALL ? DIRECT_ROWS_SMALL : DIRECT_ROWS);
  for (let jc = 0; jc < n; jc += nc) {
    const columns = min(nc, n - jc);
    // Columns from here on are packed: all, or those of the last, narrower panel.
    const packedFrom = direct ? columns / NR * NR : 0;
    for (let pc = 0; pc < k; pc += kc) {
      const depth = min(kc, k - pc);
      const bBlock = b + ((<usize>pc * <usize>bRow + <usize>jc * <usize>bCol) << 2);
      packPanels(columns - packedFrom, depth, bBlock + (<usize>packedFrom * <usize>bCol << 2), bCol, bRow, bPacked, NR);
      for (let ic = 0; ic < m; ic += mc) {
        const rows = min(mc, m - ic);
        packPanels(rows, depth, a + ((<usize>ic * <usize>aRow + <usize>pc * <usize>aCol) << 2), aRow, aCol, aPacked, MR);
        for (let j = 0; j < columns; j += NR) {
          const unpacked = j < packedFrom;
          const bPanel = unpacked ? bBlock + (<usize>j << 2) : bPacked + (<usize>((j - packedFrom) * depth) << 2);
          const bStep = unpacked ? <usize>bRow << 2 : <usize>(NR * 4);
          const width = min(NR, columns - j);
          for (let i = 0; i < rows; i += MR) {
            const aPanel = aPacked + (<usize>(i * depth) << 2);
            const target = c + <usize>(ic + i) * cStep + (<usize>(jc + j) << 2);
            const height = min(MR, rows - i);
            const more = pc > 0;
            if (width == NR && (height & 1) == 0) {
              multiplyRows(height, depth, aPanel, bPanel, bStep, target, cStep, more);
            } else {
              if (more) copyPart(height, width, target, cStep, tile, NR * 4);
              multiplyRows(height, depth, aPanel, bPanel, bStep, tile, NR * 4, more);
              copyPart(height, width, tile, NR * 4, target, cStep);
            }
          }
        }
      }
    }
  }
}

/** Copies the first rows and columns of a tile. */
function copyPart(height: i32, width: i32, from: usize, fromStep: usize, to: usize, toStep: usize): void {
  for (let i = 0; i < height; i++) {
    for (let j: usize = 0; j < <usize>width << 2; j += 4) store<f32>(to + j, load<f32>(from + j));
    from += fromStep;
    to += toStep;
  }
}

/** A tile of up to six rows, rounded up to two, four or six. */
function multiplyRows(
  height: i32, depth: i32, a: usize, b: usize, bStep: usize, c: usize, cStep: usize, accumulate: bool,
): void {
  if (height > 4) multiplySix(depth, a, b, bStep, c, cStep, accumulate);
  else if (height > 2) multiplyFour(depth, a, b, bStep, c, cStep, accumulate);
  else multiplyTwo(depth, a, b, bStep, c, cStep, accumulate);
}

function multiplySix(depth: i32, a: usize, b: usize, bStep: usize, c: usize, cStep: usize, accumulate: bool): void {
  multiplyTile(6, depth, a, b, bStep, c, cStep, accumulate);
}

function multiplyFour(depth: i32, a: usize, b: usize, bStep: usize, c: usize, cStep: usize, accumulate: bool): void {
  multiplyTile(4, depth, a, b, bStep, c, cStep, accumulate);
}

function multiplyTwo(depth: i32, a: usize, b: usize, bStep: usize, c: usize, cStep: usize, accumulate: bool): void {
  multiplyTile(2, depth, a, b, bStep, c, cStep, accumulate);
}

/**
 * C (height × 8) = A panel (depth × 6) · B rows (depth × 8, `bStep` bytes apart), plus C where `accumulate`.
 *
 * C is read before the loop and written without a condition after it: with a choice behind the loop, V8 defers the
 * multiply-adds behind the loads, and spills. Unrolling the loop does the same.
 */
// @ts-ignore: decorators of functions exist in AssemblyScript only
@inline
function multiplyTile(
  height: i32, depth: i32, a: usize, b: usize, bStep: usize, c: usize, cStep: usize, accumulate: bool,
): void {
  let c00 = f32x4.splat(0), c01 = c00;
  let c10 = c00, c11 = c00;
  let c20 = c00, c21 = c00;
  let c30 = c00, c31 = c00;
  let c40 = c00, c41 = c00;
  let c50 = c00, c51 = c00;
  if (accumulate) {
    c00 = v128.load(c);
    c01 = v128.load(c, 16);
    c10 = v128.load(c + cStep);
    c11 = v128.load(c + cStep, 16);
    if (height > 2) {
      c20 = v128.load(c + cStep * 2);
      c21 = v128.load(c + cStep * 2, 16);
      c30 = v128.load(c + cStep * 3);
      c31 = v128.load(c + cStep * 3, 16);
    }
    if (height > 4) {
      c40 = v128.load(c + cStep * 4);
      c41 = v128.load(c + cStep * 4, 16);
      c50 = v128.load(c + cStep * 5);
      c51 = v128.load(c + cStep * 5, 16);
    }
  }
  const end = a + <usize>(depth * MR * 4);
  while (a < end) {
    const b0 = v128.load(b);
    const b1 = v128.load(b, 16);
    let x = v128.load32_splat(a);
    c00 = multiplyAdd(x, b0, c00);
    c01 = multiplyAdd(x, b1, c01);
    x = v128.load32_splat(a, 4);
    c10 = multiplyAdd(x, b0, c10);
    c11 = multiplyAdd(x, b1, c11);
    if (height > 2) {
      x = v128.load32_splat(a, 8);
      c20 = multiplyAdd(x, b0, c20);
      c21 = multiplyAdd(x, b1, c21);
      x = v128.load32_splat(a, 12);
      c30 = multiplyAdd(x, b0, c30);
      c31 = multiplyAdd(x, b1, c31);
    }
    if (height > 4) {
      x = v128.load32_splat(a, 16);
      c40 = multiplyAdd(x, b0, c40);
      c41 = multiplyAdd(x, b1, c41);
      x = v128.load32_splat(a, 20);
      c50 = multiplyAdd(x, b0, c50);
      c51 = multiplyAdd(x, b1, c51);
    }
    b += bStep;
    a += MR * 4;
  }
  v128.store(c, c00);
  v128.store(c, c01, 16);
  v128.store(c + cStep, c10);
  v128.store(c + cStep, c11, 16);
  if (height > 2) {
    v128.store(c + cStep * 2, c20);
    v128.store(c + cStep * 2, c21, 16);
    v128.store(c + cStep * 3, c30);
    v128.store(c + cStep * 3, c31, 16);
  }
  if (height > 4) {
    v128.store(c + cStep * 4, c40);
    v128.store(c + cStep * 4, c41, 16);
    v128.store(c + cStep * 5, c50);
    v128.store(c + cStep * 5, c51, 16);
  }
}
