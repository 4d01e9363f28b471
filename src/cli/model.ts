/** Node only. The model that a command is told to use: a folder, a run, an adapter, or a name on the Hub. */
import { existsSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { Tokenizer } from '../data/tokenizer.js';
import { DataError } from '../device/errors.js';
import type { Device } from '../device/types.js';
import type { GPT2 } from '../models/gpt2.js';
import { loadGPT2 } from '../models/gpt2-weights.js';
import { countParameters, mergeLora } from '../nn/lora.js';
import { quantizeModel } from '../nn/quantized.js';
import { openDevice } from '../tensor/default-device.js';
import { loadAdapter, readAdapterConfig } from '../train/adapter.js';
import { LoadProgress } from '../train/load-progress.js';

export interface OpenedModel {
  readonly model: GPT2;
  readonly tokenizer: Tokenizer;
}

/** Where a model lies: what `loadGPT2` takes, and the adapters on top of it, the lowest first. */
export interface ModelPlace {
  readonly base: string;
  readonly adapters: readonly string[];
}

/** A name on the Hub: of a model, or of its owner and the model. */
const HUB_NAME = /^[\w-][\w.-]*(\/[\w-][\w.-]*)?$/;

/** @throws DataError where there is no model, saying what was looked for */
export async function findModel(name: string, seen: readonly string[] = []): Promise<ModelPlace> {
  if (seen.includes(name)) {
    throw new DataError(
      `model: expected an adapter of a model, got adapters of one another: ${seen.join(', ')}`,
    );
  }
  if (!existsSync(name)) {
    if (HUB_NAME.test(name)) return { base: name, adapters: [] };
    throw new DataError(`model: expected a folder or a name on the Hub, got ${name}, which is neither`);
  }
  if (!statSync(name).isDirectory()) {
    throw new DataError(`model: expected the folder of a model, got the file ${name}; name ${dirname(name)}`);
  }
  const has = (...path: string[]) => existsSync(join(name, ...path));
  if (has('model', 'config.json')) return { base: join(name, 'model'), adapters: [] };
  const adapter = ['adapter', '.'].find((folder) => has(folder, 'adapter_config.json'));
  if (adapter !== undefined) {
    const folder = join(name, adapter);
    const { base } = await readAdapterConfig(folder);
    if (!base) {
      throw new DataError(
        `model: expected an adapter that names its base, got none in ${join(folder, 'adapter_config.json')}; add base_model_name_or_path there`,
      );
    }
    const below = await findModel(base, [...seen, name]);
    return { base: below.base, adapters: [...below.adapters, folder] };
  }
  // A run folder has a config.json too: that of its training.
  const weights = ['model.safetensors', 'model.safetensors.index.json'];
  if (has('config.json') && weights.some((file) => has(file)) && !has('metrics.jsonl')) {
    return { base: name, adapters: [] };
  }
  const remedy = has('metrics.jsonl')
    ? `${basename(name)} is a run of another kind, or one that is not finished`
    : `got ${name}, which has none of them`;
  throw new DataError(
    `model: expected config.json with model.safetensors, model/config.json or adapter/adapter_config.json in a folder; ${remedy}`,
  );
}

/** Loads a model with its adapters, which are merged into its weights. Progress goes to standard error. */
export async function openModel(
  { base, adapters }: ModelPlace,
  device: Device,
  quantize?: 'int8' | 'nf4',
): Promise<OpenedModel> {
  const loading = new LoadProgress();
  const { model, tokenizer } = await loadGPT2(base, { device, onProgress: loading.update }).finally(() =>
    loading.stop(),
  );
  for (const folder of adapters) {
    await loadAdapter(folder, model);
    mergeLora(model, { unload: true });
  }
  if (quantize) await quantizeModel(model, { scheme: quantize });
  model.eval();
  return { model, tokenizer };
}

/** Opens the device, and says on standard error which one it is. */
export async function openQuietly(kind: string, adapter: string | undefined): Promise<Device> {
  const device = await openDevice({ device: kind as 'auto', adapter });
  console.error(`Device     ${device.info.name}`);
  return device;
}

/** What a model is, in a line on standard error. */
export function describeModel(name: string, { model }: OpenedModel): void {
  const { layers, heads, dim, vocabSize, contextLength } = model.shape;
  console.error(
    `Model      ${name}: ${countParameters(model).total.toLocaleString('en')} parameters, ${layers} layers, width ${dim}, ${heads} heads, ${vocabSize.toLocaleString('en')} tokens, context ${contextLength.toLocaleString('en')}`,
  );
}
