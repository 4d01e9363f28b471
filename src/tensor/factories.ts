import { type DType, isFloat } from '../device/dtype.js';
import { DTypeError, ShapeError } from '../device/errors.js';
import type { Device } from '../device/types.js';
import { defaultDevice } from './default-device.js';
import { encode, type NestedArray } from './host.js';
import { unscoped } from './lifetime.js';
import { checkShape, formatShape, numel, type Shape } from './shape.js';
import { Tensor } from './tensor.js';

export interface TensorOptions {
  /** Default float32 (bool for booleans, the array's own type for typed arrays). */
  dtype?: DType;
  device?: Device;
  requiresGrad?: boolean;
}

type TypedArray = Float32Array | Float64Array | Int32Array | Uint32Array | Uint8Array;

const TYPED: readonly [new (n: number) => TypedArray, DType][] = [
  [Float32Array, 'float32'],
  [Float64Array, 'float64'],
  [Int32Array, 'int32'],
  [Uint32Array, 'uint32'],
  [Uint8Array, 'bool'],
];

/** @internal A tensor of host values in row-major order. */
export function fromHost(
  values: ArrayLike<number | boolean>,
  shape: Shape,
  options: TensorOptions,
  op: string,
): Tensor {
  const device = options.device ?? defaultDevice();
  const dtype = options.dtype ?? 'float32';
  checkShape(op, shape);
  if (values.length !== numel(shape)) {
    throw new ShapeError(
      `${op}: expected ${numel(shape)} values for shape ${formatShape(shape)}, got ${values.length}`,
    );
  }
  if (!device.dtypes.has(dtype)) {
    throw new DTypeError(
      `${op}: expected one of ${[...device.dtypes].join(', ')} on ${device.info.name}, got ${dtype}`,
    );
  }
  const t = Tensor.allocate(device, dtype, [...shape], op);
  if (values.length > 0) device.write(t.buffer, padded(encode(dtype, values)));
  return options.requiresGrad ? t.requiresGrad_() : t;
}

/** Device writes come in whole words; an odd count of float16 gets one more. */
function padded(bytes: ArrayBufferView): ArrayBufferView {
  if (bytes.byteLength % 4 === 0) return bytes;
  const out = new Uint8Array(Math.ceil(bytes.byteLength / 4) * 4);
  out.set(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  return out;
}

/**
 * A tensor of given values: a number, nested arrays of one shape, or a typed array with an optional shape.
 *
 * @throws ShapeError for ragged arrays or a shape that does not fit.
 * @source torch.tensor
 * @example
 * tensor([[1, 2], [3, 4]]).shape; // [2, 2]
 */
export function tensor(
  values: NestedArray | TypedArray,
  options: TensorOptions & { shape?: Shape } = {},
): Tensor {
  if (ArrayBuffer.isView(values)) {
    const dtype = options.dtype ?? TYPED.find(([type]) => values instanceof type)?.[1];
    if (!dtype)
      throw new DTypeError(
        `tensor: expected a Float32Array, Float64Array, Int32Array, Uint32Array or Uint8Array`,
      );
    return fromHost(values, options.shape ?? [values.length], { ...options, dtype }, 'tensor');
  }
  const shape: number[] = [];
  for (let v: NestedArray = values; Array.isArray(v); v = v[0]) {
    shape.push(v.length);
    if (v.length === 0) break;
  }
  const flat: (number | boolean)[] = [];
  flatten(values, shape, 0, flat);
  const dtype = options.dtype ?? (flat.length > 0 && typeof flat[0] === 'boolean' ? 'bool' : 'float32');
  return fromHost(flat, options.shape ?? shape, { ...options, dtype }, 'tensor');
}

function flatten(value: NestedArray, shape: Shape, depth: number, out: (number | boolean)[]): void {
  if (Array.isArray(value)) {
    if (value.length !== shape[depth]) {
      throw new ShapeError(
        `tensor: expected ${shape[depth] ?? 'a number'} in dim ${depth}, got an array of ${value.length}: ragged arrays have no shape`,
      );
    }
    for (const v of value) flatten(v, shape, depth + 1, out);
  } else {
    if (depth !== shape.length) {
      throw new ShapeError(
        `tensor: expected an array of ${shape[depth]} in dim ${depth}, got ${value}: ragged arrays have no shape`,
      );
    }
    if (typeof value !== 'number' && typeof value !== 'boolean') {
      throw new DTypeError(
        `tensor: expected numbers or booleans, got ${value === null ? 'null' : typeof value}`,
      );
    }
    out.push(value as number | boolean);
  }
}

const constants = new WeakMap<Device, Map<string, Tensor>>();
/** Constants kept per device before the oldest goes. */
const MAX_CONSTANTS = 512;

/** @internal A shared 0-dim tensor for a number that meets a tensor; made once per device, dtype and value. */
export function constant(value: number, dtype: DType, device: Device): Tensor {
  let cache = constants.get(device);
  if (!cache) constants.set(device, (cache = new Map()));
  const key = `${dtype}:${Object.is(value, -0) ? '-0' : value}`;
  let t = cache.get(key);
  if (!t) {
    if (!isFloat(dtype) && !Number.isInteger(value)) {
      throw new DTypeError(
        `expected an integer to go with ${dtype}, got ${value}; convert the tensor with to('float32')`,
      );
    }
    t = unscoped(() => fromHost([value], [], { dtype, device }, 'constant'));
    if (cache.size >= MAX_CONSTANTS) {
      const [oldest, old] = cache.entries().next().value!;
      cache.delete(oldest);
      old.release();
    }
    cache.set(key, t);
  }
  return t;
}
