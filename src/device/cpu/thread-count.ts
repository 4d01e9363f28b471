/** How many threads a CPU device has. */
import { DeviceError } from '../errors.js';

/** More threads than this were never measured, and the memory's bandwidth is used up long before. */
const DEFAULT_MOST = 16;
const MOST = 64;

/** A module of Node.js, undefined elsewhere. */
export function nodeModule<T>(name: string): T | undefined {
  if (typeof process !== 'object' || !process.versions?.node) return undefined;
  return process.getBuiltinModule?.(name) as T | undefined;
}

/** Whether threads can share memory: in Node.js, and in pages that are cross-origin isolated. */
function canShare(): boolean {
  if (typeof SharedArrayBuffer === 'undefined') return false;
  if (nodeModule('node:worker_threads')) return true;
  return (
    globalThis.crossOriginIsolated === true && typeof Worker === 'function' && typeof Blob === 'function'
  );
}

function cores(): number {
  const os = nodeModule<{ availableParallelism(): number }>('node:os');
  return os ? os.availableParallelism() : (globalThis.navigator?.hardwareConcurrency ?? 1);
}

/**
 * How many threads a device uses: `asked`, else `DAWNGRAD_THREADS`, else one per core, at most 16; one where threads
 * cannot share memory.
 *
 * @throws DeviceError for what is not a whole number from 1 to 64
 */
export function threadCount(asked?: number): number {
  const text = typeof process === 'object' ? process.env?.DAWNGRAD_THREADS : undefined;
  let count = asked;
  if (count === undefined && text) count = /^\s*\d+\s*$/.test(text) ? Number(text) : Number.NaN;
  if (count !== undefined && !(Number.isInteger(count) && count >= 1 && count <= MOST)) {
    const given = asked === undefined ? `DAWNGRAD_THREADS='${text}'` : `threads: ${asked}`;
    throw new DeviceError(
      `openDevice: expected a whole number of threads from 1 to ${MOST}, got ${given}; leave it out for one per core`,
    );
  }
  if (!canShare()) return 1;
  return count ?? Math.max(1, Math.min(cores(), DEFAULT_MOST));
}
