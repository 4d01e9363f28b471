import type { Device, DeviceBuffer } from '../device/types.js';

let nextId = 1;

/**
 * A device buffer shared by tensors and by what backward has saved. It goes back to the pool with its last reference.
 * `version` counts writes in place, so that backward notices when a saved value has changed.
 */
export class Storage {
  readonly id = nextId++;
  readonly device: Device;
  version = 0;
  private refs = 1;
  private held: DeviceBuffer | null;

  constructor(device: Device, bytes: number, op: string) {
    this.device = device;
    this.held = device.allocate(Math.ceil(bytes / 4) * 4, op);
  }

  /** Null once released. */
  get buffer(): DeviceBuffer | null {
    return this.held;
  }

  /** Whether only one tensor or saved entry holds it. */
  get isExclusive(): boolean {
    return this.refs === 1;
  }

  retain(): this {
    if (this.held === null) throw new Error('storage: retained after its release');
    this.refs++;
    return this;
  }

  release(): void {
    if (--this.refs === 0 && this.held !== null) {
      this.device.free(this.held);
      this.held = null;
    }
  }
}
