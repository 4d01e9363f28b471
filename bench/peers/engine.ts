/** What a peer has to offer, and the messages between the bench and the processes that hold the peers. */
import type { Case } from './cases.js';

export interface EngineInfo {
  readonly name: string;
  readonly version: string;
  /** Adapter, threads, or what else the engine computes on. */
  readonly device: string;
}

/** A case with its inputs on the device. */
export interface Prepared {
  /** Outputs of an operation, or the losses of the first three steps. */
  check(): Promise<ArrayLike<number>[]>;
  /** One iteration: `repeat` applications and one read. */
  iterate(): Promise<void>;
  dispose(): void;
}

export interface Engine {
  readonly info: EngineInfo;
  prepare(c: Case): Promise<Prepared>;
}

export type Request =
  | { readonly type: 'prepare'; readonly case: Case }
  | { readonly type: 'check' }
  | { readonly type: 'run'; readonly iterations: number }
  | { readonly type: 'dispose' }
  | { readonly type: 'exit' };

export type Reply =
  | { readonly type: 'ready'; readonly info: EngineInfo; readonly startMs: number }
  | { readonly type: 'prepared' | 'disposed' }
  /** Samples of each output, and the time that the first evaluation took. */
  | { readonly type: 'checked'; readonly outputs: number[][]; readonly firstMs: number }
  /** Wall-clock time, and processor time of all threads. */
  | { readonly type: 'ran'; readonly ms: number; readonly cpuMs: number }
  | { readonly type: 'failed'; readonly message: string };

const SAMPLES = 2048;

/** At most 2,048 evenly spaced elements and the sum of all. */
export function sample(data: ArrayLike<number>): number[] {
  const step = Math.max(1, Math.floor(data.length / SAMPLES));
  const out: number[] = [];
  let sum = 0;
  for (let i = 0; i < data.length; i++) sum += data[i];
  for (let i = 0; i < data.length; i += step) out.push(data[i]);
  out.push(sum / data.length);
  return out;
}
