import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Bool, Dictionary, Float64, Int32, Int64, Utf8 } from 'apache-arrow';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { collectDocuments } from '../../src/data/documents.js';
import { openParquet } from '../../src/data/parquet-file.js';
import { ParquetWorker } from '../../src/data/parquet-worker.js';
import type { Row, RowOptions, Table } from '../../src/data/table.js';
import { DataError } from '../../src/device/errors.js';
import { type Codec, groupOffsets, writeParquetFile } from '../support/parquet.js';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'parquet-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function all(table: Table, options?: RowOptions): Promise<Row[]> {
  const rows: Row[] = [];
  for await (const row of table.rows(options)) rows.push(row);
  return rows;
}

const films = {
  title: [new Utf8(), ['Alien', null, 'Amélie 🎬', '']],
  year: [new Int64(), [1979n, 2001n, null, -1n]],
  score: [new Float64(), [8.5, null, 8.25, 0]],
  seen: [new Bool(), [true, false, null, true]],
} as const;
const filmRows = [
  { title: 'Alien', year: 1979, score: 8.5, seen: true },
  { title: null, year: 2001, score: null, seen: false },
  { title: 'Amélie 🎬', year: null, score: 8.25, seen: null },
  { title: '', year: -1, score: 0, seen: true },
];

