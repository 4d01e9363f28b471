import { describe, expect, it } from 'vitest';
import '../../src/autograd/methods.js';
import { noGrad } from '../../src/autograd/mode.js';
import { openCPU } from '../../src/device/cpu/device.js';
import { DataError, DeviceError } from '../../src/device/errors.js';
import {
  CrossEntropyLoss,
  Dropout,
  Embedding,
  LayerNorm,
  Linear,
  LSTM,
  Module,
  ModuleDict,
  ModuleList,
  Parameter,
  ReLU,
  Sequential,
} from '../../src/nn/index.js';
import { AdamW } from '../../src/optim/adam.js';
import { cpuDevice } from '../../src/tensor/default-device.js';
import { tensor } from '../../src/tensor/factories.js';
import { memory, scope } from '../../src/tensor/lifetime.js';
import { manualSeed } from '../../src/tensor/random.js';
import type { Tensor } from '../../src/tensor/tensor.js';
import { eachDevice } from '../support/each-device.js';

/** A module with a bit of everything. */
class Net extends Module {
  embedding = new Embedding(5, 3);
  scale = new Parameter(tensor([1, 2, 3]));
  blocks = new ModuleList([new Linear(3, 3), new Linear(3, 3, { bias: false })]);
  heads = new ModuleDict({ left: new Linear(3, 2) });
  decoder = new Linear(3, 5, { bias: false });
  nothing: Parameter | null = null;
  note = 'no tensor';

  constructor() {
    super();
    this.registerBuffer('steps', tensor([7], { dtype: 'int32' }));
    this.registerBuffer('cache', tensor([0]), { persistent: false });
    (this.decoder as { weight: Parameter }).weight = this.embedding.weight;
  }
}

const NAMES = [
  'scale',
  'steps',
  'embedding.weight',
  'blocks.0.weight',
  'blocks.0.bias',
  'blocks.1.weight',
  'heads.left.weight',
  'heads.left.bias',
  'decoder.weight',
];

async function values(t: Tensor): Promise<number[]> {
  return [...(await t.data())];
}

describe('Module', () => {
  it('finds parameters, buffers and modules in their order', () => {
    const net = new Net();
    expect([...net.stateDict().keys()]).toEqual(NAMES);
    expect(net.namedParameters().map(([n]) => n)).toEqual(
      NAMES.filter((n) => n !== 'steps' && n !== 'decoder.weight'),
    );
    expect(net.namedBuffers().map(([n]) => n)).toEqual(['steps', 'cache']);
    expect(net.namedModules().map(([n]) => n)).toEqual([
      '',
      'embedding',
      'blocks',
      'blocks.0',
      'blocks.1',
      'heads',
      'heads.left',
      'decoder',
    ]);
    expect(net.namedChildren().map(([n]) => n)).toEqual(['embedding', 'blocks', 'heads', 'decoder']);
    expect(net.numParameters()).toBe(15 + 3 + 12 + 9 + 8);
    expect(net.stateDict('net').has('net.blocks.0.weight')).toBe(true);
  });

  it('lists a shared parameter once, and under both names in the state', () => {
    const net = new Net();
    expect(net.parameters().filter((p) => p === net.embedding.weight)).toHaveLength(1);
    const state = net.stateDict();
    expect(state.get('decoder.weight')).toBe(state.get('embedding.weight'));
  });

  it('refuses modules in a plain array, which would not train', () => {
    class Wrong extends Module {
      layers = [new Linear(1, 1)];
    }
    expect(() => new Wrong().parameters()).toThrow(
      "Wrong: expected 'layers' to be a ModuleList, got an array, whose parameters would not train; wrap it in new ModuleList([...])",
    );
  });

  it('refuses names that are taken', () => {
    class Wrong extends Module {
      constructor() {
        super();
        this.registerBuffer('train', tensor([1]));
      }
    }
    expect(() => new Wrong()).toThrow("registerBuffer: expected a free name, got 'train', which Wrong has");
    expect(() => new ModuleDict({ forEach: new ReLU(), parameters: new ReLU() })).toThrow(
      "ModuleDict: expected a free name, got 'parameters', which every module has",
    );
  });

  it('switches between training and evaluation, everywhere', async () => {
    const model = new Sequential(new Linear(2, 2), new Sequential(new Dropout(0.5)));
    const modes = () => model.modules().map((m) => m.training);
    expect(modes()).toEqual([true, true, true, true]);
    model.eval();
    expect(modes()).toEqual([false, false, false, false]);
    const x = tensor([[1, 2]]);
    expect(await values(model.forward(x))).toEqual(await values(model.at(0)!.forward(x)));
    expect(model.train().training).toBe(true);
  });

  it('freezes, clears gradients and applies functions', () => {
    const net = new Linear(2, 3);
    net
      .forward(tensor([[1, 2]]))
      .sum()
      .backward();
    expect(net.weight.grad?.shape).toEqual([3, 2]);
    net.zeroGrad();
    expect(net.weight.grad).toBeNull();
    net.requiresGrad_(false);
    expect(net.parameters().some((p) => p.requiresGrad)).toBe(false);
    expect(net.numParameters({ trainable: true })).toBe(0);
    const order: string[] = [];
    new Sequential(new ReLU()).apply((m) => order.push(m.constructor.name));
    expect(order).toEqual(['ReLU', 'Sequential']);
  });

  it('keeps parameters, gradients and buffers out of scopes', () => {
    const net = scope(() => new Net());
    scope(() => net.scale.mul(2).sum().backward());
    expect(net.parameters().some((p) => p.isReleased)).toBe(false);
    expect(net.buffers().some((p) => p.isReleased)).toBe(false);
    expect(net.scale.grad!.isReleased).toBe(false);
  });

  it('makes no tensors that stay, training step by step', () => {
    const model = new Sequential(new Linear(3, 4), new LayerNorm(4), new Linear(4, 2));
    const lstm = new LSTM(2, 2, { numLayers: 2, bidirectional: true });
    const optimizer = new AdamW([...model.parameters(), ...lstm.parameters()]);
    const step = () =>
      scope(() => {
        const y = model.forward(tensor([[[1, 2, 3]], [[4, 5, 6]]]));
        const [z] = lstm.forward(y);
        z.mul(z).sum().backward();
        optimizer.step();
        optimizer.zeroGrad();
      });
    step();
    const { liveTensors } = memory;
    const { liveBytes } = cpuDevice().memory();
    for (let i = 0; i < 10; i++) step();
    expect(memory.liveTensors).toBe(liveTensors);
    expect(cpuDevice().memory().liveBytes).toBe(liveBytes);
  });
});

