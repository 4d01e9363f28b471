import { grad } from '../../src/autograd/engine.js';
import { enableGrad } from '../../src/autograd/mode.js';
import {
  all,
  amax,
  amin,
  any,
  argmax,
  argmin,
  cumsum,
  logsumexp,
  max,
  mean,
  min,
  norm,
  prod,
  std,
  sum,
  var_,
} from '../../src/autograd/ops/reduce.js';
import { DTypeError, ShapeError } from '../../src/device/errors.js';
import { tensor } from '../../src/tensor/factories.js';
import type { Tensor } from '../../src/tensor/tensor.js';
import {
  type Arg,
  bools,
  distinct,
  type ErrorSample,
  integers,
  type OpInfo,
  row,
  type Sample,
  values,
} from './types.js';

type Params = { dim?: number | readonly number[]; keepdim?: boolean };

const INF = Infinity;
const of = (shape: readonly number[], data: readonly number[]): Arg => ({ shape, data });

/** PyTorch 1.13's reductions over all dims take no keepdim, and some take no list of dims. */
const DIMS =
  "dim=tuple([p['dim']] if isinstance(p['dim'], int) else p['dim']) if 'dim' in p else tuple(range(a.dim()))";
const KEEP = "keepdim=p.get('keepdim', False)";

/** Shapes and dims that every reduction gets; `make` gives the values. */
function shapes(make: (shape: readonly number[], seed: number) => Arg): Sample[] {
  return [
    { name: 'all', inputs: [make([2, 3, 4], 1)] },
    { name: 'all, kept', inputs: [make([2, 3], 2)], params: { dim: [0, 1], keepdim: true } },
    { name: 'last', inputs: [make([2, 3, 4], 3)], params: { dim: -1 } },
    { name: 'middle, kept', inputs: [make([2, 3, 4], 4)], params: { dim: 1, keepdim: true } },
    { name: 'outer dims', inputs: [make([2, 3, 4], 5)], params: { dim: [2, 0] } },
    { name: 'dim of one', inputs: [make([3, 1], 6)], params: { dim: 1 } },
    { name: 'scalar', inputs: [make([], 7)] },
    { name: 'no outputs', inputs: [make([0, 3], 8)], params: { dim: 1 }, noGrad: true },
  ];
}

/** Long reductions: cut into blocks, by rows and by columns. Golden values would only be long. */
function long(make: (shape: readonly number[], seed: number) => Arg): Sample[] {
  return [
    { name: 'long row', inputs: [make([2, 700], 1)], params: { dim: 1 }, noGolden: true },
    { name: 'long column', inputs: [make([700, 3], 2)], params: { dim: 0 }, noGolden: true },
    { name: 'very long', inputs: [make([9001], 3)], noGrad: true, noGolden: true },
    { name: 'many rows', inputs: [make([600, 70], 4)], params: { dim: 1 }, noGrad: true, noGolden: true },
  ];
}

const empty: Sample = {
  name: 'nothing to reduce',
  inputs: [of([0, 3], [])],
  params: { dim: 0 },
  noGrad: true,
};

function special(...params: Params[]): Sample[] {
  const data = [
    [1, NaN, 3, INF],
    [-INF, -INF, -INF, -INF],
    [2, -INF, 0, -1],
    [-INF, INF, 5, 1],
    [NaN, -INF, INF, NaN],
    [-0, 0, -0, 0],
  ];
  return params.map((p, i) => ({
    name: `special values ${i + 1}`,
    inputs: [of([6, 4], data.flat())],
    params: { dim: 1, ...p },
    noGrad: true,
  }));
}

function floatsOnly(op: string, fn: (x: Tensor) => Tensor): ErrorSample {
  return {
    name: 'integers',
    run: (device) => fn(tensor([1, 2], { device, dtype: 'int32' })),
    error: DTypeError,
    message: `${op}: expected a floating-point tensor, got int32; convert with x.to('float32')`,
  };
}

function badDims(op: string, fn: (x: Tensor, p: Params) => unknown): ErrorSample[] {
  return [
    {
      name: 'dim out of range',
      run: (device) => fn(tensor([[1, 2]], { device }), { dim: 2 }),
      error: ShapeError,
      message: `${op}: expected dim in [-2, 1], got 2`,
    },
    {
      name: 'dim twice',
      run: (device) => fn(tensor([[1, 2]], { device }), { dim: [0, -2] }),
      error: ShapeError,
      message: `${op}: expected distinct dims, got dim 0 twice`,
    },
  ];
}

