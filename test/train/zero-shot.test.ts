import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { noGrad } from '../../src/autograd/mode.js';
import { GPT2Tokenizer, type Tokenizer } from '../../src/data/tokenizer.js';
import { DataError } from '../../src/device/errors.js';
import type { CausalLM } from '../../src/models/causal-lm.js';
import { GPT2 } from '../../src/models/gpt2.js';
import { gpt2Config } from '../../src/models/gpt2-config.js';
import { loadGPT2 } from '../../src/models/gpt2-weights.js';
import { cpuDevice } from '../../src/tensor/default-device.js';
import { tensor } from '../../src/tensor/factories.js';
import { manualSeed } from '../../src/tensor/random.js';
import { type ZeroShotOptions, zeroShot } from '../../src/train/zero-shot.js';

const QUESTION = 'Was it good?';
const tokenizer = new GPT2Tokenizer({ size: 300 });
let model: GPT2;
beforeAll(() => {
  manualSeed(7);
  model = new GPT2(
    gpt2Config('nano', {
      vocabSize: 300,
      contextLength: 48,
      layers: 2,
      heads: 2,
      dim: 16,
      innerDim: 32,
      // Large weights, so that the answers differ from text to text.
      initializerRange: 0.5,
      embeddingDropout: 0.5,
    }),
    { device: cpuDevice() },
  );
});

/** ln p of each token of `answer` behind `prompt`, one forward pass for the whole. */
async function direct(lm: CausalLM, prompt: Int32Array, answer: Int32Array): Promise<number[]> {
  const ids = Int32Array.from([...prompt, ...answer.slice(0, -1)]);
  lm.eval();
  const logits = noGrad(() => lm.forward(tensor(ids, { shape: [1, ids.length], device: cpuDevice() })));
  const values = await logits.data();
  const V = lm.shape.vocabSize;
  return Array.from(answer, (token, i) => {
    const row = Array.from(values.subarray((prompt.length - 1 + i) * V, (prompt.length + i) * V));
    const most = Math.max(...row);
    return row[token] - most - Math.log(row.reduce((sum, x) => sum + Math.exp(x - most), 0));
  });
}

interface Plain {
  readonly lm?: CausalLM;
  readonly tokens?: Tokenizer;
  readonly yes: string;
  readonly no: string;
  readonly length?: 'mean' | 'sum';
  readonly question?: string;
}

