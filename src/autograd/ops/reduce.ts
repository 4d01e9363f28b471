/** Reductions: prod, any and all here, the others in files of their own; all are exported from this one. */
import { type DType, isFloat } from '../../device/dtype.js';
import { type LineLoop, reduce, reduceHost } from '../../kernels/reduce.js';
import { prodOthersKernel } from '../../kernels/scan.js';
import { constant, tensor } from '../../tensor/factories.js';
import { numel, reducedShape } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { defineOp, type Op } from '../op.js';
import { add, mul, sub } from './arithmetic.js';
import {
  expand,
  expandReduced,
  type ReduceOptions,
  type ReduceParams,
  reduceParams,
  reshape,
  sum,
} from './broadcast.js';
import { countOf } from './mean.js';
import { permute } from './views.js';

export { type ReduceOptions, sum } from './broadcast.js';
export { cumsum } from './cumsum.js';
export { amax, amin, argmax, argmin, type Extremum, max, min } from './extrema.js';
export { mean } from './mean.js';
export { type NormOptions, norm } from './norm.js';
export { logsumexp, std, type VarOptions, var_, var_ as var } from './statistics.js';

/** bool counts in int32, as PyTorch counts in int64. */
function widened(dtype: DType): DType {
  return dtype === 'bool' ? 'int32' : dtype;
}

const product: LineLoop = (data, at, n, step) => {
  let acc = 1;
  for (let r = 0, i = at; r < n; r++, i += step) acc *= data[i];
  return acc;
};

/** Float64 products of 32-bit integers lose their low bits. */
const wrappedProduct: LineLoop = (data, at, n, step) => {
  let acc = 1;
  for (let r = 0, i = at; r < n; r++, i += step) acc = Math.imul(acc, data[i]);
  return acc;
};

const prodOp = defineOp<[Tensor], ReduceParams>({
  name: 'prod',
  autocast: 'full',
  layout: 'strided',
  infer: ([x], { dims, keepdim }) => ({
    shape: reducedShape(x.shape, dims, keepdim),
    dtype: widened(x.dtype),
  }),
  host: ([x], [y], { dims }) => reduceHost(x, y, dims, isFloat(x.dtype) ? product : wrappedProduct),
  kernel: reduce<ReduceParams>(
    { name: 'prod', accumulator: (t) => t, init: (t) => `${t}(1)`, step: 'acc * v', merge: 'acc * other' },
    ({ dims }) => dims,
  ),
  saves: [0],
  backward: ({ gradOutput: g, params, input, inputShapes: [shape] }) => [
    mul(expandReduced(g, shape, params), productOfOthers(input(0), params.dims)),
  ],
});

/**
 * Π x over the given dims (all by default). Integers are multiplied in their own type and wrap; bool in int32. The
 * gradient is right for inputs with zeros too.
 *
 * @source torch.prod
 */
export function prod(x: Tensor, options: ReduceOptions = {}): Tensor {
  return prodOp([x], reduceParams('prod', x, options));
}

/** For every element, the product of all others along `dims`. No division: zeros need no special case. */
function productOfOthers(x: Tensor, dims: readonly number[]): Tensor {
  const kept = x.shape.map((_, d) => d).filter((d) => !dims.includes(d));
  const order = [...kept, ...dims];
  const rows = kept.reduce((n, d) => n * x.shape[d], 1);
  const shape = order.map((d) => x.shape[d]);
  const others = prodOthersOp([reshape(permute(x, order), [rows, countOf(x.shape, dims)])], null);
  const back = order.map((_, d) => order.indexOf(d));
  return permute(reshape(others, shape), back);
}

