import { describe, expect, it } from 'vitest';
import '../../src/autograd/methods.js';
import { capture } from '../../src/autograd/capture.js';
import { gradcheck } from '../../src/autograd/gradcheck.js';
import { mode } from '../../src/autograd/mode.js';
import { DataError, ShapeError } from '../../src/device/errors.js';
import type { Device } from '../../src/device/types.js';
import { openWebGPU } from '../../src/device/webgpu/device.js';
import { GPT2 } from '../../src/models/gpt2.js';
import { gpt2Config } from '../../src/models/gpt2-config.js';
import {
  applyLora,
  countParameters,
  Embedding,
  init,
  LayerNorm,
  Linear,
  LoraLinear,
  loraModules,
  loraStateDict,
  Module,
  ModuleDict,
  ModuleList,
  mergeLora,
  type QuantizeModelOptions,
  quantizeModel,
  ReLU,
  Sequential,
  unmergeLora,
} from '../../src/nn/index.js';
import { AdamW } from '../../src/optim/index.js';
import { cpuDevice } from '../../src/tensor/default-device.js';
import { tensor } from '../../src/tensor/factories.js';
import { scope } from '../../src/tensor/lifetime.js';
import { manualSeed } from '../../src/tensor/random.js';
import type { Tensor } from '../../src/tensor/tensor.js';
import { difference, eachDevice, type Place } from '../support/each-device.js';
import { ADAPTER, problem } from '../support/webgpu.js';
import { wave } from './formulas.js';

/** A residual layer, an activation, and layers without adapters: what LoRA meets in a Transformer. */
class Net extends Module {
  readonly up: Linear;
  readonly down: Linear;
  readonly norm: LayerNorm;
  readonly out: Linear;

  constructor(options: { device: Device; dtype?: 'float32' | 'float64' }) {
    super();
    this.up = new Linear(8, 16, options);
    this.down = new Linear(16, 8, options);
    this.norm = new LayerNorm(8, options);
    this.out = new Linear(8, 5, { ...options, bias: false });
  }

  forward(x: Tensor): Tensor {
    const h = this.up.forward(x, { activation: 'geluTanh' });
    return this.out.forward(this.norm.forward(this.down.forward(h, { residual: x })));
  }
}

const dtypeOf = ({ dtype }: Place) => dtype as 'float32' | 'float64';

function makeNet(place: Place): Net {
  manualSeed(7);
  return new Net({ device: place.device, dtype: dtypeOf(place) });
}

/** Gives adapters values: with B zero as it is at first, A has no gradient and nothing changes. */
function stir(model: Module): void {
  manualSeed(11);
  for (const [, layer] of loraModules(model)) init.normal_(layer.lora_B.weight, { std: 0.3 });
}

const input = (place: Place) => place.make(wave([3, 4, 8], 2), [3, 4, 8]);

async function gradients(model: Module, x: Tensor): Promise<Map<string, Float64Array>> {
  const y = (model as Net).forward(x);
  y.mul(y).sum().backward();
  const out = new Map<string, Float64Array>();
  for (const [name, p] of model.namedParameters()) {
    if (p.grad && name.includes('lora_')) out.set(name, Float64Array.from(await p.grad.data()));
  }
  return out;
}

/** Operations that `fn` runs, by name. */
function operations(fn: () => void): Record<string, number> {
  const before = mode.observer;
  const counts: Record<string, number> = {};
  mode.observer = {
    ...before,
    ran: (name: string) => {
      counts[name] = (counts[name] ?? 0) + 1;
    },
  } as typeof mode.observer;
  try {
    fn();
  } finally {
    mode.observer = before;
  }
  return counts;
}

