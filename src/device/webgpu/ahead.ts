/**
 * Compiling ahead, for a driver that compiles a shader when it is first dispatched. Mesa's lavapipe does: one shader after
 * another, on the thread of its queue, and keeps each in a cache on disk. A further device of the same adapter has a queue and a
 * thread of its own. So before a batch with new shaders runs, the device and further ones share them, and dispatch no workgroups
 * of each: what the one has compiled the other finds in the cache.
 */
import type { Kernel } from '../types.js';
import { Parameters } from './parameters.js';
import type { Pipeline, PipelineCache } from './pipelines.js';
import type { BufferPool } from './pool.js';
import type { Wait } from './quiet-wait.js';

/** New shaders from which on compiling ahead is worth it. */
const WORTH = 3;
/** A shader that takes longer is not in the cache, and further devices are opened. Milliseconds, as below. */
const SLOW = 40;
/** One that takes less is. After so many, one after the other, the rest is left to its first dispatch. */
const QUICK = 10;
const ENOUGH = 2;
/** A further device is kept for so long after its last shader: more often come soon after the first. */
const PATIENCE = 500;
/** Bytes of the buffers that stand for real ones. */
const BYTES = 256;
const INDIRECT = 256; // GPUBufferUsage.INDIRECT

/** What compiles ahead. */
export interface Compiler {
  compile(op: string, kernel: Kernel): Promise<void>;
  close(): Promise<void>;
}

/** A shader to be compiled by the driver. */
interface Job {
  readonly pipeline: Pipeline;
  /** Characters of its text, by which the dear ones go first. */
  readonly length: number;
  /** Compiles it on the device that needs it. */
  readonly here: () => Promise<void>;
  readonly done: () => void;
}

export class CompileAhead {
  private readonly jobs: Job[] = [];
  private here: Promise<void> | null = null;
  private readonly elsewhere = new Set<Promise<void>>();
  private help: ReturnType<typeof setTimeout> | null = null;
  /** Wake further devices that have nothing to do. */
  private readonly idle = new Set<() => void>();
  private closed = false;

  /**
   * @param devices at most so many at a time
   * @param open opens a further device of the same adapter, with the same options
   */
  constructor(
    private readonly devices: number,
    private readonly open: () => Promise<Compiler>,
  ) {}

  /**
   * Resolves when the driver has compiled a pipeline, on whichever device, or when that is better left to its first dispatch.
   *
   * @param options.length characters of its text
   * @param options.among how many pipelines are being made
   * @param options.here compiles it on the device that needs it
   */
  compile(
    pipeline: Pipeline,
    { length, among, here }: { length: number; among: number; here: () => Promise<void> },
  ): Promise<void> {
    // What is folded, or bound in pieces, depends on the sizes of buffers.
    if (pipeline.folded || pipeline.pieces !== null) return Promise.resolve();
    if (among < WORTH && this.here === null) return Promise.resolve();
    return new Promise((done) => {
      this.jobs.push({ pipeline, length, here, done });
      const [wake] = this.idle;
      wake?.();
      this.here ??= this.workHere();
      this.help ??= setTimeout(() => this.callHelp(), SLOW);
    });
  }

  /** Begins nothing more; resolves when nothing is compiled any more. */
  async close(): Promise<void> {
    this.leave();
    this.closed = true;
    for (const wake of this.idle) wake();
    await Promise.all([this.here, ...this.elsewhere]);
  }

  private async workHere(): Promise<void> {
    let quick = 0;
    for (let job = this.next(); job; job = this.next()) {
      const started = performance.now();
      await finish(job, job.here);
      quick = performance.now() - started < QUICK ? quick + 1 : 0;
      if (quick >= ENOUGH && this.elsewhere.size === 0) this.leave();
    }
    this.here = null;
    if (this.help) clearTimeout(this.help);
    this.help = null;
  }

  private callHelp(): void {
    this.help = null;
    const worth = Math.min(this.devices, Math.floor(this.jobs.length / 2));
    while (this.elsewhere.size < worth) {
      const working = this.workElsewhere().then(() => void this.elsewhere.delete(working));
      this.elsewhere.add(working);
    }
  }

  private async workElsewhere(): Promise<void> {
    // Where no device is to be had, the others do without.
    const compiler = await this.open().catch(() => null);
    if (compiler === null) return;
    for (let job = this.next(); job; job = await this.nextSoon()) {
      const { label, kernel } = job.pipeline;
      await finish(job, () => compiler.compile(label, kernel));
    }
    await compiler.close().catch(() => {});
  }

  /** The longest that is left, or what comes soon. */
  private async nextSoon(): Promise<Job | undefined> {
    const until = performance.now() + PATIENCE;
    while (this.jobs.length === 0 && !this.closed && performance.now() < until) {
      await this.woken(until - performance.now());
    }
    return this.next();
  }

  private woken(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        this.idle.delete(wake);
        resolve();
      };
      this.idle.add(wake);
      const timer: unknown = setTimeout(wake, ms);
      // In Node.js the process is not to wait for it.
      (timer as { unref?: () => void }).unref?.();
    });
  }

  /** Leaves the rest to its first dispatch. */
  private leave(): void {
    for (const { done } of this.jobs.splice(0)) done();
  }

  /** The longest that is left. */
  private next(): Job | undefined {
    const { jobs } = this;
    if (jobs.length === 0) return undefined;
    const longest = jobs.reduce((a, b) => (b.length > a.length ? b : a));
    jobs.splice(jobs.indexOf(longest), 1);
    return longest;
  }
}

async function finish({ done }: Job, compile: () => Promise<void>): Promise<void> {
  try {
    await compile();
  } catch {
    // The first real dispatch comes across whatever is wrong with a shader, and says so.
  }
  done();
}

interface Parts {
  readonly gpu: GPUDevice;
  readonly pipelines: PipelineCache;
  readonly pool: BufferPool;
  readonly wait: Wait;
}

/** Compiles a kernel with all that the driver leaves to its first dispatch: nothing of it runs. */
export async function compileKernel(parts: Parts, op: string, kernel: Kernel): Promise<void> {
  const pipeline = parts.pipelines.get(kernel, false, [], op);
  await parts.pipelines.settled();
  if (pipeline.gpu !== null) await dispatchNothing(parts, pipeline, pipeline.gpu);
}

/** Dispatches no workgroups of a pipeline, and waits for the driver. */
export async function dispatchNothing(
  { gpu, pipelines, pool, wait }: Parts,
  pipeline: Pipeline,
  made: GPUComputePipeline,
): Promise<void> {
  const { kernel, label } = pipeline;
  const blocks = kernel.bindings.map(() => pool.take(BYTES, label));
  const parameters = new Parameters(gpu, pipelines);
  // Three zeros. Where Dawn sees that there are no workgroups, it prints a warning.
  const workgroups = gpu.createBuffer({ label, size: 12, usage: INDIRECT });
  const zeros = kernel.params.map(() => 0);
  const start = parameters.store(pipeline, zeros, 0);
  parameters.upload();
  const encoder = gpu.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(made);
  pass.setBindGroup(0, pipelines.group(pipeline, blocks));
  parameters.set(pass, pipeline, start);
  pass.dispatchWorkgroupsIndirect(workgroups, 0);
  pass.end();
  gpu.queue.submit([encoder.finish()]);
  await wait(gpu.queue.onSubmittedWorkDone());
  workgroups.destroy();
  parameters.destroy();
  for (const block of blocks) pool.give(block);
}
