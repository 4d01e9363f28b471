/** The buffer pool: size classes, free lists, counts. */
import { DeviceError } from '../errors.js';
import { sizeClass } from '../size-class.js';
import type { Device, DeviceBuffer, MemoryStats } from '../types.js';
import type { Faults } from './faults.js';

// GPUBufferUsage: MAP_READ 1, COPY_SRC 4, COPY_DST 8, STORAGE 128. Node.js has no such global.
const STORAGE = 128 | 4 | 8;
const STAGING = 1 | 8;

/** Below this, idle memory is never worth giving back. */
const IDLE_FLOOR = 256 * 2 ** 20;

/** A GPU allocation, handed out again and again. */
export class Block {
  /** The batch (see Recorder.batch) whose unsubmitted commands use this block. */
  batch = -1;
  idleSince = 0;
  /** Called when the GPU buffer goes, to drop what refers to it. */
  readonly onDestroy = new Set<() => void>();
  broken = false;

  constructor(
    readonly id: number,
    readonly size: number,
    readonly gpu: GPUBuffer,
  ) {}

  destroy(): void {
    for (const drop of this.onDestroy) drop();
    this.onDestroy.clear();
    this.gpu.destroy();
  }
}

/** One use of a block. Dead after `free`, so that a stale handle is an error rather than somebody else's memory. */
export class WebGPUBuffer implements DeviceBuffer {
  /** Whether anything was ever written: contents are undefined before. */
  written = false;
  /** Recordings that use it: they can no longer run once it is freed. */
  recordings: Set<{ expire(): void }> | null = null;

  constructor(
    readonly device: Device,
    readonly bytes: number,
    public block: Block | null,
  ) {}
}

/** What the pool needs to know of its device. */
export interface PoolHost {
  readonly gpu: GPUDevice;
  readonly faults: Faults;
  readonly adapterName: string;
  /** Most bytes that one binding holds; larger buffers are bound in pieces. */
  readonly bindingLimit: number;
  /** Whether errors of a call are known when it returns (Dawn in Node.js). */
  readonly syncErrors: boolean;
  /** The current batch of the recorder. */
  batch(): number;
  /** Submits what waits, as far as its pipelines are ready, so that idle blocks can be destroyed. */
  submit(): void;
}

export class BufferPool {
  private readonly idle = new Map<number, Block[]>();
  private readonly staging = new Map<number, GPUBuffer[]>();
  private readonly live = new Set<Block>();
  private stagingBytes = 0;
  private liveBytes = 0;
  private peakBytes = 0;
  private idleBytes = 0;
  private nextId = 1;
  private clock = 0;
  private readonly limit: number;

  constructor(private readonly host: PoolHost) {
    // Buffers are bound as whole words.
    this.limit = host.gpu.limits.maxBufferSize - (host.gpu.limits.maxBufferSize % 4);
  }

  /** A block of at least `bytes`. */
  take(bytes: number, op: string): Block {
    if (!(Number.isSafeInteger(bytes) && bytes >= 0)) {
      throw new DeviceError(`${op}: expected a whole number of bytes, got ${bytes}`);
    }
    if (bytes > this.limit) {
      throw new DeviceError(
        `${op}: expected at most ${this.limit} bytes in one buffer (maxBufferSize of ${this.host.adapterName}), ` +
          `got ${bytes}; split the tensor or use a smaller batch`,
      );
    }
    const size = this.sizeOf(bytes);
    let block = this.idle.get(size)?.pop();
    if (block) this.idleBytes -= size;
    else block = this.create(size, bytes, op);
    this.live.add(block);
    this.liveBytes += size;
    if (this.liveBytes > this.peakBytes) this.peakBytes = this.liveBytes;
    return block;
  }

  /** Sizes are rounded up to classes, but never so far that a block needs another binding. */
  private sizeOf(bytes: number): number {
    const { bindingLimit } = this.host;
    return bytes <= bindingLimit ? Math.min(sizeClass(bytes), bindingLimit) : bytes;
  }

  give(block: Block): void {
    this.live.delete(block);
    this.liveBytes -= block.size;
    if (block.broken) {
      block.destroy();
      return;
    }
    block.idleSince = ++this.clock;
    const list = this.idle.get(block.size);
    if (list) list.push(block);
    else this.idle.set(block.size, [block]);
    this.idleBytes += block.size;
  }

