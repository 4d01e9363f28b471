/** The operations to time, over the shapes that models use, with the bytes or operations that each needs at least. */
import type { Device } from '../src/device/types.js';
import {
  crossEntropy,
  dropout,
  embedding,
  gelu,
  layerNorm,
  logSoftmax,
  matmul,
  noGrad,
  optim,
  randint,
  randn,
  rmsNorm,
  scaledDotProductAttention,
  scope,
  softmax,
  type Tensor,
} from '../src/index.js';

export interface OpBench {
  readonly name: string;
  /** What a call cannot avoid: operations, or bytes read and written. */
  readonly flop?: number;
  readonly bytes?: number;
  /** Makes the inputs, and gives the call and a way to release them. */
  prepare(device: Device): { call(): void; release(): void };
}

const BYTES = 4;
const product = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** Forward without a graph. */
function forward(
  name: string,
  work: { flop?: number; bytes?: number },
  inputs: (device: Device) => Tensor[],
  fn: (...inputs: Tensor[]) => Tensor,
): OpBench {
  return {
    name,
    ...work,
    prepare(device) {
      const tensors = inputs(device);
      return {
        call: () => scope(() => noGrad(() => void fn(...tensors))),
        release: () => releaseAll(tensors),
      };
    },
  };
}

/** Forward and backward from a given gradient of the result, to all floating-point inputs. */
function both(
  name: string,
  work: { flop?: number; bytes?: number },
  inputs: (device: Device) => Tensor[],
  fn: (...inputs: Tensor[]) => Tensor,
): OpBench {
  return {
    name: `${name}, forward + backward`,
    ...work,
    prepare(device) {
      const tensors = inputs(device);
      const leaves = tensors.filter((t) => t.dtype === 'float32').map((t) => t.requiresGrad_());
      const shape = scope(() => noGrad(() => fn(...tensors).shape));
      const gradient = randn(shape, { device });
      return {
        call() {
          scope(() => {
            fn(...tensors).backward({ gradient });
          });
          // Gradients outlive scopes.
          for (const t of leaves) {
            t.grad?.release();
            t.grad = null;
          }
        },
        release: () => releaseAll([...tensors, gradient]),
      };
    },
  };
}

function releaseAll(tensors: Tensor[]): void {
  for (const t of tensors) t.release();
}

const random =
  (...shapes: number[][]) =>
  (device: Device): Tensor[] =>
    shapes.map((shape) => randn(shape, { device }));

/** [m, k]·[k, n], operands as stored ('T': transposed in memory), forward or with both gradients. */
function products(scale: 'smoke' | 'full', large: boolean): OpBench[] {
  const benches: OpBench[] = [];
  const add = (m: number, k: number, n: number, stored = '', what = ''): void => {
    const text = `matmul ${m}×${k}${stored === 'Aᵀ' ? 'ᵀ' : ''}·${k}×${n}${stored === 'Bᵀ' ? 'ᵀ' : ''}${what && ` (${what})`}`;
    const shapes = [stored === 'Aᵀ' ? [k, m] : [m, k], stored === 'Bᵀ' ? [n, k] : [k, n]];
    benches.push(
      forward(text, { flop: 2 * m * k * n }, random(...shapes), (a, b) =>
        matmul(stored === 'Aᵀ' ? a.transpose(0, 1) : a, stored === 'Bᵀ' ? b.transpose(0, 1) : b),
      ),
    );
  };
  if (scale === 'smoke') {
    add(8, 16, 8);
    add(8, 16, 8, 'Bᵀ');
    return benches;
  }
  for (const n of [64, 128, 256, 512, 1024]) add(n, n, n);
  add(512, 512, 512, 'Aᵀ');
  add(512, 512, 512, 'Bᵀ');
  add(128, 64, 192, 'Bᵀ', 'tiny, q k v');
  add(128, 64, 256, 'Bᵀ', 'tiny, up');
  add(128, 256, 64, 'Bᵀ', 'tiny, down');
  add(64, 128, 192, 'Aᵀ', 'tiny, weight gradient');
  add(1728, 48, 384, 'Bᵀ', 'LSTM, inputs');
  add(36, 96, 384, 'Bᵀ', 'LSTM, one step');
  add(1728, 96, 60, 'Bᵀ', 'LSTM, head');
  add(256, 128, 512, 'Bᵀ', '1 M GPT, up');
  add(1, 768, 2304, 'Bᵀ', 'GPT-2, one token');
  if (large) {
    add(4096, 384, 1536, 'Bᵀ', '10 M GPT, up');
    add(1024, 768, 3072, 'Bᵀ', 'GPT-2, up');
    add(1024, 768, 50257, 'Bᵀ', 'GPT-2, head');
  }
  benches.push(
    both('matmul 256³', { flop: 6 * 256 ** 3 }, random([256, 256], [256, 256]), matmul),
    forward(
      'matmul [16, 4]×64×24·24×64 (scores)',
      { flop: 2 * 64 * 64 * 64 * 24 },
      random([16, 4, 64, 24], [16, 4, 64, 24]),
      (q, k) => matmul(q, k.transpose(-1, -2)),
    ),
  );
  return benches;
}

function attentions(shapes: number[][]): OpBench[] {
  return shapes.flatMap((shape) => {
    const [B, H, T, D] = shape;
    // Causal: half of the T × T products of q·kᵀ and of p·v; backward recomputes the one and needs four more.
    const flop = 2 * B * H * T * T * D;
    const fn = (q: Tensor, k: Tensor, v: Tensor) => scaledDotProductAttention(q, k, v, { isCausal: true });
    const name = `attention, causal [${shape.join(', ')}]`;
    return [
      forward(name, { flop }, random(shape, shape, shape), fn),
      both(name, { flop: 3.5 * flop }, random(shape, shape, shape), fn),
    ];
  });
}

