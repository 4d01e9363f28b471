/**
 * Node only. The file of a token cache, little-endian:
 *
 *     tokens of all documents     2 or 4 bytes each
 *     tokens of each document     4 bytes each
 *     key                         40 characters
 *     documents, bytes per token  4 bytes each
 *     format                      8 characters
 *
 * What is known only at the end stands at the end, so that the file is written in one go.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';

/** Changes when the file or what is hashed for its name does. */
export const TOKEN_FORMAT = 'dgtoken1';
/** Bytes of tokens that go into one write. */
const WRITE_BYTES = 2 ** 20;
const KEY = 40;
const FOOTER = KEY + 4 + 4 + TOKEN_FORMAT.length;

/** What is in memory of an open cache. */
export interface TokenFile {
  readonly bytesPerToken: 2 | 4;
  /** Tokens of each document. */
  readonly counts: Uint32Array;
  /** Tokens before each document, and of all: [documents + 1]. In float64, as there may be more than 2³². */
  readonly offsets: Float64Array;
}

/** The bytes of the file. */
export async function* serializeTokens(
  documents: AsyncIterable<Int32Array>,
  { key, vocabulary }: { key: string; vocabulary: number },
): AsyncGenerator<Uint8Array> {
  const bytesPerToken = vocabulary <= 2 ** 16 ? 2 : 4;
  const counts: number[] = [];
  // Short documents are written together: 27,000 summaries make 5 writes.
  let waiting: Uint8Array[] = [];
  let bytes = 0;
  for await (const ids of documents) {
    const stored = bytesPerToken === 2 ? Uint16Array.from(ids) : ids;
    counts.push(ids.length);
    waiting.push(new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength));
    bytes += stored.byteLength;
    if (bytes < WRITE_BYTES) continue;
    yield Buffer.concat(waiting);
    waiting = [];
    bytes = 0;
  }
  yield Buffer.concat(waiting);
  yield new Uint8Array(Uint32Array.from(counts).buffer);
  const footer = Buffer.alloc(FOOTER);
  footer.write(key, 0, 'latin1');
  footer.writeUInt32LE(counts.length, KEY);
  footer.writeUInt32LE(bytesPerToken, KEY + 4);
  footer.write(TOKEN_FORMAT, KEY + 8, 'latin1');
  yield footer;
}

/** What the file holds; null when there is none, or not the whole one of this key. */
export function openCacheFile(path: string, key: string): TokenFile | null {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
  try {
    const { size } = fstatSync(fd);
    if (size < FOOTER) return null;
    const footer = readAt(fd, size - FOOTER, FOOTER);
    if (footer.toString('latin1', 0, KEY) !== key) return null;
    if (footer.toString('latin1', KEY + 8) !== TOKEN_FORMAT) return null;
    const documents = footer.readUInt32LE(KEY);
    const bytesPerToken = footer.readUInt32LE(KEY + 4);
    if (bytesPerToken !== 2 && bytesPerToken !== 4) return null;
    if (documents * 4 + FOOTER > size) return null;
    const bytes = readAt(fd, size - FOOTER - documents * 4, documents * 4);
    const counts = new Uint32Array(documents);
    new Uint8Array(counts.buffer).set(bytes);
    const offsets = new Float64Array(documents + 1);
    for (let i = 0; i < documents; i++) offsets[i + 1] = offsets[i] + counts[i];
    const isWhole = offsets[documents] * bytesPerToken + documents * 4 + FOOTER === size;
    return isWhole ? { bytesPerToken, counts, offsets } : null;
  } finally {
    closeSync(fd);
  }
}

function readAt(fd: number, position: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  let at = 0;
  while (at < length) {
    const n = readSync(fd, bytes, at, length - at, position + at);
    if (n === 0) break;
    at += n;
  }
  return bytes;
}
