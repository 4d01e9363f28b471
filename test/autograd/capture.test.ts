/** A captured step does what the step itself does, bit for bit, and leaves nothing behind. */
import fc from 'fast-check';
import { beforeEach, expect, it } from 'vitest';
import '../../src/autograd/methods.js';
import { type Captured, capture } from '../../src/autograd/capture.js';
import { checkpoint } from '../../src/autograd/checkpoint.js';
import { noGrad } from '../../src/autograd/mode.js';
import { dropout } from '../../src/autograd/ops/dropout.js';
import { crossEntropy, mseLoss } from '../../src/autograd/ops/losses.js';
import { bernoulli, multinomial, rand, randn, randperm } from '../../src/autograd/ops/random.js';
import { openCPU } from '../../src/device/cpu/device.js';
import { GradError } from '../../src/device/errors.js';
import { CharTransformer } from '../../src/models/char-transformer.js';
import { ReLU, Tanh } from '../../src/nn/activations.js';
import { Sequential } from '../../src/nn/containers.js';
import { Dropout, Linear } from '../../src/nn/layers.js';
import type { Module } from '../../src/nn/module.js';
import { LayerNorm } from '../../src/nn/normalization.js';
import { LSTM } from '../../src/nn/recurrent.js';
import { Adam, AdamW } from '../../src/optim/adam.js';
import { clipGradNorm_ } from '../../src/optim/clip.js';
import type { Optimizer } from '../../src/optim/optimizer.js';
import { SGD } from '../../src/optim/sgd.js';
import { setDefaultDevice } from '../../src/tensor/default-device.js';
import { tensor } from '../../src/tensor/factories.js';
import { keep, memory, scope } from '../../src/tensor/lifetime.js';
import { defaultGenerator, manualSeed } from '../../src/tensor/random.js';
import type { Tensor } from '../../src/tensor/tensor.js';
import { eachDevice, type Place } from '../support/each-device.js';

type Step = (x: Tensor, y: Tensor) => Tensor[];

/** A network for inputs of 6 numbers with 3 outputs. */
function network(
  layers: readonly number[],
  p: number,
  norm: boolean,
): Module & { forward(x: Tensor): Tensor } {
  const parts: Module[] = [];
  let width = 6;
  layers.forEach((next, i) => {
    parts.push(new Linear(width, next));
    if (norm) parts.push(new LayerNorm(next));
    parts.push(i % 2 === 0 ? new ReLU() : new Tanh());
    if (p > 0) parts.push(new Dropout(p));
    width = next;
  });
  parts.push(new Linear(width, 3));
  return new Sequential(...(parts as never[])) as never;
}

const OPTIMIZERS: Record<string, (params: Tensor[]) => Optimizer<{ lr: number }>> = {
  SGD: (params) => new SGD(params, { lr: 0.1 }) as never,
  momentum: (params) => new SGD(params, { lr: 0.1, momentum: 0.9, dampening: 0.5 }) as never,
  Adam: (params) => new Adam(params, { lr: 0.01, weightDecay: 0.1 }) as never,
  AdamW: (params) => new AdamW(params, { lr: 0.01 }) as never,
};

/** Five steps with a changing learning rate; everything that they returned, and the weights at their end. */
async function train(
  place: Place,
  captured: boolean,
  make: () => { model: Module; optimizer: Optimizer<{ lr: number }>; loss: (x: Tensor, y: Tensor) => Tensor },
  inputs: (i: number) => [Tensor, Tensor],
): Promise<number[]> {
  setDefaultDevice(place.device);
  manualSeed(11);
  const { model, optimizer, loss } = make();
  if (place.dtype === 'float64') model.to('float64');
  const step: Step = (x, y) => {
    const l = loss(x, y);
    l.backward();
    const norm = clipGradNorm_(model.parameters(), 1);
    optimizer.step();
    optimizer.zeroGrad();
    return [l.detach(), norm];
  };
  const run = captured ? capture(step) : (x: Tensor, y: Tensor) => scope(() => step(x, y));
  const seen: number[] = [];
  for (let i = 0; i < 5; i++) {
    optimizer.paramGroups[0].lr = 0.01 * (i + 1);
    const [x, y] = inputs(i);
    for (const t of run(x, y)) seen.push(await t.item());
  }
  for (const p of model.parameters()) seen.push(...((await p.data()) as Float32Array));
  if (captured)
    expect((run as unknown as Captured<[], unknown>).stats).toMatchObject({ captures: 1, replays: 4 });
  seen.push(defaultGenerator.getState().counter);
  return seen;
}

