/** The CPU device: runs each program's `simd` or `host` at once, in one WebAssembly memory. */
import type { DType, HostData } from '../dtype.js';
import { hostView, ITEM_SIZE } from '../dtype.js';
import { DeviceError } from '../errors.js';
import { type Phase, tracing } from '../tracing.js';
import type {
  Capture,
  Device,
  DeviceBuffer,
  DeviceInfo,
  DeviceStats,
  HostArray,
  MemoryStats,
  ProfiledDispatch,
  Profiling,
  Program,
  SimdModule,
  SimdView,
  View,
} from '../types.js';
import { programWork } from '../work.js';
import { elements, isDense, narrow, span, widen } from './float16.js';
import { type Block, MAX_BYTES, MemoryPool } from './pool.js';
import { CPUCapture, type RecordingHost } from './recording.js';
import { instantiateSimd, type Simd, simdFeatures } from './simd.js';
import { threadCount } from './thread-count.js';
import type { Threads } from './threads.js';

/** A block of the memory, with the typed arrays over it that were asked for. */
class CPUBuffer implements DeviceBuffer {
  freed = false;
  /** Called when it is freed. */
  watchers: Set<() => void> | null = null;
  private epoch = -1;
  private views: Partial<Record<DType, HostData>> = {};

  constructor(
    readonly device: CPUDevice,
    readonly bytes: number,
    readonly block: Block,
    private readonly pool: MemoryPool,
  ) {}

  /** The whole buffer as elements of a dtype. Growing the memory detaches older views, so never hold one over an allocation. */
  view(dtype: DType): HostData {
    if (this.epoch !== this.pool.epoch) {
      this.epoch = this.pool.epoch;
      this.views = {};
    }
    return (this.views[dtype] ??= hostView(
      dtype,
      this.pool.memory.buffer,
      this.block.pointer,
      Math.floor(this.bytes / ITEM_SIZE[dtype]),
    ));
  }
}

/** A view whose buffer is known to be of this device. */
interface CPUView extends View {
  readonly buffer: CPUBuffer;
}

/** Ends the workers of devices that nobody holds any more. */
const collected = new FinalizationRegistry<Threads>((threads) => void threads.close());

/** Runs programs at once, on several threads; reads are still awaited, as on every device. */
export class CPUDevice implements Device {
  readonly info: DeviceInfo;
  readonly dtypes: ReadonlySet<DType> = new Set<DType>([
    'float32',
    'float64',
    'float16',
    'int32',
    'uint32',
    'bool',
  ]);
  private readonly simd: SimdModule;
  private readonly wasm: Simd;
  /** The threads that it computes on. */
  readonly threads: Threads;
  private pool: MemoryPool | undefined;
  private dispatches = 0;
  private capturing: CPUCapture | null = null;
  private profiled: ProfiledDispatch[] | null = null;
  /** Blocks that the running program needs besides its views. */
  private temporary: Block[] = [];

  constructor({ maxBytes, threads }: CPUOptions = {}) {
    const count = threadCount(threads);
    const pool = new MemoryPool(maxBytes, count > 1);
    this.pool = pool;
    this.wasm = instantiateSimd(
      pool.memory,
      count,
      (bytes) => this.temporaryBlock(pool, bytes, 'scratch').pointer,
    );
    this.simd = this.wasm.module;
    this.threads = this.wasm.threads;
    collected.register(this, this.threads, this);
    this.info = {
      kind: 'cpu',
      name: 'CPU (WebAssembly SIMD)',
      software: true,
      features: simdFeatures(count > 1),
      limits: { maxMemoryBytes: MAX_BYTES, threads: count },
    };
  }

  allocate(bytes: number, op: string): DeviceBuffer {
    const pool = this.opened();
    const rounded = Math.ceil(bytes / 4) * 4;
    const buffer = new CPUBuffer(this, rounded, pool.take(rounded, op), pool);
    this.capturing?.buffers.allocate(buffer);
    return buffer;
  }

  /** After `close` this does nothing: the memory is gone already, and garbage collection may come late. */
  free(buffer: DeviceBuffer): void {
    if (!this.pool) return;
    const mine = this.own(buffer);
    if (mine.freed) throw new DeviceError('cpu: expected a buffer in use, got one that was freed before');
    mine.freed = true;
    mine.watchers?.forEach((freed) => freed());
    this.capturing?.buffers.free(mine);
    this.pool.give(mine.block);
  }

  write(buffer: DeviceBuffer, data: ArrayBufferView, byteOffset = 0): void {
    this.opened();
    const mine = this.own(buffer);
    checkRange('write', mine, byteOffset, data.byteLength);
    const target = new Uint8Array(
      this.opened().memory.buffer,
      mine.block.pointer + byteOffset,
      data.byteLength,
    );
    target.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    this.capturing?.write(mine, byteOffset, data);
  }

  async read(buffer: DeviceBuffer, byteOffset: number, bytes: number): Promise<ArrayBuffer> {
    const { memory } = this.opened();
    const mine = this.own(buffer);
    checkRange('read', mine, byteOffset, bytes);
    const copy = new Uint8Array(bytes);
    copy.set(new Uint8Array(memory.buffer, mine.block.pointer + byteOffset, bytes));
    return copy.buffer;
  }

