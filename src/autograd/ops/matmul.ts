/** Matrix products: of vectors, matrices and batches of them. */
import { ShapeError } from '../../device/errors.js';
import type { HostArray, SimdModule, SimdView } from '../../device/types.js';
import { matmulKernel } from '../../kernels/matmul.js';
import { forEachEntry, matmulLayout } from '../../kernels/matmul-layout.js';
import { broadcastShapes, formatShape, numel, type Shape, sameShape } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { defineOp, type Op } from '../op.js';
import { mul } from './arithmetic.js';
import { reshape, sumTo } from './broadcast.js';
import { checkDType } from './define.js';
import { transpose, unsqueeze } from './views.js';

function outputShape(a: Shape, b: Shape): Shape {
  if (a.length === 0 || b.length === 0) {
    throw new ShapeError(
      `matmul: expected tensors with dims, got ${formatShape(a)} and ${formatShape(b)}; multiply by a scalar with mul()`,
    );
  }
  const inner = b[Math.max(b.length - 2, 0)];
  if (a[a.length - 1] !== inner) {
    const wanted = `${a.length === 1 ? '[K]' : '[..., M, K]'} and ${b.length === 1 ? '[K]' : '[..., K, N]'}`;
    throw new ShapeError(
      `matmul: expected ${wanted}, got ${formatShape(a)} and ${formatShape(b)} (${a[a.length - 1]} ≠ ${inner})`,
    );
  }
  const batch = broadcastShapes('matmul batch dims', a.slice(0, -2), b.slice(0, -2));
  return [...batch, ...a.slice(-2, -1), ...(b.length > 1 ? b.slice(-1) : [])];
}

const matmulOp: Op<[Tensor, Tensor], null> = defineOp<[Tensor, Tensor], null>({
  name: 'matmul',
  autocast: 'half',
  layout: 'strided',
  infer([a, b]) {
    checkDType('matmul', a.dtype, 'float');
    return { shape: outputShape(a.shape, b.shape), dtype: a.dtype };
  },
  host: matmulHost,
  simd: matmulSimd,
  kernel: matmulKernel,
  work: ([a], [y]) => ({ operations: 2 * a.shape[a.shape.length - 1] * numel(y.shape) }),
  saves: [0, 1],
  backward({ gradOutput, input, inputShapes: [aShape, bShape], needs }) {
    const a = aShape.length > 1 ? input(0) : reshaped(input(0), [1, aShape[0]]);
    const b = bShape.length > 1 ? input(1) : reshaped(input(1), [bShape[0], 1]);
    const [m, k] = [a.size(-2), a.size(-1)];
    const n = b.size(-1);
    const batch = broadcastShapes('matmul', a.shape.slice(0, -2), b.shape.slice(0, -2));
    const g = reshaped(gradOutput, [...batch, m, n]);
    const gradA = () => reshaped(sumTo(matmul(g, transpose(b, -1, -2)), a.shape), aShape);
    const gradB = () => {
      if (b.ndim > 2) return reshaped(sumTo(matmul(transpose(a, -1, -2), g), b.shape), bShape);
      // One B for the whole batch: its gradient sums over the batch as over rows, in one product.
      const rows = numel(batch) * m;
      return reshaped(matmul(transpose(reshaped(a, [rows, k]), 0, 1), reshaped(g, [rows, n])), bShape);
    };
    return [needs(0) ? gradA() : null, needs(1) ? gradB() : null];
  },
});

/** `reshape` that hands back what has the shape already. */
function reshaped(x: Tensor, shape: Shape): Tensor {
  return sameShape(x.shape, shape) ? x : reshape(x, shape);
}

