/** Cross-entropy of rows of scores against a class each, and its gradient. */
import { constant, log4 } from './math';
import { affineRow, expRow, maxRow } from './rows';

/**
 * losses[i] = w · (log Σⱼ e^xᵢⱼ - xᵢₜ) for the class t of row i, w being 1 or weight[t] (address 0: no weights), 0 where t is
 * `ignore`. stats holds three rows, `step` elements apart: the log-sum-exp, w, and w again. Returns whether all classes are in
 * range.
 */
export function crossEntropy(
  rows: i32, classes: i32, x: usize, targets: usize, weight: usize, ignore: i32, losses: usize, stats: usize,
  step: i32,
): bool {
  const row = <usize>step << 2;
  for (let i = 0; i < rows; i++) {
    const target = load<i32>(targets);
    const most = maxRow(classes, x);
    const log = f32x4.extract_lane(log4(constant(expRow(classes, x, most, 0))), 0);
    let loss: f32 = 0;
    let w: f32 = 0;
    if (target != ignore) {
      if (<u32>target >= <u32>classes) return false;
      w = weight ? load<f32>(weight + (<usize>target << 2)) : 1;
      // The difference first: the maximum may be large and the loss small.
      loss = w * (most - load<f32>(x + (<usize>target << 2)) + log);
    }
    store<f32>(losses, loss);
    store<f32>(stats, most + log);
    store<f32>(stats + row, w);
    store<f32>(stats + row * 2, w);
    x += <usize>classes << 2;
    targets += 4;
    losses += 4;
    stats += 4;
  }
  return true;
}

/** dx = g · w · (softmax x - [t]), from the statistics of `crossEntropy`; `gStep` is the stride of g in elements. */
export function crossEntropyBackward(
  rows: i32, classes: i32, g: usize, gStep: i32, x: usize, targets: usize, stats: usize, ignore: i32, dx: usize,
  step: i32,
): void {
  const row = <usize>step << 2;
  const width = <usize>classes << 2;
  for (let i = 0; i < rows; i++) {
    const target = load<i32>(targets);
    if (target == ignore) {
      memory.fill(dx, 0, width);
    } else {
      const scale = load<f32>(g) * load<f32>(stats + row);
      expRow(classes, x, load<f32>(stats), dx);
      affineRow(classes, dx, scale, 0, dx);
      const at = dx + (<usize>target << 2);
      store<f32>(at, load<f32>(at) - scale);
    }
    g += <usize>gStep << 2;
    x += width;
    dx += width;
    targets += 4;
    stats += 4;
  }
}
