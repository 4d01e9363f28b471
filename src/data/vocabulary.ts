/** Vocabularies: text to token ids and back. */
import { DataError } from '../device/errors.js';

/** The token that stands for everything a vocabulary does not hold. */
export const UNKNOWN = '<unk>';
/** What an unknown character decodes to. */
const REPLACEMENT = '\uFFFD';

/** A `CharVocabulary` as JSON. */
export interface CharVocabularyJSON {
  type: 'char';
  characters: string[];
  unk: boolean;
}

/** The characters of a text, numbered by code point. */
export class CharVocabulary {
  /** Number of ids. */
  readonly size: number;
  /** No id ends a document. */
  readonly endOfText = null;
  private readonly ids = new Map<number, number>();
  private readonly offset: number;

  /**
   * @param characters single code points; their ids follow this order
   * @param options `unk`: give unknown characters the id 0, instead of an error
   */
  constructor(
    readonly characters: readonly string[],
    private readonly options: { unk?: boolean } = {},
  ) {
    this.offset = options.unk ? 1 : 0;
    this.size = characters.length + this.offset;
    characters.forEach((character, i) => {
      if (typeof character !== 'string' || [...character].length !== 1) {
        throw new DataError(
          `CharVocabulary: expected single characters, got ${JSON.stringify(character)} at ${i}`,
        );
      }
      this.ids.set(character.codePointAt(0)!, i + this.offset);
    });
    if (this.ids.size !== characters.length)
      throw new DataError('CharVocabulary: expected each character once');
  }

  /**
   * The vocabulary of all characters that occur in a text, sorted by code point.
   * @param text where the characters come from
   * @param options `unk`: add a token for characters that the text does not hold
   */
  static fromText(text: string, options: { unk?: boolean } = {}): CharVocabulary {
    const points = new Set<number>();
    for (const character of text) points.add(character.codePointAt(0)!);
    const sorted = [...points].sort((a, b) => a - b);
    return new CharVocabulary(
      sorted.map((point) => String.fromCodePoint(point)),
      options,
    );
  }

  /**
   * One id per character (code point).
   * @returns int32 ids
   * @throws DataError at an unknown character, unless the vocabulary was made with `unk`
   */
  encode(text: string): Int32Array {
    const ids = new Int32Array(text.length);
    let count = 0;
    for (let i = 0; i < text.length; i++) {
      const point = text.codePointAt(i)!;
      const id = this.ids.get(point);
      if (id === undefined && !this.options.unk) throw this.unknown(point, i);
      ids[count++] = id ?? 0;
      if (point > 0xffff) i++;
    }
    return ids.slice(0, count);
  }

  /**
   * The text of a sequence of ids; U+FFFD for the unknown token.
   * @throws DataError at an id outside the vocabulary
   */
  decode(ids: ArrayLike<number>): string {
    const parts: string[] = [];
    for (let i = 0; i < ids.length; i++) {
      const id = ids[i];
      const character = this.options.unk && id === 0 ? REPLACEMENT : this.characters[id - this.offset];
      if (character === undefined) throw badId('CharVocabulary', this.size, id, i);
      parts.push(character);
    }
    return parts.join('');
  }

  /** Decodes ids one by one. */
  stream(): { push(id: number): string; end(): string } {
    return { push: (id) => this.decode([id]), end: () => '' };
  }

  /** The vocabulary as plain data. */
  toJSON(): CharVocabularyJSON {
    return { type: 'char', characters: [...this.characters], unk: this.options.unk ?? false };
  }

  /**
   * The vocabulary that `toJSON` described.
   * @throws DataError when the data are something else
   */
  static fromJSON(json: unknown): CharVocabulary {
    const { type, characters, unk } = (json ?? {}) as Partial<CharVocabularyJSON>;
    if (type !== 'char' || !Array.isArray(characters) || typeof unk !== 'boolean') {
      throw new DataError(
        "CharVocabulary.fromJSON: expected { type: 'char', characters: string[], unk: boolean }",
      );
    }
    return new CharVocabulary(characters, { unk });
  }

  private unknown(point: number, position: number): DataError {
    const hex = point.toString(16).toUpperCase().padStart(4, '0');
    const shown = JSON.stringify(String.fromCodePoint(point));
    return new DataError(
      `CharVocabulary.encode: character ${shown} (U+${hex}) at position ${position} is not among the ` +
        `${this.characters.length} of the vocabulary; build it from all of the text, or with { unk: true }`,
    );
  }
}

/** How a `WordVocabulary` chooses its tokens. */
export interface WordVocabularyOptions {
  /** Fewest occurrences that earn a token its own id; 1 by default. */
  minCount?: number;
  /** Most ids, `<unk>` included; no limit by default. */
  maxSize?: number;
  /** Whether to write everything in lower case first; false by default. */
  lowercase?: boolean;
}

