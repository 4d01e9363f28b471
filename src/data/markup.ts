/** Texts with tags, as plain text. */
import { decodeEntities } from './qa-clean.js';

/** Tags that stand inside a line and leave no gap. */
const INLINE = new Set(['a', 'b', 'em', 'font', 'i', 'span', 'strong', 'u']);
// Neither holds < or >, so that a < without its > costs no more than the way to the next one.
const TAG = /<(?:\/?([\p{L}_][\p{L}\p{N}_:.-]*)(?:\s[^<>]*)?\/?|[!?][^<>]*)>/gu;

/**
 * A text without its XML-like tags: `<scene>` and the like become line breaks, `<i>` nothing, `&amp;` its character. What
 * is no tag stays: `a < b`, `<3`.
 */
export function stripTags(text: string): string {
  const plain = text.replace(TAG, (_, name?: string) =>
    name !== undefined && INLINE.has(name.toLowerCase()) ? '' : '\n',
  );
  return decodeEntities(plain)
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n')
    .replace(/\n{3,}/g, '\n\n')
    .trim();
}
