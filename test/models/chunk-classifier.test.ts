/** The chunk-pooling classifier: padding, batches and order change nothing; gradients; recomputation; sampling; caches. */
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import '../../src/autograd/methods.js';
import { noGrad } from '../../src/autograd/mode.js';
import { type BatchDocumentsOptions, batchDocuments } from '../../src/models/chunk-batch.js';
import {
  binaryLoss,
  ChunkClassifier,
  type ChunkClassifierOptions,
} from '../../src/models/chunk-classifier.js';
import {
  CausalChunkEncoder,
  type ChunkEncoder,
  EncoderDecoderChunkEncoder,
  TransformerChunkEncoder,
} from '../../src/models/chunk-encoders.js';
import type { PoolingKind } from '../../src/models/chunk-pooling.js';
import { GPT2 } from '../../src/models/gpt2.js';
import { gpt2Config } from '../../src/models/gpt2-config.js';
import { Transformer } from '../../src/models/transformer.js';
import { applyLora } from '../../src/nn/lora.js';
import { cpuDevice, setDefaultDevice } from '../../src/tensor/default-device.js';
import { tensor } from '../../src/tensor/factories.js';
import { memory, scope } from '../../src/tensor/lifetime.js';
import { manualSeed } from '../../src/tensor/random.js';
import { difference } from '../support/each-device.js';

const V = 11;
const ENCODERS: Record<string, (dropout?: number) => ChunkEncoder> = {
  'Transformer, mean': (dropout = 0) =>
    new TransformerChunkEncoder({ vocabSize: V, dim: 8, heads: 2, layers: 1, maxLength: 8, dropout }),
  'Transformer, first': (dropout = 0) =>
    new TransformerChunkEncoder({
      vocabSize: V,
      dim: 8,
      heads: 2,
      layers: 1,
      maxLength: 8,
      dropout,
      state: 'first',
    }),
  'encoder–decoder': (dropout = 0) =>
    new EncoderDecoderChunkEncoder(
      new Transformer({
        ...{ sourceVocab: V, targetVocab: 2, dim: 8, heads: 2, innerDim: 16, maxLength: 8, dropout },
        ...{ encoderLayers: 1, decoderLayers: 1, norm: 'pre' },
      }),
    ),
  'GPT-2, last': (dropout = 0) => new CausalChunkEncoder(gpt2(dropout)),
  'GPT-2, mean': (dropout = 0) => new CausalChunkEncoder(gpt2(dropout), 'mean'),
};
const POOLINGS: readonly PoolingKind[] = ['mean', 'max', 'attention', 'transformer', 'decoder'];
const names = Object.keys(ENCODERS);

function gpt2(dropout = 0): GPT2 {
  const rates = { embeddingDropout: dropout, residualDropout: dropout };
  return new GPT2(
    gpt2Config('nano', { vocabSize: V, contextLength: 8, dim: 8, heads: 2, layers: 1, ...rates }),
  );
}

interface Making extends ChunkClassifierOptions {
  readonly encoderDropout?: number;
}

function make(encoder: string, { encoderDropout, ...options }: Making = {}): ChunkClassifier {
  manualSeed(3);
  const poolingLayers = { heads: 2, innerDim: 12, ...options.poolingLayers };
  return new ChunkClassifier(ENCODERS[encoder](encoderDropout), { group: 2, ...options, poolingLayers }).to(
    'float64',
  );
}

/** Documents of any ids but 0, so that padding shows. */
const documents = fc.array(
  fc.array(fc.integer({ min: 1, max: V - 1 }), { maxLength: 30 }).map((ids) => Int32Array.from(ids)),
  { minLength: 1, maxLength: 4 },
);
const DOCS = [[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 1, 3, 5], [4, 4], [], [9, 8, 7, 6, 5, 4]].map((d) =>
  Int32Array.from(d),
);
const CHUNKS = { chunk: 4, overlap: 1 };
const LABELS = [1, 0, 1, 0];

function logits(
  model: ChunkClassifier,
  docs: readonly Int32Array[],
  options: Partial<BatchDocumentsOptions> = {},
): Promise<ArrayLike<number>> {
  return noGrad(() => scope(() => model.forward(batchDocuments(docs, { ...CHUNKS, ...options })))).data();
}

