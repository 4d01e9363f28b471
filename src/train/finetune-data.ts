/** Node only. The data of a fine-tuning run: files to questions, answers and texts, and those to tokens. */
import { createHash } from 'node:crypto';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import {
  excerpt,
  formatAllQA,
  formatPrompt,
  LABEL,
  normalizeText,
  type QAPair,
  tokenizeTexts,
  tokenizeQA,
} from '../data/qa.js';
import { isJsonLines, parseQARecords, readText, splitRecords } from '../data/qa-file.js';
import { type TokenBlock, evaluationBlocks } from '../data/token-blocks.js';
import type { Tokenizer } from '../data/tokenizer.js';
import { DataError } from '../device/errors.js';

/** A part of the data: questions with answers, and texts. */
export interface TextPart {
  readonly pairs: readonly QAPair[];
  readonly documents: readonly string[];
}

/** What the files of a run hold. */
export interface TextData {
  readonly train: TextPart;
  readonly validation: TextPart;
  /** Held out for the end; empty where no file says so. */
  readonly test: TextPart;
  /** SHA-256 of all of it. */
  readonly digest: string;
}

/** Tokens, and which of them count. */
export interface MaskedTokens {
  /** int32 [N]. */
  readonly ids: Int32Array;
  /** 1 where the token is a target; uint8 [N]. */
  readonly mask: Uint8Array;
  /** Texts and answers in it. */
  readonly documents: number;
}

interface MutablePart {
  pairs: QAPair[];
  documents: string[];
}

/**
 * Reads questions and answers, texts, and folders of texts. Questions are split as their file says or else by a hash; a
 * text's end is held out, from a line end on.
 *
 * @param validation share held out where a file does not say
 * @throws DataError for what cannot be read, and where nothing is left to train or to be measured on
 */
export async function readTextData(paths: readonly string[], validation: number): Promise<TextData> {
  const parts: Record<'train' | 'validation' | 'test', MutablePart> = {
    train: { pairs: [], documents: [] },
    validation: { pairs: [], documents: [] },
    test: { pairs: [], documents: [] },
  };
  for (const file of await listFiles(paths)) {
    const text = await readText(file);
    if (isJsonLines(text, file) || beginsWithQuestion(text)) {
      const split = splitRecords(parseQARecords(text, file), file, { validation });
      for (const name of ['train', 'validation', 'test'] as const) parts[name].pairs.push(...split[name]);
    } else {
      const [start, end] = cutText(normalizeText(text), validation);
      if (start) parts.train.documents.push(start);
      if (end) parts.validation.documents.push(end);
    }
  }
  for (const name of ['train', 'validation'] as const) {
    if (parts[name].pairs.length + parts[name].documents.length === 0) {
      throw new DataError(
        `finetune: expected ${name} data in ${paths.join(', ')}, got none; ${name === 'train' ? 'all of it is held out or empty' : 'give more, a larger validation share, or, where lines have a split, some of validation'}`,
      );
    }
  }
  const hash = createHash('sha256');
  for (const { pairs, documents } of Object.values(parts)) hash.update(JSON.stringify([pairs, documents]));
  return { ...parts, digest: hash.digest('hex') };
}

async function listFiles(paths: readonly string[]): Promise<string[]> {
  const files: string[] = [];
  for (const path of paths) {
    const info = await stat(path).catch((cause: Error) => {
      throw new DataError(`finetune: cannot read the data ${path}: ${cause.message}`, { cause });
    });
    if (!info.isDirectory()) {
      files.push(path);
      continue;
    }
    const names = (await readdir(path)).filter((name) => name.endsWith('.txt')).sort();
    if (names.length === 0)
      throw new DataError(`finetune: expected .txt files in the folder ${path}, got none`);
    files.push(...names.map((name) => join(path, name)));
  }
  return files;
}

/** Stricter than `isLabelled`: a novel may hold a line that begins with QUESTION. */
function beginsWithQuestion(text: string): boolean {
  const first = normalizeText(text)
    .split('\n')
    .find((line) => line.trim() !== '');
  return first !== undefined && LABEL.exec(first)?.[1].toLowerCase() === 'question';
}

function cutText(text: string, share: number): [start: string, end: string] {
  const at = text.indexOf('\n', Math.floor(text.length * (1 - share)));
  // A text of one line is cut within it.
  const cut = at === -1 || at >= text.length - 1 ? Math.floor(text.length * (1 - share)) : at + 1;
  return [text.slice(0, cut).trim(), text.slice(cut).trim()];
}

/**
 * A part as one stream of tokens, an end-of-text after every answer and text where the tokenizer has one.
 *
 * @param options `answersOnly`: of questions with answers, only the answers count
 */