eachDevice('LoRA', (place) => {
  it('changes nothing at first, and then what the formula says', async () => {
    const model = makeNet(place);
    const x = input(place);
    const before = await model.forward(x).data();
    applyLora(model, { rank: 2, alpha: 6, targets: ['up', 'down'] });
    expect(difference(await model.forward(x).data(), before)).toBeLessThan(place.tolerance);
    stir(model);
    const layer = loraModules(model).get('up')!;
    expect(layer.scaling).toBe(3);
    const [A, B] = [layer.lora_A.weight, layer.lora_B.weight];
    const product = x.matmul(A.transpose(0, 1)).matmul(B.transpose(0, 1)).mul(3);
    const plain = layer.base_layer.forward(x).add(product);
    for (const activation of [null, 'relu'] as const) {
      const residual = place.make(wave([3, 4, 16], 5), [3, 4, 16]);
      const wanted = (activation ? plain.relu() : plain).add(residual);
      const got = layer.forward(x, { activation, residual });
      expect(difference(await got.data(), await wanted.data())).toBeLessThan(place.tolerance);
    }
  });

  it('gives the same gradients on a frozen base as on one that trains, and none for the base', async () => {
    const model = makeNet(place);
    applyLora(model, { rank: 3 });
    stir(model);
    const frozen = await gradients(model, input(place));
    expect(frozen.size).toBe(6);
    for (const [name, p] of model.namedParameters()) {
      expect(p.requiresGrad, name).toBe(name.includes('lora_'));
      expect(p.grad === null, name).toBe(!name.includes('lora_'));
    }
    model.zeroGrad();
    model.requiresGrad_();
    const unfrozen = await gradients(model, input(place));
    for (const [name, grad] of frozen) {
      expect(
        grad.some((v) => v !== 0 && Number.isFinite(v)),
        name,
      ).toBe(true);
      expect(grad.every(Number.isFinite), name).toBe(true);
      expect(difference(grad, unfrozen.get(name)!), name).toBe(0);
    }
  });

  it('merges, and unmerges to the very bits', async () => {
    const model = makeNet(place);
    const x = input(place);
    applyLora(model, { rank: 2, targets: ['up', 'out'] });
    stir(model);
    const [apart, weight] = [
      await model.forward(x).data(),
      await model.stateDict().get('up.base_layer.weight')!.data(),
    ];
    mergeLora(model);
    mergeLora(model);
    expect(loraModules(model).get('up')!.merged).toBe(true);
    expect([...model.stateDict().keys()].filter((name) => name.startsWith('up'))).toEqual([
      'up.base_layer.weight',
      'up.base_layer.bias',
      'up.lora_A.weight',
      'up.lora_B.weight',
    ]);
    expect(difference(await model.forward(x).data(), apart)).toBeLessThan(1e-5);
    expect(await model.stateDict().get('up.base_layer.weight')!.data()).not.toEqual(weight);
    unmergeLora(model);
    expect(await model.stateDict().get('up.base_layer.weight')!.data()).toEqual(weight);
    expect(await model.forward(x).data()).toEqual(apart);
    mergeLora(model, { unload: true });
    expect([...model.stateDict().keys()]).toEqual([...makeNet(place).stateDict().keys()]);
    expect(difference(await model.forward(x).data(), apart)).toBeLessThan(1e-5);
  });

  it('goes away without a trace', async () => {
    const model = makeNet(place);
    const before = await model.stateDict().get('down.weight')!.data();
    applyLora(model, { rank: 2 });
    stir(model);
    mergeLora(model);
    unmergeLora(model, { unload: true });
    expect(model.down).toBeInstanceOf(Linear);
    expect(await model.stateDict().get('down.weight')!.data()).toEqual(before);
  });
});

const place: Pick<Place, 'device' | 'dtype'> & { make: Place['make'] } = {
  get device() {
    return cpuDevice();
  },
  dtype: 'float32',
  make: (values, shape) => tensor(Float32Array.from(values), { shape, device: cpuDevice() }),
};
const net = () => makeNet(place as Place);

describe('LoraLinear', () => {
  it('has the gradients of finite differences', async () => {
    manualSeed(3);
    const device = cpuDevice();
    const make = (shape: number[], seed: number) =>
      tensor(Float64Array.from(wave(shape, seed)), { shape, dtype: 'float64', requiresGrad: true, device });
    for (const [dropout, activation] of [
      [0, null],
      [0.5, null],
      [0, 'geluTanh'],
    ] as const) {
      const layer = new LoraLinear(new Linear(4, 3, { dtype: 'float64', device }), {
        rank: 2,
        alpha: 3,
        dropout,
      });
      init.normal_(layer.lora_B.weight);
      const residual = activation ? undefined : make([2, 3], 8);
      const inputs = [make([2, 4], 1), layer.lora_A.weight, layer.lora_B.weight];
      const f = (x: Tensor, A: Tensor, B: Tensor) => {
        manualSeed(5);
        Object.assign(layer.lora_A, { weight: A });
        Object.assign(layer.lora_B, { weight: B });
        return layer.forward(x, { activation, residual });
      };
      await gradcheck(f, inputs);
    }
  });

  it('drops what it reads in training only, and not what the base reads', async () => {
    const layer = new LoraLinear(new Linear(4, 3), { rank: 2, dropout: 0.5 });
    const x = tensor(wave([5, 4], 1), { shape: [5, 4] });
    const once = await layer.forward(x).data();
    expect(await layer.forward(x).data()).toEqual(once);
    init.normal_(layer.lora_B.weight);
    expect(await layer.forward(x).data()).not.toEqual(await layer.forward(x).data());
    layer.eval();
    expect(await layer.forward(x).data()).toEqual(await layer.forward(x).data());
  });

  it('scales by the root of the rank where asked', () => {
    const layer = new LoraLinear(new Linear(4, 3), { rank: 4, alpha: 8, rankStabilized: true });
    expect(layer.scaling).toBe(4);
    expect(new LoraLinear(new Linear(4, 3), { rank: 4 }).scaling).toBe(2);
  });

  it('costs three small operations forward, and computes no gradient of the frozen weight', () => {
    const layer = new LoraLinear(new Linear(8, 8), { rank: 2 });
    init.normal_(layer.lora_B.weight);
    const make = (shape: number[]) => tensor(wave(shape, 1), { shape, requiresGrad: true });
    const [x, residual] = [make([3, 8]), make([3, 8])];
    let y: Tensor | undefined;
    expect(operations(() => (y = layer.forward(x, { residual })))).toEqual({ linear: 3, mul: 1 });
    const backward = operations(() => y!.backward({ gradient: tensor(wave([3, 8], 2), { shape: [3, 8] }) }));
    // Of y: x and the adapter; B: h and B; A: x and A.
    expect(backward.matmul).toBe(5);
    expect(backward.linearBackward).toBe(undefined);
    expect(layer.base_layer.parameters().every((p) => p.grad === null)).toBe(true);
  });
});

