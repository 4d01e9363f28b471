/** GPT-2 against PyTorch: files, logits, loss, all gradients, ten AdamW losses. Golden values from scripts/golden/gpt2.py. */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import '../../src/autograd/methods.js';
import { capture } from '../../src/autograd/capture.js';
import { readSafetensorsFile } from '../../src/data/safetensors-file.js';
import { toFloat32, toInt32 } from '../../src/data/safetensors-values.js';
import type { Device } from '../../src/device/types.js';
import { openWebGPU } from '../../src/device/webgpu/device.js';
import { GPT2 } from '../../src/models/gpt2.js';
import { loadGPT2 } from '../../src/models/gpt2-weights.js';
import { AdamW } from '../../src/optim/adam.js';
import { cpuDevice } from '../../src/tensor/default-device.js';
import { tensor } from '../../src/tensor/factories.js';
import { scope } from '../../src/tensor/lifetime.js';
import type { Tensor } from '../../src/tensor/tensor.js';
import { ADAPTER, problem } from '../support/webgpu.js';

/** What is promised in float32. */
const TOLERANCE = 1e-4;

/** The largest |x − y|, relative to the largest |y|. */
function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  expect(actual.length).toBe(expected.length);
  let scale = 0;
  let worst = 0;
  for (let i = 0; i < expected.length; i++) {
    scale = Math.max(scale, Math.abs(expected[i]));
    const error = Math.abs(actual[i] - expected[i]);
    worst = Math.max(worst, Number.isNaN(error) ? Number.POSITIVE_INFINITY : error);
  }
  return worst / scale;
}

/** [out, in] as the file's [in, out]. */
function transposed(values: ArrayLike<number>, [rows, columns]: readonly number[]): Float64Array {
  return Float64Array.from(
    { length: rows * columns },
    (_, i) => values[(i % rows) * columns + Math.floor(i / rows)],
  );
}

const isConv1D = (name: string): boolean => /c_(attn|proj|fc)\.weight$/.test(name);

async function check(name: string, device: Device): Promise<Record<string, number>> {
  const folder = fileURLToPath(new URL(`../golden/gpt2/${name}`, import.meta.url));
  const { tensors, metadata } = await readSafetensorsFile(`${folder}/expected.safetensors`);
  const ints = (key: string): Tensor => {
    const entry = tensors.get(key)!;
    return tensor(toInt32(entry), { shape: entry.shape, device });
  };
  const model = await GPT2.fromPretrained(folder, { device });
  const [ids, targets] = [ints('ids'), ints('targets')];
  const errors: Record<string, number> = {};

  errors.logits = relativeError(await model.forward(ids).data(), toFloat32(tensors.get('logits')!));
  const loss = scope(() => {
    const value = model.loss(ids, targets);
    value.backward();
    return value.detach();
  });
  errors.loss = relativeError([await loss.item()], [Number(metadata.loss)]);
  errors.gradients = 0;
  const parameters = model.namedParameters();
  expect(parameters.map(([n]) => `gradient.${n.replace('transformer.', '')}`).sort()).toEqual(
    [...tensors.keys()].filter((key) => key.startsWith('gradient.')).sort(),
  );
  for (const [full, p] of parameters) {
    const values = await p.grad!.data();
    const expected = toFloat32(tensors.get(`gradient.${full.replace('transformer.', '')}`)!);
    const error = relativeError(isConv1D(full) ? transposed(values, p.shape) : values, expected);
    errors.gradients = Math.max(errors.gradients, error);
  }
  model.zeroGrad();
  const optimizer = new AdamW(model.parameters(), { lr: 1e-2, betas: [0.9, 0.99], weightDecay: 0.1 });
  // As training runs it: noted once, then replayed.
  const step = capture((x: Tensor, y: Tensor) => {
    const value = model.loss(x, y);
    value.backward();
    optimizer.step();
    optimizer.zeroGrad();
    return value;
  });
  const losses: number[] = [];
  for (let i = 0; i < 10; i++) losses.push(await step(ids, targets).item());
  expect(step.stats).toMatchObject({ captures: 1, replays: 9 });
  errors.tenLosses = relativeError(losses, JSON.parse(metadata.losses));
  if (process.env.DAWNGRAD_SHOW) console.log(name, device.info.name, errors);
  return errors;
}

function expectAll(errors: Record<string, number>): void {
  for (const [what, error] of Object.entries(errors)) expect(error, what).toBeLessThan(TOLERANCE);
}

describe('GPT-2 against PyTorch', () => {
  for (const name of ['two-layers', 'three-layers', 'wide-epsilon']) {
    it(`${name}, cpu`, async () => expectAll(await check(name, cpuDevice())));
  }

  describe.skipIf(problem !== null)(`webgpu${problem ? ` (skipped: ${problem})` : ''}`, () => {
    let device: Device;
    beforeAll(async () => {
      device = await openWebGPU({ adapter: ADAPTER });
    });
    afterAll(() => device?.close());
    it('two-layers', async () => expectAll(await check('two-layers', device)), 120_000);
  });
});

const tiny = fileURLToPath(new URL('../../../shared/data/tiny-gpt2', import.meta.url));
describe.skipIf(!existsSync(tiny))(
  `tiny-gpt2 of the Hub${existsSync(tiny) ? '' : ' (skipped: no shared/data)'}`,
  () => {
    it('gives the ids and outputs of the reference', async () => {
      const reference = JSON.parse(readFileSync(`${tiny}/reference.json`, 'utf8'));
      const { model, tokenizer } = await loadGPT2(tiny, { device: cpuDevice() });
      expect(model.config).toMatchObject({
        layers: 2,
        heads: 2,
        dim: 2,
        vocabSize: 50_257,
        attentionDropout: 0.1,
      });
      expect(model.training).toBe(false);
      const texts = ['Hello, world. I am a patient', 'The cat sat on the mat.<|endoftext|>'];
      expect(texts.map((text) => [...tokenizer.encode(text, { special: true })])).toEqual(reference.ids);

      const ids = tensor(Int32Array.from(reference.ids.flat()), { shape: [2, 8], device: cpuDevice() });
      const hidden = model.hidden(ids);
      expect(relativeError(await hidden.data(), reference.ln_f_out.flat(2))).toBeLessThan(TOLERANCE);
      const logits = Float32Array.from(await model.forward(ids).data());
      const rows = Array.from({ length: 16 }, (_, i) => logits.subarray(i * 50_257, (i + 1) * 50_257));
      const first = rows.flatMap((row) => [...row.subarray(0, 16)]);
      expect(relativeError(first, reference.logits_first16.flat(2))).toBeLessThan(TOLERANCE);
      const sums = rows.map((row) => Math.log(row.reduce((sum, x) => sum + Math.exp(x), 0)));
      expect(relativeError(sums, reference.logits_logsumexp.flat())).toBeLessThan(TOLERANCE);
      expect(rows.map((row) => row.indexOf(row.reduce((a, b) => Math.max(a, b))))).toEqual(
        reference.argmax.flat(),
      );
    });
  },
);