/** All operations; 'smoke' has one tiny shape of each, `large` adds shapes that take seconds on software adapters. */
export function catalog(scale: 'smoke' | 'full', large = false): OpBench[] {
  const smoke = scale === 'smoke';
  const rows = smoke ? [[4, 8]] : [[128, 64], [1024, 384], ...(large ? [[8192, 768]] : [])];
  const benches = [
    ...products(scale, large),
    ...attentions(
      smoke
        ? [[1, 2, 8, 4]]
        : [[4, 4, 32, 16], [4, 4, 64, 32], [2, 4, 256, 64], ...(large ? [[1, 12, 1024, 64]] : [])],
    ),
  ];
  for (const [n, c] of rows) {
    const bytes = n * c * BYTES;
    const x = random([n, c]);
    const at = `[${n}, ${c}]`;
    const named = (name: string, fn: (x: Tensor) => Tensor, backwardBytes: number): void => {
      benches.push(forward(`${name} ${at}`, { bytes: 2 * bytes }, x, fn));
      // Forward reads x and writes y; backward reads what it needs and writes the gradient.
      benches.push(both(`${name} ${at}`, { bytes: 2 * bytes + backwardBytes }, x, fn));
    };
    named('softmax', (t) => softmax(t, -1), 3 * bytes);
    named('logSoftmax', (t) => logSoftmax(t, -1), 3 * bytes);
    named('gelu (tanh)', (t) => gelu(t, { approximate: 'tanh' }), 3 * bytes);
    named('dropout 0.1', (t) => dropout(t, 0.1), 2 * bytes);
    const affine = random([n, c], [c], [c]);
    const norm = (t: Tensor, weight: Tensor, bias: Tensor) => layerNorm(t, [c], { weight, bias });
    benches.push(
      forward(`layerNorm ${at}`, { bytes: 2 * bytes }, affine, norm),
      both(`layerNorm ${at}`, { bytes: 5 * bytes }, affine, norm),
    );
    const scaled = random([n, c], [c]);
    const rms = (t: Tensor, weight: Tensor) => rmsNorm(t, [c], { weight });
    benches.push(
      forward(`rmsNorm ${at}`, { bytes: 2 * bytes }, scaled, rms),
      both(`rmsNorm ${at}`, { bytes: 5 * bytes }, scaled, rms),
      forward(`add ${at} + ${at}`, { bytes: 3 * bytes }, random([n, c], [n, c]), (a, b) => a.add(b)),
      forward(`add ${at} + [${c}]`, { bytes: 2 * bytes }, random([n, c], [c]), (a, b) => a.add(b)),
      forward(`sum of all ${at}`, { bytes }, x, (t) => t.sum()),
      forward(`sum over rows ${at}`, { bytes }, x, (t) => t.sum({ dim: 0 })),
      forward(`sum over columns ${at}`, { bytes }, x, (t) => t.sum({ dim: 1 })),
      forward(`max over columns ${at}`, { bytes }, x, (t) => t.amax({ dim: 1 })),
    );
  }
  for (const [n, v] of smoke ? [[4, 7]] : [[128, 65], [512, 2048], ...(large ? [[1024, 50257]] : [])]) {
    const inputs = (device: Device): Tensor[] => [randn([n, v], { device }), randint(0, v, [n], { device })];
    const name = `crossEntropy [${n}, ${v}]`;
    benches.push(
      forward(name, { bytes: n * v * BYTES }, inputs, (x, targets) => crossEntropy(x, targets)),
      both(name, { bytes: 3 * n * v * BYTES }, inputs, (x, targets) => crossEntropy(x, targets)),
    );
  }
  for (const [n, v, c] of smoke
    ? [[4, 7, 8]]
    : [[128, 65, 64], [1024, 2048, 256], ...(large ? [[1024, 50257, 768]] : [])]) {
    const inputs = (device: Device): Tensor[] => [randn([v, c], { device }), randint(0, v, [n], { device })];
    const name = `embedding ${n} of [${v}, ${c}]`;
    benches.push(
      forward(name, { bytes: 2 * n * c * BYTES }, inputs, (weight, ids) => embedding(weight, ids)),
      // The gradient has the table's size and is written as a whole.
      both(name, { bytes: (3 * n * c + v * c) * BYTES }, inputs, (weight, ids) => embedding(weight, ids)),
    );
  }
  const sets = smoke ? [[[8, 8], [8]]] : [Array.from({ length: 12 }, () => [[256, 256], [256]]).flat()];
  for (const shapes of sets) benches.push(adamW(shapes));
  return benches;
}

function adamW(shapes: number[][]): OpBench {
  const n = shapes.reduce((sum, shape) => sum + product(shape), 0);
  return {
    name: `AdamW, ${n} values in ${shapes.length} tensors`,
    // Reads x, gradient and two moments, writes all but the gradient.
    bytes: 7 * n * BYTES,
    prepare(device) {
      const parameters = shapes.map((shape) => randn(shape, { device }).requiresGrad_());
      const gradients = shapes.map((shape) => randn(shape, { device }));
      const optimizer = new optim.AdamW(parameters, { lr: 1e-6 });
      parameters.forEach((p, i) => {
        p.grad = gradients[i];
      });
      return {
        call: () => scope(() => optimizer.step()),
        release: () => releaseAll([...parameters, ...gradients]),
      };
    },
  };
}
