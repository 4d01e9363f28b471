/** Packs strided matrices into panels: `width` lanes side by side, step after step. */
import { transpose4 } from './copy';

/**
 * Packs `lanes` × `steps` elements into ⌈lanes / width⌉ panels of steps × width floats; width is a multiple of 4.
 * Lane l of step p is at `source[l · laneStride + p · stepStride]`. Missing lanes of the last panel become zero.
 */
export function packPanels(
  lanes: i32, steps: i32, source: usize, laneStride: i32, stepStride: i32, target: usize, width: i32,
): void {
  const laneStep = <usize>laneStride << 2;
  const stepStep = <usize>stepStride << 2;
  const targetStep = <usize>width << 2;
  for (let panel = 0; panel < lanes; panel += width) {
    for (let lane = 0; lane < width; lane += 4) {
      const first = source + <usize>(panel + lane) * laneStep;
      const at = target + (<usize>lane << 2);
      const left = lanes - panel - lane;
      if (left < 4) packSome(max(left, 0), steps, first, laneStep, stepStep, at, targetStep);
      else if (laneStride == 1) packCopy(steps, first, stepStep, at, targetStep);
      else if (stepStride == 1) packTransposed(steps, first, laneStep, at, targetStep);
      else packSome(4, steps, first, laneStep, stepStep, at, targetStep);
    }
    target += <usize>steps * targetStep;
  }
}

/** Lanes lie side by side. */
function packCopy(steps: i32, source: usize, stepStep: usize, target: usize, targetStep: usize): void {
  for (let p = 0; p < steps; p++) {
    v128.store(target, v128.load(source));
    source += stepStep;
    target += targetStep;
  }
}

/** Steps lie side by side: transposes 4 × 4 elements at a time. */
function packTransposed(steps: i32, source: usize, laneStep: usize, target: usize, targetStep: usize): void {
  let p = 0;
  for (; p + 4 <= steps; p += 4) {
    transpose4(source, laneStep, target, targetStep);
    source += 16;
    target += targetStep * 4;
  }
  packSome(4, steps - p, source, laneStep, 4, target, targetStep);
}

/** Any strides, and fewer than four lanes. */
function packSome(
  lanes: i32, steps: i32, source: usize, laneStep: usize, stepStep: usize, target: usize, targetStep: usize,
): void {
  for (let p = 0; p < steps; p++) {
    v128.store(target, f32x4.splat(0));
    let from = source;
    for (let lane = 0; lane < lanes; lane++) {
      store<f32>(target + (<usize>lane << 2), load<f32>(from));
      from += laneStep;
    }
    source += stepStep;
    target += targetStep;
  }
}
