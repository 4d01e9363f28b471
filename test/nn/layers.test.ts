import { describe, expect, it } from 'vitest';
import '../../src/autograd/methods.js';
import { gradcheck, gradgradcheck } from '../../src/autograd/gradcheck.js';
import { type CellName, recurrent } from '../../src/autograd/ops/recurrent.js';
import {
  Dropout,
  Embedding,
  Flatten,
  GELU,
  GRU,
  Identity,
  init,
  LayerNorm,
  LeakyReLU,
  Linear,
  LogSoftmax,
  LSTM,
  MultiheadAttention,
  Parameter,
  ReLU,
  RMSNorm,
  RNN,
  Sequential,
  SiLU,
  Softmax,
  Tanh,
} from '../../src/nn/index.js';
import { cpuDevice } from '../../src/tensor/default-device.js';
import { tensor } from '../../src/tensor/factories.js';
import { scope } from '../../src/tensor/lifetime.js';
import { manualSeed } from '../../src/tensor/random.js';
import type { Shape } from '../../src/tensor/shape.js';
import type { Tensor } from '../../src/tensor/tensor.js';
import { difference, eachDevice } from '../support/each-device.js';
import { wave } from './formulas.js';

async function values(t: Tensor): Promise<number[]> {
  return [...(await t.data())];
}

async function spread(t: Tensor): Promise<{ mean: number; std: number; min: number; max: number }> {
  const v = await values(t);
  const mean = v.reduce((a, b) => a + b, 0) / v.length;
  const std = Math.sqrt(v.reduce((s, x) => s + (x - mean) ** 2, 0) / v.length);
  return { mean, std, min: Math.min(...v), max: Math.max(...v) };
}

const empty = (...shape: number[]) => Parameter.empty(shape);
const float64 = (shape: Shape, seed: number) =>
  tensor(Float64Array.from(wave(shape, seed)), { shape, dtype: 'float64', requiresGrad: true });

describe('init', () => {
  it('draws uniform numbers between the bounds', async () => {
    manualSeed(1);
    // Each deviation of a uniform distribution is its width / √12.
    const cases: [Tensor, number][] = [
      [init.uniform_(empty(100, 50), { a: -3, b: 3 }), 3],
      [init.xavierUniform_(empty(100, 50), { gain: 2 }), 2 * Math.sqrt(6 / 150)],
      [init.kaimingUniform_(empty(100, 50), { nonlinearity: 'relu' }), Math.SQRT2 * Math.sqrt(3 / 50)],
      [init.kaimingUniform_(empty(20, 50, 3), { a: Math.sqrt(5), mode: 'fanOut' }), Math.sqrt(1 / 60)],
    ];
    for (const [t, bound] of cases) {
      const s = await spread(t);
      expect(s.min).toBeGreaterThanOrEqual(-bound);
      expect(s.max).toBeLessThan(bound);
      expect(s.max / bound).toBeGreaterThan(0.98);
      expect(s.std / (bound / Math.sqrt(3))).toBeCloseTo(1, 1);
    }
  });

  it('draws normal numbers of the right deviation', async () => {
    manualSeed(2);
    const cases: [Tensor, number, number][] = [
      [init.normal_(empty(100, 100), { mean: 2, std: 0.5 }), 2, 0.5],
      [init.xavierNormal_(empty(100, 100)), 0, 0.1],
      [init.kaimingNormal_(empty(100, 100), { nonlinearity: 'tanh' }), 0, (5 / 3) * 0.1],
      // The deviation of a normal distribution cut at two of its own deviations.
      [init.truncNormal_(empty(100, 100), { mean: 1, std: 2, a: -3, b: 5 }), 1, 2 * 0.8796],
    ];
    for (const [t, mean, std] of cases) {
      const s = await spread(t);
      expect(Math.abs(s.mean - mean) / std).toBeLessThan(0.04);
      expect(Math.abs(s.std / std - 1)).toBeLessThan(0.04);
    }
    const cut = await spread(cases[3][0]);
    expect(cut.min).toBeGreaterThanOrEqual(-3);
    expect(cut.max).toBeLessThanOrEqual(5);
  });

  it('makes orthogonal rows or columns', async () => {
    for (const [rows, columns] of [
      [4, 9],
      [9, 4],
      [5, 5],
    ]) {
      const w = init.orthogonal_(empty(rows, columns), { gain: 3 }).detach();
      const product = rows < columns ? w.matmul(w.transpose(0, 1)) : w.transpose(0, 1).matmul(w);
      const n = Math.min(rows, columns);
      const wanted = Array.from({ length: n * n }, (_, i) => (i % (n + 1) === 0 ? 9 : 0));
      expect(difference(await product.data(), wanted)).toBeLessThan(1e-5);
    }
  });

  it('repeats with the seed, and fills with constants', async () => {
    const draw = () => {
      manualSeed(5);
      return [
        init.uniform_(empty(7)),
        init.normal_(empty(7)),
        init.truncNormal_(empty(7)),
        init.orthogonal_(empty(2, 2)),
      ];
    };
    const [one, two] = [draw(), draw()];
    for (let i = 0; i < one.length; i++) expect(await values(one[i])).toEqual(await values(two[i]));
    expect(await values(init.constant_(empty(2), 3))).toEqual([3, 3]);
    expect(await values(init.ones_(empty(2)))).toEqual([1, 1]);
    expect(await values(init.zeros_(empty(2)))).toEqual([0, 0]);
  });

  it('knows gains and says what is wrong', () => {
    expect(init.calculateGain('linear')).toBe(1);
    expect(init.calculateGain('tanh')).toBe(5 / 3);
    expect(init.calculateGain('leakyRelu', 1)).toBe(1);
    expect(() => init.xavierNormal_(empty(3))).toThrow(
      'xavierNormal_: expected a weight of at least two dims, got [3]',
    );
    expect(() => init.truncNormal_(empty(3), { mean: 10 })).toThrow(
      'truncNormal_: expected bounds around the mean 10, got [-2, 2]',
    );
  });
});

