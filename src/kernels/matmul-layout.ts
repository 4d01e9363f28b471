/** How the operands of a matrix product lie in memory, whatever their ranks: one batch of plain products. */

import { broadcastShapes, numel, type Shape } from '../tensor/shape.js';
import { type Collapsed, collapse, forEachRow } from './collapse.js';

interface Strided {
  readonly shape: Shape;
  readonly strides: readonly number[];
}

/** C[e] = A[e] · B[e] for every entry e of the batch; C is row-major, entry after entry. */
export interface MatmulLayout {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** Strides of element (row, column) of A [m, k] and of B [k, n]. */
  readonly aRow: number;
  readonly aCol: number;
  readonly bRow: number;
  readonly bCol: number;
  /** Batch dims that could not be merged; strides of A and of B. */
  readonly batch: Collapsed;
  readonly entries: number;
  /** A here is the second operand transposed, B the first. */
  readonly swapped: boolean;
}

/**
 * The layout of a product. Batch dims merge where both operands allow it; a B shared by the whole batch makes one tall
 * product of all rows; a single column (n = 1) is turned into a single row, which the kernels have a path for.
 */
export function matmulLayout(a: Strided, b: Strided): MatmulLayout {
  const aRank = a.shape.length;
  const bRank = b.shape.length;
  const aBatch = aRank > 2 ? { shape: a.shape.slice(0, -2), strides: a.strides.slice(0, -2) } : NONE;
  const bBatch = bRank > 2 ? { shape: b.shape.slice(0, -2), strides: b.strides.slice(0, -2) } : NONE;
  let m = aRank > 1 ? a.shape[aRank - 2] : 1;
  let aRow = aRank > 1 ? a.strides[aRank - 2] : 0;
  const k = a.shape[aRank - 1];
  const aCol = a.strides[aRank - 1];
  const n = bRank > 1 ? b.shape[bRank - 1] : 1;
  const bRow = b.strides[Math.max(bRank - 2, 0)];
  const bCol = bRank > 1 ? b.strides[bRank - 1] : 0;

  const batchShape = broadcastShapes('matmul batch dims', aBatch.shape, bBatch.shape);
  let batch = batchShape.length === 0 ? SINGLE : collapse(batchShape, [aBatch, bBatch]);
  let entries = numel(batchShape);
  if (entries > 1 && batch.strides[1].every((s) => s === 0) && batch.strides[0].length === 1) {
    // Entries lie behind one another as further rows, or each is a row.
    const step = batch.strides[0][0];
    if (m === 1 || step === m * aRow) {
      aRow = m === 1 ? step : aRow;
      m *= entries;
      entries = 1;
      batch = SINGLE;
    }
  }
  if (n > 1 || m <= 1) return { m, n, k, aRow, aCol, bRow, bCol, batch, entries, swapped: false };
  const [aSteps, bSteps] = batch.strides;
  return {
    m: 1,
    n: m,
    k,
    aRow: 0,
    aCol: bRow,
    bRow: aCol,
    bCol: aRow,
    batch: { shape: batch.shape, strides: [bSteps, aSteps] },
    entries,
    swapped: true,
  };
}

const NONE: Strided = { shape: [], strides: [] };
const SINGLE: Collapsed = { shape: [1], strides: [[0], [0]] };

/** Calls `visit(entry, offset in A, offset in B)` for each entry of the batch. */
export function forEachEntry(
  { batch, entries }: MatmulLayout,
  visit: (entry: number, aOffset: number, bOffset: number) => void,
): void {
  if (entries === 0) return;
  const inner = batch.shape.length - 1;
  const [aStep, bStep] = [batch.strides[0][inner], batch.strides[1][inner]];
  forEachRow(batch, [0, 0], (at, [a, b]) => {
    for (let i = 0; i < batch.shape[inner]; i++) visit(at + i, a + i * aStep, b + i * bStep);
  });
}
