/** Node only. The documents of a classifier's configuration: read, joined with nominations, with the split they name. */
import { loadDocuments } from '../data/document-source.js';
import {
  chooseColumns,
  type DocumentOptions,
  type LabelledDocument,
  readDocuments,
  type SkipReason,
} from '../data/documents.js';
import { joinOscars, type OscarJoin, readNominations } from '../data/oscars.js';
import { checkColumns, type Row, type Table } from '../data/table.js';
import { openTable } from '../data/table-file.js';
import { DataError } from '../device/errors.js';
import type { ClassifyConfig } from './classify-config.js';
import type { Part } from './classify-types.js';

/** A document, and the part that the data put it in. */
export interface ClassifyDocument extends LabelledDocument {
  readonly part: Part | null;
}

export interface ReadDocuments {
  readonly documents: readonly ClassifyDocument[];
  /** Rows that became no document, by reason. */
  readonly skipped: ReadonlyMap<SkipReason, number>;
  /** Of each source, how the films met the nominations. */
  readonly joins: readonly OscarJoin[];
}

const PART_WORDS: Readonly<Record<string, Part>> = {
  train: 'train',
  training: 'train',
  validation: 'validation',
  valid: 'validation',
  val: 'validation',
  dev: 'validation',
  test: 'test',
};

/**
 * Reads all sources of a configuration.
 *
 * @throws DataError for sources and columns that are not there, labels that mean nothing, and no documents at all
 */
export async function readClassifyDocuments(config: ClassifyConfig): Promise<ReadDocuments> {
  const documents: ClassifyDocument[] = [];
  const skipped = new Map<SkipReason, number>();
  const joins: OscarJoin[] = [];
  for (const source of config.data) {
    const found = await readSource(source, config);
    for (const [reason, n] of found.skipped) skipped.set(reason, (skipped.get(reason) ?? 0) + n);
    joins.push(...found.joins);
    // Two files may name their documents alike.
    const prefix = config.data.length > 1 ? `${source}: ` : '';
    for (const document of found.documents) documents.push({ ...document, id: prefix + document.id });
  }
  if (documents.length === 0) {
    const reasons = [...skipped].map(([reason, n]) => `${n} with ${reason}`).join(', ');
    throw new DataError(
      `classify: expected documents in ${config.data.join(', ')}, got none${reasons ? `: rows ${reasons}` : ''}`,
    );
  }
  return { documents, skipped, joins };
}

async function readSource(source: string, config: ClassifyConfig): Promise<ReadDocuments> {
  const limit = config.limit ?? undefined;
  const joins: OscarJoin[] = [];
  if (source === 'sotu' || source === 'spam') {
    if (config.split !== null || config.oscars !== null) {
      throw new DataError(
        `classify: expected a table beside ${config.split === null ? 'oscars' : 'split'}, got ${source}, which has no such columns`,
      );
    }
    const { documents, skipped } = await loadDocuments(source, { limit, headers: config.headers });
    return { documents: documents.map((d) => ({ ...d, part: null })), skipped, joins };
  }
  let table = await openTable(source);
  if (config.oscars !== null) {
    const { joined, join } = await joinTable(table, config, limit);
    table = joined;
    joins.push(join);
  }
  const skipped = new Map<SkipReason, number>();
  const options: DocumentOptions = {
    text: config.text ?? undefined,
    label: config.label ?? (config.oscars === null ? undefined : 'nominated'),
    positive: config.positive ?? undefined,
    negative: config.negative ?? undefined,
    id: config.id ?? undefined,
    group: config.group ?? undefined,
    limit,
    onSkip: (reason) => skipped.set(reason, (skipped.get(reason) ?? 0) + 1),
  };
  const watched = config.split === null ? null : watch(table, config.split);
  const documents: ClassifyDocument[] = [];
  for await (const document of readDocuments(watched?.table ?? table, options)) {
    documents.push({ ...document, part: watched ? partOf(watched.value(), document, config) : null });
  }
  return { documents, skipped, joins };
}

function partOf(value: unknown, { id }: LabelledDocument, { split }: ClassifyConfig): Part {
  const part = PART_WORDS[String(value).trim().toLowerCase()];
  if (part) return part;
  throw new DataError(
    `classify: expected train, validation or test in ${split} of ${id}, got ${JSON.stringify(value ?? null)}`,
  );
}

/** The same table, of whose last row a further column can be asked. */
function watch(table: Table, column: string): { table: Table; value(): unknown } {
  checkColumns(table, [column]);
  let last: Row = {};
  const rows: Table['rows'] = async function* ({ columns, ...options } = {}) {
    for await (const row of table.rows({ ...options, columns: columns && [...columns, column] })) {
      last = row;
      yield row;
    }
  };
  return { table: { ...table, rows }, value: () => last[column] };
}

/** The films of a table with the labels that the nominations give them. */
async function joinTable(
  table: Table,
  config: ClassifyConfig,
  limit: number | undefined,
): Promise<{ joined: Table; join: OscarJoin }> {
  // Before the long way through both tables.
  const labels = ['nominated', 'winner'];
  chooseColumns(
    { ...table, columns: [...table.columns, ...labels] },
    { text: config.text ?? undefined, label: config.label ?? 'nominated' },
  );
  const nominations = await readNominations(await openTable(config.oscars!), {
    classes: config.oscarClasses ?? undefined,
  });
  const known = ['imdb_id', ...labels].filter((name) => table.columns.includes(name));
  const columns = checkColumns(table, ['title', 'year', ...known]);
  const films: Parameters<typeof joinOscars>[0][number][] = [];
  for await (const row of table.rows({ columns, limit })) {
    films.push({
      title: String(row.title ?? ''),
      year: Number(row.year ?? Number.NaN),
      imdbId: row.imdb_id === null || row.imdb_id === undefined ? null : String(row.imdb_id),
      // Of some classes only, the labels differ from the table's on purpose.
      ...(config.oscarClasses === null && {
        ...('nominated' in row && { nominated: Number(row.nominated) === 1 }),
        ...('winner' in row && { winner: Number(row.winner) === 1 }),
      }),
    });
  }
  const join = joinOscars(films, nominations);
  const rows: Table['rows'] = async function* ({ columns: wanted, ...options } = {}) {
    const own = (wanted ?? table.columns).filter((name) => table.columns.includes(name));
    let i = 0;
    for await (const row of table.rows({ ...options, columns: own })) {
      const { nominated, winner } = join.awards[i++];
      yield { ...row, nominated: Number(nominated), winner: Number(winner) };
    }
  };
  const all = [...new Set([...table.columns, ...labels])];
  return { joined: { ...table, columns: all, rows }, join };
}
