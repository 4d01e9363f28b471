/** The Transformer with encoder and decoder: shapes, masks, shared weights, captured steps, and what it refuses. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import '../../src/autograd/methods.js';
import { capture } from '../../src/autograd/capture.js';
import { noGrad } from '../../src/autograd/mode.js';
import { Transformer, type TransformerConfig } from '../../src/models/transformer.js';
import { DecoderCache } from '../../src/models/transformer-cache.js';
import { sinusoids } from '../../src/models/transformer-layers.js';
import { Adam } from '../../src/optim/adam.js';
import { NoamLR } from '../../src/optim/noam.js';
import { cpuDevice, setDefaultDevice } from '../../src/tensor/default-device.js';
import { tensor } from '../../src/tensor/factories.js';
import { memory, scope } from '../../src/tensor/lifetime.js';
import { manualSeed } from '../../src/tensor/random.js';
import type { Tensor } from '../../src/tensor/tensor.js';
import { difference } from '../support/each-device.js';

const PAD = 0;
const SHAPE = { sourceVocab: 9, targetVocab: 9, dim: 16, heads: 4, innerDim: 24, maxLength: 10 };

function tiny(config: Partial<TransformerConfig> = {}): Transformer {
  setDefaultDevice(cpuDevice());
  manualSeed(7);
  return new Transformer({
    ...SHAPE,
    ...{ encoderLayers: 2, decoderLayers: 2, dropout: 0, padToken: PAD },
    ...config,
  });
}

/** Rows of ids, filled up with padding. */
function batch(
  rows: readonly (readonly number[])[],
  length = Math.max(...rows.map((r) => r.length)),
): Tensor {
  const ids = new Int32Array(rows.length * length).fill(PAD);
  rows.forEach((row, b) => {
    ids.set(row, b * length);
  });
  return tensor(ids, { shape: [rows.length, length] });
}

/** Logits of the first `count` positions of row b. */
async function scores(logits: Tensor, b: number, count: number): Promise<ArrayLike<number>> {
  return logits.select(0, b).narrow(0, 0, count).contiguous().data();
}

describe('shapes', () => {
  it('of memory, vectors, scores and loss', () => {
    const model = tiny();
    const source = batch([[1, 2, 3, 4], [5]]);
    const target = batch([[1, 2, 3], [4]]);
    const memoryOf = model.encode(source);
    expect(memoryOf.shape).toEqual([2, 4, 16]);
    expect(model.decode(target, memoryOf).shape).toEqual([2, 3, 16]);
    expect(model.forward(source, target).shape).toEqual([2, 3, 9]);
    expect(model.loss(source, target).shape).toEqual([]);
  });

  it("and choices of the paper are the default, under PyTorch's names", () => {
    const model = tiny();
    expect(model.config).toMatchObject({
      norm: 'post',
      activation: 'relu',
      positions: 'sinusoidal',
      labelSmoothing: 0.1,
    });
    const names = model.namedParameters().map(([name]) => name);
    expect(names).toContain('encoder.layers.0.self_attn.in_proj_weight');
    expect(names).toContain('decoder.layers.1.multihead_attn.out_proj.bias');
    expect(names).toContain('decoder.layers.1.norm3.weight');
  });

  it('of learned positions are part of the state, those of waves are not', () => {
    const has = (model: Transformer) =>
      [...model.stateDict().keys()].filter((name) => /pos|waves/.test(name));
    expect(has(tiny())).toEqual([]);
    expect(has(tiny({ positions: 'learned' }))).toEqual(['src_pos.weight', 'tgt_pos.weight']);
  });

  it('shared embeddings are one parameter under each name', () => {
    const free = tiny();
    const source = tiny({ tieSource: true });
    const both = tiny({ tieSource: true, tieHead: true });
    expect(free.numParameters() - source.numParameters()).toBe(9 * 16);
    expect(source.numParameters() - both.numParameters()).toBe(9 * 16 + 9);
    expect(both.src_embed.weight).toBe(both.tgt_embed.weight);
    expect([...both.stateDict().keys()].filter((name) => name.includes('embed'))).toHaveLength(2);
    expect(both.head).toBeNull();
  });
});

describe('sinusoids', () => {
  it('are those of the paper', async () => {
    const waves = await sinusoids(4, 6).data();
    for (let p = 0; p < 4; p++) {
      for (let i = 0; i < 3; i++) {
        const angle = p / 10_000 ** ((2 * i) / 6);
        expect(waves[p * 6 + 2 * i]).toBeCloseTo(Math.sin(angle), 6);
        expect(waves[p * 6 + 2 * i + 1]).toBeCloseTo(Math.cos(angle), 6);
      }
    }
    expect(() => sinusoids(4, 5)).toThrow('sinusoids: expected an even dim, got 5');
    expect(() => sinusoids(1e9, 64)).toThrow('sinusoids: expected at most 268435456 numbers, got 1000000000');
  });
});

