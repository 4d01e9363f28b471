/** Documents with a label, from the rows of a table: which column is the text, which the class, and what belongs together. */
import { DataError } from '../device/errors.js';
import { stripTags } from './markup.js';
import { listColumns, type Row, type Table } from './table.js';

/** A text of any length and its class. */
export interface LabelledDocument {
  /** Differs from document to document. */
  readonly id: string;
  /** Documents of one group are never divided between training and test: the same film, the same speaker. */
  readonly group: string;
  readonly text: string;
  readonly label: 0 | 1;
  readonly title?: string;
  readonly year?: number;
}

/** Why a row became no document. */
export type SkipReason = 'no text' | 'no label' | 'other class';

/** How rows become documents. */
export interface DocumentOptions {
  /**
   * The column of the text; by default the first there is of `script_clean`, `script_plain`, `script`, `summary` and
   * `text`. The tags of `script` are taken out.
   */
  readonly text?: string;
  /** The column of the class; by default the first there is of `nominated`, `winner`, `label` and `class`. */
  readonly label?: string;
  /** Values of the label column that are 1. By default 1, true and yes are 1, and 0, false and no are 0. */
  readonly positive?: readonly string[];
  /** With `positive`: values that are 0; rows with others are left out. By default all others are 0. */
  readonly negative?: readonly string[];
  /** The column of the id; by default `id`, `movie_name` or `name`, and without these the number of the row. */
  readonly id?: string;
  /** The column of the group; by default `group`, or title and year where there are both, or else the id. */
  readonly group?: string;
  /** Takes XML-like tags out of the text; only of a column `script` by default. */
  readonly stripTags?: boolean;
  /** Rows to read at most. */
  readonly limit?: number;
  /** Told of each row that became no document; the row's number is from 1. */
  readonly onSkip?: (reason: SkipReason, row: number) => void;
}

/** Names that a column of text has, and one that tells documents apart; the first there is counts. */
export const TEXT_COLUMNS = ['script_clean', 'script_plain', 'script', 'summary', 'text'];
export const ID_COLUMNS = ['id', 'movie_name', 'name'];
const LABEL_COLUMNS = ['nominated', 'winner', 'label', 'class'];
const YES = new Set(['1', 'true', 'yes']);
const NO = new Set(['0', 'false', 'no']);

/**
 * The documents of a table, one after another; they may be read more than once. Rows without text or label are left out
 * and told to `onSkip`.
 * @throws DataError for columns that are missing, naming what there is, and for labels of which it is unclear what they mean
 * @example
 * const films = tableOf([{ title: 'Alien', year: 1979, summary: 'In space …', nominated: 0 }]);
 * for await (const film of readDocuments(films, { label: 'nominated' })) console.log(film.group); // alien 1979
 */
export function readDocuments(table: Table, options: DocumentOptions = {}): AsyncIterable<LabelledDocument> {
  const columns = chooseColumns(table, options);
  return { [Symbol.asyncIterator]: () => documents(table, columns, options) };
}

/** The columns that documents are made of. */
export interface DocumentColumns {
  readonly text: string;
  readonly label: string;
  readonly id?: string;
  readonly group?: string;
  readonly title?: string;
  readonly year?: string;
}

/**
 * The columns that `readDocuments` takes.
 * @throws DataError where one is missing, naming what there is
 */
export function chooseColumns(table: Table, options: DocumentOptions = {}): DocumentColumns {
  const find = (names: readonly string[]) => names.find((name) => table.columns.includes(name));
  const choose = (what: string, given: string | undefined, names: readonly string[]) => {
    const found = given === undefined ? find(names) : find([given]);
    if (found !== undefined) return found;
    throw new DataError(
      `readDocuments: expected a column ${given ?? `for the ${what}, one of ${names.join(', ')},`} in ${table.source}, ` +
        `got ${listColumns(table)}; name the column of the ${what}`,
    );
  };
  const optional = (what: string, given: string | undefined, names: readonly string[]) =>
    given === undefined ? find(names) : choose(what, given, names);
  return {
    text: choose('text', options.text, TEXT_COLUMNS),
    label: choose('label', options.label, LABEL_COLUMNS),
    id: optional('id', options.id, ID_COLUMNS),
    group: optional('group', options.group, ['group']),
    title: find(['title']),
    year: find(['year']),
  };
}

