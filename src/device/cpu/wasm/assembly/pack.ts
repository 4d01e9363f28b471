/** Packs strided matrices into panels: `width` lanes side by side, step after step. */
import { transpose4 } from './copy';

/**
 * Packs `lanes` × `steps` elements into ⌈lanes / width⌉ panels of steps × width floats; width is even.
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
      const room = min(width - lane, 4);
      const left = min(lanes - panel - lane, room);
      if (left < room) packSome(max(left, 0), room, steps, first, laneStep, stepStep, at, targetStep);
      else if (laneStride == 1) packCopy(room, steps, first, stepStep, at, targetStep);
      else if (stepStride == 1) packTransposed(room, steps, first, laneStep, at, targetStep);
      else packSome(room, room, steps, first, laneStep, stepStep, at, targetStep);
    }
    target += <usize>steps * targetStep;
  }
}

/** Four or two lanes that lie side by side. */
function packCopy(room: i32, steps: i32, source: usize, stepStep: usize, target: usize, targetStep: usize): void {
  if (room == 4) {
    for (let p = 0; p < steps; p++) {
      v128.store(target, v128.load(source));
      source += stepStep;
      target += targetStep;
    }
  } else {
    for (let p = 0; p < steps; p++) {
      store<i64>(target, load<i64>(source));
      source += stepStep;
      target += targetStep;
    }
  }
}

/** Steps lie side by side: transposes 4 × 4 or 2 × 4 elements at a time. */
function packTransposed(
  room: i32, steps: i32, source: usize, laneStep: usize, target: usize, targetStep: usize,
): void {
  let p = 0;
  for (; p + 4 <= steps; p += 4) {
    if (room == 4) transpose4(source, laneStep, target, targetStep);
    else transpose2(source, laneStep, target, targetStep);
    source += 16;
    target += targetStep * 4;
  }
  packSome(room, room, steps - p, source, laneStep, 4, target, targetStep);
}

/** Two rows of four floats, `step` bytes apart, become columns. */
// @ts-ignore: decorators of functions exist in AssemblyScript only
@inline
function transpose2(x: usize, step: usize, y: usize, yStep: usize): void {
  const r0 = v128.load(x);
  const r1 = v128.load(x + step);
  const low = v128.shuffle<f32>(r0, r1, 0, 4, 1, 5);
  const high = v128.shuffle<f32>(r0, r1, 2, 6, 3, 7);
  v128.store_lane<i64>(y, low, 0);
  v128.store_lane<i64>(y + yStep, low, 1);
  v128.store_lane<i64>(y + yStep * 2, high, 0);
  v128.store_lane<i64>(y + yStep * 3, high, 1);
}

/** Any strides; lanes up to `room` become zero. */
function packSome(
  lanes: i32, room: i32, steps: i32, source: usize, laneStep: usize, stepStep: usize, target: usize, targetStep: usize,
): void {
  for (let p = 0; p < steps; p++) {
    let from = source;
    let lane = 0;
    for (; lane < lanes; lane++) {
      store<f32>(target + (<usize>lane << 2), load<f32>(from));
      from += laneStep;
    }
    for (; lane < room; lane++) store<f32>(target + (<usize>lane << 2), 0);
    source += stepStep;
    target += targetStep;
  }
}