describe('masks', () => {
  const token = fc.integer({ min: 1, max: 8 });
  const row = fc.record({
    source: fc.array(token, { minLength: 1, maxLength: 5 }),
    target: fc.array(token, { minLength: 1, maxLength: 5 }),
  });

  it.each(['pre', 'post'] as const)('padding and company change nothing (%s-norm)', async (norm) => {
    const model = tiny({ norm }).eval();
    await fc.assert(
      fc.asyncProperty(
        fc.array(row, { minLength: 1, maxLength: 4 }),
        fc.integer({ min: 0, max: 4 }),
        fc.integer({ min: 0, max: 4 }),
        async (rows, moreSource, moreTarget) => {
          const longest = (key: 'source' | 'target') => Math.max(...rows.map((r) => r[key].length));
          const together = noGrad(() =>
            model.forward(
              batch(
                rows.map((r) => r.source),
                longest('source') + moreSource,
              ),
              batch(
                rows.map((r) => r.target),
                longest('target') + moreTarget,
              ),
            ),
          );
          for (const [b, { source, target }] of rows.entries()) {
            const alone = noGrad(() => model.forward(batch([source]), batch([target])));
            const T = target.length;
            expect(difference(await scores(together, b, T), await scores(alone, 0, T))).toBeLessThan(1e-5);
          }
        },
      ),
      { numRuns: 25, seed: 1 },
    );
  });

  it('padding changes neither the loss nor any gradient', async () => {
    const model = tiny({ labelSmoothing: 0.1 });
    const source = [
      [1, 2, 3],
      [4, 5],
    ];
    const target = [
      [1, 4, 2],
      [1, 6, 7, 2],
    ];
    const run = async (extra: number) => {
      model.zeroGrad();
      const loss = scope(() => {
        const l = model.loss(batch(source, 3 + extra), batch(target, 4 + extra));
        l.backward();
        return l.detach();
      });
      return [await loss.data(), ...(await Promise.all(model.parameters().map((p) => p.grad!.data())))];
    };
    const plain = await run(0);
    const padded = await run(3);
    plain.forEach((values, i) => {
      expect(difference(padded[i], values)).toBeLessThan(1e-5);
    });
  });

  it('later tokens change nothing', async () => {
    const model = tiny().eval();
    const source = batch([[1, 2, 3]]);
    const first = model.forward(source, batch([[1, 2, 3, 4]]));
    const other = model.forward(source, batch([[1, 2, 8, 7]]));
    expect(await scores(other, 0, 2)).toEqual(await scores(first, 0, 2));
    expect(difference(await scores(other, 0, 3), await scores(first, 0, 3))).toBeGreaterThan(1e-3);
  });

  it('may be given, and a source of nothing but padding gives numbers', async () => {
    const model = tiny({ padToken: null }).eval();
    const padding = tensor([[0, 0, 1]], { dtype: 'bool' });
    const padded = model.forward(batch([[1, 2, 5]]), batch([[1, 2]]), { sourcePadding: padding });
    const plain = model.forward(batch([[1, 2]]), batch([[1, 2]]));
    expect(difference(await padded.data(), await plain.data())).toBeLessThan(1e-5);
    const nothing = tensor([[1, 1, 1]], { dtype: 'bool' });
    const empty = model.forward(batch([[1, 2, 5]]), batch([[1, 2]]), { sourcePadding: nothing });
    expect([...(await empty.data())].every(Number.isFinite)).toBe(true);
  });
});

describe('the cache', () => {
  it.each([1, 2, 3])('gives what decoding without it gives, %i tokens at a time', async (step) => {
    const model = tiny().eval();
    const source = batch([
      [1, 2, 3, 4],
      [5, 6],
    ]);
    const target = batch([
      [1, 2, 3, 4, 5, 6],
      [1, 8, 7, 6, 5, 4],
    ]);
    const options = { memoryPadding: model.paddingOf(source) };
    const memoryOf = noGrad(() => model.encode(source));
    const whole = await noGrad(() => model.decode(target, memoryOf, options)).data();
    const cache = new DecoderCache();
    for (let at = 0; at < 6; at += step) {
      const part = noGrad(() => model.decode(target.narrow(1, at, step), memoryOf, { ...options, cache }));
      const values = await part.data();
      for (let b = 0; b < 2; b++) {
        const expected = whole.slice((b * 6 + at) * 16, (b * 6 + at + step) * 16);
        expect(difference(values.slice(b * step * 16, (b + 1) * step * 16), expected)).toBeLessThan(1e-5);
      }
    }
    expect(cache.length).toBe(6);
    expect(() =>
      model.decode(
        batch([
          [1, 1, 1, 1, 1],
          [1, 1, 1, 1, 1],
        ]),
        memoryOf,
        { cache },
      ),
    ).toThrow('Transformer: expected target ids of shape [B, T ≤ 4, after 6 tokens], got [2, 5]');
    cache.release();
  });
});

