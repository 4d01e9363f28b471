/** Checks whose outcome lies on a device until someone awaits it: debug mode's answers to work that was only recorded. */
import type { Device } from '../device/types.js';
import { defaultDevice } from './default-device.js';

type Check = () => Promise<void>;

const pending = new Map<Device, Check[]>();

/** @internal Registers a check that the next read of a tensor of the device, or synchronize(), settles. */
export function addCheck(device: Device, check: Check): void {
  const list = pending.get(device);
  if (list) list.push(check);
  else pending.set(device, [check]);
}

/** @internal Settles all checks of a device in order of registration; throws the error of the first that fails. */
export async function settleChecks(device: Device): Promise<void> {
  const list = pending.get(device);
  if (!list) return;
  pending.delete(device);
  const results = await Promise.allSettled(list.map((check) => check()));
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}

/**
 * Resolves when everything that was recorded for a device is done.
 *
 * @throws DeviceError for a failure of the device, ShapeError for what debug mode has found
 * @source torch.cuda.synchronize
 */
export async function synchronize(device: Device = defaultDevice()): Promise<void> {
  await device.synchronize();
  await settleChecks(device);
}
