/** Mixed precision: which operations run in float16 while the parameters stay float32. */
import { type DType, isFloat } from '../device/dtype.js';
import { DTypeError } from '../device/errors.js';
import type { Tensor } from '../tensor/tensor.js';
import { mode } from './mode.js';
import type { OpDefinition } from './op.js';
import { to } from './ops/cast.js';

export interface AutocastOptions {
  /** What products are computed in; default float16. */
  readonly dtype?: 'float16' | 'float32';
  /** Off changes nothing; default on. */
  readonly enabled?: boolean;
}

/**
 * Runs `fn` in mixed precision: matrix products and attention take their operands in float16 (and add up in float32),
 * losses, sums, exponentials and norms in float32, and everything else in the wider of what it is given. Parameters stay
 * as they are and get gradients of their own dtype; each is converted once. Backward, outside of `fn`, runs in what
 * forward ran in. Small gradients vanish in float16: scale the loss with a GradScaler.
 *
 * @throws DTypeError on a device without float16
 * @source torch.autocast
 * @example
 * const loss = autocast(() => crossEntropy(model.forward(x), y));
 */
export function autocast<R>(fn: () => R, { dtype = 'float16', enabled = true }: AutocastOptions = {}): R {
  const before = mode.autocast;
  const casts = enabled ? new Casts(dtype) : null;
  mode.autocast = casts;
  try {
    return fn();
  } finally {
    mode.autocast = before;
  }
}

/** The conversions of one autocast. */
export class Casts {
  /** Converted leaves: a weight that is used often is converted once. */
  private readonly leaves = new Map<Tensor, Tensor>();

  constructor(private readonly dtype: DType) {}

  /** The inputs of an operation in the dtypes that its policy asks for. */
  inputs<P>(def: OpDefinition<P>, inputs: readonly Tensor[]): readonly Tensor[] {
    const wanted = this.wanted(def, inputs);
    if (wanted === null || inputs.every((t) => !isFloat(t.dtype) || t.dtype === wanted)) return inputs;
    return inputs.map((t) => (isFloat(t.dtype) ? this.cast(t, wanted) : t));
  }

  private wanted<P>({ autocast }: OpDefinition<P>, inputs: readonly Tensor[]): DType | null {
    const floats = inputs.filter((t) => isFloat(t.dtype));
    if (autocast === 'never' || floats.length === 0) return null;
    // float64 is asked for by name, and kept.
    if (floats.some((t) => t.dtype === 'float64')) return null;
    if (autocast === 'half') return this.dtype;
    if (autocast === 'full') return 'float32';
    return floats.some((t) => t.dtype === 'float32') ? 'float32' : floats[0].dtype;
  }

  private cast(t: Tensor, dtype: DType): Tensor {
    if (t.dtype === dtype) return t;
    if (!t.device.dtypes.has(dtype)) {
      throw new DTypeError(`autocast: expected a device with ${dtype}, got ${t.device.info.name}`);
    }
    if (!t.isLeaf || !t.requiresGrad) return to(t, dtype);
    let converted = this.leaves.get(t);
    if (!converted || converted.isReleased || converted.dtype !== dtype) {
      this.leaves.set(t, (converted = to(t, dtype)));
    }
    return converted;
  }
}
