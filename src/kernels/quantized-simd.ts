/** Products with quantised weights on the CPU device. */
import type { SimdModule, SimdView } from '../device/types.js';
import { NF4, type QuantizedParams } from './quantized.js';

/** The values of NF4 in the module's memory. */
function codesOf(module: SimdModule): number {
  const codes = module.scratch(64);
  NF4.forEach((value, i) => module.storeF32(codes + i * 4, value));
  return codes;
}

/** y[rows, out] = x[rows, in] · Wᵀ, or dx[rows, in] = g[rows, out] · W where `transposed`. */
export function quantizedSimd(transposed: boolean) {
  return (
    module: SimdModule,
    [x, w, s]: readonly SimdView[],
    [y]: readonly SimdView[],
    { scheme, block, in: k, out: n }: QuantizedParams,
  ): boolean => {
    if (x.dtype !== 'float32' || s.dtype !== 'float32') return false;
    const rows = x.shape.slice(0, -1).reduce((count, size) => count * size, 1);
    const words = k / (scheme === 'int8' ? 4 : 8);
    const scratch = module.threadScratch(module.quantizedScratchBytes(k));
    const weights = [w.pointer, words, s.pointer, k / block, block] as const;
    if (transposed) {
      const product = [rows, n, k, 0, k, x.pointer, n, ...weights] as const;
      if (scheme === 'int8') module.matmulTransposedInt8(...product, y.pointer, k, scratch);
      else module.matmulTransposedNF4(...product, codesOf(module), y.pointer, k, scratch);
    } else {
      const product = [rows, n, k, x.pointer, k, ...weights] as const;
      if (scheme === 'int8') module.matmulInt8(...product, y.pointer, n, scratch);
      else module.matmulNF4(...product, codesOf(module), y.pointer, n, scratch);
    }
    return true;
  };
}
