/** What threads.test.ts runs inside a page. */
import type { CPUDevice } from '../../src/device/cpu/device.js';
import { SPLITS } from '../../src/device/cpu/threads-table.js';
import { conformanceCases } from '../conformance.js';
import { opInfo } from '../op-info.js';
import { type Report, runAll } from '../support/run-all.js';
import { difference, openThreads, runCase, threadCases } from '../support/threads-cases.js';
import { trainingLosses } from '../support/training-losses.js';

const devices = new Map<number, Promise<CPUDevice>>();

function open(threads: number): Promise<CPUDevice> {
  let device = devices.get(threads);
  if (!device) devices.set(threads, (device = openThreads(threads)));
  return device;
}

const page = {
  isolated(): boolean {
    return globalThis.crossOriginIsolated;
  },
  /** Threads of a device for which a number was asked, and workers that have started. */
  async threads(asked: number): Promise<number[]> {
    const device = await open(asked);
    return [device.info.limits.threads, device.threads.ready];
  },
  async conformance(threads: number): Promise<Report> {
    return runAll(conformanceCases(await open(threads), opInfo));
  },
  async train(threads: number): Promise<number[]> {
    return trainingLosses(await open(threads));
  },
  /** Calls whose results with so many threads differ from those with one. */
  async differing(threads: number): Promise<string[]> {
    const [one, several] = [await open(1), await open(threads)];
    const found: string[] = [];
    for (const c of Object.keys(SPLITS).flatMap(threadCases)) {
      const where = difference(await runCase(several, c), await runCase(one, c));
      if (where) found.push(`${c.name}: ${where}`);
    }
    return found;
  },
  async close(): Promise<void> {
    for (const device of devices.values()) await (await device).close();
    devices.clear();
  },
};

export type ThreadsPage = typeof page;
(globalThis as unknown as { dawngrad: ThreadsPage }).dawngrad = page;
