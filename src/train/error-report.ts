/** Where a classifier errs: by the length of documents, and in which of them most. */
import { barsSvg, curvesSvg, histogramSvg } from './chart.js';
import { rocAuc, wilson } from './classification-metrics.js';
import { type HtmlCell, type HtmlSection, htmlCharts, htmlTable, htmlText } from './html-report.js';

/** A document that was judged. */
export interface JudgedDocument {
  readonly name: string;
  readonly group: string;
  readonly label: 0 | 1;
  readonly probability: number;
  /** Class 1 from this probability on. */
  readonly threshold: number;
  /** Length of the text; undefined where it is not known. */
  readonly characters?: number;
  /** What another model said, to compare with. */
  readonly other?: number;
}

/** Most bins of lengths, and documents that one holds at least. */
const BINS = 5;
const LEAST = 8;
/** Documents that are named. */
const WORST = 12;

/** Documents of like length. */
export interface LengthBin {
  readonly from: number;
  readonly to: number;
  readonly documents: readonly JudgedDocument[];
  readonly errors: number;
}

const isWrong = ({ probability, threshold, label }: JudgedDocument): boolean =>
  (probability >= threshold ? 1 : 0) !== label;

/** Documents by length, in bins of about as many; those of equal length stay together. */
export function lengthBins(documents: readonly JudgedDocument[]): LengthBin[] {
  const sorted = documents
    .filter(({ characters }) => characters !== undefined)
    .sort((a, b) => a.characters! - b.characters!);
  const count = Math.max(1, Math.min(BINS, Math.floor(sorted.length / LEAST)));
  const bins: JudgedDocument[][] = [];
  sorted.forEach((document, i) => {
    const isNew = Math.floor((i * count) / sorted.length) > Math.floor(((i - 1) * count) / sorted.length);
    const isSame = i > 0 && sorted[i - 1].characters === document.characters;
    if (i === 0 || (isNew && !isSame)) bins.push([]);
    bins.at(-1)!.push(document);
  });
  return bins.map((bin) => ({
    from: bin[0].characters!,
    to: bin.at(-1)!.characters!,
    documents: bin,
    errors: bin.filter(isWrong).length,
  }));
}

/** Sections on lengths, and on the documents that are most wrong. @param other what the other model is called */
export function errorSections(documents: readonly JudgedDocument[], other = 'baseline'): HtmlSection[] {
  if (documents.length === 0) return [];
  const bins = lengthBins(documents);
  return [
    ...(bins.length === 0 ? [] : [lengthSection(documents, bins)]),
    { title: 'Most wrong', body: worst(documents, other) },
  ];
}

function lengthSection(documents: readonly JudgedDocument[], bins: readonly LengthBin[]): HtmlSection {
  const lengths = (label: 0 | 1): number[] =>
    documents.filter((d) => d.label === label).flatMap(({ characters }) => characters ?? []);
  const n = (x: number): string => x.toLocaleString('en');
  const percent = (part: number, all: number): HtmlCell => ({
    value: all === 0 ? '–' : `${((100 * part) / all).toFixed(1)} %`,
    small: `${part} of ${all}`,
  });
  const middle = ({ documents: d }: LengthBin): number => d[Math.floor(d.length / 2)].characters!;
  return {
    title: 'Lengths',
    body: [
      htmlCharts([
        histogramSvg({
          title: 'Lengths of the documents',
          xLabel: 'characters',
          groups: ([0, 1] as const).map((label) => ({ name: `class ${label}`, values: lengths(label) })),
          width: 520,
          height: 420,
        }),
        curvesSvg({
          title: 'Errors by length',
          xLabel: 'characters, the middle of each row below',
          yLabel: 'share that is wrong',
          xDomain: [bins[0].from, bins.at(-1)!.to],
          yDomain: [0, 1],
          logX: bins[0].from > 0 && bins.at(-1)!.to / bins[0].from > 20,
          series: [
            {
              name: 'wrong at the threshold',
              marks: true,
              points: bins.map((bin) => ({
                x: middle(bin),
                y: bin.errors / bin.documents.length,
                interval: wilson(bin.errors, bin.documents.length),
                note: `${bin.errors} of ${bin.documents.length} documents of ${n(bin.from)} to ${n(bin.to)} characters`,
              })),
            },
          ],
        }),
      ]),
      htmlTable(
        ['characters', 'documents', 'of class 1', 'wrong', 'class 0 wrong', 'class 1 wrong', 'ROC-AUC'],
        bins.map(({ from, to, documents: some, errors }): HtmlCell[] => {
          const [zeros, ones] = ([0, 1] as const).map((label) => some.filter((d) => d.label === label));
          return [
            `${n(from)} to ${n(to)}`,
            some.length,
            percent(ones.length, some.length),
            percent(errors, some.length),
            percent(zeros.filter(isWrong).length, zeros.length),
            percent(ones.filter(isWrong).length, ones.length),
            zeros.length > 0 && ones.length > 0
              ? rocAuc(
                  some.map(({ probability }) => probability),
                  some.map(({ label }) => label),
                )
              : Number.NaN,
          ];
        }),
      ),
    ].join('\n'),
  };
}

/** The documents whose class the model found least likely. */
function worst(documents: readonly JudgedDocument[], other: string): string {
  const likelihood = ({ label, probability }: JudgedDocument): number =>
    label === 1 ? probability : 1 - probability;
  const wrong = documents.filter(isWrong).sort((a, b) => likelihood(a) - likelihood(b));
  if (wrong.length === 0) return htmlText(`None of ${documents.length} documents is wrong at the threshold.`);
  const hasOther = documents.some((d) => d.other !== undefined);
  const shown = wrong.slice(0, WORST);
  const groups = new Map<string, number>();
  for (const { group } of wrong) groups.set(group, (groups.get(group) ?? 0) + 1);
  const often = [...groups].filter(([, count]) => count > 1).sort((a, b) => b[1] - a[1]);
  return [
    htmlText(
      `${wrong.length} of ${documents.length} documents are wrong at the threshold${wrong.length > shown.length ? `; the ${shown.length} whose class the model found least likely` : ''}:`,
    ),
    htmlTable(
      ['document', 'group', 'class', 'probability', ...(hasOther ? [other] : []), 'characters'],
      shown.map(({ name, group, label, probability, characters, other: said }): HtmlCell[] => [
        name,
        group === name ? '' : group,
        label,
        probability,
        ...(hasOther ? [said ?? ''] : []),
        characters ?? '',
      ]),
    ),
    often.length === 0
      ? ''
      : htmlCharts([
          barsSvg({
            title: 'Groups with the most errors',
            xLabel: 'documents that are wrong',
            bars: often.slice(0, WORST).map(([label, value]) => ({ label, value })),
          }),
        ]),
  ].join('\n');
}
