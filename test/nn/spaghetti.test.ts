import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import {
  capture,
  cat,
  cpuDevice,
  DataError,
  linear,
  manualSeed,
  nn,
  noGrad,
  optim,
  randn,
  relu,
  ShapeError,
  scope,
  type Tensor,
  tanh,
  tensor,
  type Wiring,
} from '../../src/index.js';
import { Draws, dealWires } from '../../src/nn/random-wires.js';
import { loadTensors, saveTensors } from '../../src/train/checkpoint.js';

const { SpaghettiLayer, SpaghettiNet } = nn;
const numbers = async (t: Tensor): Promise<number[]> => Array.from(await t.data());

/** The matrix [outputs, inputs] that stands for weights along wires; 0 where there is none. */
async function dense(weights: Tensor, { inputs, outputs, sources, targets }: Wiring): Promise<Tensor> {
  const data = new Float64Array(inputs * outputs);
  (await numbers(weights)).forEach((w, i) => {
    data[targets[i] * inputs + sources[i]] = w;
  });
  return tensor(data, { shape: [outputs, inputs], dtype: 'float64' });
}

/** The entries of a matrix at the wires. */
async function atWires(matrix: Tensor, { inputs, sources, targets }: Wiring): Promise<number[]> {
  const data = await numbers(matrix);
  return Array.from(sources, (source, i) => data[targets[i] * inputs + source]);
}

function close(got: readonly number[], wanted: readonly number[]): void {
  expect(got).toHaveLength(wanted.length);
  got.forEach((x, i) => {
    expect(x).toBeCloseTo(wanted[i], 10);
  });
}

describe('random wires', () => {
  it('draws all integers and all sets equally often', () => {
    const draws = new Draws(7);
    const counts = new Array<number>(10).fill(0);
    for (let i = 0; i < 5000; i++) for (const n of draws.choose(3, 10)) counts[n]++;
    for (const n of counts) expect(Math.abs(n - 1500)).toBeLessThan(150);
    expect([...draws.permutation(50)].sort((a, b) => a - b)).toEqual([...Array(50).keys()]);
    expect(new Draws(7, 1).below(2 ** 32)).not.toBe(new Draws(7).below(2 ** 32));
  });

  it('deals sources so that all are used equally often, up to one, and no unit gets one twice', () => {
    const feed = { first: 2, size: 5, targets: [...Array(8).keys()], wires: 3 };
    const { sources, targets } = dealWires(7, 8, [feed], new Draws(1));
    const uses = new Map<number, number>();
    for (const s of sources) uses.set(s, (uses.get(s) ?? 0) + 1);
    expect([...uses.keys()].sort()).toEqual([2, 3, 4, 5, 6]);
    expect([...uses.values()].every((n) => n === 4 || n === 5)).toBe(true);
    expect(new Set(Array.from(sources, (s, i) => `${s} ${targets[i]}`)).size).toBe(24);
  });
});

