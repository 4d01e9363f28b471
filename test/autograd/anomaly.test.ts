import { expect, it } from 'vitest';
import '../../src/autograd/methods.js';
import { detectAnomaly } from '../../src/autograd/anomaly.js';
import { maskedFill } from '../../src/autograd/ops/select.js';
import { softmax } from '../../src/autograd/ops/softmax.js';
import { GradError } from '../../src/device/errors.js';
import { tensor } from '../../src/tensor/factories.js';
import { memory } from '../../src/tensor/lifetime.js';

it('names the operation that first made a NaN in forward', async () => {
  const x = tensor([1, -1], { requiresGrad: true });
  await expect(detectAnomaly(() => x.mul(2).log().mul(3).sum())).rejects.toThrow(
    new GradError(
      "detectAnomaly: 'log' (forward, output of shape [2]) made a NaN or an infinity from finite inputs",
    ),
  );
});

it('names the operation that first made an infinity in backward', async () => {
  const x = tensor([4, 0], { requiresGrad: true });
  await expect(detectAnomaly(() => x.sqrt().sum().backward())).rejects.toThrow(
    /^detectAnomaly: '\w+' \(backward, output of shape \[2\]\) made a NaN or an infinity from finite inputs$/,
  );
});

it('lets masks of −∞ pass, gives the result, and leaves nothing behind', async () => {
  const scores = tensor([[1, 2, 3]], { requiresGrad: true });
  const mask = tensor([[false, true, false]]);
  const run = () => {
    const p = softmax(maskedFill(scores, mask, -Infinity), -1);
    p.mul(p).sum().backward();
    return p.detach();
  };
  const p = await detectAnomaly(run);
  expect(Array.from(await p.data(), (v) => v > 0)).toEqual([true, false, true]);
  const live = memory.report().filter((r) => r.op === 'all' || r.op === 'isFinite');
  expect(live).toEqual([]);
});
