import { Float16Array } from '@petamoriken/float16';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type CPUDevice, openCPU } from '../../src/device/cpu/device.js';
import { float16Table, roundToFloat16 } from '../../src/device/cpu/float16.js';
import type { DType } from '../../src/device/dtype.js';
import { DeviceError } from '../../src/device/errors.js';
import { sizeClass } from '../../src/device/size-class.js';
import type { DeviceBuffer, HostArray, Program, View } from '../../src/device/types.js';

const MiB = 1024 ** 2;

function view(
  buffer: DeviceBuffer,
  shape: number[],
  dtype: DType = 'float32',
  strides?: number[],
  offset = 0,
): View {
  const contiguous = shape.map((_, dim) => shape.slice(dim + 1).reduce((a, b) => a * b, 1));
  return { buffer, dtype, shape, strides: strides ?? contiguous, offset };
}

/** y = x · factor + y, over views of any strides in two dims. */
const axpy: Program<number> = {
  name: 'axpy',
  host([x], [y], factor) {
    for (let i = 0; i < x.shape[0]; i++)
      for (let j = 0; j < x.shape[1]; j++) {
        const at = y.offset + i * y.strides[0] + j * y.strides[1];
        y.data[at] += factor * x.data[x.offset + i * x.strides[0] + j * x.strides[1]];
      }
  },
  kernel: () => [],
};

function filled(device: CPUDevice, data: Float32Array | Uint16Array | Float64Array): DeviceBuffer {
  const buffer = device.allocate(data.byteLength, 'test');
  device.write(buffer, data);
  return buffer;
}

async function floats(device: CPUDevice, buffer: DeviceBuffer): Promise<number[]> {
  return [...new Float32Array(await device.read(buffer, 0, buffer.bytes))];
}

describe('memory', () => {
  test('a freed block is handed out again to the same size class', () => {
    const device = openCPU();
    const a = device.allocate(1000, 'test');
    const b = device.allocate(1000, 'test');
    expect(device.memory()).toEqual({ liveBytes: 2048, peakBytes: 2048, liveBuffers: 2, idleBytes: 0 });
    device.free(a);
    expect(device.memory()).toEqual({ liveBytes: 1024, peakBytes: 2048, liveBuffers: 1, idleBytes: 1024 });
    device.allocate(990, 'test');
    expect(device.memory()).toEqual({ liveBytes: 2048, peakBytes: 2048, liveBuffers: 2, idleBytes: 0 });
    device.free(b);
    device.resetPeak();
    expect(device.memory().peakBytes).toBe(1024);
  });

  test('growth keeps contents, and programs see the memory that grew', async () => {
    const device = openCPU();
    const x = filled(device, Float32Array.of(1, 2, 3, 4));
    const y = filled(device, Float32Array.of(10, 20, 30, 40));
    device.execute(axpy, [view(x, [2, 2])], [view(y, [2, 2])], 1);
    for (let i = 0; i < 3; i++) device.allocate(40 * MiB, 'test');
    device.execute(axpy, [view(x, [2, 2])], [view(y, [2, 2])], 1);
    device.write(x, Float32Array.of(100), 4);
    expect(await floats(device, x)).toEqual([1, 100, 3, 4]);
    expect(await floats(device, y)).toEqual([12, 24, 36, 48]);
  });

  test('live buffers never overlap, whatever the order of asking and giving back', () => {
    const step = fc.record({
      bytes: fc.integer({ min: 1, max: 300_000 }),
      freed: fc.nat(),
      keep: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        // 2 MiB are soon full, so blocks are merged and cut again.
        const device = openCPU({ maxBytes: 2 * MiB });
        const live: { buffer: DeviceBuffer; mark: number }[] = [];
        let mark = 0;
        const check = (entry: { buffer: DeviceBuffer; mark: number }) =>
          device.execute(
            {
              name: 'check',
              host: ([x]) => {
                if (!x.data.every((value) => value === entry.mark)) throw new Error('overlap');
              },
              kernel: () => [],
            },
            [view(entry.buffer, [entry.buffer.bytes / 4], 'uint32')],
            [],
            null,
          );
        for (const { bytes, freed, keep } of steps) {
          try {
            const buffer = device.allocate(bytes, 'test');
            device.write(buffer, new Uint32Array(buffer.bytes / 4).fill(++mark));
            live.push({ buffer, mark });
          } catch (error) {
            expect(error).toBeInstanceOf(DeviceError);
          }
          if (!keep && live.length) device.free(live.splice(freed % live.length, 1)[0].buffer);
        }
        live.forEach(check);
        const classes = live.reduce((sum, { buffer }) => sum + sizeClass(buffer.bytes), 0);
        expect(device.memory().liveBytes).toBe(classes);
        expect(device.memory().liveBuffers).toBe(live.length);
        for (const { buffer } of live) device.free(buffer);
        expect(device.memory().liveBytes).toBe(0);
        // With nothing live, one block may take all but the reserved page and the rounding.
        device.allocate(1.75 * MiB, 'test');
      }),
      { numRuns: 60 },
    );
  });
});

