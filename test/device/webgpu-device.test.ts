import { getFloat16, setFloat16 } from '@petamoriken/float16';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DeviceError } from '../../src/device/errors.js';
import type { DeviceBuffer, View } from '../../src/device/types.js';
import { listAdapters } from '../../src/device/webgpu/adapter.js';
import { openWebGPU, type WebGPUDevice, type WebGPUOptions } from '../../src/device/webgpu/device.js';
import { ADAPTER, add, affine, copy2d, list, problem, program, ramp, sum, view } from '../support/webgpu.js';

const MIB = 2 ** 20;

function upload(device: WebGPUDevice, values: ArrayLike<number>): DeviceBuffer {
  const buffer = device.allocate(values.length * 4, 'test');
  device.write(buffer, Float32Array.from(values));
  return buffer;
}

async function floats(device: WebGPUDevice, buffer: DeviceBuffer, count: number): Promise<number[]> {
  return Array.from(new Float32Array(await device.read(buffer, 0, count * 4)));
}

function zeros(device: WebGPUDevice, count: number): DeviceBuffer {
  return upload(device, new Float32Array(count));
}

describe.skipIf(problem !== null)(
  `WebGPU device on ${ADAPTER}${problem ? ` (skipped: ${problem})` : ''}`,
  () => {
    describe.each<[string, WebGPUOptions]>([
      ['immediates', { debug: true }],
      ['the uniform ring', { immediates: false, debug: true }],
      ['batches of three', { batchSize: 3, debug: true }],
    ])('with %s', (_, options) => {
      let device: WebGPUDevice;
      beforeAll(async () => {
        device = await openWebGPU({ adapter: ADAPTER, ...options });
      });
      afterAll(() => device.close());

      test('adds two vectors', async () => {
        const n = 1000;
        const a = upload(
          device,
          Array.from({ length: n }, (_, i) => i),
        );
        const b = upload(
          device,
          Array.from({ length: n }, (_, i) => 2 * i),
        );
        const z = device.allocate(n * 4, 'test');
        device.execute(add, [view(a, [n]), view(b, [n])], [view(z, [n])], undefined);
        expect(await floats(device, z, n)).toEqual(Array.from({ length: n }, (_, i) => 3 * i));
      });

      test('copies a transposed view', async () => {
        const x = upload(device, [0, 1, 2, 3, 4, 5, 6]);
        const y = device.allocate(24, 'test');
        const transposed: View = { buffer: x, dtype: 'float32', shape: [3, 2], strides: [1, 3], offset: 1 };
        device.execute(copy2d, [transposed], [view(y, [3, 2])], undefined);
        expect(await floats(device, y, 6)).toEqual([1, 4, 2, 5, 3, 6]);
      });

      test('sums in two passes over scratch, which goes back to the pool', async () => {
        const n = 5000;
        const x = upload(
          device,
          Array.from({ length: n }, (_, i) => i % 7),
        );
        const y = device.allocate(4, 'test');
        const before = device.memory().liveBuffers;
        device.execute(sum, [view(x, [n])], [view(y, [1])], undefined);
        expect(device.memory().liveBuffers).toBe(before);
        expect(await floats(device, y, 1)).toEqual([14995]);
      });

      test('folds more workgroups than a dimension holds', async () => {
        const n = 200_001;
        const y = zeros(device, n + 64);
        device.execute(ramp, [], [view(y, [n])], undefined);
        const got = await floats(device, y, n + 64);
        expect(got.findIndex((value, i) => value !== (i < n ? i - 1 : 0))).toBe(-1);
      });

      test.each([3, 17, 100])('passes %i parameters', async (n) => {
        const y = device.allocate(n * 4, 'test');
        const values = Array.from({ length: n }, (_, i) => i + 0.5);
        device.execute(list, [], [view(y, [n])], values);
        const again = device.allocate(n * 4, 'test');
        device.execute(
          list,
          [],
          [view(again, [n])],
          values.map((v) => -v),
        );
        expect(await floats(device, y, n)).toEqual(values);
        expect(await floats(device, again, n)).toEqual(values.map((v) => -v));
      });

      test('keeps the order of writes and dispatches', async () => {
        const x = upload(device, [1]);
        const seen = Array.from({ length: 10 }, () => device.allocate(4, 'test'));
        const host = new Float32Array(1);
        for (const [i, y] of seen.entries()) {
          host[0] = i;
          device.write(x, host);
          host[0] = -1;
          device.execute(affine, [], [view(x, [1])], { factor: 10, shift: 1 });
          device.execute(add, [view(x, [1]), view(x, [1])], [view(y, [1])], undefined);
        }
        const got = await Promise.all(seen.map((y) => floats(device, y, 1)));
        expect(got.flat()).toEqual(seen.map((_, i) => 2 * (10 * i + 1)));
      });

      test('runs hundreds of dependent dispatches in order', async () => {
        const x = upload(device, [0]);
        for (let i = 0; i < 700; i++) {
          device.execute(affine, [], [view(x, [1])], { factor: i % 7 === 0 ? 0 : 1, shift: i });
        }
        // 693 is the last factor of zero.
        expect(await floats(device, x, 1)).toEqual([693 + 694 + 695 + 696 + 697 + 698 + 699]);
      });

      test('a freed buffer may be reused while its work still waits', async () => {
        const first = upload(device, [1, 2, 3, 4]);
        const y = device.allocate(16, 'test');
        device.execute(add, [view(first, [4]), view(first, [4])], [view(y, [4])], undefined);
        device.free(first);
        const second = upload(device, [9, 9, 9, 9]);
        expect(await floats(device, y, 4)).toEqual([2, 4, 6, 8]);
        expect(await floats(device, second, 4)).toEqual([9, 9, 9, 9]);
      });
    });

    describe('float16 without shader-f16', () => {
      let device: WebGPUDevice;
      beforeAll(async () => {
        device = await openWebGPU({ adapter: ADAPTER, f16: false, debug: true });
      });
      afterAll(() => device.close());

      /** All 65,536 bit patterns. */
      const patterns = Uint16Array.from({ length: 65536 }, (_, i) => i);
      const toFloat = (bits: number) => {
        const cell = new DataView(new ArrayBuffer(2));
        cell.setUint16(0, bits);
        return getFloat16(cell, 0);
      };
      const toBits = (value: number) => {
        const cell = new DataView(new ArrayBuffer(2));
        setFloat16(cell, 0, value);
        return cell.getUint16(0);
      };
      const uploadHalves = (bits: Uint16Array) => {
        const buffer = device.allocate(Math.ceil(bits.length / 2) * 4, 'test');
        device.write(buffer, bits);
        return buffer;
      };
      const halves = async (buffer: DeviceBuffer, count: number) =>
        Array.from(new Uint16Array(await device.read(buffer, 0, buffer.bytes)).subarray(0, count));
      /** y = x for contiguous float32. */
      const copy1d = program<void>('copy1d', ({ inputs: [x], outputs: [y] }) => {
        const n = y.shape[0];
        const params = [n, x.shape[0], 0, 1, x.offset];
        return copy2d
          .kernel({
            inputs: [{ ...x, shape: [1, n], strides: [0, 1] }],
            outputs: [y],
            params: undefined,
            target: device.target,
            scratch: () => x.buffer,
          })
          .map((d) => ({ ...d, params }));
      });

      test('widens every bit pattern exactly', async () => {
        const x = uploadHalves(patterns);
        const y = device.allocate(65536 * 4, 'test');
        device.execute(copy1d, [view(x, [65536], 'float16')], [view(y, [65536])], undefined);
        const got = await floats(device, y, 65536);
        const wrong = [...patterns].filter((bits) => !Object.is(got[bits], toFloat(bits)));
        expect(wrong).toEqual([]);
      });

      test('rounds to nearest even, with infinities, subnormals and NaN', async () => {
        // Every float16 and its neighbourhood: the midpoints to the next, and a little to either side of them.
        const values: number[] = [];
        for (let bits = 0; bits < 0x7c00; bits += 3) {
          const [low, high] = [toFloat(bits), bits === 0x7bff ? 65536 : toFloat(bits + 1)];
          const middle = (low + high) / 2;
          values.push(low, middle, middle * (1 + 2e-7), middle * (1 - 2e-7), -middle);
        }
        values.push(
          65519.996,
          65520,
          65535,
          1e30,
          Infinity,
          -Infinity,
          -65520,
          2 ** -25,
          2 ** -25 * 1.001,
          1e-40,
          -0,
          NaN,
        );
        const n = values.length;
        const exact = Float32Array.from(values);
        const x = upload(device, exact);
        const y = device.allocate(Math.ceil(n / 2) * 4, 'test');
        device.execute(copy1d, [view(x, [n])], [view(y, [n], 'float16')], undefined);
        const got = await halves(y, n);
        const wrong = got.filter((bits, i) =>
          Number.isNaN(exact[i]) ? (bits & 0x7fff) <= 0x7c00 : bits !== toBits(exact[i]),
        );
        expect(wrong).toEqual([]);
      });

      test('reads strided views and updates odd-sized views in place without touching their neighbours', async () => {
        const x = uploadHalves(Uint16Array.from([1, 2, 3, 4, 5, 6, 7], toBits));
        const middle = view(x, [3], 'float16', 3);
        device.execute(affine, [], [middle], { factor: 2, shift: 1 });
        expect((await halves(x, 7)).map(toFloat)).toEqual([1, 2, 3, 9, 11, 13, 7]);

        const y = uploadHalves(new Uint16Array(8).fill(toBits(-1)));
        const columns: View = { buffer: y, dtype: 'float16', shape: [3, 2], strides: [1, 4], offset: 1 };
        const source: View = { buffer: x, dtype: 'float16', shape: [3, 2], strides: [2, 1], offset: 0 };
        device.execute(copy2d, [source], [columns], undefined);
        expect((await halves(y, 8)).map(toFloat)).toEqual([-1, 1, 3, 11, -1, 2, 9, 13]);
      });

      test('addresses views of eight dims', async () => {
        const shape = [2, 2, 2, 2, 2, 2, 2, 2];
        const bits = Uint16Array.from({ length: 256 }, (_, i) => toBits(i));
        const x = uploadHalves(bits);
        const reversed: View = {
          buffer: x,
          dtype: 'float16',
          shape,
          strides: [1, 2, 4, 8, 16, 32, 64, 128],
          offset: 0,
        };
        const flat = program<void>('flat', ({ inputs, outputs }) =>
          add.kernel({
            inputs: [inputs[0], inputs[0]],
            outputs,
            params: undefined,
            target: device.target,
            scratch: () => x,
          }),
        );
        const y = device.allocate(1024, 'test');
        device.execute(flat, [reversed], [view(y, [256])], undefined);
        const mirrored = (i: number) =>
          Number.parseInt(i.toString(2).padStart(8, '0').split('').reverse().join(''), 2);
        expect(await floats(device, y, 256)).toEqual(Array.from({ length: 256 }, (_, i) => 2 * mirrored(i)));
      });
    });

    describe('the pool', () => {
      let device: WebGPUDevice;
      beforeAll(async () => {
        device = await openWebGPU({ adapter: ADAPTER });
      });
      afterAll(() => device.close());

      test('counts live, peak and idle bytes by size class', () => {
        const start = device.memory();
        const a = device.allocate(1000, 'test');
        const b = device.allocate(1_000_000, 'test');
        expect(a.bytes).toBe(1000);
        const live = device.memory();
        expect(live.liveBytes - start.liveBytes).toBe(1024 + 1_048_576);
        expect(live.liveBuffers - start.liveBuffers).toBe(2);
        device.free(b);
        device.free(a);
        expect(device.memory()).toMatchObject({ liveBytes: start.liveBytes, idleBytes: 1024 + 1_048_576 });
        expect(device.memory().peakBytes).toBe(live.liveBytes);
        device.resetPeak();
        expect(device.memory().peakBytes).toBe(start.liveBytes);
      });

      test('a steady state makes no buffers and no bind groups', async () => {
        const x = upload(device, new Array(64).fill(1));
        const step = () => {
          const y = device.allocate(256, 'test');
          device.execute(add, [view(x, [64]), view(x, [64])], [view(y, [64])], undefined);
          device.free(y);
        };
        step();
        const { bindGroupsCreated } = device.stats();
        const { idleBytes, peakBytes } = device.memory();
        for (let i = 0; i < 300; i++) step();
        await device.synchronize();
        expect(device.stats().bindGroupsCreated).toBe(bindGroupsCreated);
        expect(device.memory()).toMatchObject({ idleBytes, peakBytes });
        expect(device.stats().dispatches).toBeGreaterThan(300);
        expect(device.stats().submits).toBeGreaterThan(0);
      });

      test('submits a short batch first, then longer ones, and begins anew after a read', async () => {
        const x = upload(device, [0]);
        const add1 = () => device.execute(affine, [], [view(x, [1])], { factor: 1, shift: 1 });
        add1();
        expect(await floats(device, x, 1)).toEqual([1]);
        const lengths = (dispatches: number): number[] => {
          const found: number[] = [];
          for (let i = 0, last = 0, before = device.stats().submits; i < dispatches; i++) {
            add1();
            const { submits } = device.stats();
            if (submits === before) continue;
            before = submits;
            found.push(i + 1 - last);
            last = i + 1;
          }
          return found;
        };
        expect(lengths(16 + 32 + 64 + 128 + 2 * 256 + 5)).toEqual([16, 32, 64, 128, 256, 256]);
        expect(await floats(device, x, 1)).toEqual([1 + 16 + 32 + 64 + 128 + 2 * 256 + 5]);
        expect(lengths(20)).toEqual([16]);
        await device.synchronize();
        const short = await openWebGPU({ adapter: ADAPTER, batchSize: 4 });
        const y = upload(short, [0]);
        for (let i = 0; i < 3; i++) short.execute(affine, [], [view(y, [1])], { factor: 1, shift: 1 });
        await short.synchronize();
        const { submits } = short.stats();
        for (let i = 0; i < 9; i++) short.execute(affine, [], [view(y, [1])], { factor: 1, shift: 1 });
        expect(short.stats().submits).toBe(submits + 2);
        expect(await floats(short, y, 1)).toEqual([12]);
        await short.close();
      });

      test('counts what it did, and times it where asked', async () => {
        const timed = await openWebGPU({ adapter: ADAPTER, timing: true });
        const x = upload(timed, [1]);
        timed.execute(affine, [], [view(x, [1])], { factor: 1, shift: 1 });
        timed.execute(affine, [], [view(x, [0])], { factor: 1, shift: 1 });
        expect(await floats(timed, x, 1)).toEqual([2]);
        const { recordMs, encodeMs, ...counts } = timed.stats();
        expect(counts).toEqual({ dispatches: 1, submits: 1, pipelines: 1, bindGroupsCreated: 1 });
        expect(recordMs).toBeGreaterThan(0);
        expect(encodeMs).toBeGreaterThan(0);
        await timed.close();
      });

      test('gives idle memory back when the sizes change', async () => {
        for (const size of [60, 70, 90, 100, 120]) device.free(device.allocate(size * MIB, 'test'));
        expect(device.memory().idleBytes).toBeLessThanOrEqual(256 * MIB);
      });

      test('refuses more than the adapter can hold in one buffer, naming the op and the limit', () => {
        const { maxBufferSize } = device.info.limits;
        const limit = maxBufferSize - (maxBufferSize % 4);
        expect(() => device.allocate(5 * 2 ** 32, 'matmul')).toThrow(
          new DeviceError(
            `matmul: expected at most ${limit} bytes in one buffer (maxBufferSize of ${device.info.name}), got 21474836480; ` +
              'split the tensor or use a smaller batch',
          ),
        );
      });

      test('a buffer that was given back is an error, not reused memory', () => {
        const x = upload(device, [1]);
        device.free(x);
        const message = 'expected a live buffer, got one that was given back to the pool';
        expect(() => device.free(x)).toThrow(new DeviceError(`free: ${message}`));
        expect(() => device.write(x, new Float32Array(1))).toThrow(new DeviceError(`write: ${message}`));
        expect(() => device.execute(affine, [], [view(x, [1])], { factor: 1, shift: 0 })).toThrow(
          new DeviceError(`affine: ${message}`),
        );
      });

      test('writes and reads at offsets, and keeps to a buffer’s bounds', async () => {
        const x = upload(device, [1, 2, 3, 4]);
        device.write(x, Float32Array.of(7), 8);
        expect(Array.from(new Float32Array(await device.read(x, 4, 12)))).toEqual([2, 7, 4]);
        expect((await device.read(x, 0, 0)).byteLength).toBe(0);
        expect(() => device.write(x, Float32Array.of(7), 16)).toThrow(
          'write: expected whole 4-byte words within 16 bytes, got bytes 16 to 20',
        );
        await expect(device.read(x, 8, 12)).rejects.toThrow(
          'read: expected whole 4-byte words within 16 bytes, got bytes 8 to 20',
        );
      });
    });

    describe('failures', () => {
      let device: WebGPUDevice;
      beforeAll(async () => {
        device = await openWebGPU({ adapter: ADAPTER, debug: true });
      });
      afterAll(() => device.close());

      const broken = program<string>('swish', ({ outputs: [y], params: body }) => {
        const bindings = [{ name: 'y', type: 'f32', access: 'read_write' }] as const;
        return [
          {
            kernel: { key: body, bindings, params: [], workgroupSize: 1, body },
            buffers: [y.buffer],
            params: [],
            workgroups: 1,
          },
        ];
      });

      test('a shader that does not compile rejects the next await, once, with op, line and message', async () => {
        const y = zeros(device, 1);
        device.execute(broken, [], [view(y, [1])], 'y[0] = nothing;');
        await expect(device.read(y, 0, 4)).rejects.toThrow(
          /^swish \[y\[0\] = nothing;\]: the WGSL does not compile: line \d+: unresolved value 'nothing': y\[0\] = nothing;$/,
        );
        expect(await floats(device, y, 1)).toEqual([0]);
      });

      test('synchronize reports failures too, and later work is fine', async () => {
        const y = zeros(device, 1);
        device.execute(broken, [], [view(y, [1])], 'y[0] = 1u;');
        device.execute(affine, [], [view(y, [1])], { factor: 1, shift: 5 });
        await expect(device.synchronize()).rejects.toThrow(/^swish .*does not compile/);
        expect(await floats(device, y, 1)).toEqual([5]);
      });

      test('binding one buffer for reading and writing says which bindings', () => {
        const x = upload(device, [1]);
        expect(() => device.execute(add, [view(x, [1]), view(x, [1])], [view(x, [1])], undefined)).toThrow(
          'add [test/add]: expected a buffer of its own for each written binding, got the same for a and z; ' +
            'WebGPU forbids binding one buffer twice when one use writes: copy the input first',
        );
      });

      test('equal keys for different WGSL are found in debug mode', () => {
        const y = zeros(device, 1);
        const twice = program<string>('twice', (call) =>
          broken.kernel(call).map((d) => ({ ...d, kernel: { ...d.kernel, key: 'test/twice' } })),
        );
        device.execute(twice, [], [view(y, [1])], 'y[0] = 1.0;');
        expect(() => device.execute(twice, [], [view(y, [1])], 'y[0] = 2.0;')).toThrow(
          "twice: expected equal WGSL for equal kernel keys, got two texts for 'test/twice'",
        );
      });

      // SwiftShader has 1 GiB of memory and offers it all in one buffer, which never fits.
      test.skipIf(ADAPTER !== 'swiftshader')('running out of memory names the op', async () => {
        const idle = device.allocate(500 * MIB, 'relu');
        device.free(idle);
        expect(() => device.allocate(device.info.limits.maxBufferSize, 'attention')).toThrow(
          /^attention: out of memory on SwiftShader: 1073741824 bytes asked for, \d+ in use \(vk.*\); use a smaller batch/,
        );
        // Idle buffers made room for the attempt, and the device is as good as before.
        expect(device.memory().idleBytes).toBe(0);
        const x = upload(device, [3]);
        expect(await floats(device, x, 1)).toEqual([3]);
      });

      test('a validation error of the API names the op by its label', async () => {
        const [a, b] = [upload(device, [1]), upload(device, [2])];
        device.execute(add, [view(a, [1]), view(a, [1])], [view(b, [1])], undefined);
        await device.synchronize();
        // Behind the pool's back: the cached bind group now refers to a destroyed buffer.
        (b as unknown as { block: { gpu: GPUBuffer } }).block.gpu.destroy();
        device.execute(add, [view(a, [1]), view(a, [1])], [view(b, [1])], undefined);
        const failure = await device.synchronize().catch((error) => error);
        expect(failure).toBeInstanceOf(DeviceError);
        expect(failure.message).toMatch(/^(test|one of add): .*destroyed/);
      });

      test('a lost device fails every call from then on', async () => {
        const lost = await openWebGPU({ adapter: ADAPTER });
        const x = upload(lost, [1]);
        const reading = lost.read(x, 0, 4);
        lost.gpu.destroy();
        await expect(reading).rejects.toBeInstanceOf(DeviceError);
        await lost.gpu.lost;
        const message = /the device was lost \(destroyed.*\); open a new one/;
        expect(() => lost.allocate(4, 'relu')).toThrow(message);
        expect(() => lost.execute(affine, [], [view(x, [1])], { factor: 1, shift: 1 })).toThrow(message);
        await expect(lost.read(x, 0, 4)).rejects.toThrow(message);
        await expect(lost.synchronize()).rejects.toThrow(message);
        await lost.close();
      });

      test('close waits for reads under way; afterwards every call says that the device was closed', async () => {
        const closed = await openWebGPU({ adapter: ADAPTER });
        const x = upload(closed, [1, 2]);
        closed.execute(affine, [], [view(x, [2])], { factor: 3, shift: 0 });
        const reading = floats(closed, x, 2);
        const closing = closed.close();
        expect(await reading).toEqual([3, 6]);
        await closing;
        await closed.close();
        const message = 'the device was closed; open a new one';
        expect(() => closed.allocate(4, 'relu')).toThrow(new DeviceError(`relu: ${message}`));
        await expect(closed.synchronize()).rejects.toThrow(new DeviceError(`synchronize: ${message}`));
        closed.free(x);
        expect(closed.memory()).toMatchObject({ liveBytes: 0, liveBuffers: 0, idleBytes: 0 });
      });

      test('buffers of two devices do not mix', async () => {
        const other = await openWebGPU({ adapter: ADAPTER });
        const x = upload(other, [1]);
        expect(() => device.execute(affine, [], [view(x, [1])], { factor: 1, shift: 0 })).toThrow(
          /^affine: expected a buffer of .*, got one of .*; copy the tensor to one device$/,
        );
        await other.close();
      });
    });

    describe('adapters', () => {
      test('are listed with features and limits', async () => {
        const all = await listAdapters();
        const one = all.find(({ name }) => /swiftshader/i.test(name));
        expect(one).toMatchObject({ software: true, selector: 'swiftshader', vendor: 'google' });
        expect(one!.features).toContain('timestamp-query');
        expect(one!.limits.maxComputeWorkgroupsPerDimension).toBe(65535);
      });

      test('a software adapter is never taken unasked', async () => {
        const all = await listAdapters();
        const opened = await openWebGPU().catch((error) => error);
        if (all.some(({ software }) => !software)) {
          expect(opened.info.software).toBe(false);
          await opened.close();
        } else {
          expect(opened).toBeInstanceOf(DeviceError);
          expect(opened.message).toMatch(
            /^openWebGPU: expected a GPU adapter, got (none|only software).*use the CPU device/,
          );
        }
      });

      test('a name that no adapter has is an error with the remedy', async () => {
        await expect(openWebGPU({ adapter: 'voodoo' })).rejects.toThrow(
          /^openWebGPU: expected an adapter named like 'voodoo', got .*; name one of these/,
        );
      });

      test('the device carries the adapter’s limits and traits', async () => {
        const device = await openWebGPU({ adapter: 'software' });
        expect(device.info).toMatchObject({ kind: 'webgpu', software: true });
        expect(device.target.kind).toBe('software');
        const listed = (await listAdapters()).find(({ name }) => name === device.info.name)!;
        for (const key of [
          'maxBufferSize',
          'maxStorageBufferBindingSize',
          'maxComputeWorkgroupStorageSize',
        ]) {
          expect(device.info.limits[key]).toBe(listed.limits[key]);
        }
        await device.close();
      });
    });
  },
);
