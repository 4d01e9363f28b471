/** jax-js, with `jit` around everything: the fastest way that it offers. */
import 'core-js/proposals/iterator-helpers-stage-3-2.js';
import 'core-js/proposals/set-methods-v2.js';
import { readFileSync } from 'node:fs';
import { type Case, isStep, type OpCase, type StepCase, values } from './cases.js';
import type { Engine, Prepared } from './engine.js';
import { adapterText, installNavigator, installPlainNavigator } from './shim.js';

// biome-ignore lint/suspicious/noExplicitAny: the packages of the peers are not installed where this is type-checked.
type Any = any;

export async function openEngine(backend: string, adapterName: string): Promise<Engine> {
  let device = 'one thread (its threads need Web Workers)';
  if (backend === 'webgpu') device = adapterText(await installNavigator(adapterName));
  else installPlainNavigator();
  const jax = (await import('@jax-js/jax' as string)) as Any;
  await jax.init(backend);
  jax.defaultDevice(backend);
  const file = new URL('node_modules/@jax-js/jax/package.json', import.meta.url);
  const { version } = JSON.parse(readFileSync(file, 'utf8'));
  return {
    info: { name: 'jax-js', version, device },
    prepare: async (c) => (isStep(c) ? prepareStep(jax, c) : prepareOp(jax, backend, c)),
  };
}

function array(jax: Any, spec: Case['inputs'][number]): Any {
  return jax.numpy.array(values(spec), { shape: spec.shape });
}

/** Arguments are consumed by each use, so every use but the last takes a `.ref`. */
function ops(jax: Any, c: OpCase): Record<string, (...inputs: Any[]) => Any[]> {
  const { numpy: np, nn } = jax;
  const layerNorm = (x: Any, weight: Any, bias: Any): Any => nn.standardize(x, -1).mul(weight).add(bias);
  const crossEntropy = (logits: Any, targets: Any): Any => {
    const [n, v] = logits.shape;
    return nn
      .logSoftmax(logits, -1)
      .mul(nn.oneHot(targets, v))
      .sum()
      .mul(-1 / n);
  };
  // [B, H, T, D] as everywhere here; its own dotProductAttention takes [B, T, H, D] and makes the same matrix products.
  const attention = (q: Any, k: Any, v: Any): Any => {
    const [, , T, D] = q.shape;
    const scores = np.matmul(q, k.transpose([0, 1, 3, 2])).mul(1 / Math.sqrt(D));
    const masked = np.where(np.tri(T, T, 0, { dtype: np.bool }), scores, -Infinity);
    return np.matmul(nn.softmax(masked, -1), v);
  };
  /** The result and, by the vector–Jacobian product with g, the gradients. */
  const withGrad = (fn: (...inputs: Any[]) => Any, inputs: Any[], g?: Any): Any[] => {
    const [out, pullback] = jax.vjp(fn, inputs);
    const grads = pullback(g ?? np.array(1));
    pullback.dispose();
    return [out, ...grads];
  };
  return {
    matmul: (a, b) => [np.matmul(a, b)],
    softmax: (x) => [nn.softmax(x, -1)],
    layerNorm: (x, w, b) => [layerNorm(x, w, b)],
    layerNormGrad: (x, w, b, g) => withGrad(layerNorm, [x, w, b], g),
    crossEntropy: (logits, targets) => [crossEntropy(logits, targets)],
    crossEntropyGrad: (logits, targets) => withGrad((x: Any) => crossEntropy(x, targets.ref), [logits]),
    attention: (q, k, v) => [attention(q, k, v)],
    attentionGrad: (q, k, v, g) => withGrad(attention, [q, k, v], g),
    decode: (...inputs) => [decode(jax, c, inputs)],
    embeddingGrad(table, ids, g) {
      const [out, ...grads] = withGrad((t: Any) => np.take(t, ids.ref, 0), [table], g);
      out.dispose();
      return grads;
    },
  };
}

function prepareOp(jax: Any, backend: string, c: OpCase): Prepared {
  const inputs = c.inputs.map((spec) => array(jax, spec));
  const run = jax.jit((...args: Any[]) => ops(jax, c)[c.kind](...args));
  const probe = jax.jit((x: Any) => x.ravel().slice([0, 1]));
  const call = (): Any[] => run(...inputs.map((x) => x.ref));
  return {
    check: async () => Promise.all(call().map((x: Any) => x.data())),
    async iterate() {
      for (let i = 1; i < c.repeat; i++) {
        // Arrays are lazy: what nobody asks for is never computed. These submit without waiting.
        for (const x of call()) {
          if (backend === 'webgpu') x.gpuBufferSync();
          else (await x.blockUntilReady()).dispose();
        }
      }
      const outputs = call();
      const last = outputs.pop();
      for (const x of outputs) {
        if (backend === 'webgpu') x.gpuBufferSync();
        else (await x.blockUntilReady()).dispose();
      }
      await probe(last).data();
    },
    dispose() {
      for (const x of inputs) x.dispose();
      run.dispose();
      probe.dispose();
    },
  };
}