describe('execute', () => {
  test('passes strides, offsets and dtypes through', async () => {
    const device = openCPU();
    const x = filled(device, Float64Array.of(0, 1, 2, 3, 4, 5, 6));
    const y = filled(device, new Float64Array(6));
    device.execute(axpy, [view(x, [3, 2], 'float64', [1, 3], 1)], [view(y, [3, 2], 'float64')], 0.5);
    expect([...new Float64Array(await device.read(y, 0, 48))]).toEqual([0.5, 2, 1, 2.5, 1.5, 3]);
    expect(device.stats().dispatches).toBe(1);
  });

  test('float16 runs in float32: strided and repeated inputs, outputs updated in place', async () => {
    const device = openCPU();
    const half = (...values: number[]) => new Uint16Array(new Float16Array(values).buffer);
    const seen: HostArray[] = [];
    const spy: Program<number> = {
      ...axpy,
      host(inputs, outputs, factor) {
        seen.push(...inputs, ...outputs);
        axpy.host(inputs, outputs, factor);
      },
    };
    const x = filled(device, half(9, 1, 2, 3, 4, 5, 6, 0));
    const y = filled(device, half(10, 20, 30, 40, 50, 60));
    const before = device.memory();
    device.execute(spy, [view(x, [2, 3], 'float16', [1, 2], 1)], [view(y, [2, 3], 'float16')], 0.25);
    expect([...new Float16Array(await device.read(y, 0, 12))]).toEqual([10.25, 20.75, 31.25, 40.5, 51, 61.5]);
    device.execute(spy, [view(x, [2, 3], 'float16', [0, 1], 1)], [view(y, [2, 3], 'float16')], 1);
    expect([...new Float16Array(await device.read(y, 0, 12))]).toEqual([11.25, 22.75, 34.25, 41.5, 53, 64.5]);
    expect(seen.every(({ dtype, data }) => dtype === 'float32' && data instanceof Float32Array)).toBe(true);
    expect(device.memory().liveBytes).toBe(before.liveBytes);
  });

  test('what a program throws comes out, and its temporary memory goes back', () => {
    const device = openCPU();
    const x = device.allocate(16, 'test');
    const fails: Program<null> = {
      name: 'fails',
      host: () => {
        throw new RangeError('index 7');
      },
      kernel: () => [],
    };
    expect(() => device.execute(fails, [view(x, [8], 'float16')], [], null)).toThrow(
      new RangeError('index 7'),
    );
    expect(device.memory().liveBuffers).toBe(1);
  });
});

