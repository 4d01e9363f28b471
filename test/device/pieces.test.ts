/** Buffers larger than one binding: the text of their shaders, and the same numbers as in one binding. */
import { describe, expect, test } from 'vitest';
import { piecesOf } from '../../src/device/pieces.js';
import { openWebGPU } from '../../src/device/webgpu/device.js';
import { inPieces, pieceFunctions } from '../../src/device/webgpu/pieces.js';
import { partsOf } from '../../src/kernels/parts.js';
import { conformanceCases } from '../conformance.js';
import { opInfo } from '../op-info.js';
import { trainingLosses } from '../support/training-losses.js';
import { ADAPTER, add, problem, view } from '../support/webgpu.js';

describe('the text of a shader whose bindings are in pieces', () => {
  test('reads and writes become calls', () => {
    expect(inPieces('y[i] = x[i + 1u] * 2.0;', ['x', 'y'])).toBe('y_set(u32(i), x_get(u32(i + 1u)) * 2.0);');
    expect(inPieces('y[ids[i]] += f(x[i], a[i]);', ['x', 'y', 'ids'])).toBe(
      'y_set(u32(ids_get(u32(i))), y_get(u32(ids_get(u32(i)))) + (f(x_get(u32(i)), a[i])));',
    );
    expect(inPieces('let v = x[i].xy; if (x[j] == 1.0) { y[j][k] = v.x; }', ['x', 'y'])).toBe(
      'let v = x_get(u32(i)).xy; if (x_get(u32(j)) == 1.0) { y_set_component(u32(j), u32(k), v.x); }',
    );
  });

  test('names that only look alike stay', () => {
    const code = 'p.x[i] + xs[i] + max[i]';
    expect(inPieces(code, ['x', 'y'])).toBe(code);
  });

  test('what pieces do not know is refused with its line', () => {
    expect(() => inPieces('let q = &x[0];', ['x'])).toThrow(
      'expected x to be used by element only, got: let q = &x[0];',
    );
    expect(() => inPieces('f();\nx[i].y = 1.0;', ['x'])).toThrow(
      'expected elements of x to be written whole, got: x[i].y = 1.0;',
    );
    const found = { name: 'found', type: 'atomic<u32>', access: 'read_write' } as const;
    expect(() => pieceFunctions(found, 2, 256)).toThrow('expected found to fit one binding');
  });

  test('elements are found by shifts of their size', () => {
    expect(pieceFunctions({ name: 'x', type: 'vec4<f32>', access: 'read' }, 2, 2 ** 27)).toBe(
      `fn x_get(i: u32) -> vec4<f32> {
switch (i >> 23u) {
case 0u: { return x_piece0[i & 8388607u]; }
default: { return x_piece1[i & 8388607u]; }
}
}`,
    );
  });
});

describe('lists of tensors', () => {
  const device = null as never;
  const buffer = (bytes: number) => ({ device, bytes });
  const target = {
    kind: 'gpu',
    f16: false,
    subgroups: false,
    maxStorageBuffers: 8,
    bindingLimit: 1000,
  } as const;

  test('a buffer beyond the limit takes as many bindings as it has pieces', () => {
    expect([1, 1000, 1001, 1024, 1025].map((bytes) => piecesOf(bytes, 1000))).toEqual([1, 1, 2, 2, 3]);
  });

  test('parts hold no more than one dispatch binds', () => {
    const items = [100, 100, 2000, 100, 100, 9000, 100].map((bytes) => [buffer(bytes), buffer(100)]);
    // 2000 bytes are four pieces of 512, 9000 are eighteen.
    expect(partsOf(items, target, { fixed: [buffer(8)], most: 9 })).toEqual([
      [0, 2],
      [2, 4],
      [4, 5],
      [5, 6],
      [6, 7],
    ]);
    expect(partsOf(items.slice(0, 2), target, { fixed: [], most: 1 })).toEqual([
      [0, 1],
      [1, 2],
    ]);
    // Two parts of three, not of four and two: one kernel does both.
    expect(
      partsOf(items.slice(0, 1).concat(Array(5).fill(items[0])), target, { fixed: [], most: 9 }),
    ).toEqual([
      [0, 3],
      [3, 6],
    ]);
    expect(partsOf([], target, { fixed: [], most: 1 })).toEqual([]);
  });
});

describe.skipIf(problem !== null)(`on ${ADAPTER}${problem ? ` (skipped: ${problem})` : ''}`, () => {
  test('ten training steps give the same bits', async () => {
    const losses: number[][] = [];
    for (const bindingLimit of [undefined, 65_536]) {
      const device = await openWebGPU({ adapter: ADAPTER, bindingLimit });
      losses.push(await trainingLosses(device));
      await device.close();
    }
    expect(losses[1]).toEqual(losses[0]);
    expect(losses[0][9]).toBeLessThan(losses[0][0]);
  });

  test('every operation of large models passes its checks with pieces of 1 KiB', async () => {
    const device = await openWebGPU({ adapter: ADAPTER, bindingLimit: 1024 });
    const names = [
      'embedding',
      'linear',
      'matmul',
      'crossEntropy',
      'softmax',
      'recurrent lstm',
      'cat',
      'sum',
    ];
    const cases = conformanceCases(device, opInfo).filter(
      ({ op, group, skip }) => names.includes(op) && !skip && ['forward', 'gradient'].includes(group),
    );
    let tooMany = 0;
    for (const { op, name, run } of cases) {
      try {
        await run();
      } catch (error) {
        if (!/expected at most \d+ bindings/.test((error as Error).message)) {
          throw new Error(`${op}, ${name}`, { cause: error });
        }
        tooMany++;
      }
    }
    expect(new Set(cases.map(({ op }) => op))).toEqual(new Set(names));
    expect(tooMany).toBeLessThan(cases.length / 4);
    await device.close();
  });

  test('more pieces than bindings is an error that says so', async () => {
    const device = await openWebGPU({ adapter: ADAPTER, bindingLimit: 256 });
    const n = 64 * device.info.limits.maxStorageBuffersPerShaderStage;
    const [a, b, z] = [0, 1, 2].map(() => device.allocate(4 * n, 'test'));
    const bindings = 3 * device.info.limits.maxStorageBuffersPerShaderStage;
    expect(() => device.execute(add, [view(a, [n]), view(b, [n])], [view(z, [n])], undefined)).toThrow(
      new RegExp(
        `add \\[.*\\]: expected at most \\d+ bindings, got ${bindings}; buffers beyond 256 bytes take several`,
      ),
    );
    await device.close();
  });
});