type Parameters = Record<string, Any>;

function decode(jax: Any, { inputs: specs, config }: OpCase, inputs: Any[]): Any {
  const { numpy: np, nn } = jax;
  const { layers, heads, dim: C, blockSize: T } = config!;
  const D = C / heads;
  const p: Parameters = Object.fromEntries(specs.map(({ name }, i) => [name, inputs[i]]));
  const norm = (x: Any, name: string): Any =>
    nn.standardize(x, -1).mul(p[`${name}.weight`]).add(p[`${name}.bias`]);
  const linear = (x: Any, name: string): Any =>
    np.matmul(x, p[`${name}.weight`].transpose()).add(p[`${name}.bias`]);
  const layer = (name: string): Any[] =>
    np.split(p[name], layers, 0).map((t: Any) => t.reshape([heads, T - 1, D]));
  const [keys, earlier] = [layer('keys'), layer('values')];
  let x = np.take(p['head.weight'].ref, p.token, 0).add(p['positions.weight'].slice([T - 1, T]));
  for (let i = 0; i < layers; i++) {
    const name = `blocks.${i}`;
    const qkv = linear(norm(x.ref, `${name}.ln1`), `${name}.attention.qkv`).reshape([3, heads, 1, D]);
    const [q, k, v] = np.split(qkv, 3, 0).map((t: Any) => t.reshape([heads, 1, D]));
    const scores = np.matmul(q, np.concatenate([keys[i], k], 1).transpose([0, 2, 1])).mul(1 / Math.sqrt(D));
    const y = np.matmul(nn.softmax(scores, -1), np.concatenate([earlier[i], v], 1)).reshape([1, C]);
    x = x.add(linear(y, `${name}.attention.proj`));
    const h = nn.gelu(linear(norm(x.ref, `${name}.ln2`), `${name}.up`), { approximate: true });
    x = x.add(linear(h, `${name}.down`));
  }
  return np.matmul(norm(x, 'norm'), p['head.weight'].transpose());
}

function transformerLoss(
  jax: Any,
  p: Parameters,
  ids: Any,
  targets: Any,
  layers: number,
  heads: number,
): Any {
  const { numpy: np, nn } = jax;
  const [B, T] = ids.shape;
  const C = p['tokens.weight'].shape[1];
  const V = p['head.weight'].shape[0];
  const D = C / heads;
  const norm = (x: Any, name: string): Any =>
    nn.standardize(x, -1).mul(p[`${name}.weight`]).add(p[`${name}.bias`]);
  const linear = (x: Any, name: string): Any =>
    np.matmul(x, p[`${name}.weight`].transpose()).add(p[`${name}.bias`]);
  let x = np
    .take(p['tokens.weight'], ids, 0)
    .add(p['positions.weight'])
    .reshape([B * T, C]);
  for (let i = 0; i < layers; i++) {
    const name = `blocks.${i}`;
    const qkv = linear(norm(x.ref, `${name}.ln1`), `${name}.attention.qkv`)
      .reshape([B, T, 3, heads, D])
      .transpose([2, 0, 3, 1, 4]);
    const [q, k, v] = np.split(qkv, 3, 0).map((t: Any) => t.reshape([B, heads, T, D]));
    const scores = np.matmul(q, k.transpose([0, 1, 3, 2])).mul(1 / Math.sqrt(D));
    const masked = np.where(np.tri(T, T, 0, { dtype: np.bool }), scores, -Infinity);
    const y = np
      .matmul(nn.softmax(masked, -1), v)
      .transpose([0, 2, 1, 3])
      .reshape([B * T, C]);
    x = x.add(linear(y, `${name}.attention.proj`));
    const h = nn.gelu(linear(norm(x.ref, `${name}.ln2`), `${name}.up`), { approximate: true });
    x = x.add(linear(h, `${name}.down`));
  }
  const logits = np.matmul(norm(x, 'norm'), p['head.weight'].transpose());
  return nn
    .logSoftmax(logits, -1)
    .mul(nn.oneHot(targets.reshape([B * T]), V))
    .sum()
    .mul(-1 / (B * T));
}

/**
 * ids and targets come time first, [T, B]. The lookup is a product with one-hot rows: its scatter, the gradient of `take`,
 * refuses the operand that `jit` makes here.
 */
