/**
 * `npm run bench -- tune --adapter NAME`: times every variant of the matrix product on classes of shapes, and writes the
 * table that `setMatmulTable` takes. Shapes of a class are those that models have; rules go from narrow to wide.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openWebGPU } from '../src/device/webgpu/device.js';
import { matmul, noGrad, randn, scope, setDefaultDevice } from '../src/index.js';
import {
  type MatmulRule,
  type MatmulVariant,
  matmulVariants,
  setMatmulTable,
  withMatmulVariant,
} from '../src/kernels/matmul-variants.js';
import type { Options } from './options.js';
import { digits, environment, median, table } from './report.js';

interface ShapeClass {
  /** Without the variant: what the rule is for. */
  readonly rule: Omit<MatmulRule, 'variant'>;
  /** [m, k, n], with the second operand stored as [n, k] where `transposed`. */
  readonly shapes: readonly (readonly [m: number, k: number, n: number])[];
}

const CLASSES: readonly ShapeClass[] = [
  {
    rule: { m: 1 },
    shapes: [
      [1, 768, 2304],
      [1, 96, 384],
    ],
  },
  {
    rule: { m: 4 },
    shapes: [
      [4, 768, 768],
      [4, 96, 384],
    ],
  },
  {
    rule: { results: 8192 },
    shapes: [
      [64, 64, 64],
      [64, 128, 64],
      [64, 1024, 128],
    ],
  },
  {
    rule: { results: 65_536 },
    shapes: [
      [128, 64, 192],
      [128, 256, 64],
      [256, 128, 256],
    ],
  },
  {
    rule: { results: 524_288 },
    shapes: [
      [512, 512, 512],
      [1728, 48, 384],
    ],
  },
  {
    rule: {},
    shapes: [
      [1024, 1024, 1024],
      [1024, 384, 1536],
    ],
  },
];

export async function benchTune(options: Options): Promise<void> {
  const device = await openWebGPU({ adapter: options.adapter });
  setDefaultDevice(device);
  const { target } = device;
  const rules: MatmulRule[] = [];
  const rows: string[][] = [];
  for (const { rule, shapes } of CLASSES) {
    const totals = new Map<MatmulVariant, number>();
    for (const [m, k, n] of shapes) {
      const [a, b] = [randn([m, k]), randn([n, k])];
      const variants = matmulVariants({ m, n, k, entries: 1, dtype: 'float32' }, target);
      const times = await interleaved(
        variants.map(
          (variant) => () =>
            withMatmulVariant(variant, () => scope(() => noGrad(() => void matmul(a, b.transpose(0, 1))))),
        ),
        () => device.synchronize(),
        options.seconds,
      );
      const best = Math.min(...times);
      variants.forEach((variant, i) => {
        // The loss against the best, so that no shape of a class weighs more than another.
        totals.set(variant, (totals.get(variant) ?? 0) + Math.log(times[i] / best));
        const rate = digits((2 * m * k * n) / times[i] / 1e9);
        rows.push([
          `${m}×${k}·${k}×${n}ᵀ`,
          variant,
          digits(times[i] * 1e6),
          rate,
          times[i] === best ? 'best' : '',
        ]);
      });
      a.release();
      b.release();
    }
    const everywhere = [...totals].sort((x, y) => x[1] - y[1]);
    rules.push({ ...rule, variant: everywhere[0][0] });
  }
  table(`Variants on ${device.info.name}`, ['', 'variant', 'µs', 'GFLOP/s', ''], rows);
  const result = { [target.kind]: rules };
  // A table that the kernels refuse is not worth keeping.
  setMatmulTable(result);
  setMatmulTable(null);
  const slug = device.info.name
    .toLowerCase()
    .replace(/\(.*?\)/g, '')
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '');
  const file =
    typeof options.json === 'string'
      ? options.json
      : fileURLToPath(new URL(`results/matmul-table-${slug}.json`, import.meta.url));
  mkdirSync(dirname(file), { recursive: true });
  const report = { kind: 'matmul-table', device: device.info.name, ...environment(), table: result };
  writeFileSync(file, `${JSON.stringify(report, null, 1)}\n`);
  console.log(`\nWritten to ${file}; setMatmulTable(table) uses it.`);
  await device.close();
}

/** Median seconds of each call, measured by turns. */
async function interleaved(
  calls: readonly (() => void)[],
  done: () => Promise<void>,
  seconds: number,
): Promise<number[]> {
  const counts: number[] = [];
  for (const call of calls) {
    call();
    await done();
    const start = performance.now();
    call();
    await done();
    const once = (performance.now() - start) / 1000;
    counts.push(Math.max(1, Math.min(64, Math.round(seconds / 10 / once))));
  }
  const times: number[][] = calls.map(() => []);
  for (let round = 0; round < 5; round++) {
    for (let i = 0; i < calls.length; i++) {
      const start = performance.now();
      for (let j = 0; j < counts[i]; j++) calls[i]();
      await done();
      times[i].push((performance.now() - start) / 1000 / counts[i]);
    }
  }
  return times.map(median);
}