describe('float16', () => {
  const word = new Uint32Array(1);
  const float = new Float32Array(word.buffer);
  const half = new Float16Array(1);
  const halfBits = new Uint16Array(half.buffer);

  function expectRounded(bits: number) {
    word[0] = bits;
    half[0] = float[0];
    const got = roundToFloat16(bits);
    if (Number.isNaN(float[0])) expect(Number.isNaN(float16Table()[got])).toBe(true);
    else expect(got).toBe(halfBits[0]);
  }

  test('all 65,536 values widen as in @petamoriken/float16', () => {
    const reference = new Float16Array(Uint16Array.from({ length: 65536 }, (_, bits) => bits).buffer);
    expect(float16Table()).toEqual(Float32Array.from(reference));
  });

  test('every float32 rounds to the nearest, ties to even', () => {
    fc.assert(fc.property(fc.integer({ min: 0, max: 0xffffffff }), expectRounded), { numRuns: 20_000 });
  });

  test('each float16, the midpoint above it, and their neighbours round correctly', () => {
    const table = float16Table();
    let wrong = 0;
    for (let bits = 0; bits < 0x7c00; bits++) {
      const above = bits === 0x7bff ? 65536 : table[bits + 1];
      for (const value of [table[bits], (table[bits] + above) / 2]) {
        float[0] = value;
        const center = word[0];
        for (const near of [center, center + 1, Math.max(0, center - 1)])
          for (const sign of [0, 0x80000000]) {
            word[0] = near + sign;
            half[0] = float[0];
            if (roundToFloat16(word[0]) !== halfBits[0]) wrong++;
          }
      }
    }
    expect(wrong).toBe(0);
  });
});

describe('errors', () => {
  const thrown = (run: () => unknown) => {
    try {
      run();
    } catch (error) {
      expect(error).toBeInstanceOf(DeviceError);
      return (error as DeviceError).message;
    }
    throw new Error('nothing was thrown');
  };

  test('a full memory names the op and the bytes', () => {
    const device = openCPU({ maxBytes: MiB });
    device.allocate(200_000, 'zeros');
    expect(thrown(() => device.allocate(900_000, 'matmul'))).toBe(
      "matmul: expected room for 900000 bytes in the CPU device's memory, got 1048576 bytes of which 229376 are in use; " +
        'use smaller batches, or end scopes earlier',
    );
    expect(device.memory().liveBuffers).toBe(1);
    expect(thrown(() => openCPU().allocate(5 * 1024 ** 3, 'rand'))).toMatch(
      /^rand: expected room for 5368709120 bytes/,
    );
  });

  test('a buffer is freed once', () => {
    const device = openCPU();
    const buffer = device.allocate(4, 'test');
    device.free(buffer);
    expect(thrown(() => device.free(buffer))).toBe(
      'cpu: expected a buffer in use, got one that was freed before',
    );
  });

  test('reads and writes stay inside the buffer', async () => {
    const device = openCPU();
    const buffer = device.allocate(8, 'test');
    expect(thrown(() => device.write(buffer, new Float32Array(2), 4))).toBe(
      "write: expected a range inside the buffer's 8 bytes, got 8 bytes from byte 4",
    );
    await expect(device.read(buffer, 8, 4)).rejects.toThrow(
      new DeviceError("read: expected a range inside the buffer's 8 bytes, got 4 bytes from byte 8"),
    );
  });

  test('buffers of another device are refused', () => {
    const buffer = openCPU().allocate(8, 'test');
    expect(thrown(() => openCPU().free(buffer))).toBe(
      'cpu: expected a buffer of this device, got one of another device',
    );
  });

  test('a closed device says so', async () => {
    const device = openCPU();
    const buffer = device.allocate(8, 'test');
    await device.close();
    await device.close();
    const closed = 'cpu: the device is closed';
    expect(thrown(() => device.allocate(8, 'test'))).toBe(closed);
    expect(thrown(() => device.write(buffer, new Float32Array(1)))).toBe(closed);
    expect(thrown(() => device.execute(axpy, [], [], 1))).toBe(closed);
    await expect(device.read(buffer, 0, 4)).rejects.toThrow(new DeviceError(closed));
    await expect(device.synchronize()).rejects.toThrow(new DeviceError(closed));
    device.free(buffer);
    expect(device.memory().liveBytes).toBe(0);
  });
});
