/** What is measured on text beside the loss: perplexities that compare, variety, repetition, lengths, count baselines. */
import { NgramModel } from '../data/ngram.js';
import type { MaskedTokens } from '../data/token-blocks.js';
import { DataError } from '../device/errors.js';

export { type LengthStatistics, lengthStatistics, percentile } from '../data/lengths.js';

/** A summed loss over a text, and how much text it was. */
export interface TextLoss {
  /** Σ −ln p over all tokens that count. */
  readonly nats: number;
  /** Tokens that count. */
  readonly tokens: number;
  /** Characters (UTF-16 code units) that those tokens stand for. */
  readonly characters?: number;
}

/** Losses and perplexities of a text. Those per character compare models with different tokenizers. */
export interface Perplexity {
  readonly natsPerToken: number;
  /** exp(nats / tokens). */
  readonly perplexity: number;
  /** NaN where the number of characters is not known, as are the next two. */
  readonly natsPerCharacter: number;
  /** nats / (characters · ln 2). */
  readonly bitsPerCharacter: number;
  /** exp(nats / characters). */
  readonly characterPerplexity: number;
}

/**
 * Perplexity exp(nats / n), per token and per character.
 * @throws DataError when no token counts
 */
export function perplexity({ nats, tokens, characters }: TextLoss): Perplexity {
  if (!(tokens > 0)) throw new DataError(`perplexity: expected at least one token, got ${tokens}`);
  const perCharacter = nats / (characters || Number.NaN);
  return {
    natsPerToken: nats / tokens,
    perplexity: Math.exp(nats / tokens),
    natsPerCharacter: perCharacter,
    bitsPerCharacter: perCharacter / Math.LN2,
    characterPerplexity: Math.exp(perCharacter),
  };
}

/** Token ids or words. */
export type TokenSequence = ArrayLike<number | string>;

/**
 * Distinct-n: different n-grams over all n-grams of all texts; 1 for no repetition at all. It falls as texts grow, so compare
 * texts of about the same amount.
 * @returns a share from 0 to 1; NaN where no text has n tokens
 * @source J. Li et al., "A diversity-promoting objective function for neural conversation models" (2016)
 */
export function distinctN(texts: readonly TokenSequence[], n: number): number {
  const seen = new Set<string>();
  let total = 0;
  for (const text of texts) {
    for (const gram of ngrams('distinctN', text, n)) {
      seen.add(gram);
      total++;
    }
  }
  return seen.size / total;
}

/**
 * seq-rep-n: the share of n-grams that came before in the same text, averaged over the texts that have any; 0 for no
 * repetition. A model that runs in circles gives nearly 1, people write about 0.01 at n = 4.
 * @returns a share from 0 to 1; NaN where no text has n tokens
 * @source S. Welleck et al., "Neural text generation with unlikelihood training" (2020)
 */
export function repetitionRate(texts: readonly TokenSequence[], n = 4): number {
  let sum = 0;
  let counted = 0;
  for (const text of texts) {
    const grams = [...ngrams('repetitionRate', text, n)];
    if (grams.length === 0) continue;
    sum += 1 - new Set(grams).size / grams.length;
    counted++;
  }
  return sum / counted;
}

function* ngrams(name: string, text: TokenSequence, n: number): Generator<string> {
  if (!Number.isInteger(n) || n < 1) throw new DataError(`${name}: expected n of at least 1, got ${n}`);
  for (let i = 0; i + n <= text.length; i++) {
    const gram: (number | string)[] = [];
    for (let j = i; j < i + n; j++) gram.push(text[j]);
    // A separator that no word holds.
    yield gram.join('\u0000');
  }
}

/** A count model's loss on a held-out stream. */
export interface CountBaseline extends TextLoss {
  readonly natsPerToken: number;
  readonly perplexity: number;
  /** How it was smoothed, in words. */
  readonly smoothing: string;
}

/** Baselines of counts. */
export interface CountBaselines {
  readonly unigram: CountBaseline;
  readonly bigram: CountBaseline;
}

/**
 * Unigram and bigram models of tokens, scored on the same targets as a network: those that the held-out mask counts. The
 * bigram model is interpolated with the unigram model, the strongest of its kind here; the smoothing is fitted on the last
 * tenth of the training stream.
 * @param train the training stream; tokens that do not count for the network are not counted here either
 * @param heldOut the stream to score, all but its first token
 * @param vocabularySize V
 */
export function tokenBaselines(
  train: MaskedTokens,
  heldOut: MaskedTokens,
  vocabularySize: number,
  characters?: number,
): CountBaselines {
  const score = (order: 0 | 1): CountBaseline => {
    const model = NgramModel.train(train.ids, vocabularySize, {
      order,
      mask: train.mask,
      smoothing: order === 0 ? 'add-k' : 'interpolated',
    });
    const { nats, count } = model.score(heldOut.ids, heldOut.mask);
    const smoothing =
      order === 0
        ? `add-k, k = ${model.k}`
        : `interpolated with unigram counts, weight ${model.weight} (k = ${model.k})`;
    const { natsPerToken, perplexity: value } = perplexity({ nats, tokens: count });
    return { nats, tokens: count, characters, natsPerToken, perplexity: value, smoothing };
  };
  return { unigram: score(0), bigram: score(1) };
}