eachDevice('capture', (place) => {
  beforeEach(() => {
    setDefaultDevice(place.device);
    manualSeed(1);
  });
  const values = (n: number, i: number): number[] =>
    Array.from({ length: n }, (_, j) => Math.sin(j * 1.7 + i));

  it('repeats training steps bit for bit, whatever the model and the optimizer', async () => {
    const layers = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 0, maxLength: 3 });
    await fc.assert(
      fc.asyncProperty(
        layers,
        fc.constantFrom(0, 0.3),
        fc.boolean(),
        fc.constantFrom(...Object.keys(OPTIMIZERS)),
        fc.integer({ min: 1, max: 9 }),
        async (sizes, p, norm, name, batch) => {
          const make = () => {
            const model = network(sizes, p, norm);
            const loss = (x: Tensor, y: Tensor) => mseLoss(model.forward(x), y);
            return { model, optimizer: OPTIMIZERS[name]([...model.parameters()]), loss };
          };
          const inputs = (i: number): [Tensor, Tensor] => [
            place.make(values(batch * 6, i), [batch, 6]),
            place.make(values(batch * 3, -i), [batch, 3]),
          ];
          expect(await train(place, true, make, inputs)).toEqual(await train(place, false, make, inputs));
        },
      ),
      { numRuns: place.dtype === 'float64' ? 8 : 4, seed: 7 },
    );
  });

  const ids = (i: number, n: number): Int32Array =>
    Int32Array.from({ length: n }, (_, j) => (j * j + 3 * i) % 11);
  const text = (i: number): [Tensor, Tensor] => [
    tensor(ids(i, 16), { shape: [2, 8], device: place.device }),
    tensor(ids(i + 1, 16), { shape: [2, 8], device: place.device }),
  ];

  it('repeats a Transformer with dropout', async () => {
    const config = { vocabSize: 11, blockSize: 8, layers: 2, heads: 2, dim: 16, dropout: 0.2 };
    const make = () => {
      const model = new CharTransformer(config);
      return {
        model,
        optimizer: OPTIMIZERS.AdamW(model.parameters()),
        loss: (x: Tensor, y: Tensor) => model.loss(x, y),
      };
    };
    expect(await train(place, true, make, text)).toEqual(await train(place, false, make, text));
  });

  it('repeats an LSTM, and what checkpoint computes again', async () => {
    const make = () => {
      const lstm = new LSTM(5, 7, { batchFirst: true });
      const head = new Linear(7, 11);
      const model = new Sequential(lstm as never, head as never);
      const loss = (x: Tensor, y: Tensor) => {
        const one = x.unsqueeze(2).expand([2, 8, 5]).to(place.dtype).div(11);
        const h = checkpoint((v: Tensor) => dropout(lstm.forward(v)[0], 0.3), one);
        return crossEntropy(head.forward(h).reshape([16, 11]), y.reshape([16]));
      };
      return { model, optimizer: OPTIMIZERS.AdamW(model.parameters()), loss };
    };
    expect(await train(place, true, make, text)).toEqual(await train(place, false, make, text));
  });

  it('draws new random numbers at every call, those that it would draw itself', async () => {
    const draw = (p: Tensor): Tensor[] => [
      rand([5], { dtype: place.dtype }),
      randn([3], { dtype: place.dtype }),
      bernoulli(p),
      multinomial(p, 2),
      dropout(p, 0.5),
    ];
    const p = place.make([0.1, 0.9, 0.5, 0.7], [4]);
    const all = async (fn: (p: Tensor) => Tensor[]) => {
      manualSeed(5);
      const seen: number[][] = [];
      for (let i = 0; i < 3; i++) {
        rand([2]); // between the calls
        for (const t of fn(p)) seen.push([...(await t.data())]);
      }
      return seen;
    };
    const eager = await all(draw);
    expect(await all(capture(draw))).toEqual(eager);
    expect(eager[0]).not.toEqual(eager[5]);
    // A seed set between calls counts.
    const captured = capture(draw);
    manualSeed(6);
    const first = await captured(p)[0].data();
    captured(p);
    manualSeed(6);
    expect(await captured(p)[0].data()).toEqual(first);
  });

  it('copies strided and broadcast inputs in, nested in arrays and objects', async () => {
    const fn = capture(({ a, list: [b, c] }: { a: Tensor; list: [Tensor, number] }) => ({
      sum: a.add(b).mul(c),
    }));
    const a = place.make([1, 2, 3, 4, 5, 6], [2, 3]);
    const b = place.make([10], [1, 1]);
    expect([...(await fn({ a, list: [b, 2] }).sum.data())]).toEqual([22, 24, 26, 28, 30, 32]);
    const t = place.make([1, 4, 2, 5, 3, 6], [3, 2]).transpose(0, 1);
    const one = place.make([20], [1, 1]);
    expect([...(await fn({ a: t, list: [one, 2] }).sum.data())]).toEqual([42, 44, 46, 48, 50, 52]);
    expect(fn.stats).toMatchObject({ captures: 1, replays: 1 });
    // What is no tensor is part of the form.
    expect([...(await fn({ a: t, list: [one, 3] }).sum.data())]).toEqual([63, 66, 69, 72, 75, 78]);
    expect(fn.stats).toMatchObject({ captures: 2, replays: 1 });
  });

  it('captures other shapes anew and keeps the old ones', async () => {
    const fn = capture((x: Tensor) => x.square().sum());
    for (const n of [3, 5, 3, 5, 4]) {
      const x = place.make(values(n, 0), [n]);
      const want = values(n, 0).reduce((s, v) => s + v * v, 0);
      expect(await fn(x).item()).toBeCloseTo(want, 5);
    }
    expect(fn.stats).toMatchObject({ captures: 3, replays: 2 });
  });

  it('gives the same tensors at every call, and new handles where they were released', async () => {
    const fn = capture((x: Tensor) => [x.mul(2), x.add(1)]);
    const x = place.make([1, 2], [2]);
    const [a, b] = fn(x);
    const read = a.data();
    expect(fn(place.make([3, 4], [2]))[0]).toBe(a);
    // A read begun before the next call gets the values from before it.
    expect([...(await read)]).toEqual([2, 4]);
    expect([...(await a.data())]).toEqual([6, 8]);
    a.release();
    const [c, d] = fn(x);
    expect([...(await c.data())]).toEqual([2, 4]);
    expect([...(await d.data())]).toEqual([2, 3]);
    expect(d).toBe(b);
  });

  it('makes constants once, and follows tensors that it closes over', async () => {
    const weight = place.make([1, 2, 3], [3]);
    const fn = capture((x: Tensor) =>
      x
        .mul(weight)
        .add(place.make([10, 20, 30], [3]))
        .mul(2),
    );
    const x = place.make([1, 1, 1], [3]);
    for (let i = 0; i < 3; i++) expect([...(await fn(x).data())]).toEqual([22, 44, 66]);
    noGrad(() => weight.mul_(2));
    expect([...(await fn(x).data())]).toEqual([24, 48, 72]);
  });

  it('leaves out what nobody reads, and nothing else', async () => {
    const x = place.make([1, 2], [2]);
    const unread = capture((x: Tensor) => {
      // Lost, with all that leads to it.
      x.add(place.make([3, 4], [2]))
        .exp()
        .mul(x);
      return x.mul(2);
    });
    const total = place.make([0, 0], [2]);
    const outside = capture((x: Tensor) => {
      noGrad(() => total.add_(x.mul(3)));
      return x.mul(2);
    });
    const w = place.make([5, 6], [2]).requiresGrad_();
    const gradient = capture((x: Tensor) => {
      w.mul(x).backward({ gradient: x });
      const { grad } = w;
      w.grad = null;
      return grad!;
    });
    for (let i = 1; i <= 3; i++) {
      expect([...(await unread(x).data())]).toEqual([2, 4]);
      expect([...(await outside(x).data())]).toEqual([2, 4]);
      expect([...(await total.data())]).toEqual([3 * i, 6 * i]);
      expect([...(await gradient(x).data())]).toEqual([1, 4]);
    }
    expect([unread, outside, gradient].map((fn) => fn.stats.dispatches)).toEqual([1, 3, 1]);
  });

  it('rewrites what the host wrote where the step changes it', async () => {
    const fn = capture((x: Tensor) => {
      const counter = place.make([5, 5], [2]);
      noGrad(() => counter.add_(x));
      return counter.mul(1);
    });
    const x = place.make([1, 2], [2]);
    for (let i = 0; i < 3; i++) expect([...(await fn(x).data())]).toEqual([6, 7]);
  });

  it('captures anew when a tensor that it used is gone', async () => {
    const model = new Linear(2, 2, { bias: false });
    if (place.dtype === 'float64') model.to('float64');
    const fn = capture((x: Tensor) => model.forward(x));
    const x = place.make([1, 0], [1, 2]);
    fn(x);
    noGrad(() => model.weight.copy_(place.make([1, 2, 3, 4], [2, 2])));
    expect([...(await fn(x).data())]).toEqual([1, 3]);
    expect(fn.stats.captures).toBe(1);
    const other = keep(place.make([5, 6, 7, 8], [2, 2]));
    model.weight.replaceStorage(other);
    other.release();
    expect([...(await fn(x).data())]).toEqual([5, 7]);
    expect(fn.stats.captures).toBe(2);
  });

  it('holds less memory than the step itself needs, none that grows, and gives it back', async () => {
    const model = network([64, 64, 64], 0.1, true);
    if (place.dtype === 'float64') model.to('float64');
    const optimizer = new AdamW(model.parameters());
    const body = (x: Tensor, y: Tensor): Tensor => {
      const loss = mseLoss(model.forward(x), y);
      loss.backward();
      optimizer.step();
      optimizer.zeroGrad();
      return loss;
    };
    const x = place.make(values(6 * 64, 0), [64, 6]);
    const y = place.make(values(3 * 64, 1), [64, 3]);
    const { device } = place;
    for (let i = 0; i < 2; i++) scope(() => body(x, y).detach()).release();
    const base = device.memory().liveBytes;
    device.resetPeak();
    scope(() => body(x, y).detach()).release();
    const eager = device.memory().peakBytes - base;
    const tensors = memory.liveTensors;
    const step = capture(body);
    await step(x, y).item();
    device.resetPeak();
    const bindGroups = device.stats().bindGroupsCreated;
    const live = memory.liveTensors;
    for (let i = 0; i < 5; i++) await step(x, y).item();
    expect(step.stats.replays).toBe(5);
    expect(memory.liveTensors).toBe(live);
    expect(device.stats().bindGroupsCreated).toBe(bindGroups);
    const held = device.memory().peakBytes - base;
    expect(held).toBeLessThan(eager);
    step.release();
    expect(device.memory().liveBytes).toBeLessThanOrEqual(base + 4096);
    expect(memory.liveTensors).toBeLessThanOrEqual(tensors + 4);
  });

  it('leaves gradients that the step itself sets back', async () => {
    const w = place.make([2], [1]).requiresGrad_();
    const optimizer = new SGD([w], { lr: 0 });
    const step = capture((x: Tensor) => {
      optimizer.zeroGrad();
      w.mul(x).sum().backward();
    });
    for (const v of [3, 4, 5]) {
      step(place.make([v], [1]));
      expect(await w.grad!.item()).toBe(v);
    }
    expect(step.stats.captures).toBe(1);
  });

  it('refuses what cannot be repeated, and works again afterwards', async () => {
    const x = place.make([1, 2], [2]);
    const w = place.make([2, 2], [2]).requiresGrad_();
    const refused = (fn: (x: Tensor) => unknown, message: RegExp): void => {
      let error: unknown;
      try {
        capture(fn)(x);
      } catch (e) {
        error = e;
      }
      expect(error).toBeInstanceOf(GradError);
      expect((error as Error).message).toMatch(message);
    };
    refused((t) => void t.sum().item(), /got one that read a tensor at .*capture\.test\.ts:\d+/);
    refused(() => manualSeed(3), /got one that seeded a generator at .*capture\.test\.ts:\d+/);
    refused(() => randperm(4), /got one that randperm shuffled at .*capture\.test\.ts:\d+/);
    refused((t) => capture((u: Tensor) => u)(t), /called a captured function/);
    refused(
      (t) => t.mul(w).sum().backward(),
      /expected gradients that are used up in the step, got 1 left behind; call optimizer\.zeroGrad\(\) in the step/,
    );
    refused((t) => {
      t.mul(w).sum().backward();
      w.grad = null;
    }, /added to gradients from before it/);
    w.grad = null;
    expect(() => capture((t: Tensor) => t)(w)).toThrow(
      'capture: expected inputs that require no gradient, got one of shape [2] that does; use detach()',
    );
    expect(() => capture((m: unknown) => m)(new Map())).toThrow(
      'capture: expected inputs of tensors, numbers, strings, arrays and plain objects, got a Map',
    );
    const elsewhere = openCPU({ threads: 1 });
    expect(() => capture(() => tensor([1], { device: elsewhere }).mul(2), { device: x.device })()).toThrow(
      `capture: expected the step's work on ${x.device.info.name}, got a result on ${elsewhere.info.name}; pass inputs that lie there, or { device }`,
    );
    await elsewhere.close();
    const broken = capture((t: Tensor, fail: boolean) => {
      if (fail) throw new Error('mine');
      return t.mul(3);
    });
    expect(() => broken(x, true)).toThrow('mine');
    expect([...(await broken(x, false).data())]).toEqual([3, 6]);
    expect([...(await broken(x, false).data())]).toEqual([3, 6]);
  });
});
