/** The command queue: dispatches, writes and copies in order, encoded into one compute pass per batch. */
import { DeviceError } from '../errors.js';
import type { Device, DeviceBuffer, Dispatch } from '../types.js';
import type { Faults } from './faults.js';
import type { Pipeline, PipelineCache } from './pipelines.js';
import type { Block, WebGPUBuffer } from './pool.js';
import { foldWorkgroups } from './wgsl.js';

interface DispatchCommand {
  readonly kind: 'dispatch';
  readonly pipeline: Pipeline;
  readonly group: GPUBindGroup;
  readonly x: number;
  readonly y: number;
  /** First word of the parameters, in the store of immediates or of uniforms. */
  readonly start: number;
}
interface WriteCommand {
  readonly kind: 'write';
  readonly block: Block;
  readonly offset: number;
  readonly data: Uint8Array<ArrayBuffer>;
}
interface CopyCommand {
  readonly kind: 'copy';
  readonly block: Block;
  readonly offset: number;
  readonly bytes: number;
  readonly to: GPUBuffer;
}
type Command = DispatchCommand | WriteCommand | CopyCommand;

/** Dynamic uniform offsets are multiples of 256 bytes on every adapter. */
const UNIFORM_WORDS = 256 / 4;
const UNIFORM = 64 | 8; // GPUBufferUsage UNIFORM | COPY_DST

/** A growing array of 32-bit words, seen as each of the three parameter types. */
class Words {
  u32 = new Uint32Array(4096);
  i32 = new Int32Array(this.u32.buffer);
  f32 = new Float32Array(this.u32.buffer);
  used = 0;

  take(count: number): number {
    const start = this.used;
    this.used += count;
    if (this.used > this.u32.length) {
      const grown = new Uint32Array(Math.max(this.used, 2 * this.u32.length));
      grown.set(this.u32);
      this.u32 = grown;
      this.i32 = new Int32Array(grown.buffer);
      this.f32 = new Float32Array(grown.buffer);
    }
    return start;
  }
}

export interface RecorderHost {
  /** Whose buffers are recorded. */
  readonly device: Device;
  readonly gpu: GPUDevice;
  readonly faults: Faults;
  readonly pipelines: PipelineCache;
}

export class Recorder {
  /** Counts the submitted batches; a block whose `batch` equals it is used by commands that wait here. */
  batch = 0;
  dispatches = 0;
  submits = 0;
  encodeMs = 0;
  private commands: Command[] = [];
  private readonly immediates = new Words();
  private readonly uniforms = new Words();
  private ring: GPUBuffer | null = null;
  private readonly ringGroups = new Map<number, GPUBindGroup>();
  private readonly blocks: Block[] = [];

  constructor(
    private readonly host: RecorderHost,
    private readonly threshold: number,
  ) {}

  dispatch(op: string, { kernel, buffers, params, workgroups }: Dispatch): void {
    if (workgroups === 0) return;
    const limit = this.host.gpu.limits.maxComputeWorkgroupsPerDimension;
    const folded = workgroups > limit;
    if (!(workgroups > 0 && workgroups <= 2 ** 32 && Number.isInteger(workgroups))) {
      throw new DeviceError(`${op}: expected a whole number of workgroups up to 2^32, got ${workgroups}`);
    }
    const pipeline = this.host.pipelines.get(kernel, folded, op);
    if (buffers.length !== pipeline.layout.accesses.length || params.length !== pipeline.types.length) {
      throw new DeviceError(
        `${pipeline.label}: expected ${pipeline.layout.accesses.length} buffers and ${pipeline.types.length} parameters, ` +
          `got ${buffers.length} and ${params.length}`,
      );
    }
    const { blocks } = this;
    blocks.length = buffers.length;
    for (let i = 0; i < buffers.length; i++) blocks[i] = this.blockOf(buffers[i], op);
    const group = this.host.pipelines.group(pipeline, blocks);
    for (let i = 0; i < blocks.length; i++) blocks[i].batch = this.batch;

    let [x, y] = [workgroups, 1];
    if (folded) [x, y] = foldWorkgroups(workgroups, limit);
    const start = this.storeParams(pipeline, params, workgroups);
    this.commands.push({ kind: 'dispatch', pipeline, group, x, y, start });
    this.dispatches++;
  }

  /** Writes in order: at once where no waiting command uses the block, else after those that do. */
  write(block: Block, offset: number, data: Uint8Array<ArrayBuffer>): void {
    if (block.batch === this.batch && this.commands.length > 0) this.submitIfReady();
    if (block.batch === this.batch && this.commands.length > 0) {
      this.commands.push({ kind: 'write', block, offset, data: data.slice() });
    } else {
      this.host.gpu.queue.writeBuffer(block.gpu, offset, data);
    }
  }

  copy(block: Block, offset: number, bytes: number, to: GPUBuffer): void {
    block.batch = this.batch;
    this.commands.push({ kind: 'copy', block, offset, bytes, to });
  }

  /** Submits a full batch, if its pipelines are ready; ops call this and never wait. */
  submitIfFull(): void {
    if (this.commands.length >= this.threshold) this.submitIfReady();
  }

  submitIfReady(): void {
    if (this.host.pipelines.idle && this.commands.length > 0) this.submit();
  }

