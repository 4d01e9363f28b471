/**
 * A pool of workers over the tensors' memory, with a parallel-for that posts no messages: threads-worker.ts has the
 * protocol, threads-table.ts says how each export is cut.
 *
 * The main thread takes calls too, and never waits for a worker that has not begun one: while the workers are still
 * starting, or gone, it does all of the work.
 */
import { DeviceError } from '../errors.js';
import { nodeModule } from './thread-count.js';
import * as at from './threads-worker.js';

/**
 * How long idle workers watch for the next job, in ms: longer than most pauses between the ops of a training step, and
 * some ten times what it costs to wake them.
 */
const SPIN = 0.2;
/** Work, in ns, that is worth waking sleeping workers, by itself or along with what went by on one thread just before. */
const WAKE = 100_000;
/** How long the main thread watches the last calls before it sleeps, in ms. */
const MAIN_SPIN = 0.1;
/** Waits of WAIT ms, during none of which a worker has left the job, after which the workers are taken for lost. */
const PATIENCE = 300;
const WAIT = 100;
/** Work, in ns, that is worth a job. */
const WORTH = 12_000;
/** As many jobs must have been worth it on one thread before workers are started: short programs need none. */
const START_AFTER = 80;
/** A call of a job is a quarter of that work at least, for the price of taking it, and CALL_MOST ns at most. */
const CALLS_PER_WORTH = 4;
const CALL_MOST = 50e6;

interface PoolWorker {
  terminate(): unknown;
}

/** The parts of worker_threads that are used. */
interface WorkerThreads {
  readonly Worker: new (
    source: string,
    options: object,
  ) => PoolWorker & { unref(): void; on(event: 'error', listener: () => void): void };
}

type Call = (...args: number[]) => unknown;

/** Whether this thread may sleep: the main thread of a page may not. */
function maySleep(words: Int32Array): boolean {
  try {
    Atomics.wait(words, at.STOP, 1, 0);
    return true;
  } catch {
    return false;
  }
}

/** The threads of one device. */
export class Threads {
  /** Threads that take part, this one among them; 1 once the workers are gone. */
  count: number;
  /** Calls in the list. */
  calls = 0;
  /** Work, in ns, from which on calls are cut; tests set it to 0 to have all of them cut. */
  worth = WORTH;
  /** How many waits the workers are given to finish; tests make it short. */
  patience = PATIENCE;
  private readonly exports: readonly Call[];
  private readonly control: ArrayBufferLike;
  private readonly words: Int32Array;
  private readonly job: Float64Array;
  private readonly args: number[] = [];
  private readonly mayWait: boolean;
  private workers: PoolWorker[] | undefined;
  private url: string | undefined;
  /** Work that was worth a job and was done on one thread since the last job. */
  private before = 0;

  /** `exports` are those of the module's instance on this thread, in the order of all instances. */
  constructor(
    count: number,
    private readonly module: WebAssembly.Module,
    private readonly memory: WebAssembly.Memory,
    exports: WebAssembly.Exports,
  ) {
    this.count = count;
    this.exports = Object.values(exports) as Call[];
    // Where there is one thread, there may be no SharedArrayBuffer.
    this.control = count > 1 ? new SharedArrayBuffer(at.CONTROL_BYTES) : new ArrayBuffer(at.CONTROL_BYTES);
    this.words = new Int32Array(this.control, 0, at.WORDS);
    this.job = new Float64Array(this.control, at.WORDS * 4, at.MOST_CALLS * at.CALL);
    this.mayWait = maySleep(this.words);
  }

  /** How many workers have started so far. */
  get ready(): number {
    return Atomics.load(this.words, at.READY);
  }

  /** Whether there are workers to hand calls to. */
  get started(): boolean {
    return this.workers !== undefined;
  }

  /** Whether `work` ns are worth a job. Starts the workers once enough such work has gone by. */
  isWorth(work: number): boolean {
    if (work < this.worth || this.count === 1) return false;
    this.before += work;
    if (!this.workers) {
      if (this.before > this.worth * START_AFTER) this.start();
      return false;
    }
    const sleep = this.worth > 0 && Atomics.load(this.words, at.SLEEPING) === this.count - 1;
    if (sleep && this.before < WAKE) return false;
    this.before = 0;
    return true;
  }

  /** Into how many calls `work` ns are best cut: three per thread, so that one that is interrupted holds up little. */
  parts(work: number): number {
    const wanted = Math.max(3 * this.count, Math.ceil(work / CALL_MOST));
    const most = this.worth === 0 ? wanted : Math.floor((work * CALLS_PER_WORTH) / this.worth);
    return Math.max(1, Math.min(wanted, most, at.MOST_CALLS));
  }

  /**
   * Adds a call of export number `index` to the list, and runs the list where it is full. Argument number `own`, if not
   * negative, is an address that lies `step` bytes further for each thread.
   */
  add(index: number, args: readonly number[], own: number, step: number): void {
    if (this.calls === at.MOST_CALLS) this.run();
    const { job } = this;
    const to = this.calls++ * at.CALL;
    job[to + at.EXPORT] = index;
    job[to + at.COUNT] = args.length;
    job[to + at.PRIVATE] = own;
    job[to + at.STEP] = step;
    for (let i = 0; i < args.length; i++) job[to + at.FIRST_ARGUMENT + i] = args[i];
  }

