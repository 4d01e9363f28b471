import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import {
  type Film,
  formatJoin,
  joinOscars,
  type Nomination,
  readNominations,
} from '../../src/data/oscars.js';
import { openParquet } from '../../src/data/parquet-file.js';
import { tableOf } from '../../src/data/table.js';
import { openTable } from '../../src/data/table-file.js';

const row = (
  Year: string,
  Film: string | null,
  FilmId: string | null,
  Winner: string | null,
  Class = 'Writing',
) => ({
  Year,
  Class,
  Category: `${Class.toUpperCase()} (x)`,
  Film,
  FilmId,
  Winner,
});
const nomination = (film: string, imdbId: string | null, year: number, winner = false): Nomination => ({
  film,
  imdbId,
  years: [year],
  class: 'Writing',
  category: 'WRITING',
  winner,
});
const kinds = (join: ReturnType<typeof joinOscars>) => join.conflicts.map(({ kind, index }) => [kind, index]);

describe('readNominations', () => {
  it('takes cells of several films apart', async () => {
    const table = tableOf([
      row('1927/28', 'The Noose|The Patent Leather Kid', 'tt0019217|tt0018253', null),
      row('1994', 'Pulp Fiction', 'tt0110912', 'True'),
      row('1994', 'Say \\"Hi\\"', null, ''),
      row('1994', null, null, 'True'),
      row('1994', 'One|Two', 'tt1', null, 'Acting'),
    ]);
    const all = await readNominations(table);
    expect(all.map((n) => [n.film, n.imdbId, n.years, n.winner])).toEqual([
      ['The Noose', 'tt0019217', [1927, 1928], false],
      ['The Patent Leather Kid', 'tt0018253', [1927, 1928], false],
      ['Pulp Fiction', 'tt0110912', [1994], true],
      ['Say "Hi"', null, [1994], false],
      // One id for two films: whose it is, is not known.
      ['One', null, [1994], false],
      ['Two', null, [1994], false],
    ]);
    expect(await readNominations(table, { classes: ['Acting'] })).toHaveLength(2);
    await expect(readNominations(table, { classes: ['Acting', 'Writng'] })).rejects.toThrow(
      'readNominations: expected classes of rows in memory, got Writng; there are Writing, Acting',
    );
  });

  it('names missing columns and years that are none', async () => {
    await expect(readNominations(tableOf([{ Film: 'a', Year: '1994' }]))).rejects.toThrow(
      'table: expected columns Class, Category, FilmId, Winner in rows in memory, got Film, Year',
    );
    await expect(readNominations(tableOf([row('94', 'a', 'tt1', null)]))).rejects.toThrow(
      'readNominations: expected a year such as 1994 or 1927/28 in row 1 of rows in memory, got 94',
    );
  });
});

