/** What the tests of the WebGPU device share: the adapter to run on, and tiny programs. */
import type { Dispatch, Kernel, KernelCall, Program, View } from '../../src/device/types.js';
import { swiftShaderProblem } from '../../src/device/webgpu/swiftshader.js';

/** The adapter that the tests run on; another one by the environment. */
export const ADAPTER = process.env.DAWNGRAD_TEST_ADAPTER ?? 'swiftshader';

/** Why these tests cannot run here, or null. */
export const problem = ADAPTER === 'swiftshader' ? swiftShaderProblem() : null;

/** A contiguous view of a buffer. */
export function view(
  buffer: View['buffer'],
  shape: number[],
  dtype: View['dtype'] = 'float32',
  offset = 0,
): View {
  const strides = shape.map((_, i) => shape.slice(i + 1).reduce((a, b) => a * b, 1));
  return { buffer, dtype, shape, strides, offset };
}

/** A program that exists only as WGSL. */
export function program<P>(name: string, kernel: (call: KernelCall<P>) => readonly Dispatch[]): Program<P> {
  return { name, kernel, host: () => {} };
}

const read = (name: string) => ({ name, type: 'f32', access: 'read' }) as const;
const written = (name: string) => ({ name, type: 'f32', access: 'read_write' }) as const;
const u32 = (name: string) => ({ name, type: 'u32' }) as const;

function count({ shape }: View): number {
  return shape.reduce((a, b) => a * b, 1);
}

/** z = a + b, contiguous. */
export const add = program<void>('add', ({ inputs: [a, b], outputs: [z] }) => {
  const kernel: Kernel = {
    key: 'test/add',
    bindings: [read('a'), read('b'), written('z')],
    params: [u32('n')],
    workgroupSize: 64,
    body: 'if (index < p.n) { z[index] = a[index] + b[index]; }',
  };
  const n = count(z);
  return [{ kernel, buffers: [a.buffer, b.buffer, z.buffer], params: [n], workgroups: Math.ceil(n / 64) }];
});

/** x = x · factor + shift, in place. */
export const affine = program<{ factor: number; shift: number }>('affine', ({ outputs: [x], params }) => {
  const kernel: Kernel = {
    key: 'test/affine',
    bindings: [written('x')],
    params: [
      u32('n'),
      { name: 'factor', type: 'f32' },
      { name: 'shift', type: 'f32' },
      { name: 'offset', type: 'u32' },
    ],
    workgroupSize: 64,
    body: 'if (index < p.n) { let i = p.offset + index; x[i] = x[i] * p.factor + p.shift; }',
  };
  const n = count(x);
  const { factor, shift } = params;
  return [
    { kernel, buffers: [x.buffer], params: [n, factor, shift, x.offset], workgroups: Math.ceil(n / 64) },
  ];
});

/** y = x for a strided x of two dims. */
export const copy2d = program<void>('copy2d', ({ inputs: [x], outputs: [y] }) => {
  const kernel: Kernel = {
    key: 'test/copy2d',
    bindings: [read('x'), written('y')],
    params: ['n', 'cols', 'stride_0', 'stride_1', 'offset'].map(u32),
    workgroupSize: 64,
    body: `if (index < p.n) {
  y[index] = x[p.offset + (index / p.cols) * p.stride_0 + (index % p.cols) * p.stride_1];
}`,
  };
  const n = count(y);
  const params = [n, x.shape[1], x.strides[0], x.strides[1], x.offset];
  return [{ kernel, buffers: [x.buffer, y.buffer], params, workgroups: Math.ceil(n / 64) }];
});

/** y[0] = Σ x: partial sums of 64 into scratch, then their sum. */
export const sum = program<void>('sum', ({ inputs: [x], outputs: [y], scratch }) => {
  const kernel: Kernel = {
    key: 'test/sum',
    bindings: [read('x'), written('y')],
    params: [u32('n')],
    workgroupSize: 64,
    declarations: 'var<workgroup> part: array<f32, 64>;',
    body: `part[local] = 0.0;
if (index < p.n) { part[local] = x[index]; }
for (var half = 32u; half > 0u; half >>= 1u) {
  workgroupBarrier();
  if (local < half) { part[local] += part[local + half]; }
}
if (local == 0u) { y[group] = part[0]; }`,
  };
  const dispatches: Dispatch[] = [];
  let [from, n] = [x.buffer, count(x)];
  while (n > 1) {
    const groups = Math.ceil(n / 64);
    const to = groups === 1 ? y.buffer : scratch(groups * 4);
    dispatches.push({ kernel, buffers: [from, to], params: [n], workgroups: groups });
    [from, n] = [to, groups];
  }
  return dispatches;
});

/** y[group] = group, one workgroup of one invocation per element and no guard: more of them than a dimension holds. */
export const ramp = program<void>('ramp', ({ outputs: [y] }) => {
  const kernel: Kernel = {
    key: 'test/ramp',
    bindings: [written('y')],
    params: [{ name: 'first', type: 'i32' }],
    workgroupSize: 1,
    body: 'y[index] = f32(i32(group) + p.first);',
  };
  return [{ kernel, buffers: [y.buffer], params: [-1], workgroups: count(y) }];
});

/** y[i] = the i-th of `n` parameters: more than immediates hold. */
export const list = program<number[]>('list', ({ outputs: [y], params }) => {
  const names = params.map((_, i) => `v${i}`);
  const kernel: Kernel = {
    key: `test/list/${params.length}`,
    bindings: [written('y')],
    params: names.map((name) => ({ name, type: 'f32' })),
    workgroupSize: 1,
    body: names.map((name, i) => `y[${i}] = p.${name};`).join('\n'),
  };
  return [{ kernel, buffers: [y.buffer], params, workgroups: 1 }];
});
