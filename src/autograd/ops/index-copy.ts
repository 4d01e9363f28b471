/** Writing rows where an index on the device says, in place: how a cache grows without the host knowing where. */
import { DeviceError, DTypeError, ShapeError } from '../../device/errors.js';
import type { Program } from '../../device/types.js';
import { type IndexCopyParams, indexCopyHost, indexCopyKernel } from '../../kernels/index-copy.js';
import { formatShape, normalizeDim, numel, sameShape } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { contiguousCopy } from '../contiguous.js';
import { checkIndices } from '../indices.js';
import { executeInPlace } from '../op.js';
import { checkWritable } from '../writable.js';
import { checkIndexDType } from './index.js';

const program: Program<IndexCopyParams> = {
  name: 'indexCopy_',
  host: indexCopyHost,
  kernel: indexCopyKernel,
  // y is read and written in these rows only.
  work: ([x]) => ({ operations: 0, bytes: 8 * numel(x.shape) }),
};

/**
 * Overwrites the rows (slices along `dim`) of x that the index names with those of the source. Returns x. Where an index
 * occurs twice, either row may win.
 *
 * @param index [K] int32 or uint32, on the device, so that captured steps may move it
 * @param source x's shape with K along `dim`, of x's dtype and any layout
 * @throws ShapeError for shapes that do not fit, and for an index out of range as `gather`; GradError as `copy_`
 * @source torch.Tensor.index_copy_
 */
export function indexCopy_(x: Tensor, dim: number, index: Tensor, source: Tensor): Tensor {
  const d = normalizeDim('indexCopy_', dim, x.ndim);
  checkIndexDType('indexCopy_', index);
  checkWritable('indexCopy_', x, source);
  const wanted = x.shape.map((s, i) => (i === d ? index.numel : s));
  if (index.ndim !== 1 || x.ndim === 0 || !sameShape(source.shape, wanted)) {
    throw new ShapeError(
      `indexCopy_: expected an index [K] and a source of x's shape ${formatShape(x.shape)} with K along dim ${dim}, got ${formatShape(index.shape)} and ${formatShape(source.shape)}`,
    );
  }
  if (source.dtype !== x.dtype) {
    throw new DTypeError(
      `indexCopy_: expected one dtype, got ${x.dtype} and ${source.dtype}; convert with source.to('${x.dtype}')`,
    );
  }
  if (source.device !== x.device || index.device !== x.device) {
    throw new DeviceError(
      'indexCopy_: expected x, index and source on one device; move them with to(device)',
    );
  }
  // WebGPU forbids one buffer bound for reading and for writing in a dispatch.
  const shared = source.storage === x.storage;
  const from = shared ? contiguousCopy(source) : source;
  executeInPlace(program, [from, index], [x], { dim: d });
  if (shared) from.release();
  checkIndices('indexCopy_', index, x.shape[d]);
  return x;
}
