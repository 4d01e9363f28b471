/** Which words are typical of one class of texts. */

/** How often a word occurs, and in how many documents. */
export interface ClassCounts {
  /** Occurrences in texts of class 0 and of class 1. */
  readonly counts: readonly [number, number];
  /** Documents of both classes that hold it. */
  readonly documents: number;
}

/** A word and how far it belongs to class 1 rather than 0. */
export interface TypicalWord extends ClassCounts {
  readonly word: string;
  /** Difference of the log odds, class 1 against class 0. */
  readonly logOdds: number;
  /** That in standard errors: above about 2 it is more than chance, were words independent. */
  readonly z: number;
}

/** Options of `logOdds`. */
export interface LogOddsOptions {
  /** Words that the prior weighs, in all; 1,000 by default. More of them trust small counts less. */
  prior?: number;
  /** Leaves out words of fewer documents, such as the names in one of them; 3 by default. */
  minDocuments?: number;
}

/**
 * Log-odds ratio with an informative Dirichlet prior: each class is seen as its counts and `prior` words more, drawn like all
 * texts together, so that rare words need more than one occurrence and frequent ones more than a small difference.
 *
 * δ = ln((y₁ + α) / (n₁ + α₀ − y₁ − α)) − ln((y₀ + α) / (n₀ + α₀ − y₀ − α)), z = δ / √(1 / (y₁ + α) + 1 / (y₀ + α)),
 * α = α₀ · (y₀ + y₁) / (n₀ + n₁).
 * @returns all words of enough documents, those typical of class 1 first; none unless both classes have words
 * @source B. Monroe, M. Colaresi, K. Quinn, "Fightin' words" (2008), equations 15 to 22
 */
export function logOdds(
  words: ReadonlyMap<string, ClassCounts>,
  { prior = 1000, minDocuments = 3 }: LogOddsOptions = {},
): TypicalWord[] {
  const totals = [0, 0];
  for (const { counts } of words.values()) {
    totals[0] += counts[0];
    totals[1] += counts[1];
  }
  if (totals[0] === 0 || totals[1] === 0) return [];
  const found: TypicalWord[] = [];
  for (const [word, { counts, documents }] of words) {
    if (documents < minDocuments) continue;
    const alpha = (prior * (counts[0] + counts[1])) / (totals[0] + totals[1]);
    const [a, b] = counts.map((count) => count + alpha);
    const delta = Math.log(b / (totals[1] + prior - b)) - Math.log(a / (totals[0] + prior - a));
    found.push({ word, counts, documents, logOdds: delta, z: delta / Math.sqrt(1 / a + 1 / b) });
  }
  return found.sort((a, b) => b.z - a.z || (a.word < b.word ? -1 : 1));
}
