/** Classifiers side by side: the table of metrics with intervals, ROC, precision–recall and calibration curves, confusion. */
import { curvesSvg } from './chart.js';
import {
  balancedAccuracy,
  type BootstrapOptions,
  bootstrapInterval,
  brier,
  calibrationCurve,
  type CalibrationOptions,
  type ConfusionMatrix,
  confusionMatrix,
  type Interval,
  type Metric,
  macroF1,
  type PairedComparison,
  pairedBootstrap,
  prAuc,
  prCurve,
  rocAuc,
  rocCurve,
} from './classification-metrics.js';
import {
  escapeHtml,
  formatNumber,
  type HtmlCell,
  htmlCharts,
  type HtmlSection,
  htmlTable,
  htmlText,
} from './html-report.js';

/** A classifier's answers on some documents. */
export interface ScoredModel {
  readonly name: string;
  /** Probabilities of class 1 [n]. */
  readonly scores: ArrayLike<number>;
  /** 0 or 1 [n]. */
  readonly labels: ArrayLike<number>;
  /** Decides class 1 at score ≥ threshold; 0.5 by default. Chosen on validation data. */
  readonly threshold?: number;
  /** A threshold for each document [n], where not all have one model's; instead of `threshold`. */
  readonly thresholds?: ArrayLike<number>;
  /** Groups of the documents [n], drawn whole in the bootstrap. */
  readonly groups?: ArrayLike<string | number>;
}

/** The figures of a table, each with its interval. */
export const METRICS = {
  rocAuc: 'ROC-AUC',
  prAuc: 'PR-AUC',
  macroF1: 'macro-F1',
  balancedAccuracy: 'balanced accuracy',
  brier: 'Brier',
} as const;
/** The name of a metric. */
export type MetricName = keyof typeof METRICS;

/** A line of the table. */
export interface MetricRow {
  readonly name: string;
  readonly documents: number;
  readonly positives: number;
  /** The mean, where documents have different ones. */
  readonly threshold: number;
  readonly metrics: Readonly<Record<MetricName, Interval>>;
  readonly confusion: ConfusionMatrix;
  /** ROC-AUC and PR-AUC minus those of the first model, where both saw the same documents. */
  readonly against: { readonly rocAuc: PairedComparison; readonly prAuc: PairedComparison } | null;
  /** What is not to be read from the figures, in words. */
  readonly notes: readonly string[];
}

/** How the table is computed. */
export type ReportOptions = Omit<BootstrapOptions, 'groups'>;

/** Measures models; the first is what the others are compared with. */
export function measureModels(models: readonly ScoredModel[], options: ReportOptions = {}): MetricRow[] {
  return models.map((model, m) => {
    const { name, scores, labels, groups } = model;
    const { threshold, margins } = decisionsOf(model);
    // Rankings and probabilities are of the scores, decisions of what is above the threshold.
    const metrics: Record<MetricName, readonly [Metric, ArrayLike<number>]> = {
      rocAuc: [rocAuc, scores],
      prAuc: [prAuc, scores],
      macroF1: [(s, y) => macroF1(s, y, 0), margins],
      balancedAccuracy: [(s, y) => balancedAccuracy(s, y, 0), margins],
      brier: [brier, scores],
    };
    const measured = Object.fromEntries(
      Object.entries(metrics).map(([key, [metric, values]]) => [
        key,
        bootstrapInterval(metric, values, labels, { ...options, groups }),
      ]),
    ) as Record<MetricName, Interval>;
    const positives = Array.from(labels).reduce((a, b) => a + b, 0);
    const first = models[0];
    const compare = (metric: typeof rocAuc) =>
      pairedBootstrap(metric, scores, first.scores, labels, { ...options, groups });
    return {
      name,
      documents: labels.length,
      positives,
      threshold,
      metrics: measured,
      confusion: confusionMatrix(margins, labels, 0),
      against:
        m > 0 && isSame(labels, first.labels) ? { rocAuc: compare(rocAuc), prAuc: compare(prAuc) } : null,
      notes: notesOf(scores, labels.length, positives, measured.rocAuc),
    };
  });
}

/** The threshold, and score − threshold of each document: x − y ≥ 0 exactly where x ≥ y. */
function decisionsOf({ scores, threshold = 0.5, thresholds }: ScoredModel): {
  threshold: number;
  margins: Float64Array;
} {
  const own = thresholds ?? new Float64Array(scores.length).fill(threshold);
  const all = Array.from(own);
  // The mean of equal numbers may miss them by a rounding.
  const isOne = all.every((t) => t === all[0]);
  return {
    threshold: isOne && all.length > 0 ? all[0] : all.reduce((a, b) => a + b, 0) / all.length,
    margins: Float64Array.from(scores, (s, i) => s - own[i]),
  };
}

