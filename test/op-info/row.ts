import {
  addLayerNorm,
  addRMSNorm,
  layerNorm,
  logSoftmax,
  rmsNorm,
  softmax,
} from '../../src/autograd/ops/row.js';
import { DTypeError, ShapeError } from '../../src/device/errors.js';
import { tensor } from '../../src/tensor/factories.js';
import type { Tensor } from '../../src/tensor/tensor.js';
import { type Arg, type ErrorSample, type OpInfo, row, type Sample, values } from './types.js';

const INF = Infinity;
const of = (shape: readonly number[], data: readonly number[]): Arg => ({ shape, data });

/** Rows on both sides of every limit at which kernels change form. Golden values of long rows would only be long. */
const softmaxSamples: readonly Sample[] = [
  { name: 'last', inputs: [values([3, 5], 1)], params: { dim: -1 } },
  { name: 'first', inputs: [values([3, 5], 2)], params: { dim: 0 } },
  { name: 'middle', inputs: [values([2, 3, 4], 3)], params: { dim: 1 } },
  { name: 'row of one', inputs: [values([3, 1], 4)], params: { dim: 1 } },
  { name: 'scalar', inputs: [values([], 5)], params: { dim: 0 } },
  { name: 'rows of vectors', inputs: [values([5, 8], 15)], params: { dim: 1 } },
  { name: 'long rows', inputs: [values([2, 300], 6)], params: { dim: 1 }, noGolden: true },
  { name: 'long odd rows', inputs: [values([2, 601], 16)], params: { dim: 1 }, noGrad: true, noGolden: true },
  { name: 'longer rows', inputs: [values([2, 4500], 7)], params: { dim: 1 }, noGrad: true, noGolden: true },
  { name: 'long columns', inputs: [values([300, 2], 8)], params: { dim: 0 }, noGolden: true },
  { name: 'many rows', inputs: [values([1100, 3], 9)], params: { dim: 1 }, noGrad: true, noGolden: true },
  { name: 'empty rows', inputs: [of([2, 0], [])], params: { dim: 1 }, noGrad: true },
  { name: 'no rows', inputs: [of([0, 2], [])], params: { dim: 1 }, noGrad: true },
  {
    name: 'large',
    inputs: [of([2, 3], [1000, 1001, 999, -1000, -2000, -1002])],
    params: { dim: 1 },
    noGrad: true,
  },
  {
    name: 'special values',
    inputs: [
      of(
        [6, 4],
        [
          [1, -INF, 2, -INF],
          [-INF, -INF, -INF, -INF],
          [1, INF, 2, 3],
          [-INF, INF, 5, 1],
          [1, NaN, 2, 3],
          [-0, 0, -0, 0],
        ].flat(),
      ),
    ],
    params: { dim: 1 },
    noGrad: true,
  },
  {
    name: 'special values in odd rows',
    inputs: [
      of(
        [5, 3],
        [
          [1, -INF, 2],
          [-INF, -INF, -INF],
          [1, INF, 2],
          [-INF, INF, NaN],
          [NaN, 2, 3],
        ].flat(),
      ),
    ],
    params: { dim: 1 },
    noGrad: true,
  },
  {
    name: 'special values in columns',
    inputs: [of([2, 4], [1, -INF, INF, NaN, -INF, -INF, 1, 2])],
    params: { dim: 0 },
    noGrad: true,
  },
];

function softmaxErrors(name: string, fn: (x: Tensor, dim: number) => Tensor): ErrorSample[] {
  return [
    {
      name: 'dim out of range',
      run: (device) => fn(tensor([[1, 2]], { device }), 2),
      error: ShapeError,
      message: `${name}: expected dim in [-2, 1], got 2`,
    },
    {
      name: 'integers',
      run: (device) => fn(tensor([1, 2], { device, dtype: 'int32' }), 0),
      error: DTypeError,
      message: `${name}: expected a floating-point tensor, got int32; convert with x.to('float32')`,
    },
  ];
}

interface NormCase {
  shape: number | readonly number[];
  eps?: number;
}