export function tokenizePart(
  { pairs, documents }: TextPart,
  tokenizer: Tokenizer,
  { answersOnly }: { answersOnly: boolean },
): MaskedTokens {
  if (tokenizer.endOfText === null) {
    if (pairs.length > 0 && answersOnly) {
      throw new DataError(
        'finetune: expected a tokenizer with an end-of-text token for answersOnly, got one without',
      );
    }
    const text = [...(pairs.length > 0 ? [formatAllQA(pairs)] : []), ...documents].join('\n');
    const ids = tokenizer.encode(text);
    return { ids, mask: new Uint8Array(ids.length).fill(1), documents: 0 };
  }
  const streams = [tokenizeQA(pairs, tokenizer, { answersOnly }), tokenizeTexts(documents, tokenizer)];
  const total = streams[0].ids.length + streams[1].ids.length;
  const ids = new Int32Array(total);
  const mask = new Uint8Array(total);
  let at = 0;
  for (const stream of streams) {
    ids.set(stream.ids, at);
    mask.set(stream.mask, at);
    at += stream.ids.length;
  }
  return { ids, mask, documents: pairs.length + documents.length };
}

/** A held-out stream of which only some targets are measured, always the same ones. */
export interface Measured {
  readonly stream: MaskedTokens;
  readonly blocks: readonly TokenBlock[];
  /** Targets that count. */
  readonly tokens: number;
  /** Characters (UTF-16 code units) that they stand for. */
  readonly characters: number;
}

/**
 * Blocks of a held-out stream, spread evenly over it, with about `limit` targets that count.
 *
 * @param limit 0 for all
 */
export function measuredPart(
  { ids, mask, documents }: MaskedTokens,
  tokenizer: Tokenizer,
  { batchSize, blockSize, limit }: { batchSize: number; blockSize: number; limit: number },
): Measured {
  const starts: number[] = [];
  let all = 0;
  for (let start = 0; start < ids.length - 1; start += blockSize) {
    const count = mask.subarray(start + 1, start + 1 + blockSize).reduce((n, m) => n + m, 0);
    if (count > 0) starts.push(start);
    all += count;
  }
  const wanted =
    limit === 0 || all <= limit ? starts.length : Math.max(1, Math.round((starts.length * limit) / all));
  const kept = new Uint8Array(ids.length);
  for (let i = 0; i < wanted; i++) {
    const start = starts[Math.floor((i * starts.length) / wanted)];
    kept.set(mask.subarray(start + 1, start + 1 + blockSize), start + 1);
  }
  const stream = { ids, mask: kept, documents };
  const blocks = [...evaluationBlocks(stream, { batchSize, blockSize })];
  const text = ids.filter((id, i) => kept[i] === 1 && id !== tokenizer.endOfText);
  return {
    stream,
    blocks,
    tokens: blocks.reduce((n, b) => n + b.count, 0),
    characters: tokenizer.decode(text).length,
  };
}

/** How many samples there are unless prompts are given. */
const PROMPTS = 4;

/**
 * What samples continue: the prompts given (as questions, where the data are), held-out questions, or the start of held-out
 * texts.
 *
 * @param options `context`: tokens that a given prompt may have; `room`: tokens that a held-out one may have
 * @throws DataError for a given prompt that is longer
 */
export function samplePrompts(
  data: TextData,
  tokenizer: Tokenizer,
  { given, context, room }: { given: readonly string[] | null; context: number; room: number },
): string[] {
  const { pairs, documents } = data.validation;
  const lengthOf = (text: string): number => tokenizer.encode(text).length;
  if (given) {
    return given.map((text, i) => {
      const prompt = pairs.length > 0 && !LABEL.test(text) ? formatPrompt(text) : text;
      const length = lengthOf(prompt);
      if (length > context) {
        throw new DataError(
          `finetune: expected samplePrompts of at most ${context} tokens, the model's context, got ${length} in samplePrompts[${i}] (${excerpt(prompt)})`,
        );
      }
      return prompt;
    });
  }
  const fits = (text: string): boolean => lengthOf(text) <= room;
  const questions = [...new Set(pairs.map(({ question }) => formatPrompt(question)))].filter(fits);
  // Whole words of about a line each, from texts or from places in one.
  const openings = Array.from({ length: PROMPTS }, (_, i) => {
    const text = documents[Math.floor((i * documents.length) / PROMPTS)] ?? '';
    const from =
      documents.length >= PROMPTS ? 0 : text.indexOf('\n', Math.floor((i * text.length) / PROMPTS)) + 1;
    return text.slice(from, from + 60).replace(/\s+\S*$/, '');
  });
  const prompts =
    questions.length > 0 ? questions : [...new Set(openings)].filter((text) => text && fits(text));
  return prompts.slice(0, PROMPTS);
}
