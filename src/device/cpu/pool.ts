/** The CPU device's memory: one WebAssembly.Memory, cut into blocks that are handed out and taken back. */
import { DeviceError } from '../errors.js';
import { sizeClass } from '../size-class.js';
import type { MemoryStats } from '../types.js';

const PAGE = 65536;
/** 65,536 pages: all that 32-bit addresses reach. */
export const MAX_BYTES = 4 * 1024 ** 3;
/** The first page belongs to the WebAssembly module's own data; it also keeps address 0 from ever being a buffer. */
const RESERVED = PAGE;
/** Growing detaches every view, or leaves it short where memory is shared, so it happens in big steps: this much, or a quarter of what there is. */
const GROWTH = 16 * 1024 ** 2;

/** A range of the memory, in bytes. */
export interface Block {
  readonly pointer: number;
  readonly size: number;
}

/** Blocks by size class over a memory that only grows: new ones from its end, used ones from free lists. */
export class MemoryPool {
  readonly memory: WebAssembly.Memory;
  /** Counts how often the memory grew: views made under another count are detached, or short. */
  epoch = 0;
  private readonly maxBytes: number;
  private top = RESERVED;
  /** Bytes of the memory now; cached, because `memory.buffer` is slow to ask. */
  private length: number;
  private readonly idle = new Map<number, number[]>();
  /** What merging idle neighbours made, of any size; only used when the memory is full. */
  private merged: Block[] = [];
  private live = 0;
  private peak = 0;
  private buffers = 0;
  private idleBytes = 0;

  /** `shared`: for threads. */
  constructor(maxBytes = MAX_BYTES, shared = false) {
    this.maxBytes = Math.max(2, Math.floor(Math.min(maxBytes, MAX_BYTES) / PAGE)) * PAGE;
    this.length = Math.min(GROWTH, this.maxBytes);
    const [initial, maximum] = [this.length / PAGE, this.maxBytes / PAGE];
    this.memory = new WebAssembly.Memory({ initial, maximum, shared });
  }

  /** A block of at least `bytes`, contents undefined. @throws DeviceError where the memory has no room. */
  take(bytes: number, op: string): Block {
    const size = sizeClass(bytes);
    const pointer = this.idle.get(size)?.pop();
    let block: Block;
    if (pointer !== undefined) {
      this.idleBytes -= size;
      block = { pointer, size };
    } else {
      block = this.fromEnd(size) ?? this.fromMerged(size) ?? this.full(bytes, op);
    }
    this.live += size;
    this.buffers++;
    if (this.live > this.peak) this.peak = this.live;
    return block;
  }

  /** Takes a block back. */
  give({ pointer, size }: Block): void {
    const list = this.idle.get(size);
    if (list) list.push(pointer);
    else this.idle.set(size, [pointer]);
    this.idleBytes += size;
    this.live -= size;
    this.buffers--;
  }

  stats(): MemoryStats {
    return {
      liveBytes: this.live,
      peakBytes: this.peak,
      liveBuffers: this.buffers,
      idleBytes: this.idleBytes,
    };
  }

  resetPeak(): void {
    this.peak = this.live;
  }

  private fromEnd(size: number): Block | undefined {
    const end = this.top + size;
    if (end > this.length && !this.grow(end)) return undefined;
    const block = { pointer: this.top, size };
    this.top = end;
    return block;
  }

  private grow(end: number): boolean {
    if (end > this.maxBytes) return false;
    const roomy = Math.min(this.maxBytes, Math.max(end, this.length + Math.max(GROWTH, this.length / 4)));
    for (const goal of [roomy, end]) {
      const pages = Math.ceil((goal - this.length) / PAGE);
      try {
        this.memory.grow(pages);
      } catch (error) {
        // RangeError is how the system says no; the smaller step may still fit.
        if (error instanceof RangeError) continue;
        throw error;
      }
      this.length += pages * PAGE;
      this.epoch++;
      return true;
    }
    return false;
  }

  /** The last resort: idle blocks of all classes, merged with their neighbours, cut to fit. */
  private fromMerged(size: number): Block | undefined {
    const blocks = [...this.merged];
    for (const [idleSize, pointers] of this.idle)
      for (const pointer of pointers) blocks.push({ pointer, size: idleSize });
    this.idle.clear();
    blocks.sort((a, b) => a.pointer - b.pointer);
    this.merged = [];
    for (const block of blocks) {
      const last = this.merged.at(-1);
      if (last && last.pointer + last.size === block.pointer) {
        this.merged[this.merged.length - 1] = { pointer: last.pointer, size: last.size + block.size };
      } else this.merged.push(block);
    }
    const last = this.merged.at(-1);
    if (last && last.pointer + last.size === this.top) {
      this.merged.pop();
      this.top = last.pointer;
      this.idleBytes -= last.size;
      const block = this.fromEnd(size);
      if (block) return block;
    }
    const index = this.merged.findIndex((block) => block.size >= size);
    if (index < 0) return undefined;
    const { pointer, size: room } = this.merged[index];
    if (room === size) this.merged.splice(index, 1);
    else this.merged[index] = { pointer: pointer + size, size: room - size };
    this.idleBytes -= size;
    return { pointer, size };
  }

  private full(bytes: number, op: string): never {
    throw new DeviceError(
      `${op}: expected room for ${bytes} bytes in the CPU device's memory, got ${this.maxBytes} bytes of which ` +
        `${this.live} are in use; use smaller batches, or end scopes earlier`,
    );
  }
}