/** A `WordVocabulary` as JSON. */
export interface WordVocabularyJSON {
  type: 'word';
  tokens: string[];
  lowercase: boolean;
}

/** Words may hold apostrophes and hyphens inside; anything else that is not white space is a token of its own. */
const TOKEN = /[\p{L}\p{N}][\p{L}\p{M}\p{N}]*(?:['’-][\p{L}\p{N}][\p{L}\p{M}\p{N}]*)*|[^\s]/gu;
const NO_SPACE_BEFORE = /^[.,;:!?)\]}»”’%…]$/u;
const NO_SPACE_AFTER = /^[([{«“‘]$/u;

/**
 * Splits text into words and punctuation marks; white space is dropped.
 * @returns tokens in order
 */
export function tokenizeWords(text: string): string[] {
  return text.match(TOKEN) ?? [];
}

/** The most frequent words and punctuation marks of a text; id 0 is `<unk>`, then by falling frequency. */
export class WordVocabulary {
  /** Tokens by id. */
  readonly tokens: readonly string[];
  private readonly ids: Map<string, number>;

  /**
   * @param words tokens for the ids from 1 on
   * @param options `lowercase`: whether texts are written in lower case first
   */
  constructor(
    words: readonly string[],
    private readonly options: { lowercase?: boolean } = {},
  ) {
    this.tokens = [UNKNOWN, ...words];
    this.ids = new Map(this.tokens.map((token, id) => [token, id]));
    if (this.ids.size !== this.tokens.length) throw new DataError('WordVocabulary: expected each token once');
  }

  /** Number of ids. */
  get size(): number {
    return this.tokens.length;
  }

  /**
   * Counts the words and punctuation marks of a text; equal counts are ordered by the alphabet.
   * @param text where the tokens come from
   */
  static fromText(text: string, options: WordVocabularyOptions = {}): WordVocabulary {
    const { minCount = 1, maxSize = Number.POSITIVE_INFINITY, lowercase = false } = options;
    if (!(maxSize >= 1))
      throw new DataError(`WordVocabulary: expected maxSize of at least 1, got ${maxSize}`);
    const counts = new Map<string, number>();
    for (const token of tokenizeWords(lowercase ? text.toLowerCase() : text)) {
      counts.set(token, (counts.get(token) ?? 0) + 1);
    }
    const kept = [...counts].filter(([, count]) => count >= minCount);
    kept.sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1));
    const words = kept.slice(0, maxSize - 1).map(([token]) => token);
    return new WordVocabulary(words, { lowercase });
  }

  /**
   * One id per word or punctuation mark, 0 for those the vocabulary does not hold.
   * @returns int32 ids
   */
  encode(text: string): Int32Array {
    const tokens = tokenizeWords(this.options.lowercase ? text.toLowerCase() : text);
    return Int32Array.from(tokens, (token) => this.ids.get(token) ?? 0);
  }

  /**
   * Readable text of a sequence of ids: spaces between words, none before closing or after opening punctuation.
   * @throws DataError at an id outside the vocabulary
   */
  decode(ids: ArrayLike<number>): string {
    let text = '';
    let previous = '';
    for (let i = 0; i < ids.length; i++) {
      const token = this.tokens[ids[i]];
      if (token === undefined) throw badId('WordVocabulary', this.size, ids[i], i);
      const glued = i === 0 || NO_SPACE_BEFORE.test(token) || NO_SPACE_AFTER.test(previous);
      text += glued ? token : ` ${token}`;
      previous = token;
    }
    return text;
  }

  /** The vocabulary as plain data. */
  toJSON(): WordVocabularyJSON {
    return { type: 'word', tokens: this.tokens.slice(1), lowercase: this.options.lowercase ?? false };
  }

  /**
   * The vocabulary that `toJSON` described.
   * @throws DataError when the data are something else
   */
  static fromJSON(json: unknown): WordVocabulary {
    const { type, tokens, lowercase } = (json ?? {}) as Partial<WordVocabularyJSON>;
    const isTokens = Array.isArray(tokens) && tokens.every((token) => typeof token === 'string');
    if (type !== 'word' || !isTokens || typeof lowercase !== 'boolean') {
      throw new DataError(
        "WordVocabulary.fromJSON: expected { type: 'word', tokens: string[], lowercase: boolean }",
      );
    }
    return new WordVocabulary(tokens, { lowercase });
  }
}

function badId(vocabulary: string, size: number, id: number, position: number): DataError {
  return new DataError(
    `${vocabulary}.decode: expected ids from 0 to ${size - 1}, got ${id} at position ${position}`,
  );
}
