import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import '../../src/autograd/methods.js';
import type { SafetensorsEntry } from '../../src/data/safetensors.js';
import { readSafetensorsFile, writeSafetensorsFile } from '../../src/data/safetensors-file.js';
import { safetensorsEntry } from '../../src/data/safetensors-values.js';
import { DataError } from '../../src/device/errors.js';
import { GPT2 } from '../../src/models/gpt2.js';
import { gpt2Config } from '../../src/models/gpt2-config.js';
import {
  applyLora,
  init,
  Linear,
  loraModules,
  loraStateDict,
  Module,
  mergeLora,
  quantizeModel,
} from '../../src/nn/index.js';
import { tensor } from '../../src/tensor/factories.js';
import { manualSeed } from '../../src/tensor/random.js';
import { loadAdapter, readAdapterConfig, saveAdapter } from '../../src/train/adapter.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'dawngrad-'));
});
afterEach(() => rm(folder, { recursive: true }));

function makeModel(): GPT2 {
  manualSeed(1);
  return new GPT2(gpt2Config('nano', { vocabSize: 32, layers: 2, dim: 16, contextLength: 16 }));
}

/** Adapters with values that change something. */
function stir(model: Module): void {
  manualSeed(2);
  for (const layer of loraModules(model).values()) init.normal_(layer.lora_B.weight);
}

const ids = () => tensor([1, 5, 2, 7], { shape: [1, 4], dtype: 'int32' });
const outputs = async (model: GPT2) => [...(await model.forward(ids()).data())];

/** What PEFT 0.17 writes for GPT-2 with its defaults, by hand. */
const PEFT = {
  alpha_pattern: {},
  auto_mapping: null,
  base_model_name_or_path: 'openai-community/gpt2',
  bias: 'none',
  corda_config: null,
  eva_config: null,
  exclude_modules: null,
  fan_in_fan_out: true,
  inference_mode: true,
  init_lora_weights: true,
  layer_replication: null,
  layers_pattern: null,
  layers_to_transform: null,
  loftq_config: {},
  lora_alpha: 4,
  lora_bias: false,
  lora_dropout: 0.05,
  megatron_config: null,
  megatron_core: 'megatron.core',
  modules_to_save: null,
  peft_type: 'LORA',
  qalora_group_size: 16,
  r: 2,
  rank_pattern: {},
  revision: null,
  target_modules: ['c_attn'],
  target_parameters: null,
  task_type: 'CAUSAL_LM',
  trainable_token_indices: null,
  use_dora: false,
  use_qalora: false,
  use_rslora: false,
};

const ramp = (count: number, step: number) =>
  Float32Array.from({ length: count }, (_, i) => Math.sin(i * step));

/** The tensors of such an adapter for `makeModel()`; `name` is what PEFT puts after lora_A in files of its own state. */
function peftTensors(name = ''): Map<string, SafetensorsEntry> {
  const out = new Map<string, SafetensorsEntry>();
  for (const h of [0, 1]) {
    const at = `base_model.model.transformer.h.${h}.attn.c_attn.`;
    out.set(`${at}lora_A${name}.weight`, safetensorsEntry(ramp(32, 1 + h), [2, 16], 'F32'));
    out.set(`${at}lora_B${name}.weight`, safetensorsEntry(ramp(96, 3 + h), [48, 2], 'F32'));
  }
  return out;
}

async function writePeft(changes: object = {}, tensors = peftTensors()): Promise<void> {
  await writeFile(join(folder, 'adapter_config.json'), JSON.stringify({ ...PEFT, ...changes }));
  await writeSafetensorsFile(join(folder, 'adapter_model.safetensors'), tensors, { format: 'pt' });
}

