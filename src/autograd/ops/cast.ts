/** Conversion to another dtype or device. */
import { type DType, isFloat } from '../../device/dtype.js';
import { DTypeError } from '../../device/errors.js';
import type { Device } from '../../device/types.js';
import { copyProgram } from '../../kernels/copy.js';
import { fromHost } from '../../tensor/factories.js';
import type { Tensor } from '../../tensor/tensor.js';
import { defineOp, type Op } from '../op.js';

interface CastParams {
  readonly from: DType;
  readonly to: DType;
}

const castOp: Op<[Tensor], CastParams> = defineOp<[Tensor], CastParams>({
  name: 'to',
  layout: 'strided',
  autocast: 'never',
  infer: ([x], { to }) => ({ shape: x.shape, dtype: to }),
  host: (inputs, outputs) => copyProgram.host(inputs, outputs, null),
  kernel: (call) => copyProgram.kernel({ ...call, params: null }),
  // Between float16 and float32: the CPU device has widened one, and rounds the other.
  simd: (module, inputs, outputs) => copyProgram.simd!(module, inputs, outputs, null),
  backward: ({ gradOutput: g, params: { from, to } }) => [castOp([g], { from: to, to: from })],
});

/**
 * The tensor in another dtype, or a copy of it on another device.
 *
 * To a dtype: at once, itself where nothing changes; the gradient is converted back. Floats become integers without
 * their fraction, and bools by being other than 0. To a device: reads and writes again, so it is a promise, and
 * without history, so it requires no gradient.
 *
 * @throws DTypeError for a dtype that the device does not have.
 * @source torch.Tensor.to
 */
export function to(x: Tensor, target: DType): Tensor;
export function to(x: Tensor, target: Device): Promise<Tensor>;
export function to(x: Tensor, target: DType | Device): Tensor | Promise<Tensor> {
  if (typeof target !== 'string') return move(x, target);
  if (target === x.dtype) return x;
  if (!x.device.dtypes.has(target)) {
    throw new DTypeError(
      `to: expected one of ${[...x.device.dtypes].join(', ')} on ${x.device.info.name}, got ${target}`,
    );
  }
  // Integers carry no gradient.
  const source = isFloat(target) ? x : x.detach();
  const y = castOp([source], { from: x.dtype, to: target });
  if (source !== x) source.release();
  return y;
}

async function move(x: Tensor, device: Device): Promise<Tensor> {
  const { shape, dtype } = x;
  return fromHost(await x.data(), shape, { dtype, device }, 'to');
}
