/** The largest or smallest elements along a dim. */
import { ShapeError } from '../../device/errors.js';
import type { HostArray } from '../../device/types.js';
import { lineSpace } from '../../kernels/scan.js';
import { type TopkParams, topkKernel } from '../../kernels/topk.js';
import { formatShape, normalizeDim } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { defineOp } from '../op.js';
import { reshape } from './broadcast.js';
import { checkDType } from './define.js';
import type { Extremum } from './extrema.js';
import { pick } from './pick.js';

/** Up to so many, places are kept in order while the line is read once; beyond, the line is sorted. */
const INSERTED = 256;

/** Whether a comes before b; NaN counts as larger than everything. */
function before(a: number, b: number, largest: boolean): boolean {
  if (Number.isNaN(b)) return !largest && !Number.isNaN(a);
  if (Number.isNaN(a)) return largest;
  return largest ? a > b : a < b;
}

type Data = HostArray['data'];

function hasNaN(data: Data, base: number, n: number, step: number): boolean {
  for (let i = 0, at = base; i < n; i++, at += step) if (Number.isNaN(data[at])) return true;
  return false;
}

/** Places of the first `places.length` elements of a line without NaN; `kept` is room for their values. */
function insert(
  data: Data,
  base: number,
  n: number,
  step: number,
  sign: number,
  places: Int32Array,
  kept: Float64Array,
): void {
  const k = places.length;
  for (let i = 0, at = base; i < n; i++, at += step) {
    const v = sign * data[at];
    let place = Math.min(i, k);
    if (place === k) {
      if (!(v > kept[k - 1])) continue;
      place = k - 1;
    }
    for (; place > 0 && v > kept[place - 1]; place--) {
      kept[place] = kept[place - 1];
      places[place] = places[place - 1];
    }
    kept[place] = v;
    places[place] = i;
  }
}

function sorted(
  data: Data,
  base: number,
  n: number,
  step: number,
  largest: boolean,
): Int32Array<ArrayBuffer> {
  const order = new Int32Array(n);
  for (let i = 0; i < n; i++) order[i] = i;
  return order.sort((a, b) => {
    const x = data[base + a * step];
    const y = data[base + b * step];
    return before(x, y, largest) ? -1 : before(y, x, largest) ? 1 : a - b;
  });
}

function topkHost(
  [x]: readonly HostArray[],
  [y]: readonly HostArray[],
  { dim, k, largest }: TopkParams,
): void {
  const { outer, n, inner } = lineSpace(x.shape, dim);
  const { data } = x;
  const places = new Int32Array(k);
  const kept = new Float64Array(k);
  if (k === 0) return;
  for (let o = 0; o < outer; o++) {
    for (let j = 0; j < inner; j++) {
      const base = x.offset + o * n * inner + j;
      const to = o * k * inner + j;
      let order = places;
      if (k <= INSERTED && !hasNaN(data, base, n, inner)) {
        insert(data, base, n, inner, largest ? 1 : -1, places, kept);
      } else order = sorted(data, base, n, inner, largest);
      for (let i = 0; i < k; i++) y.data[to + i * inner] = order[i];
    }
  }
}

const topkOp = defineOp<[Tensor], TopkParams>({
  name: 'topk',
  infer([x], { dim, k }) {
    checkDType('topk', x.dtype, 'number');
    return { shape: x.shape.map((s, d) => (d === dim ? k : s)), dtype: 'int32' };
  },
  host: topkHost,
  kernel: topkKernel,
  differentiable: false,
});

export interface TopkOptions {
  /** Default −1. */
  dim?: number;
  /** The largest elements (default), or the smallest. */
  largest?: boolean;
}

/**
 * The k largest (or smallest) elements along a dim in order, the earlier of equal ones first, with their positions. The
 * gradient goes to the chosen elements. NaN counts as larger than everything.
 *
 * @returns values, and indices as int32 (PyTorch: int64), both with size k along the dim.
 * @throws ShapeError unless 0 ≤ k ≤ the size of the dim.
 * @source torch.topk
 */
export function topk(x: Tensor, k: number, { dim = -1, largest = true }: TopkOptions = {}): Extremum {
  const d = normalizeDim('topk', dim, x.ndim);
  const size = x.shape[d] ?? 1;
  if (!Number.isInteger(k) || k < 0 || k > size) {
    throw new ShapeError(
      `topk: expected k in [0, ${size}], the size of dim ${dim} of ${formatShape(x.shape)}, got ${k}`,
    );
  }
  if (x.ndim === 0 && k === 1) {
    const { values, indices } = topk(reshape(x, [1]), 1);
    return { values: reshape(values, []), indices: reshape(indices, []) };
  }
  const lifted = x.ndim === 0 ? reshape(x, [1]) : x;
  const indices = topkOp([lifted], { dim: d, k, largest });
  return { values: pick(lifted, indices, d), indices };
}
