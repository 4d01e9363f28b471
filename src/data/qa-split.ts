/** Which questions are the same, and which part of a split they fall in. */
import { DataError } from '../device/errors.js';
import type { QAPair } from './qa.js';
import { hashText } from './text-hash.js';

/** What makes two questions the same: their letters and digits, in one case and Unicode form. */
export function questionKey(question: string): string {
  const key = question
    .normalize('NFKC')
    .toLowerCase()
    .replace(/[^\p{L}\p{M}\p{N}]+/gu, ' ')
    .trim();
  return key === '' ? question.trim() : key;
}

/** The pairs of each question, in the order in which the questions first come. */
export function groupByQuestion<Pair extends QAPair>(pairs: readonly Pair[]): Map<string, Pair[]> {
  const groups = new Map<string, Pair[]>();
  for (const pair of pairs) {
    const key = questionKey(pair.question);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [pair]);
    else group.push(pair);
  }
  return groups;
}

/** Training, validation and test pairs. */
export interface QASplit<Pair extends QAPair = QAPair> {
  train: Pair[];
  validation: Pair[];
  test: Pair[];
}

/** How to split pairs. */
export interface QASplitOptions {
  /** Share of the questions held out for validation; 0.1 by default. */
  validation?: number;
  /** Share of the questions held out for the end; 0.05 by default. */
  test?: number;
  /** 0 by default. */
  seed?: number;
}

/** Names of the parts in files, and those that others give them. */
const PARTS: Record<string, keyof QASplit> = {
  train: 'train',
  training: 'train',
  val: 'validation',
  valid: 'validation',
  validation: 'validation',
  dev: 'validation',
  test: 'test',
};

/** The part that a `split` field of a file names; undefined for an unknown name. */
export function splitPart(name: string): keyof QASplit | undefined {
  const key = name.trim().toLowerCase();
  return Object.hasOwn(PARTS, key) ? PARTS[key] : undefined;
}

/**
 * The part of a question, decided by a hash of it: all its answers fall in one part, and a question stays where it is when
 * others come or go. The shares are therefore kept on average only.
 */
export function hashSplit(
  question: string,
  { validation = 0.1, test = 0.05, seed = 0 }: QASplitOptions = {},
): keyof QASplit {
  if (!(validation >= 0 && test >= 0 && validation + test <= 1)) {
    throw new DataError(
      `hashSplit: expected shares of at least 0 that sum to at most 1, got validation ${validation} and test ${test}`,
    );
  }
  const u = hashText(questionKey(question), seed) / 2 ** 32;
  if (u < validation) return 'validation';
  return u < validation + test ? 'test' : 'train';
}

/** Splits pairs by a seeded hash of their questions. */
export function splitQA<Pair extends QAPair>(
  pairs: readonly Pair[],
  options: QASplitOptions = {},
): QASplit<Pair> {
  const split: QASplit<Pair> = { train: [], validation: [], test: [] };
  for (const pair of pairs) split[hashSplit(pair.question, options)].push(pair);
  return split;
}
