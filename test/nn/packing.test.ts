import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import '../../src/autograd/methods.js';
import { gradcheck, gradgradcheck } from '../../src/autograd/gradcheck.js';
import { autograd } from '../../src/index.js';
import {
  GRU,
  LSTM,
  type PackedSequence,
  packPaddedSequence,
  packSequence,
  padPackedSequence,
  padSequence,
  RNN,
} from '../../src/nn/index.js';
import { cpuDevice } from '../../src/tensor/default-device.js';
import { tensor } from '../../src/tensor/factories.js';
import { memory, scope } from '../../src/tensor/lifetime.js';
import type { Tensor } from '../../src/tensor/tensor.js';
import { difference } from '../support/each-device.js';
import { fill, wave } from './formulas.js';

type Recurrent = LSTM | GRU | RNN;
const values = async (t: Tensor) => [...(await t.data())];
const float64 = (shape: readonly number[], seed: number) =>
  tensor(Float64Array.from(wave(shape, seed)), { shape, dtype: 'float64', requiresGrad: true });
const int32 = (list: number[], shape: number[]) => tensor(Int32Array.from(list), { shape });

/** Output, and the last states h (and c) as one list. */
function run<X extends Tensor | PackedSequence>(m: Recurrent, x: X, states: Tensor[] = []): [X, Tensor[]] {
  const [h, c] = states;
  if (m instanceof LSTM) return m.forward(x, h && [h, c]) as [X, Tensor[]];
  const [y, last] = (m as GRU).forward(x, h);
  return [y, [last]];
}

const MAKERS = {
  LSTM: (o: object) => new LSTM(3, 2, o),
  GRU: (o: object) => new GRU(3, 2, o),
  RNN: (o: object) => new RNN(3, 2, o),
};
const lengthsList = fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 5 });

