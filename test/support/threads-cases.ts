/** A call of every export that threads cut, over arrays large enough for many parts. */

import type { CPUDevice } from '../../src/device/cpu/device.js';
import { openCPU } from '../../src/device/cpu/device.js';
import { SPLITS } from '../../src/device/cpu/threads-table.js';
import type { DeviceBuffer, SimdModule } from '../../src/device/types.js';

/** Numbers in [-1, 1), the same in every run. */
export function numbers(count: number, seed = 1): Float32Array {
  let state = seed;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

/** Runs a function of the module with the addresses of copies of arrays; what they hold afterwards, as bits, and what it returns. */
export async function runCase(device: CPUDevice, c: ThreadCase): Promise<Uint32Array[]> {
  const buffers: DeviceBuffer[] = c.arrays.map((data) => {
    const buffer = device.allocate(data.byteLength, 'test');
    device.write(buffer, data);
    return buffer;
  });
  const views = buffers.map((buffer) => {
    return { buffer, dtype: 'float32' as const, shape: [buffer.bytes / 4], strides: [1], offset: 0 };
  });
  let returned: unknown;
  device.execute(
    {
      name: 'test',
      host() {
        throw new Error('the WebAssembly path must take this');
      },
      kernel: () => [],
      simd(module, _, outputs) {
        returned = c.run(
          module,
          outputs.map(({ pointer }) => pointer),
        );
        return true;
      },
    },
    [],
    views,
    null,
  );
  const results = await Promise.all(
    buffers.map(async (buffer) => {
      const bits = new Uint32Array(await device.read(buffer, 0, buffer.bytes));
      device.free(buffer);
      return bits;
    }),
  );
  return [...results, new Uint32Array(Float64Array.of(Number(returned)).buffer)];
}

/** Where two results differ first, or null. */
export function difference(a: readonly Uint32Array[], b: readonly Uint32Array[]): string | null {
  for (let i = 0; i < a.length; i++) {
    const at = a[i].findIndex((bits, j) => bits !== b[i][j]);
    if (at >= 0) return `array ${i}, element ${at}: ${a[i][at]} and ${b[i][at]}`;
  }
  return null;
}

export interface ThreadCase {
  readonly name: string;
  readonly arrays: readonly (Float32Array | Int32Array)[];
  run(module: SimdModule, addresses: readonly number[]): unknown;
}

type Names = Record<string, (...args: number[]) => unknown>;

/** Exports whose signature is that of a family: y = f(x), y = f(a, b) over rows × columns. */
const UNARY = 'rows columns x xRow xCol y';
const BINARY = 'rows columns a aRow aCol b bRow bCol y';

/** Cases for an export of the table, [] for one that has none here. */
export function threadCases(name: string): ThreadCase[] {
  const { args } = SPLITS[name];
  const at = (module: SimdModule): ((...args: number[]) => unknown) => (module as unknown as Names)[name];
  const [rows, columns] = [67, 301];
  const n = rows * columns;
  const x = numbers(n);
  if (name === 'copyStrided') {
    return [
      {
        name,
        arrays: [x, new Float32Array(2 * n)],
        run: (module, [p, y]) => at(module)(rows, columns, p, columns, 1, y, 2 * columns, 2),
      },
    ];
  }
  if (args.startsWith(UNARY)) {
    const more = args
      .split(' ')
      .slice(6)
      .map((_, i) => 0.5 + i / 4);
    return [
      ['rows', rows, columns, columns, 1],
      ['columns', columns, rows, 1, columns],
      ['one row', 1, n, n, 1],
      ['two rows', 2, n >> 1, n >> 1, 1],
      ['a repeated element', rows, columns, 1, 0],
    ].map(([label, r, c, row, col]) => ({
      name: `${name}, ${label}`,
      arrays: [x, new Float32Array(n)],
      run: (module, [p, y]) => at(module)(+r, +c, p, +row, +col, y, ...more),
    }));
  }
  if (args.startsWith(BINARY)) {
    const more = args
      .split(' ')
      .slice(9)
      .map((_, i) => 0.5 + i / 4);
    return [
      ['rows', rows, columns, columns, 1, columns, 1],
      ['one row', 1, n, n, 1, n, 1],
      ['a row for all', rows, columns, columns, 1, 0, 1],
      ['transposed', columns, rows, 1, columns, rows, 1],
      ['three rows, one value each', 3, (n / 3) | 0, (n / 3) | 0, 1, 1, 0],
    ].map(([label, r, c, aRow, aCol, bRow, bCol]) => ({
      name: `${name}, ${label}`,
      arrays: [x, numbers(n, 2), new Float32Array(n)],
      run: (module, [a, b, y]) => at(module)(+r, +c, a, +aRow, +aCol, b, +bRow, +bCol, y, ...more),
    }));
  }
  const make = (arrays: ThreadCase['arrays'], run: ThreadCase['run'], label = ''): ThreadCase => {
    return { name: label ? `${name}, ${label}` : name, arrays, run };
  };
  const targets = Int32Array.from({ length: rows }, (_, i) => (i * 37) % columns);
  const zeros = (count: number): Float32Array => new Float32Array(count);
  const long = numbers(300_007);
  switch (name) {
    case 'matmul':
      return [
        [130, 150, 97],
        [3, 700, 301],
        [300, 1, 200],
        [1, 1, 5000],
        [5, 33, 1100],
        [64, 1030, 40],
      ].flatMap(([m, n, k]) =>
        [false, true].map((transposed) =>
          make(
            [numbers(m * k), numbers(k * n, 3), zeros(m * n)],
            (module, [a, b, c]) => {
              const scratch = module.threadScratch(module.matmulScratchBytes(m, n, k));
              const [aRow, aCol, bRow, bCol] = transposed ? [1, m, 1, k] : [k, 1, n, 1];
              module.matmul(m, n, k, a, aRow, aCol, b, bRow, bCol, c, n, scratch);
            },
            `${m} × ${k} × ${n}${transposed ? ', transposed' : ''}`,
          ),
        ),
      );
    case 'scale':
    case 'addScaled':
      return [make([x, numbers(n, 4)], (_, [p, y]) => at(_)(n, p, 0.3, y))];
    case 'sumPart':
      return [
        make([long, zeros(1)], (module, [p, y]) => module.sumRows(1, long.length, p, long.length, 1, y)),
        make([long, zeros(2)], (module, [p, y]) => module.sumRows(2, 150_003, p, 150_003, 1, y), 'two rows'),
      ];
    case 'sumSquares':
      return [make([long], (module, [p]) => module.sumSquares(long.length, p))];
    case 'softmax':
    case 'logSoftmax':
      return [make([x, zeros(n)], (_, [p, y]) => at(_)(rows, columns, p, y))];
    case 'softmaxBackward':
    case 'logSoftmaxBackward':
      return [make([x, numbers(n, 5), zeros(n)], (_, [y, g, dx]) => at(_)(rows, columns, y, g, dx))];
    case 'crossEntropy':
      return [0, 1].flatMap((weighted) => [
        make(
          [x, targets, numbers(columns, 6), zeros(rows), zeros(3 * rows)],
          (module, [p, t, w, losses, stats]) =>
            module.crossEntropy(rows, columns, p, t, weighted && w, 37, losses, stats),
          weighted ? 'with weights' : '',
        ),
      ]);
    case 'crossEntropyBackward':
      return [
        make([numbers(rows), x, targets, numbers(3 * rows, 7), zeros(n)], (module, [g, p, t, stats, dx]) =>
          module.crossEntropyBackward(rows, columns, g, 1, p, t, stats, 37, dx),
        ),
      ];
    case 'layerNorm':
      return [
        make([x, numbers(columns, 8), zeros(n), zeros(rows), zeros(rows)], (module, [p, w, y, mean, rstd]) =>
          module.layerNorm(rows, columns, p, w, 0, 1e-5, y, mean, rstd),
        ),
      ];
    case 'layerNormBackwardInput':
    case 'layerNormBackwardParameters':
      return [
        make(
          [
            x,
            numbers(columns, 8),
            numbers(rows, 9),
            numbers(rows, 10),
            numbers(n, 11),
            zeros(n),
            zeros(columns),
            zeros(columns),
          ],
          (module, [p, w, mean, rstd, g, dx, dw, db]) =>
            module.layerNormBackward(rows, columns, p, w, mean, rstd, g, dx, dw, db),
        ),
      ];
    case 'rmsNorm':
      return [
        make([x, numbers(columns, 8), zeros(n), zeros(rows)], (_, [p, w, y, rstd]) =>
          at(_)(rows, columns, p, w, 1e-5, y, rstd),
        ),
      ];
    case 'rmsNormBackward':
      return [
        make([x, numbers(columns, 8), numbers(rows, 9), numbers(n, 11), zeros(n)], (_, [p, w, rstd, g, dx]) =>
          at(_)(rows, columns, p, w, rstd, g, dx),
        ),
      ];
    case 'adamw':
    case 'adam':
      return [
        make([x, numbers(n, 12), zeros(n), numbers(n, 13).map(Math.abs)], (_, [p, g, m, v]) =>
          at(_)(n, p, g, m, v, 0.9, 0.95, 1e-8, name === 'adam' ? 0.1 : 0.99, 1e-3, 1.1),
        ),
      ];
    case 'sgd':
      return [make([x, numbers(n, 12)], (_, [p, g]) => at(_)(n, p, g, 0.1, 0.01))];
    case 'sgdMomentum':
      return [
        make([x, numbers(n, 12), numbers(n, 13)], (_, [p, g, b]) => at(_)(n, p, g, b, 0.1, 0.01, 0.9, 1, 1)),
      ];
    case 'dropout':
      return [
        make([x, zeros(n)], (module, [p, y]) => module.dropout(n, p, y, 1, 2, 0xfffffff0, 3, 2 ** 22, 4 / 3)),
      ];
    case 'uniform':
      return [
        make([zeros(n)], (module, [y]) => module.uniform(n, y, 1, 2, 0xfffffff0, 3, -1, 2, 8, 2 ** -24)),
      ];
    default:
      return [];
  }
}

/** A device whose threads take part in every call, however small; waits until all have started. */
export async function openThreads(threads: number): Promise<CPUDevice> {
  const device = openCPU({ threads });
  device.threads.worth = 0;
  const [warm] = threadCases('softmax');
  for (let wait = 0; device.threads.ready < device.info.limits.threads - 1 && wait < 1000; wait++) {
    await runCase(device, warm);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return device;
}
