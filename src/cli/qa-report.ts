import type { LengthStatistics } from '../data/lengths.js';
import type { DuplicateCount, QAStats } from '../data/qa-stats.js';

const COLUMNS = ['mean', 'min', 'p10', 'p25', 'median', 'p75', 'p90', 'p99', 'max', 'total'] as const;

/** What `dawngrad qa stats` prints. */
export function formatStats(stats: QAStats): string {
  const lines = [`Pairs       ${number(stats.pairs)} of ${number(stats.questions)} questions`];
  const splits = Object.entries(stats.splits).map(([name, n]) => `${name} ${number(n)}`);
  if (splits.length > 0) lines.push(`Splits      ${splits.join(', ')}`);
  lines.push(
    `Duplicates  pairs: ${duplicates(stats.duplicatePairs)}; answers: ${duplicates(stats.duplicateAnswers)}`,
    '',
    row('Lengths', COLUMNS),
    lengths('answers per question', stats.answersPerQuestion),
    lengths('question, characters', stats.questionCharacters),
    lengths('question, tokens', stats.questionTokens),
    lengths('answer, characters', stats.answerCharacters),
    lengths('answer, tokens', stats.answerTokens),
    '',
    `Words       ${number(stats.vocabulary)} different`,
  );
  if (stats.words.length > 0)
    lines.push(`Frequent    ${stats.words.map(([word, n]) => `${word} ${number(n)}`).join(', ')}`);
  return `${lines.join('\n')}\n`;
}

function duplicates({ exact, near }: DuplicateCount): string {
  return exact + near === 0 ? 'none' : `${exact} exact, ${near} near`;
}

function lengths(name: string, statistics: LengthStatistics): string {
  return row(
    name,
    COLUMNS.map((column) => number(statistics[column])),
  );
}

function row(name: string, cells: readonly string[]): string {
  return name.padEnd(22) + cells.map((cell) => cell.padStart(9)).join('');
}

function number(x: number): string {
  return x.toLocaleString('en', { maximumFractionDigits: 1 });
}

/** `1 pair`, `1,200 pairs`. */
export function plural(n: number, word: string): string {
  return `${n.toLocaleString('en')} ${word}${n === 1 ? '' : 's'}`;
}
