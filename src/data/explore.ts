/** What a set of labelled documents holds: classes, gaps, lengths, words, and texts that lie in two splits. */
import {
  chooseColumns,
  type DocumentColumns,
  type DocumentOptions,
  readDocuments,
  type SkipReason,
} from './documents.js';
import { type ClassCounts, logOdds, type TypicalWord } from './log-odds.js';
import { BandIndex, estimateJaccard, minHash, wordShingles } from './minhash.js';
import { questionKey } from './qa-split.js';
import { splitDocuments } from './splits.js';
import { type Row, select, type Table } from './table.js';
import { hashText } from './text-hash.js';
import { FUNCTION_WORDS, words } from './words.js';

/** What to look at. */
export interface ExploreOptions extends DocumentOptions {
  /** Text to tokens. */
  readonly encode: (text: string) => ArrayLike<number>;
  /** Words named in each list; 20 by default. */
  readonly words?: number;
  /** Jaccard similarity of runs of five words from which two texts count as nearly the same; 0.5 by default. */
  readonly threshold?: number;
  /** The column that names a document's split; `split` by default where there is one. */
  readonly split?: string;
  /** Seed of the splits where no column names them; 0 by default. */
  readonly seed?: number;
  /** Told how many documents are read. */
  readonly onProgress?: (documents: number) => void;
}

/** A document without its text. */
export interface ExploredDocument {
  readonly id: string;
  readonly group: string;
  readonly label: 0 | 1;
  readonly tokens: number;
  readonly characters: number;
  /** Empty where nothing names a split. */
  readonly split: string;
}

/** Two documents that are nearly the same. */
export interface SimilarPair {
  readonly first: ExploredDocument;
  readonly second: ExploredDocument;
  /** Estimated from signatures to about ±0.04; 1 for the same letters and digits. */
  readonly similarity: number;
  readonly isExact: boolean;
  /** Whether they lie in two splits: what is learnt from one is then known of the other. */
  readonly isLeak: boolean;
}

/** A word of any class. */
export interface FrequentWord extends ClassCounts {
  readonly word: string;
}

/** Gaps of a column. */
export interface MissingValues {
  readonly column: string;
  /** Rows without a value. */
  readonly missing: number;
  /** Of these, documents of class 0 and of class 1: a gap in one class only gives the class away. */
  readonly byClass: readonly [number, number];
}

/** What `exploreTable` finds. */
export interface Exploration {
  readonly source: string;
  readonly columns: DocumentColumns;
  readonly rows: number;
  /** Rows without a value (null, NaN or nothing but white space) by column. */
  readonly missing: readonly MissingValues[];
  /** Rows that are no documents, by reason. */
  readonly skipped: ReadonlyMap<SkipReason, number>;
  readonly documents: readonly ExploredDocument[];
  /** Where the splits come from: the name of a column, a seed, or null where there are too few groups to split. */
  readonly splitBy: { readonly column: string } | { readonly seed: number } | null;
  readonly vocabulary: number;
  /** Occurrences of words in all. */
  readonly wordCount: number;
  /** Most frequent words that say something. */
  readonly frequent: readonly FrequentWord[];
  /** Words most typical of class 0 and of class 1. */
  readonly typical: readonly [readonly TypicalWord[], readonly TypicalWord[]];
  /** For each document its most similar earlier one in each split. */
  readonly similar: readonly SimilarPair[];
}

/** What is known of a document while others are still read. */
interface Draft extends Omit<ExploredDocument, 'split'> {
  readonly named: string;
  readonly signature: Uint32Array;
  readonly key: string;
}

/**
 * Reads a table once, holding counts and signatures but no texts, so that it may be larger than memory.
 * @throws DataError for columns that are missing and labels that are unclear
 */
export async function exploreTable(table: Table, options: ExploreOptions): Promise<Exploration> {
  const columns = chooseColumns(table, options);
  const splitColumn = options.split ?? (table.columns.includes('split') ? 'split' : undefined);
  const watched = watch(table, splitColumn);
  const skipped = new Map<SkipReason, number>();
  const onSkip = (reason: SkipReason, row: number) => {
    skipped.set(reason, (skipped.get(reason) ?? 0) + 1);
    options.onSkip?.(reason, row);
  };
  const drafts: Draft[] = [];
  const counts = new Map<string, { counts: [number, number]; documents: number }>();
  for await (const { id, group, label, text } of readDocuments(watched.table, { ...options, onSkip })) {
    watched.count(label);
    const own = new Set<string>();
    for (const word of words(text)) {
      let count = counts.get(word);
      if (count === undefined) counts.set(word, (count = { counts: [0, 0], documents: 0 }));
      count.counts[label]++;
      if (!own.has(word)) count.documents++;
      own.add(word);
    }
    const spelling = questionKey(text);
    drafts.push({
      id,
      group,
      label,
      tokens: options.encode(text).length,
      characters: text.length,
      named: watched.split(),
      signature: minHash(wordShingles(text)),
      key: `${hashText(spelling, 1)} ${hashText(spelling, 2)}`,
    });
    options.onProgress?.(drafts.length);
  }
  const { splits, splitBy } = splitsOf(drafts, splitColumn, options.seed ?? 0);
  const documents = drafts.map(({ id, group, label, tokens, characters }, i) => ({
    id,
    group,
    label,
    tokens,
    characters,
    split: splits[i],
  }));
  const shown = options.words ?? 20;
  const typical = logOdds(counts);
  return {
    source: table.source,
    columns,
    rows: watched.rows(),
    missing: watched.missing(),
    skipped,
    documents,
    splitBy,
    vocabulary: counts.size,
    wordCount: [...counts.values()].reduce((sum, { counts: [a, b] }) => sum + a + b, 0),
    frequent: frequentWords(counts, shown),
    typical: [
      typical
        .slice(-shown)
        .reverse()
        .filter(({ z }) => z < 0),
      typical.slice(0, shown).filter(({ z }) => z > 0),
    ],
    similar: similarPairs(drafts, documents, options.threshold ?? 0.5),
  };
}

