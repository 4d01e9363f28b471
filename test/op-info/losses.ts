import { mode } from '../../src/autograd/mode.js';
import { zeros } from '../../src/autograd/ops/creation.js';
import {
  bceLoss,
  bceWithLogitsLoss,
  crossEntropy,
  huberLoss,
  l1Loss,
  mseLoss,
  nllLoss,
  smoothL1Loss,
} from '../../src/autograd/ops/losses.js';
import { DTypeError, ShapeError } from '../../src/device/errors.js';
import type { Device } from '../../src/device/types.js';
import { tensor } from '../../src/tensor/factories.js';
import { type ErrorSample, integers, type OpInfo, row, type Sample, values } from './types.js';

type Reduction = 'mean' | 'sum' | 'none';
interface Classes {
  reduction?: Reduction;
  ignoreIndex?: number;
  labelSmoothing?: number;
}

const int = (data: number[], shape = [data.length]) => ({ shape, data, dtype: 'int32' as const });
const floats = (data: number[], shape = [data.length]) => ({ shape, data });

/** One sample per reduction. */
function reductions(name: string, inputs: Sample['inputs'], params: object = {}): Sample[] {
  return (['mean', 'sum', 'none'] as const).map((reduction) => ({
    name: `${name}, ${reduction}`,
    inputs,
    params: { reduction, ...params },
  }));
}

const scores = values([4, 3], 1);
const weights = values([3], 5, 0.25, 2);
const mixed = int([2, -100, 0, 1]);
const { NaN: nan, POSITIVE_INFINITY: inf } = Number;

/** Samples that crossEntropy and nllLoss share. */
const classSamples: readonly Sample[] = [
  ...reductions('matrix', [scores, int([2, 0, 1, 1])]),
  ...reductions('ignored and weighted', [scores, mixed, weights]),
  { name: 'another class ignored', inputs: [scores, int([2, 0, 1, 1])], params: { ignoreIndex: 1 } },
  { name: 'one row', inputs: [values([5], 2), int([3], [])] },
  { name: 'one class', inputs: [values([3, 1], 2), int([0, 0, 0])] },
  { name: 'inner dims', inputs: [values([2, 3, 4], 3), integers([2, 4], 4, 0, 2)] },
  {
    name: 'two inner dims, weighted, none',
    inputs: [values([2, 3, 2, 2], 3), integers([2, 2, 2], 4, 0, 2), weights],
    params: { reduction: 'none' },
  },
  { name: 'many classes', inputs: [values([3, 300], 6), integers([3], 7, 0, 299)] },
  { name: 'many rows', inputs: [values([130, 5], 8), integers([130], 9, 0, 4)] },
  { name: 'all ignored, mean: NaN', inputs: [scores, int([-100, -100, -100, -100])], noGrad: true },
  {
    name: 'all ignored, sum: 0',
    inputs: [scores, int([-100, -100, -100, -100])],
    params: { reduction: 'sum' },
  },
  { name: 'no rows, sum', inputs: [floats([], [0, 3]), int([])], params: { reduction: 'sum' }, noGrad: true },
];

function classErrors(
  name: string,
  fn: (scores: ReturnType<typeof zeros>, target: ReturnType<typeof zeros>) => { data(): unknown },
): ErrorSample[] {
  const classes = (device: Device, data: number[]) => tensor(data, { device, dtype: 'int32' });
  return [
    {
      name: 'another number of rows',
      run: (device) => fn(zeros([4, 3], { device }), classes(device, [0, 1])),
      error: ShapeError,
      message: `${name}: expected scores [N, C, …] and classes [N, …], got [4, 3] and [2]`,
    },
    {
      name: 'no classes',
      run: (device) => fn(zeros([2, 0], { device }), classes(device, [0, 1])),
      error: ShapeError,
      message: `${name}: expected scores of shape [N, C, …] with C > 0, got [2, 0]`,
    },
    {
      name: 'bool targets',
      run: (device) => fn(zeros([2, 3], { device }), tensor([true, false], { device })),
      error: DTypeError,
      message: `${name}: expected int32 or uint32 classes, got bool; convert with target.to('int32')`,
    },
    {
      name: 'a class out of range, in debug mode',
      async run(device) {
        mode.debug = true;
        try {
          await fn(zeros([3, 3], { device }), classes(device, [-100, 2, 3])).data();
        } finally {
          mode.debug = false;
        }
      },
      error: ShapeError,
      message: `${name}: expected indices in [0, 3), got 3 at position 2`,
    },
  ];
}

const CLASS_OPTIONS =
  'weight=(inputs[2] if len(inputs) > 2 else None), ignore_index=p.get("ignoreIndex", -100), reduction=p.get("reduction", "mean")';