describe('layers start as in PyTorch', () => {
  it('Linear, LSTM, GRU: uniform in ±1/√n', async () => {
    manualSeed(4);
    const linear = new Linear(64, 200);
    for (const t of linear.parameters()) expect((await spread(t)).max).toBeLessThan(1 / 8);
    expect((await spread(linear.weight)).max).toBeGreaterThan(0.98 / 8);
    for (const rnn of [new LSTM(5, 64), new GRU(5, 64), new RNN(5, 64)]) {
      for (const t of rnn.parameters()) {
        const { max, min } = await spread(t);
        expect(Math.max(max, -min)).toBeLessThanOrEqual(1 / 8);
        expect(Math.max(max, -min)).toBeGreaterThan(0.85 / 8);
      }
    }
  });

  it('Embedding: standard normal, zeros at the padding', async () => {
    manualSeed(4);
    const { weight } = new Embedding(100, 50, { paddingIdx: -1 });
    const s = await spread(weight.detach().narrow(0, 0, 99));
    expect(Math.abs(s.std - 1)).toBeLessThan(0.03);
    expect(await values(weight.detach().select(0, 99))).toEqual(new Array(50).fill(0));
  });

  it('MultiheadAttention: Xavier in, no biases', async () => {
    manualSeed(4);
    const m = new MultiheadAttention(64, 4);
    const bound = Math.sqrt(6 / (4 * 64));
    const { max } = await spread(m.in_proj_weight!);
    expect(max).toBeLessThan(bound);
    expect(max).toBeGreaterThan(0.98 * bound);
    expect((await spread(m.in_proj_bias!)).std + (await spread(m.out_proj.bias!)).std).toBe(0);
    expect((await spread(m.out_proj.weight)).max).toBeLessThan(1 / 8);
  });
});