/** Samples of x, and of x with weight and with bias. */
function normSamples(withBias: boolean): Sample[] {
  const cases: (Omit<Sample, 'inputs'> & { x: Arg; shape: readonly number[]; eps?: number })[] = [
    { name: 'rows', x: values([3, 5], 1), shape: [5] },
    { name: 'one row', x: values([6], 2), shape: [6] },
    { name: 'two dims', x: values([2, 3, 4], 3), shape: [3, 4] },
    { name: 'batches', x: values([2, 3, 4], 4), shape: [4] },
    { name: 'large eps', x: values([3, 5], 5), shape: [5], eps: 0.5 },
    { name: 'rows of vectors', x: values([5, 8], 13), shape: [8] },
    { name: 'long rows', x: values([2, 300], 6), shape: [300], noGolden: true },
    { name: 'long odd rows', x: values([2, 601], 14), shape: [601], noGrad: true, noGolden: true },
    { name: 'longer rows', x: values([2, 4500], 7), shape: [4500], noGrad: true, noGolden: true },
    // Rows near 0 (RMS norm) or of nearly equal elements (layer norm) have gradients too large to compare in float32.
    {
      name: 'many rows',
      x: withBias ? values([300, 4], 8) : values([300, 4], 8, 0.25, 2),
      shape: [4],
      noGolden: true,
    },
    { name: 'no rows', x: of([0, 3], []), shape: [3], noGrad: true },
  ];
  return cases.flatMap(({ x, shape, eps, name, ...rest }) => {
    const params = { shape, ...(eps === undefined ? {} : { eps }) };
    const weight = values(shape, 11, 0.5, 1.5);
    const all = { ...rest, params };
    const samples: Sample[] = [
      { ...all, name, inputs: [x] },
      { ...all, name: `${name}, weight`, inputs: [x, weight] },
    ];
    if (withBias)
      samples.push({ ...all, name: `${name}, weight and bias`, inputs: [x, weight, values(shape, 12)] });
    return samples;
  });
}

/** Samples of x + r from those of x. */
function sumSamples(samples: readonly Sample[]): Sample[] {
  return samples.map((s) => {
    const [x, ...rest] = s.inputs;
    return { ...s, inputs: [x, values(x.shape, 21, 0, 0.5), ...rest] };
  });
}

function sumErrors(
  name: string,
  fn: (x: Tensor, r: Tensor, shape: number, o?: { weight?: Tensor }) => readonly Tensor[],
): ErrorSample[] {
  return [
    {
      name: 'shapes that only broadcast',
      run: (device) => fn(tensor([[1, 2]], { device }), tensor([1, 2], { device }), 2),
      error: ShapeError,
      message: `${name}: expected two tensors of one shape, got [1, 2] and [2]; use expand()`,
    },
    ...normErrors(name, (x, shape, o) => fn(x, x, shape as number, o)[0]).filter(
      (e) => e.name !== 'integers',
    ),
  ];
}

function normErrors(
  name: string,
  fn: (x: Tensor, shape: number | readonly number[], o?: { weight?: Tensor }) => Tensor,
): ErrorSample[] {
  return [
    {
      name: 'another last dim',
      run: (device) => fn(tensor([[1, 2]], { device }), 3),
      error: ShapeError,
      message: `${name}: expected an input whose last dims are normalizedShape, got [1, 2] and [3]`,
    },
    {
      name: 'more dims than there are',
      run: (device) => fn(tensor([1, 2], { device }), [1, 2]),
      error: ShapeError,
      message: `${name}: expected an input whose last dims are normalizedShape, got [2] and [1, 2]`,
    },
    {
      name: 'no dims',
      run: (device) => fn(tensor([1, 2], { device }), []),
      error: ShapeError,
      message: `${name}: expected an input whose last dims are normalizedShape, got [2] and []`,
    },
    {
      name: 'weight of another shape',
      run: (device) => fn(tensor([1, 2], { device }), 2, { weight: tensor([1], { device }) }),
      error: ShapeError,
      message: `${name}: expected weight of shape [2], got [1]`,
    },
    {
      name: 'integers',
      run: (device) => fn(tensor([1, 2], { device, dtype: 'int32' }), 2),
      error: DTypeError,
      message: `${name}: expected a floating-point tensor, got int32; convert with x.to('float32')`,
    },
  ];
}

