import { describe, expect, it } from 'vitest';
import '../../src/autograd/methods.js';
import { checkpoint } from '../../src/autograd/checkpoint.js';
import { grad } from '../../src/autograd/engine.js';
import { customFunction } from '../../src/autograd/function.js';
import { gradcheck, gradgradcheck } from '../../src/autograd/gradcheck.js';
import { enableGrad, isGradEnabled, noGrad } from '../../src/autograd/mode.js';
import { defineOp } from '../../src/autograd/op.js';
import { dropout } from '../../src/autograd/ops/dropout.js';
import { openCPU } from '../../src/device/cpu/device.js';
import {
  DeviceError,
  DTypeError,
  GradError,
  ReleasedTensorError,
  ShapeError,
} from '../../src/device/errors.js';
import { cpuDevice } from '../../src/tensor/default-device.js';
import { tensor } from '../../src/tensor/factories.js';
import { keep, memory, scope } from '../../src/tensor/lifetime.js';
import { manualSeed } from '../../src/tensor/random.js';
import type { Tensor } from '../../src/tensor/tensor.js';

const leaf = (values: number[], dtype: 'float32' | 'float64' = 'float64'): Tensor =>
  tensor(values, { dtype, requiresGrad: true });
const list = async (t: Tensor | null): Promise<number[]> => Array.from(await t!.data());

describe('backward', () => {
  it('computes the gradient of a product', async () => {
    const x = leaf([1, 2, 3]);
    const y = leaf([4, 5, 6]);
    x.mul(y).sum().backward();
    expect(await list(x.grad)).toEqual([4, 5, 6]);
    expect(await list(y.grad)).toEqual([1, 2, 3]);
  });

  it('accumulates over calls and over paths', async () => {
    const x = leaf([1, 2]);
    x.mul(x).sum().backward();
    x.mul(3).add(x).sum().backward();
    expect(await list(x.grad)).toEqual([6, 8]);
  });

  it('takes a given gradient', async () => {
    const x = leaf([1, 2]);
    x.mul(x).backward({ gradient: tensor([10, 100], { dtype: 'float64' }) });
    expect(await list(x.grad)).toEqual([20, 400]);
  });

  it('reaches a leaf that is the root itself', async () => {
    const x = tensor(5, { requiresGrad: true });
    x.backward();
    expect(await x.grad!.item()).toBe(1);
  });

  it('gives every leaf a gradient of its own memory', async () => {
    const a = leaf([1, 2]);
    const b = leaf([3, 4]);
    a.add(b).sum().backward();
    expect(a.grad!.storage).not.toBe(b.grad!.storage);
    expect(a.grad!.isContiguous).toBe(true);
  });

  it('handles a graph deeper than the stack', async () => {
    const x = leaf([1]);
    let y: Tensor = x;
    for (let i = 0; i < 20_000; i++) y = y.add(0);
    y.sum().backward();
    expect(await list(x.grad)).toEqual([1]);
  });

  it('refuses what it cannot do, in words', () => {
    const x = leaf([1, 2]);
    const y = x.mul(x);
    expect(() => y.backward()).toThrow(
      new GradError(
        'backward: expected a scalar or a given gradient, got shape [2]; reduce it with sum() or mean()',
      ),
    );
    expect(() => y.backward({ gradient: tensor([1], { dtype: 'float64' }) })).toThrow(
      new ShapeError('backward: expected a gradient of shape [2], got [1]'),
    );
    const z = noGrad(() => x.mul(x).sum());
    expect(() => z.backward()).toThrow(
      new GradError(
        "backward: expected a tensor that requires a gradient, got the output of 'sum', which was made inside noGrad or from tensors without requiresGrad",
      ),
    );
  });

  it('frees what was saved, unless asked to keep it', async () => {
    const x = leaf([1, 2]);
    const y = x.mul(x).sum();
    y.backward({ retainGraph: true });
    y.backward();
    expect(await list(x.grad)).toEqual([4, 8]);
    expect(() => y.backward()).toThrow(
      new GradError(
        "backward: the values saved by 'mul' were already freed by an earlier backward; pass { retainGraph: true } to that call",
      ),
    );
  });

  it('notices that a saved value was changed in place', () => {
    const x = leaf([1, 2]);
    const w = tensor([3, 4], { dtype: 'float64' });
    const y = x.mul(w).sum();
    w.storage.version++;
    expect(() => y.backward()).toThrow(
      new GradError(
        "backward: a value saved by 'mul' was changed in place afterwards (version 1, expected 0); clone() it before the change, or make the change after backward",
      ),
    );
  });

  it('computes only what is wanted for frozen inputs', async () => {
    const x = leaf([1, 2]);
    const frozen = tensor([3, 4], { dtype: 'float64' });
    x.mul(frozen).sum().backward();
    expect(frozen.grad).toBeNull();
    expect(await list(x.grad)).toEqual([3, 4]);
  });
});

