/** What `dawngrad explore` says: a summary for a terminal, and a page with plots. */
import type { Exploration, ExploredDocument, MissingValues, SimilarPair } from '../data/explore.js';
import { type LengthStatistics, lengthStatistics } from '../data/lengths.js';
import type { TypicalWord } from '../data/log-odds.js';
import { barsSvg, histogramSvg } from './chart.js';
import { type HtmlSection, htmlCharts, htmlReport, htmlTable, htmlText } from './html-report.js';

const LENGTHS = ['mean', 'min', 'p10', 'p25', 'median', 'p75', 'p90', 'p99', 'max', 'total'] as const;
/** Pairs of similar documents that are named. */
const PAIRS = 20;

/** The summary for a terminal. */
export function formatExploration(e: Exploration): string {
  const lines = [
    `Rows        ${n(e.rows)} of ${e.source}; text from ${e.columns.text}, class from ${e.columns.label}`,
    `Documents   ${classText(e.documents)}; ${n(groupCount(e.documents))} groups`,
  ];
  const skipped = [...e.skipped].map(([reason, count]) => `${n(count)} ${reason}`);
  if (skipped.length > 0) lines.push(`Left out    ${skipped.join(', ')}`);
  const gaps = e.missing.filter(({ missing }) => missing > 0);
  const gapText = gaps.map((gap) => {
    const share = percent(gap.missing, e.rows);
    const telling = tells(e, gap)
      ? `, which tells the class: ${gapShares(e, gap).join(' of class 0, ')} of class 1`
      : '';
    return `${gap.column} ${n(gap.missing)} (${share}${telling})`;
  });
  lines.push(`Missing     ${gapText.length === 0 ? 'nothing' : gapText.join(', ')}`);
  if (e.documents.length === 0) return `${lines.join('\n')}\n`;
  lines.push(`Splits      ${describeSplits(e)}`);
  for (const { name, members } of splitsOf(e)) lines.push(`  ${name.padEnd(12)}${classText(members)}`);
  lines.push('', row('Lengths', [...LENGTHS]));
  for (const { name, statistics } of lengthRows(e))
    lines.push(
      row(
        name,
        LENGTHS.map((key) => n(Math.round(statistics[key]))),
      ),
    );
  lines.push(
    '',
    `Words       ${n(e.wordCount)}, ${n(e.vocabulary)} different`,
    `Frequent    ${e.frequent.map(({ word, counts: [a, b] }) => `${word} ${n(a + b)}`).join(', ')}`,
  );
  for (const label of [1, 0] as const) {
    const typical = e.typical[label].map(({ word, z }) => `${word} ${Math.abs(z).toFixed(1)}`);
    if (typical.length > 0) lines.push(`Class ${label}     ${typical.join(', ')}`);
  }
  lines.push('', `Similar     ${similarText(e)}`);
  for (const pair of e.similar.slice(0, 5)) lines.push(`  ${pairText(pair)}`);
  if (e.similar.length > 5) lines.push(`  and ${n(e.similar.length - 5)} more`);
  return `${lines.join('\n')}\n`;
}

/** The page: one HTML file without script. */
export function explorationHtml(e: Exploration): string {
  const lead = `${n(e.documents.length)} documents of ${n(e.rows)} rows; text from ${e.columns.text}, class from ${e.columns.label}`;
  return htmlReport({ title: `Exploring ${e.source}`, lead, sections: sections(e) });
}

function sections(e: Exploration): HtmlSection[] {
  const classes: HtmlSection = {
    title: 'Classes and splits',
    body: [
      htmlTable(
        ['split', 'documents', 'class 0', 'class 1', 'share of class 1', 'groups'],
        [...splitsOf(e), { name: 'all', members: e.documents }].map(({ name, members }) => {
          const ones = members.filter(({ label }) => label === 1).length;
          const share = percent(ones, members.length);
          return [
            name,
            members.length,
            members.length - ones,
            ones,
            { value: share, small: '' },
            groupCount(members),
          ];
        }),
      ),
      htmlText(`Splits: ${describeSplits(e)}.`),
      ...[...e.skipped].map(([reason, count]) => htmlText(`${n(count)} rows are left out: ${reason}.`)),
    ].join('\n'),
  };
  const missing: HtmlSection = {
    title: 'Missing values',
    body: [
      htmlTable(
        ['column', 'missing', 'share', 'of class 0', 'of class 1'],
        e.missing.map((gap) => [
          gap.column,
          gap.missing,
          ...[percent(gap.missing, e.rows), ...gapShares(e, gap)].map((value) => ({ value, small: '' })),
        ]),
      ),
      ...e.missing
        .filter((gap) => tells(e, gap))
        .map(({ column }) =>
          htmlText(`Whether ${column} is missing tells the class: a model must not see it.`, {
            warning: true,
          }),
        ),
    ].join('\n'),
  };
  if (e.documents.length === 0) return [classes, missing];
  const byClass = (of: (d: ExploredDocument) => number) =>
    ([0, 1] as const).map((label) => ({
      name: `class ${label}`,
      values: e.documents.filter((d) => d.label === label).map(of),
    }));
  return [
    classes,
    missing,
    {
      title: 'Lengths',
      body: [
        htmlTable(
          ['', ...LENGTHS.slice(0, -1)],
          lengthRows(e).map(({ name, statistics }) => [
            name.trimStart(),
            ...LENGTHS.slice(0, -1).map((key) => Math.round(statistics[key])),
          ]),
        ),
        htmlCharts([
          histogramSvg({ title: 'Length in tokens', xLabel: 'tokens', groups: byClass((d) => d.tokens) }),
          histogramSvg({
            title: 'Length in characters',
            xLabel: 'characters',
            groups: byClass((d) => d.characters),
          }),
        ]),
      ].join('\n'),
    },
    {
      title: 'Words',
      body: [
        htmlText(
          `${n(e.wordCount)} words, ${n(e.vocabulary)} different. Typical words by log-odds with an informative Dirichlet prior, in standard errors; words of one or two documents are left out.`,
        ),
        htmlCharts([
          barsSvg({
            title: 'Typical of a class',
            xLabel: '← class 0   z   class 1 →',
            bars: [...e.typical[1], ...[...e.typical[0]].reverse()].map(typicalBar),
          }),
          barsSvg({
            title: 'Frequent',
            xLabel: 'occurrences',
            bars: e.frequent.map(({ word, counts: [a, b], documents }) => ({
              label: word,
              value: a + b,
              note: `class 0: ${n(a)}, class 1: ${n(b)}, in ${n(documents)} documents`,
            })),
          }),
        ]),
      ].join('\n'),
    },
    {
      title: 'Similar documents',
      body: [
        htmlText(similarText(e), { warning: leaks(e).length > 0 }),
        e.similar.length === 0
          ? ''
          : htmlTable(
              ['document', 'is like', 'similarity', 'splits', 'classes'],
              e.similar
                .slice(0, PAIRS)
                .map(({ first, second, similarity, isExact }) => [
                  second.id,
                  first.id,
                  isExact ? 'the same' : `about ${similarity.toFixed(2)}`,
                  second.split === first.split ? second.split : `${second.split} and ${first.split}`,
                  second.label === first.label ? String(first.label) : 'different',
                ]),
            ),
        e.similar.length > PAIRS ? htmlText(`The first ${PAIRS} of ${n(e.similar.length)}.`) : '',
      ].join('\n'),
    },
  ];
}

