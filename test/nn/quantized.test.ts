import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import '../../src/autograd/methods.js';
import { noGrad, setDebug } from '../../src/autograd/mode.js';
import { dequantize, quantize } from '../../src/autograd/ops/quantized.js';
import { narrow, select } from '../../src/autograd/ops/views.js';
import { DataError, ShapeError } from '../../src/device/errors.js';
import { NF4 } from '../../src/kernels/quantized.js';
import { GPT2 } from '../../src/models/gpt2.js';
import { gpt2Config } from '../../src/models/gpt2-config.js';
import {
  applyLora,
  Embedding,
  init,
  Linear,
  loraModules,
  Module,
  mergeLora,
  modelBytes,
  Parameter,
  QuantizedEmbedding,
  QuantizedLinear,
  quantizeModel,
  Sequential,
} from '../../src/nn/index.js';
import { tiedHead, tiedLoss } from '../../src/nn/quantized.js';
import { AdamW } from '../../src/optim/index.js';
import { cpuDevice } from '../../src/tensor/default-device.js';
import { tensor } from '../../src/tensor/factories.js';
import { scope } from '../../src/tensor/lifetime.js';
import { manualSeed } from '../../src/tensor/random.js';
import { difference, eachDevice } from '../support/each-device.js';
import { wave } from './formulas.js';

const SCHEMES = [
  ['int8', { scheme: 'int8', doubleQuant: false }],
  ['int8 with quantised scales', { scheme: 'int8', doubleQuant: true }],
  ['nf4', { scheme: 'nf4', doubleQuant: false }],
  ['nf4 with quantised scales', { scheme: 'nf4', doubleQuant: true }],
] as const;

/** What a matrix of few bits stands for, in float64, from the definition: blocks, then groups of 256 scales. */
function reference(
  data: ArrayLike<number>,
  scheme: 'int8' | 'nf4',
  block: number,
  double: boolean,
): Float64Array {
  const values = Array.from(data, Math.fround);
  let scales = Array.from({ length: values.length / block }, (_, b) =>
    values.slice(b * block, (b + 1) * block).reduce((most, v) => Math.max(most, Math.abs(v)), 0),
  );
  const exact = scales;
  if (double) {
    const mean = Math.fround(scales.reduce((a, b) => a + b, 0) / scales.length);
    scales = scales.map((scale, i) => {
      const group = exact.slice(i - (i % 256), i - (i % 256) + 256);
      const most = Math.fround(group.reduce((m, s) => Math.max(m, Math.abs(s - mean)), 0));
      return most === 0 ? mean : mean + (Math.round(((scale - mean) / most) * 127) / 127) * most;
    });
  }
  return Float64Array.from(values, (v, i) => {
    const b = Math.floor(i / block);
    // Codes are chosen by the exact scale.
    const unit = exact[b] === 0 ? 0 : v / exact[b];
    const code =
      scheme === 'int8'
        ? Math.round(unit * 127) / 127
        : NF4.reduce((best, c) => (Math.abs(c - unit) < Math.abs(best - unit) ? c : best));
    return code * scales[b];
  });
}

/** Smooth values of changing size, so that scales differ. */
const values = (rows: number, columns: number) =>
  Float32Array.from(
    { length: rows * columns },
    (_, i) => Math.sin(i * 12.9898) * (0.2 + Math.abs(Math.sin(i / 500))),
  );

