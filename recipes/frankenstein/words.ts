/** Text as words, without losing a character: what the words do not cover is spelt. */
import { DataError } from '../../src/index.js';

/** A word with the space before it, if there is one; else any single character. */
const PIECE = / ?[\p{L}\p{N}]+(?:[’'-][\p{L}\p{N}]+)*|./gsu;

/**
 * The characters of a text and its most frequent words. A word that is not among them is written in characters, so every text
 * of these characters can be encoded, decodes to itself, and has a probability: losses per character can be compared with those
 * of models that only know characters. With a token for unknown words they could not.
 */
export class SpellingVocabulary {
  readonly tokens: readonly string[];
  private readonly ids: ReadonlyMap<string, number>;

  private constructor(tokens: readonly string[]) {
    this.tokens = tokens;
    this.ids = new Map(tokens.map((token, id) => [token, id]));
  }

  /**
   * @param characters all that are to be encoded
   * @param text where words are counted
   * @param size V: how many tokens at most, characters among them
   * @param minCount fewest occurrences of a word
   */
  static fromText(
    characters: readonly string[],
    text: string,
    size: number,
    minCount = 2,
  ): SpellingVocabulary {
    const counts = new Map<string, number>();
    for (const [piece] of text.matchAll(PIECE)) counts.set(piece, (counts.get(piece) ?? 0) + 1);
    const words = [...counts]
      .filter(([word, n]) => word.length > 1 && n >= minCount)
      .sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1))
      .map(([word]) => word);
    return new SpellingVocabulary([...characters, ...words.slice(0, Math.max(0, size - characters.length))]);
  }

  get size(): number {
    return this.tokens.length;
  }

  encode(text: string): Int32Array {
    const ids: number[] = [];
    for (const [piece] of text.matchAll(PIECE)) {
      const id = this.ids.get(piece);
      if (id !== undefined) ids.push(id);
      else for (const character of piece) ids.push(this.character(character));
    }
    return Int32Array.from(ids);
  }

  private character(character: string): number {
    const id = this.ids.get(character);
    if (id === undefined) {
      throw new DataError(
        `SpellingVocabulary.encode: expected known characters, got ${JSON.stringify(character)}`,
      );
    }
    return id;
  }

  decode(ids: ArrayLike<number>): string {
    return Array.from(ids, (id) => this.tokens[id]).join('');
  }
}