describe('packed sequences', () => {
  it('are the steps in order, without padding', async () => {
    // As in PyTorch's own example.
    const x = int32([1, 2, 0, 3, 0, 0, 4, 5, 6], [3, 3]);
    const packed = packPaddedSequence(x, [2, 1, 3], { batchFirst: true, enforceSorted: false });
    expect(await values(packed.data)).toEqual([4, 1, 3, 5, 2, 6]);
    expect(packed).toMatchObject({
      batchSizes: [3, 2, 1],
      sortedIndices: [2, 0, 1],
      unsortedIndices: [1, 2, 0],
    });
    const [back, lengths] = padPackedSequence(packed, { batchFirst: true });
    expect(lengths).toEqual([2, 1, 3]);
    expect(await values(back)).toEqual(await values(x));
    const [wide] = padPackedSequence(packed, { batchFirst: true, paddingValue: 9, totalLength: 4 });
    expect(wide.shape).toEqual([3, 4]);
    expect(await values(wide)).toEqual([1, 2, 9, 9, 3, 9, 9, 9, 4, 5, 6, 9]);
  });

  it('packing a list, padding a list, and both one after the other agree', async () => {
    await fc.assert(
      fc.asyncProperty(lengthsList, fc.boolean(), async (lengths, batchFirst) => {
        const sequences = lengths.map((n, i) => float64([n, 2], i));
        const padded = padSequence(sequences, { batchFirst, paddingValue: Number.NaN });
        const T = Math.max(...lengths);
        expect(padded.shape).toEqual([...(batchFirst ? [lengths.length, T] : [T, lengths.length]), 2]);
        const packed = packSequence(sequences, { enforceSorted: false });
        const same = packPaddedSequence(padded, lengths, { batchFirst, enforceSorted: false });
        expect(await values(packed.data)).toEqual(await values(same.data));
        expect({ ...packed, data: 0 }).toEqual({ ...same, data: 0 });
        const [back, n] = padPackedSequence(packed, { batchFirst, paddingValue: Number.NaN });
        expect(n).toEqual(lengths);
        expect(await values(back)).toEqual(await values(padded));
        for (const [b, s] of sequences.entries()) {
          const own = padded.select(batchFirst ? 0 : 1, b).narrow(0, 0, lengths[b]);
          expect(await values(own.contiguous())).toEqual(await values(s));
        }
      }),
      { numRuns: 20 },
    );
  });

  it('hand gradients to steps, and zeros to padding', async () => {
    const x = float64([2, 3, 2], 1).requiresGrad_();
    const packed = packPaddedSequence(x, [3, 1], { batchFirst: true });
    padPackedSequence(packed, { batchFirst: true, paddingValue: 7 })[0]
      .mul(float64([2, 3, 2], 2))
      .sum()
      .backward();
    const expected = wave([2, 3, 2], 2).map((g, i) => (i < 8 ? g : 0));
    expect(await values(x.grad!)).toEqual(expected);
    await gradcheck(
      ((a: Tensor, b: Tensor) => {
        const { data } = packSequence([a, b], { enforceSorted: false });
        return [data, padSequence([a, b], { paddingValue: 1 })];
      }) as never,
      [float64([1, 2], 3), float64([3, 2], 4)],
    );
  });

  it('survive a scope, and leave nothing else behind', () => {
    const lstm = new LSTM(3, 2, { bidirectional: true, numLayers: 2 });
    const x = tensor(Float32Array.from(wave([4, 3, 3], 1)), { shape: [4, 3, 3] });
    const step = () =>
      scope(() => {
        const [y] = lstm.forward(packPaddedSequence(x, [4, 2, 1]));
        y.data.sum().backward();
        return y;
      });
    step().data.release();
    const before = memory.report().length;
    const y = step();
    expect(y.data.shape).toEqual([7, 4]);
    y.data.release();
    expect(memory.report().length).toBe(before);
  });

  it('say what is wrong', () => {
    const x = tensor(new Float32Array(12), { shape: [3, 2, 2] });
    expect(() => packPaddedSequence(x, [3])).toThrow(
      'packPaddedSequence: expected 2 lengths, one per sequence, got 1',
    );
    expect(() => packPaddedSequence(x, [3, 0])).toThrow(
      'packPaddedSequence: expected lengths of 1 to 3, got 0 for sequence 1',
    );
    expect(() => packPaddedSequence(x, [4, 1])).toThrow(/expected lengths of 1 to 3, got 4 for sequence 0/);
    expect(() => packPaddedSequence(x, [2, 3])).toThrow(
      'packPaddedSequence: expected lengths in falling order, got 3 after 2 for sequence 1; sort the batch, or pass enforceSorted: false',
    );
    expect(() => packPaddedSequence(tensor([1]), [1])).toThrow(
      'packPaddedSequence: expected [T, B, ...], got [1]',
    );
    expect(() => packSequence([])).toThrow('packSequence: expected at least one sequence, got none');
    expect(() => padSequence([tensor([[1]]), tensor([[1, 2]])])).toThrow(
      'padSequence: expected sequences [length, ...] alike but for the length, got [1, 2] for sequence 1 and [1, 1] for sequence 0',
    );
    const packed = packPaddedSequence(x, [3, 1]);
    expect(() => padPackedSequence(packed, { totalLength: 2 })).toThrow(/expected totalLength of at least 3/);
    expect(() => new GRU(5, 2).forward(packed)).toThrow('GRU: expected packed input [steps, 5], got [4, 2]');
    const h = tensor(new Float32Array(6), { shape: [1, 3, 2] });
    expect(() => new GRU(2, 2).forward(packed, h)).toThrow(
      'GRU: expected h0 of shape [1, 2, 2], got [1, 3, 2]',
    );
  });
});

