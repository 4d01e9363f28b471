/** Node only. Files of questions and answers: text, or JSON lines with `question`, `answer` and maybe `split`. */
import { readFile } from 'node:fs/promises';
import { DataError } from '../device/errors.js';
import { parseQARecords, splitRecords } from './qa-records.js';
import type { QASplit, QASplitOptions } from './qa-split.js';

export { isJsonLines, parseQARecords, type QARecord, splitRecords } from './qa-records.js';

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