/** The table, with what passes by: rows, gaps, and the split that the current row names. */
function watch(
  table: Table,
  splitColumn: string | undefined,
): {
  table: Table;
  rows: () => number;
  split: () => string;
  /** Counts the current row's gaps for its class. */
  count: (label: 0 | 1) => void;
  missing: () => MissingValues[];
} {
  const missing = table.columns.map((column) => ({
    column,
    missing: 0,
    byClass: [0, 0] as [number, number],
  }));
  let gaps: typeof missing = [];
  let rows = 0;
  let split = '';
  async function* pass(limit?: number): AsyncGenerator<Row> {
    const all = splitColumn === undefined ? table.columns : [...new Set([...table.columns, splitColumn])];
    for await (const row of table.rows({ columns: all, limit })) {
      rows++;
      gaps = missing.filter(({ column }) => isMissing(row[column]));
      for (const gap of gaps) gap.missing++;
      if (splitColumn !== undefined)
        split = isMissing(row[splitColumn]) ? '' : String(row[splitColumn]).trim();
      yield row;
    }
  }
  return {
    table: {
      source: table.source,
      columns: table.columns,
      rows: ({ columns, limit } = {}) => select(table, pass(limit), { columns }),
    },
    rows: () => rows,
    split: () => split,
    count: (label) => {
      for (const gap of gaps) gap.byClass[label]++;
    },
    missing: () => missing,
  };
}

function isMissing(value: unknown): boolean {
  return (
    value === null ||
    value === undefined ||
    (typeof value === 'number' && Number.isNaN(value)) ||
    (typeof value === 'string' && value.trim() === '')
  );
}

function splitsOf(
  drafts: readonly Draft[],
  column: string | undefined,
  seed: number,
): Pick<Exploration, 'splitBy'> & { splits: string[] } {
  if (column !== undefined) return { splits: drafts.map(({ named }) => named), splitBy: { column } };
  const splits = drafts.map(() => '');
  // Less cannot be split in three.
  if (new Set(drafts.map(({ group }) => group)).size < 3) return { splits, splitBy: null };
  const parts = splitDocuments(
    drafts.map(({ group, label }, index) => ({ group, label, index })),
    { seed },
  );
  for (const [name, members] of Object.entries(parts)) for (const { index } of members) splits[index] = name;
  return { splits, splitBy: { seed } };
}

function frequentWords(counts: ReadonlyMap<string, ClassCounts>, n: number): FrequentWord[] {
  const total = ({ counts: [a, b] }: ClassCounts) => a + b;
  return [...counts]
    .filter(([word]) => word.length > 1 && !FUNCTION_WORDS.has(word))
    .sort(([a, x], [b, y]) => total(y) - total(x) || (a < b ? -1 : 1))
    .slice(0, n)
    .map(([word, count]) => ({ word, ...count }));
}

/** For each document the most similar one before it in each split: of k copies not all k² pairs. */
function similarPairs(
  drafts: readonly Draft[],
  documents: readonly ExploredDocument[],
  threshold: number,
): SimilarPair[] {
  const index = new BandIndex(threshold);
  const pairs: SimilarPair[] = [];
  drafts.forEach(({ signature, key }, i) => {
    const bands = index.bands(signature);
    const best = new Map<string, SimilarPair>();
    for (const j of index.candidates(bands)) {
      const isExact = drafts[j].key === key;
      const similarity = isExact ? 1 : estimateJaccard(signature, drafts[j].signature);
      const [first, second] = [documents[j], documents[i]];
      if (similarity < threshold || similarity <= (best.get(first.split)?.similarity ?? 0)) continue;
      best.set(first.split, { first, second, similarity, isExact, isLeak: first.split !== second.split });
    }
    pairs.push(...best.values());
    index.add(i, bands);
  });
  return pairs.sort((a, b) => Number(b.isLeak) - Number(a.isLeak) || b.similarity - a.similarity);
}
