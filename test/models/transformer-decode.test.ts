/** Greedy decoding and beams, against all targets that there are. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import '../../src/autograd/methods.js';
import { noGrad } from '../../src/autograd/mode.js';
import { Transformer, type TransformerConfig } from '../../src/models/transformer.js';
import { beamSearch, greedyDecode, type Hypothesis } from '../../src/models/transformer-decode.js';
import * as F from '../../src/nn/functional.js';
import { cpuDevice, setDefaultDevice } from '../../src/tensor/default-device.js';
import { tensor } from '../../src/tensor/factories.js';
import { memory, scope } from '../../src/tensor/lifetime.js';
import { manualSeed } from '../../src/tensor/random.js';
import { Tensor } from '../../src/tensor/tensor.js';
import { eachDevice } from '../support/each-device.js';

const [PAD, START, END] = [0, 1, 2];
const V = 6;
const OPTIONS = { startToken: START, endToken: END };

function tiny(config: Partial<TransformerConfig> = {}): Transformer {
  manualSeed(11);
  const model = new Transformer({
    ...{ sourceVocab: 7, targetVocab: V, dim: 8, heads: 2, innerDim: 12, maxLength: 8 },
    ...{ encoderLayers: 1, decoderLayers: 1, dropout: 0, padToken: PAD, norm: 'pre' },
    ...config,
  });
  // Opinions that differ: as made, all tokens are about as probable.
  noGrad(() => model.head!.weight.copy_(model.head!.weight.mul(6)));
  return model;
}

const SOURCES = [
  [3, 4, 5, 6],
  [6, 3, 0, 0],
  [5, 0, 0, 0],
];
const sources = (rows = SOURCES): Tensor =>
  tensor(Int32Array.from(rows.flat()), { shape: [rows.length, rows[0].length] });

/** log p of every token 0 … V − 1 after each prefix, by running the whole model without a cache. */
async function logProbabilities(
  model: Transformer,
  source: readonly number[],
  prefix: readonly number[],
): Promise<Float32Array> {
  const last = scope(() =>
    noGrad(() => {
      const target = tensor(Int32Array.from([START, ...prefix]), { shape: [1, prefix.length + 1] });
      const logits = model.forward(sources([[...source]]), target);
      return F.logSoftmax(logits.select(0, 0).select(0, prefix.length), -1).contiguous();
    }),
  );
  const values = await last.data();
  last.release();
  return values as Float32Array;
}

/** Every target of up to `maxLength` tokens with its score, the best first. */
async function everything(
  model: Transformer,
  source: readonly number[],
  maxLength: number,
  alpha: number,
): Promise<Hypothesis[]> {
  const found: Hypothesis[] = [];
  const walk = async (tokens: number[], before: number): Promise<void> => {
    const values = await logProbabilities(model, source, tokens);
    const n = tokens.length + 1;
    const penalty = ((5 + n) / 6) ** alpha;
    for (let token = 0; token < V; token++) {
      if (token === PAD || token === START) continue;
      const logProbability = before + values[token];
      const ended = token === END;
      const next = ended ? tokens : [...tokens, token];
      if (ended || n === maxLength) {
        found.push({
          tokens: Int32Array.from(next),
          logProbability,
          score: logProbability / penalty,
          ended,
        });
      } else await walk(next, logProbability);
    }
  };
  await walk([], 0);
  return found.sort((a, b) => b.score - a.score);
}

function expectSame(actual: readonly Hypothesis[], expected: readonly Hypothesis[]): void {
  expect(actual.map((h) => [...h.tokens])).toEqual(expected.map((h) => [...h.tokens]));
  actual.forEach((h, i) => {
    expect(h.ended).toBe(expected[i].ended);
    expect(h.score).toBeCloseTo(expected[i].score, 4);
    expect(h.logProbability).toBeCloseTo(expected[i].logProbability, 4);
  });
}

eachDevice('decoding', (place) => {
  if (place.dtype === 'float64') {
    it('is tested in float32', () => {});
    return;
  }

  it('greedily takes the most probable token each time', async () => {
    setDefaultDevice(place.device);
    const model = tiny();
    const written = await greedyDecode(model, sources(), { ...OPTIONS, maxLength: 6 });
    for (const [b, source] of SOURCES.entries()) {
      const expected: number[] = [];
      while (expected.length < 6) {
        const values = await logProbabilities(model, source, expected);
        values[PAD] = values[START] = -Infinity;
        const best = values.indexOf(Math.max(...values));
        if (best === END) break;
        expected.push(best);
      }
      expect([...written[b]]).toEqual(expected);
    }
  });

  it('with a beam as wide as everything finds the best of all targets', async () => {
    setDefaultDevice(place.device);
    const model = tiny();
    // 3 tokens that do not end, up to 3 of them: at most 27 beginnings.
    const found = await beamSearch(model, sources(), { ...OPTIONS, maxLength: 4, beams: 27 });
    for (const [b, source] of SOURCES.entries()) {
      const all = await everything(model, source, 4, 0.6);
      expect(all.length).toBe(1 + 3 + 9 + 27 + 81);
      expectSame(found[b], all.slice(0, 27));
    }
  });
});