async function logOdds(
  excerpts: readonly Int32Array[],
  { lm = model, tokens = tokenizer, yes, no, length = 'mean', question = QUESTION }: Plain,
): Promise<number> {
  const suffix = tokens.encode(`\n\n${question}\nAnswer:`);
  let total = 0;
  for (const excerpt of excerpts) {
    const prompt = Int32Array.from([...excerpt, ...suffix]);
    const [y, n] = await Promise.all(
      [yes, no].map(async (answer) => {
        const each = await direct(lm, prompt, tokens.encode(answer));
        return each.reduce((a, b) => a + b, 0) / (length === 'mean' ? each.length : 1);
      }),
    );
    total += y - n;
  }
  return total / excerpts.length;
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
const near = (p: ArrayLike<number>, odds: readonly number[], bias = 0) => {
  expect(p).toHaveLength(odds.length);
  odds.forEach((x, i) => expect(p[i]).toBeCloseTo(sigmoid(x - bias), 5));
};
const ask = (texts: readonly string[], options: Partial<ZeroShotOptions> = {}) =>
  zeroShot(model, tokenizer, texts, { question: QUESTION, ...options });

const TEXTS = ['a fine tale', '', 'bad', 'the storm came at night'];

describe('zeroShot', () => {
  // One token each; several of different number; contexts that share nothing; one that begins the other.
  it.each([
    ['y', 'n', 'mean'],
    [' yes', ' no', 'mean'],
    ['indeed', 'no', 'sum'],
    ['x', 'xy z', 'mean'],
  ] as const)('compares the answers %j and %j, %s', async (yes, no, length) => {
    const odds = await Promise.all(
      TEXTS.map((text) => logOdds([tokenizer.encode(text)], { yes, no, length })),
    );
    near(await ask(TEXTS, { yes, no, length, batchSize: 3 }), odds);
    // Alone or together, the other way round.
    near(await ask(TEXTS.slice(3), { yes, no, length }), odds.slice(3));
    near(
      await ask(TEXTS, { yes: no, no: yes, length }),
      odds.map((x) => -x),
    );
    expect(new Set(odds.map((x) => x.toFixed(6))).size).toBe(4);
  });

  it('averages the log-odds of the excerpts of a long text, or reads the first', async () => {
    const answers = { yes: ' yes', no: ' no' };
    const text = 'It was a dark and stormy night; the rain fell in torrents.';
    const ids = tokenizer.encode(text);
    const cut = (size: number) =>
      Array.from({ length: Math.ceil(ids.length / size) }, (_, i) => ids.slice(i * size, (i + 1) * size));
    const all = await logOdds(cut(10), answers);
    near(await ask(['short', text], { maxTokens: 10, batchSize: 2 }), [
      await logOdds([tokenizer.encode('short')], answers),
      all,
    ]);
    near(await ask([text], { maxTokens: 10, excerpts: 'first' }), [await logOdds([cut(10)[0]], answers)]);
    const ends = [cut(10)[0], cut(10).at(-1)!];
    near(await ask([text], { maxTokens: 10, maxChunks: 2 }), [await logOdds(ends, answers)]);
    // By default, excerpts fill the context.
    const most = Math.max(...[' yes', ' no'].map((a) => tokenizer.encode(a).length));
    const room = 48 - tokenizer.encode(`\n\n${QUESTION}\nAnswer:`).length - most + 1;
    expect(ids.length).toBeGreaterThan(room);
    near(await ask([text]), [await logOdds(cut(room), answers)]);
    near(await ask([text], { maxTokens: 1000 }), [await logOdds(cut(room), answers)]);
  });

  it('takes out what the model says to texts without content', async () => {
    const answers = { yes: 'y', no: 'n' };
    const odds = await Promise.all(TEXTS.map((text) => logOdds([tokenizer.encode(text)], answers)));
    const empty = await logOdds([tokenizer.encode('N/A')], answers);
    near(await ask(TEXTS, { ...answers, calibrate: ['N/A'] }), odds, empty);
    expect((await ask(['N/A'], { ...answers, calibrate: ['N/A'] }))[0]).toBeCloseTo(0.5, 6);
    const three = await Promise.all(
      ['N/A', '[MASK]', ''].map((text) => logOdds([tokenizer.encode(text)], answers)),
    );
    const yes = three.reduce((sum, x) => sum + sigmoid(x), 0) / 3;
    near(await ask(TEXTS, { ...answers, calibrate: true }), odds, Math.log(yes / (1 - yes)));
  });

  it('tells how far it is, and leaves the model as it was', async () => {
    const seen: number[] = [];
    model.train();
    await ask(TEXTS, {
      yes: 'y',
      no: 'n',
      batchSize: 2,
      onProgress: (done, total) => seen.push(done, total),
    });
    expect(seen).toEqual([2, 4, 4, 4]);
    expect(model.training).toBe(true);
    await expect(ask(TEXTS, { calibrate: [] })).rejects.toThrow(DataError);
    expect(model.training).toBe(true);
    expect(await ask([])).toHaveLength(0);
  });

  it('refuses what makes no question', async () => {
    await expect(ask(['a'], { yes: 'no', no: 'no' })).rejects.toThrow(
      "zeroShot: expected two answers that differ, got 'no' and 'no'",
    );
    await expect(ask(['a'], { yes: '' })).rejects.toThrow('expected two answers that differ');
    await expect(ask(['a'], { maxTokens: 0 })).rejects.toThrow(
      'expected maxTokens to be a positive integer, got 0',
    );
    await expect(ask(['a'], { length: 'median' as 'mean' })).rejects.toThrow("length 'mean' or 'sum'");
    await expect(ask(['a'], { question: 'Was it '.repeat(20) })).rejects.toThrow(
      'expected a question that leaves room for a text in a context of 48 tokens',
    );
    const large = new GPT2Tokenizer({ size: 400 });
    await expect(zeroShot(model, large, ['a'], { question: QUESTION })).rejects.toThrow(
      "expected the model's own tokenizer, of at most 300 tokens, got one of 400",
    );
  });

  it('asks a checkpoint of the Hub', async ({ skip }) => {
    const tiny = fileURLToPath(new URL('../../../shared/data/tiny-gpt2', import.meta.url));
    if (!existsSync(tiny)) skip('no ../shared/data/tiny-gpt2 on this machine');
    const { model: lm, tokenizer: tokens } = await loadGPT2(tiny, { device: cpuDevice() });
    const question = 'Is this text about the sea?';
    const texts = ['Call me Ishmael.', 'The whale.'];
    // Both answers are one token of GPT-2's.
    expect([' yes', ' no'].map((a) => tokens.encode(a).length)).toEqual([1, 1]);
    const answers = { lm, tokens, yes: ' yes', no: ' no', question };
    near(
      await zeroShot(lm, tokens, texts, { question }),
      await Promise.all(texts.map((text) => logOdds([tokens.encode(text)], answers))),
    );
  });
});
