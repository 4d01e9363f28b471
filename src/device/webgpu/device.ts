/** The WebGPU device. */
import type { DType } from '../dtype.js';
import { DeviceError } from '../errors.js';
import { tracing } from '../tracing.js';
import type {
  Capture,
  Device,
  DeviceBuffer,
  DeviceInfo,
  DeviceStats,
  Dispatch,
  Kernel,
  KernelTarget,
  MemoryStats,
  Profiling,
  Program,
  SubgroupMatrix,
  View,
} from '../types.js';
import { threadCount } from '../cpu/thread-count.js';
import { type DispatchWork, dispatchWork } from '../work.js';
import { compilesLate, type FoundAdapter, findAdapter, isLavapipe, limitsOf } from './adapter.js';
import { CompileAhead, compileKernel, dispatchNothing } from './ahead.js';
import { destroyAtExit, isNode } from './dawn.js';
import { Faults } from './faults.js';
import { contiguousView, elements, narrow, widen } from './half.js';
import { PipelineCache } from './pipelines.js';
import { BufferPool, WebGPUBuffer } from './pool.js';
import { plainWait, quietWait, type Wait } from './quiet-wait.js';
import { Recorder } from './recorder.js';
import { WebGPUCapture } from './recording.js';
import { DispatchTimes } from './timestamps.js';

/** How to open a WebGPU device. */
export interface WebGPUOptions {
  /** Which adapter; nothing means the best GPU and never a software one. See `findAdapter`. */
  readonly adapter?: string;
  /** Pass parameters as immediates where the adapter can (the default), or always through the uniform ring. */
  readonly immediates?: boolean;
  /** Use `shader-f16` where the adapter has it (the default), or always widen float16 to float32. */
  readonly f16?: boolean;
  /** Most bytes of one binding, where it is to be less than the adapter's; a multiple of 256. For tests. */
  readonly bindingLimit?: number;
  /** Most commands that wait before a batch is submitted unasked: 256; the first ones after a read are shorter. */
  readonly batchSize?: number;
  /** Measure the time that `execute` takes (`stats().recordMs`); costs two clock readings per call. */
  readonly timing?: boolean;
  /** Check that kernels of equal keys have equal WGSL. */
  readonly debug?: boolean;
}

/** Features that kernels, the profiler or the recorder can use. */
const FEATURES = [
  'shader-f16',
  'subgroups',
  'subgroup-size-control',
  'timestamp-query',
  'chromium-experimental-timestamp-query-inside-passes',
  'chromium-experimental-subgroup-matrix',
];

/** Limits that bound what compute kernels can do; all are raised to the adapter's. */
const LIMITS = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxUniformBufferBindingSize',
  'maxStorageBuffersPerShaderStage',
  'maxUniformBuffersPerShaderStage',
  'maxBindingsPerBindGroup',
  'maxBindGroups',
  'maxComputeWorkgroupStorageSize',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupSizeX',
  'maxComputeWorkgroupSizeY',
  'maxComputeWorkgroupSizeZ',
  'maxComputeWorkgroupsPerDimension',
  'maxImmediateSize',
];

/** float64 is missing: WGSL has no such type. */
const DTYPES: ReadonlySet<DType> = new Set(['float32', 'float16', 'int32', 'uint32', 'bool']);

/**
 * Opens a WebGPU device.
 *
 * @throws DeviceError where there is no such adapter, or it gives no device
 */
export async function openWebGPU(options: WebGPUOptions = {}): Promise<WebGPUDevice> {
  const found = await findAdapter(options.adapter);
  const further = compilesLate(found) ? threadCount() - 1 : 0;
  if (further === 0) return openOn(found, options);
  const another = async (): Promise<WebGPUDevice> => {
    const adapter = await found.gpu.requestAdapter();
    if (!adapter) throw new DeviceError(`openWebGPU: expected ${found.name} once more, got none`);
    return openOn({ ...found, adapter }, options);
  };
  return openOn(found, options, new CompileAhead(further, another));
}

async function openOn(
  found: FoundAdapter,
  options: WebGPUOptions,
  ahead: CompileAhead | null = null,
): Promise<WebGPUDevice> {
  const { adapter } = found;
  const requiredLimits: Record<string, number> = {};
  for (const key of LIMITS) {
    const value = adapter.limits[key as keyof GPUSupportedLimits];
    if (typeof value === 'number') requiredLimits[key] = value;
  }
  const requiredFeatures = FEATURES.filter((feature) => adapter.features.has(feature)) as GPUFeatureName[];
  try {
    const gpu = await adapter.requestDevice({ label: 'dawngrad', requiredFeatures, requiredLimits });
    return new WebGPUDevice(found, gpu, options, ahead);
  } catch (error) {
    throw new DeviceError(
      `openWebGPU: expected a device from ${found.name}, got: ${(error as Error).message}`,
    );
  }
}

