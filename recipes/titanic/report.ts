/** Results as text and as plots. */
import { train } from '../../src/index.js';
import { CHART_STYLE } from '../../src/train/chart.js';
import type { Similarities } from './embeddings.js';
import { type Kind, KINDS, labelsOf, TITLES } from './fitting.js';
import type { Importance } from './importance.js';
import { METRIC_NAMES, METRICS, type MetricName } from './metrics.js';
import type { Passenger } from './passengers.js';
import { type Comparison, compare, summarize, type Validation } from './validation.js';

const decimals = (x: number, digits: number): string =>
  x
    .toFixed(digits)
    .replace(/^-(?=0\.0*$)/, '')
    .replace('-', '−');
const percent = (x: number): string => `${decimals(100 * x, 1)} %`;
const thousandths = (x: number): string => decimals(x, 3);
const FORMATS: Readonly<Record<MetricName, (x: number) => string>> = {
  accuracy: percent,
  rocAuc: thousandths,
  logLoss: thousandths,
};
const signed = (x: number, format: (x: number) => string): string =>
  `${x < 0 ? '−' : '+'}${format(Math.abs(x))}`;

/** All numbers of the cross-validation. */
export interface Results {
  readonly majority: number;
  readonly models: readonly {
    readonly kind: Kind;
    readonly metrics: Readonly<Record<MetricName, ReturnType<typeof summarize>>>;
  }[];
  readonly comparisons: readonly Comparison[];
}

export function resultsOf(passengers: readonly Passenger[], validation: Validation, seed: number): Results {
  const labels = labelsOf(passengers);
  const survivors = labels.filter((y) => y === 1).length / labels.length;
  const pairs = [
    ['network', 'plain'],
    ['network', 'logistic'],
    ['logistic', 'plain'],
  ] as const;
  return {
    majority: Math.max(survivors, 1 - survivors),
    models: KINDS.map((kind) => ({
      kind,
      metrics: Object.fromEntries(
        METRIC_NAMES.map((name) => [name, summarize(validation, kind, name)]),
      ) as Record<MetricName, ReturnType<typeof summarize>>,
    })),
    comparisons: pairs.flatMap(([a, b]) =>
      METRIC_NAMES.map((name) => compare(passengers, validation, a, b, name, seed)),
    ),
  };
}

/** A table of the models. */
export function formatModels({ majority, models }: Results): string {
  const rows = models.map(({ kind, metrics }) => [
    TITLES[kind],
    ...METRIC_NAMES.map((name) => {
      const { mean, low, high } = metrics[name];
      const format = FORMATS[name];
      return `${format(mean)} (${format(low)} … ${format(high)})`;
    }),
  ]);
  return table([
    ['', ...METRIC_NAMES.map((name) => METRICS[name].title)],
    ['all drowned', percent(majority), (0.5).toFixed(3), ''],
    ...rows,
  ]);
}

/** A table of the differences. */
export function formatComparisons({ comparisons }: Results): string {
  const names: Readonly<Record<Kind, string>> = { plain: 'plain', logistic: 'logistic', network: 'network' };
  return table([
    ['', '', 'difference', 'corrected t-test', 'paired bootstrap', 'folds better : worse'],
    ...comparisons.map(({ metric, a, b, tTest, bootstrap, wins: [better, worse] }) => {
      const format = (x: number) =>
        signed(x, metric === 'accuracy' ? (y) => `${(100 * y).toFixed(2)} %` : (y) => y.toFixed(4));
      const { low, high } = bootstrap.difference;
      return [
        `${names[a]} − ${names[b]}`,
        METRICS[metric].title,
        format(tTest.mean),
        `${format(tTest.low)} … ${format(tTest.high)}, p ${pValue(tTest.pValue)}`,
        `${format(low)} … ${format(high)}, p ${pValue(bootstrap.pValue)}`,
        `${better} : ${worse}`,
      ];
    }),
  ]);
}

/** What the comparison of network and logistic regression with the same features means, in words. */
export function verdict({ comparisons }: Results): string {
  const said = (b: Kind) =>
    METRIC_NAMES.map((name) => {
      const { tTest } = comparisons.find((c) => c.a === 'network' && c.b === b && c.metric === name)!;
      const gain = name === 'logLoss' ? -tTest.mean : tTest.mean;
      const better = gain > 0 ? 'better' : gain < 0 ? 'worse' : 'equal';
      return `${METRICS[name].title} ${better}${tTest.pValue < 0.05 ? '' : ' (not significant)'}`;
    }).join(', ');
  return `The network against ${TITLES.plain}: ${said('plain')}.\nThe network against ${TITLES.logistic}: ${said('logistic')}.`;
}

/** A table of the importances. */
export function formatImportance(importance: readonly Importance[]): string {
  return table([
    ['without', 'AUC lost', 'accuracy lost'],
    ...importance.map(({ concept, rocAuc, accuracy }) => [
      concept,
      `${thousandths(rocAuc.mean)} (${thousandths(rocAuc.low)} … ${thousandths(rocAuc.high)})`,
      `${percent(accuracy.mean)} (${percent(accuracy.low)} … ${percent(accuracy.high)})`,
    ]),
  ]);
}

export function formatSimilarities({ names, cosines }: Similarities): string {
  return table([['', ...names], ...names.map((name, i) => [name, ...cosines[i].map((c) => decimals(c, 2))])]);
}

/** Bars of the importances, with their intervals when pointed at. */
export function importanceSvg(importance: readonly Importance[]): string {
  return standalone(
    train.barsSvg({
      title: 'ROC-AUC lost when a feature is shuffled',
      xLabel: 'mean over held-out folds',
      width: 620,
      bars: importance.map(({ concept, rocAuc: { mean, low, high } }) => ({
        label: concept,
        value: mean,
        note: `${concept}: ${mean.toFixed(4)} (${low.toFixed(4)} … ${high.toFixed(4)})`,
      })),
    }),
  );
}

/** ROC curves of the probabilities, averaged over the repeats. */
export function rocCurvesSvg(
  passengers: readonly Passenger[],
  { probabilities, repeats }: Validation,
): string {
  const labels = labelsOf(passengers);
  const mean = (kind: Kind) =>
    Float64Array.from(labels, (_, i) => probabilities[kind].reduce((sum, p) => sum + p[i], 0) / repeats);
  return standalone(train.rocSvg(KINDS.map((kind) => ({ name: TITLES[kind], scores: mean(kind), labels }))));
}

/** A chart brings no style of its own: pages have it once. */
function standalone(svg: string): string {
  return svg.replace('</title>', `</title>\n<style>${CHART_STYLE}\n</style>`);
}

function pValue(p: number): string {
  return p < 0.001 ? '< 0.001' : p.toFixed(3);
}

/** Columns side by side, the first to the left. */
function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0].map((_, c) => Math.max(...rows.map((row) => row[c].length)));
  return rows
    .map((row) =>
      row
        .map((cell, c) => (c === 0 ? cell.padEnd(widths[c]) : cell.padStart(widths[c])))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