function nothing(op: string, fn: (x: Tensor) => unknown): ErrorSample {
  return {
    name: 'nothing to choose from',
    run: (device) => fn(tensor([], { device, shape: [2, 0] })),
    error: ShapeError,
    message: `${op}: expected at least one element to choose from, got shape [2, 0]`,
  };
}

const wholeNumbers = (name: string, params?: Params): Sample => ({
  name,
  inputs: [of([3, 4], [3, -1, 2, 0, -5, 3, 3, 1, 0, 0, 1, 1])],
  params: params as Record<string, unknown>,
  noGrad: true,
});
const natural: Sample = {
  name: 'natural numbers',
  inputs: [of([2, 4], [3, 1, 2, 1, 0, 3, 3, 1])],
  params: { dim: 1 },
};

/** Samples whose gradient exists: no ties. */
const tied: Sample = {
  name: 'ties',
  inputs: [of([3, 4], [1, 5, 5, 2, 3, 3, 3, 3, 0, -1, -1, 0])],
  params: { dim: 1 },
  noGrad: true,
};

const rows: readonly OpInfo[] = [
  row<null>({
    name: 'sum of bools',
    covers: ['sum'],
    run: ([a]) => sum(a, { dim: 1 }),
    torch: 'a.sum(1)',
    samples: [{ name: 'matrix', inputs: [bools([3, 70], 1)] }],
    grad: false,
  }),
  row<Params>({
    name: 'mean',
    covers: ['mean'],
    run: ([a], p) => mean(a, p),
    torch: `torch.mean(a, ${DIMS}, ${KEEP})`,
    samples: [...shapes(values), ...long(values), { ...empty }, ...special({})],
    errors: [floatsOnly('mean', mean), ...badDims('mean', mean)],
  }),
  row<Params>({
    name: 'prod',
    covers: ['prod', 'prodOthers'],
    run: ([a], p) => prod(a, p),
    // PyTorch multiplies over one dim or all.
    torch: "torch.prod(a, p['dim'], p.get('keepdim', False)) if 'dim' in p else torch.prod(a)",
    samples: [
      ...shapes((shape, seed) => values(shape, seed, 0.5, 1.5)).map((s) => ({
        ...s,
        noGolden: Array.isArray(s.params?.dim),
      })),
      { name: 'one zero', inputs: [of([2, 3], [2, 0, 3, 1, 2, 4])], params: { dim: 1 } },
      { name: 'zeros', inputs: [of([2, 3], [2, 0, 3, 0, 2, 0])] },
      {
        name: 'zeros over two dims',
        inputs: [of([2, 2, 2], [2, 0, 3, 1, 5, 2, 0, 0])],
        params: { dim: [0, 2] },
        noGolden: true,
      },
      ...long((shape, seed) => values(shape, seed, 0.984375, 1.015625)).map((s) => ({ ...s, noGrad: true })),
      empty,
      wholeNumbers('whole numbers', { dim: 0 }),
      natural,
      ...special({}),
    ],
    errors: badDims('prod', prod),
    dtypes: ['int32', 'uint32'],
    // 9001 factors, each product rounded.
    tolerance: { float32: { absolute: 2e-6, relative: 1e-4 }, float16: { absolute: 1e-3, relative: 4e-3 } },
  }),
  ...[
    { name: 'amax', fn: amax },
    { name: 'amin', fn: amin },
  ].map(({ name, fn }) =>
    row<Params>({
      name,
      covers: [name, 'equalMask'],
      run: ([a], p) => fn(a, p),
      torch: `torch.${name}(a, ${DIMS}, ${KEEP})`,
      samples: [
        ...shapes(distinct),
        ...long(distinct),
        ...special({}, { dim: 0 }),
        wholeNumbers('whole numbers', { dim: 1 }),
        { ...natural, noGrad: true },
        tied,
      ],
      errors: [...badDims(name, fn), nothing(name, fn)],
      dtypes: ['int32', 'uint32', 'bool'],
    }),
  ),
  ...[
    { name: 'max', fn: max, arg: 'argmax' },
    { name: 'min', fn: min, arg: 'argmin' },
  ].flatMap(({ name, fn, arg }) => [
    row<null>({
      name: `${name} of all`,
      covers: [name === 'max' ? 'amax' : 'amin'],
      run: ([a]) => fn(a),
      torch: `torch.${name}(a)`,
      samples: [
        { name: 'cube', inputs: [distinct([2, 3, 4], 1)] },
        { name: 'scalar', inputs: [distinct([], 1)] },
      ],
      errors: [{ ...nothing(name === 'max' ? 'amax' : 'amin', (x) => fn(x)) }],
    }),
    row<{ dim: number; keepdim?: boolean }>({
      name: `${name} along a dim`,
      covers: [arg, 'pick', 'place'],
      run([a], p) {
        const { values, indices } = fn(a, p);
        return [values, indices];
      },
      torch: `torch.${name}(a, p['dim'], p.get('keepdim', False))`,
      samples: [
        { name: 'last', inputs: [distinct([2, 3, 4], 1)], params: { dim: -1 } },
        { name: 'middle, kept', inputs: [distinct([2, 3, 4], 2)], params: { dim: 1, keepdim: true } },
        { name: 'first', inputs: [distinct([5, 2], 3)], params: { dim: 0 } },
        { name: 'scalar', inputs: [distinct([], 4)], params: { dim: 0 } },
        { name: 'long', inputs: [distinct([3, 700], 5)], params: { dim: 1 }, noGolden: true },
        { name: 'no outputs', inputs: [of([0, 2], [])], params: { dim: 1 }, noGrad: true },
        { ...tied, name: 'ties go to the first' },
        wholeNumbers('whole numbers', { dim: 0 }),
        { ...natural, noGrad: true },
        ...special({}, { dim: 0, keepdim: true }),
      ],
      errors: [
        nothing(arg, (x) => fn(x, { dim: 1 })),
        {
          name: 'dim out of range',
          run: (device) => fn(tensor([1, 2], { device }), { dim: 1 }),
          error: ShapeError,
          message: `${name}: expected dim in [-1, 0], got 1`,
        },
      ],
      dtypes: ['int32', 'uint32', 'bool'],
    }),
  ]),
  ...[
    { name: 'argmax', fn: argmax },
    { name: 'argmin', fn: argmin },
  ].map(({ name, fn }) =>
    row<{ dim?: number; keepdim?: boolean }>({
      name,
      covers: [name],
      run: ([a], p) => fn(a, p),
      torch: `torch.${name}(a, p.get('dim'), p.get('keepdim', False)) if a.dim() > 0 else torch.tensor(0)`,
      samples: [
        ...shapes(distinct).filter((s) => !Array.isArray(s.params?.dim)),
        ...long(values),
        ...special({}, { dim: 0 }, { keepdim: true }),
        wholeNumbers('whole numbers', { dim: 1 }),
        natural,
        tied,
      ],
      errors: [nothing(name, (x) => fn(x, { dim: 1 }))],
      dtypes: ['int32', 'uint32', 'bool'],
      grad: false,
    }),
  ),
  ...[
    { name: 'var', fn: var_ },
    { name: 'std', fn: std },
  ].map(({ name, fn }) =>
    row<Params & { correction?: number }>({
      name,
      covers: name === 'var' ? ['var'] : ['std', 'divOrZero'],
      run: ([a], p) => fn(a, p),
      torch: `torch.${name}(a, ${DIMS}, correction=p.get('correction', 1), ${KEEP})`,
      samples: [
        ...shapes(values).filter((s) => !['dim of one', 'scalar', 'no outputs'].includes(s.name)),
        ...long(values),
        { name: 'whole population', inputs: [values([3, 5], 9)], params: { dim: 1, correction: 0 } },
        { name: 'correction 2', inputs: [values([3, 5], 10)], params: { dim: 0, correction: 2 } },
        { name: 'one element', inputs: [values([3, 1], 11)], params: { dim: 1 }, noGrad: true },
        {
          name: 'one element of one',
          inputs: [values([3, 1], 11)],
          params: { dim: 1, correction: 0 },
          noGrad: true,
        },
        {
          name: 'far from zero',
          inputs: [{ ...integers([4, 300], 12, 1000, 1003), dtype: 'float' }],
          params: { dim: 1 },
          noGolden: true,
        },
        ...special({}),
      ],
      errors: [floatsOnly(name, fn), ...badDims(name, fn)],
    }),
  ),
  row<Params>({
    name: 'logsumexp',
    covers: ['logsumexp'],
    run: ([a], p) => logsumexp(a, p),
    torch: `torch.logsumexp(a, ${DIMS}, ${KEEP})`,
    samples: [
      // PyTorch 1.13 cannot reduce a scalar over no dims.
      ...shapes(values).map((s) => ({ ...s, noGolden: s.name === 'scalar' })),
      ...long(values),
      {
        name: 'large',
        inputs: [of([2, 3], [1000, 1001, 999, -1000, -1001, -1002])],
        params: { dim: 1 },
        noGrad: true,
      },
      {
        name: 'some -∞',
        inputs: [of([2, 3], [1, -INF, 2, -INF, -INF, 0.5])],
        params: { dim: 1 },
        noGrad: true,
      },
      { ...empty },
      ...special({}, { dim: 0 }),
    ],
    errors: [floatsOnly('logsumexp', logsumexp), ...badDims('logsumexp', logsumexp)],
  }),
  row<Params & { p?: number }>({
    name: 'norm',
    covers: ['norm', 'divOrZero', 'signPow', 'absPow', 'equalMask'],
    run: ([a], p) => norm(a, p),
    torch: `torch.linalg.vector_norm(a, p.get('p', 2), ${DIMS}, ${KEEP})`,
    samples: [
      ...shapes(values).filter((s) => s.name !== 'dim of one'),
      ...long(values),
      ...[1, 3, 0.5, 1.5, INF, -INF].flatMap((p) => [
        { name: `p = ${p}`, inputs: [distinct([3, 5], 9, 0.375)].map(awayFromZero), params: { dim: 1, p } },
        {
          name: `p = ${p}, long`,
          inputs: [values([700, 2], 3)],
          params: { dim: 0, p },
          noGrad: true,
          noGolden: true,
        },
      ]),
      { name: 'p = 0', inputs: [of([2, 3], [1, 0, -2, 0, 0, 0])], params: { dim: 1, p: 0 }, noGrad: true },
      { name: 'zeros', inputs: [of([2, 2], [0, 0, 0, 0])], params: { dim: 1 }, noGrad: true },
      ...special({}, { dim: 1 }).map((s) => ({ ...s })),
      ...[1, 3, INF].flatMap((p) =>
        special({ p } as Params).map((s) => ({ ...s, name: `${s.name}, p = ${p}` })),
      ),
      { ...empty },
    ],
    errors: [
      floatsOnly('norm', norm),
      ...badDims('norm', norm),
      nothing('norm', (x) => norm(x, { p: INF, dim: 1 })),
    ],
  }),
  row<{ dim: number }>({
    name: 'cumsum',
    covers: ['cumsum'],
    run: ([a], { dim }) => cumsum(a, dim),
    torch: "torch.cumsum(a, p['dim'])",
    samples: [
      { name: 'last', inputs: [values([2, 3, 4], 1)], params: { dim: -1 } },
      { name: 'middle', inputs: [values([2, 3, 4], 2)], params: { dim: 1 } },
      { name: 'first', inputs: [values([5, 2], 3)], params: { dim: 0 } },
      { name: 'scalar', inputs: [values([], 4)], params: { dim: 0 } },
      { name: 'long', inputs: [values([3, 700], 5)], params: { dim: 1 }, noGolden: true },
      { name: 'long column', inputs: [values([700, 2], 5)], params: { dim: 0 }, noGolden: true },
      {
        name: 'very long',
        inputs: [integers([9001], 6, -2, 2)].map((a) => ({ ...a, dtype: 'float' as const })),
        params: { dim: 0 },
        noGrad: true,
        noGolden: true,
      },
      { name: 'empty', inputs: [of([0, 2], [])], params: { dim: 0 }, noGrad: true },
      { ...natural, name: 'natural numbers' },
      wholeNumbers('whole numbers', { dim: 0 }),
      ...special({}),
    ],
    errors: [
      {
        name: 'dim out of range',
        run: (device) => cumsum(tensor([1, 2], { device }), 1),
        error: ShapeError,
        message: 'cumsum: expected dim in [-1, 0], got 1',
      },
    ],
    dtypes: ['int32', 'uint32'],
    // Sums of 700 elements pass near zero, where errors of the parts show: 2^-24 of 700 · 2.
    tolerance: { float32: { absolute: 1e-4, relative: 2e-5 }, float16: { absolute: 1e-3, relative: 4e-3 } },
  }),
  ...[
    { name: 'any', fn: any },
    { name: 'all', fn: all },
  ].map(({ name, fn }) =>
    row<Params>({
      name,
      covers: [name],
      run: ([a], p) => fn(a, p),
      // PyTorch 1.13 takes one dim or none.
      torch: `torch.${name}(a, p['dim'], p.get('keepdim', False)) if 'dim' in p else torch.${name}(a)`,
      samples: [
        ...shapes((shape, seed) => bools(shape, seed)).map((s) => ({
          ...s,
          noGolden: Array.isArray(s.params?.dim),
        })),
        ...long((shape, seed) => bools(shape, seed)),
        { name: 'none', inputs: [of([300], new Array(300).fill(0))] },
        { name: 'every', inputs: [of([300], new Array(300).fill(1))] },
        { name: 'one', inputs: [of([300], [...new Array(299).fill(0), 1])] },
        { name: 'all but one', inputs: [of([300], [...new Array(299).fill(1), 0])] },
        { ...empty },
        ...special({}),
      ],
      errors: badDims(name, fn),
      dtypes: ['int32', 'uint32', 'bool'],
      grad: false,
    }),
  ),
];

