/** Search spaces: what they refuse, and what is drawn from them. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DataError } from '../../src/device/errors.js';
import { parseSpace, type SearchSpace, sampleSpace } from '../../src/train/tune-space.js';

const numberDistribution = fc
  .record({
    type: fc.constantFrom('uniform', 'logUniform', 'integer', 'logInteger'),
    min: fc.integer({ min: 1, max: 50 }),
    size: fc.integer({ min: 1, max: 1000 }),
    step: fc.option(fc.integer({ min: 1, max: 5 }), { nil: undefined }),
  })
  .map(({ type, min, size, step }) => ({
    type,
    min,
    max: min + size,
    ...(step === undefined ? {} : { step: Math.min(step, size) }),
  }));

const space = fc
  .dictionary(fc.string({ minLength: 1, maxLength: 8 }), numberDistribution, { minKeys: 1, maxKeys: 6 })
  .map((raw) => parseSpace(raw, 'a test'));

/** Many draws of one distribution. */
function draws(distribution: object, n = 4000): number[] {
  const s = parseSpace({ x: distribution }, 'a test');
  return Array.from({ length: n }, (_, trial) => sampleSpace(s, 7, trial).x as number);
}

describe('sampleSpace', () => {
  it('depends on seed and trial alone, and each setting on its own name', () => {
    fc.assert(
      fc.property(space, fc.nat(), fc.nat(500), (s, seed, trial) => {
        const values = sampleSpace(s, seed, trial);
        expect(sampleSpace(s, seed, trial)).toEqual(values);
        const more = parseSpace({ 'one more': { type: 'uniform', min: 0, max: 1 }, ...s }, 'a test');
        expect(sampleSpace(more, seed, trial)).toMatchObject(values);
      }),
    );
    const s = parseSpace({ x: { type: 'uniform', min: 0, max: 1 } }, 'a test');
    const values = [0, 1, 2, 3].flatMap((seed) => [0, 1, 2, 3].map((trial) => sampleSpace(s, seed, trial).x));
    expect(new Set(values).size).toBe(16);
  });

  it('stays within bounds and on the grid', () => {
    fc.assert(
      fc.property(space, fc.nat(), fc.nat(500), (s, seed, trial) => {
        for (const [name, x] of Object.entries(sampleSpace(s, seed, trial))) {
          const { type, min, max, step } = s[name] as Extract<SearchSpace[string], { min: number }>;
          expect(x).toBeGreaterThanOrEqual(min);
          expect(x).toBeLessThanOrEqual(max);
          const grid = step ?? (type.toLowerCase().endsWith('integer') ? 1 : null);
          if (grid !== null) expect(((x as number) - min) % grid).toBe(0);
        }
      }),
    );
  });

  it('draws each kind as it should be distributed', () => {
    const share = (xs: number[], test: (x: number) => boolean) => xs.filter(test).length / xs.length;
    expect(share(draws({ type: 'uniform', min: -1, max: 3 }), (x) => x < 0)).toBeCloseTo(0.25, 1);
    const rates = draws({ type: 'logUniform', min: 1e-4, max: 1 });
    for (const power of [1, 2, 3])
      expect(share(rates, (x) => x < 10 ** (power - 4))).toBeCloseTo(power / 4, 1);
    const dice = draws({ type: 'integer', min: 1, max: 6 });
    for (let face = 1; face <= 6; face++) expect(share(dice, (x) => x === face)).toBeCloseTo(1 / 6, 1);
    const sizes = draws({ type: 'logInteger', min: 1, max: 63 });
    for (let k = 0; k < 6; k++) expect(share(sizes, (x) => x < 2 ** k)).toBeCloseTo(k / 6, 1);
    const steps = draws({ type: 'uniform', min: 0.1, max: 0.5, step: 0.1 });
    expect([...new Set(steps)].sort()).toEqual([0.1, 0.2, 0.3, 0.4, 0.5]);
    expect(share(steps, (x) => x === 0.5)).toBeCloseTo(0.2, 1);
    expect(new Set(draws({ type: 'integer', min: 0, max: 10, step: 4 }))).toEqual(new Set([0, 4, 8]));
  });

  it('has a conditional setting only where its condition holds', () => {
    const s = parseSpace(
      {
        method: { type: 'choice', values: ['full', 'lora', 'qlora'] },
        rank: { type: 'logInteger', min: 1, max: 64, when: { method: ['lora', 'qlora'] } },
        scheme: { type: 'choice', values: ['nf4', 'int8'], when: { method: 'qlora' } },
        doubleQuant: { type: 'fixed', value: true, when: { scheme: 'nf4' } },
        epochs: 3,
      },
      'a test',
    );
    for (let trial = 0; trial < 200; trial++) {
      const values = sampleSpace(s, 1, trial) as Record<string, unknown>;
      const names = ['method', ...(values.method === 'full' ? [] : ['rank'])];
      if (values.method === 'qlora') names.push('scheme');
      if (values.scheme === 'nf4') names.push('doubleQuant');
      expect(Object.keys(values)).toEqual([...names, 'epochs']);
    }
  });

  it('types the values', () => {
    const values = sampleSpace(
      {
        lr: { type: 'uniform', min: 0, max: 1 },
        kind: { type: 'choice', values: ['a', 'b'] },
        rank: { type: 'integer', min: 1, max: 2, when: { kind: 'a' } },
      } as const,
      0,
      0,
    );
    const lr: number = values.lr;
    const kind: 'a' | 'b' = values.kind;
    const rank: number | undefined = values.rank;
    expect([lr, kind, rank]).toEqual(Object.values({ ...values, rank }));
  });
});

