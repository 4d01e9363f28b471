import { cpuDevice, type OpenOptions, open } from '../device/open.js';
import type { Device } from '../device/types.js';

let current: Device | null = null;

/** The device that factories use: what openDevice() opened last, else the CPU device. */
export function defaultDevice(): Device {
  current ??= cpuDevice();
  return current;
}

/** Makes a device the one that factories use; null goes back to the CPU device. */
export function setDefaultDevice(device: Device | null): void {
  current = device;
}

/**
 * Opens a device and makes it the default: the browser's GPU or Dawn's, discrete first and never a software one unless
 * asked for; else the CPU device. `DAWNGRAD_DEVICE=webgpu|cpu` and `DAWNGRAD_ADAPTER=NAME` choose by hand.
 *
 * @throws DeviceError when WebGPU was asked for and there is no such adapter.
 * @example
 * const device = await openDevice();
 * console.log(device.info.name);
 */
export async function openDevice(options: OpenOptions = {}): Promise<Device> {
  const device = await open(options);
  setDefaultDevice(device);
  return device;
}

export { cpuDevice };
