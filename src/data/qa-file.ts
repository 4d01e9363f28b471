/** Node only. Files of questions and answers: text, or JSON lines with `question`, `answer` and maybe `split`. */
import { readFile } from 'node:fs/promises';
import { DataError } from '../device/errors.js';
import {
  excerpt,
  normalizeText,
  type QAPair,
  type QASplit,
  type QASplitOptions,
  questionKey,
  scanQA,
  splitPart,
  splitQA,
} from './qa.js';

/** A pair as a file holds it. */
export interface QARecord extends QAPair {
  /** The line of the file, from 1. */
  readonly line: number;
  /** The part that the file puts it in. */
  readonly split?: keyof QASplit;
  /** Other fields of a JSON line, kept. */
  readonly fields?: Readonly<Record<string, unknown>>;
}

/**
 * The pairs of a file, split as its `split` fields say, or else by a seeded hash of the questions.
 * @param path JSON lines when the name ends in .jsonl or .ndjson, or the text begins with a brace; otherwise labelled text
 * @throws DataError naming file and line: not UTF-8, not JSON, a missing answer, an unknown split, a question in two parts
 */
export async function readQA(path: string, options: QASplitOptions = {}): Promise<QASplit> {
  const records = parseQARecords(await readText(path), path);
  if (records.length === 0)
    throw new DataError(`readQA: expected questions and answers, got none in ${path}`);
  return splitRecords(records, path, options);
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

/**
 * A file as text.
 * @throws DataError when it cannot be read or is not UTF-8
 */
export async function readText(path: string): Promise<string> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(path);
  } catch (cause) {
    throw new DataError(`readText: cannot read ${path}: ${(cause as Error).message}`, { cause });
  }
  return decodeText(bytes, path);
}

/** Bytes as UTF-8 text; errors name the first line that is not. */
export function decodeText(bytes: Uint8Array, source: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    let line = 0;
    for (let at = 0; at <= bytes.length; line++) {
      const found = bytes.indexOf(10, at);
      const end = found === -1 ? bytes.length : found;
      if (!isUtf8(bytes.subarray(at, end))) break;
      at = end + 1;
    }
    throw new DataError(
      `readText: expected UTF-8 text, got other bytes in line ${line + 1} of ${source}; convert it, e.g. with iconv`,
      { cause },
    );
  }
}

function isUtf8(bytes: Uint8Array): boolean {
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    return true;
  } catch {
    return false;
  }
}
