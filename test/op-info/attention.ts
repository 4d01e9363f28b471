import {
  type AttentionOptions,
  attentionPacked,
  scaledDotProductAttention,
} from '../../src/autograd/ops/attention.js';
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
/** −∞ where positions hide a key, from the parameters. */
const hidden = `torch.zeros(a.shape[-2], b.shape[-2], dtype=torch.float64).masked_fill((lambda i, j: ((j > i) | (j <= i - p.get("window", 10**9))) if (p.get("isCausal", False) or "window" in p) else (j < 0))(torch.arange(a.shape[-2])[:, None] + (b.shape[-2] - a.shape[-2] if p.get("align") == "end" else 0), torch.arange(b.shape[-2])), -math.inf)`;
const plain = (inside: string): string => `((${inside}).softmax(-1) @ c)`;
const scores = '(a @ b.transpose(-1, -2)) * p.get("scale", 1 / math.sqrt(a.shape[-1]))';
/** The first sequence lacks its last two keys, the second its first. */
const padding: Arg = { shape: [2, 5], dtype: 'bool', data: [1, 1, 1, 0, 0, 0, 1, 1, 1, 1] };
const square = [values([2, 3, 5, 8], 21), values([2, 3, 5, 8], 22), values([2, 3, 5, 8], 23)];
const head = (part: number): string =>
  `a.reshape(*a.shape[:2], 3, p["heads"], -1).permute(2, 0, 3, 1, 4)[${part}]`;

