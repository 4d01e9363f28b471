/** A device that computes nothing: it counts the memory that a step would need, whatever its size. */
import type { DType } from './dtype.js';
import { DeviceError } from './errors.js';
import { sizeClass } from './size-class.js';
import type {
  Capture,
  Device,
  DeviceBuffer,
  DeviceInfo,
  DeviceStats,
  KernelTarget,
  MemoryStats,
  Profiling,
  Program,
  View,
} from './types.js';

interface DryBuffer extends DeviceBuffer {
  readonly size: number;
}

export interface DryOptions {
  /** Counts what kernels for such an adapter ask for besides inputs and outputs; null (default) counts none of it. */
  readonly target?: KernelTarget | null;
}

/**
 * Takes all that a device takes and counts bytes by the same size classes as the pools of the others. What is read back
 * is zeros. Since shapes never depend on values, the count is that of a real run.
 *
 * @example
 * const device = new DryDevice();
 * const model = new GPT2(gpt2Config('gpt2'), { device, initialize: false });
 * console.log(device.memory().liveBytes);
 */
export class DryDevice implements Device {
  readonly info: DeviceInfo = { kind: 'dry', name: 'dry run', software: true, features: [], limits: {} };
  readonly dtypes: ReadonlySet<DType> = new Set<DType>(['float32', 'float16', 'int32', 'uint32', 'bool']);
  private readonly target: KernelTarget | null;
  private live = 0;
  private peak = 0;
  private buffers = 0;
  private dispatches = 0;

  constructor({ target = null }: DryOptions = {}) {
    this.target = target;
  }

  allocate(bytes: number): DeviceBuffer {
    const size = sizeClass(bytes);
    this.live += size;
    this.buffers++;
    this.peak = Math.max(this.peak, this.live);
    const buffer: DryBuffer = { device: this, bytes: Math.ceil(bytes / 4) * 4, size };
    return buffer;
  }

  free(buffer: DeviceBuffer): void {
    this.live -= (buffer as DryBuffer).size;
    this.buffers--;
  }

  write(): void {}

  async read(_buffer: DeviceBuffer, _byteOffset: number, bytes: number): Promise<ArrayBuffer> {
    return new ArrayBuffer(bytes);
  }

  execute<P>(program: Program<P>, inputs: readonly View[], outputs: readonly View[], params: P): void {
    this.dispatches++;
    const { target } = this;
    if (!target) return;
    const taken: DeviceBuffer[] = [];
    const scratch = (bytes: number): DeviceBuffer => {
      const buffer = this.allocate(bytes);
      taken.push(buffer);
      return buffer;
    };
    program.kernel({ inputs, outputs, params, target, scratch });
    for (const buffer of taken) this.free(buffer);
  }

  capture(): Capture {
    throw new DeviceError('capture: expected a device that computes, got a dry run');
  }

  profile(): Profiling {
    throw new DeviceError('profile: expected a device that computes, got a dry run');
  }

  async synchronize(): Promise<void> {}

  memory(): MemoryStats {
    return { liveBytes: this.live, peakBytes: this.peak, liveBuffers: this.buffers, idleBytes: 0 };
  }

  resetPeak(): void {
    this.peak = this.live;
  }

  stats(): DeviceStats {
    const { dispatches } = this;
    return { dispatches, submits: 0, pipelines: 0, bindGroupsCreated: 0, recordMs: 0, encodeMs: 0 };
  }

  async close(): Promise<void> {}
}
