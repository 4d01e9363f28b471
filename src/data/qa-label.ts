/** Puts QUESTION:/ANSWER: labels on raw pairs and transcripts. */
import { DataError } from '../device/errors.js';
import { excerpt, isLabelled, normalizeText, type QAPair, type QAProblem, scanQA } from './qa.js';

/** How raw text shows what is a question and what an answer. */
export const LABEL_STYLES = ['auto', 'short', 'tabs', 'transcript', 'questions', 'alternating'] as const;
/**
 * - 'short': `Q: …` and `A: …`,
 * - 'tabs': a pair per line, a tab between,
 * - 'transcript': `Name: …`, where one person asks and others answer,
 * - 'questions': a paragraph that ends with a question mark asks, those after it answer,
 * - 'alternating': paragraphs ask and answer in turn.
 */
export type LabelStyle = (typeof LABEL_STYLES)[number];

export interface LabelOptions {
  /** 'auto' by default: tells all but 'alternating' apart. */
  style?: LabelStyle;
  /** In transcripts, who asks; by default who speaks first. */
  asker?: string;
}

/** What a text is made of, once labelled. */
export interface Labelled {
  readonly pairs: QAPair[];
  /** Questions without an answer and answers without a question, which are not among the pairs. */
  readonly problems: QAProblem[];
  /** The style that was found; 'labelled' where the text had its labels. */
  readonly style: Exclude<LabelStyle, 'auto'> | 'labelled';
}

/**
 * The pairs of raw text. Text that already has labels is only read, so that labelling what was labelled changes nothing.
 * @throws DataError when the style cannot be told
 */
export function labelQA(text: string, { style = 'auto', asker }: LabelOptions = {}): Labelled {
  const lines = normalizeText(text).split('\n');
  if (isLabelled(text)) return { ...plain(scanQA(text)), style: 'labelled' };
  const found = style === 'auto' ? detect(lines) : style;
  return { ...pairUp(turns(lines, found, asker)), style: found };
}

function plain({ pairs, problems }: { pairs: readonly QAPair[]; problems: QAProblem[] }) {
  return { pairs: pairs.map(({ question, answer }) => ({ question, answer })), problems };
}

const SHORT = /^[ \t]*(?:\d+[.)][ \t]*)?(q|a)(?:[ \t]*\d+)?[ \t]*[:.)][ \t]+/i;
/** A name of one to three words: letters, digits, `_ . - '`. */
const SPEAKER =
  /^[ \t]*(\p{L}[\p{L}\p{N}_.'’-]{0,29}(?: \p{L}[\p{L}\p{N}_.'’-]{0,29}){0,2})[ \t]*:(?=\s|$)[ \t]*/u;

function detect(lines: readonly string[]): Exclude<LabelStyle, 'auto'> {
  const full = lines.filter((line) => line.trim() !== '');
  if (full.length === 0) return 'questions';
  const short = full.map((line) => SHORT.exec(line)?.[1].toLowerCase());
  if (short[0] === 'q' && short.includes('a')) return 'short';
  if (full.every((line) => line.trim().split('\t').length === 2)) return 'tabs';
  const names = speakers(full);
  if (names.size > 1 && speakerOf(full[0], names) !== null) return 'transcript';
  if (paragraphs(lines)[0].text.endsWith('?')) return 'questions';
  throw new DataError(
    `labelQA: expected labels, Q: and A:, tabs, speakers or a first paragraph that ends with a question mark, got ` +
      `${excerpt(full[0])}; say what it is with the style`,
  );
}

/** Words that stand before a colon without being anybody. */
const NOBODY = /^(?:note|ps|p\.s\.|edit|update|example|tip|warning|ps2|tldr|summary|source|https?)$/i;

/** Who speaks: names at the start of two lines or more, and those written as names are. */
function speakers(lines: readonly string[]): Set<string> {
  const counts = new Map<string, number>();
  const names = new Set<string>();
  for (const line of lines) {
    const name = SPEAKER.exec(line)?.[1];
    if (name === undefined || NOBODY.test(name)) continue;
    const key = name.toLowerCase();
    const times = (counts.get(key) ?? 0) + 1;
    counts.set(key, times);
    if (times > 1 || /^\p{Lu}\S*(?: \p{Lu}\S*)*$/u.test(name) || /[\d_]/.test(name)) names.add(key);
  }
  return names;
}

