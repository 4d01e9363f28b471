/** The curves of a run, from the lines of its metrics. */
import { curvesSvg } from './chart.js';
import { type HtmlSection, htmlCharts, htmlText } from './html-report.js';
import { type Baseline, lossCurveSvg } from './plot.js';

/** A line of `metrics.jsonl`. */
export interface CurveLine {
  readonly step: number;
  readonly [name: string]: number | string | boolean | null | undefined;
}

/** A run, or one of several folds. */
export interface CurvedRun {
  /** Beside the curves of others. */
  readonly name?: string;
  readonly lines: readonly CurveLine[];
}

/** Metrics of evaluations that lie between 0 and 1, and how a chart calls them. */
const SHARES: Readonly<Record<string, string>> = { prAuc: 'PR-AUC', rocAuc: 'ROC-AUC' };

const isNumber = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value);

/** Losses, ranking metrics and the learning rate of one run. */
export function curveSection(
  { lines }: CurvedRun,
  { baselines = [] }: { baselines?: readonly Baseline[] } = {},
): HtmlSection {
  const losses = (name: string) =>
    lines
      .filter((line) => line[name] !== undefined)
      .map((line) => ({ step: line.step, loss: isNumber(line[name]) ? line[name] : null }));
  const [train, validation] = [losses('loss'), losses('validation')];
  if (train.length + validation.length === 0) {
    return { title: 'Training', body: htmlText('No step has been recorded yet.') };
  }
  const shares = Object.entries(SHARES)
    .map(([key, name]) => ({ name, points: pointsOf(lines, key), marks: true }))
    .filter(({ points }) => points.length > 0);
  const rates = pointsOf(lines, 'lr');
  const charts = [
    lossCurveSvg({ title: 'Loss', train, validation, baselines }),
    shares.length === 0
      ? ''
      : curvesSvg({
          title: 'Ranking of the validation documents',
          xLabel: 'step',
          yLabel: 'area under the curve',
          yDomain: [0, 1],
          series: shares,
        }),
    rates.length === 0
      ? ''
      : curvesSvg({
          title: 'Learning rate',
          xLabel: 'step',
          yLabel: 'rate',
          series: [{ name: 'learning rate', points: rates }],
        }),
  ];
  const last = lines.at(-1)!.step;
  const finite = validation.filter(({ loss }) => loss !== null);
  const best = finite.reduce((a, b) => (b.loss! < a.loss! ? b : a), finite[0] ?? null);
  const facts =
    best === null
      ? `${last.toLocaleString('en')} steps.`
      : `${last.toLocaleString('en')} steps; lowest loss on validation ${best.loss!.toFixed(4)} at step ${best.step.toLocaleString('en')}, last ${finite.at(-1)!.loss!.toFixed(4)}.`;
  return { title: 'Training', body: [htmlText(facts), htmlCharts(charts)].join('\n') };
}

/** Losses and PR-AUC on validation, run by run in the same charts. */
export function foldCurves(runs: readonly CurvedRun[]): HtmlSection {
  const chart = (key: string, title: string, yLabel: string, yDomain?: readonly [number, number]): string => {
    const series = runs.map(({ name = '', lines }) => ({ name, points: pointsOf(lines, key) }));
    if (series.every(({ points }) => points.length === 0)) return '';
    return curvesSvg({ title, xLabel: 'step', yLabel, yDomain, series });
  };
  const charts = [
    chart('validation', 'Loss on validation', 'nats'),
    chart('prAuc', 'PR-AUC on validation', 'area under the curve', [0, 1]),
  ].filter((svg) => svg !== '');
  return {
    title: 'Training',
    body: charts.length === 0 ? htmlText('No fold has been evaluated yet.') : htmlCharts(charts),
  };
}

function pointsOf(lines: readonly CurveLine[], key: string): { x: number; y: number }[] {
  return lines.flatMap((line) => (isNumber(line[key]) ? [{ x: line.step, y: line[key] }] : []));
}
