/** Tensors as text and as nested arrays. Both read from the device, so both are awaited. */
import { type DType, isFloat } from '../device/dtype.js';
import type { NestedArray } from './host.js';
import { formatShape, numel } from './shape.js';
import type { Tensor, TensorData } from './tensor.js';

export interface TextOptions {
  /** Digits after the point. Default 4. */
  precision?: number;
  /** Elements up to which all are shown. Default 100. */
  threshold?: number;
  /** Elements shown at both ends of a dim beyond that. Default 3. */
  edgeItems?: number;
  /** Columns after which a row goes on in the next line. Default 80. */
  width?: number;
}

/** The values as nested arrays, booleans for bool; a number for a scalar. @source torch.Tensor.tolist */
export async function tolist(x: Tensor): Promise<NestedArray> {
  const data = await x.data();
  let at = 0;
  const build = (dim: number): NestedArray => {
    if (dim === x.ndim) {
      const value = data[at++];
      return x.dtype === 'bool' ? value !== 0 : value;
    }
    return Array.from({ length: x.shape[dim] }, () => build(dim + 1));
  };
  return build(0);
}

/**
 * The values in nested brackets, aligned; the middle of large tensors left out; the dtype if it is not float32.
 *
 * @source torch.Tensor.__repr__
 * @example
 * await tensor([[1, 2.5], [-3, 4]]).toText();
 * // tensor([[ 1.0000,  2.5000],
 * //         [-3.0000,  4.0000]])
 */
export async function toText(x: Tensor, options: TextOptions = {}): Promise<string> {
  const { threshold = 100, edgeItems = 3, width = 80, precision = 4 } = options;
  const data = await x.data();
  const summarize = numel(x.shape) > threshold;
  // Which positions of each dim are shown; −1 stands for the gap.
  const shown = x.shape.map((size) => {
    const all = Array.from({ length: size }, (_, i) => i);
    return summarize && size > 2 * edgeItems
      ? [...all.slice(0, edgeItems), -1, ...all.slice(-edgeItems)]
      : all;
  });
  const format = formatter(data, picked(x, shown), x.dtype, precision);
  const body = brackets(x, shown, data, format, 'tensor('.length, width);
  const notes: string[] = [];
  if (summarize || (x.numel === 0 && x.ndim !== 1)) notes.push(`shape=${formatShape(x.shape)}`);
  if (x.dtype !== 'float32') notes.push(`dtype=${x.dtype}`);
  if (x.gradFn) notes.push(`gradFn=${x.gradFn.name}`);
  else if (x.requiresGrad) notes.push('requiresGrad');
  return `tensor(${[body, ...notes].join(', ')})`;
}

/** Positions in `data` of all elements that will be shown. */
function picked(x: Tensor, shown: readonly (readonly number[])[]): number[] {
  let positions = [0];
  x.shape.forEach((size, d) => {
    positions = positions.flatMap((p) => shown[d].filter((i) => i >= 0).map((i) => p * size + i));
  });
  return positions;
}

/** How to print a number so that all are equally wide and none loses its digits. */
function formatter(
  data: TensorData,
  positions: readonly number[],
  dtype: DType,
  precision: number,
): (value: number) => string {
  let plain: (value: number) => string = String;
  if (dtype === 'bool') plain = (v) => (v !== 0 ? 'true' : 'false');
  else if (isFloat(dtype)) {
    const finite = positions.map((p) => Math.abs(data[p])).filter((v) => v > 0 && v < Infinity);
    const [most, least] = [Math.max(0, ...finite), Math.min(Infinity, ...finite)];
    if (finite.every(Number.isInteger) && most < 1e8)
      plain = (v) => (Number.isFinite(v) ? `${sign(v)}.` : special(v));
    // PyTorch's limits for the scientific form.
    else if (most >= 1e8 || least < 1e-4 || most / least > 1000)
      plain = (v) => (Number.isFinite(v) ? v.toExponential(precision) : special(v));
    else plain = (v) => (Number.isFinite(v) ? v.toFixed(precision) : special(v));
  }
  const length = positions.reduce((n, p) => Math.max(n, plain(data[p]).length), 0);
  return (v) => plain(v).padStart(length);
}

function sign(v: number): string {
  return Object.is(v, -0) ? '-0' : String(v);
}

function special(v: number): string {
  return Number.isNaN(v) ? 'nan' : v > 0 ? 'inf' : '-inf';
}

function brackets(
  x: Tensor,
  shown: readonly (readonly number[])[],
  data: TensorData,
  format: (value: number) => string,
  indent: number,
  width: number,
): string {
  const walk = (dim: number, at: number): string => {
    if (dim === x.ndim) return format(data[at]);
    const margin = ' '.repeat(indent + dim + 1);
    const items = shown[dim].map((i) => (i < 0 ? '...' : walk(dim + 1, at * x.shape[dim] + i)));
    if (dim < x.ndim - 1) {
      // A blank line more between blocks of more dims, as PyTorch prints them.
      return `[${items.join(`,${'\n'.repeat(x.ndim - 1 - dim)}${margin}`)}]`;
    }
    const each = (items[0]?.length ?? 0) + 2;
    const perLine = Math.max(Math.floor((width - margin.length) / each), 1);
    const lines: string[] = [];
    for (let i = 0; i < items.length; i += perLine) lines.push(items.slice(i, i + perLine).join(', '));
    return `[${lines.join(`,\n${margin}`)}]`;
  };
  return walk(0, 0);
}