function lstmLoss(jax: Any, p: Parameters, ids: Any, targets: Any): Any {
  const { numpy: np, nn } = jax;
  const [T, B] = ids.shape;
  const [V, H] = p['head.weight'].shape;
  const x = np.matmul(nn.oneHot(ids.reshape([T * B]), V), p['embedding.weight']);
  const projected = np
    .matmul(x, p['lstm.weight_ih_l0'].transpose())
    .add(p['lstm.bias_ih_l0'].add(p['lstm.bias_hh_l0']))
    .reshape([T, B, 4 * H]);
  const steps = np.split(projected, T, 0).map((t: Any) => t.reshape([B, 4 * H]));
  const weight = p['lstm.weight_hh_l0'].transpose();
  let h = np.zeros([B, H]);
  let c = np.zeros([B, H]);
  const hidden: Any[] = [];
  for (const projection of steps) {
    const [i, f, g, o] = np.split(projection.add(np.matmul(h, weight.ref)), 4, 1);
    c = nn
      .sigmoid(f)
      .mul(c)
      .add(nn.sigmoid(i).mul(np.tanh(g)));
    h = nn.sigmoid(o).mul(np.tanh(c.ref));
    hidden.push(h.ref);
  }
  const logits = np
    .matmul(np.stack(hidden, 0).reshape([T * B, H]), p['head.weight'].transpose())
    .add(p['head.bias']);
  return nn
    .logSoftmax(logits, -1)
    .mul(nn.oneHot(targets.reshape([T * B]), V))
    .sum()
    .mul(-1 / (B * T));
}

function prepareStep(jax: Any, c: StepCase): Prepared {
  const { numpy: np } = jax;
  const weights = c.inputs.slice(0, -2);
  const [idsSpec, targetsSpec] = c.inputs.slice(-2);
  const names = weights.map(({ name }) => name);
  const make = (fill: boolean): Any[] =>
    weights.map((spec) => (fill ? np.zeros(spec.shape) : array(jax, spec)));
  const lossOf = (params: Any[], ids: Any, targets: Any): Any => {
    const p = Object.fromEntries(names.map((name, i) => [name, params[i]]));
    if (c.kind === 'lstmStep') return lstmLoss(jax, p, ids, targets);
    const { layers, heads } = c.config as { layers: number; heads: number };
    return transformerLoss(jax, p, ids, targets, layers, heads);
  };
  const gradient = jax.valueAndGrad(lossOf);
  const sgd = jax.jit((params: Any[], ids: Any, targets: Any) => {
    const [loss, grads] = gradient(
      params.map((p) => p.ref),
      ids,
      targets,
    );
    return [loss, params.map((p, i) => p.sub(grads[i].mul(c.lr)))];
  });
  const [b1, b2, eps] = [0.9, 0.999, 1e-8];
  const adam = jax.jit((params: Any[], m: Any[], v: Any[], corrections: Any, ids: Any, targets: Any) => {
    const [loss, grads] = gradient(
      params.map((p) => p.ref),
      ids,
      targets,
    );
    const [c1, c2] = np.split(corrections, 2, 0);
    const m2 = m.map((x, i) => x.mul(b1).add(grads[i].ref.mul(1 - b1)));
    const v2 = v.map((x, i) => x.mul(b2).add(np.square(grads[i]).mul(1 - b2)));
    const next = params.map((p, i) =>
      p.sub(
        m2[i].ref
          .mul(c1.ref)
          .mul(c.lr)
          .div(np.sqrt(v2[i].ref.mul(c2.ref)).add(eps)),
      ),
    );
    return [loss, next, m2, v2];
  });
  let params = make(false);
  let m = c.optimizer === 'adam' ? make(true) : [];
  let v = c.optimizer === 'adam' ? make(true) : [];
  let t = 0;
  const timeFirst = c.kind === 'lstmStep';
  const [B, T] = idsSpec.shape;
  const shape = timeFirst ? [T, B] : [B, T];
  const [idData, targetData] = [idsSpec, targetsSpec].map((spec) => {
    const data = values(spec);
    return timeFirst ? data.map((_, i) => data[(i % B) * T + Math.floor(i / B)]) : data;
  });
  const step = async (): Promise<number> => {
    const ids = np.array(idData, { shape });
    const targets = np.array(targetData, { shape });
    let loss: Any;
    if (c.optimizer === 'sgd') [loss, params] = sgd(params, ids, targets);
    else {
      t++;
      const corrections = np.array(new Float32Array([1 / (1 - b1 ** t), 1 / (1 - b2 ** t)]), { shape: [2] });
      [loss, params, m, v] = adam(params, m, v, corrections, ids, targets);
    }
    // Left lazy, the chain of updates would grow: everything is asked for, the loss is read.
    const all = [...params, ...m, ...v];
    const [value] = await Promise.all([
      loss.data(),
      c.optimizer === 'adam' ? jax.blockUntilReady(all) : null,
    ]);
    return value[0];
  };
  return {
    check: async () => [[await step(), await step(), await step()]],
    iterate: async () => void (await step()),
    dispose() {
      for (const x of [...params, ...m, ...v]) x.dispose();
    },
  };
}
