/** Documents as chunks: where they begin and end, and several documents of different lengths in one batch. */
import { DataError, ShapeError } from '../device/errors.js';

export interface ChunkOptions {
  /** C: tokens of a chunk. */
  readonly chunk: number;
  /** Tokens that a chunk shares with the one before; less than C. Default 0. */
  readonly overlap?: number;
  /** Most chunks that are read of a document. Default all. */
  readonly maxChunks?: number | null;
  /** Which chunks of a longer document: the first, the first and the last, or some at even distances. Default 'even'. */
  readonly keep?: 'head' | 'headTail' | 'even';
}

/** A range of a document's tokens. */
export interface ChunkSpan {
  /** Number among all chunks of the document, those left out included. */
  readonly place: number;
  readonly start: number;
  /** Behind the last token. */
  readonly end: number;
}

/** @throws ShapeError or DataError for numbers that make no chunks. */
export function checkChunkOptions({ chunk, overlap = 0, maxChunks = null, keep }: ChunkOptions): void {
  if (!(Number.isInteger(chunk) && chunk > 0)) {
    throw new ShapeError(`batchDocuments: expected chunk to be a positive integer, got ${chunk}`);
  }
  if (!(Number.isInteger(overlap) && overlap >= 0 && overlap < chunk)) {
    throw new ShapeError(`batchDocuments: expected an overlap in [0, ${chunk}), got ${overlap}`);
  }
  if (maxChunks !== null && !(Number.isInteger(maxChunks) && maxChunks > 0)) {
    throw new ShapeError(`batchDocuments: expected maxChunks to be a positive integer, got ${maxChunks}`);
  }
  if (keep !== undefined && !['head', 'headTail', 'even'].includes(keep)) {
    throw new DataError(`batchDocuments: expected keep 'head', 'headTail' or 'even', got '${keep}'`);
  }
}

/** How many chunks a document has: each begins C − overlap tokens after the one before, and has a token of its own. */
export function chunkCount(length: number, { chunk, overlap = 0 }: ChunkOptions): number {
  return length <= chunk ? 1 : 1 + Math.ceil((length - chunk) / (chunk - overlap));
}

/** Numbers of the chunks that are read, `most` of `count`, in order. */
function placesOf(count: number, { maxChunks = null, keep = 'even' }: ChunkOptions): number[] {
  const most = Math.min(count, maxChunks ?? count);
  const place = {
    head: (i: number) => i,
    headTail: (i: number) => (i < Math.ceil(most / 2) ? i : count - most + i),
    // The first and the last one, and as even as whole numbers can be between.
    even: (i: number) => (most === 1 ? 0 : Math.round((i * (count - 1)) / (most - 1))),
  }[keep];
  return Array.from({ length: most }, (_, i) => place(i));
}

/**
 * The chunks of a document. An empty one has a single empty chunk, so that it has a state.
 *
 * @param length tokens of the document
 * @throws ShapeError or DataError for options that make no chunks.
 */
export function chunkSpans(length: number, options: ChunkOptions): ChunkSpan[] {
  checkChunkOptions(options);
  const { chunk, overlap = 0 } = options;
  return placesOf(chunkCount(length, options), options).map((place) => {
    const start = place * (chunk - overlap);
    return { place, start, end: Math.min(start + chunk, length) };
  });
}

/** Documents as a flat list of N chunks, in host memory. */
export interface ChunkBatch {
  /** B: number of documents. */
  readonly size: number;
  /** C: tokens of a row of `ids`, padding included. */
  readonly chunk: number;
  /** Token ids [N, C]; padding, behind the tokens, is 0. */
  readonly ids: Int32Array;
  /** Tokens of each chunk [N]. */
  readonly lengths: Int32Array;
  /** Document of each chunk [N], 0 … B − 1. */
  readonly documents: Int32Array;
  /** Number of each chunk within its document [N]. */
  readonly places: Int32Array;
  /** First token of each chunk within its document [N]. */
  readonly starts: Int32Array;
  /** 0 or 1 for each document [B]. */
  readonly labels: Float32Array | null;
  /** What each document is called where its chunks' states are kept [B]. */
  readonly keys: readonly string[] | null;
}

export interface BatchDocumentsOptions extends ChunkOptions {
  /** 0 or 1 for each document. */
  readonly labels?: ArrayLike<number>;
  /** A name for each document, for a frozen encoder that keeps the states of chunks. */
  readonly keys?: readonly string[];
}

/**
 * Cuts documents into chunks and puts all of them on one list.
 *
 * @param tokens ids of each document; a document may be empty
 * @throws ShapeError or DataError for options, labels or keys that do not fit.
 * @example
 * const batch = batchDocuments([long, short], { chunk: 512, overlap: 64, maxChunks: 32, labels: [1, 0] });
 */
export function batchDocuments(
  tokens: readonly ArrayLike<number>[],
  options: BatchDocumentsOptions,
): ChunkBatch {
  const { chunk, overlap = 0, labels, keys } = options;
  checkChunkOptions(options);
  if (tokens.length === 0) throw new ShapeError('batchDocuments: expected at least one document, got none');
  for (const [name, list] of Object.entries({ labels, keys })) {
    if (list && list.length !== tokens.length) {
      throw new ShapeError(
        `batchDocuments: expected ${name} for each of ${tokens.length} documents, got ${list.length}`,
      );
    }
  }
  const spans = tokens.map((t) => chunkSpans(t.length, options));
  const N = spans.reduce((n, s) => n + s.length, 0);
  const ids = new Int32Array(N * chunk);
  const [lengths, documents, places, starts] = [0, 1, 2, 3].map(() => new Int32Array(N));
  let n = 0;
  spans.forEach((list, d) => {
    for (const { place, start, end } of list) {
      for (let i = start; i < end; i++) ids[n * chunk + i - start] = tokens[d][i];
      lengths[n] = end - start;
      documents[n] = d;
      places[n] = place;
      starts[n] = start;
      n++;
    }
  });
  return {
    size: tokens.length,
    chunk,
    ids,
    lengths,
    documents,
    places,
    starts,
    labels: labels ? Float32Array.from(labels) : null,
    // The same document, cut in another way, has other states.
    keys: keys
      ? keys.map((k) => `${k}|${chunk}|${overlap}|${options.maxChunks ?? ''}|${options.keep ?? 'even'}`)
      : null,
  };
}

/** Numbers of each document's chunks, in order: [B] lists. */
export function chunksOf({ size, documents }: ChunkBatch): number[][] {
  const lists: number[][] = Array.from({ length: size }, () => []);
  documents.forEach((d, n) => {
    lists[d].push(n);
  });
  return lists;
}
