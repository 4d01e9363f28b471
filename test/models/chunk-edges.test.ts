/** Documents around the length of a chunk: empty, one token, exactly C, one more; overlap, and what is cut off. */
import { beforeEach, describe, expect, it } from 'vitest';
import '../../src/autograd/methods.js';
import { noGrad } from '../../src/autograd/mode.js';
import { type BatchDocumentsOptions, batchDocuments } from '../../src/models/chunk-batch.js';
import { ChunkClassifier } from '../../src/models/chunk-classifier.js';
import { TransformerChunkEncoder } from '../../src/models/chunk-encoders.js';
import type { PoolingKind } from '../../src/models/chunk-pooling.js';
import { cpuDevice, setDefaultDevice } from '../../src/tensor/default-device.js';
import { tensor } from '../../src/tensor/factories.js';
import { scope } from '../../src/tensor/lifetime.js';
import { manualSeed } from '../../src/tensor/random.js';
import { difference } from '../support/each-device.js';

const V = 11;
const POOLINGS: readonly PoolingKind[] = ['mean', 'max', 'attention', 'transformer', 'decoder'];
const CHUNKS = { chunk: 4, overlap: 1 };

function make(pooling: PoolingKind): ChunkClassifier {
  manualSeed(3);
  const encoder = new TransformerChunkEncoder({ vocabSize: V, dim: 8, heads: 2, layers: 1, maxLength: 8 });
  const poolingLayers = { heads: 2, innerDim: 12 };
  return new ChunkClassifier(encoder, { pooling, poolingLayers, group: 2 }).to('float64');
}

function logits(
  model: ChunkClassifier,
  docs: readonly Int32Array[],
  options: Partial<BatchDocumentsOptions> = {},
): Promise<ArrayLike<number>> {
  return noGrad(() => scope(() => model.forward(batchDocuments(docs, { ...CHUNKS, ...options })))).data();
}

beforeEach(() => setDefaultDevice(cpuDevice()));

describe('at the edges of a chunk', () => {
  const long = Int32Array.from({ length: 30 }, (_, i) => 1 + ((i * i) % (V - 1)));
  const edges = [0, 1, 3, 4, 5, 7, 8].map((n) => long.subarray(0, n));

  it.each(POOLINGS)(
    'pooled by %s: documents of 0, 1, C, C + 1 tokens are the same alone and together',
    async (pooling) => {
      for (const overlap of [0, 3]) {
        const model = make(pooling);
        const together = await logits(model, edges, { overlap });
        expect(Array.from(together).every(Number.isFinite)).toBe(true);
        for (const [i, own] of edges.entries()) {
          expect(difference(await logits(model, [own], { overlap }), [together[i]])).toBeLessThan(1e-12);
        }
        // Distinct documents, distinct answers: none of them is lost on the way.
        const values = new Set(Array.from(together, (x) => x.toFixed(9)));
        expect(values.size).toBe(edges.length);
      }
    },
  );

  it.each(POOLINGS)(
    'pooled by %s: up to C tokens are one chunk, and overlap changes nothing',
    async (pooling) => {
      const model = make(pooling);
      const short = edges.filter((d) => d.length <= CHUNKS.chunk);
      const roomy = await logits(model, short, { chunk: 8, overlap: 0 });
      expect(difference(await logits(model, short, { overlap: 0 }), roomy)).toBeLessThan(1e-12);
      expect(difference(await logits(model, short, { overlap: 3 }), roomy)).toBeLessThan(1e-12);
    },
  );

  it('the token behind C is read, with the overlap before it', async () => {
    const model = make('mean');
    const states = noGrad(() =>
      scope(() =>
        model.encoder.states(
          tensor([Array.from(long.subarray(0, 4)), [long[3], long[4], 0, 0]], { dtype: 'int32' }),
          tensor([4, 2], { dtype: 'int32' }),
        ),
      ),
    );
    const judged = noGrad(() =>
      scope(() => model.head.forward(model.norm.forward(states.mean({ dim: 0, keepdim: true })))),
    );
    expect(difference(await logits(model, [long.subarray(0, 5)]), await judged.data())).toBeLessThan(1e-12);
    const other = Int32Array.from(long.subarray(0, 5), (id, i) => (i === 4 ? 1 + (id % (V - 1)) : id));
    expect(difference(await logits(model, [other]), await judged.data())).toBeGreaterThan(1e-6);
  });

  it.each(POOLINGS)('pooled by %s: what is cut off does not count', async (pooling) => {
    const model = make(pooling);
    const cut = { maxChunks: 3, keep: 'head' } as const;
    // 4 + 3 + 3 tokens.
    const whole = await logits(model, [long.subarray(0, 10)]);
    expect(difference(await logits(model, [long], cut), whole)).toBeLessThan(1e-12);
    expect(difference(await logits(model, [long]), whole)).toBeGreaterThan(1e-6);
    const changed = long.map((id, i) => (i < 10 ? id : 1 + (id % (V - 1))));
    expect(difference(await logits(model, [changed], cut), whole)).toBeLessThan(1e-12);
  });

  it.each(POOLINGS)('pooled by %s: chunks that are kept know their places', async (pooling) => {
    const model = make(pooling);
    // Ten chunks of three: the first and the last, and a document of just these two.
    const ends = await logits(model, [long], { chunk: 3, overlap: 0, maxChunks: 2, keep: 'headTail' });
    const both = Int32Array.of(...long.subarray(0, 3), ...long.subarray(27));
    const apart = difference(await logits(model, [both], { chunk: 3, overlap: 0 }), ends);
    if (['transformer', 'decoder'].includes(pooling)) expect(apart).toBeGreaterThan(1e-6);
    else expect(apart).toBeLessThan(1e-12);
  });
});
