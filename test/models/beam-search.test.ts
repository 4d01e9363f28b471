/** Beam search against all sequences there are, and against a plain search without a cache. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Device } from '../../src/device/types.js';
import type { GenerateOptions } from '../../src/models/generate-options.js';
import type { GPT2 } from '../../src/models/gpt2.js';
import { eachDevice } from '../support/each-device.js';
import { collect, logitsAfter, tinyGPT2 } from './generating.js';

function logSoftmax(x: readonly number[]): number[] {
  const most = Math.max(...x);
  const total = Math.log(x.reduce((sum, v) => sum + Math.exp(v - most), 0)) + most;
  return x.map((v) => v - total);
}

interface Found {
  readonly tokens: number[];
  readonly score: number;
}

/** Every sequence of up to `length` tokens, by its score. */
async function everything(
  model: GPT2,
  device: Device,
  prompt: readonly number[],
  length: number,
  stop: number,
  penalty: number,
): Promise<Found[]> {
  const found: Found[] = [];
  const walk = async (tokens: number[], sum: number): Promise<void> => {
    if (tokens.length === length) {
      found.push({ tokens, score: sum / length ** penalty });
      return;
    }
    const logs = logSoftmax(await logitsAfter(model, device, [...prompt, ...tokens]));
    for (const [token, log] of logs.entries()) {
      if (token === stop) found.push({ tokens, score: (sum + log) / (tokens.length + 1) ** penalty });
      else await walk([...tokens, token], sum + log);
    }
  };
  await walk([], 0);
  return found.sort((a, b) => b.score - a.score);
}

/** K beams by the book, without stops. */
async function plainBeams(
  model: GPT2,
  device: Device,
  prompt: readonly number[],
  length: number,
  K: number,
): Promise<number[][]> {
  let beams = [{ tokens: [] as number[], sum: 0 }];
  for (let i = 0; i < length; i++) {
    const next: typeof beams = [];
    for (const { tokens, sum } of beams) {
      const logs = logSoftmax(await logitsAfter(model, device, [...prompt, ...tokens]));
      logs.forEach((log, token) => {
        next.push({ tokens: [...tokens, token], sum: sum + log });
      });
    }
    beams = next.sort((a, b) => b.sum - a.sum).slice(0, K);
  }
  return beams.map(({ tokens }) => tokens);
}

eachDevice('beam search', (place) => {
  if (place.dtype === 'float64') return it.skip('float32 models only', () => {});
  let device: Device;
  let small: GPT2;
  let model: GPT2;
  beforeAll(() => {
    device = place.device;
    small = tinyGPT2(device, { vocabSize: 6, initializerRange: 0.3, contextLength: 16 });
    model = tinyGPT2(device);
  });
  afterAll(() => {
    for (const m of [small, model]) for (const p of m.parameters()) p.release();
  });

  it('finds the best of all sequences where its beams see them all', async () => {
    const stop = 4;
    for (const lengthPenalty of [0, 1, 2]) {
      const all = await everything(small, device, [1, 2], 3, stop, lengthPenalty);
      const options: GenerateOptions = { numBeams: 3, maxNewTokens: 3, stop, lengthPenalty };
      const [[best]] = await collect(small, [[1, 2]], options);
      // Three beams of six tokens are no guarantee; on this model, which is the same everywhere, they suffice.
      expect(best).toEqual(all[0].tokens);
    }
  });

  it('keeps the beams of a plain search, with prompts of different length and rows that change places', async () => {
    const prompts = [[5, 17, 33, 2, 8], [60], [1, 2, 3]];
    const got = await collect(model, prompts, { numBeams: 3, numSequences: 3, maxNewTokens: 9 });
    for (const [p, prompt] of prompts.entries()) {
      expect(got[p]).toEqual(await plainBeams(model, device, prompt, 9, 3));
    }
  });

  it('heeds bans, and goes on where nearly everything stops', async () => {
    const prompts = [[5, 17]];
    const plain = (await collect(model, prompts, { numBeams: 2, maxNewTokens: 6 }))[0][0];
    const banned = await collect(model, prompts, {
      numBeams: 2,
      maxNewTokens: 6,
      logitBias: { [plain[1]]: -Infinity },
    });
    expect(banned[0][0]).not.toContain(plain[1]);
    const stops = Array.from({ length: 60 }, (_, i) => i);
    // Only token 60 goes on: there is never more than one beam.
    const [[only]] = await collect(model, prompts, {
      numBeams: 4,
      maxNewTokens: 5,
      stop: stops,
      minNewTokens: 5,
    });
    expect(only).toEqual([60, 60, 60, 60, 60]);
    const [[short]] = await collect(model, prompts, { numBeams: 4, maxNewTokens: 5, stop: stops });
    expect(short.every((token) => token === 60)).toBe(true);
  });
});