/** y[r, i] = Π x[r, j] over j ≠ i: products from the left times products from the right. */
const prodOthersOp: Op<[Tensor], null> = defineOp<[Tensor], null>({
  name: 'prodOthers',
  infer: ([x]) => x,
  host([x], [y]) {
    const [rows, n] = x.shape;
    const { data, offset } = x;
    const out = y.data;
    for (let row = 0; row < rows; row++) {
      let left = 1;
      for (let i = row * n; i < (row + 1) * n; i++) {
        out[i] = left;
        left *= data[offset + i];
      }
      let right = 1;
      for (let i = (row + 1) * n - 1; i >= row * n; i--) {
        out[i] *= right;
        right *= data[offset + i];
      }
    }
  },
  kernel: prodOthersKernel,
  saves: [0],
  // Row i of a [rows, n, n] copy has a 1 in place of element i: its product is output i. Memory n² per row, but only
  // second derivatives come here.
  backward({ gradOutput: g, input, inputShapes: [shape] }) {
    const [rows, n] = shape;
    const x = input(0);
    if (numel(shape) === 0) return [mul(g, x)];
    const one = constant(1, x.dtype, x.device);
    const eye = identity(n, x);
    const others = sub(one, eye);
    const replaced = add(mul(expand(reshape(x, [rows, 1, n]), [rows, n, n]), others), eye);
    const parts = mul(
      reshape(g, [rows, n, 1]),
      reshape(prodOthersOp([reshape(replaced, [rows * n, n])], null), [rows, n, n]),
    );
    return [sum(mul(parts, others), { dim: 1 })];
  },
});

function identity(n: number, like: Tensor): Tensor {
  const data = new Float64Array(n * n);
  for (let i = 0; i < n; i++) data[i * n + i] = 1;
  return tensor(data, { shape: [n, n], dtype: like.dtype, device: like.device });
}

/** 1 for elements that are not zero (NaN included), else 0. */
function truth(loaded: string): string {
  return loaded === 'f32'
    ? 'select(0u, 1u, (bitcast<u32>(v) & 0x7fffffffu) != 0u)'
    : 'select(0u, 1u, v != 0)';
}

const anyOp = defineOp<[Tensor], ReduceParams>({
  name: 'any',
  layout: 'strided',
  infer: ([x], { dims, keepdim }) => ({ shape: reducedShape(x.shape, dims, keepdim), dtype: 'bool' }),
  host([x], [y], { dims }) {
    reduceHost(x, y, dims, (data, at, n, step) => {
      for (let r = 0, i = at; r < n; r++, i += step) if (data[i] !== 0) return 1;
      return 0;
    });
  },
  kernel: reduce<ReduceParams>(
    {
      name: 'any',
      accumulator: () => 'u32',
      init: () => '0u',
      step: (t) => `acc | ${truth(t)}`,
      merge: 'acc | other',
    },
    ({ dims }) => dims,
  ),
  differentiable: false,
});

const allOp = defineOp<[Tensor], ReduceParams>({
  name: 'all',
  layout: 'strided',
  infer: ([x], { dims, keepdim }) => ({ shape: reducedShape(x.shape, dims, keepdim), dtype: 'bool' }),
  host([x], [y], { dims }) {
    reduceHost(x, y, dims, (data, at, n, step) => {
      for (let r = 0, i = at; r < n; r++, i += step) if (data[i] === 0) return 0;
      return 1;
    });
  },
  kernel: reduce<ReduceParams>(
    {
      name: 'all',
      accumulator: () => 'u32',
      init: () => '1u',
      step: (t) => `acc & ${truth(t)}`,
      merge: 'acc & other',
    },
    ({ dims }) => dims,
  ),
  differentiable: false,
});

/** Whether any element over the given dims (all by default) is not zero; NaN is not. bool. @source torch.any */
export function any(x: Tensor, options: ReduceOptions = {}): Tensor {
  return anyOp([x], reduceParams('any', x, options));
}

/** Whether no element over the given dims (all by default) is zero. bool. @source torch.all */
export function all(x: Tensor, options: ReduceOptions = {}): Tensor {
  return allOp([x], reduceParams('all', x, options));
}
