/** Looking at several runs: what is read of them, what is said of broken ones, tables and plots. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { addRunsCommand } from '../../src/cli/runs.js';
import { SMALL } from '../../src/train/char-lm.js';
import { FINETUNE } from '../../src/train/finetune-config.js';
import { findRuns, openRuns, readRun } from '../../src/train/runs.js';
import { runsHtml, runsSvg } from '../../src/train/runs-plot.js';
import { compareRuns, differingSettings, formatComparison, formatList } from '../../src/train/runs-table.js';

let base: string;
beforeEach(async () => {
  base = await mkdtemp(join(tmpdir(), 'dawngrad-runs-'));
});
afterEach(() => rm(base, { recursive: true, force: true }));

/** Files of a run; objects become JSON, lists lines of it. */
async function put(name: string, files: Record<string, unknown>): Promise<string> {
  const path = join(base, name);
  await mkdir(path, { recursive: true });
  for (const [file, content] of Object.entries(files)) {
    const text = Array.isArray(content)
      ? content.map((line) => `${JSON.stringify(line)}\n`).join('')
      : typeof content === 'string'
        ? content
        : JSON.stringify(content);
    await mkdir(join(path, file, '..'), { recursive: true });
    await writeFile(join(path, file), text);
  }
  return path;
}

const losses = (values: (number | null)[], every = 2) =>
  values.flatMap((loss, i) => [
    { step: i + 1, loss, lr: 0.1 },
    ...((i + 1) % every === 0 ? [{ step: i + 1, validation: loss === null ? null : loss + 0.5 }] : []),
  ]);

async function three(): Promise<void> {
  const result = {
    step: 4,
    stopped: 'finished',
    seconds: 61,
    validation: 1.5,
    unigram: 3,
    best: { step: 4 },
  };
  await put('a', {
    'config.json': { ...SMALL, digest: 'abc' },
    'metrics.jsonl': losses([4, 3, 2, 1]),
    'result.json': result,
  });
  await put('b', {
    'config.json': { ...SMALL, lr: 0.01, dropout: 0.5, digest: 'abc' },
    'metrics.jsonl': losses([4, 2, null]),
  });
  const finetune = FINETUNE.parse({ data: ['x.txt'] }, 'here');
  await put('c', {
    'config.json': { ...finetune, digest: 'd', resolved: { lr: 5e-5, steps: 10 } },
    'metrics.jsonl': losses([3, 2.5]),
    'model/config.json': { model_type: 'gpt2' },
  });
}

