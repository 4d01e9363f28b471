/** Samples that elementwise rows share. */
import { DTypeError, ShapeError } from '../../src/device/errors.js';
import { tensor } from '../../src/tensor/factories.js';
import type { Tensor } from '../../src/tensor/tensor.js';
import { type Arg, type ErrorSample, type Sample, values } from './types.js';

/** An argument of given values. */
export function list(...data: number[]): Arg {
  return { shape: [data.length], data };
}

/** The same values `by` further on: away from kinks at multiples of 1/64. */
export function shifted(arg: Arg, by: number): Arg {
  return { ...arg, data: arg.data.map((v) => v + by) };
}

/** NaN, infinities, zeros of both signs and ordinary numbers. */
export const SPECIAL = list(NaN, Infinity, -Infinity, 0, -0, 1, -1, 2, -2);

/** Values in [low, high] in several shapes, of which the last needs several workgroups; then special values, forward only. */
export function unarySamples(low: number, high: number, special: Arg = SPECIAL, shift = 0): Sample[] {
  const make = (shape: readonly number[], seed: number): Arg =>
    shifted(values(shape, seed, low, high), shift);
  return [
    { name: 'matrix', inputs: [make([3, 4], 1)] },
    { name: 'scalar', inputs: [make([], 2)] },
    { name: 'sizes of one', inputs: [make([1, 5, 1], 3)] },
    { name: 'empty', inputs: [make([2, 0], 4)], noGrad: true },
    // Golden values of many elements would only be long.
    { name: 'several workgroups', inputs: [make([20, 15], 5)], noGrad: true, noGolden: true },
    { name: 'special values', inputs: [special], noGrad: true },
  ];
}

/** Pairs of every two of some values. */
export function pairs(values: readonly number[]): Arg[] {
  return [
    { shape: [values.length ** 2], data: values.flatMap((v) => values.map(() => v)) },
    { shape: [values.length ** 2], data: values.flatMap(() => values) },
  ];
}

/** Shapes that broadcast, of values made by two functions. */
export function binarySamples(
  a: (shape: readonly number[], seed: number) => Arg,
  b: (shape: readonly number[], seed: number) => Arg = a,
): Sample[] {
  return [
    { name: 'same shape', inputs: [a([3, 4], 1), b([3, 4], 2)] },
    { name: 'row', inputs: [a([3, 4], 3), b([4], 4)] },
    { name: 'column and row', inputs: [a([3, 1], 5), b([1, 4], 6)] },
    { name: 'scalar', inputs: [a([2, 3, 2], 7), b([], 8)] },
    { name: 'empty', inputs: [a([0, 3], 9), b([3], 10)], noGrad: true },
    { name: 'several workgroups', inputs: [a([20, 15], 11), b([15], 12)], noGrad: true, noGolden: true },
  ];
}

/** The error of a function that takes floats only. */
export function floatsOnly(name: string, fn: (x: Tensor) => Tensor, says = name): ErrorSample {
  return {
    name: 'integers',
    run: (device) => fn(tensor([1, 2], { device, dtype: 'int32' })),
    error: DTypeError,
    message: `${says}: expected a floating-point tensor, got int32; convert with x.to('float32')`,
  };
}

/** The errors of a function of two tensors. */
export function binaryErrors(name: string, fn: (a: Tensor, b: Tensor) => Tensor): ErrorSample[] {
  return [
    {
      name: 'shapes that do not broadcast',
      run: (device) =>
        fn(tensor([1, 2, 3], { device, dtype: 'int32' }), tensor([1, 2], { device, dtype: 'int32' })),
      error: ShapeError,
      message: `${name}: expected shapes that broadcast, got [3] and [2] (3 ≠ 2 in dim -1)`,
    },
    {
      name: 'mixed dtypes',
      run: (device) => fn(tensor([1, 2], { device, dtype: 'int32' }), tensor([1, 2], { device })),
      error: DTypeError,
      message: `${name}: expected one dtype, got int32 and float32; convert with x.to('int32')`,
    },
  ];
}
