/**
 * Operations as methods of Tensor. The class itself knows no gradients; this file adds what autograd defines. One
 * section per family, each: the types, then the functions.
 */
import { Tensor } from '../tensor/tensor.js';
import * as arithmetic from './ops/arithmetic.js';
import * as broadcast from './ops/broadcast.js';
import * as products from './ops/matmul.js';
import * as views from './ops/views.js';
import { type BackwardOptions, backward, registerHook, retainGrad } from './engine.js';
import type { Hook } from './node.js';

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
    split: Method<typeof views.split>;
    chunk: Method<typeof views.chunk>;
    unbind: Method<typeof views.unbind>;
  }
}
const { contiguous, clone, reshape, view, expand, sum } = broadcast;
install({ contiguous, clone, reshape, view, expand, sum });
const {
  permute,
  transpose,
  slice,
  narrow,
  select,
  squeeze,
  unsqueeze,
  flatten,
  unflatten,
  split,
  chunk,
  unbind,
} = views;
install({
  permute,
  transpose,
  slice,
  narrow,
  select,
  squeeze,
  unsqueeze,
  flatten,
  unflatten,
  split,
  chunk,
  unbind,
});

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