describe('runs', () => {
  it('are found with their kind, their progress and their best', async () => {
    await three();
    const { runs, foreign } = await findRuns(base);
    expect(foreign).toEqual([]);
    const byName = Object.fromEntries(runs.map((run) => [run.name, run]));
    expect(Object.keys(byName).sort()).toEqual(['a', 'b', 'c']);
    expect(byName.a).toMatchObject({
      kind: 'train',
      step: 4,
      steps: 2400,
      loss: 1,
      best: { step: 4, validation: 1.5 },
      state: 'finished',
      seconds: 61,
      problems: [],
    });
    expect(byName.b).toMatchObject({
      loss: Number.NaN,
      best: { step: 2, validation: 2.5 },
      state: 'unfinished',
    });
    // What the settings left to the model and the data counts as settings.
    expect(byName.c).toMatchObject({
      kind: 'finetune',
      step: 2,
      steps: 10,
      seconds: null,
      settings: { lr: 5e-5 },
    });
    expect(differingSettings([byName.a, byName.b]).sort()).toEqual(['dropout', 'lr']);
  });

  it('are found in searches, folds and groups, the one written to last first', async () => {
    await put('search', { 'tune.jsonl': '' });
    await put('search/trial-0/moby', { 'config.json': SMALL });
    await put('search/trial-1/moby', { 'config.json': SMALL });
    await put('folds', {
      'config.json': { task: 'x' },
      'fold-1/config.json': { task: 'x' },
      'model/config.json': {},
    });
    const { runs, foreign } = await findRuns(base);
    expect(runs.map(({ name }) => name).sort()).toEqual([
      'folds',
      'folds/fold-1',
      'search/trial-0/moby',
      'search/trial-1/moby',
    ]);
    expect(foreign).toEqual([]);
    expect(runs.find(({ name }) => name === 'folds')!.kind).toBe('other');
    const times = runs.map(({ modified }) => modified.getTime());
    expect(times).toEqual([...times].sort((x, y) => y - x));
  });

  it('that are broken, and folders that are none, are listed with the reason', async () => {
    await put('broken', { 'config.json': '{ "steps": 3' });
    await put('listed', { 'config.json': '[1, 2]' });
    await put('notes', { 'todo.txt': 'x' });
    await put('half', {
      'config.json': SMALL,
      'metrics.jsonl': '{"step":1,"loss":2}\nnonsense\n{"loss":1}\n{"step":2,"loss":1}\n{"step":3,"lo',
      'result.json': '{',
      'last.safetensors': 'no checkpoint',
    });
    await writeFile(join(base, 'a file.txt'), 'x');
    const found = await findRuns(base);
    expect(Object.fromEntries(found.foreign.map(({ name, why }) => [name, why]))).toEqual({
      broken: expect.stringMatching(/^RunFolder.open: .*broken\/config.json is not JSON: /),
      listed: expect.stringMatching(/expected an object of settings, got \[1,2\]$/),
      notes: 'no run: it holds no config.json',
    });
    const [half] = found.runs;
    expect(half).toMatchObject({
      name: 'half',
      step: 2,
      loss: 1,
      best: null,
      state: 'unfinished',
      seconds: null,
    });
    expect(half.problems).toEqual([
      expect.stringMatching(/metrics.jsonl: 2 lines are no record, the first at 2$/),
      expect.stringMatching(/result.json is not JSON: /),
    ]);
    const text = formatList(found);
    expect(text).toMatch(/^run {3}kind {3}step/);
    expect(text).toContain('Not read, or not whole:');
    expect(text).toContain('  notes: no run: it holds no config.json');
    await expect(findRuns(join(base, 'none'))).rejects.toThrow(
      /^runs: cannot read the folder .*none: ENOENT/,
    );
    expect(formatList({ runs: [], foreign: [] })).toBe('No runs.');
  });

  it('are opened by name or path, and missing ones named with those that there are', async () => {
    await three();
    const [a, b] = await openRuns(['a', join(base, 'b')], base);
    expect([a.name, b.settings.lr]).toEqual(['a', 0.01]);
    await expect(openRuns(['d'], base)).rejects.toThrow(
      /^runs: expected the name of a run in .*, or a path, got 'd'; there are (a|b|c), (a|b|c), (a|b|c)$/,
    );
    await expect(openRuns(['d'], join(base, 'none'))).rejects.toThrow(/got 'd'; there are none$/);
  });

  it('are compared by what differs and by their figures', async () => {
    await three();
    await put('d', {
      'config.json': { task: 'sort', size: { dim: 8 } },
      'result.json': {
        threshold: 0.4,
        test: [
          {
            name: 'model',
            documents: 9,
            metrics: { prAuc: { value: 0.75, low: 0.5, high: 0.9 } },
            confusion: { tp: 1 },
          },
        ],
      },
    });
    const runs = await openRuns(['a', 'b'], base);
    const { settings, results } = compareRuns(runs);
    expect(settings).toEqual([
      { name: 'dropout', values: [0, 0.5] },
      { name: 'lr', values: [0.003, 0.01] },
    ]);
    const figures = Object.fromEntries(results.map(({ name, values }) => [name, values]));
    expect(figures).toMatchObject({
      state: ['finished', 'unfinished'],
      step: [4, 3],
      loss: [1, Number.NaN],
      'best validation': [1.5, 2.5],
      unigram: [3, undefined],
      seconds: [61, undefined],
    });
    const text = formatComparison(runs).split('\n');
    expect(text).toContain('dropout               0         0.5');
    expect(text).toContain('loss                  1         not finite');
    const other = compareRuns(await openRuns(['a', 'd'], base));
    expect(other.settings.map(({ name }) => name)).toContain('size.dim');
    const found = Object.fromEntries(other.results.map(({ name, values }) => [name, values[1]]));
    expect(found).toMatchObject({
      threshold: 0.4,
      'test.model.metrics.prAuc': 0.75,
      'test.model.documents': 9,
    });
    expect(Object.keys(found).join()).not.toMatch(/confusion|low/);
    expect(formatComparison([runs[0], runs[0]])).toContain('No settings differ');
  });
});

