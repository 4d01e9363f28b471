/**
 * Operations as methods of Tensor. The class itself knows no gradients; this file adds what autograd defines. One
 * section per family, each: the types, then the functions.
 */
import type { DType } from '../device/dtype.js';
import type { Device } from '../device/types.js';
import * as printing from '../tensor/print.js';
import { Tensor } from '../tensor/tensor.js';
import { type BackwardOptions, backward, registerHook, retainGrad } from './engine.js';
import type { Hook } from './node.js';
import * as activations from './ops/activations.js';
import * as arithmetic from './ops/arithmetic.js';
import * as broadcast from './ops/broadcast.js';
import { to } from './ops/cast.js';
import * as compare from './ops/compare.js';
import * as inPlace from './ops/in-place.js';
import * as indexing from './ops/index.js';
import { indexCopy_ } from './ops/index-copy.js';
import * as joining from './ops/join.js';
import * as products from './ops/matmul.js';
import * as extremes from './ops/maximum.js';
import * as powers from './ops/power.js';
import { multinomial, normal_, uniform_ } from './ops/random.js';
import * as reductions from './ops/reduce.js';
import * as rounding from './ops/rounding.js';
import { logSoftmax, softmax } from './ops/row.js';
import * as selection from './ops/select.js';
import * as pieces from './ops/split.js';
import { topk } from './ops/topk.js';
import { tril, triu } from './ops/triangle.js';
import * as unary from './ops/unary.js';
import * as views from './ops/views.js';

/** The methods that functions of these modules become: the first argument is the tensor. */
type Method<F> = F extends (x: Tensor, ...rest: infer R) => infer Out ? (...rest: R) => Out : never;

/** Installs functions as methods under their own names. */
function install(functions: Record<string, (x: Tensor, ...rest: never[]) => unknown>): void {
  for (const [name, fn] of Object.entries(functions)) {
    if (name in Tensor.prototype) throw new Error(`methods: Tensor already has '${name}'`);
    Object.defineProperty(Tensor.prototype, name, {
      configurable: true,
      writable: true,
      value(this: Tensor, ...rest: never[]) {
        return fn(this, ...rest);
      },
    });
  }
}

// Engine
declare module '../tensor/tensor.js' {
  interface Tensor {
    backward(options?: BackwardOptions): void;
    registerHook(hook: Hook): () => void;
    retainGrad(): void;
  }
}
install({ backward, registerHook, retainGrad });

// Arithmetic
declare module '../tensor/tensor.js' {
  interface Tensor {
    add: Method<typeof arithmetic.add>;
    sub: Method<typeof arithmetic.sub>;
    mul: Method<typeof arithmetic.mul>;
    div: Method<typeof arithmetic.div>;
    neg: Method<typeof arithmetic.neg>;
  }
}
const { add, sub, mul, div, neg } = arithmetic;
install({ add, sub, mul, div, neg });

// Views and sums
declare module '../tensor/tensor.js' {
  interface Tensor {
    contiguous: Method<typeof broadcast.contiguous>;
    clone: Method<typeof broadcast.clone>;
    reshape: Method<typeof broadcast.reshape>;
    view: Method<typeof broadcast.view>;
    expand: Method<typeof broadcast.expand>;
    sum: Method<typeof broadcast.sum>;
    permute: Method<typeof views.permute>;
    transpose: Method<typeof views.transpose>;
    slice: Method<typeof views.slice>;
    narrow: Method<typeof views.narrow>;
    select: Method<typeof views.select>;
    squeeze: Method<typeof views.squeeze>;
    unsqueeze: Method<typeof views.unsqueeze>;
    flatten: Method<typeof views.flatten>;
    unflatten: Method<typeof views.unflatten>;
    split: Method<typeof pieces.split>;
    chunk: Method<typeof pieces.chunk>;
    unbind: Method<typeof pieces.unbind>;
  }
}
const { contiguous, clone, reshape, view, expand, sum } = broadcast;
install({ contiguous, clone, reshape, view, expand, sum });
const { permute, transpose, slice, narrow, select, squeeze, unsqueeze, flatten, unflatten } = views;
install({ permute, transpose, slice, narrow, select, squeeze, unsqueeze, flatten, unflatten });
const { split, chunk, unbind } = pieces;
install({ split, chunk, unbind });

// Matrix products
declare module '../tensor/tensor.js' {
  interface Tensor {
    matmul: Method<typeof products.matmul>;
    dot: Method<typeof products.dot>;
    outer: Method<typeof products.outer>;
  }
}
const { matmul, dot, outer } = products;
install({ matmul, dot, outer });