describe('grad', () => {
  it('gives gradients without touching .grad, of leaves and of what lies between', async () => {
    const x = leaf([2, 3]);
    const h = x.mul(x);
    const [gx, gh] = grad(h.mul(h).sum(), [x, h]);
    expect(await list(gx)).toEqual([32, 108]);
    expect(await list(gh)).toEqual([8, 18]);
    expect(x.grad).toBeNull();
  });

  it('differentiates gradients', async () => {
    const x = leaf([2]);
    const [g] = grad(x.mul(x).mul(x).sum(), [x], { createGraph: true });
    const [gg] = grad(g.sum(), [x], { createGraph: true });
    const [ggg] = grad(gg.sum(), [x]);
    expect([await list(g), await list(gg), await list(ggg)]).toEqual([[12], [12], [6]]);
  });

  it('says which input is not connected', () => {
    const x = leaf([2]);
    const other = leaf([1]);
    expect(() => grad(x.mul(2).sum(), [other])).toThrow(
      new GradError(
        "grad: expected outputs that depend on every input, got none for input 0 (made by 'tensor'); pass { allowUnused: true } for null",
      ),
    );
    expect(grad(x.mul(2).sum(), [other], { allowUnused: true })).toEqual([null]);
  });
});

describe('modes', () => {
  it('noGrad and enableGrad nest', () => {
    const x = leaf([1]);
    expect(noGrad(() => x.mul(2).requiresGrad)).toBe(false);
    expect(noGrad(() => enableGrad(() => x.mul(2).requiresGrad))).toBe(true);
    expect(isGradEnabled()).toBe(true);
    expect(() => noGrad(async () => {})).toThrow(
      'noGrad: expected a synchronous function, got one that returns a promise; await outside',
    );
  });

  it('detach cuts the graph and shares memory', () => {
    const x = leaf([1]);
    const d = x.mul(2).detach();
    expect(d.requiresGrad).toBe(false);
    expect(d.isLeaf).toBe(true);
  });

  it('requiresGrad is for floating-point leaves', () => {
    expect(() => tensor([1], { dtype: 'int32', requiresGrad: true })).toThrow(
      new DTypeError('requiresGrad: expected a floating-point tensor, got int32'),
    );
    const y = leaf([1]).mul(2);
    expect(() => {
      y.requiresGrad = false;
    }).toThrow(new GradError("requiresGrad: expected a leaf, got the output of 'mul'; use detach()"));
  });
});

describe('hooks', () => {
  it('see and replace gradients, on leaves and between, until removed', async () => {
    const x = leaf([1, 2]);
    const h = x.mul(3);
    const seen: number[][] = [];
    const pending: Promise<void>[] = [];
    const remove = h.registerHook((g) => {
      pending.push(list(g.clone()).then((v) => void seen.push(v)));
      return g.mul(10);
    });
    x.registerHook((g) => g.mul(2));
    h.sum().backward({ retainGraph: true });
    await Promise.all(pending);
    expect(seen).toEqual([[1, 1]]);
    expect(await list(x.grad)).toEqual([60, 60]);
    remove();
    x.grad = null;
    h.sum().backward();
    expect(await list(x.grad)).toEqual([6, 6]);
  });

  it('retainGrad keeps the gradient of a non-leaf', async () => {
    const x = leaf([1, 2]);
    const h = x.mul(3);
    h.retainGrad();
    h.mul(h).sum().backward();
    expect(await list(h.grad)).toEqual([6, 12]);
  });
});

