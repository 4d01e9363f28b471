/** GPT-2 in Hugging Face's layout: what is read, what is refused and by what name, and what a round trip keeps. */
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import '../../src/autograd/methods.js';
import { rand } from '../../src/autograd/ops/random.js';
import type { SafetensorsEntry } from '../../src/data/safetensors.js';
import { readSafetensorsFile, writeSafetensorsFile } from '../../src/data/safetensors-file.js';
import { safetensorsEntry, toFloat32 } from '../../src/data/safetensors-values.js';
import { GPT2Tokenizer } from '../../src/data/tokenizer.js';
import { CharVocabulary } from '../../src/data/vocabulary.js';
import { DataError } from '../../src/device/errors.js';
import { GPT2 } from '../../src/models/gpt2.js';
import { gpt2Config } from '../../src/models/gpt2-config.js';
import { loadGPT2, saveGPT2 } from '../../src/models/gpt2-weights.js';
import { cpuDevice } from '../../src/tensor/default-device.js';
import { manualSeed } from '../../src/tensor/random.js';

const GOLDEN = fileURLToPath(new URL('../golden/gpt2', import.meta.url));
const device = cpuDevice();
let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'dawngrad-gpt2-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

type Tensors = Map<string, SafetensorsEntry>;
const tensorsOf = async (path: string): Promise<Tensors> =>
  (await readSafetensorsFile(join(path, 'model.safetensors'))).tensors;
const load = (path = folder) => GPT2.fromPretrained(path, { device });

/** The folder of a golden model with its tensors changed. */
async function changed(edit: (tensors: Tensors) => void, name = 'two-layers'): Promise<void> {
  const tensors = await tensorsOf(join(GOLDEN, name));
  edit(tensors);
  await cp(join(GOLDEN, name, 'config.json'), join(folder, 'config.json'));
  await writeSafetensorsFile(join(folder, 'model.safetensors'), tensors);
}

async function settings(edit: Record<string, unknown>): Promise<void> {
  await cp(join(GOLDEN, 'two-layers'), folder, { recursive: true });
  const json = JSON.parse(await readFile(join(folder, 'config.json'), 'utf8'));
  await writeFile(join(folder, 'config.json'), JSON.stringify({ ...json, ...edit }));
}

async function valuesOf(model: GPT2): Promise<Map<string, ArrayLike<number>>> {
  const values = new Map<string, ArrayLike<number>>();
  for (const [name, t] of model.stateDict()) values.set(name, await t.data());
  return values;
}

/** The same type, shape and bytes. */
function expectSame(key: string, actual: SafetensorsEntry | undefined, expected: SafetensorsEntry): void {
  expect({ ...actual, data: null }, key).toEqual({ ...expected, data: null });
  expect(Buffer.compare(actual!.data, expected.data), key).toBe(0);
}

/** The refusal's text without the folder. */
async function refusal(made: Promise<unknown>): Promise<string> {
  const error = await made.then(() => null).catch((e) => e);
  expect(error).toBeInstanceOf(DataError);
  return error.message.replaceAll(folder, 'FOLDER');
}

