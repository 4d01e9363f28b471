import { existsSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { mergeBytes } from '../../src/data/byte-pairs.js';
import { GPT2Tokenizer, type Tokenizer, tokenizerFromJSON } from '../../src/data/tokenizer.js';
import { CharVocabulary } from '../../src/data/vocabulary.js';
import { DataError } from '../../src/device/errors.js';

const tokenizer = new GPT2Tokenizer();
const small = new GPT2Tokenizer({ size: 300 });
/** Whole code points, and lone surrogates with them. */
const anyText = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.string({ unit: 'grapheme' }),
  fc.array(fc.integer({ min: 0, max: 0xffff })).map((units) => String.fromCharCode(...units)),
);
const wellFormed = (text: string): string =>
  new TextDecoder('utf-8', { ignoreBOM: true }).decode(new TextEncoder().encode(text));

function streamed(t: Tokenizer, ids: ArrayLike<number>): string {
  const stream = t.stream();
  return Array.from(ids, (id) => stream.push(id)).join('') + stream.end();
}

describe('GPT2Tokenizer', () => {
  it('gives the ids of GPT-2', () => {
    expect(tokenizer.size).toBe(50_257);
    expect(tokenizer.endOfText).toBe(50_256);
    expect(tokenizer.encode('Hello, world.')).toEqual(Int32Array.of(15496, 11, 995, 13));
    expect(tokenizer.encode('')).toEqual(new Int32Array(0));
    expect(tokenizer.decode([464, 3797, 3332, 319, 262, 2603, 13])).toBe('The cat sat on the mat.');
  });

  it('takes <|endoftext|> for text unless it is told that it is special', () => {
    const text = 'a<|endoftext|>b<|endoftext|>';
    const plain = tokenizer.encode(text);
    expect([...plain]).not.toContain(50_256);
    expect(tokenizer.decode(plain)).toBe(text);
    expect(tokenizer.encode(text, { special: true })).toEqual(Int32Array.of(64, 50_256, 65, 50_256));
    expect(tokenizer.decode([64, 50_256, 65, 50_256])).toBe(text);
    expect(small.encode(text, { special: true })).toEqual(Int32Array.of(64, 299, 65, 299));
    expect([...tokenizer.encode('<|endoftext|>')]).not.toContain(50_256);
  });

  it('decodes what it encoded; lone surrogates become U+FFFD', () => {
    expect(tokenizer.decode(tokenizer.encode('a\ud800b\udc00'))).toBe('a\ufffdb\ufffd');
    fc.assert(
      fc.property(anyText, fc.constantFrom(tokenizer, small), (text, t) => {
        const ids = t.encode(text);
        expect(t.decode(ids)).toBe(wellFormed(text));
        expect(streamed(t, ids)).toBe(wellFormed(text));
        for (const id of ids) expect(id >= 0 && id < t.endOfText).toBe(true);
      }),
      { numRuns: 300 },
    );
  });

  it('streams characters whole, and any ids as decode gives them', () => {
    const stream = tokenizer.stream();
    const parts = Array.from(tokenizer.encode('naïve 🦖!'), (id) => stream.push(id));
    expect(parts.join('') + stream.end()).toBe('naïve 🦖!');
    expect(parts.some((part) => part.includes('\ufffd'))).toBe(false);
    expect(parts).toContain('');
    // The first bytes of a character that never comes.
    const cut = tokenizer.stream();
    expect(cut.push(tokenizer.encode('🦖')[0])).toBe('');
    expect(cut.end()).toBe('\ufffd');
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 50_256 })), (ids) => {
        expect(streamed(tokenizer, ids)).toBe(tokenizer.decode(ids));
      }),
    );
  });

  it('encodes runs of any length, with the same ids as piece by piece', () => {
    const ids = new Map(
      Array.from({ length: 299 }, (_, id) => [String.fromCharCode(...small.bytesOf(id)), id]),
    );
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...'theinro'), maxLength: 60 }), (word) => {
        expect(mergeBytes(word, ids)).toEqual([...small.encode(word)]);
      }),
      { numRuns: 300 },
    );
    const run = Array.from({ length: 40_000 }, (_, i) => 'theinro'[(i * i + (i >> 3)) % 7]).join('');
    for (const text of [run, `a  b\n\n\n${run}!  it's ${run}`, ' '.repeat(5000), `${'字'.repeat(3000)} x`]) {
      const long = tokenizer.encode(text);
      expect(tokenizer.decode(long)).toBe(text);
    }
    // What stands before and after a long run is cut as ever.
    expect([...tokenizer.encode(`a  b\n\n\n${run}`).subarray(0, 5)]).toEqual([
      ...tokenizer.encode('a  b\n\n\nx').subarray(0, 5),
    ]);
  });

  it('keeps the first merges only, on demand', () => {
    const text = 'The quick brown fox thinks about the weather.';
    const t = new GPT2Tokenizer({ size: 2048 });
    expect(t.endOfText).toBe(2047);
    expect(t.decode(t.encode(text))).toBe(text);
    expect(t.encode(text).length).toBeGreaterThan(tokenizer.encode(text).length);
    expect(new GPT2Tokenizer({ size: 257 }).encode('the')).toHaveLength(3);
  });

  it('names what is wrong', () => {
    for (const size of [256, 50_258, 300.5, Number.NaN]) {
      expect(() => new GPT2Tokenizer({ size })).toThrow(
        new DataError(`GPT2Tokenizer: expected a size from 257 to 50257, got ${size}`),
      );
    }
    for (const id of [-1, 300, 0.5]) {
      expect(() => small.decode([1, id])).toThrow(
        new DataError(`GPT2Tokenizer.decode: expected ids from 0 to 299, got ${id} at position 1`),
      );
    }
  });

  it('splits at the white space of Unicode, as where the vocabulary was made', () => {
    // U+0085 is white space, U+FEFF is not; a space before it is part of its piece.
    expect(tokenizer.encode('a\u0085\u0085b')).toEqual(
      Int32Array.from([
        ...tokenizer.encode('a'),
        ...tokenizer.encode('\u0085'),
        ...tokenizer.encode('\u0085'),
        ...tokenizer.encode('b'),
      ]),
    );
    expect(tokenizer.encode(' \ufeff')).toEqual(Int32Array.of(27332, 119, 123));
    expect(tokenizer.decode(tokenizer.encode('\ufeff\ufeffa'))).toBe('\ufeff\ufeffa');
  });
});

