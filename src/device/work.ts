/** What dispatches move and compute, as the profiler counts it. */
import { ITEM_SIZE } from './dtype.js';
import { type Phase, tracing } from './tracing.js';
import type { DeviceBuffer, Dispatch, Program, View, Work } from './types.js';

/** A dispatch before it has run. */
export interface DispatchWork {
  readonly op: string;
  readonly kernel: string;
  readonly phase: Phase;
  readonly bytes: number;
  readonly operations: number;
}

/** What of a program its work follows from. */
type Counted<P> = Pick<Program<P>, 'name' | 'work'>;

/** Different elements of a view: those that stride 0 repeats count once. */
function distinct({ shape, strides }: View): number {
  return shape.reduce(
    (count, size, dim) => (strides[dim] === 0 ? count * Math.min(size, 1) : count * size),
    1,
  );
}

/** Bytes of views by buffer. Views of one buffer may overlap, but not beyond its size. */
function bytesByBuffer(views: readonly View[]): Map<DeviceBuffer, number> {
  const bytes = new Map<DeviceBuffer, number>();
  for (const view of views) {
    const sum = (bytes.get(view.buffer) ?? 0) + distinct(view) * ITEM_SIZE[view.dtype];
    bytes.set(view.buffer, Math.min(sum, view.buffer.bytes));
  }
  return bytes;
}

/** An operation per element: what a program computes that does not say. */
function elements(outputs: readonly View[]): number {
  return outputs.reduce((sum, view) => sum + distinct(view), 0);
}

/** Operations and bytes of a program. */
export function programWork<P>(
  program: Counted<P>,
  inputs: readonly View[],
  outputs: readonly View[],
  params: P,
): Required<Work> {
  const work = program.work?.(inputs, outputs, params);
  let bytes = work?.bytes;
  if (bytes === undefined) {
    bytes = 0;
    for (const n of bytesByBuffer([...inputs, ...outputs]).values()) bytes += n;
  }
  return { operations: work?.operations ?? elements(outputs), bytes };
}

/** The work of a program whose outputs are updated in place: read and written. */
export function inPlaceWork(inputs: readonly View[], outputs: readonly View[]): Work {
  const size = (views: readonly View[]) => views.reduce((n, v) => n + distinct(v) * ITEM_SIZE[v.dtype], 0);
  return { operations: elements(outputs), bytes: size(inputs) + 2 * size(outputs) };
}

/**
 * The work of each dispatch of a program. What the program states as a whole is shared out by invocations; else bytes are
 * those of the views and of the intermediate results that a dispatch binds.
 */
export function dispatchWork<P>(
  program: Counted<P>,
  inputs: readonly View[],
  outputs: readonly View[],
  params: P,
  dispatches: readonly Dispatch[],
): DispatchWork[] {
  const work = program.work?.(inputs, outputs, params);
  const operations = work?.operations ?? elements(outputs);
  const views = bytesByBuffer([...inputs, ...outputs]);
  const invocations = dispatches.map((d) => d.workgroups * d.kernel.workgroupSize);
  const all = Math.max(
    invocations.reduce((a, b) => a + b, 0),
    1,
  );
  return dispatches.map(({ kernel, buffers }, i) => {
    const share = invocations[i] / all;
    let bytes = 0;
    for (const buffer of new Set(buffers)) bytes += views.get(buffer) ?? buffer.bytes;
    return {
      op: program.name,
      kernel: kernel.key,
      phase: tracing.phase,
      bytes: work?.bytes === undefined ? bytes : work.bytes * share,
      operations: operations * share,
    };
  });
}
