/** The Transformer against torch.nn.Transformer: memory, output, loss, all gradients, Adam's steps. Golden values from scripts/golden/transformer.py. */
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import '../../src/autograd/methods.js';
import { noGrad } from '../../src/autograd/mode.js';
import { Transformer, type TransformerConfig } from '../../src/models/transformer.js';
import type { Module } from '../../src/nn/index.js';
import { Adam } from '../../src/optim/adam.js';
import { setDefaultDevice } from '../../src/tensor/default-device.js';
import { tensor } from '../../src/tensor/factories.js';
import { scope } from '../../src/tensor/lifetime.js';
import { eachDevice } from '../support/each-device.js';

interface Case {
  config: Pick<TransformerConfig, 'norm' | 'activation' | 'positions'> & { tied: boolean; smoothing: number };
  memory: number[];
  output: number[];
  gradients: Record<string, number[]>;
  losses: number[];
}
const golden = JSON.parse(readFileSync(new URL('../golden/transformer.json', import.meta.url), 'utf8')) as {
  source: number[][];
  target: number[][];
  cases: Record<string, Case>;
};

/** The weights that scripts/golden/transformer.py gives its models. */
function fill(model: Module): void {
  model.namedParameters().forEach(([name, p], k) => {
    const one = /norm\d?\.weight$/.test(name) ? 1 : 0;
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
  // Keys have no gradient through their bias in exact arithmetic; what is left of it is noise.
  const scale = Math.max(...expected.map(Math.abs), 1e-3);
  expect(actual.length, what).toBe(expected.length);
  for (let i = 0; i < expected.length; i++) {
    if (!(Math.abs(actual[i] - expected[i]) <= tolerance * scale)) {
      expect.fail(`${what}, element ${i}: expected ${expected[i]}, got ${actual[i]}`);
    }
  }
}

eachDevice('the Transformer against PyTorch', (place) => {
  // 1e-4 is what we promise in float32; in float64 the waves are float32's, and the file has seven digits.
  const tolerance = place.dtype === 'float64' ? 1e-6 : 1e-4;

  it.each(Object.entries(golden.cases))('%s', async (_, g) => {
    setDefaultDevice(place.device);
    const { norm, activation, positions, tied, smoothing } = g.config;
    const model = new Transformer({
      ...{ norm, activation, positions },
      ...{ dim: 8, heads: 2, innerDim: 12, encoderLayers: 2, decoderLayers: 2, maxLength: 7 },
      ...{ sourceVocab: tied ? 9 : 11, targetVocab: 9, tieSource: tied, tieHead: tied },
      ...{ dropout: 0, padToken: 0, labelSmoothing: smoothing },
    }).to(place.dtype);
    fill(model);
    const ids = (rows: number[][]) => tensor(Int32Array.from(rows.flat()), { shape: [3, 6] });
    const source = ids(golden.source.map((row) => row.map((id) => (tied ? id % 9 : id))));
    const target = ids(golden.target);

    expectClose('memory', await model.encode(source).data(), g.memory, tolerance);
    expectClose('output', await model.forward(source, target.narrow(1, 0, 5)).data(), g.output, tolerance);
    const first = scope(() => {
      const loss = model.loss(source, target);
      loss.backward();
      return loss.detach();
    });
    expectClose('loss', await first.data(), g.losses.slice(0, 1), tolerance);
    expect(model.namedParameters().map(([name]) => name)).toEqual(Object.keys(g.gradients));
    for (const [name, p] of model.namedParameters()) {
      expectClose(`gradient of ${name}`, await p.grad!.data(), g.gradients[name], tolerance);
    }
    model.zeroGrad();
    const optimizer = new Adam(model.parameters(), { lr: 1e-2, betas: [0.9, 0.98], eps: 1e-9 });
    const losses: number[] = [];
    for (let i = 0; i < g.losses.length; i++) {
      const loss = scope(() => {
        const l = model.loss(source, target);
        l.backward();
        optimizer.step();
        optimizer.zeroGrad();
        return l.detach();
      });
      losses.push(await loss.item());
    }
    // Adam turns the noise that is the gradient of the keys' bias into whole steps, so errors add up.
    expectClose('losses', losses, g.losses, 5 * tolerance);
  });
});
