/**
 * The conformance suite as plain data: cases derived from the op table for a device. vitest, a browser page and a bare
 * script all run the same cases.
 */

import { grad } from '../src/autograd/engine.js';
import { gradcheck, gradgradcheck } from '../src/autograd/gradcheck.js';
import { enableGrad, noGrad } from '../src/autograd/mode.js';
import { registry, viewRegistry } from '../src/autograd/op.js';
import { permute, slice } from '../src/autograd/ops/views.js';
import { type DType, isFloat } from '../src/device/dtype.js';
import type { Device } from '../src/device/types.js';
import { cpuDevice } from '../src/tensor/default-device.js';
import { tensor } from '../src/tensor/factories.js';
import { scope } from '../src/tensor/lifetime.js';
import { manualSeed } from '../src/tensor/random.js';
import { formatShape } from '../src/tensor/shape.js';
import { Tensor } from '../src/tensor/tensor.js';
import { type Arg, type OpInfo, type Sample, type Tolerance, values } from './op-info/types.js';

export interface Case {
  /** What kind of check: 'forward', 'layout', 'gradient', 'frozen', 'error', 'gradcheck', 'gradgradcheck', 'golden', 'complete'. */
  readonly group: string;
  readonly op: string;
  readonly name: string;
  /** Why it cannot run here; a skipped case is counted, never passed. */
  readonly skip?: string;
  run(): Promise<void>;
}

/** Values computed by PyTorch for a sample, made by scripts/golden. */
export interface GoldenSample {
  /** Digest of the inputs and parameters that they were computed from. */
  readonly digest: string;
  readonly outputs: readonly {
    readonly shape: readonly number[];
    readonly data: readonly (number | string)[];
  }[];
  /** Gradients of Σ wₖ·outputₖ, null for inputs without. */
  readonly grads: readonly ((number | string)[] | null)[] | null;
}
export type Golden = Readonly<Record<string, readonly (GoldenSample | null)[]>>;

interface Value {
  readonly shape: readonly number[];
  readonly data: ArrayLike<number>;
}

const DEFAULTS: Record<string, Tolerance> = {
  float32: { absolute: 2e-6, relative: 2e-5 },
  float16: { absolute: 1e-3, relative: 4e-3 },
  float64: { absolute: 1e-12, relative: 1e-10 },
};

function toleranceOf(row: OpInfo, dtype: DType): Tolerance {
  if (!isFloat(dtype)) return { absolute: 0, relative: 0 };
  return row.tolerance?.[dtype as 'float32' | 'float16'] ?? DEFAULTS[dtype];
}

type Layout = 'plain' | 'transposed' | 'strided';

/** A tensor of an argument's values: contiguous, stored with its dims reversed, or as every second element of a larger one. */
function materialize(arg: Arg, device: Device, dtype: DType, layout: Layout = 'plain'): Tensor {
  const type = !arg.dtype || arg.dtype === 'float' ? dtype : arg.dtype;
  const make = (data: readonly number[], shape: readonly number[]): Tensor =>
    tensor(type === 'float64' ? Float64Array.from(data) : Array.from(data), { shape, dtype: type, device });
  const rank = arg.shape.length;
  if (layout === 'plain' || rank === 0 || arg.data.length === 0) return make(arg.data, arg.shape);
  return noGrad(() => {
    if (layout === 'transposed') {
      const order = arg.shape.map((_, d) => rank - 1 - d);
      const back = permuteData(arg, order);
      return permute(make(back.data, back.shape), order);
    }
    const wide: number[] = [77];
    for (const v of arg.data) wide.push(v, 77);
    const all = make(wide, [wide.length]);
    return view(slice(all, 0, 1, wide.length, 2), arg.shape);
  });
}

/** A strided 1-d tensor under another shape, as a view. */
function view(t: Tensor, shape: readonly number[]): Tensor {
  const step = t.strides[0];
  const strides = shape.map((_, d) => shape.slice(d + 1).reduce((n, s) => n * s, 1) * step);
  return new Tensor(t.storage.retain(), t.dtype, shape, strides, t.offset, 'view');
}

