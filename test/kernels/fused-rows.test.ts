import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import '../../src/autograd/methods.js';
import { biasGelu } from '../../src/autograd/ops/bias-gelu.js';
import { dropout } from '../../src/autograd/ops/dropout.js';
import { dropoutAdd } from '../../src/autograd/ops/dropout-add.js';
import { embedding } from '../../src/autograd/ops/index.js';
import { crossEntropy } from '../../src/autograd/ops/losses.js';
import { addLayerNorm, layerNorm, rmsNorm } from '../../src/autograd/ops/norm-layers.js';
import { randint, randn } from '../../src/autograd/ops/random.js';
import { softmax } from '../../src/autograd/ops/softmax.js';
import { openWebGPU, type WebGPUDevice } from '../../src/device/webgpu/device.js';
import { scope } from '../../src/tensor/lifetime.js';
import { manualSeed } from '../../src/tensor/random.js';
import { Tensor } from '../../src/tensor/tensor.js';

describe('fused rows', () => {
  let device: WebGPUDevice;
  beforeAll(async () => {
    // Dawn's null backend: dispatches are counted, not run.
    device = await openWebGPU({ adapter: 'null' });
  });
  afterAll(() => device.close());

  /** Dispatches of forward, and of backward from given gradients. */
  function dispatches(fn: () => Tensor | readonly Tensor[]): [forward: number, backward: number] {
    return scope(() => {
      const start = device.stats().dispatches;
      const out = fn();
      const outputs = out instanceof Tensor ? [out] : out;
      const forward = device.stats().dispatches - start;
      const gradients = outputs.map((t) => randn(t.shape, { device }));
      const before = device.stats().dispatches;
      outputs.forEach((t, i) => {
        if (outputs.length === 1) t.backward({ gradient: gradients[i] });
      });
      return [forward, device.stats().dispatches - before];
    });
  }

  const make = (...shape: number[]) => randn(shape, { device }).requiresGrad_();

  it('takes one dispatch forward and one for all gradients', () => {
    // New leaves each time: a second gradient would be added to the first.
    const affine = () => ({ weight: make(64), bias: make(64) });
    const x = () => make(128, 64);
    const one = [1, 1];
    const norm = [x(), affine()] as const;
    expect(dispatches(() => layerNorm(norm[0], 64, norm[1]))).toEqual(one);
    const rms = [x(), make(64)] as const;
    expect(dispatches(() => rmsNorm(rms[0], 64, { weight: rms[1] }))).toEqual(one);
    const gelu = [x(), make(64)] as const;
    expect(dispatches(() => biasGelu(...gelu))).toEqual(one);
    const scores = make(128, 65);
    expect(dispatches(() => softmax(scores, 1))).toEqual(one);
    const targets = randint(0, 65, [128], { device });
    // The mean of the rows' losses is one more each way.
    const [rows, all] = [make(128, 65), make(128, 65)];
    expect(dispatches(() => crossEntropy(rows, targets, { reduction: 'none' }))).toEqual(one);
    expect(dispatches(() => crossEntropy(all, targets))).toEqual([2, 2]);
    const sum = [x(), x(), affine()] as const;
    expect(dispatches(() => addLayerNorm(sum[0], sum[1], 64, sum[2]))[0]).toBe(1);
  });

  it('takes a dispatch for the gradient of an embedding, two where the table is large', () => {
    for (const [words, count] of [
      [65, 1],
      [50_257, 2],
    ]) {
      const table = make(words, 64);
      const ids = randint(0, words, [4, 32], { device });
      expect(dispatches(() => embedding(table, ids))).toEqual([1, count]);
    }
  });
});

describe('dropoutAdd', () => {
  it('draws the mask of dropout', async () => {
    const x = randn([37, 5]);
    const r = randn([37, 5]);
    manualSeed(5);
    const fused = await dropoutAdd(x, r, 0.3).data();
    manualSeed(5);
    const plain = await dropout(x, 0.3).add(r).data();
    expect(fused).toEqual(plain);
  });
});
