/**
 * Waiting for a software adapter without taking the cores that it computes with.
 *
 * As long as anything is awaited, Dawn's Node.js binding asks for news in every turn of the event loop, which keeps one core
 * busy: a third of the processor time of a first step on two cores. Here each turn sleeps a little, the longer the wait
 * has lasted already.
 */

/** A turn sleeps for 1/32 of the wait so far, at most this many milliseconds. */
const LONGEST = 1;
const SHARE = 1 / 32;

/** Awaits a promise that Dawn settles. */
export type Wait = <T>(promise: Promise<T>) => Promise<T>;

export const plainWait: Wait = (promise) => promise;

/** A way to await that rests between the turns of the event loop. Node.js only. */
export function quietWait(): Wait {
  const quiet = new QuietWait();
  return (promise) => quiet.for(promise);
}

class QuietWait {
  private waits = 0;
  private since = 0;
  private turning = false;
  private readonly cell = new Int32Array(new SharedArrayBuffer(4));

  async for<T>(promise: Promise<T>): Promise<T> {
    if (this.waits++ === 0) {
      this.since = performance.now();
      if (!this.turning) this.next();
      this.turning = true;
    }
    try {
      return await promise;
    } finally {
      this.waits--;
    }
  }

  private readonly turn = (): void => {
    this.turning = this.waits > 0;
    if (!this.turning) return;
    Atomics.wait(this.cell, 0, 0, Math.min(LONGEST, (performance.now() - this.since) * SHARE));
    this.next();
  };

  /** Another turn, unless the process has nothing else to do. */
  private next(): void {
    setImmediate(this.turn).unref();
  }
}
