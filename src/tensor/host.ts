/** Host-side layouts: element bytes to JavaScript arrays and back. */
import { Float16Array } from '@petamoriken/float16';
import { type DType, type HostData, hostView, ITEM_SIZE } from '../device/dtype.js';
import { isContiguous, numel, type Shape } from './shape.js';
import type { TensorData } from './tensor.js';

/** Nested arrays of numbers or booleans, or one of them. */
export type NestedArray = number | boolean | readonly NestedArray[];

/** Calls `visit(position, element index)` for the elements of a strided view in row-major order. */
export function forEachIndex(
  shape: Shape,
  strides: readonly number[],
  offset: number,
  visit: (i: number, at: number) => void,
): void {
  const rank = shape.length;
  const count = numel(shape);
  const coords = new Array<number>(rank).fill(0);
  let at = offset;
  for (let i = 0; i < count; i++) {
    visit(i, at);
    for (let d = rank - 1; d >= 0; d--) {
      at += strides[d];
      if (++coords[d] < shape[d]) break;
      at -= strides[d] * shape[d];
      coords[d] = 0;
    }
  }
}

/** Elements of a strided view of raw bytes, row-major, in the array type that users see. */
export function decode(
  dtype: DType,
  raw: ArrayBuffer,
  shape: Shape,
  strides: readonly number[],
  offset: number,
): TensorData {
  const count = numel(shape);
  const all = hostView(dtype, raw, 0, Math.floor(raw.byteLength / ITEM_SIZE[dtype]));
  let flat: HostData;
  if (isContiguous(shape, strides)) flat = all.subarray(offset, offset + count);
  else {
    const out = hostView(dtype, new ArrayBuffer(count * ITEM_SIZE[dtype]), 0, count);
    forEachIndex(shape, strides, offset, (i, at) => {
      out[i] = all[at];
    });
    flat = out;
  }
  if (dtype === 'bool') return Uint8Array.from(flat);
  if (flat instanceof Uint16Array) return Float32Array.from(new Float16Array(flat.slice().buffer));
  return flat;
}

/** The bytes of `values` in a dtype, ready for a device; float16 rounds to nearest even. */
export function encode(dtype: DType, values: ArrayLike<number | boolean>): ArrayBufferView {
  switch (dtype) {
    case 'float32':
      return values instanceof Float32Array ? values : Float32Array.from(values as ArrayLike<number>);
    case 'float64':
      return values instanceof Float64Array ? values : Float64Array.from(values as ArrayLike<number>);
    case 'float16':
      return new Uint16Array(Float16Array.from(values as ArrayLike<number>).buffer);
    case 'int32':
      return values instanceof Int32Array ? values : Int32Array.from(values as ArrayLike<number>);
    case 'uint32':
      return values instanceof Uint32Array ? values : Uint32Array.from(values as ArrayLike<number>);
    case 'bool':
      return Uint32Array.from(values as ArrayLike<number>, (v) => (v ? 1 : 0));
  }
}