describe('checkpoint', () => {
  const block = (x: Tensor, w: Tensor): Tensor => x.mul(w).mul(x).add(w);

  it('gives the same gradients, also of what the function closes over', async () => {
    const run = async (recompute: boolean): Promise<number[][]> => {
      const x = leaf([1, 2]);
      const w = leaf([3, 4]);
      const y = recompute ? checkpoint((t: Tensor) => block(t, w), x) : block(x, w);
      y.mul(y).sum().backward();
      return [await list(x.grad), await list(w.grad)];
    };
    expect(await run(true)).toEqual(await run(false));
  });

  it('works with grad(), twice differentiated, and nested', async () => {
    const fn = (x: Tensor): Tensor =>
      checkpoint((t: Tensor) => checkpoint((u: Tensor) => u.mul(u), t).mul(t), x);
    await gradcheck(fn, [leaf([1, 2])]);
    await gradgradcheck(fn, [leaf([1, 2])]);
  });

  it('draws the same random numbers again, and none that the rest of the program would miss', async () => {
    const run = async (recompute: boolean): Promise<number[][]> => {
      manualSeed(3);
      const x = leaf(Array.from({ length: 64 }, (_, i) => i / 8));
      const noisy = (t: Tensor): Tensor => dropout(t.mul(t), 0.5).mul(t);
      const y = recompute ? checkpoint(noisy, x) : noisy(x);
      y.mul(dropout(y, 0.5)).sum().backward();
      return [await list(y), await list(x.grad), await list(dropout(x.detach(), 0.5))];
    };
    const plain = await run(false);
    expect(await run(true)).toEqual(plain);
    expect(plain[0].filter((v) => v === 0).length).toBeGreaterThan(10);
  });

  it('holds less memory between forward and backward', () => {
    const device = openCPU();
    const held = (recompute: boolean): number => {
      const x = tensor(new Float32Array(4096), { device, requiresGrad: true });
      const many = (t: Tensor): Tensor => {
        for (let i = 0; i < 8; i++) t = t.mul(t);
        return t;
      };
      const y = scope(() => (recompute ? checkpoint(many, x) : many(x)));
      const bytes = device.memory().liveBytes;
      y.sum().backward();
      y.release();
      x.release();
      return bytes;
    };
    expect(held(true)).toBe(2 * 4096 * 4);
    expect(held(false)).toBeGreaterThanOrEqual(8 * 4096 * 4);
    // What is left: the constant 1 and the two sums.
    expect(device.memory().liveBytes).toBeLessThanOrEqual(3 * 256);
  });

  it('gives back what an unused branch saves again', () => {
    const device = openCPU();
    const x = tensor(new Float32Array(4096), { device, requiresGrad: true });
    const step = (): void => {
      scope(() => {
        const y = checkpoint((t: Tensor) => {
          t.mul(t).mul(t);
          return t.mul(t);
        }, x);
        y.sum().backward();
      });
      x.grad?.release();
      x.grad = null;
    };
    step();
    const live = device.memory().liveBytes;
    for (let i = 0; i < 5; i++) step();
    expect(device.memory().liveBytes).toBe(live);
  });

  it('notices a function that does something else the second time', () => {
    let calls = 0;
    const x = leaf([1]);
    const y = checkpoint((t: Tensor) => (calls++ === 0 ? t.mul(t) : t.mul(t).mul(t)), x);
    expect(() => y.sum().backward()).toThrow(
      new GradError(
        'checkpoint: expected the function to save 2 values again in backward, got 4; it must do the same both times',
      ),
    );
  });
});

describe('customFunction', () => {
  const cube = customFunction<[Tensor]>({
    name: 'cube',
    forward(ctx, x) {
      ctx.saveForBackward(x);
      return x.mul(x).mul(x);
    },
    backward(ctx, g) {
      const [x] = ctx.savedTensors;
      return g.mul(x).mul(x).mul(3);
    },
  });

  it('passes gradcheck and gradgradcheck', async () => {
    await gradcheck(cube, [leaf([0.5, -2])]);
    await gradgradcheck(cube, [leaf([0.5, -2])]);
  });

  it('wrong formulas fail gradcheck', async () => {
    const wrong = customFunction<[Tensor]>({
      name: 'wrong',
      forward: (_, x) => x.mul(x),
      backward: (_, g) => g,
    });
    await expect(gradcheck(wrong, [leaf([3])])).rejects.toThrow(
      /^gradcheck: input 0, element 0 of 1: expected .* by finite differences, got .* from backward$/,
    );
    const short = customFunction<[Tensor, Tensor]>({
      name: 'short',
      forward: (_, x, y) => x.mul(y),
      backward: (_, g) => g,
    });
    expect(() =>
      short(leaf([1]), leaf([2]))
        .sum()
        .backward(),
    ).toThrow(new GradError('short: expected 2 gradients from backward, one per input, got 1'));
    const shape = customFunction<[Tensor]>({
      name: 'shape',
      forward: (_, x) => x.sum(),
      backward: (_, g) => g,
    });
    expect(() => shape(leaf([1, 2])).backward()).toThrow(
      new ShapeError('shape: expected a gradient of shape [2] for input 0, got []'),
    );
  });

  it('gradcheck refuses float32', async () => {
    await expect(gradcheck((x) => x.mul(x), [leaf([1], 'float32')])).rejects.toThrow(
      new DTypeError(
        'gradcheck: expected float64 inputs, got float32 for input 0; differences need the precision',
      ),
    );
  });
});

