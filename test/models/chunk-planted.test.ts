/** Chunks matter: what decides stands far from the start, where an encoder of the first chunk never looks. */
import { beforeAll, describe, expect, it } from 'vitest';
import '../../src/autograd/methods.js';
import { HostRandom } from '../../src/data/random.js';
import { batchDocuments, type ChunkOptions } from '../../src/models/chunk-batch.js';
import { ChunkClassifier } from '../../src/models/chunk-classifier.js';
import { TransformerChunkEncoder } from '../../src/models/chunk-encoders.js';
import { AdamW } from '../../src/optim/adam.js';
import { cpuDevice, setDefaultDevice } from '../../src/tensor/default-device.js';
import { scope } from '../../src/tensor/lifetime.js';
import { manualSeed } from '../../src/tensor/random.js';

const CHUNK = 16;
const [KEY, LOCK] = [20, 21];

interface Documents {
  readonly tokens: Int32Array[];
  readonly labels: number[];
}

/**
 * Noise of 96 to 159 tokens that holds a key and a lock behind the first chunk: side by side where the label is 1, at
 * least two chunks apart where it is 0. Counts of words, and the first chunk, say nothing.
 */
function draw(count: number, random: HostRandom): Documents {
  const labels = Array.from({ length: count }, (_, i) => i % 2);
  const tokens = labels.map((label) => {
    const ids = Int32Array.from({ length: 96 + random.integer(64) }, () => random.integer(KEY));
    const place = () => CHUNK + random.integer(ids.length - CHUNK - 4);
    const key = place();
    let lock = key + 2;
    while (label === 0 && Math.abs(lock - key) < 2 * CHUNK) lock = place();
    ids[key] = KEY;
    ids[lock] = LOCK;
    return ids;
  });
  return { tokens, labels };
}

/** Trains on documents that are new at each step. @returns accuracy on 200 others */
async function accuracy(cut: ChunkOptions): Promise<number> {
  manualSeed(1);
  const random = new HostRandom(1);
  const encoder = new TransformerChunkEncoder({
    ...{ vocabSize: 22, dim: 32, heads: 2, layers: 1, innerDim: 64, maxLength: CHUNK },
  });
  const model = new ChunkClassifier(encoder, { pooling: 'max', group: 32 });
  const optimizer = new AdamW(model.parameters(), { lr: 5e-3, weightDecay: 0 });
  for (let step = 0; step < 120; step++) {
    const { tokens, labels } = draw(16, random);
    scope(() => {
      model.loss(batchDocuments(tokens, { ...cut, labels })).backward();
      optimizer.step();
    });
    optimizer.zeroGrad();
  }
  const test = draw(200, new HostRandom(2));
  const p = await model.eval().probabilities(batchDocuments(test.tokens, cut)).data();
  return test.labels.filter((label, i) => p[i] > 0.5 === (label === 1)).length / test.labels.length;
}

describe('what stands far from the start', () => {
  beforeAll(() => setDefaultDevice(cpuDevice()));

  it('is found by the chunked model', async () => {
    expect(await accuracy({ chunk: CHUNK, overlap: 4 })).toBeGreaterThanOrEqual(0.95);
  }, 120_000);

  it('and not by the same encoder on the first chunk', async () => {
    // 200 throws of a coin are within 0.11 of a half in 499 of 500 cases.
    const chance = await accuracy({ chunk: CHUNK, maxChunks: 1, keep: 'head' });
    expect(Math.abs(chance - 0.5)).toBeLessThan(0.11);
  }, 120_000);
});
