/** Tables: rows that come one after another, so that a table may be larger than memory. */
import { DataError } from '../device/errors.js';

/** A row: a value for each column; null where there is none. */
export type Row = Record<string, unknown>;

/** What to read of a table. */
export interface RowOptions {
  /** Columns to read; all by default. */
  readonly columns?: readonly string[];
  /** Rows to read at most. */
  readonly limit?: number;
}

/** Rows from a file, a folder or memory; `rows` may be called more than once, and begins anew each time. */
export interface Table {
  /** Where the rows come from, for messages. */
  readonly source: string;
  /** Names of the columns. */
  readonly columns: readonly string[];
  /** Number of rows, where it is known without reading them. */
  readonly rowCount?: number;
  /** @throws DataError for a column that the table lacks, and for rows that cannot be read */
  rows(options?: RowOptions): AsyncGenerator<Row>;
}

/**
 * Checks names of columns against those that a table has.
 * @returns the names, or all columns for none given
 * @throws DataError naming what is missing, and what there is
 */
export function checkColumns(
  table: Pick<Table, 'source' | 'columns'>,
  wanted?: readonly string[],
): readonly string[] {
  if (wanted === undefined) return table.columns;
  const known = new Set(table.columns);
  const missing = wanted.filter((name) => !known.has(name));
  if (missing.length > 0) {
    throw new DataError(
      `table: expected ${missing.length === 1 ? 'a column' : 'columns'} ${missing.join(', ')} in ${table.source}, ` +
        `got ${listColumns(table)}`,
    );
  }
  return [...new Set(wanted)];
}

/** The names of a table's columns, for messages. */
export function listColumns({ columns }: Pick<Table, 'columns'>): string {
  return columns.length === 0 ? 'no columns' : columns.join(', ');
}

/**
 * A table in memory.
 * @param columns names; those of all rows by default
 */
export function tableOf(rows: readonly Row[], source = 'rows in memory', columns?: readonly string[]): Table {
  const names = columns ?? [...new Set(rows.flatMap((row) => Object.keys(row)))];
  return {
    source,
    columns: names,
    rowCount: rows.length,
    rows: (options) => select({ source, columns: names }, rows, options),
  };
}

/** Rows with the wanted columns only, up to the limit; what a row lacks is null. */
export async function* select(
  table: Pick<Table, 'source' | 'columns'>,
  rows: Iterable<Row> | AsyncIterable<Row>,
  { columns, limit = Number.POSITIVE_INFINITY }: RowOptions = {},
): AsyncGenerator<Row> {
  const names = checkColumns(table, columns);
  let left = limit;
  if (left <= 0) return;
  for await (const row of rows) {
    yield Object.fromEntries(names.map((name) => [name, row[name] ?? null]));
    if (--left <= 0) return;
  }
}
