/** Every variant of the matrix product: results where an adapter can run it, else at least that Dawn compiles it. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import '../../src/index.js';
import { linear } from '../../src/autograd/ops/linear.js';
import { matmul } from '../../src/autograd/ops/matmul.js';
import { transpose } from '../../src/autograd/ops/views.js';
import type { Device, Kernel, KernelTarget, Program, SubgroupMatrix } from '../../src/device/types.js';
import { openWebGPU, type WebGPUDevice } from '../../src/device/webgpu/device.js';
import { matmulKernel } from '../../src/kernels/matmul.js';
import { matrixShapes } from '../../src/kernels/matmul-subgroup-matrix.js';
import {
  type MatmulCase,
  type MatmulVariant,
  matmulVariants,
  setMatmulTable,
  withMatmulVariant,
} from '../../src/kernels/matmul-variants.js';
import { cpuDevice } from '../../src/tensor/default-device.js';
import { tensor } from '../../src/tensor/factories.js';
import type { Tensor } from '../../src/tensor/tensor.js';
import { values } from '../op-info/types.js';
import { difference } from '../support/each-device.js';
import { ADAPTER, problem } from '../support/webgpu.js';

/** What NVIDIA's adapters report for float16. */
const UNITS: SubgroupMatrix = {
  componentType: 'f16',
  resultComponentType: 'f32',
  M: 16,
  N: 16,
  K: 16,
};

const ALL: readonly MatmulVariant[] = [
  'registers-32x8',
  'registers-16x8',
  'registers-8x8',
  'registers-8x4',
  'registers-4x4',
  'registers-1x4',
  'tiles-128x128',
  'tiles-128x64',
  'tiles-64x64',
  'tiles-32x32',
  'rows',
];

const base: KernelTarget = { kind: 'gpu', f16: true, subgroups: true, maxStorageBuffers: 8 };
const withUnits: KernelTarget = { ...base, subgroupMatrix: [UNITS], subgroupSize: 32 };
const product: MatmulCase = { m: 64, n: 64, k: 64, entries: 1, dtype: 'float16' };

function make(
  shape: number[],
  seed: number,
  device: Device,
  dtype: 'float32' | 'float16' = 'float32',
): Tensor {
  const { data } = values(shape, seed, -1, 1);
  return tensor([...data], { shape, device, dtype });
}

/** Products of every kind of operand: as they lie, transposed, in batches, of odd sizes, with a tail of an op. */
const CASES: Readonly<Record<string, (device: Device, dtype?: 'float32' | 'float16') => Tensor>> = {
  'rows and columns': (d, t) => matmul(make([20, 36], 1, d, t), make([36, 24], 2, d, t)),
  'odd sizes': (d, t) => matmul(make([33, 21], 1, d, t), make([21, 35], 2, d, t)),
  'left side transposed': (d, t) => matmul(transpose(make([36, 20], 1, d, t), 0, 1), make([36, 24], 2, d, t)),
  'right side transposed': (d, t) =>
    matmul(make([20, 36], 1, d, t), transpose(make([24, 36], 2, d, t), 0, 1)),
  batches: (d, t) => matmul(make([2, 20, 12], 1, d, t), make([2, 12, 8], 2, d, t)),
  'four rows': (d, t) => matmul(make([4, 72], 1, d, t), make([72, 40], 2, d, t)),
  'one row': (d, t) => matmul(make([1, 72], 1, d, t), transpose(make([40, 72], 2, d, t), 0, 1)),
  'bias of four rows': (d, t) =>
    linear(make([3, 40], 1, d, t), make([20, 40], 2, d, t), make([20], 3, d, t), { activation: 'silu' }),
  'a longer k': (d, t) => matmul(make([17, 96], 1, d, t), make([96, 20], 2, d, t)),
  'bias and activation': (d, t) =>
    linear(make([20, 36], 1, d, t), make([24, 36], 2, d, t), make([24], 3, d, t), { activation: 'gelu' }),
  'bias and residual, odd sizes': (d, t) =>
    linear(make([19, 35], 1, d, t), make([23, 35], 2, d, t), make([23], 3, d, t), {
      residual: make([19, 23], 4, d, t),
    }),
  'neither bias nor residual': (d, t) => linear(make([20, 36], 1, d, t), make([24, 36], 2, d, t)),
  'a bias alone': (d, t) => linear(make([20, 36], 1, d, t), make([24, 36], 2, d, t), make([24], 3, d, t)),
  'a residual alone': (d, t) =>
    linear(make([20, 36], 1, d, t), make([24, 36], 2, d, t), null, { residual: make([20, 24], 4, d, t) }),
  'gradients of weight and bias': (d, t) => {
    const [x, w] = [make([40, 20], 1, d, t), make([24, 20], 2, d, t)];
    const b = make([24], 3, d, t).requiresGrad_();
    w.requiresGrad_();
    linear(x, w, b).sum().backward();
    return matmul(w.grad!, make([20, 3], 4, d, t)).add(b.grad!.reshape([24, 1]));
  },
};

