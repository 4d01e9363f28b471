/** One test body over devices and float dtypes: the oracle, the CPU device and WebGPU. */
import { afterAll, beforeAll, describe } from 'vitest';
import type { DType } from '../../src/device/dtype.js';
import type { Device } from '../../src/device/types.js';
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

/** Declares `body` once per device and dtype; WebGPU is a visible skip where its adapter is missing. */
export function eachDevice(title: string, body: (place: Place) => void): void {
  describe(title, () => {
    describe('cpu float64', () => body(place(cpuDevice, 'float64', 1e-9)));
    describe('cpu float32', () => body(place(cpuDevice, 'float32', 2e-5)));
    describe.skipIf(problem !== null)(`webgpu float32${problem ? ` (skipped: ${problem})` : ''}`, () => {
      let device: Device;
      beforeAll(async () => {
        device = await openWebGPU({ adapter: ADAPTER });
      });
      afterAll(() => device?.close());
      body(place(() => device, 'float32', 2e-5));
    });
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