describe('SpaghettiLayer', () => {
  afterEach(() => manualSeed(0));

  it('is wired as asked', () => {
    const layer = new SpaghettiLayer(3, 40, { wiresPerUnit: 5, seed: 3 });
    expect(layer.tangle.length).toBe(200);
    for (let unit = 0; unit < 40; unit++) {
      expect(layer.tangle.targets.filter((t) => t === unit)).toHaveLength(5);
    }
    expect(layer.entryUnits).toHaveLength(20);
    expect(new Set(layer.entries.targets)).toEqual(new Set(layer.entryUnits));
    expect(layer.outFeatures).toBe(20);
    expect([...layer.readUnits].some((unit) => layer.entryUnits.includes(unit))).toBe(false);
    expect(layer.wires).toBe(200 + 60);
    expect(layer.numParameters()).toBe(260 + 40);
    expect(layer.operations).toBe(2 * (60 + 4 * 200));
    expect(layer.forward(randn([2, 5, 3])).shape).toEqual([2, 5, 20]);

    const sparse = new SpaghettiLayer(3, 40, { sparsity: 0.9 });
    expect(sparse.tangle.length).toBe(160);
    expect(new SpaghettiLayer(3, 4, { sparsity: 1 }).tangle.length).toBe(0);
    expect(new SpaghettiLayer(3, 4, { sparsity: 0 }).tangle.length).toBe(16);
    // Every input enters somewhere, also where there are few entries.
    const wide = new SpaghettiLayer(100, 20, { wiresPerUnit: 4 });
    expect(new Set(wide.entries.sources).size).toBe(100);
  });

  it('is wired by the seed alone', () => {
    const make = (seed: number) => new SpaghettiLayer(3, 30, { seed }).tangle.fingerprint;
    manualSeed(1);
    const one = make(1);
    manualSeed(2);
    expect(make(1)).toBe(one);
    expect(make(2)).not.toBe(one);
  });

  it.each(['relu', 'tanh'] as const)(
    'equals dense layers whose other weights are 0, in values and gradients (%s)',
    async (activation) => {
      manualSeed(4);
      const layer = new SpaghettiLayer(5, 24, {
        wiresPerUnit: 4,
        steps: 3,
        earlier: [7],
        activation,
        dtype: 'float64',
      });
      noGrad(() => layer.bias.copy_(randn([24], { dtype: 'float64' })));
      const x = randn([6, 5], { dtype: 'float64' }).requiresGrad_();
      const before = randn([6, 7], { dtype: 'float64' }).requiresGrad_();
      const cotangent = randn([6, layer.outFeatures], { dtype: 'float64' });
      const y = layer.forward(x, [before]);
      y.mul(cotangent).sum().backward();

      const entries = (await dense(layer.in_weight, layer.entries)).requiresGrad_();
      const tangle = (await dense(layer.tangle_weight, layer.tangle)).requiresGrad_();
      const bias = layer.bias.detach().clone().requiresGrad_();
      const x2 = x.detach().clone().requiresGrad_();
      const before2 = before.detach().clone().requiresGrad_();
      const f = activation === 'relu' ? relu : tanh;
      const drive = linear(cat([x2, before2], 1), entries, bias);
      let s = f(drive);
      for (let step = 0; step < 3; step++) s = f(linear(s, tangle).add(drive));
      const reference = s.indexSelect(1, tensor([...layer.readUnits], { dtype: 'int32' }));
      reference.mul(cotangent).sum().backward();

      close(await numbers(y), await numbers(reference));
      close(await numbers(layer.in_weight.grad!), await atWires(entries.grad!, layer.entries));
      close(await numbers(layer.tangle_weight.grad!), await atWires(tangle.grad!, layer.tangle));
      close(await numbers(layer.bias.grad!), await numbers(bias.grad!));
      close(await numbers(x.grad!), await numbers(x2.grad!));
      close(await numbers(before.grad!), await numbers(before2.grad!));
      // The dense layer has gradients where there is no wire. This one has no place for them.
      expect(layer.tangle_weight.grad!.numel).toBe(24 * 4);
      expect((await numbers(tangle.grad!)).filter((g) => g !== 0).length).toBeGreaterThan(24 * 4);
    },
  );

  it('starts with weights that sum to 0 and have squares of gain² in each unit', async () => {
    manualSeed(5);
    const layer = new SpaghettiLayer(6, 50, { sparsity: 0.9, seed: 2 });
    const sums = new Float64Array(50);
    const squares = new Float64Array(50);
    const wires = new Float64Array(50);
    for (const [weight, { targets }] of [
      [layer.in_weight, layer.entries],
      [layer.tangle_weight, layer.tangle],
    ] as const) {
      (await numbers(weight)).forEach((w, i) => {
        sums[targets[i]] += w;
        squares[targets[i]] += w * w;
        wires[targets[i]]++;
      });
    }
    for (let unit = 0; unit < 50; unit++) {
      if (wires[unit] > 1) expect(sums[unit]).toBeCloseTo(0, 5);
      if (wires[unit] > 0) expect(squares[unit]).toBeCloseTo(2, 5);
    }
  });

  it.each(['relu', 'tanh'] as const)(
    'signals neither die nor explode in forty steps (%s)',
    async (activation) => {
      for (let seed = 1; seed <= 4; seed++) {
        manualSeed(seed);
        const layer = new SpaghettiLayer(16, 300, { wiresPerUnit: 8, steps: 40, seed, activation });
        const x = randn([32, 16]);
        const states = noGrad(() => layer.states(x));
        const squares = await Promise.all(
          [4, 10, 20, 40].map(async (t) => (await states[t].mul(states[t]).mean().item()) as number),
        );
        for (const square of squares) {
          expect(square).toBeGreaterThan(0.25);
          expect(square).toBeLessThan(0.8);
        }
        // Settled: what the last twenty steps changed is little.
        expect(Math.abs(squares[3] / squares[2] - 1)).toBeLessThan(0.25);
      }
    },
  );

  it('cuts wires: what is cut carries nothing, learns nothing, and is mended by 0', async () => {
    manualSeed(6);
    const layer = new SpaghettiLayer(4, 30, { wiresPerUnit: 4, steps: 2 });
    const x = randn([5, 4]);
    const whole = await numbers(layer.forward(x));
    expect(layer.cut(0.3, 9)).toBe(Math.round(0.3 * layer.wires));
    const cut = await numbers(layer.forward(x));
    expect(cut).not.toEqual(whole);
    const masks = layer.namedBuffers().filter(([name]) => name.endsWith('_intact'));
    expect(masks.map(([name]) => name)).toEqual(['in_weight_intact', 'tangle_weight_intact']);
    const third = await numbers(masks[1][1]);
    layer.forward(x).sum().backward();
    const gradient = await numbers(layer.tangle_weight.grad!);
    third.forEach((alive, i) => {
      if (alive === 0) expect(Math.abs(gradient[i])).toBe(0);
    });
    expect(gradient.some((g) => g !== 0)).toBe(true);

    // A larger cut holds the smaller one.
    layer.cut(0.6, 9);
    const more = await numbers(masks[1][1]);
    third.forEach((alive, i) => {
      if (alive === 0) expect(more[i]).toBe(0);
    });
    layer.cut(0);
    expect(await numbers(layer.forward(x))).toEqual(whole);
    layer.cut(1);
    expect(new Set(await numbers(layer.forward(x)))).toEqual(new Set([0]));
    expect(() => layer.cut(1.5)).toThrow(
      new DataError('SpaghettiLayer.cut: expected a share from 0 to 1, got 1.5'),
    );
  });

  it('learns in captured steps as in others', async () => {
    const losses = async (captured: boolean): Promise<number[]> => {
      manualSeed(8);
      const net = new SpaghettiNet(2, 24, 1, { wiresPerUnit: 4, steps: 2 });
      const optimizer = new optim.Adam(net.parameters(), { lr: 0.02 });
      const x = randn([32, 2]);
      const y = x.select(1, 0).mul(x.select(1, 1)).unsqueeze(1);
      const step = () => {
        optimizer.zeroGrad();
        const error = net.forward(x).sub(y);
        const loss = error.mul(error).mean();
        loss.backward();
        optimizer.step();
        return loss;
      };
      const run = captured ? capture(step) : () => scope(step);
      const out: number[] = [];
      for (let i = 0; i < 60; i++) out.push((await run().item()) as number);
      return out;
    };
    const eager = await losses(false);
    expect(eager.at(-1)).toBeLessThan(0.3 * eager[0]);
    expect(await losses(true)).toEqual(eager);
  });

  it('is saved with its wiring, and refuses the state of another', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'dawngrad-spaghetti-'));
    try {
      const make = (seed: number) =>
        new SpaghettiNet(3, 20, 2, { layers: 2, wiresPerUnit: 3, steps: 2, seed, readUnits: 6 });
      const net = make(1);
      net.layers.at(0)!.cut(0.2, 4);
      const path = join(folder, 'net.safetensors');
      await saveTensors(path, net.stateDict());
      const { tensors } = await loadTensors(path, cpuDevice());
      const names = [...tensors.keys()];
      for (const what of ['entries', 'tangle', 'reading']) {
        expect(names.filter((n) => new RegExp(`^layers\\.1\\.${what}_[0-9a-f]{8}$`).test(n))).toHaveLength(1);
      }
      const { tangle } = net.layers.at(1)!;
      expect(await numbers(tensors.get(`layers.1.tangle_${tangle.fingerprint}`)!)).toEqual([
        ...tangle.sources,
        ...tangle.targets,
      ]);

      const same = make(1);
      same.layers.at(0)!.cut(0);
      same.loadStateDict(tensors);
      const x = randn([4, 3]);
      expect(await numbers(same.forward(x))).toEqual(await numbers(net.forward(x)));

      const other = make(2);
      const kept = await numbers(other.head.weight);
      expect(() => other.loadStateDict(tensors)).toThrow(DataError);
      expect(() => other.loadStateDict(tensors)).toThrow(
        `layers.0.tangle_${other.layers.at(0)!.tangle.fingerprint}`,
      );
      expect(await numbers(other.head.weight)).toEqual(kept);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });

  it('says what is wrong', () => {
    const layer = new SpaghettiLayer(3, 8, { earlier: [4] });
    expect(() => layer.forward(randn([2, 3]))).toThrow(
      new ShapeError('SpaghettiLayer: expected last dims [3, 4] of x and earlier states, got [3]'),
    );
    expect(() => layer.forward(randn([2, 3]), [randn([2, 5])])).toThrow('got [3, 5]');
    const wrong = (options: nn.SpaghettiOptions, message: string) =>
      expect(() => new SpaghettiLayer(3, 8, options)).toThrow(
        new DataError(`SpaghettiLayer: expected ${message}`),
      );
    wrong({ wiresPerUnit: 9 }, 'wiresPerUnit to be an integer from 0 to 8, got 9');
    wrong({ steps: -1 }, 'steps to be an integer of at least 0, got -1');
    wrong({ readUnits: 0 }, 'readUnits to be an integer from 1 to 8, got 0');
    wrong({ wiresPerUnit: 2, sparsity: 0.5 }, 'wiresPerUnit or sparsity, got both');
    wrong({ sparsity: 2 }, 'a sparsity from 0 to 1, got 2');
    wrong({ seed: 1.5 }, 'seed to be an integer, got 1.5');
    wrong({ wiresPerEntry: 1.5 }, 'wiresPerEntry to be an integer of at least 0, got 1.5');
    wrong({ earlier: [4], skipWires: -2 }, 'skipWires to be an integer of at least 0, got -2');
    wrong({ activation: 'gelu' as never }, 'an activation of relu, tanh, got gelu');
    expect(() => new SpaghettiLayer(1.5, 8)).toThrow('inFeatures to be an integer of at least 0, got 1.5');
    expect(() => new SpaghettiNet(3, 8, 2, { layers: -1 })).toThrow('layers to be an integer of at least 1');
  });
});