/**
 * The kernel with every invocation as a subgroup of its own: what no adapter in software has is written out. Loads give
 * places in the tiles, and results lie in a private array.
 */
function withoutUnits(kernel: Kernel, M: number, N: number, K: number): Kernel {
  const across = 32 / N;
  const functions = `
var<private> units: array<f32, ${32 * 32}>;
fn multiply(l: vec2u, r: vec2u, c: u32) -> u32 {
  for (var i = 0u; i < ${M}u; i++) {
    for (var j = 0u; j < ${N}u; j++) {
      var sum = units[c + i * ${N}u + j];
      for (var k = 0u; k < ${K}u; k++) { sum += a_tile[l.x + i * l.y + k] * b_tile[r.x + k * r.y + j]; }
      units[c + i * ${N}u + j] = sum;
    }
  }
  return c;
}
fn put(at: u32, c: u32, step: u32) {
  for (var i = 0u; i < ${M}u; i++) {
    for (var j = 0u; j < ${N}u; j++) { c_tile[at + i * step + j] = units[c + i * ${N}u + j]; }
  }
}`;
  const body = kernel.body
    .replace('local / subgroup_size', 'local')
    .replace(/@diagnostic\(.*?\) /, '')
    .replace(/subgroupMatrixLoad<.*?>>\(&[ab]_tile, (.*?), false, (\d+u)\)/g, 'vec2u($1, $2)')
    .replaceAll('subgroupMatrixMultiplyAccumulate', 'multiply')
    .replace(
      /var c(\d)_(\d): subgroup_matrix_result<.*?>;/g,
      (_, i, j) => `var c${i}_${j} = ${(Number(i) * across + Number(j)) * M * N}u;`,
    )
    .replace(/subgroupMatrixStore\(&c_tile, (.*?), (c\d_\d), false, (\d+u)\)/g, 'put($1, $2, $3)');
  return {
    ...kernel,
    key: `${kernel.key}:emulated`,
    enables: undefined,
    declarations: `${kernel.declarations}${functions}`,
    body,
  };
}

/** Cases that are also computed with k in two parts. */
const SPLIT = new Set(['a longer k', 'bias and activation', 'gradients of weight and bias']);

/** Variants of one text run all cases once, and the others these: kernels with barriers take SwiftShader seconds to compile. */
const FEW: Partial<Record<MatmulVariant, readonly string[]>> = {
  'registers-8x8': ['left side transposed', 'bias and residual, odd sizes', 'a residual alone'],
  'registers-8x4': ['right side transposed', 'batches'],
  'registers-4x4': ['odd sizes', 'left side transposed'],
  'registers-1x4': ['one row', 'left side transposed'],
  'tiles-128x128': ['rows and columns'],
  'tiles-128x64': ['odd sizes'],
  'tiles-64x64': ['right side transposed'],
  rows: ['four rows', 'one row', 'bias of four rows'],
};

describe('which variants can run a case', () => {
  it('rows for up to four of them, matrix units where the adapter has them', () => {
    expect(matmulVariants({ ...product, m: 5 }, base)).not.toContain('rows');
    expect(matmulVariants({ ...product, m: 4 }, base)).toContain('rows');
    expect(matmulVariants({ ...product, m: 4, sums: true }, base)).not.toContain('rows');
    expect(matmulVariants(product, base)).not.toContain('matrix-64x64');
    expect(matmulVariants(product, withUnits)).toContain('matrix-64x64');
    expect(matmulVariants({ ...product, dtype: 'float32' }, withUnits)).not.toContain('matrix-64x64');
  });

  it('takes the largest shape of units that divides the tile and adds up in float32', () => {
    const shapes = [
      { ...UNITS, M: 8, N: 8, K: 8 },
      UNITS,
      { ...UNITS, resultComponentType: 'f16', M: 32, N: 32 },
      { ...UNITS, M: 24 },
      { ...UNITS, componentType: 'i8' },
    ];
    expect(matrixShapes({ ...withUnits, subgroupMatrix: shapes })).toEqual([
      { ...UNITS, dtype: 'float16' },
      { ...UNITS, M: 8, N: 8, K: 8, dtype: 'float16' },
    ]);
    expect(matrixShapes({ ...withUnits, subgroupSize: undefined })).toEqual([]);
  });
});