describe.each(Object.entries(MAKERS))('%s over packed sequences', (_, make) => {
  for (const options of [{}, { numLayers: 2 }, { numLayers: 2, bidirectional: true, batchFirst: true }]) {
    it(`gives what each sequence gives alone: ${JSON.stringify(options)}`, async () => {
      await fc.assert(
        fc.asyncProperty(lengthsList, fc.boolean(), async (lengths, withState) => {
          const module = make({ ...options, dtype: 'float64' });
          fill(module);
          const rows = (module.bidirectional ? 2 : 1) * module.numLayers;
          const names = module instanceof LSTM ? 2 : 1;
          const sequences = lengths.map((n, i) => float64([n, 3], i).requiresGrad_());
          const states = Array.from({ length: withState ? names : 0 }, (_, i) =>
            float64([rows, lengths.length, 2], 30 + i).requiresGrad_(),
          );
          const weigh = (t: Tensor, seed: number) => t.mul(float64(t.shape, seed)).sum();
          const params = module.parameters();

          const [y, last] = run(module, packSequence(sequences, { enforceSorted: false }), states);
          const [padded] = padPackedSequence(y, { batchFirst: true });
          const together = lengths.map((n, b) => [
            padded.select(0, b).narrow(0, 0, n),
            ...last.map((t) => t.select(1, b)),
          ]);
          const alone = sequences.map((s, b) => {
            const [out, end] = run(
              module,
              s,
              states.map((t) => t.select(1, b)),
            );
            return [out, ...end];
          });
          const inputs = [...sequences, ...states, ...params];
          const gradients = [];
          for (const side of [together, alone]) {
            const loss = side
              .flatMap((parts, b) => parts.map((t, i) => weigh(t, 7 * b + i)))
              .reduce((a, c) => a.add(c));
            gradients.push(autograd.grad([loss], inputs));
          }
          for (const [b, parts] of together.entries()) {
            for (const [i, t] of parts.entries()) {
              expect(
                difference(await values(t.contiguous()), await values(alone[b][i].contiguous())),
              ).toBeLessThan(1e-12);
            }
          }
          for (const [i, g] of gradients[0].entries()) {
            expect(difference(await values(g!), await values(gradients[1][i]!))).toBeLessThan(1e-11);
          }
        }),
        { numRuns: 8 },
      );
    });
  }

  it('does not see padding: not in values, not in gradients', async () => {
    const lengths = [2, 4, 1];
    const module = make({ numLayers: 2, bidirectional: true, batchFirst: true });
    fill(module);
    const results = [];
    for (const padding of [0, 1e30, Number.NaN]) {
      const data = Float32Array.from(wave([3, 4, 3], 1));
      lengths.forEach((n, b) => data.fill(padding, (b * 4 + n) * 3, (b + 1) * 12));
      const x = tensor(data, { shape: [3, 4, 3] }).requiresGrad_();
      const [y, last] = run(
        module,
        packPaddedSequence(x, lengths, { batchFirst: true, enforceSorted: false }),
      );
      const [padded] = padPackedSequence(y, { batchFirst: true });
      [padded, ...last]
        .map((t) => t.square().sum())
        .reduce((a, b) => a.add(b))
        .backward();
      const grads = [x, ...module.parameters()].map((p) => p.grad!);
      results.push(await Promise.all([padded, ...last, ...grads].map(values)));
      for (const p of module.parameters()) p.grad = null;
    }
    expect(results[1]).toEqual(results[0]);
    expect(results[2]).toEqual(results[0]);
    const gradient = results[0][results[0].length - module.parameters().length - 1];
    lengths.forEach((n, b) => {
      for (let t = 0; t < 4; t++) {
        const row = gradient.slice((b * 4 + t) * 3, (b * 4 + t + 1) * 3);
        expect(row.every((g) => g === 0)).toBe(t >= n);
      }
    });
  });

  it.each([false, true])(
    'has right gradients, and gradients of those; both ways: %s',
    async (bidirectional) => {
      const module = make({ bidirectional, dtype: 'float64' });
      fill(module);
      const states = module instanceof LSTM ? 2 : 1;
      const rows = bidirectional ? 2 : 1;
      const fn = (x: Tensor, ...s: Tensor[]) => {
        const [y, last] = run(module, packPaddedSequence(x, [1, 3, 2], { enforceSorted: false }), s);
        return [y.data, ...last];
      };
      const inputs = [
        float64([3, 3, 3], 1),
        ...Array.from({ length: states }, (_, i) => float64([rows, 3, 2], 2 + i)),
      ];
      await gradcheck(fn as never, inputs);
      if (!bidirectional) await gradgradcheck(fn as never, inputs);
    },
  );

  it('carries states in float32 where its dtype is float16', async () => {
    if (!cpuDevice().dtypes.has('float16')) return;
    const module = make({});
    fill(module);
    const x = tensor(Float32Array.from(wave([4, 3, 3], 1)), { shape: [4, 3, 3] });
    const [wide] = run(module, packPaddedSequence(x, [4, 3, 1]));
    const [half, last] = run(module.to('float16'), packPaddedSequence(x.to('float16'), [4, 3, 1]));
    expect([half.data, ...last].every((t) => t.dtype === 'float16')).toBe(true);
    expect(difference(await values(half.data), await values(wide.data))).toBeLessThan(4e-3);
  });
});
