/** Access pattern: rows of any layout written to the places of another tensor that an index on the device names. */
import { type Dispatch, type HostArray, type Kernel, type KernelCall, wgslType } from '../device/types.js';
import { numel } from '../tensor/shape.js';
import { type Collapsed, collapse, forEachRow } from './collapse.js';
import { indexError } from './gather.js';
import { offsetsCode, offsetsValues, overSpan, spans, spanWidth } from './pointwise.js';

export interface IndexCopyParams {
  readonly dim: number;
}

interface Strided {
  readonly shape: readonly number[];
  readonly strides: readonly number[];
}

/** The source's elements: where they are, where they go but for the step along `dim`, and where their index is. */
function spaceOf(x: Strided, index: Strided, y: Strided, dim: number): Collapsed {
  const { shape } = x;
  const along = (n: number) => shape.map((_, d) => (d === dim ? n : 0));
  const beside = y.strides.map((s, d) => (d === dim ? 0 : s));
  return collapse(shape, [x, { shape, strides: beside }, { shape, strides: along(index.strides[0]) }]);
}

/** y[…, index[k], …] = x[…, k, …]; the rest of y stays. @throws ShapeError for an index out of range. */
export function indexCopyHost(
  [x, index]: readonly HostArray[],
  [y]: readonly HostArray[],
  { dim }: IndexCopyParams,
): void {
  const space = spaceOf(x, index, y, dim);
  const inner = space.shape.length - 1;
  const n = space.shape[inner];
  const [xs, ys, is] = space.strides.map((s) => s[inner]);
  const [size, step] = [y.shape[dim], y.strides[dim]];
  if (numel(x.shape) === 0) return;
  forEachRow(space, [x.offset, y.offset, index.offset], (at, [xo, yo, io]) => {
    for (let i = 0; i < n; i++) {
      const to = index.data[io + i * is];
      if (to < 0 || to >= size) throw indexError('indexCopy_', size, to, at + i);
      y.data[yo + i * ys + to * step] = x.data[xo + i * xs];
    }
  });
}

const cache = new Map<string, Kernel>();

/** Reads x and its indices, writes each element once. Indices out of range write nothing. */
export function indexCopyKernel({
  inputs: [x, index],
  outputs: [y],
  params: { dim },
  target,
}: KernelCall<IndexCopyParams>): Dispatch[] {
  const space = spaceOf(x, index, y, dim);
  const rank = space.shape.length;
  const types = [wgslType(x.dtype), wgslType(index.dtype)] as const;
  const width = spanWidth(target);
  const key = `indexCopy:${rank}:${types}:${width}`;
  let kernel = cache.get(key);
  if (!kernel) {
    const { params, code } = offsetsCode(rank, ['x', 'y', 'i']);
    kernel = {
      key,
      bindings: [
        { name: 'x', type: types[0], access: 'read' },
        { name: 'at', type: types[1], access: 'read' },
        { name: 'y', type: types[0], access: 'read_write' },
      ],
      params: [...['n', 'size', 'step'].map((name) => ({ name, type: 'u32' }) as const), ...params],
      workgroupSize: width,
      enables: types[0] === 'f16' ? ['f16'] : undefined,
      // A negative index is a large number.
      body: overSpan(
        width,
        `${code}\nlet to = u32(at[at_i]);\nif (to < p.size) { y[at_y + to * p.step] = x[at_x]; }`,
      ),
    };
    cache.set(key, kernel);
  }
  const n = numel(x.shape);
  return [
    {
      kernel,
      buffers: [x.buffer, index.buffer, y.buffer],
      params: [n, y.shape[dim], y.strides[dim], ...offsetsValues(space, [x.offset, y.offset, index.offset])],
      workgroups: spans(n),
    },
  ];
}
