/** A process that computes on the CPU device's threads and ends as its argument says. Bundled and spawned by exit-threads.test.ts. */
import { openCPU } from '../../src/device/cpu/device.js';
import { openThreads, runCase, threadCases } from './threads-cases.js';

const [c] = threadCases('matmul');

/** Prints whether a product was computed. */
async function compute(device: ReturnType<typeof openCPU>): Promise<void> {
  const results = await runCase(device, c);
  console.log(results[2].some((bits) => bits !== 0));
}

const ENDINGS: Record<string, () => Promise<void>> = {
  async close() {
    const device = await openThreads(3);
    await compute(device);
    await device.close();
  },
  /** Nothing closed, the device still referenced, the workers asleep. */
  async open() {
    const device = await openThreads(3);
    (globalThis as { kept?: unknown }).kept = device;
    await compute(device);
    await new Promise((resolve) => setTimeout(resolve, 20));
  },
  /** Nothing closed, the workers still on the watch. */
  async watching() {
    await compute(await openThreads(3));
  },
  /** Ends while workers start. */
  async starting() {
    const device = openCPU({ threads: 4 });
    device.threads.worth = 0;
    await compute(device);
    await compute(device);
  },
  async exit() {
    await compute(await openThreads(3));
    process.exit(0);
  },
  /** By process.exit while workers start. */
  async exitStarting() {
    const device = openCPU({ threads: 4 });
    device.threads.worth = 0;
    await compute(device);
    process.exit(0);
  },
  /** Closes one of two devices. */
  async both() {
    const [one, other] = [await openThreads(2), await openThreads(3)];
    await compute(one);
    await one.close();
    await compute(other);
  },
};

await ENDINGS[process.argv[2]]();
