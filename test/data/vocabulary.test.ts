import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CharVocabulary, tokenizeWords, WordVocabulary } from '../../src/data/vocabulary.js';
import { DataError } from '../../src/device/errors.js';

describe('CharVocabulary', () => {
  it('numbers the characters of a text by code point', () => {
    const vocabulary = CharVocabulary.fromText('hello, wörld 😀!');
    expect(vocabulary.characters).toEqual([' ', '!', ',', 'd', 'e', 'h', 'l', 'o', 'r', 'w', 'ö', '😀']);
    expect(vocabulary.size).toBe(12);
    expect(vocabulary.encode('hold 😀')).toEqual(Int32Array.of(5, 7, 6, 3, 0, 11));
    expect(vocabulary.decode([5, 7, 6, 3, 0, 11])).toBe('hold 😀');
  });

  it('decodes what it encoded, with and without unk, also through JSON', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.boolean(), (text, unk) => {
        const made = CharVocabulary.fromText(text, { unk });
        const vocabulary = CharVocabulary.fromJSON(JSON.parse(JSON.stringify(made)));
        expect(vocabulary.decode(vocabulary.encode(text))).toBe(text);
        expect(vocabulary.encode(text)).toEqual(made.encode(text));
        expect(vocabulary.size).toBe(new Set(text).size + (unk ? 1 : 0));
      }),
    );
  });

  it('names an unknown character and its position', () => {
    const vocabulary = CharVocabulary.fromText('abc😀');
    expect(() => vocabulary.encode('😀aßc')).toThrow(
      new DataError(
        'CharVocabulary.encode: character "ß" (U+00DF) at position 3 is not among the 4 of the vocabulary; ' +
          'build it from all of the text, or with { unk: true }',
      ),
    );
    expect(() => vocabulary.decode([0, 4])).toThrow(
      new DataError('CharVocabulary.decode: expected ids from 0 to 3, got 4 at position 1'),
    );
  });

  it('gives unknown characters the id 0 where asked to', () => {
    const vocabulary = CharVocabulary.fromText('ab', { unk: true });
    expect(vocabulary.encode('aéb😀')).toEqual(Int32Array.of(1, 0, 2, 0));
    expect(vocabulary.decode([1, 0, 2])).toBe('a\uFFFDb');
    expect(() => vocabulary.decode([3])).toThrow(DataError);
    expect(() => vocabulary.decode([-1])).toThrow(DataError);
  });

  it('refuses JSON of another kind', () => {
    for (const json of [null, {}, { type: 'word' }, { type: 'char', characters: 'ab', unk: false }]) {
      expect(() => CharVocabulary.fromJSON(json)).toThrow(
        new DataError(
          "CharVocabulary.fromJSON: expected { type: 'char', characters: string[], unk: boolean }",
        ),
      );
    }
    expect(() => CharVocabulary.fromJSON({ type: 'char', characters: ['a', 'bc'], unk: false })).toThrow(
      new DataError('CharVocabulary: expected single characters, got "bc" at 1'),
    );
    expect(() => new CharVocabulary(['a', 'a'])).toThrow(
      new DataError('CharVocabulary: expected each character once'),
    );
  });
});

describe('WordVocabulary', () => {
  const text = 'The whale’s mate-in-arms said: "The sea, the SEA!" (The 3rd whale…) naïve x_y';

  it('splits words from punctuation', () => {
    expect(tokenizeWords(text)).toEqual(
      'The|whale’s|mate-in-arms|said|:|"|The|sea|,|the|SEA|!|"|(|The|3rd|whale|…|)|naïve|x|_|y'.split('|'),
    );
    expect(tokenizeWords(' \n')).toEqual([]);
  });

  it('orders tokens by frequency, then alphabetically, and leaves out the rare', () => {
    const vocabulary = WordVocabulary.fromText('b a b c a d b', { minCount: 2 });
    expect(vocabulary.tokens).toEqual(['<unk>', 'b', 'a']);
    expect(vocabulary.encode('a c b')).toEqual(Int32Array.of(2, 0, 1));
    expect(vocabulary.decode([2, 0, 1])).toBe('a <unk> b');
    expect(WordVocabulary.fromText('b a b c a d b', { maxSize: 4 }).tokens).toEqual(['<unk>', 'b', 'a', 'c']);
    expect(WordVocabulary.fromText('b', { maxSize: 1 }).size).toBe(1);
  });

  it('puts spaces where a reader expects them', () => {
    const vocabulary = WordVocabulary.fromText(text);
    const sentence = 'The whale, (the sea) said: naïve!';
    expect(vocabulary.decode(vocabulary.encode(sentence))).toBe(sentence);
  });

  it('can ignore case, and survives JSON', () => {
    const made = WordVocabulary.fromText(text, { lowercase: true });
    const vocabulary = WordVocabulary.fromJSON(JSON.parse(JSON.stringify(made)));
    expect(vocabulary.tokens).toEqual(made.tokens);
    expect(vocabulary.decode(vocabulary.encode('THE Whale'))).toBe('the whale');
  });

  it('refuses wrong use', () => {
    expect(() => WordVocabulary.fromJSON({ type: 'word', tokens: [1], lowercase: false })).toThrow(
      new DataError(
        "WordVocabulary.fromJSON: expected { type: 'word', tokens: string[], lowercase: boolean }",
      ),
    );
    expect(() => new WordVocabulary(['a', 'a'])).toThrow(
      new DataError('WordVocabulary: expected each token once'),
    );
    expect(() => WordVocabulary.fromText('a', { maxSize: 0 })).toThrow(DataError);
    expect(() => new WordVocabulary(['a']).decode([1, 2])).toThrow(
      new DataError('WordVocabulary.decode: expected ids from 0 to 1, got 2 at position 1'),
    );
  });
});
