/** One test body over devices and float dtypes: the oracle, the CPU device and WebGPU. */
import { afterAll, beforeAll, describe } from 'vitest';
import type { DType } from '../../src/device/dtype.js';
import type { Device, KernelTarget } from '../../src/device/types.js';
import { openWebGPU } from '../../src/device/webgpu/device.js';
import { cpuDevice } from '../../src/tensor/default-device.js';
import { tensor } from '../../src/tensor/factories.js';
import type { Tensor } from '../../src/tensor/tensor.js';
import { ADAPTER, problem } from './webgpu.js';

/** Where a body runs, and how exact it is there. */
export interface Place {
  readonly device: Device;
  readonly dtype: DType;
  /** Largest error allowed, relative to values of size 1. */
  readonly tolerance: number;
  /** A tensor of this place. */
  make(values: readonly number[], shape: readonly number[]): Tensor;
}

function place(device: () => Device, dtype: DType, tolerance: number): Place {
  return {
    get device() {
      return device();
    },
    dtype,
    tolerance,
    make: (values, shape) => tensor(Float64Array.from(values), { shape, dtype, device: device() }),
  };
}

export interface EachDeviceOptions {
  /** Also the kernels meant for GPUs, with no more storage buffers than every adapter has. */
  readonly gpuKernels?: boolean;
}

/** Declares `body` once per device and dtype; WebGPU is a visible skip where its adapter is missing. */
export function eachDevice(
  title: string,
  body: (place: Place) => void,
  { gpuKernels = false }: EachDeviceOptions = {},
): void {
  describe(title, () => {
    describe('cpu float64', () => body(place(cpuDevice, 'float64', 1e-9)));
    describe('cpu float32', () => body(place(cpuDevice, 'float32', 2e-5)));
    onWebGPU('webgpu float32', body);
    if (gpuKernels) onWebGPU("webgpu float32, a GPU's kernels", body, { kind: 'gpu', maxStorageBuffers: 8 });
  });
}

function onWebGPU(title: string, body: (place: Place) => void, traits?: Partial<KernelTarget>): void {
  describe.skipIf(problem !== null)(`${title}${problem ? ` (skipped: ${problem})` : ''}`, () => {
    let device: Device;
    beforeAll(async () => {
      const opened = await openWebGPU({ adapter: ADAPTER });
      // The software adapter runs what a GPU would: slower, and that is all.
      if (traits) Object.assign(opened, { target: { ...Reflect.get(opened, 'target'), ...traits } });
      device = opened;
    });
    afterAll(() => device?.close());
    body(place(() => device, 'float32', 2e-5));
  });
}

/** The largest |x − y| / max(1, |y|), with equal special values counted as 0. */
export function difference(x: ArrayLike<number>, y: ArrayLike<number>): number {
  if (x.length !== y.length) return Infinity;
  let worst = 0;
  for (let i = 0; i < x.length; i++) {
    if (Object.is(x[i], y[i])) continue;
    const d = Math.abs(x[i] - y[i]) / Math.max(1, Math.abs(y[i]));
    worst = Math.max(worst, Number.isNaN(d) ? Infinity : d);
  }
  return worst;
}
