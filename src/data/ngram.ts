/**
 * Count models: the honest baselines that a trained language model must beat.
 *
 * Both smooth by adding k to every count (Lidstone), because one unseen token would make the loss infinite. A k chosen by
 * hand would flatter the network whenever it is chosen badly, so k is fitted: the last tenth of the *training* part
 * picks the best of a grid, then the counts are taken over the whole training part. Nothing sees the validation part.
 */
import { DataError } from '../device/errors.js';

/** Candidates for k, half a decade apart. */
const GRID = [1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1, 3, 10];
/** Share of the training part that chooses k. */
const HELD_OUT = 0.1;

/** Options of the count models. */
export interface NgramOptions {
  /** The number added to each count; fitted on the training part by default. */
  k?: number;
}

/**
 * Cross-entropy of the unigram model p(x) = (c(x) + k) / (N + kV), in nats per token.
 * @param train ids whose counts are the model
 * @param validation ids to predict, all but the first, which the bigram model cannot predict either
 * @param vocabularySize V
 * @throws DataError when there are too few ids, or one outside the vocabulary
 */
export function unigramLoss(
  train: Int32Array,
  validation: Int32Array,
  vocabularySize: number,
  options: NgramOptions = {},
): number {
  return fittedLoss('unigramLoss', train, validation, vocabularySize, options, () => 0);
}

/**
 * Cross-entropy of the bigram model p(x | w) = (c(w, x) + k) / (c(w) + kV), in nats per token.
 * @param train ids whose counts are the model
 * @param validation ids to predict, each from the one before it
 * @param vocabularySize V
 * @throws DataError when there are too few ids, or one outside the vocabulary
 */
export function bigramLoss(
  train: Int32Array,
  validation: Int32Array,
  vocabularySize: number,
  options: NgramOptions = {},
): number {
  return fittedLoss('bigramLoss', train, validation, vocabularySize, options, (previous) => previous);
}

/** What a prediction may depend on, given the token before. */
type Context = (previous: number) => number;

interface Counts {
  /** By context · V + token. */
  pairs: Map<number, number>;
  contexts: Map<number, number>;
  total: number;
}

function fittedLoss(
  name: string,
  train: Int32Array,
  validation: Int32Array,
  size: number,
  { k }: NgramOptions,
  context: Context,
): number {
  check(name, 'training', train, size);
  check(name, 'validation', validation, size);
  if (k !== undefined && !(k > 0)) throw new DataError(`${name}: expected k above 0, got ${k}`);
  const chosen = k ?? fitK(train, size, context);
  return loss(count(train, size, context), count(validation, size, context), size, chosen);
}

function fitK(train: Int32Array, size: number, context: Context): number {
  const cut = Math.floor(train.length * (1 - HELD_OUT));
  // Both slices need a pair of tokens; with less text than that every k is as good.
  if (cut < 2 || train.length - cut < 2) return 1;
  const model = count(train.subarray(0, cut), size, context);
  const heldOut = count(train.subarray(cut), size, context);
  const losses = GRID.map((k) => loss(model, heldOut, size, k));
  return GRID[losses.indexOf(Math.min(...losses))];
}

function count(ids: Int32Array, size: number, context: Context): Counts {
  const pairs = new Map<number, number>();
  const contexts = new Map<number, number>();
  for (let i = 1; i < ids.length; i++) {
    const before = context(ids[i - 1]);
    const pair = before * size + ids[i];
    pairs.set(pair, (pairs.get(pair) ?? 0) + 1);
    contexts.set(before, (contexts.get(before) ?? 0) + 1);
  }
  return { pairs, contexts, total: ids.length - 1 };
}

function loss(model: Counts, data: Counts, size: number, k: number): number {
  let sum = 0;
  for (const [pair, times] of data.pairs) {
    const seen = model.pairs.get(pair) ?? 0;
    const before = model.contexts.get(Math.floor(pair / size)) ?? 0;
    sum -= times * Math.log((seen + k) / (before + k * size));
  }
  return sum / data.total;
}

function check(name: string, part: string, ids: Int32Array, size: number): void {
  if (ids.length < 2) throw new DataError(`${name}: expected at least 2 ${part} tokens, got ${ids.length}`);
  const at = ids.findIndex((id) => id < 0 || id >= size);
  if (at !== -1) {
    throw new DataError(
      `${name}: expected ${part} ids from 0 to ${size - 1}, got ${ids[at]} at position ${at}`,
    );
  }
}
