/** Asynchronous successive halving, against its definition and against the synchronous kind. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { HostRandom, permutation } from '../../src/data/random.js';
import { Asha, type Job, rungBudgets } from '../../src/train/tune-asha.js';

interface Told extends Job {
  readonly value: number | null;
}

/** Runs a search with workers that end in an order of their own; the value of a job is in a table. */
function search(
  options: { budgets: number[]; eta: number; trials: number; mode?: 'max' | 'min' },
  value: (job: Job) => number | null,
  { workers = 1, order = new HostRandom(0) }: { workers?: number; order?: HostRandom } = {},
  check?: (asha: Asha, job: Job) => void,
): { told: Told[]; asha: Asha } {
  const asha = new Asha({ mode: 'min', ...options });
  const told: Told[] = [];
  const running: Job[] = [];
  for (;;) {
    while (running.length < workers) {
      const job = asha.next();
      if (!job) break;
      check?.(asha, job);
      running.push(job);
    }
    if (running.length === 0) break;
    const [job] = running.splice(order.integer(running.length), 1);
    told.push({ ...job, value: value(job) });
    asha.report(job.trial, value(job));
  }
  expect(asha.finished).toBe(true);
  return { told, asha };
}

const reached = (told: readonly Told[], rung: number): number[] =>
  told
    .filter((t) => t.rung === rung)
    .map((t) => t.trial)
    .sort((a, b) => a - b);

const spent = (told: readonly Told[], budgets: readonly number[]): number =>
  told.reduce((sum, { rung }) => sum + budgets[rung] - (budgets[rung - 1] ?? 0), 0);

/** Synchronous successive halving: a rung is full before its best n / η go on. */
function synchronous(budgets: readonly number[], eta: number, trials: number, value: (job: Job) => number) {
  let alive = Array.from({ length: trials }, (_, trial) => trial);
  return budgets.map((budget, rung) => {
    if (rung > 0) {
      const before = (trial: number) => value({ trial, rung: rung - 1, budget: budgets[rung - 1] });
      alive = alive
        .toSorted((a, b) => before(a) - before(b) || a - b)
        .slice(0, Math.max(1, Math.floor(alive.length / eta)));
    }
    return { budget, trials: alive.toSorted((a, b) => a - b) };
  });
}

const cases = fc.record({
  eta: fc.integer({ min: 2, max: 4 }),
  rungs: fc.integer({ min: 1, max: 4 }),
  trials: fc.integer({ min: 1, max: 40 }),
  workers: fc.integer({ min: 1, max: 6 }),
  seed: fc.nat(),
  failures: fc.constantFrom(0, 0.2),
});

const budgetsOf = (eta: number, rungs: number) => rungBudgets({ min: 2, max: 2 * eta ** (rungs - 1), eta });

