/**
 * Cleans text that was copied from chats, forums and comment columns: time stamps, buttons, counts of likes, user names,
 * HTML entities, needless space.
 *
 * A line goes only when all of it is such matter; "Reply" does, "Reply to her, but not today." stays. The one exception are
 * time stamps at the start of a line that no sentence begins with: `[12:30]`, `00:01:15`, `3/4/21, 12:30 -`.
 */
import { normalizeText } from './qa.js';

/** What can be cleaned away. */
export const CLEANINGS = ['times', 'buttons', 'names', 'entities'] as const;
export type Cleaning = (typeof CLEANINGS)[number];

/** A line, or the part of it, that was removed. */
export interface Removed {
  /** Its line in the given text, from 1. */
  readonly line: number;
  readonly kind: Exclude<Cleaning, 'entities'>;
  readonly text: string;
}

export interface CleanOptions {
  /** What to leave alone. */
  keep?: readonly Cleaning[];
}

/**
 * Removes what is no sentence of anybody; cleaning twice changes nothing.
 * @returns the text without it, ended by one line end, and what was removed in the order of its lines
 */
export function cleanText(
  text: string,
  { keep = [] }: CleanOptions = {},
): { text: string; removed: Removed[] } {
  const kept = new Set(keep);
  const removed: Removed[] = [];
  let lines: Line[] = normalizeText(text)
    .split('\n')
    .map((content, i) => ({ number: i + 1, content }));
  // What one round uncovers (an entity within an entity, a button after a time stamp) is the next one's.
  for (let before = ''; ; ) {
    lines = pass(lines, kept, removed);
    const now = lines.map((line) => line.content).join('\n');
    if (now === before) break;
    before = now;
  }
  removed.sort((a, b) => a.line - b.line);
  const content = lines.map((line) => line.content).join('\n');
  return { text: content === '' ? '' : `${content}\n`, removed };
}

interface Line {
  readonly number: number;
  readonly content: string;
}

function pass(lines: readonly Line[], keep: ReadonlySet<Cleaning>, removed: Removed[]): Line[] {
  const decoded = lines.flatMap(({ number, content }) =>
    tidy(keep.has('entities') ? content : decodeEntities(content))
      .split('\n')
      .map((part) => ({ number, content: part.trimEnd() })),
  );
  const left: Line[] = [];
  for (const [i, line] of decoded.entries()) {
    const { number, content } = line;
    const kind = junk(content, decoded[i + 1]?.content ?? '', decoded[i - 1]?.content ?? '');
    if (kind !== null && !keep.has(kind)) {
      removed.push({ line: number, kind, text: content.trim() });
      continue;
    }
    const prefix = keep.has('times') ? null : TIME_PREFIX.exec(content);
    if (prefix !== null && prefix[0].length < content.length) {
      removed.push({ line: number, kind: 'times', text: prefix[0].trim() });
      left.push({ number, content: content.slice(prefix[0].length) });
    } else {
      left.push(line);
    }
  }
  // One blank line at a time, none at either end.
  const dense = left.filter(
    ({ content }, i) => content !== '' || (i > 0 && left[i - 1].content !== '' && i < left.length - 1),
  );
  while (dense.at(-1)?.content === '') dense.pop();
  return dense;
}

/** Odd spaces become plain ones; signs without width that only disturb go. */
function tidy(text: string): string {
  return normalizeText(text)
    .replace(/[\u00A0\u2007\u202F]/g, ' ')
    .replace(/[\u200B\u2060\uFEFF]/g, '');
}

const MONTH =
  '(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\\.?';
