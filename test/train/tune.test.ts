/** The search in one process: what it finds, what it writes, how it goes on after a crash. */
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DataError } from '../../src/device/errors.js';
import { type TrialContext, type TuneOptions, type TuneResult, tune } from '../../src/train/tune.js';

let base: string;
let folders = 0;
const folder = (): string => join(base, String(++folders));

beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), 'dawngrad-tune-'));
});
afterAll(() => rm(base, { recursive: true, force: true }));

const space = {
  lr: { type: 'logUniform', min: 1e-4, max: 1 },
  width: { type: 'integer', min: 1, max: 8 },
  kind: { type: 'choice', values: ['plain', 'gated'] },
} as const;

type Params = { readonly lr: number; readonly width: number; readonly kind: 'plain' | 'gated' };

/** Lowest at a rate of 10⁻², and lower with each step; the first steps mislead a little. */
function loss(
  { lr, width, kind }: Params,
  { trial, budget }: Pick<TrialContext, 'trial' | 'budget'>,
): number {
  const away = (Math.log10(lr) + 2) ** 2 + ((width - 5) / 8) ** 2 + (kind === 'gated' ? 0 : 0.1);
  return away + (1 + 0.5 * Math.sin(trial)) / budget;
}

const options = (more: Partial<TuneOptions<typeof space>> = {}): TuneOptions<typeof space> => ({
  space,
  objective: loss,
  trials: 20,
  budget: { min: 1, max: 9, eta: 3 },
  seed: 3,
  ...more,
});

/** Without times. */
async function journal(path: string): Promise<Record<string, unknown>[]> {
  const lines = (await readFile(join(path, 'tune.jsonl'), 'utf8')).trim().split('\n');
  return lines.map((line) => ({ ...(JSON.parse(line) as object), time: 0, seconds: 0 }));
}

