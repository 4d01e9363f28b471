/** Node only. Training a document classifier: from a configuration to a run folder with model, figures and predictions. */
import { basename } from 'node:path';
import { GPT2Tokenizer, type Tokenizer } from '../data/tokenizer.js';
import type { Device } from '../device/types.js';
import { manualSeed } from '../tensor/random.js';
import type { ClassifyConfig } from './classify-config.js';
import { type ClassifyData, type Division, readClassifyData } from './classify-data.js';
import { type ClassifyHooks, ClassifyJob } from './classify-job.js';
import { buildClassifier, openBase } from './classifier-run.js';

/** Data and tokenizer, from which a job is made for each division. */
export interface ClassifySetup {
  readonly config: ClassifyConfig;
  readonly data: ClassifyData;
  readonly tokenizer: Tokenizer;
  /** A job for a division; random numbers begin at the seed. */
  openJob(division: Division): Promise<ClassifyJob>;
  close(): void;
}

/**
 * Reads and divides the documents. Changes no file but the cache of tokens.
 *
 * @throws DataError for what makes training impossible
 */
export async function prepareClassify(
  config: ClassifyConfig,
  device: Device,
  hooks: ClassifyHooks = {},
): Promise<ClassifySetup> {
  const isPretrained = config.encoder === 'gpt2';
  // Its tokenizer is needed at once; a later fold needs the model anew, since it has been changed.
  let first = isPretrained ? await openBase(config, device, hooks.onLoad) : null;
  const tokenizer = first?.tokenizer ?? new GPT2Tokenizer({ size: config.vocabSize });
  const data = await readClassifyData(config, tokenizer, hooks);
  return {
    config,
    data,
    tokenizer,
    openJob: async (division) => {
      const base = isPretrained ? (first ?? (await openBase(config, device, hooks.onLoad))).model : null;
      first = null;
      manualSeed(config.seed);
      const classifier = buildClassifier(config, tokenizer, base);
      await classifier.model.to(device);
      return new ClassifyJob(config, device, hooks, data, tokenizer, classifier, division, base);
    },
    close: () => data.tokens.close(),
  };
}

/** A folder name for a new run. */
export function runName(config: ClassifyConfig): string {
  if (config.name !== null) return config.name;
  const data = basename(config.data[0])
    .replace(/\.[^.]*$/, '')
    .replace(/[^\p{L}\p{N}._-]+/gu, '-')
    .replace(/^[^\p{L}\p{N}_]+/u, '');
  return `${data || 'documents'}-${config.encoder}`;
}