describe('joinOscars', () => {
  it('finds films by id, then by title and year', () => {
    const films: Film[] = [
      { imdbId: 'tt1', title: 'Another Title', year: 1994 },
      { title: 'Amelie', year: 2001 },
      { imdbId: '', title: 'Blowup', year: 1965 },
      { title: 'Blowup', year: 1960 },
      { imdbId: 'tt9', title: 'Not Nominated', year: 1994 },
    ];
    const join = joinOscars(films, [
      nomination('The Title', 'tt1', 1994),
      nomination('The Title', 'tt1', 1994, true),
      nomination('Amélie', 'tt2', 2001),
      nomination('Blow-Up', null, 1966),
      nomination('Nobody Has It', 'tt4', 1980),
    ]);
    expect(join.awards.map((a) => [a.by, a.nominated, a.winner, a.nominations.length])).toEqual([
      ['id', true, true, 2],
      ['title', true, false, 1],
      ['title', true, false, 1],
      [null, false, false, 0],
      [null, false, false, 0],
    ]);
    expect(join).toMatchObject({ byId: 1, byTitle: 2, unmatched: 2, missed: [], conflicts: [] });
    expect(join.unclaimed).toEqual(['Nobody Has It (1980)']);
    expect(joinOscars(films, [nomination('Blow-Up', null, 1966)], { tolerance: 0 }).byTitle).toBe(0);
    expect(formatJoin(join)).toContain('nominated              3 (60.0 %)');
  });

  it('takes the nearest year, and none where two are as near', () => {
    const remakes = [nomination('A Star Is Born', 'tt1', 1954), nomination('A Star Is Born', 'tt2', 1956)];
    const of = (year: number) => joinOscars([{ title: 'A Star Is Born', year }], remakes, { tolerance: 2 });
    expect(of(1954).awards[0].nominations[0].imdbId).toBe('tt1');
    const between = of(1955);
    expect(between.byTitle).toBe(0);
    expect(kinds(between)).toEqual([['ambiguous', 0]]);
    expect(between.conflicts[0].message).toBe(
      'A Star Is Born (1955): may be any of A Star Is Born (1954, tt1), A Star Is Born (1956, tt2)',
    );
  });

  it('does not take a film by its title that has another id, or that another row has by id', () => {
    const nominations = [nomination('Alien', 'tt1', 1979)];
    const other = joinOscars([{ imdbId: 'tt5', title: 'Alien', year: 1979 }], nominations);
    expect(other.byTitle).toBe(0);
    const films = [
      { title: 'Alien', year: 1979 },
      { imdbId: 'tt1', title: 'Alien', year: 1979 },
    ];
    const join = joinOscars(films, nominations);
    expect(join.awards.map((a) => a.by)).toEqual([null, 'id']);
    expect(kinds(join)).toEqual([['taken', 0]]);
  });

  it('gives a film that two rows name to the row of the nearer year', () => {
    const titanic = [nomination('Titanic', 'tt1', 1997)];
    const films = [1996, 1997, 1998].map((year) => ({ title: 'Titanic', year }));
    const join = joinOscars(films, titanic);
    expect(join.awards.map((a) => a.nominated)).toEqual([false, true, false]);
    expect(kinds(join)).toEqual([
      ['taken', 0],
      ['taken', 2],
    ]);
    // Twice the same film, or nobody knows which.
    expect(joinOscars([films[1], films[1]], titanic).byTitle).toBe(2);
    expect(joinOscars([films[0]], titanic).byTitle).toBe(1);
  });

  it('reports ids that name another film, labels that differ, and what was missed', () => {
    const films: Film[] = [
      { imdbId: 'tt1', title: 'Jaws', year: 1975, nominated: true, winner: true },
      { imdbId: 'tt7', title: 'Rocky', year: 1976, nominated: true, winner: false },
    ];
    const join = joinOscars(films, [nomination('Alien', 'tt1', 1979)]);
    expect(kinds(join)).toEqual([
      ['film', 0],
      ['label', 0],
      ['label', 1],
    ]);
    expect(join.missed).toEqual([1]);
    expect(join.conflicts.map((c) => c.message)).toEqual([
      'Jaws (1975): tt1 is Alien (1979, tt1) among the nominations',
      'Jaws (1975): winner is true in the table and false among the nominations',
      'Rocky (1976): nominated is true in the table and false among the nominations',
    ]);
    expect(formatJoin(join)).toContain('2 label\n  Jaws (1975): tt1 is Alien (1979, tt1)');
    const many = films.flatMap((film) => [film, film, film]);
    expect(formatJoin(joinOscars(many, [nomination('Alien', 'tt1', 1979)]))).toMatch(/\n {2}and 4 more$/);
  });
});

const data = (name: string) => fileURLToPath(new URL(`../../../shared/data/${name}`, import.meta.url));

describe('movies.parquet with oscars.csv', () => {
  it('finds all nominated films by id, and nearly all by title and year alone', async ({ skip }) => {
    if (!existsSync(data('oscars.csv')) || !existsSync(data('movies.parquet'))) {
      skip('no ../shared/data/oscars.csv and movies.parquet on this machine');
    }
    const nominations = await readNominations(await openTable(data('oscars.csv')), { classes: ['Writing'] });
    expect(nominations).toHaveLength(1040);
    const films: (Film & { title: string })[] = [];
    const table = await openParquet(data('movies.parquet'));
    for await (const row of table.rows({ columns: ['imdb_id', 'title', 'year', 'nominated', 'winner'] })) {
      films.push({
        imdbId: row.imdb_id as string,
        title: row.title as string,
        year: row.year as number,
        nominated: row.nominated === 1,
        winner: row.winner === 1,
      });
    }
    const join = joinOscars(films, nominations);
    expect(join).toMatchObject({ byId: 828, byTitle: 1, missed: [] });
    // The table has this one without its id, and so without its nominations.
    expect(films[join.awards.findIndex((a) => a.by === 'title')].title).toBe('The Life of Émile Zola');
    const byTitle = joinOscars(
      films.map((film) => ({ ...film, imdbId: null })),
      nominations,
    );
    expect(byTitle.byTitle).toBeGreaterThan(820);
    expect(byTitle.missed.length).toBeLessThan(5);
  });
});