describe('applyLora', () => {
  it('finds layers by the end of their names, by pattern, or all', () => {
    const names = (targets: Parameters<typeof applyLora>[1]['targets']) => [
      ...applyLora(net(), { rank: 1, targets }).modules.keys(),
    ];
    expect(names(['out', 'up'])).toEqual(['up', 'out']);
    expect(names(/u.|o.*/)).toEqual(['up', 'out']);
    expect(names('all-linear')).toEqual(['up', 'down', 'out']);
    expect(names(undefined)).toEqual(['up', 'down', 'out']);
    const gpt = new GPT2(gpt2Config('nano', { vocabSize: 64, layers: 2 }));
    const { modules } = applyLora(gpt, { rank: 1, targets: ['attn.c_proj'] });
    expect([...modules.keys()]).toEqual(['transformer.h.0.attn.c_proj', 'transformer.h.1.attn.c_proj']);
  });

  it('replaces layers inside containers where they are called, too', async () => {
    const list = new ModuleList([new Linear(2, 2), new Linear(2, 2)]);
    const dict = new ModuleDict({ one: new Linear(2, 2) });
    const row = new Sequential(new Linear(2, 3), new ReLU(), new Linear(3, 2));
    class All extends Module {
      readonly list = list;
      readonly dict = dict;
      readonly row = row;
    }
    const model = new All();
    expect([...applyLora(model, { rank: 1 }).modules.keys()]).toEqual([
      'list.0',
      'list.1',
      'dict.one',
      'row.0',
      'row.2',
    ]);
    expect([...list].every((m) => (m as Module) instanceof LoraLinear)).toBe(true);
    expect([...row].filter((m) => m instanceof LoraLinear)).toHaveLength(2);
    expect(dict.get('one') as Module).toBeInstanceOf(LoraLinear);
  });

  it('counts what trains', () => {
    const model = net();
    const all = model.numParameters();
    const made = applyLora(model, { rank: 2, targets: ['up'] });
    expect(made.trainable).toBe(2 * 8 + 16 * 2);
    expect(made.total).toBe(all + made.trainable);
    expect(made.share).toBeCloseTo(48 / (all + 48), 12);
    expect(countParameters(model)).toEqual({ trainable: 48, total: all + 48, share: made.share });
    expect([...loraStateDict(model).keys()]).toEqual(['up.lora_A.weight', 'up.lora_B.weight']);
  });

  it('says what is wrong, and changes nothing then', () => {
    const gpt = new GPT2(gpt2Config('nano', { vocabSize: 64, layers: 2 }));
    expect(() => applyLora(gpt, { rank: 1, targets: ['q_proj'] })).toThrow(
      new DataError(
        "applyLora: expected 'q_proj' to name layers of the model, got nothing; there are c_attn (2), c_proj (4), c_fc (2)",
      ),
    );
    expect(() => applyLora(gpt, { rank: 1, targets: ['wte'] })).toThrow(
      new DataError(
        "applyLora: expected 'wte' to name layers of the model, got 'transformer.wte' (Embedding); there are c_attn (2), c_proj (4), c_fc (2)",
      ),
    );
    expect(() => applyLora(gpt, { rank: 1, targets: [] })).toThrow(
      new DataError('applyLora: expected at least one target, got none'),
    );
    expect(() => applyLora(new Embedding(3, 4), { rank: 1 })).toThrow(
      new DataError('applyLora: expected a model with linear layers inside, got Embedding without'),
    );
    expect(() => applyLora(gpt, { rank: 0 })).toThrow(
      new ShapeError('applyLora: expected rank to be a positive integer, got 0'),
    );
    expect(() => applyLora(gpt, { rank: 1, alpha: -1 })).toThrow(
      new ShapeError('applyLora: expected alpha to be a positive number, got -1'),
    );
    expect(() => applyLora(gpt, { rank: 1, dropout: 1 })).toThrow(
      new ShapeError('applyLora: expected dropout in [0, 1), got 1'),
    );
    expect(gpt.parameters().every((p) => p.requiresGrad)).toBe(true);
    for (const [op, call] of [
      ['mergeLora', mergeLora],
      ['unmergeLora', unmergeLora],
      ['loraStateDict', loraStateDict],
    ] as const) {
      expect(() => call(gpt)).toThrow(
        new DataError(`${op}: expected a model with adapters, got none; call applyLora first`),
      );
    }
    applyLora(gpt, { rank: 1 });
    expect(() => applyLora(gpt, { rank: 1 })).toThrow(
      new DataError(
        'applyLora: expected a model without adapters, got one that has some; merge or remove them first, with { unload: true }',
      ),
    );
  });
});

