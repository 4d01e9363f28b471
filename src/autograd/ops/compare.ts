/** Comparisons and logic: bool results, no gradients. NaN is unequal to everything, itself included. */
import type { WgslType } from '../../device/types.js';
import type { BinaryLoop, UnaryLoop } from '../../kernels/pointwise.js';
import { type Simd, simdBinary, simdCompare } from '../../kernels/simd.js';
import { declarations, IS_FINITE, IS_INF, IS_NAN, ORDER_OF } from '../../kernels/wgsl.js';
import type { Tensor } from '../../tensor/tensor.js';
import type { Op } from '../op.js';
import { defineBinary, defineUnary } from './define.js';
import { isFloatType, operand } from './operands.js';

/** Floats compare as integers, since WGSL compilers may turn `a < b` into `!(a >= b)` and flush subnormals. */
function comparison(
  name: 'eq' | 'ne' | 'lt' | 'le' | 'gt' | 'ge',
  operator: string,
  loop: BinaryLoop<null>,
): Op<[Tensor, Tensor], null> {
  // Only ≠ holds for NaN.
  const unordered = operator === '!=' ? 'is_nan(a) || is_nan(b) ||' : '!is_nan(a) && !is_nan(b) &&';
  return defineBinary({
    name,
    accepts: 'any',
    output: 'bool',
    differentiable: false,
    loop,
    wgsl: ([type]) =>
      isFloatType(type)
        ? `select(0u, 1u, ${unordered} order_of(a) ${operator} order_of(b))`
        : `select(0u, 1u, a ${operator} b)`,
    declarations: declarations(IS_NAN, ORDER_OF),
    simd: simdCompare(name),
    simdIntegers: true,
  });
}

const eqOp = comparison('eq', '==', (n, y, yo, a, ao, as, b, bo, bs) => {
  for (let i = 0; i < n; i++) y[yo + i] = a[ao + i * as] === b[bo + i * bs] ? 1 : 0;
});
const neOp = comparison('ne', '!=', (n, y, yo, a, ao, as, b, bo, bs) => {
  for (let i = 0; i < n; i++) y[yo + i] = a[ao + i * as] !== b[bo + i * bs] ? 1 : 0;
});
const ltOp = comparison('lt', '<', (n, y, yo, a, ao, as, b, bo, bs) => {
  for (let i = 0; i < n; i++) y[yo + i] = a[ao + i * as] < b[bo + i * bs] ? 1 : 0;
});
const leOp = comparison('le', '<=', (n, y, yo, a, ao, as, b, bo, bs) => {
  for (let i = 0; i < n; i++) y[yo + i] = a[ao + i * as] <= b[bo + i * bs] ? 1 : 0;
});
const gtOp = comparison('gt', '>', (n, y, yo, a, ao, as, b, bo, bs) => {
  for (let i = 0; i < n; i++) y[yo + i] = a[ao + i * as] > b[bo + i * bs] ? 1 : 0;
});
const geOp = comparison('ge', '>=', (n, y, yo, a, ao, as, b, bo, bs) => {
  for (let i = 0; i < n; i++) y[yo + i] = a[ao + i * as] >= b[bo + i * bs] ? 1 : 0;
});

/** WGSL condition: not ±0. NaN is true, as in C. */
function truth(name: string, type: WgslType): string {
  return isFloatType(type) ? `((bitcast<u32>(${name}) & 0x7fffffffu) != 0u)` : `(${name} != 0)`;
}

/** bool is 0 or 1, so that logic is arithmetic of bits. */
function bits(name: 'and' | 'or' | 'xor'): Simd<null> {
  const simd = simdBinary<null>(name);
  return (module, inputs, outputs) => inputs[0].dtype === 'bool' && simd(module, inputs, outputs, null);
}

function logical(
  name: string,
  operator: string,
  word: 'and' | 'or' | 'xor',
  loop: BinaryLoop<null>,
): Op<[Tensor, Tensor], null> {
  return defineBinary({
    name,
    accepts: 'any',
    output: 'bool',
    differentiable: false,
    loop,
    wgsl: ([type]) => `select(0u, 1u, ${truth('a', type)} ${operator} ${truth('b', type)})`,
    simd: bits(word),
    simdIntegers: true,
  });
}

const andOp = logical('logicalAnd', '&&', 'and', (n, y, yo, a, ao, as, b, bo, bs) => {
  for (let i = 0; i < n; i++) y[yo + i] = a[ao + i * as] !== 0 && b[bo + i * bs] !== 0 ? 1 : 0;
});
const orOp = logical('logicalOr', '||', 'or', (n, y, yo, a, ao, as, b, bo, bs) => {
  for (let i = 0; i < n; i++) y[yo + i] = a[ao + i * as] !== 0 || b[bo + i * bs] !== 0 ? 1 : 0;
});
const xorOp = logical('logicalXor', '!=', 'xor', (n, y, yo, a, ao, as, b, bo, bs) => {
  for (let i = 0; i < n; i++) y[yo + i] = (a[ao + i * as] !== 0) !== (b[bo + i * bs] !== 0) ? 1 : 0;
});