describe('saveAdapter and loadAdapter', () => {
  it('give the same model back', async () => {
    const model = makeModel();
    const config = { rank: 3, alpha: 9, dropout: 0.1, targets: ['c_attn', 'c_fc'] };
    applyLora(model, config);
    stir(model);
    model.eval();
    const wanted = await outputs(model);
    await saveAdapter(join(folder, 'new', 'adapter'), model, { ...config, base: 'runs/base' });
    const other = makeModel();
    other.eval();
    const before = await outputs(other);
    const loaded = await loadAdapter(join(folder, 'new', 'adapter'), other);
    expect(await outputs(other)).toEqual(wanted);
    expect(wanted).not.toEqual(before);
    expect(loaded.config).toEqual({ ...config, rankStabilized: false, base: 'runs/base' });
    expect(loaded.modules.size).toBe(4);
    expect(loaded.trainable).toBe(other.numParameters({ trainable: true }));
    // Again, into the adapters that are there now.
    for (const layer of loraModules(other).values()) init.zeros_(layer.lora_B.weight);
    expect(await outputs(other)).toEqual(before);
    await loadAdapter(join(folder, 'new', 'adapter'), other);
    expect(await outputs(other)).toEqual(wanted);
  });

  it('write what PEFT would', async () => {
    const model = makeModel();
    applyLora(model, { rank: 2, alpha: 4, targets: ['attn.c_attn', 'c_fc'] });
    await saveAdapter(folder, model, { base: 'openai-community/gpt2' });
    expect((await readdir(folder)).sort()).toEqual(['adapter_config.json', 'adapter_model.safetensors']);
    const { tensors, metadata } = await readSafetensorsFile(join(folder, 'adapter_model.safetensors'));
    expect(metadata).toEqual({ format: 'pt' });
    expect(
      Object.fromEntries([...tensors].map(([name, { shape, dtype }]) => [name, [dtype, ...shape]])),
    ).toEqual({
      'base_model.model.transformer.h.0.attn.c_attn.lora_A.weight': ['F32', 2, 16],
      'base_model.model.transformer.h.0.attn.c_attn.lora_B.weight': ['F32', 48, 2],
      'base_model.model.transformer.h.0.mlp.c_fc.lora_A.weight': ['F32', 2, 16],
      'base_model.model.transformer.h.0.mlp.c_fc.lora_B.weight': ['F32', 64, 2],
      'base_model.model.transformer.h.1.attn.c_attn.lora_A.weight': ['F32', 2, 16],
      'base_model.model.transformer.h.1.attn.c_attn.lora_B.weight': ['F32', 48, 2],
      'base_model.model.transformer.h.1.mlp.c_fc.lora_A.weight': ['F32', 2, 16],
      'base_model.model.transformer.h.1.mlp.c_fc.lora_B.weight': ['F32', 64, 2],
    });
    const config = JSON.parse(await readFile(join(folder, 'adapter_config.json'), 'utf8'));
    expect(config).toEqual({
      auto_mapping: null,
      base_model_name_or_path: 'openai-community/gpt2',
      bias: 'none',
      fan_in_fan_out: true,
      inference_mode: true,
      init_lora_weights: true,
      layers_pattern: null,
      layers_to_transform: null,
      lora_alpha: 4,
      lora_dropout: 0,
      modules_to_save: null,
      peft_type: 'LORA',
      r: 2,
      revision: null,
      target_modules: ['c_attn', 'c_fc'],
      task_type: 'CAUSAL_LM',
      use_rslora: false,
    });
  });

  it('name whole modules where the ends of their names would mean others, too', async () => {
    const model = makeModel();
    applyLora(model, { rank: 2, targets: ['mlp.c_proj'] });
    await saveAdapter(folder, model);
    expect((await readAdapterConfig(folder)).targets).toEqual([
      'transformer.h.0.mlp.c_proj',
      'transformer.h.1.mlp.c_proj',
    ]);
    await saveAdapter(folder, model, { targets: /.*mlp\.c_proj/ });
    const other = makeModel();
    await loadAdapter(folder, other);
    expect([...loraModules(other).keys()]).toEqual([...loraModules(model).keys()]);
    class Plain extends Module {
      readonly layer = new Linear(2, 2);
    }
    const plain = new Plain();
    applyLora(plain, { rank: 1 });
    await saveAdapter(folder, plain);
    const config = JSON.parse(await readFile(join(folder, 'adapter_config.json'), 'utf8'));
    expect([config.fan_in_fan_out, config.base_model_name_or_path, config.target_modules]).toEqual([
      false,
      null,
      ['layer'],
    ]);
  });

  it('sit on quantised bases as well', async () => {
    const model = makeModel();
    await quantizeModel(model, { scheme: 'int8', block: 16 });
    applyLora(model, { rank: 2, targets: ['c_attn'] });
    stir(model);
    const wanted = await outputs(model);
    await saveAdapter(folder, model);
    const other = makeModel();
    await quantizeModel(other, { scheme: 'int8', block: 16 });
    await loadAdapter(folder, other);
    expect(await outputs(other)).toEqual(wanted);
    const float = makeModel();
    await loadAdapter(folder, float);
    const close = await outputs(float);
    wanted.forEach((v, i) => expect(Math.abs(v - close[i])).toBeLessThan(0.05));
  });

  it.each([
    ['', 'as PEFT saves it'],
    ['.default', 'with the name of the adapter'],
  ])("reads PEFT's files%s, %s", async (name) => {
    await writePeft({}, peftTensors(name));
    const model = makeModel();
    const { config } = await loadAdapter(folder, model);
    expect(config).toEqual({
      rank: 2,
      alpha: 4,
      dropout: 0.05,
      rankStabilized: false,
      targets: ['c_attn'],
      base: 'openai-community/gpt2',
    });
    const state = loraStateDict(model);
    expect(await state.get('transformer.h.1.attn.c_attn.lora_B.weight')!.data()).toEqual(ramp(96, 4));
    expect(await state.get('transformer.h.0.attn.c_attn.lora_A.weight')!.data()).toEqual(ramp(32, 1));
    expect(model.namedParameters().every(([n, p]) => p.requiresGrad === n.includes('lora_'))).toBe(true);
  });

  it.each([
    [{ peft_type: 'IA3' }, 'peft_type to be \'LORA\', got "IA3"'],
    [{ use_dora: true }, 'use_dora to be empty: it is not supported, got true'],
    [{ modules_to_save: ['wte'] }, 'modules_to_save to be empty: it is not supported, got ["wte"]'],
    [{ rank_pattern: { c_attn: 4 } }, 'rank_pattern to be empty: it is not supported, got {"c_attn":4}'],
    [{ alpha_pattern: { c_attn: 4 } }, 'alpha_pattern to be empty: it is not supported, got {"c_attn":4}'],
    [{ layers_to_transform: [0] }, 'layers_to_transform to be empty: it is not supported, got [0]'],
    [{ lora_bias: true }, 'lora_bias to be empty: it is not supported, got true'],
    [{ bias: 'all' }, 'bias to be \'none\': trained biases are not supported, got "all"'],
    [
      { init_lora_weights: 'pissa' },
      'init_lora_weights to be one that leaves the base as it is, got "pissa"',
    ],
    [{ r: 0 }, 'r to be a positive integer, got 0'],
    [{ lora_alpha: 'x' }, 'lora_alpha to be a positive number, got "x"'],
    [{ lora_dropout: 1 }, 'lora_dropout to be in [0, 1), got 1'],
    [{ target_modules: null }, 'target_modules to be a list of names or a regular expression, got null'],
    [{ target_modules: '(' }, 'target_modules to be a regular expression, got "("'],
  ])('refuse by name what they do not know: %j', async (changes, message) => {
    await writePeft(changes);
    const model = makeModel();
    const path = join(folder, 'adapter_config.json');
    await expect(loadAdapter(folder, model)).rejects.toThrow(
      new DataError(`loadAdapter: ${path}: expected ${message}`),
    );
    expect(loraModules(model).size).toBe(0);
  });

  it('say what does not fit, and change nothing then', async () => {
    const tensors = peftTensors();
    const at = 'transformer.h.0.attn.c_attn';
    tensors.delete(`base_model.model.${at}.lora_A.weight`);
    tensors.set('base_model.model.lm_head.weight', safetensorsEntry(ramp(4, 1), [2, 2], 'F32'));
    tensors.set(`base_model.model.${at}.lora_B.weight`, safetensorsEntry(ramp(96, 1), [2, 48], 'F32'));
    await writePeft({}, tensors);
    const model = makeModel();
    await expect(loadAdapter(folder, model)).rejects.toThrow(
      new DataError(
        [
          `loadAdapter: ${join(folder, 'adapter_model.safetensors')}: expected the adapters that the configuration names, got other tensors`,
          `  missing: ${at}.lora_A.weight`,
          '  unexpected: lm_head.weight',
          `  mis-shaped: ${at}.lora_B.weight, expected [48, 2], got [2, 48]`,
        ].join('\n'),
      ),
    );
    await writePeft({ target_modules: ['q_proj'] });
    await expect(loadAdapter(folder, model)).rejects.toThrow(
      "applyLora: expected 'q_proj' to name layers of the model, got nothing; there are c_attn (2), c_proj (4), c_fc (2)",
    );
    expect(loraModules(model).size).toBe(0);
    expect(model.parameters().every((p) => p.requiresGrad)).toBe(true);
    await writePeft();
    applyLora(model, { rank: 4, alpha: 4, targets: ['c_attn'] });
    await expect(loadAdapter(folder, model)).rejects.toThrow(
      new DataError("loadAdapter: expected rank as the model's adapters have it, 4, got 2"),
    );
    await expect(saveAdapter(folder, model, { alpha: 8 })).rejects.toThrow(
      new DataError("saveAdapter: expected alpha as the model's adapters have it, 4, got 8"),
    );
    await expect(saveAdapter(folder, makeModel())).rejects.toThrow(
      new DataError('loraStateDict: expected a model with adapters, got none; call applyLora first'),
    );
    const merged = makeModel();
    applyLora(merged, { rank: 2, alpha: 4, targets: ['c_attn'] });
    mergeLora(merged);
    await expect(loadAdapter(folder, merged)).rejects.toThrow(
      new DataError(
        `loadAdapter: expected adapters that are not merged, got '${at}' merged; call unmergeLora`,
      ),
    );
    await rm(join(folder, 'adapter_config.json'));
    await expect(loadAdapter(folder, model)).rejects.toThrow(/adapter_config\.json: ENOENT/);
  });
});