/** The host implementation of a product, of two arrays. */
export function matmulHost(inputs: readonly HostArray[], [y]: readonly HostArray[]): void {
  const layout = matmulLayout(inputs[0], inputs[1]);
  const [a, b] = layout.swapped ? [inputs[1], inputs[0]] : inputs;
  const { m, n, k, aRow, aCol, bRow, bCol } = layout;
  const [A, B, C] = [a.data, b.data, y.data];
  forEachEntry(layout, (entry, aOffset, bOffset) => {
    const aStart = a.offset + aOffset;
    const bStart = b.offset + bOffset;
    const cStart = y.offset + entry * m * n;
    if (bCol > bRow) {
      // Columns of B are the contiguous ones: a dot product per result.
      for (let i = 0; i < m; i++) {
        for (let j = 0; j < n; j++) {
          let sum = 0;
          let ai = aStart + i * aRow;
          let bi = bStart + j * bCol;
          for (let p = 0; p < k; p++) {
            sum += A[ai] * B[bi];
            ai += aCol;
            bi += bRow;
          }
          C[cStart + i * n + j] = sum;
        }
      }
      return;
    }
    C.fill(0, cStart, cStart + m * n);
    for (let i = 0; i < m; i++) {
      const row = cStart + i * n;
      for (let p = 0; p < k; p++) {
        const x = A[aStart + i * aRow + p * aCol];
        let bi = bStart + p * bRow;
        for (let j = 0; j < n; j++) {
          C[row + j] += x * B[bi];
          bi += bCol;
        }
      }
    }
  });
}

/** The WebAssembly path of a product. */
export function matmulSimd(
  module: SimdModule,
  inputs: readonly SimdView[],
  [y]: readonly SimdView[],
): boolean {
  const layout = matmulLayout(inputs[0], inputs[1]);
  const [a, b] = layout.swapped ? [inputs[1], inputs[0]] : inputs;
  const { m, n, k, aRow, aCol, bRow, bCol } = layout;
  if (m * n === 0) return true;
  const scratch = module.threadScratch(module.matmulScratchBytes(m, n, k));
  module.together(() =>
    forEachEntry(layout, (entry, aOffset, bOffset) => {
      const left = a.pointer + aOffset * 4;
      const right = b.pointer + bOffset * 4;
      module.matmul(m, n, k, left, aRow, aCol, right, bRow, bCol, y.pointer + entry * m * n * 4, n, scratch);
    }),
  );
  return true;
}

/**
 * The matrix product a · b: c[…, i, j] = Σₖ a[…, i, k] · b[…, k, j]. Batch dims broadcast, a vector on the left is a row, a
 * vector on the right a column, and its dim does not appear in the result. No operand is copied, however it is strided.
 *
 * @param a [..., M, K] or [K]; floating-point
 * @param b [..., K, N] or [K], of the same dtype
 * @returns [..., M, N]
 * @throws ShapeError when K differs or the batch dims do not broadcast
 * @source torch.matmul
 */
export function matmul(a: Tensor, b: Tensor): Tensor {
  return matmulOp([a, b], null);
}

/**
 * Σᵢ a[i] · b[i].
 *
 * @param a [K], floating-point
 * @param b [K]
 * @returns a scalar
 * @throws ShapeError unless both are vectors of one length
 * @source torch.dot
 */
export function dot(a: Tensor, b: Tensor): Tensor {
  if (a.ndim !== 1 || b.ndim !== 1 || a.shape[0] !== b.shape[0]) {
    throw new ShapeError(
      `dot: expected two vectors of one length, got ${formatShape(a.shape)} and ${formatShape(b.shape)}`,
    );
  }
  return matmul(a, b);
}

/**
 * c[i, j] = a[i] · b[j].
 *
 * @param a [M]
 * @param b [N]
 * @returns [M, N]
 * @throws ShapeError unless both are vectors
 * @source torch.outer
 */
export function outer(a: Tensor, b: Tensor): Tensor {
  if (a.ndim !== 1 || b.ndim !== 1) {
    throw new ShapeError(
      `outer: expected two vectors, got ${formatShape(a.shape)} and ${formatShape(b.shape)}`,
    );
  }
  return mul(unsqueeze(a, 1), b);
}
