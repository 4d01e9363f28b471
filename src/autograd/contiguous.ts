import { copyProgram } from '../kernels/copy.js';
import { Tensor } from '../tensor/tensor.js';

/** @internal A row-major copy without history. */
export function contiguousCopy(t: Tensor): Tensor {
  const copy = Tensor.allocate(t.device, t.dtype, t.shape, 'contiguous');
  t.device.execute(copyProgram, [t], [copy], null);
  return copy;
}