/** Shares of documents of class 0 and 1 without a value. */
function gapShares(e: Exploration, { byClass }: MissingValues): string[] {
  return byClass.map((gaps, label) => percent(gaps, e.documents.filter((d) => d.label === label).length));
}

/** Whether the two shares lie 20 points apart or more. */
function tells(e: Exploration, { byClass }: MissingValues): boolean {
  const [a, b] = byClass.map((gaps, label) => gaps / e.documents.filter((d) => d.label === label).length);
  return Math.abs(a - b) >= 0.2;
}

function typicalBar({ word, z, counts: [a, b], documents }: TypicalWord) {
  return {
    label: word,
    value: z,
    // The colour of the class in the histograms.
    colour: z > 0 ? 1 : 0,
    note: `class 0: ${n(a)}, class 1: ${n(b)}, in ${n(documents)} documents`,
  };
}

function lengthRows(e: Exploration): { name: string; statistics: LengthStatistics }[] {
  const rows: { name: string; statistics: LengthStatistics }[] = [];
  for (const unit of ['tokens', 'characters'] as const) {
    for (const label of [null, 0, 1]) {
      const members = e.documents.filter((d) => label === null || d.label === label);
      if (members.length === 0) continue;
      rows.push({
        name: label === null ? unit : `  class ${label}`,
        statistics: lengthStatistics(members.map((d) => d[unit])),
      });
    }
  }
  return rows;
}

/** Documents by split, in the order in which people think of them. */
function splitsOf(e: Exploration): { name: string; members: ExploredDocument[] }[] {
  if (e.splitBy === null) return [];
  const order = ['train', 'validation', 'test'];
  const rank = (name: string) => (order.includes(name) ? order.indexOf(name) : order.length);
  return [...new Set(e.documents.map(({ split }) => split))]
    .sort((a, b) => rank(a) - rank(b))
    .map((split) => ({
      name: split === '' ? '(none)' : split,
      members: e.documents.filter((d) => d.split === split),
    }));
}

function describeSplits({ splitBy }: Exploration): string {
  if (splitBy === null) return 'none, there are too few groups';
  if ('column' in splitBy) return `named by the column ${splitBy.column}`;
  return `made with seed ${splitBy.seed}, by class, no group in two of them`;
}

function leaks(e: Exploration): SimilarPair[] {
  return e.similar.filter(({ isLeak }) => isLeak);
}

function similarText(e: Exploration): string {
  const repeating = new Set(e.similar.map(({ second }) => second)).size;
  if (repeating === 0) return 'No two documents are nearly the same.';
  const leaking = new Set(leaks(e).flatMap(({ first, second }) => [first, second])).size;
  const across =
    leaking === 0
      ? 'None of them lie in two splits.'
      : `${n(leaking)} documents have a twin in another split: what a model learns from one it knows of the other. Give twins one group (data.twinKeys).`;
  return `${n(repeating)} documents nearly repeat an earlier one. ${across}`;
}

function pairText({ first, second, similarity, isExact, isLeak }: SimilarPair): string {
  const how = isExact ? 'repeats' : `is like (about ${similarity.toFixed(2)})`;
  const where = isLeak ? `  [${second.split}, ${first.split}: leak]` : '';
  return `${second.id} ${how} ${first.id}${where}`;
}

function classText(documents: readonly ExploredDocument[]): string {
  const ones = documents.filter(({ label }) => label === 1).length;
  return `${n(documents.length)}: ${n(ones)} of class 1 (${percent(ones, documents.length)}), ${n(documents.length - ones)} of class 0`;
}

function groupCount(documents: readonly ExploredDocument[]): number {
  return new Set(documents.map(({ group }) => group)).size;
}

function row(name: string, cells: readonly string[]): string {
  return name.padEnd(12) + cells.map((cell) => cell.padStart(11)).join('');
}

function percent(part: number, whole: number): string {
  return whole === 0 ? '–' : `${((100 * part) / whole).toFixed(1)} %`;
}

function n(x: number): string {
  return x.toLocaleString('en');
}
