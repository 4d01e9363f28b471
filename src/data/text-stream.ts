/** Node only. Text of files, piece by piece and line by line. */
import { createReadStream } from 'node:fs';
import { DataError } from '../device/errors.js';

/**
 * The text of a file in pieces, without a byte order mark.
 * @throws DataError when it cannot be read or is not UTF-8
 */
export async function* readPieces(path: string): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  const stream = createReadStream(path);
  let offset = 0;
  try {
    for await (const bytes of stream as AsyncIterable<Uint8Array>) {
      const text = decoder.decode(bytes, { stream: true });
      offset += bytes.length;
      if (text !== '') yield text;
    }
    const rest = decoder.decode();
    if (rest !== '') yield rest;
  } catch (cause) {
    if (cause instanceof TypeError) {
      throw new DataError(
        `readText: expected UTF-8 text, got other bytes after byte ${offset} of ${path}; convert it, e.g. with iconv`,
        { cause },
      );
    }
    throw (cause as NodeJS.ErrnoException).code === undefined
      ? cause
      : new DataError(`readText: cannot read ${path}: ${(cause as Error).message}`, { cause });
  } finally {
    stream.destroy();
  }
}

/** The lines of a file without their ends; an empty line at the end of the file is none. */
export async function* readLines(path: string): AsyncGenerator<string> {
  // Pieces of a line that is longer than one; joined once, so that a long line costs its length only.
  let open: string[] = [];
  for await (const piece of readPieces(path)) {
    const lines = piece.split('\n');
    for (let i = 0; i < lines.length - 1; i++) {
      open.push(lines[i]);
      yield open.join('').replace(/\r$/, '');
      open = [];
    }
    if (lines.at(-1) !== '') open.push(lines.at(-1)!);
  }
  if (open.length > 0) yield open.join('').replace(/\r$/, '');
}
