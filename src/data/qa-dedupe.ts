/** Finds texts that say the same: exactly, once written alike, or nearly, by their shingles. */
import { DataError } from '../device/errors.js';
import { BandIndex, characterShingles, jaccard, minHash } from './minhash.js';
import { questionKey } from './qa-split.js';

/** Characters per shingle: long enough that most are particular to a text, short enough for one changed word to leave most. */
const SHINGLE = 5;
/**
 * Short questions that differ in one telling word ("my wife", "my husband") have a similarity of about 0.45, different posts
 * on one topic at most 0.3, and a post with some words changed 0.65 and more.
 */
const NEAR = 0.6;

export interface DedupeOptions {
  /** Jaccard similarity of shingles from which two texts count as one; 0.6 by default, 1 for exact duplicates only. */
  threshold?: number;
}

/** A text that another one before it makes needless. */
export interface Duplicate {
  /** Its index in the given texts. */
  readonly index: number;
  /** The index of the kept text that it repeats. */
  readonly of: number;
  /** 'exact': the same letters and digits; 'near': as similar as the threshold asks. */
  readonly reason: 'exact' | 'near';
  /** Jaccard similarity of the two, 1 for exact ones. */
  readonly similarity: number;
}

/**
 * Keeps the first of texts that say the same.
 *
 * Texts are compared in lower case, by letters and digits only. Equal ones are exact duplicates. Near ones have the Jaccard
 * similarity |A ∩ B| / |A ∪ B| ≥ threshold, A and B their sets of 5 characters in a row. Candidates come from MinHash
 * signatures in bands, and each is then compared exactly: nothing is dropped by a guess, and a pair at the threshold is
 * missed once in a thousand times. Of texts in parts (a question and its answer) every part must be as similar: two answers to
 * one long question are no duplicates.
 * @returns indices of the kept texts, ascending, and what was dropped for which of them
 * @throws DataError for a threshold outside (0, 1]
 * @source A. Broder, "On the resemblance and containment of documents" (1997)
 */
export function dedupeTexts(
  texts: readonly (string | readonly string[])[],
  { threshold = NEAR }: DedupeOptions = {},
): { kept: number[]; dropped: Duplicate[] } {
  if (!(threshold > 0 && threshold <= 1)) {
    throw new DataError(`dedupeTexts: expected a threshold above 0 and at most 1, got ${threshold}`);
  }
  const kept: number[] = [];
  const dropped: Duplicate[] = [];
  const firsts = new Map<string, Omit<Duplicate, 'index'>>();
  const sets = new Map<number, ReadonlySet<number>[]>();
  const index = new BandIndex(threshold);
  for (const [i, text] of texts.entries()) {
    const keys = [text].flat().map(questionKey);
    const key = keys.join('\n');
    const first = firsts.get(key);
    if (first !== undefined) {
      dropped.push({ index: i, ...first });
      continue;
    }
    const shingles = keys.map(shingleSet);
    let near: Duplicate | null = null;
    if (threshold < 1) {
      const bands = index.bands(minHash(shingles.at(-1)!));
      for (const candidate of index.candidates(bands)) {
        const similarity = similarityOf(shingles, sets.get(candidate)!);
        if (similarity >= threshold && similarity > (near?.similarity ?? 0)) {
          near = { index: i, of: candidate, reason: 'near', similarity };
        }
      }
      if (near === null) index.add(i, bands);
    }
    if (near !== null) {
      dropped.push(near);
      // Who repeats a dropped text exactly is as near to the kept one.
      firsts.set(key, { of: near.of, reason: 'near', similarity: near.similarity });
      continue;
    }
    firsts.set(key, { of: i, reason: 'exact', similarity: 1 });
    sets.set(i, shingles);
    kept.push(i);
  }
  return { kept, dropped };
}

/** Hashes of all runs of 5 characters; of the whole text where it is shorter. */
export function shingleSet(text: string): ReadonlySet<number> {
  return characterShingles(text, SHINGLE);
}

/** The least of the parts' similarities. */
function similarityOf(a: readonly ReadonlySet<number>[], b: readonly ReadonlySet<number>[]): number {
  return Math.min(...a.map((part, i) => jaccard(part, b[i])));
}