  execute<P>(program: Program<P>, inputs: readonly View[], outputs: readonly View[], params: P): void {
    this.opened();
    const ins = inputs as readonly CPUView[];
    const outs = outputs as readonly CPUView[];
    for (const view of ins) this.own(view.buffer);
    for (const view of outs) this.own(view.buffer);
    const { phase } = tracing;
    this.prepare(program, ins, outs, params, phase)();
    this.capturing?.call({ program, inputs, outputs, params, phase });
  }

  capture(): Capture {
    this.opened();
    if (this.capturing) throw new DeviceError('capture: expected one capture at a time, got a second one');
    const host: RecordingHost = {
      allocate: (bytes) => this.allocate(bytes, 'capture'),
      free: (buffer) => this.free(buffer),
      write: (buffer, data, offset) => this.write(buffer, data, offset),
      watch: (buffer, freed) => {
        const watchers = (this.own(buffer).watchers ??= new Set());
        watchers.add(freed);
        return () => watchers.delete(freed);
      },
      prepare: ({ program, inputs, outputs, params, phase }) =>
        this.prepare(
          program,
          inputs as readonly CPUView[],
          outputs as readonly CPUView[],
          params as never,
          phase,
        ),
    };
    const end = (): void => {
      this.capturing = null;
    };
    return (this.capturing = new CPUCapture(host, end));
  }

  profile(): Profiling {
    this.opened();
    if (this.profiled) throw new DeviceError('profile: expected one profile at a time, got a second one');
    const profiled: ProfiledDispatch[] = [];
    this.profiled = profiled;
    return {
      clock: 'wall clock',
      end: async () => {
        this.profiled = null;
        return profiled;
      },
    };
  }

  async synchronize(): Promise<void> {
    this.opened();
  }

  memory(): MemoryStats {
    return this.pool?.stats() ?? { liveBytes: 0, peakBytes: 0, liveBuffers: 0, idleBytes: 0 };
  }

  resetPeak(): void {
    this.opened().resetPeak();
  }

  stats(): DeviceStats {
    return {
      dispatches: this.dispatches,
      submits: 0,
      pipelines: 0,
      bindGroupsCreated: 0,
      recordMs: 0,
      encodeMs: 0,
    };
  }

  async close(): Promise<void> {
    if (!this.pool) return;
    this.pool = undefined;
    collected.unregister(this);
    await this.threads.close();
  }

  /** A program with its arguments made, to be run now or again and again. */
  private prepare<P>(
    program: Program<P>,
    inputs: readonly CPUView[],
    outputs: readonly CPUView[],
    params: P,
    phase: Phase,
  ): () => void {
    const run =
      inputs.some(isFloat16) || outputs.some(isFloat16)
        ? () => this.runWidened(this.opened(), program, inputs, outputs, params)
        : this.prepareWide(program, inputs, outputs, params);
    return () => {
      const pool = this.opened();
      this.dispatches++;
      const { profiled } = this;
      const { tracer } = tracing;
      const start = profiled ? performance.now() : 0;
      tracer?.begin('computing');
      try {
        const kernel = run();
        if (profiled) {
          const duration = performance.now() - start;
          const work = programWork(program, inputs, outputs, params);
          profiled.push({ op: program.name, kernel, phase, ...work, start, duration });
        }
      } finally {
        tracer?.end();
        for (const block of this.temporary) pool.give(block);
        this.temporary.length = 0;
        this.wasm.endProgram();
      }
    };
  }

  /** `prepare` without float16. What it gives says what it ran. */
  private prepareWide<P>(
    program: Program<P>,
    inputs: readonly CPUView[],
    outputs: readonly CPUView[],
    params: P,
  ): () => 'simd' | 'host' {
    const takes = program.simdIntegers ? isWord : isFloat32;
    const simd = program.simd && inputs.every(takes) && outputs.every(takes);
    const [simdInputs, simdOutputs] = simd ? [inputs.map(simdView), outputs.map(simdView)] : [[], []];
    let [hostInputs, hostOutputs]: HostArray[][] = [[], []];
    let epoch = -1;
    return () => {
      if (simd && program.simd!(this.simd, simdInputs, simdOutputs, params)) return 'simd';
      const pool = this.opened();
      if (epoch !== pool.epoch) {
        // Views of memory that has grown since are detached, or too short.
        epoch = pool.epoch;
        hostInputs = inputs.map(hostArray);
        hostOutputs = outputs.map(hostArray);
      }
      program.host(hostInputs, hostOutputs, params);
      return 'host';
    };
  }

