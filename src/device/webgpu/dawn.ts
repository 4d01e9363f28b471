/**
 * Node only: WebGPU through Dawn, from the npm package `webgpu`.
 *
 * Node's modules come from `process.getBuiltinModule`, so that bundlers for the browser find no `node:` import here.
 */
import { DeviceError } from '../errors.js';

/** What the package `webgpu` and the addon in it export. */
export interface Dawn {
  create(options: string[]): GPU;
}

/** Experimental features of WebGPU, such as chromium-experimental-subgroup-matrix; timestamps to the ns, not to 65 µs. */
export const DAWN_FEATURES = [
  'enable-dawn-features=allow_unsafe_apis',
  'disable-dawn-features=timestamp_quantization',
];

/** Native backends before translated ones, which list the same GPU again. */
const BACKENDS = ['d3d12', 'metal', 'vulkan', 'd3d11', 'opengl', 'opengles'];

export function isNode(): boolean {
  return (
    typeof process === 'object' && typeof process.getBuiltinModule === 'function' && !!process.versions?.node
  );
}

/** The file that `name` resolves to, from this package or from the working directory. */
export function resolvePackage(name: string): string | null {
  const { createRequire } = process.getBuiltinModule('node:module');
  const { join } = process.getBuiltinModule('node:path');
  for (const from of [import.meta.url, join(process.cwd(), 'package.json')]) {
    try {
      return createRequire(from).resolve(name);
    } catch {
      // the next place may have it
    }
  }
  return null;
}

/** The entry file of the package `webgpu`. @throws DeviceError where it is not installed */
export function dawnEntry(): string {
  const entry = resolvePackage('webgpu');
  if (entry === null) {
    throw new DeviceError(
      "openWebGPU: expected the npm package 'webgpu', got none; install it with: npm install webgpu",
    );
  }
  return entry;
}

/** @throws DeviceError where the package is missing or has no build for this system */
export async function loadDawn(): Promise<Dawn> {
  const { pathToFileURL } = process.getBuiltinModule('node:url');
  const entry = dawnEntry();
  try {
    return (await import(/* @vite-ignore */ pathToFileURL(entry).href)) as Dawn;
  } catch (error) {
    throw new DeviceError(
      `openWebGPU: expected a build of the npm package 'webgpu' for ${process.platform}-${process.arch}, ` +
        `got: ${(error as Error).message.split('\n')[0]}; use the CPU device instead`,
    );
  }
}

/** An adapter as Dawn names it. */
export interface SystemAdapter {
  readonly name: string;
  readonly backend: string;
}

/**
 * The adapters of this system, best backend first. Dawn tells their names only in the error for a name that it
 * does not find.
 */
export async function systemAdapters(dawn: Dawn): Promise<SystemAdapter[]> {
  if (!hasDriverLoader()) return [];
  try {
    await dawn.create([...DAWN_FEATURES, 'adapter=\u0001']).requestAdapter();
    return [];
  } catch (error) {
    const found = [...(error as Error).message.matchAll(/backend: '([^']*)', name: '(.*)'$/gm)];
    const adapters = found
      .map(([, backend, name]) => ({ backend, name }))
      .filter(({ backend }) => BACKENDS.includes(backend));
    adapters.sort((a, b) => BACKENDS.indexOf(a.backend) - BACKENDS.indexOf(b.backend));
    return adapters.filter(({ name }, i) => adapters.findIndex((other) => other.name === name) === i);
  }
}

/** On Linux Dawn reaches GPUs through the Vulkan loader, and prints a warning where there is none: look first. */
export function hasDriverLoader(): boolean {
  if (process.platform !== 'linux') return true;
  try {
    process.dlopen({ exports: {} }, 'libvulkan.so.1');
    return true;
  } catch (error) {
    // A library that loads and is no Node.js addon is exactly what we look for.
    return (error as Error).message.includes('self-register');
  }
}

/** Devices that nobody has closed; weakly, since a forgotten device may be collected. */
const open = new Set<WeakRef<GPUDevice>>();

/**
 * Destroys a device when the process leaves, unless `forget` was called. Destroying waits for Dawn's threads: after
 * process.exit they would still run or compile while the driver's static data goes, which prints nonsense or crashes.
 *
 * @returns forget
 */
export function destroyAtExit(device: GPUDevice): () => void {
  if (open.size === 0) process.on('exit', destroyOpen);
  const reference = new WeakRef(device);
  open.add(reference);
  return () => {
    open.delete(reference);
    if (open.size === 0) process.off('exit', destroyOpen);
  };
}

function destroyOpen(): void {
  for (const reference of open) reference.deref()?.destroy();
}
