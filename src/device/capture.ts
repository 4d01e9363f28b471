/**
 * What both devices share of capturing: which buffers a captured run of work needs only inside, what of the work nobody
 * reads, and how few blocks of memory the buffers can share.
 */
import type { DeviceBuffer } from './types.js';

/** Buffers that were allocated and given back again while a capture was under way are nobody's outside. */
export class CapturedBuffers {
  paused = 0;
  private readonly allocated = new Set<DeviceBuffer>();
  readonly internal = new Set<DeviceBuffer>();

  allocate(buffer: DeviceBuffer): void {
    if (this.paused === 0) this.allocated.add(buffer);
  }

  free(buffer: DeviceBuffer): void {
    if (this.allocated.has(buffer)) this.internal.add(buffer);
  }
}

/** What a note of work reads and writes. */
export interface Touched {
  /** All of its buffers. */
  readonly buffers: readonly DeviceBuffer[];
  /** Those that it writes, in part or in whole. */
  readonly written: readonly DeviceBuffer[];
}

/**
 * Leaves out notes that change nothing outside: all that they write are internal buffers that none of the later notes
 * reads, or only others that are left out.
 */
export function withoutUnread<N>(
  notes: readonly N[],
  internal: ReadonlySet<DeviceBuffer>,
  touched: (note: N) => Touched,
): N[] {
  const read = new Set<DeviceBuffer>();
  const kept: N[] = [];
  for (const note of notes.toReversed()) {
    const { buffers, written } = touched(note);
    if (written.every((buffer) => internal.has(buffer) && !read.has(buffer))) continue;
    // Who writes a part of a buffer needs what wrote the rest.
    for (const buffer of buffers) read.add(buffer);
    kept.push(note);
  }
  return kept.reverse();
}

/** One block that serves several buffers, one after the other. */
export interface Slot {
  readonly bytes: number;
}

/**
 * Gives every buffer a slot such that no two buffers in use at the same time share one, in few bytes: the largest
 * buffer first, each into the smallest slot that is free while it is in use.
 *
 * @param notes the buffers that each command uses, in order
 * @param internal the buffers to place; others are left out
 */
export function planSlots(
  notes: readonly Pick<Touched, 'buffers'>[],
  internal: ReadonlySet<DeviceBuffer>,
): Map<DeviceBuffer, Slot> {
  const spans = new Map<DeviceBuffer, { first: number; last: number }>();
  notes.forEach(({ buffers }, at) => {
    for (const buffer of buffers) {
      if (!internal.has(buffer)) continue;
      const span = spans.get(buffer);
      if (span) span.last = at;
      else spans.set(buffer, { first: at, last: at });
    }
  });
  const order = [...spans].sort(([a, s], [b, t]) => b.bytes - a.bytes || s.first - t.first);
  const slots: { slot: Slot; spans: { first: number; last: number }[] }[] = [];
  const plan = new Map<DeviceBuffer, Slot>();
  for (const [buffer, span] of order) {
    // Slots come in descending size: the last one that is free wastes least.
    let found = slots.findLast((s) => s.spans.every((o) => o.last < span.first || span.last < o.first));
    if (!found) slots.push((found = { slot: { bytes: buffer.bytes }, spans: [] }));
    found.spans.push(span);
    plan.set(buffer, found.slot);
  }
  return plan;
}