  /** Submits everything recorded before the call, once its pipelines are compiled. */
  async flush(): Promise<void> {
    const batch = this.batch;
    while (this.commands.length > 0 && this.batch === batch && this.host.faults.dead === null) {
      if (this.host.pipelines.idle) this.submit();
      else await this.host.pipelines.settled();
    }
  }

  /** Drops what waits; for a device that is gone. */
  clear(): void {
    this.commands = [];
    this.immediates.used = this.uniforms.used = 0;
    this.ring?.destroy();
    this.ring = null;
    this.ringGroups.clear();
  }

  /** The block behind a live buffer of this device. */
  blockOf(buffer: DeviceBuffer, op: string): Block {
    const { device } = this.host;
    if (buffer.device !== device) {
      const [mine, other] = [device.info.name, buffer.device.info.name];
      throw new DeviceError(
        `${op}: expected a buffer of ${mine}, got one of ${other}; copy the tensor to one device`,
      );
    }
    const { block } = buffer as WebGPUBuffer;
    if (block === null)
      throw new DeviceError(`${op}: expected a live buffer, got one that was given back to the pool`);
    return block;
  }

  private storeParams(pipeline: Pipeline, params: readonly number[], workgroups: number): number {
    const { types, words, immediates } = pipeline;
    if (words === 0) return 0;
    const store = immediates ? this.immediates : this.uniforms;
    const start = store.take(immediates ? words : roundUp(words, UNIFORM_WORDS));
    for (let i = 0; i < types.length; i++) {
      const type = types[i];
      if (type === 0) store.u32[start + i] = params[i];
      else if (type === 1) store.i32[start + i] = params[i];
      else store.f32[start + i] = params[i];
    }
    if (pipeline.folded) store.u32[start + words - 1] = workgroups;
    return start;
  }

  private submit(): void {
    const started = performance.now();
    const commands = this.commands;
    this.commands = [];
    this.batch++;
    this.host.faults.context(() => describe(commands));
    this.uploadUniforms();
    this.encode(commands);
    this.immediates.used = this.uniforms.used = 0;
    this.encodeMs += performance.now() - started;
  }

  private encode(commands: readonly Command[]): void {
    const { gpu } = this.host;
    let encoder: GPUCommandEncoder | null = null;
    let pass: GPUComputePassEncoder | null = null;
    let pipeline: Pipeline | null = null;
    let group: GPUBindGroup | null = null;
    const finish = () => {
      pass?.end();
      pass = null;
      if (encoder) {
        gpu.queue.submit([encoder.finish()]);
        this.submits++;
      }
      encoder = null;
    };
    for (const command of commands) {
      if (command.kind === 'dispatch') {
        const next = command.pipeline;
        if (next.gpu === null) continue; // failed to compile, and has said so
        encoder ??= gpu.createCommandEncoder();
        if (pass === null) {
          pass = encoder.beginComputePass();
          pipeline = group = null;
        }
        if (next !== pipeline) pass.setPipeline((pipeline = next).gpu!);
        if (command.group !== group) pass.setBindGroup(0, (group = command.group));
        if (next.words > 0) {
          if (next.immediates) pass.setImmediates(0, this.immediates.u32, command.start, next.words);
          else pass.setBindGroup(1, this.ringGroup(next.words), [command.start * 4]);
        }
        pass.dispatchWorkgroups(command.x, command.y);
      } else if (command.kind === 'copy') {
        encoder ??= gpu.createCommandEncoder();
        pass?.end();
        pass = null;
        encoder.copyBufferToBuffer(command.block.gpu, command.offset, command.to, 0, command.bytes);
      } else {
        finish();
        gpu.queue.writeBuffer(command.block.gpu, command.offset, command.data);
      }
    }
    finish();
  }

  /** Sends the parameters of the whole batch in one write, before its commands. */
  private uploadUniforms(): void {
    const { used, u32 } = this.uniforms;
    if (used === 0) return;
    const { gpu } = this.host;
    if (this.ring === null || this.ring.size < used * 4) {
      this.ring?.destroy();
      this.ringGroups.clear();
      this.ring = gpu.createBuffer({ label: 'parameters', size: u32.byteLength, usage: UNIFORM });
    }
    gpu.queue.writeBuffer(this.ring, 0, u32, 0, used);
  }

  /** The ring with a binding wide enough for `words`; the dynamic offset chooses the place. */
  private ringGroup(words: number): GPUBindGroup {
    const size = roundUp(words, UNIFORM_WORDS) * 4;
    let group = this.ringGroups.get(size);
    if (!group) {
      group = this.host.gpu.createBindGroup({
        label: 'parameters',
        layout: this.host.pipelines.uniformLayout(),
        entries: [{ binding: 0, resource: { buffer: this.ring!, size } }],
      });
      this.ringGroups.set(size, group);
    }
    return group;
  }
}

function roundUp(value: number, multiple: number): number {
  return Math.ceil(value / multiple) * multiple;
}

/** The ops of a batch, for an error that names none. */
function describe(commands: readonly Command[]): string {
  const ops = new Set(
    commands.map((c) => (c.kind === 'dispatch' ? c.pipeline.label.split(' [')[0] : c.kind)),
  );
  return `one of ${[...ops].slice(0, 8).join(', ')}`;
}
