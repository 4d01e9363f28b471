/** Node only. Folders of text files, with classes from sub-folders or from a file of labels. */
import { readdir } from 'node:fs/promises';
import { join, sep } from 'node:path';
import { DataError } from '../device/errors.js';
import { openCsv } from './csv-file.js';
import { type Row, select, type Table } from './table.js';
import { readPieces } from './text-stream.js';

/** Where the classes of texts stand. */
export interface TextFolderOptions {
  /**
   * A table in the folder, `.tsv` or `.csv`: names of files in its first column, with or without `.txt`, and what is known
   * of them in the others. By default the only such table that lies in the folder, if there is one.
   */
  readonly labels?: string;
}

const NAME = 'name';
const TEXT = 'text';
const CLASS = 'class';

/**
 * Opens a folder of `.txt` files as a table: `name` (the path in the folder without `.txt`), `text`, `class` (the first
 * sub-folder, where files lie in such) and the columns of the file of labels.
 * @throws DataError when there are no texts, or files and labels do not match
 */
export async function openTextFolder(folder: string, options: TextFolderOptions = {}): Promise<Table> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(join(folder, sep).length))
    .map((file) => file.split(sep).join('/'))
    .filter((file) => !file.split('/').some((part) => part.startsWith('.')))
    .sort();
  const texts = new Map(
    files.filter((file) => /\.txt$/i.test(file)).map((file) => [file.replace(/\.txt$/i, ''), file]),
  );
  const names = [...texts.keys()];
  if (names.length === 0) throw new DataError(`openTextFolder: expected .txt files in ${folder}, got none`);

  const tables = files.filter((file) => /^[^/]+\.[ct]sv$/i.test(file));
  if (options.labels === undefined && tables.length > 1) {
    throw new DataError(
      `openTextFolder: expected one table of labels in ${folder}, got ${tables.join(', ')}; name one with labels`,
    );
  }
  const file = options.labels ?? tables[0];
  const hasClasses = names.some((name) => name.includes('/'));
  const own = hasClasses ? [NAME, TEXT, CLASS] : [NAME, TEXT];
  const labels = file === undefined ? undefined : await readLabels(join(folder, file), names, own);
  const columns = [...own, ...(labels?.columns ?? [])];
  const table = { source: folder, columns, rowCount: names.length };

  async function* rows(withText: boolean): AsyncGenerator<Row> {
    for (const [name, path] of texts) {
      const row: Row = { [NAME]: name, ...labels?.rows.get(name) };
      if (hasClasses) row[CLASS] = name.includes('/') ? name.split('/')[0] : null;
      if (withText) row[TEXT] = await readWhole(join(folder, path));
      yield row;
    }
  }
  return {
    ...table,
    rows: (selection) => select(table, rows(selection?.columns?.includes(TEXT) ?? true), selection),
  };
}

async function readWhole(path: string): Promise<string> {
  const pieces: string[] = [];
  for await (const piece of readPieces(path)) pieces.push(piece);
  return pieces.join('').replace(/\r\n?/g, '\n');
}

async function readLabels(path: string, names: readonly string[], own: readonly string[]) {
  const table = await openCsv(path);
  const [key, ...others] = table.columns;
  const taken = others.filter((name) => own.includes(name));
  if (taken.length > 0) {
    throw new DataError(
      `openTextFolder: expected other names of columns than ${taken.join(', ')} in ${path}; a folder has columns of these names`,
    );
  }
  const known = new Set(names);
  const rows = new Map<string, Row>();
  for await (const { [key]: file, ...row } of table.rows()) {
    const name = String(file).replace(/\.txt$/i, '');
    if (!known.has(name)) {
      throw new DataError(`openTextFolder: expected files named in ${path}, got no ${name}.txt beside it`);
    }
    if (rows.has(name)) throw new DataError(`openTextFolder: expected ${name} once in ${path}, got it twice`);
    rows.set(name, row);
  }
  return { columns: others, rows };
}
