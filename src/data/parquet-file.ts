/** Node only. Parquet files, read row group by row group: memory holds a batch of rows, not the file. */
import { stat } from 'node:fs/promises';
import { DataError } from '../device/errors.js';
import { type ParquetFooter, ParquetWorker } from './parquet-worker.js';
import { checkColumns, type Row, type RowOptions, type Table } from './table.js';

/** A column of a parquet file. */
export interface ParquetColumn {
  readonly name: string;
  /** Apache Arrow's name of the type: Utf8, Int64, … */
  readonly type: string;
  readonly nullable: boolean;
}

/** A parquet file as a table. */
export interface ParquetTable extends Table {
  readonly rowCount: number;
  readonly rowGroups: number;
  readonly schema: readonly ParquetColumn[];
}

/** Uncompressed bytes of the columns that one batch aims at. Scripts of 100 KB give batches of 40, years the most. */
const BATCH_BYTES = 4 * 2 ** 20;
const MOST_ROWS = 4096;

/** Ends the threads of tables that nobody holds any more. */
const forgotten = new FinalizationRegistry<Idle>(({ worker }) => worker?.terminate());

/** A thread that waits for the next reading. */
interface Idle {
  worker: ParquetWorker | null;
}

/**
 * Opens a parquet file; of its contents only the footer is read.
 *
 * Row groups are read one at a time and given out in batches of a few megabytes, so the file may be larger than memory. Each
 * reading has a thread of its own.
 *
 * Integers of 64 bits come as numbers where a number holds them exactly, as bigint otherwise; missing values as null.
 *
 * @throws DataError when there is no such file or it is not parquet; from `rows`, when pages of a row group are damaged
 */
export async function openParquet(path: string): Promise<ParquetTable> {
  await checkFile(path);
  // Loaded when the first file is opened: no other command should pay for it.
  const arrow = await import('apache-arrow');
  const { worker, footer } = await start(path);
  const idle: Idle = { worker };
  const { groups } = footer;
  const schema = arrow.tableFromIPC(footer.schema).schema.fields.map((field) => ({
    name: field.name,
    type: String(field.type),
    nullable: field.nullable,
  }));
  const columns = schema.map(({ name }) => name);

  async function* batches(names: readonly string[], worker: ParquetWorker) {
    for (const [index, group] of groups.entries()) {
      if (group.rows === 0) continue;
      const bytes = names.reduce((sum, name) => sum + (group.bytes.get(name) ?? 0), 0);
      const perRow = Math.max(1, bytes / group.rows);
      const batchSize = Math.max(1, Math.min(MOST_ROWS, Math.floor(BATCH_BYTES / perRow)));
      try {
        for await (const batch of worker.batches({ columns: names, rowGroups: [index], batchSize })) {
          yield arrow.tableFromIPC(batch);
        }
      } catch (cause) {
        throw new DataError(
          `openParquet: cannot read row group ${index} (of ${groups.length}, from 0) of ${path}: ${(cause as Error).message}`,
          { cause },
        );
      }
    }
  }

  async function* rows({
    columns: wanted,
    limit = Number.POSITIVE_INFINITY,
  }: RowOptions = {}): AsyncGenerator<Row> {
    const names = checkColumns({ source: path, columns }, wanted);
    if (limit <= 0) return;
    const worker = idle.worker?.isAlive ? idle.worker : (await start(path)).worker;
    if (worker === idle.worker) idle.worker = null;
    try {
      let left = limit;
      for await (const table of batches(names, worker)) {
        const vectors = names.map((name) => table.getChild(name));
        for (let i = 0; i < table.numRows; i++) {
          yield Object.fromEntries(names.map((name, c) => [name, plain(vectors[c]?.get(i))]));
          if (--left <= 0) return;
        }
      }
    } finally {
      if (worker.isAlive && idle.worker === null) idle.worker = worker;
      else worker.terminate();
    }
  }

  const table = {
    source: path,
    columns,
    schema,
    rowCount: groups.reduce((sum, group) => sum + group.rows, 0),
    rowGroups: groups.length,
    rows,
  };
  forgotten.register(rows, idle);
  return table;
}

async function start(path: string): Promise<{ worker: ParquetWorker; footer: ParquetFooter }> {
  const worker = new ParquetWorker(path);
  try {
    return { worker, footer: await worker.open() };
  } catch (cause) {
    worker.terminate();
    throw new DataError(`openParquet: expected a parquet file, got ${path}: ${(cause as Error).message}`, {
      cause,
    });
  }
}

/** Arrow's value as plain JavaScript. */
function plain(value: unknown): unknown {
  if (typeof value !== 'bigint') return value ?? null;
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

async function checkFile(path: string): Promise<void> {
  try {
    if (!(await stat(path)).isFile()) throw new Error('not a file');
  } catch (cause) {
    throw new DataError(`openParquet: cannot read ${path}: ${(cause as Error).message}`, { cause });
  }
}