  /** Empties the list without running it. */
  clear(): void {
    this.calls = 0;
  }

  /** Runs the calls of the list, in any order unless `parallel` is false, and empties it. */
  run(parallel = true): void {
    const { words, calls } = this;
    this.calls = 0;
    if (!this.workers || !parallel || calls <= 1) {
      for (let call = 0; call < calls; call++) this.call(call);
      return;
    }
    Atomics.store(words, at.CALLS, calls);
    Atomics.store(words, at.NEXT, 0);
    Atomics.store(words, at.OPEN, 1);
    Atomics.add(words, at.SEQUENCE, 1);
    if (Atomics.load(words, at.SLEEPING) > 0) Atomics.notify(words, at.SEQUENCE);
    let failed = 0;
    try {
      for (let call = Atomics.add(words, at.NEXT, 1); call < calls; call = Atomics.add(words, at.NEXT, 1)) {
        this.call(call);
      }
    } finally {
      // Also when a call has trapped: nobody may be at work when the memory is given back.
      Atomics.store(words, at.OPEN, 0);
      if (Atomics.load(words, at.ACTIVE) !== 0) this.awaitWorkers();
      // Taken back here: where this thread has trapped too, its own error is thrown, and the next job starts clean.
      failed = Atomics.exchange(words, at.FAILED, 0);
    }
    if (failed) throw new DeviceError('cpu: a WebAssembly kernel trapped on another thread');
  }

  /** What call number `call` of the last list returned. */
  result(call: number): number {
    return this.job[call * at.CALL + at.RESULT];
  }

  /** Ends the workers. The object computes on, on one thread. */
  async close(): Promise<void> {
    const workers = this.workers ?? [];
    this.count = 1;
    this.workers = undefined;
    Atomics.store(this.words, at.STOP, 1);
    Atomics.add(this.words, at.SEQUENCE, 1);
    Atomics.notify(this.words, at.SEQUENCE);
    if (this.url) URL.revokeObjectURL(this.url);
    await Promise.all(workers.map((worker) => worker.terminate()));
  }

  private call(call: number): void {
    const { job, args } = this;
    const from = call * at.CALL;
    args.length = job[from + at.COUNT];
    for (let i = 0; i < args.length; i++) args[i] = job[from + at.FIRST_ARGUMENT + i];
    job[from + at.RESULT] = Number(this.exports[job[from + at.EXPORT]](...args));
  }

  /** Waits until no worker is in the job. @throws DeviceError when one never comes out */
  private awaitWorkers(): void {
    const { words } = this;
    const until = performance.now() + MAIN_SPIN;
    for (let turn = 1; turn % 64 || performance.now() < until; turn++) {
      if (Atomics.load(words, at.ACTIVE) === 0) return;
    }
    Atomics.store(words, at.MAIN_WAITS, 1);
    let last = Atomics.load(words, at.ACTIVE);
    for (let waits = 0; last !== 0; waits++) {
      if (waits >= this.patience) this.lose();
      if (this.mayWait) Atomics.wait(words, at.ACTIVE, last, WAIT);
      else {
        const end = performance.now() + WAIT;
        while (Atomics.load(words, at.ACTIVE) === last && performance.now() < end);
      }
      const now = Atomics.load(words, at.ACTIVE);
      if (now !== last) waits = 0;
      last = now;
    }
    Atomics.store(words, at.MAIN_WAITS, 0);
  }

  private lose(): never {
    Atomics.store(this.words, at.MAIN_WAITS, 0);
    Atomics.store(this.words, at.ACTIVE, 0);
    void this.close();
    throw new DeviceError(
      'cpu: a worker thread ended, or stood still, in the middle of an operation, whose results are incomplete; ' +
        'from now on this device computes on one thread',
    );
  }

  private start(): void {
    const workers: PoolWorker[] = (this.workers = []);
    const { module, memory, control } = this;
    try {
      for (let thread = 1; thread < this.count; thread++) {
        workers.push(this.startWorker({ module, memory, control, thread, spin: SPIN }));
      }
    } catch {
      // Too few resources, or a page whose policy forbids such workers: those that started, if any, are enough.
    }
  }

  private startWorker(start: at.WorkerStart): PoolWorker {
    const node = nodeModule<WorkerThreads>('node:worker_threads');
    if (node) {
      const options = { eval: true, workerData: start, execArgv: [], env: {}, name: 'dawngrad' };
      const worker = new node.Worker(at.NODE_SOURCE, options);
      // A worker that cannot start leaves its calls to the others.
      worker.on('error', () => {});
      worker.unref();
      return worker;
    }
    this.url ??= URL.createObjectURL(new Blob([at.BROWSER_SOURCE], { type: 'text/javascript' }));
    const worker = new Worker(this.url, { name: 'dawngrad' });
    worker.onerror = (event) => event.preventDefault();
    worker.postMessage(start);
    return worker;
  }
}