export class WebGPUDevice implements Device {
  readonly info: DeviceInfo;
  readonly dtypes = DTYPES;
  readonly target: KernelTarget;
  private readonly faults: Faults;
  private readonly pool: BufferPool;
  private readonly pipelines: PipelineCache;
  private readonly recorder: Recorder;
  private readonly wait: Wait;
  private capturing: WebGPUCapture | null = null;
  private readonly timing: boolean;
  /** Reads under way, which `close` waits for. */
  private readonly reads = new Set<Promise<unknown>>();
  private readonly forget: () => void;
  private recordMs = 0;
  private closing: Promise<void> | null = null;

  constructor(
    /** Kept because Dawn lives only as long as its GPU object. */
    readonly found: FoundAdapter,
    readonly gpu: GPUDevice,
    options: WebGPUOptions,
    private readonly ahead: CompileAhead | null,
  ) {
    this.forget = isNode() ? destroyAtExit(gpu) : () => {};
    const features = [...gpu.features].sort();
    const limits = limitsOf(gpu.limits);
    const immediates =
      options.immediates !== false &&
      found.gpu.wgslLanguageFeatures.has('immediate_address_space') &&
      (limits.maxImmediateSize ?? 0) >= 64;
    this.info = {
      kind: 'webgpu',
      name: found.name,
      software: found.software,
      features: immediates ? [...features, 'immediates'] : features,
      limits,
    };
    const { maxBufferSize, maxStorageBufferBindingSize } = gpu.limits;
    const bindingLimit =
      options.bindingLimit ?? roundDown(Math.min(maxBufferSize, maxStorageBufferBindingSize), 4);
    this.target = {
      kind: found.software ? 'software' : 'gpu',
      dearPlaces: isLavapipe(found),
      f16: options.f16 !== false && gpu.features.has('shader-f16'),
      subgroups: gpu.features.has('subgroups'),
      maxStorageBuffers: gpu.limits.maxStorageBuffersPerShaderStage,
      subgroupMatrix: subgroupMatrices(found.adapter, gpu),
      subgroupSize: subgroupSize(found.adapter),
      bindingLimit,
    };
    this.timing = options.timing ?? false;
    // A GPU computes without our cores, and is not to wait for us.
    this.wait = isNode() && found.software ? quietWait() : plainWait;
    const { wait } = this;
    const faults = (this.faults = new Faults(gpu));
    const pipelines: PipelineCache = (this.pipelines = new PipelineCache({
      gpu,
      faults,
      immediates,
      bindingLimit,
      debug: options.debug ?? false,
      wait,
      ahead,
      dispatchNothing: (pipeline, made) =>
        dispatchNothing({ gpu, pipelines, pool: this.pool, wait }, pipeline, made),
      ready: () => this.recorder.submitIfFull(),
    }));
    this.recorder = new Recorder({ device: this, gpu, faults, pipelines, wait }, options.batchSize ?? 256);
    this.pool = new BufferPool({
      gpu,
      faults,
      adapterName: found.name,
      bindingLimit,
      syncErrors: found.syncErrors,
      batch: () => this.recorder.batch,
      submit: () => this.recorder.submitIfReady(),
    });
  }

  allocate(bytes: number, op: string): DeviceBuffer {
    this.assertOpen(op);
    const rounded = Math.ceil(bytes / 4) * 4;
    const buffer = new WebGPUBuffer(this, rounded, this.pool.take(rounded, op));
    this.capturing?.buffers.allocate(buffer);
    return buffer;
  }

  free(buffer: DeviceBuffer): void {
    // After `close` nothing is left to give back, and finalizers may still call.
    if (this.closing) return;
    const block = this.recorder.blockOf(buffer, 'free');
    const mine = buffer as WebGPUBuffer;
    mine.block = null;
    mine.recordings?.forEach((recording) => recording.expire());
    this.capturing?.buffers.free(mine);
    this.pool.give(block);
  }

