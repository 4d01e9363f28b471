/** Capturing on WebGPU: dispatches are noted, given blocks by a plan, and kept as commands with their bind groups. */
import { CapturedBuffers, planSlots, type Slot, type Touched, withoutUnread } from '../capture.js';
import type { Capture, DeviceBuffer, Dispatch, Recording } from '../types.js';
import type { DispatchWork } from '../work.js';
import { Parameters } from './parameters.js';
import type { PipelineCache } from './pipelines.js';
import type { Block, BufferPool, WebGPUBuffer } from './pool.js';
import type { CommandList, DispatchCommand, Recorder, WriteCommand } from './recorder.js';

interface Host {
  readonly gpu: GPUDevice;
  readonly pool: BufferPool;
  readonly pipelines: PipelineCache;
  readonly recorder: Recorder;
}

interface NotedDispatch {
  readonly op: string;
  readonly dispatch: Dispatch;
  readonly work: DispatchWork | null;
}
interface NotedWrite {
  readonly buffer: DeviceBuffer;
  readonly offset: number;
  readonly data: Uint8Array<ArrayBuffer>;
}

function touchedBy(note: NotedDispatch | NotedWrite): Touched {
  if ('buffer' in note) return { buffers: [note.buffer], written: [note.buffer] };
  const { kernel, buffers } = note.dispatch;
  return { buffers, written: buffers.filter((_, i) => kernel.bindings[i].access === 'read_write') };
}

export class WebGPUCapture implements Capture {
  readonly buffers = new CapturedBuffers();
  private readonly notes: (NotedDispatch | NotedWrite)[] = [];

  constructor(
    private readonly host: Host,
    private readonly close: () => void,
  ) {}

  dispatch(op: string, dispatch: Dispatch, work: DispatchWork | null): void {
    if (this.buffers.paused === 0 && dispatch.workgroups > 0) this.notes.push({ op, dispatch, work });
  }

  write(buffer: DeviceBuffer, offset: number, data: Uint8Array<ArrayBuffer>): void {
    if (this.buffers.paused === 0) this.notes.push({ buffer, offset, data: data.slice() });
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
    const { gpu, pool, pipelines, recorder } = this.host;
    const { internal } = this.buffers;
    const notes = withoutUnread(this.notes, internal, touchedBy);
    const changed = new Set(notes.flatMap((note) => ('dispatch' in note ? touchedBy(note).written : [])));
    // What the host has written, and nothing overwrites, is written once for all, into a block that nothing else uses.
    const constants = new Set<DeviceBuffer>();
    for (const note of notes) {
      if ('buffer' in note && internal.has(note.buffer) && !changed.has(note.buffer))
        constants.add(note.buffer);
    }
    const placed = new Set([...internal].filter((buffer) => !constants.has(buffer)));
    const plan = planSlots(notes.map(touchedBy), placed);

    const owned: Block[] = [];
    const take = (bytes: number): Block => {
      const block = pool.take(bytes, 'capture');
      owned.push(block);
      return block;
    };
    const slots = new Map<Slot, Block>();
    const blocks = new Map<DeviceBuffer, Block>();
    const external = new Set<WebGPUBuffer>();
    for (const [buffer, slot] of plan) {
      let block = slots.get(slot);
      if (!block) slots.set(slot, (block = take(slot.bytes)));
      blocks.set(buffer, block);
    }
    for (const buffer of constants) blocks.set(buffer, take(buffer.bytes));
    const blockOf = (buffer: DeviceBuffer): Block => {
      let block = blocks.get(buffer);
      if (!block) {
        blocks.set(buffer, (block = recorder.blockOf(buffer, 'capture')));
        external.add(buffer as WebGPUBuffer);
      }
      return block;
    };

    const parameters = new Parameters(gpu, pipelines);
    const commands: (DispatchCommand | WriteCommand)[] = [];
    let dispatches = 0;
    for (const note of notes) {
      if ('dispatch' in note) {
        const { op, dispatch, work } = note;
        commands.push(recorder.prepare(op, dispatch, dispatch.buffers.map(blockOf), parameters, work));
        dispatches++;
      } else {
        const { buffer, offset, data } = note;
        const block = blockOf(buffer);
        if (constants.has(buffer)) recorder.write(block, offset, data);
        else if (changed.has(buffer)) commands.push({ kind: 'write', block, offset, data });
      }
    }
    parameters.upload();
    const list = { commands, parameters, dispatches, blocks: [...new Set(blocks.values())] };
    return new WebGPURecording(list, owned, external, this.host);
  }
}

class WebGPURecording implements Recording {
  readonly dispatches: number;
  readonly bytes: number;
  stale = false;
  private released = false;

  constructor(
    private readonly list: CommandList,
    private readonly owned: readonly Block[],
    private readonly external: ReadonlySet<WebGPUBuffer>,
    private readonly host: Host,
  ) {
    this.dispatches = list.dispatches;
    this.bytes = owned.reduce((sum, block) => sum + block.size, 0);
    for (const buffer of external) (buffer.recordings ??= new Set()).add(this);
  }

  replay(): void {
    if (this.stale) throw new Error('recording: replayed after a buffer that it uses was freed');
    this.host.recorder.replay(this.list);
  }

  /** A buffer that it uses is going. */
  expire(): void {
    this.stale = true;
  }

  release(): void {
    if (this.released) return;
    this.released = this.stale = true;
    for (const buffer of this.external) buffer.recordings?.delete(this);
    // Replays that wait still name these; the pool destroys no block that a waiting command uses.
    for (const block of this.owned) this.host.pool.give(block);
    this.host.recorder.retire(this.list.parameters);
  }
}