function test(name: string, wgsl: (type: WgslType) => string, loop: UnaryLoop<null>): Op<[Tensor], null> {
  return defineUnary({
    name,
    accepts: 'any',
    output: 'bool',
    differentiable: false,
    loop,
    wgsl: ([type]) => `select(0u, 1u, ${wgsl(type)})`,
    declarations: declarations(IS_NAN, IS_INF, IS_FINITE),
  });
}

const notOp = test(
  'logicalNot',
  (type) => `!${truth('a', type)}`,
  (n, y, yo, a, ao, as) => {
    for (let i = 0; i < n; i++) y[yo + i] = a[ao + i * as] === 0 ? 1 : 0;
  },
);
const isNaNOp = test(
  'isNaN',
  (type) => (isFloatType(type) ? 'is_nan(a)' : 'false'),
  (n, y, yo, a, ao, as) => {
    for (let i = 0; i < n; i++) y[yo + i] = Number.isNaN(a[ao + i * as]) ? 1 : 0;
  },
);
const isInfOp = test(
  'isInf',
  (type) => (isFloatType(type) ? 'is_inf(a)' : 'false'),
  (n, y, yo, a, ao, as) => {
    for (let i = 0; i < n; i++) y[yo + i] = Math.abs(a[ao + i * as]) === Infinity ? 1 : 0;
  },
);
const isFiniteOp = test(
  'isFinite',
  (type) => (isFloatType(type) ? 'is_finite(a)' : 'true'),
  (n, y, yo, a, ao, as) => {
    for (let i = 0; i < n; i++) y[yo + i] = Number.isFinite(a[ao + i * as]) ? 1 : 0;
  },
);

/** a = b as bool, with broadcasting. @source torch.eq */
export function eq(a: Tensor, b: Tensor | number): Tensor {
  return eqOp([a, operand('eq', b, a)], null);
}

/** a ≠ b as bool, with broadcasting; true where either is NaN. @source torch.ne */
export function ne(a: Tensor, b: Tensor | number): Tensor {
  return neOp([a, operand('ne', b, a)], null);
}

/** a < b as bool, with broadcasting. @source torch.lt */
export function lt(a: Tensor, b: Tensor | number): Tensor {
  return ltOp([a, operand('lt', b, a)], null);
}

/** a ≤ b as bool, with broadcasting. @source torch.le */
export function le(a: Tensor, b: Tensor | number): Tensor {
  return leOp([a, operand('le', b, a)], null);
}

/** a > b as bool, with broadcasting. @source torch.gt */
export function gt(a: Tensor, b: Tensor | number): Tensor {
  return gtOp([a, operand('gt', b, a)], null);
}

/** a ≥ b as bool, with broadcasting. @source torch.ge */
export function ge(a: Tensor, b: Tensor | number): Tensor {
  return geOp([a, operand('ge', b, a)], null);
}

/** a ∧ b as bool, with broadcasting; what is not 0 is true, NaN too. @source torch.logical_and */
export function logicalAnd(a: Tensor, b: Tensor): Tensor {
  return andOp([a, b], null);
}

/** a ∨ b as bool, with broadcasting; what is not 0 is true, NaN too. @source torch.logical_or */
export function logicalOr(a: Tensor, b: Tensor): Tensor {
  return orOp([a, b], null);
}

/** Whether exactly one of a and b is not 0, with broadcasting. @source torch.logical_xor */
export function logicalXor(a: Tensor, b: Tensor): Tensor {
  return xorOp([a, b], null);
}

/** Whether x is 0. @source torch.logical_not */
export function logicalNot(x: Tensor): Tensor {
  return notOp([x], null);
}

/** Whether x is NaN; integers never are. @source torch.isnan */
function testNaN(x: Tensor): Tensor {
  return isNaNOp([x], null);
}

/** Whether x is ∞ or −∞; integers never are. @source torch.isinf */
function testInf(x: Tensor): Tensor {
  return isInfOp([x], null);
}

/** Whether x is neither NaN nor infinite. @source torch.isfinite */
function testFinite(x: Tensor): Tensor {
  return isFiniteOp([x], null);
}

// Under names of their own inside this file, where JavaScript's isNaN and isFinite keep their meaning.
export { testFinite as isFinite, testInf as isInf, testNaN as isNaN };
