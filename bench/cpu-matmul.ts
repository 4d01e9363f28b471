/** GFLOP/s of the CPU device's matmul, one thread. Run with `npx tsx bench/cpu-matmul.ts`. */
import { openCPU } from '../src/device/cpu/device.js';
import type { Program, View } from '../src/device/types.js';

/** [M, K, N], and which of the two are transposed views. */
const cases: [m: number, k: number, n: number, transposed?: 'A' | 'B'][] = [
  [64, 64, 64],
  [128, 128, 128],
  [256, 256, 256],
  [512, 512, 512],
  [1024, 1024, 1024],
  [512, 512, 512, 'A'],
  [512, 512, 512, 'B'],
  [1024, 64, 192],
  [1024, 192, 64, 'B'],
  [64, 1024, 192, 'A'],
  [256, 64, 64],
  [64, 16, 64, 'B'],
  [8, 512, 512],
  [1, 512, 512],
  [1, 512, 512, 'B'],
  [1, 64, 192],
  [512, 512, 1],
  [512, 512, 1, 'A'],
];

const program: Program<null> = {
  name: 'matmul',
  host() {
    throw new Error('this benchmark measures the WebAssembly path');
  },
  kernel: () => [],
  simd(module, [a, b], [c]) {
    const [m, k] = a.shape;
    const n = b.shape[1];
    const scratch = module.scratch(module.matmulScratchBytes(m, n, k));
    module.matmul(
      m,
      n,
      k,
      a.pointer,
      a.strides[0],
      a.strides[1],
      b.pointer,
      b.strides[0],
      b.strides[1],
      c.pointer,
      n,
      scratch,
    );
    return true;
  },
};

const device = openCPU();

function matrix(rows: number, columns: number, transposed: boolean): View {
  const buffer = device.allocate(rows * columns * 4, 'bench');
  device.write(
    buffer,
    Float32Array.from({ length: rows * columns }, () => Math.random() - 0.5),
  );
  const strides = transposed ? [1, rows] : [columns, 1];
  return { buffer, dtype: 'float32', shape: [rows, columns], strides, offset: 0 };
}

const runs = cases.map(([m, k, n, transposed]) => {
  const inputs = [matrix(m, k, transposed === 'A'), matrix(k, n, transposed === 'B')];
  const outputs = [matrix(m, n, false)];
  return { m, k, n, transposed, inputs, outputs, flops: 2 * m * k * n, best: 0 };
});

// Interleaved rounds, best of all: other processes may take the core at any time.
const ROUNDS = 30;
for (let round = 0; round < ROUNDS; round++) {
  for (const run of runs) {
    const repeats = Math.max(1, Math.ceil(2e8 / run.flops / 4));
    const start = performance.now();
    for (let i = 0; i < repeats; i++) device.execute(program, run.inputs, run.outputs, null);
    const gflops = (run.flops * repeats) / (performance.now() - start) / 1e6;
    run.best = Math.max(run.best, gflops);
  }
}

for (const { m, k, n, transposed, best } of runs) {
  const shape = `(${m}×${k}${transposed === 'A' ? ' ᵀ' : ''})·(${k}×${n}${transposed === 'B' ? ' ᵀ' : ''})`;
  console.log(`${shape.padEnd(26)} ${best.toFixed(1).padStart(6)} GFLOP/s`);
}
await device.close();
