/** What the device can do at most, measured in the same run: bytes copied and multiply-adds per second. */
import type { Device, Kernel, Program, View } from '../src/device/types.js';
import { matmul, noGrad, randn, scope } from '../src/index.js';
import { secondsPerCall } from './measure.js';

export interface Ceilings {
  /** Bytes read and written per second by a copy of `copyBytes`, in GB/s. */
  readonly copyGBs: number;
  readonly copyBytes: number;
  /** Multiply-adds in registers, counted as two; null on the CPU device, which runs no kernels of ours. */
  readonly fmaGflops: number | null;
  /** Our matmul at the best of a few sizes. */
  readonly matmulGflops: number;
  /** The ceiling that shares refer to: the larger of the two. */
  readonly gflops: number;
}

const COPY: Kernel = {
  key: 'bench/copy',
  bindings: [
    { name: 'x', type: 'f32', access: 'read' },
    { name: 'y', type: 'f32', access: 'read_write' },
  ],
  params: [{ name: 'n', type: 'u32' }],
  workgroupSize: 64,
  // Four neighbours each, as vectorised kernels do.
  body: `let i = index * 4u;
if (i + 3u < p.n) {
  y[i] = x[i];
  y[i + 1u] = x[i + 1u];
  y[i + 2u] = x[i + 2u];
  y[i + 3u] = x[i + 3u];
}`,
};

const LOOPS = 128;
const CHAINS = 8;
const FMA: Kernel = {
  key: 'bench/fma',
  bindings: [{ name: 'y', type: 'f32', access: 'read_write' }],
  params: [{ name: 'factor', type: 'f32' }],
  workgroupSize: 64,
  // Independent chains hide the latency of each; the factor is unknown to the compiler.
  body: `${chains((i) => `var a${i} = vec4f(f32(index) + ${i}.0);`)}
let m = vec4f(p.factor);
for (var k = 0u; k < ${LOOPS}u; k++) {
  ${chains((i) => `a${i} = fma(a${i}, m, m);`)}
}
y[index] = dot(${Array.from({ length: CHAINS }, (_, i) => `a${i}`).join(' + ')}, vec4f(1.0));`,
};

function chains(line: (i: number) => string): string {
  return Array.from({ length: CHAINS }, (_, i) => line(i)).join('\n  ');
}

const FMA_GROUPS = 128;

function only(kernel: Kernel, workgroups: number, params: number[]): Program<null> {
  return {
    name: kernel.key,
    host() {
      throw new Error('this kernel has no host version: it only measures');
    },
    kernel: ({ inputs, outputs }) => [
      { kernel, buffers: [...inputs, ...outputs].map(({ buffer }) => buffer), params, workgroups },
    ],
  };
}

function vector(device: Device, n: number): View {
  return { buffer: device.allocate(n * 4, 'bench'), dtype: 'float32', shape: [n], strides: [1], offset: 0 };
}

/** Measures both; `copyBytes` should be far above the caches. */
export async function measureCeilings(device: Device, seconds: number, copyBytes: number): Promise<Ceilings> {
  const n = copyBytes / 4;
  const onGPU = device.info.kind === 'webgpu';
  const x = randn([n], { device });
  const clone = await secondsPerCall(device, 'clone', () => scope(() => void x.clone()), seconds);
  x.release();
  let copy = clone;
  let fmaGflops: number | null = null;
  if (onGPU) {
    const [a, b] = [vector(device, n), vector(device, n)];
    const program = only(COPY, Math.ceil(n / 256), [n]);
    const direct = await secondsPerCall(
      device,
      'copy',
      () => device.execute(program, [a], [b], null),
      seconds,
    );
    copy = Math.min(copy, direct);
    const y = vector(device, FMA_GROUPS * 64);
    const fma = only(FMA, FMA_GROUPS, [0.5]);
    const time = await secondsPerCall(device, 'fma', () => device.execute(fma, [], [y], null), seconds);
    fmaGflops = (FMA_GROUPS * 64 * LOOPS * CHAINS * 4 * 2) / time / 1e9;
    for (const view of [a, b, y]) device.free(view.buffer);
  }
  let matmulGflops = 0;
  for (const side of copyBytes >= 2 ** 24 ? [256, 512, 1024] : [64]) {
    const [a, b] = [randn([side, side], { device }), randn([side, side], { device })];
    const multiply = (): void => scope(() => noGrad(() => void matmul(a, b)));
    const time = await secondsPerCall(device, `matmul ${side}`, multiply, seconds);
    matmulGflops = Math.max(matmulGflops, (2 * side ** 3) / time / 1e9);
    a.release();
    b.release();
  }
  return {
    copyGBs: (2 * copyBytes) / copy / 1e9,
    copyBytes,
    fmaGflops,
    matmulGflops,
    gflops: Math.max(fmaGflops ?? 0, matmulGflops),
  };
}
