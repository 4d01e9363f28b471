/** What the op table cannot say of indexing: range checks, the gradient of padding, the order of sums. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import '../src/autograd/methods.js';
import { setDebug } from '../src/autograd/mode.js';
import {
  embedding,
  gather,
  indexAdd,
  indexSelect,
  scatterAdd,
  takeAlongDim,
} from '../src/autograd/ops/index.js';
import { oneHot } from '../src/autograd/ops/one-hot.js';
import { rand, randint } from '../src/autograd/ops/random.js';
import { ShapeError } from '../src/device/errors.js';
import type { Device } from '../src/device/types.js';
import { openWebGPU } from '../src/device/webgpu/device.js';
import { cpuDevice } from '../src/tensor/default-device.js';
import { tensor } from '../src/tensor/factories.js';
import { scope } from '../src/tensor/lifetime.js';
import { synchronize } from '../src/tensor/pending.js';
import { Generator } from '../src/tensor/random.js';
import type { Tensor } from '../src/tensor/tensor.js';
import { ADAPTER, problem } from './support/webgpu.js';

/** Every function that takes indices, called with one that is out of range, and what it says. */
function wrong(device: Device): { run: () => Tensor; message: string }[] {
  const x = tensor([[1, 2, 3]], { device });
  const int = (values: number[] | number[][]) => tensor(values, { device, dtype: 'int32' });
  const text = (op: string, size: number, got: number, at: number) =>
    `${op}: expected indices in [0, ${size}), got ${got} at position ${at}`;
  return [
    {
      run: () =>
        embedding(
          x,
          int([
            [0, 0],
            [0, 1],
          ]),
        ),
      message: text('embedding', 1, 1, 3),
    },
    { run: () => embedding(x, int([0, -1, 5])), message: text('embedding', 1, -1, 1) },
    { run: () => gather(x, 1, int([[2, 3]])), message: text('gather', 3, 3, 1) },
    { run: () => takeAlongDim(x, int([[-4]]), 1), message: text('takeAlongDim', 3, -4, 0) },
    { run: () => scatterAdd(x, 1, int([[0, 7]]), x), message: text('scatterAdd', 3, 7, 1) },
    { run: () => indexSelect(x, 1, int([1, 3])), message: text('indexSelect', 3, 3, 1) },
    { run: () => indexAdd(x, 0, int([1]), x), message: text('indexAdd', 1, 1, 0) },
    { run: () => oneHot(int([0, 4]), 4), message: text('oneHot', 4, 4, 1) },
    {
      run: () => embedding(x, tensor(Uint32Array.of(0, 2 ** 32 - 1), { device })),
      message: text('embedding', 1, 2 ** 32 - 1, 1),
    },
  ];
}

const int = (device: Device, values: number[]) => tensor(values, { device, dtype: 'int32' });

