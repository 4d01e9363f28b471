/** Limits on gradients, applied in place before an optimizer's step. */
import { contiguousCopy } from '../autograd/contiguous.js';
import { executeInPlace } from '../autograd/op.js';
import { DeviceError } from '../device/errors.js';
import { inPhase } from '../device/tracing.js';
import { clipNormProgram, clipValueProgram } from '../kernels/gradient-clip.js';
import { fromHost } from '../tensor/factories.js';
import { keep } from '../tensor/lifetime.js';
import { Tensor } from '../tensor/tensor.js';

/** @internal The gradients that there are, each contiguous and in memory of its own, so that it can be changed in place. */
export function gradients(op: string, parameters: Iterable<Tensor>): Tensor[] {
  const out: Tensor[] = [];
  for (const p of parameters) {
    const g = p.grad;
    if (!g) continue;
    if (out.length > 0 && g.device !== out[0].device) {
      throw new DeviceError(
        `${op}: expected gradients on one device, got ${out[0].device.info.name} and ${g.device.info.name}`,
      );
    }
    if (g.isContiguous && g.storage.isExclusive) out.push(g);
    else {
      p.grad = keep(contiguousCopy(g));
      g.release();
      out.push(p.grad);
    }
  }
  return out;
}

/**
 * Scales the gradients so that their norm together, ‖g‖₂ = √Σ g², is at most `maxNorm`: g ← g · min(1, maxNorm / (‖g‖₂ + 10⁻⁶)).
 *
 * Nothing is read back, so nothing waits: a norm that is infinite or NaN makes the gradients NaN or 0, as in PyTorch;
 * check the returned norm where that may happen.
 *
 * @param parameters tensors whose `grad` is scaled; those without one are skipped
 * @returns the norm before the scaling, a scalar (0 where there are no gradients)
 * @throws DeviceError for gradients of several devices.
 * @source torch.nn.utils.clip_grad_norm_
 */
export function clipGradNorm_(parameters: Iterable<Tensor>, maxNorm: number): Tensor {
  const grads = gradients('clipGradNorm_', parameters);
  if (grads.length === 0) return fromHost([0], [], {}, 'clipGradNorm');
  const double = grads.every((g) => g.dtype === 'float64');
  const norm = Tensor.allocate(grads[0].device, double ? 'float64' : 'float32', [], 'clipGradNorm');
  inPhase('optimizer', () => executeInPlace(clipNormProgram, [], [norm, ...grads], { maxNorm }));
  return norm;
}

/**
 * Cuts every element of the gradients to [−clipValue, clipValue].
 *
 * @throws DeviceError for gradients of several devices.
 * @source torch.nn.utils.clip_grad_value_
 */
export function clipGradValue_(parameters: Iterable<Tensor>, clipValue: number): void {
  const grads = gradients('clipGradValue_', parameters);
  if (grads.length === 0) return;
  inPhase('optimizer', () => executeInPlace(clipValueProgram, [], grads, { limit: clipValue }));
}