interface Pair {
  reduction?: Reduction;
  delta?: number;
  beta?: number;
}
const REDUCTION = 'reduction=p.get("reduction", "mean")';
const pair = [values([3, 4], 1), values([3, 4], 2)];

function notSame(name: string, fn: typeof mseLoss): ErrorSample[] {
  return [
    {
      name: 'shapes that only broadcast',
      run: (device) => fn(zeros([4, 1], { device }), zeros([4], { device })),
      error: ShapeError,
      message: `${name}: expected input and target of one shape, got [4, 1] and [4]; use expand() or squeeze()`,
    },
  ];
}

export const losses: readonly OpInfo[] = [
  row<Classes>({
    name: 'crossEntropy',
    covers: ['crossEntropy', 'crossEntropyBackward', 'lossMean'],
    run: ([a, b, weight], p) => crossEntropy(a, b, { ...p, weight }),
    torch: `F.cross_entropy(a, b, label_smoothing=p.get("labelSmoothing", 0.0), ${CLASS_OPTIONS})`,
    gradInputs: [0],
    samples: [
      ...classSamples,
      ...reductions('smoothed', [scores, mixed], { labelSmoothing: 0.125 }),
      ...reductions('smoothed and weighted', [scores, mixed, weights], { labelSmoothing: 0.125 }),
      {
        name: 'smoothed, inner dims, weighted',
        inputs: [values([2, 3, 4], 3), integers([2, 4], 4, 0, 2), weights],
        params: { labelSmoothing: 0.25 },
      },
      {
        name: 'smoothed, many classes',
        inputs: [values([3, 300], 6), integers([3], 7, 0, 299)],
        params: { labelSmoothing: 0.25 },
      },
      {
        name: 'smoothed, many rows',
        inputs: [values([130, 5], 8), integers([130], 9, 0, 4)],
        params: { labelSmoothing: 0.25 },
      },
      { name: 'large scores', inputs: [floats([1000, 0, -1000, -60, 0, 60], [2, 3]), int([1, 0])] },
      {
        name: 'special scores, none',
        inputs: [
          floats([-inf, 0, 1, -inf, 0, 1, -inf, -inf, -inf, inf, 0, 1, nan, 0, 1], [5, 3]),
          int([1, 0, 1, 1, 1]),
        ],
        params: { reduction: 'none' },
        noGrad: true,
      },
    ],
    errors: [
      ...classErrors('crossEntropy', crossEntropy),
      {
        name: 'weights of another size',
        run: (device) =>
          crossEntropy(zeros([2, 3], { device }), zeros([2], { device, dtype: 'int32' }), {
            weight: zeros([2], { device }),
          }),
        error: ShapeError,
        message: 'crossEntropy: expected a weight per class [3], got [2]',
      },
      {
        name: 'labelSmoothing beyond 1',
        run: (device) =>
          crossEntropy(zeros([2, 3], { device }), zeros([2], { device, dtype: 'int32' }), {
            labelSmoothing: 2,
          }),
        error: ShapeError,
        message: 'crossEntropy: expected labelSmoothing in [0, 1], got 2',
      },
    ],
  }),
  row<Classes>({
    name: 'crossEntropy of probabilities',
    covers: ['crossEntropy'],
    run: ([a, b, weight], p) => crossEntropy(a, b, { ...p, weight }),
    torch: `F.cross_entropy(a, b, label_smoothing=p.get("labelSmoothing", 0.0), ${CLASS_OPTIONS})`,
    gradInputs: [0, 1],
    samples: [
      ...reductions('matrix', [scores, values([4, 3], 2, 0, 1)]),
      ...reductions('weighted and smoothed', [scores, values([4, 3], 2, 0, 1), weights], {
        labelSmoothing: 0.125,
      }),
      { name: 'inner dims', inputs: [values([2, 3, 4], 3), values([2, 3, 4], 4, 0, 1)] },
      { name: 'vector', inputs: [values([3], 3), values([3], 4, 0, 1)] },
    ],
  }),
  row<Classes>({
    name: 'nllLoss',
    covers: ['crossEntropy', 'crossEntropyBackward', 'lossMean'],
    run: ([a, b, weight], p) => nllLoss(a, b, { ...p, weight }),
    torch: `F.nll_loss(a, b, ${CLASS_OPTIONS})`,
    gradInputs: [0],
    samples: [
      ...classSamples,
      {
        name: 'infinite, none',
        inputs: [floats([-inf, 0, nan, 0], [2, 2]), int([0, 0])],
        params: { reduction: 'none' },
        noGrad: true,
      },
    ],
    errors: classErrors('nllLoss', nllLoss),
  }),
  row<Pair>({
    name: 'mseLoss',
    covers: ['square'],
    run: ([a, b], p) => mseLoss(a, b, p),
    torch: `F.mse_loss(a, b, ${REDUCTION})`,
    samples: reductions('matrix', pair),
    errors: notSame('mseLoss', mseLoss),
  }),
  row<Pair>({
    name: 'l1Loss',
    covers: ['abs'],
    run: ([a, b], p) => l1Loss(a, b, p),
    torch: `F.l1_loss(a, b, ${REDUCTION})`,
    samples: reductions('matrix', pair),
    errors: notSame('l1Loss', l1Loss),
  }),
  row<Pair>({
    name: 'huberLoss',
    covers: ['huber'],
    run: ([a, b], p) => huberLoss(a, b, p),
    torch: `F.huber_loss(a, b, delta=p.get("delta", 1.0), ${REDUCTION})`,
    samples: [
      ...reductions('delta 0.7', pair, { delta: 0.7 }),
      { name: 'delta 1', inputs: pair },
      {
        name: 'special values',
        inputs: [floats([nan, inf, -inf, 1]), floats([0, 0, 0, 1])],
        params: { reduction: 'none' },
        noGrad: true,
      },
    ],
    errors: [
      ...notSame('huberLoss', huberLoss),
      {
        name: 'delta 0',
        run: (device) => huberLoss(zeros([2], { device }), zeros([2], { device }), { delta: 0 }),
        error: ShapeError,
        message: 'huberLoss: expected a positive delta, got 0',
      },
    ],
  }),
  row<Pair>({
    name: 'smoothL1Loss',
    covers: ['huber'],
    run: ([a, b], p) => smoothL1Loss(a, b, p),
    torch: `F.smooth_l1_loss(a, b, beta=p.get("beta", 1.0), ${REDUCTION})`,
    samples: [
      ...reductions('beta 0.7', pair, { beta: 0.7 }),
      { name: 'beta 0', inputs: pair, params: { beta: 0 } },
    ],
    errors: notSame('smoothL1Loss', smoothL1Loss),
  }),
  row<Pair>({
    name: 'bceLoss',
    covers: ['bce'],
    run: ([a, b, weight], p) => bceLoss(a, b, { ...p, weight }),
    torch: `F.binary_cross_entropy(a, b, weight=(inputs[2] if len(inputs) > 2 else None), ${REDUCTION})`,
    // PyTorch gives no gradient to the weight.
    gradInputs: [0, 1],
    samples: [
      ...reductions('matrix', [values([3, 4], 1, 0.0625, 0.9375), values([3, 4], 2, 0, 1)]),
      {
        name: 'weighted',
        inputs: [values([3, 4], 1, 0.0625, 0.9375), values([3, 4], 2, 0, 1), values([4], 3, 0.5, 2)],
      },
      {
        // At 0 and 1 a logarithm is −∞ and counts as −100.
        name: 'certain predictions',
        inputs: [floats([0, 0, 1, 1]), floats([0, 1, 0, 1])],
        params: { reduction: 'none' },
        noGrad: true,
      },
    ],
    errors: notSame('bceLoss', bceLoss),
  }),
  row<Pair>({
    name: 'bceWithLogitsLoss',
    covers: ['bceWithLogits'],
    run: ([a, b, posWeight, weight], p) => bceWithLogitsLoss(a, b, { ...p, posWeight, weight }),
    torch: `F.binary_cross_entropy_with_logits(a, b, pos_weight=(inputs[2] if len(inputs) > 2 else None), weight=(inputs[3] if len(inputs) > 3 else None), ${REDUCTION})`,
    gradInputs: [0, 1],
    samples: [
      ...reductions('matrix', [values([3, 4], 1), values([3, 4], 2, 0, 1)]),
      ...reductions('posWeight', [values([3, 4], 1), values([3, 4], 2, 0, 1), values([4], 3, 0.5, 3)]),
      {
        name: 'posWeight and weight',
        inputs: [
          values([3, 4], 1),
          values([3, 4], 2, 0, 1),
          values([4], 3, 0.5, 3),
          values([3, 1], 4, 0.5, 2),
        ],
      },
      {
        name: 'far out',
        inputs: [floats([200, 200, -200, -200, 20, -20]), floats([0, 1, 0, 1, 0.5, 0.5])],
        params: { reduction: 'none' },
      },
      {
        name: 'special values',
        inputs: [floats([nan, inf, -inf, inf]), floats([0.5, 0.5, 0.5, 0])],
        params: { reduction: 'none' },
        noGrad: true,
      },
    ],
    errors: [
      ...notSame('bceWithLogitsLoss', bceWithLogitsLoss),
      {
        name: 'posWeight that does not broadcast',
        run: (device) =>
          bceWithLogitsLoss(zeros([2, 3], { device }), zeros([2, 3], { device }), {
            posWeight: zeros([2], { device }),
          }),
        error: ShapeError,
        message: 'bceWithLogitsLoss: posWeight: expected a shape that broadcasts to [2, 3], got [2]',
      },
    ],
  }),
];