function suite(open: () => Promise<Device>, checksAtOnce: boolean): void {
  let device: Device;
  beforeAll(async () => {
    device = await open();
  });
  afterAll(() => (checksAtOnce ? undefined : device?.close()));
  afterEach(() => setDebug(false));

  it('says which index is out of range', async () => {
    for (const { run, message } of wrong(device)) {
      const error = new ShapeError(message);
      if (checksAtOnce) expect(run).toThrow(error);
      else {
        setDebug(true);
        const y = run();
        await expect(y.data(), message).rejects.toThrow(error);
        // Reported once; what was computed can still be read.
        expect((await y.data()).length).toBe(y.numel);
      }
    }
  });

  it('finds nothing wrong with indices in range in debug mode', async () => {
    setDebug(true);
    const before = device.memory().liveBuffers;
    const y = scope(() => embedding(tensor([[1], [2]], { device }), int(device, [1, 0, 1])));
    expect(Array.from(await y.data())).toEqual([2, 1, 2]);
    y.release();
    // The garbage collector may have found tensors of earlier tests meanwhile.
    expect(device.memory().liveBuffers).toBeLessThanOrEqual(before);
  });

  it('gives the padding row no gradient, and its second derivative none either', async () => {
    const w = tensor(
      [
        [1, 2],
        [3, 4],
        [5, 6],
      ],
      { device, requiresGrad: true },
    );
    const y = embedding(w, int(device, [1, 0, 1, 2, 0]), { paddingIdx: 1 });
    y.mul(y).sum().backward({ createGraph: true });
    // 2·w per use; row 0 is used twice, row 1 is padding.
    expect(Array.from(await w.grad!.data())).toEqual([4, 8, 0, 0, 10, 12]);
    const first = w.grad!;
    w.grad = null;
    first.sum().backward();
    expect(Array.from(await w.grad!.data())).toEqual([4, 4, 0, 0, 2, 2]);
  });

  it('gives the padding row of a large table no gradient', async () => {
    const w = rand([200, 4], { device }).requiresGrad_();
    embedding(w, int(device, [7, 150, 7, 199, 7]), { paddingIdx: 7 })
      .sum()
      .backward();
    const slope = Array.from(await w.grad!.data());
    expect(slope.flatMap((g, i) => (g === 0 ? [] : [i]))).toEqual(
      [150, 199].flatMap((r) => [0, 1, 2, 3].map((c) => 4 * r + c)),
    );
  });

  it('adds in the same order every time', async () => {
    const generator = new Generator(5);
    const index = randint(0, 7, [3000], { device, generator });
    const src = rand([3000, 3], { device, generator });
    const weight = rand([7, 3], { device, generator });
    const sums = async (): Promise<number[]> => {
      const w = weight.detach().requiresGrad_();
      embedding(w, index).mul(src).sum().backward();
      return Array.from(await w.grad!.data());
    };
    const first = await sums();
    const expected = new Float64Array(21);
    const [rows, values] = [await index.data(), await src.data()];
    rows.forEach((row, i) => {
      for (let c = 0; c < 3; c++) expected[row * 3 + c] += values[i * 3 + c];
    });
    first.forEach((v, i) => {
      expect(Math.abs(v / expected[i] - 1)).toBeLessThan(1e-5);
    });
    expect(await sums()).toEqual(first);
  });

  // A device that cannot throw at once.
  if (checksAtOnce) return;

  it('reports the first of several, at any await, also when their scope has ended', async () => {
    setDebug(true);
    scope(() => {
      embedding(tensor([[1], [2]], { device }), int(device, [0, 1]));
      embedding(tensor([[1], [2]], { device }), int(device, [1, 2]));
      gather(tensor([1, 2], { device }), 0, int(device, [9]));
    });
    await expect(tensor([], { device }).data()).rejects.toThrow(
      new ShapeError('embedding: expected indices in [0, 2), got 2 at position 1'),
    );
    gather(tensor([1, 2], { device }), 0, int(device, [9]));
    await expect(synchronize(device)).rejects.toThrow(
      new ShapeError('gather: expected indices in [0, 2), got 9 at position 0'),
    );
    await synchronize(device);
  });

  it('stays within its memory outside debug mode', async () => {
    const x = tensor(
      [
        [1, 2],
        [3, 4],
      ],
      { device },
    );
    const far = int(device, [-1, 2, 2 ** 31 - 1]);
    expect(Array.from(await embedding(x, far).data())).toEqual([3, 4, 3, 4, 3, 4]);
    expect(Array.from(await gather(tensor([5, 6], { device }), 0, far).data())).toEqual([6, 6, 6]);
    const src = tensor([1, 1, 1], { device });
    expect(Array.from(await scatterAdd(tensor([5, 6], { device }), 0, far, src).data())).toEqual([5, 6]);
    expect(Array.from(await indexAdd(tensor([5, 6], { device }), 0, far, src).data())).toEqual([5, 6]);
    expect(Array.from(await oneHot(far, 2).data())).toEqual([0, 0, 0, 0, 0, 0]);
  });
}

describe('cpu', () => suite(async () => cpuDevice(), true));
describe.skipIf(problem !== null)(`webgpu${problem ? ` (skipped: ${problem})` : ''}`, () =>
  suite(() => openWebGPU({ adapter: ADAPTER }), false),
);