function isSame(a: ArrayLike<number>, b: ArrayLike<number>): boolean {
  return a.length === b.length && Array.from(a).every((x, i) => x === b[i]);
}

function notesOf(scores: ArrayLike<number>, n: number, positives: number, auc: Interval): string[] {
  const notes: string[] = [];
  if (positives === 0 || positives === n) {
    notes.push(
      `all ${n} documents are of class ${positives === 0 ? 0 : 1}: metrics of two classes are undefined`,
    );
  } else if (Math.min(positives, n - positives) < 10) {
    notes.push(`only ${Math.min(positives, n - positives)} documents of the rarer class: no figure is sure`);
  }
  if (Array.from(scores).every((s) => s === scores[0])) notes.push('all scores are equal: nothing is ranked');
  if (auc.skipped > 0 && auc.resamples > 0)
    notes.push(`${auc.skipped} resamples held one class only and are left out of the intervals`);
  return notes;
}

/** Each note once, with the models that it is of. */
function notesOfAll(rows: readonly MetricRow[]): Map<string, string[]> {
  const models = new Map<string, string[]>();
  for (const { name, notes } of rows) {
    for (const note of notes) models.set(note, [...(models.get(note) ?? []), name]);
  }
  return models;
}

/** The table for a terminal. */
export function formatMetricRows(rows: readonly MetricRow[]): string {
  const names = Object.keys(METRICS) as MetricName[];
  const width = Math.max(8, ...rows.map(({ name }) => name.length));
  const lines = [
    ''.padEnd(width) + names.map((name) => METRICS[name].padStart(22)).join(''),
    ...rows.map(
      ({ name, metrics }) =>
        name.padEnd(width) + names.map((key) => interval(metrics[key]).padStart(22)).join(''),
    ),
  ];
  for (const { name, against } of rows) {
    if (against === null) continue;
    const { difference, pValue } = against.prAuc;
    lines.push(
      `${name} against ${rows[0].name}: PR-AUC ${signed(difference.value)} (${signed(difference.low)} to ${signed(difference.high)}, ${pText(pValue)})`,
    );
  }
  for (const [note, names] of notesOfAll(rows)) lines.push(`${names.join(', ')}: ${note}`);
  return `${lines.join('\n')}\n`;
}

/**
 * The sections of `dawngrad report`: table, curves, calibration and confusion.
 *
 * @param models of which the first is compared with the others
 * @param options.rows what `measureModels` gave, where it has been asked already
 */
export function classifierSections(
  models: readonly ScoredModel[],
  options: ReportOptions & { calibration?: CalibrationOptions; rows?: readonly MetricRow[] } = {},
): HtmlSection[] {
  const { calibration, rows = measureModels(models, options) } = options;
  const confidence = Math.round(100 * (options.confidence ?? 0.95));
  return [
    {
      title: 'Metrics',
      body: [
        metricTable(rows),
        htmlText(
          `Below each figure its ${confidence} % bootstrap interval. Macro-F1 and balanced accuracy hold at the threshold; Brier is better when smaller.`,
        ),
        comparisonTable(rows),
        ...[...notesOfAll(rows)].map(([note, names]) =>
          htmlText(`${names.join(', ')}: ${note}.`, { warning: true }),
        ),
      ].join('\n'),
    },
    { title: 'Ranking', body: htmlCharts([rocSvg(models), prSvg(models)]) },
    { title: 'Calibration', body: htmlCharts([calibrationSvg(models, calibration)]) },
    {
      title: 'Decisions',
      body: htmlCharts(
        rows.map(({ name, threshold, confusion }) => confusionTable(name, threshold, confusion)),
      ),
    },
  ];
}

function metricTable(rows: readonly MetricRow[]): string {
  const names = Object.keys(METRICS) as MetricName[];
  return htmlTable(
    ['model', 'documents', 'threshold', ...names.map((name) => METRICS[name])],
    rows.map(({ name, documents, positives, threshold, metrics }): HtmlCell[] => [
      name,
      { value: documents, small: `${positives.toLocaleString('en')} of class 1` },
      threshold,
      ...names.map((key) => ({ value: metrics[key].value, small: range(metrics[key]) })),
    ]),
  );
}

