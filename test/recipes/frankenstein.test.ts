/** The recipe `frankenstein`: its texts and measures, and all of its experiments in a very small size. */
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AttentionLSTM } from '../../recipes/frankenstein/attention-lstm.js';
import { FRANKENSTEIN } from '../../recipes/frankenstein/config.js';
import { characterAccuracy, passages } from '../../recipes/frankenstein/decode.js';
import { windowBatches } from '../../recipes/frankenstein/job.js';
import { withSection } from '../../recipes/frankenstein/shared.js';
import { encodeKnown, letters, readSource } from '../../recipes/frankenstein/text.js';
import { SpellingVocabulary } from '../../recipes/frankenstein/words.js';
import { data, models, tensor } from '../../src/index.js';
import { runRecipe } from '../support/recipe.js';

const NOVEL = fileURLToPath(new URL('../../../shared/data/frankenstein.txt', import.meta.url));
/** Each call starts a process of its own, and cores may be busy. */
const PATIENCE = 300_000;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'dawngrad-frankenstein-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Sentences of few words, in letters: easy to learn. */
function toyNovel(): string {
  const random = new data.HostRandom(5);
  const one = (words: string): string => {
    const all = words.split(' ');
    return all[random.integer(all.length)];
  };
  const sentence = (): string =>
    `The ${one('old cold dark')} ${one('monster doctor captain')} ${one('saw heard feared')} the ${one('ice sea storm')}.`;
  const letter = (n: number, length: number): string => {
    const lines: string[] = [];
    while (lines.join('\n').length < length) lines.push(`${sentence()}  ${sentence()}`);
    return `Letter ${n}\n\n_To Mrs. Saville._\n\n${lines.join('\n')}\n\nR. Walton\n\n`;
  };
  return letter(1, 2000) + letter(2, 1000) + letter(3, 9000);
}

const recipe = (...args: string[]) =>
  runRecipe('frankenstein/main.ts', folder, args, { DAWNGRAD_THREADS: '1' });

describe('the text', () => {
  it.skipIf(!existsSync(NOVEL))(
    'has the letter of the original, where the novel is there (skipped: ../shared/data/frankenstein.txt is not)',
    async () => {
      const source = await readSource(null);
      expect(source).toMatchObject({ from: 'Frankenstein, from ../shared/data/frankenstein.txt' });
      const { first, second } = letters(source.text);
      const vocabulary = data.CharVocabulary.fromText(first);
      expect(first).toHaveLength(6850);
      expect(vocabulary.size).toBe(60);
      expect(new models.CharLSTM({ vocabSize: vocabulary.size }).numParameters()).toBe(64_764);
      const { window, batchSize, seed } = await FRANKENSTEIN.read({});
      const { windows, batches } = windowBatches(vocabulary.encode(first), { window, batchSize, seed });
      expect({ windows, batches }).toEqual({ windows: 6802, batches: 189 });
      expect(encodeKnown(vocabulary, second).left).toBe(11);
      expect(data.CharVocabulary.fromText(source.text).size).toBe(83);
    },
  );

  it('is cut into two parts where there are no letters', () => {
    const { first, second } = letters('abcde'.repeat(4000));
    expect([first.length, second.length]).toEqual([6850, 6850]);
    expect(letters(toyNovel()).first).toMatch(/^_To Mrs\. Saville\._\n\nThe .*\.$/s);
  });

  describe('from the library', () => {
    let server: Server;
    const page = (book: string): string =>
      `*** START OF THE PROJECT GUTENBERG EBOOK ***\r\n${book}\r\n*** END OF THE PROJECT GUTENBERG EBOOK ***`;
    let answer: string | null;
    let base: string;
    beforeAll(async () => {
      server = createServer((_, response) => {
        if (answer === null) response.writeHead(404, 'Not Found').end();
        else response.end(answer);
      });
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
      process.env.DAWNGRAD_CACHE = join(folder, 'cache');
    });
    afterAll(() => {
      delete process.env.DAWNGRAD_CACHE;
      server.close();
    });

    it('is Moby-Dick when it cannot be had, and the novel without its contents when it can', async () => {
      answer = null;
      const other = await readSource(null, base);
      expect(other.from).toMatch(
        /^Moby-Dick, from npm, because gutenbergText: cannot download .*404 Not Found/,
      );
      expect(other.text.length).toBeGreaterThan(1e6);
      answer = page('CONTENTS\r\n\r\n Letter 1\r\n Letter 2\r\n\r\nLetter 1\r\n\r\nYou will rejoice');
      const novel = await readSource(null, base);
      expect(novel).toEqual({
        from: 'Frankenstein, Project Gutenberg 84',
        text: 'Letter 1\n\nYou will rejoice\n',
      });
    });
  });
});