const WEEKDAY = '(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?\\.?';
const CLOCK = '\\d{1,2}:\\d{2}(?::\\d{2}(?:[.,]\\d{1,6})?)?(?: ?[ap]\\.?m\\.?)?';
const ZONE = '(?: ?(?:z|utc|gmt|[ecmp][sd]t|[+-]\\d{2}:?\\d{2}))?';
const DAY = '\\d{1,2}(?:st|nd|rd|th)?';
const DATE = `(?:\\d{4}[-/.]\\d{1,2}[-/.]\\d{1,2}|\\d{1,2}[-/.]\\d{1,2}[-/.](?:\\d{4}|\\d{2})|${MONTH} ${DAY}(?:,? \\d{4})?|${DAY} ${MONTH}(?:,? \\d{4})?)`;
/** A date, a time of day, or both. */
const ABSOLUTE = `(?:(?:${WEEKDAY},? )?${DATE}(?:(?:,? (?:at )?|t)${CLOCK}${ZONE})?|(?:(?:${WEEKDAY}|yesterday|today),? (?:at )?)?${CLOCK}${ZONE})`;
/** How long ago; without "ago" only in the short forms of comment columns: 3d, 12w. */
const RELATIVE =
  '(?:(?:about |over |almost )?(?:\\d+|an?|one) ?(?:s(?:ec(?:ond)?)?|m(?:in(?:ute)?)?|h(?:r|our)?|d(?:ay)?|w(?:k|eek)?|mo(?:nth)?|y(?:r|ear)?)s? ago|\\d+(?:[smhdwy]|mo)|just now)';
const STAMP = `[[(]?(?:(?:(?:last )?(?:posted|edited|updated|asked|answered|commented|replied|modified|sent)(?: on| at)?:? )?(?:${ABSOLUTE}|${RELATIVE}))[\\])]?(?: ?\\(edited\\))?`;
const NUMBER = '\\d[\\d,.]*[km]?';
/** Buttons and counters that stand alone. */
const BUTTON = [
  `(?:${NUMBER} )?(?:likes?|comments?|shares?|repl(?:y|ies)|retweets?|reactions?|upvotes?|downvotes?)`,
  `${NUMBER} (?:votes?|points?|views?|hearts?)`,
  'quote|permalink|copy link',
  '(?:show|see|read|load|view) (?:more|less)(?: (?:replies|comments))?',
  `(?:view|show|hide|see) (?:all )?(?:${NUMBER} )?(?:more |previous )?(?:repl(?:y|ies)|comments?)`,
  'see translation|(?:write|add|leave) a (?:reply|comment)(?:\\.{3}|…)?',
  'press enter(?: to (?:send|post|submit|reply|search|continue|comment)(?: (?:your |a |the )?(?:message|comment|reply|post|answer))?)?[.…]?',
  '(?:log|sign) in to (?:reply|comment|like)',
].join('|');
/** Buttons that count as such only beside others, in their line or the next: alone each could be an answer. */
const EXTRA = 'report|follow|save|edit|delete|helpful|following|author|op|top fan|award|hide|more';
const BETWEEN = '(?:[ \\t]*[·•|,/–—-][ \\t]*|[ \\t]+)';
const HANDLE = '(?:@[\\w.-]{2,}|/?u/[\\w-]{2,})';
const whole = (pattern: string): RegExp => new RegExp(`^[ \\t]*(?:${pattern})[ \\t]*$`, 'i');

const TIMES = whole(`${STAMP}|\\d{2}:\\d{2}:\\d{2}[.,]\\d{3} --> \\d{2}:\\d{2}:\\d{2}[.,]\\d{3}`);
const BUTTONS = whole(
  `(?:(?:${EXTRA})${BETWEEN})*(?:${BUTTON})(?:${BETWEEN}(?:${BUTTON}|${EXTRA}|${STAMP}))*|` +
    `${STAMP}(?:${BETWEEN}(?:${BUTTON}|${EXTRA}|${STAMP}))+|liked by .{1,40} and (?:${NUMBER} )?others?`,
);
const EXTRAS = whole(`(?:${EXTRA})(?:${BETWEEN}(?:${EXTRA}))*`);
const HANDLES = whole(
  `(?:(?:posted |asked |answered )?(?:by|from) )?${HANDLE}(?:(?:[ \\t]*[·•|,-][ \\t]*|[ \\t]+)${STAMP}|(?: wrote| said| replied)?:?)|[a-z][\\w.-]*_[\\w.-]*(?: wrote| said| replied)?:?|` +
    `[\\w.' -]{2,30}[ \\t]*[·•|][ \\t]*${STAMP}|on ${ABSOLUTE},? .{2,40} wrote:`,
);
/** `sunny92`: a user name beside a time stamp, perhaps a word elsewhere. */
const NUMBERED_NAME = /^[ \t]*[A-Za-z]{3,20}\d{2,6}[ \t]*$/;
/** One to three capitalised words: a user name above a time stamp. */
const CAPITALISED_NAME = /^[ \t]*\p{Lu}[\p{L}'’-]*(?: \p{Lu}[\p{L}'’-]*\.?){0,2}[ \t]*$/u;
const NO_NAME =
  /^(?:thanks?(?: you)?|hello|hi|hey|yes|no|maybe|ok(?:ay)?|please|sorry|never|always|dear|bye|question|answer)\b/i;