export const rowOps: readonly OpInfo[] = [
  row<{ dim: number }>({
    name: 'softmax',
    covers: ['softmax', 'softmaxBackward'],
    run: ([a], { dim }) => softmax(a, dim),
    torch: "torch.softmax(a, p['dim'])",
    samples: softmaxSamples,
    errors: softmaxErrors('softmax', softmax),
  }),
  row<{ dim: number }>({
    name: 'logSoftmax',
    covers: ['logSoftmax', 'logSoftmaxBackward'],
    run: ([a], { dim }) => logSoftmax(a, dim),
    torch: "torch.log_softmax(a, p['dim'])",
    samples: softmaxSamples,
    errors: softmaxErrors('logSoftmax', logSoftmax),
  }),
  row<NormCase>({
    name: 'layerNorm',
    covers: ['layerNorm', 'layerNormBackward'],
    run: ([a, weight, bias], { shape, eps }) => layerNorm(a, shape, { weight, bias, eps }),
    torch: "F.layer_norm(a, p['shape'], *inputs[1:], eps=p.get('eps', 1e-5))",
    samples: [
      ...normSamples(true),
      {
        name: 'far from zero',
        inputs: [of([2, 4], [1024, 1025, 1026, 1027, -2000, -2002, -2001, -1999])],
        params: { shape: [4] },
        noGrad: true,
      },
    ],
    errors: [
      ...normErrors('layerNorm', layerNorm),
      {
        name: 'bias of another shape',
        run: (device) => layerNorm(tensor([1, 2], { device }), 2, { bias: tensor([1], { device }) }),
        error: ShapeError,
        message: 'layerNorm: expected bias of shape [2], got [1]',
      },
    ],
  }),
  row<NormCase>({
    name: 'layerNorm with bias only',
    covers: ['layerNorm', 'layerNormBackward'],
    run: ([a, bias], { shape }) => layerNorm(a, shape, { bias }),
    torch: "F.layer_norm(a, p['shape'], None, b)",
    samples: [{ name: 'rows', inputs: [values([3, 5], 1), values([5], 2)], params: { shape: [5] } }],
  }),
  row<NormCase>({
    name: 'rmsNorm',
    covers: ['rmsNorm', 'rmsNormBackward'],
    run: ([a, weight], { shape, eps }) => rmsNorm(a, shape, { weight, eps }),
    // PyTorch has it since 2.4.
    torch:
      "a * torch.rsqrt(a.square().mean(tuple(range(-len(p['shape']), 0)), keepdim=True) + p.get('eps', 2**-52)) * (b if len(inputs) > 1 else 1)",
    samples: normSamples(false),
    errors: normErrors('rmsNorm', rmsNorm),
  }),
  row<NormCase>({
    name: 'addLayerNorm',
    covers: ['addLayerNorm', 'layerNormBackward'],
    run: ([a, b, weight, bias], { shape, eps }) => addLayerNorm(a, b, shape, { weight, bias, eps }),
    torch: "(a + b, F.layer_norm(a + b, p['shape'], *inputs[2:], eps=p.get('eps', 1e-5)))",
    samples: sumSamples(normSamples(true)),
    errors: sumErrors('addLayerNorm', addLayerNorm),
  }),
  row<NormCase>({
    name: 'addRMSNorm',
    covers: ['addRMSNorm', 'rmsNormBackward'],
    run: ([a, b, weight], { shape, eps }) => addRMSNorm(a, b, shape, { weight, eps }),
    torch:
      "(a + b, (a + b) * torch.rsqrt((a + b).square().mean(tuple(range(-len(p['shape']), 0)), keepdim=True) + p.get('eps', 2**-52)) * (c if len(inputs) > 2 else 1))",
    samples: sumSamples(normSamples(false)),
    errors: sumErrors('addRMSNorm', addRMSNorm),
  }),
];