describe('training', () => {
  it.each([0, 0.1])('a step is captured whole, with dropout %d, and leaks nothing', async (dropout) => {
    const run = async (captured: boolean) => {
      const model = tiny({ dropout, tieHead: true });
      manualSeed(3);
      const optimizer = new Adam(model.parameters(), { lr: 1, betas: [0.9, 0.98], eps: 1e-9 });
      const scheduler = new NoamLR(optimizer, { dim: 16, warmupSteps: 20 });
      const work = (source: Tensor, target: Tensor) => {
        const loss = model.loss(source, target);
        loss.backward();
        optimizer.step();
        optimizer.zeroGrad();
        return loss;
      };
      const step = capture(work);
      const losses: number[] = [];
      let alive = 0;
      for (let i = 0; i < 6; i++) {
        const loss = scope(() => {
          const source = batch([
            [1 + i, 2, 3],
            [4, 5],
          ]);
          const target = batch([
            [1, 3, 2, 1 + i, 2],
            [1, 5, 4, 2],
          ]);
          return (captured ? step(source, target) : work(source, target).detach()) as Tensor;
        });
        losses.push(await loss.item());
        if (!captured) loss.release();
        scheduler.step();
        if (i === 2) alive = memory.liveTensors;
      }
      expect(memory.liveTensors).toBe(alive);
      if (captured) expect(step.stats).toMatchObject({ captures: 1, replays: 5 });
      step.release();
      return losses;
    };
    expect(await run(true)).toEqual(await run(false));
  });

  it('label smoothing counts in training only', async () => {
    const model = tiny({ labelSmoothing: 0.3 });
    const inputs = [batch([[1, 2]]), batch([[1, 4, 2]])] as const;
    const training = await model.loss(...inputs).item();
    model.eval();
    const plain = await model.loss(...inputs).item();
    expect(training).not.toBeCloseTo(plain, 3);
    expect(await model.loss(...inputs, { labelSmoothing: 0.3 }).item()).toBeCloseTo(training, 6);
  });
});

describe('errors say what is wrong with', () => {
  const make = (config: Partial<TransformerConfig>) => () => tiny(config);

  it('configurations', () => {
    expect(make({ heads: 3 })).toThrow('Transformer: expected heads that divide dim 16, got 3');
    expect(make({ dim: 0 })).toThrow('Transformer: expected dim to be a positive integer, got 0');
    expect(make({ encoderLayers: 1.5 })).toThrow(
      'Transformer: expected encoderLayers to be a positive integer, got 1.5',
    );
    expect(make({ dropout: 1 })).toThrow('Transformer: expected a dropout in [0, 1), got 1');
    expect(make({ norm: 'both' as 'pre' })).toThrow("Transformer: expected norm 'pre' or 'post', got 'both'");
    expect(make({ activation: 'tanh' as 'relu' })).toThrow(
      "Transformer: expected activation 'relu' or 'gelu', got 'tanh'",
    );
    expect(make({ positions: 'none' as 'learned' })).toThrow(
      "Transformer: expected positions 'sinusoidal' or 'learned', got 'none'",
    );
    expect(make({ padToken: 9 })).toThrow('Transformer: expected a padToken in [0, 9) or null, got 9');
    expect(make({ labelSmoothing: 1 })).toThrow('Transformer: expected labelSmoothing in [0, 1), got 1');
    expect(make({ sourceVocab: 12, tieSource: true })).toThrow(
      'Transformer: expected one vocabulary for tieSource, got 12 source and 9 target tokens',
    );
    expect(make({ dim: 15, heads: 3 })).toThrow('sinusoids: expected an even dim, got 15');
  });

  it('inputs', () => {
    const model = tiny();
    const ids = batch([[1, 2, 3]]);
    expect(() => model.encode(batch([[1]], 11))).toThrow(
      'Transformer: expected source ids of shape [B, T ≤ 10], got [1, 11]',
    );
    expect(() => model.encode(tensor([1, 2], { dtype: 'int32' }))).toThrow(
      'Transformer: expected source ids of shape [B, T ≤ 10], got [2]',
    );
    expect(() => model.forward(ids, batch([[1], [2]]))).toThrow(
      'Transformer: expected a memory of shape [2, S, 16], got [1, 3, 16]',
    );
    expect(() => model.loss(ids, batch([[1]]))).toThrow(
      'Transformer.loss: expected a target of shape [B, T ≥ 2], from start to end, got [1, 1]',
    );
    expect(() => model.encode(ids, { padding: tensor([[0, 1]], { dtype: 'bool' }) })).toThrow(
      'MultiheadAttention: expected a keyPaddingMask of shape [1, 3], got [1, 2]',
    );
  });
});
