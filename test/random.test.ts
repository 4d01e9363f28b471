/** Philox against the paper's vectors, and draws against their distributions, with fixed seeds. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import '../src/autograd/methods.js';
import { noGrad } from '../src/autograd/mode.js';
import { dropout } from '../src/autograd/ops/dropout.js';
import {
  bernoulli,
  multinomial,
  normal_,
  rand,
  randint,
  randn,
  randperm,
  uniform_,
} from '../src/autograd/ops/random.js';
import { DataError } from '../src/device/errors.js';
import type { Device } from '../src/device/types.js';
import { openWebGPU } from '../src/device/webgpu/device.js';
import { cpuDevice } from '../src/tensor/default-device.js';
import { tensor } from '../src/tensor/factories.js';
import { Generator, manualSeed, mulHigh, philox, philoxBlock } from '../src/tensor/random.js';
import { ADAPTER, problem } from './support/webgpu.js';

describe('philox', () => {
  const words = new Uint32Array(4);
  const hex = () => Array.from(words, (w) => w.toString(16).padStart(8, '0')).join(' ');

  // kat_vectors of Random123 1.14, philox4x32 with 10 rounds.
  it('gives the known answers', () => {
    const f = 0xffffffff;
    philoxBlock(0, 0, 0, 0, 0, 0, words);
    expect(hex()).toBe('6627e8d5 e169c58d bc57ac4c 9b00dbd8');
    philoxBlock(f, f, f, f, f, f, words);
    expect(hex()).toBe('408f276d 41c83b0e a20bc7c6 6d5451fd');
    philoxBlock(0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, words);
    expect(hex()).toBe('d16cfe09 94fdcceb 5001e420 24126ea1');
  });

  it('splits counter and seed into words', () => {
    philox(2 ** 40 + 7, 2 ** 52 + 9, words);
    const long = hex();
    philoxBlock(7, 2 ** 8, 0, 0, 9, 2 ** 20, words);
    expect(hex()).toBe(long);
  });

  it('multiplies 32-bit words exactly', () => {
    for (const [a, b] of [
      [0, 5],
      [0xffffffff, 0xffffffff],
      [0xd2511f53, 0x80000001],
      [0x0001ffff, 0xffff0001],
      [123456789, 987654321],
    ]) {
      expect(mulHigh(a, b)).toBe(Number((BigInt(a) * BigInt(b)) >> 32n));
    }
  });
});

/** Σ (observed − expected)² / expected. */
function chiSquare(observed: ArrayLike<number>, expected: (i: number) => number): number {
  let sum = 0;
  for (let i = 0; i < observed.length; i++) sum += (observed[i] - expected(i)) ** 2 / expected(i);
  return sum;
}

function histogram(values: ArrayLike<number>, bins: number, bin: (v: number) => number): Float64Array {
  const counts = new Float64Array(bins);
  for (let i = 0; i < values.length; i++) counts[bin(values[i])]++;
  return counts;
}

function moments(values: ArrayLike<number>): { mean: number; variance: number; kurtosis: number } {
  let [mean, variance, kurtosis] = [0, 0, 0];
  const n = values.length;
  for (let i = 0; i < n; i++) mean += values[i] / n;
  for (let i = 0; i < n; i++) variance += (values[i] - mean) ** 2 / n;
  for (let i = 0; i < n; i++) kurtosis += (values[i] - mean) ** 4 / n / variance ** 2;
  return { mean, variance, kurtosis };
}

/** Upper bound of χ² with `freedom` degrees that one seed in about 10,000 exceeds (Wilson and Hilferty 1931). */
function limit(freedom: number): number {
  const s = 2 / (9 * freedom);
  return freedom * (1 - s + 3.72 * Math.sqrt(s)) ** 3;
}

const N = 100_000;