eachDevice('quantised layers', (place) => {
  const weight = (rows: number, columns: number) =>
    tensor(values(rows, columns), { shape: [rows, columns], device: place.device });

  it.each(SCHEMES)('%s: weights are what the definition says', async (_, { scheme, doubleQuant }) => {
    // 576 scales: three groups, the last of 64.
    const packed = await quantize(weight(144, 64), { scheme, block: 16, doubleQuant });
    expect(packed.scales.dtype).toBe(doubleQuant ? 'uint32' : 'float32');
    if (doubleQuant) expect([packed.scales.shape, packed.groups!.shape]).toEqual([[144], [4]]);
    const wanted = reference(values(144, 64), scheme, 16, doubleQuant);
    expect(difference(await dequantize(packed).data(), wanted)).toBeLessThan(2e-7);
  });

  it.each(SCHEMES)('%s: a linear layer is that of its weights as floats', async (_, options) => {
    const plain = new Linear(64, 24, { device: place.device });
    init.uniform_(plain.weight, { a: -1, b: 1 });
    const layer = await QuantizedLinear.from(plain, { ...options, block: 32 });
    const w = dequantize(layer.quantized, place.dtype);
    for (const rows of [1, 3, 40]) {
      const x = place.make(wave([rows, 64], 1), [rows, 64]).requiresGrad_();
      const same = place.make(wave([rows, 64], 1), [rows, 64]).requiresGrad_();
      const residual = place.make(wave([rows, 24], 2), [rows, 24]);
      const exact = same.matmul(w.transpose(0, 1)).add(plain.bias!.detach().to(place.dtype));
      expect(difference(await layer.forward(x).data(), await exact.data())).toBeLessThan(place.tolerance);
      const y = layer.forward(x, { activation: 'tanh', residual });
      const z = exact.tanh().add(residual);
      expect(difference(await y.data(), await z.data())).toBeLessThan(place.tolerance);
      y.mul(y).sum().backward();
      z.mul(z).sum().backward();
      expect(difference(await x.grad!.data(), await same.grad!.data())).toBeLessThan(5 * place.tolerance);
    }
  });

  it.each(SCHEMES)('%s: a table gives its rows, its head their scores', async (_, options) => {
    const plain = new Embedding(50, 32, { device: place.device });
    const table = await QuantizedEmbedding.from(plain, { ...options, block: 16 });
    const rows = await table.dequantize().data();
    const ids = tensor([3, 49, 0, 3, 17, 8], { shape: [2, 3], dtype: 'int32', device: place.device });
    const picked = table.forward(ids);
    expect(picked.shape).toEqual([2, 3, 32]);
    const wanted = [3, 49, 0, 3, 17, 8].flatMap((i) => [...rows.slice(i * 32, (i + 1) * 32)]);
    expect(difference(await picked.data(), wanted)).toBeLessThan(1e-7);
    const x = place.make(wave([2, 3, 32], 4), [2, 3, 32]);
    const w = dequantize(table.quantized, place.dtype);
    const scores = x.matmul(w.transpose(0, 1));
    expect(difference(await tiedHead(table, x).data(), await scores.data())).toBeLessThan(
      5 * place.tolerance,
    );
  });
});

const place = { make: (v: readonly number[], shape: readonly number[]) => tensor(v as number[], { shape }) };

describe('the loss of a quantised head', () => {
  it('is the same in parts, forward and backward, with targets that do not count', async () => {
    // 2²³ scores at a time are 167 rows of this table.
    const table = await QuantizedEmbedding.from(new Embedding(50_000, 16), { block: 16 });
    const w = new Embedding(50_000, 16);
    w.weight.release();
    Object.assign(w, { weight: new Parameter(table.dequantize(), { requiresGrad: false }) });
    const rows = 400;
    const targets = tensor(
      Array.from({ length: rows }, (_, i) => (i % 3 === 0 ? -100 : (i * 997) % 50_000)),
      { dtype: 'int32' },
    );
    const make = () => place.make(wave([rows, 16], 3), [rows, 16]).requiresGrad_();
    const [x, y] = [make(), make()];
    const [parts, whole] = [tiedLoss(table, x, targets), tiedLoss(w, y, targets)];
    expect(Math.abs((await parts.item()) - (await whole.item()))).toBeLessThan(1e-5);
    parts.backward();
    whole.backward();
    const [got, wanted] = [Array.from(await x.grad!.data()), Array.from(await y.grad!.data())];
    const largest = wanted.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
    got.forEach((v, i) => expect(Math.abs(v - wanted[i])).toBeLessThan(1e-5 * largest));
  });
});

function makeModel(): GPT2 {
  manualSeed(1);
  return new GPT2(gpt2Config('nano', { vocabSize: 96, layers: 2, dim: 64, contextLength: 32 }));
}

const ids = () =>
  tensor(
    Array.from({ length: 32 }, (_, i) => (i * i) % 96),
    { shape: [2, 16], dtype: 'int32' },
  );

