/** Tensors made on the device from nothing: constants, ranges, the identity. */
import { type DType, isFloat } from '../../device/dtype.js';
import { DTypeError, ShapeError } from '../../device/errors.js';
import type { Program } from '../../device/types.js';
import { arangeProgram, eyeProgram, fillProgram, linspaceProgram } from '../../kernels/fill.js';
import { defaultDevice } from '../../tensor/default-device.js';
import type { TensorOptions } from '../../tensor/factories.js';
import { checkShape, type Shape } from '../../tensor/shape.js';
import { Tensor } from '../../tensor/tensor.js';

/**
 * @internal Runs a program into a new tensor, without inputs but those given.
 * @throws DTypeError for a dtype that the device has not
 */
export function create<P>(
  op: string,
  shape: Shape,
  program: Program<P>,
  params: P,
  options: TensorOptions,
  dtype: DType = 'float32',
  inputs: readonly Tensor[] = [],
): Tensor {
  const device = options.device ?? defaultDevice();
  const type = options.dtype ?? dtype;
  checkShape(op, shape);
  if (!device.dtypes.has(type)) {
    throw new DTypeError(
      `${op}: expected one of ${[...device.dtypes].join(', ')} on ${device.info.name}, got ${type}`,
    );
  }
  const t = Tensor.allocate(device, type, [...shape], op);
  device.execute(program, inputs, [t], params);
  return options.requiresGrad ? t.requiresGrad_() : t;
}

/** @throws DTypeError for a value that the dtype cannot hold. */
function checkValue(op: string, value: number, dtype: DType): void {
  if (isFloat(dtype) || dtype === 'bool') return;
  const [low, high] = dtype === 'int32' ? [-(2 ** 31), 2 ** 31 - 1] : [0, 2 ** 32 - 1];
  if (!Number.isInteger(value) || value < low || value > high) {
    throw new DTypeError(
      `${op}: expected an integer in [${low}, ${high}] for ${dtype}, got ${value}; pass { dtype: 'float32' }`,
    );
  }
}

/**
 * Every element is `value`.
 *
 * @param value for bool, anything but 0 is true
 * @throws DTypeError where the dtype cannot hold the value
 * @source torch.full
 */
export function full(shape: Shape, value: number, options: TensorOptions = {}): Tensor {
  const dtype = options.dtype ?? 'float32';
  checkValue('full', value, dtype);
  return create('full', shape, fillProgram, dtype === 'bool' ? Number(value !== 0) : value, options);
}

/** Zeros of a shape; float32 by default. @source torch.zeros */
export function zeros(shape: Shape, options: TensorOptions = {}): Tensor {
  return create('zeros', shape, fillProgram, 0, options);
}

/** Ones of a shape; float32 by default. @source torch.ones */
export function ones(shape: Shape, options: TensorOptions = {}): Tensor {
  return create('ones', shape, fillProgram, 1, options);
}

/** Shape, dtype and device of a tensor, unless options say otherwise. */
function like(x: Tensor, options: TensorOptions): TensorOptions {
  return { ...options, dtype: options.dtype ?? x.dtype, device: options.device ?? x.device };
}

/** Zeros with the shape, dtype and device of `x`. @source torch.zeros_like */
export function zerosLike(x: Tensor, options: TensorOptions = {}): Tensor {
  return zeros(x.shape, like(x, options));
}

/** Ones with the shape, dtype and device of `x`. @source torch.ones_like */
export function onesLike(x: Tensor, options: TensorOptions = {}): Tensor {
  return ones(x.shape, like(x, options));
}

/** `value` everywhere, with the shape, dtype and device of `x`. @source torch.full_like */
export function fullLike(x: Tensor, value: number, options: TensorOptions = {}): Tensor {
  return full(x.shape, value, like(x, options));
}

/**
 * start, start + step, … before `end`: ⌈(end − start) / step⌉ elements. With one number, from 0 to before it.
 *
 * @returns a 1-d tensor, float32 by default; pass { dtype: 'int32' } for indices
 * @throws ShapeError where the step is 0 or leads away from `end`
 * @source torch.arange
 * @example
 * await arange(1, 2, 0.25).tolist(); // [1, 1.25, 1.5, 1.75]
 */
export function arange(end: number, options?: TensorOptions): Tensor;
export function arange(start: number, end: number, options?: TensorOptions): Tensor;
export function arange(start: number, end: number, step: number, options?: TensorOptions): Tensor;
export function arange(...args: (number | TensorOptions | undefined)[]): Tensor {
  const numbers = args.filter((a): a is number => typeof a === 'number');
  const options = (args.find((a) => typeof a === 'object') as TensorOptions | undefined) ?? {};
  const [start, end, step] =
    numbers.length === 1 ? [0, numbers[0], 1] : [numbers[0], numbers[1], numbers[2] ?? 1];
  const length = Math.ceil((end - start) / step);
  if (!Number.isFinite(length) || length < 0) {
    throw new ShapeError(
      `arange: expected a step that leads from start to end, got start ${start}, end ${end}, step ${step}`,
    );
  }
  const dtype = options.dtype ?? 'float32';
  if (dtype === 'bool') throw new DTypeError('arange: expected a numeric dtype, got bool');
  checkValue('arange', start, dtype);
  // A negative step of uint32 wraps, and still counts down.
  if (dtype !== 'uint32' || step >= 0) checkValue('arange', step, dtype);
  return create('arange', [length], arangeProgram, { start, step }, options);
}

/**
 * `steps` values at equal distances from `start` to `end`, both included.
 *
 * @returns [steps], float32 by default
 * @throws DTypeError for an integer dtype
 * @source torch.linspace
 */
export function linspace(start: number, end: number, steps: number, options: TensorOptions = {}): Tensor {
  const dtype = options.dtype ?? 'float32';
  if (!isFloat(dtype)) throw new DTypeError(`linspace: expected a floating-point dtype, got ${dtype}`);
  return create('linspace', [steps], linspaceProgram, { start, end }, options);
}

/** The n × m matrix (m = n by default) of ones on the diagonal and zeros elsewhere. @source torch.eye */
export function eye(n: number, options?: TensorOptions): Tensor;
export function eye(n: number, m: number, options?: TensorOptions): Tensor;
export function eye(n: number, m?: number | TensorOptions, options: TensorOptions = {}): Tensor {
  const columns = typeof m === 'number' ? m : n;
  return create('eye', [n, columns], eyeProgram, null, typeof m === 'object' ? m : options);
}
