import { type FilterLogitsOptions, filterLogits } from '../../src/autograd/ops/filter-logits.js';
import { DataError, DTypeError, ShapeError } from '../../src/device/errors.js';
import { tensor } from '../../src/tensor/factories.js';
import { type Arg, distinct, type OpInfo, row } from './types.js';

const INF = Infinity;
const of = (shape: readonly number[], data: readonly number[]): Arg => ({ shape, data });
/** Five tokens of probability 1/2, 1/4, 1/8, 1/16, 1/16, out of order. */
const halves = of(
  [2, 5],
  [1, 2, 4, 8, 1, 8, 1, 1, 2, 4].map(Math.log2).map((x) => x * Math.LN2),
);
const ties = of([2, 5], [1, 3, 3, 2, 0, 0, 0, 0, 0, 0]);
const special = of(
  [5, 4],
  [
    [1, -INF, 2, -INF],
    [-INF, -INF, 5, -INF],
    [-INF, -INF, -INF, -INF],
    [1, INF, 2, INF],
    [-0, 0, -3, 0],
  ].flat(),
);

const TOP_K = 'x.masked_fill(x < torch.topk(x, k).values[..., -1:], -math.inf)';
const params = (p: FilterLogitsOptions) => p as Record<string, unknown>;
const sample = (name: string, input: Arg, p: FilterLogitsOptions, more: object = {}) => ({
  name,
  inputs: [input],
  params: params(p),
  ...more,
});

export const filters: readonly OpInfo[] = [
  row<FilterLogitsOptions>({
    name: 'filterLogits',
    covers: ['filterLogits'],
    run: ([x], options) => filterLogits(x, options),
    torch: `(lambda x, k: ${TOP_K})(a / p.get('temperature', 1), p.get('topK', a.shape[-1]))`,
    grad: false,
    samples: [
      sample('nothing', distinct([3, 6], 1), {}),
      sample('temperature', distinct([3, 6], 2), { temperature: 0.5 }),
      sample('top 1', distinct([3, 6], 3), { topK: 1 }),
      sample('top 3', distinct([2, 3, 6], 4), { topK: 3, temperature: 2 }),
      sample('ties of the last', ties, { topK: 2 }),
      sample('long, top k', distinct([3, 700], 5), { topK: 40 }, { noGolden: true }),
      // PyTorch has neither top-p nor min-p; test/models/logits.test.ts has them on a plain implementation.
      sample('top p', halves, { topP: 0.7 }, { noGolden: true }),
      sample('top p of top k', halves, { topK: 3, topP: 0.8 }, { noGolden: true }),
      sample('top p 0', halves, { topP: 0 }, { noGolden: true }),
      sample('top p of ties', ties, { topP: 0.3 }, { noGolden: true }),
      sample('min p', halves, { minP: 0.2 }, { noGolden: true }),
      sample(
        'all at once',
        distinct([3, 700], 6, 0.0625),
        { topK: 100, topP: 0.9, minP: 0.05, temperature: 0.5 },
        { noGolden: true },
      ),
      sample('long, top p', distinct([2, 1000], 7, 0.015625), { topP: 0.5 }, { noGolden: true }),
      sample('special values', special, { topK: 2, topP: 0.9, minP: 0.1 }, { noGolden: true }),
      sample('no rows', of([0, 4], []), { topK: 2 }, { noGolden: true }),
      sample('no logits', of([2, 0], []), { topP: 0.5 }, { noGolden: true }),
    ],
    errors: [
      {
        name: 'temperature 0',
        run: (device) => filterLogits(tensor([1, 2], { device }), { temperature: 0 }),
        error: DataError,
        message: 'filterLogits: expected a temperature above 0, got 0',
      },
      {
        name: 'top k',
        run: (device) => filterLogits(tensor([1, 2], { device }), { topK: 1.5 }),
        error: DataError,
        message: 'filterLogits: expected topK to be an integer of 0 (all) or more, got 1.5',
      },
      {
        name: 'top p',
        run: (device) => filterLogits(tensor([1, 2], { device }), { topP: 1.1 }),
        error: DataError,
        message: 'filterLogits: expected topP in [0, 1], got 1.1',
      },
      {
        name: 'scalar',
        run: (device) => filterLogits(tensor(1, { device })),
        error: ShapeError,
        message: 'filterLogits: expected logits [..., V], got a scalar',
      },
      {
        name: 'integers',
        run: (device) => filterLogits(tensor([1], { device, dtype: 'int32' })),
        error: DTypeError,
        message: "filterLogits: expected a floating-point tensor, got int32; convert with x.to('float32')",
      },
    ],
  }),
];
