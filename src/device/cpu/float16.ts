/** float16 as bits, widened and rounded in bulk: the CPU device computes it in float32. */

/** Every float16 as float32: 2^16 of them are fewer than any loop over a tensor is worth computing. */
let table: Float32Array | undefined;

function makeTable(): Float32Array {
  const values = new Float32Array(65536);
  for (let bits = 0; bits < 65536; bits++) {
    const exponent = (bits >>> 10) & 31;
    const fraction = bits & 1023;
    const magnitude =
      exponent === 0
        ? fraction * 2 ** -24
        : exponent === 31
          ? fraction === 0
            ? Number.POSITIVE_INFINITY
            : Number.NaN
          : (1024 + fraction) * 2 ** (exponent - 25);
    values[bits] = bits >= 32768 ? -magnitude : magnitude;
  }
  return values;
}

/** The table of all float16 values, by their bits. */
export function float16Table(): Float32Array {
  table ??= makeTable();
  return table;
}

/** The float16 nearest to a float32, ties to even, both as bits. NaN becomes the quiet NaN. */
export function roundToFloat16(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude >= 0x38800000) {
    // At least 2^-14, a normal float16. From 2^16 on: infinity; 65,520 up to there carries into it by rounding.
    if (magnitude >= 0x47800000) return sign | (magnitude > 0x7f800000 ? 0x7e00 : 0x7c00);
    const rebiased = magnitude - (112 << 23);
    return sign | ((rebiased + 0xfff + ((rebiased >>> 13) & 1)) >>> 13);
  }
  // Up to 2^-25, half the smallest subnormal: zero.
  if (magnitude <= 0x33000000) return sign;
  const shift = 126 - (magnitude >>> 23);
  const significand = (magnitude & 0x7fffff) | 0x800000;
  const floor = significand >>> shift;
  const rest = significand & ((1 << shift) - 1);
  const half = 1 << (shift - 1);
  return sign | (floor + (rest > half || (rest === half && (floor & 1) === 1) ? 1 : 0));
}

interface Layout {
  readonly shape: readonly number[];
  readonly strides: readonly number[];
}

/** How many elements a view has. */
export function elements(view: Layout): number {
  return view.shape.reduce((count, size) => count * size, 1);
}

/** Whether elements lie side by side in row-major order. */
export function isDense({ shape, strides }: Layout): boolean {
  let step = 1;
  for (let dim = shape.length - 1; dim >= 0; dim--) {
    if (shape[dim] !== 1 && strides[dim] !== step) return false;
    step *= shape[dim];
  }
  return true;
}

/**
 * How many elements lie from the first of a view to its last; null where there are more than twice as many as the view
 * has, or steps backwards.
 */
export function span({ shape, strides }: Layout): number | null {
  let length = 1;
  let own = 1;
  for (let dim = 0; dim < shape.length; dim++) {
    if (shape[dim] === 0) return 0;
    if (strides[dim] < 0) return null;
    length += (shape[dim] - 1) * strides[dim];
    if (strides[dim] !== 0) own *= shape[dim];
  }
  return length > 2 * own ? null : length;
}

/** Widens the elements of a strided float16 view into contiguous float32. */
export function widen(
  source: Uint16Array,
  target: Float32Array,
  shape: readonly number[],
  strides: readonly number[],
  offset: number,
): void {
  const values = float16Table();
  let next = 0;
  forEachRow(shape, strides, offset, (start, count, stride) => {
    for (let i = 0, at = start; i < count; i++, at += stride) target[next++] = values[source[at]];
  });
}

/** Rounds contiguous float32, given as bits, into the elements of a strided float16 view. */
export function narrow(
  source: Uint32Array,
  target: Uint16Array,
  shape: readonly number[],
  strides: readonly number[],
  offset: number,
): void {
  let next = 0;
  forEachRow(shape, strides, offset, (start, count, stride) => {
    for (let i = 0, at = start; i < count; i++, at += stride) target[at] = roundToFloat16(source[next++]);
  });
}

/** Calls `row` for each row along the last dim, in order; trailing dims that lie without gaps count as one row. */
function forEachRow(
  shape: readonly number[],
  strides: readonly number[],
  offset: number,
  row: (start: number, count: number, stride: number) => void,
): void {
  let outer = shape.length;
  let count = 1;
  let stride = 1;
  while (outer > 0) {
    const size = shape[outer - 1];
    if (size !== 1) {
      if (count === 1) stride = strides[outer - 1];
      else if (strides[outer - 1] !== count * stride) break;
      count *= size;
    }
    outer--;
  }
  if (count === 0 || shape.includes(0)) return;
  const index = new Array<number>(outer).fill(0);
  let start = offset;
  for (;;) {
    row(start, count, stride);
    let dim = outer - 1;
    for (; dim >= 0; dim--) {
      start += strides[dim];
      if (++index[dim] < shape[dim]) break;
      start -= strides[dim] * shape[dim];
      index[dim] = 0;
    }
    if (dim < 0) return;
  }
}
