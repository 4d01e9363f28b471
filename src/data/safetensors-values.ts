/** Element types of safetensors to and from JavaScript's typed arrays. */
import { Float16Array } from '@petamoriken/float16';
import { roundToFloat16 } from '../device/cpu/float16.js';
import { DataError } from '../device/errors.js';
import type { SafetensorsDType, SafetensorsEntry } from './safetensors.js';

type Entry = Pick<SafetensorsEntry, 'dtype' | 'data'>;

/** The typed arrays that can be written. */
export type SafetensorsValues =
  | Float32Array
  | Float64Array
  | Int8Array
  | Int16Array
  | Int32Array
  | BigInt64Array
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | BigUint64Array;

/** A typed array constructor that can be laid over a buffer. */
interface ArrayType<T> {
  readonly BYTES_PER_ELEMENT: number;
  new (buffer: ArrayBuffer, byteOffset: number, length: number): T;
}

/**
 * A tensor's elements as float32, rounded to nearest where its own type is finer.
 * @param entry float or integer tensor from `parseSafetensors`; bool gives 0 and 1
 * @returns Float32Array of all elements; for F32 at an aligned offset a view of the file's bytes, else a copy
 */
export function toFloat32({ dtype, data }: Entry): Float32Array {
  switch (dtype) {
    case 'F32':
      return elements(Float32Array, data);
    case 'F16': {
      const float16 = halfTable();
      const bits = elements(Uint16Array, data);
      const values = new Float32Array(bits.length);
      for (let i = 0; i < bits.length; i++) values[i] = float16[bits[i]];
      return values;
    }
    case 'BF16': {
      // A bfloat16 is the upper half of a float32.
      const bits = elements(Uint16Array, data);
      const words = new Uint32Array(bits.length);
      for (let i = 0; i < bits.length; i++) words[i] = bits[i] << 16;
      return new Float32Array(words.buffer);
    }
    case 'I64':
    case 'U64':
      return Float32Array.from(bigElements(dtype, data), Number);
    default:
      return new Float32Array(plainElements(dtype, data));
  }
}

/**
 * A tensor's elements as float64, exact but for integers beyond 2⁵³.
 * @param entry float or integer tensor from `parseSafetensors`
 * @returns Float64Array of all elements; for F64 at an aligned offset a view of the file's bytes, else a copy
 */
export function toFloat64(entry: Entry): Float64Array {
  const { dtype, data } = entry;
  switch (dtype) {
    case 'F64':
      return elements(Float64Array, data);
    case 'I64':
    case 'U64':
      return Float64Array.from(bigElements(dtype, data), Number);
    case 'F32':
    case 'F16':
    case 'BF16':
      return new Float64Array(toFloat32(entry));
    default:
      return new Float64Array(plainElements(dtype, data));
  }
}

/**
 * A tensor's elements as int32.
 * @param entry integer or bool tensor from `parseSafetensors`
 * @returns Int32Array of all elements; for I32 at an aligned offset a view of the file's bytes, else a copy
 * @throws DataError for a float tensor, or an element outside −2³¹ … 2³¹−1
 */
export function toInt32({ dtype, data }: Entry): Int32Array {
  if (dtype === 'I32') return elements(Int32Array, data);
  if (dtype === 'F16' || dtype === 'BF16' || dtype === 'F32' || dtype === 'F64') {
    throw new DataError(`toInt32: expected an integer or bool tensor, got ${dtype}; use toFloat32`);
  }
  const values =
    dtype === 'I64' || dtype === 'U64'
      ? bigElements(dtype, data)
      : (plainElements(dtype, data) as ArrayLike<number>);
  const result = new Int32Array(values.length);
  for (let i = 0; i < values.length; i++) {
    const value = Number(values[i]);
    result[i] = value;
    if (result[i] !== value) {
      throw new DataError(
        `toInt32: expected elements between −2³¹ and 2³¹−1, got ${values[i]} at ${i} of ${dtype}`,
      );
    }
  }
  return result;
}

/**
 * An entry for `serializeSafetensors` out of a typed array.
 * @param values all elements, row by row
 * @param shape sizes whose product is the number of elements; one dimension if left out
 * @param dtype how to store them: by default the array's own type; float arrays also as F32, F64, or rounded to the
 *   nearest (ties to even) F16 or BF16; a Uint8Array also as BOOL
 * @returns the entry; its bytes are a view of `values` where nothing is converted
 * @throws DataError when the dtype does not suit the array
 */
export function safetensorsEntry(
  values: SafetensorsValues,
  shape: readonly number[] = [values.length],
  dtype: SafetensorsDType = naturalDType(values),
): SafetensorsEntry {
  return { dtype, shape: [...shape], data: bytesOf(convert(values, dtype)) };
}

