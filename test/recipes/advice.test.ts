import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { FINETUNE } from '../../src/train/finetune-config.js';

const FOLDER = new URL('../../recipes/advice/', import.meta.url);

describe('the advice recipe', () => {
  it.each(readdirSync(FOLDER).filter((name) => name.endsWith('.json')))(
    '%s is a valid configuration',
    async (name) => {
      const file = fileURLToPath(new URL(name, FOLDER));
      const config = await FINETUNE.read({ file, environment: {}, flags: { data: ['advice.jsonl'] } });
      expect(config.data).toEqual(['advice.jsonl']);
      expect(config.steps).toBeGreaterThan(0);
    },
  );

  it('trains a model of about a million parameters', async () => {
    const file = fileURLToPath(new URL('small.json', FOLDER));
    const { layers, dim, context, vocabSize } = await FINETUNE.read({ file, flags: { data: ['a'] } });
    // Embeddings, and 12 d² weights, 13 d biases and norms per block.
    const size = (vocabSize! + context!) * dim! + layers! * (12 * dim! ** 2 + 13 * dim!) + 2 * dim!;
    expect(size).toBeGreaterThan(0.9e6);
    expect(size).toBeLessThan(1.2e6);
  });
});