function suite(open: () => Promise<Device>): void {
  let device: Device;
  let options: { device: Device };
  beforeAll(async () => {
    device = await open();
    options = { device };
    manualSeed(1);
  });
  afterAll(() => (device === cpuDevice() ? undefined : device?.close()));

  it('rand is uniform in [0, 1), neighbours independent', async () => {
    const data = await rand([N], options).data();
    expect(data.every((v) => v >= 0 && v < 1)).toBe(true);
    const { mean, variance } = moments(data);
    expect(Math.abs(mean - 1 / 2)).toBeLessThan(4 * Math.sqrt(1 / 12 / N));
    expect(Math.abs(variance - 1 / 12)).toBeLessThan(4 * Math.sqrt(1 / 180 / N));
    expect(
      chiSquare(
        histogram(data, 100, (v) => Math.floor(v * 100)),
        () => N / 100,
      ),
    ).toBeLessThan(limit(99));
    const pairs = new Float64Array(100);
    for (let i = 0; i + 1 < N; i += 2) pairs[Math.floor(data[i] * 10) * 10 + Math.floor(data[i + 1] * 10)]++;
    expect(chiSquare(pairs, () => N / 200)).toBeLessThan(limit(99));
  });

  it('rand of float16 stays below 1', async () => {
    const data = await rand([N], { ...options, dtype: 'float16' }).data();
    expect(Math.max(...data)).toBe(1 - 2 ** -11);
    expect(Math.abs(moments(data).mean - (1 - 2 ** -11) / 2)).toBeLessThan(4 * Math.sqrt(1 / 12 / N));
  });

  it('randn is normal', async () => {
    const data = await randn([N], options).data();
    const { mean, variance, kurtosis } = moments(data);
    expect(data.every(Number.isFinite)).toBe(true);
    expect(Math.abs(mean)).toBeLessThan(4 / Math.sqrt(N));
    expect(Math.abs(variance - 1)).toBeLessThan(4 * Math.sqrt(2 / N));
    expect(Math.abs(kurtosis - 3)).toBeLessThan(4 * Math.sqrt(24 / N));
    // Deciles of the normal distribution.
    const cuts = [
      -1.2815516, -0.8416212, -0.5244005, -0.2533471, 0, 0.2533471, 0.5244005, 0.8416212, 1.2815516,
    ];
    const counts = histogram(data, 10, (v) => cuts.filter((c) => v > c).length);
    expect(chiSquare(counts, () => N / 10)).toBeLessThan(limit(9));
    // Sine and cosine of a pair are uncorrelated.
    let product = 0;
    for (let i = 0; i < N; i += 2) product += (data[i] * data[i + 1]) / (N / 2);
    expect(Math.abs(product)).toBeLessThan(4 / Math.sqrt(N / 2));
  });

  it('randint draws every integer of its range equally often', async () => {
    const data = await randint(-3, 7, [N], options).data();
    expect(
      chiSquare(
        histogram(data, 10, (v) => v + 3),
        () => N / 10,
      ),
    ).toBeLessThan(limit(9));
    const large = await randint(0, 2 ** 32 - 1, [N], { ...options, dtype: 'uint32' }).data();
    expect(Math.abs(moments(large).mean / 2 ** 31 - 1)).toBeLessThan(0.01);
  });

  it('randperm is a permutation, each position uniform', async () => {
    const counts = new Float64Array(36);
    for (let round = 0; round < 600; round++) {
      const order = await randperm(6, options).data();
      expect([...order].sort()).toEqual([0, 1, 2, 3, 4, 5]);
      order.forEach((v, i) => {
        counts[i * 6 + v]++;
      });
    }
    // Six rows and columns whose sums are fixed: 25 degrees of freedom.
    expect(chiSquare(counts, () => 100)).toBeLessThan(limit(25));
  });

  it('bernoulli is 1 as often as asked', async () => {
    const data = await bernoulli(0.3, [N], options).data();
    expect(Math.abs(moments(data).mean - 0.3)).toBeLessThan(4 * Math.sqrt(0.21 / N));
    const each = await bernoulli(tensor([0, 0.25, 0.5, 1], options).expand([N, 4]))
      .sum({ dim: 0 })
      .data();
    expect([each[0], each[3]]).toEqual([0, N]);
    expect(Math.abs(each[1] / N - 0.25)).toBeLessThan(4 * Math.sqrt(0.1875 / N));
    expect(Math.abs(each[2] / N - 0.5)).toBeLessThan(4 * Math.sqrt(0.25 / N));
  });

  it('multinomial follows its weights', async () => {
    const weights = [1, 0, 5, 2, 0, 8];
    const probs = tensor(weights, options);
    const draws = await multinomial(probs, 20_000, { replacement: true }).data();
    const counts = histogram(draws, 6, (v) => v);
    expect([counts[1], counts[4]]).toEqual([0, 0]);
    const some = [0, 2, 3, 5];
    expect(
      chiSquare(
        some.map((i) => counts[i]),
        (k) => (20_000 * weights[some[k]]) / 16,
      ),
    ).toBeLessThan(limit(3));
  });

  it('multinomial without replacement never repeats, and the first draw follows the weights', async () => {
    const weights = [1, 5, 2, 8];
    const draws = await multinomial(tensor(weights, options).expand([1000, 4]), 3).data();
    const first = new Float64Array(4);
    const second = new Float64Array(4);
    for (let row = 0; row < 1000; row++) {
      const [a, b, c] = draws.slice(row * 3, row * 3 + 3);
      expect(new Set([a, b, c]).size).toBe(3);
      first[a]++;
      if (a === 3) second[b]++;
    }
    expect(chiSquare(first, (k) => (1000 * weights[k]) / 16)).toBeLessThan(limit(3));
    // After category 3 the others follow their weights.
    expect(chiSquare(second.slice(0, 3), (k) => (first[3] * weights[k]) / 8)).toBeLessThan(limit(2));
  });

  it('multinomial reaches the ends of long rows', async () => {
    const k = 1003;
    const one = (at: number) =>
      tensor(
        Float32Array.from({ length: k }, (_, i) => (i === at ? 0.1 : 0)),
        options,
      );
    for (const at of [0, 500, k - 1]) {
      expect(new Set(await multinomial(one(at), 50, { replacement: true }).data())).toEqual(new Set([at]));
      expect(Array.from(await multinomial(one(at), 1).data())).toEqual([at]);
    }
  });

  it('multinomial without replacement takes tiny weights before those of zero', async () => {
    const weights = tensor([0, 1e-37, 0, 1, 2e-37], options);
    expect(new Set(await multinomial(weights, 3).data())).toEqual(new Set([1, 3, 4]));
  });

  it('dropout keeps the mean, and backward uses the same mask', async () => {
    const x = tensor(new Float32Array(N).fill(3), options).requiresGrad_();
    const y = dropout(x, 0.2);
    const data = await y.data();
    const kept = data.filter((v) => v !== 0);
    expect(new Set(kept)).toEqual(new Set([3.75]));
    expect(Math.abs(kept.length / N - 0.8)).toBeLessThan(4 * Math.sqrt(0.16 / N));
    y.sum().backward();
    const gradient = await x.grad!.data();
    expect(gradient.every((v, i) => v === (data[i] === 0 ? 0 : 1.25))).toBe(true);
  });

  it('draws the same bits as the oracle, across the carry of the counter', async () => {
    for (const count of [1, 7, 15, 16, 17, 33, 1001]) {
      const generator = () => {
        const g = new Generator();
        g.setState({ seed: 2 ** 52 + 3, counter: 2 ** 32 - 2 });
        return g;
      };
      const oracle = { device: cpuDevice(), dtype: 'float64' as const, generator: generator() };
      const mine = { device, generator: generator() };
      const expected = await rand([count], oracle).data();
      expect(Array.from(await rand([count], mine).data())).toEqual(Array.from(expected));
      const mask = async (o: typeof oracle | typeof mine) => {
        const ones = tensor(new Float32Array(count).fill(1), { ...o });
        return Array.from(await dropout(ones, 0.37, true, o).data(), (v) => v !== 0);
      };
      expect(await mask(mine)).toEqual(await mask(oracle));
    }
  });

  it('dropout does nothing outside training or for p = 0', () => {
    const x = tensor([1, 2], options);
    expect(dropout(x, 0.5, false)).toBe(x);
    expect(dropout(x, 0)).toBe(x);
  });

  it('the same seed gives the same numbers, the next draw others', async () => {
    const draw = async () => {
      manualSeed(77);
      return [await rand([37], options).data(), await rand([37], options).data()];
    };
    const [a, b] = await draw();
    expect(a).not.toEqual(b);
    expect(await draw()).toEqual([a, b]);
    const own = new Generator(77);
    expect(await rand([37], { ...options, generator: own }).data()).toEqual(a);
    const state = own.getState();
    const next = await rand([37], { ...options, generator: own }).data();
    expect(next).toEqual(b);
    own.setState(state);
    expect(await rand([37], { ...options, generator: own }).data()).toEqual(b);
  });

  it('fills views in place', async () => {
    const x = tensor(new Float32Array(12), { ...options, shape: [3, 4] });
    noGrad(() => uniform_(x.transpose(0, 1).narrow(0, 1, 2), 2, 3));
    noGrad(() => normal_(x.narrow(0, 0, 1), 100, 1));
    const data = await x.data();
    expect(data.slice(0, 4).every((v) => v > 90 && v < 110)).toBe(true);
    expect([data[4], data[7], data[8], data[11]]).toEqual([0, 0, 0, 0]);
    expect([data[5], data[6], data[9], data[10]].every((v) => v >= 2 && v < 3)).toBe(true);
  });
}

describe('cpu', () => suite(async () => cpuDevice()));
describe.skipIf(problem !== null)(`webgpu${problem ? ` (skipped: ${problem})` : ''}`, () =>
  suite(() => openWebGPU({ adapter: ADAPTER })),
);

describe('cpu, wrong weights', () => {
  it('names the row', () => {
    expect(() =>
      multinomial(
        tensor([
          [1, 1],
          [1, -1],
        ]),
        1,
      ),
    ).toThrow(
      new DataError('multinomial: expected weights that are finite and not negative, got -1 in row 1'),
    );
    expect(() => multinomial(tensor([0, 0]), 1, { replacement: true })).toThrow(
      new DataError('multinomial: expected at least 1 positive weights in row 0, got 0'),
    );
    expect(() => multinomial(tensor([0, 1, 0]), 2)).toThrow(
      new DataError('multinomial: expected at least 2 positive weights in row 0, got 1'),
    );
  });
});