describe('round trips', () => {
  for (const [name, prefix] of [
    ['two-layers', ''],
    ['three-layers', 'transformer.'],
    ['wide-epsilon', ''],
  ]) {
    it(`gives the tensors of ${name} back, bit for bit`, async () => {
      const path = join(GOLDEN, name);
      const model = await load(path);
      const before = await tensorsOf(path);
      const [{ dtype }] = before.values();
      await model.savePretrained(folder, { dtype: dtype as 'F32' });
      const after = await tensorsOf(folder);
      expect(after.size).toBe(before.size);
      for (const [key, entry] of before) expectSame(key, after.get(prefix + key), entry);
      const again = await load();
      expect(again.config).toEqual(model.config);
    });
  }

  it('keeps every bit of float16 weights, special values included', async () => {
    await changed((tensors) => {
      const bias = tensors.get('h.0.mlp.c_fc.bias')!;
      new Uint16Array(bias.data.buffer, bias.data.byteOffset, 5).set([
        0x7c00, 0xfc00, 0x0001, 0x8000, 0x7bff,
      ]);
    }, 'three-layers');
    const model = await GPT2.fromPretrained(folder, { device, dtype: 'float16' });
    expect(model.transformer.wte.weight.dtype).toBe('float16');
    const before = await tensorsOf(folder);
    await model.savePretrained(folder);
    const after = await tensorsOf(folder);
    for (const [key, entry] of before) expectSame(key, after.get(`transformer.${key}`), entry);
  });

  it('splits into parts with an index, and leaves no part of another save behind', async () => {
    const model = await load(join(GOLDEN, 'two-layers'));
    await model.savePretrained(folder);
    await model.savePretrained(folder, { maxShardBytes: 10_000 });
    const files = (await readdir(folder)).sort();
    expect(files).toEqual([
      'config.json',
      'model-00001-of-00004.safetensors',
      'model-00002-of-00004.safetensors',
      'model-00003-of-00004.safetensors',
      'model-00004-of-00004.safetensors',
      'model.safetensors.index.json',
    ]);
    const index = JSON.parse(await readFile(join(folder, 'model.safetensors.index.json'), 'utf8'));
    expect(index.metadata.total_size).toBe(4 * model.numParameters());
    expect(Object.keys(index.weight_map)).toHaveLength(28);
    expect(await valuesOf(await load())).toEqual(await valuesOf(model));

    await rm(join(folder, 'model-00002-of-00004.safetensors'));
    expect(await refusal(load())).toBe(
      'FOLDER: expected model-00002-of-00004.safetensors, which the index names, got none',
    );
    await model.savePretrained(folder);
    expect((await readdir(folder)).sort()).toEqual(['config.json', 'model.safetensors']);
  });

  it('reads names with and without prefix, any float type, and leaves masks out', async () => {
    const plain = await valuesOf(await load(join(GOLDEN, 'two-layers')));
    await changed((tensors) => {
      for (const [key, entry] of [...tensors]) {
        tensors.delete(key);
        tensors.set(
          key.replace('transformer.', ''),
          safetensorsEntry(Float64Array.from(toFloat32(entry)), entry.shape),
        );
      }
      tensors.set('h.0.attn.bias', safetensorsEntry(new Uint8Array(16), [1, 1, 4, 4], 'BOOL'));
      tensors.set('h.1.attn.masked_bias', safetensorsEntry(Float32Array.of(-1e4), []));
    });
    expect(await valuesOf(await load())).toEqual(plain);
  });

  it('takes the tied head under either name', async () => {
    const plain = await valuesOf(await load(join(GOLDEN, 'two-layers')));
    await changed((tensors) => tensors.set('lm_head.weight', tensors.get('transformer.wte.weight')!));
    expect(await valuesOf(await load())).toEqual(plain);
    await changed((tensors) => {
      tensors.set('lm_head.weight', tensors.get('transformer.wte.weight')!);
      tensors.delete('transformer.wte.weight');
    });
    expect(await valuesOf(await load())).toEqual(plain);
  });
});

