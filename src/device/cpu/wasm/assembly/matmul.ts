/**
 * C[M×N] = A[M×K] · B[K×N] in float32, any strides for A and B.
 *
 * A and B are cut into blocks that fit the caches and packed into panels: 4 rows of A, 8 columns of B, each panel
 * contiguous along K. A tile of 4 × 8 results then stays in 8 of the 16 SIMD registers while both panels stream past:
 * per step of k, 6 loads feed 8 multiplications and 8 additions, so the arithmetic units are the only limit. Larger
 * tiles (5 × 8, 6 × 8, 4 × 12) measured no faster, and spill registers.
 *
 * Loop order and names after Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008).
 */
import { multiplyAdd } from './fused';
import { packPanels } from './pack';
import { rowTimesMatrix, gather, scatter } from './vector';

/** Rows and columns of a tile. */
const MR: i32 = 4;
const NR: i32 = 8;
/** A panel of B is KC × NR (8 KiB of the first-level cache), a block of A MC × KC (128 KiB of the second-level cache). */
const KC: i32 = 256;
const MC: i32 = 128;
/** A block of B is KC × NC: 512 KiB. */
const NC: i32 = 512;
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

/** Computes the part of C that begins at row `i0` and column `j0`; which way is taken, so every bit, depends on all of C. */
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
            if (height == MR && width == NR) {
              multiplyTile(depth, aPanel, bPanel, bStep, target, cStep, pc > 0);
            } else {
              multiplyTile(depth, aPanel, bPanel, bStep, tile, <usize>(NR * 4), false);
              copyPart(height, width, tile, target, cStep, pc > 0);
            }
          }
        }
      }
    }
  }
}

/** Stores, or adds, the first rows and columns of a tile at the edge of C. */
function copyPart(height: i32, width: i32, tile: usize, c: usize, cStep: usize, accumulate: bool): void {
  for (let i = 0; i < height; i++) {
    for (let j = 0; j < width; j++) {
      const value = load<f32>(tile + (<usize>(i * NR + j) << 2));
      const at = c + (<usize>j << 2);
      store<f32>(at, accumulate ? load<f32>(at) + value : value);
    }
    c += cStep;
  }
}

/** C tile (4 × 8) = A panel (depth × 4) · B rows (depth × 8, `bStep` bytes apart), added to C where `accumulate`. */
function multiplyTile(depth: i32, a: usize, b: usize, bStep: usize, c: usize, cStep: usize, accumulate: bool): void {
  let c00 = f32x4.splat(0), c01 = c00;
  let c10 = c00, c11 = c00;
  let c20 = c00, c21 = c00;
  let c30 = c00, c31 = c00;
  // One step at a time: unrolled, V8 loads ahead, runs out of registers, and is up to a third slower.
  const end = a + (<usize>depth << 4);
  while (a < end) {
    const b0 = v128.load(b);
    const b1 = v128.load(b, 16);
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
    b += bStep;
    a += 16;
  }
  storeRow(c, c00, c01, accumulate);
  storeRow(c + cStep, c10, c11, accumulate);
  storeRow(c + cStep * 2, c20, c21, accumulate);
  storeRow(c + cStep * 3, c30, c31, accumulate);
}

// @ts-ignore: decorators of functions exist in AssemblyScript only
@inline
function storeRow(c: usize, left: v128, right: v128, accumulate: bool): void {
  if (accumulate) {
    left = f32x4.add(v128.load(c), left);
    right = f32x4.add(v128.load(c, 16), right);
  }
  v128.store(c, left);
  v128.store(c, right, 16);
}
