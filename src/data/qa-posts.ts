/** Numbered posts and numbered questions: reading them, and numbering them anew after edits. */
import { LABEL, normalizeText } from './qa.js';

/** One of the parts that a text consists of. */
export interface Post {
  /** Its first line, from 1. */
  readonly line: number;
  /** Its text without the number, trimmed. */
  readonly text: string;
}

/** `7.` or `7)` at the start of a line, followed by text or nothing. */
const POST = /^(\d{1,6})([.)])(?=\s|$)[ \t]*/;
/** A label with its numbers, before or after it. */
const NUMBERED_LABEL = /^([ \t]*)(?:(\d+)([.)])([ \t]*))?(question|answer)(?:([ \t]*#?)(\d+))?([ \t]*:)/i;

/**
 * The posts of a text: where its first line begins with a number (`1.`), each such line after a blank one begins a post;
 * otherwise each paragraph is one.
 */
export function parsePosts(text: string): Post[] {
  const lines = normalizeText(text).split('\n');
  const numbered = isNumbered(lines);
  const posts: Post[] = [];
  let body: string[] = [];
  let line = 0;
  const finish = () => {
    const content = body.join('\n').trim();
    if (content !== '') posts.push({ line, text: content });
    body = [];
  };
  for (const [i, content] of lines.entries()) {
    if (numbered ? startsPost(lines, i) : content.trim() === '') finish();
    if (body.length === 0) {
      if (content.trim() === '') continue;
      line = i + 1;
      body.push(numbered ? content.replace(POST, '') : content);
    } else body.push(content);
  }
  finish();
  return posts;
}

/** Posts as numbered text, a blank line between them. */
export function formatPosts(posts: readonly Pick<Post, 'text'>[]): string {
  return posts.map(({ text }, i) => `${i + 1}. ${text}\n`).join('\n');
}

/** Whether a text is numbered posts. */
export function isNumberedPosts(text: string): boolean {
  return isNumbered(normalizeText(text).split('\n'));
}

/**
 * Numbers anew what is numbered: `QUESTION 7:` and its `ANSWER 7:`, or `7. QUESTION:`, where the text has labels with numbers;
 * otherwise posts that begin with `7.` after a blank line. Lists within a post or an answer stay as they are: their lines
 * follow one another. Doing it twice changes nothing.
 * @param options `start`: the first number, 1 by default
 * @returns the text, and how many questions or posts and changed numbers it has
 */
export function renumber(
  text: string,
  { start = 1 }: { start?: number } = {},
): { text: string; count: number; changed: number } {
  const lines = normalizeText(text).split('\n');
  const labelled = lines.some((line) => LABEL.test(line));
  const {
    lines: result,
    count,
    changed,
  } = labelled ? renumberLabels(lines, start) : renumberPosts(lines, start);
  return { text: result.join('\n'), count, changed };
}

interface Renumbered {
  lines: string[];
  count: number;
  changed: number;
}

function renumberLabels(lines: readonly string[], start: number): Renumbered {
  let count = 0;
  let changed = 0;
  const result = lines.map((line) =>
    line.replace(NUMBERED_LABEL, (all, indent, before, dot, space, label, gap, after, colon) => {
      if (label.toLowerCase() === 'question') count++;
      const n = String(start + Math.max(count, 1) - 1);
      const first = before === undefined ? '' : `${n}${dot}${space}`;
      const second = after === undefined ? '' : `${gap}${n}`;
      const now = `${indent}${first}${label}${second}${colon}`;
      if (now !== all) changed++;
      return now;
    }),
  );
  return { lines: result, count, changed };
}

function renumberPosts(lines: readonly string[], start: number): Renumbered {
  let count = 0;
  let changed = 0;
  const numbered = isNumbered(lines);
  const result = lines.map((line, i) => {
    if (!numbered || !startsPost(lines, i)) return line;
    const n = String(start + count++);
    return line.replace(POST, (all, before: string) => {
      if (before !== n) changed++;
      return n + all.slice(before.length);
    });
  });
  return { lines: result, count, changed };
}

function isNumbered(lines: readonly string[]): boolean {
  const first = lines.find((line) => line.trim() !== '');
  return first !== undefined && POST.test(first) && !LABEL.test(first);
}

function startsPost(lines: readonly string[], i: number): boolean {
  return POST.test(lines[i]) && (i === 0 || lines[i - 1].trim() === '');
}
