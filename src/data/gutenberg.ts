/** Node only. Texts of Project Gutenberg: downloaded once, without header and license. */
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DataError } from '../device/errors.js';
import { writeFileAtomic } from './atomic-file.js';
import { stripGutenberg } from './text.js';

export interface GutenbergOptions {
  /** Folder that keeps downloaded texts. Default: none is kept. */
  readonly cache?: string;
  /** Where the library is; a mirror, or a server of your own. Default https://www.gutenberg.org. */
  readonly base?: string;
  /** Milliseconds until it gives up. Default 20,000. */
  readonly timeout?: number;
}

/**
 * A book of Project Gutenberg by its number, without header and license, with \n at ends of lines.
 *
 * @param id its number: 84 is Frankenstein
 * @throws DataError naming the address, where there is no answer, another one than a text, or one without the marks that
 *   enclose a book
 */
export async function gutenbergText(id: number, options: GutenbergOptions = {}): Promise<string> {
  const { cache, base = 'https://www.gutenberg.org', timeout = 20_000 } = options;
  if (!Number.isSafeInteger(id) || id < 1) {
    throw new DataError(`gutenbergText: expected the number of a book, got ${id}`);
  }
  const kept = cache === undefined ? null : join(cache, `gutenberg-${id}.txt`);
  const known = kept === null ? null : await readFile(kept, 'utf8').catch(() => null);
  if (known !== null) return known;
  const url = `${base.replace(/\/$/, '')}/cache/epub/${id}/pg${id}.txt`;
  const raw = await download(url, timeout);
  const normal = raw.replace(/\r\n?/g, '\n');
  const text = stripGutenberg(normal);
  if (text === normal.replace(/^\uFEFF/, '')) {
    throw new DataError(
      `gutenbergText: expected a book between "*** START OF …" and "*** END OF …" at ${url}, got other text`,
    );
  }
  if (cache !== undefined && kept !== null) {
    await mkdir(cache, { recursive: true });
    await writeFileAtomic(kept, [text]);
  }
  return text;
}

async function download(url: string, timeout: number): Promise<string> {
  let why: string;
  let cause: unknown;
  try {
    const answer = await fetch(url, { signal: AbortSignal.timeout(timeout) });
    if (answer.ok) return new TextDecoder('utf-8', { fatal: true }).decode(await answer.arrayBuffer());
    why = `${answer.status} ${answer.statusText}`.trim();
  } catch (error) {
    cause = error;
    // What fetch() throws without an answer has the reason as its cause.
    why = ((error as Error).cause as Error | undefined)?.message ?? (error as Error).message;
  }
  throw new DataError(
    `gutenbergText: cannot download ${url}: ${why}; put the text into a file and name that`,
    { cause },
  );
}
