/** The command queue: dispatches, writes and copies in order, encoded into one compute pass per batch. */
import { DeviceError } from '../errors.js';
import { tracing } from '../tracing.js';
import type { Device, DeviceBuffer, Dispatch } from '../types.js';
import type { DispatchWork } from '../work.js';
import type { Faults } from './faults.js';
import { Parameters } from './parameters.js';
import type { Pipeline, PipelineCache } from './pipelines.js';
import type { Block, WebGPUBuffer } from './pool.js';
import type { Wait } from './quiet-wait.js';
import type { DispatchTimes } from './timestamps.js';
import { foldWorkgroups } from './wgsl.js';

export interface DispatchCommand {
  readonly kind: 'dispatch';
  readonly pipeline: Pipeline;
  readonly group: GPUBindGroup;
  readonly x: number;
  readonly y: number;
  /** First word of the parameters, in the store of immediates or of uniforms. */
  readonly start: number;
  /** Known in captures and profiles. */
  readonly work: DispatchWork | null;
}
export interface WriteCommand {
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
interface ListCommand {
  readonly kind: 'list';
  readonly list: CommandList;
}
type Command = DispatchCommand | WriteCommand | CopyCommand | ListCommand;

/** A prepared list of commands, encoded again at every use. */
export interface CommandList {
  readonly commands: readonly (DispatchCommand | WriteCommand)[];
  readonly parameters: Parameters;
  readonly dispatches: number;
  /** Every block that the commands use. */
  readonly blocks: readonly Block[];
}

export interface RecorderHost {
  /** Whose buffers are recorded. */
  readonly device: Device;
  readonly gpu: GPUDevice;
  readonly faults: Faults;
  readonly pipelines: PipelineCache;
  readonly wait: Wait;
}

/** Commands of the first batch that goes unasked after somebody has read. */
const FIRST_BATCH = 16;

export class Recorder {
  /** Counts the submitted batches; a block whose `batch` equals it is used by commands that wait here. */
  batch = 0;
  dispatches = 0;
  submits = 0;
  encodeMs = 0;
  /** Takes the times of dispatches while a profile is under way. */
  times: DispatchTimes | null = null;
  private commands: Command[] = [];
  /** Dispatches, writes and copies that wait. */
  private waiting = 0;
  /**
   * How many of them are a batch: few at first, so that the device begins while the rest of a step is recorded, then twice as
   * many each time, since every submit costs the host something of its own.
   */
  private enough: number;
  private readonly parameters: Parameters;
  private readonly retired: Parameters[] = [];
  private readonly blocks: Block[] = [];
  /** Commands that are run one by one, for a profile. */
  private running: Promise<void> | null = null;

  constructor(
    private readonly host: RecorderHost,
    /** Commands of the longest batch. */
    private readonly most: number,
  ) {
    this.enough = Math.min(FIRST_BATCH, most);
    this.parameters = new Parameters(host.gpu, host.pipelines);
  }

  dispatch(op: string, dispatch: Dispatch, work: DispatchWork | null): void {
    if (dispatch.workgroups === 0) return;
    const { blocks } = this;
    const { buffers } = dispatch;
    blocks.length = buffers.length;
    for (let i = 0; i < buffers.length; i++) blocks[i] = this.blockOf(buffers[i], op);
    const command = this.prepare(op, dispatch, blocks, this.parameters, work);
    for (let i = 0; i < blocks.length; i++) blocks[i].batch = this.batch;
    this.push(command);
    this.dispatches++;
  }

  /** A dispatch as a command: its pipeline, bind group and place among the parameters. */
  prepare(
    op: string,
    { kernel, buffers, params, workgroups }: Dispatch,
    blocks: readonly Block[],
    parameters: Parameters,
    work: DispatchWork | null,
  ): DispatchCommand {
    const limit = this.host.gpu.limits.maxComputeWorkgroupsPerDimension;
    const folded = workgroups > limit;
    if (!(workgroups > 0 && workgroups <= 2 ** 32 && Number.isInteger(workgroups))) {
      throw new DeviceError(`${op}: expected a whole number of workgroups up to 2^32, got ${workgroups}`);
    }
    const pipeline = this.host.pipelines.get(kernel, folded, blocks, op);
    if (buffers.length !== kernel.bindings.length || params.length !== pipeline.types.length) {
      throw new DeviceError(
        `${pipeline.label}: expected ${kernel.bindings.length} buffers and ${pipeline.types.length} parameters, ` +
          `got ${buffers.length} and ${params.length}`,
      );
    }
    const group = this.host.pipelines.group(pipeline, blocks);
    let [x, y] = [workgroups, 1];
    if (folded) [x, y] = foldWorkgroups(workgroups, limit);
    const start = parameters.store(pipeline, params, workgroups);
    return { kind: 'dispatch', pipeline, group, x, y, start, work };
  }

  /** Everything in a list, once more. */
  replay(list: CommandList): void {
    for (const block of list.blocks) block.batch = this.batch;
    this.push({ kind: 'list', list }, list.dispatches);
    this.dispatches += list.dispatches;
    // It is encoded in no time, and mostly read next.
    if (this.waiting >= this.most) this.submitIfReady();
  }

  private push(command: Command, count = 1): void {
    this.commands.push(command);
    this.waiting += count;
  }

  /** Writes in order: at once where no waiting command uses the block, else after those that do. */
  write(block: Block, offset: number, data: Uint8Array<ArrayBuffer>): void {
    if (block.batch === this.batch && this.commands.length > 0) this.submitIfReady();
    if (block.batch === this.batch && this.commands.length > 0) {
      this.push({ kind: 'write', block, offset, data: data.slice() });
    } else {
      this.host.gpu.queue.writeBuffer(block.gpu, offset, data);
    }
  }

