/** Training, validation and test documents: no group in two parts, every class in each, the same in every run. */
import { DataError } from '../device/errors.js';
import { groupBy } from './group-by.js';
import { hashText } from './text-hash.js';

/** How documents are divided. */
export interface DivideOptions<Document> {
  /** Other seeds divide otherwise; 0 by default. */
  readonly seed?: number;
  /** The class of a document, which each part has in its share; the field `label` by default, false for no such care. */
  readonly stratify?: false | ((document: Document) => string | number);
  /**
   * What a document belongs to; the field `group` by default. Of several keys, those that share one belong together, and
   * so do those that belong to these.
   */
  readonly group?: (document: Document) => string | readonly string[];
}

/** How documents are split in three. */
export interface SplitOptions<Document> extends DivideOptions<Document> {
  /** Shares of training, validation and test; 0.6, 0.2 and 0.2 by default. */
  readonly fractions?: readonly [train: number, validation: number, test: number];
}

/** Documents in three parts, each in the order in which they came. */
export interface DocumentSplit<Document> {
  readonly train: Document[];
  readonly validation: Document[];
  readonly test: Document[];
}

/** One of the k ways to hold a k-th of the documents out. */
export interface Fold<Document> {
  readonly train: Document[];
  readonly test: Document[];
}

/** What documents have that are split without saying how. */
export interface Splittable {
  readonly group: string;
  readonly label: string | number;
}

/**
 * Splits documents into training, validation and test.
 *
 * Groups are dealt from the largest to the smallest, those of one size in the order of a seeded hash, each to the part that
 * is furthest behind its share of the group's classes. The result depends on the documents and the seed alone, not on their
 * order. Shares are as close as the groups allow: a group that is larger than a part makes that part too large.
 *
 * @throws DataError for shares that do not sum to 1, and when a part stays empty
 */
export function splitDocuments<Document extends Splittable>(
  documents: readonly Document[],
  options: SplitOptions<Document> = {},
): DocumentSplit<Document> {
  const { fractions = [0.6, 0.2, 0.2] } = options;
  const sum = fractions.reduce((a, b) => a + b, 0);
  if (fractions.length !== 3 || fractions.some((f) => !(f >= 0)) || Math.abs(sum - 1) > 1e-9) {
    throw new DataError(
      `splitDocuments: expected three shares of at least 0 that sum to 1, got ${fractions.join(', ')}`,
    );
  }
  const part = divide(documents, fractions, options);
  const split = [0, 1, 2].map((p) => documents.filter((_, i) => part[i] === p));
  const empty = split.findIndex((own, p) => own.length === 0 && fractions[p] > 0);
  if (empty !== -1) {
    throw new DataError(
      `splitDocuments: expected groups for each part, got none for ${['train', 'validation', 'test'][empty]} out of ` +
        `${documents.length} documents; take fewer parts or more documents`,
    );
  }
  return { train: split[0], validation: split[1], test: split[2] };
}

/**
 * Cross-validation: k folds, each document in the test of one and the training of the others, dealt as by `splitDocuments`.
 * @throws DataError for k below 2 or above the number of groups
 */
export function kFolds<Document extends Splittable>(
  documents: readonly Document[],
  k: number,
  options: DivideOptions<Document> = {},
): Fold<Document>[] {
  if (!(Number.isInteger(k) && k >= 2)) throw new DataError(`kFolds: expected k of at least 2, got ${k}`);
  const part = divide(documents, new Array(k).fill(1 / k), options);
  return Array.from({ length: k }, (_, fold) => {
    const test = documents.filter((_, i) => part[i] === fold);
    if (test.length === 0)
      throw new DataError(`kFolds: expected at least ${k} groups, got fewer; take fewer folds`);
    return { train: documents.filter((_, i) => part[i] !== fold), test };
  });
}

interface Group {
  /** The smallest of its keys: the same whatever the order of the documents. */
  readonly key: string;
  readonly hash: number;
  readonly members: readonly number[];
  /** Documents of each class. */
  readonly classes: ReadonlyMap<string, number>;
}

/** The part of each document. */
function divide<Document extends Splittable>(
  documents: readonly Document[],
  fractions: readonly number[],
  { seed = 0, stratify = (d) => d.label, group = (d) => d.group }: DivideOptions<Document>,
): Int32Array {
  const classOf = stratify === false ? () => '' : (d: Document) => String(stratify(d));
  const totals = new Map<string, number>();
  for (const document of documents) totals.set(classOf(document), (totals.get(classOf(document)) ?? 0) + 1);
  const groups = groupsOf(documents, seed, classOf, (d) => [group(d)].flat());
  groups.sort((a, b) => b.members.length - a.members.length || a.hash - b.hash || (a.key < b.key ? -1 : 1));

  const parts = fractions.flatMap((fraction, index) =>
    fraction > 0 ? [{ index, fraction, size: 0, have: new Map<string, number>() }] : [],
  );
  const part = new Int32Array(documents.length);
  for (const { members, classes } of groups) {
    // Growth of χ² = Σ (have − target)² / target over the classes: for single documents the method of Sainte-Laguë, which
    // keeps every part within a document or so of its share.
    const growth = ({ fraction, have }: (typeof parts)[number]) => {
      let sum = 0;
      for (const [name, n] of classes) {
        const target = fraction * totals.get(name)!;
        sum += (n * (2 * (have.get(name) ?? 0) + n)) / target;
      }
      return sum;
    };
    let best = parts[0];
    let least = growth(best);
    for (const candidate of parts.slice(1)) {
      const g = growth(candidate);
      // Of equals, the part that is further behind as a whole: a rare class must not go to the same part every time.
      const isBehind = candidate.size / candidate.fraction < best.size / best.fraction;
      if (g < least * (1 - 1e-12) || (g <= least * (1 + 1e-12) && isBehind)) {
        best = candidate;
        least = g;
      }
    }
    best.size += members.length;
    for (const [name, n] of classes) best.have.set(name, (best.have.get(name) ?? 0) + n);
    for (const i of members) part[i] = best.index;
  }
  return part;
}

function groupsOf<Document>(
  documents: readonly Document[],
  seed: number,
  classOf: (document: Document) => string,
  keysOf: (document: Document) => string[],
): Group[] {
  const keys = documents.map(keysOf);
  // Disjoint sets of keys, each named by one of them.
  const above = new Map<string, string>();
  const root = (key: string): string => {
    let top = key;
    for (let next = above.get(top); next !== undefined; next = above.get(top)) top = next;
    for (let at = key; at !== top; ) {
      const next = above.get(at)!;
      above.set(at, top);
      at = next;
    }
    return top;
  };
  keys.forEach((own, i) => {
    if (own.length === 0) throw new DataError(`divide: expected a group for document ${i}, got none`);
    for (const key of own.slice(1)) {
      const [name, other] = [root(own[0]), root(key)].sort();
      if (name !== other) above.set(other, name);
    }
  });
  return [...groupBy(documents.keys(), (i) => root(keys[i][0]))].map(([key, members]) => {
    const classes = new Map<string, number>();
    for (const i of members) {
      const name = classOf(documents[i]);
      classes.set(name, (classes.get(name) ?? 0) + 1);
    }
    return { key, hash: hashText(key, seed), members, classes };
  });
}