const TIME_PREFIX = new RegExp(
  `^[ \\t]*(?:\\[${ABSOLUTE}\\][ \\t]*(?:[-–—:][ \\t]*)?|${DATE},? ${CLOCK} ?[-–—][ \\t]+|\\d{1,2}:\\d{2}:\\d{2}(?:[.,]\\d{1,3})?[ \\t]+(?=\\S))`,
  'i',
);
/** Longer lines are sentences; it also bounds what the patterns may cost. */
const LONGEST = 90;

/** What kind of matter a line is as a whole, given its neighbours; null for a line to keep. */
function junk(line: string, after: string, before: string): Removed['kind'] | null {
  if (line === '' || line.length > LONGEST) return null;
  if (TIMES.test(line)) return 'times';
  if (BUTTONS.test(line)) return 'buttons';
  if (HANDLES.test(line)) return 'names';
  const isButton = (s: string) => s.length <= LONGEST && BUTTONS.test(s);
  if (EXTRAS.test(line) && (isButton(after) || isButton(before))) return 'buttons';
  const isStamp = (s: string) => s.length <= LONGEST && TIMES.test(s);
  if (NUMBERED_NAME.test(line) && (isStamp(after) || isStamp(before))) return 'names';
  if (CAPITALISED_NAME.test(line) && !NO_NAME.test(line.trim()) && isStamp(after)) return 'names';
  return null;
}

/** The entities that turn up in saved pages; the others are rare enough to be left as they are. */
const ENTITIES: Readonly<Record<string, string>> = {
  amp: '&',
  lt: '<',
  gt: '>',
  quot: '"',
  apos: "'",
  nbsp: ' ',
  hellip: '…',
  mdash: '—',
  ndash: '–',
  lsquo: '‘',
  rsquo: '’',
  ldquo: '“',
  rdquo: '”',
  laquo: '«',
  raquo: '»',
  bull: '•',
  middot: '·',
  eacute: 'é',
  egrave: 'è',
  agrave: 'à',
  ccedil: 'ç',
  auml: 'ä',
  ouml: 'ö',
  uuml: 'ü',
  szlig: 'ß',
  ntilde: 'ñ',
  euro: '€',
  pound: '£',
  deg: '°',
  copy: '©',
  reg: '®',
  trade: '™',
  frac12: '½',
  times: '×',
};

/** HTML entities as the characters they stand for; unknown ones stay. */
export function decodeEntities(text: string): string {
  return text.replace(/&(?:#(\d{1,7})|#x([0-9a-f]{1,6})|([a-z]+\d*));/gi, (all, decimal, hex, name) => {
    if (name !== undefined) return Object.hasOwn(ENTITIES, name) ? ENTITIES[name] : all;
    const point = decimal === undefined ? Number.parseInt(hex, 16) : Number(decimal);
    const isText = point >= 32 ? point < 0x7f || point > 0x9f : point === 9 || point === 10 || point === 13;
    const isCharacter = point <= 0x10ffff && !(point >= 0xd800 && point <= 0xdfff);
    return isText && isCharacter ? String.fromCodePoint(point) : all;
  });
}
