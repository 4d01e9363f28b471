/**
 * Count models: the honest baselines that a trained language model must beat.
 *
 * An n-gram that training never saw must not make the loss infinite, so counts are smoothed, in one of two ways:
 * - 'add-k': p(x | w) = (c(w, x) + k) / (c(w) + kV) (Lidstone),
 * - 'interpolated': p(x | w) = (c(w, x) + b · p(x)) / (c(w) + b), with p(x) the unigram model, itself add-k. Stronger wherever
 *   the vocabulary is large, because an unseen pair of two frequent tokens stays likelier than one of two rare ones.
 *
 * A k or b chosen by hand would flatter the network whenever it is chosen badly, so both are fitted: by default the last tenth
 * of the *training* part picks the best of a grid, then the counts are taken over the whole training part. Nothing sees the
 * tokens that are scored.
 * @source D. MacKay, L. Peto, "A hierarchical Dirichlet language model" (1995), for the interpolation
 */
import { DataError } from '../device/errors.js';

/** Candidates for k, and for b, half a decade apart. */
const GRID = [1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1, 3, 10];
const WEIGHTS = [0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000, 10_000];
/** Share of the training part that chooses k and b. */
const HELD_OUT = 0.1;

/** Options of the count models. */
export interface NgramOptions {
  /** The number added to each count; fitted by default. */
  k?: number;
}

/** Options of a fitted count model. */
export interface NgramModelOptions extends NgramOptions {
  /** Tokens that a prediction sees: 0 (unigram) or 1 (bigram). 1 by default. */
  order?: 0 | 1;
  /** 'add-k' by default. */
  smoothing?: 'add-k' | 'interpolated';
  /** The weight b of the unigram model in 'interpolated'; fitted by default. */
  weight?: number;
  /** 0 where a token of the training part is context only and not counted; uint8 of its length. */
  mask?: Uint8Array;
  /** Ids that choose k and b, instead of the last tenth of the training part. */
  fit?: Int32Array;
}

/** Summed negative log-likelihood of tokens. */
export interface NatsSum {
  readonly nats: number;
  readonly count: number;
}

/** A unigram or bigram model with its smoothing fitted. */
export class NgramModel {
  private constructor(
    readonly size: number,
    readonly order: 0 | 1,
    readonly smoothing: 'add-k' | 'interpolated',
    /** The chosen k; that of the unigram model in 'interpolated'. */
    readonly k: number,
    /** The chosen b; 0 for 'add-k'. */
    readonly weight: number,
    private readonly model: Model,
  ) {}

  /**
   * Counts a training stream and fits the smoothing.
   * @param train ids whose counts are the model, int32 of shape [N]
   * @param size V, the size of the vocabulary
   * @throws DataError when there are too few ids, or one outside the vocabulary
   */
  static train(
    train: Int32Array,
    size: number,
    options: NgramModelOptions = {},
    name = 'NgramModel',
  ): NgramModel {
    const { order = 1, smoothing = 'add-k', k, weight, mask, fit } = options;
    check(name, 'training', train, size);
    if (fit !== undefined) check(name, 'fitting', fit, size);
    checkMask(name, train, mask);
    if (k !== undefined && !(k > 0)) throw new DataError(`${name}: expected k above 0, got ${k}`);
    if (weight !== undefined && !(weight > 0))
      throw new DataError(`${name}: expected weight above 0, got ${weight}`);
    const cut = Math.floor(train.length * (1 - HELD_OUT));
    const slice = (from: number, to?: number): Part => [train.subarray(from, to), mask?.subarray(from, to)];
    const whole: Part = [train, mask];
    const part = fit === undefined ? slice(0, cut) : whole;
    const heldOut: Part = fit === undefined ? slice(cut) : [fit, undefined];
    const counts = ([ids, mask]: Part, order: 0 | 1) => count(ids, size, order, mask);
    const best = (grid: readonly number[], order: 0 | 1, model: (x: number) => Model): number => {
      const data = counts(heldOut, order);
      // Both parts need a token to count; with less text than that every choice is as good.
      if (data.total === 0 || counts(part, 0).total === 0) return 1;
      const losses = grid.map((x) => loss(model(x), data, size).nats);
      return grid[losses.indexOf(Math.min(...losses))];
    };
    if (smoothing === 'add-k' || order === 0) {
      const fitted = once(() => counts(part, order));
      const chosen = k ?? best(GRID, order, (x) => addK(fitted(), x, size));
      return new NgramModel(size, order, smoothing, chosen, 0, addK(counts(whole, order), chosen, size));
    }
    const fittedBase = once(() => counts(part, 0));
    const fitted = once(() => counts(part, 1));
    const chosen = k ?? best(GRID, 0, (x) => addK(fittedBase(), x, size));
    const chosenWeight =
      weight ?? best(WEIGHTS, 1, (x) => interpolate(fitted(), addK(fittedBase(), chosen, size), x, size));
    const base = addK(counts(whole, 0), chosen, size);
    return new NgramModel(
      size,
      order,
      smoothing,
      chosen,
      chosenWeight,
      interpolate(counts(whole, 1), base, chosenWeight, size),
    );
  }