describe('layers', () => {
  it('compute what their names say', async () => {
    const x = tensor([
      [-1, 2],
      [3, -4],
    ]);
    expect(await values(new Identity().forward(x))).toEqual([-1, 2, 3, -4]);
    expect(await values(new ReLU().forward(x))).toEqual([0, 2, 3, 0]);
    expect(await values(new LeakyReLU(0.5).forward(x))).toEqual([-0.5, 2, 3, -2]);
    expect(await values(new Tanh().forward(x))).toEqual(await values(x.tanh()));
    expect(await values(new SiLU().forward(x))).toEqual(await values(x.silu()));
    expect(await values(new GELU({ approximate: 'tanh' }).forward(x))).toEqual(
      await values(x.gelu({ approximate: 'tanh' })),
    );
    expect(
      new Flatten().forward(
        tensor([
          [
            [1, 2],
            [3, 4],
          ],
        ]),
      ).shape,
    ).toEqual([1, 4]);
    const p = await values(new Softmax(0).forward(x));
    expect(p[0] + p[2]).toBeCloseTo(1, 6);
    const logs = await values(new LogSoftmax().forward(x));
    expect(Math.exp(logs[0]) + Math.exp(logs[1])).toBeCloseTo(1, 6);
    expect(difference(await new LayerNorm(2).forward(x).data(), [-1, 1, 1, -1])).toBeLessThan(1e-4);
    const rms = await values(new RMSNorm(2).forward(x));
    expect(
      difference(rms, [-1, 2].map((v) => v / Math.sqrt(2.5)).concat([3, -4].map((v) => v / Math.sqrt(12.5)))),
    ).toBeLessThan(1e-5);
  });

  it('drop only in training', async () => {
    const drop = new Dropout(0.5);
    const x = tensor(new Float32Array(1000).fill(1));
    const kept = (await values(drop.forward(x))).filter((v) => v !== 0);
    expect(new Set(kept)).toEqual(new Set([2]));
    expect(kept.length).toBeGreaterThan(400);
    expect(kept.length).toBeLessThan(600);
    expect(drop.eval().forward(x)).toBe(x);
    expect(() => new Dropout(2)).toThrow('Dropout: expected a probability in [0, 1], got 2');
  });

  it('look up rows, without a gradient for the padding', async () => {
    const layer = new Embedding(3, 2, { paddingIdx: 1 });
    const y = layer.forward(
      tensor(
        [
          [0, 1],
          [2, 0],
        ],
        { dtype: 'int32' },
      ),
    );
    expect(y.shape).toEqual([2, 2, 2]);
    y.sum().backward();
    expect(await values(layer.weight.grad!)).toEqual([2, 2, 0, 0, 1, 1]);
    expect(() => new Embedding(3, 2, { paddingIdx: 3 })).toThrow(
      'Embedding: expected paddingIdx in [-3, 2], got 3',
    );
  });

  it('stand in a row', () => {
    const net = new Sequential(new Linear(2, 3), new ReLU()).append(new Linear(3, 1));
    expect(net.length).toBe(3);
    expect([...net.stateDict().keys()]).toEqual(['0.weight', '0.bias', '2.weight', '2.bias']);
    expect(net.forward(tensor([[1, 2]])).shape).toEqual([1, 1]);
  });
});

