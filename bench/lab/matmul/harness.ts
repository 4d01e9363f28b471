/** Runs numbered kernel versions against a host product, and times them in turn. */
import type { Dispatch, KernelCall, Program, View } from '../../../src/device/types.js';
import type { WebGPUDevice } from '../../../src/device/webgpu/device.js';

/** A product C[m, n] = A[m, k] · B[k, n] of contiguous matrices, or of their transposes as they lie in memory. */
export interface Case {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** A is stored as [k, m]. */
  readonly aT?: boolean;
  /** B is stored as [n, k]: a linear layer's weight. */
  readonly bT?: boolean;
}

export interface Version {
  readonly name: string;
  /** Why it should be faster than the one before. */
  readonly why: string;
  /** Null where it does not cover the case. */
  dispatch(c: Case, call: KernelCall<null>): Dispatch[] | null;
}

export interface Timing {
  readonly version: string;
  readonly micros: number;
  /** GFLOP per second of processor time, all threads together: on adapters in software a figure that other programs disturb little. */
  readonly perCpuSecond: number;
}

export const caseName = ({ m, n, k, aT, bT }: Case): string =>
  `${m} × ${n} × ${k}${aT ? ' Aᵀ' : ''}${bT ? ' Bᵀ' : ''}`;

const median = (values: number[]): number => values.sort((x, y) => x - y)[values.length >> 1];

/** Times all versions of a case in turn, `rounds` times, each for about `ms`; checks their results first. */
export async function compare(
  device: WebGPUDevice,
  versions: readonly Version[],
  c: Case,
  { rounds = 5, ms = 60 }: { rounds?: number; ms?: number } = {},
): Promise<Timing[]> {
  const { m, n, k } = c;
  const view = (shape: number[]): View => ({
    buffer: device.allocate(4 * shape[0] * shape[1], 'lab'),
    dtype: 'float32',
    shape,
    strides: [shape[1], 1],
    offset: 0,
  });
  const [a, b, y] = [view(c.aT ? [k, m] : [m, k]), view(c.bT ? [n, k] : [k, n]), view([m, n])];
  // Multiples of 1/8 up to 2: exact sums as long as k < 2^16.
  const fill = (v: View, seed: number): Float32Array => {
    const data = Float32Array.from(
      { length: v.shape[0] * v.shape[1] },
      (_, i) => ((i * seed) % 31) / 8 - 1.875,
    );
    device.write(v.buffer, data);
    return data;
  };
  const [A, B] = [fill(a, 7), fill(b, 11)];
  const transposed = (v: View): View => ({ ...v, shape: [v.shape[1], v.shape[0]], strides: [1, v.shape[1]] });
  const inputs = [c.aT ? transposed(a) : a, c.bT ? transposed(b) : b];

  const timings = new Map<Version, { wall: number[]; cpu: number[] }>();
  const programs = new Map<Version, Program<null>>();
  for (const version of versions) {
    const call: KernelCall<null> = {
      inputs,
      outputs: [y],
      params: null,
      target: device.target,
      scratch: (bytes) => device.allocate(bytes, 'lab'),
    };
    const dispatches = version.dispatch(c, call);
    if (!dispatches) continue;
    const program = { name: version.name, host: () => {}, kernel: () => dispatches };
    device.write(y.buffer, new Float32Array(m * n));
    device.execute(program, inputs, [y], null);
    const got = new Float32Array(await device.read(y.buffer, 0, 4 * m * n));
    check(version.name, c, A, B, got);
    programs.set(version, program);
    timings.set(version, { wall: [], cpu: [] });
  }
  for (let round = 0; round < rounds; round++) {
    for (const [version, program] of programs) {
      let count = 0;
      let chunk = 1;
      const start = performance.now();
      const cpu = process.cpuUsage();
      do {
        for (let i = 0; i < chunk; i++) device.execute(program, inputs, [y], null);
        await device.synchronize();
        count += chunk;
        chunk = Math.min(count, 64);
      } while (performance.now() - start < ms);
      const { wall, cpu: used } = timings.get(version)!;
      wall.push((performance.now() - start) / count);
      const { user, system } = process.cpuUsage(cpu);
      used.push((user + system) / count);
    }
  }
  for (const v of [a, b, y]) device.free(v.buffer);
  return [...timings].map(([version, { wall, cpu }]) => ({
    version: version.name,
    micros: median(wall) * 1000,
    perCpuSecond: (2 * m * n * k) / median(cpu) / 1e3,
  }));
}

/** @throws Error for a wrong element, among up to 4,000 of them. */
function check(name: string, c: Case, A: Float32Array, B: Float32Array, got: Float32Array): void {
  const { m, n, k } = c;
  const stride = Math.max(1, Math.floor((m * n) / 4000)) | 1;
  for (let at = 0; at < m * n; at += stride) {
    const [i, j] = [Math.floor(at / n), at % n];
    let sum = 0;
    for (let p = 0; p < k; p++) sum += A[c.aT ? p * m + i : i * k + p] * B[c.bT ? j * k + p : p * n + j];
    if (Math.abs(got[at] - sum) > 1e-3 * Math.max(1, Math.abs(sum))) {
      throw new Error(`${name}, ${caseName(c)}: expected ${sum} at [${i}, ${j}], got ${got[at]}`);
    }
  }
}
