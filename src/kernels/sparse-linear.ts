/**
 * Access pattern: sums over the wires that end at an output, in compressed rows, and their adjoint towards the wires'
 * weights. Work follows the number of wires; additions always come in the same order.
 */
import {
  type Dispatch,
  type HostArray,
  type Kernel,
  type KernelCall,
  type WgslType,
  wgslType,
} from '../device/types.js';
import { numel } from '../tensor/shape.js';
import { unrolled } from './loop.js';
import { load, store, WORKGROUP, workgroups } from './pointwise.js';

export interface SparseParams {
  /** One more index says which weight each wire has; else they are in order. */
  readonly lookup: boolean;
  /** A bias is the last input. */
  readonly bias: boolean;
}

/** Rows of x that an invocation or a turn of the loop takes together: a wire's place and weight are read once for them. */
const TILE = 4;

/** All dims but the last as one. */
function rowsOf({ shape }: { readonly shape: readonly number[] }): number {
  return numel(shape.slice(0, -1));
}

/** y[r, o] = bias[o] + Σ weights[wire[j]] · x[r, sources[j]] over starts[o] ≤ j < starts[o + 1] */
export function sparseLinearHost(
  [x, weights, starts, sources, ...more]: readonly HostArray[],
  [y]: readonly HostArray[],
  { lookup, bias }: SparseParams,
): void {
  const rows = rowsOf(y);
  const outputs = y.shape[y.shape.length - 1];
  const inputs = x.shape[x.shape.length - 1];
  const [X, W, Y, S, C] = [x.data, weights.data, y.data, starts.data, sources.data];
  const places = lookup ? more[0].data : null;
  const biases = bias ? more[more.length - 1] : null;
  let r = 0;
  for (; r + TILE <= rows; r += TILE) {
    const x0 = x.offset + r * inputs;
    const [x1, x2, x3] = [x0 + inputs, x0 + 2 * inputs, x0 + 3 * inputs];
    for (let o = 0; o < outputs; o++) {
      let sum0 = biases ? biases.data[biases.offset + o] : 0;
      let sum1 = sum0;
      let sum2 = sum0;
      let sum3 = sum0;
      for (let j = S[o], end = S[o + 1]; j < end; j++) {
        const weight = W[weights.offset + (places ? places[j] : j)];
        const c = C[j];
        sum0 += weight * X[x0 + c];
        sum1 += weight * X[x1 + c];
        sum2 += weight * X[x2 + c];
        sum3 += weight * X[x3 + c];
      }
      const at = r * outputs + o;
      Y[at] = sum0;
      Y[at + outputs] = sum1;
      Y[at + 2 * outputs] = sum2;
      Y[at + 3 * outputs] = sum3;
    }
  }
  for (; r < rows; r++) {
    const row = x.offset + r * inputs;
    for (let o = 0; o < outputs; o++) {
      let sum = biases ? biases.data[biases.offset + o] : 0;
      for (let j = S[o], end = S[o + 1]; j < end; j++) {
        sum += W[weights.offset + (places ? places[j] : j)] * X[row + C[j]];
      }
      Y[r * outputs + o] = sum;
    }
  }
}

/** dWeights[j] = Σ g[r, targets[j]] · x[r, sources[j]] over rows r. */
export function sparseWeightsHost(
  [g, x, targets, sources]: readonly HostArray[],
  [dWeights]: readonly HostArray[],
): void {
  const rows = rowsOf(x);
  const outputs = g.shape[g.shape.length - 1];
  const inputs = x.shape[x.shape.length - 1];
  const [G, X, T, C] = [g.data, x.data, targets.data, sources.data];
  const wires = numel(dWeights.shape);
  // Sums of float64, rounded once, as on every other path of the host.
  const sums = new Float64Array(wires);
  let r = 0;
  for (; r + TILE <= rows; r += TILE) {
    const [g0, x0] = [g.offset + r * outputs, x.offset + r * inputs];
    const [g1, g2, g3] = [g0 + outputs, g0 + 2 * outputs, g0 + 3 * outputs];
    const [x1, x2, x3] = [x0 + inputs, x0 + 2 * inputs, x0 + 3 * inputs];
    for (let j = 0; j < wires; j++) {
      const [t, c] = [T[j], C[j]];
      sums[j] +=
        G[g0 + t] * X[x0 + c] + G[g1 + t] * X[x1 + c] + G[g2 + t] * X[x2 + c] + G[g3 + t] * X[x3 + c];
    }
  }
  for (; r < rows; r++) {
    const [gRow, xRow] = [g.offset + r * outputs, x.offset + r * inputs];
    for (let j = 0; j < wires; j++) sums[j] += G[gRow + T[j]] * X[xRow + C[j]];
  }
  for (let j = 0; j < wires; j++) dWeights.data[j] = sums[j];
}

