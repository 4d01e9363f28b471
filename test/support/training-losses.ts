/** Ten training steps that every device and every browser must repeat. */
import type { Device } from '../../src/device/types.js';
import { CharTransformer } from '../../src/models/char-transformer.js';
import { AdamW } from '../../src/optim/adam.js';
import { clipGradNorm_ } from '../../src/optim/clip.js';
import { defaultDevice, setDefaultDevice } from '../../src/tensor/default-device.js';
import { keep, scope } from '../../src/tensor/lifetime.js';
import { manualSeed } from '../../src/tensor/random.js';
import type { Tensor } from '../../src/tensor/tensor.js';
import { consecutiveWindows, toTensors } from '../../src/train/batches.js';

const TEXT =
  'Call me Ishmael. Some years ago—never mind how long precisely—having little or no money in my purse, and nothing ' +
  'particular to interest me on shore, I thought I would sail about a little and see the watery part of the world. It ' +
  'is a way I have of driving off the spleen and regulating the circulation.';

/** The losses of ten AdamW steps of a Transformer of two layers with dropout, all from one seed. */
export async function trainingLosses(device: Device): Promise<number[]> {
  const characters = [...new Set(TEXT)].sort();
  const ids = Int32Array.from([...TEXT].map((c) => characters.indexOf(c)));
  const [batch] = consecutiveWindows(ids, 8, 32);

  const before = defaultDevice();
  setDefaultDevice(device);
  manualSeed(7);
  const model = new CharTransformer({
    vocabSize: characters.length,
    blockSize: 32,
    layers: 2,
    heads: 4,
    dim: 32,
    dropout: 0.1,
  });
  setDefaultDevice(before);

  const optimizer = new AdamW(model.parameters(), { lr: 1e-2, weightDecay: 0.1 });
  const losses: Tensor[] = [];
  for (let step = 0; step < 10; step++) {
    losses.push(
      scope(() => {
        const loss = model.loss(...toTensors(batch, device));
        loss.backward();
        clipGradNorm_(model.parameters(), 1);
        optimizer.step();
        optimizer.zeroGrad();
        return keep(loss.detach());
      }),
    );
  }
  const values = await Promise.all(losses.map((loss) => loss.item()));
  for (const loss of losses) loss.release();
  return values;
}
