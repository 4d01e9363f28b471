/** TensorFlow.js, eager: it has nothing else. */
import { createRequire } from 'node:module';
import { isStep, type OpCase, type StepCase, values } from './cases.js';
import type { Engine, Prepared } from './engine.js';
import { adapterText, installNavigator, installPlainNavigator } from './shim.js';

// biome-ignore lint/suspicious/noExplicitAny: the packages of the peers are not installed where this is type-checked.
type Any = any;

export async function openEngine(backend: string, adapterName: string): Promise<Engine> {
  const require = createRequire(import.meta.url);
  let device = 'one thread, SIMD';
  let tf: Any;
  if (backend === 'webgpu') {
    const adapter = await installNavigator(adapterName);
    device = adapterText(adapter);
    tf = require('@tensorflow/tfjs-core');
    const { WebGPUBackend } = require('@tensorflow/tfjs-backend-webgpu');
    // Its own registration asks for a feature in a way that Dawn refuses; limits as there.
    tf.removeBackend('webgpu');
    tf.registerBackend('webgpu', async () => {
      const { limits } = adapter as unknown as { limits: Record<string, number> };
      const requiredLimits = Object.fromEntries(
        [
          'maxComputeWorkgroupStorageSize',
          'maxComputeWorkgroupsPerDimension',
          'maxStorageBufferBindingSize',
          'maxBufferSize',
          'maxComputeWorkgroupSizeX',
          'maxComputeInvocationsPerWorkgroup',
        ].map((name) => [name, limits[name]]),
      );
      return new WebGPUBackend(await adapter.requestDevice({ requiredLimits }), adapter.info);
    });
    await tf.setBackend('webgpu');
  } else {
    installPlainNavigator();
    tf = require('@tensorflow/tfjs-core');
    require('@tensorflow/tfjs-backend-wasm');
    await tf.setBackend('wasm');
  }
  // Its bundle for Node.js has no gradients; they register themselves where all copies look.
  require('@tensorflow/tfjs-core/dist/register_all_gradients.js');
  await tf.ready();
  return {
    info: { name: 'TensorFlow.js', version: tf.version_core, device },
    prepare: async (c) => (isStep(c) ? prepareStep(tf, backend, c) : prepareOp(tf, backend, c)),
  };
}

function make(tf: Any, { shape, kind }: { shape: readonly number[]; kind: string }, data: Any): Any {
  return tf.tensor(data, shape, kind === 'ids' ? 'int32' : 'float32');
}

/** Rows of a table. Its WebAssembly backend has no gradient of gather: there a product with one-hot rows takes its place. */
function rows(tf: Any, backend: string, table: Any, ids: Any): Any {
  if (backend !== 'wasm') return tf.gather(table, ids);
  const flat = tf.oneHot(tf.reshape(ids, [-1]), table.shape[0]);
  return tf.reshape(tf.matMul(tf.cast(flat, 'float32'), table), [...ids.shape, table.shape[1]]);
}

function layerNorm(tf: Any, x: Any, weight: Any, bias: Any): Any {
  const { mean, variance } = tf.moments(x, -1, true);
  return tf.add(tf.mul(tf.mul(tf.sub(x, mean), tf.rsqrt(tf.add(variance, 1e-5))), weight), bias);
}

function crossEntropy(tf: Any, logits: Any, targets: Any): Any {
  const [n, v] = logits.shape;
  const hot = tf.cast(tf.oneHot(targets, v), 'float32');
  return tf.mul(tf.sum(tf.mul(tf.logSoftmax(logits), hot)), -1 / n);
}

/** 0 on and below the diagonal, −∞ above. */
function causalBias(tf: Any, T: number): Any {
  const data = new Float32Array(T * T);
  for (let i = 0; i < T; i++) data.fill(-1e9, i * T + i + 1, (i + 1) * T);
  return tf.tensor(data, [T, T]);
}

function attention(tf: Any, q: Any, k: Any, v: Any, bias: Any): Any {
  const scores = tf.mul(tf.matMul(q, k, false, true), 1 / Math.sqrt(q.shape[3]));
  return tf.matMul(tf.softmax(tf.add(scores, bias)), v);
}

function geluTanh(tf: Any, x: Any): Any {
  const inner = tf.mul(tf.add(x, tf.mul(tf.mul(tf.mul(x, x), x), 0.044715)), Math.sqrt(2 / Math.PI));
  return tf.mul(tf.mul(x, 0.5), tf.add(tf.tanh(inner), 1));
}