function permuteData(arg: Arg, order: readonly number[]): { shape: number[]; data: number[] } {
  const shape = order.map((d) => arg.shape[d]);
  const strides = arg.shape.map((_, d) => arg.shape.slice(d + 1).reduce((n, s) => n * s, 1));
  const data: number[] = [];
  const walk = (depth: number, at: number): void => {
    if (depth === order.length) data.push(arg.data[at]);
    else for (let i = 0; i < shape[depth]; i++) walk(depth + 1, at + i * strides[order[depth]]);
  };
  walk(0, 0);
  return { shape, data };
}

function outputsOf(result: Tensor | readonly Tensor[]): readonly Tensor[] {
  return result instanceof Tensor ? [result] : result;
}

function call(row: OpInfo, sample: Sample, inputs: readonly Tensor[]): readonly Tensor[] {
  manualSeed(20260101);
  return outputsOf(row.run(inputs, (sample.params ?? {}) as never));
}

async function read(outputs: readonly Tensor[]): Promise<Value[]> {
  const all: Value[] = [];
  for (const t of outputs) all.push({ shape: t.shape, data: await t.data() });
  for (const t of outputs) t.release();
  return all;
}

/** Runs a sample forward. */
function forward(
  row: OpInfo,
  sample: Sample,
  device: Device,
  dtype: DType,
  layout: Layout = 'plain',
): Promise<Value[]> {
  return read(
    scope(() =>
      noGrad(() =>
        call(
          row,
          sample,
          sample.inputs.map((a) => materialize(a, device, dtype, layout)),
        ).map((t) => t.alias()),
      ),
    ),
  );
}

/** The weights of Σ wₖ·outputₖ, by output number: multiples of 1/64, exact in float16. */
export function cotangent(k: number, shape: readonly number[]): Arg {
  return values(shape, 1000 + k, -1, 1);
}

/** Which inputs of a row have gradients. */
function gradInputs(row: OpInfo, sample: Sample): number[] {
  const floats = sample.inputs
    .map((_, i) => i)
    .filter((i) => !sample.inputs[i].dtype || sample.inputs[i].dtype === 'float');
  return row.gradInputs ? floats.filter((i) => row.gradInputs!.includes(i)) : floats;
}

/** Gradients of Σ wₖ·outputₖ with respect to the inputs in `wanted`; all others are frozen. */
function gradients(
  row: OpInfo,
  sample: Sample,
  device: Device,
  dtype: DType,
  wanted: readonly number[],
): Promise<Value[]> {
  return read(
    scope(() =>
      enableGrad(() => {
        const inputs = sample.inputs.map((a, i) =>
          materialize(a, device, dtype).requiresGrad_(wanted.includes(i)),
        );
        const outputs = call(row, sample, inputs).map((t, k) => [t, k] as const);
        const live = outputs.filter(([t]) => isFloat(t.dtype) && t.requiresGrad);
        if (live.length === 0) throw new Error('no output requires a gradient although inputs do');
        return grad(
          live.map(([t]) => t),
          wanted.map((i) => inputs[i]),
          {
            gradOutputs: live.map(([t, k]) => materialize(cotangent(k, t.shape), device, t.dtype)),
            allowUnused: true,
          },
        ).map(
          (g, n) =>
            g ??
            materialize(
              { shape: inputs[wanted[n]].shape, data: new Array(inputs[wanted[n]].numel).fill(0) },
              device,
              dtype,
            ),
        );
      }),
    ),
  );
}

/** @throws Error naming the first element that differs. NaN equals NaN, infinities only themselves. */
export function compare(
  what: string,
  actual: readonly Value[],
  expected: readonly Value[],
  tolerance: Tolerance,
): void {
  if (actual.length !== expected.length)
    throw new Error(`${what}: expected ${expected.length} outputs, got ${actual.length}`);
  actual.forEach((a, k) => {
    const e = expected[k];
    if (formatShape(a.shape) !== formatShape(e.shape)) {
      throw new Error(
        `${what}, output ${k}: expected shape ${formatShape(e.shape)}, got ${formatShape(a.shape)}`,
      );
    }
    for (let i = 0; i < e.data.length; i++) {
      const x = a.data[i];
      const y = e.data[i];
      if (Number.isNaN(x) && Number.isNaN(y)) continue;
      if (x === y) continue;
      if (
        !(Math.abs(x - y) <= tolerance.absolute + tolerance.relative * Math.abs(y)) ||
        !Number.isFinite(y)
      ) {
        throw new Error(
          `${what}, output ${k} of shape ${formatShape(e.shape)}, element ${i}: expected ${y}, got ${x}`,
        );
      }
    }
  });
}