describe('loadStateDict', () => {
  it('copies values in place and converts dtypes', async () => {
    const [a, b] = [new Net(), new Net().to('float64')];
    const before = b.scale;
    b.loadStateDict(a.stateDict());
    expect(b.scale).toBe(before);
    expect(b.scale.dtype).toBe('float64');
    for (const [name, t] of b.stateDict())
      expect(await values(t)).toEqual(await values(a.stateDict().get(name)!));
    await expect(values(b.decoder.weight)).resolves.toEqual(await values(a.embedding.weight));
  });

  it('names everything that is missing, unexpected or mis-shaped, in one error', async () => {
    const net = new Sequential(new Linear(2, 3), new Linear(3, 1));
    const before = await values((net.at(0) as Linear).weight);
    const state = {
      '0.weight': tensor([[1, 2]]),
      '0.bias': tensor([1, 2, 3]),
      '1.bias': tensor([1, 2]),
      extra: tensor([1]),
      'more.extra': tensor([1]),
    };
    const error = (() => {
      try {
        net.loadStateDict(state);
      } catch (e) {
        return e as Error;
      }
    })();
    expect(error).toBeInstanceOf(DataError);
    expect(error!.message).toBe(
      [
        'loadStateDict: expected the state of Sequential, got one that differs',
        '  missing: 1.weight',
        '  unexpected: extra, more.extra',
        '  mis-shaped: 0.weight, expected [3, 2], got [1, 2]',
        '  mis-shaped: 1.bias, expected [1], got [2]',
      ].join('\n'),
    );
    expect(await values((net.at(0) as Linear).weight)).toEqual(before);
  });

  it('loads what fits where it is not strict, and reports the rest', async () => {
    const net = new Linear(1, 2);
    const state = { bias: tensor([4, 5]), extra: tensor([1]) };
    expect(() => net.loadStateDict(state)).toThrow(
      [
        'loadStateDict: expected the state of Linear, got one that differs',
        '  missing: weight',
        '  unexpected: extra',
        '  pass { strict: false } to load only the names that match',
      ].join('\n'),
    );
    expect(net.loadStateDict(state, { strict: false })).toEqual({
      missing: ['weight'],
      unexpected: ['extra'],
    });
    expect(await values(net.bias!)).toEqual([4, 5]);
    expect(() => net.loadStateDict({ bias: tensor([1]) }, { strict: false })).toThrow(
      'loadStateDict: expected the state of Linear, got one that differs\n  mis-shaped: bias, expected [2], got [1]',
    );
  });

  it('takes its own state, and refuses tensors of another device', async () => {
    const net = new Linear(1, 1);
    net.loadStateDict(net.stateDict());
    const other = openCPU();
    const state = { weight: tensor([[1]], { device: other }), bias: tensor([1], { device: other }) };
    expect(() => net.loadStateDict(state)).toThrow(DeviceError);
    expect(() => net.loadStateDict(state)).toThrow(
      "loadStateDict: expected 'weight' on CPU (WebAssembly SIMD), got it on CPU (WebAssembly SIMD); move it with await x.to(device)",
    );
    await other.close();
  });
});

