import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { openCPU } from '../../src/device/cpu/device.js';
import type { Program, View } from '../../src/device/types.js';
import { simdBinary, simdUnary } from '../../src/kernels/simd.js';
import { simdSum } from '../../src/kernels/simd-reduce.js';

const device = openCPU();

interface Random {
  readonly view: View;
  readonly values: Float32Array;
}

/** A view of a shape: its dims permuted in memory, some of them repeated (stride 0). */
function randomView(shape: number[], order: number[], repeated: boolean[]): Random {
  const strides = new Array<number>(shape.length).fill(0);
  let count = 1;
  for (const d of order) {
    if (repeated[d]) continue;
    strides[d] = count;
    count *= shape[d];
  }
  const values = Float32Array.from({ length: count + 2 }, (_, i) => Math.sin(i * 12.9898) * 4);
  const buffer = device.allocate(values.byteLength, 'test');
  device.write(buffer, values);
  return { view: { buffer, dtype: 'float32', shape, strides, offset: 2 }, values };
}

function at({ view, values }: Random, index: readonly number[]): number {
  return values[index.reduce((sum, i, d) => sum + i * view.strides[d], view.offset)];
}

function indices(shape: readonly number[]): number[][] {
  return shape.reduce<number[][]>(
    (list, size) => list.flatMap((index) => Array.from({ length: size }, (_, i) => [...index, i])),
    [[]],
  );
}

async function run<P>(
  simd: Program<P>['simd'],
  inputs: Random[],
  shape: number[],
  params: P,
): Promise<Float32Array> {
  const count = shape.reduce((a, b) => a * b, 1);
  const buffer = device.allocate(Math.max(count, 1) * 4, 'test');
  const strides = shape.map((_, d) => shape.slice(d + 1).reduce((a, b) => a * b, 1));
  const program: Program<P> = {
    name: 'test',
    host() {
      throw new Error('the WebAssembly path must take this');
    },
    kernel: () => [],
    simd,
  };
  const views = inputs.map(({ view }) => view);
  device.execute(program, views, [{ buffer, dtype: 'float32', shape, strides, offset: 0 }], params);
  const result = new Float32Array(await device.read(buffer, 0, count * 4));
  for (const { view } of inputs) device.free(view.buffer);
  device.free(buffer);
  return result;
}

/** A shape of up to 4 dims with two layouts for it. */
const layouts = fc.array(fc.integer({ min: 1, max: 6 }), { maxLength: 4 }).chain((shape) => {
  const dims = shape.map((_, d) => d);
  const order = fc.shuffledSubarray(dims, { minLength: dims.length });
  const repeated = fc.array(fc.boolean(), { minLength: dims.length, maxLength: dims.length });
  return fc.record({
    shape: fc.constant(shape),
    a: fc.tuple(order, repeated),
    b: fc.tuple(order, repeated),
  });
});

describe('SIMD over views', () => {
  test('two inputs of any layout', async () => {
    await fc.assert(
      fc.asyncProperty(layouts, async ({ shape, a, b }) => {
        const [x, y] = [randomView(shape, ...a), randomView(shape, ...b)];
        const expected = indices(shape).map((index) => Math.fround(at(x, index) - at(y, index)));
        expect([...(await run(simdBinary('sub'), [x, y], shape, null))]).toEqual(expected);
      }),
      { numRuns: 200 },
    );
  });

  test('one input of any layout', async () => {
    await fc.assert(
      fc.asyncProperty(layouts, async ({ shape, a }) => {
        const x = randomView(shape, ...a);
        const expected = indices(shape).map((index) => at(x, index));
        expect([...(await run(simdUnary('copy'), [x], shape, null))]).toEqual(expected);
      }),
      { numRuns: 200 },
    );
  });

  test('an input of fewer dims', async () => {
    const x = randomView([2, 3, 4], [2, 1, 0], [false, false, false]);
    const row = randomView([4], [0], [false]);
    const expected = indices([2, 3, 4]).map((index) => Math.fround(at(x, index) + at(row, index.slice(-1))));
    expect([...(await run(simdBinary('add'), [x, row], [2, 3, 4], null))]).toEqual(expected);
  });

  test.each([
    [[5, 7], [1], [5]],
    [[5, 7], [0], [7]],
    [[3, 4, 5], [2], [3, 4]],
    [[3, 4, 5], [1], [3, 5]],
    [[3, 4, 5], [0, 1], [5]],
    [[3, 4, 5], [0, 1, 2], []],
  ])('sums of %j along %j', async (shape, dims, outShape) => {
    const order = shape.map((_, d) => d).reverse();
    const x = randomView(shape, order, [false, false, false]);
    const sums = new Map<string, number>();
    for (const index of indices(shape)) {
      const key = index.filter((_, d) => !dims.includes(d)).join();
      sums.set(key, (sums.get(key) ?? 0) + at(x, index));
    }
    const expected = indices(outShape).map((index) => sums.get(index.join())! / 2);
    const got = await run(
      simdSum(
        () => dims,
        () => 0.5,
      ),
      [x],
      outShape,
      null,
    );
    got.forEach((value, i) => {
      expect(Math.abs(value - expected[i])).toBeLessThan(1e-5);
    });
    expect(got.length).toBe(expected.length);
  });
});
