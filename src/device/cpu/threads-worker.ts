/**
 * The protocol between the threads of a CPU device, and the program that its workers run.
 *
 * All threads share the tensors' memory and one small control block. A job is a list of independent calls of WebAssembly
 * exports: the main thread writes it into the control block and opens it; every thread then takes the next call, until
 * there are none. Nothing is posted, and a worker that comes late finds nothing to do.
 *
 * A worker reads the job only between adding itself to ACTIVE and leaving again, and only if it saw OPEN set after it had
 * entered. The main thread closes the job, then waits until ACTIVE is 0 before it returns or writes the next one.
 */

/** Words of the control block, a cache line apart so that threads do not fight for one. */
const LINE = 16;
/** Counts jobs; what idle workers watch. */
export const SEQUENCE = 0;
/** 1 while the job may be joined. */
export const OPEN = LINE;
/** The next call. */
export const NEXT = 2 * LINE;
/** Workers that are in the job. */
export const ACTIVE = 3 * LINE;
/** Workers that sleep, and must be woken. */
export const SLEEPING = 4 * LINE;
/** 1 while the main thread sleeps until ACTIVE is 0. */
export const MAIN_WAITS = 5 * LINE;
/** 1 when a call has trapped. */
export const FAILED = 6 * LINE;
/** 1 when the workers are to end. */
export const STOP = 7 * LINE;
/** Workers that have started. */
export const READY = 8 * LINE;
/** Calls in the job. */
export const CALLS = 9 * LINE;
export const WORDS = 10 * LINE;

// The calls lie behind the words, as float64 numbers.
export const MOST_CALLS = 512;
/** Numbers per call: which export, how many arguments, which argument differs per thread (or −1) and by how much. */
export const EXPORT = 0;
export const COUNT = 1;
export const PRIVATE = 2;
export const STEP = 3;
export const FIRST_ARGUMENT = 4;
export const MOST_ARGUMENTS = 59;
/** What the call returned. */
export const RESULT = 63;
export const CALL = 64;

export const CONTROL_BYTES = WORDS * 4 + MOST_CALLS * CALL * 8;

/** What a worker is given when it starts. */
export interface WorkerStart {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  readonly control: ArrayBufferLike;
  /** 1, 2, …; the main thread is 0. */
  readonly thread: number;
  /** Milliseconds to watch for the next job before sleeping. */
  readonly spin: number;
}

/**
 * The workers' program. A string, because a file of its own would have to be found from sources, from dist, from bundles
 * and from packages, and because the text of a compiled function may call helpers of the compiler.
 */
const WORK = `
'use strict';
const work = ({ module, memory, control, thread, spin }) => {
  const exports = Object.values(new WebAssembly.Instance(module, { env: { memory } }).exports);
  const words = new Int32Array(control, 0, ${WORDS});
  const job = new Float64Array(control, ${WORDS * 4}, ${MOST_CALLS * CALL});
  const args = [];
  const run = (at) => {
    const count = args.length = job[at + ${COUNT}];
    for (let i = 0; i < count; i++) args[i] = job[at + ${FIRST_ARGUMENT} + i];
    if (job[at + ${PRIVATE}] >= 0) args[job[at + ${PRIVATE}]] += thread * job[at + ${STEP}];
    job[at + ${RESULT}] = Number(exports[job[at + ${EXPORT}]](...args));
  };
  const pause = Atomics.pause ? () => Atomics.pause() : () => {};
  let seen = Atomics.load(words, ${SEQUENCE});
  Atomics.add(words, ${READY}, 1);
  for (;;) {
    if (Atomics.load(words, ${STOP})) return;
    Atomics.add(words, ${ACTIVE}, 1);
    if (Atomics.load(words, ${OPEN})) {
      const calls = Atomics.load(words, ${CALLS});
      for (let next; (next = Atomics.add(words, ${NEXT}, 1)) < calls; ) {
        try {
          run(next * ${CALL});
        } catch {
          Atomics.store(words, ${FAILED}, 1);
        }
      }
    }
    if (Atomics.sub(words, ${ACTIVE}, 1) === 1 && Atomics.load(words, ${MAIN_WAITS})) Atomics.notify(words, ${ACTIVE});
    const until = performance.now() + spin;
    for (let turn = 1; Atomics.load(words, ${SEQUENCE}) === seen; turn++) {
      pause();
      if (turn % 64 || performance.now() < until) continue;
      Atomics.add(words, ${SLEEPING}, 1);
      Atomics.wait(words, ${SEQUENCE}, seen);
      Atomics.sub(words, ${SLEEPING}, 1);
    }
    seen = Atomics.load(words, ${SEQUENCE});
  }
};`;

/** For `worker_threads` with `eval: true`. */
export const NODE_SOURCE = `${WORK}
work(process.getBuiltinModule('node:worker_threads').workerData);`;

/** For the URL of a Blob; the start comes as the first message. */
export const BROWSER_SOURCE = `${WORK}
onmessage = ({ data }) => work(data);`;
