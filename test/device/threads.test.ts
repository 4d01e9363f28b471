import { afterAll, describe, expect, test } from 'vitest';
import { type CPUDevice, openCPU } from '../../src/device/cpu/device.js';
import { SPLITS } from '../../src/device/cpu/threads-table.js';
import { ACTIVE } from '../../src/device/cpu/threads-worker.js';
import { DeviceError } from '../../src/device/errors.js';
import type { SimdModule } from '../../src/device/types.js';
import { difference, numbers, openThreads, runCase, threadCases } from '../support/threads-cases.js';
import { moreThreadCases } from '../support/threads-cases-more.js';
import { trainingLosses } from '../support/training-losses.js';

const alone = openCPU({ threads: 1 });
const [two, four] = await Promise.all([openThreads(2), openThreads(4)]);
afterAll(() => Promise.all([alone, two, four].map((device) => device.close())));

describe('results do not depend on the number of threads', () => {
  test.each(Object.keys(SPLITS).flatMap((name) => [...threadCases(name), ...moreThreadCases(name)]))(
    '$name',
    async (c) => {
      const expected = await runCase(alone, c);
      // Parts are dealt anew each time.
      for (const device of [two, four, two, four])
        expect(difference(await runCase(device, c), expected)).toBe(null);
    },
  );
});

test('ten training steps give the same bits with every number of threads', async () => {
  const losses = await trainingLosses(alone);
  expect(losses[9]).toBeLessThan(losses[0]);
  for (const device of [two, four]) expect(await trainingLosses(device)).toEqual(losses);
});

