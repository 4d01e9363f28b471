/** Which novel is read, and its first letter. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gutenbergText } from '../../src/data/gutenberg.js';
import { DataError, type data } from '../../src/index.js';
import { defaultCacheFolder, readNovel } from '../../src/node.js';

export interface Source {
  readonly text: string;
  /** Where it comes from, in words. */
  readonly from: string;
}

const SHARED = fileURLToPath(new URL('../../../shared/data/frankenstein.txt', import.meta.url));
/** Project Gutenberg's number of Frankenstein; the text of 1818 and 1831, in the public domain. */
const FRANKENSTEIN = 84;

/**
 * The text of a file, or Frankenstein: from `../shared/data`, else from Project Gutenberg (kept after the first time), else
 * Moby-Dick from npm.
 *
 * @param path of a text file
 * @param base where Project Gutenberg is
 */
export async function readSource(path: string | null, base?: string): Promise<Source> {
  if (path !== null) return { text: readNovel(path).text, from: path };
  if (base === undefined && existsSync(SHARED)) {
    return { text: readNovel(SHARED).text, from: 'Frankenstein, from ../shared/data/frankenstein.txt' };
  }
  try {
    const text = await gutenbergText(FRANKENSTEIN, { cache: join(defaultCacheFolder(), 'texts'), base });
    return { text: withoutContents(text), from: `Frankenstein, Project Gutenberg ${FRANKENSTEIN}` };
  } catch (error) {
    if (!(error instanceof DataError)) throw error;
    return { text: readNovel().text, from: `Moby-Dick, from npm, because ${error.message}` };
  }
}

/** The novel from its first letter on: title page and table of contents go, where there are any. */
function withoutContents(text: string): string {
  const headings = [...text.matchAll(/^\s*Letter 1\s*$/gm)];
  return text.slice(headings.at(-1)?.index ?? 0).trimStart();
}

/** A short text to learn, and the one behind it, which is held out. */
export interface Letters {
  readonly first: string;
  readonly second: string;
  readonly from: string;
}

/** Characters of the first letter, where the text has none. */
const LETTER_LENGTH = 6850;

/**
 * Letter 1 without its heading and its signature, as the original experiment cut it, 6,850 characters; and Letter 2. In
 * other texts, two parts of that length at the beginning.
 */
export function letters(text: string): Letters {
  const between = (start: RegExp, end: RegExp): string | null => {
    const from = start.exec(text);
    if (!from) return null;
    const rest = text.slice(from.index + from[0].length);
    const to = end.exec(rest);
    return to ? rest.slice(0, to.index).trim() : null;
  };
  const first = between(/^Letter 1$/m, /^R\. Walton$/m);
  const second = between(/^Letter 2$/m, /^Letter 3$/m);
  if (first && second) return { first, second, from: 'Letter 1; Letter 2 is held out' };
  return {
    first: text.slice(0, LETTER_LENGTH),
    second: text.slice(LETTER_LENGTH, 2 * LETTER_LENGTH),
    from: `the first ${LETTER_LENGTH.toLocaleString('en')} characters; as many behind them are held out`,
  };
}

/** A text as ids, without the characters that a vocabulary lacks. @returns the ids, and how many were left out */
export function encodeKnown(
  vocabulary: data.CharVocabulary,
  text: string,
): { ids: Int32Array; left: number } {
  const known = new Set(vocabulary.characters);
  const kept = [...text].filter((character) => known.has(character));
  return { ids: vocabulary.encode(kept.join('')), left: [...text].length - kept.length };
}
