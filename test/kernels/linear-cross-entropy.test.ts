import { afterAll, describe, expect, it } from 'vitest';
import '../../src/autograd/methods.js';
import { full, zeros } from '../../src/autograd/ops/creation.js';
import { linearCrossEntropy } from '../../src/autograd/ops/linear-cross-entropy.js';
import { randint, randn } from '../../src/autograd/ops/random.js';
import { openCPU } from '../../src/device/cpu/device.js';
import type { Device } from '../../src/device/types.js';
import { openWebGPU } from '../../src/device/webgpu/device.js';
import { scope } from '../../src/tensor/lifetime.js';

/** GPT-2's vocabulary. */
const WORDS = 50_257;
const ROWS = 1024;
const WIDTH = 16;
/** Bytes of the scores of all words. */
const ALL = ROWS * WORDS * 4;

/** Runs a step forward and backward and says what it took beside its operands and their gradients. */
async function peak(device: Device): Promise<number> {
  const x = randn([ROWS, WIDTH], { device }).requiresGrad_();
  const weight = randn([WORDS, WIDTH], { device }).requiresGrad_();
  const targets = randint(0, WORDS, [ROWS], { device });
  await device.synchronize();
  const before = device.memory().liveBytes;
  device.resetPeak();
  scope(() => linearCrossEntropy(x, weight, targets).backward());
  await device.synchronize();
  return device.memory().peakBytes - before;
}

describe('a vocabulary of 50,257 words', () => {
  const open: Device[] = [];
  afterAll(async () => {
    for (const device of open) await device.close();
  });

  it('never has its scores in memory, on the CPU device', async () => {
    const device = openCPU();
    open.push(device);
    expect(await peak(device)).toBeLessThan(ALL / 6);
  });

  it('never has its scores in memory, on WebGPU', async () => {
    // Dawn's null backend hands out memory and computes nothing.
    const device = await openWebGPU({ adapter: 'null' });
    open.push(device);
    expect(await peak(device)).toBeLessThan(ALL / 6);
  });

  it('knows the loss of even scores', async () => {
    const device = openCPU();
    open.push(device);
    const x = zeros([40, 8], { device });
    const weight = randn([WORDS, 8], { device });
    const targets = full([40], 50_000, { device, dtype: 'int32' });
    const bias = zeros([WORDS], { device }).requiresGrad_();
    const loss = linearCrossEntropy(x, weight, targets, { bias, chunk: 2048 });
    expect(await loss.item()).toBeCloseTo(Math.log(WORDS), 4);
    loss.backward();
    const slope = await bias.grad!.data();
    expect(slope[50_000]).toBeCloseTo(1 / WORDS - 1, 5);
    expect(slope[3]).toBeCloseTo(1 / WORDS, 8);
  });
});