function decode(tf: Any, { inputs: specs, config }: OpCase, inputs: Any[]): Any {
  const { layers, heads, dim: C, blockSize: T } = config!;
  const D = C / heads;
  const p: Weights = Object.fromEntries(specs.map(({ name }, i) => [name, inputs[i]]));
  const norm = (x: Any, name: string): Any => layerNorm(tf, x, p[`${name}.weight`], p[`${name}.bias`]);
  const linear = (x: Any, name: string): Any =>
    tf.add(tf.matMul(x, p[`${name}.weight`], false, true), p[`${name}.bias`]);
  const earlier = (name: string, i: number): Any =>
    tf.reshape(tf.slice(p[name], [i, 0, 0, 0], [1, heads, T - 1, D]), [heads, T - 1, D]);
  let x = tf.add(tf.gather(p['head.weight'], p.token), tf.slice(p['positions.weight'], [T - 1, 0], [1, C]));
  for (let i = 0; i < layers; i++) {
    const name = `blocks.${i}`;
    const qkv = tf.reshape(linear(norm(x, `${name}.ln1`), `${name}.attention.qkv`), [3, heads, 1, D]);
    const [q, k, v] = tf.split(qkv, 3, 0).map((t: Any) => tf.reshape(t, [heads, 1, D]));
    const keys = tf.concat([earlier('keys', i), k], 1);
    const scores = tf.mul(tf.matMul(q, keys, false, true), 1 / Math.sqrt(D));
    const y = tf.matMul(tf.softmax(scores), tf.concat([earlier('values', i), v], 1));
    x = tf.add(x, linear(tf.reshape(y, [1, C]), `${name}.attention.proj`));
    x = tf.add(x, linear(geluTanh(tf, linear(norm(x, `${name}.ln2`), `${name}.up`)), `${name}.down`));
  }
  return tf.matMul(norm(x, 'norm'), p['head.weight'], false, true);
}

function prepareOp(tf: Any, backend: string, c: OpCase): Prepared {
  const inputs = c.inputs.map((spec) => make(tf, spec, values(spec)));
  const bias = c.kind.startsWith('attention') ? causalBias(tf, c.inputs[0].shape[2]) : null;
  /** The result and the gradients of the first `count` inputs. */
  const withGrad = (fn: (...x: Any[]) => Any, count: number, g?: Any): Any[] => {
    const { value, grads } = tf.valueAndGrads(fn)(inputs.slice(0, count), g);
    return [value, ...grads];
  };
  const [a, b, d, g] = inputs;
  const kinds: Record<string, () => Any[]> = {
    matmul: () => [tf.matMul(a, b)],
    softmax: () => [tf.softmax(a)],
    layerNorm: () => [layerNorm(tf, a, b, d)],
    layerNormGrad: () => withGrad((x, w, s) => layerNorm(tf, x, w, s), 3, g),
    crossEntropy: () => [crossEntropy(tf, a, b)],
    crossEntropyGrad: () => withGrad((x) => crossEntropy(tf, x, b), 1),
    attention: () => [attention(tf, a, b, d, bias)],
    attentionGrad: () => withGrad((x, y, z) => attention(tf, x, y, z, bias), 3, g),
    decode: () => [decode(tf, c, inputs)],
    embeddingGrad: () => withGrad((table) => rows(tf, backend, table, b), 1, d).slice(1),
  };
  const once = kinds[c.kind];
  return {
    async check() {
      const outputs = tf.tidy(once);
      const all = await Promise.all(outputs.map((t: Any) => t.data()));
      tf.dispose(outputs);
      return all;
    },
    async iterate() {
      for (let i = 1; i < c.repeat; i++) tf.tidy(() => void once());
      const probe = tf.tidy(() => tf.slice(tf.reshape(once().at(-1), [-1]), [0], [1]));
      await probe.data();
      probe.dispose();
    },
    dispose: () => tf.dispose([...inputs, bias]),
  };
}

type Weights = Record<string, Any>;

