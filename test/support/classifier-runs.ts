/** Run folders of document classifiers, without training. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { GPT2Tokenizer } from '../../src/data/tokenizer.js';
import { cpuDevice } from '../../src/tensor/default-device.js';
import { manualSeed } from '../../src/tensor/random.js';
import { saveTensors } from '../../src/train/checkpoint.js';
import { buildClassifier, type Classifier, RESULT, TOKENIZER } from '../../src/train/classifier-run.js';
import { CLASSIFY, type ClassifyConfig } from '../../src/train/classify-config.js';

export interface FakeRun {
  readonly config: ClassifyConfig;
  readonly classifier: Classifier;
  readonly tokenizer: GPT2Tokenizer;
}

/** Small, with weights of `seed`. */
export function smallConfig(changes: Record<string, unknown> = {}): ClassifyConfig {
  const small = { data: ['texts'], vocabSize: 300, chunk: 16, dim: 16, heads: 2, layers: 1, device: 'cpu' };
  return CLASSIFY.parse({ ...small, ...changes }, 'test');
}

/** Writes a run as `dawngrad classify` leaves it; `result` on top of the threshold. */
export async function writeClassifierRun(
  folder: string,
  {
    config: changes = {},
    fold = null,
    threshold = 0.5,
    result = {},
  }: {
    config?: Record<string, unknown>;
    fold?: number | null;
    threshold?: number;
    result?: Record<string, unknown>;
  } = {},
): Promise<FakeRun> {
  const config = smallConfig(changes);
  const tokenizer = new GPT2Tokenizer({ size: config.vocabSize });
  manualSeed(config.seed + (fold ?? 0));
  const classifier = buildClassifier(config, tokenizer);
  await classifier.model.to(cpuDevice());
  mkdirSync(folder, { recursive: true });
  const record = { resolved: {}, digest: 'none', gpt2: null, fold };
  writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...config, ...record }));
  await saveTensors(join(folder, 'model.safetensors'), classifier.model.stateDict());
  writeFileSync(join(folder, TOKENIZER), JSON.stringify(tokenizer));
  writeFileSync(join(folder, RESULT), JSON.stringify({ threshold, ...result }));
  return { config, classifier, tokenizer };
}