/** The gradient of every parameter, one after the other; zeros where there is none. */
async function gradients(
  model: ChunkClassifier,
  options: Partial<BatchDocumentsOptions> = {},
): Promise<number[]> {
  model.zeroGrad();
  scope(() => model.loss(batchDocuments(DOCS, { ...CHUNKS, labels: LABELS, ...options })).backward());
  const all: number[] = [];
  for (const p of model.parameters()) {
    all.push(...Array.from(p.grad ? await p.grad.data() : new Float64Array(p.numel)));
  }
  return all;
}

beforeEach(() => setDefaultDevice(cpuDevice()));

describe.each(names)('%s', (name) => {
  it.each(POOLINGS)('pooled by %s: batch, order and padding change nothing', async (pooling) => {
    const model = make(name, { pooling });
    await fc.assert(
      fc.asyncProperty(documents, fc.infiniteStream(fc.nat()), async (docs, numbers) => {
        const together = await logits(model, docs);
        for (let d = 0; d < docs.length; d++) {
          // Alone, a document's chunks meet other group members, and its last one less padding.
          expect(difference(await logits(model, [docs[d]]), [together[d]])).toBeLessThan(1e-10);
        }
        const order = docs.map((_, i) => [numbers.next().value!, i]).sort((a, b) => a[0] - b[0]);
        const shuffled = await logits(
          model,
          order.map(([, i]) => docs[i]),
        );
        expect(
          difference(
            shuffled,
            order.map(([, i]) => together[i]),
          ),
        ).toBeLessThan(1e-10);
      }),
      { numRuns: 6, seed: 5 },
    );
  });

  it('gives a chunk the same state whatever follows its tokens', async () => {
    const model = make(name);
    const states = (rows: number[][], lengths: number[]) =>
      noGrad(() =>
        scope(() =>
          model.encoder.states(tensor(rows, { dtype: 'int32' }), tensor(lengths, { dtype: 'int32' })),
        ),
      ).data();
    const bare = await states([[3, 1, 4]], [3]);
    const padded = await states(
      [
        [3, 1, 4, 7, 7, 7, 7],
        [9, 9, 9, 9, 9, 9, 9],
        [5, 5, 5, 5, 5, 5, 5],
      ],
      [3, 7, 0],
    );
    expect(difference(Array.from(padded).slice(0, 8), bare)).toBeLessThan(1e-12);
    expect(Array.from(padded).every(Number.isFinite)).toBe(true);
    const empty = await states([[1]], [0]);
    expect(difference(Array.from(padded).slice(16), empty)).toBeLessThan(1e-12);
  });

  // Encoders and poolings know nothing of each other: every pooling with one, every encoder with one.
  it.each(name === names[0] ? POOLINGS : (['attention'] as const))(
    'pooled by %s: gradients are those of finite differences',
    async (pooling) => {
      const model = make(name, { pooling });
      await gradients(model);
      const loss = () =>
        noGrad(() => scope(() => model.loss(batchDocuments(DOCS, { ...CHUNKS, labels: LABELS })))).item();
      const eps = 1e-5;
      for (const [parameter, p] of model.namedParameters()) {
        if (!p.grad) continue;
        const direction = tensor(
          Float64Array.from({ length: p.numel }, (_, i) => Math.sin(7 * i + 1)),
          { shape: p.shape, dtype: 'float64' },
        );
        const analytic = await p.grad.mul(direction).sum().item();
        const at = async (by: number): Promise<number> => {
          noGrad(() => p.add_(direction.mul(by)));
          const value = await loss();
          noGrad(() => p.add_(direction.mul(-by)));
          return value;
        };
        const numeric = ((await at(eps)) - (await at(-eps))) / (2 * eps);
        expect(Math.abs(numeric - analytic), `${parameter}: ${analytic} and ${numeric}`).toBeLessThan(
          1e-8 + 1e-5 * Math.abs(numeric),
        );
      }
    },
  );

  it('recomputes the same values, dropout and all', async () => {
    const options = { pooling: 'transformer', encoderDropout: 0.3, dropout: 0.2 } as const;
    const run = async (checkpoint: boolean, group: number): Promise<number[]> => {
      const model = make(name, { ...options, checkpoint, group });
      manualSeed(8);
      return gradients(model);
    };
    const plain = await run(false, 3);
    expect(plain.some((g) => g !== 0)).toBe(true);
    expect(difference(await run(true, 3), plain)).toBeLessThan(1e-12);
    // Other groups draw other masks.
    expect(difference(await run(true, 2), plain)).toBeGreaterThan(1e-6);
  });

  it('gives groups of any size the same gradients', async () => {
    const [one, many] = [
      await gradients(make(name, { group: 1 })),
      await gradients(make(name, { group: 100 })),
    ];
    expect(difference(one, many)).toBeLessThan(1e-12);
  });
});

