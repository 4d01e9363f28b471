import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readDocuments } from '../../src/data/documents.js';
import { tableOf } from '../../src/data/table.js';
import { tokenizeDocuments } from '../../src/data/token-cache.js';
import { GPT2Tokenizer, type Tokenizer } from '../../src/data/tokenizer.js';
import { CharVocabulary } from '../../src/data/vocabulary.js';
import { DataError } from '../../src/device/errors.js';
import { raceDocuments } from '../support/race-documents.js';

let cacheDir: string;
beforeEach(() => {
  cacheDir = mkdtempSync(join(tmpdir(), 'token-cache-'));
});
afterEach(() => rmSync(cacheDir, { recursive: true, force: true }));

const tokenizer = new GPT2Tokenizer({ size: 300 });
const texts = (...all: string[]) => all.map((text) => ({ text }));
const files = () => readdirSync(cacheDir);

describe('tokenizeDocuments', () => {
  it('gives the tokens of any documents back, by position', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.string({ unit: 'binary' }), { maxLength: 12 }), async (all) => {
        using cache = await tokenizeDocuments(texts(...all), tokenizer, { cacheDir });
        expect(cache.length).toBe(all.length);
        for (let i = all.length - 1; i >= 0; i--) expect(cache.tokens(i)).toEqual(tokenizer.encode(all[i]));
        const counts = all.map((text) => tokenizer.encode(text).length);
        expect([...cache.counts]).toEqual(counts);
        expect(cache.total).toBe(counts.reduce((a, b) => a + b, 0));
      }),
      { numRuns: 15 },
    );
  });

  it('tokenises once, and tells how far it is', async () => {
    const told: unknown[] = [];
    const documents = texts('one', '', 'three');
    const options = { cacheDir, onProgress: (p: unknown) => told.push(p) };
    using made = await tokenizeDocuments(documents, tokenizer, options);
    expect(made.cached).toBe(false);
    expect(told).toEqual([
      { done: 1, documents: 3, tokens: made.counts[0] },
      { done: 2, documents: 3, tokens: made.counts[0] },
      { done: 3, documents: 3, tokens: made.total },
    ]);
    using found = await tokenizeDocuments(documents, tokenizer, options);
    expect(found.cached).toBe(true);
    expect(told).toHaveLength(3);
    expect(found.tokens(2)).toEqual(made.tokens(2));
  });

  it('reads a range of the tokens of a document', async () => {
    const text = 'it was the age of wisdom, it was the age of foolishness';
    using cache = await tokenizeDocuments(texts('before', text, 'after'), tokenizer, { cacheDir });
    const all = tokenizer.encode(text);
    expect(cache.tokens(1, 3, 7)).toEqual(all.slice(3, 7));
    expect(cache.tokens(1, 5)).toEqual(all.slice(5));
    expect(cache.tokens(1, all.length)).toEqual(new Int32Array(0));
  });

  it('has another cache for other texts, another order, other borders and another tokenizer', async () => {
    const sets: [{ text: string }[], Tokenizer][] = [
      [texts('ab', 'c'), tokenizer],
      [texts('c', 'ab'), tokenizer],
      [texts('a', 'bc'), tokenizer],
      [texts('abc'), tokenizer],
      [texts('ab', 'c', ''), tokenizer],
      [texts('ab', 'c'), new GPT2Tokenizer({ size: 301 })],
      [texts('ab', 'c'), CharVocabulary.fromText('abc')],
    ];
    for (const [documents, own] of sets) {
      using cache = await tokenizeDocuments(documents, own, { cacheDir });
      expect(cache.cached).toBe(false);
      documents.forEach(({ text }, i) => {
        expect(cache.tokens(i)).toEqual(own.encode(text));
      });
    }
    expect(files()).toHaveLength(sets.length);
  });

  it('stores large vocabularies in four bytes', async () => {
    const wide: Tokenizer = {
      size: 70_000,
      endOfText: null,
      encode: (text) => Int32Array.from(text, (c) => 69_000 + c.charCodeAt(0)),
      decode: () => '',
      stream: () => ({ push: () => '', end: () => '' }),
      toJSON: () => ({ type: 'wide' }),
    };
    using cache = await tokenizeDocuments(texts('ab', 'c'), wide, { cacheDir });
    expect(cache.tokens(0)).toEqual(Int32Array.of(69_097, 69_098));
    expect(cache.tokens(1)).toEqual(Int32Array.of(69_099));
  });

  it('takes the documents of a table, which are read twice', async () => {
    const table = tableOf([
      { text: 'yes it is', label: 1 },
      { text: 'no it is not', label: 0 },
    ]);
    using cache = await tokenizeDocuments(readDocuments(table), tokenizer, { cacheDir });
    expect(cache.tokens(1)).toEqual(tokenizer.encode('no it is not'));
  });

  it('makes a cache anew that was cut off or overwritten', async () => {
    const documents = texts('one two three', 'four');
    const make = async () => {
      using cache = await tokenizeDocuments(documents, tokenizer, { cacheDir });
      expect(cache.tokens(1)).toEqual(tokenizer.encode('four'));
      return cache.cached;
    };
    expect(await make()).toBe(false);
    const path = join(cacheDir, files()[0]);
    const whole = readFileSync(path);
    for (const size of [0, 10, whole.length - 1]) {
      truncateSync(path, size);
      expect(await make()).toBe(false);
    }
    // Cut in the tokens, with the footer in place.
    writeFileSync(path, whole.subarray(2));
    expect(await make()).toBe(false);
    expect(await make()).toBe(true);
  });

  it('leaves nothing behind when a document cannot be tokenised', async () => {
    const vocabulary = CharVocabulary.fromText('abc');
    await expect(tokenizeDocuments(texts('abc', 'xyz'), vocabulary, { cacheDir })).rejects.toThrow();
    expect(files()).toEqual([]);
  });

  it('refuses a generator, and documents that change between the readings', async () => {
    function* once() {
      yield { text: 'a' };
    }
    await expect(tokenizeDocuments(once(), tokenizer, { cacheDir })).rejects.toThrow(
      'tokenizeDocuments: expected documents that can be read twice, got a generator',
    );
    let readings = 0;
    const changing = {
      *[Symbol.iterator]() {
        yield { text: `reading ${readings++}` };
      },
    };
    await expect(tokenizeDocuments(changing, tokenizer, { cacheDir })).rejects.toThrow(
      'tokenizeDocuments: expected the same documents in both readings',
    );
    expect(files()).toEqual([]);
  });

  it('refuses documents and ranges that there are not, and a closed cache', async () => {
    const cache = await tokenizeDocuments(texts('ab'), CharVocabulary.fromText('ab'), { cacheDir });
    expect(() => cache.tokens(1)).toThrow('TokenCache: expected a document from 0 to 0, got 1');
    expect(() => cache.tokens(-1)).toThrow(DataError);
    expect(() => cache.tokens(0, 3)).toThrow(
      'TokenCache: expected a range of the 2 tokens of document 0, got 3 to Infinity',
    );
    cache.close();
    cache.close();
    expect(() => cache.tokens(0)).toThrow('TokenCache: expected an open cache');
  });

  it('is right in two processes that tokenise the same documents at once', async () => {
    const script = fileURLToPath(new URL('../support/tokenize-child.ts', import.meta.url));
    const children = [1, 2].map(() => {
      const args = ['--import', import.meta.resolve('tsx'), script, cacheDir];
      const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
      let out = '';
      const closed = new Promise<void>((resolve) => child.on('close', () => resolve()));
      const noCache = new Promise<void>((resolve) => {
        child.stdout.on('data', (data) => {
          out += data;
          if (out.includes('no cache')) resolve();
        });
      });
      return { child, noCache: Promise.race([noCache, closed]), closed, output: () => out };
    });
    await Promise.all(children.map(({ noCache }) => noCache));
    for (const { child } of children) child.stdin.write('go\n');
    await Promise.all(children.map(({ closed }) => closed));
    const results = children.map(({ output }) => JSON.parse(output().trim().split('\n').at(-1)!));
    const hash = createHash('sha256');
    for (const { text } of raceDocuments()) hash.update(tokenizer.encode(text));
    const digest = hash.digest('hex');
    for (const result of results) expect(result).toEqual({ cached: false, length: 300, digest });
    // One file, and nothing half-written beside it.
    expect(files()).toHaveLength(1);
    expect(files()[0]).toMatch(/^[0-9a-f]{40}\.tokens$/);
  });
});
