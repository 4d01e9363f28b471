/** Node only. JSON lines: an object on each line, read one line at a time. */
import { DataError } from '../device/errors.js';
import { type Row, select, type Table } from './table.js';
import { readLines } from './text-stream.js';

/** Lines whose fields are the columns. A field that first comes later is no column. */
const LINES_FOR_COLUMNS = 1000;

/**
 * Opens a file of JSON lines; the columns are the fields of its first 1,000 lines.
 * @throws DataError naming file and line where there is no JSON object
 */
export async function openJsonLines(path: string): Promise<Table> {
  const names = new Set<string>();
  let lines = 0;
  for await (const row of parse(path)) {
    for (const name of Object.keys(row)) names.add(name);
    if (++lines === LINES_FOR_COLUMNS) break;
  }
  const table = { source: path, columns: [...names] };
  return { ...table, rows: (options) => select(table, parse(path), options) };
}

async function* parse(path: string): AsyncGenerator<Row> {
  let number = 0;
  for await (const line of readLines(path)) {
    number++;
    if (line.trim() === '') continue;
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch (cause) {
      throw new DataError(
        `openJsonLines: expected JSON in line ${number} of ${path}: ${(cause as Error).message}`,
        { cause },
      );
    }
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw new DataError(
        `openJsonLines: expected an object in line ${number} of ${path}, got ${line.slice(0, 40)}`,
      );
    }
    yield value as Row;
  }
}
