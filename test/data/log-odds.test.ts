import { describe, expect, it } from 'vitest';
import { type ClassCounts, logOdds } from '../../src/data/log-odds.js';

const table = (rows: [word: string, zero: number, one: number, documents?: number][]) =>
  new Map(
    rows.map(([word, zero, one, documents = 10]): [string, ClassCounts] => [
      word,
      { counts: [zero, one], documents },
    ]),
  );

describe('logOdds', () => {
  it('gives what the formula gives', () => {
    const words = table([
      ['tax', 10, 40],
      ['sea', 30, 20],
    ]);
    const [tax, sea] = logOdds(words, { prior: 10 });
    // n₀ = 40, n₁ = 60; α = 5 for each.
    const odds = (y: number, n: number) => Math.log((y + 5) / (n + 10 - y - 5));
    const delta = odds(40, 60) - odds(10, 40);
    expect(tax.word).toBe('tax');
    expect(tax.logOdds).toBeCloseTo(delta, 12);
    expect(tax.z).toBeCloseTo(delta / Math.sqrt(1 / 45 + 1 / 15), 12);
    // Of two words one's gain is the other's loss.
    expect(sea.logOdds).toBeCloseTo(-delta, 12);
  });

  it('trusts no single occurrence, and leaves out words of few documents', () => {
    const found = logOdds(
      table([
        ['frequent', 5000, 6000],
        ['once', 0, 1],
        ['often', 20, 80],
        ['name', 0, 500, 1],
        ['other', 9000, 8000],
      ]),
    );
    const z = Object.fromEntries(found.map((w) => [w.word, w.z]));
    expect(Math.abs(z.once)).toBeLessThan(1);
    expect(z.often).toBeGreaterThan(2);
    expect(z).not.toHaveProperty('name');
    expect(found[0].word).toBe('frequent');
    expect(found.at(-1)?.word).toBe('other');
  });

  it('turns with the classes', () => {
    const rows: [string, number, number][] = [
      ['a', 5, 9],
      ['b', 70, 20],
      ['c', 100, 300],
    ];
    const there = logOdds(table(rows));
    const back = logOdds(table(rows.map(([w, m, n]) => [w, n, m])));
    expect(back.map(({ word }) => word)).toEqual(there.map(({ word }) => word).reverse());
    expect(back[0].z).toBeCloseTo(-there.at(-1)!.z, 12);
  });

  it('says nothing of one class', () => {
    expect(logOdds(table([['a', 5, 0]]))).toEqual([]);
    expect(logOdds(new Map())).toEqual([]);
  });
});
