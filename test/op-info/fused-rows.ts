import { biasGelu } from '../../src/autograd/ops/bias-gelu.js';
import { zeros } from '../../src/autograd/ops/creation.js';
import { dropoutAdd } from '../../src/autograd/ops/dropout-add.js';
import { DataError, ShapeError } from '../../src/device/errors.js';
import { tensor } from '../../src/tensor/factories.js';
import { type OpInfo, row, type Sample, values } from './types.js';

const sums: readonly Sample[] = [
  { name: 'matrix', inputs: [values([5, 7], 1), values([7], 2)] },
  { name: 'vectors', inputs: [values([3, 8], 3), values([8], 4)] },
  { name: 'batches', inputs: [values([2, 3, 4], 5), values([4], 6)] },
  { name: 'one row', inputs: [values([6], 7), values([6], 8)] },
  { name: 'blocks of rows', inputs: [values([130, 4], 9), values([4], 10)], noGolden: true },
  { name: 'blocks of odd rows', inputs: [values([70, 3], 11), values([3], 12)], noGolden: true },
  { name: 'no rows', inputs: [values([0, 4], 1), values([4], 6)], noGrad: true },
  {
    name: 'far out',
    inputs: [{ shape: [2, 4], data: [-100, 100, -6, 6, 0, -0.5, NaN, Infinity] }, values([4], 6)],
    noGrad: true,
  },
].flatMap((s) => [s, { ...s, name: `${s.name}, tanh`, params: { approximate: 'tanh' } }]);

export const fusedRows: readonly OpInfo[] = [
  row<{ approximate?: 'tanh' }>({
    name: 'biasGelu',
    covers: ['biasGelu', 'biasGeluBackward'],
    run: ([x, bias], options) => biasGelu(x, bias, options),
    torch: "F.gelu(a + b, approximate=p.get('approximate', 'none'))",
    samples: sums,
    errors: [
      {
        name: 'a bias of another size',
        run: (device) => biasGelu(zeros([2, 3], { device }), zeros([2], { device })),
        error: ShapeError,
        message: 'biasGelu: expected x [..., C] and bias [C], got [2, 3] and [2]',
      },
    ],
  }),
  row<{ p: number }>({
    name: 'dropoutAdd',
    covers: ['dropoutAdd'],
    random: true,
    run: ([x, r], { p }) => dropoutAdd(x, r, p),
    samples: [
      { name: 'half', inputs: [values([6, 30], 1), values([6, 30], 2)], params: { p: 0.5 } },
      { name: 'a tenth, odd', inputs: [values([3, 3, 17], 2), values([3, 3, 17], 3)], params: { p: 0.1 } },
      { name: 'all', inputs: [values([3, 4], 3), values([3, 4], 4)], params: { p: 1 } },
      { name: 'none', inputs: [values([3, 4], 3), values([3, 4], 4)], params: { p: 0 } },
      { name: 'empty', inputs: [values([0, 3], 5), values([0, 3], 6)], params: { p: 0.5 }, noGrad: true },
    ],
    errors: [
      {
        name: 'no probability',
        run: (device) => dropoutAdd(tensor([1], { device }), tensor([1], { device }), 1.5),
        error: DataError,
        message: 'dropoutAdd: expected a probability in [0, 1], got 1.5',
      },
      {
        name: 'shapes that only broadcast',
        run: (device) => dropoutAdd(zeros([2, 3], { device }), zeros([3], { device })),
        error: ShapeError,
        message: 'dropoutAdd: expected two tensors of one shape, got [2, 3] and [3]; use expand()',
      },
    ],
  }),
];
