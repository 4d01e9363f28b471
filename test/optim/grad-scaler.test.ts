/** Mixed precision: what runs in which dtype, how the scale moves, and that a model learns the same. */
import { beforeEach, describe, expect, it } from 'vitest';
import '../../src/autograd/methods.js';
import { autocast } from '../../src/autograd/autocast.js';
import { capture } from '../../src/autograd/capture.js';
import { checkpoint } from '../../src/autograd/checkpoint.js';
import { mul } from '../../src/autograd/ops/arithmetic.js';
import { linear } from '../../src/autograd/ops/linear.js';
import { matmul } from '../../src/autograd/ops/matmul.js';
import { softmax } from '../../src/autograd/ops/softmax.js';
import { CharTransformer } from '../../src/models/char-transformer.js';
import { AdamW } from '../../src/optim/adam.js';
import { clipGradNorm_ } from '../../src/optim/clip.js';
import { GradScaler } from '../../src/optim/grad-scaler.js';
import { SGD } from '../../src/optim/sgd.js';
import { setDefaultDevice } from '../../src/tensor/default-device.js';
import { tensor } from '../../src/tensor/factories.js';
import { keep, scope } from '../../src/tensor/lifetime.js';
import { manualSeed } from '../../src/tensor/random.js';
import type { Tensor } from '../../src/tensor/tensor.js';
import { eachDevice, type Place } from '../support/each-device.js';

