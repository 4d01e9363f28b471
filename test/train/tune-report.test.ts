/** What a search says: ranks, importances, the table, the page and its parallel coordinates. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parallelSvg } from '../../src/train/parallel-chart.js';
import { tune } from '../../src/train/tune.js';
import { importances, ranks } from '../../src/train/tune-importance.js';
import { formatTrials, formatValue, type TuneFacts, tuneHtml } from '../../src/train/tune-report.js';
import { parseSpace } from '../../src/train/tune-space.js';

const space = parseSpace(
  {
    lr: { type: 'logUniform', min: 1e-5, max: 1e-1 },
    method: { type: 'choice', values: ['full', 'lora'] },
    rank: { type: 'logInteger', min: 1, max: 64, when: { method: 'lora' } },
    noise: { type: 'uniform', min: 0, max: 1 },
    epochs: 3,
  },
  'a test',
);
const facts: TuneFacts = {
  command: 'finetune',
  space,
  metric: 'loss <nats>',
  mode: 'min',
  value: 'best',
  trials: 40,
  scheduler: 'asha',
  budget: { min: 1, max: 9, eta: 3 },
};

const search = (fail: (trial: number) => boolean = () => false) =>
  tune({
    space,
    trials: 40,
    budget: facts.budget,
    seed: 5,
    objective: (params, { trial, budget }) => {
      if (fail(trial)) throw new Error('the loss became NaN & more');
      const { lr, method } = params as { lr: number; method: string };
      return 5 - Math.log10(lr) + (method === 'full' ? 2 : 0) + 1 / budget;
    },
  });

describe('importances', () => {
  it('ranks with ties', () => {
    expect(ranks([30, 10, 20, 10])).toEqual([4, 1.5, 3, 1.5]);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 9 })), (values) => {
        const n = values.length;
        const total = ranks(values).reduce((a, b) => a + b, 0);
        expect(total).toBe((n * (n + 1)) / 2);
      }),
    );
  });

  it('finds what mattered, its direction, and leaves the rest within chance', async () => {
    const { trials } = await search();
    const [lr, method, rank, noise] = importances(space, trials, 'min');
    expect(lr.value).toBeGreaterThan(0.7);
    expect(importances(space, trials, 'max')[0].value).toBeCloseTo(-lr.value);
    expect(method).toMatchObject({ name: 'method', kind: 'category', trials: 40 });
    expect(method.value).toBeGreaterThan(method.chance);
    // χ² of one degree stays below 3.84.
    expect(method.chance).toBeCloseTo(Math.sqrt(3.84 / 39), 2);
    expect(rank.trials).toBe(trials.filter((t) => 'rank' in t.params).length);
    expect(Math.abs(noise.value)).toBeLessThan(noise.chance);
    expect(importances(space, trials, 'min').map((i) => i.name)).not.toContain('epochs');
    expect(importances(space, trials.slice(0, 1), 'min')[0].value).toBeNaN();
  });
});

describe('the report of a search', () => {
  it('has a table with the best trial first', async () => {
    const result = await search((trial) => trial === 2);
    const lines = formatTrials(facts, result);
    expect(lines).toHaveLength(41);
    expect(lines[0]).toMatch(/^ {2}trial +lr +method +rank +noise +steps +loss <nats>$/);
    expect(lines[1]).toMatch(new RegExp(`^\\* ${result.best!.trial} `));
    expect(lines.at(-1)).toMatch(/^ {2}2 .* 0 +– +failed: the loss became NaN & more$/);
    expect(formatTrials(facts, result, 5).at(-1)).toBe('  and 35 more');
    expect([0.1 + 0.2, 12345.678, 1.23456e-5, 'a', true, undefined].map(formatValue)).toEqual([
      '0.3',
      '12350',
      '1.235e-5',
      'a',
      'true',
      '–',
    ]);
  });

  it('is a page without script that holds all trials, escaped', async () => {
    const page = tuneHtml(facts, await search((trial) => trial === 2), 'A <search>');
    expect(page).toContain('<h1>A &lt;search&gt;</h1>');
    expect(page).toContain('the loss became NaN &amp; more');
    expect(page).not.toMatch(/<script|<nats>|NaN,|undefined|Infinity/);
    expect(page.match(/class="trial (shade\d|none|winner)"/g)!.length).toBe(40 + 1);
    expect(page.match(/class="trial winner"/g)).toHaveLength(1);
    for (const title of ['What mattered', 'Progress', 'Failed trials', 'lr', 'not set'])
      expect(page).toContain(title);
    expect(page).toContain('prefers-color-scheme: dark');
  });

  it('stands with one trial, and with none that came to a metric', async () => {
    const one = await tune({ space, trials: 1, budget: { min: 1, max: 1, eta: 2 }, objective: () => 1 });
    expect(tuneHtml(facts, one, 'one')).not.toMatch(/NaN|undefined|Infinity/);
    const none = await search(() => true);
    const page = tuneHtml(facts, none, 'none').replaceAll('the loss became NaN', '');
    expect(page).toContain('No trial came to a metric.');
    expect(page).not.toMatch(/NaN|undefined|Infinity/);
  });
});

describe('parallelSvg', () => {
  const legend = { worst: 'worst', best: 'best', none: 'failed' };
  const lines = (n: number) => Array.from({ length: n }, (_, i) => ({ colour: i / n, note: `line ${i}` }));
  const crossings = (svg: string) =>
    [
      ...svg.matchAll(
        /<path class="trial[^"]*" d="M([\d.-]+),([\d.-]+)[^"]*?([\d.-]+),([\d.-]+)"><title>line (\d)/g,
      ),
    ]
      .sort((a, b) => Number(a[5]) - Number(b[5]))
      .map((m) => [Number(m[2]), Number(m[4])]);

  it('puts values where they belong: log axes, small ones at the top, categories side by side, none below', () => {
    const svg = parallelSvg({
      title: 't',
      height: 258, // 100 for the axes
      axes: [
        { name: 'lr', values: [1e-4, 1e-2, 1], domain: [1e-4, 1], log: true },
        { name: 'loss', values: [1, 3, null], domain: [1, 3], downward: true, absent: 'failed' },
      ],
      lines: lines(3),
      legend,
    });
    expect(crossings(svg)).toEqual([
      [100, 0],
      [50, 100],
      [0, 130],
    ]);
    expect(svg).toContain('>1e-4<');
    expect(svg).toContain('>failed<');
    const sorts = parallelSvg({
      title: 't',
      height: 258,
      axes: [
        { name: 'a', values: ['x', 'y', 'x'], categories: ['x', 'y'] },
        { name: 'b', values: [1, 2, 3] },
      ],
      lines: lines(3),
      legend,
    });
    expect(crossings(sorts)).toEqual([
      [16, 100],
      [75, 50],
      [34, 0],
    ]);
  });
});
