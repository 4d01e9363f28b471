/** Windowed attention over whole documents: what a token sees, padding, gradients, and memory that grows with T. */
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import '../../src/autograd/methods.js';
import { noGrad } from '../../src/autograd/mode.js';
import { DryDevice } from '../../src/device/dry.js';
import { measureStep } from '../../src/models/chunk-memory.js';
import { WindowClassifier, type WindowConfig, windowBatch } from '../../src/models/window-classifier.js';
import { cpuDevice, setDefaultDevice } from '../../src/tensor/default-device.js';
import { tensor } from '../../src/tensor/factories.js';
import { scope } from '../../src/tensor/lifetime.js';
import { manualSeed } from '../../src/tensor/random.js';
import { difference } from '../support/each-device.js';

const TINY = {
  vocabSize: 9,
  dim: 8,
  heads: 2,
  innerDim: 12,
  layers: 2,
  window: 3,
  globals: 2,
  maxLength: 64,
};
const LABELS = [1, 0, 1];
const DOCS = [[1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4], [], [5, 4, 3, 8]].map((d) => Int32Array.from(d));

function make(config: Partial<WindowConfig> = {}): WindowClassifier {
  manualSeed(4);
  return new WindowClassifier({ ...TINY, ...config }).to('float64');
}

const loss = (model: WindowClassifier) => model.loss(windowBatch(DOCS), tensor(LABELS, { dtype: 'float64' }));

async function gradients(model: WindowClassifier): Promise<number[]> {
  model.zeroGrad();
  scope(() => loss(model).backward());
  const all: number[] = [];
  for (const p of model.parameters()) all.push(...Array.from(await p.grad!.data()));
  return all;
}

beforeEach(() => setDefaultDevice(cpuDevice()));

describe('WindowClassifier', () => {
  it('is not changed by padding, batch or order', async () => {
    const model = make();
    const logits = (docs: readonly Int32Array[], length?: number) =>
      noGrad(() => scope(() => model.forward(windowBatch(docs, { length })))).data();
    const documents = fc.array(
      fc.array(fc.integer({ min: 1, max: 8 }), { maxLength: 20 }).map((ids) => Int32Array.from(ids)),
      { minLength: 1, maxLength: 3 },
    );
    await fc.assert(
      fc.asyncProperty(documents, fc.integer({ min: 20, max: 40 }), async (docs, length) => {
        const together = Array.from(await logits(docs));
        expect(difference(await logits(docs, length), together)).toBeLessThan(1e-10);
        expect(difference(await logits([...docs].reverse()), together.reverse())).toBeLessThan(1e-10);
        expect(difference(await logits(docs.slice(0, 1)), together.slice(-1))).toBeLessThan(1e-10);
      }),
      { numRuns: 8, seed: 2 },
    );
  });

  it('sees W − 1 tokens to either side in a layer', async () => {
    const model = make();
    const [layer] = model.layers;
    const T = 12;
    const globals = tensor(new Float64Array(16), { shape: [1, 2, 8] });
    const padding = tensor(new Uint8Array(T), { shape: [1, T] });
    const x = new Float64Array(T * 8).map((_, i) => Math.sin(i));
    const run = async (values: Float64Array): Promise<ArrayLike<number>> =>
      noGrad(() => layer.forward(tensor(values, { shape: [1, T, 8] }), globals, padding)[0]).data();
    const before = await run(x);
    const after = await run(x.map((v, i) => (Math.floor(i / 8) === 6 ? v * Math.cos(i) : v)));
    const changed = Array.from({ length: T }, (_, t) => t).filter((t) =>
      Array.from({ length: 8 }, (_, c) => t * 8 + c).some((i) => Math.abs(before[i] - after[i]) > 1e-9),
    );
    expect(changed).toEqual([4, 5, 6, 7, 8]);
  });

  it('carries news from one end to the other by global vectors', async () => {
    const model = make({ layers: 1, window: 1 });
    const ids = (first: number) => windowBatch([Int32Array.from({ length: 40 }, (_, i) => (i ? 3 : first))]);
    const [a, b] = await Promise.all([model.forward(ids(1)).item(), model.forward(ids(2)).item()]);
    expect(Math.abs(a - b)).toBeGreaterThan(1e-6);
  });

  it('has the gradients of finite differences, recomputed or not, with dropout too', async () => {
    const model = make();
    const all = await gradients(model);
    expect(difference(await gradients(make({ checkpoint: false })), all)).toBeLessThan(1e-12);
    const dropped = async (checkpoint: boolean) => {
      const other = make({ dropout: 0.3, checkpoint });
      manualSeed(6);
      return gradients(other);
    };
    expect(difference(await dropped(true), await dropped(false))).toBeLessThan(1e-12);
    for (const [name, p] of model.namedParameters()) {
      const direction = tensor(
        Float64Array.from({ length: p.numel }, (_, i) => Math.cos(5 * i + 2)),
        { shape: p.shape },
      );
      const analytic = await p.grad!.mul(direction).sum().item();
      const at = async (by: number): Promise<number> => {
        noGrad(() => p.add_(direction.mul(by)));
        const value = await noGrad(() => loss(model)).item();
        noGrad(() => p.add_(direction.mul(-by)));
        return value;
      };
      const numeric = ((await at(1e-5)) - (await at(-1e-5))) / 2e-5;
      expect(Math.abs(numeric - analytic), name).toBeLessThan(1e-8 + 1e-5 * Math.abs(numeric));
    }
  });

  it('takes memory that grows with the document, not with its square', () => {
    const peak = (T: number): number => {
      const make = () => new WindowClassifier({ vocabSize: 256, maxLength: T, dim: 32, heads: 2 });
      const ids = new Int32Array(T);
      const step = (model: WindowClassifier) => {
        const { device } = model.head.weight;
        return model.loss(windowBatch([ids], { device }), tensor([1], { device }));
      };
      return measureStep(new DryDevice(), make, step).peakBytes;
    };
    expect(peak(16_384) / peak(4096)).toBeLessThan(4.2);
  });

  it('says what does not fit', () => {
    expect(() => make({ heads: 1 })).toThrow(
      'WindowClassifier: expected an even number of heads that divides dim 8, got 1',
    );
    expect(() => make({ window: 0 })).toThrow('expected window to be a positive integer, got 0');
    expect(() => make({ maxLength: 4 }).forward(windowBatch(DOCS))).toThrow(
      'WindowClassifier: expected documents of at most 4 tokens, got 12',
    );
  });
});
