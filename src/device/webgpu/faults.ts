/** Collects what goes wrong asynchronously, until the next await reports it. */
import { DeviceError } from '../errors.js';

/** The failures of one WebGPU device: loss, errors of the API, pipelines that do not compile. */
export class Faults {
  /** Set once the device is lost or closed; every later call throws it. */
  dead: string | null = null;
  private first: DeviceError | null = null;
  private during: (() => string) | null = null;
  private caught: GPUError | null = null;
  private catching = false;

  constructor(device: GPUDevice) {
    device.addEventListener('uncapturederror', (event) => {
      event.preventDefault();
      if (this.catching) this.caught ??= event.error;
      else this.note(this.opOf(event.error), event.error.message);
    });
    device.lost.then((info) => {
      this.dead ??= `the device was lost (${info.reason ?? 'unknown'}: ${info.message.trim()}); open a new one`;
    });
  }

  /** What to say of an error that names no pipeline or buffer: where it happened. */
  context(describe: (() => string) | null): void {
    this.during = describe;
  }

  /** Keeps a failure for the next await; the first one counts, since later ones mostly follow from it. */
  note(op: string, message: string): void {
    this.first ??= new DeviceError(`${op}: ${firstLines(message)}`);
  }

  /**
   * Runs `create` and returns the error that it raised at once. Dawn in Node.js raises errors before the call
   * returns; in browsers they come later and reach `note`.
   */
  attempt<T>(create: () => T): [T, GPUError | null] {
    this.catching = true;
    this.caught = null;
    try {
      return [create(), this.caught];
    } finally {
      this.catching = false;
    }
  }

  assertAlive(op: string): void {
    if (this.dead !== null) throw new DeviceError(`${op}: ${this.dead}`);
  }

  /** Throws what has gone wrong since the last call, once. */
  raise(op: string): void {
    const error = this.first;
    this.first = null;
    if (error !== null) throw error;
    this.assertAlive(op);
  }

  /** Labels in the message are ours: `op [kernel key]` for pipelines and bind groups, `op` for buffers. */
  private opOf(error: GPUError): string {
    const label = /"([^"\n]+)"/.exec(error.message)?.[1];
    return label ?? this.during?.() ?? 'webgpu';
  }
}

/** Dawn appends the C++ call stack and the error's kind; the first lines hold what a user can act on. */
function firstLines(message: string): string {
  return message
    .split('\n')
    .filter((line) => line.trim() !== '' && !/^\s+at |^(validation|internal|out-of-memory):$/.test(line))
    .slice(0, 12)
    .join('\n');
}
