/** Sequences of different lengths in one tensor without padding, as recurrent layers take them. */
import { reshape } from '../autograd/ops/broadcast.js';
import { zeros } from '../autograd/ops/creation.js';
import { indexAdd, indexSelect } from '../autograd/ops/index.js';
import { cat } from '../autograd/ops/join.js';
import { maskedFill } from '../autograd/ops/select.js';
import { DataError, DTypeError, ShapeError } from '../device/errors.js';
import { tensor } from '../tensor/factories.js';
import { formatShape, sameShape } from '../tensor/shape.js';
import type { Tensor } from '../tensor/tensor.js';

/**
 * Sequences in order of falling length, step by step: first the first steps of all of them, then the second steps of those
 * that have one. Plain data beside one tensor, so that scopes and checkpoints see it.
 *
 * @source torch.nn.utils.rnn.PackedSequence
 */
export interface PackedSequence {
  /** [sum of lengths, ...] */
  readonly data: Tensor;
  /** Sequences that have a step t, for each t; never rising. */
  readonly batchSizes: readonly number[];
  /** Which of the caller's sequences is the k-th longest. */
  readonly sortedIndices: readonly number[];
  /** Where each of the caller's sequences is in that order. */
  readonly unsortedIndices: readonly number[];
}

export interface PackOptions {
  /** Input is [B, T, ...] instead of [T, B, ...]; default false. */
  readonly batchFirst?: boolean;
  /** Refuse lengths that are not in falling order; default true, as in PyTorch. */
  readonly enforceSorted?: boolean;
}

export interface PadOptions {
  /** Output is [B, T, ...] instead of [T, B, ...]; default false. */
  readonly batchFirst?: boolean;
  /** What stands beyond the end of a sequence; default 0. */
  readonly paddingValue?: number;
}

/** Whether an input is packed. */
export function isPacked(x: Tensor | PackedSequence): x is PackedSequence {
  return 'batchSizes' in x;
}

/**
 * Takes the steps of padded sequences without their padding, which may hold anything: it is not read and gets gradients of 0.
 *
 * @param input [T, B, ...], or [B, T, ...] where batchFirst
 * @param lengths of the B sequences, from 1 to T
 * @throws DataError for lengths that do not fit, or unsorted ones where order is enforced
 * @source torch.nn.utils.rnn.pack_padded_sequence
 */
export function packPaddedSequence(
  input: Tensor,
  lengths: ArrayLike<number>,
  { batchFirst = false, enforceSorted = true }: PackOptions = {},
): PackedSequence {
  const op = 'packPaddedSequence';
  if (input.ndim < 2)
    throw new ShapeError(
      `${op}: expected [${batchFirst ? 'B, T' : 'T, B'}, ...], got ${formatShape(input.shape)}`,
    );
  const [B, T] = batchFirst ? input.shape : [input.shape[1], input.shape[0]];
  if (lengths.length !== B)
    throw new DataError(`${op}: expected ${B} lengths, one per sequence, got ${lengths.length}`);
  const order = orderOf(op, lengths, T, enforceSorted);
  const rows = rowsOf(order, placeOf(B, T, { batchFirst }));
  const flat = reshape(input, [B * T, ...input.shape.slice(2)]);
  return { data: pick(flat, rows), ...order };
}

/**
 * Packs sequences of different lengths.
 *
 * @param sequences each [length, ...], alike but for the length
 * @throws DataError for no sequence or an empty one, or unsorted ones where order is enforced; ShapeError, DTypeError where they
 *   differ
 * @source torch.nn.utils.rnn.pack_sequence
 */
export function packSequence(
  sequences: readonly Tensor[],
  { enforceSorted = true }: Pick<PackOptions, 'enforceSorted'> = {},
): PackedSequence {
  const op = 'packSequence';
  const lengths = lengthsOf(op, sequences);
  const order = orderOf(op, lengths, Infinity, enforceSorted);
  const starts = startsOf(lengths);
  return {
    data: pick(
      cat([...sequences], 0),
      rowsOf(order, (b, t) => starts[b] + t),
    ),
    ...order,
  };
}

/**
 * Puts packed sequences back beside each other, in the caller's order.
 *
 * @param options `totalLength`: T, by default the longest sequence's length
 * @returns the padded sequences, [T, B, ...] or [B, T, ...], and their lengths
 * @throws DataError for a totalLength shorter than the longest sequence
 * @source torch.nn.utils.rnn.pad_packed_sequence
 */
export function padPackedSequence(
  { data, ...order }: PackedSequence,
  options: PadOptions & { readonly totalLength?: number } = {},
): [Tensor, number[]] {
  const lengths = packedLengths(order);
  const longest = order.batchSizes.length;
  const { totalLength = longest } = options;
  if (!Number.isInteger(totalLength) || totalLength < longest) {
    throw new DataError(
      `padPackedSequence: expected totalLength of at least ${longest}, the longest sequence's length, got ${totalLength}`,
    );
  }
  const place = placeOf(lengths.length, totalLength, options);
  return [spread(data, rowsOf(order, place), lengths, totalLength, options), lengths];
}

