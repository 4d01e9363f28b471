/** What logits go through before a token is chosen, against a plain implementation in float64, and what is drawn. */
import { expect, it } from 'vitest';
import '../../src/autograd/methods.js';
import { filterLogits } from '../../src/autograd/ops/filter-logits.js';
import { type GenerateOptions, planGeneration } from '../../src/models/generate-options.js';
import { TokenChooser } from '../../src/models/logits.js';
import { tensor } from '../../src/tensor/factories.js';
import { scope } from '../../src/tensor/lifetime.js';
import { difference, eachDevice } from '../support/each-device.js';

/** Everything by the book: sorted, with running sums. */
function plainFilter(logits: readonly number[], options: GenerateOptions): number[] {
  const { temperature = 1, topK = 0, topP = 1, minP = 0 } = options;
  let x = logits.map((v) => v / temperature);
  const descending = () => [...x].sort((a, b) => b - a);
  if (topK > 0) {
    const least = descending()[Math.min(topK, x.length) - 1];
    x = x.map((v) => (v < least ? -Infinity : v));
  }
  if (topP < 1) {
    const order = descending();
    const weights = order.map((v) => Math.exp(v - order[0]));
    const total = weights.reduce((a, b) => a + b);
    let sum = 0;
    const last = weights.findIndex((w) => {
      sum += w / total;
      return sum >= topP;
    });
    if (last >= 0) x = x.map((v) => (v < order[last] ? -Infinity : v));
  }
  if (minP > 0) {
    const most = Math.max(...x);
    x = x.map((v) => (Math.exp(v - most) < minP ? -Infinity : v));
  }
  return x;
}

function plainSoftmax(x: readonly number[]): number[] {
  const most = Math.max(...x);
  const weights = x.map((v) => Math.exp(v - most));
  const total = weights.reduce((a, b) => a + b);
  return weights.map((w) => w / total);
}

/** Numbers without pattern; the same every time. */
function noise(count: number, seed: number): number[] {
  let state = seed;
  return Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state / 2 ** 32 - 0.5) * 8;
  });
}

eachDevice(
  'sampling',
  (place) => {
    const { make } = place;

    it('filters as the plain implementation does', async () => {
      const settings: GenerateOptions[] = [
        { topK: 5 },
        { topK: 1 },
        { topK: 1000 },
        { topP: 0.9 },
        { topP: 0.01 },
        { topP: 0.999 },
        { minP: 0.1 },
        { topK: 20, topP: 0.7, minP: 0.02, temperature: 0.6 },
        { topP: 0.95, temperature: 1.7 },
      ];
      for (const n of [3, 50, 700]) {
        const rows = [noise(n, 1), noise(n, 2)];
        for (const options of settings) {
          const got = await scope(() => filterLogits(make(rows.flat(), [2, n]), options)).data();
          const wanted = rows.flatMap((row) => plainFilter(row, options));
          expect(difference(got, wanted), `${JSON.stringify(options)} of ${n}`).toBeLessThan(place.tolerance);
        }
      }
    });

    it('changes nothing with top-p 1 and min-p 0', async () => {
      const row = noise(100, 3);
      const got = await filterLogits(make(row, [1, 100]), { topP: 1, minP: 0, topK: 0 }).data();
      expect([...got]).toEqual([...(await make(row, [1, 100]).data())]);
    });

    it('penalises, biases and bans', async () => {
      const options: GenerateOptions = {
        repetitionPenalty: 1.5,
        logitBias: { 2: 0.75, 4: -Infinity },
        stop: [0],
        minNewTokens: 1,
      };
      const prompts = [[1, 3, 3], [2]];
      const plan = planGeneration({ vocabSize: 6, contextLength: 9 }, prompts, options);
      const chooser = new TokenChooser(plan, 6, prompts, place.device);
      const logits = [1, 3, 2, -3, 9, 0.5, 1, 3, 2, -3, 9, 0.5];
      const process = async (early: boolean) => [
        ...(await chooser.process(make(logits, [2, 6]), early).data()),
      ];
      const x = [1, 2, 2.75, -4.5, -Infinity, 0.5, 1, 3, 2 / 1.5 + 0.75, -3, -Infinity, 0.5];
      const close = (got: number[], wanted: number[]) => expect(difference(got, wanted)).toBeLessThan(1e-6);
      close(await process(false), x);
      const early = x.map((v, i) => (i % 6 === 0 ? -Infinity : v));
      close(await process(true), early);
      // What is chosen counts from then on; rows change places with what they have seen.
      chooser.note(tensor([[5], [1]], { device: place.device, dtype: 'int32' }));
      close(
        await process(false),
        x.map((v, i) => (i === 5 ? 0.5 / 1.5 : i === 7 ? 2 : v)),
      );
      chooser.reorder(tensor([0, 0], { device: place.device, dtype: 'int32' }));
      const first = x.slice(0, 5).concat(0.5 / 1.5);
      close(await process(false), [...first, ...first]);
      chooser.release();
    });

    it('draws with the probabilities of the plain implementation', async () => {
      const row = [1, 0.2, -0.5, 2, 0, 1.5, -3, 0.9];
      const bias = { 1: 0.5, 5: -Infinity };
      const biased = row.map((v, i) => v + (i === 1 ? 0.5 : i === 5 ? -Infinity : 0));
      const rows = 1500;
      for (const options of [
        {},
        { temperature: 0.7 },
        { topK: 4 },
        { topP: 0.8 },
        { minP: 0.15, temperature: 1.5 },
      ] as GenerateOptions[]) {
        const prompts = [[0]];
        const all = { ...options, logitBias: bias, seed: 7 };
        const plan = planGeneration({ vocabSize: 8, contextLength: 9 }, prompts, all);
        const chooser = new TokenChooser(plan, 8, prompts, place.device);
        const logits = make(Array.from({ length: rows }, () => row).flat(), [rows, 8]);
        const tokens = await scope(() => chooser.choose(logits, false)).data();
        const counts = new Array<number>(8).fill(0);
        for (const token of tokens) counts[token]++;
        const probabilities = plainSoftmax(plainFilter(biased, options));
        let chiSquare = 0;
        let kinds = 0;
        probabilities.forEach((p, i) => {
          if (p === 0) return expect(counts[i]).toBe(0);
          kinds++;
          chiSquare += (counts[i] - rows * p) ** 2 / (rows * p);
        });
        // Exceeded by chance once in ten thousand times with 6 degrees of freedom; the seed decides once and for all.
        expect(kinds).toBeGreaterThan(1);
        expect(chiSquare, JSON.stringify(options)).toBeLessThan(27.9);
        chooser.release();
      }
    });
  },
  { gpuKernels: true },
);
