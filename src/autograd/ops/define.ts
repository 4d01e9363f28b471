/** Shorthands for the two largest families: elementwise operations of one and two tensors. */
import type { DType } from '../../device/dtype.js';
import { isFloat } from '../../device/dtype.js';
import { DTypeError } from '../../device/errors.js';
import type { SimdModule, SimdView, WgslType } from '../../device/types.js';
import {
  type BinaryLoop,
  binaryHost,
  type ParamSpec,
  pointwise,
  type UnaryLoop,
  unaryHost,
} from '../../kernels/pointwise.js';
import { constant } from '../../tensor/factories.js';
import { broadcastShapes } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { type BackwardContext, defineOp, type Op, type SaveName } from '../op.js';

/** Which dtypes an op takes. */
export type DTypeClass = 'float' | 'number' | 'integer' | 'any';

/** @throws DTypeError when a dtype is not of the class. */
export function checkDType(op: string, dtype: DType, accepts: DTypeClass): void {
  const ok =
    accepts === 'any' ||
    (accepts === 'float' && isFloat(dtype)) ||
    (accepts === 'number' && dtype !== 'bool') ||
    (accepts === 'integer' && (dtype === 'int32' || dtype === 'uint32'));
  if (ok) return;
  const wanted = {
    float: 'a floating-point tensor',
    number: 'a numeric tensor',
    integer: 'an int32 or uint32 tensor',
    any: '',
  }[accepts];
  const remedy = accepts === 'integer' ? "x.to('int32')" : "x.to('float32')";
  throw new DTypeError(`${op}: expected ${wanted}, got ${dtype}; convert with ${remedy}`);
}

interface Shared<P> {
  readonly name: string;
  readonly accepts?: DTypeClass;
  /** Default: that of the input. */
  readonly output?: DType;
  /** WGSL expression of `a` (and `b`) and `p.name`; see PointwiseTemplate. */
  readonly wgsl: string | ((types: readonly WgslType[]) => string);
  readonly declarations?: string;
  readonly params?: readonly ParamSpec[];
  readonly values?: (params: P) => readonly number[];
  readonly saves?: readonly SaveName[] | ((params: P) => readonly SaveName[]);
  readonly backward?: (context: BackwardContext<P>) => readonly (Tensor | null | undefined)[];
  readonly differentiable?: false;
  readonly autocast?: 'half' | 'full' | 'never';
  /** `simd` takes and gives int32, uint32 and bool too. */
  readonly simdIntegers?: true;
  readonly simd?: (
    module: SimdModule,
    inputs: readonly SimdView[],
    outputs: readonly SimdView[],
    params: P,
  ) => boolean;
}

/** Defines an elementwise op of one tensor. `loop` is its host implementation along one dim. */
export function defineUnary<P = null>(def: Shared<P> & { readonly loop: UnaryLoop<P> }): Op<[Tensor], P> {
  return defineOp<[Tensor], P>({
    name: def.name,
    layout: 'strided',
    infer([x]) {
      checkDType(def.name, x.dtype, def.accepts ?? 'float');
      return { shape: x.shape, dtype: def.output ?? x.dtype };
    },
    host: unaryHost(def.loop),
    kernel: pointwise<P>({
      name: def.name,
      expr: def.wgsl,
      params: def.params,
      values: def.values,
      declarations: def.declarations,
    }),
    simd: def.simd,
    simdIntegers: def.simdIntegers,
    saves: def.saves,
    backward: def.backward,
    differentiable: def.differentiable,
    autocast: def.autocast,
  });
}

/** Defines an elementwise op of two tensors that broadcast. */
export function defineBinary<P = null>(
  def: Shared<P> & { readonly loop: BinaryLoop<P> },
): Op<[Tensor, Tensor], P> {
  return defineOp<[Tensor, Tensor], P>({
    name: def.name,
    layout: 'strided',
    infer([a, b]) {
      checkDType(def.name, a.dtype, def.accepts ?? 'number');
      return { shape: broadcastShapes(def.name, a.shape, b.shape), dtype: def.output ?? a.dtype };
    },
    host: binaryHost(def.loop),
    kernel: pointwise<P>({
      name: def.name,
      expr: def.wgsl,
      params: def.params,
      values: def.values,
      declarations: def.declarations,
    }),
    simd: def.simd,
    simdIntegers: def.simdIntegers,
    saves: def.saves,
    backward: def.backward,
    differentiable: def.differentiable,
    autocast: def.autocast,
  });
}

/** A number becomes a shared scalar tensor of the other operand's dtype and device. */
export function asTensor(value: Tensor | number, like: Tensor): Tensor {
  return typeof value === 'number' ? constant(value, like.dtype, like.device) : value;
}