async function* documents(
  table: Table,
  columns: DocumentColumns,
  options: DocumentOptions,
): AsyncGenerator<LabelledDocument> {
  const strip = options.stripTags ?? columns.text === 'script';
  const wanted = Object.values(columns).filter((name): name is string => name !== undefined);
  const seen = new Map<string, number>();
  let number = 0;
  for await (const row of table.rows({ columns: wanted, limit: options.limit })) {
    number++;
    const label = labelOf(
      row[columns.label],
      options,
      () => `${columns.label} of row ${number}`,
      table.source,
    );
    if (label === 'no label' || label === 'other class') {
      options.onSkip?.(label, number);
      continue;
    }
    const raw = row[columns.text] ?? '';
    if (typeof raw !== 'string') {
      throw new DataError(
        `readDocuments: expected text in ${columns.text} of row ${number} of ${table.source}, got ${String(raw)}`,
      );
    }
    const text = strip ? stripTags(raw) : raw;
    if (text.trim() === '') {
      options.onSkip?.('no text', number);
      continue;
    }
    const title = textOf(row, columns.title);
    const year = yearOf(row, columns.year);
    const name = textOf(row, columns.id) ?? `row ${number}`;
    const again = (seen.get(name) ?? 0) + 1;
    seen.set(name, again);
    const film = title !== undefined && year !== undefined ? filmKey(title, year) : undefined;
    yield {
      id: again === 1 ? name : `${name} #${again}`,
      group: textOf(row, columns.group) ?? film ?? name,
      text,
      label,
      ...(title !== undefined && { title }),
      ...(year !== undefined && { year }),
    };
  }
}

function labelOf(
  value: unknown,
  { positive, negative }: DocumentOptions,
  where: () => string,
  source: string,
): 0 | 1 | 'no label' | 'other class' {
  const name = value === null || value === undefined ? '' : String(value).trim();
  if (name === '') return 'no label';
  if (positive !== undefined) {
    if (positive.includes(name)) return 1;
    return negative === undefined || negative.includes(name) ? 0 : 'other class';
  }
  if (YES.has(name.toLowerCase())) return 1;
  if (NO.has(name.toLowerCase())) return 0;
  throw new DataError(
    `readDocuments: expected 0 or 1 in ${where()} of ${source}, got ${name}; say with positive which values are 1`,
  );
}

function textOf(row: Row, column: string | undefined): string | undefined {
  const value = column === undefined ? null : row[column];
  const text = value === null || value === undefined ? '' : String(value).trim();
  return text === '' ? undefined : text;
}

function yearOf(row: Row, column: string | undefined): number | undefined {
  const year = Number(textOf(row, column) ?? Number.NaN);
  return Number.isInteger(year) ? year : undefined;
}

/** A film by title and year, however the title is written. */
export function filmKey(title: string, year: number): string {
  return `${titleKey(title)} ${year}`;
}

/**
 * What makes two titles the same: letters and digits without case, accents and the article in front or, after a comma, at
 * the end.
 */
export function titleKey(title: string): string {
  const key = title
    .normalize('NFKD')
    .replace(/\p{M}+/gu, '')
    .toLowerCase()
    .replace(/^(.*), (the|an|a)$/, '$2 $1')
    .replace(/&/g, ' and ')
    .replace(/['’]/g, '')
    .replace(/[^\p{L}\p{N}]+/gu, ' ')
    .trim()
    .replace(/^(the|an|a) (?=.)/, '');
  return key === '' ? title.trim() : key;
}

/** All documents of a source, and how many rows became none, by reason. */
export async function collectDocuments(
  table: Table,
  options: DocumentOptions = {},
): Promise<{ documents: LabelledDocument[]; skipped: ReadonlyMap<SkipReason, number> }> {
  const skipped = new Map<SkipReason, number>();
  const found: LabelledDocument[] = [];
  const onSkip = (reason: SkipReason, row: number) => {
    skipped.set(reason, (skipped.get(reason) ?? 0) + 1);
    options.onSkip?.(reason, row);
  };
  for await (const document of readDocuments(table, { ...options, onSkip })) found.push(document);
  return { documents: found, skipped };
}