  /** Runs a program on float32 copies of its float16 views, then rounds the outputs. */
  private runWidened<P>(
    pool: MemoryPool,
    program: Program<P>,
    inputs: readonly CPUView[],
    outputs: readonly CPUView[],
    params: P,
  ): 'simd' | 'host' {
    // All blocks first: taking one may grow the memory and detach views.
    const wideInputs = inputs.map((view) =>
      isFloat16(view) ? this.wideCopy(pool, program.name, view, span(view)) : view,
    );
    const wideOutputs = outputs.map((view) =>
      isFloat16(view) ? this.wideCopy(pool, program.name, view, null) : view,
    );
    inputs.forEach((view, i) => {
      if (isFloat16(view)) this.widenInto(view, wideInputs[i], span(view));
    });
    // Outputs too: a program may update them in place.
    outputs.forEach((view, i) => {
      if (isFloat16(view)) this.widenInto(view, wideOutputs[i], isDense(view) ? span(view) : null);
    });
    const kernel = this.prepareWide(program, wideInputs, wideOutputs, params)();
    outputs.forEach((view, i) => {
      if (!isFloat16(view)) return;
      const { buffer } = wideOutputs[i];
      if (isDense(view)) {
        this.simd.narrowFloat16(elements(view), buffer.block.pointer, halfPointer(view));
        return;
      }
      const wide = buffer.view('uint32') as Uint32Array;
      narrow(wide, view.buffer.view('float16') as Uint16Array, view.shape, view.strides, view.offset);
    });
    return kernel;
  }

  /** Widens a float16 view into the copy that `wideCopy` made room for. */
  private widenInto(view: CPUView, wide: CPUView, length: number | null): void {
    if (length === null) fill(view, wide);
    else this.simd.widenFloat16(length, halfPointer(view), wide.buffer.block.pointer);
  }

  /**
   * Room for a view's elements as float32: for all that lie between the first and the last one, in their places, where
   * `length` says how many these are; else for those of the view, repeated ones (stride 0) held once.
   */
  private wideCopy(pool: MemoryPool, op: string, view: CPUView, length: number | null): CPUView {
    let { strides } = view;
    let count = length ?? 1;
    if (length === null) {
      const own = new Array<number>(view.shape.length).fill(0);
      for (let dim = view.shape.length - 1; dim >= 0; dim--) {
        if (view.strides[dim] === 0) continue;
        own[dim] = count;
        count *= view.shape[dim];
      }
      strides = own;
    }
    const block = this.temporaryBlock(pool, count * 4, op);
    const buffer = new CPUBuffer(this, count * 4, block, pool);
    return { buffer, dtype: 'float32', shape: view.shape, strides, offset: 0 };
  }

  /** A block that goes back when the running program is done. */
  private temporaryBlock(pool: MemoryPool, bytes: number, op: string): Block {
    const block = pool.take(bytes, op);
    this.temporary.push(block);
    return block;
  }

  /** Whether close() was called. */
  get isClosed(): boolean {
    return !this.pool;
  }

  private opened(): MemoryPool {
    if (!this.pool) throw new DeviceError('cpu: the device is closed');
    return this.pool;
  }

  private own(buffer: DeviceBuffer): CPUBuffer {
    if (buffer.device !== this)
      throw new DeviceError('cpu: expected a buffer of this device, got one of another device');
    return buffer as CPUBuffer;
  }
}

export interface CPUOptions {
  /** Most bytes of its memory; at most, and unless given, 4 GiB. */
  readonly maxBytes?: number;
  /** Threads to compute on, 1 to 64; unless given, `DAWNGRAD_THREADS`, else one per core. Results do not depend on it. */
  readonly threads?: number;
}

/** Opens a CPU device. @throws DeviceError for an impossible number of threads */
export function openCPU(options?: CPUOptions): CPUDevice {
  return new CPUDevice(options);
}

function isFloat16(view: View): boolean {
  return view.dtype === 'float16';
}

function isFloat32(view: View): boolean {
  return view.dtype === 'float32';
}

/** Whether elements have four bytes. */
function isWord(view: View): boolean {
  return view.dtype !== 'float16' && view.dtype !== 'float64';
}

function hostArray(view: CPUView): HostArray {
  return {
    data: view.buffer.view(view.dtype) as HostArray['data'],
    dtype: view.dtype,
    shape: view.shape,
    strides: view.strides,
    offset: view.offset,
  };
}

function simdView(view: CPUView): SimdView {
  return {
    pointer: view.buffer.block.pointer + view.offset * 4,
    dtype: view.dtype,
    shape: view.shape,
    strides: view.strides,
  };
}

/** The address of a float16 view's first element. */
function halfPointer(view: CPUView): number {
  return view.buffer.block.pointer + view.offset * 2;
}

/** Widens a float16 view element by element. */
function fill(view: CPUView, wide: CPUView): void {
  const shape = view.shape.map((size, dim) => (view.strides[dim] === 0 ? Math.min(size, 1) : size));
  const target = wide.buffer.view('float32') as Float32Array;
  widen(view.buffer.view('float16') as Uint16Array, target, shape, view.strides, view.offset);
}

function checkRange(op: string, buffer: CPUBuffer, byteOffset: number, bytes: number): void {
  if (byteOffset >= 0 && bytes >= 0 && byteOffset + bytes <= buffer.bytes) return;
  throw new DeviceError(
    `${op}: expected a range inside the buffer's ${buffer.bytes} bytes, got ${bytes} bytes from byte ${byteOffset}`,
  );
}