describe('plots of runs', () => {
  it('draw a metric of all that have it', async () => {
    await three();
    const runs = (await findRuns(base)).runs.sort((x, y) => (x.name < y.name ? -1 : 1));
    const svg = runsSvg(runs, 'validation');
    expect(svg).toMatch(/^<svg xmlns=.*\n<title>validation<\/title>\n<style>/);
    expect(svg.match(/class="line s\d" d="M0,0L20,0"/g)).toHaveLength(3);
    expect(svg).toContain('<title>a, step 4: 1.5</title>');
    // The run that diverged keeps what was finite.
    expect(svg).toContain('<title>b, step 2: 2.5</title>');
    expect(() => runsSvg(runs, 'accuracy')).toThrow(
      "runs: expected a metric of these runs, got 'accuracy'; there are loss, lr, validation",
    );
    expect(() => runsSvg(runs, 'loss', { smooth: 2 })).toThrow(/expected smooth from 0 to 1/);
    expect(runsHtml(runs, ['loss', 'validation'])).toMatch(
      /<h2>loss<\/h2>[\s\S]*<h2>Settings that differ<\/h2>/,
    );
  });

  it('are smoothed without moving their ends, and logarithmic where asked', async () => {
    const path = await put('x', {
      'config.json': {},
      'metrics.jsonl': [100, 1, 100, 1, 100].map((loss, step) => ({ step, loss })),
    });
    const run = await readRun(path, 'x');
    const smooth = runsSvg([run], 'loss', { smooth: 0.6 });
    expect(smooth).toContain('<title>loss, smoothed over 60 % of each run</title>');
    for (const note of ['x, step 0: 100', 'x, step 1: 67', 'x, step 2: 34', 'x, step 4: 100'])
      expect(smooth).toContain(`<title>${note}</title>`);
    const log = runsSvg([run], 'loss', { log: 'both' });
    // Step 0 has no logarithm.
    expect(log).not.toContain('step 0');
    expect(log).toMatch(/>10<\/text>/);
    expect(log).not.toMatch(/NaN|Infinity/);
    expect(runsSvg([run], 'loss', { log: 'y' })).toContain('step 0');
  });
});

describe('dawngrad runs', () => {
  const call = async (...args: string[]): Promise<string> => {
    const lines: string[] = [];
    const spy = vi.spyOn(console, 'log').mockImplementation((line) => lines.push(String(line)));
    try {
      const program = new Command('dawngrad').exitOverride();
      addRunsCommand(program);
      await program.parseAsync(['runs', ...args], { from: 'user' });
    } finally {
      spy.mockRestore();
    }
    return lines.join('\n');
  };

  it('lists, compares and plots', async () => {
    await three();
    expect(await call('list', base)).toMatch(/a +train +4\/2,400 +finished +1 +1.5 at 4 +1 min 01 s/);
    const list = JSON.parse(await call(base, '--json'));
    expect(list.runs.map((r: { name: string }) => r.name).sort()).toEqual(['a', 'b', 'c']);
    expect(list.runs[0].metrics).toBeUndefined();
    expect(await call('compare', 'a', 'b', '--in', base)).toContain('Settings that differ');
    const compared = JSON.parse(await call('compare', 'a', 'b', '--in', base, '--json'));
    expect(compared.settings[0]).toEqual({ name: 'dropout', values: [0, 0.5] });

    const svg = join(base, 'out.svg');
    expect(await call('plot', 'a', 'b', '--in', base, '-o', svg)).toBe(`loss of a, b: ${svg}`);
    expect(await readFile(svg, 'utf8')).toContain('<svg');
    const html = join(base, 'out.html');
    const args = ['plot', '--in', base, '-o', html, '--smooth', '0.5', '--log', 'y', '--json'];
    expect(JSON.parse(await call(...args))).toMatchObject({ output: html, metrics: ['loss', 'validation'] });
    expect(await readFile(html, 'utf8')).toContain('<h2>Results</h2>');
    await put('d', { 'config.json': {} });
    expect(await call('plot', 'a', 'd', '--in', base, '-o', svg)).toContain('Without: d');
  });

  it('says what is wrong', async () => {
    await three();
    await expect(call('plot', 'a', '--in', base, '-o', 'x.png')).rejects.toThrow(
      'runs: expected a file that ends in .svg or .html, got x.png',
    );
    await expect(call('plot', 'a', '--in', base, '--metric', 'loss', 'lr')).rejects.toThrow(
      'runs: expected one metric for an SVG, got loss, lr; write several into an .html file',
    );
    await expect(call('plot', 'a', '--in', base, '--metric', 'auc')).rejects.toThrow(
      "runs: expected a metric of these runs, got 'auc'; there are loss, lr, validation",
    );
    const nowhere = join(base, 'nowhere', 'x.svg');
    await expect(call('plot', 'a', '--in', base, '-o', nowhere)).rejects.toThrow(
      `runs: cannot write ${nowhere}: ENOENT`,
    );
    await expect(call('compare', 'zzz', '--in', base)).rejects.toThrow(/got 'zzz'/);
  });
});
