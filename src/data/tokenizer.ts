/** Tokenizers: text to the ids that language models read, and back. */

import { BytePairEncodingCore } from 'gpt-tokenizer/BytePairEncodingCore';
import RANKS from 'gpt-tokenizer/bpeRanks/r50k_base';
import { DataError } from '../device/errors.js';
import { mergeBytes } from './byte-pairs.js';
import { CharVocabulary } from './vocabulary.js';

/** What models and commands ask of a tokenizer. */
export interface Tokenizer {
  /** Number of ids. */
  readonly size: number;
  /** The id that ends a document; null where there is none. */
  readonly endOfText: number | null;
  /** @param options `special`: names of special tokens in the text give their ids; else they are plain text */
  encode(text: string, options?: { special?: boolean }): Int32Array;
  /** @throws DataError at an id outside the vocabulary */
  decode(ids: ArrayLike<number>): string;
  /** Decodes ids one by one: `push` gives the text that is certain by now, `end` what is left. */
  stream(): TokenStream;
  /** The tokenizer as plain data, for `tokenizerFromJSON`. */
  toJSON(): unknown;
}

export interface TokenStream {
  push(id: number): string;
  end(): string;
}

/** A `GPT2Tokenizer` as JSON. */
export interface GPT2TokenizerJSON {
  type: 'gpt2';
  size: number;
}

export const END_OF_TEXT = '<|endoftext|>';
/** r50k_base: 256 bytes, 50,000 merges and the end of text. */
const FULL_SIZE = RANKS.length + 1;

/**
 * What GPT-2 splits a text into before it merges bytes. White space is Unicode's, as where the vocabulary was made;
 * JavaScript's `\s` counts U+FEFF and leaves out U+0085.
 * @source openai/gpt-2, encoder.py
 */
const PIECES =
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;

/** Characters of a run from which on the package's encoder, which takes the square of them, is not used. */
const LONG = 1000;
const LONG_RUN = new RegExp(`\\P{White_Space}{${LONG - 1},}|\\p{White_Space}{${LONG - 1},}`, 'u');

/** Byte-pair encoders by vocabulary size: making one takes about 20 ms. */
const encoders = new Map<number, BytePairEncodingCore>();
const utf8 = new TextEncoder();

/**
 * GPT-2's tokenizer: byte-pair encoding of UTF-8, so any text has ids and comes back from them. Lone surrogates, which
 * UTF-8 cannot hold, come back as U+FFFD.
 *
 * @source Radford et al., Language models are unsupervised multitask learners (2019), section 2.2; tiktoken's r50k_base
 * @example
 * const tokenizer = new GPT2Tokenizer();
 * tokenizer.encode('Hello, world.'); // 15496, 11, 995, 13
 */
export class GPT2Tokenizer implements Tokenizer {
  readonly size: number;
  readonly endOfText: number;
  private readonly bytes: Uint8Array[] = [];
  private ids: Map<string, number> | undefined;

  /**
   * @param options `size`: number of ids, from 257 to 50,257; a smaller vocabulary keeps the 256 bytes and the first
   *   merges, and its last id is <|endoftext|>
   * @throws DataError for another size
   */
  constructor({ size = FULL_SIZE }: { size?: number } = {}) {
    if (!(Number.isInteger(size) && size > 256 && size <= FULL_SIZE)) {
      throw new DataError(`GPT2Tokenizer: expected a size from 257 to ${FULL_SIZE}, got ${size}`);
    }
    this.size = size;
    this.endOfText = size - 1;
  }

  /**
   * @param options `special`: `<|endoftext|>` in the text gives its id; by default it is text like any other
   * @returns int32 ids
   */
  encode(text: string, { special = false }: { special?: boolean } = {}): Int32Array {
    if (!special || !text.includes(END_OF_TEXT)) return Int32Array.from(this.encodePlain(text));
    const ids: number[] = [];
    text.split(END_OF_TEXT).forEach((part, i) => {
      if (i > 0) ids.push(this.endOfText);
      for (const id of this.encodePlain(part)) ids.push(id);
    });
    return Int32Array.from(ids);
  }

  private encodePlain(text: string): number[] {
    const core = encoderOf(this.size);
    if (text.length < LONG || !LONG_RUN.test(text)) return core.encodeNative(text);
    const ids: number[] = [];
    for (const [piece] of text.matchAll(PIECES)) {
      const own =
        piece.length < LONG
          ? core.encodeNative(piece)
          : mergeBytes(letters(utf8.encode(piece)), this.idsByBytes());
      for (const id of own) ids.push(id);
    }
    return ids;
  }

