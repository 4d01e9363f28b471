/** Counts of what a set of questions and answers holds. */
import { type LengthStatistics, lengthStatistics } from './lengths.js';
import { type DedupeOptions, dedupeTexts } from './qa-dedupe.js';
import type { QARecord } from './qa-records.js';
import { groupByQuestion, type QASplit } from './qa-split.js';
import { countWords, FUNCTION_WORDS } from './words.js';

/** What `statsQA` counts. */
export interface QAStats {
  readonly pairs: number;
  readonly questions: number;
  /** Pairs of each split; only those that the file names. */
  readonly splits: Partial<Record<keyof QASplit, number>>;
  readonly answersPerQuestion: LengthStatistics;
  readonly questionCharacters: LengthStatistics;
  readonly answerCharacters: LengthStatistics;
  readonly questionTokens: LengthStatistics;
  readonly answerTokens: LengthStatistics;
  /** Pairs that repeat an earlier pair; and answers that repeat an earlier answer, to whatever question. */
  readonly duplicatePairs: DuplicateCount;
  readonly duplicateAnswers: DuplicateCount;
  /** Different words, in lower case. */
  readonly vocabulary: number;
  /** Most frequent words that say something, with their counts. */
  readonly words: readonly (readonly [word: string, count: number])[];
}

export interface DuplicateCount {
  readonly exact: number;
  readonly near: number;
}

export interface StatsOptions extends DedupeOptions {
  /** How many words to name; 20 by default. */
  words?: number;
}

/**
 * Counts pairs, lengths in characters and tokens, duplicates and words.
 * @param encode text to tokens
 * @throws DataError when there are no records
 */
export function statsQA(
  records: readonly QARecord[],
  encode: (text: string) => ArrayLike<number>,
  { words = 20, ...dedupe }: StatsOptions = {},
): QAStats {
  // Long answers take most of the time: each different text is encoded once.
  const lengths = new Map<string, number>();
  const tokens = (text: string): number => {
    let length = lengths.get(text);
    if (length === undefined) lengths.set(text, (length = encode(text).length));
    return length;
  };
  const groups = [...groupByQuestion(records).values()];
  const questions = groups.map(([first]) => first.question);
  const splits: Partial<Record<keyof QASplit, number>> = {};
  for (const name of ['train', 'validation', 'test'] as const) {
    const n = records.filter(({ split }) => split === name).length;
    if (n > 0) splits[name] = n;
  }
  const counts = countWords(records.flatMap(({ question, answer }) => [question, answer]));
  return {
    pairs: records.length,
    questions: groups.length,
    splits,
    answersPerQuestion: lengthStatistics(groups.map((group) => group.length)),
    questionCharacters: lengthStatistics(questions.map((q) => q.length)),
    answerCharacters: lengthStatistics(records.map(({ answer }) => answer.length)),
    questionTokens: lengthStatistics(questions.map(tokens)),
    answerTokens: lengthStatistics(records.map(({ answer }) => tokens(answer))),
    duplicatePairs: duplicates(
      records.map(({ question, answer }) => [question, answer]),
      dedupe,
    ),
    duplicateAnswers: duplicates(
      records.map(({ answer }) => answer),
      dedupe,
    ),
    vocabulary: counts.size,
    words: [...counts]
      .filter(([word]) => !FUNCTION_WORDS.has(word) && word.length > 1)
      .sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1))
      .slice(0, words),
  };
}

function duplicates(texts: readonly (string | readonly string[])[], options: DedupeOptions): DuplicateCount {
  const { dropped } = dedupeTexts(texts, options);
  const exact = dropped.filter(({ reason }) => reason === 'exact').length;
  return { exact, near: dropped.length - exact };
}