describe('defineOp', () => {
  const parts = {
    infer: ([x]: readonly { shape: readonly number[]; dtype: 'float32' }[]) => x,
    host: () => {},
    kernel: () => [],
  } as never as Omit<Parameters<typeof defineOp<[Tensor], null>>[0], 'name'>;

  it('refuses an operation without a gradient that does not say so', () => {
    expect(() => defineOp<[Tensor], null>({ ...parts, name: 'silent' })).toThrow(
      "defineOp: expected 'silent' to have backward or to say differentiable: false, got neither",
    );
  });

  it('refuses a name that is taken', () => {
    expect(() => defineOp<[Tensor], null>({ ...parts, name: 'mul', differentiable: false })).toThrow(
      "defineOp: the name 'mul' is taken",
    );
  });
});

describe('lifetimes', () => {
  it('a scope releases what it does not return', () => {
    const before = cpuDevice().memory().liveBuffers;
    const x = leaf([1, 2, 3]);
    const kept: Tensor[] = [];
    const { y } = scope(() => {
      const a = x.mul(2);
      kept.push(keep(a.add(1)), a);
      return { y: a.mul(a) };
    });
    expect(kept.map((t) => t.isReleased)).toEqual([false, true]);
    expect(y.isReleased).toBe(false);
    expect(() => kept[1].shape && kept[1].add(1)).toThrow(
      new ReleasedTensorError(
        "this tensor of shape [3], made by 'mul', was released when its scope ended; return it from the scope or keep() it to use it longer",
      ),
    );
    for (const t of [x, y, kept[0]]) t.release();
    expect(cpuDevice().memory().liveBuffers).toBeLessThanOrEqual(before + 2);
  });

  it('a forward pass that nobody differentiates holds nothing after its scope', () => {
    const device = openCPU();
    const x = tensor([1, 2, 3], { device, requiresGrad: true });
    const live = device.memory().liveBuffers;
    scope(() => void x.mul(x).mul(x).sum());
    expect(device.memory().liveBuffers).toBe(live);
  });

  it('a training step leaves nothing but the gradient', () => {
    const device = openCPU();
    const w = tensor([1, 2, 3], { device, requiresGrad: true });
    const step = (): void => scope(() => w.mul(w).mul(w).sum().backward());
    step();
    const live = device.memory().liveBytes;
    const tensors = memory.liveTensors;
    for (let i = 0; i < 50; i++) step();
    expect(device.memory().liveBytes).toBe(live);
    expect(memory.liveTensors).toBe(tensors);
  });

  it('names the origin of live tensors', () => {
    memory.trackOrigins(true);
    const x = tensor([1, 2, 3, 4, 5, 6, 7]);
    memory.trackOrigins(false);
    const entry = memory.report().find((r) => r.shape.length === 1 && r.shape[0] === 7);
    expect(entry).toMatchObject({ op: 'tensor', dtype: 'float32', count: 1 });
    expect(entry!.where).toMatch(/engine\.test\.ts:\d+/);
    x.release();
  });

  it('the garbage collector is the backstop', async () => {
    expect(globalThis.gc, 'run with --expose-gc').toBeTypeOf('function');
    const device = openCPU();
    (() => {
      for (let i = 0; i < 100; i++) tensor([i], { device, requiresGrad: true }).mul(2);
    })();
    for (let i = 0; i < 50 && device.memory().liveBuffers > 2; i++) {
      globalThis.gc!();
      await new Promise((done) => setTimeout(done, 5));
    }
    expect(device.memory().liveBuffers).toBeLessThanOrEqual(2);
  });

  it('refuses asynchronous scopes', () => {
    expect(() => scope(async () => {})).toThrow(
      'scope: expected a synchronous function, got one that returns a promise; await outside the scope',
    );
  });
});

describe('devices', () => {
  it('tensors of two devices never meet', () => {
    const a = tensor([1]);
    const b = tensor([1], { device: openCPU() });
    expect(() => a.add(b)).toThrow(
      new DeviceError(
        'add: expected tensors on one device, got CPU (WebAssembly SIMD) and CPU (WebAssembly SIMD); move one with await x.to(device)',
      ),
    );
  });
});