describe('refusals', () => {
  it('names missing, unexpected and wrongly shaped tensors', async () => {
    await changed((tensors) => {
      tensors.delete('transformer.h.1.ln_2.bias');
      tensors.set('score.weight', safetensorsEntry(new Float32Array(4)));
      tensors.set('transformer.wpe.weight', safetensorsEntry(new Float32Array(16), [1, 16]));
      tensors.set('transformer.ln_f.bias', safetensorsEntry(new Int32Array(16)));
    });
    expect(await refusal(load())).toBe(
      'FOLDER: expected the tensors of the GPT-2 of config.json, got others\n' +
        '  missing: h.1.ln_2.bias\n' +
        '  unexpected: score.weight\n' +
        '  mis-shaped: transformer.wpe.weight, expected [24, 16], got [1, 16]\n' +
        '  of a type: transformer.ln_f.bias, expected F32, F16, BF16, F64, got I32',
    );
  });

  it('names a head of its own', async () => {
    await changed((tensors) => {
      const { shape, data } = tensors.get('transformer.wte.weight')!;
      const other = data.slice();
      other[other.length - 1] ^= 1;
      tensors.set('lm_head.weight', { dtype: 'F32', shape, data: other });
    });
    expect(await refusal(load())).toBe(
      "model.safetensors: expected lm_head.weight to be transformer.wte.weight, whose weight GPT-2's head shares, " +
        'got other values; heads of their own are not supported',
    );
  });

  it('names settings that it does not compute', async () => {
    await settings({
      model_type: 'gpt_neo',
      activation_function: 'relu',
      scale_attn_by_inverse_layer_idx: true,
      reorder_and_upcast_attn: true,
      add_cross_attention: true,
      tie_word_embeddings: false,
      scale_attn_weights: false,
      n_layer: 0,
    });
    const text = await refusal(load());
    for (const name of [
      'model_type: expected "gpt2", got "gpt_neo"',
      'activation_function: expected "gelu_new" or "gelu_pytorch_tanh", got "relu"',
      'scale_attn_by_inverse_layer_idx: expected false, got true',
      'reorder_and_upcast_attn: expected false, got true',
      'add_cross_attention: expected false, got true',
      'tie_word_embeddings: expected true, got false',
      'scale_attn_weights: expected true, got false',
      'n_layer: ',
    ]) {
      expect(text).toContain(`\n  ${name}`);
    }
    await settings({ n_layer: 3e8 });
    expect(await refusal(load())).toMatch(/\n {2}n_layer: .*10000/);
    await settings({ n_head: 5 });
    await expect(load()).rejects.toThrow('GPT2: expected heads that divide dim 16, got 5');
  });

  it('names files that are not there or are no such files', async () => {
    expect(await refusal(load())).toBe('FOLDER: expected config.json, got none');
    await cp(join(GOLDEN, 'two-layers/config.json'), join(folder, 'config.json'));
    expect(await refusal(load())).toContain(
      'FOLDER: expected model.safetensors or model.safetensors.index.json, got neither; pytorch_model.bin is not read',
    );
    await writeFile(join(folder, 'model.safetensors'), 'not a tensor in sight');
    expect(await refusal(load())).toContain('FOLDER/model.safetensors: the header length');
    await writeFile(join(folder, 'config.json'), '{');
    expect(await refusal(load())).toContain('FOLDER/config.json: expected JSON, got:');
    expect(await refusal(load(join(folder, 'nowhere')))).toBe(
      "GPT2: expected a folder or a name on the Hub like openai-community/gpt2, got 'FOLDER/nowhere', which is neither",
    );
  });

  it('does not save what is no GPT-2', async () => {
    const model = await load(join(GOLDEN, 'two-layers'));
    Object.assign(model.transformer, { extra: (await load(join(GOLDEN, 'two-layers'))).transformer.ln_f });
    expect(await refusal(saveGPT2(folder, model))).toContain('transformer.extra.weight');
    expect(await readdir(folder)).toEqual([]);
  });
});