/** Rounds oracle values beyond float16's range, as the device's stores do. */
function asStored(expected: readonly Value[], dtype: DType): readonly Value[] {
  if (dtype !== 'float16') return expected;
  return expected.map((e) => ({
    shape: e.shape,
    data: Array.from(e.data, (v) => (Math.abs(v) >= 65520 ? Math.sign(v) * Infinity : v)),
  }));
}

/** Subsets of `all` that are neither empty nor whole. */
function properSubsets(all: readonly number[]): number[][] {
  const subsets: number[][] = [];
  for (let bits = 1; bits < 2 ** all.length - 1; bits++) subsets.push(all.filter((_, i) => bits & (1 << i)));
  return subsets;
}

/** Oracle results, computed once per sample and shared by the cases. */
function memoize<T>(compute: () => Promise<T>): () => Promise<T> {
  let result: Promise<T> | null = null;
  return () => (result ??= compute());
}

/** Every check of a device: its results and gradients against the float64 oracle, in all layouts and dtypes, and its errors. */
export function conformanceCases(device: Device, rows: readonly OpInfo[]): Case[] {
  const cpu = cpuDevice();
  const cases: Case[] = [];
  for (const row of rows) {
    for (const sample of row.samples) {
      const oracle = memoize(() => forward(row, sample, cpu, 'float64'));
      const wanted = row.grad === false || sample.noGrad ? [] : gradInputs(row, sample);
      const exact = memoize(() => gradients(row, sample, cpu, 'float64', wanted));
      for (const dtype of ['float32', 'float16'] as const) {
        const tolerance = toleranceOf(row, dtype);
        cases.push({
          group: 'forward',
          op: row.name,
          name: `${sample.name}, ${dtype}`,
          run: async () =>
            compare(
              'forward',
              await forward(row, sample, device, dtype),
              asStored(await oracle(), dtype),
              tolerance,
            ),
        });
      }
      if (isIntegral(sample)) {
        for (const dtype of row.dtypes ?? []) {
          cases.push({
            group: 'forward',
            op: row.name,
            name: `${sample.name}, ${dtype}`,
            run: async () =>
              compare(
                'forward',
                await forward(row, sample, device, dtype),
                await forward(row, sample, cpu, dtype),
                toleranceOf(row, dtype),
              ),
          });
        }
      }
      for (const layout of ['transposed', 'strided'] as const) {
        if (
          sample.inputs.every(
            (a) => a.shape.length < (layout === 'transposed' ? 2 : 1) || a.data.length === 0,
          )
        )
          continue;
        cases.push({
          group: 'layout',
          op: row.name,
          name: `${sample.name}, ${layout} inputs`,
          run: async () =>
            compare(
              layout,
              await forward(row, sample, device, 'float32', layout),
              await oracle(),
              toleranceOf(row, 'float32'),
            ),
        });
      }
      if (wanted.length === 0) continue;
      cases.push({
        group: 'gradient',
        op: row.name,
        name: sample.name,
        run: async () =>
          compare(
            'gradient',
            await gradients(row, sample, device, 'float32', wanted),
            await exact(),
            toleranceOf(row, 'float32'),
          ),
      });
      for (const subset of properSubsets(wanted)) {
        cases.push({
          group: 'frozen',
          op: row.name,
          name: `${sample.name}, gradients of inputs ${subset} only`,
          run: async () => {
            const all = await exact();
            const expected = subset.map((i) => all[wanted.indexOf(i)]);
            compare(
              'gradient',
              await gradients(row, sample, device, 'float32', subset),
              expected,
              toleranceOf(row, 'float32'),
            );
          },
        });
      }
    }
    for (const e of row.errors ?? []) {
      cases.push({
        group: 'error',
        op: row.name,
        name: e.name,
        run: async () => expectError(() => e.run(device), e.error, e.message),
      });
    }
  }
  return cases;
}

