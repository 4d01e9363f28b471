/** Whole models against PyTorch: outputs, all gradients, ten AdamW losses. Golden values from scripts/golden/models.py. */
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import '../../src/autograd/methods.js';
import { noGrad } from '../../src/autograd/mode.js';
import { CharTransformer } from '../../src/models/char-transformer.js';
import * as F from '../../src/nn/functional.js';
import { LayerNorm, Linear, Module } from '../../src/nn/index.js';
import { AdamW } from '../../src/optim/adam.js';
import { setDefaultDevice } from '../../src/tensor/default-device.js';
import { tensor } from '../../src/tensor/factories.js';
import { scope } from '../../src/tensor/lifetime.js';
import type { Tensor } from '../../src/tensor/tensor.js';
import { eachDevice } from '../support/each-device.js';

interface Golden {
  output: number[];
  shape: number[];
  gradients: Record<string, number[]>;
  losses: number[];
}
const golden = JSON.parse(readFileSync(new URL('../golden/models.json', import.meta.url), 'utf8')) as Record<
  string,
  Golden
>;

class MLP extends Module {
  hidden = new Linear(5, 8);
  norm = new LayerNorm(8);
  out = new Linear(8, 3);

  forward(x: Tensor): Tensor {
    return this.out.forward(F.gelu(this.norm.forward(this.hidden.forward(x))));
  }
}

/** The weights that scripts/golden/models.py gives its models. */
function fill(model: Module): void {
  model.namedParameters().forEach(([name, p], k) => {
    const one = /norm|ln/.test(name) && name.endsWith('weight') ? 1 : 0;
    const values = Float64Array.from({ length: p.numel }, (_, i) => 0.2 * Math.sin(1.7 * i + k) + one);
    noGrad(() => p.copy_(tensor(values, { shape: p.shape, dtype: p.dtype, device: p.device })));
  });
}

/** |x − y| ≤ tolerance · max |y|: relative to the tensor's own scale. */
function expectClose(
  what: string,
  actual: ArrayLike<number>,
  expected: readonly number[],
  tolerance: number,
): void {
  const scale = Math.max(...expected.map(Math.abs), 1e-6);
  expect(actual.length, what).toBe(expected.length);
  for (let i = 0; i < expected.length; i++) {
    if (!(Math.abs(actual[i] - expected[i]) <= tolerance * scale)) {
      expect.fail(`${what}, element ${i}: expected ${expected[i]}, got ${actual[i]}`);
    }
  }
}

async function check(
  name: string,
  model: Module,
  output: () => Tensor,
  loss: () => Tensor,
  tolerance: number,
): Promise<void> {
  const g = golden[name];
  fill(model);
  const y = output();
  expect(y.shape).toEqual(g.shape);
  expectClose('output', await y.data(), g.output, tolerance);
  scope(() => loss().backward());
  expect(model.namedParameters().map(([n]) => n)).toEqual(Object.keys(g.gradients));
  for (const [n, p] of model.namedParameters())
    expectClose(`gradient of ${n}`, await p.grad!.data(), g.gradients[n], tolerance);
  model.zeroGrad();
  const optimizer = new AdamW(model.parameters(), { lr: 1e-2, betas: [0.9, 0.99], weightDecay: 0.1 });
  const losses: number[] = [];
  for (let i = 0; i < 10; i++) {
    const l = scope(() => {
      const value = loss();
      value.backward();
      optimizer.step();
      optimizer.zeroGrad();
      return value.detach();
    });
    losses.push(await l.item());
  }
  expectClose('ten losses', losses, g.losses, tolerance);
}

const grid = (n: number, factor: number): Int32Array =>
  Int32Array.from({ length: n }, (_, i) => (i * factor) % 11);

eachDevice('models against PyTorch', (place) => {
  // 1e-4 is what we promise in float32; the oracle itself is held to its golden file's digits.
  const tolerance = place.dtype === 'float64' ? 1e-7 : 1e-4;

  it('MLP', async () => {
    setDefaultDevice(place.device);
    const model = new MLP().to(place.dtype);
    const x = place.make(
      Array.from({ length: 20 }, (_, i) => Math.cos(0.9 * i)),
      [4, 5],
    );
    const y = place.make(
      Array.from({ length: 12 }, (_, i) => Math.sin(0.4 * i)),
      [4, 3],
    );
    await check(
      'mlp',
      model,
      () => model.forward(x),
      () => F.mseLoss(model.forward(x), y),
      tolerance,
    );
  });

  it('CharTransformer', async () => {
    setDefaultDevice(place.device);
    const config = { vocabSize: 11, blockSize: 6, layers: 2, heads: 2, dim: 8, dropout: 0 };
    const model = new CharTransformer(config).to(place.dtype);
    const ids = tensor(grid(18, 7), { shape: [3, 6] });
    const targets = tensor(grid(18, 5), { shape: [3, 6] });
    await check(
      'charTransformer',
      model,
      () => model.forward(ids),
      () => model.loss(ids, targets),
      tolerance,
    );
  });
});