describe('beams', () => {
  let model: Transformer;
  beforeEach(() => {
    setDefaultDevice(cpuDevice());
    model = tiny();
  });

  it.each([-1, 0, 2.5])('find the best of all targets with a length penalty of %d', async (alpha) => {
    const options = { ...OPTIONS, maxLength: 4, beams: 40, lengthPenalty: alpha };
    const [found] = await beamSearch(model, sources([SOURCES[0]]), options);
    expectSame(found, (await everything(model, SOURCES[0], 4, alpha)).slice(0, 40));
  });

  it('of one are greedy', async () => {
    const greedy = await greedyDecode(model, sources(), OPTIONS);
    const beams = await beamSearch(model, sources(), { ...OPTIONS, beams: 1, lengthPenalty: 0 });
    // A beam may find an end on the way that is better than the greedy target's, but never loses the latter.
    beams.forEach(([best], b) => {
      if (best.tokens.length === greedy[b].length) expect(best.tokens).toEqual(greedy[b]);
      else expect(best.tokens.length).toBeLessThan(greedy[b].length);
    });
  });

  it('find no worse a target when they are wider', async () => {
    let last = SOURCES.map(() => -Infinity);
    for (const beams of [1, 2, 8, 27]) {
      const found = await beamSearch(model, sources(), { ...OPTIONS, maxLength: 5, beams });
      const best = found.map(([h]) => h.score);
      best.forEach((score, b) => {
        expect(score).toBeGreaterThanOrEqual(last[b] - 1e-5);
      });
      last = best;
    }
  });

  it('do not depend on company', async () => {
    const together = await beamSearch(model, sources(), { ...OPTIONS, beams: 3 });
    for (const [b, source] of SOURCES.entries()) {
      const [alone] = await beamSearch(model, sources([source.filter((id) => id !== PAD)]), {
        ...OPTIONS,
        beams: 3,
      });
      expectSame(together[b], alone);
    }
  });

  it('come sorted, at most as many as asked for, and cut at maxLength', async () => {
    const [found] = await beamSearch(model, sources([SOURCES[0]]), { ...OPTIONS, maxLength: 2, beams: 5 });
    expect(found).toHaveLength(5);
    expect(found.map((h) => h.score)).toEqual(found.map((h) => h.score).sort((a, b) => b - a));
    for (const h of found) {
      expect(h.tokens.length).toBe(h.ended ? Math.min(h.tokens.length, 1) : 2);
      expect([...h.tokens].every((id) => id > END)).toBe(true);
    }
  });
});

describe('decoding', () => {
  const { data } = Tensor.prototype;
  beforeEach(() => {
    setDefaultDevice(cpuDevice());
  });
  afterEach(() => {
    Tensor.prototype.data = data;
  });

  it('leaves nothing behind, and the model as it was', async () => {
    const model = tiny().train();
    const source = sources();
    const before = memory.liveTensors;
    await greedyDecode(model, source, OPTIONS);
    await beamSearch(model, source, { ...OPTIONS, beams: 3 });
    expect(memory.liveTensors).toBe(before);
    expect(model.training).toBe(true);
    expect(await source.data()).toEqual(Int32Array.from(SOURCES.flat()));
  });

  it('waits for the device once per token', async () => {
    const model = tiny();
    let reads = 0;
    let waits = 0;
    let underWay = 0;
    Tensor.prototype.data = async function (this: Tensor) {
      reads++;
      if (underWay++ === 0) waits++;
      try {
        return await data.call(this);
      } finally {
        underWay--;
      }
    } as typeof data;
    const [tokens] = await greedyDecode(model, sources([SOURCES[0]]), { ...OPTIONS, maxLength: 5 });
    expect(reads).toBe(Math.min(tokens.length + 1, 5));
    waits = 0;
    await beamSearch(model, sources(), { ...OPTIONS, maxLength: 5 });
    expect(waits).toBeLessThanOrEqual(5);
  });

  it('says what is wrong', async () => {
    const model = tiny();
    const source = sources();
    await expect(greedyDecode(model, source, { startToken: 6, endToken: END })).rejects.toThrow(
      'decoding: expected startToken in [0, 6), got 6',
    );
    await expect(greedyDecode(model, source, { startToken: 1, endToken: -1 })).rejects.toThrow(
      'decoding: expected endToken in [0, 6), got -1',
    );
    await expect(greedyDecode(model, source, { ...OPTIONS, maxLength: 9 })).rejects.toThrow(
      "decoding: expected maxLength from 1 to the model's 8, got 9; make the model with a larger maxLength",
    );
    await expect(beamSearch(model, source, { ...OPTIONS, beams: 0 })).rejects.toThrow(
      'beamSearch: expected beams to be a positive integer, got 0',
    );
    await expect(beamSearch(model, source, { ...OPTIONS, lengthPenalty: Infinity })).rejects.toThrow(
      'beamSearch: expected a finite lengthPenalty, got Infinity',
    );
  });
});