describe('openParquet', () => {
  it.each<Codec>(['UNCOMPRESSED', 'SNAPPY', 'GZIP', 'BROTLI', 'ZSTD', 'LZ4_RAW'])(
    'reads strings, 64-bit integers and nulls, %s',
    async (codec) => {
      const path = join(folder, `${codec}.parquet`);
      writeParquetFile(path, films, { codec });
      const table = await openParquet(path);
      expect(table).toMatchObject({ columns: ['title', 'year', 'score', 'seen'], rowCount: 4, rowGroups: 1 });
      expect(table.schema.map(({ type }) => type)).toEqual(['Utf8', 'Int64', 'Float64', 'Bool']);
      expect(await all(table)).toEqual(filmRows);
      expect(await all(table)).toEqual(filmRows);
    },
  );

  it('reads the columns asked for, up to a limit', async () => {
    const path = join(folder, 'films.parquet');
    writeParquetFile(path, films);
    const table = await openParquet(path);
    // In the order asked for, which is not the file's.
    const rows = await all(table, { columns: ['year', 'title'], limit: 2 });
    expect(rows).toEqual([
      { year: 1979, title: 'Alien' },
      { year: 2001, title: null },
    ]);
    expect(Object.keys(rows[0])).toEqual(['year', 'title']);
    expect(await all(table, { limit: 0 })).toEqual([]);
  });

  it('gives 64-bit integers that no number holds as bigint', async () => {
    const path = join(folder, 'large.parquet');
    const values = [2n ** 53n - 1n, 2n ** 53n, -(2n ** 63n), 2n ** 63n - 1n, 0n];
    writeParquetFile(path, { n: [new Int64(), values] });
    const rows = await all(await openParquet(path));
    expect(rows.map((row) => row.n)).toEqual([2 ** 53 - 1, 2n ** 53n, -(2n ** 63n), 2n ** 63n - 1n, 0]);
  });

  it('reads dictionaries as their values', async () => {
    const path = join(folder, 'dictionary.parquet');
    const type = new Dictionary(new Utf8(), new Int32());
    writeParquetFile(path, { party: [type, ['R', 'D', null, 'R']] });
    expect((await all(await openParquet(path))).map((row) => row.party)).toEqual(['R', 'D', null, 'R']);
  });

  it('reads row groups in order, with limits in, at and beyond their borders', async () => {
    const path = join(folder, 'groups.parquet');
    const n = Array.from({ length: 1000 }, (_, i) => i);
    writeParquetFile(
      path,
      { n: [new Int32(), n], text: [new Utf8(), n.map((i) => `row ${i}`)] },
      { rowGroup: 64 },
    );
    const table = await openParquet(path);
    expect(table.rowGroups).toBe(16);
    expect((await all(table)).map((row) => row.n)).toEqual(n);
    for (const limit of [1, 63, 64, 65, 999, 1000, 2000]) {
      const rows = await all(table, { columns: ['text'], limit });
      expect(rows).toHaveLength(Math.min(limit, 1000));
      expect(rows.at(-1)).toEqual({ text: `row ${Math.min(limit, 1000) - 1}` });
    }
    // Leaving in the middle, and two readings at once.
    for await (const row of table.rows()) if (row.n === 70) break;
    const [a, b] = await Promise.all([all(table), all(table)]);
    expect(a).toEqual(b);
  });

  it('reads a file without rows', async () => {
    const path = join(folder, 'none.parquet');
    writeParquetFile(path, { title: [new Utf8(), []] });
    const table = await openParquet(path);
    expect(table).toMatchObject({ columns: ['title'], rowCount: 0 });
    expect(await all(table)).toEqual([]);
  });

  it('holds a row group at most, not the file', async () => {
    const path = join(folder, 'long.parquet');
    // 48 MB of text in 24 row groups of 2 MB, which compress to little.
    const texts = Array.from({ length: 96 }, (_, i) => `${i} `.padEnd(500_000, 'to be or not to be '));
    writeParquetFile(path, { text: [new Utf8(), texts] }, { rowGroup: 4 });
    const worker = new ParquetWorker(path);
    const { groups } = await worker.open();
    const before = worker.memory;
    let bytes = 0;
    for (let i = 0; i < groups.length; i++) {
      const read = worker.batches({ columns: ['text'], rowGroups: [i], batchSize: 8 });
      for await (const batch of read) bytes += batch.length;
    }
    expect(bytes).toBeGreaterThan(48_000_000);
    // Deliberately far from the size of the file, and from that of a row group.
    expect(worker.memory - before).toBeLessThan(20e6);
    worker.terminate();
  });

  it('names the row group whose pages are damaged, and goes on with other files', async () => {
    const path = join(folder, 'damaged.parquet');
    const sound = join(folder, 'sound.parquet');
    const n = Array.from({ length: 200 }, (_, i) => `${i * 7919}`);
    for (const file of [path, sound]) writeParquetFile(file, { text: [new Utf8(), n] }, { rowGroup: 50 });
    const whole = readFileSync(path);
    const offsets = await groupOffsets(path);
    // A header that cannot be parsed, and contents that cannot be unpacked.
    for (const [from, to] of [
      [0, 10],
      [30, 80],
    ]) {
      const bytes = Buffer.from(whole).fill(0xff, offsets[2] + from, offsets[2] + to);
      writeFileSync(path, bytes);
      const table = await openParquet(path);
      const other = await openParquet(sound);
      const reading = other.rows();
      await reading.next();
      // The row groups before it are read.
      expect((await all(table, { limit: 100 })).map(({ text }) => text)).toEqual(n.slice(0, 100));
      // Twice: the table is still of use after the first.
      for (let i = 0; i < 2; i++) {
        const error = await all(table).catch((e) => e);
        expect(error).toBeInstanceOf(DataError);
        expect(error.message).toMatch(`openParquet: cannot read row group 2 (of 4, from 0) of ${path}: `);
      }
      expect(await all(table, { limit: 3 })).toHaveLength(3);
      const rest = [];
      for await (const row of reading) rest.push(row);
      expect(rest).toHaveLength(199);
    }
  });

  it('lets the process end while a table is open', () => {
    const path = join(folder, 'open.parquet');
    writeParquetFile(path, films);
    const source = fileURLToPath(new URL('../../src/data/parquet-file.ts', import.meta.url));
    const script = `
      const { openParquet } = await import(${JSON.stringify(source)});
      const table = await openParquet(${JSON.stringify(path)});
      for await (const { title } of table.rows()) { console.log(title); break; }`;
    const args = ['--import', import.meta.resolve('tsx'), '--input-type=module', '-e', script];
    expect(execFileSync(process.execPath, args, { encoding: 'utf8', timeout: 60_000 })).toBe('Alien\n');
  });

  it('names missing columns, and what there is', async () => {
    const path = join(folder, 'films2.parquet');
    writeParquetFile(path, films);
    const table = await openParquet(path);
    await expect(all(table, { columns: ['script'] })).rejects.toThrow(
      `table: expected a column script in ${path}, got title, year, score, seen`,
    );
    await expect(all(table, { columns: ['script', 'year', 'winner'] })).rejects.toThrow(
      `table: expected columns script, winner in ${path}, got title, year, score, seen`,
    );
  });

  it('refuses what is missing, a folder, and what is no parquet', async () => {
    await expect(openParquet(join(folder, 'nowhere.parquet'))).rejects.toThrow(
      /openParquet: cannot read .*ENOENT/,
    );
    await expect(openParquet(folder)).rejects.toThrow(DataError);
    const path = join(folder, 'text.parquet');
    writeParquetFile(path, films);
    const cutOff = readFileSync(path).subarray(0, 300);
    for (const content of [cutOff, '', 'title,year\nAlien,1979\n', 'PAR1 but then not PAR1']) {
      writeFileSync(path, content);
      await expect(openParquet(path)).rejects.toThrow(`openParquet: expected a parquet file, got ${path}`);
    }
  });
});

const MOVIES = fileURLToPath(new URL('../../../shared/data/movies.parquet', import.meta.url));

describe('movies.parquet', () => {
  it('has 27,437 films with summaries, 828 of them nominated', async ({ skip }) => {
    if (!existsSync(MOVIES)) skip('no ../shared/data/movies.parquet on this machine');
    const table = await openParquet(MOVIES);
    expect(table.rowCount).toBe(27_437);
    const { documents, skipped } = await collectDocuments(table);
    expect(documents).toHaveLength(27_437);
    expect(skipped.size).toBe(0);
    const nominated = documents.filter((d) => d.label === 1).length;
    expect(nominated).toBe(828);
    expect(nominated / documents.length).toBeCloseTo(0.03, 3);
    const { documents: winners } = await collectDocuments(table, { label: 'winner' });
    expect(winners.filter((d) => d.label === 1)).toHaveLength(173);
    await expect(collectDocuments(table, { text: 'script_clean' })).rejects.toThrow(
      `readDocuments: expected a column script_clean in ${MOVIES}, got movie_name, imdb_id, title, year, summary, ` +
        'nominated, winner; name the column of the text',
    );
  });
});
