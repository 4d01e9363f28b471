/** The chunk-pooling classifier and its rival give the same logits and gradients on WebGPU as on the CPU device. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import '../../src/autograd/methods.js';
import type { Device } from '../../src/device/types.js';
import { openWebGPU } from '../../src/device/webgpu/device.js';
import { batchDocuments } from '../../src/models/chunk-batch.js';
import { ChunkClassifier, type ChunkClassifierOptions } from '../../src/models/chunk-classifier.js';
import { CausalChunkEncoder, TransformerChunkEncoder } from '../../src/models/chunk-encoders.js';
import { chunkMemory, measureStep } from '../../src/models/chunk-memory.js';
import { GPT2 } from '../../src/models/gpt2.js';
import { gpt2Config } from '../../src/models/gpt2-config.js';
import { WindowClassifier, windowBatch } from '../../src/models/window-classifier.js';
import type { Module } from '../../src/nn/module.js';
import { cpuDevice, setDefaultDevice } from '../../src/tensor/default-device.js';
import { tensor } from '../../src/tensor/factories.js';
import { scope } from '../../src/tensor/lifetime.js';
import { manualSeed } from '../../src/tensor/random.js';
import type { Tensor } from '../../src/tensor/tensor.js';
import { difference } from '../support/each-device.js';
import { ADAPTER, problem } from '../support/webgpu.js';

const DOCS = [21, 0, 8, 9].map((n) => Int32Array.from({ length: n }, (_, i) => (7 * i + n) % 13));
const LABELS = [1, 0, 1, 0];

const batch = batchDocuments(DOCS, { chunk: 8, overlap: 2, labels: LABELS });
const chunks = (
  make: () => ConstructorParameters<typeof ChunkClassifier>[0],
  options: ChunkClassifierOptions,
) => ({
  make: () => new ChunkClassifier(make(), { group: 3, ...options }),
  loss: (model: Module) => (model as ChunkClassifier).loss(batch),
});
const small = { vocabSize: 13, dim: 16, heads: 2, layers: 1, maxLength: 8, dropout: 0.1 };
const gpt2 = { vocabSize: 13, contextLength: 8, dim: 16, heads: 2, layers: 1 };

const CASES: Record<string, { make(): Module; loss(model: Module): Tensor }> = {
  'an encoder, attention': chunks(() => new TransformerChunkEncoder({ ...small, state: 'first' }), {}),
  'GPT-2, a Transformer over chunks': chunks(
    () => new CausalChunkEncoder(new GPT2(gpt2Config('nano', gpt2))),
    {
      pooling: 'transformer',
    },
  ),
  'some chunks, the maximum': chunks(() => new TransformerChunkEncoder(small), {
    pooling: 'max',
    sampled: 2,
  }),
  windows: {
    make: () =>
      new WindowClassifier({ vocabSize: 13, dim: 16, heads: 2, layers: 1, window: 4, maxLength: 32 }),
    loss: (model) => {
      const { device } = model.parameters()[0];
      return (model as WindowClassifier).loss(windowBatch(DOCS, { device }), tensor(LABELS, { device }));
    },
  },
};

describe.skipIf(problem !== null)(`on WebGPU${problem ? ` (skipped: ${problem})` : ''}`, () => {
  let device: Device;
  beforeAll(async () => {
    device = await openWebGPU({ adapter: ADAPTER });
  });
  afterAll(() => device?.close());

  it.each(Object.keys(CASES))(
    '%s',
    async (name) => {
      const run = async (where: Device): Promise<number[]> => {
        setDefaultDevice(cpuDevice());
        manualSeed(5);
        const model = await CASES[name].make().to(where);
        setDefaultDevice(where);
        const loss = scope(() => {
          const l = CASES[name].loss(model);
          l.backward();
          return l;
        });
        const all = [await loss.item()];
        for (const p of model.parameters()) if (p.grad) all.push(...Array.from(await p.grad.data()));
        setDefaultDevice(cpuDevice());
        return all;
      };
      const expected = await run(cpuDevice());
      expect(expected.length).toBeGreaterThan(1000);
      expect(difference(await run(device), expected)).toBeLessThan(2e-5);
    },
    120_000,
  );

  it('takes the memory that a dry run counts, to the byte', async () => {
    // A device of its own: what earlier tests left with the other one, such as random state, would not be counted again.
    const fresh = await openWebGPU({ adapter: ADAPTER });
    const make = () => new ChunkClassifier(new TransformerChunkEncoder(small), { group: 3 });
    const options = { chunk: 8, target: Reflect.get(fresh, 'target') };
    const measured = measureStep(fresh, make, (model) =>
      model.loss(batchDocuments([DOCS[0]], { chunk: 8, labels: [1] })),
    );
    expect(chunkMemory(make, DOCS[0].length, options)).toEqual(measured);
    await fresh.close();
  });
});
