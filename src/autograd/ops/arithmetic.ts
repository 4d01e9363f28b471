/** Sums, differences, products and quotients of tensors that broadcast. */
import { simdBinary, simdUnary } from '../../kernels/simd.js';
import { type Shape, sameShape } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { sumTo } from './broadcast.js';
import { asTensor, defineBinary, defineUnary } from './define.js';

/** Gradient `g` of a broadcast operand: summed over the dims that were stretched. */
function unbroadcast(g: Tensor, shape: Shape): Tensor {
  return sameShape(g.shape, shape) ? g : sumTo(g, shape);
}

const addOp = defineBinary({
  name: 'add',
  loop(n, y, yo, a, ao, as, b, bo, bs) {
    for (let i = 0; i < n; i++) y[yo + i] = a[ao + i * as] + b[bo + i * bs];
  },
  wgsl: 'a + b',
  simd: simdBinary('add'),
  backward: ({ gradOutput: g, inputShapes: [a, b], needs }) => [
    needs(0) ? unbroadcast(g, a) : null,
    needs(1) ? unbroadcast(g, b) : null,
  ],
});

const subOp = defineBinary({
  name: 'sub',
  loop(n, y, yo, a, ao, as, b, bo, bs) {
    for (let i = 0; i < n; i++) y[yo + i] = a[ao + i * as] - b[bo + i * bs];
  },
  wgsl: 'a - b',
  simd: simdBinary('sub'),
  backward: ({ gradOutput: g, inputShapes: [a, b], needs }) => [
    needs(0) ? unbroadcast(g, a) : null,
    needs(1) ? unbroadcast(neg(g), b) : null,
  ],
});

const mulOp = defineBinary({
  name: 'mul',
  loop(n, y, yo, a, ao, as, b, bo, bs) {
    // Float64 products of two 32-bit integers lose their low bits.
    if (y instanceof Int32Array || y instanceof Uint32Array) {
      for (let i = 0; i < n; i++) y[yo + i] = Math.imul(a[ao + i * as], b[bo + i * bs]);
    } else for (let i = 0; i < n; i++) y[yo + i] = a[ao + i * as] * b[bo + i * bs];
  },
  wgsl: 'a * b',
  simd: simdBinary('mul'),
  saves: [0, 1],
  backward: ({ gradOutput: g, inputShapes: [a, b], input, needs }) => [
    needs(0) ? unbroadcast(mul(g, input(1)), a) : null,
    needs(1) ? unbroadcast(mul(g, input(0)), b) : null,
  ],
});

const divOp = defineBinary({
  name: 'div',
  accepts: 'float',
  loop(n, y, yo, a, ao, as, b, bo, bs) {
    for (let i = 0; i < n; i++) y[yo + i] = a[ao + i * as] / b[bo + i * bs];
  },
  wgsl: 'a / b',
  simd: simdBinary('div'),
  saves: [0, 1],
  backward: ({ gradOutput: g, inputShapes: [a, b], input, needs }) => {
    const scaled = div(g, input(1));
    return [
      needs(0) ? unbroadcast(scaled, a) : null,
      needs(1) ? unbroadcast(neg(mul(scaled, div(input(0), input(1)))), b) : null,
    ];
  },
});

const negOp = defineUnary({
  name: 'neg',
  accepts: 'number',
  loop(n, y, yo, a, ao, as) {
    for (let i = 0; i < n; i++) y[yo + i] = -a[ao + i * as];
  },
  // Unsigned integers have no unary minus in WGSL; 0 − a wraps as the host does.
  wgsl: ([type]) => (type === 'u32' ? '0u - a' : '-a'),
  simd: simdUnary('neg'),
  backward: ({ gradOutput: g }) => [neg(g)],
});

/** a + b, elementwise with broadcasting. @source torch.add */
export function add(a: Tensor, b: Tensor | number): Tensor {
  return addOp([a, asTensor(b, a)], null);
}

/** a − b, elementwise with broadcasting. @source torch.sub */
export function sub(a: Tensor, b: Tensor | number): Tensor {
  return subOp([a, asTensor(b, a)], null);
}

/** a · b, elementwise with broadcasting; integers wrap. @source torch.mul */
export function mul(a: Tensor, b: Tensor | number): Tensor {
  return mulOp([a, asTensor(b, a)], null);
}

/** a / b for floating-point tensors, elementwise with broadcasting. @source torch.div */
export function div(a: Tensor, b: Tensor | number): Tensor {
  return divOp([a, asTensor(b, a)], null);
}

/** −x. @source torch.neg */
export function neg(x: Tensor): Tensor {
  return negOp([x], null);
}