describe('parseSpace', () => {
  it.each([
    [[], 'expected space to be an object of distributions by name, got []'],
    [{}, 'expected space to be at least one setting, got {}'],
    [
      { lr: [1, 2] },
      'expected space.lr to be a distribution such as { "type": "choice", "values": […] }, got [1,2]',
    ],
    [
      { lr: { min: 0, max: 1 } },
      'expected space.lr.type to be one of uniform, logUniform, integer, logInteger, choice, fixed, got nothing',
    ],
    [
      { lr: { type: 'loguniform', min: 1, max: 2 } },
      'got "loguniform" in S.json; did you mean \'logUniform\'?',
    ],
    [
      { lr: { type: 'uniform', min: 'a', max: 1 } },
      'expected space.lr.min to be a number, got "a" in S.json',
    ],
    [{ lr: { type: 'uniform', min: 0 } }, 'expected space.lr.max to be a number, got nothing in S.json'],
    [
      { lr: { type: 'uniform', min: 1, max: 1 } },
      'expected space.lr.max to be above min, 1, got 1 in S.json',
    ],
    [{ lr: { type: 'logUniform', min: 0, max: 1 } }, 'expected space.lr.min to be above 0, got 0 in S.json'],
    [
      { n: { type: 'integer', min: 1, max: 2.5 } },
      'expected space.n.max to be an integer, got 2.5 in S.json',
    ],
    [
      { n: { type: 'uniform', min: 0, max: 1, step: 2 } },
      'expected space.n.step to be at most max − min, 1, got 2 in S.json',
    ],
    [{ n: { type: 'uniform', min: 0, max: 1, steps: 2 } }, 'expected no space.n.steps in S.json'],
    [{ c: { type: 'choice', values: [] } }, 'expected space.c.values to be not empty, got [] in S.json'],
    [
      { c: { type: 'choice', values: [1, 2, 1] } },
      'expected space.c.values to differ, got 1 twice in S.json',
    ],
    [
      { c: { type: 'choice', values: [1], when: { d: 1 } }, d: 1 },
      'expected space.c.when.d to name a setting above c (there is none) in S.json',
    ],
    [
      { method: 'a', c: { type: 'fixed', value: 1, when: { methods: 1 } } },
      "to name a setting above c (method) in S.json; did you mean 'method'?",
    ],
    [
      { d: { type: 'choice', values: ['a', 'b'] }, c: { type: 'fixed', value: 1, when: { d: ['c', 'e'] } } },
      'expected space.c.when.d to be a value of d ("a", "b"), got ["c","e"] in S.json',
    ],
  ])('refuses %j', (value, message) => {
    expect(() => parseSpace(value, 'S.json')).toThrow(DataError);
    expect(() => parseSpace(value, 'S.json')).toThrow(`${message}`);
  });
});
