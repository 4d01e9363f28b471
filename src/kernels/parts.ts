/** Lists of tensors in parts whose buffers fit the bindings of one dispatch. */
import { piecesOf } from '../device/pieces.js';
import type { DeviceBuffer, KernelTarget } from '../device/types.js';

/** How many bindings a buffer takes on an adapter. */
export function bindingsOf(buffer: DeviceBuffer, target: KernelTarget): number {
  return piecesOf(buffer.bytes, target.bindingLimit ?? Infinity);
}

const countOf = (buffers: readonly DeviceBuffer[], target: KernelTarget): number =>
  buffers.reduce((sum, buffer) => sum + bindingsOf(buffer, target), 0);

/** How many bindings of a dispatch are left beside those of some buffers. */
export function roomFor(target: KernelTarget, buffers: readonly DeviceBuffer[]): number {
  return target.maxStorageBuffers - countOf(buffers, target);
}

/**
 * Cuts a list into parts of consecutive items: as few as fit, and then of as equal length as those few allow, since parts of
 * one length share a kernel.
 *
 * @param items the buffers that each item needs
 * @param options.fixed buffers that every part needs beside them
 * @param options.most items in a part
 * @returns places [from, to) of the parts; an item that alone is too much is a part, and fails where it is run
 */
export function partsOf(
  items: readonly (readonly DeviceBuffer[])[],
  target: KernelTarget,
  { fixed, most }: { fixed: readonly DeviceBuffer[]; most: number },
): [from: number, to: number][] {
  const room = roomFor(target, fixed);
  const needs = items.map((buffers) => countOf(buffers, target));
  const few = cut(needs, room, most);
  const even = cut(needs, room, Math.ceil(items.length / few.length));
  return even.length === few.length ? even : few;
}

/** Parts that are filled one after the other: at most `most` items of at most `room` bindings. */
function cut(needs: readonly number[], room: number, most: number): [from: number, to: number][] {
  const parts: [number, number][] = [];
  let from = 0;
  let used = 0;
  for (let i = 0; i < needs.length; i++) {
    if (i > from && (used + needs[i] > room || i - from === most)) {
      parts.push([from, i]);
      from = i;
      used = 0;
    }
    used += needs[i];
  }
  if (needs.length > 0) parts.push([from, needs.length]);
  return parts;
}
