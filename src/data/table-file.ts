/** Node only. Opens tables by what they are: parquet, JSON lines, CSV or TSV, a folder of text. */
import { stat } from 'node:fs/promises';
import { extname } from 'node:path';
import { DataError } from '../device/errors.js';
import { type CsvOptions, openCsv } from './csv-file.js';
import { openJsonLines } from './jsonl-file.js';
import { openParquet } from './parquet-file.js';
import type { Table } from './table.js';
import { openTextFolder, type TextFolderOptions } from './text-folder.js';

/** How to read a table; what does not fit its kind is ignored. */
export interface TableOptions extends CsvOptions, TextFolderOptions {}

/**
 * Opens a table: `.parquet`, `.jsonl` or `.ndjson`, `.csv` or `.tsv`, or a folder of `.txt` files.
 * @throws DataError when there is nothing of this name, or it is something else
 */
export async function openTable(path: string, options: TableOptions = {}): Promise<Table> {
  let isFolder: boolean;
  try {
    isFolder = (await stat(path)).isDirectory();
  } catch (cause) {
    throw new DataError(`openTable: cannot read ${path}: ${(cause as Error).message}`, { cause });
  }
  if (isFolder) return await openTextFolder(path, options);
  switch (extname(path).toLowerCase()) {
    case '.parquet':
      return await openParquet(path);
    case '.jsonl':
    case '.ndjson':
      return await openJsonLines(path);
    case '.csv':
    case '.tsv':
      return await openCsv(path, options);
    default:
      throw new DataError(
        `openTable: expected .parquet, .jsonl, .ndjson, .csv, .tsv or a folder of .txt files, got ${path}`,
      );
  }
}
