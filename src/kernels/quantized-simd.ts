/** Products with quantised weights on the CPU device. */
import type { SimdModule, SimdView } from '../device/types.js';
import { NF4, type QuantizedLinearParams, type QuantizedParams } from './quantized.js';

/** The values of NF4 in the module's memory. */
function codesOf(module: SimdModule): number {
  const codes = module.scratch(64);
  NF4.forEach((value, i) => module.storeF32(codes + i * 4, value));
  return codes;
}

/** Scales as floats; they are few beside the codes. */
function scalesOf(module: SimdModule, scales: SimdView, groups: SimdView, count: number): number {
  const target = module.scratch(count * 4);
  module.decodeScales(count, scales.pointer, groups.pointer, target);
  return target;
}

/** y[rows, out] = x[rows, in] · Wᵀ + bias + residual, or dx[rows, in] = g[rows, out] · W where `transposed`. */
export function quantizedSimd(transposed: boolean) {
  return (
    module: SimdModule,
    [x, w, s, ...more]: readonly SimdView[],
    [y]: readonly SimdView[],
    {
      scheme,
      block,
      in: k,
      out: n,
      double,
      bias,
      residual,
    }: QuantizedParams & Partial<QuantizedLinearParams>,
  ): boolean => {
    const floats = [x, y, ...more];
    if (!double) floats.push(s);
    if (floats.some((view) => view.dtype !== 'float32')) return false;
    const rows = x.shape.slice(0, -1).reduce((count, size) => count * size, 1);
    const words = k / (scheme === 'int8' ? 4 : 8);
    const scratch = module.threadScratch(module.quantizedScratchBytes(k));
    const scales = double ? scalesOf(module, s, more[0], (n * k) / block) : s.pointer;
    const weights = [w.pointer, words, scales, k / block, block] as const;
    if (transposed) {
      const product = [rows, n, k, 0, k, x.pointer, n, ...weights] as const;
      if (scheme === 'int8') module.matmulTransposedInt8(...product, y.pointer, k, scratch);
      else module.matmulTransposedNF4(...product, codesOf(module), y.pointer, k, scratch);
      return true;
    }
    const product = [rows, n, k, x.pointer, k, ...weights] as const;
    if (scheme === 'int8') module.matmulInt8(...product, y.pointer, n, scratch);
    else module.matmulNF4(...product, codesOf(module), y.pointer, n, scratch);
    const rest = more.slice(double ? 1 : 0);
    if (bias) module.add(rows, n, y.pointer, n, 1, rest.shift()!.pointer, 0, 1, y.pointer);
    if (residual) {
      const count = rows * n;
      module.add(1, count, y.pointer, count, 1, rest.shift()!.pointer, count, 1, y.pointer);
    }
    return true;
  };
}
