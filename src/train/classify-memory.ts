/** Node only. How much memory a step of a classifier takes, by a dry run before there is anything to regret. */
import { DryDevice } from '../device/dry.js';
import { measureStep, type StepMemory } from '../models/chunk-memory.js';
import { GPT2 } from '../models/gpt2.js';
import type { ClassifyConfig } from './classify-config.js';
import type { ClassifyJob } from './classify-job.js';
import { buildClassifier, type Classifier } from './classifier-run.js';

/** A GPU with nothing out of the ordinary. */
const GPU = { kind: 'gpu', f16: true, subgroups: false, maxStorageBuffers: 10 } as const;

/** What a step needs at most. */
export interface ClassifyMemory extends StepMemory {
  /** Tokens of the longest document that is learnt from. */
  readonly longest: number;
  /** Documents of the batch that was measured: the longest ones. */
  readonly documents: number;
}

/**
 * The memory of a training step on the longest documents there are: the step itself, with AdamW in float32, on a device
 * that computes nothing and counts.
 */
export function classifyMemory({
  config,
  data,
  division,
  tokenizer,
  classifier,
}: ClassifyJob): ClassifyMemory {
  const { counts } = data.tokens;
  const longest = [...division.parts.train].sort((a, b) => counts[b] - counts[a]).slice(0, config.batchSize);
  const tokens = longest.map((i) => new Int32Array(counts[i]));
  const labels = longest.map((_, k) => k % 2);
  const gpt2 = baseConfig(classifier);
  const made: { classifier: Classifier | null } = { classifier: null };
  const memory = measureStep(
    new DryDevice({ target: GPU }),
    () => {
      // Whatever is drawn in the real model, sizes are the same.
      const plain: ClassifyConfig = { ...config, seed: 0 };
      const base = gpt2 && new GPT2(gpt2, { initialize: false });
      made.classifier = buildClassifier(plain, tokenizer, base);
      return made.classifier.model;
    },
    () => made.classifier!.loss(tokens, labels),
  );
  return { ...memory, longest: counts[longest[0]], documents: longest.length };
}

function baseConfig({ model }: Classifier): GPT2['config'] | null {
  const found = model.modules().find((m) => m instanceof GPT2);
  return found instanceof GPT2 ? found.config : null;
}
