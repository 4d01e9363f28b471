/** What a search has found: a table for a terminal, and a page with plots. */
import { barsSvg, curvesSvg } from './chart.js';
import { type HtmlCell, htmlReport, htmlTable, htmlText } from './html-report.js';
import { PARALLEL_STYLE, type ParallelAxis, parallelSvg } from './parallel-chart.js';
import { rankTrials, type TrialResult, type TuneResult } from './tune.js';
import type { TuneFile } from './tune-file.js';
import { importances } from './tune-importance.js';
import { type Distribution, isLogarithmic } from './tune-space.js';

/** What a report says of the search beside its result. */
export type TuneFacts = Pick<
  TuneFile,
  'command' | 'space' | 'metric' | 'mode' | 'value' | 'trials' | 'scheduler' | 'budget'
>;

/** The table of trials, the best first. */
export function formatTrials(
  { space, metric, mode }: Pick<TuneFacts, 'space' | 'metric' | 'mode'>,
  { trials, best }: TuneResult,
  limit = Infinity,
): string[] {
  const names = varying(space);
  const ranked = rankTrials(trials, mode);
  const rows = ranked
    .slice(0, limit)
    .map((t) => [
      `${t.trial === best?.trial ? '*' : ' '} ${t.trial}`,
      ...names.map((name) => formatValue(t.params[name])),
      String(t.results.at(-1)?.budget ?? 0),
      t.results.length > 0 ? formatMetric(t.results[t.results.length - 1].value) : '–',
      stateOf(t),
    ]);
  const head = ['  trial', ...names, 'steps', metric, ''];
  const widths = head.map((name, i) => Math.max(name.length, ...rows.map((row) => row[i].length)));
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, i) =>
        i === 0 || i === cells.length - 1 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]),
      )
      .join('  ')
      .trimEnd();
  const more = ranked.length > limit ? [`  and ${ranked.length - limit} more`] : [];
  return [line(head), ...rows.map(line), ...more];
}

function stateOf({ failed, running, results }: TrialResult): string {
  if (failed !== null) return `failed${results.length > 0 ? ' later' : ''}: ${failed.split('\n')[0]}`;
  return running === null ? '' : `→ ${running}`;
}

/** Settings that differ between trials. */
function varying(space: TuneFacts['space']): string[] {
  return Object.keys(space).filter((name) => space[name].type !== 'fixed');
}

/** Four digits are enough to tell trials apart. */
export function formatValue(value: unknown): string {
  if (value === undefined) return '–';
  if (typeof value !== 'number') return typeof value === 'string' ? value : JSON.stringify(value);
  const short = Number(value.toPrecision(4));
  return Math.abs(short) < 1e-3 && short !== 0 ? short.toExponential() : String(short);
}

export const formatMetric = (value: number): string =>
  Math.abs(value) >= 1000 || (Math.abs(value) < 1e-3 && value !== 0)
    ? value.toExponential(3)
    : value.toFixed(4);

/** The page: one HTML file without script. */
export function tuneHtml(facts: TuneFacts, result: TuneResult, title: string): string {
  const { metric, mode, value } = facts;
  const { best, trials, spent, budgets } = result;
  const n = (x: number): string => x.toLocaleString('en');
  const last = best?.results.at(-1);
  const found = last
    ? `Trial ${best!.trial} is the best: ${metric} ${formatMetric(last.value)} after ${n(last.budget)} steps.`
    : 'No trial came to a metric.';
  const failed = trials.filter((t) => t.failed !== null);
  return htmlReport({
    title,
    lead: `${n(trials.length)} of ${n(facts.trials)} trials of dawngrad ${facts.command}, ${n(spent)} steps in all${
      result.stopped === 'finished' ? '' : '; interrupted'
    }`,
    sections: [
      {
        title: 'Result',
        body: [
          htmlText(found),
          best
            ? htmlTable(
                ['setting', 'value'],
                Object.entries(best.params).map(([k, v]) => [k, formatValue(v)]),
              )
            : '',
          htmlText(
            `Of each run the ${value} ${metric} counts that it had within its steps; ${mode === 'max' ? 'more' : 'less'} is better. ${
              budgets.length > 1
                ? `Rungs: ${budgets.map(n).join(', ')} steps; one in ${facts.budget.eta} goes on.`
                : `Every trial has ${n(budgets[0])} steps.`
            }`,
          ),
        ].join('\n'),
      },
      {
        title: 'All trials at a glance',
        body: `<style>${PARALLEL_STYLE}</style>\n<div class="wide">${parallelOf(facts, result)}</div>`,
      },
      { title: 'What mattered', body: importanceOf(facts, result) },
      { title: 'Progress', body: progressOf(facts, result) },
      { title: 'Trials', body: tableOf(facts, result) },
      ...(failed.length > 0
        ? [
            {
              title: 'Failed trials',
              body: htmlTable(
                ['trial', 'why'],
                failed.map((t) => [t.trial, t.failed!]),
              ),
            },
          ]
        : []),
    ],
  });
}

