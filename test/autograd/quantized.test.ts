import { describe, expect, test } from 'vitest';
import '../../src/autograd/methods.js';
import { dequantize, quantize, quantizedLinear } from '../../src/autograd/ops/quantized.js';
import { openCPU } from '../../src/device/cpu/device.js';
import { ShapeError } from '../../src/device/errors.js';
import { NF4 } from '../../src/kernels/quantized.js';
import { tensor } from '../../src/tensor/factories.js';

const device = openCPU();
const data = Array.from({ length: 6 * 128 }, (_, i) => Math.sin(i * 12.9898) * (1 + (i % 7)));
const weight = () => tensor(data, { shape: [6, 128], device });

describe('quantised weights', () => {
  test.each([
    ['int8', 1 / 254],
    ['nf4', (NF4[1] - NF4[0]) / 2],
  ] as const)('%s: no weight is off by more than half a step of its block', async (scheme, half) => {
    const packed = await quantize(weight(), { scheme, block: 32 });
    expect(packed.packed.shape).toEqual([6, scheme === 'int8' ? 32 : 16]);
    const scales = await packed.scales.data();
    const values = await dequantize(packed).data();
    data.forEach((value, i) => {
      const scale = scales[Math.floor(i / 32)];
      const block = data.slice(i - (i % 32), i - (i % 32) + 32);
      expect(scale).toBe(Math.fround(Math.max(...block.map(Math.abs))));
      expect(Math.abs(values[i] - value)).toBeLessThanOrEqual(half * scale * 1.00001);
    });
  });

  test('nf4 takes the nearest of its values, which survive a second round exactly', async () => {
    const once = dequantize(await quantize(weight()));
    const twice = dequantize(await quantize(once));
    expect(await twice.data()).toEqual(await once.data());
    const values = await once.data();
    const scales = await (await quantize(weight())).scales.data();
    data.forEach((value, i) => {
      const scale = scales[Math.floor(i / 64)];
      const nearest = NF4.map((code) => Math.abs(code * scale - value)).reduce((a, b) => Math.min(a, b));
      expect(Math.abs(Math.abs(values[i] - value) - nearest)).toBeLessThan(1e-6);
    });
  });

  test('codes lie in the bytes as bitsandbytes has them', async () => {
    const row = Float32Array.from({ length: 16 }, (_, i) => NF4[i]);
    const nf4 = await quantize(tensor(row, { shape: [1, 16], device }), { block: 16 });
    const bytes = new Uint8Array(Uint32Array.from(await nf4.packed.data()).buffer);
    expect([...bytes]).toEqual([0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef]);
    const steps = Float32Array.from({ length: 16 }, (_, i) => (i - 8) * 16 - (i === 0 ? -1 : 0));
    const int8 = await quantize(tensor(steps, { shape: [1, 16], device }), { scheme: 'int8', block: 16 });
    const codes = new Int8Array(Uint32Array.from(await int8.packed.data()).buffer);
    expect([...codes]).toEqual([...steps]);
  });

  test('a block of zeros stays zero', async () => {
    const packed = await quantize(tensor(new Float32Array(64), { shape: [1, 64], device }), {
      scheme: 'nf4',
    });
    expect([...(await dequantize(packed).data())]).toEqual(new Array(64).fill(0));
  });

  test('a linear layer and its gradient are those of the weights as floats', async () => {
    for (const scheme of ['int8', 'nf4'] as const) {
      const packed = await quantize(weight(), { scheme });
      const w = await dequantize(packed).data();
      const x = tensor(data.slice(0, 3 * 128), { shape: [3, 128], device }).requiresGrad_();
      const y = quantizedLinear(x, packed);
      y.backward({ gradient: tensor(new Float32Array(18).fill(1), { shape: [3, 6], device }) });
      const [out, grad] = [await y.data(), await x.grad!.data()];
      for (let r = 0; r < 3; r++) {
        for (let j = 0; j < 6; j++) {
          let sum = 0;
          for (let i = 0; i < 128; i++) sum += data[r * 128 + i] * w[j * 128 + i];
          expect(Math.abs(out[r * 6 + j] - sum)).toBeLessThan(5e-4);
        }
        for (let i = 0; i < 128; i++) {
          let sum = 0;
          for (let j = 0; j < 6; j++) sum += w[j * 128 + i];
          expect(Math.abs(grad[r * 128 + i] - sum)).toBeLessThan(1e-5);
        }
      }
    }
  });

  test('refuses what it cannot pack', async () => {
    await expect(quantize(weight(), { block: 24 })).rejects.toThrow(
      new ShapeError(
        'quantize: expected blocks of a multiple of 16 that divides the 128 weights of a row, got 24; choose another block',
      ),
    );
    await expect(quantize(tensor([1, 2], { device }))).rejects.toThrow(
      new ShapeError('quantize: expected a weight [out, in], got [2]'),
    );
  });
});
