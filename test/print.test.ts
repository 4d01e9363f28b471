import { describe, expect, it } from 'vitest';
import '../src/autograd/methods.js';
import { arange, linspace, zeros } from '../src/autograd/ops/creation.js';
import { tensor } from '../src/tensor/factories.js';

describe('toText', () => {
  const cases: [string, () => Promise<string>, string][] = [
    [
      'fractions',
      () =>
        tensor([
          [1, 2.5],
          [-3, 4],
        ]).toText(),
      'tensor([[ 1.0000,  2.5000],\n        [-3.0000,  4.0000]])',
    ],
    ['whole numbers', () => tensor([1, 2, -30]).toText(), 'tensor([  1.,   2., -30.])'],
    ['a scalar', () => tensor(5).toText(), 'tensor(5.)'],
    ['digits', () => tensor([1 / 3]).toText({ precision: 2 }), 'tensor([0.33])'],
    ['far apart', () => tensor([1e-6, 1]).toText(), 'tensor([1.0000e-6, 1.0000e+0])'],
    ['special values', () => tensor([NaN, Infinity, -1.5]).toText(), 'tensor([    nan,     inf, -1.5000])'],
    ['integers', () => tensor([1, -20], { dtype: 'int32' }).toText(), 'tensor([  1, -20], dtype=int32)'],
    ['booleans', () => tensor([[true, false]]).toText(), 'tensor([[ true, false]], dtype=bool)'],
    ['float16', () => tensor([0.1], { dtype: 'float16' }).toText(), 'tensor([0.1000], dtype=float16)'],
    ['nothing', () => zeros([0]).toText(), 'tensor([])'],
    ['nothing of two dims', () => zeros([0, 3]).toText(), 'tensor([], shape=[0, 3])'],
    [
      'a transposed view',
      () =>
        tensor([
          [1, 2],
          [3, 4],
        ])
          .transpose(0, 1)
          .toText(),
      'tensor([[1., 3.],\n        [2., 4.]])',
    ],
    ['a leaf', () => tensor([1], { requiresGrad: true }).toText(), 'tensor([1.], requiresGrad)'],
    ['a result', () => tensor([1], { requiresGrad: true }).mul(2).toText(), 'tensor([2.], gradFn=mul)'],
    [
      'three dims',
      () => linspace(0, 1.5, 4).reshape([2, 1, 2]).toText(),
      'tensor([[[0.0000, 0.5000]],\n\n        [[1.0000, 1.5000]]])',
    ],
    [
      'the ends of many',
      () => arange(1000).reshape([10, 100]).toText({ edgeItems: 1 }),
      'tensor([[  0., ...,  99.],\n        ...,\n        [900., ..., 999.]], shape=[10, 100])',
    ],
    [
      'a broken line',
      () => arange(6, { dtype: 'int32' }).toText({ width: 20 }),
      'tensor([0, 1, 2, 3,\n        4, 5], dtype=int32)',
    ],
  ];
  it.each(cases)('prints %s', async (_, run, text) => {
    expect(await run()).toBe(text);
  });
});

describe('tolist', () => {
  it('nests as the shape does', async () => {
    expect(await arange(6).reshape([2, 1, 3]).tolist()).toEqual([[[0, 1, 2]], [[3, 4, 5]]]);
    expect(await tensor([[true, false]]).tolist()).toEqual([[true, false]]);
    expect(await tensor(3).tolist()).toBe(3);
    expect(await zeros([2, 0]).tolist()).toEqual([[], []]);
  });
});