  write(buffer: DeviceBuffer, data: ArrayBufferView, byteOffset = 0): void {
    this.assertOpen('write');
    const block = this.recorder.blockOf(buffer, 'write');
    const end = byteOffset + data.byteLength;
    const padded = Math.ceil(end / 4) * 4;
    // WebGPU writes whole words; only at a buffer's end is the rest of one free.
    if (
      byteOffset % 4 !== 0 ||
      byteOffset < 0 ||
      padded > buffer.bytes ||
      (padded !== end && padded !== buffer.bytes)
    ) {
      throw new DeviceError(
        `write: expected whole 4-byte words within ${buffer.bytes} bytes, got bytes ${byteOffset} to ${end}`,
      );
    }
    let bytes = new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength);
    if (padded !== end) {
      const copy = new Uint8Array(padded - byteOffset);
      copy.set(bytes);
      bytes = copy;
    }
    (buffer as WebGPUBuffer).written = true;
    if (bytes.length === 0) return;
    this.recorder.write(block, byteOffset, bytes);
    this.capturing?.write(buffer, byteOffset, bytes);
  }

  async read(buffer: DeviceBuffer, byteOffset: number, bytes: number): Promise<ArrayBuffer> {
    this.assertOpen('read');
    const block = this.recorder.blockOf(buffer, 'read');
    if (
      byteOffset % 4 !== 0 ||
      bytes % 4 !== 0 ||
      byteOffset < 0 ||
      bytes < 0 ||
      byteOffset + bytes > buffer.bytes
    ) {
      throw new DeviceError(
        `read: expected whole 4-byte words within ${buffer.bytes} bytes, got bytes ${byteOffset} to ${byteOffset + bytes}`,
      );
    }
    if (bytes === 0) {
      await this.synchronize();
      return new ArrayBuffer(0);
    }
    const staging = this.pool.takeStaging(bytes, 'read');
    this.recorder.copy(block, byteOffset, bytes, staging);
    return this.track(this.fetch(staging, bytes));
  }

  execute<P>(program: Program<P>, inputs: readonly View[], outputs: readonly View[], params: P): void {
    this.assertOpen(program.name);
    const started = this.timing ? performance.now() : 0;
    const { tracer } = tracing;
    tracer?.begin('recording');
    try {
      this.record(program, inputs, outputs, params);
    } finally {
      tracer?.end();
    }
    this.recorder.submitIfFull();
    if (this.timing) this.recordMs += performance.now() - started;
  }

  private record<P>(program: Program<P>, inputs: readonly View[], outputs: readonly View[], params: P): void {
    if (!this.target.f16 && (inputs.some(isHalf) || outputs.some(isHalf))) {
      this.runWidened(program, inputs, outputs, params);
    } else {
      this.run(program, inputs, outputs, params);
    }
    for (let i = 0; i < outputs.length; i++) (outputs[i].buffer as WebGPUBuffer).written = true;
  }

  capture(): Capture {
    this.assertOpen('capture');
    if (this.capturing) throw new DeviceError('capture: expected one capture at a time, got a second one');
    const { gpu, pool, pipelines, recorder } = this;
    const end = (): void => {
      this.capturing = null;
    };
    return (this.capturing = new WebGPUCapture({ gpu, pool, pipelines, recorder }, end));
  }

  profile(): Profiling {
    this.assertOpen('profile');
    const { recorder } = this;
    if (recorder.times) throw new DeviceError('profile: expected one profile at a time, got a second one');
    // What waits already is no part of it.
    recorder.submitIfReady();
    const times = (recorder.times = new DispatchTimes(this.gpu, this.wait));
    return {
      clock: times.oneByOne ? 'wall clock' : 'timestamp queries',
      end: async () => {
        try {
          await this.synchronize();
          return await times.read();
        } finally {
          recorder.times = null;
          times.destroy();
        }
      },
    };
  }

  async synchronize(): Promise<void> {
    this.assertOpen('synchronize');
    await this.recorder.flush();
    if (this.faults.dead === null) await this.wait(this.gpu.queue.onSubmittedWorkDone());
    this.faults.raise('synchronize');
  }

  /** Compiles a kernel ahead of its first use, so far as to run it at once. */
  compile(op: string, kernel: Kernel): Promise<void> {
    this.assertOpen(op);
    const { gpu, pipelines, pool, wait } = this;
    return compileKernel({ gpu, pipelines, pool, wait }, op, kernel);
  }

  memory(): MemoryStats {
    return this.pool.memory();
  }

  resetPeak(): void {
    this.pool.resetPeak();
  }

  stats(): DeviceStats {
    return {
      dispatches: this.recorder.dispatches,
      submits: this.recorder.submits,
      pipelines: this.pipelines.pipelines,
      bindGroupsCreated: this.pipelines.bindGroupsCreated,
      recordMs: this.recordMs,
      encodeMs: this.recorder.encodeMs,
    };
  }

  close(): Promise<void> {
    return (this.closing ??= this.shutDown());
  }

  private async shutDown(): Promise<void> {
    await this.recorder.flush();
    if (this.faults.dead === null) await this.wait(this.gpu.queue.onSubmittedWorkDone()).catch(() => {});
    await Promise.allSettled(this.reads);
    await this.ahead?.close();
    this.faults.dead ??= 'the device was closed; open a new one';
    this.recorder.clear();
    this.pool.destroyAll();
    this.gpu.destroy();
    await this.gpu.lost;
    this.forget();
  }

  private run<P>(program: Program<P>, inputs: readonly View[], outputs: readonly View[], params: P): void {
    const { name } = program;
    const borrowed: DeviceBuffer[] = [];
    const scratch = (bytes: number) => {
      const buffer = this.allocate(bytes, name);
      borrowed.push(buffer);
      return buffer;
    };
    try {
      const dispatches = program.kernel({ inputs, outputs, params, target: this.target, scratch });
      const work = this.isWatched ? dispatchWork(program, inputs, outputs, params, dispatches) : null;
      for (let i = 0; i < dispatches.length; i++) this.dispatch(name, dispatches[i], work?.[i] ?? null);
    } finally {
      for (let i = 0; i < borrowed.length; i++) this.free(borrowed[i]);
    }
  }

  /** Whether the work of dispatches is wanted: captured ones may be profiled later. */
  private get isWatched(): boolean {
    return this.capturing !== null || this.recorder.times !== null;
  }

  private dispatch(op: string, dispatch: Dispatch, work: DispatchWork | null): void {
    this.recorder.dispatch(op, dispatch, work);
    this.capturing?.dispatch(op, dispatch, work);
  }

  /** A dispatch that converts one view to another. */
  private convert(name: string, dispatch: Dispatch, from: View, to: View): void {
    const work = this.isWatched ? dispatchWork({ name }, [from], [to], null, [dispatch])[0] : null;
    this.dispatch(name, dispatch, work);
  }

  /** Runs a program on float32 copies of its float16 views, and rounds the outputs back. */
  private runWidened<P>(
    program: Program<P>,
    inputs: readonly View[],
    outputs: readonly View[],
    params: P,
  ): void {
    const { name } = program;
    const borrowed: DeviceBuffer[] = [];
    const wide = (view: View, load: boolean): View => {
      if (!isHalf(view)) return view;
      const buffer = this.allocate(elements(view.shape) * 4, name);
      borrowed.push(buffer);
      const copy = contiguousView(buffer, view.shape);
      if (load) this.convert(name, widen(view, buffer), view, copy);
      return copy;
    };
    try {
      const wideInputs = inputs.map((view) => wide(view, true));
      // A program may update its outputs in place; a buffer that was never written has nothing to keep.
      const wideOutputs = outputs.map((view) => wide(view, (view.buffer as WebGPUBuffer).written));
      this.run(program, wideInputs, wideOutputs, params);
      outputs.forEach((view, i) => {
        if (isHalf(view)) this.convert(name, narrow(wideOutputs[i].buffer, view), wideOutputs[i], view);
      });
    } finally {
      for (const buffer of borrowed) this.free(buffer);
    }
  }

  /** What a copy has put into `staging`, once it is done. */
  private async fetch(staging: GPUBuffer, bytes: number): Promise<ArrayBuffer> {
    let data: ArrayBuffer | null = null;
    try {
      await this.recorder.flush();
      if (this.faults.dead === null) {
        await this.wait(staging.mapAsync(1, 0, bytes)); // GPUMapMode.READ
        data = staging.getMappedRange(0, bytes).slice(0);
        staging.unmap();
      }
    } catch (error) {
      // A mapping fails when the device goes or the batch was invalid; the reason is known by then, and says more.
      this.faults.note('read', (error as Error).message || 'the buffer could not be mapped');
    }
    if (data === null || this.faults.dead !== null) staging.destroy();
    else this.pool.giveStaging(staging);
    this.faults.raise('read');
    return data!;
  }

  private track<T>(work: Promise<T>): Promise<T> {
    this.reads.add(work);
    const done = () => this.reads.delete(work);
    work.then(done, done);
    return work;
  }

  private assertOpen(op: string): void {
    if (this.closing) throw new DeviceError(`${op}: the device was closed; open a new one`);
    this.faults.assertAlive(op);
  }
}

/** The shapes that matrix units take, as plain objects: the adapter's own live only as long as its GPU object. */
function subgroupMatrices(adapter: GPUAdapter, gpu: GPUDevice): SubgroupMatrix[] | undefined {
  if (!gpu.features.has('chromium-experimental-subgroup-matrix')) return undefined;
  const { subgroupMatrixConfigs } = adapter.info as { subgroupMatrixConfigs?: Iterable<SubgroupMatrix> };
  return [...(subgroupMatrixConfigs ?? [])].map(({ componentType, resultComponentType, M, N, K }) => ({
    componentType,
    resultComponentType,
    M,
    N,
    K,
  }));
}

/** Invocations of a subgroup, or undefined where that varies. */
function subgroupSize({ info }: GPUAdapter): number | undefined {
  const { subgroupMinSize, subgroupMaxSize = 0 } = info;
  return subgroupMaxSize > 0 && subgroupMinSize === subgroupMaxSize ? subgroupMaxSize : undefined;
}

function roundDown(value: number, multiple: number): number {
  return value - (value % multiple);
}

function isHalf(view: View): boolean {
  return view.dtype === 'float16';
}