describe('order of chunks', () => {
  const first = Int32Array.of(1, 2, 3, 4, 5, 6, 7, 8);
  const second = Int32Array.of(5, 6, 7, 8, 1, 2, 3, 4);
  it.each(['mean', 'max', 'attention'] as const)('does not matter to %s', async (pooling) => {
    const [a, b] = Array.from(await logits(make(names[0], { pooling }), [first, second], { overlap: 0 }));
    expect(a).toBeCloseTo(b, 12);
  });
  it.each(['transformer', 'decoder'] as const)('matters to %s', async (pooling) => {
    const [a, b] = Array.from(await logits(make(names[0], { pooling }), [first, second], { overlap: 0 }));
    expect(Math.abs(a - b)).toBeGreaterThan(1e-6);
  });
  it('knows how many places there are', () => {
    const model = make(names[0], { pooling: 'transformer', poolingLayers: { maxPlaces: 2 } });
    expect(() => model.forward(batchDocuments(DOCS, CHUNKS))).toThrow(
      'ChunkClassifier: expected documents of at most 2 chunks, got chunk 2; raise maxPlaces',
    );
  });
});

describe('sampled chunks', () => {
  it('leave the logits as they are, and give the full gradient on average', async () => {
    const full = await gradients(make(names[0], { pooling: 'attention' }));
    const model = make(names[0], { pooling: 'attention', sampled: 1 });
    const batch = batchDocuments([DOCS[0]], CHUNKS);
    expect(
      difference(await model.forward(batch).data(), await make(names[0]).forward(batch).data()),
    ).toBeLessThan(1e-12);
    const sums = new Float64Array(full.length);
    const draws = 150;
    for (let i = 0; i < draws; i++) (await gradients(model)).forEach((g, k) => (sums[k] += g / draws));
    const norm = (x: ArrayLike<number>) => Math.sqrt(Array.from(x).reduce((s, v) => s + v * v, 0));
    const error = norm(sums.map((s, k) => s - full[k])) / norm(full);
    // About 1 / √150 of a single draw's error.
    expect(error).toBeLessThan(0.2);
    const single = await gradients(model);
    expect(norm(single.map((s, k) => s - full[k])) / norm(full)).toBeGreaterThan(0.2);
    // Pooling and head see all chunks.
    const own = [...model.pooling.parameters(), ...model.head.parameters()].reduce((n, p) => n + p.numel, 0);
    expect(difference(single.slice(-own), full.slice(-own))).toBeLessThan(1e-12);
  });

  it('are drawn from the seed', async () => {
    const model = make(names[0], { sampled: 1 });
    const run = (seed: number) => {
      manualSeed(seed);
      return gradients(model);
    };
    expect(await run(1)).toEqual(await run(1));
    expect(await run(1)).not.toEqual(await run(2));
  });

  it('are all where k is as many, or outside training', async () => {
    const full = await gradients(make(names[0]));
    expect(difference(await gradients(make(names[0], { sampled: 5 })), full)).toBe(0);
    expect(difference(await gradients(make(names[0], { sampled: 1 }).eval()), full)).toBe(0);
  });
});