describe('recurrent', () => {
  const [T, B, H] = [3, 1, 2];
  const gates = { lstm: 4, gru: 3, rnnTanh: 1, rnnRelu: 1 };

  for (const name of Object.keys(gates) as CellName[]) {
    for (const reverse of [false, true]) {
      it(`${name}${reverse ? ', reversed' : ''}: gradients, and gradients of gradients`, async () => {
        const G = gates[name];
        const inputs = [float64([T, B, G * H], 1), float64([B, H], 2), float64([G * H, H], 3)];
        if (name === 'lstm') inputs.push(float64([B, H], 4));
        if (name === 'gru') inputs.push(float64([G * H], 5));
        const fn = (projected: Tensor, h0: Tensor, weight: Tensor, more: Tensor) => {
          const options = name === 'lstm' ? { c0: more } : { bias: more };
          const { output, h, c } = recurrent(name, { projected, h0, weight, ...options }, { reverse });
          return c ? [output, h, c] : [output, h];
        };
        await gradcheck(fn as never, inputs);
        await gradgradcheck(fn as never, inputs);
        // Each output alone, and inputs that depend on one another.
        for (let i = 0; i < fn(inputs[0], inputs[1], inputs[2], inputs[3]).length; i++) {
          await gradcheck(((...a: Tensor[]) => fn(a[0], a[1], a[2], a[3])[i]) as never, inputs);
        }
        const tied = (x: Tensor) =>
          fn(x, x.select(0, 0).narrow(1, 0, H), inputs[2].detach(), inputs[3]?.detach());
        await gradcheck(tied as never, [inputs[0]]);
        await gradgradcheck(tied as never, [inputs[0]]);
      });
    }
  }

  it('says what is wrong', () => {
    const lstm = new LSTM(3, 2, { numLayers: 2 });
    const x = tensor(new Float32Array(24), { shape: [4, 2, 3] });
    expect(() => lstm.forward(tensor([[[1, 2]]]))).toThrow(
      'LSTM: expected input [T, B, 3] or [T, 3], got [1, 1, 2]',
    );
    expect(() => new GRU(3, 2, { batchFirst: true }).forward(tensor([1]))).toThrow(
      'GRU: expected input [B, T, 3] or [T, 3], got [1]',
    );
    const h = tensor(new Float32Array(4), { shape: [2, 1, 2] });
    expect(() => lstm.forward(x, [h, h])).toThrow('LSTM: expected h0 of shape [2, 2, 2], got [2, 1, 2]');
    expect(() => new LSTM(3, 2).forward(tensor(new Float32Array(0), { shape: [0, 2, 3] }))).toThrow(
      'lstm: expected at least one step and shapes [0, 2, 8], [2, 2], [8, 2], [2, 2], got [0, 2, 8], [2, 2], [8, 2], [2, 2]',
    );
    expect(() => new RNN(1, 1, { numLayers: 0 })).toThrow('RNN: expected at least one layer, got 0');
    expect(() => lstm.to('float64').forward(x)).toThrow(/one dtype/);
  });

  it('takes up where it stopped, given the state', async () => {
    const lstm = new LSTM(2, 3, { numLayers: 2 });
    const x = tensor(Float32Array.from(wave([4, 1, 2], 1)), { shape: [4, 1, 2] });
    const [whole] = lstm.forward(x);
    const [a, state] = lstm.forward(x.narrow(0, 0, 2));
    const [b] = lstm.forward(x.narrow(0, 2, 2), state);
    expect(difference([...(await a.data()), ...(await b.data())], await values(whole))).toBeLessThan(1e-6);
  });

  it('drops between layers, in training', async () => {
    const gru = new GRU(2, 3, { numLayers: 2, dropout: 1 });
    const x = tensor(Float32Array.from(wave([3, 1, 2], 1)), { shape: [3, 1, 2] });
    const [y] = gru.forward(x);
    const [zero] = gru.forward(x.mul(5));
    // The second layer sees zeros, whatever the input.
    expect(await values(y)).toEqual(await values(zero));
    gru.eval();
    expect(await values(gru.forward(x)[0])).not.toEqual(await values(y));
  });
});

eachDevice('float16', (place) => {
  it('a bidirectional LSTM runs in float32 inside', async () => {
    const { device } = place;
    if (!device.dtypes.has('float16')) return;
    const lstm = new LSTM(2, 3, { bidirectional: true, device });
    const x = tensor(Float32Array.from(wave([4, 2, 2], 1)), { shape: [4, 2, 2], device });
    const wide = await values(lstm.forward(x)[0]);
    const [y] = lstm.to('float16').forward(x.to('float16'));
    expect(y.dtype).toBe('float16');
    expect(difference(await values(y), wide)).toBeLessThan(4e-3);
    y.sum().backward();
    expect(lstm.parameters().every((p) => p.grad!.dtype === 'float16')).toBe(true);
  });
});

