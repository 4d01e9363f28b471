/** What the browser tests run inside a page; bundled by esbuild, called by browser.test.ts. */

import type { Device } from '../../src/device/types.js';
import { openDevice } from '../../src/tensor/default-device.js';
import { conformanceCases } from '../conformance.js';
import { opInfo } from '../op-info.js';
import { type Report, runAll } from '../support/run-all.js';
import { trainingLosses } from '../support/training-losses.js';

export type Kind = 'webgpu' | 'cpu';

const devices = new Map<Kind, Promise<Device>>();

/** The page's device of a kind, opened once. */
function open(kind: Kind): Promise<Device> {
  let device = devices.get(kind);
  if (!device) {
    device = openDevice(kind === 'cpu' ? { device: 'cpu' } : { device: 'webgpu', adapter: 'software' });
    devices.set(kind, device);
  }
  return device;
}

const page = {
  async name(kind: Kind): Promise<string> {
    return (await open(kind)).info.name;
  },
  /** The conformance suite of one operation. */
  async conformance(kind: Kind, op: string): Promise<Report> {
    const rows = opInfo.filter((row) => row.name === op);
    return runAll(conformanceCases(await open(kind), rows));
  },
  async train(kind: Kind): Promise<number[]> {
    return trainingLosses(await open(kind));
  },
  async stats(kind: Kind): Promise<ReturnType<Device['stats']>> {
    return (await open(kind)).stats();
  },
  async close(kind: Kind): Promise<void> {
    await (await open(kind)).close();
  },
};

export type Page = typeof page;
(globalThis as unknown as { dawngrad: Page }).dawngrad = page;
