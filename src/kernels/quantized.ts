/**
 * Access pattern: matrix products with weights of 8 or 4 bits in blocks with a scale each, made floats inside the product.
 *
 * W is [out, in]: words [out, in / (codes per word)], and scales [out, in / block], the largest magnitude of each block. A code
 * of `int8` stands for q / 127; one of `nf4` for one of 16 values that a standard normal variable takes equally often
 * (Dettmers et al. 2023, appendix E). Byte by byte the words hold int8 codes in order, or two nf4 codes each, the first
 * in the high half, as bitsandbytes stores them.
 */
import type { HostArray } from '../device/types.js';

export type QuantizedScheme = 'int8' | 'nf4';

export interface QuantizedParams {
  readonly scheme: QuantizedScheme;
  /** Weights per scale: a multiple of 16 that divides `in`. */
  readonly block: number;
  readonly in: number;
  readonly out: number;
}

/** The values of the codes 0 … 15 of NF4. Source: Dettmers et al. (2023), QLoRA, appendix E. */
export const NF4: readonly number[] = [
  -1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
  -0.18477343022823334, -0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725,
  0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1,
];

/** Codes in a word. */
export function codesPerWord(scheme: QuantizedScheme): number {
  return scheme === 'int8' ? 4 : 8;
}

/** The code of NF4 nearest to a value in [−1, 1]; NaN gets that of 0. */
function nearestCode(value: number): number {
  if (Number.isNaN(value)) return 7;
  let code = 0;
  while (code < 15 && value > (NF4[code] + NF4[code + 1]) / 2) code++;
  return code;
}

/** Packed weights on the host. */
export interface PackedWeights {
  readonly words: Uint32Array;
  readonly scales: Float32Array;
}

/** Quantises rows of weights, block after block; blocks of zeros have the scale 0. */
export function packWeights(
  data: ArrayLike<number>,
  { scheme, block }: Pick<QuantizedParams, 'scheme' | 'block'>,
): PackedWeights {
  const per = codesPerWord(scheme);
  const words = new Uint32Array(data.length / per);
  const scales = new Float32Array(data.length / block);
  for (let b = 0; b < scales.length; b++) {
    let most = 0;
    for (let i = b * block; i < (b + 1) * block; i++) most = Math.max(most, Math.abs(data[i]));
    scales[b] = most;
    const factor = most > 0 ? 1 / most : 0;
    for (let i = b * block; i < (b + 1) * block; i++) {
      const value = data[i] * factor;
      const code = scheme === 'int8' ? Math.round(value * 127) & 255 : nearestCode(value);
      words[Math.floor(i / per)] |= code << shiftOf(scheme, i % per);
    }
  }
  return { words, scales };
}

/** Where code i of a word begins. */
function shiftOf(scheme: QuantizedScheme, i: number): number {
  return scheme === 'int8' ? 8 * i : 8 * (i >> 1) + (i % 2 === 0 ? 4 : 0);
}

/** The codes of row j, as values times their scales. */
function decodeRow(
  words: HostArray,
  scales: HostArray,
  j: number,
  { scheme, block, in: width }: QuantizedParams,
  row: Float64Array,
): void {
  const per = codesPerWord(scheme);
  const first = words.offset + (j * width) / per;
  const scaleAt = scales.offset + (j * width) / block;
  for (let p = 0; p < width; p++) {
    const word = words.data[first + Math.floor(p / per)];
    const bits = word >>> shiftOf(scheme, p % per);
    const code = scheme === 'int8' ? ((bits << 24) >> 24) / 127 : NF4[bits & 15];
    row[p] = code * scales.data[scaleAt + Math.floor(p / block)];
  }
}

/** y[rows, out] = x[rows, in] · Wᵀ */
export function quantizedLinearHost(
  [x, words, scales]: readonly HostArray[],
  [y]: readonly HostArray[],
  p: QuantizedParams,
): void {
  const row = new Float64Array(p.in);
  const rows = x.shape.slice(0, -1).reduce((n, s) => n * s, 1);
  for (let j = 0; j < p.out; j++) {
    decodeRow(words, scales, j, p, row);
    for (let r = 0; r < rows; r++) {
      const at = x.offset + r * p.in;
      let sum = 0;
      for (let i = 0; i < p.in; i++) sum += x.data[at + i] * row[i];
      y.data[r * p.out + j] = sum;
    }
  }
}

/** dx[rows, in] = g[rows, out] · W */
export function quantizedLinearBackwardHost(
  [g, words, scales]: readonly HostArray[],
  [dx]: readonly HostArray[],
  p: QuantizedParams,
): void {
  const row = new Float64Array(p.in);
  const rows = g.shape.slice(0, -1).reduce((n, s) => n * s, 1);
  dx.data.fill(0, 0, rows * p.in);
  for (let j = 0; j < p.out; j++) {
    decodeRow(words, scales, j, p, row);
    for (let r = 0; r < rows; r++) {
      const slope = g.data[g.offset + r * p.out + j];
      for (let i = 0; i < p.in; i++) dx.data[r * p.in + i] += slope * row[i];
    }
  }
}

/** W[out, in] as floats. */
export function dequantizeHost(
  [words, scales]: readonly HostArray[],
  [w]: readonly HostArray[],
  p: QuantizedParams,
): void {
  const row = new Float64Array(p.in);
  for (let j = 0; j < p.out; j++) {
    decodeRow(words, scales, j, p, row);
    for (let i = 0; i < p.in; i++) w.data[j * p.in + i] = row[i];
  }
}