describe('Asha', () => {
  it('has rungs of r, rη, rη² … up to the maximum', () => {
    expect(rungBudgets({ min: 1, max: 27, eta: 3 })).toEqual([1, 3, 9, 27]);
    expect(rungBudgets({ min: 10, max: 100, eta: 3 })).toEqual([10, 30, 100]);
    expect(rungBudgets({ min: 10, max: 200, eta: 3 })).toEqual([10, 30, 90, 200]);
    expect(rungBudgets({ min: 5, max: 5, eta: 2 })).toEqual([5]);
    expect(rungBudgets({ min: 10, max: 12, eta: 3 })).toEqual([12]);
    for (const bad of [
      { min: 0, max: 1, eta: 2 },
      { min: 4, max: 2, eta: 2 },
      { min: 1.5, max: 2, eta: 2 },
    ])
      expect(() => rungBudgets(bad)).toThrow(/expected budgets of whole steps, 1 ≤ min ≤ max/);
    expect(() => rungBudgets({ min: 1, max: 2, eta: 1 })).toThrow('expected eta of at least 2, got 1');
  });

  it('takes nobody on from outside the best 1/η of a rung, nobody twice, nobody who failed; every trial ends', () => {
    fc.assert(
      fc.property(cases, ({ eta, rungs, trials, workers, seed, failures }) => {
        const random = new HostRandom(seed);
        const table = Array.from({ length: trials }, () =>
          Array.from({ length: rungs }, () => (random.uniform() < failures ? null : random.uniform())),
        );
        const budgets = budgetsOf(eta, rungs);
        const seen = new Set<string>();
        const { told } = search(
          { budgets, eta, trials },
          ({ trial, rung }) => table[trial][rung],
          { workers, order: random },
          (asha, { trial, rung, budget }) => {
            expect(budget).toBe(budgets[rung]);
            expect(seen.has(`${trial}/${rung}`)).toBe(false);
            seen.add(`${trial}/${rung}`);
            if (rung === 0) return;
            const ranking = asha.ranking(rung - 1);
            const place = ranking.findIndex((e) => e.trial === trial);
            expect(ranking[place].value).not.toBeNull();
            // The last resort is the best of a rung in which fewer than η are.
            const isLast = asha.trialsBegun === trials && asha.jobs().length === 1;
            expect(place).toBeLessThan(Math.max(isLast ? 1 : 0, Math.floor(ranking.length / eta)));
          },
        );
        expect(reached(told, 0)).toEqual(Array.from({ length: trials }, (_, i) => i));
        // At the worst, all but the first η − 1 of a rung were once its best.
        for (let rung = 1; rung < rungs; rung++) {
          const below = reached(told, rung - 1).length;
          expect(reached(told, rung).length).toBeLessThanOrEqual(Math.max(1, below - eta + 1));
        }
        expect(spent(told, budgets)).toBeLessThanOrEqual(trials * budgets[rungs - 1]);
        if (failures === 0) expect(reached(told, rungs - 1).length).toBeGreaterThan(0);
      }),
    );
  });

  it('has taken on everybody in the best 1/η of a rung at the end, whatever the order and the number of workers', () => {
    fc.assert(
      fc.property(cases, ({ eta, rungs, trials, workers, seed }) => {
        const random = new HostRandom(seed);
        const table = Array.from({ length: trials }, () =>
          Array.from({ length: rungs }, () => random.uniform()),
        );
        const budgets = budgetsOf(eta, rungs);
        const { told, asha } = search({ budgets, eta, trials, mode: 'max' }, (j) => table[j.trial][j.rung], {
          workers,
          order: random,
        });
        for (let rung = 0; rung + 1 < rungs; rung++) {
          const ranking = asha.ranking(rung);
          const best = ranking.slice(0, Math.floor(ranking.length / eta));
          expect(reached(told, rung + 1)).toEqual(expect.arrayContaining(best.map((e) => e.trial)));
          expect(best.map((e) => e.value)).toEqual(best.map((e) => e.value).toSorted((a, b) => b! - a!));
        }
        // A first rung holds the same trials in any order; later ones depend on it.
        expect(asha.ranking(0).map((e) => e.trial)).toEqual(
          search({ budgets, eta, trials, mode: 'max' }, (j) => table[j.trial][j.rung])
            .asha.ranking(0)
            .map((e) => e.trial),
        );
      }),
    );
  });

  it('is synchronous halving where the good trials come first, and takes on no fewer in any order of equal ranks', () => {
    const eta = 3;
    const budgets = [1, 3, 9, 27];
    const sorted = (job: Job) => job.trial + 100 / job.budget;
    const rungs = synchronous(budgets, eta, 27, sorted);
    const { told } = search({ budgets, eta, trials: 27 }, sorted);
    expect(rungs.map((r) => r.trials.length)).toEqual([27, 9, 3, 1]);
    expect(budgets.map((_, rung) => reached(told, rung))).toEqual(rungs.map((r) => r.trials));
    // The order of the table below, worked out by hand: 0 1 2 → 0 on; 3 4 5 → 1 on …
    expect(told.slice(0, 8).map((t) => `${t.trial}@${t.budget}`)).toEqual([
      '0@1',
      '1@1',
      '2@1',
      '0@3',
      '3@1',
      '4@1',
      '5@1',
      '1@3',
    ]);
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 1, max: 5 }), (seed, workers) => {
        const ranks = permutation(27, new HostRandom(seed));
        const value = (job: Job) => ranks[job.trial] + 100 / job.budget;
        const all = search({ budgets, eta, trials: 27 }, value, {
          workers,
          order: new HostRandom(seed),
        }).told;
        synchronous(budgets, eta, 27, value).forEach((r, rung) => {
          expect(reached(all, rung)).toEqual(expect.arrayContaining(r.trials));
        });
      }),
    );
  });

  it('spends little more than synchronous halving, and a fraction of random search', () => {
    const eta = 3;
    const budgets = [1, 3, 9, 27];
    let [asynchronous, halving] = [0, 0];
    for (let seed = 0; seed < 100; seed++) {
      const ranks = permutation(81, new HostRandom(seed));
      const value = (job: Job) => ranks[job.trial];
      asynchronous += spent(search({ budgets, eta, trials: 81 }, value).told, budgets);
      halving += synchronous(budgets, eta, 81, value).reduce(
        (sum, { trials }, rung) => sum + trials.length * (budgets[rung] - (budgets[rung - 1] ?? 0)),
        0,
      );
    }
    expect(halving / 100).toBe(81 + 27 * 2 + 9 * 6 + 3 * 18);
    expect(asynchronous / halving).toBeLessThan(1.6);
    expect(asynchronous / (100 * 81 * 27)).toBeLessThan(0.2);
  });

  it('is random search where there is one rung', () => {
    const { told } = search({ budgets: [9], eta: 3, trials: 7 }, ({ trial }) => trial, { workers: 3 });
    expect(told.length).toBe(7);
    expect(told.every((t) => t.budget === 9)).toBe(true);
  });

  it('takes the best of a few trials to the maximum all the same, unless all fail', () => {
    const few = search({ budgets: [1, 3, 9], eta: 3, trials: 2 }, ({ trial }) => -trial);
    expect(few.told.map((t) => `${t.trial}@${t.budget}`)).toEqual(['0@1', '1@1', '1@3', '1@9']);
    const failing = search({ budgets: [1, 3, 9], eta: 3, trials: 4 }, () => null);
    expect(failing.told.map((t) => t.rung)).toEqual([0, 0, 0, 0]);
    const number = search({ budgets: [1, 3], eta: 2, trials: 2 }, ({ trial }) =>
      trial === 0 ? Number.NaN : 5,
    );
    expect(number.told.map((t) => `${t.trial}@${t.budget}`)).toEqual(['0@1', '1@1', '1@3']);
  });

  it('refuses what a journal cannot say', () => {
    const asha = new Asha({ budgets: [1, 2], eta: 2, trials: 3, mode: 'min' });
    expect(() => asha.start({ trial: 1, rung: 0 })).toThrow(
      'expected a trial that can begin rung 0, got trial 1',
    );
    expect(() => asha.start({ trial: 0, rung: 1 })).toThrow(
      'expected a trial that can begin rung 1, got trial 0',
    );
    expect(() => asha.report(0, 1)).toThrow('expected a running trial, got trial 0');
    asha.start({ trial: 0, rung: 0 });
    expect(() => asha.start({ trial: 0, rung: 0 })).toThrow('got trial 0');
  });
});
