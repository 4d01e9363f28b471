/** Node only. Documents as tokens on disk: tokenised once, read by position, never all in memory. */
import { createHash } from 'node:crypto';
import { closeSync, openSync, readSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { DataError } from '../device/errors.js';
import { writeFileAtomic } from './atomic-file.js';
import { openCacheFile, serializeTokens, TOKEN_FORMAT, type TokenFile } from './token-cache-file.js';
import type { Tokenizer } from './tokenizer.js';

/** A document as the cache sees it. */
export interface CachedText {
  readonly text: string;
}

/** How far tokenising has come. */
export interface TokenizeProgress {
  /** Documents tokenised. */
  readonly done: number;
  readonly documents: number;
  /** Tokens so far. */
  readonly tokens: number;
}

export interface TokenCacheOptions {
  /** Where caches are kept; by default `tokens` in `defaultCacheFolder()`. */
  readonly cacheDir?: string;
  /** Told after each document; not called when the cache is there already. */
  readonly onProgress?: (progress: TokenizeProgress) => void;
}

/**
 * The tokens of documents, in the cache or put there.
 *
 * The name of a cache is a hash of the tokenizer and of every text in order, so other texts or another tokenizer never find
 * it. The file appears whole or not at all: two processes that tokenise the same documents at once both get it right. The
 * documents are read twice, first for the name, then for the tokens, and need not fit in memory.
 *
 * @param documents texts that may be iterated more than once: an array, or `readDocuments`
 * @throws DataError when the documents can be read only once, or change in between
 */
export async function tokenizeDocuments(
  documents: Iterable<CachedText> | AsyncIterable<CachedText>,
  tokenizer: Tokenizer,
  { cacheDir = join(defaultCacheFolder(), 'tokens'), onProgress }: TokenCacheOptions = {},
): Promise<TokenCache> {
  refuseOneTime(documents);
  const hasher = new ContentHash(tokenizer);
  let count = 0;
  for await (const { text } of documents) {
    hasher.add(text);
    count++;
  }
  const key = hasher.digest();
  const path = join(cacheDir, `${key}.tokens`);
  const found = openCacheFile(path, key);
  if (found !== null) return new TokenCache(path, found, true);

  const again = new ContentHash(tokenizer);
  async function* tokens(): AsyncGenerator<Int32Array> {
    let done = 0;
    let total = 0;
    for await (const { text } of documents) {
      again.add(text);
      const ids = tokenizer.encode(text);
      yield ids;
      total += ids.length;
      onProgress?.({ done: ++done, documents: count, tokens: total });
    }
    // Before the file gets its name: a cache under a wrong one would be believed for ever.
    if (again.digest() !== key) {
      throw new DataError(
        'tokenizeDocuments: expected the same documents in both readings, got others in the second; ' +
          'try again when the data is not being written',
      );
    }
  }
  await mkdir(cacheDir, { recursive: true });
  try {
    await writeFileAtomic(path, serializeTokens(tokens(), { key, vocabulary: tokenizer.size }));
  } catch (error) {
    // Windows does not replace a file that another process has open: what lies there then is the same.
    const other = (error as NodeJS.ErrnoException).code === 'EPERM' ? openCacheFile(path, key) : null;
    if (other === null) throw error;
    return new TokenCache(path, other, false);
  }
  const made = openCacheFile(path, key);
  if (made === null)
    throw new DataError(`tokenizeDocuments: expected the cache ${path} just written, got none`);
  return new TokenCache(path, made, false);
}

/** Tokens of documents in a file. It stays open until `close`. */
export class TokenCache {
  /** Number of documents. */
  readonly length: number;
  /** Tokens of all documents. */
  readonly total: number;
  private fd: number | null;

  /** @param cached whether the file was there before */
  constructor(
    readonly path: string,
    private readonly file: TokenFile,
    readonly cached: boolean,
  ) {
    this.length = file.counts.length;
    this.total = file.offsets[this.length];
    this.fd = openSync(path, 'r');
  }

  /** Number of tokens of each document. */
  get counts(): Uint32Array {
    return this.file.counts.slice();
  }

  /**
   * The tokens of a document, or some of them; only these are read.
   * @param index from 0 to `length` − 1
   * @param start first token; 0 by default
   * @param end the one after the last; the end of the document by default and at most
   * @returns int32 [end − start]
   * @throws DataError at another index or range, when the cache is closed, and when the file was cut off
   */
  tokens(index: number, start = 0, end: number = Number.POSITIVE_INFINITY): Int32Array {
    if (this.fd === null) throw new DataError('TokenCache: expected an open cache, got one that is closed');
    if (!(Number.isInteger(index) && index >= 0 && index < this.length)) {
      throw new DataError(`TokenCache: expected a document from 0 to ${this.length - 1}, got ${index}`);
    }
    const { offsets, counts, bytesPerToken } = this.file;
    const to = Math.min(end, counts[index]);
    if (!(Number.isInteger(start) && Number.isInteger(to) && start >= 0 && start <= to)) {
      throw new DataError(
        `TokenCache: expected a range of the ${counts[index]} tokens of document ${index}, got ${start} to ${end}`,
      );
    }
    const ids = bytesPerToken === 2 ? new Uint16Array(to - start) : new Int32Array(to - start);
    const bytes = new Uint8Array(ids.buffer);
    const position = (offsets[index] + start) * bytesPerToken;
    for (let at = 0; at < bytes.length; ) {
      const n = readSync(this.fd, bytes, at, bytes.length - at, position + at);
      if (n === 0)
        throw new DataError(
          `TokenCache: expected ${bytes.length} bytes at ${position}, got ${at} in ${this.path}`,
        );
      at += n;
    }
    return ids instanceof Int32Array ? ids : Int32Array.from(ids);
  }

  /** Closes the file; calling it again does nothing. */
  close(): void {
    if (this.fd !== null) closeSync(this.fd);
    this.fd = null;
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Where dawngrad keeps what it can make again: `DAWNGRAD_CACHE`, or `dawngrad` in the user's folder of caches. */
export function defaultCacheFolder(): string {
  return (
    process.env.DAWNGRAD_CACHE ?? join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'dawngrad')
  );
}

/** SHA-256 over format, tokenizer and texts, each with its length in front, so that no two lists of texts read alike. */
class ContentHash {
  private readonly hash = createHash('sha256');

  constructor(tokenizer: Tokenizer) {
    this.add(TOKEN_FORMAT);
    this.add(JSON.stringify(tokenizer.toJSON()));
  }

  add(text: string): void {
    // UTF-16: lone surrogates differ there, and in UTF-8 do not.
    const bytes = Buffer.from(text, 'utf16le');
    this.hash.update(`${bytes.length}:`);
    this.hash.update(bytes);
  }

  digest(): string {
    return this.hash.digest('hex').slice(0, 40);
  }
}

function refuseOneTime(documents: Iterable<CachedText> | AsyncIterable<CachedText>): void {
  const iterator =
    Symbol.asyncIterator in documents ? documents[Symbol.asyncIterator]() : documents[Symbol.iterator]();
  if ((iterator as unknown) === documents) {
    throw new DataError(
      'tokenizeDocuments: expected documents that can be read twice, got a generator; pass an array or readDocuments(…)',
    );
  }
}
