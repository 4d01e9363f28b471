/** Text as it streams: whole characters, and stops that nobody sees. */
import { describe, expect, it } from 'vitest';
import '../../src/autograd/methods.js';
import { GPT2Tokenizer } from '../../src/data/tokenizer.js';
import { CharVocabulary } from '../../src/data/vocabulary.js';
import { generateText } from '../../src/models/generate.js';
import { StopText } from '../../src/models/stop-text.js';
import { cpuDevice } from '../../src/tensor/default-device.js';
import { tinyGPT2 } from './generating.js';

async function piecesOf(stream: AsyncIterable<string>): Promise<string[]> {
  const pieces: string[] = [];
  for await (const piece of stream) pieces.push(piece);
  return pieces;
}

describe('stops in text', () => {
  const cut = (stops: string[], pieces: string[]): string[] => {
    const text = new StopText(stops);
    return [...pieces.map((piece) => text.push(piece, true)), text.end()];
  };

  it('cuts at the first stop, wherever pieces end', () => {
    expect(cut(['END'], ['abcENDdef', 'ghi'])).toEqual(['abc', '', '']);
    expect(cut(['END'], ['abE', 'N', 'D', 'x'])).toEqual(['ab', '', '', '', '']);
    expect(cut(['END', 'B'], ['abEN', 'BD'])).toEqual(['ab', 'EN', '']);
    expect(cut(['\n\n'], ['a\n', 'b\n', '\nc'])).toEqual(['a', '\nb', '', '']);
  });

  it('gives back what only looked like a stop', () => {
    expect(cut(['END'], ['abE', 'NE', 'ND'])).toEqual(['ab', 'EN', '', '']);
    expect(cut(['aab'], ['aa', 'a', 'c'])).toEqual(['', 'a', 'aac', '']);
    expect(cut(['END'], ['xEN'])).toEqual(['x', 'EN']);
    expect(cut([], ['abc'])).toEqual(['abc', '']);
  });

  it('gives the same text in pieces of any size', () => {
    const whole = 'the quick brown fox jumps over the lazy STOP dog';
    for (let size = 1; size < 12; size++) {
      const pieces = whole.match(new RegExp(`.{1,${size}}`, 'g'))!;
      expect(cut(['STOP', 'lazier', 'jumpy'], pieces).join('')).toBe(
        'the quick brown fox jumps over the lazy ',
      );
    }
  });

  it('leaves alone what comes before it is to be heeded', () => {
    const text = new StopText(['x']);
    expect([text.push('axb', false), text.push('cxd', true), text.stopped]).toEqual(['axb', 'c', true]);
  });
});

describe('generateText', () => {
  const tokenizer = new GPT2Tokenizer({ size: 300 });
  const model = tinyGPT2(cpuDevice(), { vocabSize: 320 });
  const wild = { maxNewTokens: 60, temperature: 2, seed: 9 };

  it('gives whole characters, which together are the decoded tokens', async () => {
    // Bytes of characters at random are mostly none: they come as U+FFFD, one by one, as in one go.
    const tokens: number[] = [];
    const pieces = await piecesOf(
      generateText(model, tokenizer, 'Hé', { ...wild, onToken: (token) => tokens.push(token) }),
    );
    expect(tokens.length).toBeGreaterThan(20);
    expect(Math.max(...tokens)).toBeLessThan(300);
    expect(pieces.join('')).toBe(tokenizer.decode(tokens));
    expect(pieces.every((piece) => piece.length > 0)).toBe(true);
    // Only the bytes of one character of three bytes: nothing is given out before it is whole.
    const euro = [...tokenizer.encode('€')];
    expect(euro.length).toBe(3);
    const only = Object.fromEntries(Array.from({ length: 320 }, (_, i) => [i, -Infinity]));
    const characters: string[] = [];
    for (const id of euro) {
      const bias = { ...only };
      delete bias[id];
      characters.push(
        ...(await piecesOf(generateText(model, tokenizer, 'a', { maxNewTokens: 1, logitBias: bias }))),
      );
    }
    // Unfinished at the end, each is a replacement character.
    expect(characters).toEqual(['\uFFFD', '\uFFFD', '\uFFFD']);
  });

  it('cuts at stop strings that straddle tokens, and at the end of text', async () => {
    const whole = (await piecesOf(generateText(model, tokenizer, 'Once', wild))).join('');
    for (const at of [3, 10, 21]) {
      const stop = whole.slice(at, at + 4);
      const pieces = await piecesOf(generateText(model, tokenizer, 'Once', { ...wild, stop }));
      expect(pieces.join('')).toBe(whole.slice(0, whole.indexOf(stop)));
    }
    const end = { ...wild, logitBias: { 299: 1e4 } };
    expect(await piecesOf(generateText(model, tokenizer, 'Once', end))).toEqual([]);
    const on = await piecesOf(
      generateText(model, tokenizer, 'Once', { ...end, stopAtEnd: false, maxNewTokens: 2 }),
    );
    expect(on.join('')).toBe('<|endoftext|><|endoftext|>');
  });

  it('begins a text where there is no prompt, and takes ids', async () => {
    const a = await piecesOf(generateText(model, tokenizer, '', wild));
    const b = await piecesOf(generateText(model, tokenizer, [299], wild));
    expect(a).toEqual(b);
    const characters = CharVocabulary.fromText('abc');
    await expect(piecesOf(generateText(model, characters, '', wild))).rejects.toThrow(
      'generateText: expected a prompt, got an empty one, and the tokenizer has no end of text to begin behind',
    );
    expect((await piecesOf(generateText(model, characters, 'ab', wild))).join('')).toMatch(/^[abc]{60}$/);
  });

  it('refuses what it cannot do', async () => {
    const refused = (options: object, tokens = tokenizer) =>
      expect(piecesOf(generateText(model, tokens, 'a', options))).rejects;
    await refused({ numSequences: 2 }).toThrow(
      'generateText: expected one sequence, got numSequences 2; use generate',
    );
    await refused({ stop: ['x', ''] }).toThrow(
      'generateText: expected stop strings of at least one character',
    );
    await refused({}, new GPT2Tokenizer({ size: 400 })).toThrow(
      'generateText: expected a tokenizer of at most 320 ids, as the model has, got one of 400',
    );
  });
});