function comparisonTable(rows: readonly MetricRow[]): string {
  const compared = rows.flatMap(({ name, against }) => (against === null ? [] : [{ name, against }]));
  if (compared.length === 0) return '';
  const cells = ({ difference, pValue }: PairedComparison): HtmlCell => ({
    value: signed(difference.value),
    small: `${signed(difference.low)} to ${signed(difference.high)}, ${pText(pValue)}`,
  });
  return htmlTable(
    [`against ${rows[0].name}`, 'ROC-AUC', 'PR-AUC'],
    compared.map(({ name, against }) => [name, cells(against.rocAuc), cells(against.prAuc)]),
  );
}

/** ROC curves. */
export function rocSvg(models: readonly ScoredModel[]): string {
  return curvesSvg({
    title: 'ROC',
    xLabel: 'false positives, share of class 0',
    yLabel: 'found, share of class 1',
    xDomain: [0, 1],
    yDomain: [0, 1],
    series: models.map(({ name, scores, labels }) => ({
      name: `${name} ${formatNumber(rocAuc(scores, labels))}`,
      points: rocCurve(scores, labels).map((p) => ({ x: p.falsePositiveRate, y: p.truePositiveRate })),
    })),
    reference: {
      name: 'chance',
      points: [
        { x: 0, y: 0 },
        { x: 1, y: 1 },
      ],
    },
  });
}

/** Precision–recall curves. */
export function prSvg(models: readonly ScoredModel[]): string {
  const shares = models.map(({ labels }) => Array.from(labels).reduce((a, b) => a + b, 0) / labels.length);
  const share = shares.reduce((a, b) => a + b, 0) / shares.length;
  return curvesSvg({
    title: 'Precision and recall',
    xLabel: 'recall: found, share of class 1',
    yLabel: 'precision',
    xDomain: [0, 1],
    yDomain: [0, 1],
    series: models.map(({ name, scores, labels }) => {
      const points = prCurve(scores, labels).map((p) => ({ x: p.recall, y: p.precision }));
      const start = points.length === 0 ? [] : [{ x: 0, y: points[0].y }];
      return {
        name: `${name} ${formatNumber(prAuc(scores, labels))}`,
        points: [...start, ...points],
        kind: 'step',
      };
    }),
    reference: {
      name: `share of class 1: ${formatNumber(share)}`,
      points: [
        { x: 0, y: share },
        { x: 1, y: share },
      ],
    },
  });
}

/** Calibration curves with Wilson's intervals. */
export function calibrationSvg(models: readonly ScoredModel[], options: CalibrationOptions = {}): string {
  return curvesSvg({
    title: 'Calibration',
    xLabel: 'probability said',
    yLabel: 'share of class 1 found',
    xDomain: [0, 1],
    yDomain: [0, 1],
    series: models.map(({ name, scores, labels }) => ({
      name,
      marks: true,
      points: calibrationCurve(scores, labels, options).map(({ predicted, observed, interval, count }) => ({
        x: predicted,
        y: observed,
        interval,
        note: `${count} documents: said ${predicted.toFixed(3)}, found ${observed.toFixed(3)}`,
      })),
    })),
    reference: {
      name: 'as said',
      points: [
        { x: 0, y: 0 },
        { x: 1, y: 1 },
      ],
    },
  });
}

function confusionTable(name: string, threshold: number, m: ConfusionMatrix): string {
  const cell = (count: number, of: number): HtmlCell => ({
    value: count,
    small: of === 0 ? '–' : `${((100 * count) / of).toFixed(1)} %`,
  });
  const [zeros, ones] = [m.trueNegative + m.falsePositive, m.truePositive + m.falseNegative];
  return `<div>\n<p>${escapeHtml(name)}, threshold ${formatNumber(threshold)}</p>\n${htmlTable(
    ['truth', 'said 0', 'said 1'],
    [
      ['class 0', cell(m.trueNegative, zeros), cell(m.falsePositive, zeros)],
      ['class 1', cell(m.falseNegative, ones), cell(m.truePositive, ones)],
    ],
  )}\n</div>\n`;
}

function interval(i: Interval): string {
  return `${formatNumber(i.value)} (${range(i)})`;
}

function range({ low, high }: Interval): string {
  return `${formatNumber(low)}–${formatNumber(high)}`;
}

function signed(value: number): string {
  return Number.isNaN(value) ? '–' : `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(3)}`;
}

function pText(p: number): string {
  return Number.isNaN(p) ? 'p –' : p < 0.001 ? 'p < 0.001' : `p = ${p.toFixed(3)}`;
}
