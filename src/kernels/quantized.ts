/**
 * Access pattern: matrix products with weights of 8 or 4 bits in blocks with a scale each, made floats inside the product.
 *
 * W is [out, in]: words [out, in / (codes per word)], and scales [out, in / block], the largest magnitude of each block. A code
 * of `int8` stands for q / 127; one of `nf4` for one of 16 values that a standard normal variable takes equally often
 * (Dettmers et al. 2023, appendix E). Byte by byte the words hold int8 codes in order, or two nf4 codes each, the first
 * in the high half, as bitsandbytes stores them.
 *
 * Scales may be quantised themselves (double quantisation): words of int8 codes q, each of which stands for mean + q /
 * 127 · the scale
 * of its group of 256, and the floats [1 + groups]: the mean of all scales, then the groups' scales.
 */
import type { HostArray } from '../device/types.js';
import { indexError } from './gather.js';

export type QuantizedScheme = 'int8' | 'nf4';

export interface QuantizedParams {
  readonly scheme: QuantizedScheme;
  /** Weights per scale: a multiple of 16 that divides `in`. */
  readonly block: number;
  readonly in: number;
  readonly out: number;
  /** Scales are codes, and one more input says what they stand for. */
  readonly double: boolean;
}

/** Products with a bias or a residual behind the inputs: both are added to the result. */
export interface QuantizedLinearParams extends QuantizedParams {
  readonly bias: boolean;
  readonly residual: boolean;
}

/** Scales that share a scale, where they are quantised themselves. Source: Dettmers et al. (2023), QLoRA, section 3. */
export const GROUP = 256;

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

/** Halfway between the codes i and i + 1 of NF4. */
const MIDDLES = Float64Array.from({ length: 15 }, (_, i) => (NF4[i] + NF4[i + 1]) / 2);

/** The code of NF4 nearest to a value in [−1, 1]; NaN gets that of 0. */
function nearestCode(value: number): number {
  if (Number.isNaN(value)) return 7;
  let code = value > MIDDLES[7] ? 8 : 0;
  if (value > MIDDLES[code + 3]) code += 4;
  if (value > MIDDLES[code + 1]) code += 2;
  return value > MIDDLES[code] ? code + 1 : code;
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
  const words = new Uint32Array(data.length / codesPerWord(scheme));
  const bytes = new Uint8Array(words.buffer);
  const scales = new Float32Array(data.length / block);
  for (let b = 0; b < scales.length; b++) {
    const [start, end] = [b * block, (b + 1) * block];
    let most = 0;
    for (let i = start; i < end; i++) most = Math.max(most, Math.abs(data[i]));
    scales[b] = most;
    const factor = most > 0 ? 1 / most : 0;
    if (scheme === 'int8') {
      for (let i = start; i < end; i++) bytes[i] = Math.round(data[i] * factor * 127);
    } else {
      for (let i = start; i < end; i += 2) {
        bytes[i >> 1] = (nearestCode(data[i] * factor) << 4) | nearestCode(data[i + 1] * factor);
      }
    }
  }
  return { words, scales };
}

/** Packed scales on the host. */
export interface PackedScales {
  readonly words: Uint32Array;
  readonly groups: Float32Array;
}

/** Quantises scales: their distances from their mean, relative to the largest of each group. */
export function packScales(scales: Float32Array): PackedScales {
  const count = Math.ceil(scales.length / GROUP);
  const words = new Uint32Array(Math.ceil(scales.length / 4));
  const groups = new Float32Array(1 + count);
  let sum = 0;
  for (const scale of scales) sum += scale;
  groups[0] = scales.length > 0 ? sum / scales.length : 0;
  const middle = groups[0];
  for (let g = 0; g < count; g++) {
    const end = Math.min((g + 1) * GROUP, scales.length);
    let most = 0;
    for (let i = g * GROUP; i < end; i++) most = Math.max(most, Math.abs(scales[i] - middle));
    groups[1 + g] = most;
    const factor = most > 0 ? 127 / most : 0;
    for (let i = g * GROUP; i < end; i++) {
      const code = Math.max(-127, Math.min(127, Math.round((scales[i] - middle) * factor)));
      words[i >> 2] |= (code & 255) << (8 * (i & 3));
    }
  }
  return { words, groups };
}

/** Scale i: a float, or what its code stands for. */
function scaleAt(scales: HostArray, groups: HostArray | null, i: number): number {
  if (!groups) return scales.data[scales.offset + i];
  const code = (scales.data[scales.offset + (i >> 2)] << (24 - 8 * (i & 3))) >> 24;
  const { data, offset } = groups;
  return data[offset] + (data[offset + 1 + Math.floor(i / GROUP)] * code) / 127;
}

