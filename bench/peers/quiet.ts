/**
 * Whether the machine does something else right now. Virtual processors often share a core with other machines' ones, and
 * then run at half their speed, for a tenth of a second or for minutes, which the system does not show.
 */
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';

/** A loop that takes so many times as long as at its quickest is disturbed. */
export const DISTURBED = 1.2;
/** Between two probes, in ms. */
const PAUSE_MS = 20;
/** Probes before the first answer, to know the quickest time. */
const FIRST_PROBES = 100;

/**
 * Dot products of short arrays, eight sums side by side: enough loads, multiplications and additions to fill a core, so
 * that whatever shares it shows up. Takes some 4 ms.
 */
const LOOP = `
const { parentPort } = require('node:worker_threads');
const x = new Float64Array(1024).fill(0.5);
const y = new Float64Array(1024).fill(0.25);
const loop = (turns) => {
  let [a, b, c, d, e, f, g, h] = [0, 0, 0, 0, 0, 0, 0, 0];
  for (let turn = 0; turn < turns; turn++) {
    for (let i = 0; i < 1024; i += 8) {
      a += x[i] * y[i]; b += x[i + 1] * y[i + 1]; c += x[i + 2] * y[i + 2]; d += x[i + 3] * y[i + 3];
      e += x[i + 4] * y[i + 4]; f += x[i + 5] * y[i + 5]; g += x[i + 6] * y[i + 6]; h += x[i + 7] * y[i + 7];
    }
  }
  return a + b + c + d + e + f + g + h;
};
for (let i = 0; i < 20; i++) loop(500);
parentPort.on('message', () => {
  const start = performance.now();
  loop(3000);
  parentPort.postMessage(performance.now() - start);
});`;

/** Times a fixed loop on all processors at once. */
export class Quiet {
  /** ms that the loop took on the slowest processor, at its quickest so far. */
  leastMs = Infinity;
  readonly #workers = Array.from({ length: availableParallelism() }, () => new Worker(LOOP, { eval: true }));

  static async open(): Promise<Quiet> {
    const quiet = new Quiet();
    for (let i = 0; i < FIRST_PROBES; i++) await quiet.probe();
    return quiet;
  }

  /** ms of the loop on the slowest processor. */
  async probe(): Promise<number> {
    const replies = this.#workers.map(async (worker) => {
      worker.postMessage(null);
      const [ms] = (await once(worker, 'message')) as [number];
      return ms;
    });
    const slowest = Math.max(...(await Promise.all(replies)));
    this.leastMs = Math.min(this.leastMs, slowest);
    return slowest;
  }

  isQuiet(ms: number): boolean {
    return ms <= DISTURBED * this.leastMs;
  }

  /** Probes until the machine is quiet, or the time `until` has come; ms of the last probe. */
  async wait(until: number): Promise<number> {
    for (;;) {
      const ms = await this.probe();
      if (this.isQuiet(ms) || performance.now() > until) return ms;
      await sleep(PAUSE_MS);
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }
}