const cache = new Map<string, Kernel>();

function cached(key: string, make: () => Omit<Kernel, 'key'>): Kernel {
  let kernel = cache.get(key);
  if (!kernel) cache.set(key, (kernel = { key, ...make() }));
  return kernel;
}

const read = (name: string, type: WgslType) => ({ name, type, access: 'read' }) as const;
const unsigned = (...names: string[]) => names.map((name) => ({ name, type: 'u32' }) as const);
const half = (type: WgslType) => (type === 'f16' ? (['f16'] as const) : undefined);

/**
 * An invocation takes four rows of an output: it reads each wire's source and weight once, and one element of each row.
 * Neighbours write neighbouring outputs. Indices were checked when the wiring was made.
 */
export function sparseLinearKernel({
  inputs: [x, weights, starts, sources, ...more],
  outputs: [y],
  params: { lookup, bias },
}: KernelCall<SparseParams>): Dispatch[] {
  const type = wgslType(y.dtype);
  const kernel = cached(`sparseLinear:${type}:${lookup}:${bias}`, () => ({
    bindings: [
      read('x', type),
      read('weights', type),
      read('starts', 'u32'),
      read('sources', 'u32'),
      ...(lookup ? [read('wires', 'u32')] : []),
      ...(bias ? [read('bias', type)] : []),
      { name: 'y', type, access: 'read_write' },
    ],
    params: unsigned('n', 'rows', 'inputs', 'outputs', 'x_offset', 'weights_offset', 'bias_offset'),
    workgroupSize: WORKGROUP,
    enables: half(type),
    body: `if (index >= p.n) { return; }
let o = index % p.outputs;
let first = index / p.outputs * ${TILE}u;
let count = min(p.rows - first, ${TILE}u);
// Rows behind the last one stand for the first of the tile, and are not written.
let at = p.x_offset + (first + select(vec4<u32>(0u), vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(count))) * p.inputs;
var sum = vec4<f32>(${bias ? load(type, 'bias[p.bias_offset + o]') : '0.0'});
for (var j = starts[o]; j < starts[o + 1u]; j++) {
  let places = at + sources[j];
  let weight = ${load(type, `weights[p.weights_offset + ${lookup ? 'wires[j]' : 'j'}]`)};
  sum += weight * vec4<f32>(${['x', 'y', 'z', 'w'].map((c) => load(type, `x[places.${c}]`)).join(', ')});
}
for (var r = 0u; r < count; r++) { y[(first + r) * p.outputs + o] = ${store(type, 'sum[r]')}; }`,
  }));
  const rows = rowsOf(y);
  const outputs = y.shape[y.shape.length - 1];
  const n = Math.ceil(rows / TILE) * outputs;
  const offset = bias ? more[more.length - 1].offset : 0;
  return [
    {
      kernel,
      buffers: [x, weights, starts, sources, ...more, y].map((view) => view.buffer),
      params: [n, rows, x.shape[x.shape.length - 1], outputs, x.offset, weights.offset, offset],
      workgroups: workgroups(n),
    },
  ];
}

/** An invocation takes a wire: it reads an element at either end of it per row. */
export function sparseWeightsKernel({
  inputs: [g, x, targets, sources],
  outputs: [dWeights],
}: KernelCall<unknown>): Dispatch[] {
  const type = wgslType(dWeights.dtype);
  const term = `${load(type, 'g[at_g + r * p.outputs]')} * ${load(type, 'x[at_x + r * p.inputs]')}`;
  const kernel = cached(`sparseLinearBackward:${type}`, () => ({
    bindings: [
      read('g', type),
      read('x', type),
      read('targets', 'u32'),
      read('sources', 'u32'),
      { name: 'y', type, access: 'read_write' },
    ],
    params: unsigned('n', 'rows', 'inputs', 'outputs', 'g_offset', 'x_offset'),
    workgroupSize: WORKGROUP,
    enables: half(type),
    body: `if (index >= p.n) { return; }
let at_g = p.g_offset + targets[index];
let at_x = p.x_offset + sources[index];
var sum = 0.0;
${unrolled('r', '0u', 'p.rows', 1, `sum += ${term};`)}
y[index] = ${store(type, 'sum')};`,
  }));
  const n = numel(dWeights.shape);
  return [
    {
      kernel,
      buffers: [g, x, targets, sources, dWeights].map((view) => view.buffer),
      params: [n, rowsOf(x), x.shape[x.shape.length - 1], g.shape[g.shape.length - 1], g.offset, x.offset],
      workgroups: workgroups(n),
    },
  ];
}
