/** What a captured run of work leaves out, on notes of random reads and writes. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { withoutUnread } from '../../src/device/capture.js';
import type { DeviceBuffer } from '../../src/device/types.js';

interface Note {
  readonly reads: readonly number[];
  readonly writes: readonly number[];
}

const BUFFERS = 6;
const buffers = Array.from({ length: BUFFERS }, () => ({ bytes: 4 }) as DeviceBuffer);
const touched = ({ reads, writes }: Note) => ({
  buffers: [...reads, ...writes].map((i) => buffers[i]),
  written: writes.map((i) => buffers[i]),
});

/** Runs notes on numbers; what a note writes depends on all that it touches. */
function run(notes: readonly Note[]): number[] {
  const values = Array.from({ length: BUFFERS }, (_, i) => i);
  for (const { reads, writes } of notes) {
    const seen = [...reads, ...writes].reduce((sum, i) => (31 * sum + values[i]) % 1_000_003, 7);
    for (const i of writes) values[i] = (values[i] + 13 * seen + i) % 1_000_003;
  }
  return values;
}

const index = fc.nat(BUFFERS - 1);
const note = fc.record({
  reads: fc.uniqueArray(index, { maxLength: 3 }),
  writes: fc.uniqueArray(index, { minLength: 1, maxLength: 2 }),
});

it('leaves buffers outside as all notes would, and keeps no note without need', () => {
  fc.assert(
    fc.property(fc.array(note, { maxLength: 12 }), fc.subarray([...buffers.keys()]), (notes, inside) => {
      const kept = withoutUnread(notes, new Set(inside.map((i) => buffers[i])), touched);
      const outside = (values: number[]) => values.filter((_, i) => !inside.includes(i));
      const whole = outside(run(notes));
      expect(outside(run(kept))).toEqual(whole);
      expect(kept).toEqual(notes.filter((n) => kept.includes(n)));
      // Each that is kept writes what a later one uses, or somebody outside.
      kept.forEach(({ writes }, i) => {
        const later = kept.slice(i + 1).flatMap((n) => [...n.reads, ...n.writes]);
        expect(writes.some((w) => !inside.includes(w) || later.includes(w))).toBe(true);
      });
    }),
    { numRuns: 2000 },
  );
});
