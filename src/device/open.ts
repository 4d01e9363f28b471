/** Chooses a device: the one place that knows both kinds. */
import { type CPUDevice, openCPU } from './cpu/device.js';
import { threadCount } from './cpu/thread-count.js';
import { DeviceError } from './errors.js';
import type { Device, DeviceInfo } from './types.js';
import { type AdapterDescription, listAdapters } from './webgpu/adapter.js';
import { openWebGPU } from './webgpu/device.js';

export interface OpenOptions {
  /** 'webgpu', 'cpu', or 'auto' (default): the best GPU, else the CPU device. `DAWNGRAD_DEVICE` overrides 'auto'. */
  device?: 'auto' | 'webgpu' | 'cpu';
  /**
   * Which WebGPU adapter: 'swiftshader', 'lavapipe', 'software', or part of a name. `DAWNGRAD_ADAPTER` where absent.
   * Nothing means the best GPU, never a software adapter.
   */
  adapter?: string;
  /**
   * Threads of the CPU device, 1 to 64; `DAWNGRAD_THREADS` where absent, else one per core. Results do not depend on it.
   * One where threads cannot share memory: in pages that are not cross-origin isolated.
   */
  threads?: number;
  /** Called with the reason when 'auto' falls back to the CPU device. */
  onFallback?: (reason: string) => void;
}

let shared: CPUDevice | null = null;

/** The process's CPU device, opened on first use and again after close(): there is one memory to share. */
export function cpuDevice(threads?: number): CPUDevice {
  if (!shared || shared.isClosed) return (shared = openCPU({ threads }));
  const { threads: now } = shared.info.limits;
  if (threads !== undefined && threadCount(threads) !== now) {
    throw new DeviceError(
      `openDevice: expected threads: ${now}, with which the CPU device was opened before, got ${threads}; close it first`,
    );
  }
  return shared;
}

const KINDS = ['auto', 'webgpu', 'cpu'];

function environment(name: string): string | undefined {
  const value = typeof process === 'object' ? process.env?.[name] : undefined;
  return value === '' ? undefined : value;
}

/** What would be opened, from options and environment. @throws DeviceError for another kind than 'auto', 'webgpu', 'cpu'. */
export function resolveChoice(options: OpenOptions = {}): {
  device: 'auto' | 'webgpu' | 'cpu';
  adapter: string | undefined;
  from: string;
} {
  const adapter = options.adapter ?? environment('DAWNGRAD_ADAPTER');
  let device: string = options.device ?? 'auto';
  let from = options.device && options.device !== 'auto' ? 'asked for' : 'the default';
  const fromEnvironment = environment('DAWNGRAD_DEVICE');
  if (device === 'auto' && fromEnvironment) {
    device = fromEnvironment;
    from = 'DAWNGRAD_DEVICE';
  } else if (device === 'auto' && adapter) {
    device = 'webgpu';
    from = options.adapter ? 'an adapter was asked for' : 'DAWNGRAD_ADAPTER';
  }
  if (!KINDS.includes(device)) {
    throw new DeviceError(`openDevice: expected device 'auto', 'webgpu' or 'cpu', got '${device}' (${from})`);
  }
  return { device: device as 'auto' | 'webgpu' | 'cpu', adapter, from };
}

/**
 * Opens a device.
 *
 * @throws DeviceError when WebGPU was asked for and there is no such adapter.
 */
export async function open(options: OpenOptions = {}): Promise<Device> {
  const { device, adapter } = resolveChoice(options);
  if (device === 'cpu') return cpuDevice(options.threads);
  if (device === 'webgpu') return openWebGPU({ adapter });
  try {
    return await openWebGPU({ adapter });
  } catch (e) {
    if (!(e instanceof DeviceError)) throw e;
    options.onFallback?.(e.message);
    return cpuDevice(options.threads);
  }
}

/** Everything that could be opened here, and what `open` would take and why. */
export interface DeviceSurvey {
  readonly adapters: readonly AdapterDescription[];
  /** Why no adapter could be listed, null where they could. */
  readonly problem: string | null;
  /** The device's name, null where what was asked for cannot be opened. */
  readonly chosen: string | null;
  readonly reason: string;
  /** The CPU device, which there always is: its threads, and what of SIMD it uses. */
  readonly cpu: DeviceInfo;
}

/**
 * Lists adapters and names the choice that the same options would lead to, or says why there is none.
 *
 * @throws DeviceError for an impossible number of threads
 */
export async function surveyDevices(options: OpenOptions = {}): Promise<DeviceSurvey> {
  let adapters: readonly AdapterDescription[] = [];
  let problem: string | null = null;
  try {
    adapters = await listAdapters();
  } catch (e) {
    problem = (e as Error).message;
  }
  const { info: cpu } = cpuDevice(options.threads);
  try {
    return { adapters, problem, ...(await choose(options, adapters)), cpu };
  } catch (e) {
    if (!(e instanceof DeviceError)) throw e;
    return { adapters, problem, chosen: null, reason: e.message, cpu };
  }
}

async function choose(
  options: OpenOptions,
  adapters: readonly AdapterDescription[],
): Promise<{ chosen: string; reason: string }> {
  const { device, adapter, from } = resolveChoice(options);
  let fallback = '';
  const opened = await open({ ...options, onFallback: (reason) => (fallback = reason) });
  const chosen = opened.info.name;
  if (opened !== shared) await opened.close();
  const software = adapters.length > 0 && adapters.every((a) => a.software);
  const reason = fallback
    ? software
      ? 'no GPU: the adapters here are software, which computes on the same cores as the CPU device, and slower'
      : `no GPU: ${fallback}`
    : device === 'auto'
      ? 'the best GPU of this system'
      : `${device}${adapter ? `, adapter '${adapter}'` : ''} (${from})`;
  return { chosen, reason };
}
