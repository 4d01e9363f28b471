/** Documents that are nearly the same, so that they can be kept together when a set is split. */
import { BandIndex, estimateJaccard, minHash, wordShingles } from './minhash.js';

/**
 * A key for each text, the same for texts that are nearly the same, directly or through others between them.
 *
 * Similarity is that of runs of five words, estimated from MinHash signatures to about ±0.04.
 *
 * @param texts in any order
 * @param options.threshold Jaccard similarity from which two texts are twins; 0.5 by default
 * @returns keys by text, as a further group for `splitDocuments`
 * @example
 * const keys = twinKeys(documents.map(({ text }) => text));
 * const twins = new Map(documents.map((document, i) => [document, keys[i]]));
 * const split = splitDocuments(documents, { group: (document) => [document.group, twins.get(document)!] });
 */
export function twinKeys(texts: Iterable<string>, options: { threshold?: number } = {}): string[] {
  const { threshold = 0.5 } = options;
  const index = new BandIndex(threshold);
  const signatures: Uint32Array[] = [];
  // Disjoint sets: each text points to an earlier one of its set, the first to itself.
  const above: number[] = [];
  const first = (i: number): number => {
    let top = i;
    while (above[top] !== top) top = above[top] = above[above[top]];
    return top;
  };
  for (const text of texts) {
    const i = signatures.length;
    const signature = minHash(wordShingles(text));
    const bands = index.bands(signature);
    above.push(i);
    for (const j of index.candidates(bands)) {
      const [a, b] = [first(i), first(j)];
      if (a === b || estimateJaccard(signature, signatures[j]) < threshold) continue;
      above[Math.max(a, b)] = Math.min(a, b);
    }
    signatures.push(signature);
    index.add(i, bands);
  }
  return above.map((_, i) => `twin ${first(i)}`);
}
