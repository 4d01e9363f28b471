/** Hashes of text: the same on every machine and in every run. */

/**
 * A 32-bit hash of a text: FNV-1a over its UTF-16 code units, then MurmurHash3's final mix, so that every bit counts.
 * @param seed different seeds give unrelated hashes
 * @returns an integer from 0 to 2³² − 1
 * @source G. Fowler, L. C. Noll, K.-P. Vo, "FNV-1a"; A. Appleby, "MurmurHash3", fmix32
 */
export function hashText(text: string, seed = 0): number {
  let h = 0x811c9dc5 ^ mix(seed);
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    h = Math.imul(h ^ (unit & 0xff), 0x01000193);
    h = Math.imul(h ^ (unit >>> 8), 0x01000193);
  }
  return mix(h);
}

/** MurmurHash3's fmix32: a bijection of 32-bit integers in which each input bit flips half of the output. */
export function mix(x: number): number {
  let h = x ^ (x >>> 16);
  h = Math.imul(h, 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
