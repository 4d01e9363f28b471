/** The weights and inputs of scripts/golden/nn.py. */
import type { Module } from '../../src/nn/module.js';
import { tensor } from '../../src/tensor/factories.js';
import { numel, type Shape } from '../../src/tensor/shape.js';
import type { Tensor } from '../../src/tensor/tensor.js';
import type { Place } from '../support/each-device.js';

/** scale · sin(1.7 i + 0.9 seed) for i = 0, 1, … in row-major order. */
export function wave(shape: Shape, seed: number, scale = 1): number[] {
  return Array.from({ length: numel(shape) }, (_, i) => scale * Math.sin(1.7 * i + 0.9 * seed));
}

/** Fills the parameters in their order. */
export function fill(module: Module): void {
  module.parameters().forEach((p, k) => {
    const values = tensor(Float64Array.from(wave(p.shape, k, 0.4)), {
      shape: p.shape,
      dtype: p.dtype,
      device: p.device,
    });
    p.replaceStorage(values);
    values.release();
  });
}

/** An input that requires a gradient. */
export function input(place: Place, shape: Shape, seed: number): Tensor {
  return place.make(wave(shape, seed), shape).requiresGrad_();
}
