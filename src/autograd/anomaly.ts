/** Finds the operation that first made a NaN or an infinity. */
import { isFloat } from '../device/dtype.js';
import { GradError } from '../device/errors.js';
import { scope, unscoped } from '../tensor/lifetime.js';
import { formatShape } from '../tensor/shape.js';
import type { Tensor } from '../tensor/tensor.js';
import { mode, noGrad } from './mode.js';
import { isFinite as isFiniteOp } from './ops/compare.js';
import { all } from './ops/reduce.js';

interface Observation {
  readonly op: string;
  readonly phase: 'forward' | 'backward';
  readonly shape: readonly number[];
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
}

/** Whether a parameter of an op asks for a non-finite value, as a mask of −∞ does. */
function asksForInfinity(params: unknown): boolean {
  if (typeof params === 'number') return !Number.isFinite(params);
  return typeof params === 'object' && params !== null && Object.values(params).some(asksForInfinity);
}

/**
 * Runs `fn` and then throws if an operation inside, forward or backward, made a NaN or an infinity out of finite
 * inputs, naming the first. Slow: every operation's inputs and outputs are checked.
 *
 * @throws GradError naming the operation.
 * @source torch.autograd.detect_anomaly
 * @example
 * await detectAnomaly(() => loss(model.forward(x)).backward());
 */
export async function detectAnomaly<R>(fn: () => R): Promise<R> {
  const seen: Observation[] = [];
  const before = mode.observer;
  const finite = (t: Tensor): Tensor => unscoped(() => scope(() => noGrad(() => all(isFiniteOp(t)))));
  const observer = {
    ran(op: string, inputs: readonly Tensor[], outputs: readonly Tensor[], params: unknown): void {
      if (asksForInfinity(params)) return;
      mode.observer = before;
      try {
        seen.push({
          op,
          phase: mode.inBackward ? 'backward' : 'forward',
          shape: outputs[0].shape,
          inputs: inputs.filter((t) => isFloat(t.dtype)).map(finite),
          outputs: outputs.filter((t) => isFloat(t.dtype)).map(finite),
        });
      } finally {
        mode.observer = observer;
      }
    },
  };
  mode.observer = observer;
  let result: R;
  try {
    result = fn();
  } finally {
    mode.observer = before;
  }
  const allTrue = async (flags: readonly Tensor[]): Promise<boolean> => {
    for (const flag of flags) if ((await flag.item()) === 0) return false;
    return true;
  };
  try {
    for (const s of seen) {
      if (!(await allTrue(s.outputs)) && (await allTrue(s.inputs))) {
        throw new GradError(
          `detectAnomaly: '${s.op}' (${s.phase}, output of shape ${formatShape(s.shape)}) made a NaN or an infinity from finite inputs`,
        );
      }
    }
  } finally {
    for (const s of seen) for (const t of [...s.inputs, ...s.outputs]) t.release();
  }
  return result;
}