/** The inputs behind the first ones: those of the groups, bias and residual, as far as they are there. */
function optional(
  inputs: readonly HostArray[],
  from: number,
  present: readonly boolean[],
): (HostArray | null)[] {
  let at = from;
  return present.map((is) => (is ? inputs[at++] : null));
}

/** Where code i of a word begins. */
function shiftOf(scheme: QuantizedScheme, i: number): number {
  return scheme === 'int8' ? 8 * i : 8 * (i >> 1) + (i % 2 === 0 ? 4 : 0);
}

/** The codes of row j, as values times their scales. */
function decodeRow(
  words: HostArray,
  scales: HostArray,
  groups: HostArray | null,
  j: number,
  { scheme, block, in: width }: QuantizedParams,
  row: Float64Array,
): void {
  const per = codesPerWord(scheme);
  const first = words.offset + (j * width) / per;
  let scale = 0;
  for (let p = 0; p < width; p++) {
    if (p % block === 0) scale = scaleAt(scales, groups, (j * width + p) / block);
    const word = words.data[first + Math.floor(p / per)];
    const bits = word >>> shiftOf(scheme, p % per);
    const code = scheme === 'int8' ? ((bits << 24) >> 24) / 127 : NF4[bits & 15];
    row[p] = code * scale;
  }
}

/** y[rows, out] = x[rows, in] · Wᵀ + bias + residual */
export function quantizedLinearHost(
  inputs: readonly HostArray[],
  [y]: readonly HostArray[],
  p: QuantizedLinearParams,
): void {
  const [x, words, scales] = inputs;
  const [groups, bias, residual] = optional(inputs, 3, [p.double, p.bias, p.residual]);
  const row = new Float64Array(p.in);
  const rows = x.shape.slice(0, -1).reduce((n, s) => n * s, 1);
  for (let j = 0; j < p.out; j++) {
    decodeRow(words, scales, groups, j, p, row);
    const start = bias ? bias.data[bias.offset + j] : 0;
    for (let r = 0; r < rows; r++) {
      const at = x.offset + r * p.in;
      let sum = start;
      for (let i = 0; i < p.in; i++) sum += x.data[at + i] * row[i];
      y.data[r * p.out + j] = residual ? sum + residual.data[residual.offset + r * p.out + j] : sum;
    }
  }
}

/** dx[rows, in] = g[rows, out] · W */
export function quantizedLinearBackwardHost(
  inputs: readonly HostArray[],
  [dx]: readonly HostArray[],
  p: QuantizedParams,
): void {
  const [g, words, scales] = inputs;
  const [groups] = optional(inputs, 3, [p.double]);
  const row = new Float64Array(p.in);
  const rows = g.shape.slice(0, -1).reduce((n, s) => n * s, 1);
  dx.data.fill(0, 0, rows * p.in);
  for (let j = 0; j < p.out; j++) {
    decodeRow(words, scales, groups, j, p, row);
    for (let r = 0; r < rows; r++) {
      const slope = g.data[g.offset + r * p.out + j];
      for (let i = 0; i < p.in; i++) dx.data[r * p.in + i] += slope * row[i];
    }
  }
}

/** W[out, in] as floats. */
export function dequantizeHost(
  inputs: readonly HostArray[],
  [w]: readonly HostArray[],
  p: QuantizedParams,
): void {
  const [words, scales] = inputs;
  const [groups] = optional(inputs, 2, [p.double]);
  const row = new Float64Array(p.in);
  for (let j = 0; j < p.out; j++) {
    decodeRow(words, scales, groups, j, p, row);
    w.data.set(row, j * p.in);
  }
}

/** y[…, in]: the rows of W that the index names. */
export function quantizedRowsHost(
  inputs: readonly HostArray[],
  [y]: readonly HostArray[],
  p: QuantizedParams,
): void {
  const [words, scales, index] = inputs;
  const [groups] = optional(inputs, 3, [p.double]);
  const row = new Float64Array(p.in);
  const count = index.shape.reduce((n, s) => n * s, 1);
  for (let i = 0; i < count; i++) {
    const pick = index.data[index.offset + i];
    if (pick < 0 || pick >= p.out) throw indexError('quantizedEmbedding', p.out, pick, i);
    decodeRow(words, scales, groups, pick, p, row);
    y.data.set(row, i * p.in);
  }
}
