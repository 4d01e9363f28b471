/** Words and rows of them, copied by place or by index; sums of rows into picked rows; running sums. */

/** Bytes up to which a loop beats memory.copy, which is a call of the engine. */
const SHORT: usize = 512;

/** Copies a contiguous row. */
// @ts-ignore: decorators of functions exist in AssemblyScript only
@inline
function copyRow(to: usize, from: usize, bytes: usize): void {
  if (bytes > SHORT) {
    memory.copy(to, from, bytes);
    return;
  }
  const vectors = bytes & ~15;
  for (let j: usize = 0; j < vectors; j += 16) v128.store(to + j, v128.load(from + j));
  for (let j = vectors; j < bytes; j += 4) store<u32>(to + j, load<u32>(from + j));
}

/** y = value, a word. */
export function fillWords(count: i32, y: usize, value: u32): void {
  const values = i32x4.splat(value);
  for (; count >= 4; count -= 4) {
    v128.store(y, values);
    y += 16;
  }
  for (; count > 0; count--) {
    store<u32>(y, value);
    y += 4;
  }
}

/** y[i, j] = x[i, j] for any strides of both; words of any type. */
export function copyStrided(
  rows: i32, columns: i32, x: usize, xRow: i32, xCol: i32, y: usize, yRow: i32, yCol: i32,
): void {
  const xStep = <usize>xCol << 2;
  const yStep = <usize>yCol << 2;
  for (let i = 0; i < rows; i++) {
    if (xCol == 1 && yCol == 1) copyRow(y, x, <usize>columns << 2);
    else {
      let from = x, to = y;
      for (let j = 0; j < columns; j++) {
        store<u32>(to, load<u32>(from));
        from += xStep;
        to += yStep;
      }
    }
    x += <usize>xRow << 2;
    y += <usize>yRow << 2;
  }
}

/**
 * y[k] = row index[k] of x, for `count` rows of `width` words, of which x has `size`; rows of zeros where the index is
 * `skip` (-1: none). False for an index out of range.
 */
export function selectRows(
  count: i32, width: i32, x: usize, size: i32, index: usize, skip: i32, y: usize,
): bool {
  const bytes = <usize>width << 2;
  for (let k = 0; k < count; k++) {
    const pick = load<i32>(index + (<usize>k << 2));
    if (<u32>pick >= <u32>size) return false;
    if (pick == skip) memory.fill(y, 0, bytes);
    else copyRow(y, x + <usize>pick * bytes, bytes);
    y += bytes;
  }
  return true;
}

/**
 * y = 0, then row index[k] of y += row k of x, in order of k; rows are `xRow` and `yRow` floats apart, so that a range of
 * columns can be done alone. Rows whose index is `skip` (-1: none) are left out. False for an index out of range.
 */
export function addRows(
  count: i32, width: i32, x: usize, xRow: i32, index: usize, size: i32, skip: i32, y: usize, yRow: i32,
): bool {
  const bytes = <usize>width << 2;
  const vectors = bytes & ~15;
  const yStep = <usize>yRow << 2;
  if (yRow == width) memory.fill(y, 0, <usize>size * bytes);
  else for (let i = 0; i < size; i++) memory.fill(y + <usize>i * yStep, 0, bytes);
  for (let k = 0; k < count; k++) {
    const pick = load<i32>(index + (<usize>k << 2));
    if (<u32>pick >= <u32>size) return false;
    if (pick != skip) {
      const to = y + <usize>pick * yStep;
      for (let j: usize = 0; j < vectors; j += 16) v128.store(to + j, f32x4.add(v128.load(to + j), v128.load(x + j)));
      for (let j = vectors; j < bytes; j += 4) store<f32>(to + j, load<f32>(to + j) + load<f32>(x + j));
    }
    x += <usize>xRow << 2;
  }
  return true;
}

/** y[i, j] = Σ x[i, k] over k ≤ j, or k ≥ j where `reverse`, added in float64; strides as given, the same for x and y. */
export function cumsum(
  rows: i32, columns: i32, x: usize, y: usize, row: i32, column: i32, reverse: bool,
): void {
  const rowStep = <usize>row << 2;
  const start = reverse ? <usize>(columns - 1) * (<usize>column << 2) : 0;
  const step = reverse ? 0 - (<usize>column << 2) : <usize>column << 2;
  let i = 0;
  if (row == 1 && column != 1) {
    for (; i + 4 <= rows; i += 4) {
      let at = start + (<usize>i << 2);
      let low = f64x2.splat(0), high = low;
      for (let j = 0; j < columns; j++) {
        const value = v128.load(x + at);
        low = f64x2.add(low, f64x2.promote_low_f32x4(value));
        high = f64x2.add(high, f64x2.promote_low_f32x4(v128.shuffle<f32>(value, value, 2, 3, 2, 3)));
        v128.store(y + at, v128.shuffle<f32>(f32x4.demote_f64x2_zero(low), f32x4.demote_f64x2_zero(high), 0, 1, 4, 5));
        at += step;
      }
    }
  }
  for (; i < rows; i++) {
    let at = start + <usize>i * rowStep;
    let sum: f64 = 0;
    for (let j = 0; j < columns; j++) {
      sum += <f64>load<f32>(x + at);
      store<f32>(y + at, <f32>sum);
      at += step;
    }
  }
}
