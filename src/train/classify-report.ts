/** Node only. What a run of the classifier says in the end: figures, predictions of all documents, a page. */
import {
  classifierSections,
  METRICS,
  type MetricName,
  type MetricRow,
  measureModels,
  type ScoredModel,
} from './classifier-report.js';
import { bestThreshold, calibrationCurve, calibrationError } from './classification-metrics.js';
import type { FittedBaseline } from './classify-baselines.js';
import type { ClassifyConfig } from './classify-config.js';
import type { ClassifyDocument } from './classify-documents.js';
import {
  type FoldsResult,
  PARTS,
  type Part,
  type PartCounts,
  type PredictionLine,
  type TwinCounts,
} from './classify-types.js';
import { type HtmlCell, type HtmlSection, htmlReport, htmlTable, htmlText } from './html-report.js';

/** What the classifier itself is called beside its baselines. */
export const MODEL = 'model';

/** How a table calls a model. */
const NAMES: Readonly<Record<string, string>> = {
  [MODEL]: 'this model',
  bow: 'bag of words',
  prior: 'prior',
  'zero-shot': 'zero-shot',
};

/** Probabilities of class 1 by the number of the document. */
export type Probabilities = ReadonlyMap<number, number>;

/** Models by key: the bag of words first, since the others are compared with it. */
export function inOrder(
  model: Probabilities,
  baselines: readonly FittedBaseline[],
): [string, Probabilities][] {
  const all = baselines.map(({ name, probabilities }): [string, Probabilities] => [name, probabilities]);
  const rank = ([name]: [string, unknown]): number => ['bow', MODEL, 'zero-shot', 'prior'].indexOf(name);
  return [...all, [MODEL, model] as [string, Probabilities]].sort((a, b) => rank(a) - rank(b));
}

/** Each model's best threshold on the validation documents, and there alone. */
export function chooseThresholds(
  models: readonly [string, Probabilities][],
  documents: readonly ClassifyDocument[],
  validation: readonly number[],
  { thresholdMetric }: ClassifyConfig,
): Record<string, number> {
  const labels = validation.map((i) => documents[i].label);
  return Object.fromEntries(
    models.map(([name, probabilities]) => {
      const scores = validation.map((i) => probabilities.get(i)!);
      return [name, bestThreshold(scores, labels, { metric: thresholdMetric }).threshold];
    }),
  );
}

/** Models on some documents, as tables and plots take them; whole groups are drawn where there are groups. */
export function scoredModels(
  models: readonly [string, Probabilities][],
  documents: readonly ClassifyDocument[],
  part: readonly number[],
  thresholdOf: (model: string, document: number) => number,
): ScoredModel[] {
  const labels = part.map((i) => documents[i].label);
  const groups = part.map((i) => documents[i].group);
  const hasGroups = new Set(groups).size < groups.length;
  return models.map(([name, probabilities]) => ({
    name: NAMES[name] ?? name,
    scores: part.map((i) => probabilities.get(i)!),
    labels,
    thresholds: part.map((i) => thresholdOf(name, i)),
    ...(hasGroups && { groups }),
  }));
}

/** The rows of the table. @param most resamples, where intervals need not be exact */
export function measure(
  models: readonly ScoredModel[],
  { bootstrap }: ClassifyConfig,
  most = Infinity,
): MetricRow[] {
  return measureModels(models, { resamples: Math.min(bootstrap, most) });
}

/** Mean distance of said and found shares, of each model. */
export function calibrationErrors(models: readonly ScoredModel[]): Record<string, number> {
  return Object.fromEntries(
    models.map(({ name, scores, labels }) => [name, calibrationError(calibrationCurve(scores, labels))]),
  );
}