export const attention: readonly OpInfo[] = [
  row<AttentionOptions>({
    name: 'scaledDotProductAttention',
    covers: ['attention', 'attentionBackward'],
    run: ([a, b, c], p) => scaledDotProductAttention(a, b, c, p),
    torch: plain(`${scores} + ${hidden}`),
    samples: [
      { name: 'cross', inputs: [q, k, v] },
      { name: 'causal', inputs: square, params: { isCausal: true } },
      { name: 'causal, more keys than queries', inputs: [q, k, v], params: { isCausal: true } },
      {
        name: 'causal, the last query at the last key',
        inputs: [q, k, v],
        params: { isCausal: true, align: 'end' },
      },
      { name: 'window', inputs: square, params: { window: 2 } },
      {
        name: 'window, the last query at the last key',
        inputs: [q, k, v],
        params: { window: 3, align: 'end' },
      },
      {
        name: 'own scale, no batch',
        inputs: [values([3, 8], 6), values([2, 8], 7), values([2, 6], 8)],
        params: { scale: 0.25 },
      },
      { name: 'shared keys', inputs: [values([2, 3, 8], 9), values([5, 8], 10), values([5, 6], 11)] },
      {
        name: 'three leading dims',
        inputs: [values([2, 2, 1, 3, 8], 12), values([2, 1, 2, 3, 8], 13), values([2, 1, 3, 8], 14)],
        params: { isCausal: true },
      },
      // More than a tile of queries and of keys.
      {
        name: 'long',
        inputs: [values([1, 70, 8], 15), values([1, 70, 8], 16), values([1, 70, 8], 17)],
        params: { window: 40 },
        noGolden: true,
      },
      {
        // Queries beyond the keys' end see none: NaN as in PyTorch.
        name: 'nothing to look at',
        inputs: [values([4, 8], 6), values([2, 8], 7), values([2, 6], 8)],
        params: { window: 1 },
        noGrad: true,
      },
      {
        name: 'no queries',
        inputs: [values([2, 0, 4], 1), values([2, 3, 4], 2), values([2, 3, 4], 3)],
        noGrad: true,
      },
      {
        name: 'no keys',
        inputs: [values([2, 3, 4], 1), values([2, 0, 4], 2), values([2, 0, 4], 3)],
        noGrad: true,
      },
      {
        // NaN in a query makes its row NaN, an infinite score too.
        name: 'special values',
        inputs: [
          { shape: [3, 2], data: [NaN, 1, 1, 2, 1, 1] },
          { shape: [2, 2], data: [1, 2, 3, 4] },
          { shape: [2, 2], data: [1, 2, 3, -Infinity] },
        ],
        noGrad: true,
      },
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
      {
        name: 'keys of another dtype',
        run: (device) => {
          const x = tensor([[1, 2]], { device });
          return scaledDotProductAttention(x, tensor([[1, 2]], { device, dtype: 'int32' }), x);
        },
        error: DTypeError,
        message:
          "scaledDotProductAttention: expected one dtype, got q float32, k int32 and v float32; convert with x.to('float32')",
      },
      {
        name: 'a window of nothing',
        run: (device) => {
          const x = tensor([[1, 2]], { device });
          return scaledDotProductAttention(x, x, x, { window: 0 });
        },
        error: ShapeError,
        message: 'scaledDotProductAttention: expected a window of at least 1 key, got 0',
      },
      {
        name: 'padding of another length',
        run: (device) => {
          const x = tensor([[[1, 2]]], { device });
          return scaledDotProductAttention(x, x, x, { keyPadding: tensor([[true, true]], { device }) });
        },
        error: ShapeError,
        message: 'scaledDotProductAttention: expected a keyPadding of shape [1, 1], got [1, 2]',
      },
      {
        name: 'padding of numbers',
        run: (device) => {
          const x = tensor([[[1, 2]]], { device });
          return scaledDotProductAttention(x, x, x, { keyPadding: tensor([[1]], { device }) });
        },
        error: DTypeError,
        message:
          "scaledDotProductAttention: expected a bool keyPadding, got float32; convert with keyPadding.to('bool')",
      },
    ],
  }),
  row<AttentionOptions>({
    name: 'scaledDotProductAttention with padding',
    covers: ['attention', 'attentionBackward'],
    run: ([a, b, c, d], p) => scaledDotProductAttention(a, b, c, { ...p, keyPadding: d }),
    torch: plain(`(${scores} + ${hidden}).masked_fill(~d[:, None, None], -math.inf)`),
    samples: [
      { name: 'cross', inputs: [q, k, v, padding] },
      { name: 'causal', inputs: [q, k, v, padding], params: { isCausal: true, align: 'end' } },
      // The first query of the second sequence sees padding only.
      { name: 'nothing to look at', inputs: [...square, padding], params: { isCausal: true }, noGrad: true },
      // PyTorch has no such option.
      {
        name: 'zeros',
        inputs: [...square, padding],
        params: { isCausal: true, empty: 'zero' },
        noGolden: true,
      },
    ],
  }),
  row<AttentionOptions & { heads: number }>({
    name: 'attentionPacked',
    covers: ['attentionPacked', 'attentionPackedBackward'],
    run: ([a], { heads, ...options }) => attentionPacked(a, heads, options),
    torch: `(lambda a, b, c: ${plain(`${scores} + ${hidden}`)})(${head(0)}, ${head(1)}, ${head(2)}).transpose(1, 2).flatten(2)`,
    samples: [
      { name: 'causal', inputs: [values([2, 5, 48], 31)], params: { heads: 2, isCausal: true } },
      { name: 'all keys', inputs: [values([2, 5, 36], 32)], params: { heads: 2 } },
      { name: 'window', inputs: [values([1, 6, 24], 33)], params: { heads: 1, window: 2 } },
      {
        name: 'no tokens',
        inputs: [values([2, 0, 24], 34)],
        params: { heads: 1 },
        noGrad: true,
        noGolden: true,
      },
    ],
    errors: [
      {
        name: 'heads that do not divide',
        run: (device) => attentionPacked(tensor([[[1, 2, 3, 4, 5, 6]]], { device }), 4),
        error: ShapeError,
        message: 'attentionPacked: expected qkv of shape [B, T, 3·heads·D] for 4 heads, got [1, 1, 6]',
      },
    ],
  }),
  row<AttentionOptions & { heads: number }>({
    name: 'attentionPacked with padding',
    covers: ['attentionPacked', 'attentionPackedBackward'],
    run: ([a, b], { heads, ...options }) => attentionPacked(a, heads, { ...options, keyPadding: b }),
    torch: `(lambda a, d, b, c: ${plain(`(${scores} + ${hidden}).masked_fill(~d[:, None, None], -math.inf)`)})(${head(0)}, b, ${head(1)}, ${head(2)}).transpose(1, 2).flatten(2)`,
    samples: [{ name: 'all keys', inputs: [values([2, 5, 48], 35), padding], params: { heads: 2 } }],
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