  /** Ids of tokens by their bytes, made when the first long run comes. */
  private idsByBytes(): Map<string, number> {
    this.ids ??= new Map(Array.from({ length: this.endOfText }, (_, id) => [letters(this.bytesOf(id)), id]));
    return this.ids;
  }

  /**
   * The text of a sequence of ids; bytes that are no UTF-8 give U+FFFD, the end of text its name.
   * @throws DataError at an id outside the vocabulary
   */
  decode(ids: ArrayLike<number>): string {
    const tokens = Array.from(ids, (id, i) => this.bytesOf(id, i));
    const bytes = new Uint8Array(tokens.reduce((n, token) => n + token.length, 0));
    let offset = 0;
    for (const token of tokens) {
      bytes.set(token, offset);
      offset += token.length;
    }
    return decoder().decode(bytes);
  }

  /** A character whose bytes are spread over several tokens comes with the last of them. */
  stream(): TokenStream {
    const text = decoder();
    let count = 0;
    return {
      push: (id) => text.decode(this.bytesOf(id, count++), { stream: true }),
      end: () => text.decode(),
    };
  }

  /** @internal The bytes of a token. @param position where the id stands, for messages */
  bytesOf(id: number, position = 0): Uint8Array {
    const known = this.bytes[id];
    if (known) return known;
    if (!(Number.isInteger(id) && id >= 0 && id < this.size)) {
      throw new DataError(
        `GPT2Tokenizer.decode: expected ids from 0 to ${this.size - 1}, got ${id} at position ${position}`,
      );
    }
    const token = id === this.endOfText ? END_OF_TEXT : RANKS[id];
    const bytes = typeof token === 'string' ? utf8.encode(token) : Uint8Array.from(token);
    this.bytes[id] = bytes;
    return bytes;
  }

  toJSON(): GPT2TokenizerJSON {
    return { type: 'gpt2', size: this.size };
  }
}

function encoderOf(size: number): BytePairEncodingCore {
  let core = encoders.get(size);
  if (!core) {
    // Ranks are ids: a prefix of the table is a vocabulary of the first merges. Special tokens stay out of it.
    core = new BytePairEncodingCore({
      bytePairRankDecoder: RANKS.slice(0, size - 1),
      specialTokensEncoder: new Map([[END_OF_TEXT, size - 1]]),
      tokenSplitRegex: PIECES,
    });
    encoders.set(size, core);
  }
  return core;
}

/** Bytes as the characters of their numbers. */
function letters(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}

/** A byte-order mark is text too. */
function decoder(): TextDecoder {
  return new TextDecoder('utf-8', { ignoreBOM: true });
}

/**
 * The tokenizer that `toJSON` described: a GPT2Tokenizer or a CharVocabulary.
 * @throws DataError when the data are something else
 */
export function tokenizerFromJSON(json: unknown): Tokenizer {
  const { type, size } = (json ?? {}) as Partial<GPT2TokenizerJSON>;
  if (type === 'gpt2') return new GPT2Tokenizer({ size });
  if ((type as unknown) === 'char') return CharVocabulary.fromJSON(json);
  throw new DataError(
    `tokenizerFromJSON: expected { type: 'gpt2', size } or { type: 'char', characters, unk }, got type ${JSON.stringify(type)}`,
  );
}

/**
 * Where the vocabulary of a vocab.json differs from GPT-2's, in words; null where it does not. Ids from 50,257 on may be
 * anything: models add tokens of their own there.
 *
 * @param vocab ids by token, each byte as the letter that openai/gpt-2's `bytes_to_unicode` gives it
 */
export function differenceFromR50k(vocab: Readonly<Record<string, number>>): string | null {
  const byteOf = new Map<string, number>();
  for (let byte = 0, next = 256; byte < 256; byte++) {
    const visible = (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
    byteOf.set(String.fromCharCode(visible ? byte : next++), byte);
  }
  const tokenizer = new GPT2Tokenizer();
  let count = 0;
  for (const [token, id] of Object.entries(vocab)) {
    if (id >= FULL_SIZE) continue;
    count++;
    const bytes =
      id === tokenizer.endOfText ? utf8.encode(token) : [...token].map((c) => byteOf.get(c) ?? -1);
    const own = tokenizer.bytesOf(id);
    if (bytes.length !== own.length || own.some((byte, i) => byte !== bytes[i])) {
      return `token ${id} is ${JSON.stringify(token)}, GPT-2's is ${JSON.stringify(tokenizer.decode([id]))}`;
    }
  }
  return count === FULL_SIZE ? null : `${count} tokens, GPT-2 has ${FULL_SIZE}`;
}