describe('to', () => {
  it('converts in place: the same parameters with other values', async () => {
    const net = new Net();
    const params = net.parameters();
    const optimizer = new AdamW(params, { lr: 0.5, weightDecay: 0 });
    net.scale.mul(2).sum().backward();
    net.to('float16');
    expect(net.parameters()).toEqual(params);
    expect(net.scale.dtype).toBe('float16');
    expect(net.scale.grad).toBeNull();
    expect(net.namedBuffers().map(([, t]) => t.dtype)).toEqual(['int32', 'float16']);
    net.scale.mul(2).sum().backward();
    optimizer.step();
    expect(await values(net.scale)).toEqual([0.5, 1.5, 2.5]);
    expect(() => net.to('int32')).toThrow('to: expected a floating-point dtype for a module, got int32');
  });

  it('moves to another device and back', async () => {
    const net = new Net();
    const other = openCPU();
    const before = await values(net.embedding.weight);
    await net.to(other);
    expect([...net.stateDict().values()].every((t) => t.device === other)).toBe(true);
    expect(await values(net.decoder.weight)).toEqual(before);
    expect(net.decoder.weight).toBe(net.embedding.weight);
    net.scale.mul(2).sum().backward();
    expect(net.scale.grad!.device).toBe(other);
    await net.to(cpuDevice());
    expect(await values(net.embedding.weight)).toEqual(before);
    await other.close();
  });
});

describe('Parameter', () => {
  it('requires a gradient, copies what is not contiguous, and needs floats for that', async () => {
    const p = new Parameter(
      tensor([
        [1, 2],
        [3, 4],
      ]).transpose(0, 1),
    );
    expect([p.requiresGrad, p.isLeaf, p.isContiguous]).toEqual([true, true, true]);
    expect(await values(p)).toEqual([1, 3, 2, 4]);
    expect(() => new Parameter(tensor([1], { dtype: 'int32' }))).toThrow(
      'requiresGrad: expected a floating-point tensor, got int32',
    );
    expect(new Parameter(tensor([1], { dtype: 'int32' }), { requiresGrad: false }).requiresGrad).toBe(false);
  });
});

describe('losses as modules', () => {
  it('keep class weights in their state', async () => {
    const loss = new CrossEntropyLoss({ weight: tensor([1, 3]) });
    expect([...loss.stateDict().keys()]).toEqual(['weight']);
    const value = loss.forward(
      tensor([
        [0, 0],
        [0, 0],
      ]),
      tensor([0, 1], { dtype: 'int32' }),
    );
    expect(await value.item()).toBeCloseTo(Math.log(2), 6);
  });
});

/** The character LSTM: embedding 48, hidden 96. */
class CharLSTM extends Module {
  embedding: Embedding;
  lstm = new LSTM(48, 96, { batchFirst: true });
  head: Linear;

  constructor(vocabulary: number) {
    super();
    this.embedding = new Embedding(vocabulary, 48);
    this.head = new Linear(96, vocabulary);
  }

  forward(ids: Tensor): Tensor {
    const [y] = this.lstm.forward(this.embedding.forward(ids));
    return this.head.forward(y);
  }
}

describe('the character LSTM', () => {
  it('has the parameters it should have', () => {
    expect(new CharLSTM(60).numParameters()).toBe(64_764);
    expect(new CharLSTM(93).numParameters()).toBe(69_549);
  });
});

eachDevice('a small LSTM', (place) => {
  it('learns to count', async () => {
    const { device, dtype } = place;
    manualSeed(3);
    class Counter extends Module {
      embedding = new Embedding(5, 8, { dtype, device });
      lstm = new LSTM(8, 16, { batchFirst: true, dtype, device });
      head = new Linear(16, 5, { dtype, device });
    }
    const model = new Counter();
    const optimizer = new AdamW(model.parameters(), { lr: 0.05 });
    const loss = new CrossEntropyLoss();
    const ids = tensor(
      [
        [0, 1, 2, 3, 4, 0, 1, 2],
        [3, 4, 0, 1, 2, 3, 4, 0],
      ],
      { dtype: 'int32', device },
    );
    const step = () =>
      scope(() => {
        const [y] = model.lstm.forward(model.embedding.forward(ids.narrow(1, 0, 7)));
        const logits = model.head.forward(y).reshape([14, 5]);
        const l = loss.forward(logits, ids.narrow(1, 1, 7).reshape([14]));
        l.backward();
        optimizer.step();
        optimizer.zeroGrad();
        return l.detach();
      });
    const first = await step().item();
    for (let i = 0; i < 30; i++) step().release();
    expect(first).toBeGreaterThan(1);
    expect(await step().item()).toBeLessThan(0.05);
    expect(noGrad(() => model.embedding.forward(ids)).requiresGrad).toBe(false);
  });
});