/**
 * Puts sequences of different lengths beside each other.
 *
 * @param sequences each [length, ...], alike but for the length
 * @returns [T, B, ...], or [B, T, ...] where batchFirst, T being the longest one's length
 * @throws DataError for no sequence or an empty one; ShapeError, DTypeError where they differ
 * @source torch.nn.utils.rnn.pad_sequence
 */
export function padSequence(sequences: readonly Tensor[], options: PadOptions = {}): Tensor {
  const lengths = lengthsOf('padSequence', sequences);
  const T = orderOf('padSequence', lengths, Infinity, false).batchSizes.length;
  const place = placeOf(lengths.length, T, options);
  const rows = lengths.flatMap((n, b) => Array.from({ length: n }, (_, t) => place(b, t)));
  return spread(cat([...sequences], 0), Int32Array.from(rows), lengths, T, options);
}

type Order = Omit<PackedSequence, 'data'>;

/** Lengths of packed sequences, in the caller's order. */
export function packedLengths({ batchSizes, unsortedIndices }: Order): number[] {
  return unsortedIndices.map((k) => {
    let length = 0;
    while (length < batchSizes.length && batchSizes[length] > k) length++;
    return length;
  });
}

function orderOf(op: string, lengths: ArrayLike<number>, most: number, enforceSorted: boolean): Order {
  const all = Array.from(lengths);
  const odd = all.findIndex((n) => !Number.isInteger(n) || n < 1 || n > most);
  if (all.length === 0) throw new DataError(`${op}: expected at least one sequence, got none`);
  if (odd >= 0) {
    const range = most === Infinity ? 'at least 1' : `1 to ${most}`;
    throw new DataError(`${op}: expected lengths of ${range}, got ${all[odd]} for sequence ${odd}`);
  }
  const rise = all.findIndex((n, i) => i > 0 && n > all[i - 1]);
  if (enforceSorted && rise > 0) {
    throw new DataError(
      `${op}: expected lengths in falling order, got ${all[rise]} after ${all[rise - 1]} for sequence ${rise}; sort the batch, or pass enforceSorted: false`,
    );
  }
  const sortedIndices = all.map((_, i) => i).sort((a, b) => all[b] - all[a] || a - b);
  const unsortedIndices = new Array<number>(all.length);
  sortedIndices.forEach((b, k) => {
    unsortedIndices[b] = k;
  });
  const batchSizes = Array.from({ length: all[sortedIndices[0]] }, (_, t) => all.filter((n) => n > t).length);
  return { batchSizes, sortedIndices, unsortedIndices };
}

/** The row of each packed step, by its sequence and time. */
function rowsOf({ batchSizes, sortedIndices }: Order, row: (b: number, t: number) => number): Int32Array {
  return Int32Array.from(
    batchSizes.flatMap((count, t) => sortedIndices.slice(0, count).map((b) => row(b, t))),
  );
}

function pick(x: Tensor, rows: Int32Array): Tensor {
  return indexSelect(x, 0, tensor(rows, { device: x.device }));
}

/** The row of a step among those of all padded sequences. */
function placeOf(B: number, T: number, { batchFirst = false }: PadOptions): (b: number, t: number) => number {
  return (b, t) => (batchFirst ? b * T + t : t * B + b);
}

/** Steps in their rows among padding. */
function spread(
  data: Tensor,
  rows: Int32Array,
  lengths: readonly number[],
  T: number,
  options: PadOptions,
): Tensor {
  const B = lengths.length;
  const { dtype, device } = data;
  const { batchFirst = false, paddingValue = 0 } = options;
  const rest = data.shape.slice(1);
  const empty = zeros([B * T, ...rest], { dtype, device });
  let flat = indexAdd(empty, 0, tensor(rows, { device }), data);
  if (paddingValue !== 0) {
    const mask = new Uint8Array(B * T).fill(1);
    for (const row of rows) mask[row] = 0;
    const shape = [B * T, ...rest.map(() => 1)];
    flat = maskedFill(flat, tensor(mask, { shape, dtype: 'bool', device }), paddingValue);
  }
  return reshape(flat, [...(batchFirst ? [B, T] : [T, B]), ...rest]);
}

function lengthsOf(op: string, sequences: readonly Tensor[]): number[] {
  sequences.forEach((s, i) => {
    const [first] = sequences;
    if (s.ndim < 1 || !sameShape(s.shape.slice(1), first.shape.slice(1))) {
      throw new ShapeError(
        `${op}: expected sequences [length, ...] alike but for the length, got ${formatShape(s.shape)} for sequence ${i} and ${formatShape(first.shape)} for sequence 0`,
      );
    }
    if (s.dtype !== first.dtype)
      throw new DTypeError(`${op}: expected one dtype, got ${s.dtype} and ${first.dtype}`);
  });
  return sequences.map((s) => s.shape[0]);
}

function startsOf(lengths: readonly number[]): number[] {
  let at = 0;
  return lengths.map((n) => (at += n) - n);
}
