/** Rows written in place where an index on the device says. */
import { expect, it } from 'vitest';
import '../../src/autograd/methods.js';
import { capture } from '../../src/autograd/capture.js';
import { openCPU } from '../../src/device/cpu/device.js';
import { DeviceError, DTypeError, GradError, ShapeError } from '../../src/device/errors.js';
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

eachDevice('indexCopy_', (place) => {
  const { make } = place;
  const ints = (values: number[]): Tensor => tensor(values, { device: place.device, dtype: 'int32' });
  const counted = (shape: number[], from = 0): Tensor =>
    make(
      Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => from + i),
      shape,
    );

  it('writes rows along every dim and leaves the others', async () => {
    const x = make(Array(12).fill(0), [4, 3]);
    expect(x.indexCopy_(0, ints([2, 0]), counted([2, 3], 1))).toBe(x);
    expect(await read(x)).toEqual([4, 5, 6, 0, 0, 0, 1, 2, 3, 0, 0, 0]);
    x.indexCopy_(1, ints([1]), make([7, 8, 9, 10], [4, 1]));
    expect(await read(x)).toEqual([4, 7, 6, 0, 8, 0, 1, 9, 3, 0, 10, 0]);
    const y = make(Array(24).fill(0), [2, 3, 4]);
    y.indexCopy_(-2, ints([2]), counted([2, 1, 4], 1));
    expect(await read(y)).toEqual([
      ...[0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4],
      ...[0, 0, 0, 0, 0, 0, 0, 0, 5, 6, 7, 8],
    ]);
    x.indexCopy_(0, ints([]), make([], [0, 3]));
    expect(await read(x)).toEqual([4, 7, 6, 0, 8, 0, 1, 9, 3, 0, 10, 0]);
  });

  it('reads and writes views of any layout', async () => {
    // As a cache does: keys and values of [B, T, 3C], by head.
    const [B, T, H, D] = [2, 3, 2, 4];
    const qkv = counted([B, T, 3 * H * D]);
    const cache = make(Array(B * 2 * H * 5 * D).fill(-1), [B, 2, H, 5, D]);
    const fresh = qkv
      .narrow(2, H * D, 2 * H * D)
      .reshape([B, T, 2, H, D])
      .permute([0, 2, 3, 1, 4]);
    cache.indexCopy_(3, ints([4, 0, 2]), fresh);
    const [flat, got] = [await read(qkv), await read(cache)];
    for (let b = 0; b < B; b++)
      for (let s = 0; s < 2; s++)
        for (let h = 0; h < H; h++)
          for (let slot = 0; slot < 5; slot++)
            for (let d = 0; d < D; d++) {
              const t = [1, -1, 2, -1, 0][slot];
              const wanted = t < 0 ? -1 : flat[(b * T + t) * 3 * H * D + (s + 1) * H * D + h * D + d];
              expect(got[(((b * 2 + s) * H + h) * 5 + slot) * D + d]).toBe(wanted);
            }
    const x = counted([3, 2]);
    x.transpose(0, 1).indexCopy_(1, ints([1]), make([8, 9], [2, 1]));
    expect(await read(x)).toEqual([0, 1, 8, 9, 4, 5]);
    // Its own rows, through a copy.
    x.indexCopy_(0, ints([0]), x.narrow(0, 2, 1));
    expect(await read(x)).toEqual([4, 5, 8, 9, 4, 5]);
  });

  it('goes where the index says at every replay', async () => {
    const x = make([0, 0, 0, 0], [4]);
    const at = ints([0]);
    const step = capture((value: Tensor) => {
      x.indexCopy_(0, at, value);
      at.add_(1);
      return value.mul(2);
    });
    for (const v of [5, 6, 7]) step(make([v], [1]));
    expect(await read(x)).toEqual([5, 6, 7, 0]);
    expect(step.stats.captures).toBe(1);
  });

  it('refuses what does not fit', () => {
    const x = make([0, 0, 0, 0], [2, 2]);
    throwsExactly(
      () => x.indexCopy_(0, ints([0]), make([1, 2], [2, 1])),
      ShapeError,
      "indexCopy_: expected an index [K] and a source of x's shape [2, 2] with K along dim 0, got [1] and [2, 1]",
    );
    throwsExactly(
      () => x.indexCopy_(0, make([0], [1]), make([1, 2], [1, 2])),
      DTypeError,
      `indexCopy_: expected int32 or uint32 indices, got ${place.dtype}; convert with x.to('int32')`,
    );
    throwsExactly(
      () => x.indexCopy_(0, ints([0]), ints([1, 2]).reshape([1, 2])),
      DTypeError,
      `indexCopy_: expected one dtype, got ${place.dtype} and int32; convert with source.to('${place.dtype}')`,
    );
    expect(() => x.indexCopy_(0, ints([0]), make([1, 2], [1, 2]).requiresGrad_())).toThrow(GradError);
    if (place.device.info.kind === 'cpu') {
      throwsExactly(
        () => x.indexCopy_(0, ints([2]), make([1, 2], [1, 2])),
        ShapeError,
        'indexCopy_: expected indices in [0, 2), got 2 at position 0',
      );
    }
    const other = tensor([[1, 2]], { device: openCPU(), dtype: place.dtype });
    expect(() => x.indexCopy_(0, ints([0]), other)).toThrow(DeviceError);
  });
});
