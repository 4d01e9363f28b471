/** Random numbers of the host, for shuffling and splitting. The device's own (Philox) make tensors. */
import { DataError } from '../device/errors.js';

/** Where a `HostRandom` stands: four 32-bit words. */
export type HostRandomState = [number, number, number, number];

/**
 * A small seeded generator: xoshiro128** with its state filled by SplitMix64, as its authors advise.
 * The same seed gives the same numbers on every machine.
 * @source D. Blackman, S. Vigna, "Scrambled linear pseudorandom number generators" (2021), https://prng.di.unimi.it
 */
export class HostRandom {
  private readonly words = new Uint32Array(4);

  /** @param seed an integer; different seeds give unrelated sequences, neighbours included */
  constructor(seed = 0) {
    if (!Number.isSafeInteger(seed)) throw new DataError(`HostRandom: expected an integer seed, got ${seed}`);
    let x = BigInt(seed);
    const mask = (1n << 64n) - 1n;
    for (let i = 0; i < 4; i += 2) {
      x = (x + 0x9e3779b97f4a7c15n) & mask;
      let z = x;
      z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & mask;
      z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & mask;
      z ^= z >> 31n;
      this.words[i] = Number(z & 0xffffffffn);
      this.words[i + 1] = Number(z >> 32n);
    }
  }

  /** @returns an integer from 0 to 2³² − 1 */
  uint32(): number {
    const s = this.words;
    const result = Math.imul(rotateLeft(Math.imul(s[1], 5), 7), 9) >>> 0;
    const t = s[1] << 9;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotateLeft(s[3], 11);
    return result;
  }

  /** @returns a number in [0, 1), a multiple of 2⁻⁵³ */
  uniform(): number {
    const high = this.uint32() >>> 5;
    const low = this.uint32() >>> 6;
    return (high * 2 ** 26 + low) / 2 ** 53;
  }

  /**
   * A uniform integer without modulo bias.
   * @param n number of outcomes, 1 to 2³²
   * @returns an integer from 0 to n − 1
   */
  integer(n: number): number {
    if (!Number.isInteger(n) || n < 1 || n > 2 ** 32) {
      throw new DataError(`HostRandom.integer: expected n from 1 to 2³², got ${n}`);
    }
    const limit = 2 ** 32 - (2 ** 32 % n);
    let x = this.uint32();
    while (x >= limit) x = this.uint32();
    return x % n;
  }

  /** @returns the state, as plain numbers for JSON */
  state(): HostRandomState {
    return [...this.words] as HostRandomState;
  }

  /** Continues from a state that `state()` gave. */
  load(state: Readonly<HostRandomState>): void {
    const isWord = (x: unknown) => typeof x === 'number' && x >>> 0 === x;
    // From all zeros the generator never leaves.
    if (!Array.isArray(state) || state.length !== 4 || !state.every(isWord) || state.every((x) => x === 0)) {
      throw new DataError(`HostRandom.load: expected four unsigned 32-bit integers, not all 0, got ${state}`);
    }
    this.words.set(state);
  }
}

/**
 * The numbers 0 … n − 1 in random order (Fisher–Yates).
 * @returns Int32Array of n
 * @source torch.randperm
 */
export function permutation(n: number, random: HostRandom): Int32Array {
  const order = new Int32Array(n);
  for (let i = 0; i < n; i++) {
    const j = random.integer(i + 1);
    order[i] = order[j];
    order[j] = i;
  }
  return order;
}

/** The generator of one epoch. Seed and epoch are mixed, so that epoch 1 of seed 0 is not epoch 0 of seed 1. */
export function epochRandom(seed: number, epoch: number): HostRandom {
  return new HostRandom(new HostRandom(seed).uint32() * 2 ** 21 + (epoch % 2 ** 21));
}

function rotateLeft(x: number, bits: number): number {
  return (x << bits) | (x >>> (32 - bits));
}
