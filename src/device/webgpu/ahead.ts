/**
 * Compiling ahead, for a driver that compiles a shader when it is first dispatched. Mesa's lavapipe does: one shader after
 * another, on the thread of its queue, and keeps each in a cache on disk. A further device of the same adapter has a queue and a
 * thread of its own. It dispatches the last shaders of a batch, no workgroups of them, while the device itself is at the first,
 * and what the one has compiled the other finds in the cache.
 */
import type { Kernel } from '../types.js';
import { Parameters } from './parameters.js';
import type { Pipeline, PipelineCache } from './pipelines.js';
import type { BufferPool } from './pool.js';
import type { Wait } from './quiet-wait.js';

/** New shaders of a batch from which on a further device is worth opening. */
const WORTH = 3;
/** Bytes of the buffers that stand for real ones. */
const BYTES = 256;
const INDIRECT = 256; // GPUBufferUsage.INDIRECT

/** What compiles ahead. */
export interface Compiler {
  compile(op: string, kernel: Kernel): Promise<void>;
  close(): Promise<void>;
}

export class CompileAhead {
  /** New pipelines of a batch, in the order of their dispatches. */
  private jobs = new Set<Pipeline>();
  private started = false;
  private readonly working = new Set<Promise<void>>();

  /**
   * @param devices at most so many at a time
   * @param open opens a further device of the same adapter, with the same options
   */
  constructor(
    private readonly devices: number,
    private readonly open: () => Promise<Compiler>,
  ) {}

  /** Notes that a pipeline is dispatched for the first time. */
  add(pipeline: Pipeline): void {
    // What is folded, or bound in pieces, depends on the sizes of buffers.
    if (!pipeline.folded && pipeline.pieces === null) this.jobs.add(pipeline);
  }

  /** Begins with what was noted so far, if it is enough. */
  start(): void {
    const { jobs } = this;
    if (this.started || jobs.size < WORTH) return;
    this.started = true;
    const devices = Math.min(this.devices, Math.floor(jobs.size / 2));
    for (let i = 0; i < devices; i++) {
      const working = this.work(jobs)
        // The device itself comes across whatever is wrong with a shader, and says so.
        .catch(() => {})
        .then(() => void this.working.delete(working));
      this.working.add(working);
    }
  }

  /** The dispatches noted so far are on their way; `done` resolves when the device has run them. */
  submitted(done: () => Promise<unknown>): void {
    this.start();
    const { jobs } = this;
    const stop = () => jobs.clear();
    if (this.started) done().then(stop, stop);
    if (jobs.size > 0) this.jobs = new Set();
    this.started = false;
  }

  /** Resolves when nothing is compiled any more. */
  async close(): Promise<void> {
    await Promise.all(this.working);
  }

  /** Compiles from the end, until nothing is left. */
  private async work(jobs: Set<Pipeline>): Promise<void> {
    const compiler = await this.open();
    try {
      for (;;) {
        const last = [...jobs].pop();
        if (last === undefined) return;
        jobs.delete(last);
        await compiler.compile(last.label, last.kernel);
      }
    } finally {
      await compiler.close();
    }
  }
}

/** Compiles a kernel, with all that the driver leaves to its first dispatch: nothing of it runs. */
export async function compileKernel(
  { gpu, pipelines, pool, wait }: { gpu: GPUDevice; pipelines: PipelineCache; pool: BufferPool; wait: Wait },
  op: string,
  kernel: Kernel,
): Promise<void> {
  const blocks = kernel.bindings.map(() => pool.take(BYTES, op));
  const pipeline = pipelines.get(kernel, false, blocks, op);
  const parameters = new Parameters(gpu, pipelines);
  // Three zeros. Where Dawn sees that there are no workgroups, it prints a warning.
  const workgroups = gpu.createBuffer({ label: op, size: 12, usage: INDIRECT });
  await pipelines.settled();
  if (pipeline.gpu !== null) {
    const start = parameters.store(
      pipeline,
      kernel.params.map(() => 0),
      0,
    );
    parameters.upload();
    const encoder = gpu.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline.gpu);
    pass.setBindGroup(0, pipelines.group(pipeline, blocks));
    parameters.set(pass, pipeline, start);
    pass.dispatchWorkgroupsIndirect(workgroups, 0);
    pass.end();
    gpu.queue.submit([encoder.finish()]);
    await wait(gpu.queue.onSubmittedWorkDone());
  }
  workgroups.destroy();
  parameters.destroy();
  for (const block of blocks) pool.give(block);
}
