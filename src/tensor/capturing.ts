/**
 * The capture under way, as those who keep state on the host see it: the random generator, optimizers, scopes. It lies
 * here, below them all; `capture()` itself is in autograd/capture.ts.
 */
import type { Device } from '../device/types.js';
import type { Storage } from './storage.js';
import type { Tensor } from './tensor.js';

export interface Capturing {
  readonly device: Device;
  /** Runs `fn` without noting what it does: it happens now, and not again when the capture is replayed. */
  untracked<R>(fn: () => R): R;
  /** Registers what brings scalars on the device up to date before each replay. */
  beforeReplay(fn: () => void): void;
  /** Registers what happens when the capture is complete. */
  atEnd(fn: () => void): void;
  /** A storage was written in place: every replay does so again, and its version counts it. */
  changed(storage: Storage): void;
  /** Gradients were set back to null. */
  gradsZeroed(params: readonly Tensor[]): void;
  /** A leaf got its first gradient, or one was added to what it had. */
  gradAdded(leaf: Tensor, first: boolean): void;
  /** Says that the host cannot see values now: records the error for `capture`, and returns it. */
  refuse(what: string): Error;
}

export const capturing: { current: Capturing | null } = { current: null };

/** Runs `fn`; a capture under way does not note what it does. */
export function untracked<R>(fn: () => R): R {
  return capturing.current ? capturing.current.untracked(fn) : fn();
}