describe('tokenizerFromJSON', () => {
  it('makes what toJSON described', () => {
    for (const t of [
      small,
      new GPT2Tokenizer(),
      CharVocabulary.fromText('abc'),
      CharVocabulary.fromText('abc', { unk: true }),
    ]) {
      const again: Tokenizer = tokenizerFromJSON(JSON.parse(JSON.stringify(t)));
      expect(again.size).toBe(t.size);
      expect(again.endOfText).toBe(t.endOfText);
      expect(again.encode('abccba')).toEqual(t.encode('abccba'));
      expect(streamed(again, t.encode('cab'))).toBe('cab');
    }
  });

  it('refuses anything else', () => {
    const message = (type: string): string =>
      `tokenizerFromJSON: expected { type: 'gpt2', size } or { type: 'char', characters, unk }, got type ${type}`;
    expect(() => tokenizerFromJSON({ type: 'word' })).toThrow(new DataError(message('"word"')));
    expect(() => tokenizerFromJSON(null)).toThrow(new DataError(message('undefined')));
  });
});

/** A byte-pair encoding written from the paper, for comparison: no tables shared with the one under test. */
function referenceEncoder(vocab: Map<string, number>, merges: string[]): (text: string) => number[] {
  const rank = new Map(merges.map((pair, i) => [pair, i]));
  const letter = byteLetters();
  const pattern = /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;
  return (text) =>
    (text.match(pattern) ?? []).flatMap((piece) => {
      let symbols = [...new TextEncoder().encode(piece)].map((byte) => letter[byte]);
      for (;;) {
        const ranks = symbols
          .slice(1)
          .map((s, i) => rank.get(`${symbols[i]} ${s}`) ?? Number.POSITIVE_INFINITY);
        const best = Math.min(...ranks);
        if (best === Number.POSITIVE_INFINITY) break;
        const merged: string[] = [];
        for (let i = 0; i < symbols.length; i++) {
          if (ranks[i] === best) merged.push(symbols[i] + symbols[++i]);
          else merged.push(symbols[i]);
        }
        symbols = merged;
      }
      return symbols.map((symbol) => vocab.get(symbol)!);
    });
}

