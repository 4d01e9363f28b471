/** Node only. Parquet files, read row group by row group: memory holds a batch of rows, not the file. */
import { openAsBlob } from 'node:fs';
import { stat } from 'node:fs/promises';
import type { ParquetFile as WasmFile } from 'parquet-wasm';
import { DataError } from '../device/errors.js';
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

/** Loaded when the first file is opened: compiling them takes half a second, which no other command should pay. */
async function libraries() {
  const [parquet, arrow] = await Promise.all([import('parquet-wasm'), import('apache-arrow')]);
  return { parquet, arrow };
}

/**
 * Opens a parquet file; of its contents only the footer is read.
 *
 * Row groups are read one at a time and given out in batches of a few megabytes, so the file may be larger than memory. (A
 * file whose pages are damaged while its footer is whole ends the process: parquet-wasm panics there instead of throwing.)
 *
 * Integers of 64 bits come as numbers where a number holds them exactly, as bigint otherwise; missing values as null.
 *
 * @throws DataError when there is no such file or it is not parquet
 */
export async function openParquet(path: string): Promise<ParquetTable> {
  const blob = await openBlob(path);
  const { parquet, arrow } = await libraries();
  let file: WasmFile;
  try {
    file = await parquet.ParquetFile.fromFile(blob);
  } catch (cause) {
    throw new DataError(`openParquet: expected a parquet file, got ${path}: ${(cause as Error).message}`, {
      cause,
    });
  }
  const schema = arrow.tableFromIPC(file.schema().intoIPCStream()).schema.fields.map((field) => ({
    name: field.name,
    type: String(field.type),
    nullable: field.nullable,
  }));
  const metadata = file.metadata();
  const columns = schema.map(({ name }) => name);
  const groups = Array.from({ length: metadata.numRowGroups() }, (_, i) => {
    const group = metadata.rowGroup(i);
    const bytes = new Map<string, number>();
    for (let c = 0; c < group.numColumns(); c++) {
      const column = group.column(c);
      // Nested columns have a chunk for each leaf; they are read by the name of their root.
      const name = column.columnPath()[0];
      bytes.set(name, (bytes.get(name) ?? 0) + Number(column.uncompressedSize()));
      column.free();
    }
    const rows = Number(group.numRows());
    group.free();
    return { rows, bytes };
  });
  metadata.free();

  async function* rows({
    columns: wanted,
    limit = Number.POSITIVE_INFINITY,
  }: RowOptions = {}): AsyncGenerator<Row> {
    const names = checkColumns({ source: path, columns }, wanted);
    let left = limit;
    for (let index = 0; index < groups.length && left > 0; index++) {
      const group = groups[index];
      if (group.rows === 0) continue;
      const bytes = names.reduce((sum, name) => sum + (group.bytes.get(name) ?? 0), 0);
      const perRow = Math.max(1, bytes / group.rows);
      const batchSize = Math.max(1, Math.min(MOST_ROWS, Math.floor(BATCH_BYTES / perRow)));
      for await (const batch of batches(file, path, { columns: [...names], rowGroups: [index], batchSize })) {
        const table = arrow.tableFromIPC(batch);
        const vectors = names.map((name) => table.getChild(name));
        for (let i = 0; i < table.numRows && left > 0; i++, left--) {
          yield Object.fromEntries(names.map((name, c) => [name, plain(vectors[c]?.get(i))]));
        }
        if (left <= 0) break;
      }
    }
  }

  return {
    source: path,
    columns,
    schema,
    rowCount: groups.reduce((sum, group) => sum + group.rows, 0),
    rowGroups: groups.length,
    rows,
  };
}

/** Record batches in Arrow's stream format, each freed in the module's memory once it is copied out. */
async function* batches(
  file: WasmFile,
  path: string,
  options: { columns: string[]; rowGroups: number[]; batchSize: number },
): AsyncGenerator<Uint8Array> {
  let reader: ReadableStreamDefaultReader<{ intoIPCStream(): Uint8Array }> | undefined;
  try {
    reader = (await file.stream(options)).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value.intoIPCStream();
    }
  } catch (cause) {
    throw new DataError(
      `openParquet: cannot read row group ${options.rowGroups[0]} of ${path}: ${(cause as Error).message}`,
      { cause },
    );
  } finally {
    await reader?.cancel().catch(() => {});
  }
}

/** Arrow's value as plain JavaScript. */
function plain(value: unknown): unknown {
  if (typeof value !== 'bigint') return value ?? null;
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

async function openBlob(path: string): Promise<Blob> {
  try {
    if (!(await stat(path)).isFile()) throw new Error('not a file');
    return await openAsBlob(path);
  } catch (cause) {
    throw new DataError(`openParquet: cannot read ${path}: ${(cause as Error).message}`, { cause });
  }
}
