/** Node only. The model of a fine-tuning run, from random weights, files, the Hub or another run, with its adapters. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { GPT2Tokenizer, type Tokenizer } from '../data/tokenizer.js';
import { DataError } from '../device/errors.js';
import type { Device } from '../device/types.js';
import { GPT2 } from '../models/gpt2.js';
import { gpt2Config } from '../models/gpt2-config.js';
import { loadGPT2 } from '../models/gpt2-weights.js';
import type { PretrainedOptions, PretrainedProgress } from '../models/pretrained.js';
import { applyLora, type LoraConfig, mergeLora } from '../nn/lora.js';
import { quantizeModel } from '../nn/quantized.js';
import { manualSeed } from '../tensor/random.js';
import { loadAdapter, readAdapterConfig } from './adapter.js';
import type { FinetuneConfig } from './finetune-config.js';
import { LAST } from './trainer.js';

const SCRATCH_VOCABULARY = 2048;

/** A model as the configuration names it, with random numbers beginning at the seed. */
export async function openModel(
  config: FinetuneConfig,
  device: Device,
  onLoad?: (progress: PretrainedProgress) => void,
): Promise<{ model: GPT2; tokenizer: Tokenizer }> {
  const { dropout } = config;
  if (config.model === 'scratch') {
    const { layers, dim, heads, vocabSize } = config;
    // Positions that no block reaches would stay random.
    const contextLength = config.context ?? config.blockSize;
    const given = { layers, dim, heads, contextLength, vocabSize: vocabSize ?? SCRATCH_VOCABULARY };
    const changes = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== null));
    const p = dropout ?? 0;
    const drops = { embeddingDropout: p, attentionDropout: p, residualDropout: p };
    manualSeed(config.seed);
    const model = new GPT2(gpt2Config(config.size ?? 'nano', { ...changes, ...drops }));
    return { model, tokenizer: new GPT2Tokenizer({ size: model.shape.vocabSize }) };
  }
  const options = { device, dropout: dropout ?? undefined, onProgress: onLoad };
  const { model, tokenizer } = await openTrained(config.model, options);
  manualSeed(config.seed);
  if (config.method === 'qlora') await quantizeModel(model, { scheme: config.scheme });
  if (config.method !== 'full') applyLora(model, loraConfig(config));
  return { model, tokenizer };
}

/** A trained model: of a folder or the Hub, the one that a run has left, or an adapter merged into its base. */
export async function openTrained(
  name: string,
  options: PretrainedOptions,
): Promise<{ model: GPT2; tokenizer: Tokenizer }> {
  const saved = join(name, 'model');
  if (existsSync(join(saved, 'config.json'))) return loadGPT2(saved, options);
  const folders = [join(name, 'adapter'), name];
  const adapter = folders.find((folder) => existsSync(join(folder, 'adapter_config.json')));
  if (adapter === undefined) {
    if (existsSync(join(name, LAST))) {
      throw new DataError(
        `finetune: expected a finished run, got ${name}; finish it with: dawngrad finetune --resume ${name}`,
      );
    }
    return loadGPT2(name, options);
  }
  const { base } = await readAdapterConfig(adapter);
  if (!base || base === name) {
    throw new DataError(
      `finetune: expected an adapter that names its base, got ${adapter}, which names none`,
    );
  }
  const loaded = await openTrained(base, options);
  await loadAdapter(adapter, loaded.model);
  mergeLora(loaded.model, { unload: true });
  loaded.model.requiresGrad_(true);
  return loaded;
}

export function loraConfig({ rank, alpha, loraDropout, targets }: FinetuneConfig): LoraConfig {
  return { rank, alpha, dropout: loraDropout, targets };
}
