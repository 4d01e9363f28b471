/** Recurrent layers on the host: the steps of whole sequences around a cell; see recurrent-scan.ts for symbols and layouts. */
import type { HostArray } from '../device/types.js';
import { type ScanParams, scanOf } from './recurrent-scan.js';
import type { ScanCell } from './recurrent-text.js';

export type Data = HostArray['data'];

/** A strided host view of [B, H], or of a vector. */
export function stateAt({ data, offset, strides }: HostArray): (b: number, j: number) => number {
  const [row, col] = strides.length > 1 ? strides : [0, strides[0]];
  return (b, j) => data[offset + b * row + j * col];
}

/** Calls `visit` for every row with its recurrent sums W·h, in order; h is the last of the values kept. */
export function hostForward(
  { gates: G, acts: A }: ScanCell,
  [xp, h0, weight]: readonly HostArray[],
  [out, acts]: readonly HostArray[],
  params: ScanParams,
  visit: (b: number, row: number, sums: Float64Array, isFirst: boolean) => void,
): void {
  const { B, T, H, first, rowB, rowT } = scanOf(xp.shape, G, params);
  const [W, K, O] = [weight.data, acts.data, out.data];
  const sums = new Float64Array(G * H);
  const initial = stateAt(h0);
  for (let b = 0; b < B; b++) {
    for (let s = 0; s < T; s++) {
      const row = first + b * rowB + s * rowT;
      const before = (row * A + A - 1) * H;
      for (let j = 0; j < H; j++) K[before + j] = s === 0 ? initial(b, j) : O[(row - rowT) * H + j];
      for (let i = 0; i < G * H; i++) {
        let sum = 0;
        let w = weight.offset + i * H;
        for (let k = 0; k < H; k++) sum += W[w++] * K[before + k];
        sums[i] = sum;
      }
      visit(b, row, sums, s === 0);
    }
  }
}

/**
 * Calls `visit` for every row, the last step first, with the gradient of its h: that of `out` and that of the step after.
 * `visit` stores the gradients of the gates in `gates`. In the end dh has the gradients of h0.
 */
export function hostBackward(
  { gates: G }: ScanCell,
  gh: HostArray,
  weight: HostArray,
  [gates, dh]: readonly HostArray[],
  params: ScanParams,
  visit: (b: number, row: number, d: Float64Array, isLast: boolean, before: number) => void,
): void {
  const { B, T, H, first, rowB, rowT } = scanOf(gh.shape, 1, params);
  const [W, D] = [weight.data, gates.data];
  const d = new Float64Array(H);
  for (let b = 0; b < B; b++) {
    d.fill(0);
    dh.data.fill(0, b * H, (b + 1) * H);
    for (let s = T - 1; s >= 0; s--) {
      const row = first + b * rowB + s * rowT;
      for (let j = 0; j < H; j++) d[j] += gh.data[gh.offset + row * H + j];
      visit(b, row, d, s === T - 1, s === 0 ? -1 : row - rowT);
      d.fill(0);
      for (let i = 0; i < G * H; i++) {
        const x = D[row * G * H + i];
        let w = weight.offset + i * H;
        for (let j = 0; j < H; j++) d[j] += x * W[w++];
      }
      // What bypasses the recurrent product was left in dh by `visit`.
      for (let j = 0; j < H; j++) d[j] += dh.data[b * H + j];
    }
    for (let j = 0; j < H; j++) dh.data[b * H + j] = d[j];
  }
}

/** tanh through one exponential: twice as fast as Math.tanh, and as exact where the result is not tiny. */
export function tanh(x: number): number {
  return Math.abs(x) < 0.1 ? Math.tanh(x) : 1 - 2 / (Math.exp(2 * x) + 1);
}
