/**
 * Products of matrices small enough for the first-level cache, read where they lie: what attention and quantised
 * products are made of. Every element is Σ over steps in order, then added to C, whatever the sizes around it.
 */
import { multiplyAdd } from './fused';

/** Columns of a tile; rows are four. */
const WIDTH: i32 = 8;

/** Bytes of scratch of `addProduct`: a zero-padded panel of B and one tile. */
export function productScratchBytes(steps: i32): usize {
  return <usize>((steps + 4) * WIDTH) << 2;
}

/**
 * C[rows × columns] += A[rows × steps] · B[steps × columns]. Rows of B and C are contiguous; the steps between elements of
 * A, and between rows of B and C, are in bytes.
 */
export function addProduct(
  rows: i32, columns: i32, steps: i32,
  a: usize, aRow: usize, aCol: usize,
  b: usize, bStep: usize,
  c: usize, cStep: usize,
  scratch: usize,
): void {
  let j = 0;
  for (; j + WIDTH <= columns; j += WIDTH) {
    tileColumn(rows, steps, a, aRow, aCol, b + (<usize>j << 2), bStep, c + (<usize>j << 2), cStep);
  }
  if (j < columns) narrowColumn(rows, columns - j, steps, a, aRow, aCol, b + (<usize>j << 2), bStep, c + (<usize>j << 2), cStep, scratch);
}

/** Eight columns of C. */
function tileColumn(
  rows: i32, steps: i32, a: usize, aRow: usize, aCol: usize, b: usize, bStep: usize, c: usize, cStep: usize,
): void {
  for (; rows >= 4; rows -= 4) {
    tile4(steps, a, aRow, aCol, b, bStep, c, cStep, true);
    a += aRow * 4;
    c += cStep * 4;
  }
  for (; rows > 0; rows--) {
    tile1(steps, a, aCol, b, bStep, c, true);
    a += aRow;
    c += cStep;
  }
}

/** Fewer than eight columns: B is copied with zeros beside it, so that nothing beyond it is read. */
function narrowColumn(
  rows: i32, width: i32, steps: i32,
  a: usize, aRow: usize, aCol: usize, b: usize, bStep: usize, c: usize, cStep: usize,
  scratch: usize,
): void {
  const panel = scratch + <usize>(4 * WIDTH * 4);
  const bytes = <usize>width << 2;
  for (let p = 0; p < steps; p++) {
    const at = panel + <usize>(p * WIDTH * 4);
    v128.store(at, f32x4.splat(0));
    v128.store(at, f32x4.splat(0), 16);
    for (let j: usize = 0; j < bytes; j += 4) store<f32>(at + j, load<f32>(b + j));
    b += bStep;
  }
  for (let i = 0; i < rows; i++) {
    tile1(steps, a, aCol, panel, <usize>(WIDTH * 4), scratch, false);
    for (let j: usize = 0; j < bytes; j += 4) store<f32>(c + j, load<f32>(c + j) + load<f32>(scratch + j));
    a += aRow;
    c += cStep;
  }
}

/** C[4 × 8] = A[4 × steps] · B[steps × 8], added to C where `add`. Steps in bytes. */
export function tile4(
  steps: i32, a: usize, aRow: usize, aCol: usize, b: usize, bStep: usize, c: usize, cStep: usize, add: bool,
): void {
  let c00 = f32x4.splat(0), c01 = c00;
  let c10 = c00, c11 = c00;
  let c20 = c00, c21 = c00;
  let c30 = c00, c31 = c00;
  let a1 = a + aRow, a2 = a1 + aRow, a3 = a2 + aRow;
  for (; steps > 0; steps--) {
    const b0 = v128.load(b);
    const b1 = v128.load(b, 16);
    let x = v128.load32_splat(a);
    c00 = multiplyAdd(x, b0, c00);
    c01 = multiplyAdd(x, b1, c01);
    x = v128.load32_splat(a1);
    c10 = multiplyAdd(x, b0, c10);
    c11 = multiplyAdd(x, b1, c11);
    x = v128.load32_splat(a2);
    c20 = multiplyAdd(x, b0, c20);
    c21 = multiplyAdd(x, b1, c21);
    x = v128.load32_splat(a3);
    c30 = multiplyAdd(x, b0, c30);
    c31 = multiplyAdd(x, b1, c31);
    a += aCol;
    a1 += aCol;
    a2 += aCol;
    a3 += aCol;
    b += bStep;
  }
  put(c, c00, c01, add);
  put(c + cStep, c10, c11, add);
  put(c + cStep * 2, c20, c21, add);
  put(c + cStep * 3, c30, c31, add);
}

/** One row of `tile4`, with the same additions. */
export function tile1(steps: i32, a: usize, aCol: usize, b: usize, bStep: usize, c: usize, add: bool): void {
  let c0 = f32x4.splat(0), c1 = c0;
  for (; steps > 0; steps--) {
    const x = v128.load32_splat(a);
    c0 = multiplyAdd(x, v128.load(b), c0);
    c1 = multiplyAdd(x, v128.load(b, 16), c1);
    a += aCol;
    b += bStep;
  }
  put(c, c0, c1, add);
}

// @ts-ignore: decorators of functions exist in AssemblyScript only
@inline
function put(c: usize, left: v128, right: v128, add: bool): void {
  if (add) {
    left = f32x4.add(v128.load(c), left);
    right = f32x4.add(v128.load(c, 16), right);
  }
  v128.store(c, left);
  v128.store(c, right, 16);
}