describe('the pool', () => {
  test('all threads have started, and take part', async () => {
    expect([alone, two, four].map((device) => device.info.limits.threads)).toEqual([1, 2, 4]);
    expect([alone, two, four].map((device) => device.threads.ready)).toEqual([0, 1, 3]);
    // A worker packs into scratch of its own, which stays as it was where only the main thread computes.
    const [m, n, k] = [96, 96, 96];
    let joined = false;
    for (let attempt = 0; attempt < 1000 && !joined; attempt++) {
      await runCase(two, {
        name: 'matmul',
        arrays: [numbers(m * k), numbers(k * n), new Float32Array(m * n)],
        run(module, [a, b, c]) {
          const bytes = module.matmulScratchBytes(m, n, k);
          const scratch = module.threadScratch(bytes);
          const mine = scratch + Math.ceil(bytes / 64) * 64 + 192;
          const before = module.loadU32(mine);
          module.scale(1, mine, 3, mine);
          const marked = module.loadU32(mine);
          module.matmul(m, n, k, a, k, 1, b, n, 1, c, n, scratch);
          joined ||= module.loadU32(mine) !== marked || marked !== before;
        },
      });
    }
    expect(joined).toBe(true);
  });

  test('calls made together may be of several kinds, and more than the list holds', async () => {
    const [rows, columns] = [1300, 16];
    const c = {
      name: 'together',
      arrays: [numbers(rows * columns), new Float32Array(rows * columns), new Float32Array(rows * columns)],
      run(module: SimdModule, [x, y, z]: readonly number[]) {
        module.together(() => {
          for (let i = 0; i < rows; i++) {
            const at = 4 * i * columns;
            module.softmax(1, columns, x + at, y + at);
            module.tanh(1, columns, x + at, columns, 1, z + at);
          }
        });
      },
    };
    expect(difference(await runCase(four, c), await runCase(alone, c))).toBe(null);
  });

  test('together hands on what is thrown, and forgets the calls', async () => {
    const c = {
      name: 'together',
      arrays: [numbers(1000), new Float32Array(1000)],
      run(module: SimdModule, [x, y]: readonly number[]) {
        expect(() =>
          module.together(() => {
            module.exp(1, 1000, x, 1000, 1, y);
            throw new RangeError('no');
          }),
        ).toThrow(new RangeError('no'));
      },
    };
    expect((await runCase(four, c))[1].every((bits) => bits === 0)).toBe(true);
  });

  test('a class out of range is reported from any part', async () => {
    for (const device of [alone, two, four]) {
      const targets = new Int32Array(200);
      targets[170] = 99;
      const c = {
        name: 'crossEntropy',
        arrays: [numbers(200 * 20), targets, new Float32Array(200), new Float32Array(600)],
        run: (module: SimdModule, [x, t, losses, stats]: readonly number[]) =>
          module.crossEntropy(200, 20, x, t, 0, -1, losses, stats),
      };
      expect((await runCase(device, c)).at(-1)).toEqual(new Uint32Array(2));
    }
  });

  test('memory that grows is seen by all threads', async () => {
    const device = await openThreads(2);
    device.allocate(40 * 1024 ** 2, 'test');
    const [c] = threadCases('gelu');
    for (let i = 0; i < 20; i++)
      expect(difference(await runCase(device, c), await runCase(alone, c))).toBe(null);
    await device.close();
  });

  test('a trap on any thread is an error, and the threads go on', async () => {
    const c = {
      name: 'trap',
      arrays: [numbers(64)],
      run(module: SimdModule, [x]: readonly number[]) {
        // Beyond the end of the memory.
        expect(() => module.exp(64, 1, x, 2 ** 26, 1, x)).toThrow();
      },
    };
    await runCase(two, c);
    const [fine] = threadCases('softmax');
    expect(difference(await runCase(two, fine), await runCase(alone, fine))).toBe(null);
  });

  test('workers that have ended are not waited for', async () => {
    const device = await openThreads(4);
    const { workers } = device.threads as unknown as { workers: { terminate(): Promise<void> }[] };
    await Promise.all(workers.map((worker) => worker.terminate()));
    const [c] = threadCases('tanh');
    expect(difference(await runCase(device, c), await runCase(alone, c))).toBe(null);
    await device.close();
  });

  test('a worker that never finishes is an error, and the device goes on alone', async () => {
    const device = await openThreads(3);
    const { threads } = device;
    threads.patience = 2;
    // As if a worker had ended in the middle of a call.
    const { words } = threads as unknown as { words: Int32Array };
    Atomics.add(words, ACTIVE, 1);
    const [c] = threadCases('tanh');
    await expect(runCase(device, c)).rejects.toThrow(/a worker thread ended, or stood still/);
    expect(threads.count).toBe(1);
    expect(difference(await runCase(device, c), await runCase(alone, c))).toBe(null);
    await device.close();
  });

  test('closing twice, closing before the workers have started, and using a closed device', async () => {
    const device = openCPU({ threads: 3 });
    device.threads.worth = 0;
    const [c] = threadCases('neg');
    await runCase(device, c);
    await Promise.all([device.close(), device.close()]);
    expect(() => device.allocate(4, 'test')).toThrow(DeviceError);
  });
});

describe('how many threads', () => {
  const before = process.env.DAWNGRAD_THREADS;
  const count = (text: string | undefined, asked?: number): number => {
    if (text === undefined) delete process.env.DAWNGRAD_THREADS;
    else process.env.DAWNGRAD_THREADS = text;
    let device: CPUDevice | undefined;
    try {
      device = openCPU({ threads: asked });
      return device.info.limits.threads;
    } finally {
      void device?.close();
      if (before === undefined) delete process.env.DAWNGRAD_THREADS;
      else process.env.DAWNGRAD_THREADS = before;
    }
  };

  test('the environment, overridden by the option', () => {
    expect(count('3')).toBe(3);
    expect(count(' 1 ')).toBe(1);
    expect(count('3', 2)).toBe(2);
    expect(count(undefined)).toBeGreaterThanOrEqual(1);
    expect(count('')).toBe(count(undefined));
  });

  test.each(['0', '-1', '65', 'two', '2.5', '1e1'])('DAWNGRAD_THREADS=%s is an error', (text) => {
    expect(() => count(text)).toThrow(
      new DeviceError(
        `openDevice: expected a whole number of threads from 1 to 64, got DAWNGRAD_THREADS='${text}'; ` +
          'leave it out for one per core',
      ),
    );
  });

  test('so is an option out of range', () => {
    expect(() => count(undefined, 0)).toThrow(/got threads: 0;/);
    expect(() => count(undefined, 1.5)).toThrow(/got threads: 1.5;/);
  });
});