function isIntegral(sample: Sample): boolean {
  return sample.inputs.every((a) => a.data.every((v) => Number.isInteger(v)));
}

async function expectError(
  run: () => unknown,
  type: new (message?: string) => Error,
  message: string,
): Promise<void> {
  try {
    await run();
  } catch (e) {
    if (!(e instanceof type) || e.message !== message)
      throw new Error(`expected ${type.name}: ${message}\n     got ${String(e)}`);
    return;
  }
  throw new Error(`expected ${type.name}: ${message}\n     got no error`);
}

/** Checks that need no device but the oracle's: finite differences, golden values, completeness of the table. */
export function oracleCases(rows: readonly OpInfo[], golden: Golden): Case[] {
  const cpu = cpuDevice();
  const cases: Case[] = [completeness(rows)];
  for (const row of rows) {
    row.samples.forEach((sample, n) => {
      const wanted = row.grad === false || sample.noGrad ? [] : gradInputs(row, sample);
      if (wanted.length > 0) {
        const fn = (...inputs: Tensor[]): readonly Tensor[] => call(row, sample, inputs);
        const inputs = (): Tensor[] =>
          sample.inputs.map((a, i) => materialize(a, cpu, 'float64').requiresGrad_(wanted.includes(i)));
        cases.push({
          group: 'gradcheck',
          op: row.name,
          name: sample.name,
          run: async () => void (await gradcheck(fn, inputs())),
        });
        if (row.gradgrad !== false) {
          cases.push({
            group: 'gradgradcheck',
            op: row.name,
            name: sample.name,
            run: async () =>
              void (await gradgradcheck(fn, inputs(), { maxElements: 48, atol: 2e-6, rtol: 2e-5 })),
          });
        }
      }
      if (row.torch && !sample.noGolden) cases.push(goldenCase(row, sample, n, wanted, golden));
    });
  }
  return cases;
}

/** Every registered operation has a row. */
function completeness(rows: readonly OpInfo[]): Case {
  return {
    group: 'complete',
    op: '*',
    name: 'every registered operation has a row',
    run: async () => {
      const covered = new Set(rows.flatMap((r) => r.covers));
      const missing = [...registry.keys(), ...viewRegistry.keys()].filter((name) => !covered.has(name));
      const unknown = [...covered].filter((name) => !registry.has(name) && !viewRegistry.has(name));
      if (missing.length > 0)
        throw new Error(`operations without a row in test/op-info.ts: ${missing.join(', ')}`);
      if (unknown.length > 0)
        throw new Error(`rows that cover operations that are not registered: ${unknown.join(', ')}`);
    },
  };
}

function goldenCase(row: OpInfo, sample: Sample, n: number, wanted: readonly number[], golden: Golden): Case {
  const cpu = cpuDevice();
  return {
    group: 'golden',
    op: row.name,
    name: sample.name,
    run: async () => {
      const g = golden[row.name]?.[n];
      if (!g || g.digest !== digest(row, sample))
        throw new Error('the golden value is missing or was made for other inputs; run npm run golden');
      const tolerance = { absolute: 1e-7, relative: 1e-6 };
      compare(
        'PyTorch',
        await forward(row, sample, cpu, 'float64'),
        g.outputs.map((o) => ({ shape: o.shape, data: o.data.map(Number) })),
        tolerance,
      );
      if (wanted.length === 0 || !g.grads) return;
      const expected = wanted.map((i) => ({
        shape: sample.inputs[i].shape,
        data: g.grads![i]?.map(Number) ?? new Array(sample.inputs[i].data.length).fill(0),
      }));
      compare(
        "PyTorch's gradient",
        await gradients(row, sample, cpu, 'float64', wanted),
        expected,
        tolerance,
      );
    },
  };
}

/** FNV-1a over all that a golden value depends on. */
export function digest(row: OpInfo, sample: Sample): string {
  const text = JSON.stringify([row.torch, sample.inputs, sample.params ?? {}], (_, v) =>
    typeof v === 'number' && !Number.isFinite(v) ? String(v) : v,
  );
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193) >>> 0;
  return h.toString(16);
}