eachDevice('attention', (place) => {
  const bool = (rows: boolean[][]) => tensor(rows, { device: place.device });

  it('gives zeros, not NaN, to a query without keys, forward and backward', async () => {
    const { device, dtype, make, tolerance } = place;
    const m = new MultiheadAttention(4, 2, { batchFirst: true, dtype, device });
    const x = make(wave([2, 3, 4], 1), [2, 3, 4]).requiresGrad_();
    // The second sequence is all padding.
    const keyPaddingMask = bool([
      [false, false, true],
      [true, true, true],
    ]);
    const [y, w] = m.forward(x, x, x, { keyPaddingMask, needWeights: true });
    const weights = await values(w!);
    expect(weights.slice(9)).toEqual(new Array(9).fill(0));
    expect(
      difference(
        [0, 1, 2].map((i) => weights[3 * i] + weights[3 * i + 1]),
        [1, 1, 1],
      ),
    ).toBeLessThan(tolerance);
    expect(weights[2]).toBe(0);
    expect(difference((await values(y)).slice(12), new Array(12).fill(0))).toBeLessThan(tolerance);
    const [other] = m.forward(x, x, x, { keyPaddingMask });
    expect(difference(await other.data(), await values(y))).toBeLessThan(tolerance);
    for (const out of [y, other]) {
      scope(() => out.mul(out).sum().backward());
      for (const p of [x, ...m.parameters()]) {
        expect((await values(p.grad!)).some(Number.isNaN)).toBe(false);
      }
      expect((await values(x.grad!)).slice(12)).toEqual(new Array(12).fill(0));
      m.zeroGrad();
      x.grad = null;
    }
  });

  it('combines boolean masks: per head, causal, padding', async () => {
    const { device, dtype, make, tolerance } = place;
    const m = new MultiheadAttention(4, 2, { batchFirst: true, dtype, device });
    const x = make(wave([1, 3, 4], 1), [1, 3, 4]);
    const attnMask = tensor(
      [
        [
          [false, false, false],
          [true, false, false],
          [false, false, false],
        ],
        [
          [false, false, false],
          [false, false, false],
          [false, true, false],
        ],
      ],
      { device },
    );
    const options = { needWeights: true, averageAttnWeights: false, isCausal: true, attnMask };
    const w = await values(m.forward(x, x, x, options)[1]!);
    const zero = w.map((v, i) => (v === 0 ? i : -1)).filter((i) => i >= 0);
    expect(zero).toEqual([1, 2, 3, 5, 10, 11, 14, 16]);
    // Without weights, another path may run.
    const [a] = m.forward(x, x, x, options);
    const [b] = m.forward(x, x, x, { ...options, needWeights: false });
    expect(difference(await a.data(), await values(b))).toBeLessThan(tolerance);
    const added = make([0, 1, 2, 3, 0, 1, 2, 3, 0], [3, 3]);
    for (const more of [{ isCausal: true }, { keyPaddingMask: bool([[true, false, false]]) }]) {
      const [c] = m.forward(x, x, x, { ...more, attnMask: added, needWeights: true });
      const [d] = m.forward(x, x, x, { ...more, attnMask: added });
      expect(difference(await c.data(), await values(d))).toBeLessThan(tolerance);
    }
  });
});

describe('attention says what is wrong', () => {
  const device = cpuDevice();
  const m = new MultiheadAttention(4, 2);
  const x = tensor(new Float32Array(24), { shape: [3, 2, 4], device });

  it('in words', () => {
    expect(() => new MultiheadAttention(5, 2)).toThrow(
      'MultiheadAttention: expected heads that divide embedDim 5, got 2',
    );
    expect(() => m.forward(x, tensor([[[1, 2, 3, 4]]]))).toThrow(
      'MultiheadAttention: expected query [L, B, 4] and key and value of one length and batch, got [3, 2, 4], [1, 1, 4] and [1, 1, 4]',
    );
    expect(() => m.forward(x, x, x, { attnMask: tensor([[true]]) })).toThrow(
      'MultiheadAttention: expected an attnMask of shape [3, 3] or [4, 3, 3], got [1, 1]',
    );
    expect(() => m.forward(x, x, x, { keyPaddingMask: tensor([[true]]) })).toThrow(
      'MultiheadAttention: expected a keyPaddingMask of shape [2, 3], got [1, 1]',
    );
    expect(() => m.forward(x, x, x, { keyPaddingMask: tensor([[1]]) })).toThrow(
      "MultiheadAttention: expected a bool keyPaddingMask, got float32; convert with mask.to('bool')",
    );
  });
});
