import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { HostRandom, permutation } from '../../src/data/random.js';
import { DataError } from '../../src/device/errors.js';

describe('HostRandom', () => {
  it("gives the numbers of its authors' C code", () => {
    const random = new HostRandom();
    random.load([1, 2, 3, 4]);
    const words = Array.from({ length: 8 }, () => random.uint32());
    expect(words).toEqual([11520, 0, 5927040, 70819200, 2031721883, 1637235492, 1287239034, 3734860849]);
    // SplitMix64 from seed 42 fills the state, low word first.
    const seeded = new HostRandom(42);
    expect(Array.from({ length: 6 }, () => seeded.uint32())).toEqual([
      1776835114, 4165204688, 17111135, 2317295270, 2792088233, 2554630222,
    ]);
  });

  it('continues from a saved state', () => {
    const random = new HostRandom(7);
    random.uint32();
    const state = JSON.parse(JSON.stringify(random.state()));
    const expected = [random.uniform(), random.integer(10), random.uint32()];
    const other = new HostRandom(0);
    other.load(state);
    expect([other.uniform(), other.integer(10), other.uint32()]).toEqual(expected);
  });

  it('spreads evenly', () => {
    const random = new HostRandom(1);
    const bins = new Array(10).fill(0);
    let sum = 0;
    for (let i = 0; i < 20_000; i++) {
      bins[random.integer(10)]++;
      sum += random.uniform();
    }
    // 2,000 ± 42 (one standard deviation); the seed is fixed, so five of them are no gamble.
    for (const bin of bins) expect(Math.abs(bin - 2000)).toBeLessThan(212);
    expect(sum / 20_000).toBeCloseTo(0.5, 1);
  });

  it('refuses what is no seed, range or state', () => {
    expect(() => new HostRandom(0.5)).toThrow(new DataError('HostRandom: expected an integer seed, got 0.5'));
    expect(() => new HostRandom().integer(0)).toThrow(
      new DataError('HostRandom.integer: expected n from 1 to 2³², got 0'),
    );
    expect(() => new HostRandom().load([0, 0, 0, 0])).toThrow(DataError);
    expect(() => new HostRandom().load([1, 2, 3, -4])).toThrow(
      'HostRandom.load: expected four unsigned 32-bit integers, not all 0, got 1,2,3,-4',
    );
  });
});

describe('permutation', () => {
  it('holds every number once, and depends on the seed only', () => {
    fc.assert(
      fc.property(fc.nat(200), fc.integer(), (n, seed) => {
        const order = permutation(n, new HostRandom(seed));
        expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length: n }, (_, i) => i));
        expect(permutation(n, new HostRandom(seed))).toEqual(order);
      }),
    );
    expect(permutation(50, new HostRandom(1))).not.toEqual(permutation(50, new HostRandom(2)));
  });

  it('makes all orders of three about equally often', () => {
    const random = new HostRandom(3);
    const counts = new Map<string, number>();
    for (let i = 0; i < 6000; i++) {
      const key = permutation(3, random).join('');
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    expect(counts.size).toBe(6);
    for (const count of counts.values()) expect(Math.abs(count - 1000)).toBeLessThan(145);
  });
});
