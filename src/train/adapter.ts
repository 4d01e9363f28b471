/** Node only. LoRA adapters as files, in the layout of PEFT: adapter_config.json and adapter_model.safetensors. */
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileAtomic } from '../data/atomic-file.js';
import type { SafetensorsEntry } from '../data/safetensors.js';
import { readSafetensorsFile } from '../data/safetensors-file.js';
import { DataError } from '../device/errors.js';
import { GPT2 } from '../models/gpt2.js';
import {
  applyLora,
  countParameters,
  type LoraConfig,
  type LoraLinear,
  type LoraModules,
  loraModules,
  loraStateDict,
  loraTargets,
} from '../nn/lora.js';
import type { Module } from '../nn/module.js';
import { scope } from '../tensor/lifetime.js';
import { formatShape, sameShape } from '../tensor/shape.js';
import { entryToTensor, saveTensors } from './checkpoint.js';

const CONFIG = 'adapter_config.json';
const WEIGHTS = 'adapter_model.safetensors';
/** What PEFT puts before the names of the model's modules. */
const PREFIX = 'base_model.model.';

export interface AdapterInfo {
  /** Name or folder of the model that the adapter belongs to. */
  readonly base?: string | null;
}

/** What an adapter's folder says of it. */
export interface AdapterConfig extends LoraConfig, AdapterInfo {
  readonly alpha: number;
  readonly dropout: number;
}

/** What all adapters of a model share. @throws DataError where they differ, or `given` says otherwise */
function commonSettings(
  op: string,
  modules: ReadonlyMap<string, LoraLinear>,
  given: Partial<LoraConfig>,
): LoraLinear {
  const [first] = modules.values();
  for (const key of ['rank', 'alpha', 'rankStabilized', 'dropout'] as const) {
    for (const [name, layer] of modules) {
      if (layer[key] === first[key]) continue;
      throw new DataError(
        `${op}: expected adapters of one ${key}, got ${first[key]}, and ${layer[key]} at '${name}'`,
      );
    }
    if (given[key] !== undefined && given[key] !== first[key]) {
      throw new DataError(
        `${op}: expected ${key} as the model's adapters have it, ${first[key]}, got ${given[key]}`,
      );
    }
  }
  return first;
}

/** target_modules that mean these modules and no others: the ends of their names where those suffice. */
function targetModules(model: Module, names: readonly string[]): string[] {
  const wanted = new Set(names);
  const end = (name: string): string => name.slice(name.lastIndexOf('.') + 1);
  const others = model.namedModules().map(([name]) => name);
  const endsSuffice = others.every((name) => wanted.has(name) || !names.some((n) => end(n) === end(name)));
  return endsSuffice ? [...new Set(names.map(end))] : [...names];
}

/**
 * Saves a model's adapters, and nothing else of it, as PEFT would. Each file is either the old or the new one, whenever
 * the process dies.
 *
 * @param folder is made where it is missing
 * @param config `base` goes into the file; rank and the like are the model's own, and checked where they are given
 * @throws DataError without adapters, and where they differ from each other or from `config`
 * @source peft.PeftModel.save_pretrained
 */
export async function saveAdapter(
  folder: string,
  model: Module,
  config: Partial<LoraConfig> & AdapterInfo = {},
): Promise<void> {
  const state = loraStateDict(model);
  const modules = loraModules(model);
  const { rank, alpha, dropout, rankStabilized } = commonSettings('saveAdapter', modules, config);
  const { targets } = config;
  const named = targets && targets !== 'all-linear' ? targets : targetModules(model, [...modules.keys()]);
  const text = {
    auto_mapping: null,
    base_model_name_or_path: config.base ?? null,
    bias: 'none',
    // Hugging Face keeps GPT-2's weights as [in, out].
    fan_in_fan_out: model instanceof GPT2,
    inference_mode: true,
    init_lora_weights: true,
    layers_pattern: null,
    layers_to_transform: null,
    lora_alpha: alpha,
    lora_dropout: dropout,
    modules_to_save: null,
    peft_type: 'LORA',
    r: rank,
    revision: null,
    target_modules: named instanceof RegExp ? named.source : named,
    task_type: 'CAUSAL_LM',
    use_rslora: rankStabilized,
  };
  await mkdir(folder, { recursive: true });
  const tensors = new Map([...state].map(([name, t]) => [PREFIX + name, t]));
  await saveTensors(join(folder, WEIGHTS), tensors, { format: 'pt' });
  await writeFileAtomic(join(folder, CONFIG), [`${JSON.stringify(text, null, 2)}\n`]);
}