describe('words that are spelt where they are not known', () => {
  const text = 'the ice and the sea and the — ice';
  const words = SpellingVocabulary.fromText([...new Set(text)], text, 14);

  it('lose nothing', () => {
    expect(words.size).toBe(14);
    expect(words.tokens.slice(-3)).toEqual([' and', ' ice', ' the']);
    for (const any of [text, '', 'tea', ' the\n'.trim(), 'sand  the dent']) {
      expect(words.decode(words.encode(any))).toBe(any);
    }
    expect(words.encode(' and the').length).toBe(2);
    expect(words.encode(' sad').length).toBe(4);
    expect(() => words.encode('X')).toThrow('SpellingVocabulary.encode: expected known characters, got "X"');
  });
});

describe('measures', () => {
  it('count places with the same character', () => {
    expect(
      characterAccuracy(
        [
          [1, 2, 3, 4],
          [5, 5],
        ],
        [
          [1, 2, 4, 3],
          [5, 6],
        ],
      ),
    ).toBe(0.5);
  });

  it('take passages from the beginnings of words', () => {
    const ids = Int32Array.from({ length: 300 }, (_, i) => (i % 7 === 0 ? 0 : i));
    const found = passages(ids, 0, { prompts: 4, promptLength: 20, continuation: 30 });
    expect(found).toHaveLength(4);
    for (const { prompt, truth } of found) {
      expect(prompt[0] % 7).toBe(1);
      expect([prompt.length, truth.length]).toEqual([20, 30]);
      expect(truth[1] === 0 || truth[1] === prompt[0] + 21).toBe(true);
    }
  });

  it('go into a page between their marks', () => {
    const page = 'a\n<!-- x -->\nold\n<!-- /x -->\nb';
    expect(withSection(page, 'x', 'new\n')).toBe('a\n<!-- x -->\nnew\n<!-- /x -->\nb');
    expect(() => withSection(page, 'y', 'new')).toThrow(
      'expected <!-- y --> … <!-- /y --> in the README, got none',
    );
  });
});

it('attention looks back only', async () => {
  const model = new AttentionLSTM(5, 4, 6);
  const first = async (last: number): Promise<number[]> => {
    const logits = model.forward(tensor([[1, 2, 3, last]], { dtype: 'int32' }));
    return [...(await logits.narrow(1, 0, 3).contiguous().data())];
  };
  expect(await first(0)).toEqual(await first(4));
  // Embedding, LSTM, queries with keys and values, combination, head.
  expect(model.numParameters()).toBe(20 + 24 * (4 + 6) + 48 + (18 * 6 + 18) + (12 * 6 + 6) + (5 * 6 + 5));
});

