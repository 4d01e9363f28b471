/** Switches that say how operations are recorded. */

import type { Tensor } from '../tensor/tensor.js';
import type { Casts } from './autocast.js';
import type { Saved } from './saved.js';

/** Sees every op that runs while it is installed: how anomaly detection and debug checks listen. */
export interface OpObserver {
  ran(op: string, inputs: readonly Tensor[], outputs: readonly Tensor[], params: unknown): void;
}

/** Replaces what backward saves: how checkpoint() drops values and computes them again. */
export interface SaveHook {
  pack(t: Tensor): Saved;
}

export const mode = {
  gradEnabled: true,
  /** True while backward formulas run. */
  inBackward: false,
  saveHook: null as SaveHook | null,
  observer: null as OpObserver | null,
  /** Converts the inputs of operations: mixed precision. */
  autocast: null as Casts | null,
  /** Checks on the device that indices are in range, at the cost of a read at the next await. */
  debug: false,
};

function withGrad<R>(enabled: boolean, fn: () => R): R {
  const before = mode.gradEnabled;
  mode.gradEnabled = enabled;
  try {
    const result = fn();
    if (typeof (result as { then?: unknown } | null)?.then === 'function') {
      throw new Error(
        'noGrad: expected a synchronous function, got one that returns a promise; await outside',
      );
    }
    return result;
  } finally {
    mode.gradEnabled = before;
  }
}

/** Runs `fn` without recording operations for backward. @source torch.no_grad */
export function noGrad<R>(fn: () => R): R {
  return withGrad(false, fn);
}

/** Runs `fn` with recording on, also inside noGrad. @source torch.enable_grad */
export function enableGrad<R>(fn: () => R): R {
  return withGrad(true, fn);
}

/** Whether operations are recorded now. */
export function isGradEnabled(): boolean {
  return mode.gradEnabled;
}

/**
 * Switches debug mode: indices are checked on the device, and one out of range throws a ShapeError at the next await.
 * Without it, devices that cannot throw at once read a valid element instead, or leave a sum out.
 */
export function setDebug(on = true): void {
  mode.debug = on;
}