/** Settings that change nothing that is loaded. */
const HARMLESS = new Set([
  ...['auto_mapping', 'base_model_name_or_path', 'revision', 'task_type', 'peft_type', 'peft_version'],
  ...['r', 'lora_alpha', 'lora_dropout', 'target_modules', 'use_rslora', 'bias'],
  ...['fan_in_fan_out', 'inference_mode', 'init_lora_weights', 'megatron_core', 'qalora_group_size'],
  ...['runtime_config', 'eva_config', 'ensure_weight_tying'],
]);

/** First values that also change the base's weights, which an adapter's folder does not have. */
const CHANGES_BASE = /^(pissa|olora|corda|loftq)/;

const isEmpty = (value: unknown): boolean =>
  value === null ||
  value === false ||
  (typeof value === 'object' && Object.keys(value as object).length === 0);

/** @throws DataError that names the setting */
function refuse(path: string, key: string, value: unknown, expected: string): never {
  throw new DataError(
    `loadAdapter: ${path}: expected ${key} to be ${expected}, got ${JSON.stringify(value)}`,
  );
}

/**
 * Reads what an adapter's folder says of it: rank, targets, and the name of the model that it belongs to.
 *
 * @throws DataError naming the file where it is missing or malformed, and the setting where it is one that is not supported
 * @source peft.LoraConfig
 */
export async function readAdapterConfig(folder: string): Promise<AdapterConfig> {
  const path = join(folder, CONFIG);
  let raw: Record<string, unknown>;
  try {
    raw = JSON.parse(await readFile(path, 'utf8'));
  } catch (cause) {
    throw new DataError(`loadAdapter: ${path}: ${(cause as Error).message}`, { cause });
  }
  if (raw === null || typeof raw !== 'object' || Array.isArray(raw))
    refuse(path, 'the file', raw, 'an object');
  const { peft_type, r, lora_alpha, lora_dropout = 0, target_modules, bias = 'none' } = raw;
  if (peft_type !== 'LORA') refuse(path, 'peft_type', peft_type, "'LORA'");
  if (!(Number.isInteger(r) && (r as number) > 0)) refuse(path, 'r', r, 'a positive integer');
  if (!(typeof lora_alpha === 'number' && lora_alpha > 0))
    refuse(path, 'lora_alpha', lora_alpha, 'a positive number');
  if (!(typeof lora_dropout === 'number' && lora_dropout >= 0 && lora_dropout < 1)) {
    refuse(path, 'lora_dropout', lora_dropout, 'in [0, 1)');
  }
  if (bias !== 'none') refuse(path, 'bias', bias, "'none': trained biases are not supported");
  const names = Array.isArray(target_modules) && target_modules.every((name) => typeof name === 'string');
  if (!names && typeof target_modules !== 'string') {
    refuse(path, 'target_modules', target_modules, 'a list of names or a regular expression');
  }
  const { init_lora_weights: first } = raw;
  if (typeof first === 'string' && CHANGES_BASE.test(first)) {
    refuse(path, 'init_lora_weights', first, 'one that leaves the base as it is');
  }
  for (const [key, value] of Object.entries(raw)) {
    if (!HARMLESS.has(key) && !isEmpty(value)) refuse(path, key, value, 'empty: it is not supported');
  }
  return {
    rank: r as number,
    alpha: lora_alpha,
    dropout: lora_dropout,
    rankStabilized: raw.use_rslora === true,
    targets:
      typeof target_modules === 'string' ? pattern(path, target_modules) : (target_modules as string[]),
    base: typeof raw.base_model_name_or_path === 'string' ? raw.base_model_name_or_path : null,
  };
}

