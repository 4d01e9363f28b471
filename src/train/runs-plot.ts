/** Curves of several runs in one chart, as SVG or on a page. */
import { DataError } from '../device/errors.js';
import { type ChartSeries, curvesSvg } from './chart.js';
import { htmlReport, htmlTable, htmlText } from './html-report.js';
import { metricNames, points, type Run } from './runs.js';
import { compareRuns, setting } from './runs-table.js';

/** How curves are drawn. */
export interface PlotRunsOptions {
  /** Share of a curve's points over which each one is averaged; 0 for none. */
  readonly smooth?: number;
  /** Which axes are logarithmic; values that are not above 0 are left out there. */
  readonly log?: 'none' | 'x' | 'y' | 'both';
}

const SIZE = { width: 840, height: 480 };

/**
 * One metric of several runs over their steps; runs without it are left out.
 * @param alone whether the chart holds its own style, for a file of its own
 * @throws DataError where no run has the metric
 */
export function runsSvg(
  runs: readonly Run[],
  metric: string,
  { smooth = 0, log = 'none' }: PlotRunsOptions = {},
  alone = true,
): string {
  if (!(smooth >= 0 && smooth <= 1))
    throw new DataError(`runs: expected smooth from 0 to 1, a share of the points, got ${smooth}`);
  const [logX, logY] = [log === 'x' || log === 'both', log === 'y' || log === 'both'];
  const series = runs.flatMap(({ name, metrics }): ChartSeries[] => {
    const all = points(metrics, metric);
    if (all.length === 0) return [];
    const drawn = smoothed(all, smooth)
      .filter(([step, value]) => (!logX || step > 0) && (!logY || value > 0))
      .map(([x, y]) => ({ x, y, note: `${name}, step ${x}: ${setting(y)}` }));
    return [{ name, points: drawn, marks: drawn.length <= 40 }];
  });
  if (series.length === 0) {
    throw new DataError(
      `runs: expected a metric of these runs, got '${metric}'; there ${metricNames(runs).length === 1 ? 'is' : 'are'} ${metricNames(runs).join(', ') || 'none'}`,
    );
  }
  const values = series.flatMap((s) => s.points.map(({ y }) => y));
  return curvesSvg({
    title:
      smooth > 0 ? `${metric}, smoothed over ${Number((100 * smooth).toPrecision(2))} % of each run` : metric,
    xLabel: 'step',
    yLabel: metric,
    series,
    logX,
    logY,
    yDomain: values.length > 0 ? domain(values, logY) : undefined,
    alone,
    ...SIZE,
  });
}

/** A page with a chart per metric, and what differs between the runs. */
export function runsHtml(
  runs: readonly Run[],
  metrics: readonly string[],
  options: PlotRunsOptions = {},
): string {
  const { settings, results } = compareRuns(runs);
  const table = (rows: typeof settings) =>
    htmlTable(
      ['', ...runs.map(({ name }) => name)],
      rows.map(({ name, values }) => [name, ...values.map(setting)]),
    );
  const problems = runs.flatMap((run) => run.problems.map((text) => `${run.name}: ${text}`));
  return htmlReport({
    title: runs.length === 1 ? runs[0].name : `${runs.length} runs`,
    sections: [
      ...metrics.map((metric) => ({ title: metric, body: runsSvg(runs, metric, options, false) })),
      {
        title: 'Settings that differ',
        body: settings.length > 0 ? table(settings) : htmlText('None.'),
      },
      { title: 'Results', body: table(results) },
      ...(problems.length > 0
        ? [{ title: 'Not whole', body: problems.map((p) => htmlText(p, { warning: true })).join('\n') }]
        : []),
    ],
  });
}

/** Means over the points around each one: symmetric, and so narrower towards both ends. */
function smoothed(all: readonly [number, number][], share: number): [number, number][] {
  const reach = Math.floor((all.length * share) / 2);
  const sums = [0];
  for (const [, value] of all) sums.push(sums[sums.length - 1] + value);
  return all.map(([step], i) => {
    const r = Math.min(reach, i, all.length - 1 - i);
    return [step, (sums[i + r + 1] - sums[i - r]) / (2 * r + 1)];
  });
}

/** The data's own range with a little room; a curve of losses need not begin at 0. */
function domain(values: readonly number[], log: boolean): [number, number] {
  const low = values.reduce((a, b) => Math.min(a, b));
  const high = values.reduce((a, b) => Math.max(a, b));
  if (log) return high > low ? [low, high] : [low / 2, high * 2];
  const room = (high - low) * 0.05 || Math.max(1e-6, Math.abs(high) * 0.05);
  return [low >= 0 ? Math.max(0, low - room) : low - room, high + room];
}
