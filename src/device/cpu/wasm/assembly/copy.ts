/** Copies rows × columns with any strides into contiguous memory. */

/** Rows of a transposition handled at a time: 16 floats are a cache line of the source. */
const BAND: i32 = 16;

/** y[i, j] = x[i, j] */
export function copy(rows: i32, columns: i32, x: usize, xRow: i32, xCol: i32, y: usize): void {
  const rowBytes = <usize>columns << 2;
  const rowStep = <usize>xRow << 2;
  const colStep = <usize>xCol << 2;
  if (xCol == 1) {
    for (let i = 0; i < rows; i++) memory.copy(y + <usize>i * rowBytes, x + <usize>i * rowStep, rowBytes);
    return;
  }
  let i = 0;
  if (xRow == 1) {
    // Whole cache lines of the source, four columns at a time, while they are in the cache.
    for (; i + 4 <= rows; ) {
      const band = min(BAND, (rows - i) & ~3);
      let j = 0;
      for (; j + 4 <= columns; j += 4) {
        for (let r = i; r < i + band; r += 4) {
          transpose4(x + (<usize>r << 2) + <usize>j * colStep, colStep, y + <usize>r * rowBytes + (<usize>j << 2), rowBytes);
        }
      }
      for (; j < columns; j++) {
        for (let r = i; r < i + band; r++) {
          store<f32>(y + <usize>r * rowBytes + (<usize>j << 2), load<f32>(x + (<usize>r << 2) + <usize>j * colStep));
        }
      }
      i += band;
    }
  }
  for (; i < rows; i++) {
    let from = x + <usize>i * rowStep;
    let to = y + <usize>i * rowBytes;
    for (const end = to + rowBytes; to < end; to += 4) {
      store<f32>(to, load<f32>(from));
      from += colStep;
    }
  }
}

/** Four rows of four floats, `step` bytes apart, become columns. */
// @ts-ignore: decorators of functions exist in AssemblyScript only
@inline
export function transpose4(x: usize, step: usize, y: usize, yStep: usize): void {
  const r0 = v128.load(x);
  const r1 = v128.load(x + step);
  const r2 = v128.load(x + step * 2);
  const r3 = v128.load(x + step * 3);
  const low01 = v128.shuffle<f32>(r0, r1, 0, 4, 1, 5);
  const high01 = v128.shuffle<f32>(r0, r1, 2, 6, 3, 7);
  const low23 = v128.shuffle<f32>(r2, r3, 0, 4, 1, 5);
  const high23 = v128.shuffle<f32>(r2, r3, 2, 6, 3, 7);
  v128.store(y, v128.shuffle<f64>(low01, low23, 0, 2));
  v128.store(y + yStep, v128.shuffle<f64>(low01, low23, 1, 3));
  v128.store(y + yStep * 2, v128.shuffle<f64>(high01, high23, 0, 2));
  v128.store(y + yStep * 3, v128.shuffle<f64>(high01, high23, 1, 3));
}