/** Lines of `predictions.jsonl`. */
export function predictionLines(
  models: readonly [string, Probabilities][],
  documents: readonly ClassifyDocument[],
  parts: Readonly<Record<Part, readonly number[]>>,
  foldOf?: (document: number) => number,
): PredictionLine[] {
  const [, own] = models.find(([name]) => name === MODEL)!;
  const partOf = new Map(PARTS.flatMap((part) => parts[part].map((i) => [i, part] as const)));
  return documents.flatMap((document, i) => {
    const probability = own.get(i);
    if (probability === undefined) return [];
    const { id, group, title, label, text } = document;
    const others = models.filter(([name]) => name !== MODEL).map(([name, p]) => [name, p.get(i)]);
    return {
      id,
      group,
      ...(title !== undefined && { title }),
      split: partOf.get(i)!,
      ...(foldOf && { fold: foldOf(i) }),
      label,
      characters: text.length,
      probability,
      ...Object.fromEntries(others),
    };
  });
}

export interface ReportInputs {
  readonly title: string;
  readonly lead: string;
  readonly models: readonly ScoredModel[];
  /** What `measure` gave of them. */
  readonly rows: readonly MetricRow[];
  readonly config: ClassifyConfig;
  readonly parts: Readonly<Record<Part, PartCounts>> | null;
  readonly twins: TwinCounts;
  /** More about the run, such as its folds. */
  readonly sections?: readonly HtmlSection[];
}

/** `report.html` */
export function classifyReport({
  title,
  lead,
  models,
  rows,
  config,
  parts,
  twins,
  sections = [],
}: ReportInputs): string {
  const data = [
    parts === null
      ? ''
      : htmlTable(
          ['part', 'documents', 'of class 1', 'groups', 'tokens'],
          PARTS.map((part) => {
            const { documents, positives, groups, tokens } = parts[part];
            return [part, documents, positives, groups, tokens];
          }),
        ),
    htmlText(
      `${twins.documents} documents have a near-duplicate; ${twins.divided} of them in another part.`,
      { warning: twins.divided > 0 },
    ),
    htmlText('The threshold was chosen on validation; the test documents were read once, at the end.'),
  ].join('\n');
  return htmlReport({
    title,
    lead,
    sections: [
      ...classifierSections(models, { rows, resamples: config.bootstrap }),
      ...sections,
      { title: 'Documents', body: data },
      {
        title: 'Settings',
        body: htmlTable(
          ['setting', 'value'],
          Object.entries(config).flatMap(([name, value]) =>
            value === null ? [] : [[name, settingText(value)]],
          ),
        ),
      },
    ],
  });
}

/** The row of the classifier itself among those of its baselines. */
export function ownRow<Row extends { readonly name: string }>(rows: readonly Row[]): Row {
  return rows.find(({ name }) => name === NAMES[MODEL])!;
}

/** JSON has no NaN: an undefined figure comes back as null. */
export function numberOf(value: number | null): number {
  return value ?? Number.NaN;
}

/** The runs of a cross-validation, one by one. */
export function foldSection({ folds }: FoldsResult): HtmlSection {
  const names = Object.keys(METRICS) as MetricName[];
  const table = htmlTable(
    ['fold', 'test documents', 'steps', 'threshold', ...names.map((name) => METRICS[name])],
    folds.map(({ fold, parts, step, threshold, test }): HtmlCell[] => [
      String(fold),
      { value: parts.test.documents, small: `${parts.test.positives} of class 1` },
      step,
      threshold,
      ...names.map((name) => numberOf(ownRow(test).metrics[name].value)),
    ]),
  );
  const note = htmlText(
    'Runs of different folds need not agree in what a probability means, which costs the pooled figures.',
  );
  return { title: 'Folds', body: [table, note].join('\n') };
}

function settingText(value: unknown): string {
  return Array.isArray(value) ? value.join(', ') : String(value);
}

/** Values as lines of JSON. */
export const jsonLines = (lines: readonly unknown[]): string =>
  lines.map((line) => `${JSON.stringify(line)}\n`).join('');