describe('a frozen GPT-2 with adapters', () => {
  it('computes no gradient that nobody asked for', () => {
    const model = new GPT2(gpt2Config('nano', { vocabSize: 64, layers: 2, dim: 64, contextLength: 32 }));
    const ids = tensor(new Int32Array(16), { shape: [1, 16], dtype: 'int32' });
    const backward = () => {
      const loss = model.loss(ids, ids);
      return operations(() => loss.backward());
    };
    const full = backward();
    // Four linear layers a block; the tied head has no bias.
    expect(full.linearBackward).toBe(8);
    model.zeroGrad();
    applyLora(model, { rank: 2, targets: ['c_attn'] });
    const lora = backward();
    expect(lora.linearBackward).toBe(undefined);
    // Gradients of x: 7 layers (nothing before the first needs one) and the head; of adapters: A and B twice, their inputs 2 + 1.
    expect(lora.matmul).toBe(8 + 4 + 3);
    for (const [name, p] of model.namedParameters())
      expect(p.grad !== null, name).toBe(name.includes('lora_'));
  });
});

/** Losses of some steps of AdamW on one batch, and whether the base has kept its bits. */
async function train(
  quantization: QuantizeModelOptions | null,
  captured = false,
  device: Device = cpuDevice(),
) {
  manualSeed(1);
  const model = new GPT2(gpt2Config('nano', { vocabSize: 64, layers: 2, dim: 64, contextLength: 32 }), {
    device,
  });
  if (quantization) await quantizeModel(model, quantization);
  applyLora(model, { rank: 4, targets: ['c_attn', 'c_fc'] });
  const ids = tensor(
    Array.from({ length: 64 }, (_, i) => (i * i) % 64),
    { shape: [2, 32], dtype: 'int32', device },
  );
  const targets = tensor(
    Array.from({ length: 64 }, (_, i) => (i + 1) ** 2 % 64),
    { shape: [2, 32], dtype: 'int32', device },
  );
  const base = async () => {
    const out: Record<string, unknown> = {};
    for (const [name, t] of model.stateDict()) if (!name.includes('lora_')) out[name] = await t.data();
    return out;
  };
  const before = await base();
  const optimizer = new AdamW(
    model.parameters().filter((p) => p.requiresGrad),
    { lr: 1e-2 },
  );
  const body = () => {
    optimizer.zeroGrad();
    const loss = model.loss(ids, targets);
    loss.backward();
    optimizer.step();
    return loss.detach();
  };
  const step = captured ? capture(body, { device }) : () => scope(body);
  const losses: number[] = [];
  for (let i = 0; i < 6; i++) losses.push(await step().item());
  return { losses, unchanged: JSON.stringify(await base()) === JSON.stringify(before) };
}

describe('training adapters of GPT-2', () => {
  it.each([
    ['float32', null],
    ['int8', { scheme: 'int8' }],
    ['nf4 with quantised scales', { scheme: 'nf4' }],
    ['nf4', { scheme: 'nf4', doubleQuant: false }],
  ] as const)('on a base in %s lowers the loss and leaves the base as it is', async (_, quantization) => {
    const { losses, unchanged } = await train(quantization);
    expect(losses.every(Number.isFinite)).toBe(true);
    expect(losses[5]).toBeLessThan(losses[0] - 0.3);
    expect(unchanged).toBe(true);
    expect((await train(quantization, true)).losses).toEqual(losses);
  });
});

describe.skipIf(problem !== null)(`on WebGPU${problem ? ` (skipped: ${problem})` : ''}`, () => {
  it('a captured step on a base in nf4 gives the losses of the CPU', async () => {
    const device = await openWebGPU({ adapter: ADAPTER });
    const { losses, unchanged } = await train({ scheme: 'nf4' }, true, device);
    await device.close();
    expect(unchanged).toBe(true);
    expect(difference(losses, (await train({ scheme: 'nf4' })).losses)).toBeLessThan(1e-4);
  });
});