function transformerLoss(
  tf: Any,
  backend: string,
  p: Weights,
  c: StepCase,
  ids: Any,
  targets: Any,
  bias: Any,
): Any {
  const { layers, heads } = c.config as { layers: number; heads: number };
  const [B, T] = ids.shape;
  const C = p['tokens.weight'].shape[1];
  const norm = (x: Any, name: string): Any => layerNorm(tf, x, p[`${name}.weight`], p[`${name}.bias`]);
  const linear = (x: Any, name: string): Any =>
    tf.add(tf.matMul(x, p[`${name}.weight`], false, true), p[`${name}.bias`]);
  let x = tf.reshape(tf.add(rows(tf, backend, p['tokens.weight'], ids), p['positions.weight']), [B * T, C]);
  for (let i = 0; i < layers; i++) {
    const name = `blocks.${i}`;
    const qkv = tf.reshape(linear(norm(x, `${name}.ln1`), `${name}.attention.qkv`), [
      B,
      T,
      3,
      heads,
      C / heads,
    ]);
    const [q, k, v] = tf.split(tf.transpose(qkv, [2, 0, 3, 1, 4]), 3, 0);
    const four = (t: Any): Any => tf.reshape(t, [B, heads, T, C / heads]);
    const y = attention(tf, four(q), four(k), four(v), bias);
    x = tf.add(x, linear(tf.reshape(tf.transpose(y, [0, 2, 1, 3]), [B * T, C]), `${name}.attention.proj`));
    x = tf.add(x, linear(geluTanh(tf, linear(norm(x, `${name}.ln2`), `${name}.up`)), `${name}.down`));
  }
  const logits = tf.matMul(norm(x, 'norm'), p['head.weight'], false, true);
  return crossEntropy(tf, logits, tf.reshape(targets, [B * T]));
}

function lstmLoss(tf: Any, backend: string, p: Weights, ids: Any, targets: Any): Any {
  const [B, T] = ids.shape;
  const H = p['head.weight'].shape[1];
  const x = tf.reshape(rows(tf, backend, p['embedding.weight'], tf.transpose(ids)), [T * B, -1]);
  const bias = tf.add(p['lstm.bias_ih_l0'], p['lstm.bias_hh_l0']);
  const projected = tf.add(tf.matMul(x, p['lstm.weight_ih_l0'], false, true), bias);
  let h = tf.zeros([B, H]);
  let c = tf.zeros([B, H]);
  const hidden: Any[] = [];
  for (const projection of tf.split(projected, T, 0)) {
    const gates = tf.add(projection, tf.matMul(h, p['lstm.weight_hh_l0'], false, true));
    const [i, f, g, o] = tf.split(gates, 4, 1);
    c = tf.add(tf.mul(tf.sigmoid(f), c), tf.mul(tf.sigmoid(i), tf.tanh(g)));
    h = tf.mul(tf.sigmoid(o), tf.tanh(c));
    hidden.push(h);
  }
  const logits = tf.add(tf.matMul(tf.concat(hidden, 0), p['head.weight'], false, true), p['head.bias']);
  return crossEntropy(tf, logits, tf.reshape(tf.transpose(targets), [T * B]));
}

function prepareStep(tf: Any, backend: string, c: StepCase): Prepared {
  const weights = c.inputs.slice(0, -2);
  const [idsSpec, targetsSpec] = c.inputs.slice(-2);
  const p: Weights = {};
  for (const spec of weights) p[spec.name] = tf.variable(make(tf, spec, values(spec)));
  const optimizer = c.optimizer === 'sgd' ? tf.train.sgd(c.lr) : tf.train.adam(c.lr, 0.9, 0.999, 1e-8);
  const bias = c.kind === 'transformerStep' ? causalBias(tf, idsSpec.shape[1]) : null;
  const [idData, targetData] = [values(idsSpec), values(targetsSpec)];
  const step = async (): Promise<number> => {
    const ids = make(tf, idsSpec, idData);
    const targets = make(tf, targetsSpec, targetData);
    const loss = optimizer.minimize(
      () =>
        c.kind === 'lstmStep'
          ? lstmLoss(tf, backend, p, ids, targets)
          : transformerLoss(tf, backend, p, c, ids, targets, bias),
      true,
    );
    const [value] = await loss.data();
    tf.dispose([ids, targets, loss]);
    return value;
  };
  return {
    check: async () => [[await step(), await step(), await step()]],
    iterate: async () => void (await step()),
    dispose() {
      optimizer.dispose();
      tf.dispose([...Object.values(p), bias]);
    },
  };
}
