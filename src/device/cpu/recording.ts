/** Capturing on the CPU device: calls are noted, given memory by a plan, and run again with arguments made beforehand. */
import { CapturedBuffers, planSlots, type Touched, withoutUnread } from '../capture.js';
import type { Phase } from '../tracing.js';
import type { Capture, DeviceBuffer, Program, Recording, View } from '../types.js';

/** A program with its arguments. */
export interface Call {
  readonly program: Program<never>;
  readonly inputs: readonly View[];
  readonly outputs: readonly View[];
  readonly params: unknown;
  readonly phase: Phase;
}

interface Write {
  readonly buffer: DeviceBuffer;
  readonly offset: number;
  readonly data: Uint8Array;
}

/** What the device does for its recordings. */
export interface RecordingHost {
  /** A buffer that no capture notices. */
  allocate(bytes: number): DeviceBuffer;
  free(buffer: DeviceBuffer): void;
  write(buffer: DeviceBuffer, data: ArrayBufferView, byteOffset: number): void;
  /** Calls the function when the buffer is freed, until the returned one is called. */
  watch(buffer: DeviceBuffer, freed: () => void): () => void;
  /** Makes a call ready to be run again and again. */
  prepare(call: Call): () => void;
}

function touchedBy(note: Call | Write): Touched {
  if ('buffer' in note) return { buffers: [note.buffer], written: [note.buffer] };
  const written = note.outputs.map((view) => view.buffer);
  return { buffers: [...note.inputs.map((view) => view.buffer), ...written], written };
}

export class CPUCapture implements Capture {
  readonly buffers = new CapturedBuffers();
  private readonly notes: (Call | Write)[] = [];

  constructor(
    private readonly host: RecordingHost,
    private readonly close: () => void,
  ) {}

  call(call: Call): void {
    if (this.buffers.paused > 0) return;
    // Tensors are views too, and know their buffers only as long as they live.
    const now = ({ buffer, dtype, shape, strides, offset }: View): View => ({
      buffer,
      dtype,
      shape,
      strides,
      offset,
    });
    this.notes.push({ ...call, inputs: call.inputs.map(now), outputs: call.outputs.map(now) });
  }

  write(buffer: DeviceBuffer, offset: number, data: ArrayBufferView): void {
    if (this.buffers.paused > 0) return;
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice();
    this.notes.push({ buffer, offset, data: bytes });
  }

  untracked<R>(fn: () => R): R {
    this.buffers.paused++;
    try {
      return fn();
    } finally {
      this.buffers.paused--;
    }
  }

  abort(): void {
    this.close();
  }

  end(): Recording {
    this.close();
    const { host } = this;
    const { internal } = this.buffers;
    const notes = withoutUnread(this.notes, internal, touchedBy);
    const changed = new Set(notes.flatMap((note) => ('program' in note ? touchedBy(note).written : [])));
    const placed = new Set(internal);
    const moved = new Map<DeviceBuffer, DeviceBuffer>();
    const owned: DeviceBuffer[] = [];
    const take = (bytes: number): DeviceBuffer => {
      const buffer = host.allocate(bytes);
      owned.push(buffer);
      return buffer;
    };
    // What the host has written, and nothing overwrites, is written once for all, where nothing else lies.
    for (const note of notes) {
      if (!('data' in note) || !internal.has(note.buffer) || changed.has(note.buffer)) continue;
      placed.delete(note.buffer);
      if (!moved.has(note.buffer)) moved.set(note.buffer, take(note.buffer.bytes));
    }
    const constants = new Set(moved.keys());
    const slots = new Map<unknown, DeviceBuffer>();
    for (const [buffer, slot] of planSlots(notes.map(touchedBy), placed)) {
      let place = slots.get(slot);
      if (!place) slots.set(slot, (place = take(slot.bytes)));
      moved.set(buffer, place);
    }
    const external = new Set<DeviceBuffer>();
    const place = (buffer: DeviceBuffer): DeviceBuffer => {
      const to = moved.get(buffer);
      if (!to) external.add(buffer);
      return to ?? buffer;
    };
    const placeView = (view: View): View => ({ ...view, buffer: place(view.buffer) });
    const actions: (() => void)[] = [];
    let dispatches = 0;
    for (const note of notes) {
      if ('program' in note) {
        const inputs = note.inputs.map(placeView);
        const outputs = note.outputs.map(placeView);
        actions.push(host.prepare({ ...note, inputs, outputs }));
        dispatches++;
      } else {
        const { offset, data } = note;
        const buffer = place(note.buffer);
        if (constants.has(note.buffer)) host.write(buffer, data, offset);
        else if (changed.has(note.buffer)) actions.push(() => host.write(buffer, data, offset));
      }
    }
    return new CPURecording(actions, dispatches, owned, external, host);
  }
}

class CPURecording implements Recording {
  readonly bytes: number;
  stale = false;
  private released = false;
  private readonly unwatch: readonly (() => void)[];

  constructor(
    private readonly actions: readonly (() => void)[],
    readonly dispatches: number,
    private readonly owned: readonly DeviceBuffer[],
    external: ReadonlySet<DeviceBuffer>,
    private readonly host: RecordingHost,
  ) {
    this.bytes = owned.reduce((sum, buffer) => sum + buffer.bytes, 0);
    const expire = (): void => {
      this.stale = true;
    };
    this.unwatch = [...external].map((buffer) => host.watch(buffer, expire));
  }

  replay(): void {
    if (this.stale) throw new Error('recording: replayed after a buffer that it uses was freed');
    for (let i = 0; i < this.actions.length; i++) this.actions[i]();
  }

  release(): void {
    if (this.released) return;
    this.released = this.stale = true;
    for (const stop of this.unwatch) stop();
    for (const buffer of this.owned) this.host.free(buffer);
  }
}