describe('tune', () => {
  it('finds as good a point as random search with less training, over many seeds', async () => {
    const budget = { min: 1, max: 27, eta: 3 };
    const totals = { asha: { away: 0, spent: 0 }, random: { away: 0, spent: 0 } };
    let wins = 0;
    for (let seed = 0; seed < 60; seed++) {
      const away: Record<string, number> = {};
      for (const [scheduler, trials] of [
        ['asha', 60],
        ['random', 20],
      ] as const) {
        const { best, spent } = await tune(options({ scheduler, trials, budget, seed }));
        expect(best!.results.at(-1)!.budget).toBe(27);
        away[scheduler] = loss(best!.params, { trial: 0, budget: Infinity });
        totals[scheduler].away += away[scheduler];
        totals[scheduler].spent += spent;
      }
      if (away.asha <= away.random) wins++;
    }
    expect(totals.random.spent).toBe(60 * 20 * 27);
    expect(totals.asha.spent).toBeLessThan(0.75 * totals.random.spent);
    expect(totals.asha.away).toBeLessThan(totals.random.away);
    expect(wins).toBeGreaterThan(30);
  });

  it('tells the objective what it needs, and the caller what happened', async () => {
    const calls: string[] = [];
    const path = folder();
    const events: string[] = [];
    const result = await tune(
      options({
        trials: 4,
        folder: path,
        objective: (params, context) => {
          const { trial, budget, resume, folder: own } = context;
          expect(own).toBe(join(path, 'trials', `00${trial}`));
          expect(existsSync(own!)).toBe(true);
          calls.push(`${trial}@${budget}${resume ? ' again' : ''}`);
          return loss(params, context);
        },
        onEvent: ({ event }) => events.push(event),
      }),
    );
    expect(calls.filter((call) => !call.includes('again'))).toEqual(['0@1', '1@1', '2@1', '3@1']);
    expect(calls.filter((call) => call.includes('again'))).toHaveLength(2);
    expect(result.stopped).toBe('finished');
    expect(result.budgets).toEqual([1, 3, 9]);
    expect(result.spent).toBe(4 + 2 + 6);
    expect(result.best!.results.map((r) => r.budget)).toEqual([1, 3, 9]);
    expect(result.history.map((h) => h.spent)).toEqual(
      [...result.history.map((h) => h.spent)].sort((a, b) => a - b),
    );
    expect(result.history.at(-1)!.best).toBe(
      Math.min(...result.trials.flatMap((t) => t.results.map((r) => r.value))),
    );
    expect(events).toEqual((await journal(path)).map((e) => e.event));
    expect(events.filter((event) => event === 'start')).toHaveLength(6);
  });

  it('records trials that fail with their reason, and goes on', async () => {
    const failing = (params: Params, context: TrialContext): number => {
      if (context.trial === 1) throw new Error('the loss became NaN at step 3');
      if (context.trial === 2) return Number.NaN;
      return loss(params, context);
    };
    const { trials, best } = await tune(options({ trials: 9, objective: failing }));
    expect(trials.map((t) => t.failed).slice(0, 4)).toEqual([
      null,
      'the loss became NaN at step 3',
      'the metric is NaN',
      null,
    ]);
    expect(trials).toHaveLength(9);
    expect([1, 2]).not.toContain(best!.trial);
    const none = await tune(
      options({
        objective: () => {
          throw new Error('no');
        },
      }),
    );
    expect(none.best).toBeNull();
    expect(none.trials.every((t) => t.failed === 'no')).toBe(true);
  });

  it('goes on after a crash at any byte of the journal, and ends with the same trials and values', async () => {
    const whole = folder();
    const expected = await tune(options({ folder: whole }));
    const bytes = await readFile(join(whole, 'tune.jsonl'));
    const told = (await journal(whole)).filter((e) => e.event !== 'end');
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.length), async (cut) => {
        const path = folder();
        await tune(options({ folder: path, trials: 1 }));
        await writeFile(join(path, 'tune.jsonl'), bytes.subarray(0, cut));
        const calls: string[] = [];
        const objective = (params: Params, context: TrialContext): number => {
          calls.push(`${context.trial}@${context.budget}`);
          return loss(params, context);
        };
        const result = await tune(options({ folder: path, objective }));
        expect(result).toEqual(expected);
        const again = (await journal(path)).filter((e) => e.event !== 'resume' && e.event !== 'end');
        expect(again).toEqual(told);
        // What was known is not done again.
        const known = bytes.subarray(0, cut).toString('utf8').split('\n').slice(0, -1);
        expect(calls).toHaveLength(
          told.filter((e) => e.event === 'result').length -
            known.filter((l) => l.includes('"result"')).length,
        );
      }),
      { numRuns: 40 },
    );
  });

  it('stops at the signal, leaves undone what did not end, and goes on later with several workers', async () => {
    const path = folder();
    const controller = new AbortController();
    const objective = async (params: Params, context: TrialContext): Promise<number> => {
      await new Promise((resolve) => setTimeout(resolve, 1 + (context.trial % 3)));
      if (context.trial === 5) controller.abort();
      if (context.signal.aborted) throw new Error('stopped');
      return loss(params, context);
    };
    const cut = await tune(options({ folder: path, workers: 3, objective, signal: controller.signal }));
    expect(cut.stopped).toBe('interrupted');
    expect(cut.trials.every((t) => t.failed === null)).toBe(true);
    const running = cut.trials.filter((t) => t.running !== null);
    expect(running.length).toBeGreaterThan(0);
    const resumed: number[] = [];
    const result = await tune(
      options({
        folder: path,
        workers: 3,
        objective: (params, context) => {
          if (context.resume) resumed.push(context.trial);
          return loss(params, context);
        },
      }),
    );
    expect(result.stopped).toBe('finished');
    // In the order in which their jobs began, which is the timers' to decide.
    const first = resumed.slice(0, running.length).sort((a, b) => a - b);
    expect(first).toEqual(running.map((t) => t.trial));
    expect(result.trials.map((t) => t.params)).toEqual((await tune(options())).trials.map((t) => t.params));
    const events = (await journal(path)).map((e) => e.event);
    expect(events).toContain('interrupted');
    expect(events.at(-1)).toBe('end');
  });

  it('holds as many trials at once as there are workers', async () => {
    let running = 0;
    let most = 0;
    const objective = async (params: Params, context: TrialContext): Promise<number> => {
      most = Math.max(most, ++running);
      await new Promise((resolve) => setTimeout(resolve, 1));
      running--;
      return loss(params, context);
    };
    const result = await tune(options({ workers: 4, objective }));
    expect(most).toBe(4);
    expect(result.trials).toHaveLength(20);
  });

  it('refuses options that make no sense, and journals of something else', async () => {
    await expect(tune(options({ trials: 0 }))).rejects.toThrow(
      new DataError('tune: expected trials to be a whole number of at least 1, got 0'),
    );
    await expect(tune(options({ workers: 1.5 }))).rejects.toThrow('expected workers to be a whole number');
    await expect(tune(options({ budget: { min: 3, max: 1, eta: 2 } }))).rejects.toThrow('1 ≤ min ≤ max');
    const path = folder();
    const file = join(path, 'tune.jsonl');
    await tune(options({ folder: path, trials: 2 }));
    await expect(tune(options({ folder: path, trials: 3 }))).rejects.toThrow(
      new DataError(
        `tune: expected the search that ${file} began with, got another one: trials was 2 and is 3; take another folder`,
      ),
    );
    const broken = async (change: (lines: string[]) => string[]): Promise<TuneResult> => {
      const own = folder();
      await tune(options({ folder: own, trials: 2 }));
      const at = join(own, 'tune.jsonl');
      const lines = change((await readFile(at, 'utf8')).trim().split('\n'));
      await writeFile(at, `${lines.join('\n')}\n`);
      return tune(options({ folder: own, trials: 2 }));
    };
    await expect(broken((l) => [l[0], 'what', ...l.slice(1)])).rejects.toThrow(/tune\.jsonl:2 is not JSON/);
    await expect(broken((l) => [l[0], '{"event":"lunch"}'])).rejects.toThrow(
      /tune\.jsonl:2: expected an event of a search, got \{"event":"lunch"\}/,
    );
    await expect(broken((l) => l.slice(1))).rejects.toThrow(
      /tune\.jsonl:1: expected a journal that begins once, got start/,
    );
    await expect(broken((l) => [l[0], l[2]])).rejects.toThrow(
      /expected a running trial, got trial 0 at .*tune\.jsonl:2/,
    );
  });
});
