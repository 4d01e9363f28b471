/** Generation against decoding the long way, and what its options promise. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { noGrad } from '../../src/autograd/mode.js';
import { DataError } from '../../src/device/errors.js';
import type { Device } from '../../src/device/types.js';
import { generate } from '../../src/models/generate.js';
import type { GenerateOptions } from '../../src/models/generate-options.js';
import type { GPT2 } from '../../src/models/gpt2.js';
import { KVCache } from '../../src/models/kv-cache.js';
import { cpuDevice } from '../../src/tensor/default-device.js';
import { tensor } from '../../src/tensor/factories.js';
import { scope } from '../../src/tensor/lifetime.js';
import { manualSeed } from '../../src/tensor/random.js';
import { difference, eachDevice } from '../support/each-device.js';
import { collect, greedyTheLongWay, logitsAfter, tinyGPT2 } from './generating.js';

const PROMPTS = [[5, 17, 33, 2, 8], [60], [1, 2, 3]];

function release(model: GPT2): void {
  for (const p of model.parameters()) p.release();
}

eachDevice('generation', (place) => {
  // Weights in float64 do not matter here; the oracle is decoding without a cache.
  if (place.dtype === 'float64') return it.skip('float32 models only', () => {});
  let device: Device;
  let model: GPT2;
  beforeEach(() => {
    device = place.device;
    model = tinyGPT2(device);
  });
  afterEach(() => release(model));

  it('gives the logits of the whole text, read at once, in parts, and token by token', async () => {
    const ids = Array.from({ length: 80 }, (_, i) => (i * 37 + 5) % 61);
    const cache = new KVCache(model.shape, { device });
    let worst = 0;
    for (let at = 0; at < ids.length; ) {
      const T = at === 0 ? 30 : at === 30 ? 10 : 1;
      const logits = noGrad(() =>
        scope(() =>
          model.forward(tensor(Int32Array.from(ids.slice(at, at + T)), { shape: [1, T], device }), { cache }),
        ),
      );
      cache.advance(T);
      at += T;
      const last = (await logits.data()).subarray((T - 1) * 61);
      logits.release();
      if (at % 9 === 3)
        worst = Math.max(worst, difference(last, await logitsAfter(model, device, ids.slice(0, at))));
    }
    expect(cache.length).toBe(80);
    expect(cache.capacity).toBe(128);
    expect(cache.bytes).toBe(2 * 2 * 128 * 32 * 4);
    expect(worst).toBeLessThan(1e-4);
    cache.release();
  });

  it('decodes prompts of different length side by side as each alone without a cache', async () => {
    // Beyond 64 slots, so that the cache grows on the way.
    const got = await collect(model, PROMPTS, { temperature: 0, maxNewTokens: 70 });
    for (const [p, prompt] of PROMPTS.entries()) {
      expect(got[p][0]).toEqual(await greedyTheLongWay(model, device, prompt, 70));
    }
  });

  it('samples the same again from the same seed, and something else from another', async () => {
    const options: GenerateOptions = {
      maxNewTokens: 12,
      seed: 5,
      topP: 0.9,
      temperature: 1.5,
      numSequences: 2,
    };
    const got = await collect(model, PROMPTS, options);
    expect(await collect(model, PROMPTS, options)).toEqual(got);
    expect(await collect(model, PROMPTS, { ...options, seed: 6 })).not.toEqual(got);
    expect(got[0][0]).not.toEqual(got[0][1]);
    // Without a seed the default generator goes on.
    manualSeed(3);
    const [a, b] = [
      await collect(model, [[1]], { maxNewTokens: 12 }),
      await collect(model, [[1]], { maxNewTokens: 12 }),
    ];
    expect(a).not.toEqual(b);
    manualSeed(3);
    expect(await collect(model, [[1]], { maxNewTokens: 12 })).toEqual(a);
  });

  it('is greedy with temperature 0, with top-k 1, with top-p 0 and with min-p 1', async () => {
    const greedy = await collect(model, PROMPTS, { temperature: 0, maxNewTokens: 10 });
    for (const options of [{ topK: 1 }, { topP: 0 }, { minP: 1 }]) {
      expect(await collect(model, PROMPTS, { ...options, maxNewTokens: 10, seed: 1 })).toEqual(greedy);
    }
  });

  it('bans, favours, and holds stops back until there are enough tokens', async () => {
    const prompt = PROMPTS[0];
    const plain = await greedyTheLongWay(model, device, prompt, 12);
    const banned = await collect(model, [prompt], {
      temperature: 0,
      maxNewTokens: 12,
      logitBias: { [plain[3]]: -Infinity },
    });
    expect(banned[0][0]).not.toContain(plain[3]);
    const all = Object.fromEntries(Array.from({ length: 61 }, (_, i) => [i, -Infinity]));
    delete all[42];
    expect(await collect(model, [prompt], { maxNewTokens: 4, logitBias: all, topP: 0.5 })).toEqual([
      [[42, 42, 42, 42]],
    ]);
    const favoured = await collect(model, [prompt], {
      temperature: 0,
      maxNewTokens: 3,
      logitBias: new Map([[7, 1e4]]),
    });
    expect(favoured).toEqual([[[7, 7, 7]]]);

    const stop = plain[4];
    const at = plain.indexOf(stop);
    const stopped = await collect(model, [prompt], { temperature: 0, maxNewTokens: 12, stop });
    expect(stopped[0][0]).toEqual(plain.slice(0, at));
    const later = await collect(model, [prompt], {
      temperature: 0,
      maxNewTokens: 12,
      minNewTokens: at + 2,
      stop: [stop],
    });
    expect(later[0][0].length).toBeGreaterThanOrEqual(at + 2);
    expect(later[0][0].slice(0, at)).toEqual(plain.slice(0, at));
    expect(later[0][0]).not.toContain(stop);
  });

  it('penalises what has occurred, in the prompt and since', async () => {
    const [penalty, count] = [1.7, 15];
    const prompts = PROMPTS.slice(0, 2);
    const got = await collect(model, prompts, {
      temperature: 0,
      maxNewTokens: count,
      repetitionPenalty: penalty,
    });
    for (const [p, prompt] of prompts.entries()) {
      const ids = [...prompt];
      for (let i = 0; i < count; i++) {
        const logits = await logitsAfter(model, device, ids);
        for (const id of new Set(ids))
          logits[id] = logits[id] > 0 ? logits[id] / penalty : logits[id] * penalty;
        ids.push(logits.indexOf(Math.max(...logits)));
      }
      expect(got[p][0]).toEqual(ids.slice(prompt.length));
    }
  });

  it('ends where the context does, and gives all memory back', async () => {
    const before = device.memory().liveBytes;
    const long = Array.from({ length: 150 }, (_, i) => i % 61);
    const [[tokens]] = await collect(model, [long], { temperature: 0, maxNewTokens: 100 });
    // 150 are read, then each of ten more; the last token is not read.
    expect(tokens.length).toBe(11);
    await collect(model, [[1], [2, 3]], { numBeams: 2, maxNewTokens: 5, repetitionPenalty: 1.1 });
    // A loop that is left early.
    for await (const { token } of generate(model, [[1]], { maxNewTokens: 50 })) if (token >= 0) break;
    // Streams of random numbers and constants of a few bytes stay.
    expect(device.memory().liveBytes - before).toBeLessThan(8192);
  });
});

describe('options', () => {
  const device = cpuDevice();
  const model = tinyGPT2(device);
  const run = (options: GenerateOptions, prompts: readonly (readonly number[])[] = [[1]]) =>
    collect(model, prompts, options);

  it.each<[GenerateOptions, string]>([
    [{ temperature: -1 }, 'generate: expected a temperature above 0, got -1'],
    [{ temperature: NaN }, 'generate: expected a temperature above 0, got NaN'],
    [{ topK: -1 }, 'generate: expected topK to be an integer of 0 (all) or more, got -1'],
    [{ topP: 1.5 }, 'generate: expected topP in [0, 1], got 1.5'],
    [{ minP: -0.1 }, 'generate: expected minP in [0, 1], got -0.1'],
    [{ repetitionPenalty: 0 }, 'generate: expected a repetitionPenalty above 0, got 0'],
    [{ maxNewTokens: 1.5 }, 'generate: expected maxNewTokens to be an integer of at least 0, got 1.5'],
    [
      { maxNewTokens: 3, minNewTokens: 4 },
      'generate: expected minNewTokens of at most maxNewTokens 3, got 4',
    ],
    [{ seed: -1 }, 'generate: expected seed to be an integer of at least 0, got -1'],
    [{ stop: 61 }, 'generate: expected each stop to be a token in [0, 61), got 61'],
    [{ stop: ['x'] }, 'generate: expected stops to be ids of tokens (generateText takes strings), got "x"'],
    [{ logitBias: { 61: 1 } }, 'generate: expected each key of logitBias to be a token in [0, 61), got 61'],
    [
      { logitBias: { 3: Infinity } },
      'generate: expected a logitBias that is a number or −Infinity, got Infinity for 3',
    ],
    [{ numBeams: 2, numSequences: 3 }, 'generate: expected numSequences of at most numBeams 2, got 3'],
    [{ numBeams: 31 }, 'generate: expected numBeams of at most half the vocabulary of 61, got 31'],
    [
      { numBeams: 2, topK: 5, temperature: 0.5 },
      'generate: expected nothing that samples beside numBeams, which takes the most probable, got temperature, topK',
    ],
  ])('refuses %o', async (options, message) => {
    await expect(run(options)).rejects.toThrow(new DataError(message));
  });

  it('refuses prompts that are none, or too long', async () => {
    await expect(run({}, [])).rejects.toThrow('generate: expected at least one prompt');
    await expect(run({}, [[1], []])).rejects.toThrow(
      'generate: expected prompt 1 of 1 to 160 tokens, the context of the model, got 0',
    );
    await expect(run({}, [Array(161).fill(1)])).rejects.toThrow('the context of the model, got 161');
    await expect(run({}, [[61]])).rejects.toThrow(
      'generate: expected each token of prompt 0 to be a token in [0, 61), got 61',
    );
    const everything = Object.fromEntries(Array.from({ length: 61 }, (_, i) => [i, -Infinity]));
    await expect(run({ logitBias: everything })).rejects.toThrow(
      'generate: expected at least one token that is not banned, got 61 bans',
    );
  });

  it('sets the model back to training', async () => {
    model.train();
    for await (const { token } of generate(model, [[1]], { maxNewTokens: 3 })) {
      expect(model.training).toBe(false);
      expect(token).toBeGreaterThanOrEqual(0);
    }
    expect(model.training).toBe(true);
    model.eval();
    expect(await run({ maxNewTokens: 0 })).toEqual([[[]]]);
  });
});
