/** Examples to batches, in host memory: `tensor(batch.data, { shape: batch.shape })` puts one on a device. */
import { DataError } from '../device/errors.js';

/** Typed arrays that tensors can be made of; a Uint8Array holds booleans. */
export type HostTypedArray = Float32Array | Float64Array | Int32Array | Uint32Array | Uint8Array;

/** Elements row by row, and their shape. */
export interface HostTensor<T extends HostTypedArray = HostTypedArray> {
  data: T;
  shape: number[];
}

/** What `defaultCollate` makes of a list of such items. */
export type Collated<Item> = Item extends number
  ? HostTensor<Float32Array>
  : Item extends boolean
    ? HostTensor<Uint8Array>
    : Item extends string
      ? string[]
      : Item extends HostTypedArray
        ? HostTensor<Item>
        : Item extends HostTensor<infer T>
          ? HostTensor<T>
          : { [K in keyof Item]: Collated<Item[K]> };

type TypedArrayConstructor<T> = new (length: number) => T;

/**
 * Stacks a list of equally shaped values along a new first dimension.
 * @param values numbers or booleans (shape []), typed arrays (shape [L]) or `{ data, shape }`
 * @param type the typed array of the result, e.g. `Int32Array` for class labels; by default Float32Array for numbers,
 *   Uint8Array for booleans, and the values' own type otherwise
 * @returns data and shape [B, ...]
 * @throws DataError when shapes or types differ
 * @source torch.stack
 */
export function stack<T extends HostTypedArray>(
  values: readonly unknown[],
  type: TypedArrayConstructor<T>,
): HostTensor<T>;
export function stack(values: readonly unknown[]): HostTensor;
export function stack(values: readonly unknown[], type?: TypedArrayConstructor<HostTypedArray>): HostTensor {
  return stackAt('', values, type);
}

/**
 * Turns a list of examples into one batch: numbers, booleans and typed arrays are stacked (see `stack`), strings listed,
 * objects and arrays collated field by field.
 * @param items B examples of one kind
 * @throws DataError naming the field and the example, when they do not fit together
 * @source torch.utils.data.default_collate
 */
export function defaultCollate<Item>(items: readonly Item[]): Collated<Item> {
  return collateAt('', items) as Collated<Item>;
}

function collateAt(path: string, items: readonly unknown[]): unknown {
  const first = items[0];
  if (typeof first === 'string') {
    const odd = items.findIndex((item) => typeof item !== 'string');
    if (odd !== -1) throw mismatch(path, odd, kind(items[odd]), 'a string');
    return [...items];
  }
  const isLeaf =
    typeof first !== 'object' || first === null || ArrayBuffer.isView(first) || isHostTensor(first);
  if (isLeaf) return stackAt(path, items);

  const keys = Object.keys(first);
  items.forEach((item, i) => {
    const isSame = typeof item === 'object' && item !== null && Array.isArray(item) === Array.isArray(first);
    if (!isSame || Object.keys(item).length !== keys.length || !keys.every((key) => key in item)) {
      throw mismatch(path, i, kind(item), kind(first));
    }
  });
  const fields = keys.map((key) => {
    const column = items.map((item) => (item as Record<string, unknown>)[key]);
    return [key, collateAt(path === '' ? key : `${path}.${key}`, column)] as const;
  });
  return Array.isArray(first) ? fields.map(([, value]) => value) : Object.fromEntries(fields);
}

function stackAt(
  path: string,
  values: readonly unknown[],
  type?: TypedArrayConstructor<HostTypedArray>,
): HostTensor {
  if (values.length === 0) throw new DataError(`${title(path)}: expected at least one example, got none`);
  const first = elementsOf(path, values[0], 0);
  const size = first.data.length;
  const Type = type ?? first.type;
  const data = new Type(values.length * size);
  values.forEach((value, i) => {
    const { data: own, shape, type: ownType } = elementsOf(path, value, i);
    if (ownType !== first.type) throw mismatch(path, i, kind(value), kind(values[0]));
    if (shape.length !== first.shape.length || shape.some((n, d) => n !== first.shape[d])) {
      const remedy = 'cut or pad them to one length, or give the loader its own collate';
      throw mismatch(path, i, `shape [${shape.join(', ')}]`, `shape [${first.shape.join(', ')}]`, remedy);
    }
    data.set(own, i * size);
  });
  return { data, shape: [values.length, ...first.shape] };
}

interface Elements {
  data: ArrayLike<number>;
  shape: readonly number[];
  type: TypedArrayConstructor<HostTypedArray>;
}

function elementsOf(path: string, value: unknown, i: number): Elements {
  if (typeof value === 'number') return { data: [value], shape: [], type: Float32Array };
  if (typeof value === 'boolean') return { data: [value ? 1 : 0], shape: [], type: Uint8Array };
  if (isHostTypedArray(value)) {
    return { data: value, shape: [value.length], type: value.constructor as Elements['type'] };
  }
  if (isHostTensor(value)) {
    return { data: value.data, shape: value.shape, type: value.data.constructor as Elements['type'] };
  }
  const expected =
    'a number, boolean, Float32Array, Float64Array, Int32Array, Uint32Array, Uint8Array or { data, shape }';
  throw new DataError(`${title(path)}: expected ${expected}, got ${kind(value)} in example ${i}`);
}

function isHostTypedArray(value: unknown): value is HostTypedArray {
  return [Float32Array, Float64Array, Int32Array, Uint32Array, Uint8Array].some(
    (type) => value instanceof type,
  );
}

function isHostTensor(value: unknown): value is HostTensor {
  const { data, shape } = (value ?? {}) as Partial<HostTensor>;
  if (!isHostTypedArray(data) || !Array.isArray(shape)) return false;
  return shape.reduce((product: number, n: number) => product * n, 1) === data.length;
}

function mismatch(path: string, i: number, got: string, first: string, remedy = ''): DataError {
  const advice = remedy === '' ? '' : `; ${remedy}`;
  return new DataError(
    `${title(path)}: expected all examples alike, got ${got} in example ${i} and ${first} in example 0${advice}`,
  );
}

function title(path: string): string {
  return path === '' ? 'collate' : `collate: ${JSON.stringify(path)}`;
}

function kind(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (typeof value !== 'object') return `a ${typeof value}`;
  if (ArrayBuffer.isView(value)) return `a ${value.constructor.name}`;
  if (Array.isArray(value)) return `an array of ${value.length}`;
  return `an object with ${Object.keys(value).join(', ') || 'no fields'}`;
}
