import { grad } from '../../src/autograd/engine.js';
import { enableGrad } from '../../src/autograd/mode.js';
import { sum } from '../../src/autograd/ops/reduce.js';
import { type TopkOptions, topk } from '../../src/autograd/ops/topk.js';
import { DTypeError, ShapeError } from '../../src/device/errors.js';
import { tensor } from '../../src/tensor/factories.js';
import { type Arg, distinct, type OpInfo, row, values } from './types.js';

interface Params extends TopkOptions {
  readonly k: number;
}

const INF = Infinity;
const of = (shape: readonly number[], data: readonly number[]): Arg => ({ shape, data });
const ties = of([3, 4], [1, 3, 3, 2, 2, 2, 2, 2, -1, 0, -1, 0]);

export const topks: readonly OpInfo[] = [
  row<Params>({
    name: 'topk',
    covers: ['topk', 'pick', 'place'],
    run([a], { k, ...options }) {
      const { values, indices } = topk(a, k, options);
      return [values, indices];
    },
    torch: "torch.topk(a, p['k'], p.get('dim', -1), p.get('largest', True))",
    samples: [
      { name: 'last', inputs: [distinct([3, 6], 1)], params: { k: 2 } },
      { name: 'smallest', inputs: [distinct([3, 6], 2)], params: { k: 3, largest: false } },
      { name: 'first dim', inputs: [distinct([5, 3], 3)], params: { k: 2, dim: 0 } },
      { name: 'middle dim', inputs: [distinct([2, 4, 3], 4)], params: { k: 2, dim: 1 } },
      { name: 'all, sorted', inputs: [distinct([2, 5], 5)], params: { k: 5 } },
      { name: 'none', inputs: [distinct([2, 5], 5)], params: { k: 0 }, noGrad: true },
      { name: 'no lines', inputs: [of([0, 3], [])], params: { k: 2 }, noGrad: true },
      { name: 'scalar', inputs: [distinct([], 6)], params: { k: 1 } },
      { name: 'long', inputs: [distinct([2, 700], 7)], params: { k: 5 }, noGolden: true },
      { name: 'long columns', inputs: [distinct([300, 2], 8)], params: { k: 5, dim: 0 }, noGolden: true },
      {
        name: 'many of many',
        inputs: [distinct([3, 200], 9)],
        params: { k: 150, largest: false },
        noGolden: true,
      },
      {
        name: 'some of many',
        inputs: [values([3, 500], 9)],
        params: { k: 40 },
        noGrad: true,
        noGolden: true,
      },
      // PyTorch leaves the order of equal elements open.
      { name: 'ties', inputs: [ties], params: { k: 3 }, noGrad: true, noGolden: true },
      {
        name: 'ties of the smallest',
        inputs: [ties],
        params: { k: 3, largest: false },
        noGrad: true,
        noGolden: true,
      },
      {
        name: 'special values',
        inputs: [of([2, 5], [1, -INF, NaN, INF, 0, -2, -INF, 3, INF, NaN])],
        params: { k: 5 },
        noGrad: true,
      },
      {
        name: 'special values, smallest',
        inputs: [of([2, 5], [1, -INF, NaN, INF, 0, -2, -INF, 3, INF, NaN])],
        params: { k: 5, largest: false },
        noGrad: true,
      },
      { name: 'whole numbers', inputs: [of([2, 4], [3, 1, 2, 0, 5, 7, 6, 4])], params: { k: 2 } },
    ],
    errors: [
      {
        name: 'k too large',
        run: (device) => topk(tensor([[1, 2]], { device }), 3),
        error: ShapeError,
        message: 'topk: expected k in [0, 2], the size of dim -1 of [1, 2], got 3',
      },
      {
        name: 'no such dim',
        run: (device) => topk(tensor([1, 2], { device }), 1, { dim: 1 }),
        error: ShapeError,
        message: 'topk: expected dim in [-1, 0], got 1',
      },
      {
        name: 'bool',
        run: (device) => topk(tensor([true], { device }), 1),
        error: DTypeError,
        message: "topk: expected a numeric tensor, got bool; convert with x.to('float32')",
      },
    ],
    dtypes: ['int32', 'uint32'],
  }),
  row<null>({
    name: 'gradient of topk',
    covers: ['topk', 'pick', 'place'],
    run: ([a]) =>
      enableGrad(() => {
        const leaf = a.detach().requiresGrad_();
        return grad(sum(topk(leaf, 2).values), [leaf])[0];
      }),
    torch: '(lambda x: torch.autograd.grad(torch.topk(x, 2)[0].sum(), x)[0])(a.clone().requires_grad_())',
    samples: [{ name: 'two of six', inputs: [distinct([3, 6], 1)] }],
    grad: false,
  }),
];
