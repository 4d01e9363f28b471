/** Memory of training on long documents: flat in their length, and told before by a dry run. */
import { describe, expect, it } from 'vitest';
import '../../src/autograd/methods.js';
import { openCPU } from '../../src/device/cpu/device.js';
import { DryDevice } from '../../src/device/dry.js';
import { batchDocuments } from '../../src/models/chunk-batch.js';
import { ChunkClassifier, type ChunkClassifierOptions } from '../../src/models/chunk-classifier.js';
import { CausalChunkEncoder, TransformerChunkEncoder } from '../../src/models/chunk-encoders.js';
import { chunkMemory, measureStep, type StepMemory } from '../../src/models/chunk-memory.js';
import { GPT2 } from '../../src/models/gpt2.js';
import { gpt2Config } from '../../src/models/gpt2-config.js';
import { applyLora } from '../../src/nn/lora.js';
import { cpuDevice, defaultDevice, setDefaultDevice } from '../../src/tensor/default-device.js';
import { tensor } from '../../src/tensor/factories.js';

const GB = 1e9;
const CHUNK = 64;

const small = (options: ChunkClassifierOptions) => () =>
  new ChunkClassifier(
    new TransformerChunkEncoder({ vocabSize: 512, dim: 96, heads: 4, layers: 2, maxLength: CHUNK }),
    { group: 8, ...options },
  );
const gpt2 = (options: ChunkClassifierOptions) => () =>
  new ChunkClassifier(
    new CausalChunkEncoder(
      new GPT2(gpt2Config('gpt2', { vocabSize: 300, contextLength: CHUNK, dim: 96, layers: 2, heads: 3 })),
    ),
    { group: 8, ...options },
  );

function dry(make: () => ChunkClassifier, tokens: number): StepMemory {
  return chunkMemory(make, tokens, { chunk: CHUNK, target: null });
}

function real(make: () => ChunkClassifier, tokens: number): StepMemory {
  // A device of its own: nothing else is in its pool.
  const device = openCPU({ threads: 1 });
  const batch = batchDocuments([new Int32Array(tokens).fill(1)], { chunk: CHUNK, labels: [1] });
  const memory = measureStep(device, make, (model) => model.loss(batch));
  void device.close();
  return memory;
}

describe('the dry run', () => {
  it.each<[string, () => ChunkClassifier, number]>([
    ['a small encoder', small({}), 2000],
    ['a small encoder, nothing recomputed', small({ checkpoint: false }), 2000],
    ['a small encoder, some chunks sampled', small({ sampled: 4 }), 2000],
    ['a short document', small({ pooling: 'transformer' }), 100],
    ['GPT-2', gpt2({}), 1500],
    ['GPT-2, nothing recomputed', gpt2({ checkpoint: false }), 1500],
  ])('counts what the pool counts, to a twentieth: %s', (_, make, tokens) => {
    const [counted, measured] = [dry(make, tokens), real(make, tokens)];
    expect(counted.weightBytes).toBe(measured.weightBytes);
    expect(counted.restBytes).toBe(measured.restBytes);
    expect(Math.abs(counted.peakBytes / measured.peakBytes - 1)).toBeLessThan(0.05);
  });

  it('leaves the default device as it was, and computes nothing', async () => {
    setDefaultDevice(cpuDevice());
    dry(small({}), 100);
    expect(defaultDevice()).toBe(cpuDevice());
    const device = new DryDevice();
    const x = tensor([1, 2], { device });
    expect(Array.from(await x.add(1).data())).toEqual([0, 0]);
    expect(() => device.capture()).toThrow('capture: expected a device that computes, got a dry run');
    expect(() => device.profile()).toThrow('profile: expected a device that computes, got a dry run');
  });
});

describe('training memory', () => {
  it('does not grow with the document where groups are recomputed', () => {
    const [short, long] = [2000, 64_000].map((tokens) => dry(small({}), tokens).peakBytes);
    // For 32 times the length; what does grow is a vector and the token ids of each chunk.
    expect(long / short).toBeLessThan(1.3);
    const [a, b] = [2000, 64_000].map((tokens) => dry(small({ checkpoint: false }), tokens).peakBytes);
    expect(b / a).toBeGreaterThan(15);
  });

  it('does not grow where the others are only read', () => {
    const [short, long] = [2000, 64_000].map(
      (tokens) => dry(small({ checkpoint: false, sampled: 8 }), tokens).peakBytes,
    );
    expect(long / short).toBeLessThan(1.3);
  });

  it('of GPT-2 124M on 106,578 tokens fits 16 GB, in full and with LoRA', () => {
    const make = (lora: boolean, options: ChunkClassifierOptions) => () => {
      const model = new GPT2(gpt2Config('gpt2'), { initialize: false });
      if (lora) applyLora(model, { rank: 16 });
      return new ChunkClassifier(new CausalChunkEncoder(model), { group: 4, ...options });
    };
    const tokens = 106_578;
    const full = chunkMemory(make(false, {}), tokens, { chunk: 512 });
    expect(full.weightBytes).toBeGreaterThan(124e6 * 4);
    expect(full.peakBytes).toBeLessThan(4 * GB);
    expect(chunkMemory(make(true, {}), tokens, { chunk: 512, target: null }).peakBytes).toBeLessThan(
      full.peakBytes,
    );
    // The whole context as a chunk, eight at a time.
    expect(chunkMemory(make(false, { group: 8 }), tokens, { chunk: 1024 }).peakBytes).toBeLessThan(16 * GB);
    expect(
      chunkMemory(make(false, { checkpoint: false }), tokens, { chunk: 512, target: null }).peakBytes,
    ).toBeGreaterThan(16 * GB);
  }, 120_000);
});
