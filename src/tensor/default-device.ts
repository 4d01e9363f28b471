import { CPUDevice, openCPU } from '../device/cpu/device.js';
import type { Device } from '../device/types.js';

let current: Device | null = null;
let oracle: CPUDevice | null = null;

/** The device that factories use: what openDevice() opened last, else the CPU device. */
export function defaultDevice(): Device {
  current ??= cpuDevice();
  return current;
}

/** Makes a device the one that factories use; null goes back to the CPU device. */
export function setDefaultDevice(device: Device | null): void {
  current = device;
}

/** The process's CPU device, opened on first use: home of float64 and of the gradient checks. */
export function cpuDevice(): CPUDevice {
  oracle ??= openCPU();
  return oracle;
}