function speakerOf(line: string, names: ReadonlySet<string>): RegExpExecArray | null {
  const match = SPEAKER.exec(line);
  return match !== null && names.has(match[1].toLowerCase()) ? match : null;
}

/** Something said, and by whom. */
interface Turn {
  readonly line: number;
  readonly asks: boolean;
  /** Who answers; answers of different people are answers of their own. */
  readonly by: string;
  readonly text: string;
}

function turns(lines: readonly string[], style: Exclude<LabelStyle, 'auto'>, asker?: string): Turn[] {
  switch (style) {
    case 'short':
      return spoken(
        lines,
        (line) => SHORT.exec(line),
        (name) => name === 'q',
      );
    case 'transcript': {
      const who = asker?.trim().toLowerCase();
      let first: string | undefined;
      const asks = (name: string) => name === (who ?? (first ??= name));
      const names = speakers(lines);
      if (who !== undefined && !names.has(who)) {
        throw new DataError(
          `labelQA: expected lines that begin with "${asker}:", got none; these speak: ${[...names].slice(0, 8).join(', ') || 'nobody'}`,
        );
      }
      return spoken(lines, (line) => speakerOf(line, names), asks);
    }
    case 'tabs':
      return lines.flatMap((line, i) => {
        if (line.trim() === '') return [];
        const [question, ...rest] = line.trim().split('\t');
        const turn = (asks: boolean, text: string): Turn => ({
          line: i + 1,
          asks,
          by: String(i),
          text: text.trim(),
        });
        return [turn(true, question), turn(false, rest.join('\t'))].filter(({ text }) => text !== '');
      });
    case 'questions':
      return paragraphs(lines).map(({ line, text }) => ({ line, text, by: '', asks: text.endsWith('?') }));
    case 'alternating':
      return paragraphs(lines).map(({ line, text }, i) => ({ line, text, by: String(i), asks: i % 2 === 0 }));
  }
}

/** Turns of lines that begin with a speaker; other lines go on with the turn before. */
function spoken(
  lines: readonly string[],
  begins: (line: string) => RegExpExecArray | null,
  asks: (name: string) => boolean,
): Turn[] {
  const result: Turn[] = [];
  let body: string[] = [];
  let name = '';
  let start = 0;
  const finish = () => {
    const text = body.join('\n').trim();
    if (text !== '') result.push({ line: start, by: name, asks: name !== '' && asks(name), text });
  };
  for (const [i, line] of lines.entries()) {
    const match = begins(line);
    if (match === null) {
      if (body.length === 0) start = i + 1;
      body.push(line);
      continue;
    }
    finish();
    name = match[1].toLowerCase();
    start = i + 1;
    body = [line.slice(match[0].length)];
  }
  finish();
  return result;
}

function paragraphs(lines: readonly string[]): { line: number; text: string }[] {
  const result: { line: number; text: string }[] = [];
  for (const [i, line] of lines.entries()) {
    if (line.trim() === '') continue;
    const open = result.at(-1);
    if (open !== undefined && lines[i - 1].trim() !== '') open.text += `\n${line.trimEnd()}`;
    else result.push({ line: i + 1, text: line.trim() });
  }
  return result;
}

/** Joins what one side says in a row, and gives every answer the question before it. */
function pairUp(turns: readonly Turn[]): { pairs: QAPair[]; problems: QAProblem[] } {
  const pairs: QAPair[] = [];
  const problems: QAProblem[] = [];
  let question: { line: number; text: string } | null = null;
  let number = 0;
  let answers: { by: string; text: string }[] = [];
  const finish = () => {
    if (question === null) return;
    for (const answer of answers) pairs.push({ question: question.text, answer: answer.text });
    if (answers.length > 0) return;
    const message = `expected an answer after question ${number}, got none (${excerpt(question.text)})`;
    problems.push({ number, line: question.line, message });
  };
  for (const turn of turns) {
    if (turn.asks && question !== null && answers.length === 0) {
      question = { line: question.line, text: `${question.text}\n${turn.text}` };
    } else if (turn.asks) {
      finish();
      question = { line: turn.line, text: turn.text };
      number++;
      answers = [];
    } else if (question === null) {
      problems.push({
        number: 0,
        line: turn.line,
        message: `expected a question first, got ${excerpt(turn.text)}`,
      });
    } else {
      const open = answers.find(({ by }) => by === turn.by);
      if (open !== undefined) open.text += `\n\n${turn.text}`;
      else answers.push({ by: turn.by, text: turn.text });
    }
  }
  finish();
  return { pairs, problems };
}
