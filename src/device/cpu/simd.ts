/** The WebAssembly module of the CPU device, on the device's memory. */
import type { SimdModule } from '../types.js';
import { wasmBase64 } from './wasm/generated.js';

let compiled: WebAssembly.Module | undefined;

/**
 * Instantiates the module. Its exports are the kernels: to add one, export it from `wasm/assembly/index.ts` and declare
 * it in `SimdModule`.
 * @param scratch hands out memory that stays valid until the running program is done
 */
export function instantiateSimd(memory: WebAssembly.Memory, scratch: (bytes: number) => number): SimdModule {
  compiled ??= new WebAssembly.Module(Uint8Array.from(atob(wasmBase64), (char) => char.charCodeAt(0)));
  const { exports } = new WebAssembly.Instance(compiled, { env: { memory } });
  return {
    ...(exports as unknown as Omit<SimdModule, 'scratch'>),
    // WebAssembly returns sizes as signed numbers.
    scratch: (bytes) => scratch(bytes >>> 0),
  };
}