// Elementwise
declare module '../tensor/tensor.js' {
  interface Tensor {
    relu: Method<typeof activations.relu>;
    leakyRelu: Method<typeof activations.leakyRelu>;
    elu: Method<typeof activations.elu>;
    sigmoid: Method<typeof activations.sigmoid>;
    tanh: Method<typeof activations.tanh>;
    silu: Method<typeof activations.silu>;
    gelu: Method<typeof activations.gelu>;
    softplus: Method<typeof activations.softplus>;
    eq: Method<typeof compare.eq>;
    ne: Method<typeof compare.ne>;
    lt: Method<typeof compare.lt>;
    le: Method<typeof compare.le>;
    gt: Method<typeof compare.gt>;
    ge: Method<typeof compare.ge>;
    logicalAnd: Method<typeof compare.logicalAnd>;
    logicalOr: Method<typeof compare.logicalOr>;
    logicalXor: Method<typeof compare.logicalXor>;
    logicalNot: Method<typeof compare.logicalNot>;
    isNaN: Method<typeof compare.isNaN>;
    isInf: Method<typeof compare.isInf>;
    isFinite: Method<typeof compare.isFinite>;
    maximum: Method<typeof extremes.maximum>;
    minimum: Method<typeof extremes.minimum>;
    copy_: Method<typeof inPlace.copy_>;
    fill_: Method<typeof inPlace.fill_>;
    zero_: Method<typeof inPlace.zero_>;
    add_: Method<typeof inPlace.add_>;
    sub_: Method<typeof inPlace.sub_>;
    mul_: Method<typeof inPlace.mul_>;
    div_: Method<typeof inPlace.div_>;
    indexCopy_: Method<typeof indexCopy_>;
    pow: Method<typeof powers.pow>;
    floorDivide: Method<typeof powers.floorDivide>;
    remainder: Method<typeof powers.remainder>;
    sign: Method<typeof rounding.sign>;
    floor: Method<typeof rounding.floor>;
    ceil: Method<typeof rounding.ceil>;
    round: Method<typeof rounding.round>;
    trunc: Method<typeof rounding.trunc>;
    clamp: Method<typeof rounding.clamp>;
    maskedFill: Method<typeof selection.maskedFill>;
    abs: Method<typeof unary.abs>;
    exp: Method<typeof unary.exp>;
    expm1: Method<typeof unary.expm1>;
    log: Method<typeof unary.log>;
    log1p: Method<typeof unary.log1p>;
    sqrt: Method<typeof unary.sqrt>;
    rsqrt: Method<typeof unary.rsqrt>;
    reciprocal: Method<typeof unary.reciprocal>;
    square: Method<typeof unary.square>;
    sin: Method<typeof unary.sin>;
    cos: Method<typeof unary.cos>;
    erf: Method<typeof unary.erf>;
    /** This tensor where the condition holds, `other` elsewhere. */
    where(condition: Tensor, other: Tensor | number): Tensor;
    to(dtype: DType): Tensor;
    to(device: Device): Promise<Tensor>;
  }
}
install(activations);
install(compare);
install(extremes);
install(inPlace);
install({ indexCopy_ });
install(powers);
install(rounding);
install(unary);
const { maskedFill } = selection;
install({
  maskedFill,
  where: (x: Tensor, condition: Tensor, other: Tensor | number) => selection.where(condition, x, other),
  to: to as (x: Tensor, target: DType | Device) => Tensor | Promise<Tensor>,
});

// Reductions
declare module '../tensor/tensor.js' {
  interface Tensor {
    all: Method<typeof reductions.all>;
    amax: Method<typeof reductions.amax>;
    amin: Method<typeof reductions.amin>;
    any: Method<typeof reductions.any>;
    argmax: Method<typeof reductions.argmax>;
    argmin: Method<typeof reductions.argmin>;
    cumsum: Method<typeof reductions.cumsum>;
    logsumexp: Method<typeof reductions.logsumexp>;
    max(): Tensor;
    max(options: { dim: number; keepdim?: boolean }): reductions.Extremum;
    mean: Method<typeof reductions.mean>;
    min(): Tensor;
    min(options: { dim: number; keepdim?: boolean }): reductions.Extremum;
    norm: Method<typeof reductions.norm>;
    prod: Method<typeof reductions.prod>;
    std: Method<typeof reductions.std>;
    softmax: Method<typeof softmax>;
    logSoftmax: Method<typeof logSoftmax>;
    topk: Method<typeof topk>;
    var: Method<typeof reductions.var_>;
  }
}
const { all, amax, amin, any, argmax, argmin, cumsum, logsumexp, max, mean, min, norm, prod, std } =
  reductions;
install({
  all,
  amax,
  amin,
  any,
  argmax,
  argmin,
  cumsum,
  logsumexp,
  mean,
  norm,
  prod,
  std,
  var: reductions.var_,
});
install({ max, min, softmax, logSoftmax, topk });

// Indexing, joining, random numbers, printing
declare module '../tensor/tensor.js' {
  interface Tensor {
    gather: Method<typeof indexing.gather>;
    takeAlongDim: Method<typeof indexing.takeAlongDim>;
    scatterAdd: Method<typeof indexing.scatterAdd>;
    indexSelect: Method<typeof indexing.indexSelect>;
    indexAdd: Method<typeof indexing.indexAdd>;
    tril: Method<typeof tril>;
    triu: Method<typeof triu>;
    repeat: Method<typeof joining.repeat>;
    flip: Method<typeof joining.flip>;
    roll: Method<typeof joining.roll>;
    multinomial: Method<typeof multinomial>;
    uniform_: Method<typeof uniform_>;
    normal_: Method<typeof normal_>;
    toText: Method<typeof printing.toText>;
    tolist: Method<typeof printing.tolist>;
  }
}
const { gather, takeAlongDim, scatterAdd, indexSelect, indexAdd } = indexing;
const { repeat, flip, roll } = joining;
const { toText, tolist } = printing;
install({ gather, takeAlongDim, scatterAdd, indexSelect, indexAdd, tril, triu, repeat, flip, roll });
install({ multinomial, uniform_, normal_, toText, tolist });
