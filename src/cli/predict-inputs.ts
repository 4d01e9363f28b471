/** Node only. The documents that `dawngrad predict` is told to judge. */
import { readdir, stat } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { ID_COLUMNS, TEXT_COLUMNS } from '../data/documents.js';
import { stripTags } from '../data/markup.js';
import { listColumns, type Table } from '../data/table.js';
import { openTable } from '../data/table-file.js';
import { readPieces } from '../data/text-stream.js';
import { DataError } from '../device/errors.js';
import type { UnseenDocument } from '../train/predict.js';

const TABLES = ['.parquet', '.jsonl', '.ndjson', '.csv', '.tsv'];

export interface InputOptions {
  /** The column of the text in tables; by default that of the run, or a usual name. */
  readonly text?: string;
  /** The column that the run learnt from. */
  readonly learntFrom?: string | null;
  /** The column that names a document. */
  readonly id?: string;
  /** Rows to read at most of each table. */
  readonly limit?: number;
}

/** Documents to come. */
export interface Inputs {
  /** How many, where it is known. */
  readonly count: number | null;
  /** Whether they are single texts rather than rows or whole folders. */
  readonly areTexts: boolean;
  documents(): AsyncGenerator<UnseenDocument>;
}

interface Input {
  readonly count: number | null;
  readonly isText: boolean;
  documents(): AsyncGenerator<UnseenDocument>;
}

/**
 * Finds out what inputs are, without reading them.
 * @param names files of text, folders of `.txt` files, tables, and `-` for standard input
 * @throws DataError for what is not there, and tables without the column
 */
export async function openInputs(names: readonly string[], options: InputOptions = {}): Promise<Inputs> {
  if (names.filter((name) => name === '-').length > 1) {
    throw new DataError('predict: expected - (standard input) once, got it more often');
  }
  const inputs: Input[] = [];
  for (const name of names) inputs.push(await openInput(name, options));
  const counts = inputs.map(({ count }) => count);
  return {
    count: counts.includes(null) ? null : counts.reduce<number>((sum, n) => sum + (n ?? 0), 0),
    areTexts: inputs.every(({ isText }) => isText),
    async *documents() {
      for (const input of inputs) yield* input.documents();
    },
  };
}

async function openInput(name: string, options: InputOptions): Promise<Input> {
  if (name === '-') {
    return {
      count: 1,
      isText: true,
      async *documents() {
        yield { name: 'standard input', text: await readStandardInput() };
      },
    };
  }
  let isFolder: boolean;
  try {
    isFolder = (await stat(name)).isDirectory();
  } catch (cause) {
    throw new DataError(`predict: cannot read ${name}: ${(cause as Error).message}`, { cause });
  }
  if (!isFolder && TABLES.includes(extname(name).toLowerCase()))
    return tableInput(await openTable(name), options);
  const files = isFolder ? await textFiles(name) : [name];
  return {
    count: files.length,
    isText: !isFolder,
    async *documents() {
      for (const file of files) {
        const pieces: string[] = [];
        for await (const piece of readPieces(file)) pieces.push(piece);
        yield { name: file, text: pieces.join('').replace(/\r\n?/g, '\n') };
      }
    },
  };
}

async function textFiles(folder: string): Promise<string[]> {
  const names = (await readdir(folder, { recursive: true })).filter(
    (name) => /\.txt$/i.test(name) && !name.split(/[\\/]/).some((part) => part.startsWith('.')),
  );
  if (names.length === 0) throw new DataError(`predict: expected .txt files in ${folder}, got none`);
  return names.sort().map((name) => join(folder, name));
}

function tableInput(table: Table, { text, learntFrom, id, limit }: InputOptions): Input {
  const { source, columns } = table;
  const has = (name: string) => columns.includes(name);
  for (const [flag, name] of Object.entries({ text, id })) {
    if (name !== undefined && !has(name)) {
      throw new DataError(
        `predict: expected a column ${name} (--${flag}) in ${source}, got ${listColumns(table)}`,
      );
    }
  }
  const usual = [...(learntFrom ? [learntFrom] : []), ...TEXT_COLUMNS];
  const textColumn = text ?? usual.find(has);
  if (textColumn === undefined) {
    throw new DataError(
      `predict: expected a column of text, one of ${usual.join(', ')}, in ${source}, got ${listColumns(table)}; name it with --text`,
    );
  }
  const idColumn = id ?? ID_COLUMNS.find((name) => has(name) && name !== textColumn);
  const wanted = [textColumn, ...(idColumn === undefined ? [] : [idColumn])];
  return {
    count: table.rowCount === undefined ? null : Math.min(table.rowCount, limit ?? Number.POSITIVE_INFINITY),
    isText: false,
    async *documents() {
      let row = 0;
      for await (const values of table.rows({ columns: wanted, limit })) {
        row++;
        const value = values[textColumn] ?? '';
        if (typeof value !== 'string') {
          throw new DataError(
            `predict: expected text in ${textColumn} of row ${row} of ${source}, got ${String(value)}`,
          );
        }
        const given = idColumn === undefined ? null : values[idColumn];
        const name = given === null || String(given).trim() === '' ? `row ${row}` : String(given).trim();
        yield { name, text: textColumn === 'script' ? stripTags(value) : value };
      }
    },
  };
}

async function readStandardInput(): Promise<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  const pieces: string[] = [];
  try {
    for await (const bytes of process.stdin)
      pieces.push(decoder.decode(bytes as Uint8Array, { stream: true }));
    pieces.push(decoder.decode());
  } catch (cause) {
    throw new DataError(`predict: cannot read standard input as UTF-8 text: ${(cause as Error).message}`, {
      cause,
    });
  }
  return pieces.join('').replace(/\r\n?/g, '\n');
}
