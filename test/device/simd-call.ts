/** Calls of the CPU device's WebAssembly module, for its tests. */
import { expect } from 'vitest';
import { openCPU } from '../../src/device/cpu/device.js';
import type { DeviceBuffer, SimdModule, View } from '../../src/device/types.js';

export const device = openCPU();
let state = 1;

/** Numbers in [-1, 1), the same in every run. */
function next(): number {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return state / 2 ** 31 - 1;
}

export function random(count: number, scale = 1): Float32Array {
  return Float32Array.from({ length: count }, () => next() * scale);
}

/**
 * Calls the module with the addresses of copies of `arrays`, and returns what the arrays hold afterwards. The element
 * after each array must stay as it is.
 */
export function call(
  run: (module: SimdModule, addresses: number[]) => void,
  ...arrays: Float32Array[]
): Promise<Float32Array[]> {
  const buffers: DeviceBuffer[] = arrays.map((data) => {
    const buffer = device.allocate(data.byteLength + 4, 'test');
    device.write(buffer, data);
    device.write(buffer, Float32Array.of(77), data.byteLength);
    return buffer;
  });
  const view = (buffer: DeviceBuffer): View => {
    return { buffer, dtype: 'float32', shape: [buffer.bytes / 4], strides: [1], offset: 0 };
  };
  device.execute(
    {
      name: 'test',
      host() {
        throw new Error('the WebAssembly path must take this');
      },
      kernel: () => [],
      simd(module, _, views) {
        run(
          module,
          views.map(({ pointer }) => pointer),
        );
        return true;
      },
    },
    [],
    buffers.map(view),
    null,
  );
  return Promise.all(
    buffers.map(async (buffer) => {
      const data = new Float32Array(await device.read(buffer, 0, buffer.bytes));
      device.free(buffer);
      expect(data.at(-1), 'the element after the array').toBe(77);
      return data.slice(0, -1);
    }),
  );
}