describe('tokenizers', () => {
  const config = gpt2Config('nano', { layers: 1, heads: 2, dim: 8, vocabSize: 300, contextLength: 16 });
  const make = (vocabSize = 300): GPT2 => {
    manualSeed(3);
    return new GPT2({ ...config, vocabSize }, { device });
  };

  it('come back with the model', async () => {
    for (const tokenizer of [new GPT2Tokenizer({ size: 300 }), CharVocabulary.fromText('hello world')]) {
      await saveGPT2(folder, make(), tokenizer);
      const loaded = await loadGPT2(folder, { device });
      expect(JSON.stringify(loaded.tokenizer)).toBe(JSON.stringify(tokenizer));
      expect(loaded.fileDType).toBe('F32');
      expect(await valuesOf(loaded.model)).toEqual(await valuesOf(make()));
      const json = JSON.parse(await readFile(join(folder, 'config.json'), 'utf8'));
      expect(json.eos_token_id).toBe(tokenizer.endOfText);
    }
    await saveGPT2(folder, make(50_257), new GPT2Tokenizer());
    expect(await readdir(folder)).not.toContain('tokenizer.json');
    expect((await loadGPT2(folder, { device })).tokenizer.size).toBe(50_257);
  });

  it('are refused where they do not suit the model', async () => {
    await saveGPT2(folder, make(), undefined);
    expect(await refusal(loadGPT2(folder, { device }))).toBe(
      "FOLDER: expected tokenizer.json beside a model of 300 tokens, which is not GPT-2's vocabulary of 50257; " +
        'save it with saveGPT2(folder, model, tokenizer)',
    );
    await saveGPT2(folder, make(), new GPT2Tokenizer({ size: 301 }));
    expect(await refusal(loadGPT2(folder, { device }))).toBe(
      'FOLDER: expected a tokenizer of at most vocab_size 300 ids, got one of 301',
    );
    await saveGPT2(folder, make(50_257));
    await writeFile(join(folder, 'vocab.json'), JSON.stringify({ '!': 0, '?': 1 }));
    expect(await refusal(loadGPT2(folder, { device }))).toBe(
      'FOLDER/vocab.json: expected GPT-2\'s vocabulary, got another one: token 1 is "?", GPT-2\'s is "\\""',
    );
    await rm(join(folder, 'vocab.json'));
    await writeFile(
      join(folder, 'tokenizer.json'),
      JSON.stringify({ version: '1.0', model: { vocab: { '!': 0 } } }),
    );
    expect(await refusal(loadGPT2(folder, { device }))).toBe(
      "FOLDER/tokenizer.json: expected GPT-2's vocabulary, got another one: 1 tokens, GPT-2 has 50257",
    );
  });
});

it('reports progress and sets dropout', async () => {
  const reports: number[] = [];
  const model = await GPT2.fromPretrained(join(GOLDEN, 'two-layers'), {
    device,
    dropout: 0.25,
    onProgress: ({ kind, file, bytes, total }) => {
      expect([kind, file, total]).toEqual(['load', 'model.safetensors', 4 * 8528]);
      reports.push(bytes);
    },
  });
  expect(model.numParameters()).toBe(8528);
  expect(reports).toEqual([...reports].sort((a, b) => a - b));
  expect(reports.at(-1)).toBe(4 * 8528);
  expect(model.config).toMatchObject({
    embeddingDropout: 0.25,
    attentionDropout: 0.25,
    residualDropout: 0.25,
  });
});

it('draws no random numbers for weights that it reads', async () => {
  const next = async (): Promise<number> => rand([], { device }).item();
  manualSeed(5);
  const expected = await next();
  manualSeed(5);
  await load(join(GOLDEN, 'two-layers'));
  expect(await next()).toBe(expected);
});

it('keeps less than twice the largest tensor in host memory', async () => {
  // The token embedding is 47 MiB of 68.
  const config = gpt2Config('nano', {
    layers: 1,
    heads: 4,
    dim: 256,
    vocabSize: 48_000,
    contextLength: 1024,
  });
  await new GPT2(config, { device, initialize: false }).savePretrained(folder);
  const before = process.memoryUsage().arrayBuffers;
  let peak = 0;
  let reports = 0;
  const model = await GPT2.fromPretrained(folder, {
    device,
    onProgress: () => {
      reports++;
      peak = Math.max(peak, process.memoryUsage().arrayBuffers - before);
    },
  });
  const largest = 4 * 48_000 * 256;
  expect(model.transformer.wte.weight.numel * 4).toBe(largest);
  expect(reports).toBeGreaterThan(20);
  expect(peak).toBeLessThan(2 * largest);
});