describe('quantizeModel', () => {
  it.each([
    ['int8', 0.02],
    ['nf4', 0.15],
  ] as const)('replaces layers of GPT-2 by %s, and gives the floats back', async (scheme, tolerance) => {
    const model = makeModel();
    const before = await noGrad(() => model.forward(ids())).data();
    const bytes = modelBytes(model);
    expect(bytes).toBe(4 * model.numParameters());
    const seen: string[] = [];
    const live = cpuDevice().memory().liveBytes;
    const made = await quantizeModel(model, {
      scheme,
      onProgress: (name, done, of) => seen.push(`${name} ${done}/${of}`),
    });
    expect(made.modules.size).toBe(9);
    expect(seen[0]).toBe('transformer.h.0.attn.c_attn 0/9');
    expect(seen[8]).toBe('transformer.wte 8/9');
    expect(made.bytesBefore).toBe(bytes);
    expect(made.bytesAfter).toBe(modelBytes(model));
    expect(cpuDevice().memory().liveBytes - live).toBeLessThanOrEqual(0.9 * (made.bytesAfter - bytes));
    const weights = 12 * 64 * 64 * 2 + 96 * 64;
    const scales = scheme === 'nf4' ? weights / 64 + 9 * 2 * 4 + 9 * 8 : (weights / 64) * 4;
    const rest = bytes - 4 * weights;
    expect(made.bytesAfter - rest - (scheme === 'nf4' ? weights / 2 : weights)).toBeLessThanOrEqual(scales);
    const after = await model.forward(ids()).data();
    expect(difference(after, before)).toBeGreaterThan(0);
    expect(difference(after, before)).toBeLessThan(tolerance);
    const loss = await model.loss(ids(), ids()).item();
    expect(Math.abs(loss - (await makeModel().loss(ids(), ids()).item()))).toBeLessThan(tolerance);
  });

  it('takes only what it is told to, and blocks that fit', async () => {
    const model = makeModel();
    const made = await quantizeModel(model, { targets: ['c_fc'], embeddings: false, block: 48 });
    expect([...made.modules.keys()]).toEqual(['transformer.h.0.mlp.c_fc', 'transformer.h.1.mlp.c_fc']);
    expect(made.modules.get('transformer.h.0.mlp.c_fc')!.block).toBe(32);
    expect(model.transformer.wte).toBeInstanceOf(Embedding);
    const other = await quantizeModel(makeModel(), { embeddings: ['wpe'], targets: ['c_fc'] });
    expect([...other.modules.keys()].at(-1)).toBe('transformer.wpe');
  });

  it('has a state that is saved and loaded like any other', async () => {
    const [model, other] = [makeModel(), makeModel()];
    for (const p of other.parameters()) if (p.ndim > 1) init.normal_(p);
    await quantizeModel(model);
    await quantizeModel(other);
    expect([...model.stateDict().keys()].filter((name) => name.startsWith('transformer.h.0.attn'))).toEqual([
      'transformer.h.0.attn.c_attn.bias',
      'transformer.h.0.attn.c_attn.weight_packed',
      'transformer.h.0.attn.c_attn.weight_scales',
      'transformer.h.0.attn.c_attn.weight_groups',
      'transformer.h.0.attn.c_proj.bias',
      'transformer.h.0.attn.c_proj.weight_packed',
      'transformer.h.0.attn.c_proj.weight_scales',
      'transformer.h.0.attn.c_proj.weight_groups',
    ]);
    other.loadStateDict(model.stateDict());
    expect(await other.forward(ids()).data()).toEqual(await model.forward(ids()).data());
    expect(() => makeModel().loadStateDict(model.stateDict())).toThrow(/missing: .*c_attn\.weight/);
  });

  it('gives adapters the gradients of a float base with the same weights', async () => {
    for (const scheme of ['int8', 'nf4'] as const) {
      const model = makeModel();
      await quantizeModel(model, { scheme });
      // The same weights as floats.
      const float = makeModel();
      for (const [name, layer] of model.namedModules()) {
        if (!(layer instanceof QuantizedLinear || layer instanceof QuantizedEmbedding)) continue;
        float.loadStateDict(new Map([[`${name}.weight`, layer.dequantize()]]), { strict: false });
      }
      const grads: Map<string, Float32Array>[] = [];
      for (const m of [model, float]) {
        manualSeed(5);
        applyLora(m, { rank: 2 });
        for (const layer of loraModules(m).values()) init.normal_(layer.lora_B.weight, { std: 0.1 });
        m.loss(ids(), ids()).backward();
        const found = new Map<string, Float32Array>();
        for (const [name, p] of m.namedParameters()) {
          expect(p.grad !== null, name).toBe(name.includes('lora_'));
          if (p.grad) found.set(name, (await p.grad.data()) as Float32Array);
        }
        grads.push(found);
      }
      for (const [name, grad] of grads[0]) {
        const wanted = grads[1].get(name)!;
        const largest = wanted.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
        expect(largest).toBeGreaterThan(0);
        expect(
          difference(
            grad.map((v) => v / largest),
            wanted.map((v) => v / largest),
          ),
          name,
        ).toBeLessThan(2e-5);
      }
    }
  });

  it('is merged into float layers', async () => {
    const model = makeModel();
    await quantizeModel(model, { scheme: 'int8', embeddings: false });
    applyLora(model, { rank: 2, targets: ['c_fc'] });
    for (const layer of loraModules(model).values()) init.normal_(layer.lora_B.weight, { std: 0.1 });
    const apart = await model.forward(ids()).data();
    expect(() => mergeLora(model)).toThrow(
      new DataError(
        'mergeLora: expected float weights, got quantised ones, whose codes cannot hold the sum; pass { unload: true } to get float layers',
      ),
    );
    mergeLora(model, { unload: true });
    expect(model.transformer.h.at(0)!.mlp.c_fc).toBeInstanceOf(Linear);
    expect(difference(await model.forward(ids()).data(), apart)).toBeLessThan(1e-5);
  });

  it('says what it cannot do, and changes nothing then', async () => {
    const odd = new Sequential(new Linear(64, 8), new Linear(8, 4));
    await expect(quantizeModel(odd)).rejects.toThrow(
      new DataError(
        "quantizeModel: expected layers whose rows are multiples of 16 long, got '1' with 8; leave it out of the targets",
      ),
    );
    expect(odd.at(0)).toBeInstanceOf(Linear);
    await expect(quantizeModel(odd, { targets: ['c_attn'] })).rejects.toThrow(
      new DataError(
        "quantizeModel: expected 'c_attn' to name layers of the model, got nothing; there are 0, 1",
      ),
    );
    const adapted = makeModel();
    applyLora(adapted, { rank: 2, targets: ['c_fc'] });
    await expect(quantizeModel(adapted)).rejects.toThrow(
      new DataError(
        "quantizeModel: expected a model without adapters, got 'transformer.h.0.mlp.c_fc.lora_A'; quantise first, then apply or load adapters",
      ),
    );
    class Tied extends Module {
      readonly table = new Embedding(4, 16);
      readonly head = new Linear(16, 4, { bias: false });
      constructor() {
        super();
        Object.assign(this.head, { weight: this.table.weight });
      }
    }
    await expect(quantizeModel(new Tied())).rejects.toThrow(
      new DataError(
        'quantizeModel: expected layers with weights of their own, got one that table.weight and head.weight share; leave them out of the targets',
      ),
    );
  });
});

