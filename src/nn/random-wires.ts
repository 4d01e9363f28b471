/** Wires drawn at random on the host: the same seed gives the same ones on every machine. */
import { Wiring } from '../autograd/wiring.js';
import { philox } from '../tensor/random.js';

/** Uniform integers of a seed. Different streams of a seed have nothing to do with each other. */
export class Draws {
  private readonly words = new Uint32Array(4);
  private left = 0;
  private counter: number;

  constructor(
    private readonly seed: number,
    stream = 0,
  ) {
    this.counter = stream * 2 ** 32;
  }

  /** An integer in [0, n), n up to 2³², without the bias of a remainder. */
  below(n: number): number {
    const limit = 2 ** 32 - (2 ** 32 % n);
    for (;;) {
      if (this.left === 0) {
        philox(this.counter++, this.seed, this.words);
        this.left = 4;
      }
      const word = this.words[--this.left];
      if (word < limit) return word % n;
    }
  }

  /** 0 … n − 1 in random order. @source Fisher and Yates */
  permutation(n: number): Int32Array {
    const order = Int32Array.from({ length: n }, (_, i) => i);
    for (let i = n - 1; i > 0; i--) {
      const j = this.below(i + 1);
      [order[i], order[j]] = [order[j], order[i]];
    }
    return order;
  }

  /** `count` different numbers below n, all sets equally likely. @source Floyd, in Bentley and Floyd (1987) */
  choose(count: number, n: number): number[] {
    const chosen = new Set<number>();
    for (let j = n - count; j < n; j++) {
      const t = this.below(j + 1);
      chosen.add(chosen.has(t) ? j : t);
    }
    return [...chosen];
  }
}

/** `count` wires to every unit, from different units; a unit may be wired to itself. */
export function wiresPerUnit(units: number, count: number, draws: Draws): Wiring {
  const sources: number[] = [];
  const targets: number[] = [];
  for (let unit = 0; unit < units; unit++) {
    for (const source of draws.choose(count, units)) {
      sources.push(source);
      targets.push(unit);
    }
  }
  return new Wiring(units, units, sources, targets);
}

/** The given number of all units × units possible wires. */
export function anyWires(units: number, count: number, draws: Draws): Wiring {
  const places = draws.choose(count, units * units);
  return new Wiring(
    units,
    units,
    places.map((place) => place % units),
    places.map((place) => Math.floor(place / units)),
  );
}

/** A group of neighbouring sources, and how many wires each of the targets gets from it. */
export interface Feed {
  readonly first: number;
  readonly size: number;
  readonly targets: ArrayLike<number>;
  readonly wires: number;
}

/**
 * Wires from groups of sources to units. Sources are dealt like cards from a shuffled deck that begins anew when it is
 * empty, so that all are used equally often, up to one.
 */
export function dealWires(inputs: number, outputs: number, feeds: readonly Feed[], draws: Draws): Wiring {
  const sources: number[] = [];
  const targets: number[] = [];
  for (const { first, size, targets: units, wires } of feeds) {
    let deck: number[] = [];
    for (let i = 0; i < units.length; i++) {
      const hand: number[] = [];
      while (hand.length < Math.min(wires, size)) {
        if (deck.length === 0) {
          // Cards that the hand holds already go under the new deck.
          const order = [...draws.permutation(size)];
          deck = [...order.filter((c) => hand.includes(c)), ...order.filter((c) => !hand.includes(c))];
        }
        hand.push(deck.pop()!);
      }
      for (const card of hand) {
        sources.push(first + card);
        targets.push(units[i]);
      }
    }
  }
  return new Wiring(inputs, outputs, sources, targets);
}
