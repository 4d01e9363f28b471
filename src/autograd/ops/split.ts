/** Tensors cut into views; the gradients of the pieces are put together again in one go. */
import { ShapeError } from '../../device/errors.js';
import { checkShape, formatShape, normalizeDim } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { defineViews } from '../op.js';
import { zeros } from './creation.js';
import { cat } from './join.js';
import { squeeze } from './views.js';

const splitOp = defineViews<{ dim: number; sizes: readonly number[] }>({
  name: 'split',
  views(x, { dim, sizes }) {
    let at = 0;
    return sizes.map((n) => {
      const offset = x.offset + at * x.strides[dim];
      at += n;
      return { shape: x.shape.map((s, d) => (d === dim ? n : s)), strides: x.strides, offset };
    });
  },
  backward: (grads, { dim, sizes }, { shape, dtype, device }) =>
    cat(
      grads.map(
        (g, i) =>
          g ??
          zeros(
            shape.map((s, d) => (d === dim ? sizes[i] : s)),
            { dtype, device },
          ),
      ),
      dim,
    ),
});

/** Views of at most `size` elements along `dim`, or of the given sizes. @source torch.split */
export function split(x: Tensor, size: number | readonly number[], dim = 0): Tensor[] {
  const d = normalizeDim('split', dim, x.ndim);
  const total = x.size(d);
  checkShape('split', [size].flat() as number[]);
  const sizes =
    typeof size === 'number'
      ? Array.from({ length: Math.max(Math.ceil(total / Math.max(size, 1)), 1) }, (_, i) =>
          Math.min(size, total - i * size),
        )
      : size;
  if (sizes.reduce((s, n) => s + n, 0) !== total) {
    throw new ShapeError(
      `split: expected sizes that sum to ${total} along dim ${dim}, got ${formatShape(sizes)}`,
    );
  }
  return splitOp(x, { dim: d, sizes });
}

/** At most `chunks` views of equal size along `dim`, the last one smaller. @source torch.chunk */
export function chunk(x: Tensor, chunks: number, dim = 0): Tensor[] {
  if (!Number.isInteger(chunks) || chunks < 1)
    throw new ShapeError(`chunk: expected at least 1 chunk, got ${chunks}`);
  return split(x, Math.max(Math.ceil(x.size(normalizeDim('chunk', dim, x.ndim)) / chunks), 1), dim);
}

/** One view per element along `dim`, which disappears. @source torch.unbind */
export function unbind(x: Tensor, dim = 0): Tensor[] {
  const d = normalizeDim('unbind', dim, x.ndim);
  const sizes = new Array<number>(x.size(d)).fill(1);
  return splitOp(x, { dim: d, sizes }).map((t) => squeeze(t, d));
}
