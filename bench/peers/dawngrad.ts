/** This engine, as a user would call it. */
import { readFileSync } from 'node:fs';
import * as dg from '../../src/index.js';
import { CharTransformer } from '../../src/models/char-transformer.js';
import { CharLSTM } from '../../src/models/char-lstm.js';
import {
  type Case,
  isStep,
  type LstmConfig,
  type OpCase,
  type StepCase,
  type TransformerConfig,
  values,
} from './cases.js';
import type { Engine, Prepared } from './engine.js';

type Tensor = dg.Tensor;

export async function openEngine(backend: string, adapter: string): Promise<Engine> {
  const device = await dg.openDevice(backend === 'cpu' ? { device: 'cpu' } : { device: 'webgpu', adapter });
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  return {
    info: { name: 'dawngrad', version, device: device.info.name },
    prepare: async (c) => (isStep(c) ? prepareStep(c) : prepareOp(c, device)),
  };
}

function inputTensors(c: Case): Tensor[] {
  return c.inputs.map((spec) => dg.tensor(values(spec), { shape: spec.shape }));
}

const leaf = (t: Tensor): Tensor => t.requiresGrad_();

/** The result of `fn`, and gradients of the first `count` inputs; with `g`, of Σ g·fn. */
function withGrad(inputs: Tensor[], count: number, fn: () => Tensor, g?: Tensor): Tensor[] {
  const out = fn();
  out.backward(g && { gradient: g });
  return [out.detach(), ...inputs.slice(0, count).map((t) => take(t))];
}

/** The gradient, taken from its leaf. */
function take(t: Tensor): Tensor {
  const { grad } = t;
  t.grad = null;
  return grad!;
}

const OPS: Record<string, (inputs: Tensor[], c: OpCase) => () => Tensor[]> = {
  decode,
  matmul:
    ([a, b]) =>
    () => [dg.matmul(a, b)],
  softmax:
    ([x]) =>
    () => [dg.softmax(x, -1)],
  layerNorm:
    ([x, weight, bias]) =>
    () => [dg.layerNorm(x, [x.shape[1]], { weight, bias })],
  layerNormGrad([x, weight, bias, g]) {
    const leaves = [x, weight, bias].map(leaf);
    return () => withGrad(leaves, 3, () => dg.layerNorm(x, [x.shape[1]], { weight, bias }), g);
  },
  crossEntropy:
    ([logits, targets]) =>
    () => [dg.crossEntropy(logits, targets)],
  crossEntropyGrad([logits, targets]) {
    leaf(logits);
    return () => withGrad([logits], 1, () => dg.crossEntropy(logits, targets));
  },
  attention:
    ([q, k, v]) =>
    () => [dg.scaledDotProductAttention(q, k, v, { isCausal: true })],
  attentionGrad([q, k, v, g]) {
    const leaves = [q, k, v].map(leaf);
    return () => withGrad(leaves, 3, () => dg.scaledDotProductAttention(q, k, v, { isCausal: true }), g);
  },
  embeddingGrad([table, ids, g]) {
    leaf(table);
    return () => withGrad([table], 1, () => dg.embedding(table, ids), g).slice(1);
  },
};

/** As `KVCache` and generation do it: keys and values are kept in place. */
function decode(inputs: Tensor[], { inputs: specs, config }: OpCase): () => Tensor[] {
  const p = Object.fromEntries(specs.map(({ name }, i) => [name, inputs[i]]));
  const { layers, heads, dim: C, blockSize } = config!;
  const norm = (x: Tensor, name: string): Tensor =>
    dg.layerNorm(x, [C], { weight: p[`${name}.weight`], bias: p[`${name}.bias`] });
  const linear = (x: Tensor, name: string, options: dg.LinearOptions = {}): Tensor =>
    dg.linear(x, p[`${name}.weight`], p[`${name}.bias`], options);
  // [2, H, T, D] per layer, the last slot free.
  const caches = Array.from({ length: layers }, (_, i) => {
    const free = dg.zeros([heads, 1, C / heads]);
    const filled = (past: Tensor): Tensor => dg.cat([past.select(0, i), free], 1);
    return dg.stack([filled(p.keys), filled(p.values)]);
  });
  const slot = dg.tensor([blockSize - 1], { dtype: 'int32' });
  return () =>
    dg.noGrad(() => {
      let x = dg.embedding(p['head.weight'], p.token).add(p['positions.weight'].narrow(0, blockSize - 1, 1));
      for (let i = 0; i < layers; i++) {
        const name = `blocks.${i}`;
        const qkv = linear(norm(x, `${name}.ln1`), `${name}.attention.qkv`);
        const parts = qkv.reshape([3, heads, 1, C / heads]);
        caches[i].indexCopy_(2, slot, parts.narrow(0, 1, 2));
        const [keys, past] = caches[i].unbind(0);
        const y = dg.scaledDotProductAttention(parts.select(0, 0), keys, past);
        x = linear(y.reshape([1, C]), `${name}.attention.proj`, { residual: x });
        const h = linear(norm(x, `${name}.ln2`), `${name}.up`, { activation: 'geluTanh' });
        x = linear(h, `${name}.down`, { residual: x });
      }
      return [dg.linear(norm(x, 'norm'), p['head.weight'])];
    });
}

function prepareOp(c: OpCase, device: dg.Device): Prepared {
  const inputs = inputTensors(c);
  const run = dg.capture(OPS[c.kind](inputs, c), { device });
  return {
    async check() {
      return (await Promise.all(run().map((t) => t.data()))) as Float32Array[];
    },
    async iterate() {
      for (let i = 1; i < c.repeat; i++) run();
      const probe = dg.scope(() => run().at(-1)!.reshape([-1]).narrow(0, 0, 1).clone());
      await probe.item();
      probe.release();
    },
    dispose() {
      run.release();
      for (const t of inputs) t.release();
      void device.synchronize();
    },
  };
}

function prepareStep(c: StepCase): Prepared {
  const model =
    c.kind === 'lstmStep'
      ? new CharLSTM(c.config as LstmConfig)
      : new CharTransformer({ ...(c.config as TransformerConfig), dropout: 0 });
  dg.scope(() => {
    const weights = c.inputs.slice(0, -2);
    model.loadStateDict(
      Object.fromEntries(weights.map((spec) => [spec.name, dg.tensor(values(spec), { shape: spec.shape })])),
    );
  });
  const parameters = model.parameters();
  const optimizer =
    c.optimizer === 'sgd'
      ? new dg.optim.SGD(parameters, { lr: c.lr })
      : new dg.optim.Adam(parameters, { lr: c.lr });
  const run = dg.capture((ids: Tensor, targets: Tensor) => {
    const loss = model.loss(ids, targets);
    loss.backward();
    optimizer.step();
    optimizer.zeroGrad();
    return loss;
  });
  const [ids, targets] = c.inputs.slice(-2).map((spec) => ({ data: values(spec), shape: spec.shape }));
  const step = async (): Promise<number> => {
    const inputs = [ids, targets].map(({ data, shape }) => dg.tensor(data, { shape }));
    const value = await run(inputs[0], inputs[1]).item();
    for (const t of inputs) t.release();
    return value as number;
  };
  return {
    check: async () => [[await step(), await step(), await step()]],
    iterate: async () => void (await step()),
    dispose() {
      run.release();
      for (const p of parameters) p.release();
    },
  };
}
