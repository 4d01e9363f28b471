/** What a row of the op table says. One row serves conformance, gradient checks, golden values and error texts. */
import type { DType } from '../../src/device/dtype.js';
import type { Device } from '../../src/device/types.js';
import type { Tensor } from '../../src/tensor/tensor.js';

/** An input as host values. Floating-point inputs take the dtype under test; others say theirs. */
export interface Arg {
  readonly shape: readonly number[];
  readonly data: readonly number[];
  /** 'float' (default): float64 for the oracle, float32 or float16 on the device under test. */
  readonly dtype?: 'float' | 'int32' | 'uint32' | 'bool';
}

export interface Sample {
  /** Names the case in failures. */
  readonly name: string;
  readonly inputs: readonly Arg[];
  /** Plain JSON, handed to `run` and to the PyTorch expression; Infinity and NaN are allowed. */
  readonly params?: Readonly<Record<string, unknown>>;
  /** Values at which derivatives do not exist or are not finite (kinks, poles, NaN, ±∞): forward only. */
  readonly noGrad?: boolean;
  /** No golden value: PyTorch 1.13 has no such function or another convention. Say why in a comment. */
  readonly noGolden?: boolean;
}

/** Wrong use and its exact message. */
export interface ErrorSample {
  readonly name: string;
  run(device: Device): unknown;
  readonly error: new (message?: string) => Error;
  readonly message: string;
}

export interface OpInfo {
  /** Names the row: the public function. */
  readonly name: string;
  /** The registered operations (and views) that the row exercises, first of all itself. */
  readonly covers: readonly string[];
  /** Calls the public function. Tensors other than floating-point ones come as Arg says. */
  run(inputs: readonly Tensor[], params: never): Tensor | readonly Tensor[];
  /** PyTorch 1.13 expression of inputs `a`, `b`, `c`, … and `p` (dict of params); may be a tuple for several outputs. */
  readonly torch?: string;
  readonly samples: readonly Sample[];
  readonly errors?: readonly ErrorSample[];
  /** Has a gradient; false for comparisons, indices and the like. Default true. */
  readonly grad?: boolean;
  /** Second derivatives are checked too. Default: as grad. Say why where false. */
  readonly gradgrad?: boolean;
  /** Which inputs have gradients; default: all floating-point ones. */
  readonly gradInputs?: readonly number[];
  /** Further dtypes of the 'float' inputs that the op takes (beside float32 and float16): integers and bool, on integer-valued samples. */
  readonly dtypes?: readonly DType[];
  /**
   * Allowed error against the float64 oracle: |x − y| ≤ absolute + relative·|y|. Defaults: float32 2e-6 and 2e-5 (relative),
   * float16 1e-3 and 4e-3. A looser one needs a comment with its cause.
   */
  readonly tolerance?: { readonly float32?: Tolerance; readonly float16?: Tolerance };
  /** The op draws random numbers: the same seed must give the same bits; run with a fixed seed on all devices. */
  readonly random?: boolean;
}

export interface Tolerance {
  readonly absolute: number;
  readonly relative: number;
}

/** Identity for type inference of `params`. */
export function row<P>(
  info: Omit<OpInfo, 'run'> & { run(inputs: readonly Tensor[], params: P): Tensor | readonly Tensor[] },
): OpInfo {
  return info as OpInfo;
}

/**
 * Repeatable values, multiples of 1/64 in [low, high]: exact in float16 and float32, so that inputs add no rounding.
 * Different seeds give different values.
 */
export function values(shape: readonly number[], seed = 1, low = -2, high = 2): Arg {
  const count = shape.reduce((n, s) => n * s, 1);
  const steps = Math.round((high - low) * 64);
  let state = (seed * 0x9e3779b9) >>> 0;
  const data = Array.from({ length: count }, () => {
    // xorshift32, Marsaglia 2003.
    state ^= state << 13;
    state ^= state >>> 17;
    state = (state ^ (state << 5)) >>> 0;
    return low + (state % (steps + 1)) / 64;
  });
  return { shape, data };
}

/** As `values`, with all elements at least `gap` apart: no ties for max, sort and the like. */
export function distinct(shape: readonly number[], seed = 1, gap = 0.125): Arg {
  const count = shape.reduce((n, s) => n * s, 1);
  const order = values([count], seed, 0, 1024).data.map((v, i) => [v, i] as const);
  order.sort((x, y) => x[0] - y[0] || x[1] - y[1]);
  const data = new Array<number>(count);
  order.forEach(([, i], rank) => {
    data[i] = (rank - count / 2) * gap;
  });
  return { shape, data };
}

/** Integers in [low, high] (indices and the like). */
export function integers(
  shape: readonly number[],
  seed: number,
  low: number,
  high: number,
  dtype: Arg['dtype'] = 'int32',
): Arg {
  const span = high - low + 1;
  return {
    shape,
    dtype,
    data: values(shape, seed, 0, 4096).data.map((v) => low + (Math.floor(v * 64) % span)),
  };
}

/** Zeros and ones. */
export function bools(shape: readonly number[], seed: number): Arg {
  return integers(shape, seed, 0, 1, 'bool');
}