describe.skipIf(problem !== null)(
  `every variant gives the host's results${problem ? ` (skipped: ${problem})` : ''}`,
  () => {
    let device: WebGPUDevice;
    beforeAll(async () => {
      device = await openWebGPU({ adapter: ADAPTER });
    });
    afterAll(() => device?.close());

    for (const variant of ALL) {
      for (const [name, run] of Object.entries(CASES)) {
        if (FEW[variant] && !FEW[variant].includes(name)) continue;
        for (const parts of SPLIT.has(name) && variant !== 'rows' ? [1, 2] : [1]) {
          it(`${variant}: ${name}${parts > 1 ? ', k in two parts' : ''}`, async () => {
            const expected = await run(cpuDevice()).data();
            const got = await withMatmulVariant(variant, () => run(device), parts).data();
            expect(difference(got, expected)).toBeLessThan(2e-5);
          });
        }
      }
    }

    it.each([
      [16, 16, 32, 'single'],
      [32, 32, 32, 'k'],
      [16, 32, 16, 'side'],
    ] as const)(
      'matrix units of %i × %i × %i, written out in WGSL; operands read by %s',
      async (M, N, K, reading) => {
        const unit = { componentType: 'f32', resultComponentType: 'f32', M, N, K };
        const target = { ...base, subgroupMatrix: [unit], subgroupSize: 1 };
        const [m, n, k] = reading === 'single' ? [70, 66, 35] : [68, 72, 36];
        const left = (d: Device) =>
          reading === 'side' ? transpose(make([k, m], 1, d), 0, 1) : make([m, k], 1, d);
        const right = (d: Device) =>
          reading === 'k' ? transpose(make([n, k], 2, d), 0, 1) : make([k, n], 2, d);
        const y = tensor(new Float32Array(m * n), { shape: [m, n], device });
        const program: Program<null> = {
          name: 'emulated',
          host: () => {},
          kernel: (call) =>
            withMatmulVariant('matrix-64x64', () => matmulKernel({ ...call, target }), 1).map((d) => ({
              ...d,
              kernel: withoutUnits(d.kernel, M, N, K),
            })),
        };
        device.execute(program, [left(device), right(device)], [y], null);
        const expected = await matmul(left(cpuDevice()), right(cpuDevice())).data();
        expect(difference(await y.data(), expected)).toBeLessThan(2e-5);
      },
      // Four invocations do the work of 128, and compiling takes as long.
      240_000,
    );

    it('adapters in software compile one kernel for linear layers with and without bias and residual', async () => {
      const tails = [
        'bias and residual, odd sizes',
        'neither bias nor residual',
        'a bias alone',
        'a residual alone',
      ];
      await CASES[tails[0]](device).data();
      const before = device.stats().pipelines;
      for (const name of tails) await CASES[name](device).data();
      expect(device.target.kind).toBe('software');
      expect(device.stats().pipelines).toBe(before);
    });

    it('the table can be replaced', () => {
      const a = make([8, 8], 1, device);
      const chosen = (): string =>
        matmulKernel({
          inputs: [a, a],
          outputs: [a],
          params: null,
          target: device.target,
          scratch: () => expect.fail('no scratch is needed'),
        })[0].kernel.key;
      expect(chosen()).toMatch(/^matmul:registers-/);
      setMatmulTable({ software: [{ m: 4, variant: 'rows' }, { variant: 'tiles-32x32' }] });
      try {
        expect(chosen()).toMatch(/^matmul:tiles-32x32/);
      } finally {
        setMatmulTable(null);
      }
      expect(chosen()).toMatch(/^matmul:registers-/);
    });
  },
);

describe("on Dawn's null backend, which compiles and computes nothing", () => {
  let device: WebGPUDevice;
  beforeAll(async () => {
    device = await openWebGPU({ adapter: 'null' });
    Object.assign(device, { target: withUnits });
  });
  afterAll(() => device?.close());

  for (const variant of [...ALL, 'matrix-64x64'] as const) {
    for (const dtype of ['float32', 'float16'] as const) {
      it(`${variant} of ${dtype} compiles`, async () => {
        for (const run of Object.values(CASES)) {
          for (const parts of [1, 2]) withMatmulVariant(variant, () => run(device, dtype), parts);
        }
        await device.synchronize();
      });
    }
  }
});
