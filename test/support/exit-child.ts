/** A process that opens a device, computes and ends in the way its argument says. Bundled and spawned by exit.test.ts. */
import { openWebGPU, type WebGPUDevice } from '../../src/device/webgpu/device.js';
import { ADAPTER, add, affine, ramp, view } from './webgpu.js';

const ENDINGS: Record<string, (device: WebGPUDevice) => Promise<void> | void> = {
  /** Reads, then closes. */
  async close(device) {
    console.log(await compute(device));
    await device.close();
  },
  /** Reads and ends, nothing closed; the device is still referenced. */
  async open(device) {
    (globalThis as { kept?: unknown }).kept = device;
    console.log(await compute(device));
  },
  /** Ends while submitted work runs. */
  async busy(device) {
    console.log(await compute(device));
    submit(device);
  },
  /** Ends while a read is under way that nobody awaits. */
  async reading(device) {
    console.log(await compute(device));
    submit(device).catch(() => {});
  },
  /** Leaves by process.exit while work runs and pipelines compile. */
  async exit(device) {
    console.log(await compute(device));
    submit(device).catch(() => {});
    const y = device.allocate(4, 'test');
    device.execute(affine, [], [view(y, [1])], { factor: 1, shift: 2 });
    process.exit(0);
  },
  /** Ends with commands that were never submitted. */
  queued(device) {
    const y = device.allocate(4, 'test');
    device.execute(affine, [], [view(y, [1])], { factor: 1, shift: 2 });
    console.log(6);
  },
  /** Closes while reads are under way, with a second device left open. */
  async both(device) {
    const other = await openWebGPU({ adapter: ADAPTER });
    const sums = Promise.all([compute(device), compute(other)]);
    console.log((await sums)[1]);
    submit(device).catch(() => {});
    await device.close();
  },
};

/** 1 + 2 + 3. */
async function compute(device: WebGPUDevice): Promise<number> {
  const [a, z] = [device.allocate(4, 'test'), device.allocate(4, 'test')];
  device.write(a, Float32Array.of(3));
  device.execute(add, [view(a, [1]), view(a, [1])], [view(z, [1])], undefined);
  return new Float32Array(await device.read(z, 0, 4))[0];
}

/** Work for a few hundred milliseconds, and the read that waits for it. */
function submit(device: WebGPUDevice): Promise<ArrayBuffer> {
  const n = 2 ** 18;
  const y = device.allocate(4 * n, 'test');
  for (let i = 0; i < 4; i++) device.execute(ramp, [], [view(y, [n])], undefined);
  return device.read(y, 0, 4);
}

await ENDINGS[process.argv[2]](await openWebGPU({ adapter: ADAPTER }));
