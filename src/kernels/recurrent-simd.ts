/**
 * The recurrent cells in the CPU device's WebAssembly functions, a handful of calls per step. What a cell keeps lies gate
 * by gate, so that every call walks contiguous memory; the symbols and layouts are those of recurrent-step.ts.
 */
import type { SimdModule, SimdView } from '../device/types.js';
import type { StepParams } from './recurrent-step.js';

/** Shorthands for arrays of n elements at byte addresses. */
function contiguous(module: SimdModule, n: number) {
  const binary =
    (name: 'add' | 'sub' | 'mul' | 'sigmoidBackward' | 'tanhBackward') =>
    (a: number, b: number, y: number): void =>
      module[name](1, n, a, 0, 1, b, 0, 1, y);
  return {
    add: binary('add'),
    sub: binary('sub'),
    mul: binary('mul'),
    sigmoidBackward: binary('sigmoidBackward'),
    tanhBackward: binary('tanhBackward'),
    tanh: (x: number, y: number): void => module.tanh(1, n, x, 0, 1, y),
  };
}

/** hp [B, GH] + xp [T, B, GH] at time t, for gates `from` to `to`, each into a contiguous [B, H] from address y on. */
function gateSums(
  module: SimdModule,
  [hp, xp]: readonly SimdView[],
  gates: number,
  t: number,
  [from, to]: readonly [number, number],
  y: number,
): void {
  const [B, columns] = hp.shape;
  const H = columns / gates;
  const [step, row, column] = xp.strides;
  for (let k = from; k < to; k++) {
    const h = hp.pointer + k * H * 4;
    const x = xp.pointer + (t * step + k * H * column) * 4;
    module.add(B, H, h, columns, 1, x, row, column, y + (k - from) * B * H * 4);
  }
}

/** Writes gates that lie one after the other, [G, B, H], as [B, GH]. */
function interleave(module: SimdModule, gates: number, B: number, H: number, from: number, y: number): void {
  for (let b = 0; b < B; b++) {
    module.copy(gates, H, from + b * H * 4, B * H, 1, y + b * gates * H * 4);
  }
}

type Step = (
  module: SimdModule,
  inputs: readonly SimdView[],
  outputs: readonly SimdView[],
  params: StepParams,
) => boolean;

export const lstmForwardSimd: Step = (module, inputs, [hs, cs, acts], { t, from, to }) => {
  const [B, H] = hs.shape.slice(1);
  const n = B * H;
  const unit = n * 4;
  const { add, mul, tanh } = contiguous(module, n);
  const i = acts.pointer + t * 4 * unit;
  const [f, g, o] = [i + unit, i + 2 * unit, i + 3 * unit];
  gateSums(module, inputs, 4, t, [0, 4], i);
  module.sigmoid(1, 2 * n, i, 0, 1, i);
  tanh(g, g);
  module.sigmoid(1, n, o, 0, 1, o);
  const c = cs.pointer + to * unit;
  const h = hs.pointer + to * unit;
  mul(f, cs.pointer + from * unit, c);
  mul(i, g, h);
  add(c, h, c);
  tanh(c, h);
  mul(o, h, h);
  return true;
};

export const lstmBackwardSimd: Step = (module, [gh, dh, acts, cs], [dx, carry], { t, from, to }) => {
  const [B, H] = cs.shape.slice(1);
  const n = B * H;
  const unit = n * 4;
  const { add, mul, sigmoidBackward, tanhBackward, tanh } = contiguous(module, n);
  const i = acts.pointer + t * 4 * unit;
  const [f, g, o] = [i + unit, i + 2 * unit, i + 3 * unit];
  const d = module.scratch(7 * unit);
  const [tc, dc] = [d + unit, d + 2 * unit];
  const [di, df, dg, d0] = [3, 4, 5, 6].map((k) => d + k * unit);
  const [step, row, column] = gh.strides;
  module.add(B, H, dh.pointer, H, 1, gh.pointer + t * step * 4, row, column, d);
  tanh(cs.pointer + to * unit, tc);
  mul(d, o, dc);
  tanhBackward(dc, tc, dc);
  add(dc, carry.pointer, dc);
  mul(dc, g, di);
  sigmoidBackward(di, i, di);
  mul(dc, cs.pointer + from * unit, df);
  sigmoidBackward(df, f, df);
  mul(dc, i, dg);
  tanhBackward(dg, g, dg);
  mul(d, tc, d0);
  sigmoidBackward(d0, o, d0);
  mul(dc, f, carry.pointer);
  interleave(module, 4, B, H, di, dx.pointer + t * 4 * unit);
  return true;
};

export const gruForwardSimd: Step = (module, inputs, [hs, acts], { t, from, to }) => {
  const [hp, xp, bias] = inputs;
  const [B, H] = hs.shape.slice(1);
  const n = B * H;
  const unit = n * 4;
  const { add, sub, mul, tanh } = contiguous(module, n);
  const r = acts.pointer + t * 4 * unit;
  const [z, c, q] = [r + unit, r + 2 * unit, r + 3 * unit];
  const withBias = (y: number, k: number) =>
    module.add(B, H, y, H, 1, bias.pointer + k * H * bias.strides[0] * 4, 0, bias.strides[0], y);
  gateSums(module, inputs, 3, t, [0, 2], r);
  withBias(r, 0);
  withBias(z, 1);
  module.sigmoid(1, 2 * n, r, 0, 1, r);
  const part = hp.pointer + 2 * H * 4;
  module.add(B, H, part, 3 * H, 1, bias.pointer + 2 * H * bias.strides[0] * 4, 0, bias.strides[0], q);
  mul(r, q, c);
  const [step, row, column] = xp.strides;
  module.add(B, H, c, H, 1, xp.pointer + (t * step + 2 * H * column) * 4, row, column, c);
  tanh(c, c);
  // (1 − z)·n + z·h = n + z·(h − n)
  const h = hs.pointer + to * unit;
  sub(hs.pointer + from * unit, c, h);
  mul(z, h, h);
  add(c, h, h);
  return true;
};

export const gruBackwardSimd: Step = (module, [gh, dh, acts, hs], [dx, dp, carry], { t, from }) => {
  const [B, H] = hs.shape.slice(1);
  const n = B * H;
  const unit = n * 4;
  const { add, sub, mul, sigmoidBackward, tanhBackward } = contiguous(module, n);
  const r = acts.pointer + t * 4 * unit;
  const [z, c, q] = [r + unit, r + 2 * unit, r + 3 * unit];
  const d = module.scratch(4 * unit);
  const [dr, dz, dn] = [d + unit, d + 2 * unit, d + 3 * unit];
  const [step, row, column] = gh.strides;
  module.add(B, H, dh.pointer, H, 1, gh.pointer + t * step * 4, row, column, d);
  add(d, carry.pointer, d);
  mul(d, z, carry.pointer);
  sub(d, carry.pointer, dn);
  tanhBackward(dn, c, dn);
  sub(hs.pointer + from * unit, c, dz);
  mul(dz, d, dz);
  sigmoidBackward(dz, z, dz);
  mul(dn, q, dr);
  sigmoidBackward(dr, r, dr);
  interleave(module, 3, B, H, dr, dx.pointer + t * 3 * unit);
  mul(dn, r, dn);
  interleave(module, 3, B, H, dr, dp.pointer + t * 3 * unit);
  return true;
};