/** A model that has learned to count to 96 in steps of 5. */
async function trainedModel(): Promise<GPT2> {
  const model = makeModel();
  const rows = Int32Array.from({ length: 8 * 17 }, (_, i) => (11 * Math.floor(i / 17) + 5 * (i % 17)) % 96);
  const all = tensor(rows, { shape: [8, 17], dtype: 'int32' });
  const [x, y] = [narrow(all, 1, 0, 16).contiguous(), narrow(all, 1, 1, 16).contiguous()];
  const optimizer = new AdamW(model.parameters(), { lr: 1e-2 });
  for (let i = 0; i < 40; i++) {
    scope(() => {
      model.loss(x, y).backward();
      optimizer.step();
      optimizer.zeroGrad();
    });
  }
  return model;
}

/** The likeliest tokens after some. */
async function greedy(model: GPT2, prompt: readonly number[], count: number): Promise<number[]> {
  const out = [...prompt];
  for (let i = 0; i < count; i++) {
    const x = tensor(out, { shape: [1, out.length], dtype: 'int32' });
    const scores = await noGrad(() => select(model.forward(x), 1, -1)).data();
    out.push(scores.indexOf(Math.max(...scores)));
  }
  return out;
}

describe('a trained model', () => {
  it.each([
    ['int8', 0.01],
    ['nf4', 0.2],
  ] as const)('says the same in %s', async (scheme, difference) => {
    const model = await trainedModel();
    const x = tensor([7, 12, 17, 22, 27, 32], { shape: [1, 6], dtype: 'int32' });
    const y = tensor([12, 17, 22, 27, 32, 37], { shape: [1, 6], dtype: 'int32' });
    const text = await greedy(model, [11, 16], 12);
    const loss = await noGrad(() => model.loss(x, y)).item();
    await quantizeModel(model, { scheme });
    expect(await greedy(model, [11, 16], 12)).toEqual(text);
    expect(text.slice(0, 5)).toEqual([11, 16, 21, 26, 31]);
    expect(Math.abs((await noGrad(() => model.loss(x, y)).item()) - loss)).toBeLessThan(difference);
  });
});

describe('indices out of range', () => {
  beforeAll(() => setDebug(true));
  afterAll(() => setDebug(false));

  it('are named', async () => {
    const table = await QuantizedEmbedding.from(new Embedding(5, 16), { block: 16 });
    expect(() => table.forward(tensor([1, 5], { dtype: 'int32' }))).toThrow(
      new ShapeError('quantizedEmbedding: expected indices in [0, 5), got 5 at position 1'),
    );
  });
});