describe('the command', () => {
  const small = [
    ...['--embedding', '12', '--hidden', '24', '--window', '16', '--batch-size', '16'],
    ...['--letter-epochs', '2', '--long-epochs', '2', '--novel-epochs', '2', '--share', '0.1'],
    ...[
      '--climb-steps',
      '16',
      '--compare-steps',
      '60',
      '--prompts',
      '4',
      '--prompt-length',
      '24',
      '--continuation',
      '60',
    ],
    ...['--novel-lr', '0.01', '--text', 'toy.txt', '--out', join('runs', 'toy')],
  ];

  it(
    'does all experiments, finds them again, and leaves tables and figures',
    async () => {
      await writeFile(join(folder, 'toy.txt'), toyNovel());
      const { code, out, err } = await recipe('all', ...small);
      expect(err.replace(/^.*(?:step|took).*$/gm, '').trim()).toBe('');
      expect(code).toBe(0);
      const runs = join(folder, 'runs', 'toy');
      const names = (await readdir(runs)).sort();
      expect(names).toEqual([
        ...['climb-high', 'climb-low', 'climb.md', 'climb.svg'],
        ...[
          'compare-attention',
          'compare-lstm-24',
          'compare-lstm-32',
          'compare-lstm-64',
          'compare-transformer',
        ],
        ...['compare-words', 'compare.md', 'compare.svg', 'decode.md', 'diverge.md', 'diverge.svg', 'letter'],
        ...[
          'letter-long',
          'letter-shuffled',
          'letter.md',
          'letter.svg',
          'novel',
          'novel-falling',
          'novel-high',
        ],
        ...['novel-order', 'novel.md', 'novel.svg'],
      ]);
      const result = async (name: string) =>
        JSON.parse(await readFile(join(runs, name, 'result.json'), 'utf8'));
      const V = new Set(toyNovel()).size;
      const novel = await result('novel');
      // Guessing among V characters costs ln V = 3.5 nats; 23 nats stand in each sentence of 40 characters.
      expect(Math.log(V)).toBeGreaterThan(3.4);
      expect(novel.best.validation).toBeLessThan(1.6);
      expect(novel.parameters).toBe(V * 12 + 4 * 24 * (12 + 24) + 8 * 24 + 24 * V + V);
      const letter = await result('letter-shuffled');
      expect(letter.best.validation).toBeLessThan(1.2);
      for (const name of ['compare-lstm-24', 'compare-lstm-64', 'compare-attention', 'compare-transformer']) {
        expect((await result(name)).best.validation, name).toBeLessThan(2.9);
      }

      const table = await readFile(join(runs, 'decode.md'), 'utf8');
      const rows = table.split('\n').map((line) => line.split('|').map((cell) => cell.trim()));
      const numbers = (name: string): number[] =>
        rows
          .find((cells) => cells[1] === name)!
          .slice(2, -1)
          .map((cell) => Number.parseFloat(cell));
      const [accuracy, repetition, distinct] = numbers('the author');
      expect([accuracy, repetition < 30, distinct > 0]).toEqual([100, true, true]);
      expect(numbers('the author, one character late')[0]).toBeLessThan(30);
      const [greedy, hot] = ['greedy', 'temperature 1.2'].map(numbers);
      // Heat makes new words.
      expect(hot[2]).toBeGreaterThan(greedy[2]);
      expect(out).toContain('beam search, 4 beams');

      // No run of the original's length: nothing that it reported stands beside it.
      const climb = (await readFile(join(runs, 'climb.md'), 'utf8')).split('\n');
      expect(climb[0]).toMatch(/steps.*training loss at 0\.015.*at 0\.01.*reported.*held out at 0\.015/);
      expect(climb.slice(2, 10).map((line) => line.split('|')[1].trim())).toEqual(
        [2, 4, 6, 8, 10, 12, 14, 16].map(String),
      );
      expect(climb[9].split('|')[4].trim()).toBe('–');

      const again = await recipe('diverge', ...small);
      expect(again.code).toBe(0);
      expect(again.out.match(/found in/g)).toHaveLength(4);
      expect(await readFile(join(runs, 'novel', 'config.json'), 'utf8')).toContain('"shuffle": true');
    },
    PATIENCE,
  );

  it(
    'explains itself, and says what is wrong',
    async () => {
      await mkdir(folder, { recursive: true });
      const help = await recipe('--help');
      expect(help.code).toBe(0);
      for (const flag of ['--quick', '--seed', '--share', '--text', '--order'])
        expect(help.out).toContain(flag);
      const wrong = await recipe('letter', '--share', '2');
      expect(wrong.code).toBe(1);
      expect(wrong.err).toContain('recipe:frankenstein: frankenstein: expected share to be at most 1, got 2');
      const missing = await recipe('novel', '--text', 'nowhere.txt');
      expect(missing.code).toBe(1);
      expect(missing.err).toContain('readNovel: cannot read nowhere.txt');
    },
    PATIENCE,
  );
});
