/** Where the time of a step goes: its work on the device, dispatch by dispatch, and the host's own. */
import { DeviceError } from '../device/errors.js';
import { type HostPart, inPhase, type Tracer, tracing } from '../device/tracing.js';
import type { Device, ProfiledDispatch, Profiling } from '../device/types.js';
import { defaultDevice } from '../tensor/default-device.js';
import { scope } from '../tensor/lifetime.js';
import { type HostSpan, type ProfiledStep, ProfileReport } from './profile-report.js';

export interface ProfileOptions {
  /** Runs before anything is timed: the first compile kernels, or capture. Default 2. */
  readonly warmup?: number;
  /** Runs that are timed as they are, and as many again with every dispatch timed. Default 5. */
  readonly repeat?: number;
  /** The device that the step uses. Default: the default device. */
  readonly device?: Device;
}

/**
 * Measures a step: how long each kernel takes on the device, what it moves and computes, and what the host does meanwhile.
 *
 * Runs the step `warmup` + 2 · `repeat` times: first as it is, for the time of a whole step and the host's part in it, then
 * with every dispatch timed, which costs time of its own. On WebGPU a dispatch is timed by two timestamp queries; where the
 * adapter has none, by waiting for each, and the report says so. Browsers round timestamps to 0.1 ms unless told otherwise.
 *
 * @param step synchronous; captured or not. What it makes is released, as in `scope`.
 * @throws DeviceError for a second profile at the same time; RangeError for runs that are not whole numbers
 * @throws Error when `step` is asynchronous
 * @source torch.profiler
 * @example
 * const report = await profile(() => trainStep(x, y));
 * console.log(report.table());
 */
export async function profile(step: () => unknown, options: ProfileOptions = {}): Promise<ProfileReport> {
  const { warmup = 2, repeat = 5, device = defaultDevice() } = options;
  if (!(Number.isInteger(warmup) && warmup >= 0 && Number.isInteger(repeat) && repeat >= 1)) {
    throw new RangeError(
      `profile: expected whole numbers, warmup of at least 0 and repeat of at least 1, got ${warmup} and ${repeat}`,
    );
  }
  if (tracing.tracer) throw new DeviceError('profile: expected one profile at a time, got a second one');
  const tracer = new HostTracer();
  // From the start, so that nobody else begins while this one waits.
  tracing.tracer = tracer;
  try {
    for (let i = 0; i < warmup; i++) {
      runOnce(step);
      await device.synchronize();
    }
    await device.synchronize();
    const plain: ProfiledStep[] = [];
    for (let i = 0; i < repeat; i++) plain.push(await timed(step, device, tracer, null));
    const steps: ProfiledStep[] = [];
    let clock: Profiling['clock'] = 'wall clock';
    for (let i = 0; i < repeat; i++) {
      const profiling = device.profile();
      ({ clock } = profiling);
      steps.push(await timed(step, device, tracer, profiling));
    }
    return new ProfileReport(device.info, clock, plain, steps);
  } finally {
    tracing.tracer = null;
  }
}

async function timed(
  step: () => unknown,
  device: Device,
  tracer: HostTracer,
  profiling: Profiling | null,
): Promise<ProfiledStep> {
  tracer.clear();
  let dispatches: ProfiledDispatch[] = [];
  const start = performance.now();
  try {
    runOnce(step);
  } catch (error) {
    // The step's own error says more than any that follows from it.
    await profiling?.end().catch(() => {});
    throw error;
  }
  tracer.begin('waiting');
  if (profiling) dispatches = await profiling.end();
  else await device.synchronize();
  tracer.end();
  return { start, duration: performance.now() - start, dispatches, spans: tracer.spans };
}

function runOnce(step: () => unknown): void {
  scope(() =>
    inPhase('forward', () => {
      const result = step();
      if (typeof (result as { then?: unknown } | null | undefined)?.then === 'function') {
        throw new Error(
          'profile: expected a synchronous step, got one that returns a promise; await before and after it',
        );
      }
    }),
  );
}

/** Notes the parts that the host goes through. */
class HostTracer implements Tracer {
  spans: HostSpan[] = [];
  private open: { part: HostPart; start: number; inner: number }[] = [];

  clear(): void {
    this.spans = [];
    this.open = [];
  }

  begin(part: HostPart): void {
    this.open.push({ part, start: performance.now(), inner: 0 });
  }

  end(): void {
    const span = this.open.pop();
    // Parts that an error has left.
    if (!span) return;
    const { part, start, inner } = span;
    const duration = performance.now() - start;
    const outer = this.open.at(-1);
    if (outer) outer.inner += duration;
    this.spans.push({ part, start, duration, self: duration - inner });
  }
}
