/** Element types. float64 exists on the CPU device only: WGSL has no such type. */
export type DType = 'float32' | 'float64' | 'float16' | 'int32' | 'uint32' | 'bool';

/** Bytes of one element in device memory. A bool takes four bytes (0 or 1), because WGSL cannot address single bytes. */
export const ITEM_SIZE: Readonly<Record<DType, number>> = {
  float32: 4,
  float64: 8,
  float16: 2,
  int32: 4,
  uint32: 4,
  bool: 4,
};

/** The typed arrays that hold tensor elements in host memory; float16 is held as its 16 bits. */
export type HostData = Float32Array | Float64Array | Int32Array | Uint32Array | Uint16Array;

/** Whether a dtype is a floating-point type, the only kind that has gradients. */
export function isFloat(dtype: DType): boolean {
  return dtype === 'float32' || dtype === 'float64' || dtype === 'float16';
}

/** A typed array of the dtype over `bytes` from `byteOffset` of a buffer. */
export function hostView(dtype: DType, buffer: ArrayBufferLike, byteOffset: number, count: number): HostData {
  switch (dtype) {
    case 'float32':
      return new Float32Array(buffer as ArrayBuffer, byteOffset, count);
    case 'float64':
      return new Float64Array(buffer as ArrayBuffer, byteOffset, count);
    case 'float16':
      return new Uint16Array(buffer as ArrayBuffer, byteOffset, count);
    case 'int32':
      return new Int32Array(buffer as ArrayBuffer, byteOffset, count);
    case 'uint32':
    case 'bool':
      return new Uint32Array(buffer as ArrayBuffer, byteOffset, count);
  }
}