  /** p(token | previous). */
  probability(previous: number, token: number): number {
    return this.model(this.order === 0 ? 0 : previous, token);
  }

  /**
   * The negative log-likelihood of a stream, Σ −ln p(xᵢ | xᵢ₋₁), in nats; its first token is context only, as for a
   * network.
   * @param mask 0 where a token is not scored, uint8 of the stream's length
   * @throws DataError when there are too few ids, or one outside the vocabulary
   */
  score(ids: Int32Array, mask?: Uint8Array, name = 'NgramModel.score'): NatsSum {
    check(name, 'validation', ids, this.size);
    checkMask(name, ids, mask);
    return loss(this.model, count(ids, this.size, this.order, mask), this.size);
  }
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
  return fittedLoss('unigramLoss', train, validation, vocabularySize, { ...options, order: 0 });
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
  return fittedLoss('bigramLoss', train, validation, vocabularySize, { ...options, order: 1 });
}

function fittedLoss(
  name: string,
  train: Int32Array,
  validation: Int32Array,
  size: number,
  options: NgramModelOptions,
): number {
  const { nats, count } = NgramModel.train(train, size, options, name).score(validation, undefined, name);
  return nats / count;
}

/** p(token | context), a context being the token before, or 0 for all. */
type Model = (context: number, token: number) => number;

interface Counts {
  /** By context · V + token. */
  pairs: Map<number, number>;
  contexts: Map<number, number>;
  total: number;
}

function addK({ pairs, contexts }: Counts, k: number, size: number): Model {
  return (context, token) =>
    ((pairs.get(context * size + token) ?? 0) + k) / ((contexts.get(context) ?? 0) + k * size);
}

function interpolate({ pairs, contexts }: Counts, base: Model, weight: number, size: number): Model {
  return (context, token) =>
    ((pairs.get(context * size + token) ?? 0) + weight * base(0, token)) /
    ((contexts.get(context) ?? 0) + weight);
}

function count(ids: Int32Array, size: number, order: 0 | 1, mask?: Uint8Array): Counts {
  const pairs = new Map<number, number>();
  const contexts = new Map<number, number>();
  let total = 0;
  for (let i = 1; i < ids.length; i++) {
    if (mask?.[i] === 0) continue;
    const context = order === 0 ? 0 : ids[i - 1];
    const pair = context * size + ids[i];
    pairs.set(pair, (pairs.get(pair) ?? 0) + 1);
    contexts.set(context, (contexts.get(context) ?? 0) + 1);
    total++;
  }
  return { pairs, contexts, total };
}

function loss(model: Model, data: Counts, size: number): NatsSum {
  let nats = 0;
  for (const [pair, times] of data.pairs) {
    nats -= times * Math.log(model(Math.floor(pair / size), pair % size));
  }
  return { nats, count: data.total };
}

/** Ids, and which of them count. */
type Part = readonly [ids: Int32Array, mask: Uint8Array | undefined];

function checkMask(name: string, ids: Int32Array, mask?: Uint8Array): void {
  if (mask !== undefined && mask.length !== ids.length)
    throw new DataError(`${name}: expected a mask of ${ids.length} entries, got ${mask.length}`);
}

function once<T extends object>(make: () => T): () => T {
  let made: T | undefined;
  return () => (made ??= make());
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
