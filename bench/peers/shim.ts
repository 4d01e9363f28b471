/** Gives a peer the browser's globals: `navigator.gpu` of one adapter, and WebGPU's constants. */
import { findAdapter } from '../../src/device/webgpu/adapter.js';
import { loadDawn } from '../../src/device/webgpu/dawn.js';
import { loadSwiftShader } from '../../src/device/webgpu/swiftshader.js';

export async function installNavigator(adapterName: string): Promise<GPUAdapter> {
  // Dawn's classes must be those of the copy that opened the adapter: SwiftShader brings its own.
  const dawn = (adapterName === 'swiftshader' ? loadSwiftShader().dawn : await loadDawn()) as unknown as {
    globals: object;
  };
  const { adapter, gpu } = await findAdapter(adapterName);
  Object.assign(globalThis, dawn.globals);
  // The adapter lives as long as the object it came from.
  define({ gpu: { requestAdapter: async () => adapter, instance: gpu }, userAgent: 'node' });
  return adapter;
}

/** For WebAssembly backends, which ask for a navigator all the same. */
export function installPlainNavigator(): void {
  define({ userAgent: 'node' });
}

function define(navigator: object): void {
  Object.defineProperty(globalThis, 'navigator', { value: navigator, configurable: true, writable: true });
}

/** The name of an adapter for reports. */
export function adapterText({ info }: GPUAdapter): string {
  return info.description || info.device || `${info.vendor} ${info.architecture}`;
}