/** The visible letter that stands for each byte in vocab.json: the byte's own where it has one, else from U+0100 on. */
function byteLetters(): string[] {
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => {
    const visible = (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
    return String.fromCharCode(visible ? byte : next++);
  });
}

const folder = new URL('../../../shared/data/tiny-gpt2/', import.meta.url);
describe.skipIf(!existsSync(folder))('vocab.json and merges.txt of a GPT-2 on the Hub', () => {
  const read = (name: string): string => readFileSync(new URL(name, folder), 'utf8');
  const vocab = (): Map<string, number> => new Map(Object.entries(JSON.parse(read('vocab.json'))));
  const merges = (): string[] => read('merges.txt').split('\n').slice(1).filter(Boolean);

  it('holds the same 50,257 tokens under the same ids', () => {
    const byteOf = new Map(byteLetters().map((letter, byte) => [letter, byte]));
    const bytes = new Map<string, number[]>();
    let entries = 0;
    for (const [token, id] of vocab()) {
      entries++;
      if (token === '<|endoftext|>') {
        expect(id).toBe(tokenizer.endOfText);
        continue;
      }
      const own = [...token].map((letter) => byteOf.get(letter)!);
      bytes.set(String(own), own);
      const text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(Uint8Array.from(own));
      if (tokenizer.decode([id]) !== text) expect(tokenizer.decode([id])).toBe(text);
    }
    expect(entries).toBe(50_257);
    // Tokens that are no whole characters decode alike; so all texts must also be encoded alike, below.
    expect(bytes.size).toBe(50_256);
  });

  it('gives texts the same ids as the merges in their order', () => {
    const encode = referenceEncoder(vocab(), merges());
    const texts = [
      'Hello, world! It’s 3.14159 — naïve café; 日本語テキスト 🙂👩‍👩‍👧 \n\n\t  tabs   and spaces  ',
      "I'll say we've DON'T they're 'twas <|endoftext|> ﬁ ² ½ Ⅻ ١٢٣ עברית हिन्दी",
      readFileSync(new URL('../frankenstein.txt', folder), 'utf8').slice(0, 60_000),
    ];
    for (const text of texts) expect(Array.from(tokenizer.encode(text))).toEqual(encode(text));
    fc.assert(
      fc.property(
        fc.string({
          unit: fc.oneof(
            fc.constantFrom(..." \n's.tThe1é字🙂"),
            fc.string({ unit: 'grapheme', maxLength: 3 }),
          ),
        }),
        (text) => {
          if (/[\u0085\ufeff]/.test(text)) return;
          expect(Array.from(tokenizer.encode(text))).toEqual(encode(text));
        },
      ),
      { numRuns: 300 },
    );
  });

  it('gives the first merges the same ids', () => {
    const size = 600;
    const cut = new Map([...vocab()].filter(([, id]) => id < size - 1));
    const encode = referenceEncoder(cut, merges().slice(0, size - 257));
    const text = readFileSync(new URL('../frankenstein.txt', folder), 'utf8').slice(0, 20_000);
    expect(Array.from(new GPT2Tokenizer({ size }).encode(text))).toEqual(encode(text));
  });
});
