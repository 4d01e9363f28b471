/**
 * Recurrent layers in the CPU device's WebAssembly functions: a call for a whole sequence of all, or of each thread's, rows
 * of the batch. See recurrent-scan.ts for symbols and layouts.
 */
import type { SimdModule, SimdView } from '../device/types.js';
import { type Scan, type ScanParams, scanOf } from './recurrent-scan.js';

type Simd = (
  module: SimdModule,
  inputs: readonly SimdView[],
  outputs: readonly SimdView[],
  params: ScanParams,
) => boolean;

/** Fewer rows than this read the weights as they are: packing them would take longer. */
const FEW_ROWS = 24;

/** The weights as the functions want them, or 0 where there is little to do; forward for W·h, else for Wᵀ·dgates. */
function pack(module: SimdModule, scan: Scan, gates: number, weight: SimdView, forward: boolean): number {
  const { B, T, H } = scan;
  if (B * T < FEW_ROWS) return 0;
  const columns = Math.ceil(gates / 2) * 2 * Math.ceil(H / 8) * 8;
  const target = module.scratch(columns * (H + 8) * 4);
  if (forward) module.recurrentPack(gates, H, weight.pointer, target);
  else module.recurrentPackBackward(gates, H, weight.pointer, target);
  return target;
}

/** Room for a tile's sums and two states, or the gradients of gates and what bypasses them, by groups of six rows. */
function scratch(module: SimdModule, { B, H }: Scan, gates: number): number {
  return module.threadScratch((96 + Math.ceil(B / 6) * 6 * (gates + 1) * H) * 4);
}

function state({ pointer, strides }: SimdView): [number, number, number] {
  return [pointer, strides[0], strides[1]];
}

type Steps = [number, number, number, number, number, number];

function steps({ B, T, H, first, rowB, rowT }: Scan): Steps {
  return [B, T, H, first, rowB, rowT];
}

export const lstmSimd: Simd = (module, [xp, h0, weight, c0], [out, acts, c], params) => {
  const scan = scanOf(out.shape, 1, params);
  const packed = pack(module, scan, 4, weight, true);
  const own = scratch(module, scan, 4);
  const [x, w, o, a] = [xp, weight, out, acts].map((v) => v.pointer);
  module.lstm(...steps(scan), x, ...state(h0), w, packed, ...state(c0), o, a, c.pointer, own);
  return true;
};

export const lstmBackwardSimd: Simd = (module, [gh, gc, acts, c0, weight], [dx, dh, dc], params) => {
  const scan = scanOf(gh.shape, 1, params);
  const packed = pack(module, scan, 4, weight, false);
  const own = scratch(module, scan, 4);
  const [g, a, w, x, h, c] = [gh, acts, weight, dx, dh, dc].map((v) => v.pointer);
  module.lstmBackward(...steps(scan), g, ...state(gc), a, ...state(c0), w, packed, x, h, c, own);
  return true;
};

export const gruSimd: Simd = (module, [xp, h0, weight, bias], [out, acts], params) => {
  const scan = scanOf(out.shape, 1, params);
  const packed = pack(module, scan, 3, weight, true);
  const own = scratch(module, scan, 3);
  let b = bias.pointer;
  if (bias.strides[0] !== 1) {
    b = module.scratch(scan.H * 12);
    module.copy(1, scan.H * 3, bias.pointer, 0, bias.strides[0], b);
  }
  const [x, w, o, a] = [xp, weight, out, acts].map((v) => v.pointer);
  module.gru(...steps(scan), x, ...state(h0), w, packed, b, o, a, own);
  return true;
};

export const gruBackwardSimd: Simd = (module, [gh, acts, weight], [dp, dh, dx], params) => {
  const scan = scanOf(gh.shape, 1, params);
  const packed = pack(module, scan, 3, weight, false);
  const own = scratch(module, scan, 3);
  const [g, a, w, p, h, x] = [gh, acts, weight, dp, dh, dx].map((v) => v.pointer);
  module.gruBackward(...steps(scan), g, a, w, packed, p, h, x, own);
  return true;
};

export function rnnSimd(relu: boolean): Simd {
  return (module, [xp, h0, weight], [out, acts], params) => {
    const scan = scanOf(out.shape, 1, params);
    const packed = pack(module, scan, 1, weight, true);
    const own = scratch(module, scan, 1);
    const [x, w, o, a] = [xp, weight, out, acts].map((v) => v.pointer);
    module.rnn(Number(relu), ...steps(scan), x, ...state(h0), w, packed, o, a, own);
    return true;
  };
}

export function rnnBackwardSimd(relu: boolean): Simd {
  return (module, [gh, states, weight], [dx, dh], params) => {
    const scan = scanOf(gh.shape, 1, params);
    const packed = pack(module, scan, 1, weight, false);
    const own = scratch(module, scan, 1);
    const [g, s, w, x, h] = [gh, states, weight, dx, dh].map((v) => v.pointer);
    module.rnnBackward(Number(relu), ...steps(scan), g, s, w, packed, x, h, own);
    return true;
  };
}
