import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GPT2Tokenizer } from '../../src/data/tokenizer.js';
import { DataError } from '../../src/device/errors.js';
import { cpuDevice } from '../../src/tensor/default-device.js';
import {
  characterOffsets,
  type Prediction,
  Predictor,
  shorten,
  type UnseenDocument,
} from '../../src/train/predict.js';
import { type FakeRun, writeClassifierRun } from '../support/classifier-runs.js';

let folder: string;
let attention: FakeRun;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'dawngrad-predict-'));
  attention = await writeClassifierRun(join(folder, 'attention'), { threshold: 0.42 });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const LONG =
  'It was a dark and stormy night; the rain — “in torrents” 🌧 — fell on the roofs of Łódź. '.repeat(3);
const DOCUMENTS: UnseenDocument[] = [
  { name: 'long', text: LONG },
  { name: 'empty', text: '' },
  { name: 'short', text: 'Yes.' },
  { name: 'other', text: 'FADE IN: a house by the sea. ANNA enters.' },
];

async function all(predictions: AsyncIterable<Prediction>): Promise<Prediction[]> {
  const list: Prediction[] = [];
  for await (const prediction of predictions) list.push(prediction);
  return list;
}

describe('Predictor', () => {
  it("gives the model's probabilities, however documents are put together", async () => {
    const predictor = await Predictor.open(join(folder, 'attention'), cpuDevice());
    expect(predictor.threshold).toBe(0.42);
    const { classifier, tokenizer } = attention;
    const alone = await Promise.all(
      DOCUMENTS.map(async ({ text }) => (await classifier.probabilities([tokenizer.encode(text)]))[0]),
    );
    for (const options of [{}, { batchSize: 1 }, { batchTokens: 20 }, { top: 2 }, { top: 2, batchSize: 3 }]) {
      const predictions = await all(predictor.predict(DOCUMENTS, options));
      expect(predictions.map(({ name }) => name)).toEqual(['long', 'empty', 'short', 'other']);
      predictions.forEach(({ probability, verdict, top }, i) => {
        expect(probability).toBeCloseTo(alone[i], 5);
        expect(verdict).toBe(probability >= 0.42 ? 1 : 0);
        expect(top.length).toBe(options.top ? Math.min(2, i === 0 ? 2 : predictions[i].chunks!.all) : 0);
      });
    }
    const [blank] = await all(predictor.predict([{ name: 'blank', text: ' \n\t ' }]));
    expect(blank.tokens).toBe(0);
    expect(blank.probability).toBeCloseTo(alone[1], 5);
    const verdicts = async (threshold: number) =>
      (await all(predictor.predict(DOCUMENTS, { threshold }))).map(({ verdict }) => verdict);
    expect(await verdicts(0)).toEqual([1, 1, 1, 1]);
    expect(await verdicts(1)).toEqual([0, 0, 0, 0]);
    expect(await all(predictor.predict([]))).toEqual([]);
  });

  it('names the chunks that weighed most, where they stand, and what they say', async () => {
    const predictor = await Predictor.open(join(folder, 'attention'), cpuDevice());
    const [prediction, empty] = await all(predictor.predict(DOCUMENTS, { top: 1000, excerpt: 1000 }));
    const { classifier, tokenizer } = attention;
    const ids = tokenizer.encode(LONG);
    const [explained] = (await classifier.explain([ids]))!;
    const { top, chunks } = prediction;
    expect(chunks).toEqual({ all: Math.ceil(ids.length / 16), read: Math.ceil(ids.length / 16) });
    expect(top).toHaveLength(chunks!.all);
    const sizes = top.map(({ effect }) => Math.abs(effect));
    expect(sizes).toEqual([...sizes].sort((a, b) => b - a));
    expect(top.reduce((sum, { weight }) => sum + weight!, 0)).toBeCloseTo(1, 5);
    for (const { tokens, effect, weight, characters, excerpt } of top) {
      const same = explained.chunks.find(({ start }) => start === tokens[0])!;
      expect(tokens[1]).toBe(same.end);
      expect(effect).toBeCloseTo(same.effect, 5);
      expect(weight).toBeCloseTo(same.weight!, 5);
      expect(excerpt).toBe(LONG.slice(...characters).trim());
      // Half of a character is replaced where it is cut; none is here.
      expect(excerpt).not.toMatch(/\p{Surrogate}|\uFFFD/u);
    }
    // Side by side they are the text.
    const inOrder = [...top].sort((a, b) => a.tokens[0] - b.tokens[0]);
    expect(inOrder.map(({ characters }) => LONG.slice(...characters)).join('')).toBe(LONG);
    expect(empty).toMatchObject({ tokens: 0, tokensRead: 0, chunks: { all: 1, read: 1 } });
    expect(empty.top).toMatchObject([{ tokens: [0, 0], characters: [0, 0], excerpt: '' }]);
  });

  it('says how much of a document was read', async () => {
    const n = new GPT2Tokenizer({ size: 300 }).encode(LONG).length;
    const cases = [
      [{ maxChunks: 3, overlap: 4 }, 48, Math.ceil((n - 16) / 12) + 1, 3],
      [{ maxChunks: 3, keep: 'head', overlap: 4 }, 16 + 12 + 12, Math.ceil((n - 16) / 12) + 1, 3],
      [{ maxTokens: 20 }, 20, Math.ceil(n / 16), 2],
      [{ overlap: 4 }, n, Math.ceil((n - 16) / 12) + 1, Math.ceil((n - 16) / 12) + 1],
    ] as const;
    for (const [i, [config, tokensRead, count, read]] of cases.entries()) {
      const path = join(folder, `cut-${i}`);
      await writeClassifierRun(path, { config });
      const predictor = await Predictor.open(path, cpuDevice());
      const [long, empty] = await all(predictor.predict(DOCUMENTS));
      // Of the chunks that are spread, the last is shorter.
      if (i === 0) expect(long.tokensRead).toBeGreaterThan(32);
      else expect(long.tokensRead).toBe(tokensRead);
      expect(long).toMatchObject({ tokens: n, chunks: { all: count, read } });
      expect(empty.tokensRead).toBe(0);
    }
  });

  it('has no chunks to tell of where the model has none', async () => {
    const path = join(folder, 'window');
    const { classifier, tokenizer } = await writeClassifierRun(path, {
      config: { encoder: 'window', window: 8, maxTokens: 32 },
    });
    const predictor = await Predictor.open(path, cpuDevice());
    const predictions = await all(predictor.predict(DOCUMENTS, { top: 3 }));
    expect(predictions[0]).toMatchObject({ tokensRead: 32, chunks: null, top: [] });
    const [p] = await classifier.probabilities([tokenizer.encode(DOCUMENTS[3].text)]);
    expect(predictions[3].probability).toBeCloseTo(p, 5);
  });

  it('averages the folds of a cross-validation', async () => {
    const path = join(folder, 'folds');
    const config = { folds: 3 };
    await writeClassifierRun(path, { config });
    const folds: FakeRun[] = [];
    for (const [i, threshold] of [0.2, 0.3, 0.7].entries()) {
      folds.push(await writeClassifierRun(join(path, `fold-${i + 1}`), { config, fold: i + 1, threshold }));
    }
    const predictor = await Predictor.open(path, cpuDevice());
    expect(predictor.threshold).toBeCloseTo(0.4, 10);
    const [prediction] = await all(predictor.predict(DOCUMENTS, { top: 1 }));
    const ids = folds[0].tokenizer.encode(LONG);
    const each = await Promise.all(
      folds.map(async ({ classifier }) => (await classifier.probabilities([ids]))[0]),
    );
    expect(new Set(each).size).toBe(3);
    prediction.folds!.forEach((p, i) => expect(p).toBeCloseTo(each[i], 5));
    expect(prediction.probability).toBeCloseTo((each[0] + each[1] + each[2]) / 3, 5);
    const explained = await Promise.all(
      folds.map(async ({ classifier }) => (await classifier.explain([ids]))![0]),
    );
    const at = explained[0].chunks.findIndex(({ start }) => start === prediction.top[0].tokens[0]);
    const effect = explained.reduce((sum, { chunks }) => sum + chunks[at].effect, 0) / 3;
    expect(prediction.top[0].effect).toBeCloseTo(effect, 5);
    // One fold by itself.
    expect((await Predictor.open(join(path, 'fold-3'), cpuDevice())).threshold).toBe(0.7);
    rmSync(join(path, 'fold-2'), { recursive: true });
    await expect(Predictor.open(path, cpuDevice())).rejects.toThrow(DataError);
  });
});

describe('characterOffsets', () => {
  it('tells where tokens begin, whole characters only', () => {
    const tokenizer = new GPT2Tokenizer({ size: 257 });
    // Two, three and four bytes; one token each.
    const ids = tokenizer.encode('aé—🌧b');
    expect([...characterOffsets(tokenizer, ids)]).toEqual([0, 1, 1, 2, 2, 2, 3, 3, 3, 3, 5, 6]);
    expect([...characterOffsets(tokenizer, new Int32Array())]).toEqual([0]);
  });
});

describe('shorten', () => {
  it('puts text on one line, cut at a word', () => {
    expect(shorten('  to be\n\tor\u001b[31m not ', 100)).toBe('to be or [31m not');
    expect(shorten('to be or not to be', 8)).toBe('to be or …');
    expect(shorten('to be or not to be', 10)).toBe('to be or …');
    expect(shorten('x'.repeat(20), 10)).toBe(`${'x'.repeat(10)} …`);
    expect(shorten('🌧'.repeat(20), 9)).toBe(`${'🌧'.repeat(4)} …`);
    expect(shorten('\ud83c and \udf27', 100)).toBe('\uFFFD and \uFFFD');
  });
});