describe('SpaghettiNet', () => {
  it('lets the states of all earlier layers reach into the later ones', async () => {
    manualSeed(3);
    const net = new SpaghettiNet(3, 20, 2, { layers: 3, wiresPerUnit: 3 });
    const [a, b, c] = net.layers;
    expect([a, b, c].map((layer) => layer.entries.inputs)).toEqual([3, 10 + 20, 10 + 40]);
    expect(b.tangle.fingerprint).not.toBe(a.tangle.fingerprint);
    expect(net.wires).toBe(a.wires + b.wires + c.wires + 20);
    expect(net.operations).toBe(a.operations + b.operations + c.operations + 40);
    const x = randn([4, 3]);
    const y = await numbers(net.forward(x));
    // Units of the first layer that are not read still matter.
    const without = new SpaghettiNet(3, 20, 2, { layers: 3, wiresPerUnit: 3, skips: false });
    expect([...without.layers].map((layer) => layer.entries.inputs)).toEqual([3, 10, 10]);
    const states = [a.state(x)];
    states.push(b.state(a.read(states[0]), states));
    const last = c.forward(b.read(states[1]), states);
    expect(await numbers(net.head.forward(last))).toEqual(y);
    net.forward(x).sum().backward();
    expect(a.tangle_weight.grad).not.toBeNull();
  });
});
