/** Times of dispatches: by timestamp queries around each, or by the wall clock where the adapter has none. */
import type { ProfiledDispatch } from '../types.js';
import type { DispatchWork } from '../work.js';
import type { Wait } from './quiet-wait.js';

/** Queries of a set; WebGPU allows no more. */
const QUERIES = 4096;
// GPUBufferUsage: MAP_READ 1, COPY_SRC 4, COPY_DST 8, QUERY_RESOLVE 512.
const RESOLVE = 512 | 4;
const STAGING = 1 | 8;

/** Two queries per dispatch: when it began and when it ended. */
interface QuerySet {
  readonly gpu: GPUQuerySet;
  readonly dispatches: { readonly work: DispatchWork; readonly encoded: number }[];
}

export class DispatchTimes {
  /** No timestamps here: dispatches are to be run one by one, each waited for, and added with `add`. */
  readonly oneByOne: boolean;
  private readonly sets: QuerySet[] = [];
  private readonly timed: ProfiledDispatch[] = [];

  /** @param queries of a set */
  constructor(
    private readonly gpu: GPUDevice,
    private readonly wait: Wait,
    private readonly queries = QUERIES,
  ) {
    this.oneByOne = !gpu.features.has('timestamp-query');
  }

  /** A dispatch that was timed on the wall clock. */
  add(work: DispatchWork, start: number, end: number): void {
    this.timed.push({ ...work, start, duration: end - start });
  }

  /** How to begin a compute pass of this dispatch alone. */
  pass(work: DispatchWork | null): GPUComputePassDescriptor | undefined {
    if (work === null) return undefined;
    let set = this.sets.at(-1);
    if (!set || 2 * set.dispatches.length === this.queries) {
      const gpu = this.gpu.createQuerySet({ label: 'profile', type: 'timestamp', count: this.queries });
      this.sets.push((set = { gpu, dispatches: [] }));
    }
    const at = 2 * set.dispatches.length;
    set.dispatches.push({ work, encoded: performance.now() });
    return {
      timestampWrites: {
        querySet: set.gpu,
        beginningOfPassWriteIndex: at,
        endOfPassWriteIndex: at + 1,
      },
    };
  }

  /** All times in order, once the dispatches are submitted. Gives back what it has made. */
  async read(): Promise<ProfiledDispatch[]> {
    if (this.oneByOne) return this.timed;
    const dispatches = this.sets.flatMap((set) => set.dispatches);
    const queries = await Promise.all(this.sets.map((set) => this.resolve(set)));
    const ticks = queries.flatMap((ns) => [...ns]);
    // The two clocks begin anywhere; but no dispatch ran before it was encoded.
    const ms = ticks.map((ns) => Number(ns - ticks[0]) / 1e6);
    let shift = Infinity;
    dispatches.forEach(({ encoded }, i) => {
      shift = Math.min(shift, ms[2 * i] - encoded);
    });
    let free = -Infinity;
    return dispatches.map(({ work }, i) => {
      // Neighbours may overlap: what counts is how much later everything is done for this one.
      const start = Math.max(ms[2 * i] - shift, free);
      const duration = Math.max(ms[2 * i + 1] - shift - start, 0);
      free = start + duration;
      return { ...work, start, duration };
    });
  }

  destroy(): void {
    for (const { gpu } of this.sets.splice(0)) gpu.destroy();
  }

  private async resolve({ gpu: querySet, dispatches }: QuerySet): Promise<BigUint64Array> {
    const { gpu } = this;
    const count = 2 * dispatches.length;
    const resolved = gpu.createBuffer({ label: 'profile', size: 8 * count, usage: RESOLVE });
    const staging = gpu.createBuffer({ label: 'profile', size: 8 * count, usage: STAGING });
    try {
      const encoder = gpu.createCommandEncoder();
      encoder.resolveQuerySet(querySet, 0, count, resolved, 0);
      encoder.copyBufferToBuffer(resolved, 0, staging, 0, 8 * count);
      gpu.queue.submit([encoder.finish()]);
      await this.wait(staging.mapAsync(1)); // GPUMapMode.READ
      return new BigUint64Array(staging.getMappedRange().slice(0));
    } finally {
      resolved.destroy();
      staging.destroy();
    }
  }
}
