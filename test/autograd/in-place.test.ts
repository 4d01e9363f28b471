/** Conversions and operations that write into existing tensors. */
import { expect, it } from 'vitest';
import '../../src/autograd/methods.js';
import { noGrad } from '../../src/autograd/mode.js';
import { openCPU } from '../../src/device/cpu/device.js';
import { DeviceError, DTypeError, GradError, ShapeError } from '../../src/device/errors.js';
import { cpuDevice } from '../../src/tensor/default-device.js';
import { tensor } from '../../src/tensor/factories.js';
import type { Tensor } from '../../src/tensor/tensor.js';
import { eachDevice } from '../support/each-device.js';

const read = async (t: Tensor): Promise<number[]> => [...(await t.data())];

/** Asserts an error's class and exact text. */
function throwsExactly(run: () => unknown, type: new (message?: string) => Error, message: string): void {
  let error: unknown;
  try {
    run();
  } catch (e) {
    error = e;
  }
  expect(error).toBeInstanceOf(type);
  expect((error as Error).message).toBe(message);
}

eachDevice('in place', (place) => {
  const { make, dtype } = place;
  it('writes numbers, broadcast tensors and other dtypes', async () => {
    const x = make([1, 2, 3, 4, 5, 6], [2, 3]);
    expect(x.fill_(7)).toBe(x);
    expect(await read(x)).toEqual([7, 7, 7, 7, 7, 7]);
    expect(await read(x.copy_(make([1, 2, 3], [3])))).toEqual([1, 2, 3, 1, 2, 3]);
    expect(await read(x.copy_(tensor([[4], [5]], { device: place.device, dtype: 'int32' })))).toEqual([
      4, 4, 4, 5, 5, 5,
    ]);
    expect(await read(x.add_(1))).toEqual([5, 5, 5, 6, 6, 6]);
    expect(await read(x.sub_(make([1, 0, -1], [3])))).toEqual([4, 5, 6, 5, 6, 7]);
    expect(await read(x.mul_(make([1, -1], [2, 1])))).toEqual([4, 5, 6, -5, -6, -7]);
    expect(await read(x.div_(2))).toEqual([2, 2.5, 3, -2.5, -3, -3.5]);
    expect(await read(x.zero_())).toEqual([0, 0, 0, 0, 0, 0]);
    const flags = tensor([true, false], { device: place.device });
    expect(await read(flags.copy_(make([0, 0.5], [2])))).toEqual([0, 1]);
    expect(await read(flags.fill_(true))).toEqual([1, 1]);
    const whole = tensor([2147483647, 5], { device: place.device, dtype: 'int32' });
    expect(await read(whole.add_(1).mul_(3))).toEqual([-2147483648, 18]);
    expect(make([], [0]).add_(1).shape).toEqual([0]);
  });

  it('writes into views of every layout and nowhere else', async () => {
    const x = make([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], [3, 4]);
    x.slice(1, 1, 3).add_(100);
    expect(await read(x)).toEqual([0, 101, 102, 3, 4, 105, 106, 7, 8, 109, 110, 11]);
    x.transpose(0, 1).copy_(make([1, 2, 3], [3]));
    expect(await read(x)).toEqual([1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3]);
    x.slice(0, 0, 3, 2).mul_(make([1, 2, 3, 4], [4]));
    expect(await read(x)).toEqual([1, 2, 3, 4, 2, 2, 2, 2, 3, 6, 9, 12]);
  });

  it('reads values that it overwrites before it does', async () => {
    const x = make([1, 2, 3, 4], [2, 2]);
    x.copy_(x.transpose(0, 1));
    expect(await read(x)).toEqual([1, 3, 2, 4]);
    x.add_(x);
    expect(await read(x)).toEqual([2, 6, 4, 8]);
    x.slice(0, 0, 1).copy_(x.slice(0, 1, 2));
    expect(await read(x)).toEqual([4, 8, 4, 8]);
  });

  it('refuses to write where gradients would be wrong', async () => {
    const leaf = make([1, 2], [2]).requiresGrad_();
    const y = leaf.mul(2);
    throwsExactly(
      () => leaf.add_(1),
      GradError,
      "add_: expected a tensor that requires no gradient, got the leaf 'tensor', which does; write inside noGrad, or use the function that returns a new tensor",
    );
    throwsExactly(
      () => y.zero_(),
      GradError,
      "zero_: expected a tensor that requires no gradient, got the output of 'mul', which does; write inside noGrad, or use the function that returns a new tensor",
    );
    throwsExactly(
      () => make([0, 0], [2]).copy_(y),
      GradError,
      "copy_: expected a source that requires no gradient, got the output of 'mul', which does and whose history would be lost; use detach() or write inside noGrad",
    );
    noGrad(() => leaf.sub_(1));
    expect(await read(leaf)).toEqual([0, 1]);
    expect(leaf.requiresGrad).toBe(true);
    const square = leaf.square().sum();
    noGrad(() => leaf.fill_(3));
    throwsExactly(
      () => square.backward(),
      GradError,
      "backward: a value saved by 'square' was changed in place afterwards (version 2, expected 1); clone() it before the change, or make the change after backward",
    );
  });

  it('says in words what does not fit', () => {
    const x = make([1, 2], [2]);
    throwsExactly(
      () => make([1], [1]).expand([3]).add_(1),
      ShapeError,
      'add_: expected a tensor of separate elements, got one expanded to [3], whose elements share memory; clone() it first',
    );
    throwsExactly(
      () => x.copy_(make([1, 2, 3, 4], [2, 2])),
      ShapeError,
      'copy_: expected a shape that broadcasts to [2], got [2, 2]',
    );
    throwsExactly(
      () => x.mul_(tensor([1, 2], { device: place.device, dtype: 'int32' })),
      DTypeError,
      `mul_: expected one dtype, got ${dtype} and int32; convert with x.to('${dtype}')`,
    );
    throwsExactly(
      () => tensor([1], { device: place.device, dtype: 'int32' }).div_(2),
      DTypeError,
      "div_: expected a floating-point tensor, got int32; convert with x.to('float32')",
    );
  });

  it('converts dtypes with gradients, and moves to other devices without', async () => {
    const x = make([1.5, -2.5], [2]).requiresGrad_();
    const half = x.to('float16');
    expect([half.dtype, half.requiresGrad]).toEqual(['float16', true]);
    half
      .to(dtype)
      .mul(make([2, 3], [2]))
      .sum()
      .backward();
    expect([x.grad!.dtype, await read(x.grad!)]).toEqual([dtype, [2, 3]]);
    expect(x.to(dtype)).toBe(x);
    const whole = x.to('int32');
    expect([whole.requiresGrad, await read(whole)]).toEqual([false, [1, -2]]);

    const other = openCPU();
    const moved = await x.to(other);
    expect([moved.device, moved.dtype, moved.requiresGrad]).toEqual([other, dtype, false]);
    expect(await read(moved)).toEqual([1.5, -2.5]);
    const flags = await tensor([[true], [false]], { device: place.device }).to(other);
    expect([flags.shape, flags.dtype, await read(flags)]).toEqual([[2, 1], 'bool', [1, 0]]);
    throwsExactly(
      () => make([0, 0], [2]).copy_(moved),
      DeviceError,
      `copy_: expected tensors on one device, got ${place.device.info.name} and ${other.info.name}; move one with await x.to(device)`,
    );
    await other.close();
  });
});

it('names the dtypes of a device that lacks one', async () => {
  const { openWebGPU } = await import('../../src/device/webgpu/device.js');
  const gpu = await openWebGPU({ adapter: 'null' });
  throwsExactly(
    () => tensor([1], { device: gpu }).to('float64'),
    DTypeError,
    "to: expected one of float32, float16, int32, uint32, bool on Dawn's null backend, got float64",
  );
  await expect(tensor([1], { device: cpuDevice(), dtype: 'float64' }).to(gpu)).rejects.toThrow(DTypeError);
  await gpu.close();
});
