/** Academy Award nominations, and the films of a table joined with them. */
import { DataError } from '../device/errors.js';
import { titleKey } from './documents.js';
import { groupBy } from './group-by.js';
import { checkColumns, type Row, type Table } from './table.js';

/** A film nominated in a category. A nomination for several films is one of each. */
export interface Nomination {
  readonly film: string;
  /** IMDb's id, null where the table has none. */
  readonly imdbId: string | null;
  /** The years of the awards; two of the first six ceremonies, 1927/28 to 1932/33, one else. */
  readonly years: readonly number[];
  /** Writing, Acting, … */
  readonly class: string;
  readonly category: string;
  readonly winner: boolean;
}

const COLUMNS = ['Year', 'Class', 'Category', 'Film', 'FilmId', 'Winner'];
/** Between the values of a cell. */
const BAR = '|';

/**
 * Reads the table of nominations of github.com/DLu/oscar_data: several films of one nomination stand in one cell, joined by
 * bars, and their ids likewise. Awards for no film are left out.
 * @param options `classes`: those of these classes only, such as `['Writing']`
 * @throws DataError for missing columns, years that are none, naming the row, and classes that the table lacks
 */
export async function readNominations(
  table: Table,
  { classes }: { classes?: readonly string[] } = {},
): Promise<Nomination[]> {
  const columns = checkColumns(table, COLUMNS);
  const nominations: Nomination[] = [];
  const known = new Set<string>();
  let number = 0;
  for await (const row of table.rows({ columns })) {
    number++;
    known.add(cell(row, 'Class'));
    const film = cell(row, 'Film');
    if (film === '' || (classes !== undefined && !classes.includes(cell(row, 'Class')))) continue;
    const films = film.split(BAR);
    const ids = cell(row, 'FilmId').split(BAR);
    const years = yearsOf(cell(row, 'Year'), `row ${number} of ${table.source}`);
    films.forEach((title, i) => {
      nominations.push({
        film: title.trim(),
        // Fewer ids than films: which film lacks its id is not known.
        imdbId: ids.length === films.length && ids[i].trim() !== '' ? ids[i].trim() : null,
        years,
        class: cell(row, 'Class'),
        category: cell(row, 'Category'),
        winner: /^true$/i.test(cell(row, 'Winner')),
      });
    });
  }
  const unknown = classes?.filter((name) => !known.has(name)) ?? [];
  if (unknown.length > 0) {
    throw new DataError(
      `readNominations: expected classes of ${table.source}, got ${unknown.join(', ')}; there are ${[...known].join(', ')}`,
    );
  }
  return nominations;
}

/** The table is written with \" for a quotation mark. */
function cell(row: Row, column: string): string {
  const value = row[column];
  return value === null || value === undefined ? '' : String(value).replaceAll('\\"', '"').trim();
}

function yearsOf(text: string, where: string): number[] {
  const match = /^(\d{4})(?:\/(\d{2}))?$/.exec(text);
  if (match === null)
    throw new DataError(`readNominations: expected a year such as 1994 or 1927/28 in ${where}, got ${text}`);
  const year = Number(match[1]);
  return match[2] === undefined ? [year] : [year, year + 1];
}

/** A film to be joined. */
export interface Film {
  readonly imdbId?: string | null;
  readonly title: string;
  readonly year: number;
  /** Labels that the film comes with, compared with those of the nominations. */
  readonly nominated?: boolean;
  readonly winner?: boolean;
}

/** What the nominations say of a film. */
export interface FilmAwards {
  readonly nominated: boolean;
  readonly winner: boolean;
  /** How the film was found; null for one that was not. */
  readonly by: 'id' | 'title' | null;
  readonly nominations: readonly Nomination[];
}

/** A film of which two sources say different things. */
export interface JoinConflict {
  /**
   * `film`: the id names a film of another title and year. `ambiguous`: several nominated films have this title in these
   * years, so none was taken. `taken`: a film was found by its title that another row has by its id or by a nearer year, so it was not taken.
   * `label`: the film's own label differs.
   */
  readonly kind: 'film' | 'ambiguous' | 'taken' | 'label';
  /** Index of the film. */
  readonly index: number;
  readonly message: string;
}

/** Films with what the nominations say, and how well that went. */
export interface OscarJoin {
  /** One for each film, in order. */
  readonly awards: readonly FilmAwards[];
  readonly byId: number;
  readonly byTitle: number;
  /** Films without a nomination: most of them were not nominated. */
  readonly unmatched: number;
  /** Unmatched films that come with `nominated`: these are missed. */
  readonly missed: readonly number[];
  readonly conflicts: readonly JoinConflict[];
  /** Nominated films that no film of the table matched, `title (year)`. */
  readonly unclaimed: readonly string[];
}

/**
 * Joins films with nominations by IMDb id, and those without an id by title and year.
 * @param options `tolerance`: years that a film's year may differ from the award's, as films are shown at home first; 1 by
 *   default
 */
