/** How much sets have in common, from small signatures of them: finds similar texts among many without comparing all pairs. */
import { hashText, mix } from './text-hash.js';
import { words } from './words.js';

/** Numbers per MinHash signature. */
const PERMUTATIONS = 128;
/** Share of pairs at the threshold that the banded signatures must find. */
const RECALL = 0.999;

/** Hashes of all runs of `length` characters; of the whole text where it is shorter. */
export function characterShingles(text: string, length: number): ReadonlySet<number> {
  const set = new Set<number>();
  for (let i = 0; i + length <= text.length; i++) set.add(hashText(text.slice(i, i + length)));
  if (set.size === 0) set.add(hashText(text));
  return set;
}

/**
 * Hashes of all runs of `length` words; of the whole text where it is shorter. For long texts: all of them share most runs
 * of a few characters, but hardly one of five words.
 */
export function wordShingles(text: string, length = 5): ReadonlySet<number> {
  const set = new Set<number>();
  const hashes: number[] = [];
  for (const word of words(text)) {
    hashes.push(hashText(word));
    if (hashes.length >= length) set.add(hashRun(hashes, hashes.length - length));
  }
  if (set.size === 0) set.add(hashes.length === 0 ? hashText(text) : hashRun(hashes, 0));
  return set;
}

function hashRun(hashes: readonly number[], from: number): number {
  let h = 0;
  for (let i = from; i < hashes.length; i++) h = mix(Math.imul(h, 31) ^ hashes[i]);
  return h;
}

/** |A ∩ B| / |A ∪ B|. */
export function jaccard(a: ReadonlySet<number>, b: ReadonlySet<number>): number {
  const [small, large] = a.size < b.size ? [a, b] : [b, a];
  let both = 0;
  for (const x of small) if (large.has(x)) both++;
  return both / (a.size + b.size - both);
}

/**
 * The least hash of a set under each of 128 permutations. Two sets agree in each place with the probability |A ∩ B| / |A ∪ B|.
 * @source A. Broder, "On the resemblance and containment of documents" (1997)
 */
export function minHash(shingles: ReadonlySet<number>): Uint32Array {
  const signature = new Uint32Array(PERMUTATIONS).fill(0xffffffff);
  for (const shingle of shingles) {
    for (let p = 0; p < PERMUTATIONS; p++) {
      // Permutation p of 32-bit integers: mix is a bijection, as is the exclusive or.
      const h = mix(shingle ^ Math.imul(p + 1, 0x9e3779b1));
      if (h < signature[p]) signature[p] = h;
    }
  }
  return signature;
}

/** Jaccard similarity by the places in which two signatures agree; its standard error is √(s (1 − s) / 128), at most 0.044. */
export function estimateJaccard(a: Uint32Array, b: Uint32Array): number {
  let equal = 0;
  for (let p = 0; p < PERMUTATIONS; p++) if (a[p] === b[p]) equal++;
  return equal / PERMUTATIONS;
}

/** Texts by the bands of their MinHash signatures: similar ones share at least one. */
export class BandIndex {
  private readonly rows: number;
  private readonly buckets = new Map<number, number[]>();

  /** @param threshold Jaccard similarity from which pairs are to be found, above 0 and at most 1 */
  constructor(threshold: number) {
    this.rows = bandRows(threshold);
  }

  /** One hash per band of rows of the signature. */
  bands(signature: Uint32Array): number[] {
    const bands: number[] = [];
    for (let at = 0; at + this.rows <= PERMUTATIONS; at += this.rows) {
      let h = mix(at + 1);
      for (let r = 0; r < this.rows; r++) h = mix(h ^ signature[at + r]);
      bands.push(h);
    }
    return bands;
  }

  candidates(bands: readonly number[]): Set<number> {
    return new Set(bands.flatMap((band) => this.buckets.get(band) ?? []));
  }

  add(index: number, bands: readonly number[]): void {
    for (const band of bands) {
      const bucket = this.buckets.get(band);
      if (bucket === undefined) this.buckets.set(band, [index]);
      else bucket.push(index);
    }
  }
}

/** The most rows per band, and so the fewest candidates, with 1 − (1 − tʳ)^⌊n / r⌋ ≥ RECALL. */
function bandRows(threshold: number): number {
  let rows = 1;
  for (let r = 2; r <= PERMUTATIONS; r++) {
    if (1 - (1 - threshold ** r) ** Math.floor(PERMUTATIONS / r) < RECALL) break;
    rows = r;
  }
  return rows;
}