/** Gradients where there is only a convention, which finite differences cannot check: PyTorch's. */
const conventions: readonly { name: string; covers: string; fn(x: Tensor): Tensor; torch: string; x: Arg }[] =
  [
    {
      name: 'amax at ties',
      covers: 'amax',
      fn: (x) => amax(x, { dim: 1 }),
      torch: 'torch.amax(x, 1)',
      x: tied.inputs[0],
    },
    {
      name: 'amin at ties',
      covers: 'amin',
      fn: (x) => amin(x, { dim: 1 }),
      torch: 'torch.amin(x, 1)',
      x: tied.inputs[0],
    },
    {
      name: 'max of all at ties',
      covers: 'amax',
      fn: (x) => max(x),
      torch: 'torch.max(x)',
      x: tied.inputs[0],
    },
    {
      name: 'max along a dim at ties',
      covers: 'pick',
      fn: (x) => max(x, { dim: 1 }).values,
      torch: 'torch.max(x, 1)[0]',
      x: tied.inputs[0],
    },
    {
      name: 'min along a dim at ties',
      covers: 'pick',
      fn: (x) => min(x, { dim: 0 }).values,
      torch: 'torch.min(x, 0)[0]',
      x: tied.inputs[0],
    },
    {
      name: 'std at 0',
      covers: 'std',
      fn: (x) => std(x, { dim: 1 }),
      torch: 'torch.std(x, 1)',
      x: of([2, 3], [2, 2, 2, 0, 0, 0]),
    },
    ...[0.5, 1, 1.5, 2, 3, INF].flatMap((p) => [
      {
        name: `norm at 0, p = ${p}`,
        covers: 'norm',
        fn: (x: Tensor) => norm(x, { p, dim: 1 }),
        torch: `torch.linalg.vector_norm(x, ${p === INF ? 'math.inf' : p}, 1)`,
        x: of([2, 2], [0, 0, 0, 0]),
      },
      {
        name: `norm with zeros, p = ${p}`,
        covers: 'norm',
        fn: (x: Tensor) => norm(x, { p, dim: 1 }),
        torch: `torch.linalg.vector_norm(x, ${p === INF ? 'math.inf' : p}, 1)`,
        x: of([2, 3], [0, 2, -1, 1, 0, 1]),
      },
    ]),
  ];

const conventionRows: readonly OpInfo[] = conventions.map(({ name, covers, fn, torch, x }) =>
  row<null>({
    name: `gradient of ${name}`,
    covers: [covers],
    run: ([a]) =>
      enableGrad(() => {
        const leaf = a.detach().requiresGrad_();
        return grad(sum(fn(leaf)), [leaf])[0];
      }),
    torch: `(lambda x: torch.autograd.grad((${torch}).sum(), x)[0])(a.clone().requires_grad_())`,
    samples: [{ name: 'gradient', inputs: [x] }],
    grad: false,
  }),
);

/** Values of |x| at least 1/4 apart from each other and from 0: norms have derivatives there. */
function awayFromZero(a: Arg): Arg {
  return { ...a, data: a.data.map((v, i) => (i % 2 === 0 ? v + 3.25 : v - 6.1875)) };
}

export const reductions: readonly OpInfo[] = [...rows, ...conventionRows];
