/** Questions and answers as files hold them, whatever the format: labelled text, JSON lines, or posts. */
import { DataError } from '../device/errors.js';
import {
  excerpt,
  formatPrompt,
  formatQA,
  isLabelled,
  LABEL,
  normalizeText,
  type QAPair,
  scanQA,
} from './qa.js';
import { formatPosts, isNumberedPosts, type Post, parsePosts } from './qa-posts.js';
import { type QASplit, type QASplitOptions, questionKey, splitPart, splitQA } from './qa-split.js';

/** A pair as a file holds it. */
export interface QARecord extends QAPair {
  /** The line of the file, from 1. */
  readonly line: number;
  /** The part that the file puts it in. */
  readonly split?: keyof QASplit;
  /** Other fields of a JSON line, kept. */
  readonly fields?: Readonly<Record<string, unknown>>;
}

/** Splits records as their file says, or by hash where it says nothing. */
export function splitRecords(
  records: readonly QARecord[],
  source: string,
  options: QASplitOptions = {},
): QASplit {
  const plain = ({ question, answer }: QARecord): QAPair => ({ question, answer });
  const without = records.find((record) => record.split === undefined);
  if (records.every((record) => record.split === undefined)) return splitQA(records.map(plain), options);
  if (without !== undefined) {
    throw new DataError(
      `readQA: expected a split on every line or on none, got a line without, line ${without.line} of ${source}`,
    );
  }
  const split: QASplit = { train: [], validation: [], test: [] };
  const seen = new Map<string, QARecord>();
  for (const record of records) {
    const key = questionKey(record.question);
    const first = seen.get(key) ?? record;
    seen.set(key, first);
    if (first.split !== record.split) {
      throw new DataError(
        `readQA: expected all answers to a question in one split, got ${first.split} in line ${first.line} and ` +
          `${record.split} in line ${record.line} of ${source} for ${excerpt(record.question)}; ` +
          'split anew with: dawngrad qa split',
      );
    }
    split[record.split!].push(plain(record));
  }
  return split;
}

/** Whether a text is JSON lines rather than labelled text. */
export function isJsonLines(text: string, path = ''): boolean {
  return /\.(jsonl|ndjson)$/i.test(path) || /^\s*\{/.test(normalizeText(text));
}

/**
 * The pairs of a text in either format.
 * @param source the file's name, for its format and for errors
 * @throws DataError naming file and line
 */
export function parseQARecords(text: string, source: string): QARecord[] {
  if (isJsonLines(text, source)) return parseJsonLines(text, source);
  const { pairs, problems } = scanQA(text);
  if (problems.length > 0) {
    const more = problems.length > 1 ? `; ${problems.length} such places in all` : '';
    throw new DataError(`readQA: ${problems[0].message}, line ${problems[0].line} of ${source}${more}`);
  }
  return pairs.map(({ question, answer, line }) => ({ question, answer, line }));
}

function parseJsonLines(text: string, source: string): QARecord[] {
  const records: QARecord[] = [];
  for (const [i, content] of normalizeText(text).split('\n').entries()) {
    if (content.trim() === '') continue;
    const fail = (message: string): never => {
      throw new DataError(`readQA: expected ${message}, line ${i + 1} of ${source}`);
    };
    let row: unknown;
    try {
      row = JSON.parse(content);
    } catch {
      fail(`a JSON object, got ${excerpt(content)}`);
    }
    if (typeof row !== 'object' || row === null || Array.isArray(row))
      fail(`a JSON object, got ${excerpt(content)}`);
    const { question, answer, split, ...fields } = row as Record<string, unknown>;
    const texts = { question, answer };
    for (const [name, value] of Object.entries(texts)) {
      if (typeof value !== 'string' || value.trim() === '')
        fail(`text in "${name}", got ${JSON.stringify(value) ?? 'none'}`);
    }
    const part = typeof split === 'string' ? splitPart(split) : undefined;
    if (split !== undefined && split !== null && part === undefined) {
      fail(`"split" to be train, validation or test, got ${JSON.stringify(split)}`);
    }
    records.push({
      question: normalizeText(question as string).trim(),
      answer: normalizeText(answer as string).trim(),
      line: i + 1,
      split: part,
      fields,
    });
  }
  return records;
}

/** A file's contents in the format they came in. */
export type QADocument =
  | {
      readonly kind: 'pairs';
      readonly format: 'jsonl' | 'text';
      /** Whether the text's labels have numbers. */
      readonly numbered: { readonly question: boolean; readonly answer: boolean };
      readonly records: readonly QARecord[];
    }
  | { readonly kind: 'posts'; readonly numbered: boolean; readonly posts: readonly Post[] };

/**
 * Reads labelled text or JSON lines as pairs, and any other text as posts: those it numbers, or its paragraphs.
 * @param source the file's name, for its format and for errors
 * @throws DataError naming file and line
 */
export function parseDocument(text: string, source: string): QADocument {
  const format = isJsonLines(text, source) ? 'jsonl' : 'text';
  if (format === 'text' && !isLabelled(text)) {
    return { kind: 'posts', numbered: isNumberedPosts(text), posts: parsePosts(text) };
  }
  const numbered = { question: false, answer: false };
  if (format === 'text') {
    for (const line of normalizeText(text).split('\n')) {
      const match = LABEL.exec(line);
      if (match !== null && /\d/.test(match[0])) numbered[match[1].toLowerCase() as 'question'] = true;
    }
  }
  return { kind: 'pairs', format, numbered, records: parseQARecords(text, source) };
}

/** A document as text: JSON lines with the fields they had, labelled text, or posts; numbered where it was. */
export function formatDocument(document: QADocument): string {
  if (document.kind === 'posts') {
    const { posts, numbered } = document;
    return numbered ? formatPosts(posts) : posts.map(({ text }) => `${text}\n`).join('\n');
  }
  const { records, format, numbered } = document;
  if (format === 'jsonl') return records.map((record) => `${formatRecord(record)}\n`).join('');
  return records
    .map((pair, i) => {
      const label = (name: 'question' | 'answer') =>
        numbered[name] ? `${name.toUpperCase()} ${i + 1}:` : `${name.toUpperCase()}:`;
      const prompt = formatPrompt(pair.question);
      const answer = formatQA(pair).slice(prompt.length);
      // The labels are the prompt's beginning and end.
      const question = prompt.slice('QUESTION:'.length, -'ANSWER:'.length);
      return `${label('question')}${question}${label('answer')}${answer}\n`;
    })
    .join('\n');
}

function formatRecord({ fields, question, answer, split }: QARecord): string {
  return JSON.stringify({ ...fields, question, answer, ...(split === undefined ? {} : { split }) });
}
