/** Shorthand for functions whose gradient is an operation of its own: y = f(x), gradient g · f′(x) in one pass. */
import type { Program, WgslType } from '../../device/types.js';
import type { BinaryLoop, ParamSpec, UnaryLoop } from '../../kernels/pointwise.js';
import type { Tensor } from '../../tensor/tensor.js';
import type { Op } from '../op.js';
import { mul } from './arithmetic.js';
import { type DTypeClass, defineBinary, defineUnary } from './define.js';

export interface Activation<P> {
  readonly name: string;
  readonly accepts?: DTypeClass;
  readonly loop: UnaryLoop<P>;
  /** WGSL expression of `a` and `p.name`. */
  readonly wgsl: string | ((types: readonly WgslType[]) => string);
  readonly declarations?: string;
  readonly params?: readonly ParamSpec[];
  readonly values?: (params: P) => readonly number[];
  readonly simd?: Program<P>['simd'];
  readonly slope: {
    /** What f′ is computed from. */
    readonly of: 'input' | 'output';
    /** g · f′, where `a` is the gradient g and `b` the input or output. */
    readonly loop: BinaryLoop<P>;
    readonly wgsl: string;
    readonly simd?: Program<P>['simd'];
    /** The derivative of f′ with respect to what it is computed from, in operations; left out where it is 0. */
    readonly derivative?: (from: Tensor, params: P) => Tensor;
  };
}

/** A defined activation, for operations that end in one. */
export interface DefinedActivation {
  readonly definition: Activation<null>;
  readonly op: Op<[Tensor], null>;
  /** g · f′ of g and what the slope is computed from. */
  readonly slope: Op<[Tensor, Tensor], null>;
}

/** Every activation by name. */
export const activations = new Map<string, DefinedActivation>();

/** Defines `name` and `nameBackward`, the gradient, which has a gradient too. */
export function defineActivation<P = null>(def: Activation<P>): Op<[Tensor], P> {
  const { slope, params, values, declarations } = def;
  const slopeOp: Op<[Tensor, Tensor], P> = defineBinary<P>({
    name: `${def.name}Backward`,
    accepts: 'float',
    loop: slope.loop,
    wgsl: slope.wgsl,
    declarations,
    params,
    values,
    simd: slope.simd,
    saves: slope.derivative ? [0, 1] : [1],
    backward: ({ gradOutput: g, input, needs, params: p }) => [
      needs(0) ? slopeOp([g, input(1)], p) : null,
      needs(1) && slope.derivative ? mul(mul(g, input(0)), slope.derivative(input(1), p)) : null,
    ],
  });
  const op = defineUnary<P>({
    name: def.name,
    accepts: def.accepts,
    loop: def.loop,
    wgsl: def.wgsl,
    declarations,
    params,
    values,
    simd: def.simd,
    saves: slope.of === 'input' ? [0] : ['output'],
    backward: ({ gradOutput: g, input, output, params: p }) => [
      slopeOp([g, slope.of === 'input' ? input(0) : output()], p),
    ],
  });
  activations.set(def.name, { definition: def, op, slope: slopeOp } as unknown as DefinedActivation);
  return op;
}
