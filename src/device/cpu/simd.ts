/** The WebAssembly module of the CPU device, on the device's memory. */
import type { SimdModule } from '../types.js';
import { relaxedWasmBase64, wasmBase64 } from './wasm/generated.js';

/** A compiled build of the module. */
interface Build {
  readonly module: WebAssembly.Module;
  readonly features: readonly string[];
}

let build: Build | undefined;

function decode(base64: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
}

/**
 * The build with fused multiply-add (relaxed SIMD) where the engine takes it: browsers and Node.js ≥ 22 do as they are.
 * Node.js 20 has it behind a switch of V8 that can be turned on at any time before the module is compiled.
 */
function compiled(): Build {
  if (build) return build;
  const relaxed = decode(relaxedWasmBase64);
  if (!WebAssembly.validate(relaxed) && typeof process === 'object' && process.versions?.node) {
    process.getBuiltinModule?.('node:v8').setFlagsFromString('--experimental-wasm-relaxed-simd');
  }
  build = WebAssembly.validate(relaxed)
    ? { module: new WebAssembly.Module(relaxed), features: ['simd128', 'relaxed-simd'] }
    : { module: new WebAssembly.Module(decode(wasmBase64)), features: ['simd128'] };
  return build;
}

/** WebAssembly features that the module uses here. */
export function simdFeatures(): readonly string[] {
  return compiled().features;
}

/**
 * Instantiates the module. Its exports are the kernels: to add one, export it from `wasm/assembly/index.ts` and declare
 * it in `SimdModule`.
 * @param scratch hands out memory that stays valid until the running program is done
 */
export function instantiateSimd(memory: WebAssembly.Memory, scratch: (bytes: number) => number): SimdModule {
  const { exports } = new WebAssembly.Instance(compiled().module, { env: { memory } });
  return {
    ...(exports as unknown as Omit<SimdModule, 'scratch'>),
    // WebAssembly returns sizes as signed numbers.
    scratch: (bytes) => scratch(bytes >>> 0),
  };
}
