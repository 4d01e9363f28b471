/** What the tests of generation share: tiny models, and decoding the long way. */
import '../../src/autograd/methods.js';
import { noGrad } from '../../src/autograd/mode.js';
import type { Device } from '../../src/device/types.js';
import { generate } from '../../src/models/generate.js';
import type { GenerateOptions } from '../../src/models/generate-options.js';
import { GPT2 } from '../../src/models/gpt2.js';
import { type GPT2Config, gpt2Config } from '../../src/models/gpt2-config.js';
import { tensor } from '../../src/tensor/factories.js';
import { scope } from '../../src/tensor/lifetime.js';
import { manualSeed } from '../../src/tensor/random.js';

/** A model of random weights, large enough to have opinions. */
export function tinyGPT2(device: Device, changes: Partial<GPT2Config> = {}): GPT2 {
  manualSeed(11);
  const config = gpt2Config('nano', {
    vocabSize: 61,
    layers: 2,
    heads: 2,
    dim: 32,
    contextLength: 160,
    initializerRange: 0.4,
    ...changes,
  });
  return new GPT2(config, { device }).eval() as GPT2;
}

/** Logits after all of `ids`, without any cache. */
export async function logitsAfter(model: GPT2, device: Device, ids: readonly number[]): Promise<number[]> {
  const V = model.shape.vocabSize;
  const logits = noGrad(() =>
    scope(() => model.forward(tensor(Int32Array.from(ids), { shape: [1, ids.length], device }))),
  );
  const data = await logits.data();
  logits.release();
  return Array.from(data.subarray((ids.length - 1) * V));
}

/** The place of the largest. */
export function argmaxOf(values: readonly number[]): number {
  return values.indexOf(Math.max(...values));
}

/** Greedy decoding, every token from all before it. */
export async function greedyTheLongWay(
  model: GPT2,
  device: Device,
  prompt: readonly number[],
  count: number,
): Promise<number[]> {
  const ids = [...prompt];
  for (let i = 0; i < count; i++) ids.push(argmaxOf(await logitsAfter(model, device, ids)));
  return ids.slice(prompt.length);
}

/** All tokens, by prompt and sequence. */
export async function collect(
  model: GPT2,
  prompts: readonly (readonly number[])[],
  options: GenerateOptions,
): Promise<number[][][]> {
  const all = prompts.map(() => Array.from({ length: options.numSequences ?? 1 }, (): number[] => []));
  for await (const { prompt, sequence, token } of generate(model, prompts, options)) {
    all[prompt][sequence].push(token);
  }
  return all;
}
