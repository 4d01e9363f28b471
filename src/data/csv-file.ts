/** Node only. Tables of separated values, read as a stream. */
import { extname } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { DataError } from '../device/errors.js';
import { type Row, select, type Table } from './table.js';
import { readLines, readPieces } from './text-stream.js';

/** How values are separated. */
export interface CsvOptions {
  /** Between values. By default the tab of `.tsv`; else the one of tab, semicolon and comma that comes most often in the first line. */
  readonly delimiter?: string;
  /** Around values that hold delimiters or line breaks; `"` by default, null for none. */
  readonly quote?: string | null;
  /** Name of a column to add: the line in which each row ends, from 1, for messages about its values. */
  readonly lineColumn?: string;
}

/**
 * Opens a CSV or TSV file with the names of its columns in the first line. All values are strings, empty ones null; rows
 * that are too short lack their last values.
 * @throws DataError when there are no names, or two are equal; for a row with too many values, naming its line
 */
export async function openCsv(path: string, options: CsvOptions = {}): Promise<Table> {
  const delimiter = options.delimiter ?? (await delimiterOf(path));
  const parsing = { delimiter, quote: options.quote === undefined ? '"' : options.quote };
  const header = await first(records(path, parsing));
  if (header === undefined)
    throw new DataError(`openCsv: expected names of columns, got an empty file ${path}`);
  const columns = header.values.map((name) => name.trim());
  const doubled = columns.find((name, i) => columns.indexOf(name) !== i);
  if (doubled !== undefined) {
    throw new DataError(`openCsv: expected names of columns that differ, got ${doubled} twice in ${path}`);
  }
  const { lineColumn } = options;
  if (lineColumn !== undefined && columns.includes(lineColumn)) {
    throw new DataError(
      `openCsv: expected a name for the column of lines that is free, got ${lineColumn}, which ${path} has`,
    );
  }
  const table = { source: path, columns: lineColumn === undefined ? columns : [...columns, lineColumn] };

  async function* rows(): AsyncGenerator<Row> {
    let isHeader = true;
    for await (const { values, line } of records(path, parsing)) {
      if (isHeader) {
        isHeader = false;
        continue;
      }
      if (values.length > columns.length) {
        throw new DataError(
          `openCsv: expected at most ${columns.length} values in line ${line} of ${path}, got ${values.length}; ` +
            'quote values that hold the delimiter',
        );
      }
      const row: Row = Object.fromEntries(
        columns.map((name, i) => [name, values[i] === '' ? null : values[i]]),
      );
      if (lineColumn !== undefined) row[lineColumn] = line;
      yield row;
    }
  }
  return { ...table, rows: (selection) => select(table, rows(), selection) };
}

interface CsvRecord {
  readonly values: string[];
  /** The line it ends in, from 1. */
  readonly line: number;
}

async function* records(
  path: string,
  { delimiter, quote }: { delimiter: string; quote: string | null },
): AsyncGenerator<CsvRecord> {
  const { CsvError, parse } = await import('csv-parse');
  const parser = parse({
    delimiter,
    quote: quote ?? false,
    bom: true,
    info: true,
    relax_column_count: true,
    // Quotes inside a value that does not begin with one are part of it.
    relax_quotes: true,
    skip_empty_lines: true,
  });
  // Its error ends the parser too, and is thrown where the records are read.
  const fed = pipeline(Readable.from(readPieces(path)), parser).catch(() => {});
  try {
    for await (const { record, info } of parser as AsyncIterable<{
      record: string[];
      info: { lines: number };
    }>) {
      yield { values: record, line: info.lines };
    }
  } catch (cause) {
    if (!(cause instanceof CsvError)) throw cause;
    throw new DataError(`openCsv: cannot read ${path}: ${cause.message}`, { cause });
  } finally {
    parser.destroy();
    await fed;
  }
}

async function delimiterOf(path: string): Promise<string> {
  if (extname(path).toLowerCase() === '.tsv') return '\t';
  const line = (await first(readLines(path))) ?? '';
  const count = (delimiter: string) => line.split(delimiter).length;
  return ['\t', ';', ','].reduce((best, next) => (count(next) > count(best) ? next : best), ',');
}

async function first<T>(items: AsyncIterable<T>): Promise<T | undefined> {
  for await (const item of items) return item;
  return undefined;
}