export function joinOscars(
  films: readonly Film[],
  nominations: readonly Nomination[],
  { tolerance = 1 }: { tolerance?: number } = {},
): OscarJoin {
  const nominated = byFilm(nominations);
  const byId = new Map(nominated.filter((f) => f.imdbId !== null).map((f) => [f.imdbId, f]));
  const byTitle = groupBy(nominated, (f) => compact(f.title));
  const conflicts: JoinConflict[] = [];
  const found = films.map((film): { by: 'id' | 'title'; of: NominatedFilm } | null => {
    const id = film.imdbId?.trim();
    const of = id ? byId.get(id) : undefined;
    return of === undefined ? null : { by: 'id', of };
  });
  const claimed = new Set(found.flatMap((match) => (match === null ? [] : [match.of])));

  const conflict = (kind: JoinConflict['kind'], index: number, message: string) =>
    conflicts.push({ kind, index, message: `${films[index].title} (${films[index].year}): ${message}` });
  const taken = (index: number, of: NominatedFilm) =>
    conflict('taken', index, `${describe(of)} belongs to another row`);

  films.forEach((film, index) => {
    const match = found[index];
    if (match !== null) {
      const { of } = match;
      if (compact(film.title) !== compact(of.title) && distance(film, of) > tolerance) {
        conflict('film', index, `${film.imdbId} is ${describe(of)} among the nominations`);
      }
      return;
    }
    const candidates = (byTitle.get(compact(film.title)) ?? []).filter(
      // A film with an id of its own is none of another id.
      (of) => distance(film, of) <= tolerance && (!film.imdbId?.trim() || of.imdbId === null),
    );
    if (candidates.length === 0) return;
    const nearest = Math.min(...candidates.map((of) => distance(film, of)));
    const [of, ...others] = candidates.filter((c) => distance(film, c) === nearest);
    if (others.length > 0) {
      conflict('ambiguous', index, `may be any of ${[of, ...others].map(describe).join(', ')}`);
    } else if (claimed.has(of)) {
      taken(index, of);
    } else {
      found[index] = { by: 'title', of };
    }
  });

  // Of several rows with the title, those of the nearest year have it: a remake of the year after is another film.
  const byName = found.flatMap((match, index) => (match?.by === 'title' ? [{ index, of: match.of }] : []));
  for (const [of, rows] of groupBy(byName, (match) => match.of)) {
    const nearest = Math.min(...rows.map(({ index }) => distance(films[index], of)));
    for (const { index } of rows) {
      if (distance(films[index], of) === nearest) continue;
      found[index] = null;
      taken(index, of);
    }
  }

  const awards = films.map((film, index): FilmAwards => {
    const match = found[index];
    const own = match?.of.nominations ?? [];
    const result = { nominated: own.length > 0, winner: own.some((n) => n.winner) };
    for (const label of ['nominated', 'winner'] as const) {
      if (film[label] === undefined || film[label] === result[label]) continue;
      conflicts.push({
        kind: 'label',
        index,
        message: `${film.title} (${film.year}): ${label} is ${film[label]} in the table and ${result[label]} among the nominations`,
      });
    }
    return { ...result, by: match?.by ?? null, nominations: own };
  });
  const joined = new Set(found.map((match) => match?.of));
  return {
    awards,
    byId: awards.filter(({ by }) => by === 'id').length,
    byTitle: awards.filter(({ by }) => by === 'title').length,
    unmatched: awards.filter(({ by }) => by === null).length,
    missed: awards.flatMap(({ by }, i) => (by === null && films[i].nominated ? [i] : [])),
    conflicts,
    unclaimed: nominated.filter((of) => !joined.has(of)).map((of) => `${of.title} (${of.years[0]})`),
  };
}

interface NominatedFilm {
  readonly title: string;
  readonly imdbId: string | null;
  /** Of all its nominations: one film may be nominated in two years. */
  readonly years: readonly number[];
  readonly nominations: Nomination[];
}

function byFilm(nominations: readonly Nomination[]): NominatedFilm[] {
  const groups = groupBy(nominations, (n) => n.imdbId ?? `${compact(n.film)} ${n.years[0]}`);
  return [...groups.values()].map((own) => ({
    title: own[0].film,
    imdbId: own[0].imdbId,
    years: [...new Set(own.flatMap((n) => n.years))],
    nominations: own,
  }));
}

/** Blow-Up is Blowup. */
const compact = (title: string) => titleKey(title).replaceAll(' ', '');
const distance = (film: Film, of: NominatedFilm) =>
  Math.min(...of.years.map((year) => Math.abs(film.year - year)));
const describe = (of: NominatedFilm) =>
  `${of.title} (${of.years.join('/')}${of.imdbId === null ? '' : `, ${of.imdbId}`})`;

/** Conflicts that are told one by one. */
const TOLD = 5;

/** What a join says of itself, a line for each figure, and the first conflicts. */
export function formatJoin(join: OscarJoin): string {
  const count = (kind: JoinConflict['kind']) => join.conflicts.filter((c) => c.kind === kind).length;
  const nominated = join.awards.filter((a) => a.nominated).length;
  const more = join.conflicts.length - TOLD;
  return [
    `films                  ${join.awards.length}`,
    `found by id            ${join.byId}`,
    `found by title, year   ${join.byTitle}`,
    `nominated              ${nominated} (${((100 * nominated) / Math.max(1, join.awards.length)).toFixed(1)} %)`,
    `won                    ${join.awards.filter((a) => a.winner).length}`,
    `missed                 ${join.missed.length} that are labelled nominated`,
    `not in the table       ${join.unclaimed.length} nominated films`,
    `conflicts              ${count('film')} film, ${count('ambiguous')} ambiguous, ${count('taken')} taken, ${count('label')} label`,
    ...join.conflicts.slice(0, TOLD).map(({ message }) => `  ${message}`),
    ...(more > 0 ? [`  and ${more} more`] : []),
  ].join('\n');
}
