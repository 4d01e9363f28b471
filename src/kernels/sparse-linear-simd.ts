/** Linear layers over wires on the CPU device: rows side by side in vectors. */
import type { SimdModule, SimdView } from '../device/types.js';
import { numel } from '../tensor/shape.js';
import type { SparseParams } from './sparse-linear.js';

/** Rows that are turned into columns together; few enough that a column of each lies in the nearest cache. */
const BLOCK = 64;
/** Fewer rows leave most of each vector empty. */
const FEW = 8;

/** Rows of a block and the memory between two columns, whole vectors of 16. */
function strideOf(rows: number): number {
  return Math.ceil(Math.min(rows, BLOCK) / 16) * 16;
}

/** Copies `count` rows from `first` on into columns. */
function turn(
  module: SimdModule,
  { pointer, shape }: SimdView,
  first: number,
  count: number,
  stride: number,
  target: number,
): void {
  const width = shape[shape.length - 1];
  module.copyStrided(width, count, pointer + 4 * first * width, 1, width, target, stride, 1);
}

export function sparseLinearSimd(
  module: SimdModule,
  [x, weights, starts, sources, ...more]: readonly SimdView[],
  [y]: readonly SimdView[],
  { lookup, bias }: SparseParams,
): boolean {
  const rows = numel(y.shape.slice(0, -1));
  if (rows < FEW || [x, weights, y].some(({ dtype }) => dtype !== 'float32')) return false;
  const outputs = y.shape[y.shape.length - 1];
  const inputs = x.shape[x.shape.length - 1];
  const wires = numel(weights.shape);
  const stride = strideOf(rows);
  const columns = module.scratch(4 * inputs * stride);
  const sums = module.scratch(4 * outputs * stride);
  const places = lookup ? more[0].pointer : 0;
  const biases = bias ? more[more.length - 1].pointer : 0;
  for (let first = 0; first < rows; first += BLOCK) {
    const count = Math.min(BLOCK, rows - first);
    turn(module, x, first, count, stride, columns);
    module.sparseSums(
      outputs,
      wires,
      count,
      stride,
      columns,
      starts.pointer,
      sources.pointer,
      places,
      weights.pointer,
      biases,
      sums,
      y.pointer + 4 * first * outputs,
      outputs,
    );
  }
  return true;
}

export function sparseWeightsSimd(
  module: SimdModule,
  [g, x, targets, sources]: readonly SimdView[],
  [dWeights]: readonly SimdView[],
): boolean {
  const rows = numel(g.shape.slice(0, -1));
  if (rows < FEW || [g, x].some(({ dtype }) => dtype !== 'float32')) return false;
  const wires = numel(dWeights.shape);
  const stride = strideOf(rows);
  const gColumns = module.scratch(4 * g.shape[g.shape.length - 1] * stride);
  const xColumns = module.scratch(4 * x.shape[x.shape.length - 1] * stride);
  module.fillWords(wires, dWeights.pointer, 0);
  for (let first = 0; first < rows; first += BLOCK) {
    const count = Math.min(BLOCK, rows - first);
    turn(module, g, first, count, stride, gColumns);
    turn(module, x, first, count, stride, xColumns);
    module.sparseDots(
      wires,
      count,
      stride,
      gColumns,
      xColumns,
      targets.pointer,
      sources.pointer,
      dWeights.pointer,
    );
  }
  return true;
}