function parallelOf({ space, metric, mode }: TuneFacts, { trials, best }: TuneResult): string {
  const shown = trials.filter((t) => t.results.length > 0 || t.failed !== null);
  const final = (t: TrialResult): number | null =>
    t.failed === null ? (t.results.at(-1)?.value ?? null) : null;
  const axes = varying(space).map((name): ParallelAxis => axisOf(name, space[name], shown));
  const values = shown.map(final);
  const positive = values.filter((v): v is number => v !== null);
  const log =
    positive.length > 0 && Math.min(...positive) > 0 && Math.max(...positive) > 20 * Math.min(...positive);
  axes.push({ name: metric, values, log, downward: mode === 'min', absent: 'failed' });
  const order = positive.toSorted((a, b) => (mode === 'max' ? a - b : b - a));
  return parallelSvg({
    title: `Settings and ${metric} of ${shown.length} trials`,
    axes,
    lines: shown.map((t) => {
      const value = final(t);
      const facts = Object.entries(t.params).map(([k, v]) => `${k} ${formatValue(v)}`);
      const end = value === null ? `failed: ${t.failed}` : `${metric} ${formatMetric(value)}`;
      return {
        colour: value === null ? null : order.length < 2 ? 1 : order.indexOf(value) / (order.length - 1),
        isBest: t.trial === best?.trial,
        note: `trial ${t.trial}: ${facts.join(', ')}; ${t.results.at(-1)?.budget ?? 0} steps, ${end}`,
      };
    }),
    legend: { worst: `worst ${metric}`, best: 'the best trial', none: 'failed' },
  });
}

function axisOf(name: string, distribution: Distribution, trials: readonly TrialResult[]): ParallelAxis {
  const of = (t: TrialResult): unknown => t.params[name];
  if (distribution.type === 'choice') {
    const values = trials.map((t) => (of(t) === undefined ? null : formatValue(of(t))));
    return { name, values, categories: distribution.values.map(formatValue) };
  }
  const values = trials.map((t) => (of(t) as number | undefined) ?? null);
  const { min, max } = distribution as Extract<Distribution, { min: number }>;
  return { name, values, domain: [min, max], log: isLogarithmic(distribution) };
}

function importanceOf({ space, metric, mode }: TuneFacts, { trials, budgets }: TuneResult): string {
  const all = importances(space, trials as TrialResult[], mode).filter((i) => Number.isFinite(i.value));
  if (all.length === 0) return htmlText('Too few trials to tell.');
  const sorted = all.toSorted((a, b) => Math.abs(b.value) - Math.abs(a.value));
  return [
    barsSvg({
      title: `Rank correlation with ${metric} after ${budgets[0].toLocaleString('en')} steps`,
      xLabel: 'to the right: larger is better; to the left: smaller is better',
      bars: sorted.map(({ name, value, kind, chance }) => ({
        label: kind === 'category' ? `${name} (categories)` : name,
        value,
        colour: kind === 'category' ? 1 : 0,
        note: `${name}: ${value.toFixed(2)}; chance alone stays within ${chance.toFixed(2)}`,
      })),
      width: 620,
    }),
    htmlTable(
      ['setting', 'rank correlation', 'chance alone stays within', 'trials'],
      sorted.map(({ name, value, chance, trials: count }): HtmlCell[] => [name, value, chance, count]),
    ),
    htmlText(
      'All trials count at the first rung, where they had the same number of steps. Categories have no direction: theirs is the correlation ratio of ranks. What lies within chance says nothing.',
    ),
  ].join('\n');
}

function progressOf({ metric }: TuneFacts, { history }: TuneResult): string {
  // A level holds until the next result.
  const points = history.flatMap(({ spent, best, trial }, i) => {
    const now = { x: spent, y: best, note: `trial ${trial}` };
    return i === 0 ? [now] : [{ x: spent, y: history[i - 1].best }, now];
  });
  const values = history.map((h) => h.best);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const room = (high - low || Math.abs(high) || 1) * 0.05;
  return curvesSvg({
    title: `The best ${metric} so far`,
    xLabel: 'steps of all trials together',
    yLabel: metric,
    series: [{ name: `best ${metric} at any rung`, points }],
    yDomain: values.length > 0 ? [low - room, high + room] : undefined,
    width: 720,
    height: 360,
  });
}

function tableOf({ space, metric, mode }: TuneFacts, { trials }: TuneResult): string {
  const names = varying(space);
  return htmlTable(
    ['trial', ...names, 'steps', metric],
    rankTrials(trials, mode).map((t): HtmlCell[] => [
      t.trial,
      ...names.map((name) => ({ value: formatValue(t.params[name]), small: '' })),
      t.results.at(-1)?.budget ?? 0,
      t.failed !== null ? 'failed' : (t.results.at(-1)?.value ?? '–'),
    ]),
  );
}
