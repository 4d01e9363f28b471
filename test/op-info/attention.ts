import { scaledDotProductAttention } from '../../src/autograd/ops/attention.js';
import { DTypeError, ShapeError } from '../../src/device/errors.js';
import { tensor } from '../../src/tensor/factories.js';
import { type Arg, type OpInfo, row, values } from './types.js';

const q = values([2, 3, 4, 8], 1);
const k = values([2, 3, 5, 8], 2);
const v = values([2, 3, 5, 6], 3);
/** Every query sees at least the first key. */
const mask: Arg = {
  shape: [2, 1, 4, 5],
  dtype: 'bool',
  data: Array.from({ length: 40 }, (_, i) => (i % 5 === 0 || (i * 7) % 3 === 0 ? 1 : 0)),
};
const lower = 'torch.ones(a.shape[-2], b.shape[-2], dtype=torch.bool).tril()';
const plain = (inside: string): string => `((${inside}).softmax(-1) @ c)`;
const scores = '(a @ b.transpose(-1, -2)) / math.sqrt(a.shape[-1])';

export const attention: readonly OpInfo[] = [
  row<{ isCausal?: boolean; scale?: number }>({
    name: 'scaledDotProductAttention',
    covers: ['matmul', 'softmax'],
    run: ([a, b, c], p) => scaledDotProductAttention(a, b, c, p),
    torch: plain(
      `(a @ b.transpose(-1, -2)) * p.get("scale", 1 / math.sqrt(a.shape[-1])) + torch.zeros(a.shape[-2], b.shape[-2], dtype=torch.float64).masked_fill(~${lower} if p.get("isCausal", False) else torch.zeros(1, dtype=torch.bool), -math.inf)`,
    ),
    samples: [
      { name: 'cross', inputs: [q, k, v] },
      {
        name: 'causal',
        inputs: [q, values([2, 3, 4, 8], 4), values([2, 3, 4, 8], 5)],
        params: { isCausal: true },
      },
      { name: 'causal, more keys than queries', inputs: [q, k, v], params: { isCausal: true } },
      {
        name: 'own scale, no batch',
        inputs: [values([3, 4], 6), values([2, 4], 7), values([2, 3], 8)],
        params: { scale: 0.5 },
      },
      { name: 'shared keys', inputs: [values([2, 3, 4], 9), values([5, 4], 10), values([5, 2], 11)] },
    ],
    errors: [
      {
        name: 'widths that differ',
        run: (device) => {
          const x = tensor([[1, 2]], { device });
          return scaledDotProductAttention(x, tensor([[1, 2, 3]], { device }), x);
        },
        error: ShapeError,
        message:
          'scaledDotProductAttention: expected q [..., T, D], k [..., S, D] and v [..., S, E], got q [1, 2], k [1, 3] and v [1, 2] (2 ≠ 3)',
      },
      {
        name: 'a vector',
        run: (device) => {
          const x = tensor([1, 2], { device });
          return scaledDotProductAttention(x, x, x);
        },
        error: ShapeError,
        message:
          'scaledDotProductAttention: expected q [..., T, D], k [..., S, D] and v [..., S, E], got q [2], k [2] and v [2]',
      },
      {
        name: 'a mask of integers',
        run: (device) => {
          const x = tensor([[1, 2]], { device });
          return scaledDotProductAttention(x, x, x, { mask: tensor([[1]], { device, dtype: 'int32' }) });
        },
        error: DTypeError,
        message: "add: expected one dtype, got float32 and int32; convert with x.to('float32')",
      },
    ],
  }),
  row({
    name: 'scaledDotProductAttention with a bool mask',
    covers: ['where', 'add'],
    run: ([a, b, c, m]) => scaledDotProductAttention(a, b, c, { mask: m }),
    torch: plain(`(${scores}).masked_fill(~d, -math.inf)`),
    samples: [
      { name: 'padding', inputs: [q, k, v, mask] },
      {
        // A query that may look at nothing: NaN in its own row alone.
        name: 'nothing to look at',
        inputs: [
          values([2, 4], 1),
          values([3, 4], 2),
          values([3, 2], 3),
          { shape: [2, 3], dtype: 'bool', data: [1, 0, 1, 0, 0, 0] },
        ],
        noGrad: true,
      },
    ],
  }),
  row({
    name: 'scaledDotProductAttention with an additive mask',
    covers: ['add'],
    run: ([a, b, c, m]) => scaledDotProductAttention(a, b, c, { mask: m }),
    torch: plain(`${scores} + d`),
    samples: [{ name: 'bias', inputs: [q, k, v, values([4, 5], 12)] }],
  }),
];
