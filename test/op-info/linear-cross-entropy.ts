import { mode } from '../../src/autograd/mode.js';
import { zeros } from '../../src/autograd/ops/creation.js';
import { linearCrossEntropy } from '../../src/autograd/ops/linear-cross-entropy.js';
import { DTypeError, ShapeError } from '../../src/device/errors.js';
import { tensor } from '../../src/tensor/factories.js';
import { type Arg, integers, type OpInfo, row, type Sample, values } from './types.js';

interface Options {
  chunk?: number;
  ignoreIndex?: number;
  labelSmoothing?: number;
  reduction?: 'mean' | 'sum' | 'none';
}

const int = (data: number[], shape = [data.length]): Arg => ({ shape, data, dtype: 'int32' });
const x = values([5, 8], 1);
const weight = values([13, 8], 2);
const bias = values([13], 3);
const targets = int([0, 12, 4, -100, 5]);

const samples: readonly Sample[] = [
  ...(['mean', 'sum', 'none'] as const).map((reduction) => ({
    name: `chunks of 4, ${reduction}`,
    inputs: [x, weight, targets],
    params: { chunk: 4, reduction },
  })),
  { name: 'biased', inputs: [x, weight, targets, bias], params: { chunk: 5 } },
  {
    name: 'smoothed and biased',
    inputs: [x, weight, targets, bias],
    params: { chunk: 4, labelSmoothing: 0.125 },
  },
  {
    name: 'another class ignored',
    inputs: [x, weight, int([0, 12, 4, 4, 5])],
    params: { chunk: 4, ignoreIndex: 4 },
  },
  { name: 'one chunk', inputs: [x, weight, targets, bias], params: { chunk: 13 } },
  {
    name: 'a word per chunk',
    inputs: [values([3, 4], 4), values([4, 4], 5), int([3, 0, 1])],
    params: { chunk: 1 },
  },
  {
    name: 'one column',
    inputs: [values([3, 1], 4), values([4, 1], 5), int([3, 0, 1]), values([4], 6)],
    params: { chunk: 3 },
  },
  { name: 'few words: as linear and crossEntropy', inputs: [x, weight, targets, bias] },
  {
    name: 'batches',
    inputs: [values([2, 3, 4], 6), values([7, 4], 7), integers([2, 3], 8, 0, 6)],
    params: { chunk: 4 },
  },
  {
    name: 'vectors in chunks',
    inputs: [
      values([6, 12], 9, -1, 1),
      values([40, 12], 10, -1, 1),
      integers([6], 11, 0, 39),
      values([40], 12),
    ],
    params: { chunk: 16 },
  },
  {
    name: 'many rows',
    inputs: [values([70, 4], 13), values([150, 4], 14), integers([70], 15, 0, 149)],
    params: { chunk: 64, reduction: 'none' },
    noGolden: true,
  },
  {
    name: 'all ignored, sum: 0',
    inputs: [x, weight, int([-100, -100, -100, -100, -100])],
    params: { chunk: 4, reduction: 'sum' },
  },
  {
    name: 'no rows, sum',
    inputs: [{ shape: [0, 8], data: [] }, weight, int([])],
    params: { chunk: 4, reduction: 'sum' },
    noGrad: true,
  },
  {
    name: 'special scores, none',
    inputs: [
      { shape: [4, 1], data: [1, Infinity, NaN, -1] },
      { shape: [5, 1], data: [1000, -1000, 2, 1, -2] },
      int([0, 1, 1, 4]),
    ],
    params: { chunk: 2, reduction: 'none' },
    noGrad: true,
  },
];

export const linearCrossEntropies: readonly OpInfo[] = [
  row<Options>({
    name: 'linearCrossEntropy',
    covers: ['linearCrossEntropy', 'linearCrossEntropyBackward', 'lossMean'],
    run: ([a, w, t, b], options) => linearCrossEntropy(a, w, t, { ...options, bias: b }),
    torch:
      'F.cross_entropy(F.linear(a.reshape(-1, a.shape[-1]), b, inputs[3] if len(inputs) > 3 else None), c.reshape(-1).long(), label_smoothing=p.get("labelSmoothing", 0.0), ignore_index=p.get("ignoreIndex", -100), reduction=p.get("reduction", "mean")).reshape(c.shape if p.get("reduction") == "none" else ())',
    gradInputs: [0, 1, 3],
    samples,
    errors: [
      {
        name: 'another width',
        run: (device) =>
          linearCrossEntropy(
            zeros([2, 3], { device }),
            zeros([5, 4], { device }),
            tensor([0, 1], { device, dtype: 'int32' }),
          ),
        error: ShapeError,
        message:
          'linearCrossEntropy: expected x [..., C], weight [V, C] with V > 0 and targets [...], got [2, 3], [5, 4] and [2]',
      },
      {
        name: 'a bias of another size',
        run: (device) =>
          linearCrossEntropy(
            zeros([2, 4], { device }),
            zeros([5, 4], { device }),
            tensor([0, 1], { device, dtype: 'int32' }),
            { bias: zeros([4], { device }) },
          ),
        error: ShapeError,
        message: 'linearCrossEntropy: expected a bias of shape [5], got [4]',
      },
      {
        name: 'targets that are no classes',
        run: (device) =>
          linearCrossEntropy(zeros([2, 4], { device }), zeros([5, 4], { device }), zeros([2], { device })),
        error: DTypeError,
        message:
          "linearCrossEntropy: expected int32 or uint32 classes, got float32; convert with targets.to('int32')",
      },
      {
        name: 'an empty chunk',
        run: (device) =>
          linearCrossEntropy(
            zeros([2, 4], { device }),
            zeros([5, 4], { device }),
            tensor([0, 1], { device, dtype: 'int32' }),
            { chunk: 0 },
          ),
        error: ShapeError,
        message: 'linearCrossEntropy: expected a chunk of at least one word, got 0',
      },
      {
        name: 'a class out of range, in debug mode',
        async run(device) {
          mode.debug = true;
          try {
            const t = tensor([0, 5], { device, dtype: 'int32' });
            await linearCrossEntropy(zeros([2, 4], { device }), zeros([5, 4], { device }), t, {
              chunk: 2,
            }).data();
          } finally {
            mode.debug = false;
          }
        },
        error: ShapeError,
        message: 'linearCrossEntropy: expected indices in [0, 5), got 5 at position 1',
      },
    ],
  }),
];