/** PEFT's target_modules as text: a regular expression of whole names, or 'all-linear'. */
function pattern(path: string, source: string): LoraConfig['targets'] {
  if (source === 'all-linear') return source;
  try {
    return new RegExp(source);
  } catch {
    return refuse(path, 'target_modules', source, 'a regular expression');
  }
}

/** The adapters' tensors of a file under the model's own names: without PEFT's prefix and the adapter's name. */
async function readWeights(path: string): Promise<Map<string, SafetensorsEntry>> {
  const { tensors } = await readSafetensorsFile(path);
  const found = new Map<string, SafetensorsEntry>();
  for (const [name, entry] of tensors) {
    const plain = name.startsWith(PREFIX) ? name.slice(PREFIX.length) : name;
    found.set(plain.replace(/\.(lora_[AB])\.default\.weight$/, '.$1.weight'), entry);
  }
  return found;
}

/** @throws DataError that lists what is missing, unexpected or of another shape */
function checkWeights(
  path: string,
  found: ReadonlyMap<string, SafetensorsEntry>,
  wanted: ReadonlyMap<string, readonly number[]>,
): void {
  const missing = [...wanted.keys()].filter((name) => !found.has(name));
  const unexpected = [...found.keys()].filter((name) => !wanted.has(name));
  const wrong = [...wanted].filter(
    ([name, shape]) => found.has(name) && !sameShape(found.get(name)!.shape, shape),
  );
  if (missing.length + unexpected.length + wrong.length === 0) return;
  const lines = [
    `loadAdapter: ${path}: expected the adapters that the configuration names, got other tensors`,
  ];
  if (missing.length > 0) lines.push(`  missing: ${missing.join(', ')}`);
  if (unexpected.length > 0) lines.push(`  unexpected: ${unexpected.join(', ')}`);
  for (const [name, shape] of wrong) {
    lines.push(
      `  mis-shaped: ${name}, expected ${formatShape(shape)}, got ${formatShape(found.get(name)!.shape)}`,
    );
  }
  throw new DataError(lines.join('\n'));
}

/**
 * Loads adapters that `saveAdapter` or PEFT wrote. A model without adapters gets them, and everything else of it is
 * frozen; into adapters of
 * the same kind the weights are copied. Nothing is changed if anything is wrong.
 *
 * @returns what the folder says, and the adapted layers
 * @throws DataError naming what is missing, malformed, not supported, or does not fit the model
 * @source peft.PeftModel.from_pretrained
 */
export async function loadAdapter(
  folder: string,
  model: Module,
): Promise<LoraModules & { readonly config: AdapterConfig }> {
  const config = await readAdapterConfig(folder);
  const path = join(folder, WEIGHTS);
  const found = await readWeights(path);
  const present = loraModules(model);
  if (present.size > 0) {
    commonSettings('loadAdapter', present, { ...config, dropout: undefined });
    const merged = [...present].find(([, layer]) => layer.merged);
    if (merged)
      throw new DataError(
        `loadAdapter: expected adapters that are not merged, got '${merged[0]}' merged; call unmergeLora`,
      );
  }
  const layers = present.size > 0 ? present : loraTargets(model, config.targets);
  const wanted = new Map<string, readonly number[]>();
  for (const [name, { inFeatures, outFeatures }] of layers) {
    wanted.set(`${name}.lora_A.weight`, [config.rank, inFeatures]);
    wanted.set(`${name}.lora_B.weight`, [outFeatures, config.rank]);
  }
  checkWeights(path, found, wanted);
  const modules = present.size > 0 ? present : applyLora(model, config).modules;
  scope(() => {
    const own = loraStateDict(model);
    const state = new Map(
      [...own].map(([name, t]) => [name, entryToTensor(name, found.get(name)!, t.device, t.dtype)]),
    );
    model.loadStateDict(state, { strict: false });
  });
  return { config, modules, ...countParameters(model) };
}
