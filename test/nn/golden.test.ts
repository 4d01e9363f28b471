/** Recurrent layers and attention against PyTorch: outputs and all gradients. Golden values from scripts/golden/nn.py. */
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import '../../src/autograd/methods.js';
import { mseLoss } from '../../src/nn/functional.js';
import {
  GRU,
  LSTM,
  type Module,
  MultiheadAttention,
  packPaddedSequence,
  padPackedSequence,
  RNN,
} from '../../src/nn/index.js';
import { AdamW } from '../../src/optim/adam.js';
import { tensor } from '../../src/tensor/factories.js';
import { scope } from '../../src/tensor/lifetime.js';
import type { Tensor } from '../../src/tensor/tensor.js';
import { difference, eachDevice, type Place } from '../support/each-device.js';
import { fill, input, wave } from './formulas.js';

interface Golden {
  state: string[];
  outputs: { shape: number[]; data: number[] }[];
  inputGradients: number[][];
  gradients: Record<string, number[]>;
  losses?: number[];
}
const golden = (
  JSON.parse(readFileSync(new URL('../golden/nn-modules.json', import.meta.url), 'utf8')) as {
    cases: Record<string, Golden>;
  }
).cases;

const [T, B, I, H] = [5, 3, 4, 3];
const LENGTHS = [3, 5, 1, 3];
const [E, HEADS, S] = [6, 2, 4];

interface Case {
  module(place: Place): Module;
  inputs: readonly (readonly [shape: readonly number[], seed: number])[];
  call(module: never, inputs: Tensor[], place: Place): (Tensor | null)[];
}

const cases: Record<string, Case> = {};

const layers = {
  LSTM: (o: object) => new LSTM(I, H, o),
  GRU: (o: object) => new GRU(I, H, o),
  RNN: (o: object) => new RNN(I, H, o),
  'RNN relu': (o: object) => new RNN(I, H, { ...o, nonlinearity: 'relu' }),
};
for (const [name, make] of Object.entries(layers)) {
  const states = name === 'LSTM' ? 2 : 1;
  const call = (m: LSTM | GRU | RNN, [x, ...s]: Tensor[]): Tensor[] => {
    const [y, h] = m instanceof LSTM ? m.forward(x, s.length ? [s[0], s[1]] : null) : m.forward(x, s[0]);
    return [y, h].flat();
  };
  const add = (what: string, options: object, inputs: Case['inputs']) => {
    cases[`${name}, ${what}`] = {
      module: ({ dtype, device }) => make({ ...options, dtype, device }),
      inputs,
      call,
    };
  };
  const deep = { numLayers: 2, bidirectional: true };
  add('one layer', {}, [[[T, B, I], 20]]);
  add('two layers, bidirectional', deep, [[[T, B, I], 20]]);
  add('two layers, bidirectional, from a state', deep, [
    [[T, B, I], 20],
    ...Array.from({ length: states }, (_, i) => [[4, B, H], 21 + i] as [number[], number]),
  ]);
  add('batch first, no bias', { batchFirst: true, bias: false }, [[[B, T, I], 20]]);
  add('unbatched', {}, [[[T, I], 20]]);

  const pack = (what: string, layers: number, options: { batchFirst: boolean }) => {
    const N = LENGTHS.length;
    cases[`${name}, packed, ${what}`] = {
      module: ({ dtype, device }) => make({ ...options, dtype, device }),
      inputs: [
        [options.batchFirst ? [N, T, I] : [T, N, I], 20],
        ...Array.from({ length: states }, (_, i) => [[layers, N, H], 21 + i] as [number[], number]),
      ],
      call: (m: LSTM | GRU | RNN, [x, ...s]) => {
        const steps = packPaddedSequence(x, LENGTHS, { ...options, enforceSorted: false });
        const [y, h] = m instanceof LSTM ? m.forward(steps, [s[0], s[1]]) : m.forward(steps, s[0]);
        const [padded, lengths] = padPackedSequence(y, { ...options, paddingValue: 0.5 });
        expect(lengths).toEqual(LENGTHS);
        return [y.data, padded, h].flat();
      },
    };
  };
  pack('one layer', 1, { batchFirst: false });
  pack('two layers, bidirectional, batch first', 4, { ...deep, batchFirst: true });
}

