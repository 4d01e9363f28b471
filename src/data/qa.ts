/**
 * Questions and answers as text: `QUESTION: …`, a blank line, `ANSWER: …`.
 *
 * A label stands at the start of a line, in any case, with or without a number (`QUESTION 7:`, `7. Question:`). Several
 * answers may follow one question. A line of a question or an answer that itself looks like a label is written with a
 * backslash before it, which reading takes off again: `parseQA(formatQA(pair))` is always the pair.
 */
import { DataError } from '../device/errors.js';

/** A question with one of its answers. */
export interface QAPair {
  question: string;
  answer: string;
}

/** Where a pair stands in its text. */
export interface LocatedQAPair extends QAPair {
  /** Its question is the n-th of the text, from 1. */
  readonly number: number;
  /** The question's line, from 1. */
  readonly line: number;
}

/** What is wrong with a text of questions and answers. */
export interface QAProblem {
  /** The question it concerns, from 1; 0 before the first one. */
  readonly number: number;
  readonly line: number;
  readonly message: string;
}

/** A line that begins with a label: its words, and where its text starts. */
export const LABEL = /^[ \t]*(?:\d+[.)][ \t]*)?(question|answer)(?:[ \t]*#?\d+)?[ \t]*:/i;
const ESCAPED = /^([ \t]*)\\(\\*(?:\d+[.)][ \t]*)?(?:question|answer)(?:[ \t]*#?\d+)?[ \t]*:)/i;
const ESCAPABLE = /^([ \t]*)(\\*(?:\d+[.)][ \t]*)?(?:question|answer)(?:[ \t]*#?\d+)?[ \t]*:)/i;

/** Whether a text has labels: at its beginning in any case, or in capitals further on. */
export function isLabelled(text: string): boolean {
  const lines = normalizeText(text).split('\n');
  const first = lines.find((line) => line.trim() !== '') ?? '';
  return LABEL.test(first) || lines.some((line) => LABEL.exec(line)?.[1] === 'QUESTION');
}

/** Line ends as `\n`, without a byte order mark: what every tool here does to a text first. */
export function normalizeText(text: string): string {
  return text.replace(/^\uFEFF+/, '').replace(/\r\n?/g, '\n');
}

/**
 * The pairs of a text.
 * @param options `source`: the name of the text in errors
 * @throws DataError where a question has no answer, an answer no question, or either no text; the first problem with its
 * number and line, and how many there are
 */
export function parseQA(text: string, { source = 'the text' }: { source?: string } = {}): QAPair[] {
  const { pairs, problems } = scanQA(text);
  if (problems.length > 0) {
    const more = problems.length > 1 ? `; ${problems.length} such places in all` : '';
    throw new DataError(`parseQA: ${problems[0].message}, line ${problems[0].line} of ${source}${more}`);
  }
  return pairs.map(({ question, answer }) => ({ question, answer }));
}

/**
 * The pairs of a text beside all that is wrong with it; what is wrong is left out of the pairs.
 * @returns pairs in the order of the text, and problems in the order of their lines
 */
export function scanQA(text: string): { pairs: LocatedQAPair[]; problems: QAProblem[] } {
  const pairs: LocatedQAPair[] = [];
  const problems: QAProblem[] = [];
  let number = 0;
  let question: Section | null = null;
  let answers = 0;
  const problem = (at: number, line: number, message: string) =>
    problems.push({ number: at, line, message: `expected ${message}` });
  const finishQuestion = () => {
    if (question !== null && answers === 0) {
      const shown = question.text ? ` (${excerpt(question.text)})` : '';
      problem(number, question.line, `an answer after question ${number}, got none${shown}`);
    }
  };
  for (const section of sections(normalizeText(text))) {
    if (section.label === null) {
      problem(0, section.line, `"QUESTION:" first, got ${excerpt(section.text)}`);
    } else if (section.label === 'question') {
      finishQuestion();
      question = section;
      number++;
      answers = 0;
      if (section.text === '') problem(number, section.line, `text in question ${number}, got none`);
    } else if (question === null) {
      problem(0, section.line, `"QUESTION:" before the first "ANSWER:", got ${excerpt(section.text)}`);
    } else {
      answers++;
      if (section.text === '')
        problem(number, section.line, `text in the answer to question ${number}, got none`);
      else if (question.text !== '') {
        pairs.push({ question: question.text, answer: section.text, number, line: question.line });
      }
    }
  }
  finishQuestion();
  problems.sort((a, b) => a.line - b.line);
  return { pairs, problems };
}

/** A label with its text; null before the first label. */
interface Section {
  readonly label: 'question' | 'answer' | null;
  readonly line: number;
  readonly text: string;
}

function* sections(text: string): Generator<Section> {
  let label: Section['label'] = null;
  let line = 1;
  let body: string[] = [];
  const finish = (): Section => ({ label, line, text: body.map(unescapeLine).join('\n').trim() });
  for (const [i, content] of text.split('\n').entries()) {
    const match = LABEL.exec(content);
    if (match === null) {
      if (label === null && body.length === 0) {
        if (content.trim() === '') continue;
        line = i + 1;
      }
      body.push(content);
      continue;
    }
    if (label !== null || body.length > 0) yield finish();
    label = match[1].toLowerCase() as 'question' | 'answer';
    line = i + 1;
    body = [content.slice(match[0].length).trimStart()];
  }
  if (label !== null || body.length > 0) yield finish();
}

const escapeLine = (line: string): string => line.replace(ESCAPABLE, '$1\\$2');
const unescapeLine = (line: string): string => line.replace(ESCAPED, '$1$2');
const escapeText = (text: string): string =>
  normalizeText(text).trim().split('\n').map(escapeLine).join('\n');

/**
 * A pair as text: `QUESTION: …\n\nANSWER: …`, each trimmed and with line ends of one kind.
 * @throws DataError when either is empty: reading it again would find no pair
 */
export function formatQA({ question, answer }: QAPair): string {
  const text = escapeText(answer);
  if (text === '')
    throw new DataError(`formatQA: expected an answer to ${excerpt(question)}, got an empty one`);
  return `${formatPrompt(question)} ${text}`;
}

/**
 * What a model continues with an answer: `QUESTION: …\n\nANSWER:`, without a space at the end, because GPT-2's tokens
 * begin with theirs.
 */
export function formatPrompt(question: string): string {
  const text = escapeText(question);
  if (text === '') throw new DataError('formatPrompt: expected a question, got an empty text');
  return `QUESTION: ${text}\n\nANSWER:`;
}

/** All pairs as one text, a blank line between them and a line end after the last. */
export function formatAllQA(pairs: readonly QAPair[]): string {
  return pairs.map((pair) => `${formatQA(pair)}\n`).join('\n');
}

/** What of a tokenizer is needed here. */
export interface QATokenizer {
  /** The id that ends a text. */
  readonly endOfText: number | null;
  encode(text: string): Int32Array;
}

/** A stream of tokens, and which of them a loss counts. */
export interface TokenizedQA {
  /** int32 of shape [N]. */
  readonly ids: Int32Array;
  /** 1 where the token is to be predicted, 0 where it only is context; uint8 of shape [N]. */
  readonly mask: Uint8Array;
  /** Characters (UTF-16 code units) of the text that the counted tokens stand for; end-of-text has none. */
  readonly characters: number;
}

/**
 * The tokens of pairs, one after the other, each answer ended by end-of-text.
 *
 * Prompt and answer are encoded apart, so that an answer's tokens are the ones a model meets when it continues
 * `formatPrompt(question)`.
 * @param options `answersOnly`: count only answers and their ends in the loss
 * @throws DataError when the tokenizer has no end-of-text token
 */
export function tokenizeQA(
  pairs: readonly QAPair[],
  tokenizer: QATokenizer,
  { answersOnly = false }: { answersOnly?: boolean } = {},
): TokenizedQA {
  const parts: TokenPart[] = [];
  for (const pair of pairs) {
    const text = formatQA(pair);
    const prompt = formatPrompt(pair.question);
    parts.push({ text: prompt, counts: !answersOnly });
    parts.push({ text: text.slice(prompt.length), counts: true, end: true });
  }
  return joinTokens('tokenizeQA', parts, tokenizer);
}

/**
 * The tokens of texts as one stream, each ended by end-of-text; all of them count. `tokenizeDocuments` keeps documents apart.
 * @throws DataError when the tokenizer has no end-of-text token
 */
export function tokenizeTexts(texts: readonly string[], tokenizer: QATokenizer): TokenizedQA {
  return joinTokens(
    'tokenizeTexts',
    texts.map((text) => ({ text, counts: true, end: true })),
    tokenizer,
  );
}

interface TokenPart {
  readonly text: string;
  readonly counts: boolean;
  /** Ends with end-of-text. */
  readonly end?: boolean;
}

function joinTokens(name: string, parts: readonly TokenPart[], tokenizer: QATokenizer): TokenizedQA {
  const { endOfText } = tokenizer;
  if (endOfText === null) {
    throw new DataError(
      `${name}: expected a tokenizer with an end-of-text token, got one without; use new GPT2Tokenizer({ size })`,
    );
  }
  const encoded = parts.map((part) => tokenizer.encode(part.text));
  const total = parts.reduce((sum, part, i) => sum + encoded[i].length + (part.end ? 1 : 0), 0);
  const ids = new Int32Array(total);
  const mask = new Uint8Array(total);
  let at = 0;
  let characters = 0;
  for (const [i, part] of parts.entries()) {
    const start = at;
    ids.set(encoded[i], at);
    at += encoded[i].length;
    if (part.end) ids[at++] = endOfText;
    if (!part.counts) continue;
    mask.fill(1, start, at);
    characters += part.text.length;
  }
  return { ids, mask, characters };
}

/** A text's beginning in quotes, for messages. */
export function excerpt(text: string, length = 40): string {
  const line = text.trim().replace(/\s+/g, ' ');
  const characters = [...line];
  return JSON.stringify(
    characters.length > length ? `${characters.slice(0, length).join('')}…` : characters.join(''),
  );
}