function body(place: Place): void {
  if (place.dtype === 'float64')
    return void it('has no float64 in mixed precision', () => expect(true).toBe(true));
  beforeEach(() => setDefaultDevice(place.device));

  describe('autocast', () => {
    it('computes products in float16, exponentials in float32, sums of both in the wider', () => {
      const a = place.make([1, 2, 3, 4], [2, 2]);
      const w = place.make([1, 2, 3, 4], [2, 2]).requiresGrad_();
      autocast(() => {
        const y = matmul(a, w);
        expect(y.dtype).toBe('float16');
        expect(linear(a, w).dtype).toBe('float16');
        expect(softmax(y, -1).dtype).toBe('float32');
        expect(y.add(a).dtype).toBe('float32');
        expect(mul(y, y).dtype).toBe('float16');
        expect(y.sum().dtype).toBe('float32');
        expect(autocast(() => matmul(a, w), { enabled: false }).dtype).toBe('float32');
        expect(matmul(a, w).dtype).toBe('float16');
      });
      expect(matmul(a, w).dtype).toBe('float32');
    });

    it('gives parameters gradients in float32, also through checkpoint', async () => {
      const a = place.make([1, 2, 3, 4], [2, 2]);
      for (const run of [
        (f: (x: Tensor) => Tensor) => f(a),
        (f: (x: Tensor) => Tensor) => checkpoint(f, a),
      ]) {
        const w = place.make([0.5, -1, 2, 0.25], [2, 2]).requiresGrad_();
        const loss = autocast(() => run((x) => matmul(matmul(x, w), w)).sum());
        loss.backward();
        expect(w.grad!.dtype).toBe('float32');
        // d Σ (a·w·w) = aᵀ·1·wᵀ + (a·w)ᵀ·1, exact in float16 for these numbers.
        expect([...(await w.grad!.data())]).toEqual([12, 23, -5.5, 11]);
      }
    });
  });

  describe('GradScaler', () => {
    const setup = (options = {}) => {
      const w = place.make([1, 2], [2]).requiresGrad_();
      const optimizer = new SGD([w], { lr: 1 });
      return { w, optimizer, scaler: new GradScaler({ initScale: 8, growthInterval: 2, ...options }) };
    };

    it('scales the loss, gives the gradients back as they are, and grows', async () => {
      const { w, optimizer, scaler } = setup();
      const scales: number[] = [];
      for (let i = 0; i < 4; i++) {
        const loss = scaler.scale(w.mul(place.make([1, 0.5], [2])).sum());
        loss.backward();
        expect(await w.grad!.data()).toEqual(Float32Array.of(1, 0.5).map((g) => g * (scales.at(-1) ?? 8)));
        scaler.unscale_(optimizer);
        expect([...(await w.grad!.data())]).toEqual([1, 0.5]);
        scaler.step(optimizer);
        scaler.update();
        optimizer.zeroGrad();
        scales.push(await scaler.getScale());
      }
      expect(scales).toEqual([8, 16, 16, 32]);
      expect([...(await w.data())]).toEqual([-3, 0]);
      expect(await scaler.skippedSteps()).toBe(0);
    });

    it.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])(
      'leaves out a step with a gradient of %d',
      async (bad) => {
        for (const make of [
          (p: Tensor[]) => new SGD(p, { lr: 1, momentum: 0.9 }),
          (p: Tensor[]) => new AdamW(p, { lr: 1 }),
          (p: Tensor[]) => new SGD(p, { lr: 1 }),
        ]) {
          const w = place
            .make(
              Array.from({ length: 3000 }, () => 1),
              [3000],
            )
            .requiresGrad_();
          const other = place.make([1], [1]).requiresGrad_();
          const optimizer = make([w, other]) as SGD;
          const scaler = new GradScaler({ initScale: 8 });
          const step = async (last: number) => {
            const g = new Float32Array(3000).fill(8);
            g[2999] = last;
            w.grad = keep(tensor(g, { device: place.device }));
            other.grad = keep(place.make([8], [1]));
            scaler.scale(place.make([1], []));
            scaler.step(optimizer);
            scaler.update();
            optimizer.zeroGrad();
            return [...(await w.data()), await other.item()];
          };
          const once = await step(8);
          expect(new Set(once).size).toBe(1);
          expect(once[0]).not.toBe(1);
          expect(await step(bad)).toEqual(once);
          expect([await scaler.getScale(), await scaler.skippedSteps()]).toEqual([4, 1]);
          // What was left out counts for nothing: the next step is the second one.
          w.grad = null;
          const again = await step(4 * 8);
          expect(again[0]).not.toBe(once[0]);
          const state = optimizer.stateDict().tensors.get('0.step');
          if (state) expect(await state.item()).toBe(2);
        }
      },
    );

    it('is saved and loaded', async () => {
      const { w, optimizer, scaler } = setup();
      scaler.scale(w.sum()).backward();
      scaler.step(optimizer);
      scaler.update();
      const other = new GradScaler({ initScale: 1024, growthInterval: 2 });
      other.loadStateDict(scaler.stateDict());
      optimizer.zeroGrad();
      other.scale(w.sum()).backward();
      other.step(optimizer);
      other.update();
      expect(await other.getScale()).toBe(16);
      expect(await new GradScaler({ initScale: 64 }).getScale()).toBe(64);
      expect(() => scaler.loadStateDict({ tensors: new Map([['state', w]]) })).toThrow(
        'GradScaler.loadStateDict: expected a state of 3 numbers, got 2',
      );
    });

    it('does nothing where it is off, and says what is wrong', async () => {
      const { w, optimizer, scaler } = setup({ enabled: false });
      const loss = w.sum();
      expect(scaler.scale(loss)).toBe(loss);
      loss.backward();
      scaler.step(optimizer);
      scaler.update();
      expect([...(await w.data())]).toEqual([0, 1]);
      const on = setup();
      on.scaler.scale(on.w.sum()).backward();
      on.scaler.unscale_(on.optimizer);
      expect(() => on.scaler.unscale_(on.optimizer)).toThrow(
        'GradScaler.unscale_: expected one call between updates, got a second for SGD; call update() after step()',
      );
      expect(() => new GradScaler({ growthFactor: 1 })).toThrow(
        'GradScaler: expected growthFactor to be above 1, got 1',
      );
      const half = tensor([1], { dtype: 'float16', device: place.device }).requiresGrad_();
      half.grad = keep(tensor([1], { dtype: 'float16', device: place.device }));
      expect(() => new GradScaler().unscale_(new SGD([half]))).toThrow(
        'GradScaler.unscale_: expected float32 gradients, got float16; keep the parameters in float32 and use autocast',
      );
    });
  });

  it('learns as float32 does: within 1 % of the loss, replayed', async () => {
    const config = { vocabSize: 23, blockSize: 16, layers: 1, heads: 2, dim: 16, dropout: 0 };
    const text = Int32Array.from({ length: 4000 }, (_, i) => (i % 37 === 0 ? (i * 7) % 23 : (i * i) % 23));
    const train = async (mixed: boolean): Promise<[number, number]> => {
      manualSeed(4);
      const model = new CharTransformer(config);
      const optimizer = new AdamW(model.parameters(), { lr: 1e-2 });
      const scaler = new GradScaler({ enabled: mixed });
      const step = capture((x: Tensor, y: Tensor) => {
        const loss = autocast(() => model.loss(x, y), { enabled: mixed });
        scaler.scale(loss).backward();
        scaler.unscale_(optimizer);
        clipGradNorm_(model.parameters(), 1);
        scaler.step(optimizer);
        scaler.update();
        optimizer.zeroGrad();
        return loss;
      });
      let mean = 0;
      for (let i = 0; i < 60; i++) {
        const at = (i * 331) % 3800;
        const loss = scope(() =>
          step(
            tensor(text.subarray(at, at + 128), { shape: [8, 16] }),
            tensor(text.subarray(at + 1, at + 129), { shape: [8, 16] }),
          ).mul(1),
        );
        if (i >= 50) mean += (await loss.item()) / 10;
      }
      expect(step.stats.captures).toBe(1);
      return [mean, await scaler.skippedSteps()];
    };
    const [full] = await train(false);
    const [mixed, skipped] = await train(true);
    expect(full).toBeLessThan(2.6);
    expect(Math.abs(mixed / full - 1)).toBeLessThan(0.01);
    expect(skipped).toBeLessThan(6);
  });
}

eachDevice('mixed precision', body);
