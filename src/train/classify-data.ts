/** Node only. What a classifier learns from: documents as tokens, divided before anything is learnt. */
import { createHash } from 'node:crypto';
import { basename } from 'node:path';
import { groupBy } from '../data/group-by.js';
import type { OscarJoin } from '../data/oscars.js';
import type { SkipReason } from '../data/documents.js';
import { kFolds, splitDocuments } from '../data/splits.js';
import { type TokenCache, tokenizeDocuments } from '../data/token-cache.js';
import type { Tokenizer } from '../data/tokenizer.js';
import { twinKeys } from '../data/twins.js';
import { DataError } from '../device/errors.js';
import type { ClassifyConfig } from './classify-config.js';
import { type ClassifyDocument, readClassifyDocuments } from './classify-documents.js';
import { PARTS, type Part, type PartCounts, type TwinCounts } from './classify-types.js';

/** The documents of each part, by number. */
export interface Division {
  /** Of a cross-validation which one, 1 … k; else null. */
  readonly fold: number | null;
  readonly parts: Readonly<Record<Part, readonly number[]>>;
  readonly twins: TwinCounts;
}

export interface ClassifyData {
  readonly documents: readonly ClassifyDocument[];
  readonly tokens: TokenCache;
  readonly skipped: ReadonlyMap<SkipReason, number>;
  readonly joins: readonly OscarJoin[];
  /** One, or as many as there are folds. */
  readonly divisions: readonly Division[];
  /** SHA-256 over tokens, labels, groups and parts. */
  readonly digest: string;
}

export interface DataHooks {
  /** Told while texts are compared and then tokenised. */
  onData?(what: 'near-duplicates' | 'tokens', done: number, total: number): void;
}

/**
 * Reads, divides and tokenises.
 *
 * @throws DataError for documents that cannot be read, or parts of which nothing can be learnt
 */
export async function readClassifyData(
  config: ClassifyConfig,
  tokenizer: Tokenizer,
  { onData }: DataHooks = {},
): Promise<ClassifyData> {
  const { documents, skipped, joins } = await readClassifyDocuments(config);
  refuseOneClass(documents, 'the documents');
  const total = documents.length;
  function* texts(): Generator<string> {
    for (const [i, { text }] of documents.entries()) {
      yield text;
      onData?.('near-duplicates', i + 1, total);
    }
  }
  const twins = twinKeys(texts());
  const divisions = divideDocuments(documents, twins, config);
  const tokens = await tokenizeDocuments(documents, tokenizer, {
    onProgress: ({ done }) => onData?.('tokens', done, total),
  });
  const hash = createHash('sha256').update(basename(tokens.path));
  documents.forEach(({ id, group, label }) => {
    hash.update(JSON.stringify([id, group, label]));
  });
  hash.update(JSON.stringify(divisions.map(({ parts }) => parts)));
  return { documents, tokens, skipped, joins, divisions, digest: hash.digest('hex') };
}

/**
 * Divides documents once, or for each fold: stratified by class, no group in two parts, and near-duplicates together
 * unless the configuration or the data say otherwise.
 *
 * @param twins a key for each document, the same for near-duplicates
 * @throws DataError for too few groups, and parts without one of the classes
 */
export function divideDocuments(
  documents: readonly ClassifyDocument[],
  twins: readonly string[],
  config: ClassifyConfig,
): Division[] {
  const numbered = documents.map(({ group, label }, i) => ({ i, group, label }));
  const seed = config.splitSeed;
  const group = (d: (typeof numbered)[number]): string[] =>
    config.twins ? [`group ${d.group}`, twins[d.i]] : [`group ${d.group}`];
  const numbers = (some: readonly { i: number }[]): number[] => some.map(({ i }) => i);
  const made = (parts: Division['parts'], fold: number | null): Division => {
    for (const part of PARTS) {
      const where = fold === null ? part : `${part} of fold ${fold}`;
      refuseOneClass(
        parts[part].map((i) => documents[i]),
        where,
      );
    }
    return { fold, parts, twins: countTwins(parts, twins) };
  };
  if (config.split !== null) {
    const parts = Object.fromEntries(
      PARTS.map((part) => [part, numbers(numbered.filter(({ i }) => documents[i].part === part))]),
    ) as Record<Part, number[]>;
    refuseSharedGroups(parts, documents, config.split);
    return [made(parts, null)];
  }
  const [train, validation] = config.fractions;
  if (config.folds === 0) {
    // Shares given as decimals may miss 1 by a rounding.
    const fractions = [train, validation, 1 - train - validation] as const;
    const split = splitDocuments(numbered, { seed, group, fractions });
    return [
      made(
        { train: numbers(split.train), validation: numbers(split.validation), test: numbers(split.test) },
        null,
      ),
    ];
  }
  const share = validation / (train + validation);
  return kFolds(numbered, config.folds, { seed, group }).map((fold, k) => {
    const inner = splitDocuments(fold.train, { seed, group, fractions: [1 - share, share, 0] });
    return made(
      { train: numbers(inner.train), validation: numbers(inner.validation), test: numbers(fold.test) },
      k + 1,
    );
  });
}

function refuseOneClass(documents: readonly ClassifyDocument[], where: string): void {
  const positives = documents.filter(({ label }) => label === 1).length;
  if (positives > 0 && positives < documents.length) return;
  const groups = new Set(documents.map(({ group }) => group)).size;
  throw new DataError(
    `classify: expected documents of both classes in ${where}, got ${documents.length - positives} of class 0 and ${positives} of class 1 ` +
      `(${groups} groups); take more documents, other fractions, fewer folds or another splitSeed, or say with positive what is class 1`,
  );
}

/** @throws DataError where the data's own splits divide a group */
function refuseSharedGroups(
  parts: Division['parts'],
  documents: readonly ClassifyDocument[],
  column: string,
): void {
  const partOf = new Map<string, Part>();
  for (const part of PARTS) {
    for (const i of parts[part]) {
      const { group, id } = documents[i];
      const other = partOf.get(group);
      if (other !== undefined && other !== part) {
        throw new DataError(
          `classify: expected no group in two splits, got '${group}' in ${other} and ${part} (${id}) by the column ${column}; name another column of groups, or leave the split to splitSeed`,
        );
      }
      partOf.set(group, part);
    }
  }
}

function countTwins(parts: Division['parts'], twins: readonly string[]): TwinCounts {
  const placed = PARTS.flatMap((part) => parts[part].map((i) => ({ part, key: twins[i] })));
  let count = 0;
  let divided = 0;
  for (const same of groupBy(placed, ({ key }) => key).values()) {
    if (same.length < 2) continue;
    count += same.length;
    if (same.some(({ part }) => part !== same[0].part)) divided += same.length;
  }
  return { documents: count, divided };
}

/** What a part holds. */
export function countPart({ documents, tokens }: ClassifyData, part: readonly number[]): PartCounts {
  const { counts } = tokens;
  return {
    documents: part.length,
    positives: part.filter((i) => documents[i].label === 1).length,
    groups: new Set(part.map((i) => documents[i].group)).size,
    tokens: part.reduce((sum, i) => sum + counts[i], 0),
  };
}