function naturalDType(values: SafetensorsValues): SafetensorsDType {
  if (values instanceof Float32Array) return 'F32';
  if (values instanceof Float64Array) return 'F64';
  if (values instanceof Int8Array) return 'I8';
  if (values instanceof Int16Array) return 'I16';
  if (values instanceof Int32Array) return 'I32';
  if (values instanceof BigInt64Array) return 'I64';
  if (values instanceof Uint8Array) return 'U8';
  if (values instanceof Uint16Array) return 'U16';
  if (values instanceof Uint32Array) return 'U32';
  if (values instanceof BigUint64Array) return 'U64';
  throw new DataError(`safetensorsEntry: expected a typed array, got ${typeof values}`);
}

function convert(values: SafetensorsValues, dtype: SafetensorsDType): ArrayBufferView {
  const own = naturalDType(values);
  if (own === dtype) return values;
  if (own === 'U8' && dtype === 'BOOL')
    return Uint8Array.from(values as Uint8Array, (x) => (x === 0 ? 0 : 1));
  if (values instanceof Float32Array || values instanceof Float64Array) {
    if (dtype === 'F32') return new Float32Array(values);
    if (dtype === 'F64') return new Float64Array(values);
    if (dtype === 'F16') {
      return values instanceof Float32Array
        ? float16Bits(values)
        : new Uint16Array(new Float16Array(values).buffer as ArrayBuffer);
    }
    if (dtype === 'BF16') return bfloat16Bits(new Float32Array(values));
  }
  throw new DataError(`safetensorsEntry: cannot store a ${values.constructor.name} as ${dtype}`);
}

/** float32 to float16, to nearest, ties to even; the package's arrays, which round float64 once, take 100 times as long. */
function float16Bits(values: Float32Array): Uint16Array {
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const halves = new Uint16Array(words.length);
  for (let i = 0; i < words.length; i++) halves[i] = roundToFloat16(words[i]);
  return halves;
}

/** float32 to bfloat16, to nearest, ties to even. */
function bfloat16Bits(values: Float32Array): Uint16Array {
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const halves = new Uint16Array(words.length);
  for (let i = 0; i < words.length; i++) {
    const upper = words[i] >>> 16;
    // Cutting a NaN could leave infinity; bit 6 keeps it a (quiet) NaN.
    if (Number.isNaN(values[i])) halves[i] = upper | 0x40;
    else halves[i] = (words[i] + 0x7fff + (upper & 1)) >>> 16;
  }
  return halves;
}

let table: Float32Array | undefined;

/** All 65,536 float16 values by their bits: one lookup per element instead of a proxied read. */
function halfTable(): Float32Array {
  if (table === undefined) {
    const bits = Uint16Array.from({ length: 65536 }, (_, i) => i);
    table = new Float32Array(new Float16Array(bits.buffer));
  }
  return table;
}

/** A typed array over bytes, copied first where they do not lie at a multiple of the element size. */
function elements<T>(type: ArrayType<T>, data: Uint8Array): T {
  if (data.length % type.BYTES_PER_ELEMENT !== 0) {
    throw new DataError(
      `safetensors: ${data.length} bytes are not whole elements of ${type.BYTES_PER_ELEMENT}`,
    );
  }
  const bytes = data.byteOffset % type.BYTES_PER_ELEMENT === 0 ? data : new Uint8Array(data);
  return new type(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.length / type.BYTES_PER_ELEMENT);
}

function bigElements(dtype: 'I64' | 'U64', data: Uint8Array): BigInt64Array | BigUint64Array {
  return dtype === 'I64' ? elements(BigInt64Array, data) : elements(BigUint64Array, data);
}

type PlainDType = Exclude<SafetensorsDType, 'F16' | 'BF16' | 'I64' | 'U64'>;

/** Elements of a type that JavaScript has a typed array of numbers for. */
function plainElements(dtype: PlainDType, data: Uint8Array): Iterable<number> & ArrayLike<number> {
  switch (dtype) {
    case 'F32':
      return elements(Float32Array, data);
    case 'F64':
      return elements(Float64Array, data);
    case 'I32':
      return elements(Int32Array, data);
    case 'I16':
      return elements(Int16Array, data);
    case 'I8':
      return elements(Int8Array, data);
    case 'U32':
      return elements(Uint32Array, data);
    case 'U16':
      return elements(Uint16Array, data);
    case 'U8':
      return data;
    case 'BOOL':
      return Uint8Array.from(data, (byte) => (byte === 0 ? 0 : 1));
  }
}

function bytesOf(view: ArrayBufferView): Uint8Array {
  return new Uint8Array(view.buffer as ArrayBuffer, view.byteOffset, view.byteLength);
}