describe('a frozen encoder', () => {
  it('gets no gradient, reads without dropout, and its states are kept', async () => {
    const model = make('GPT-2, last', { encoderDropout: 0.5, cache: true });
    model.encoder.requiresGrad_(false);
    let read = 0;
    const { states } = model.encoder;
    model.encoder.states = function (ids, lengths) {
      read += ids.shape[0];
      return states.call(this, ids, lengths);
    };
    const keys = ['a', 'b', 'c', 'd'];
    const first = await gradients(model, { keys });
    expect(read).toBe(8);
    expect(model.cache!.size).toBe(4);
    expect(model.encoder.parameters().every((p) => p.grad === null)).toBe(true);
    expect(model.head.weight.grad).not.toBeNull();
    expect(difference(await gradients(model, { keys }), first)).toBe(0);
    expect(read).toBe(8);
    // Another way of cutting is another state.
    await gradients(model, { keys, overlap: 0 });
    expect(read).toBe(16);
    const order = [2, 0];
    const labels = order.map((i) => LABELS[i]);
    const some = batchDocuments(
      order.map((i) => DOCS[i]),
      { ...CHUNKS, labels, keys: order.map((i) => keys[i]) },
    );
    const bare = batchDocuments(
      order.map((i) => DOCS[i]),
      CHUNKS,
    );
    expect(difference(await model.forward(some).data(), await model.forward(bare).data())).toBeLessThan(
      1e-12,
    );
    model.cache!.clear();
    expect(model.cache!.size).toBe(0);
  });

  it('with LoRA trains the adapters alone', async () => {
    const model = gpt2();
    applyLora(model, { rank: 2 });
    const classifier = new ChunkClassifier(new CausalChunkEncoder(model), { group: 2 });
    scope(() => classifier.loss(batchDocuments(DOCS, { ...CHUNKS, labels: LABELS })).backward());
    for (const [name, p] of classifier.encoder.namedParameters()) {
      expect(p.grad !== null, name).toBe(/lora_/.test(name));
    }
  });
});

describe('the classifier', () => {
  it('weighs labels', async () => {
    const x = tensor([2, -1, 0.5], { dtype: 'float64', requiresGrad: true });
    const y = tensor([1, 0, 0], { dtype: 'float64' });
    const bce = [Math.log1p(Math.exp(-2)), Math.log1p(Math.exp(-1)), Math.log1p(Math.exp(0.5))];
    const wrong = bce.map((l) => 1 - Math.exp(-l));
    const mean = (l: number[]) => (l[0] + l[1] + l[2]) / 3;
    expect(await binaryLoss(x, y).item()).toBeCloseTo(mean(bce), 12);
    expect(await binaryLoss(x, y, { posWeight: 3 }).item()).toBeCloseTo(
      mean([3 * bce[0], bce[1], bce[2]]),
      12,
    );
    expect(await binaryLoss(x, y, { focal: 2 }).item()).toBeCloseTo(
      mean(bce.map((l, i) => wrong[i] ** 2 * l)),
      12,
    );
    expect(() => binaryLoss(x, y, { posWeight: 0 })).toThrow('posWeight > 0');
  });

  it('explains a document by what its chunks did', async () => {
    const model = make(names[0], { pooling: 'attention' });
    const batch = batchDocuments([DOCS[0], DOCS[1]], CHUNKS);
    const [long, short] = await model.explain(batch);
    expect(long.chunks.map(({ start, end }) => [start, end])).toEqual([
      [0, 4],
      [3, 7],
      [6, 10],
      [9, 13],
    ]);
    expect(long.chunks.reduce((s, c) => s + c.weight!, 0)).toBeCloseTo(1, 12);
    const [a, b] = Array.from(await model.forward(batch).data());
    expect(long.probability).toBeCloseTo(1 / (1 + Math.exp(-a)), 12);
    expect(short.chunks).toHaveLength(1);
    expect(short.chunks[0].effect).toBeCloseTo(b, 12);
    expect(model.training).toBe(true);
    const [mean] = await make(names[0], { pooling: 'mean' }).explain(batch);
    expect(mean.chunks[0].weight).toBeNull();
  });

  it('leaves nothing behind', async () => {
    const model = make(names[0], { sampled: 2 });
    await gradients(model);
    const [live, bytes] = [memory.liveTensors, cpuDevice().memory().liveBytes];
    for (let i = 0; i < 3; i++) {
      await gradients(model);
      await model.explain(batchDocuments(DOCS, CHUNKS));
    }
    expect(memory.liveTensors).toBe(live);
    expect(cpuDevice().memory().liveBytes).toBe(bytes);
  });

  it('says what does not fit', () => {
    const model = make(names[0]);
    expect(() => model.forward(batchDocuments([new Int32Array(9)], { chunk: 9 }))).toThrow(
      "ChunkClassifier: expected chunks of at most the encoder's 8 tokens, got 9",
    );
    expect(() => model.loss(batchDocuments(DOCS, CHUNKS))).toThrow('expected a batch with labels, got none');
    expect(() => make(names[0], { group: 0 })).toThrow('expected group to be a positive integer, got 0');
    expect(() => make(names[0], { sampled: 1.5 })).toThrow(
      'expected sampled to be a positive integer, got 1.5',
    );
    expect(() => make(names[0], { pooling: 'sum' as 'mean' })).toThrow("got 'sum'");
  });
});