  copy(block: Block, offset: number, bytes: number, to: GPUBuffer): void {
    block.batch = this.batch;
    this.push({ kind: 'copy', block, offset, bytes, to });
  }

  /** Submits a full batch, if its pipelines are ready; ops call this and never wait. */
  submitIfFull(): void {
    if (this.waiting >= this.enough) this.submitIfReady();
  }

  submitIfReady(): void {
    if (this.times?.oneByOne) return; // `flush` runs them
    if (this.host.pipelines.idle && this.commands.length > 0) this.submit();
  }

  /** Submits everything recorded before the call, once its pipelines are compiled. */
  async flush(): Promise<void> {
    const batch = this.batch;
    while (this.commands.length > 0 && this.batch === batch && this.host.faults.dead === null) {
      if (!this.host.pipelines.idle) await this.host.pipelines.settled();
      else if (this.times?.oneByOne) await this.runOneByOne(this.times);
      else this.submit();
    }
    this.enough = Math.min(FIRST_BATCH, this.most);
  }

  /** Runs what waits, dispatch by dispatch, each waited for. */
  private runOneByOne(times: DispatchTimes): Promise<void> {
    this.running ??= this.runEach(times).finally(() => {
      this.running = null;
    });
    return this.running;
  }

  private async runEach(times: DispatchTimes): Promise<void> {
    const { gpu, pipelines, wait } = this.host;
    // More may be recorded meanwhile.
    for (let i = 0; i < this.commands.length; i++) {
      await pipelines.settled();
      this.parameters.upload();
      const command = this.commands[i];
      const isList = command.kind === 'list';
      const parameters = isList ? command.list.parameters : this.parameters;
      for (const one of isList ? command.list.commands : [command]) {
        const started = performance.now();
        this.encode([one], parameters);
        await wait(gpu.queue.onSubmittedWorkDone());
        if (one.kind === 'dispatch' && one.work) times.add(one.work, started, performance.now());
      }
    }
    this.take();
    this.forget();
  }

  /** Destroys parameters once no waiting command needs them. */
  retire(parameters: Parameters): void {
    this.submitIfReady();
    if (this.commands.length === 0) parameters.destroy();
    else this.retired.push(parameters);
  }

  /** Drops what waits; for a device that is gone. */
  clear(): void {
    this.commands = [];
    this.waiting = 0;
    this.parameters.clear();
    this.parameters.destroy();
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

  private submit(): void {
    const started = performance.now();
    const commands = this.take();
    this.host.faults.context(() => describe(commands));
    this.parameters.upload();
    this.encode(commands, this.parameters);
    this.forget();
    this.enough = Math.min(2 * this.enough, this.most);
    this.encodeMs += performance.now() - started;
  }

  /** Ends the batch; its commands. */
  private take(): readonly Command[] {
    const { commands } = this;
    this.commands = [];
    this.waiting = 0;
    this.batch++;
    return commands;
  }

  /** Drops the parameters of commands that are all submitted. */
  private forget(): void {
    this.parameters.clear();
    for (const parameters of this.retired.splice(0)) parameters.destroy();
  }

  private encode(commands: readonly Command[], parameters: Parameters): void {
    const { gpu } = this.host;
    const { tracer } = tracing;
    const times = this.times?.oneByOne ? null : this.times;
    tracer?.begin('encoding');
    let encoder: GPUCommandEncoder | null = null;
    let pass: GPUComputePassEncoder | null = null;
    let pipeline: Pipeline | null = null;
    let group: GPUBindGroup | null = null;
    const finish = () => {
      pass?.end();
      pass = null;
      if (encoder) {
        const buffer = encoder.finish();
        tracer?.begin('submitting');
        gpu.queue.submit([buffer]);
        tracer?.end();
        this.submits++;
      }
      encoder = null;
    };
    const run = (commands: readonly Command[], parameters: Parameters): void => {
      for (let i = 0; i < commands.length; i++) {
        const command = commands[i];
        if (command.kind === 'dispatch') {
          const next = command.pipeline;
          if (next.gpu === null) continue; // failed to compile, and has said so
          encoder ??= gpu.createCommandEncoder();
          if (pass === null || times) {
            pass?.end();
            pass = encoder.beginComputePass(times?.pass(command.work));
            pipeline = group = null;
          }
          if (next !== pipeline) pass.setPipeline((pipeline = next).gpu!);
          if (command.group !== group) pass.setBindGroup(0, (group = command.group));
          parameters.set(pass, next, command.start);
          // Every argument costs Dawn in Node.js a conversion, and nearly all are 1.
          if (command.y === 1) pass.dispatchWorkgroups(command.x);
          else pass.dispatchWorkgroups(command.x, command.y);
        } else if (command.kind === 'list') {
          run(command.list.commands, command.list.parameters);
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
    };
    run(commands, parameters);
    finish();
    tracer?.end();
  }
}

/** The ops of a batch, for an error that names none. */
function describe(commands: readonly Command[]): string {
  const flat = commands.flatMap<Command>((c) => (c.kind === 'list' ? c.list.commands : [c]));
  const ops = new Set(flat.map((c) => (c.kind === 'dispatch' ? c.pipeline.label.split(' [')[0] : c.kind)));
  return `one of ${[...ops].slice(0, 8).join(', ')}`;
}
