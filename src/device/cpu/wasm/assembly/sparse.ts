/**
 * Linear layers over wires. x and g come in columns: element (row r, column c) at x + (c · stride + r) · 4, with a stride of a
 * multiple of 16, so that vectors run over rows and a wire's source, target and weight are read once for all of them. What
 * lies between the last row and the stride is read and has no effect.
 */

/**
 * y[r, o] = bias[o] + Σ weights[wires[j]] · x[r, sources[j]] over starts[o] ≤ j < starts[o + 1], rows of y `yRow` floats apart.
 * Address 0: no bias, or wires in order. `sums` holds outputs × stride floats.
 */
export function sparseSums(
  outputs: i32, total: i32, rows: i32, stride: i32,
  x: usize, starts: usize, sources: usize, wires: usize, weights: usize, bias: usize,
  sums: usize, y: usize, yRow: i32,
): void {
  const column = <usize>stride << 2;
  const step = <usize>yRow << 2;
  for (let o = 0; o < outputs; o++) {
    const begin = load<u32>(starts), end = load<u32>(starts, 4);
    const first = f32x4.splat(bias ? load<f32>(bias + (<usize>o << 2)) : 0);
    for (let r = 0; r < rows; r += 16) {
      const block = x + (<usize>r << 2);
      let a = first, b = first, c = first, d = first;
      for (let j = begin; j < end; j++) {
        const at = block + <usize>load<u32>(sources + (<usize>j << 2)) * column;
        const wire = wires ? load<u32>(wires + (<usize>j << 2)) : j;
        const weight = v128.load32_splat(weights + (<usize>wire << 2));
        a = f32x4.add(a, f32x4.mul(weight, v128.load(at)));
        b = f32x4.add(b, f32x4.mul(weight, v128.load(at, 16)));
        c = f32x4.add(c, f32x4.mul(weight, v128.load(at, 32)));
        d = f32x4.add(d, f32x4.mul(weight, v128.load(at, 48)));
      }
      const to = sums + (<usize>r << 2);
      v128.store(to, a);
      v128.store(to, b, 16);
      v128.store(to, c, 32);
      v128.store(to, d, 48);
    }
    let to = y;
    for (let r = 0; r < rows; r++) {
      store<f32>(to, load<f32>(sums + (<usize>r << 2)));
      to += step;
    }
    starts += 4;
    sums += column;
    y += 4;
  }
}

/** y[j] += Σ g[r, targets[j]] · x[r, sources[j]] over rows. */
export function sparseDots(
  count: i32, rows: i32, stride: i32, g: usize, x: usize, targets: usize, sources: usize, y: usize,
): void {
  const column = <usize>stride << 2;
  const whole = <usize>(rows & ~3) << 2;
  const end = <usize>rows << 2;
  for (let k = 0; k < count; k++) {
    const a = g + <usize>load<u32>(targets + (<usize>k << 2)) * column;
    const b = x + <usize>load<u32>(sources + (<usize>k << 2)) * column;
    let sum = f32x4.splat(0);
    for (let r: usize = 0; r < whole; r += 16) sum = f32x4.add(sum, f32x4.mul(v128.load(a + r), v128.load(b + r)));
    let rest: f32 = 0;
    for (let r = whole; r < end; r += 4) rest += load<f32>(a + r) * load<f32>(b + r);
    const at = y + (<usize>k << 2);
    store<f32>(
      at,
      load<f32>(at) +
        (f32x4.extract_lane(sum, 0) + f32x4.extract_lane(sum, 1) + (f32x4.extract_lane(sum, 2) + f32x4.extract_lane(sum, 3))) +
        rest,
    );
  }
}
