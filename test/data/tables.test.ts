import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Row, RowOptions, Table } from '../../src/data/table.js';
import { openTable, type TableOptions } from '../../src/data/table-file.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tables-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function write(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
  return path;
}
async function all(table: Table, options?: RowOptions): Promise<Row[]> {
  const rows: Row[] = [];
  for await (const row of table.rows(options)) rows.push(row);
  return rows;
}
const read = async (path: string, options?: TableOptions) => all(await openTable(path, options));

describe('JSON lines', () => {
  it('gives the fields of the lines, null where a line lacks one', async () => {
    const path = write('a.jsonl', '\ufeff{"text":"a\\nb","label":1}\r\n\n{"text":"ü","year":1994}');
    const table = await openTable(path);
    expect(table.columns).toEqual(['text', 'label', 'year']);
    const rows = [
      { text: 'a\nb', label: 1, year: null },
      { text: 'ü', label: null, year: 1994 },
    ];
    expect(await all(table)).toEqual(rows);
    expect(await all(table)).toEqual(rows);
    expect(await all(table, { columns: ['year'], limit: 1 })).toEqual([{ year: null }]);
  });

  it('reads lines that are longer than a piece of the file, and characters on its border', async () => {
    const text = `x${'é🎬'.repeat(100_000)}`;
    const path = write('long.ndjson', `${JSON.stringify({ text })}\n${JSON.stringify({ text: 'end' })}\n`);
    expect(await read(path)).toEqual([{ text }, { text: 'end' }]);
  });

  it('names the line that is no object', async () => {
    const path = write('bad.jsonl', '{"a":1}\n{"a":\n');
    await expect(read(path)).rejects.toThrow(`openJsonLines: expected JSON in line 2 of ${path}`);
    const list = write('list.jsonl', '[1,2]');
    await expect(read(list)).rejects.toThrow(
      `openJsonLines: expected an object in line 1 of ${list}, got [1,2]`,
    );
  });

  it('names missing columns', async () => {
    const table = await openTable(write('c.jsonl', '{"a":1,"b":2}'));
    await expect(all(table, { columns: ['c'] })).rejects.toThrow(/expected a column c in .*, got a, b$/);
  });
});

describe('CSV and TSV', () => {
  it('reads quoted values with delimiters, quotes and line breaks', async () => {
    const path = write('a.csv', '\ufefftitle,text\r\nAlien,"In space, ""no one""\r\ncan hear"\r\n\r\nB,\r\n');
    expect(await read(path)).toEqual([
      { title: 'Alien', text: 'In space, "no one"\r\ncan hear' },
      { title: 'B', text: null },
    ]);
  });

  it('finds out what separates the values', async () => {
    const expected = [{ a: '1', b: 'x,y' }];
    expect(await read(write('tab.csv', 'a\tb\n1\tx,y\n'))).toEqual(expected);
    expect(await read(write('semicolon.csv', 'a;b\n1;x,y\n'))).toEqual(expected);
    expect(await read(write('tab.tsv', 'a\tb\n1\tx,y\n'))).toEqual(expected);
    expect(await read(write('bar.csv', 'a|b\n1|x,y\n'), { delimiter: '|' })).toEqual(expected);
    expect(await read(write('one.csv', 'a\n1\n'))).toEqual([{ a: '1' }]);
  });

  it('keeps quotes within values, and short rows', async () => {
    const path = write('a.tsv', 'name\tnote\twinner\nBarney \\"Chick\\" McGill\tx\nB\t\tTrue\n');
    expect(await read(path)).toEqual([
      { name: 'Barney \\"Chick\\" McGill', note: 'x', winner: null },
      { name: 'B', note: null, winner: 'True' },
    ]);
    const quotes = write('q.tsv', 'a\tb\n"open\t1\n');
    expect(await read(quotes, { quote: null })).toEqual([{ a: '"open', b: '1' }]);
    await expect(read(quotes)).rejects.toThrow(`openCsv: cannot read ${quotes}: Quote Not Closed`);
  });

  it('says in which line each row ends, where wanted', async () => {
    const path = write('lines.csv', 'a,b\n1,x\n\n2,"y\nz"\n3\n');
    const rows = await read(path, { lineColumn: 'line' });
    expect(rows.map(({ line }) => line)).toEqual([2, 5, 6]);
    await expect(read(path, { lineColumn: 'b' })).rejects.toThrow(
      `openCsv: expected a name for the column of lines that is free, got b, which ${path} has`,
    );
  });

  it('refuses rows that are too long, names that are equal, and files without names', async () => {
    const long = write('long.csv', 'a,b\n1,2\n1,2,3\n');
    await expect(read(long)).rejects.toThrow(
      `openCsv: expected at most 2 values in line 3 of ${long}, got 3`,
    );
    const twice = write('twice.csv', 'a, a\n1,2\n');
    await expect(read(twice)).rejects.toThrow(`openCsv: expected names of columns that differ, got a twice`);
    const empty = write('empty.csv', '');
    await expect(read(empty)).rejects.toThrow(
      `openCsv: expected names of columns, got an empty file ${empty}`,
    );
  });

  it('reads many rows as a stream, and may be left in the middle', async () => {
    const path = write(
      'many.csv',
      `n,text\n${Array.from({ length: 20_000 }, (_, i) => `${i},row`).join('\n')}`,
    );
    const table = await openTable(path);
    expect(await all(table, { limit: 3, columns: ['n'] })).toEqual([{ n: '0' }, { n: '1' }, { n: '2' }]);
    expect(await all(table)).toHaveLength(20_000);
  });

  it('names what is not UTF-8', async () => {
    const path = write('latin.csv', Uint8Array.of(97, 10, 0xe9, 10));
    await expect(read(path)).rejects.toThrow(
      `readText: expected UTF-8 text, got other bytes after byte 0 of ${path}; convert it, e.g. with iconv`,
    );
  });
});

