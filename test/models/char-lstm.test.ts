/** The character-level LSTM: its size, its state, and text from it by the same code that serves Transformers. */
import { describe, expect, it } from 'vitest';
import '../../src/autograd/methods.js';
import { CharVocabulary } from '../../src/data/vocabulary.js';
import { cpuDevice, manualSeed, models, noGrad, scope, type Tensor, tensor } from '../../src/index.js';

const V = 11;
const device = cpuDevice();

function lstm(layers = 1): models.CharLSTM {
  manualSeed(3);
  const model = new models.CharLSTM({ vocabSize: V, embedding: 6, hidden: 10, layers });
  // Larger weights than at first: continuations that differ.
  noGrad(() => {
    for (const p of model.parameters()) p.mul_(3);
  });
  return model.eval() as models.CharLSTM;
}

const ids = (values: readonly number[]): Tensor =>
  tensor(Int32Array.from(values), { shape: [1, values.length] });

async function lastLogits(model: models.CharLSTM, read: readonly number[]): Promise<number[]> {
  const logits = scope(() => noGrad(() => model.forward(ids(read))[0].select(1, -1).contiguous()));
  return Array.from(await logits.data());
}

function logProbabilities(logits: readonly number[]): number[] {
  const max = Math.max(...logits);
  const sum = Math.log(logits.reduce((s, x) => s + Math.exp(x - max), 0)) + max;
  return logits.map((x) => x - sum);
}

async function generated(
  model: models.CharLSTM,
  prompts: readonly Int32Array[],
  options: models.GenerateOptions,
): Promise<number[][]> {
  const written: number[][] = prompts.map(() => []);
  for await (const { prompt, token } of models.generate(model, prompts, options)) written[prompt].push(token);
  return written;
}

it('has as many parameters as the original', () => {
  expect(new models.CharLSTM({ vocabSize: 60 }).numParameters()).toBe(64_764);
  expect(new models.CharLSTM({ vocabSize: 93 }).numParameters()).toBe(69_549);
  expect([...lstm().stateDict().keys()]).toEqual([
    'embedding.weight',
    'lstm.weight_ih_l0',
    'lstm.weight_hh_l0',
    'lstm.bias_ih_l0',
    'lstm.bias_hh_l0',
    'head.weight',
    'head.bias',
  ]);
});

describe.each([1, 2])('with %i layers', (layers) => {
  it('reads in steps what it reads in one go', async () => {
    const model = lstm(layers);
    const text = [1, 5, 2, 9, 9, 0, 4];
    const steps = noGrad(() => {
      let state: models.LSTMState | null = null;
      let logits: Tensor | null = null;
      for (const part of [[1], [5, 2], [9], [9, 0, 4]]) [logits, state] = model.step(ids(part), state);
      return logits!;
    });
    expect(steps.shape).toEqual([1, V]);
    const whole = await lastLogits(model, text);
    (await steps.data()).forEach((x, i) => {
      expect(x).toBeCloseTo(whole[i], 5);
    });
  });

  it('generates greedily what reading everything again gives, for prompts of any lengths', async () => {
    const model = lstm(layers);
    const prompts = [[1, 2, 3], [7], [4, 4, 0, 9, 2]];
    const written = await generated(
      model,
      prompts.map((p) => Int32Array.from(p)),
      { temperature: 0, maxNewTokens: 12 },
    );
    for (const [i, prompt] of prompts.entries()) {
      const read = [...prompt];
      for (let n = 0; n < 12; n++) {
        const logits = await lastLogits(model, read);
        read.push(logits.indexOf(Math.max(...logits)));
      }
      expect(written[i]).toEqual(read.slice(prompt.length));
    }
  });
});

it('writes on for longer than any context, in memory that does not grow', async () => {
  const model = lstm();
  const [written] = await generated(model, [Int32Array.of(1)], { seed: 4, maxNewTokens: 300 });
  expect(written).toHaveLength(300);
  expect(new Set(written).size).toBeGreaterThan(3);
});

it('samples the same text from the same seed', async () => {
  const model = lstm();
  const prompt = [Int32Array.of(1, 2)];
  const options = { maxNewTokens: 30, temperature: 1.5, topK: 6 };
  const [a, b, c] = await Promise.all(
    [1, 1, 2].map((seed) => generated(model, prompt, { ...options, seed })),
  );
  expect(a).toEqual(b);
  expect(a).not.toEqual(c);
});

it('keeps the state of each beam', async () => {
  const model = lstm();
  const start = [3, 8];
  const K = 3;
  // By reading everything again for each beam.
  let beams = [{ tokens: [] as number[], sum: 0 }];
  for (let t = 0; t < 6; t++) {
    const next: typeof beams = [];
    for (const { tokens, sum } of beams) {
      const log = logProbabilities(await lastLogits(model, [...start, ...tokens]));
      log.forEach((l, token) => {
        next.push({ tokens: [...tokens, token], sum: sum + l });
      });
    }
    beams = next.sort((a, b) => b.sum - a.sum).slice(0, K);
  }
  const [found] = await generated(model, [Int32Array.from(start)], { numBeams: K, maxNewTokens: 6 });
  expect(found).toEqual(beams[0].tokens);
  const [greedy] = await generated(model, [Int32Array.from(start)], { temperature: 0, maxNewTokens: 6 });
  expect(found).not.toEqual(greedy);
});

it('gives text, and leaves the model in the mode it was in', async () => {
  const model = lstm();
  model.train();
  const vocabulary = CharVocabulary.fromText('abcdefghijk');
  let text = '';
  for await (const piece of models.generateText(model, vocabulary, 'abc', { maxNewTokens: 8, seed: 1 })) {
    text += piece;
  }
  expect(text).toMatch(/^[a-k]{8}$/);
  expect(model.training).toBe(true);
});

it('learns', async () => {
  manualSeed(1);
  const model = new models.CharLSTM({ vocabSize: 3, embedding: 4, hidden: 8 });
  const x = ids([0, 1, 2, 0, 1, 2]);
  const y = ids([1, 2, 0, 1, 2, 0]);
  const loss = () => model.loss(x, y);
  const before = await loss().item();
  for (let i = 0; i < 150; i++) {
    loss().backward();
    noGrad(() => {
      for (const p of model.parameters()) p.sub_(p.grad!.mul(0.5));
    });
    for (const p of model.parameters()) p.grad = null;
  }
  expect(before).toBeGreaterThan(0.9);
  expect(await loss().item()).toBeLessThan(0.2);
  expect(() => model.forward(tensor([1, 2], { dtype: 'int32' }))).toThrow(
    'CharLSTM: expected ids of shape [B, T]',
  );
  expect(device.info.software).toBe(true);
});
