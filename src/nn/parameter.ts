/** Tensors that training changes. */
import { contiguousCopy } from '../autograd/contiguous.js';
import type { DType } from '../device/dtype.js';
import { DTypeError } from '../device/errors.js';
import type { Device } from '../device/types.js';
import { defaultDevice } from '../tensor/default-device.js';
import { keep } from '../tensor/lifetime.js';
import { checkShape, type Shape } from '../tensor/shape.js';
import { Tensor } from '../tensor/tensor.js';

/** Where and as what a module makes its parameters. */
export interface FactoryOptions {
  /** A floating-point dtype; float32 by default. */
  readonly dtype?: DType;
  /** Default: the default device. */
  readonly device?: Device;
}

/**
 * A tensor that a Module registers when it is assigned to one of its fields, and that optimizers update. It requires
 * a gradient by default and outlives every scope, like its gradient and the optimizer's state.
 *
 * @source torch.nn.Parameter
 * @example
 * const scale = new Parameter(tensor([1, 1, 1]));
 */
export class Parameter extends Tensor {
  /**
   * @param data the values, shared and not copied where they are contiguous
   * @param options `requiresGrad`: default true
   */
  constructor(data: Tensor, { requiresGrad = true }: { requiresGrad?: boolean } = {}) {
    const own = data.isContiguous ? data : contiguousCopy(data);
    super(own.storage.retain(), own.dtype, own.shape, own.strides, own.offset, 'parameter');
    if (own !== data) own.release();
    keep(this);
    this.requiresGrad = requiresGrad;
  }

  /** A parameter with undefined contents, for an initialiser to fill. */
  static empty(
    shape: Shape,
    { dtype = 'float32', device = defaultDevice() }: FactoryOptions = {},
  ): Parameter {
    checkShape('Parameter', shape);
    if (!device.dtypes.has(dtype)) {
      throw new DTypeError(
        `Parameter: expected one of ${[...device.dtypes].join(', ')} on ${device.info.name}, got ${dtype}`,
      );
    }
    const data = Tensor.allocate(device, dtype, [...shape], 'parameter');
    const parameter = new Parameter(data);
    data.release();
    return parameter;
  }
}