describe('folders of text', () => {
  it('takes classes from sub-folders', async () => {
    write('comedy/a.txt', 'ha\r\nha');
    write('tragedy/b.txt', 'alas');
    write('c.txt', 'neither');
    write('tragedy/notes.md', 'not a text');
    write('.hidden/d.txt', 'not a text');
    const table = await openTable(folder);
    expect(table).toMatchObject({ columns: ['name', 'text', 'class'], rowCount: 3 });
    expect(await all(table)).toEqual([
      { name: 'c', text: 'neither', class: null },
      { name: 'comedy/a', text: 'ha\nha', class: 'comedy' },
      { name: 'tragedy/b', text: 'alas', class: 'tragedy' },
    ]);
    expect(await all(table, { columns: ['class'] })).toEqual([
      { class: null },
      { class: 'comedy' },
      { class: 'tragedy' },
    ]);
  });

  it('takes them from the table that lies in the folder', async () => {
    write('a.txt', 'ha');
    write('b.TXT', 'alas');
    write('c.txt', 'unknown');
    write('genres.tsv', 'play\tgenre\na\tcomedy\nb.txt\ttragedy\n');
    const rows = [
      { name: 'a', text: 'ha', genre: 'comedy' },
      { name: 'b', text: 'alas', genre: 'tragedy' },
      { name: 'c', text: 'unknown', genre: null },
    ];
    expect(await read(folder)).toEqual(rows);
    write('other.csv', 'play,class\na,1\n');
    await expect(read(folder)).rejects.toThrow(
      `openTextFolder: expected one table of labels in ${folder}, got genres.tsv, other.csv; name one with labels`,
    );
    expect(await read(folder, { labels: 'genres.tsv' })).toEqual(rows);
    expect((await openTable(folder, { labels: 'other.csv' })).columns).toEqual(['name', 'text', 'class']);
  });

  it('refuses labels of files that there are not, and folders without texts', async () => {
    await expect(read(folder)).rejects.toThrow(`openTextFolder: expected .txt files in ${folder}, got none`);
    write('a.txt', 'ha');
    write('genres.tsv', 'play\tgenre\na\tcomedy\nb\ttragedy\n');
    await expect(read(folder)).rejects.toThrow('got no b.txt beside it');
    write('genres.tsv', 'play\tgenre\na\tcomedy\na\ttragedy\n');
    await expect(read(folder)).rejects.toThrow(/expected a once in .*genres.tsv, got it twice/);
    write('genres.tsv', 'play\ttext\na\tcomedy\n');
    await expect(read(folder)).rejects.toThrow('expected other names of columns than text');
  });
});

describe('openTable', () => {
  it('refuses what is missing and what it does not know', async () => {
    await expect(openTable(join(folder, 'none.csv'))).rejects.toThrow(/openTable: cannot read .*ENOENT/);
    const path = write('a.xlsx', '');
    await expect(openTable(path)).rejects.toThrow(
      `openTable: expected .parquet, .jsonl, .ndjson, .csv, .tsv or a folder of .txt files, got ${path}`,
    );
  });
});