type Call = (m: MultiheadAttention, inputs: Tensor[], place: Place) => (Tensor | null)[];
function mha(what: string, inputs: Case['inputs'], call: Call, options: object = {}): void {
  cases[`MHA, ${what}`] = {
    module: ({ dtype, device }) => new MultiheadAttention(E, HEADS, { ...options, dtype, device }),
    inputs,
    call,
  };
}
const x = [[T, B, E], 30] as const;
const weights = { needWeights: true };
mha('self', [x], (m, [q]) => m.forward(q, q, q, weights));
mha('self, one weight per head', [x], (m, [q]) =>
  m.forward(q, q, q, { ...weights, averageAttnWeights: false }),
);
mha('cross', [x, [[S, B, E], 31], [[S, B, E], 32]], (m, [q, k, v]) => m.forward(q, k, v, weights));
mha('causal', [x], (m, [q]) => m.forward(q, q, q, { isCausal: true }));
mha(
  'causal with padding, batch first',
  [[[B, T, E], 30]],
  (m, [q], { device }) => {
    const keyPaddingMask = tensor(
      [
        [false, false, false, false, false],
        [false, false, false, true, true],
        [false, true, false, false, true],
      ],
      { device },
    );
    return m.forward(q, q, q, { isCausal: true, keyPaddingMask, needWeights: true });
  },
  { batchFirst: true },
);
mha('an additive mask for each head', [x, [[B * HEADS, T, T], 33]], (m, [q, attnMask]) =>
  m.forward(q, q, q, { attnMask, needWeights: true }),
);
mha(
  'other widths of keys and values, no bias',
  [x, [[S, B, 4], 31], [[S, B, 5], 32]],
  (m, [q, k, v]) => m.forward(q, k, v, weights),
  { kdim: 4, vdim: 5, bias: false },
);
mha('unbatched', [[[T, E], 30]], (m, [q]) => m.forward(q, q, q, weights));

it('covers the golden file', () => {
  expect(Object.keys(cases).sort()).toEqual(Object.keys(golden).sort());
});

eachDevice('modules follow PyTorch', (place) => {
  // The golden file has nine digits.
  const tolerance = Math.max(place.tolerance, 2e-8);

  for (const [name, { module: make, inputs: shapes, call }] of Object.entries(cases)) {
    it(name, async () => {
      const g = golden[name];
      const module = make(place);
      fill(module);
      expect([...module.stateDict().keys()]).toEqual(g.state);
      const inputs = shapes.map(([shape, seed]) => input(place, shape, seed));
      const outputs = call(module as never, inputs, place).filter((t) => t !== null);
      expect(outputs.map((y) => y.shape)).toEqual(g.outputs.map((y) => y.shape));
      for (let i = 0; i < outputs.length; i++) {
        expect(difference(await outputs[i].data(), g.outputs[i].data)).toBeLessThan(tolerance);
      }
      scope(() => {
        const losses = outputs.map((y, i) => y.mul(place.make(wave(y.shape, 50 + i), y.shape)).sum());
        losses.reduce((a, b) => a.add(b)).backward();
      });
      for (let i = 0; i < inputs.length; i++) {
        expect(difference(await inputs[i].grad!.data(), g.inputGradients[i])).toBeLessThan(tolerance);
      }
      for (const [key, p] of module.namedParameters()) {
        expect(difference(await p.grad!.data(), g.gradients[key]), key).toBeLessThan(tolerance);
      }
      if (!g.losses) return;
      const optimizer = new AdamW(module.parameters(), { lr: 0.01, betas: [0.9, 0.99], weightDecay: 0.1 });
      module.zeroGrad();
      const losses: number[] = [];
      for (let i = 0; i < 10; i++) {
        const value = scope(() => {
          const [y] = call(module as never, inputs, place);
          const loss = mseLoss(y!, place.make(wave(y!.shape, 60), y!.shape));
          loss.backward();
          optimizer.step();
          optimizer.zeroGrad();
          return loss.detach();
        });
        losses.push(await value.item());
      }
      expect(difference(losses, g.losses)).toBeLessThan(tolerance);
    });
  }
});