  /** Destroys idle blocks, those idle for longest first, until at most `keep` bytes are idle. Blocks that queued commands use stay. */
  trim(keep: number): void {
    if (this.idleBytes <= keep) return;
    const batch = this.host.batch();
    const oldest = [...this.idle.values()].flat().sort((a, b) => a.idleSince - b.idleSince);
    for (const block of oldest) {
      if (this.idleBytes <= keep) break;
      if (block.batch === batch) continue;
      const list = this.idle.get(block.size)!;
      list.splice(list.indexOf(block), 1);
      this.idleBytes -= block.size;
      block.destroy();
    }
  }

  /** A mappable buffer to copy results into. */
  takeStaging(bytes: number, op: string): GPUBuffer {
    const size = Math.min(sizeClass(bytes), this.host.gpu.limits.maxBufferSize);
    const buffer = this.staging.get(size)?.pop();
    if (buffer) {
      this.stagingBytes -= size;
      return buffer;
    }
    return this.tryCreate(size, STAGING, bytes, `${op} (reading)`);
  }

  giveStaging(buffer: GPUBuffer): void {
    if (this.stagingBytes + buffer.size > IDLE_FLOOR / 4) {
      buffer.destroy();
      return;
    }
    this.stagingBytes += buffer.size;
    const list = this.staging.get(buffer.size);
    if (list) list.push(buffer);
    else this.staging.set(buffer.size, [buffer]);
  }

  memory(): MemoryStats {
    return {
      liveBytes: this.liveBytes,
      peakBytes: this.peakBytes,
      liveBuffers: this.live.size,
      idleBytes: this.idleBytes,
    };
  }

  resetPeak(): void {
    this.peakBytes = this.liveBytes;
  }

  destroyAll(): void {
    for (const list of this.staging.values()) for (const buffer of list) buffer.destroy();
    for (const list of this.idle.values()) for (const block of list) block.destroy();
    for (const block of this.live) block.destroy();
    this.staging.clear();
    this.idle.clear();
    this.live.clear();
    this.idleBytes = this.liveBytes = this.stagingBytes = 0;
  }

  private create(size: number, bytes: number, op: string): Block {
    // A miss while much lies idle means that the sizes in use have changed: give the old ones back.
    const share = Math.max(IDLE_FLOOR, this.liveBytes);
    if (this.idleBytes + size > share) this.trim(share / 2);
    const id = this.nextId++;
    const gpu = this.tryCreate(size, STORAGE, bytes, op, () => {
      block.broken = true;
      this.trim(0);
    });
    const block: Block = new Block(id, size, gpu);
    return block;
  }

  /** Creates a buffer; where errors are synchronous, gives idle memory back and tries once more before it throws. */
  private tryCreate(size: number, usage: number, bytes: number, op: string, late?: () => void): GPUBuffer {
    const { gpu, faults, syncErrors } = this.host;
    const create = () => gpu.createBuffer({ label: op, size, usage });
    if (!syncErrors) {
      gpu.pushErrorScope('out-of-memory');
      const buffer = create();
      gpu.popErrorScope().then((error) => {
        if (!error) return;
        faults.note(op, this.outOfMemory(bytes, error));
        late?.();
      }, ignoreLoss);
      return buffer;
    }
    let [buffer, error] = faults.attempt(create);
    if (error) {
      buffer.destroy();
      this.host.submit();
      this.trim(0);
      [buffer, error] = faults.attempt(create);
    }
    if (error) {
      buffer.destroy();
      throw new DeviceError(`${op}: ${this.outOfMemory(bytes, error)}`);
    }
    return buffer;
  }

  private outOfMemory(bytes: number, error: GPUError): string {
    const cause = error.message.split('\n')[0];
    return (
      `out of memory on ${this.host.adapterName}: ${bytes} bytes asked for, ${this.liveBytes} in use ` +
      `(${cause}); use a smaller batch, a shorter sequence or a smaller model`
    );
  }
}

/** The device's loss is reported by its own promise. */
function ignoreLoss(): void {}
