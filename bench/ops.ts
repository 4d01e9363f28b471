/** Whole operations, forward and backward, timed by benny. */
import benny from 'benny';
import type { Device } from '../src/device/types.js';
import {
  crossEntropy,
  embedding,
  gelu,
  layerNorm,
  matmul,
  noGrad,
  randint,
  randn,
  scope,
  softmax,
  type Tensor,
} from '../src/index.js';

export interface Row {
  readonly name: string;
  /** Median time of one call, in ms. */
  readonly ms: number;
  /** Floating-point operations or bytes per call, for the rate. */
  readonly rate: string;
}

interface Bench {
  readonly name: string;
  run(): void;
  /** What a call does: operations for compute-bound, bytes for memory-bound ones. */
  readonly work: { readonly flop?: number; readonly bytes?: number };
}

function benches(device: Device): Bench[] {
  const make = (...shape: number[]): Tensor => randn(shape, { device });
  const a = make(512, 512);
  const b = make(512, 512);
  const x = make(1024, 384);
  const bias = make(384);
  const q = make(16, 4, 64, 24);
  const k = make(16, 4, 64, 24);
  const logits = make(1024, 81);
  const targets = randint(0, 81, [1024], { device });
  const table = make(81, 384);
  const big = 1024 * 384 * 4;
  const square = 2 * 512 ** 3;
  const inference = (name: string, work: Bench['work'], fn: () => Tensor): Bench => ({
    name,
    work,
    run: () => scope(() => noGrad(() => void fn())),
  });
  const training = (name: string, work: Bench['work'], inputs: Tensor[], fn: () => Tensor): Bench => ({
    name,
    work,
    run: () => {
      for (const t of inputs) t.requiresGrad = true;
      scope(() => fn().sum().backward());
      for (const t of inputs) {
        t.grad?.release();
        t.grad = null;
        t.requiresGrad = false;
      }
    },
  });
  return [
    inference('matmul [512, 512]²', { flop: square }, () => matmul(a, b)),
    inference('matmul, b transposed', { flop: square }, () => matmul(a, b.transpose(0, 1))),
    inference('matmul [16, 4, 64, 24] · kᵀ', { flop: 2 * 64 * 64 * 64 * 24 }, () =>
      matmul(q, k.transpose(-1, -2)),
    ),
    inference('add [1024, 384] + [384]', { bytes: 2 * big }, () => x.add(bias)),
    inference('gelu (tanh) [1024, 384]', { bytes: 2 * big }, () => gelu(x, { approximate: 'tanh' })),
    inference('sum over rows', { bytes: big }, () => x.sum({ dim: 0 })),
    inference('softmax [1024, 384]', { bytes: 2 * big }, () => softmax(x, -1)),
    inference('layerNorm [1024, 384]', { bytes: 2 * big }, () => layerNorm(x, [384])),
    inference('embedding [1024] of [81, 384]', { bytes: 2 * big }, () => embedding(table, targets)),
    inference('crossEntropy [1024, 81]', { bytes: 1024 * 81 * 4 }, () => crossEntropy(logits, targets)),
    training('matmul, forward + backward', { flop: 3 * square }, [a, b], () => matmul(a, b)),
    training('layerNorm, forward + backward', { bytes: 5 * big }, [x], () => layerNorm(x, [384])),
    training('gelu, forward + backward', { bytes: 5 * big }, [x], () => gelu(x, { approximate: 'tanh' })),
    training('embedding, forward + backward', { bytes: 4 * big }, [table], () => embedding(table, targets)),
    training('crossEntropy, forward + backward', { bytes: 3 * 1024 * 81 * 4 }, [logits], () =>
      crossEntropy(logits, targets),
    ),
  ];
}

/** Times every operation on a device; each call waits until the device is done. */
export async function benchOps(device: Device): Promise<Row[]> {
  const rows: Row[] = [];
  for (const bench of benches(device)) {
    bench.run();
    await device.synchronize();
    const summary = await benny.suite(
      bench.name,
      benny.add(
        bench.name,
        async () => {
          bench.run();
          await device.synchronize();
        },
        { minSamples: 15, maxTime: 0.6 },
      ),
    );
    const seconds = summary.results[0].details.median;
    const { flop, bytes } = bench.work;
    rows.push({
      name: bench.name,
      ms: seconds * 1000,
      rate: flop
        ? `${(flop / seconds / 1e9).toFixed(1)} GFLOP/s`
        : `${(bytes! / seconds / 1e9).toFixed(2)} GB/s`,
    });
  }
  return rows;
}
